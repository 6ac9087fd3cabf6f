/*
 * tests/model/stat.c - counting, spilling, reaping
 * SPDX-License-Identifier: MIT
 *
 * Two actors of one slot are two threads of one worker. Checked after every step: nothing is counted
 * that was not begun; at the end: everything is, unless somebody was killed.
 */
#include "shm/stat.h"

#include "reference.h"
#include "shm/worker.h"

/* The scenario's number: acquires of bucket 0 that slot 0 has counted already. */
enum { BEFORE };

/* Buckets 0, 4 and 8 are counted in the same two of four cells. */
#define RECORDS 9u

struct stat_notes {
	struct notes shared;
	uint64_t begun[RECORDS]; /* what stat_count() takes: both counts in one word */
	uint64_t done[RECORDS];
};

static struct stat_notes *counted(void)
{
	return (struct stat_notes *)(void *)world.base;
}

static void op_count(void *self, const struct op *op)
{
	(void)self;
	counted()->begun[op->a] += op->b;
	stat_count(&world.seg, 0, (uint32_t)op->a, 0, op->b);
	counted()->done[op->a] += op->b;
}

static void op_spill(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	stat_spill(&world.seg, 0);
}

static void op_reap(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	worker_reap(&world.seg, 0, 0);
}

#define ADMIT(bucket)                                                                              \
	{                                                                                          \
		op_count, "admit %u", bucket, STAT_ADMITTED                                        \
	}
#define DENY(bucket)                                                                               \
	{                                                                                          \
		op_count, "deny %u", bucket, STAT_DENIED                                           \
	}
#define SPILL                                                                                      \
	{                                                                                          \
		op_spill, "spill", 0, 0                                                            \
	}
#define REAP                                                                                       \
	{                                                                                          \
		op_reap, "reap", 0, 0                                                              \
	}

static void setup(void)
{
	const struct seg_config config = {.buckets = RECORDS, .workers = 1, .queues = 1};

	world_clear(model.own_size, &config);
	counted()->shared.now = T0;
	for (uint64_t i = 0; i < scenario->with[BEFORE]; i++)
		stat_count(&world.seg, 0, 0, 0, STAT_ADMITTED);
	counted()->begun[0] = counted()->done[0] = scenario->with[BEFORE] * STAT_ADMITTED;
}

static uint64_t total_of(uint32_t bucket)
{
	struct stat_total totals[RECORDS] = {{0, 0}};
	const struct seg_cold *cold = &world.seg.cold[bucket];

	stat_collect(&world.seg, totals);
	return (totals[bucket].admitted + atomic_load(&cold->admitted)) * STAT_ADMITTED +
	       (totals[bucket].denied + atomic_load(&cold->denied)) * STAT_DENIED;
}

static void each(void)
{
	for (uint32_t i = 0; i < RECORDS; i += 4) {
		if (total_of(i) > counted()->begun[i])
			model_fail("bucket %u: more is counted than happened", i);
	}
}

static void end(void)
{
	for (uint32_t i = 0; i < RECORDS; i += 4) {
		if (model_kills() == 0 && total_of(i) != counted()->done[i])
			model_fail("bucket %u: counted %llx of %llx", i,
				   (unsigned long long)total_of(i),
				   (unsigned long long)counted()->done[i]);
	}
	check_segment();
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"count, count", {ACTOR(ADMIT(0), DENY(0)), ACTOR(ADMIT(0), ADMIT(0))}, {0}, .kills = 1},
	{"count, count others", {ACTOR(ADMIT(0), ADMIT(4)), ACTOR(ADMIT(8), DENY(0))}, {0}, .kills = 1},
	{"count, spill", {ACTOR(ADMIT(0), ADMIT(4)), ACTOR(ADMIT(8)), SUPERVISOR(SPILL)}, {0}, .kills = 1},
	{"full cell", {ACTOR(ADMIT(0), ADMIT(0)), ACTOR(ADMIT(0), DENY(0)), SUPERVISOR(SPILL)}, {0xfffe}, .kills = 1},
	{"count, reap", {ACTOR(ADMIT(0), DENY(4)), REAPER(REAP)}, {3}, .kills = 1},
	{"count, count, count", {ACTOR(ADMIT(0)), ACTOR(ADMIT(4)), ACTOR(ADMIT(8)), SUPERVISOR(SPILL)}, {0}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "stat",
	.self_size = 16,
	.own_size = sizeof(struct stat_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
