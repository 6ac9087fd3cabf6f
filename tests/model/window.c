/*
 * tests/model/window.c - charge, give back, settle, correct and retune calendar windows while they change
 * SPDX-License-Identifier: MIT
 *
 * A window is LENGTH ns long; the guards around its edges are the scenario's. Checked:
 *
 *	after every step	a word counts all that was admitted to its window and not given back
 *	at the end		whatever windows a vendor with another clock and a slow network may see them in, permits that
 *				left in time are within the amount: each counts in every window that it may have arrived
 *				in (so nothing is ever over, whoever is killed). Where the wall clock was put back no two
 *				windows were given for one. Paced permits keep their distance. A correction holds: what it
 *				says and what was charged after it is still there. After new numbers were set nobody who
 *				comes later is admitted beyond them. With nobody killed, the words count exactly what was
 *				admitted: a refused charge has left nothing. The segment is sound.
 */
#include "shm/window.h"

#include "reference.h"

/* The scenario's numbers; times in ns. SPENT is spent in the window in which everything begins, AT after its start. */
enum { AMOUNT, SPENT, AT, BEFORE, AFTER, PACED };

#define LENGTH   100u
#define FIRST    11u /* the window in which it begins */
#define WINDOWS  6u  /* FIRST - 1 ... */
#define ACCOUNTS (ACTORS_MAX + 1)
#define EACH     3u

struct given {
	uint64_t at;    /* ticks; 0: none */
	int64_t wall;   /* ns */
	uint64_t units; /* not given back */
	uint64_t more;  /* settled up */
	uint64_t window[2];
	uint64_t in_time; /* it left before it was too old to leave */
	uint64_t round;   /* of numbers and corrections, when it read its clock */
	uint64_t round_after;
};

struct window_notes {
	struct notes shared;
	shm_word wall_offset;  /* ns */
	shm_word round;        /* one up when a correction or new numbers are in place */
	uint64_t loose;        /* words may count more than was admitted */
	uint64_t put_back;     /* the wall clock was */
	uint64_t corrected[2]; /* window, units */
	uint64_t amount;       /* new one; 0: none */
	uint64_t counted;      /* in the first window when there was a new amount, + 1 */
	struct given given[ACCOUNTS][EACH];
};

struct self {
	struct charge_ref charge;
	struct given *given; /* NULL: nothing */
};

static struct bucket_ref ref;

static struct window_notes *known(void)
{
	return (struct window_notes *)(void *)world.base;
}

static uint64_t numbers_for(uint64_t amount)
{
	return window_pack(amount, 1000);
}

/* --- the clock, and what a handle knows --- */

#define WALL_0 ((int64_t)(FIRST - 1) * LENGTH)

static struct instant instant(void)
{
	const uint64_t at = now();
	const int64_t wall =
		WALL_0 + (int64_t)scenario->with[AT] + (int64_t)((at - T0) / TICKS_PER_NS);

	return (struct instant){at, wall + (int64_t)shm_load(&known()->wall_offset)};
}

static struct link link_at(const struct instant *at)
{
	const uint64_t index = (uint64_t)at->wall / LENGTH + 1;

	return (struct link){
		.bucket = ref.bucket,
		.generation = ref.generation,
		.flags = KIND_WINDOW | (scenario->with[PACED] ? LINK_PACED : 0),
		.shape = {index, (index - 1) * LENGTH, index * LENGTH, scenario->with[BEFORE],
			  scenario->with[AFTER]},
	};
}

/* --- what actors do --- */

static struct given *note_given(const struct instant *at, uint64_t units, const struct taken *taken,
				uint64_t round)
{
	struct given *given = known()->given[model_self() + 1];
	const uint64_t delay = (scenario->with[BEFORE] - scenario->with[AFTER]) * TICKS_PER_NS;

	while (given->at != 0)
		given++;
	*given = (struct given){
		.at = at->now,
		.wall = at->wall,
		.units = units,
		.window = {taken->word, taken->refunds},
		.in_time = now() - at->now <= delay,
		.round = round,
		.round_after = shm_load(&known()->round),
	};
	return given;
}

