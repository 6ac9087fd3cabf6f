/*
 * tests/model/rolling.c - charge, give back, settle, correct, retune and reclaim rolling limits while they roll
 * SPDX-License-Identifier: MIT
 *
 * A period is PERIOD ticks, in ROLLING_CELLS cells of CELL ticks; of record 1 both are half as long. Checked:
 *
 *	after every step	what counts now is no less than what was admitted in the last period and not given back
 *	at a charge		the life of the record that was meant is not over
 *	at the end		no interval of a period, its ends included, has more permits than the amount (the larger of the
 *				old one and the new one, and the new one for who came later). Paced permits keep their
 *				distance. A correction holds: what it says and what was charged after it is still there. With
 *				nobody killed, exactly what was admitted is counted. The segment is sound.
 */
#include "shm/rolling.h"

#include "reference.h"
#include "shm/extent.h"

/* The scenario's numbers. SPENT is spent in the cell in which everything begins; OTHER: there is another record. */
enum { AMOUNT, SPENT, PACED, OTHER };

#define CELL     (UINT64_C(1) << 40) /* shorter ones leave no bits for what is used */
#define PERIOD   (ROLLING_CELLS * CELL)
#define RECORDS  2u
#define ACCOUNTS (ACTORS_MAX + 1)
#define EACH     3u

struct given {
	uint64_t at; /* ticks; 0: none */
	uint64_t record;
	uint64_t units; /* not given back */
	uint64_t more;  /* settled up */
	uint64_t round; /* of numbers and corrections, when it began, and when it was charged */
	uint64_t round_after;
};

struct rolling_notes {
	struct notes shared;
	shm_word round;     /* one up when a correction or new numbers are in place */
	uint64_t loose;     /* more may count than was admitted */
	uint64_t corrected; /* units */
	uint64_t amount;    /* new one; 0: none */
	uint64_t record;    /* that lives, and its generation */
	uint64_t generation;
	struct given given[ACCOUNTS][EACH];
};

struct self {
	struct charge_ref charge;
	struct given *given; /* NULL: nothing */
};

static struct bucket_ref refs[RECORDS];
static uint32_t lines; /* record 0 has them at first, record 1 none */

static struct rolling_notes *known(void)
{
	return (struct rolling_notes *)(void *)world.base;
}

/* Of cells of CELL ticks, for a record. */
static uint64_t ticks(uint64_t record, uint64_t cells)
{
	return cells * CELL >> record;
}

static uint64_t numbers_for(uint64_t record, uint64_t amount)
{
	return rolling_pack(amount, ticks(record, 1));
}

/* --- charging --- */

static struct given *note_given(const struct link *link, uint64_t at, uint64_t units,
				uint64_t round)
{
	struct given *given = known()->given[model_self() + 1];

	if (link->bucket != refs[known()->record].bucket || link->generation != known()->generation)
		model_fail("charged to a life that is over");
	while (given->at != 0)
		given++;
	*given = (struct given){
		.at = at,
		.record = known()->record,
		.units = units,
		.round = round,
		.round_after = atomic_load(&known()->round),
	};
	return given;
}

static void take(struct self *me, uint64_t record, uint64_t generation, uint64_t units)
{
	const uint64_t round = shm_load(&known()->round);
	const struct instant at = {.now = now()};
	const struct demand demand = {.units = units};
	const struct link link = {
		.bucket = refs[record].bucket,
		.generation = (uint32_t)generation,
		.flags = KIND_ROLLING | (scenario->with[PACED] ? LINK_PACED : 0),
		.shape = {[ROLLING_CELL_TICKS] = ticks(record, 1)},
	};
	struct taken taken = {0, 0, 0};
	struct shortage why;

	*me = (struct self){.given = NULL};
	if (rolling_look(&world.seg, &link, &demand, &at, &taken, &why) != TAKE_ADMIT ||
	    rolling_charge(&world.seg, &link, &demand, &at, &taken, &why) != TAKE_ADMIT)
		return;
	me->given = note_given(&link, at.now, units, round);
	me->charge = (struct charge_ref){
		.bucket = link.bucket,
		.generation = link.generation,
		.units = units,
		.permit = at.now,
		.taken = taken,
	};
}

/* From record 0, in its first life. */
static void op_take(void *self, const struct op *op)
{
	take(self, 0, refs[0].generation, op->a);
}

/* From whatever record and life followed that. */
static void op_take_next(void *self, const struct op *op)
{
	take(self, known()->record, known()->generation, op->a);
}

