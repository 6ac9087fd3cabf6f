/*
 * tests/model/chain.c - acquire, cancel and settle over two buckets at once
 * SPDX-License-Identifier: MIT
 *
 * Checked at the end of each execution: no bucket admitted too much over any interval; each admitted
 * chain has charged both buckets in full; a refused one has left nothing charged, unless somebody
 * was killed or refunds crossed; the segment is sound.
 */
#include "shm/chain.h"

#include "reference.h"

/*
 * The scenario's numbers: the burst of both buckets, what is spent of each, and whether refunds cross. One that
 * comes after another's gives back less than it could (bucket.h says why): what is lost drains with time.
 */
enum { BURST, SPENT, LOOSE = SPENT + BUCKETS };
#define UNIT 7u

struct self {
	struct ration_ticket ticket;
	struct permit *permits[BUCKETS];
};

static struct bucket_ref refs[BUCKETS];

/* As libration acquires. op->a units; op->b: which bucket comes first. */
static void op_take(void *self, const struct op *op)
{
	struct self *me = self;
	const struct charge cost = {UNIT, op->a};
	const uint64_t at = now();
	struct link links[BUCKETS];
	struct draw draw = {.links = links, .n_links = BUCKETS, .at = {.now = at}};
	enum take result;

	*me = (struct self){.ticket = {.n_links = 0}};
	for (unsigned i = 0; i < BUCKETS; i++)
		links[i] = (struct link){
			.bucket = refs[i ^ op->b].bucket,
			.generation = refs[i ^ op->b].generation,
			.unit = UNIT,
			.flags = KIND_BUCKET,
		};
	(void)chain_units(&draw, &cost, 1);
	result = chain_look(&world.seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&world.seg, &draw, &me->ticket);
	if (result != TAKE_ADMIT) {
		chain_give_back(&world.seg, &me->ticket, now_again, NULL);
		*me = (struct self){.ticket = {.n_links = 0}};
		return;
	}
	for (unsigned i = 0; i < BUCKETS; i++)
		me->permits[i ^ op->b] = note_permit(i ^ (unsigned)op->b, at, op->a);
}

/* The usual acquire, by the short path: at what a handle knows to be the default cost. op->a units of both; op->b: surely. */
static void op_take_plainly(void *self, const struct op *op)
{
	struct self *me = self;
	struct link links[BUCKETS];
	bucket_numbers numbers[BUCKETS];
	uint64_t at;
	bool admits = true;

	*me = (struct self){.ticket = {.n_links = 0}};
	for (unsigned i = 0; i < BUCKETS; i++) {
		links[i] = (struct link){
			.bucket = refs[i].bucket,
			.generation = refs[i].generation,
			.unit = UNIT,
			.flags = KIND_BUCKET | LINK_HAS_DEFAULT,
			.default_cost = op->a,
		};
		chain_hint(&world.seg, &links[i]);
	}
	at = now();
	for (unsigned i = 0; i < BUCKETS; i++) {
		numbers[i] = links[i].numbers;
		admits = admits && chain_prepare(&links[i], NULL, 0, &me->ticket.links[i]) &&
			 chain_admits(&world.seg, &links[i], 0, &me->ticket.links[i], at);
	}
	while (admits && !chain_charge_plain(&world.seg, &me->ticket, BUCKETS, numbers, at)) {
		const uint32_t next = me->ticket.n_links;

		admits = chain_admits(&world.seg, &links[next], 0, &me->ticket.links[next], at);
	}
	if (!admits) {
		if (op->b)
			model_fail("the short path is closed");
		chain_give_back(&world.seg, &me->ticket, now_again, NULL);
		*me = (struct self){.ticket = {.n_links = 0}};
		return;
	}
	for (unsigned i = 0; i < BUCKETS; i++)
		me->permits[i] = note_permit(i, at, op->a);
}

/* A unit of bucket op->a takes op->b ticks now. */
static void op_retune(void *self, const struct op *op)
{
	(void)self;
	(void)bucket_retune(&world.seg.hot[refs[op->a].bucket],
			    numbers_of(op->b, scenario->with[BURST]), now_again, NULL);
}

/* From one bucket alone: op->a units of bucket op->b. */
static void op_take_one(void *self, const struct op *op)
{
	const struct bucket_ref ref = refs[op->b];
	struct seg_hot *hot = &world.seg.hot[ref.bucket];
	const uint64_t at = now();
	struct bucket_view view;

	(void)self;
	if (bucket_look(hot, ref.generation, op->a, at, &view) == TAKE_ADMIT &&
	    bucket_charge(hot, ref.generation, op->a, at, &view) == TAKE_ADMIT)
		(void)note_permit((unsigned)op->b, at, op->a);
}

/* The request never left: from here on it counts nowhere. */
static void op_cancel(void *self, const struct op *op)
{
	struct self *me = self;

	(void)op;
	if (!me->permits[0])
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		me->permits[i]->back = me->permits[i]->units;
	chain_give_back(&world.seg, &me->ticket, now_again, NULL);
	*me = (struct self){.ticket = {.n_links = 0}};
}

static void op_settle(void *self, const struct op *op)
{
	struct self *me = self;

	for (unsigned i = 0; me->permits[0] && i < me->ticket.n_links; i++) {
		const struct ration_ticket_link *link = &me->ticket.links[i];
		const unsigned bucket = link->bucket == refs[0].bucket ? 0 : 1;
		struct permit *permit = me->permits[bucket];

		if (op->a < permit->units)
			permit->back = permit->units - op->a;
		chain_settle_link(&world.seg, &me->ticket, i, op->a, now_again, NULL);
		if (op->a > permit->units)
			notes()->debts[bucket] += op->a - permit->units;
	}
	*me = (struct self){.ticket = {.n_links = 0}};
}

