/*
 * tests/model/queue.c - stand in line, wake, give up, be reaped
 * SPDX-License-Identifier: MIT
 *
 * What is waited for is a word that counts free units. A waiter does what client/wait.c does: stand in line; load the
 * word to sleep on, look, and if there is not enough for all before it and itself say when it means to try, and sleep
 * unless the word has changed. Sleeping is what futex(2) does: to compare and to fall asleep is one step, and only a
 * call wakes, which its maker may be killed before. Nobody is ever woken by time: in the end, if nobody was killed,
 * nobody sleeps while there is something for it, and the bits show all who sleep. If somebody was killed, whoever
 * sleeps still stands there, so that its own timer leads it on.
 */
#include "shm/queue.h"

#include "reference.h"
#include "shm/worker.h"

/* The scenario's numbers: units free at first, the last class that anybody waits as, whether its bit is set at first. */
enum { FREE_UNITS, LAST_CLASS, STALE_BIT };

#define FAR  (UINT64_C(1) << 60)
#define LATE (QUEUE_GRACE + 1)

struct queue_notes {
	struct notes shared;
	shm_word room;
	shm_word asleep[ACTORS_MAX]; /* offset + 1 of the word that this actor sleeps on */
	uint64_t taken[ACTORS_MAX];
};

struct self {
	struct queue_place place;
	uint64_t sequence;
};

static struct queue_notes *all(void)
{
	return (struct queue_notes *)(void *)world.base;
}

static bool is_asleep(int actor)
{
	return atomic_load(&all()->asleep[actor]) != 0;
}

static bool awake(void)
{
	return !is_asleep(model_self());
}

/* --- futex(2) --- */

static void futex_wait(const shm_half *word, uint32_t value)
{
	if (shm_half_load(word) != value)
		return;
	atomic_store(&all()->asleep[model_self()], (uint64_t)world_offset(word) + 1);
	model_wait(awake);
}

static void futex_wake(void *user, shm_half *word)
{
	const uint64_t on = (uint64_t)world_offset(word) + 1;

	(void)user;
	for (int i = 0; i < ACTORS_MAX; i++) {
		if (atomic_load(&all()->asleep[i]) == on)
			shm_store(&all()->asleep[i], 0);
	}
}

static void wake_next(void)
{
	if (queue_hinted(&world.seg.hot[0], 0xff))
		(void)queue_wake_next(&world.seg, 0, now(), futex_wake, NULL);
}

/* --- what actors do --- */

static bool take_unit(void)
{
	uint64_t room = shm_load(&all()->room);

	while (room > 0) {
		if (shm_cas(&all()->room, &room, room - 1)) {
			all()->taken[model_self()]++;
			return true;
		}
	}
	return false;
}

/* As chain_look() does. */
static bool look(uint32_t class_index, const struct queue_place *place)
{
	uint64_t ahead = 0;

	if (queue_hinted(&world.seg.hot[0], (2u << class_index) - 1))
		ahead = queue_ahead(&world.seg, 0, class_index, place, now()).units;
	return shm_load(&all()->room) > ahead && take_unit();
}

static bool join(struct self *me, uint32_t class_index)
{
	const struct queue_waiter who = {
		.worker = (uint32_t)model_self(),
		.class_index = class_index,
		.units = 1,
		.sequence = (uint32_t)me->sequence++,
		.arrival = now(),
	};

	return queue_join(&world.seg, &who, 0, who.arrival, &me->place) == QUEUE_JOINED;
}

/* Between its taking and its leaving it was counted twice: there may be something for the next. */
static void leave(struct self *me, bool served)
{
	queue_leave(&world.seg, &me->place);
	if (!served || shm_load(&all()->room) > 0)
		wake_next();
}

