/*
 * tests/model/mixed.c - chains of buckets, windows and slots: all of it or nothing, and what classes are promised
 * SPDX-License-Identifier: MIT
 *
 * Each actor is the worker of its number, and acquires as libration does. Checked:
 *
 *	at every take	nobody else holds the slot; a class that asks for no more than its guarantee is not denied; a class
 *			with a ceiling holds no more than that
 *	after each step	windows count all that was admitted and not given back
 *	at the end	no bucket admitted too much over any interval, no window more than its amount, and an admitted
 *			chain has charged every link; with nobody killed a refused one has left nothing charged; after
 *			the dead are reaped exactly the leases of the living are left; the segment is sound
 */
#include "shm/chain.h"
#include "shm/extent.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"

#include "reference.h"

/* The scenario's numbers: which layout; what its records hold; LOOSE: refunds cross, so buckets may stand higher. */
enum { LAYOUT, HOLDS, LOOSE = HOLDS + 4 };

#define RECORDS 4u
#define CHAIN   4u
#define CLASSES 2u
#define UNIT    7u
#define WORDS   8u
#define LENGTH  1000u /* ns of a window: longer than any scenario */
#define LOOKS   4     /* as libration's */

/* --- layouts: records, and the chain of each class over them --- */

struct piece {
	unsigned record;
	uint32_t flags;
	bool marked; /* must leave what record 0 holds */
	uint64_t shape[4];
};

struct layout {
	enum seg_kind kinds[RECORDS];
	uint32_t n_links[CLASSES];
	struct piece chains[CLASSES][CHAIN];
	bool promised;    /* class 0 asks for no more than is its own */
	uint64_t ceiling; /* of class 1; 0: none */
};

enum { ALL, BACKED, OWN_PART, RANGES };

static const struct layout layouts[] = {
	/* The classes pass them in opposite order. */
	[ALL] = {.kinds = {KIND_BUCKET, KIND_WINDOW, KIND_SLOTS},
		 .n_links = {3, 3},
		 .chains = {{{0}, {1}, {2}}, {{2}, {1}, {0}}}},
	/* 0 is class 0's guarantee, 1 what all share; what is not backed leaves the guarantee. */
	[BACKED] = {.kinds = {KIND_BUCKET, KIND_BUCKET, KIND_SLOTS},
		    .n_links = {2, 2},
		    .chains = {{{0, LINK_BACKING}, {1, 0, true}}, {{1, 0, true}, {2}}},
		    .promised = true},
	/* 0 is class 0's part of a window, 1 the rest of it. */
	[OWN_PART] = {.kinds = {KIND_WINDOW, KIND_WINDOW, KIND_BUCKET},
		      .n_links = {3, 2},
		      .chains = {{{2}, {0, LINK_OR}, {1}}, {{1}, {2}}}},
	/* One slot is class 0's own; class 1 may hold one of the others. */
	[RANGES] = {.kinds = {KIND_SLOTS},
		    .n_links = {1, 1},
		    .chains = {{{0, 0, false, {0, 1, 1, 0}}}, {{0, 0, false, {0, 0, 1, 1}}}},
		    .promised = true,
		    .ceiling = 1},
};

/* --- what is known --- */

struct slot {
	uint64_t holder; /* + 1 */
	uint64_t lease;
	uint64_t class_index;
};

struct mixed_notes {
	struct notes shared;
	uint64_t counted[RECORDS]; /* of windows: admitted and not given back */
	uint64_t retuned; /* whoever was charging then has spent, and may have got nothing */
	struct slot slots[WORDS];
	uint64_t extent; /* its first line */
};

struct self {
	struct ration_ticket ticket;
	struct permit *permits[RECORDS]; /* of buckets */
	uint32_t sequence;
};

static struct bucket_ref refs[RECORDS];

static struct mixed_notes *known(void)
{
	return (struct mixed_notes *)(void *)world.base;
}

static const struct layout *layout(void)
{
	return &layouts[scenario->with[LAYOUT]];
}

static unsigned record_of(const struct ration_ticket_link *link)
{
	unsigned record = 0;

	while (refs[record].bucket != link->bucket)
		record++;
	return record;
}

/* --- taking --- */

