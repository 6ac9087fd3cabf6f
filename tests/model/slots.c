/*
 * tests/model/slots.c - take, release, expire, reap leases; reclaim their table
 * SPDX-License-Identifier: MIT
 *
 * Each actor is the worker of its number. Checked at every take: nobody else holds that slot, unless the maximum hold of
 * his lease is over, and the life of the record that was meant is not; at every release: it ends a lease exactly
 * when it is still there; at the end: after reaping, exactly the leases of the living are left; the segment is sound.
 */
#include "shm/slots.h"

#include "reference.h"
#include "shm/extent.h"
#include "shm/worker.h"

/*
 * The scenario's numbers: slots, maximum hold (units of a lease's age; 0: none), whether there is another record,
 * how many slots there are after a change, for how long a slot is nobody's after a request was given up (units; 0: not).
 */
enum { SLOTS, HOLD, OTHER, NEW_SLOTS, DELAY };

#define RECORDS 2u
#define UNIT    (UINT64_C(1) << 30)
#define WORDS   8u
#define NOBODY  0

#define SLOTS_EACH 4u

/* Who holds a slot, as he knows it. */
struct account {
	uint64_t holder; /* + 1 */
	uint64_t until;  /* if it was given up: when it is free again */
	uint64_t lease;
	uint64_t since;
	uint64_t hold;  /* units */
	uint64_t began; /* the round in which he came, and that in which he got it */
	uint64_t round;
};

struct slots_notes {
	struct notes shared;
	struct account accounts[RECORDS * SLOTS_EACH]; /* by extent */
	uint64_t generation[RECORDS];                  /* + 1; 0: between two lives */
	shm_word round;                                /* 1 once there are NEW_SLOTS */
};

struct self {
	struct charge_ref charge;
	struct account *account; /* NULL: holds nothing */
	uint64_t sequence;
};

static struct bucket_ref refs[RECORDS];
static uint32_t lines; /* record 0 has them at first, record 1 none */

static struct slots_notes *known(void)
{
	return (struct slots_notes *)(void *)world.base;
}

static uint64_t hold_of(unsigned record)
{
	return record == 0 ? scenario->with[HOLD] : 0;
}

static uint64_t numbers_for(unsigned record)
{
	return slots_pack((uint32_t)scenario->with[SLOTS], hold_of(record) * UNIT / TICKS_PER_NS,
			  scenario->with[DELAY] * UNIT / TICKS_PER_NS);
}

/* --- taking --- */

static bool is_over(const struct account *a, uint64_t at)
{
	if (a->holder == NOBODY)
		return at >= a->until;
	return a->hold != 0 && at / UNIT > a->since / UNIT + a->hold;
}

/*
 * Whoever comes after the number of slots was changed finds no more leases than are allowed now, but for those of others
 * who have looked before and take later.
 */
static void check_number(void)
{
	uint64_t held = 0;

	for (unsigned i = 0; i < SLOTS_EACH; i++) {
		const struct account *a = &known()->accounts[i];

		held += a->holder != NOBODY && (a->began > 0 || a->round == 0);
	}
	if (held > scenario->with[NEW_SLOTS])
		model_fail("%u leases, and who came last knew better", (unsigned)held);
}

static void note_taken(struct self *me, unsigned record, uint64_t at, uint64_t round)
{
	struct account *a = &known()->accounts[me->charge.taken.charged];

	if (known()->generation[record] != me->charge.generation + 1)
		model_fail("a lease was taken in a life that is over");
	if (!is_over(a, at))
		model_fail("slot %u is held by two", (unsigned)me->charge.taken.charged);
	*a = (struct account){
		.holder = (uint64_t)model_self() + 1,
		.lease = me->charge.taken.word,
		.since = at,
		.hold = hold_of(record),
		.began = round,
		.round = atomic_load(&known()->round),
	};
	me->account = a;
	if (round > 0)
		check_number();
}