static void op_wait(void *self, const struct op *op)
{
	struct self *me = self;

	if (!join(me, (uint32_t)op->a))
		return;
	for (;;) {
		const shm_half *word = queue_word(&world.seg, &me->place);
		const uint32_t value = word ? shm_half_load(word) : 0;

		if (!word)
			model_fail("a place was lost");
		if (look((uint32_t)op->a, &me->place)) {
			leave(me, true);
			return;
		}
		if (queue_wake_at(&world.seg, &me->place, FAR))
			futex_wait(word, value);
	}
}

/* It gives up after its first look. */
static void op_try(void *self, const struct op *op)
{
	struct self *me = self;

	if (join(me, (uint32_t)op->a))
		leave(me, look((uint32_t)op->a, &me->place));
}

static void op_plain(void *self, const struct op *op)
{
	(void)self;
	(void)look((uint32_t)op->a, NULL);
}

static void op_free(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	(void)shm_add(&all()->room, 1);
	wake_next();
}

/* New numbers: more for everybody. */
static void op_raise(void *self, const struct op *op)
{
	(void)self;
	(void)shm_add(&all()->room, op->a);
	if (queue_hinted(&world.seg.hot[0], 0xff))
		(void)queue_wake_all(&world.seg, 0, now(), futex_wake, NULL);
}

static void left(void *user, uint32_t bucket)
{
	(void)user;
	(void)bucket;
	wake_next();
}

static void op_reap(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	for (uint32_t i = 0; i < ACTORS_MAX; i++) {
		if (model_killed((int)i))
			worker_reap_telling(&world.seg, i, 0, left, NULL);
	}
}

/* A reaper that does not wait for those who sleep. */
static bool somebody_died(void)
{
	for (int i = 0; i < ACTORS_MAX; i++) {
		if (i != model_self() && !model_killed(i) && !model_finished(i) && !is_asleep(i))
			return false;
	}
	return model_kills() > 0;
}

/* The next worker in the slot of the first, once that is reaped. */
static bool slot_is_free(void)
{
	return atomic_load(&world.seg.workers[0].identity) == 0;
}

static void op_succeed(void *self, const struct op *op)
{
	shm_store(&world.seg.workers[0].identity, worker_identity(0, 2, 300));
	op_try(self, op);
}

#define WAIT(class_index)                                                                          \
	{                                                                                          \
		op_wait, "wait as %u", class_index, 0                                              \
	}
#define TRY(class_index)                                                                           \
	{                                                                                          \
		op_try, "wait as %u and give up", class_index, 0                                   \
	}
#define PLAIN(class_index)                                                                         \
	{                                                                                          \
		op_plain, "take as %u", class_index, 0                                             \
	}
#define FREE                                                                                       \
	{                                                                                          \
		op_free, "free one", 0, 0                                                          \
	}
#define RAISE(n)                                                                                   \
	{                                                                                          \
		op_raise, "raise by %u", n, 0                                                      \
	}
#define REAP                                                                                       \
	{                                                                                          \
		{{op_reap, "reap", 0, 0}}, ACTOR_IMMORTAL, somebody_died                           \
	}
#define SUCCESSOR                                                                                  \
	{                                                                                          \
		{{op_succeed, "enter, wait as %u and give up", 0, 0}}, 0, slot_is_free             \
	}

/* --- the area --- */

static void setup(void)
{
	const struct seg_config config = {
		.buckets = 1, .workers = ACTORS_MAX, .extents = 1, .queues = 1};

	world_clear(model.own_size, &config);
	all()->shared.now = QUEUE_GRACE;
	all()->room = scenario->with[FREE_UNITS];
	world.seg.hot[0].kind = (uint32_t)scenario->with[STALE_BIT] << KIND_WAITERS_SHIFT;
	for (uint32_t i = 0; i < ACTORS_MAX; i++)
		world.seg.workers[i].identity = worker_identity(i, 1, i + 100);
}

static uint64_t waiters(void)
{
	uint64_t n = 0;

	for (uint32_t k = 0; k <= scenario->with[LAST_CLASS]; k++)
		n += queue_length(&world.seg, 0, k).waiting;
	return n;
}

