/*
 * tests/model/event.c - events that are put, taken, and left by the dead
 * SPDX-License-Identifier: MIT
 *
 * Actors are threads of the one worker of slot 0, but for the supervisor, which takes, and reaps where somebody was
 * killed; then a successor puts. A ring has two cells. Both words of an event name it. Checked: what is taken is whole,
 * and was put; at the end everything that was put has been taken, once, and what was not put is counted.
 */
#include "shm/event.h"

#include "reference.h"
#include "shm/worker.h"

/* The scenario's number: events that lie in the ring already. */
enum { BEFORE };

#define EVENTS_MAX 8u

struct event_notes {
	struct notes shared;
	uint64_t begun[EVENTS_MAX];
	uint64_t put[EVENTS_MAX];
	uint64_t taken[EVENTS_MAX];
	uint64_t refused;
	uint64_t reaped;
	uint64_t seen;
};

static struct event_notes *known(void)
{
	return (struct event_notes *)(void *)world.base;
}

static void put(uint64_t id)
{
	const struct event_image image = {.word = {id << 32 | 2, id}};

	known()->begun[id] = 1;
	if (event_put(&world.seg, 0, &image))
		known()->put[id] = 1;
	else
		known()->refused++;
}

static void take_one(void *user, const struct event_image *image)
{
	const uint64_t id = image->word[0] >> 32;

	(void)user;
	if (id >= EVENTS_MAX || image->word[0] != (id << 32 | 2) || image->word[1] != id)
		model_fail("taken: %llx %llx, which nobody put", (unsigned long long)image->word[0],
			   (unsigned long long)image->word[1]);
	else
		known()->taken[id]++;
}

static void take(void)
{
	uint32_t seen = (uint32_t)known()->seen;

	(void)event_take(&world.seg, 0, &seen, take_one, NULL);
	known()->seen = seen;
}

static void op_put(void *self, const struct op *op)
{
	(void)self;
	put(op->a);
}

static void op_take(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	take();
}

/* All threads of the worker are dead, as they die together. */
static void op_reap(void *self, const struct op *op)
{
	(void)self;
	(void)op;
	worker_reap(&world.seg, 0, 0);
	known()->reaped = 1;
}

#define PUT(id)                                                                                    \
	{                                                                                          \
		op_put, "put %u", id, 0                                                            \
	}
#define TAKE                                                                                       \
	{                                                                                          \
		op_take, "take", 0, 0                                                              \
	}
#define REAP                                                                                       \
	{                                                                                          \
		op_reap, "reap", 0, 0                                                              \
	}

static void setup(void)
{
	const struct seg_config config = {.buckets = 1, .workers = 1, .queues = 1};

	world_clear(model.own_size, &config);
	known()->shared.now = T0;
	for (uint64_t i = 0; i < scenario->with[BEFORE]; i++)
		put(EVENTS_MAX - 1 - i);
}

static void each(void)
{
	for (uint32_t i = 0; i < EVENTS_MAX; i++) {
		if (known()->taken[i] > known()->begun[i])
			model_fail("event %u: taken more often than put", i);
	}
}

static void end(void)
{
	if (model_kills() > 0 && !known()->reaped)
		worker_reap(&world.seg, 0, 0);
	take();
	each();
	for (uint32_t i = 0; i < EVENTS_MAX; i++) {
		if (known()->put[i] > known()->taken[i])
			model_fail("event %u: put, and never taken", i);
	}
	for (uint32_t i = 0; i < EVENT_CELLS; i++) {
		if (shm_load(&world.seg.events[0].cell[i].state) != 0)
			model_fail("cell %u is still in use", i);
	}
	if (model_kills() == 0 && shm_load(&world.seg.control->events_dropped) != known()->refused)
		model_fail("%llu were dropped, %llu counted", (unsigned long long)known()->refused,
			   (unsigned long long)shm_load(&world.seg.control->events_dropped));
	check_segment();
}

/* clang-format off */
static const struct scenario scenarios[] = {
	{"put, take", {ACTOR(PUT(0), PUT(1), PUT(2)), SUPERVISOR(TAKE, TAKE)}, {0}, .kills = 1},
	{"put, put, take", {ACTOR(PUT(0), PUT(1)), ACTOR(PUT(2)), SUPERVISOR(TAKE)}, {0}, .kills = 1},
	{"full ring", {ACTOR(PUT(0)), ACTOR(PUT(1), PUT(2)), SUPERVISOR(TAKE)}, {2}, .kills = 1},
	{"put, put, put", {ACTOR(PUT(0)), ACTOR(PUT(1)), ACTOR(PUT(2)), SUPERVISOR(TAKE)}, {1}, .kills = 1},
	{"killed, reaped, put", {ACTOR(PUT(0), PUT(1)), REAPER(REAP, TAKE, PUT(2), PUT(3), TAKE)}, {0}, .kills = 1},
	{"killed, reaped, take", {ACTOR(PUT(0), PUT(1)), REAPER(TAKE, REAP, PUT(2), TAKE)}, {1}, .kills = 1},
	{NULL},
};
/* clang-format on */

const struct model model = {
	.area = "event",
	.self_size = 16,
	.own_size = sizeof(struct event_notes),
	.setup = setup,
	.each = each,
	.end = end,
	.scenarios = scenarios,
};
