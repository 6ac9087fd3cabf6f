/*
 * tests/model/lives.c - windows, rolling limits and slots that are reclaimed under whoever still means them
 * SPDX-License-Identifier: MIT
 *
 * As reclaim.c does for token buckets: one identity's record is reclaimed and may become another's, in the same lines,
 * while workers take by an old handle, give back, settle, correct, release or resolve anew. Checked:
 *
 *	after every step	a live record counts no less than what was admitted in this life and not given back; a lease
 *				that is held, and within its maximum hold, stands in its slot
 *	at a charge		the record is still of the identity that was meant, unless it was over by then
 *	at a take of a slot	nobody else of this identity holds it
 *	at the end		no identity was admitted more than its amount in a window or period, whatever lives it was
 *				charged in; nobody being killed, a life counts no more than was admitted in it; no
 *				identity has two live records, and no record or line is lost; the segment is sound
 */
#include "shm/reclaim.h"

#include "reference.h"
#include "shm/extent.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"

/* The scenario's numbers: records in the table and tables of lines, which identities (bits) are there at first. */
enum { KIND, RECORDS, THERE };

#define AMOUNT 3u
#define LENGTH UINT64_C(100)       /* ns of a window */
#define FIRST  11u                 /* the window in which it begins */
#define CELL   (UINT64_C(1) << 40) /* ticks */
#define UNIT   (UINT64_C(1) << 30) /* ticks: of a lease's age; the maximum hold is one */
#define IDLE   1u /* a life begins no earlier than what the one before it counted may have happened */
#define WORDS  8u
#define IDS    4u
#define EACH   3u

struct given {
	uint64_t id; /* 0: none */
	uint64_t bucket, generation;
	uint64_t at;
	uint64_t units; /* not given back */
	uint64_t more;  /* settled up */
	uint64_t lease; /* in slot */
	uint64_t slot;
};

struct lives_notes {
	struct notes shared;
	uint64_t loose; /* more may count than was admitted */
	struct given given[ACTORS_MAX][EACH];
};

struct self {
	struct bucket_ref ref;
	struct charge_ref charge;
	struct given *given; /* NULL: nothing */
	uint64_t sequence;
};

static struct bucket_ref first[IDS];

static struct lives_notes *known(void)
{
	return (struct lives_notes *)(void *)world.base;
}

/* --- what the kinds do --- */

static uint64_t window_at(uint64_t at)
{
	return FIRST + (at - T0) / (LENGTH * TICKS_PER_NS);
}

static uint64_t pack(void)
{
	switch (scenario->with[KIND]) {
	case KIND_WINDOW:
		return window_pack(AMOUNT, 1000);
	case KIND_ROLLING:
		return rolling_pack(AMOUNT, CELL);
	default:
		return slots_pack(1, UNIT / TICKS_PER_NS, 0);
	}
}

static uint64_t fill(struct seg *seg, uint32_t bucket, uint32_t line, void *user)
{
	const uint64_t at = *(const uint64_t *)user;

	if (scenario->with[KIND] == KIND_ROLLING)
		return rolling_first(seg, bucket, line, pack(), CELL, at, 0);
	slots_first(seg, bucket, line, WORDS, pack(), at, false);
	return 0;
}

static struct link link_of(const struct bucket_ref *ref, uint64_t at)
{
	struct link link = {
		.bucket = ref->bucket,
		.generation = ref->generation,
		.flags = (uint32_t)scenario->with[KIND],
	};

	if (link.flags == KIND_WINDOW) {
		link.shape[WINDOW_INDEX] = window_at(at);
		link.shape[WINDOW_START] = window_at(at) * LENGTH;
		link.shape[WINDOW_END] = (window_at(at) + 1) * LENGTH;
	} else if (link.flags == KIND_ROLLING) {
		link.shape[ROLLING_CELL_TICKS] = CELL;
	}
	return link;
}

