/*
 * tests/model/gate.c - block, extend, probe, lift, count, reclaim, wait
 * SPDX-License-Identifier: MIT
 *
 * Every change of a gate's word is compared with what may become of the one before it. Checked:
 *
 *	after every step	a block that is not over becomes a longer one, or an operator lifts it; while a probe is out,
 *				only its own good end, an operator, or its time opens the gate
 *	at a probe		no other is out whose time is not over, unless an operator lifted the gate meanwhile
 *	at a pass		no block that was there before is in force
 *	at the end of a block	nothing passes before its time, whoever was faster
 *	at the end		whoever was blocked and died or not: the gate opens after so many tries; whoever sleeps in its
 *				line has seen the word as it is; counts are what was counted; the segment is sound
 */
#include "shm/gate.h"

#include "reference.h"
#include "shm/queue.h"
#include "shm/reclaim.h"
#include "shm/worker.h"

/* The scenario's numbers: for how long it is blocked at first (ticks; 0: open), and whether a probe has been out twice. */
enum { BLOCKED_FOR, TRIED };

#define SEC    TICKS_PER_SEC
#define FAR    (UINT64_C(1) << 60)
#define EPOCH  (UINT64_C(1000) * SEC) /* room before it, so that a life can be long ago */
#define IDLE   (UINT64_C(700) * SEC)
#define WINDOW (UINT64_C(10) * SEC)

struct gate_notes {
	struct notes shared;
	uint64_t word;    /* as it was after the last step */
	uint64_t opened;  /* how often it was opened, or began another life */
	uint64_t must;    /* nothing passes before */
	uint64_t lifting; /* operators who are at it */
	uint64_t counted[2];
	uint64_t ending[ACTORS_MAX]; /* the probe whose good end this actor tells */
	uint64_t giving[ACTORS_MAX]; /* the probe that this actor gives up */
	uint64_t out[ACTORS_MAX];    /* until when its probe is nobody else's */
	uint64_t looked[ACTORS_MAX]; /* the word that refused it */
	shm_word asleep[ACTORS_MAX]; /* offset + 1 of the word that it sleeps on */
};

struct self {
	struct charge_ref probe; /* units 0: none */
	struct queue_place place;
	uint64_t sequence;
};

static struct bucket_ref gate;
static const struct gate_breaker breaker = {WINDOW, 500000, 2};

static struct gate_notes *known(void)
{
	return (struct gate_notes *)(void *)world.base;
}

static uint64_t clock_now(void)
{
	return atomic_load(&known()->shared.now);
}

static struct link link_to_gate(void)
{
	return (struct link){
		.bucket = gate.bucket, .generation = gate.generation, .flags = KIND_GATE};
}

/* --- what may become of a word --- */

static bool is_one_of(const uint64_t words[ACTORS_MAX], uint64_t word)
{
	for (int i = 0; i < ACTORS_MAX; i++) {
		if (words[i] == word)
			return true;
	}
	return false;
}

static bool may_open(uint64_t from)
{
	if (known()->lifting > 0)
		return true;
	if (GATE_PHASE(from) != GATE_PROBING)
		return false;
	return is_one_of(known()->ending, from) ||
	       (GATE_TRIED(from) + 1 == GATE_TRIES && GATE_WHEN(from) <= clock_now());
}

static void check_change(uint64_t from, uint64_t to)
{
	const bool over = GATE_WHEN(from) <= clock_now();

	switch (GATE_PHASE(to)) {
	case GATE_OPEN:
		if (!may_open(from))
			model_fail("a gate was opened by nobody who may");
		known()->opened++;
		known()->must = 0;
		return;
	case GATE_BLOCKED:
		if (GATE_PHASE(from) == GATE_BLOCKED && GATE_WHEN(to) < GATE_WHEN(from))
			model_fail("a block was cut");
		if (GATE_WHEN(to) > known()->must)
			known()->must = GATE_WHEN(to);
		return;
	case GATE_PROBING:
		/* Its own worker gives it up. */
		if (is_one_of(known()->giving, from) && GATE_TRIED(to) == GATE_TRIED(from))
			return;
		if (GATE_PHASE(from) == GATE_OPEN || !over)
			model_fail("a probe before its time");
		return;
	default:
		return;
	}
}