static void make_chain(unsigned class_index, struct link links[CHAIN])
{
	for (unsigned i = 0; i < layout()->n_links[class_index]; i++) {
		const struct piece *piece = &layout()->chains[class_index][i];
		const enum seg_kind kind = layout()->kinds[piece->record];
		struct link *link = &links[i];

		*link = (struct link){
			.bucket = refs[piece->record].bucket,
			.generation = refs[piece->record].generation,
			.unit = UNIT,
			.flags = (uint32_t)kind | piece->flags,
			.mark = piece->marked ? scenario->with[HOLDS] : 0,
			.shape = {piece->shape[0], piece->shape[1], piece->shape[2],
				  piece->shape[3]},
		};
		if (kind == KIND_WINDOW) {
			link->shape[WINDOW_INDEX] = 1;
			link->shape[WINDOW_END] = LENGTH;
		}
	}
}

/* Look and charge, as often as another combination may do. */
static enum take try_chain(struct draw *draw, struct ration_ticket *ticket)
{
	enum take result = TAKE_AGAIN;

	for (int i = 0; i < LOOKS; i++) {
		ticket->n_links = 0;
		result = chain_look(&world.seg, draw);
		if (result != TAKE_ADMIT)
			return result;
		result = chain_charge(&world.seg, draw, ticket);
		if (result == TAKE_ADMIT)
			return result;
		ticket->permit = draw->at.now;
		chain_give_back(&world.seg, ticket, now_again, NULL);
		ticket->n_links = 0;
		if (!draw->again)
			return result;
	}
	return TAKE_AGAIN;
}

static bool is_backed(const struct draw *draw)
{
	return draw->verdict.link > 0 && draw->links[draw->verdict.link - 1].flags & LINK_BACKING;
}

/* A guarantee's bucket has room as of now, not as of when the clock was read. */
static enum take acquire(struct draw *draw, struct ration_ticket *ticket)
{
	enum take result;

	draw->at = (struct instant){now(), 1};
	result = try_chain(draw, ticket);
	if (result == TAKE_WAIT && is_backed(draw)) {
		draw->at.now = now();
		result = try_chain(draw, ticket);
	}
	return result;
}

static void note_lease(const struct ration_ticket_link *link, uint64_t class_index)
{
	struct slot *slots = known()->slots;
	uint64_t held = 0;

	if (slots[link->charged].holder != 0)
		model_fail("slot %u is held by two", (unsigned)link->charged);
	slots[link->charged] = (struct slot){(uint64_t)model_self() + 1, link->word, class_index};
	for (unsigned i = 0; i < WORDS; i++)
		held += slots[i].holder != 0 && slots[i].class_index == 1;
	if (layout()->ceiling != 0 && held > layout()->ceiling)
		model_fail("a class holds more slots than its ceiling");
}

static void note_all(struct self *me, uint64_t at, uint64_t class_index)
{
	for (unsigned i = 0; i < me->ticket.n_links; i++) {
		const struct ration_ticket_link *link = &me->ticket.links[i];
		const unsigned record = record_of(link);

		switch (layout()->kinds[record]) {
		case KIND_BUCKET:
			me->permits[record] =
				note_permit(record == 2 ? 0 : record, at, link->amount);
			break;
		case KIND_WINDOW:
			known()->counted[record] += link->amount;
			break;
		default:
			note_lease(link, class_index);
		}
	}
}

/* op->a units, as class op->b. */
static void op_take(void *self, const struct op *op)
{
	struct self *me = self;
	const uint32_t worker = (uint32_t)model_self();
	const struct charge cost = {UNIT, op->a};
	const uint32_t sequence = me->sequence + 1;
	struct link links[CHAIN];
	struct draw draw = {.links = links, .n_links = layout()->n_links[op->b]};
	enum take result;

	*me = (struct self){.sequence = sequence};
	make_chain((unsigned)op->b, links);
	draw.lease = slots_lease(worker_identity(worker, 1, 100 + worker), sequence, 0);
	(void)chain_units(&draw, &cost, 1);
	result = acquire(&draw, &me->ticket);
	if (result == TAKE_ADMIT) {
		me->ticket.permit = draw.at.now;
		note_all(me, draw.at.now, op->b);
		return;
	}
	if (layout()->promised && op->b == 0 && result != TAKE_AGAIN)
		model_fail("a class is denied what it was guaranteed");
	*me = (struct self){.sequence = sequence};
}