static bool next_lives(void)
{
	return known()->record < RECORDS &&
	       (known()->record != 0 || known()->generation != refs[0].generation);
}

/* It comes to op->a units. */
static void op_settle(void *self, const struct op *op)
{
	struct self *me = self;
	const uint64_t units = me->charge.units;

	if (me->given && op->a < units) {
		me->given->units = op->a;
		if (!rolling_give_back(&world.seg, &me->charge, units - op->a))
			known()->loose = true;
	} else if (me->given && op->a > units) {
		if (rolling_debit(&world.seg, &me->charge, op->a - units, now()))
			me->given->more = op->a - units;
	}
	*me = (struct self){.given = NULL};
}

/* --- what the supervisor does --- */

/* The vendor says that so much is used. */
static void op_correct(void *self, const struct op *op)
{
	uint64_t units;
	const bool done = rolling_correct(&world.seg, refs[0].bucket, refs[0].generation, op->a,
					  now(), &units);

	(void)self;
	known()->loose = true;
	/* Its CAS was the last thing that it did, or it found as much used already. */
	if (!done || !model_wrote())
		return;
	known()->corrected = op->a;
	shm_add(&known()->round, 1);
}

static void op_retune(void *self, const struct op *op)
{
	(void)self;
	shm_store(&world.seg.hot[refs[0].bucket].numbers, numbers_for(0, op->a));
	known()->amount = op->a;
	shm_add(&known()->round, 1);
}

static bool retire(void)
{
	struct seg_hot *hot = &world.seg.hot[refs[0].bucket];

	if (!rolling_close(&world.seg, refs[0].bucket, now()))
		return false;
	known()->record = RECORDS; /* none */
	shm_half_store(&hot->generation, refs[0].generation + 1);
	return true;
}

static void begin_life(unsigned record)
{
	struct seg_hot *hot = &world.seg.hot[refs[record].bucket];
	uint64_t head;

	shm_store(&hot->state[3], extent_word(lines, ROLLING_LINES));
	head = rolling_first(&world.seg, refs[record].bucket, lines,
			     numbers_for(record, scenario->with[AMOUNT]), ticks(record, 1), now(),
			     0);
	shm_store(&hot->state[0], head);
	known()->record = record;
	known()->generation = shm_half_load(&hot->generation);
}

/* Record 0 ends and begins anew, in the same lines. */
static void op_renew(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	if (retire())
		begin_life(0);
}

/* Record 0 ends, and record 1 gets its lines. */
static void op_pass_on(void *self, const struct op *op)
{
	uint32_t first;

	(void)self;
	(void)op;
	if (!retire())
		return;
	shm_store(&world.seg.hot[refs[0].bucket].state[3], 0);
	extent_free(&world.seg, refs[0].bucket, lines, ROLLING_LINES);
	if (!extent_claim(&world.seg, refs[1].bucket, ROLLING_LINES, &first) || first != lines)
		model_fail("the lines were not passed on");
	begin_life(1);
}

/* --- what must hold --- */

#define FOR_EACH_GIVEN(g)                                                                          \
	for (struct given *g = known()->given[0]; g < known()->given[ACCOUNTS]; g++)               \
		if (g->at != 0)

static uint64_t used_now(void)
{
	return rolling_used(&world.seg, refs[known()->record].bucket,
			    atomic_load(&known()->shared.now));
}

/* Units that are still to be counted. */
static uint64_t account(void)
{
	const uint64_t at = atomic_load(&known()->shared.now);
	uint64_t sum = 0;

	FOR_EACH_GIVEN(g)
	{
		if (g->record == known()->record && g->at + ticks(g->record, ROLLING_CELLS) >= at)
			sum += g->units + g->more;
	}
	return sum;
}

static void each(void)
{
	if (known()->record < RECORDS && used_now() < account())
		model_fail("less counts than was admitted");
}

static uint64_t largest_amount(void)
{
	const uint64_t amount = scenario->with[AMOUNT];

	return known()->amount > amount ? known()->amount : amount;
}

static bool in_period(const struct given *g, const struct given *last)
{
	return g->record == last->record && g->at <= last->at &&
	       last->at - g->at <= ticks(g->record, ROLLING_CELLS);
}

static uint64_t period_units(const struct given *last)
{
	uint64_t units = 0;

	FOR_EACH_GIVEN(g)
	units += in_period(g, last) ? g->units : 0;
	return units;
}