static void each(void)
{
	const uint64_t word = atomic_load(&world.seg.hot[gate.bucket].state[0]);

	if (word == known()->word)
		return;
	if (word == RECORD_DEAD && !gate_calm(known()->word, clock_now()))
		model_fail("a gate was reclaimed while it was closed");
	if (known()->word == RECORD_DEAD || word == RECORD_DEAD) {
		known()->opened++;
		known()->must = 0;
	} else {
		check_change(known()->word, word);
	}
	known()->word = word;
}

/* --- passing --- */

static void note_probe(struct self *me, const struct link *link, const struct taken *taken)
{
	const uint64_t at = clock_now();

	for (int i = 0; i < ACTORS_MAX; i++) {
		if (known()->out[i] > at)
			model_fail("a second probe while that of actor %d is out", i);
	}
	known()->out[model_self()] = GATE_WHEN(taken->word);
	me->probe = (struct charge_ref){
		.bucket = link->bucket,
		.generation = link->generation,
		.units = 1,
		.taken = *taken,
	};
}

/* As chain_look() does. True: passed. */
static bool pass(struct self *me, const struct queue_place *place)
{
	const struct link link = link_to_gate();
	const uint64_t must = known()->must, opened = known()->opened;
	const struct instant at = {.now = now()};
	struct demand demand = {
		.units = 1, .in_line = place != NULL, .seed = (uint64_t)model_self()};
	struct taken taken = {0};
	struct shortage why = {0};
	enum take result;

	if (queue_hinted(&world.seg.hot[gate.bucket], 1))
		demand.ahead = queue_ahead(&world.seg, gate.bucket, 0, place, at.now).units;
	result = gate_look(&world.seg, &link, &demand, &at, &taken, &why);
	if (result == TAKE_ADMIT && taken.charged)
		result = gate_charge(&world.seg, &link, &demand, &at, &taken, &why);
	if (result == TAKE_WAIT) {
		known()->looked[model_self()] = why.left;
		if (why.retry_at <= at.now)
			model_fail("refused until now");
	}
	if (result != TAKE_ADMIT)
		return false;
	if (at.now < must && opened == known()->opened)
		model_fail("passed a block");
	if (taken.charged)
		note_probe(me, &link, &taken);
	return true;
}

static void op_pass(void *self, const struct op *op)
{
	(void)op;
	(void)pass(self, NULL);
}

static void op_give_back(void *self, const struct op *op)
{
	struct self *me = self;

	(void)op;
	known()->out[model_self()] = 0;
	if (me->probe.units > 0)
		(void)gate_give_back(&world.seg, &me->probe, 1);
	me->probe.units = 0;
}

static void op_abandon(void *self, const struct op *op)
{
	struct self *me = self;

	(void)op;
	known()->out[model_self()] = 0;
	if (me->probe.units > 0) {
		/* It stays noted: no other word is the same. */
		known()->giving[model_self()] = me->probe.taken.word;
		(void)gate_abandon(&world.seg, &me->probe, now());
	}
	me->probe.units = 0;
}

static void futex_wake(void *user, shm_half *word)
{
	const uint64_t on = (uint64_t)world_offset(word) + 1;

	(void)user;
	for (int i = 0; i < ACTORS_MAX; i++) {
		if (atomic_load(&known()->asleep[i]) == on)
			shm_store(&known()->asleep[i], 0);
	}
}

static void wake_all(void)
{
	if (queue_hinted(&world.seg.hot[gate.bucket], 0xff))
		(void)queue_wake_all(&world.seg, gate.bucket, now(), futex_wake, NULL);
}

