/*
 * tests/model/reclaim.c - records that begin new lives under whoever still means the old one
 * SPDX-License-Identifier: MIT
 *
 * Each actor may stop before any access for as long as the others take to reclaim a record, give it to another
 * identity and charge that. Checked: over any interval no identity is admitted more than its burst and what came in
 * meanwhile, whatever lives it was charged in; a charge counts in the life that was meant; whatever an insert returns is of
 * the identity that was asked for; nothing that is found is found twice; no record is lost; the segment is sound.
 */
#include "shm/reclaim.h"

#include "reference.h"
#include "shm/bucket.h"

/* The scenario's numbers: records in the table, burst, which identities (bits) are there at first. */
enum { RECORDS, BURST, THERE };

#define IDLE 2u

/* Identities 1 and 3 are in one chain of 2, identity 2 in the other. */
#define IDS 4u

struct self {
	struct bucket_ref ref;
	struct bucket_charged charged;
	struct permit *permit;
};

static struct bucket_ref first[IDS];

static struct hash128 identity_of(uint64_t id)
{
	return (struct hash128){{id, 1}};
}

/* Permits are kept by identity: 1 and 3 by 1, 2 by 0. */
static unsigned account_of(uint64_t id)
{
	return id & 1;
}

static enum index_result insert(uint64_t id, uint32_t slot, struct bucket_ref *ret_ref)
{
	const uint64_t at = now();
	const struct bucket_spec spec = {
		.identity = identity_of(id),
		.kind = KIND_BUCKET,
		.numbers = numbers_of(1, scenario->with[BURST]),
		.now = at,
		.state = {at},
	};

	return index_insert(&world.seg, slot, &spec, ret_ref);
}

/* To ask between two accesses, while nobody else runs. */
static bool is_of(const struct bucket_ref *ref, uint64_t id)
{
	const struct seg_hot *hot = &world.seg.hot[ref->bucket];

	return atomic_load(&hot->generation) == ref->generation &&
	       atomic_load(&hot->identity[0]) == id;
}

static void charge(struct self *me, uint64_t id, uint64_t units)
{
	struct seg_hot *hot = &world.seg.hot[me->ref.bucket];
	const uint64_t at = now();
	struct bucket_view view;

	me->permit = NULL;
	if (bucket_look(hot, me->ref.generation, units, at, &view) != TAKE_ADMIT ||
	    bucket_charge(hot, me->ref.generation, units, at, &view) != TAKE_ADMIT)
		return;
	me->charged =
		(struct bucket_charged){me->ref.generation, view.ticks, view.tat, view.refunds};
	me->permit = note_permit(account_of(id), at, units);
	/* Until then nobody can have reclaimed what was charged. */
	if (view.tat + IDLE > atomic_load(&notes()->now) && !is_of(&me->ref, id))
		model_fail("identity %u was charged to a record of another life", (unsigned)id);
}

/* By the handle of the first life. */
static void op_take(void *self, const struct op *op)
{
	struct self *me = self;

	me->ref = first[op->a];
	charge(me, op->a, op->b);
}

/* As a worker does whose handle is stale. */
static void op_resolve(void *self, const struct op *op)
{
	struct self *me = self;

	if (insert(op->a, (uint32_t)model_self(), &me->ref) == INDEX_FOUND)
		charge(me, op->a, op->b);
}

static void op_cancel(void *self, const struct op *op)
{
	struct self *me = self;
	uint64_t given = 0;

	(void)op;
	for (int i = 0; me->permit && i < CAS_ATTEMPTS; i++) {
		struct seg_hot *hot = &world.seg.hot[me->ref.bucket];
		struct bucket_pair pair;

		bucket_refund_look(hot, &pair);
		if (bucket_refund(hot, &me->charged, &pair, now(), &given)) {
			me->permit->back += given;
			break;
		}
	}
	me->permit = NULL;
}

static void op_find(void *self, const struct op *op)
{
	struct self *me = self;

	if (index_find(&world.seg, identity_of(op->a), &me->ref) == INDEX_FOUND)
		charge(me, op->a, op->b);
}

static void op_reclaim(void *self, const struct op *op)
{
	const struct reclaim_rule rule = {.now = now(), .idle = op->a};

	(void)self;
	reclaim_begin(&world.seg, &rule);
	for (uint32_t i = 0; i < world.seg.n_buckets; i++) {
		if (shm_load(&world.seg.cold[i].owner) == COLD_LINKED)
			(void)reclaim_record(&world.seg, i, &rule);
	}
}

