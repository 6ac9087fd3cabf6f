/*
 * tests/model/index.c - insert, find, recover
 * SPDX-License-Identifier: MIT
 *
 * Checked: whoever asks for one identity gets one and the same record; once an insert has returned,
 * every find that begins later finds it; two identities never share a record; what a killed worker
 * was making is free again, or linked; the segment is sound.
 */
#include "shm/index.h"

#include "reference.h"
#include "shm/bucket.h"
#include "shm/worker.h"

/* The scenario's numbers: records in the table, and whether they may run out. */
enum { RECORDS, TIGHT, NAMED };

#define IDS 8u

/* Identities 1 and 5 hash to one chain of 4. */
struct index_notes {
	struct notes shared;
	uint64_t record[IDS]; /* + 1, once an insert has returned it */
};

static struct index_notes *found(void)
{
	return (struct index_notes *)(void *)world.base;
}

static struct hash128 identity_of(uint64_t id)
{
	return (struct hash128){{id, 1}};
}

static void note_record(uint64_t id, uint32_t bucket)
{
	uint64_t *record = &found()->record[id];

	if (*record != 0 && *record != bucket + 1)
		model_fail("identity %u has two records", (unsigned)id);
	*record = bucket + 1;
	for (unsigned i = 0; i < IDS; i++) {
		if (i != id && found()->record[i] == *record)
			model_fail("identities %u and %u share a record", i, (unsigned)id);
	}
}

static void op_insert(void *self, const struct op *op)
{
	const struct bucket_spec spec = {
		.identity = identity_of(op->a),
		.kind = KIND_BUCKET,
		.numbers = numbers_of(1, 4),
		.state = {T0},
		.names = {scenario->with[NAMED] ? "limit" : NULL},
	};
	struct bucket_ref ref = {0, 0};
	const enum index_result result =
		index_insert(&world.seg, (uint32_t)model_self(), &spec, &ref);

	(void)self;
	if (result == INDEX_FOUND)
		note_record(op->a, ref.bucket);
	else if (result != INDEX_FULL || !scenario->with[TIGHT])
		model_fail("an insert failed (%d)", (int)result);
}

static void op_find(void *self, const struct op *op)
{
	const uint64_t before = found()->record[op->a];
	struct bucket_ref ref = {0, 0};
	const enum index_result result = index_find(&world.seg, identity_of(op->a), &ref);

	(void)self;
	if (result == INDEX_FOUND)
		note_record(op->a, ref.bucket);
	else if (result != INDEX_ABSENT || before != 0)
		model_fail("what was inserted is not found (%d)", (int)result);
}

static void op_reap(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	for (int i = 0; i < ACTORS_MAX; i++) {
		if (model_killed(i))
			worker_reap(&world.seg, (uint32_t)i, 0);
	}
}

#define INSERT(id)                                                                                 \
	{                                                                                          \
		op_insert, "insert %u", id, 0                                                      \
	}
#define FIND(id)                                                                                   \
	{                                                                                          \
		op_find, "find %u", id, 0                                                          \
	}
#define REAP                                                                                       \
	{                                                                                          \
		op_reap, "reap", 0, 0                                                              \
	}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = (uint32_t)scenario->with[RECORDS], .workers = ACTORS_MAX, .queues = 1};

	world_clear(model.own_size, &config);
	found()->shared.now = T0;
}

/* Records of the table that nobody has. */
static unsigned n_free(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < world.seg.n_buckets; i++)
		n += atomic_load(&world.seg.cold[i].owner) == COLD_FREE;
	return n;
}

static void end(void)
{
	unsigned n = 0;

	check_segment();
	for (unsigned id = 0; id < IDS; id++) {
		struct bucket_ref ref = {0, 0};
		const bool there = index_find(&world.seg, identity_of(id), &ref) == INDEX_FOUND;

		if (there)
			note_record(id, ref.bucket);
		else if (found()->record[id] != 0)
			model_fail("identity %u is gone", id);
		n += there;
	}
	if (n_free() + n != world.seg.n_buckets)
		model_fail("%u records are lost", world.seg.n_buckets - n - n_free());
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"insert, insert the same", {ACTOR(INSERT(1)), ACTOR(INSERT(1)), REAPER(REAP)}, {4}, .kills = 1},
	{"insert, insert into the same chain", {ACTOR(INSERT(1)), ACTOR(INSERT(5)), REAPER(REAP)}, {4}, .kills = 1},
	{"insert both ways", {ACTOR(INSERT(1), INSERT(5)), ACTOR(INSERT(5), INSERT(1))}, {4}, .kills = 1},
	{"insert, find", {ACTOR(INSERT(1)), ACTOR(INSERT(5), FIND(1)), ACTOR(FIND(5), FIND(1))}, {4}, .kills = 1},
	{"insert the same three times", {ACTOR(INSERT(1)), ACTOR(INSERT(1)), ACTOR(INSERT(1))}, {4}},
	{"insert the same three times", {ACTOR(INSERT(1)), ACTOR(INSERT(1)), ACTOR(INSERT(1))}, {4}, .kills = 1, .longer = true},
	{"insert with names", {ACTOR(INSERT(1)), ACTOR(INSERT(5))}, {4, 0, true}, .kills = 1},
	{"the last record", {ACTOR(INSERT(1)), ACTOR(INSERT(1)), REAPER(REAP)}, {1, true}, .kills = 1},
	{"the last record, two identities", {ACTOR(INSERT(1), FIND(1)), ACTOR(INSERT(2), FIND(2)), REAPER(REAP)}, {1, true}, .kills = 1},
	{"killed, reaped, inserted again", {ACTOR(INSERT(1)), ACTOR(INSERT(1), FIND(1)), REAPER(REAP, INSERT(1))}, {2}, .kills = 1},
	{"insert three, reap", {ACTOR(INSERT(1)), ACTOR(INSERT(5)), ACTOR(INSERT(1)), REAPER(REAP)}, {4}, .kills = 1, .preemptions = 2, .longer = true},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "index",
	.self_size = 16,
	.own_size = sizeof(struct index_notes),
	.setup = setup,
	.end = end,
	.scenarios = scenarios,
};