static void op_good(void *self, const struct op *op)
{
	struct self *me = self;
	bool lifted;

	(void)op;
	if (me->probe.units == 0)
		return;
	known()->out[model_self()] = 0;
	known()->ending[model_self()] = me->probe.taken.word;
	lifted = gate_lift(&world.seg, gate, me->probe.taken.word, now());
	known()->ending[model_self()] = 0;
	me->probe.units = 0;
	if (lifted)
		wake_all();
}

/* --- blocking --- */

static void block(uint64_t length, uint64_t probe)
{
	const struct gate_block block = {now() + length, GATE_WHY_OPERATOR, probe};
	const uint64_t opened = known()->opened;
	const bool done = gate_block(&world.seg, gate, &block);

	each();
	if (done && opened == known()->opened && known()->must < block.until)
		model_fail("a block was not taken up");
	gate_announce(&world.seg, gate);
}

static void op_block(void *self, const struct op *op)
{
	(void)self;
	block(op->a * SEC, 0);
}

static void op_limited(void *self, const struct op *op)
{
	struct self *me = self;

	if (me->probe.units == 0)
		return;
	known()->out[model_self()] = 0;
	block(op->a * SEC, me->probe.taken.word);
	me->probe.units = 0;
}

/* From here on a probe may be out beside one that another block sends. */
static void op_unblock(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	known()->lifting++;
	for (int i = 0; i < ACTORS_MAX; i++)
		known()->out[i] = 0;
	if (gate_lift(&world.seg, gate, 0, now()))
		wake_all();
	for (int i = 0; i < ACTORS_MAX; i++)
		known()->out[i] = 0;
	known()->lifting--;
}

static void op_later(void *self, const struct op *op)
{
	(void)self;
	shm_add(&known()->shared.now, op->a * SEC);
}

static void op_count(void *self, const struct op *op)
{
	(void)self;
	(void)gate_count(&world.seg, gate, &breaker, op->a != 0, now());
	known()->counted[op->a != 0]++;
}

/* --- waiting --- */

static bool awake(void)
{
	return atomic_load(&known()->asleep[model_self()]) == 0;
}

static void futex_wait(const shm_half *word, uint32_t value)
{
	if (shm_half_load(word) != value)
		return;
	atomic_store(&known()->asleep[model_self()], (uint64_t)world_offset(word) + 1);
	model_wait(awake);
}

static void op_wait(void *self, const struct op *op)
{
	struct self *me = self;
	const struct queue_waiter who = {
		.worker = (uint32_t)model_self(),
		.bucket = gate.bucket,
		.units = 1,
		.sequence = (uint32_t)me->sequence++,
		.arrival = now(),
	};

	(void)op;
	if (queue_join(&world.seg, &who, 0, who.arrival, &me->place) != QUEUE_JOINED)
		return;
	for (;;) {
		const shm_half *word = queue_word(&world.seg, &me->place);
		const uint32_t value = word ? shm_half_load(word) : 0;

		if (!word)
			model_fail("a place was lost");
		if (pass(me, &me->place))
			break;
		if (queue_wake_at(&world.seg, &me->place, FAR))
			futex_wait(word, value);
	}
	queue_leave(&world.seg, &me->place);
}

/* --- reclaiming --- */

static void make_gate(uint64_t at)
{
	struct bucket_spec spec = gate_spec(at);

	spec.identity = (struct hash128){{1, 1}};
	if (index_insert(&world.seg, 0, &spec, &gate) != INDEX_FOUND)
		model_fail("no record");
}

/* Another life of the same record; handles are of the first. */
static void op_renew(void *self, const struct op *op)
{
	const struct reclaim_rule rule = {.now = now(), .idle = IDLE};
	struct bucket_spec spec = gate_spec(rule.now);
	struct bucket_ref next;

	(void)self;
	(void)op;
	reclaim_begin(&world.seg, &rule);
	if (!reclaim_record(&world.seg, gate.bucket, &rule))
		return;
	spec.identity = (struct hash128){{2, 2}};
	if (index_insert(&world.seg, 0, &spec, &next) != INDEX_FOUND)
		model_fail("no record");
}

