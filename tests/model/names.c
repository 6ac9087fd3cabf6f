/*
 * tests/model/names.c - names are given to records, kept, and freed by rounds
 * SPDX-License-Identifier: MIT
 *
 * Each actor is the worker of its number, which claims a record, gives it a name and links it, or the supervisor, which
 * ends records and goes on rounds. Any of them may stop before any access for as long as the others take to free
 * what it stands on and to use it again. Checked after every step: a linked record shows its own name, or, only where
 * there may be no room, "?". At the end: after reaping and some rounds exactly the lines of names that linked records
 * have are in use; chains are sound.
 */
#include "shm/names.h"

#include <string.h>

#include "reference.h"
#include "shm/extent.h"
#include "shm/sweep.h"
#include "shm/worker.h"

/*
 * The scenario's numbers: records, lines, names (+ 1) of records 0 and 1 at first, whether record 0 was ended some rounds
 * ago, whether lines may run out.
 */
enum { RECORDS, LINES, FIRST, SECOND, ENDED, TIGHT };

#define RECORDS_MAX 4u

/* One line, one line, two lines; two that are long begin with the same line. */
enum { A, B, LONG, LONGER };

static const char *const texts[] = {
	"a",
	"b",
	"a name of more than forty-eight bytes, or two lines",
	"a name of more than forty-eight bytes, or two lines!",
};

struct names_notes {
	struct notes shared;
	uint64_t name[RECORDS_MAX]; /* + 1, of records that are linked */
};

static struct names_notes *known(void)
{
	return (struct names_notes *)(void *)world.base;
}

static shm_word *owner_of(uint64_t record)
{
	return &world.seg.cold[record].owner;
}

static void give(uint32_t slot, uint32_t record, uint64_t name)
{
	const char *const names[6] = {[NAME_TENANT] = texts[name]};
	uint64_t owner = COLD_FREE;

	shm_store(&world.seg.workers[slot].claim, record + 1);
	if (!shm_cas(owner_of(record), &owner, slot + 1))
		model_fail("not free");
	names_give(&world.seg, record, names);
	known()->name[record] = name + 1;
	shm_store(owner_of(record), COLD_LINKED);
	shm_store(&world.seg.workers[slot].claim, 0);
}

static void op_give(void *self, const struct op *op)
{
	(void)self;
	give((uint32_t)model_self(), (uint32_t)op->a, op->b);
}

static void op_end(void *self, const struct op *op)
{
	(void)self;
	if (shm_load(owner_of(op->a)) != COLD_LINKED)
		return;
	shm_store(owner_of(op->a), COLD_FREE);
}

static void op_round(void *self, const struct op *op)
{
	struct sweep sweep = {SWEEP_BEGIN};

	(void)self;
	(void)op;
	sweep_slice(&world.seg, &sweep, world.seg.n_buckets + world.seg.n_extents);
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

#define GIVE(record, name)                                                                         \
	{                                                                                          \
		op_give, "give record %u name %u", record, name                                    \
	}
#define END(record)                                                                                \
	{                                                                                          \
		op_end, "end record %u", record, 0                                                 \
	}
#define ROUND                                                                                      \
	{                                                                                          \
		op_round, "round", 0, 0                                                            \
	}
#define REAP                                                                                       \
	{                                                                                          \
		op_reap, "reap", 0, 0                                                              \
	}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = (uint32_t)scenario->with[RECORDS],
		.workers = ACTORS_MAX,
		.extents = (uint32_t)scenario->with[LINES],
		.queues = 1,
	};

	world_clear(model.own_size, &config);
	notes()->now = T0;
	for (uint32_t i = 0; i < 2; i++) {
		if (scenario->with[FIRST + i] > 0)
			give(0, i, scenario->with[FIRST + i] - 1);
	}
	if (scenario->with[ENDED]) {
		op_end(NULL, &(struct op){.a = 0});
		op_round(NULL, NULL);
	}
}

static void each(void)
{
	for (uint32_t i = 0; i < world.seg.n_buckets; i++) {
		char buf[NAME_BYTES_MAX + 1];

		if (atomic_load(owner_of(i)) != COLD_LINKED)
			continue;
		names_copy(&world.seg, atomic_load(&world.seg.cold[i].names[NAME_TENANT]), buf,
			   sizeof(buf));
		if (strcmp(buf, texts[known()->name[i] - 1]) != 0 &&
		    (strcmp(buf, "?") != 0 || !scenario->with[TIGHT]))
			model_fail("record %u is called %s", i, buf);
	}
}