static void take(struct self *me, unsigned record, uint32_t generation, uint64_t identity)
{
	const struct link link = {.bucket = refs[record].bucket, .generation = generation};
	const uint64_t round = shm_load(&known()->round);
	const struct instant at = {.now = now()};
	const struct demand demand = {
		.units = 1,
		.lease = slots_lease(identity, (uint32_t)me->sequence++, at.now),
	};
	struct taken taken = {0};
	struct shortage why;

	if (slots_look(&world.seg, &link, &demand, &at, &taken, &why) != TAKE_ADMIT ||
	    slots_charge(&world.seg, &link, &demand, &at, &taken, &why) != TAKE_ADMIT)
		return;
	me->charge = (struct charge_ref){
		.bucket = link.bucket, .generation = generation, .units = 1, .taken = taken};
	note_taken(me, record, at.now, round);
}

/* From record op->a, in its first life. */
static void op_take(void *self, const struct op *op)
{
	const uint32_t worker = (uint32_t)model_self();

	take(self, (unsigned)op->a, refs[op->a].generation,
	     worker_identity(worker, 1, worker + 100));
}

/* The next worker of slot 0, once that is free again. */
static bool slot_is_free(void)
{
	return shm_load(&world.seg.workers[0].identity) == 0;
}

static void op_succeed(void *self, const struct op *op)
{
	const uint64_t identity = worker_identity(0, 2, 200);

	(void)op;
	shm_store(&world.seg.workers[0].identity, identity);
	take(self, 0, refs[0].generation, identity);
}

/* --- ending --- */

/* Its last access is the CAS, so until then the lease is held. op->a: it was given up, the vendor may not know. */
static void op_release(void *self, const struct op *op)
{
	struct self *me = self;
	struct account *a = me->account;
	const uint64_t at = op->a ? now() : 0;
	bool mine, ended;

	me->account = NULL;
	if (!a)
		return;
	ended = op->a ? slots_abandon(&world.seg, &me->charge, at)
		      : slots_release(&world.seg, &me->charge);
	mine = a->lease == me->charge.taken.word && a->holder == (uint64_t)model_self() + 1;
	if (ended && !mine)
		model_fail("a late release ended a lease that is another's");
	if (!ended && mine && !is_over(a, atomic_load(&known()->shared.now)))
		model_fail("a lease was gone before it was released");
	if (mine) {
		a->holder = NOBODY;
		a->until = op->a ? at + scenario->with[DELAY] * UNIT : 0;
	}
}

static void reap(uint32_t worker, uint64_t at)
{
	for (unsigned i = 0; i < SLOTS_EACH; i++) {
		struct account *a = &known()->accounts[i];

		if (a->holder != worker + 1)
			continue;
		a->holder = NOBODY;
		a->until = scenario->with[DELAY] ? at + SLOTS_REAP_DELAY : 0;
	}
	worker_reap(&world.seg, worker, at);
}

static void op_reap(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	for (uint32_t i = 0; i < ACTORS_MAX; i++) {
		if (model_killed((int)i))
			reap(i, now());
	}
}

static void op_retune(void *self, const struct op *op)
{
	(void)self;
	slots_retune(&world.seg, refs[0].bucket, slots_pack((uint32_t)op->a, 0, 0));
	shm_store(&known()->round, 1);
}

/* --- reclaiming --- */

static void fill(unsigned record)
{
	struct seg_hot *hot = &world.seg.hot[refs[record].bucket];

	/* Noted first: from the last store on it can be taken from. */
	known()->generation[record] = (uint64_t)shm_half_load(&hot->generation) + 1;
	slots_first(&world.seg, refs[record].bucket, lines, WORDS, numbers_for(record), T0, false);
	shm_store(&hot->state[3], extent_word(lines, WORDS / 8));
}

static bool retire(unsigned record)
{
	struct seg_hot *hot = &world.seg.hot[refs[record].bucket];

	if (!slots_close(&world.seg, refs[record].bucket, now()))
		return false;
	for (unsigned i = 0; i < SLOTS_EACH; i++) {
		if (!is_over(&known()->accounts[i], atomic_load(&known()->shared.now)))
			model_fail("slot %u is reclaimed while it is held", i);
		known()->accounts[i].holder = NOBODY;
	}
	known()->generation[record] = 0;
	shm_half_store(&hot->generation, shm_half_load(&hot->generation) + 1);
	return true;
}