/* Those who were stopped are late; whoever looks next is passed by nobody else. */
static void end(void)
{
	const uint32_t bits = KIND_WAITERS(atomic_load(&world.seg.hot[0].kind));
	uint64_t asleep = 0;

	for (int i = 0; i < ACTORS_MAX; i++)
		asleep += is_asleep(i) && !model_killed(i);
	for (uint32_t i = 0; i < ACTORS_MAX; i++) {
		if (model_killed((int)i) &&
		    shm_load(&world.seg.workers[i].identity) == worker_identity(i, 1, i + 100))
			worker_reap(&world.seg, i, 0);
	}
	if (waiters() < asleep)
		model_fail("%u sleep, but only %u stand in line", (unsigned)asleep,
			   (unsigned)waiters());
	if (model_kills() > 0)
		return;
	if (waiters() != asleep)
		model_fail("%u stand in line, but only %u sleep", (unsigned)waiters(),
			   (unsigned)asleep);
	if (asleep > 0 && atomic_load(&all()->room) > 0)
		model_fail("somebody sleeps though there is something for it");
	for (uint32_t k = 0; k <= scenario->with[LAST_CLASS]; k++) {
		if (queue_length(&world.seg, 0, k).waiting > 0 && !(bits >> k & 1))
			model_fail("somebody of class %u sleeps, and nothing shows it", k);
	}
	check_segment();
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"wait, free", {ACTOR(WAIT(0)), ACTOR(FREE), REAP}, {0}, .kills = 1},
	{"wait, wait, free two", {ACTOR(WAIT(0)), ACTOR(WAIT(0)), ACTOR(FREE, FREE)}, {0}, .kills = 0, .preemptions = 2},
	{"wait, wait, free two, reap", {ACTOR(WAIT(0)), ACTOR(WAIT(0)), ACTOR(FREE, FREE), REAP}, {0}, .kills = 1, .longer = true},
	{"wait, wait, free, free", {ACTOR(WAIT(0)), ACTOR(WAIT(0)), ACTOR(FREE), ACTOR(FREE)}, {0}, .kills = 0, .longer = true},
	{"wait, of another class, free", {ACTOR(WAIT(1)), ACTOR(WAIT(0)), ACTOR(FREE), REAP}, {0, 1}, .kills = 1},
	{"wait, give up, free", {ACTOR(WAIT(0)), ACTOR(TRY(0)), ACTOR(FREE), REAP}, {0}, .kills = 1},
	{"wait, give up, free, stale bit", {ACTOR(WAIT(0)), ACTOR(TRY(0)), ACTOR(FREE)}, {0, 0, 1}, .kills = 0},
	{"wait, take, free", {ACTOR(WAIT(0)), ACTOR(PLAIN(0)), ACTOR(FREE)}, {0}, .kills = 0},
	{"wait, take, stale bit", {ACTOR(WAIT(0)), ACTOR(PLAIN(0), PLAIN(0)), REAP}, {0, 0, 1}, .kills = 1},
	{"wait, take, free, stale bits", {ACTOR(WAIT(1)), ACTOR(PLAIN(1)), ACTOR(FREE)}, {0, 1, 3}, .kills = 0},
	{"wait, be late, take, free", {ACTOR(WAIT(0)), ACTOR(PLAIN(0), FREE), CLOCK(TICK(LATE))}, {0}, .kills = 0},
	{"wait, wait, raise", {ACTOR(WAIT(0)), ACTOR(WAIT(1)), SUPERVISOR(RAISE(2)), REAP}, {0, 1}, .kills = 1},
	{"wait, reap, successor", {ACTOR(TRY(0)), ACTOR(WAIT(0)), SUCCESSOR, REAP}, {0}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "queue",
	.self_size = sizeof(struct self),
	.own_size = sizeof(struct queue_notes),
	.setup = setup,
	.end = end,
	.scenarios = scenarios,
};
