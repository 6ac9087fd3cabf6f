/*
 * tests/model/credit.c - a vendor says what is used of a bucket, a window or a rolling limit while others charge and give back
 * SPDX-License-Identifier: MIT
 *
 * Some units are spent that the vendor knows nothing of, and it may know of others that are not ours. What it says is of the
 * worst kind: it has not seen anything yet that was charged after the mark, nor anything that will be given back. Checked:
 *
 *	after every step	what is counted is no less than what was charged and is kept, and what the vendor has said of others
 *	at the end		that is within the amount, but for what others spent before we knew; the segment is sound; with
 *				nobody killed and nothing in the way, exactly what the vendor does not know came back
 */
#include "shm/bucket.h"
#include "shm/rolling.h"
#include "shm/window.h"

#include "reference.h"
#include "shm/extent.h"

/* The scenario's numbers. LOST: spent at first, and unknown to the vendor. EXACT: all of it must have come back. */
enum { KIND, AMOUNT, LOST, EXACT };

#define CELL  (UINT64_C(1) << 40) /* of rolling limits */
#define INDEX UINT64_C(11)        /* of the window in which all of it happens */

struct credit_notes {
	struct notes shared;
	shm_word kept;      /* units that were charged and stay */
	shm_word asked;     /* the same with those that are being charged */
	shm_word foreign;   /* units that others spent */
	shm_word others;    /* that the vendor has told of */
	shm_word admitted;  /* of those kept: asked for when others had not been told of yet */
	uint64_t marks;     /* units that marks cost */
	shm_word marked_at; /* 0: no mark yet */
	uint64_t level;
	uint64_t kept_then; /* at the mark */
	uint64_t given;     /* by credits */
};

struct self {
	struct charge_ref charge;
	bool charged;
};

static struct bucket_ref ref;

static struct credit_notes *known(void)
{
	return (struct credit_notes *)(void *)world.base;
}

static struct seg_hot *hot(void)
{
	return &world.seg.hot[ref.bucket];
}

static uint64_t numbers(void)
{
	const uint64_t amount = scenario->with[AMOUNT];

	switch (scenario->with[KIND]) {
	case KIND_WINDOW:
		return window_pack(amount, 1000);
	case KIND_ROLLING:
		return rolling_pack(amount, CELL);
	default:
		return numbers_of(1, amount);
	}
}

static uint64_t used_now(void)
{
	const uint64_t at = atomic_load(&known()->shared.now);
	const uint64_t tat = atomic_load(&hot()->state[0]);

	switch (scenario->with[KIND]) {
	case KIND_WINDOW:
		return window_used(hot(), INDEX);
	case KIND_ROLLING:
		return rolling_used(&world.seg, ref.bucket, at);
	default:
		return tat > at ? tat - at : 0;
	}
}

/* --- charging --- */

static enum take look_and_charge(const struct link *link, const struct demand *demand,
				 const struct instant *at, struct taken *taken)
{
	struct shortage why;

	switch (scenario->with[KIND]) {
	case KIND_WINDOW:
		return window_look(&world.seg, link, demand, at, taken, &why) == TAKE_ADMIT
			       ? window_charge(&world.seg, link, demand, at, taken, &why)
			       : TAKE_WAIT;
	case KIND_ROLLING:
		return rolling_look(&world.seg, link, demand, at, taken, &why) == TAKE_ADMIT
			       ? rolling_charge(&world.seg, link, demand, at, taken, &why)
			       : TAKE_WAIT;
	default:
		return bucket_link_look(&world.seg, link, demand, at, taken, &why) == TAKE_ADMIT
			       ? bucket_link_charge(&world.seg, link, demand, at, taken, &why)
			       : TAKE_WAIT;
	}
}

static bool charge(struct self *me, uint64_t units)
{
	const struct instant at = {.now = now(), .wall = (INDEX - 1) * 100 + 50};
	const struct demand demand = {.units = units};
	struct link link = {
		.bucket = ref.bucket,
		.generation = ref.generation,
		.flags = (uint32_t)scenario->with[KIND],
	};
	struct taken taken = {0, 0, 0};

	if (scenario->with[KIND] == KIND_WINDOW) {
		link.shape[WINDOW_INDEX] = INDEX;
		link.shape[WINDOW_START] = (INDEX - 1) * 100;
		link.shape[WINDOW_END] = INDEX * 100;
	} else {
		link.shape[ROLLING_CELL_TICKS] = CELL;
	}
	me->charged = look_and_charge(&link, &demand, &at, &taken) == TAKE_ADMIT;
	me->charge = (struct charge_ref){
		.bucket = ref.bucket,
		.generation = ref.generation,
		.units = units,
		.permit = at.now,
		.taken = taken,
	};
	return me->charged;
}