static enum take look_and_charge(const struct link *link, const struct demand *demand,
				 const struct instant *at, struct taken *taken)
{
	static const struct {
		enum take (*look)(const struct seg *, const struct link *, const struct demand *,
				  const struct instant *, struct taken *, struct shortage *);
		enum take (*charge)(struct seg *, const struct link *, const struct demand *,
				    const struct instant *, struct taken *, struct shortage *);
	} kinds[KIND_COUNT] = {
		[KIND_WINDOW] = {window_look, window_charge},
		[KIND_ROLLING] = {rolling_look, rolling_charge},
		[KIND_SLOTS] = {slots_look, slots_charge},
	};
	struct shortage why;
	const enum take result = kinds[link->flags].look(&world.seg, link, demand, at, taken, &why);

	return result != TAKE_ADMIT
		       ? result
		       : kinds[link->flags].charge(&world.seg, link, demand, at, taken, &why);
}

static bool give_back(const struct charge_ref *charge, uint64_t units)
{
	return scenario->with[KIND] == KIND_WINDOW ? window_give_back(&world.seg, charge, units)
						   : rolling_give_back(&world.seg, charge, units);
}

static bool debit(const struct charge_ref *charge, uint64_t units)
{
	return scenario->with[KIND] == KIND_WINDOW
		       ? window_debit(&world.seg, charge, units)
		       : rolling_debit(&world.seg, charge, units, now());
}

static bool correct(const struct bucket_ref *ref, uint64_t used)
{
	uint64_t units;

	if (scenario->with[KIND] == KIND_ROLLING)
		return rolling_correct(&world.seg, ref->bucket, ref->generation, used, now(),
				       &units);
	return window_correct(&world.seg, *ref, window_at(now()), used, now_again, NULL, &units);
}

/* --- who holds what --- */

#define FOR_EACH_GIVEN(g)                                                                          \
	for (struct given *g = known()->given[0]; g < known()->given[ACTORS_MAX]; g++)             \
		if (g->id != 0)

static uint64_t clock_now(void)
{
	return atomic_load(&known()->shared.now);
}

/* Whether it still counts at that time, and nobody can have reclaimed what it was charged to. */
static bool counts(const struct given *g, uint64_t at)
{
	switch (scenario->with[KIND]) {
	case KIND_WINDOW:
		return window_at(g->at) == window_at(at);
	case KIND_ROLLING:
		return at <= g->at + ROLLING_CELLS * CELL;
	default:
		return g->lease != 0 && at / UNIT <= g->at / UNIT + 1;
	}
}

static bool is_of(const struct given *g)
{
	const struct seg_hot *hot = &world.seg.hot[g->bucket];

	return atomic_load(&hot->generation) == g->generation &&
	       atomic_load(&hot->identity[0]) == g->id;
}

static void note_given(struct self *me, uint64_t id, uint64_t at)
{
	struct given *given = known()->given[model_self()];
	const bool slots = scenario->with[KIND] == KIND_SLOTS;

	FOR_EACH_GIVEN(g)
	{
		if (slots && g->id == id && counts(g, clock_now()))
			model_fail("identity %u has one slot, and two hold it", (unsigned)id);
	}
	while (given->id != 0)
		given++;
	*given = (struct given){
		.id = id,
		.bucket = me->charge.bucket,
		.generation = me->charge.generation,
		.at = at,
		.units = me->charge.units,
		.lease = slots ? me->charge.taken.word : 0,
		.slot = me->charge.taken.charged,
	};
	me->given = given;
	if (counts(given, clock_now()) && !is_of(given))
		model_fail("identity %u was charged to a record of another life", (unsigned)id);
}

/* --- what actors do --- */

static enum index_result insert(uint64_t id, uint32_t slot, struct bucket_ref *ret_ref)
{
	uint64_t at = now();
	struct bucket_spec spec = {
		.identity = {{id, 1}},
		.kind = (enum seg_kind)scenario->with[KIND],
		.numbers = pack(),
		.now = at,
		.extent_lines = scenario->with[KIND] == KIND_WINDOW ? 0 : WORDS / 8,
		.fill = fill,
		.user = &at,
	};