/* --- ending --- */

static void note_free(const struct ration_ticket_link *link)
{
	struct slot *slot = &known()->slots[link->charged];

	if (slot->holder != (uint64_t)model_self() + 1 || slot->lease != link->word)
		model_fail("a lease is gone");
	slot->holder = 0;
}

/* What is given back is known before it happens: all that is beyond `actual`. */
static void note_back(struct self *me, uint64_t actual)
{
	for (unsigned i = 0; i < me->ticket.n_links; i++) {
		const struct ration_ticket_link *link = &me->ticket.links[i];
		const unsigned record = record_of(link);

		if (layout()->kinds[record] == KIND_BUCKET)
			me->permits[record]->back = link->amount - actual;
		else if (layout()->kinds[record] == KIND_WINDOW)
			known()->counted[record] -= link->amount - actual;
		else
			note_free(link);
	}
}

/* Others may come before what was taken ends. */
static bool at_any_time(void)
{
	return true;
}

/* The request never left. */
static void op_cancel(void *self, const struct op *op)
{
	struct self *me = self;

	(void)op;
	if (me->ticket.n_links == 0)
		return;
	model_wait(at_any_time);
	note_back(me, 0);
	chain_give_back(&world.seg, &me->ticket, now_again, NULL);
	*me = (struct self){.sequence = me->sequence};
}

/* It came to op->a units, fewer than were estimated. */
static void op_settle(void *self, const struct op *op)
{
	struct self *me = self;

	if (me->ticket.n_links == 0)
		return;
	model_wait(at_any_time);
	note_back(me, op->a);
	for (uint32_t i = 0; i < me->ticket.n_links; i++)
		chain_settle_link(&world.seg, &me->ticket, i, op->a, now_again, NULL);
	chain_release(&world.seg, &me->ticket);
	*me = (struct self){.sequence = me->sequence};
}

static uint64_t numbers_for(enum seg_kind kind, uint64_t holds)
{
	if (kind == KIND_BUCKET)
		return numbers_of(1, holds);
	return kind == KIND_WINDOW ? window_pack(holds, 1000) : slots_pack((uint32_t)holds, 0, 0);
}

/* A reload: record op->a holds op->b from now on. */
static void op_retune(void *self, const struct op *op)
{
	const enum seg_kind kind = layout()->kinds[op->a];
	const uint64_t numbers = numbers_for(kind, op->b);
	struct seg_hot *hot = &world.seg.hot[refs[op->a].bucket];

	(void)self;
	known()->retuned = true;
	if (kind == KIND_BUCKET)
		(void)bucket_retune(hot, numbers, now_again, NULL);
	else if (kind == KIND_WINDOW)
		shm_store(&hot->numbers, numbers);
	else
		slots_retune(&world.seg, refs[op->a].bucket, numbers);
}

static void reap_the_dead(void)
{
	for (uint32_t i = 0; i < ACTORS_MAX; i++) {
		if (!model_killed((int)i))
			continue;
		for (unsigned s = 0; s < WORDS; s++) {
			if (known()->slots[s].holder == i + 1)
				known()->slots[s].holder = 0;
		}
		worker_reap(&world.seg, i, 0);
	}
}

static void op_reap(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	reap_the_dead();
}

#define TAKE(n)                                                                                    \
	{                                                                                          \
		op_take, "take %u", n, 0                                                           \
	}
#define TAKE_LOW(n)                                                                                \
	{                                                                                          \
		op_take, "take %u as class 1", n, 1                                                \
	}
#define CANCEL                                                                                     \
	{                                                                                          \
		op_cancel, "cancel", 0, 0                                                          \
	}
#define SETTLE(n)                                                                                  \
	{                                                                                          \
		op_settle, "settle to %u", n, 0                                                    \
	}
#define RETUNE(record, n)                                                                          \
	{                                                                                          \
		op_retune, "record %u holds %u", record, n                                         \
	}
#define REAP                                                                                       \
	{                                                                                          \
		op_reap, "reap", 0, 0                                                              \
	}