static void op_take(void *self, const struct op *op)
{
	struct self *me = self;
	const uint64_t round = shm_load(&known()->round);
	const struct instant at = instant();
	const struct link link = link_at(&at);
	const struct demand demand = {.units = op->a};
	struct taken taken = {0, 0, 0};
	struct shortage why;

	*me = (struct self){.given = NULL};
	if (window_look(&world.seg, &link, &demand, &at, &taken, &why) != TAKE_ADMIT ||
	    window_charge(&world.seg, &link, &demand, &at, &taken, &why) != TAKE_ADMIT)
		return;
	me->given = note_given(&at, op->a, &taken, round);
	me->charge = (struct charge_ref){
		.bucket = ref.bucket,
		.generation = ref.generation,
		.units = op->a,
		.permit = at.now,
		.taken = taken,
	};
}

/* It comes to op->a units. */
static void op_settle(void *self, const struct op *op)
{
	struct self *me = self;
	const uint64_t units = me->charge.units;

	if (me->given && op->a < units) {
		me->given->units = op->a;
		if (!window_give_back(&world.seg, &me->charge, units - op->a))
			known()->loose = true;
	} else if (me->given && op->a > units) {
		known()->loose = true;
		if (window_debit(&world.seg, &me->charge, op->a - units))
			me->given->more = op->a - units;
	}
	*me = (struct self){.given = NULL};
}

/* The vendor says that so much of the first window is used. */
static void op_correct(void *self, const struct op *op)
{
	struct window_notes *notes = known();
	uint64_t units;

	(void)self;
	notes->loose = true;
	/* Its CAS was the last thing that it did, or it found as much used already. */
	if (!window_correct(&world.seg, ref, FIRST, op->a, now_again, NULL, &units) ||
	    !model_wrote())
		return;
	notes->corrected[0] = FIRST;
	notes->corrected[1] = op->a;
	shm_add(&notes->round, 1);
}

static void op_retune(void *self, const struct op *op)
{
	struct window_notes *notes = known();
	uint64_t before;

	(void)self;
	/* Whoever finds other numbers after his CAS is not admitted, and has spent. */
	notes->loose = true;
	shm_store(&world.seg.hot[ref.bucket].numbers, numbers_for(op->a));
	notes->amount = op->a;
	if (window_burden(&world.seg.hot[ref.bucket], FIRST, 0, &before))
		notes->counted = before + 1;
	shm_add(&notes->round, 1);
}