static unsigned lines_used(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < world.seg.n_extents; i++)
		n += shm_half_load(&world.seg.extent_owners[i]) != 0;
	return n;
}

/* Of the names that linked records have. */
static unsigned lines_named(void)
{
	unsigned lines[8] = {0}, n = 0;

	for (uint32_t i = 0; i < world.seg.n_buckets; i++) {
		const uint32_t ref = shm_half_load(&world.seg.cold[i].names[NAME_TENANT]);

		if (shm_load(owner_of(i)) != COLD_LINKED)
			continue;
		if (!names_valid(&world.seg, ref))
			model_fail("record %u refers to what is no name", i);
		if (ref != NAME_UNKNOWN)
			lines[ref - 1] = known()->name[i] - 1 < LONG ? 1 : 2;
	}
	for (uint32_t i = 0; i < world.seg.n_extents; i++)
		n += lines[i];
	return n;
}

static void end(void)
{
	op_reap(NULL, NULL);
	for (int i = 0; i < 3; i++) {
		if (!names_chain_valid(&world.seg, 0))
			model_fail("the chain is not sound");
		op_round(NULL, NULL);
	}
	each();
	if (lines_used() != lines_named())
		model_fail("%u lines are in use, and %u of them by names", lines_used(),
			   lines_named());
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"give the same", {ACTOR(GIVE(0, A)), ACTOR(GIVE(1, A))}, {2, 2}, .kills = 2},
	{"give the same, give another", {ACTOR(GIVE(0, A)), ACTOR(GIVE(1, A)), ACTOR(GIVE(2, B))}, {3, 3}, .kills = 1, .longer = true},
	{"give two that begin alike", {ACTOR(GIVE(0, LONG)), ACTOR(GIVE(1, LONGER))}, {2, 6}, .kills = 1},
	{"no room for both", {ACTOR(GIVE(0, A)), ACTOR(GIVE(1, B)), ACTOR(ROUND)}, {2, 1, 0, 0, 0, true}, .kills = 1, .longer = true},
	{"rounds while one is given", {ACTOR(GIVE(0, A)), ACTOR(ROUND, ROUND, ROUND)}, {1, 1, 0, 0, 0, true}, .kills = 1},
	{"rounds while one of two lines is given", {ACTOR(GIVE(0, LONG)), ACTOR(ROUND, ROUND, ROUND)}, {1, 2, 0, 0, 0, true}, .kills = 1},
	{"given again while it is freed", {ACTOR(GIVE(1, A)), ACTOR(ROUND)}, {2, 2, A + 1, 0, true}, .kills = 1},
	{"given again twice while it is freed", {ACTOR(GIVE(1, A)), ACTOR(GIVE(2, A)), ACTOR(ROUND)}, {3, 3, A + 1, 0, true}, .kills = 1, .longer = true},
	{"given again while it is freed, another comes",
	 {ACTOR(GIVE(1, A)), ACTOR(GIVE(2, B)), ACTOR(ROUND)}, {3, 3, A + 1, 0, true}, .kills = 1, .longer = true},
	{"the line of one becomes another's", {ACTOR(GIVE(1, A)), ACTOR(GIVE(2, B)), ACTOR(ROUND, ROUND)}, {3, 1, A + 1, 0, true, true}, .preemptions = 3},
	{"the line of one becomes another's", {ACTOR(GIVE(1, A)), ACTOR(GIVE(2, B)), ACTOR(ROUND, ROUND)}, {3, 1, A + 1, 0, true, true}, .longer = true},
	{"the line of one becomes another's, killed", {ACTOR(GIVE(1, A)), ACTOR(GIVE(2, B)), ACTOR(ROUND)}, {3, 1, A + 1, 0, true, true}, .kills = 1, .longer = true},
	{"lines of a long one become another's",
	 {ACTOR(GIVE(1, LONG)), ACTOR(GIVE(2, B)), ACTOR(ROUND)}, {3, 2, LONG + 1, 0, true, true}, .kills = 1, .longer = true},
	{"freed from the end of a chain", {ACTOR(GIVE(2, A)), ACTOR(END(1), ROUND)}, {3, 3, A + 1, B + 1, true}, .kills = 1},
	{"freed from within a chain", {ACTOR(GIVE(2, B)), ACTOR(END(1), ROUND, ROUND)}, {3, 3, A + 1, B + 1, true}, .kills = 1},
	{"kept while others stand still", {ACTOR(GIVE(1, A)), ACTOR(ROUND, ROUND, ROUND)}, {2, 2, A + 1}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "names",
	.self_size = 8,
	.own_size = sizeof(struct names_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