#define TAKE(id, n)                                                                                \
	{                                                                                          \
		op_take, "take by an old handle to %u: %u", id, n                                  \
	}
#define RESOLVE(id, n)                                                                             \
	{                                                                                          \
		op_resolve, "resolve %u, take %u", id, n                                           \
	}
#define FIND(id, n)                                                                                \
	{                                                                                          \
		op_find, "find %u, take %u", id, n                                                 \
	}
#define CANCEL                                                                                     \
	{                                                                                          \
		op_cancel, "cancel", 0, 0                                                          \
	}
#define RECLAIM                                                                                    \
	{                                                                                          \
		op_reclaim, "reclaim", IDLE, 0                                                     \
	}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = (uint32_t)scenario->with[RECORDS], .workers = ACTORS_MAX, .queues = 1};

	world_clear(model.own_size, &config);
	notes()->now = T0;
	for (uint64_t id = 1; id < IDS; id++) {
		first[id] = (struct bucket_ref){0, UINT32_MAX};
		if ((scenario->with[THERE] >> id & 1) && insert(id, 0, &first[id]) != INDEX_FOUND)
			model_fail("no bucket");
	}
}

/* How many live records an identity has. */
static unsigned lives_of(uint64_t id)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < world.seg.n_buckets; i++)
		n += shm_load(&world.seg.cold[i].owner) != COLD_FREE &&
		     shm_load(&world.seg.hot[i].identity[0]) == id &&
		     !reclaim_is_dead(&world.seg.hot[i]);
	return n;
}

static void end(void)
{
	unsigned n = 0;

	check_segment();
	op_reclaim(NULL, &(struct op){.a = UINT64_MAX}); /* goes on with the dead only */
	check_segment();
	for (uint64_t id = 1; id < IDS; id++) {
		const unsigned lives = lives_of(id);

		if (lives > 1)
			model_fail("identity %u has two live records", (unsigned)id);
		n += lives;
	}
	for (uint32_t i = 0; i < world.seg.n_buckets; i++)
		n += shm_load(&world.seg.cold[i].owner) == COLD_FREE;
	if (n != world.seg.n_buckets)
		model_fail("%u records are lost", world.seg.n_buckets - n);
	for (unsigned account = 0; account < BUCKETS; account++)
		check_never_over(account, scenario->with[BURST], 1, 1);
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"reclaim, take", {ACTOR(TAKE(1, 2)), ACTOR(RECLAIM), CLOCK(TICK(3))}, {1, 2, 2}, .kills = 1},
	{"reclaim, take, resolve",
	 {ACTOR(TAKE(1, 2)), ACTOR(RESOLVE(1, 2)), ACTOR(RECLAIM), CLOCK(TICK(3))}, {2, 2, 2}, .kills = 1},
	{"reclaim, another comes, take by an old handle",
	 {ACTOR(TAKE(1, 1)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(TICK(3))}, {1, 2, 2}, .kills = 1},
	{"reclaim, another comes, late refund",
	 {ACTOR(TAKE(1, 2), CANCEL), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(TICK(5))}, {1, 2, 2}, .kills = 1},
	{"reclaim, resolve both", {ACTOR(RESOLVE(1, 1)), ACTOR(RESOLVE(1, 1)), ACTOR(RECLAIM), CLOCK(TICK(3))}, {2, 2, 2}, .kills = 1, .longer = true},
	{"reclaim the chain's end, find, insert",
	 {ACTOR(FIND(1, 1)), ACTOR(RESOLVE(3, 1)), ACTOR(RECLAIM), CLOCK(TICK(3))}, {2, 2, 2}, .kills = 1},
	{"reclaim, find in a chain that loses its first",
	 {ACTOR(FIND(1, 1)), ACTOR(RESOLVE(2, 1)), ACTOR(RECLAIM), CLOCK(TICK(3))}, {2, 2, 10}, .kills = 1},
	{"reclaim twice", {ACTOR(TAKE(1, 1)), ACTOR(RESOLVE(1, 1)), SUPERVISOR(RECLAIM, RECLAIM), CLOCK(TICK(3), TICK(3))},
	 {1, 2, 2}},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "reclaim",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct notes),
	.setup = setup,
	.end = end,
	.scenarios = scenarios,
};
