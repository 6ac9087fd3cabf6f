/*
 * tests/model/bucket.c - charge, refund, settle, debit of one token bucket
 * SPDX-License-Identifier: MIT
 *
 * Checked at the end of each execution: over any interval no more than the burst and what came in
 * meanwhile, less only what was given back; the bucket stands exactly where the permits have put it
 * (never before it, and behind it only if somebody was killed); the segment is sound.
 */
#include "taker.h"

/* The scenario's numbers. */
enum { BURST, SPENT };

static void setup(void)
{
	const struct seg_config config = {.buckets = 1, .workers = ACTORS_MAX, .queues = 1};

	world_clear(model.own_size, &config);
	notes()->now = T0;
	taken_from = make_bucket(1, 1, scenario->with[BURST], scenario->with[SPENT]);
}

static void end(void)
{
	const uint64_t t = atomic_load(&notes()->now);
	const uint64_t began = T0 + scenario->with[SPENT];
	const uint64_t charged = noted_units(0) + notes()->debts[0];
	const uint64_t tat = taken_view().tat;

	check_never_over(0, scenario->with[BURST], 1, 1);
	if (t == T0 && tat < began + charged)
		model_fail("less is charged than was admitted");
	if (model_kills() == 0 && tat > (t > began ? t : began) + charged)
		model_fail("more is charged than was admitted");
	check_segment();
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"charge, charge", {ACTOR(TAKE(2), TAKE(1)), ACTOR(TAKE(3), TAKE(1))}, {4}, .kills = 1},
	{"charge, charge",
	 {ACTOR(TAKE(4), TAKE(4)), ACTOR(TAKE(4), TAKE(4)), CLOCK(TICK(1), TICK(1), TICK(2), TICK(4))},
	 {4}, .kills = 1},
	{"charge, charge, charge", {ACTOR(TAKE(3)), ACTOR(TAKE(2)), ACTOR(TAKE(2), TAKE(2))}, {4}, .kills = 2},
	{"charge, charge, charge",
	 {ACTOR(TAKE(2)), ACTOR(TAKE(3)), ACTOR(TAKE(2), TAKE(2)), CLOCK(TICK(1), TICK(1), TICK(2))},
	 {4, 2}, .kills = 2},
	{"refund of all", {ACTOR(TAKE(3), SETTLE_ALONE(0))}, {4}},
	{"refund of a part", {ACTOR(TAKE(3), SETTLE_ALONE(1))}, {4}},
	{"refund, charge",
	 {ACTOR(TAKE(4), CANCEL), ACTOR(TAKE(4), TAKE(4)), CLOCK(TICK(1), TICK(1), TICK(1), TICK(1))},
	 {4}, .kills = 1},
	{"refund, charge",
	 {ACTOR(TAKE(3), CANCEL, TAKE(3)), ACTOR(TAKE(4), TAKE(4)), CLOCK(TICK(1), TICK(1), TICK(2))},
	 {4}, .kills = 1},
	{"settle down, charge",
	 {ACTOR(TAKE(4), SETTLE(2)), ACTOR(TAKE(2), TAKE(2)), CLOCK(TICK(1), TICK(1), TICK(2))},
	 {4}, .kills = 1},
	{"refund, refund",
	 {ACTOR(TAKE(2), CANCEL, TAKE(2)), ACTOR(TAKE(3), CANCEL, TAKE(3)), CLOCK(TICK(1), TICK(2))},
	 {4}, .kills = 1},
	{"refund, refund, charge",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(4), TAKE(4)), CLOCK(TICK(2), TICK(2))},
	 {4}, .kills = 1},
	{"settle up, settle up", {ACTOR(TAKE(2), DEBIT(2)), ACTOR(TAKE(1), DEBIT(3))}, {4}, .kills = 1},
	{"settle up, charge", {ACTOR(TAKE(2), DEBIT(2)), ACTOR(TAKE(2), TAKE(2))}, {4}, .kills = 1},
	{"settle up, refund, charge",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(DEBIT(2)), ACTOR(TAKE(2), TAKE(2)), CLOCK(TICK(2), TICK(2))}, {4}},
	{"refund twice, refund, charge",
	 {ACTOR(TAKE(2), CANCEL, TAKE(2), CANCEL), ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(2), TAKE(4)),
	  CLOCK(TICK(2), TICK(2))},
	 {4}, .kills = 1, .longer = true},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "bucket",
	.self_size = sizeof(struct taker),
	.own_size = sizeof(struct notes),
	.setup = setup,
	.end = end,
	.scenarios = scenarios,
};
