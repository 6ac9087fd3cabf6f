/*
 * tests/model/retune.c - a bucket gets other numbers while workers charge it and give back
 * SPDX-License-Identifier: MIT
 *
 * Checked at the end of each execution: over any interval no more units than the larger of both
 * bursts and what comes in meanwhile at the faster of both rates; what was spent is spent under the
 * new numbers too; once the change has succeeded, they are set.
 */
#include "taker.h"

/* The scenario's numbers: ticks a unit and burst, before and after; what is spent. */
enum { TICKS, BURST, NEW_TICKS, NEW_BURST, SPENT };

struct retune_notes {
	struct notes shared;
	uint64_t tuned;
};

static struct retune_notes *tuned(void)
{
	return (struct retune_notes *)(void *)world.base;
}

static void op_retune(void *self, const struct op *op)
{
	struct seg_hot *hot = &world.seg.hot[taken_from.bucket];

	(void)self;
	(void)op;
	tuned()->tuned =
		bucket_retune(hot, numbers_of(scenario->with[NEW_TICKS], scenario->with[NEW_BURST]),
			      now_again, NULL);
}

/* To what they were. */
static void op_retune_back(void *self, const struct op *op)
{
	struct seg_hot *hot = &world.seg.hot[taken_from.bucket];

	(void)self;
	(void)op;
	if (!tuned()->tuned)
		return;
	tuned()->tuned = 0; /* killed on the way, it is either */
	(void)bucket_retune(hot, numbers_of(scenario->with[TICKS], scenario->with[BURST]),
			    now_again, NULL);
}
#define RETUNE_BACK                                                                                \
	{                                                                                          \
		op_retune_back, "retune back", 0, 0                                                \
	}

#define RETUNE                                                                                     \
	{                                                                                          \
		op_retune, "retune", 0, 0                                                          \
	}

static void setup(void)
{
	const struct seg_config config = {.buckets = 1, .workers = ACTORS_MAX, .queues = 1};

	world_clear(model.own_size, &config);
	notes()->now = T0;
	taken_from =
		make_bucket(1, scenario->with[TICKS], scenario->with[BURST], scenario->with[SPENT]);
}

static void end(void)
{
	const uint64_t *with = scenario->with;
	const uint64_t burst = with[BURST] > with[NEW_BURST] ? with[BURST] : with[NEW_BURST];
	const uint64_t ticks = with[TICKS] < with[NEW_TICKS] ? with[TICKS] : with[NEW_TICKS];
	const struct bucket_view view = taken_view();
	const uint64_t spent = noted_units(0) + with[SPENT], room = bucket_burst(view.numbers);

	check_never_over(0, burst, 1, ticks);
	if (atomic_load(&notes()->now) == T0 &&
	    bucket_left(&view, T0) > (spent < room ? room - spent : 0))
		model_fail("what was spent is forgotten");
	if (tuned()->tuned && view.numbers != numbers_of(with[NEW_TICKS], with[NEW_BURST]))
		model_fail("the numbers are the old ones");
	check_segment();
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"slower", {ACTOR(TAKE(4)), ACTOR(RETUNE), ACTOR(TAKE(3))}, {10, 4, 100, 4}, .kills = 1},
	{"slower, in debt", {ACTOR(TAKE(1)), ACTOR(RETUNE), ACTOR(TAKE(3))}, {10, 4, 100, 4, 5}, .kills = 1},
	{"slower, refund", {ACTOR(TAKE(2), CANCEL), ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(2))}, {10, 4, 100, 4}, .kills = 1},
	{"faster, refund", {ACTOR(TAKE(2), CANCEL), ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(4))}, {100, 4, 10, 4}, .kills = 1},
	{"faster, clock",
	 {ACTOR(TAKE(4)), ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(4)), CLOCK(TICK(1), TICK(2), TICK(4))}, {10, 4, 1, 4}},
	{"slower, clock",
	 {ACTOR(TAKE(4)), ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(4)), CLOCK(TICK(1), TICK(2), TICK(4))}, {1, 4, 4, 4}},
	{"smaller burst", {ACTOR(TAKE(2)), ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(2))}, {10, 4, 10, 2}, .kills = 1},
	{"smaller burst, and back", {ACTOR(TAKE(4)), ACTOR(RETUNE, RETUNE_BACK), ACTOR(TAKE(2), TAKE(2))}, {10, 4, 10, 2}, .kills = 1},
	{"smaller burst, slower, and back",
	 {ACTOR(TAKE(4)), ACTOR(RETUNE, RETUNE_BACK), ACTOR(TAKE(1), TAKE(3)), CLOCK(TICK(5))}, {10, 4, 20, 1}, .kills = 1},
	{"larger burst, and back", {ACTOR(TAKE(4)), ACTOR(RETUNE, RETUNE_BACK), ACTOR(TAKE(2), TAKE(4))}, {10, 2, 10, 4}, .kills = 1},
	{"larger burst", {ACTOR(TAKE(2)), ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(4))}, {10, 4, 10, 6}, .kills = 1},
	{"slower, so late that the hold has drained",
	 {ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(4)), CLOCK(TICK(2), TICK(12))}, {1, 4, 4, 4}, .kills = 1},
	{"slower, refund, clock",
	 {ACTOR(TAKE(4), CANCEL), ACTOR(RETUNE), ACTOR(TAKE(2), TAKE(4)), CLOCK(TICK(2), TICK(3), TICK(9))},
	 {1, 4, 4, 4}, .kills = 1, .longer = true},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "retune",
	.self_size = sizeof(struct taker),
	.own_size = sizeof(struct retune_notes),
	.setup = setup,
	.end = end,
	.scenarios = scenarios,
};