/* --- what must hold --- */

static bool has(unsigned record, enum seg_kind kind)
{
	return layout()->kinds[record] == kind;
}

static struct seg_hot *hot(unsigned record)
{
	return &world.seg.hot[refs[record].bucket];
}

static void each(void)
{
	for (unsigned i = 0; i < RECORDS; i++) {
		if (has(i, KIND_WINDOW) && window_used(hot(i), 1) < known()->counted[i])
			model_fail("window %u counts less than was admitted", i);
	}
}

static void check_bucket(unsigned record)
{
	const unsigned permits = record == 2 ? 0 : record;
	const uint64_t t = atomic_load(&notes()->now);
	const uint64_t charged = noted_units(permits), tat = atomic_load(&hot(record)->state[0]);
	const uint64_t burst = bucket_burst(atomic_load(&hot(record)->numbers));

	check_never_over(permits, scenario->with[HOLDS + record], 1, 1);
	/* Of more than a smaller burst holds, that is what remains. */
	if (t == T0 && tat < T0 + (charged < burst ? charged : burst))
		model_fail("bucket %u is charged less than was admitted", record);
	if (model_kills() == 0 && !known()->retuned && !scenario->with[LOOSE] && tat > t + charged)
		model_fail("bucket %u is charged more than was admitted", record);
}

static void check_window(unsigned record)
{
	if (known()->counted[record] > scenario->with[HOLDS + record])
		model_fail("window %u admitted too much", record);
	if (model_kills() == 0 && !known()->retuned &&
	    window_used(hot(record), 1) != known()->counted[record])
		model_fail("window %u counts more than was admitted", record);
}

static void check_slots(unsigned record)
{
	for (unsigned i = 0; i < WORDS; i++) {
		const struct slot *slot = &known()->slots[i];
		const uint64_t word = slots_word(&world.seg, refs[record].bucket, i);

		if (slot->holder != 0 ? word != slot->lease : word != 0)
			model_fail("slot %u does not hold what was taken and not released", i);
	}
}

static void end(void)
{
	reap_the_dead();
	for (unsigned i = 0; i < RECORDS; i++) {
		if (has(i, KIND_BUCKET))
			check_bucket(i);
		else if (has(i, KIND_WINDOW))
			check_window(i);
		else if (has(i, KIND_SLOTS))
			check_slots(i);
	}
	check_segment();
}

/* --- scenarios --- */