/* Record 0 ends and begins anew, in the same lines. */
static void op_renew(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	if (retire(0))
		fill(0);
}

/* Record 0 ends, and record 1 gets its lines. */
static void op_pass_on(void *self, const struct op *op)
{
	struct seg *seg = &world.seg;
	uint32_t first;

	(void)self;
	(void)op;
	if (!retire(0))
		return;
	shm_store(&seg->hot[refs[0].bucket].state[3], 0);
	extent_free(seg, refs[0].bucket, lines, WORDS / 8);
	if (!extent_claim(seg, refs[1].bucket, WORDS / 8, &first) || first != lines)
		model_fail("the lines were not passed on");
	fill(1);
}

#define TAKE                                                                                       \
	{                                                                                          \
		op_take, "take", 0, 0                                                              \
	}
#define TAKE_OTHER                                                                                 \
	{                                                                                          \
		op_take, "take from the other", 1, 0                                               \
	}
#define RELEASE                                                                                    \
	{                                                                                          \
		op_release, "release", 0, 0                                                        \
	}
#define ABANDON                                                                                    \
	{                                                                                          \
		op_release, "abandon", 1, 0                                                        \
	}
#define REAP                                                                                       \
	{                                                                                          \
		op_reap, "reap", 0, 0                                                              \
	}
#define RENEW                                                                                      \
	{                                                                                          \
		op_renew, "reclaim and begin anew", 0, 0                                           \
	}
#define PASS_ON                                                                                    \
	{                                                                                          \
		op_pass_on, "reclaim and pass on", 0, 0                                            \
	}
#define RETUNE(n)                                                                                  \
	{                                                                                          \
		op_retune, "%u slots", n, 0                                                        \
	}
#define SUCCESSOR                                                                                  \
	{                                                                                          \
		{{op_succeed, "enter and take", 0, 0}, RELEASE}, 0, slot_is_free                   \
	}

static void make_record(unsigned record)
{
	const struct bucket_spec spec = {
		.identity = {{record + 1, 1}},
		.kind = KIND_SLOTS,
		.numbers = numbers_for(record),
	};

	if (spec.numbers == 0 || index_insert(&world.seg, 0, &spec, &refs[record]) != INDEX_FOUND)
		model_fail("no record");
}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = RECORDS, .workers = ACTORS_MAX, .extents = 1, .queues = 1};

	world_clear(model.own_size, &config);
	known()->shared.now = T0;
	for (uint32_t i = 0; i < ACTORS_MAX; i++)
		world.seg.workers[i].identity = worker_identity(i, 1, i + 100);
	for (unsigned i = 0; i <= scenario->with[OTHER]; i++)
		make_record(i);
	if (!extent_claim(&world.seg, refs[0].bucket, WORDS / 8, &lines))
		model_fail("no lines");
	fill(0);
}

static void check_slot(unsigned record, unsigned slot)
{
	const struct account *a = &known()->accounts[slot];
	const uint64_t word = slots_word(&world.seg, refs[record].bucket, slot);

	if (a->holder != NOBODY ? word != a->lease
				: word != 0 && (a->until == 0 || slots_holder(word) != UINT32_MAX))
		model_fail("slot %u of record %u does not hold what was taken and not released",
			   slot, record);
}

