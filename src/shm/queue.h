/*
 * shm/queue.h - waiting lines
 * SPDX-License-Identifier: MIT
 *
 * Buckets share n_queues lines of QUEUE_PLACES places each. A waiter stands in the line of one bucket: the link that
 * is the last to have room. Membership is one word, taken by one CAS and left by another; order is derived by
 * looking: the more protected class first, within a class by arrival. Nothing links one waiter to another, so none can
 * break the line by dying. A waiter that moves to another bucket's line keeps its arrival, and is compared by it in all
 * lines: so of those that want the same two buckets the first is held up by nobody, wherever the others stand.
 *
 * Entitlement is counted in units: an acquire (waiting or not) that looks at a bucket adds the units of all live
 * waiters that stand before it (struct demand: ahead), so it may pass only if there is room for them as well. A
 * waiter that does not come though its wake_at is QUEUE_GRACE past, or whose worker is gone, is not counted: it holds
 * nobody up. Each waiter sleeps to its own estimate, which already counts those before it: about one wake a grant.
 *
 * hot->kind shows by one bit a class who may have somebody in line; joiners set it after they stand there; whoever
 * looks and finds nobody clears it and looks once more. Killed in between, he leaves a bit cleared: every waiter sets
 * its own again whenever it says when it means to try.
 *
 * Whoever made room wakes queue_next(). That waiter's wake_at becomes now: the next one to make room wakes the
 * next waiter, and if the first does not come it is soon passed.
 *
 * owner = [worker slot + 1 : 13 | class 3 | bucket 24 | sequence 24]
 */
#ifndef RATION_SHM_QUEUE_H
#define RATION_SHM_QUEUE_H

#include "shm/layout.h"

/* How late a waiter may be before others pass it: 50 ms. */
#define QUEUE_GRACE (TICKS_PER_SEC / 20)

/*
 * A place in line: which cell of which queue, and the word that must still be in it. The rest is what the cell says,
 * in the waiter's own memory: whoever scribbled over the cell, the waiter puts it right.
 */
struct queue_place {
	uint32_t queue;
	uint32_t place;
	uint64_t owner; /* 0: stands nowhere */
	uint64_t arrival;
	uint32_t units;
	uint32_t reserved;
};

struct queue_waiter {
	uint32_t worker; /* slot */
	uint32_t bucket;
	uint32_t class_index;
	uint32_t units;
	uint32_t sequence; /* the caller's counter, any value */
	uint64_t arrival;  /* ticks: when it began to wait, in whatever line */
};

/* Whether anybody of `classes` (bit mask) may wait for it: one load of the hot line. */
static inline bool queue_hinted(const struct seg_hot *hot, uint32_t classes)
{
	return (KIND_WAITERS(shm_half_load(&hot->kind)) & classes) != 0;
}

/*
 * Stand in line; for now it means to try at once. False: every place is taken ("busy"), or `most` (0: no bound) of the
 * class already wait for it (a few more if they come at the same moment).
 */
bool queue_join(struct seg *seg, const struct queue_waiter *waiter, uint32_t most, uint64_t now,
		struct queue_place *ret_place);

/* Say when it means to try. False: it does not stand there any more (a repair may have cleared it). */
bool queue_wake_at(struct seg *seg, const struct queue_place *place, uint64_t wake_at);

/* Leave; harmless to repeat. */
void queue_leave(struct seg *seg, struct queue_place *place);

/* Those who stand before somebody. */
struct queue_ahead {
	uint64_t units;
	uint32_t waiters;
	uint64_t latest; /* the last of their wake_at */
};

/*
 * All live waiters for `bucket` that stand before: those of a more protected class, and those of the same class that
 * came earlier than place; for place NULL (an acquire that does not wait) all of its class. Clears the hint if
 * nobody waits.
 */
struct queue_ahead queue_ahead(struct seg *seg, uint32_t bucket, uint32_t class_index,
			       const struct queue_place *place, uint64_t now);

/* The first in this bucket's line that does not mean to try before later than now: its place, or owner 0. */
struct queue_place queue_next(const struct seg *seg, uint32_t bucket, uint64_t now);

/*
 * There is room: it is to try now. Returns its futex word, one more than it was, for whoever may make a system call;
 * NULL if it has left.
 */
shm_half *queue_wake(struct seg *seg, const struct queue_place *place, uint64_t now);
shm_half *queue_futex(const struct seg *seg, const struct queue_place *place);

/* Clear every place of a (dead) worker slot. Calls left(user, bucket) for each, so that others can be woken. */
typedef void queue_left(void *user, uint32_t bucket);
void queue_reap(struct seg *seg, uint32_t worker, queue_left *left, void *user);

/* How many of a class wait for a bucket, and since when the oldest (ticks of arrival; 0: nobody). */
struct queue_length {
	uint32_t waiting;
	uint64_t oldest;
};
struct queue_length queue_length(const struct seg *seg, uint32_t bucket, uint32_t class_index);

/* Whether the words of every place can be true. Places of unknown workers or buckets are cleared by repair. */
bool queue_plausible(const struct seg *seg, uint32_t queue);
uint32_t queue_repair(struct seg *seg, uint32_t queue);

#endif