static void make_record(unsigned i)
{
	const enum seg_kind kind = layout()->kinds[i];
	struct bucket_spec spec = {
		.identity = {{i + 1, 1}},
		.kind = kind,
		.numbers = numbers_for(kind, scenario->with[HOLDS + i]),
		.state = {T0},
	};
	uint32_t lines;

	if (kind == KIND_WINDOW)
		window_first(spec.numbers, 1, false, spec.state);
	else if (kind == KIND_SLOTS)
		spec.state[0] = 0;
	if (spec.numbers == 0 || index_insert(&world.seg, 0, &spec, &refs[i]) != INDEX_FOUND)
		model_fail("no record");
	/* Both classes have drawn from it already: their marks are no concern of these scenarios. */
	hot(i)->kind |= UINT32_C(3) << KIND_RECENT_SHIFT;
	if (kind != KIND_SLOTS)
		return;
	if (!extent_claim(&world.seg, refs[i].bucket, WORDS / 8, &lines))
		model_fail("no lines");
	slots_first(&world.seg, refs[i].bucket, lines, WORDS, spec.numbers, T0, false);
	shm_store(&hot(i)->state[3], extent_word(lines, WORDS / 8));
}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = RECORDS, .workers = ACTORS_MAX, .extents = 1, .queues = 1};

	world_clear(model.own_size, &config);
	notes()->now = T0;
	for (uint32_t i = 0; i < ACTORS_MAX; i++)
		world.seg.workers[i].identity = worker_identity(i, 1, i + 100);
	for (unsigned i = 0; i < RECORDS && layout()->kinds[i] != KIND_NONE; i++)
		make_record(i);
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"all kinds: acquire, acquire", {ACTOR(TAKE(3)), ACTOR(TAKE_LOW(3)), REAPER(REAP)}, {ALL, 4, 6, 2}, .kills = 1},
	{"all kinds: acquire, acquire the last slot", {ACTOR(TAKE(3)), ACTOR(TAKE(3)), REAPER(REAP)}, {ALL, 9, 9, 1}, .kills = 1},
	{"all kinds: acquire, acquire, acquire", {ACTOR(TAKE(2)), ACTOR(TAKE_LOW(2)), ACTOR(TAKE(1))}, {ALL, 4, 4, 2}},
	{"all kinds: acquire, acquire, acquire", {ACTOR(TAKE(2)), ACTOR(TAKE_LOW(2)), ACTOR(TAKE(1))}, {ALL, 4, 4, 2}, .kills = 1, .longer = true},
	{"all kinds: cancel, acquire",
	 {ACTOR(TAKE(3), CANCEL), ACTOR(TAKE_LOW(2), CANCEL), CLOCK(TICK(2))}, {ALL, 4, 3, 2, 0, true}, .kills = 1},
	{"all kinds: settle down, acquire",
	 {ACTOR(TAKE(3), SETTLE(1)), ACTOR(TAKE(2), SETTLE(1)), REAPER(REAP)}, {ALL, 5, 4, 1, 0, true}, .kills = 1},
	{"guarantee: acquire, acquire of others", {ACTOR(TAKE(1), TAKE(1)), ACTOR(TAKE_LOW(2), TAKE_LOW(1))}, {BACKED, 2, 4, 2}, .kills = 1},
	{"guarantee: acquire, acquire, acquire of others",
	 {ACTOR(TAKE(1)), ACTOR(TAKE(1)), ACTOR(TAKE_LOW(2), TAKE_LOW(1)), CLOCK(TICK(1))}, {BACKED, 2, 4, 1}, .kills = 1},
	{"guarantee: acquire, others cancel",
	 {ACTOR(TAKE(1), TAKE(1)), ACTOR(TAKE_LOW(2), CANCEL, TAKE_LOW(2)), CLOCK(TICK(1), TICK(1))}, {BACKED, 2, 4, 2, 0, true}, .kills = 1},
	{"guarantee: cancel, others acquire",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE_LOW(2)), ACTOR(TAKE_LOW(1)), CLOCK(TICK(1))}, {BACKED, 2, 4, 2, 0, true}, .kills = 1},
	{"own part or common: acquire, acquire of others",
	 {ACTOR(TAKE(2), TAKE(1)), ACTOR(TAKE_LOW(2), TAKE_LOW(1))}, {OWN_PART, 2, 3, 8}, .kills = 1},
	{"own part or common: acquire, acquire, acquire of others",
	 {ACTOR(TAKE(2)), ACTOR(TAKE(2)), ACTOR(TAKE_LOW(2))}, {OWN_PART, 2, 3, 5}, .kills = 1},
	{"own part or common: cancel, acquire of others",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(2)), ACTOR(TAKE_LOW(2))}, {OWN_PART, 2, 3, 6, 0, true}, .kills = 1},
	{"own slots, ceiling: take, take",
	 {ACTOR(TAKE(1), CANCEL), ACTOR(TAKE_LOW(1), CANCEL), ACTOR(TAKE_LOW(1)), REAPER(REAP)}, {RANGES, 3}, .kills = 1},
	{"reload, all kinds: acquire, acquire",
	 {ACTOR(TAKE(3)), ACTOR(TAKE_LOW(3)), ACTOR(RETUNE(0, 3), RETUNE(1, 3), RETUNE(2, 1))}, {ALL, 6, 6, 2}, .kills = 1, .longer = true},
	{"reload, all kinds: acquire",
	 {ACTOR(TAKE(3), TAKE(3)), ACTOR(RETUNE(0, 3), RETUNE(1, 3), RETUNE(2, 1))}, {ALL, 6, 6, 2}, .kills = 1},
	{"reload, all kinds: cancel, acquire",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(3)), ACTOR(RETUNE(1, 3), RETUNE(0, 3))}, {ALL, 4, 4, 2}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "mixed",
	.self_size = (sizeof(struct self) + 15) / 16 * 16,
	.own_size = sizeof(struct mixed_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