	_Static_assert(ROLLING_LINES == WORDS / 8, "one line each");
	if (scenario->with[KIND] == KIND_WINDOW)
		window_first(spec.numbers, window_at(at), 0, spec.state);
	return index_insert(&world.seg, slot, &spec, ret_ref);
}

static void charge(struct self *me, uint64_t id, uint64_t units)
{
	const struct instant at = {.now = now(), .wall = (int64_t)(FIRST * LENGTH)};
	struct instant when = at;
	const struct link link = link_of(&me->ref, at.now);
	const struct demand demand = {
		.units = units,
		.lease = slots_lease(worker_identity((uint32_t)model_self(), 1, 100),
				     (uint32_t)me->sequence++, at.now),
	};
	struct taken taken = {0, 0, 0};

	when.wall += (int64_t)((at.now - T0) / TICKS_PER_NS);
	me->given = NULL;
	if (look_and_charge(&link, &demand, &when, &taken) != TAKE_ADMIT)
		return;
	me->charge = (struct charge_ref){
		.bucket = link.bucket,
		.generation = link.generation,
		.units = units,
		.permit = at.now,
		.taken = taken,
	};
	note_given(me, id, at.now);
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

/* It comes to op->a units. */
static void op_settle(void *self, const struct op *op)
{
	struct self *me = self;
	const uint64_t units = me->charge.units;

	if (me->given && op->a < units) {
		me->given->units = op->a;
		if (!give_back(&me->charge, units - op->a))
			known()->loose = true;
	} else if (me->given && op->a > units) {
		known()->loose = true;
		if (debit(&me->charge, op->a - units) && is_of(me->given) &&
		    counts(me->given, clock_now()))
			me->given->more = op->a - units;
	}
	me->given = NULL;
}

static void op_release(void *self, const struct op *op)
{
	struct self *me = self;
	struct given *g = me->given;
	bool was_over;

	(void)op;
	if (!g)
		return;
	me->given = NULL;
	g->lease = 0; /* its last access is the CAS: nobody sees the slot free before */
	was_over = !slots_release(&world.seg, &me->charge);
	if (was_over && clock_now() / UNIT <= g->at / UNIT + 1)
		model_fail("a lease was gone before it was released");
}

/* By an old handle: the vendor says that so much is used. */
static void op_correct(void *self, const struct op *op)
{
	(void)self;
	known()->loose = true;
	(void)correct(&first[op->a], op->b);
}

/* What was charged before counts no more. */
static void op_pass(void *self, const struct op *op)
{
	static const uint64_t ticks[KIND_COUNT] = {
		[KIND_WINDOW] = LENGTH * TICKS_PER_NS,
		[KIND_ROLLING] = CELL * (ROLLING_CELLS + 1) + IDLE,
		[KIND_SLOTS] = 2 * UNIT,
	};
	const struct op pass = {.a = ticks[scenario->with[KIND]]};

	(void)op;
	op_tick(self, &pass);
}

static void op_reclaim(void *self, const struct op *op)
{
	const uint64_t at = now();
	const struct reclaim_rule rule = {.now = at, .idle = IDLE, .window = window_at(at)};

	(void)self;
	(void)op;
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
#define CANCEL                                                                                     \
	{                                                                                          \
		op_settle, "cancel", 0, 0                                                          \
	}
#define SETTLE(n)                                                                                  \
	{                                                                                          \
		op_settle, "settle to %u", n, 0                                                    \
	}
#define RELEASE                                                                                    \
	{                                                                                          \
		op_release, "release", 0, 0                                                        \
	}
#define CORRECT(id, n)                                                                             \
	{                                                                                          \
		op_correct, "correct %u to %u", id, n                                              \
	}
#define RECLAIM                                                                                    \
	{                                                                                          \
		op_reclaim, "reclaim", 0, 0                                                        \
	}

#define PASS                                                                                       \
	{                                                                                          \
		op_pass, "all is over", 0, 0                                                       \
	}

/* --- what must hold --- */

/* Units that must count in a life now, and all that were ever admitted in it. */
static void add_up(uint32_t bucket, uint64_t *ret_least, uint64_t *ret_most)
{
	*ret_least = *ret_most = 0;
	FOR_EACH_GIVEN(g)
	{
		if (g->bucket != bucket || !is_of(g))
			continue;
		*ret_most += g->units + g->more;
		if (counts(g, clock_now()))
			*ret_least += g->units + g->more;
	}
}

static uint64_t used(uint32_t bucket)
{
	return scenario->with[KIND] == KIND_WINDOW
		       ? window_used(&world.seg.hot[bucket], window_at(clock_now()))
		       : rolling_used(&world.seg, bucket, clock_now());
}

/* Windows that are over, too. */
static uint64_t used_ever(uint32_t bucket)
{
	const uint64_t present = window_at(clock_now());
	uint64_t sum = used(bucket);

	for (uint64_t i = FIRST; scenario->with[KIND] == KIND_WINDOW && i < present; i++)
		sum += window_used(&world.seg.hot[bucket], i);
	return sum;
}

static bool lives(uint32_t bucket)
{
	return atomic_load(&world.seg.cold[bucket].owner) == COLD_LINKED &&
	       !reclaim_is_dead(&world.seg.hot[bucket]);
}

static void check_units(uint32_t bucket, bool exact)
{
	uint64_t least, most;

	if (!lives(bucket))
		return;
	add_up(bucket, &least, &most);
	if (used(bucket) < least)
		model_fail("record %u counts less than was admitted", bucket);
	if (exact && used_ever(bucket) > most)
		model_fail("record %u counts what another life was charged", bucket);
}

static void check_leases(void)
{
	FOR_EACH_GIVEN(g)
	{
		if (counts(g, clock_now()) &&
		    slots_word(&world.seg, (uint32_t)g->bucket, (uint32_t)g->slot) != g->lease)
			model_fail("a lease of identity %u is gone", (unsigned)g->id);
	}
}

static void each(void)
{
	if (scenario->with[KIND] == KIND_SLOTS) {
		check_leases();
		return;
	}
	for (uint32_t i = 0; i < world.seg.n_buckets; i++)
		check_units(i, false);
}

/* Whatever lives it was charged in. */
static void check_amount(void)
{
	FOR_EACH_GIVEN(last)
	{
		uint64_t units = 0;

		FOR_EACH_GIVEN(g)
		units += g->id == last->id && g->at <= last->at && counts(g, last->at) ? g->units
										       : 0;
		if (units > AMOUNT)
			model_fail("identity %u was admitted %u units", (unsigned)last->id,
				   (unsigned)units);
	}
}

static unsigned lives_of(uint64_t id)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < world.seg.n_buckets; i++)
		n += lives(i) && shm_load(&world.seg.hot[i].identity[0]) == id;
	return n;
}