/* Units within the period that ends with `last`: of those that came before new numbers, and after. */
static void add_up(const struct given *last, uint64_t *ret_before, uint64_t *ret_after)
{
	*ret_before = 0;
	*ret_after = 0;
	FOR_EACH_GIVEN(g)
	{
		if (!in_period(g, last))
			continue;
		if (g->round > 0)
			*ret_after += g->units;
		else if (g->round_after == 0)
			*ret_before += g->units;
	}
}

static uint64_t within(uint64_t from, uint64_t to)
{
	uint64_t units = 0;

	FOR_EACH_GIVEN(g)
	{
		if (g->at >= from && g->at <= to)
			units += g->units;
	}
	return units;
}

static void check_never_over_any_period(void)
{
	FOR_EACH_GIVEN(last)
	{
		uint64_t before, after;
		const uint64_t units = period_units(last);

		if (units > largest_amount())
			model_fail("%u units in a period", (unsigned)units);
		add_up(last, &before, &after);
		if (known()->amount != 0 && after > 0 && before + after > known()->amount)
			model_fail("the new amount is passed by one who came after it");
	}
}

/* All but the last of those between two times had to be worth the time, less the slack of a cell. */
static void check_pace(void)
{
	FOR_EACH_GIVEN(first)
	{
		FOR_EACH_GIVEN(last)
		{
			const uint64_t units =
				last->at >= first->at ? within(first->at, last->at) : 0;
			const uint64_t worth = units * (PERIOD + CELL) / scenario->with[AMOUNT];

			if (units > last->units &&
			    worth - last->units * (PERIOD + CELL) / scenario->with[AMOUNT] >
				    last->at - first->at + CELL)
				model_fail("%u units in %u ticks", (unsigned)units,
					   (unsigned)(last->at - first->at));
		}
	}
}

/* Nothing that was charged before a correction is given back from what it says. */
static void check_correction(void)
{
	uint64_t least = known()->corrected;

	if (least == 0 || atomic_load(&known()->shared.now) > T0 + PERIOD)
		return;
	FOR_EACH_GIVEN(g)
	{
		if (g->round > 0)
			least += g->units;
	}
	if (used_now() < least)
		model_fail("of a correction and what came after it something is forgotten");
}

static void end(void)
{
	if (known()->record == RECORDS)
		model_fail("no record lives");
	check_never_over_any_period();
	if (scenario->with[PACED])
		check_pace();
	check_correction();
	if (model_kills() == 0 && !known()->loose &&
	    atomic_load(&known()->shared.now) <= T0 + PERIOD && used_now() != account())
		model_fail("more counts than was admitted");
	if (!scenario->with[OTHER]) /* one of them is linked without its lines */
		check_segment();
}

/* --- scenarios --- */

static uint64_t fill(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	lines = first;
	return rolling_first(seg, bucket, first, numbers_for(0, scenario->with[AMOUNT]), CELL,
			     *(uint64_t *)user, 0);
}

static void make_record(unsigned record)
{
	uint64_t born = T0;
	const struct bucket_spec spec = {
		.identity = {{record + 1, 1}},
		.kind = KIND_ROLLING,
		.numbers = numbers_for(record, scenario->with[AMOUNT]),
		.extent_lines = record == 0 ? ROLLING_LINES : 0,
		.fill = fill,
		.user = &born,
	};

	if (spec.numbers == 0 || index_insert(&world.seg, 0, &spec, &refs[record]) != INDEX_FOUND)
		model_fail("no record");
}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = RECORDS, .workers = ACTORS_MAX, .extents = ROLLING_LINES, .queues = 1};
	const struct op spend = {.a = scenario->with[SPENT]};
	struct self self;

	world_clear(model.own_size, &config);
	known()->shared.now = T0;
	for (unsigned i = 0; i <= scenario->with[OTHER]; i++)
		make_record(i);
	known()->generation = refs[0].generation;
	if (spend.a > 0)
		op_take(&self, &spend);
}

static void op_pass(void *self, const struct op *op)
{
	const struct op pass = {.a = op->a * CELL / 2};

	op_tick(self, &pass);
}

#define PASS(n)                                                                                    \
	{                                                                                          \
		op_pass, "%u half cells", n, 0                                                     \
	}
#define TAKE(n)                                                                                    \
	{                                                                                          \
		op_take, "take %u", n, 0                                                           \
	}
#define CANCEL                                                                                     \
	{                                                                                          \
		op_settle, "cancel", 0, 0                                                          \
	}