/*
 * Notes are steps of their own, for the search must see what they depend on. They are taken before it asks and after it
 * has been told, so whatever a charge does lies between the two. Of a rolling limit the CAS of the head is the last
 * thing that a charge does, and is noted with it: whoever looks at the head knows what is kept.
 */
static void note_kept(uint64_t units, bool early)
{
	struct credit_notes *notes = known();

	if (scenario->with[KIND] == KIND_ROLLING) {
		atomic_fetch_add(&notes->admitted, early ? units : 0);
		atomic_fetch_add(&notes->kept, units);
		return;
	}
	(void)shm_add(&notes->admitted, early ? units : 0);
	(void)shm_add(&notes->kept, units);
}

static uint64_t kept_now(void)
{
	if (scenario->with[KIND] != KIND_ROLLING)
		return shm_load(&known()->kept);
	(void)shm_load(&hot()->state[0]);
	return atomic_load(&known()->kept);
}

static void op_keep(void *self, const struct op *op)
{
	struct credit_notes *notes = known();
	const bool early = shm_load(&notes->others) == 0;

	(void)shm_add(&notes->asked, op->a);
	if (charge(self, op->a))
		note_kept(op->a, early);
	else
		(void)shm_add(&notes->asked, -op->a);
}

static void give_back(const struct charge_ref *given)
{
	const struct bucket_charged charged = {given->generation, given->taken.charged,
					       given->taken.word, given->taken.refunds};
	struct bucket_pair pair;
	uint64_t units;

	switch (scenario->with[KIND]) {
	case KIND_WINDOW:
		(void)window_give_back(&world.seg, given, given->units);
		return;
	case KIND_ROLLING:
		(void)rolling_give_back(&world.seg, given, given->units);
		return;
	default:
		for (int i = 0; i < CAS_ATTEMPTS; i++) {
			bucket_refund_look(hot(), &pair);
			if (bucket_refund(hot(), &charged, &pair, now(), &units))
				return;
		}
	}
}

/* Taken, never sent, and cancelled: the vendor never knows of it. */
static void op_take_back(void *self, const struct op *op)
{
	struct self *me = self;

	if (charge(me, op->a))
		give_back(&me->charge);
}

/* --- what the vendor says --- */

/* What it has seen of ours by the mark, and of others by now. */
static uint64_t told(void)
{
	return known()->kept_then + shm_load(&known()->foreign);
}

static void op_mark(void *self, const struct op *op)
{
	struct credit_notes *notes = known();
	uint64_t level, known_then;
	bool good = true;

	(void)self;
	(void)op;
	if (scenario->with[KIND] == KIND_WINDOW)
		good = window_mark(&world.seg, ref, INDEX, &level);
	else if (scenario->with[KIND] == KIND_BUCKET)
		good = bucket_level(hot(), ref.generation, &level);
	else
		level = now();
	/* After the mark: whatever that counts has been asked for, and of a rolling limit what is kept is in cells of before. */
	known_then = scenario->with[KIND] == KIND_ROLLING ? kept_now() : shm_load(&notes->asked);
	if (!good)
		return;
	notes->marks += scenario->with[KIND] == KIND_WINDOW;
	notes->level = level;
	notes->kept_then = known_then;
	shm_store(&notes->marked_at, 1);
}

static bool is_marked(void)
{
	return atomic_load(&known()->marked_at) != 0;
}

static void op_credit(void *self, const struct op *op)
{
	const uint64_t level = known()->level;
	uint64_t units = 0;

	(void)self;
	(void)op;
	if (shm_load(&known()->marked_at) == 0)
		return;
	if (scenario->with[KIND] == KIND_WINDOW)
		window_credit(&world.seg, ref, INDEX, told(), level, now_again, NULL, &units);
	else if (scenario->with[KIND] == KIND_BUCKET)
		(void)bucket_credit(hot(), ref.generation, told(), level, now(), &units);
	else
		(void)rolling_credit(&world.seg, ref.bucket, ref.generation, told(), level, now(),
				     &units);
	known()->given += units;
}