static void end(void)
{
	for (uint32_t i = 0; i < ACTORS_MAX; i++) {
		if (model_killed((int)i) &&
		    shm_load(&world.seg.workers[i].identity) >> 32 == ((i + 1) << 16 | 1))
			reap(i, atomic_load(&known()->shared.now));
	}
	for (unsigned record = 0; record < RECORDS; record++) {
		for (unsigned i = 0; known()->generation[record] && i < SLOTS_EACH; i++)
			check_slot(record, i);
	}
	if (!scenario->with[OTHER]) /* one of them is linked without a table */
		check_segment();
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"take, take", {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), REAPER(REAP)}, {1}, .kills = 1},
	{"take, take of two", {ACTOR(TAKE, RELEASE, TAKE), ACTOR(TAKE, RELEASE, TAKE), REAPER(REAP)}, {2}, .kills = 1},
	{"take, take, take", {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), REAPER(REAP)}, {2}, .kills = 2},
	{"expire, late release",
	 {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), CLOCK(TICK(UNIT), TICK(UNIT))}, {1, 1}, .kills = 1},
	{"expire, reap", {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), CLOCK(TICK(2 * UNIT)), REAPER(REAP)}, {1, 1}, .kills = 1},
	{"expire, late release, take",
	 {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), ACTOR(TAKE), CLOCK(TICK(2 * UNIT), TICK(2 * UNIT))}, {1, 1}, .kills = 1},
	{"abandon, take", {ACTOR(TAKE, ABANDON), ACTOR(TAKE, RELEASE), CLOCK(TICK(UNIT), TICK(UNIT))}, {1, 0, 0, 0, 1}, .kills = 1},
	{"abandon, take, late release",
	 {ACTOR(TAKE, ABANDON), ACTOR(TAKE, ABANDON), CLOCK(TICK(2 * UNIT), TICK(2 * UNIT))}, {1, 1, 0, 0, 1}, .kills = 1},
	{"abandon, take, abandon, take",
	 {ACTOR(TAKE, ABANDON, TAKE), ACTOR(TAKE, ABANDON), CLOCK(TICK(UNIT), TICK(UNIT))}, {1, 0, 0, 0, 1}, .kills = 1},
	{"abandon, reap", {ACTOR(TAKE, ABANDON), ACTOR(TAKE, RELEASE), CLOCK(TICK(UNIT)), REAPER(REAP)}, {1, 0, 0, 0, 1}, .kills = 1},
	{"abandon, reclaim, take",
	 {ACTOR(TAKE, ABANDON), ACTOR(TAKE, ABANDON), CLOCK(TICK(2 * UNIT)), SUPERVISOR(RENEW)}, {1, 0, 0, 0, 1}, .kills = 1},
	{"reap, successor", {ACTOR(TAKE, RELEASE), SUCCESSOR, REAPER(REAP)}, {2}, .kills = 1},
	{"reap, successor, take", {ACTOR(TAKE), SUCCESSOR, ACTOR(TAKE, RELEASE), REAPER(REAP)}, {2}, .kills = 1},
	{"reclaim, take", {ACTOR(TAKE, RELEASE), ACTOR(TAKE), SUPERVISOR(RENEW)}, {1}, .kills = 1},
	{"reclaim, take from whoever gets the lines",
	 {ACTOR(TAKE, RELEASE), ACTOR(TAKE_OTHER, RELEASE), CLOCK(TICK(2 * UNIT)), SUPERVISOR(PASS_ON)}, {1, 1, true}, .kills = 1},
	{"fewer slots, take", {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), ACTOR(RETUNE(1))}, {2, 0, 0, 1}, .kills = 1},
	{"fewer slots, expire",
	 {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), SUPERVISOR(RETUNE(1)), CLOCK(TICK(2 * UNIT))}, {2, 1, 0, 1}, .kills = 1},
	{"fewer slots, reap", {ACTOR(TAKE, RELEASE), ACTOR(TAKE, RELEASE), SUPERVISOR(RETUNE(1)), REAPER(REAP)}, {2, 0, 0, 1}, .kills = 1},
	{"fewer slots, take, take", {ACTOR(TAKE), ACTOR(TAKE, RELEASE), ACTOR(TAKE), ACTOR(RETUNE(1))}, {3, 0, 0, 1}, .kills = 1,
	 .longer = true},
	{"more slots, take", {ACTOR(TAKE), ACTOR(TAKE, RELEASE), ACTOR(RETUNE(2))}, {1, 0, 0, 2}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "slots",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct slots_notes),
	.setup = setup,
	.end = end,
	.scenarios = scenarios,
};