#define SETTLE(n)                                                                                  \
	{                                                                                          \
		op_settle, "settle to %u", n, 0                                                    \
	}
#define CORRECT(n)                                                                                 \
	{                                                                                          \
		op_correct, "correct to %u", n, 0                                                  \
	}
#define RETUNE(n)                                                                                  \
	{                                                                                          \
		op_retune, "amount %u", n, 0                                                       \
	}
#define RENEW                                                                                      \
	{                                                                                          \
		op_renew, "reclaim and begin anew", 0, 0                                           \
	}
#define PASS_ON                                                                                    \
	{                                                                                          \
		op_pass_on, "reclaim and pass on", 0, 0                                            \
	}
#define TAKE_NEXT(n)                                                                               \
	{                                                                                          \
		op_take_next, "take %u in the next life", n, 0                                     \
	}
#define SUCCESSOR(...)                                                                             \
	{                                                                                          \
		{__VA_ARGS__}, 0, next_lives                                                       \
	}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"charge, charge", {ACTOR(TAKE(2), TAKE(1)), ACTOR(TAKE(2), TAKE(1))}, {3}, .kills = 1},
	{"charge, refund", {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(2), TAKE(2))}, {3}, .kills = 1},
	{"charge, charge, roll",
	 {ACTOR(TAKE(2), TAKE(2)), ACTOR(TAKE(2)), CLOCK(PASS(2), PASS(2), PASS(2))}, {3}, .kills = 1},
	{"roll, roll", {ACTOR(TAKE(1)), ACTOR(TAKE(1), TAKE(1)), CLOCK(PASS(2), PASS(4))}, {2, 1}, .kills = 2},
	{"roll, roll, roll", {ACTOR(TAKE(1)), ACTOR(TAKE(1)), ACTOR(TAKE(1)), CLOCK(PASS(2))}, {2, 1}, .kills = 1},
	{"refund, refund, roll", {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(2), CANCEL), CLOCK(PASS(2))}, {4}, .kills = 1},
	{"refund, roll", {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(2), TAKE(2)), CLOCK(PASS(2), PASS(2))}, {3}, .kills = 1},
	{"refund, much later",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(2), TAKE(1)), CLOCK(PASS(6), PASS(2))}, {3}, .kills = 1},
	{"settle down, roll",
	 {ACTOR(TAKE(3), SETTLE(1)), ACTOR(TAKE(2), TAKE(2)), CLOCK(PASS(2))}, {4}, .kills = 1},
	{"settle up, roll", {ACTOR(TAKE(1), SETTLE(3)), ACTOR(TAKE(1), TAKE(1)), CLOCK(PASS(2))}, {3}, .kills = 1},
	{"settle up, settle up, roll", {ACTOR(TAKE(1), SETTLE(3)), ACTOR(TAKE(1), SETTLE(2)), CLOCK(PASS(2))}, {3}, .kills = 1},
	{"correct down, correct down, refund", {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(3)), ACTOR(CORRECT(4))}, {5}, .kills = 1},
	{"correct down, retune, refund", {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(3)), SUPERVISOR(RETUNE(3))}, {5}, .kills = 1},
	{"correct down, refund", {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(3)), ACTOR(TAKE(2))}, {5}, .kills = 1},
	{"correct down, refund, roll",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(4)), CLOCK(PASS(2))}, {5, 1}, .kills = 1},
	{"retune, charge", {ACTOR(TAKE(2)), ACTOR(TAKE(2)), SUPERVISOR(RETUNE(3))}, {4}, .kills = 1},
	{"retune, roll", {ACTOR(TAKE(2)), ACTOR(TAKE(2)), SUPERVISOR(RETUNE(4)), CLOCK(PASS(2))}, {3}},
	{"pace", {ACTOR(TAKE(1), TAKE(1)), ACTOR(TAKE(1), TAKE(1)), CLOCK(PASS(2), PASS(2))}, {3, 0, true}, .kills = 1},
	{"reclaim, charge",
	 {ACTOR(TAKE(2), CANCEL), SUCCESSOR(TAKE_NEXT(3)), SUPERVISOR(RENEW), CLOCK(PASS(2))}, {3}, .kills = 1},
	{"reclaim, roll, pass on",
	 {ACTOR(TAKE(0)), SUCCESSOR(TAKE_NEXT(2), TAKE_NEXT(1)), SUPERVISOR(PASS_ON), CLOCK(PASS(2), PASS(1), PASS(1))},
	 {3, 0, false, true}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "rolling",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct rolling_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