#define TAKE(n)                                                                                    \
	{                                                                                          \
		op_take, "take %u of both", n, 0                                                   \
	}
#define TAKE_PLAINLY(n)                                                                            \
	{                                                                                          \
		op_take_plainly, "take %u of both plainly", n, 0                                   \
	}
#define TAKE_PLAINLY_ALONE(n)                                                                      \
	{                                                                                          \
		op_take_plainly, "take %u of both plainly, alone", n, 1                            \
	}
#define RETUNE(b, ticks)                                                                           \
	{                                                                                          \
		op_retune, "bucket %u: a unit in %u ticks", b, ticks                               \
	}
#define TAKE_BACK(n)                                                                               \
	{                                                                                          \
		op_take, "take %u of both backwards", n, 1                                         \
	}
#define TAKE_ONE(n, b)                                                                             \
	{                                                                                          \
		op_take_one, "take %u of bucket %u", n, b                                          \
	}
#define CANCEL                                                                                     \
	{                                                                                          \
		op_cancel, "cancel", 0, 0                                                          \
	}
#define SETTLE(n)                                                                                  \
	{                                                                                          \
		op_settle, "settle to %u", n, 0                                                    \
	}

static void setup(void)
{
	const struct seg_config config = {.buckets = BUCKETS, .workers = ACTORS_MAX, .queues = 1};

	world_clear(model.own_size, &config);
	notes()->now = T0;
	for (unsigned i = 0; i < BUCKETS; i++) {
		refs[i] = make_bucket(i + 1, 1, scenario->with[BURST], scenario->with[SPENT + i]);
		/* As if the class had drawn from it: that opens the short path. */
		world.seg.hot[refs[i].bucket].kind |= UINT32_C(1) << KIND_RECENT_SHIFT;
	}
}

static uint64_t tat(unsigned bucket)
{
	struct bucket_view view;

	(void)bucket_look(&world.seg.hot[refs[bucket].bucket], refs[bucket].generation, 0, T0,
			  &view);
	return view.tat;
}

static void end(void)
{
	const uint64_t t = atomic_load(&notes()->now);

	for (unsigned i = 0; i < BUCKETS; i++) {
		const uint64_t began = T0 + scenario->with[SPENT + i];
		const uint64_t charged = noted_units(i) + notes()->debts[i];

		check_never_over(i, scenario->with[BURST], 1, 1);
		if (t == T0 && tat(i) < began + charged)
			model_fail("bucket %u is charged less than was admitted", i);
		if (model_kills() == 0 && !scenario->with[LOOSE] &&
		    tat(i) > (t > began ? t : began) + charged)
			model_fail("bucket %u is charged more than was admitted", i);
	}
	check_segment();
}

static const struct scenario scenarios[] = {
	{"acquire, acquire", {ACTOR(TAKE(3)), ACTOR(TAKE(3))}, {4}, .kills = 1},
	{"acquire, acquire the other way round",
	 {ACTOR(TAKE(3)), ACTOR(TAKE_BACK(3)), CLOCK(TICK(1), TICK(2))},
	 {4},
	 .kills = 1},
	{"acquire, charge of one link",
	 {ACTOR(TAKE(2), TAKE(2)), ACTOR(TAKE_ONE(3, 1)), CLOCK(TICK(1), TICK(1))},
	 {4},
	 .kills = 1},
	{"refused half-way alone", {ACTOR(TAKE(3)), ACTOR(TAKE_ONE(3, 1))}, {4}},
	{"acquire, acquire, charge of one link",
	 {ACTOR(TAKE(2)), ACTOR(TAKE_BACK(3)), ACTOR(TAKE_ONE(3, 1)), CLOCK(TICK(2))},
	 {4, 0, 1},
	 .kills = 1},
	{"cancel, acquire",
	 {ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(3), TAKE(3)), CLOCK(TICK(1), TICK(2))},
	 {4, 0, 0, true},
	 .kills = 1},
	{"settle down, acquire",
	 {ACTOR(TAKE(4), SETTLE(1)), ACTOR(TAKE(3), TAKE(3)), CLOCK(TICK(1), TICK(2))},
	 {4, 0, 0, true},
	 .kills = 1},
	{"settle up, acquire",
	 {ACTOR(TAKE(2), SETTLE(4)), ACTOR(TAKE(2), TAKE(2))},
	 {4},
	 .kills = 1},
	{"cancel, cancel",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE_BACK(2), CANCEL, TAKE(2)), CLOCK(TICK(1))},
	 {4, 0, 0, true},
	 .kills = 1},
	{"the short path", {ACTOR(TAKE_PLAINLY_ALONE(3), TAKE_PLAINLY_ALONE(1))}, {4}},
	{"the short path, acquire",
	 {ACTOR(TAKE_PLAINLY(3)), ACTOR(TAKE_BACK(3), TAKE_BACK(1)), CLOCK(TICK(1), TICK(2))},
	 {4},
	 .kills = 1},
	{"the short path three times",
	 {ACTOR(TAKE_PLAINLY(2)), ACTOR(TAKE_PLAINLY(3)), ACTOR(TAKE_PLAINLY(2)), CLOCK(TICK(2))},
	 {4},
	 .kills = 1},
	{"the short path, retune, acquire",
	 {ACTOR(TAKE_PLAINLY(2)), ACTOR(RETUNE(0, 10)), ACTOR(TAKE(3)), CLOCK(TICK(1))},
	 {4, 0, 0, true},
	 .kills = 1},
	{NULL},
};

const struct model model = {
	.area = "chain",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct notes),
	.setup = setup,
	.end = end,
	.scenarios = scenarios,
};