/* Others have spent op->a units, and a response says what is used in all. */
static void op_correct(void *self, const struct op *op)
{
	const uint64_t used = kept_now() + op->a;
	uint64_t units;
	bool done;

	(void)self;
	shm_store(&known()->foreign, op->a);
	if (scenario->with[KIND] == KIND_WINDOW)
		done = window_correct(&world.seg, ref, INDEX, used, now_again, NULL, &units);
	else if (scenario->with[KIND] == KIND_BUCKET)
		done = bucket_correct(hot(), ref.generation, used, now(), &units);
	else
		done = rolling_correct(&world.seg, ref.bucket, ref.generation, used, now(), &units);
	if (done)
		shm_store(&known()->others, op->a);
}

/* --- a life --- */

static uint64_t fill(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	(void)user;
	return rolling_first(seg, bucket, first, numbers(), CELL, T0, scenario->with[LOST]);
}

static void setup(void)
{
	const struct seg_config config = {
		.buckets = 1, .workers = ACTORS_MAX, .queues = 1, .extents = ROLLING_LINES + 7};
	struct bucket_spec spec = {
		.identity = {{1, 1}},
		.kind = (enum seg_kind)scenario->with[KIND],
		.numbers = numbers(),
		.state = {T0 + scenario->with[LOST]},
	};
	uint64_t pair[2];

	world_clear(model.own_size, &config);
	known()->shared.now = T0;
	if (spec.kind == KIND_ROLLING) {
		spec.extent_lines = ROLLING_LINES;
		spec.fill = fill;
	} else if (spec.kind == KIND_WINDOW) {
		window_first(spec.numbers, INDEX, scenario->with[LOST], pair);
		spec.state[0] = pair[0];
		spec.state[1] = pair[1];
	}
	if (spec.numbers == 0 || index_insert(&world.seg, 0, &spec, &ref) != INDEX_FOUND)
		model_fail("no record");
}

static void each(void)
{
	const struct credit_notes *notes = known();

	const uint64_t kept = atomic_load(&notes->kept);

	if (used_now() < kept)
		model_fail("%u units are counted of the %u that were charged and stay",
			   (unsigned)used_now(), (unsigned)kept);
}

static void end(void)
{
	const struct credit_notes *notes = known();
	const uint64_t amount = scenario->with[AMOUNT];
	const uint64_t kept = atomic_load(&notes->kept), others = atomic_load(&notes->others);
	const uint64_t admitted = atomic_load(&notes->admitted);

	each();
	if (kept > amount || (kept > admitted && kept - admitted + others > amount))
		model_fail("%u units are admitted", (unsigned)kept);
	if (scenario->with[EXACT] && model_kills() == 0 && used_now() != kept + others)
		model_fail("%u units are counted, not %u", (unsigned)used_now(),
			   (unsigned)(kept + others));
	check_segment();
}

#define KEEP(n)                                                                                    \
	{                                                                                          \
		op_keep, "take %u", n, 0                                                           \
	}
#define TAKE_BACK(n)                                                                               \
	{                                                                                          \
		op_take_back, "take %u and cancel", n, 0                                           \
	}
#define MARK                                                                                       \
	{                                                                                          \
		op_mark, "mark", 0, 0                                                              \
	}
#define CREDIT                                                                                     \
	{                                                                                          \
		op_credit, "credit", 0, 0                                                          \
	}
#define CORRECT(n)                                                                                 \
	{                                                                                          \
		op_correct, "%u of others", n, 0                                                   \
	}
#define RESPONSE                                                                                   \
	{                                                                                          \
		{CREDIT}, 0, is_marked                                                             \
	}