/* --- the area --- */

static void setup(void)
{
	const struct seg_config config = {
		.buckets = 1, .workers = ACTORS_MAX, .extents = 1, .queues = 1};
	struct gate_block first = {.why = GATE_WHY_OPERATOR};
	struct seg_hot *hot;

	world_clear(model.own_size, &config);
	known()->shared.now = EPOCH;
	for (uint32_t i = 0; i < ACTORS_MAX; i++)
		world.seg.workers[i].identity = worker_identity(i, 1, i + 100);
	make_gate(EPOCH - IDLE - SEC);
	hot = &world.seg.hot[gate.bucket];
	first.until = EPOCH + scenario->with[BLOCKED_FOR];
	if (scenario->with[BLOCKED_FOR] > 0)
		(void)gate_block(&world.seg, gate, &first);
	if (scenario->with[TRIED] > 0)
		hot->state[0] =
			GATE_PACK(EPOCH + SEC, 0, GATE_WHY_OPERATOR, GATE_TRIES - 1, GATE_PROBING);
	known()->word = atomic_load(&hot->state[0]);
	known()->must = GATE_PHASE(known()->word) == GATE_BLOCKED ? GATE_WHEN(known()->word) : 0;
}

static void check_waiters(void)
{
	for (int i = 0; i < ACTORS_MAX; i++) {
		if (atomic_load(&known()->asleep[i]) != 0 && !model_killed(i) &&
		    known()->looked[i] != known()->word && GATE_PHASE(known()->word) == GATE_OPEN)
			model_fail("actor %d sleeps, and nobody told it that it may go on", i);
	}
}

/* However it was left: after all the probes that nobody heard of, everybody passes. */
static void check_opens(void)
{
	const struct link link = link_to_gate();
	struct instant at = {.now = clock_now()};

	for (unsigned i = 0; i < GATE_TRIES + 4; i++) {
		const struct demand demand = {.units = 1};
		struct taken taken;
		struct shortage why = {0};
		enum take result = gate_look(&world.seg, &link, &demand, &at, &taken, &why);

		if (result == TAKE_STALE || (result == TAKE_ADMIT && !taken.charged))
			return;
		if (result == TAKE_ADMIT)
			(void)gate_charge(&world.seg, &link, &demand, &at, &taken, &why);
		else if (result != TAKE_WAIT || why.retry_at > at.now + 100 * SEC)
			model_fail("refused until nobody knows when");
		at.now += 100 * SEC;
	}
	model_fail("it never opens");
}

static void end(void)
{
	const struct gate_counts counts = gate_counts(&world.seg, gate, WINDOW, clock_now());

	if (model_kills() == 0)
		check_waiters();
	if (model_kills() == 0 && known()->opened == 0 &&
	    (counts.limited != known()->counted[1] ||
	     counts.responses != known()->counted[0] + known()->counted[1]))
		model_fail("counted %u of %u", counts.limited, counts.responses);
	check_opens();
	for (uint32_t i = 0; i < ACTORS_MAX; i++)
		worker_reap(&world.seg, i, 0);
	check_segment();
}

/* clang-format off */
#define PASS { op_pass, "pass", 0, 0 }
#define GOOD { op_good, "good", 0, 0 }
#define LIMITED(n) { op_limited, "limited for %u s", n, 0 }
#define GIVE_BACK { op_give_back, "give back", 0, 0 }
#define ABANDON { op_abandon, "abandon", 0, 0 }
#define BLOCK(n) { op_block, "block for %u s", n, 0 }
#define LATER(n) { op_later, "%u s later", n, 0 }
#define UNBLOCK { op_unblock, "unblock", 0, 0 }
#define COUNT(limited) { op_count, "count %u", limited, 0 }
#define WAIT { op_wait, "wait", 0, 0 }
#define RENEW { op_renew, "reclaim and begin anew", 0, 0 }

