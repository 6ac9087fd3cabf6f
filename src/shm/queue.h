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
 * looks and finds nobody who counts clears it and looks once more. Every waiter sets its own again whenever it says when
 * it means to try: somebody may have been killed in between, and a waiter that was late is not counted.
 *
 * Whoever makes room wakes the first that sleeps, and tells those that are about to look. Between them no wake is
 * lost: a waiter sets its bit, loads its futex word, looks, and sleeps unless the word has changed; he makes room,
 * looks for the bit, and changes the word. Each side's first step is a locked instruction, so one sees the other. A
 * waiter that was woken wakes the next if there is room for that one too. What remains for a waiter's own estimate to
 * cure: somebody was killed between making room and waking, and bits that are cleared as above.
 *
 *			join	leave	wake	reap	say	ahead
 *	join		  x	  x	  x	  x	  x	  x	one CAS takes a place
 *	leave			  x	  x	  x	  -	  x	one CAS leaves it
 *	wake				  x	  x	  x	  x	may wake who has just left or come
 *	say (wake_at)				  x	  -	  x	the waiter alone; a waker may lower it
 *
 * A waiter that is QUEUE_ABANDONED late loses its place to a joiner who finds no other. If it was stopped while it
 * said when it means to try, it may then say so in the other's name: until that one says it again, its order is wrong.
 *
 * owner = [worker slot + 1 : 13 | class 3 | bucket 24 | loop 1 | sequence 23]
 */
#ifndef RATION_SHM_QUEUE_H
#define RATION_SHM_QUEUE_H

#include "shm/layout.h"

/* How late a waiter may be before others pass it: 50 ms. */
#define QUEUE_GRACE (TICKS_PER_SEC / 20)

/* How late it may be before it loses its place, where there is no other: 10 s. */
#define QUEUE_ABANDONED (TICKS_PER_SEC * 10)

/*
 * A place in line: which cell of which queue, and the word that must still be in it. The rest is what the cell says,
 * in the waiter's own memory: whoever scribbled over the cell, the waiter puts it right.
 */
struct queue_place {
	uint32_t queue;
	uint32_t place;
	uint64_t owner; /* 0: stands nowhere */
	uint64_t arrival;
	uint64_t due; /* ticks: when its turn is, as it last worked out; 0: not yet */
	uint32_t units;
	uint32_t reserved;
};

struct queue_waiter {
	uint32_t worker; /* slot */
	uint32_t bucket;
	uint32_t class_index;
	uint32_t units;
	uint32_t sequence; /* the caller's counter, any value */
	bool loop; /* sleeps on its worker's word (seg_worker.waiting), as all such waiters of it do */
	uint64_t arrival; /* ticks: when it began to wait, in whatever line */
};

/* Whether anybody of `classes` (bit mask) may wait for it: one load of the hot line. */
static inline bool queue_hinted(const struct seg_hot *hot, uint32_t classes)
{
	return (KIND_WAITERS(shm_half_load(&hot->kind)) & classes) != 0;
}

enum queue_join {
	QUEUE_JOINED,
	QUEUE_BOUND, /* `most` of its class wait for the bucket already */
	QUEUE_FULL,  /* every place is taken */
};

/*
 * Stand in line; for now it means to try at once. most: 0 is no bound; a few more than that if they come at the same
 * moment.
 */
enum queue_join queue_join(struct seg *seg, const struct queue_waiter *waiter, uint32_t most,
			   uint64_t now, struct queue_place *ret_place);

/*
 * Say when it means to try. False: it does not stand there any more; or nothing showed that it did, so that whoever made
 * room since it looked did not wake it: it is to look once more.
 */
bool queue_wake_at(struct seg *seg, const struct queue_place *place, uint64_t wake_at);

/* Leave; harmless to repeat. */
void queue_leave(struct seg *seg, struct queue_place *place);

/* Those who stand before somebody. */
struct queue_ahead {
	uint64_t units;
	uint64_t own_units; /* those of the same class among them */
	uint32_t waiters;
	uint32_t coming; /* those whose time has come */
};

/*
 * All live waiters for `bucket` that stand before: those of a more protected class, and those of the same class that
 * came earlier than place; for place NULL (an acquire that does not wait) all of its class. Clears the hint if
 * nobody waits.
 */
struct queue_ahead queue_ahead(struct seg *seg, uint32_t bucket, uint32_t class_index,
			       const struct queue_place *place, uint64_t now);

/*
 * There is room. The first that means to try later is to try now, and those that were about to are to look once more:
 * their words change, and woken(user, word) is called for whoever may make a system call. queue_wake_all(): all of
 * them are to look, for what each was told of its turn is no longer true. Returns how many. Look at the hint first.
 */
typedef void queue_woken(void *user, shm_half *word);
uint32_t queue_wake_next(struct seg *seg, uint32_t bucket, uint64_t now, queue_woken *woken,
			 void *user);
uint32_t queue_wake_all(struct seg *seg, uint32_t bucket, uint64_t now, queue_woken *woken,
			void *user);

/* The word to sleep on, or NULL if it does not stand there any more. */
shm_half *queue_word(const struct seg *seg, const struct queue_place *place);

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