/* The dead have been reaped, and what was begun is finished. */
static void check_table(void)
{
	unsigned n = 0, lines = 0;

	for (uint64_t id = 1; id < IDS; id++) {
		if (lives_of(id) > 1)
			model_fail("identity %u has two live records", (unsigned)id);
		n += lives_of(id);
	}
	for (uint32_t i = 0; i < world.seg.n_extents; i++)
		lines += atomic_load(&world.seg.extent_owners[i]) != 0;
	if (lines != (scenario->with[KIND] == KIND_WINDOW ? 0 : n))
		model_fail("%u records have %u lines", n, lines);
	for (uint32_t i = 0; i < world.seg.n_buckets; i++)
		n += atomic_load(&world.seg.cold[i].owner) == COLD_FREE;
	if (n != world.seg.n_buckets)
		model_fail("%u records are lost", world.seg.n_buckets - n);
}

/* What the next patrol does: slots that were closed are opened again, and what was begun goes on. */
static void patrol(void)
{
	const struct reclaim_rule none = {.now = 0};

	for (uint32_t i = 0; i < world.seg.n_buckets; i++) {
		if (lives(i) && scenario->with[KIND] == KIND_SLOTS)
			(void)slots_repair(&world.seg, i);
		else if (shm_load(&world.seg.cold[i].owner) == COLD_LINKED && !lives(i))
			(void)reclaim_record(&world.seg, i, &none);
	}
}