#define NEXT_CELL                                                                                  \
	{                                                                                          \
		op_tick, "tick %u", CELL, 0                                                        \
	}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"bucket: mark, credit", {ACTOR(MARK, CREDIT)}, {KIND_BUCKET, 8, 5, 1}},
	{"bucket: credit, charge", {ACTOR(KEEP(1), MARK, CREDIT), ACTOR(KEEP(2), KEEP(3))}, {KIND_BUCKET, 8, 4}, .kills = 1},
	{"bucket: credit, credit", {ACTOR(MARK, CREDIT), RESPONSE, ACTOR(KEEP(4), KEEP(4))}, {KIND_BUCKET, 8, 5}, .kills = 1},
	{"bucket: credit, cancel", {ACTOR(MARK, CREDIT), ACTOR(TAKE_BACK(3)), ACTOR(KEEP(3))}, {KIND_BUCKET, 8, 4}, .kills = 1},
	{"bucket: credit, cancel, credit", {ACTOR(MARK, CREDIT), ACTOR(TAKE_BACK(3)), RESPONSE, ACTOR(KEEP(3))}, {KIND_BUCKET, 8, 4},
	 .kills = 1, .longer = true},
	{"bucket: correct, charge", {ACTOR(CORRECT(3)), ACTOR(KEEP(4), KEEP(3))}, {KIND_BUCKET, 8, 0}, .kills = 1},
	{"bucket: correct, cancel", {ACTOR(CORRECT(5)), ACTOR(TAKE_BACK(4)), ACTOR(KEEP(2), KEEP(2))}, {KIND_BUCKET, 8, 0}, .kills = 1},
	{"bucket: correct, credit", {ACTOR(MARK, CREDIT), ACTOR(CORRECT(6)), ACTOR(KEEP(3))}, {KIND_BUCKET, 8, 3}, .kills = 1},
	{"window: mark, credit", {ACTOR(MARK, CREDIT)}, {KIND_WINDOW, 8, 5, 1}},
	{"window: credit, charge", {ACTOR(KEEP(1), MARK, CREDIT), ACTOR(KEEP(2), KEEP(3))}, {KIND_WINDOW, 8, 4}, .kills = 1},
	{"window: credit, credit", {ACTOR(MARK, CREDIT), RESPONSE, ACTOR(KEEP(3), KEEP(3))}, {KIND_WINDOW, 8, 5}, .kills = 1},
	{"window: credit, cancel", {ACTOR(MARK, CREDIT), ACTOR(TAKE_BACK(3)), ACTOR(KEEP(3))}, {KIND_WINDOW, 8, 3}, .kills = 1},
	{"window: credit, cancel, credit", {ACTOR(MARK, CREDIT), ACTOR(TAKE_BACK(2)), RESPONSE}, {KIND_WINDOW, 8, 4}, .kills = 1},
	{"window: correct, charge", {ACTOR(CORRECT(3)), ACTOR(KEEP(4), KEEP(3))}, {KIND_WINDOW, 8, 0}, .kills = 1},
	{"window: correct, cancel", {ACTOR(CORRECT(5)), ACTOR(TAKE_BACK(4)), ACTOR(KEEP(2), KEEP(2))}, {KIND_WINDOW, 8, 0}, .kills = 1},
	{"window: correct, credit", {ACTOR(MARK, CREDIT), ACTOR(CORRECT(6)), ACTOR(KEEP(3))}, {KIND_WINDOW, 8, 3}, .kills = 1},
	{"rolling: mark, credit", {ACTOR(NEXT_CELL, MARK, CREDIT, CREDIT)}, {KIND_ROLLING, 8, 5, 1}},
	{"rolling: credit, charge",
	 {ACTOR(KEEP(1), MARK, CREDIT), ACTOR(KEEP(2), KEEP(3)), CLOCK(NEXT_CELL)}, {KIND_ROLLING, 8, 4}, .kills = 1},
	{"rolling: credit, credit", {ACTOR(NEXT_CELL, MARK, CREDIT), RESPONSE, ACTOR(KEEP(4))}, {KIND_ROLLING, 8, 5}, .kills = 1},
	{"rolling: credit, cancel", {ACTOR(MARK, CREDIT), ACTOR(TAKE_BACK(3)), CLOCK(NEXT_CELL)}, {KIND_ROLLING, 8, 4}, .kills = 1},
	{"rolling: credit, cancel, charge",
	 {ACTOR(MARK, CREDIT), ACTOR(TAKE_BACK(3)), ACTOR(KEEP(3)), CLOCK(NEXT_CELL)}, {KIND_ROLLING, 8, 4}, .kills = 1, .longer = true},
	{"rolling: correct, credit",
	 {ACTOR(MARK, CREDIT), ACTOR(CORRECT(6)), CLOCK(NEXT_CELL)}, {KIND_ROLLING, 8, 3}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "credit",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct credit_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