static void op_put_back(void *self, const struct op *op)
{
	(void)self;
	known()->put_back = true;
	shm_add(&known()->wall_offset, 0 - op->a);
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
#define PASS(ns)                                                                                   \
	{                                                                                          \
		op_tick, "%u ticks", (ns)*TICKS_PER_NS, 0                                          \
	}
#define PUT_BACK(ns)                                                                               \
	{                                                                                          \
		op_put_back, "wall clock back by %u", ns, 0                                        \
	}

/* --- what must hold --- */

#define FOR_EACH_GIVEN(g)                                                                          \
	for (struct given *g = known()->given[0]; g < known()->given[ACCOUNTS]; g++)               \
		if (g->at != 0)

/* Units that window `index` must count. */
static uint64_t account(uint64_t index)
{
	uint64_t sum = 0;

	FOR_EACH_GIVEN(g)
	{
		if (g->window[0] == index || g->window[1] == index)
			sum += g->units + g->more;
	}
	return sum;
}

/* Words only move on: an account may be of a window whose word is another's by now. */
static uint64_t index_in(unsigned s)
{
	const uint64_t word = atomic_load(&world.seg.hot[ref.bucket].state[s]);

	for (uint64_t index = FIRST - 1; index < FIRST - 1 + WINDOWS; index++) {
		uint64_t state[2];

		window_first(numbers_for(1), index, false, state);
		if (state[s] == word - window_used(&world.seg.hot[ref.bucket], index) &&
		    (index & 1) == s)
			return index;
	}
	return 0;
}

static void each(void)
{
	for (unsigned s = 0; s < 2; s++) {
		const uint64_t index = index_in(s);

		if (index == 0)
			model_fail("word %u is of no window that there was", s);
		else if (window_used(&world.seg.hot[ref.bucket], index) < account(index))
			model_fail("window %u counts less than was admitted", (unsigned)index);
	}
}

/* What may arrive, by the vendor's clock, in window `index`. */
static uint64_t arrivals(uint64_t index)
{
	const int64_t start = (int64_t)(index - 1) * LENGTH;
	uint64_t sum = 0;

	FOR_EACH_GIVEN(g)
	{
		if (g->in_time && g->wall >= start - (int64_t)scenario->with[BEFORE] &&
		    g->wall < start + (int64_t)(LENGTH + scenario->with[AFTER]))
			sum += g->units;
	}
	return sum;
}

static uint64_t largest_amount(void)
{
	const uint64_t amount = scenario->with[AMOUNT];

	return known()->amount > amount ? known()->amount : amount;
}

static void check_windows(void)
{
	for (uint64_t index = FIRST - 1; index < FIRST - 1 + WINDOWS; index++) {
		if (arrivals(index) > largest_amount())
			model_fail("%u units may arrive in window %u", (unsigned)arrivals(index),
				   (unsigned)index);
	}
}

/* Windows that were begun twice would give more than one amount for each that has a word, or had. */
static void check_put_back(void)
{
	uint64_t sum = 0, last = FIRST;

	FOR_EACH_GIVEN(g)
	{
		sum += g->units;
		for (unsigned s = 0; s < 2; s++)
			last = g->window[s] > last ? g->window[s] : last;
	}
	if (sum > (last - FIRST + 1) * scenario->with[AMOUNT])
		model_fail("%u units in %u windows", (unsigned)sum, (unsigned)(last - FIRST + 1));
}

/* After a cost of c at t, nothing before t + c * (end - t) / amount. */
static void check_pace(void)
{
	FOR_EACH_GIVEN(g)
	{
		const uint64_t left = LENGTH - ((uint64_t)g->wall % LENGTH);
		const uint64_t gap = g->units * left * TICKS_PER_NS / scenario->with[AMOUNT];

		FOR_EACH_GIVEN(other)
		{
			if (other != g && other->at >= g->at && other->at < g->at + gap)
				model_fail("two permits within %u ticks", (unsigned)gap);
		}
	}
}

/* Nothing that was charged before a correction is given back from what it says. */
static void check_correction(void)
{
	const uint64_t index = known()->corrected[0];
	uint64_t least = known()->corrected[1];

	if (index == 0 || index_in(index & 1) != index)
		return;
	FOR_EACH_GIVEN(g)
	{
		if (g->round > 0 && (g->window[0] == index || g->window[1] == index))
			least += g->units;
	}
	if (window_used(&world.seg.hot[ref.bucket], index) < least)
		model_fail("of a correction and what came after it something is forgotten");
}

static void check_amount(void)
{
	for (uint64_t index = FIRST; index < FIRST - 1 + WINDOWS; index++) {
		uint64_t before = 0, after = 0;

		FOR_EACH_GIVEN(g)
		{
			if (g->window[0] != index && g->window[1] != index)
				continue;
			if (g->round > 0)
				after += g->units;
			else if (g->round_after == 0)
				before += g->units;
		}
		if (known()->amount != 0 && after > 0 && before + after > known()->amount)
			model_fail("the new amount is passed by one who came after it");
	}
}

/* All that is not in what was counted when there was a new amount fits into that. */
static void check_counted(void)
{
	const uint64_t counted = known()->counted;
	const uint64_t most = counted > known()->amount + 1 ? counted - 1 : known()->amount;

	if (counted != 0 && account(FIRST) > most)
		model_fail("%u units were admitted, of which %u were counted",
			   (unsigned)account(FIRST), (unsigned)counted - 1);
}

static void check_exact(void)
{
	for (unsigned s = 0; s < 2; s++) {
		const uint64_t index = index_in(s);

		if (window_used(&world.seg.hot[ref.bucket], index) != account(index))
			model_fail("window %u counts more than was admitted", (unsigned)index);
	}
}

static void end(void)
{
	if (known()->put_back)
		check_put_back();
	else
		check_windows();
	if (scenario->with[PACED])
		check_pace();
	check_correction();
	check_amount();
	check_counted();
	if (model_kills() == 0 && !known()->loose)
		check_exact();
	check_segment();
}

/* --- scenarios --- */

static void spend(uint64_t units)
{
	const struct op op = {.a = units};
	struct self self;

	if (units > 0)
		op_take(&self, &op);
}

static void setup(void)
{
	const struct seg_config config = {.buckets = 1, .workers = ACTORS_MAX, .queues = 1};
	struct bucket_spec spec = {
		.identity = {{1, 1}},
		.kind = KIND_WINDOW,
		.numbers = numbers_for(scenario->with[AMOUNT]),
	};

	world_clear(model.own_size, &config);
	known()->shared.now = T0;
	window_first(spec.numbers, FIRST, false, spec.state);
	if (spec.numbers == 0 || index_insert(&world.seg, 0, &spec, &ref) != INDEX_FOUND)
		model_fail("no window");
	spend(scenario->with[SPENT]);
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"charge, charge", {ACTOR(TAKE(2), TAKE(1)), ACTOR(TAKE(3), TAKE(1)), CLOCK(PASS(60), PASS(60))}, {4}, .kills = 1},
	{"charge, charge, charge", {ACTOR(TAKE(3)), ACTOR(TAKE(2)), ACTOR(TAKE(2)), CLOCK(PASS(60), PASS(50))}, {4, 0, 20}, .kills = 2},
	{"charge, charge, guarded",
	 {ACTOR(TAKE(3), TAKE(3)), ACTOR(TAKE(3), TAKE(3)), CLOCK(PASS(10), PASS(10), PASS(10), PASS(10))},
	 {4, 0, 80, 20, 10}, .kills = 1},
	{"charge, charge, charge, guarded",
	 {ACTOR(TAKE(2), TAKE(2)), ACTOR(TAKE(3)), ACTOR(TAKE(2)), CLOCK(PASS(10), PASS(20), PASS(10))},
	 {4, 0, 80, 20, 10}, .kills = 1, .longer = true},
	{"charge late, roll",
	 {ACTOR(TAKE(3)), ACTOR(TAKE(2), TAKE(2)), CLOCK(PASS(20), PASS(70), PASS(110))}, {4, 2, 70, 20, 10}, .kills = 1},
	{"cancel, charge", {ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(3), TAKE(3)), CLOCK(PASS(60))}, {4, 0, 50}, .kills = 1},
	{"cancel, cancel", {ACTOR(TAKE(2), CANCEL), ACTOR(TAKE(2), CANCEL), CLOCK(PASS(60))}, {4, 0, 50}, .kills = 1},
	{"cancel, roll",
	 {ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(3), TAKE(3)), CLOCK(PASS(60), PASS(90), PASS(100))}, {4, 0, 50}, .kills = 1},
	{"cancel, roll, guarded",
	 {ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(3), TAKE(3)), CLOCK(PASS(10), PASS(15), PASS(90))}, {4, 0, 75, 20, 10}, .kills = 1},
	{"settle down, roll, charge",
	 {ACTOR(TAKE(4), SETTLE(1)), ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(2)), CLOCK(PASS(15), PASS(100))}, {4, 0, 90, 20, 10}, .kills = 1},
	{"settle up, roll, charge",
	 {ACTOR(TAKE(2), SETTLE(4)), ACTOR(TAKE(2), TAKE(2)), CLOCK(PASS(15), PASS(100))}, {4, 0, 80, 20, 10}, .kills = 1},
	{"settle up, settle up, roll",
	 {ACTOR(TAKE(2), SETTLE(4)), ACTOR(TAKE(1), SETTLE(3)), CLOCK(PASS(15), PASS(100))}, {4, 0, 80, 20, 10}, .kills = 1},
	{"correct, correct, cancel",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(3)), ACTOR(CORRECT(4)), CLOCK(PASS(10))}, {6, 1}, .kills = 1},
	{"correct, smaller amount, cancel",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(3)), ACTOR(RETUNE(3))}, {6, 1}, .kills = 1},
	{"correct, cancel, charge",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(3)), ACTOR(TAKE(1), TAKE(2)), CLOCK(PASS(10))}, {4}, .kills = 1},
	{"correct, cancel, roll",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(5)), CLOCK(PASS(10), PASS(15))}, {6, 1, 75, 10, 10}, .kills = 1},
	{"correct, cancel, roll",
	 {ACTOR(TAKE(2), CANCEL), ACTOR(CORRECT(5)), ACTOR(TAKE(2)), CLOCK(PASS(10), PASS(15))}, {6, 1, 75, 10, 10}, .kills = 1, .longer = true},
	{"smaller amount, charge", {ACTOR(TAKE(2), TAKE(2)), ACTOR(TAKE(2)), ACTOR(RETUNE(3))}, {6}, .kills = 1},
	{"smaller amount, cancel, roll",
	 {ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(2)), ACTOR(RETUNE(3)), CLOCK(PASS(15))}, {4, 0, 80, 10, 10}, .kills = 1},
	{"smaller amount, cancel, roll",
	 {ACTOR(TAKE(3), CANCEL), ACTOR(TAKE(2), TAKE(2)), ACTOR(RETUNE(3)), CLOCK(PASS(15), PASS(15))}, {5, 0, 80, 10, 10}, .kills = 1,
	 .longer = true},
	{"larger amount, charge", {ACTOR(TAKE(3), TAKE(3)), ACTOR(TAKE(3)), ACTOR(RETUNE(6))}, {4}, .kills = 1},
	{"wall clock put back",
	 {ACTOR(TAKE(3), TAKE(3)), ACTOR(TAKE(2), TAKE(2)), CLOCK(PASS(60), PUT_BACK(60), PASS(60), PASS(100))}, {4, 0, 50}, .kills = 1},
	{"wall clock put back, guarded",
	 {ACTOR(TAKE(3), TAKE(3)), ACTOR(TAKE(2), TAKE(2)), CLOCK(PASS(20), PUT_BACK(30), PASS(20), PASS(100))},
	 {4, 0, 75, 20, 10}, .kills = 1},
	{"pace", {ACTOR(TAKE(1), TAKE(1)), ACTOR(TAKE(1), TAKE(1)), CLOCK(PASS(10), PASS(20), PASS(5))},
	 {4, 0, 0, 0, 0, true}, .kills = 1},
	{"pace, roll", {ACTOR(TAKE(2)), ACTOR(TAKE(1), TAKE(1)), CLOCK(PASS(20), PASS(30), PASS(10))},
	 {4, 2, 60, 0, 0, true}, .kills = 1},
	{"pace, pace, pace", {ACTOR(TAKE(1)), ACTOR(TAKE(2)), ACTOR(TAKE(1)), CLOCK(PASS(30), PASS(30))},
	 {4, 0, 20, 0, 0, true}, .kills = 1, .longer = true},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "window",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct window_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