static void end(void)
{
	const bool slots = scenario->with[KIND] == KIND_SLOTS;

	if (!slots) {
		check_amount();
		check_segment(); /* between two lives, too; closed slots are to be opened first */
	}
	patrol();
	check_segment();
	check_table();
	for (uint32_t i = 0; i < world.seg.n_buckets && !slots; i++)
		check_units(i, model_kills() == 0 && !known()->loose);
}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = (uint32_t)scenario->with[RECORDS],
		.workers = ACTORS_MAX,
		.extents = (uint32_t)scenario->with[RECORDS],
		.queues = 1,
	};

	world_clear(model.own_size, &config);
	known()->shared.now = T0;
	for (uint32_t i = 0; i < ACTORS_MAX; i++)
		world.seg.workers[i].identity = worker_identity(i, 1, 100);
	for (uint64_t id = 1; id < IDS; id++) {
		first[id] = (struct bucket_ref){0, UINT32_MAX};
		if ((scenario->with[THERE] >> id & 1) && insert(id, 0, &first[id]) != INDEX_FOUND)
			model_fail("no record");
	}
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"window: reclaim, take", {ACTOR(TAKE(1, 2)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_WINDOW, 1, 2}, .kills = 1},
	{"window: reclaim, take, resolve again", {ACTOR(TAKE(1, 2)), ACTOR(RESOLVE(1, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_WINDOW, 2, 2}, .kills = 1},
	{"window: reclaim, late refund", {ACTOR(TAKE(1, 2), CANCEL), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_WINDOW, 1, 2}, .kills = 1},
	{"window: reclaim, settle up", {ACTOR(TAKE(1, 2), SETTLE(3)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_WINDOW, 1, 2}, .kills = 1},
	{"window: reclaim, correct", {ACTOR(CORRECT(1, 3)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_WINDOW, 1, 2}, .kills = 1},
	{"rolling: reclaim, take", {ACTOR(TAKE(1, 2)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_ROLLING, 1, 2}, .kills = 1, .longer = true},
	{"rolling: reclaim, take, resolve again", {ACTOR(TAKE(1, 2)), ACTOR(RESOLVE(1, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_ROLLING, 2, 2}, .kills = 1, .longer = true},
	{"rolling: reclaim, late refund", {ACTOR(TAKE(1, 2), CANCEL), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_ROLLING, 1, 2}},
	{"rolling: reclaim, late refund", {ACTOR(TAKE(1, 2), CANCEL), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_ROLLING, 1, 2}, .kills = 1, .longer = true},
	{"rolling: reclaim, settle up", {ACTOR(TAKE(1, 2), SETTLE(3)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_ROLLING, 1, 2}, .kills = 1, .longer = true},
	{"rolling: reclaim, correct", {ACTOR(CORRECT(1, 3)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_ROLLING, 1, 2}},
	{"rolling: reclaim, correct", {ACTOR(CORRECT(1, 3)), ACTOR(RESOLVE(2, 2)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_ROLLING, 1, 2}, .kills = 1, .longer = true},
	{"slots: reclaim, take", {ACTOR(TAKE(1, 1)), ACTOR(RESOLVE(2, 1)), ACTOR(RECLAIM)}, {KIND_SLOTS, 1, 2}, .kills = 1},
	{"slots: reclaim, take, resolve again", {ACTOR(TAKE(1, 1)), ACTOR(RESOLVE(1, 1)), ACTOR(RECLAIM)}, {KIND_SLOTS, 2, 2}, .kills = 1},
	{"slots: reclaim, late release", {ACTOR(TAKE(1, 1), RELEASE), ACTOR(RESOLVE(2, 1)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_SLOTS, 1, 2}},
	{"slots: reclaim, late release", {ACTOR(TAKE(1, 1), RELEASE), ACTOR(RESOLVE(2, 1)), ACTOR(RECLAIM), CLOCK(PASS)}, {KIND_SLOTS, 1, 2}, .kills = 1, .longer = true},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "lives",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct lives_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