static const struct scenario scenarios[] = {
	{"block, block, pass", {ACTOR(BLOCK(3)), ACTOR(BLOCK(5)), ACTOR(PASS, PASS), CLOCK(LATER(4))}, {0}, .kills = 2},
	{"block, extend, probe", {ACTOR(PASS, GOOD), ACTOR(BLOCK(5)), CLOCK(LATER(2), LATER(5))}, {SEC}, .kills = 1},
	{"probe, probe", {ACTOR(PASS, GOOD, PASS), ACTOR(PASS, LIMITED(2), PASS), CLOCK(LATER(2), LATER(2))}, {SEC}, .kills = 1},
	{"probe, probe, probe", {ACTOR(PASS, GOOD), ACTOR(PASS, GIVE_BACK), ACTOR(PASS, LIMITED(2)), CLOCK(LATER(2))}, {SEC}, .kills = 1},
	{"probe, block by another, probe",
	 {ACTOR(PASS, GOOD), ACTOR(PASS, LIMITED(1)), ACTOR(BLOCK(1)), CLOCK(LATER(2), LATER(2), LATER(10))}, {SEC}, .kills = 1},
	{"give back, probe, block", {ACTOR(PASS, GIVE_BACK, PASS), ACTOR(PASS, GIVE_BACK), ACTOR(BLOCK(1)), CLOCK(LATER(2))}, {SEC}, .kills = 1},
	{"abandon, probe, block", {ACTOR(PASS, ABANDON, PASS), ACTOR(PASS, ABANDON), ACTOR(BLOCK(1)), CLOCK(LATER(2), LATER(2))}, {SEC}, .kills = 1},
	{"probe is late", {ACTOR(PASS, GOOD), ACTOR(PASS, LIMITED(1)), CLOCK(LATER(2), LATER(10), LATER(10))}, {SEC}, .kills = 2},
	{"the last try, pass", {ACTOR(PASS, PASS), ACTOR(PASS), ACTOR(BLOCK(2)), CLOCK(LATER(2), LATER(2))}, {0, 1}, .kills = 1},
	{"unblock, block, pass", {ACTOR(UNBLOCK), ACTOR(BLOCK(5)), ACTOR(PASS, PASS), CLOCK(LATER(2))}, {3 * SEC}, .kills = 1},
	{"unblock, probe, end", {ACTOR(UNBLOCK), ACTOR(PASS, GOOD), ACTOR(PASS, LIMITED(2)), CLOCK(LATER(2))}, {SEC}, .kills = 1},
	{"count, count, lift", {ACTOR(COUNT(1), COUNT(0)), ACTOR(COUNT(1)), ACTOR(UNBLOCK)}, {SEC}, .kills = 0},
	{"count, count", {ACTOR(COUNT(1), COUNT(0)), ACTOR(COUNT(1)), CLOCK(LATER(5))}, {0}, .kills = 0},
	{"reclaim, block", {ACTOR(BLOCK(5), PASS), ACTOR(PASS), SUPERVISOR(RENEW)}, {0}, .kills = 1},
	{"reclaim, count, block", {ACTOR(COUNT(1), BLOCK(1)), ACTOR(UNBLOCK), SUPERVISOR(RENEW)}, {0}, .kills = 1},
	{"wait, good", {ACTOR(WAIT, GOOD), ACTOR(PASS, GOOD), CLOCK(LATER(2))}, {SEC}, .kills = 1},
	{"wait, unblock", {ACTOR(WAIT), ACTOR(UNBLOCK), ACTOR(PASS)}, {SEC}, .kills = 1},
	{"wait, wait, unblock", {ACTOR(WAIT), ACTOR(WAIT), ACTOR(UNBLOCK)}, {SEC}, .kills = 0},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "gate",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct gate_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
