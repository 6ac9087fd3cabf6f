/*
 * shm/queue.c - waiting lines
 * SPDX-License-Identifier: MIT
 */
#include "shm/queue.h"

#define CLASS_SHIFT   48
#define BUCKET_SHIFT  24
#define WORKER_SHIFT  51
#define CLASS_MASK    7u
#define BUCKET_MASK   (SEG_BUCKETS_MAX - 1)
#define LOOP          (UINT64_C(1) << 23)
#define SEQUENCE_MASK (LOOP - 1)

#define CLEAR_ATTEMPTS 4

#define HINT(class_index) (UINT32_C(1) << (KIND_WAITERS_SHIFT + (class_index)))

/* --- words --- */

static uint64_t owner_word(const struct queue_waiter *waiter)
{
	return (uint64_t)(waiter->worker + 1) << WORKER_SHIFT |
	       (uint64_t)(waiter->class_index & CLASS_MASK) << CLASS_SHIFT |
	       (uint64_t)(waiter->bucket & BUCKET_MASK) << BUCKET_SHIFT |
	       (waiter->loop ? LOOP : 0) | (waiter->sequence & SEQUENCE_MASK);
}

/* UINT32_MAX: nobody's. */
static uint32_t worker_of(uint64_t owner)
{
	return (uint32_t)(owner >> WORKER_SHIFT) - 1;
}

static uint32_t class_of(uint64_t owner)
{
	return (uint32_t)(owner >> CLASS_SHIFT) & CLASS_MASK;
}

static uint32_t bucket_of(uint64_t owner)
{
	return (uint32_t)(owner >> BUCKET_SHIFT) & BUCKET_MASK;
}

static uint32_t queue_of(const struct seg *seg, uint32_t bucket)
{
	return bucket & (seg->n_queues - 1);
}

static bool has_worker(const struct seg *seg, uint64_t owner)
{
	const uint32_t worker = worker_of(owner);

	return worker < seg->n_workers && shm_load(&seg->workers[worker].identity) != 0;
}

/* A place is the caller's memory, but it may hold what an earlier, smaller segment had. */
static struct seg_waiter *cell_of(const struct seg *seg, const struct queue_place *place)
{
	if (place->owner == 0 || place->queue >= seg->n_queues || place->place >= QUEUE_PLACES)
		return NULL;
	return &seg->queues[place->queue].place[place->place];
}

static bool stands(const struct seg_waiter *cell, const struct queue_place *place)
{
	return cell && shm_load(&cell->owner) == place->owner;
}

/* --- looking --- */

/* A waiter, as one look found it. */
struct waiter {
	uint64_t owner;
	uint64_t arrival;
	uint64_t wake_at;
	uint32_t units;
};

static bool is_late(const struct waiter *w, uint64_t now)
{
	return now > w->wake_at && now - w->wake_at > QUEUE_GRACE;
}

/*
 * False: nobody stands here for this bucket. The owner is looked at again at the end, so that nobody's words are taken
 * for another's: they are written after the owner and before wake_at.
 */
static bool look_at(const struct seg *seg, const struct seg_waiter *cell, uint32_t bucket,
		    struct waiter *ret_waiter)
{
	struct waiter w = {.owner = shm_load(&cell->owner)};

	if (w.owner == 0 || bucket_of(w.owner) != bucket)
		return false;
	w.wake_at = shm_load(&cell->wake_at);
	if (w.wake_at == 0 || !has_worker(seg, w.owner))
		return false;
	w.arrival = shm_load(&cell->arrival);
	w.units = shm_half_load(&cell->units);
	if (shm_load(&cell->owner) != w.owner)
		return false;
	*ret_waiter = w;
	return true;
}

/* The same for those who count. */
static bool look(const struct seg *seg, const struct seg_waiter *cell, uint32_t bucket,
		 uint64_t now, struct waiter *ret_waiter)
{
	return look_at(seg, cell, bucket, ret_waiter) && !is_late(ret_waiter, now);
}

static bool is_before(const struct waiter *a, uint32_t class_index, uint64_t arrival,
		      uint64_t owner)
{
	if (class_of(a->owner) != class_index)
		return class_of(a->owner) < class_index;
	return a->arrival != arrival ? a->arrival < arrival : a->owner < owner;
}

/* The classes that have somebody in line, as bits of hot->kind. */
static uint32_t hints(const struct seg *seg, uint32_t bucket, uint64_t now)
{
	const struct seg_queue *queue = &seg->queues[queue_of(seg, bucket)];
	uint32_t mask = 0;

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		struct waiter w;

		if (look(seg, &queue->place[i], bucket, now, &w))
			mask |= HINT(class_of(w.owner));
	}
	return mask;
}

/*
 * A waiter stands there before it sets its bit, we clear the bit before we look: one of us sees the other.
 */
static void clear_hints(struct seg *seg, uint32_t bucket, uint32_t stale, uint64_t now)
{
	uint32_t again;

	(void)shm_half_and(&seg->hot[bucket].kind, ~stale);
	again = hints(seg, bucket, now) & stale;
	if (again)
		(void)shm_half_or(&seg->hot[bucket].kind, again);
}

struct queue_ahead queue_ahead(struct seg *seg, uint32_t bucket, uint32_t class_index,
			       const struct queue_place *place, uint64_t now)
{
	const struct seg_queue *queue = &seg->queues[queue_of(seg, bucket)];
	const uint32_t hinted = KIND_WAITERS(shm_half_load(&seg->hot[bucket].kind))
				<< KIND_WAITERS_SHIFT;
	const uint64_t own = place ? place->owner : 0;
	const uint64_t arrival = own ? place->arrival : UINT64_MAX;
	struct queue_ahead ahead = {0};
	uint32_t mask = 0;

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		struct waiter w;

		if (!look(seg, &queue->place[i], bucket, now, &w))
			continue;
		mask |= HINT(class_of(w.owner));
		if (w.owner == own || !is_before(&w, class_index, arrival, own ? own : UINT64_MAX))
			continue;
		ahead.units += w.units;
		ahead.own_units += class_of(w.owner) == class_index ? w.units : 0;
		ahead.waiters++;
		ahead.coming += w.wake_at <= now;
	}
	if (hinted & ~mask)
		clear_hints(seg, bucket, hinted & ~mask, now);
	return ahead;
}

/* --- standing in line --- */

static uint32_t count(const struct seg *seg, const struct queue_waiter *waiter, uint64_t now)
{
	const struct seg_queue *queue = &seg->queues[queue_of(seg, waiter->bucket)];
	uint32_t n = 0;

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		struct waiter w;

		n += look(seg, &queue->place[i], waiter->bucket, now, &w) &&
		     class_of(w.owner) == waiter->class_index;
	}
	return n;
}

/* A free place, or one whose waiter is so late that it has lost it. */
static bool take_place(struct seg_waiter *cell, uint64_t owner, bool abandoned, uint64_t now)
{
	uint64_t found = shm_load(&cell->owner);
	uint64_t wake_at;

	if (found != 0 && !abandoned)
		return false;
	wake_at = found ? shm_load(&cell->wake_at) : 0;
	if (found != 0 && (wake_at == 0 || now < wake_at || now - wake_at <= QUEUE_ABANDONED))
		return false;
	return shm_cas(&cell->owner, &found, owner);
}

static bool find_place(struct seg *seg, const struct queue_waiter *waiter, uint64_t now,
		       struct queue_place *ret_place)
{
	const uint32_t q = queue_of(seg, waiter->bucket);
	const uint64_t owner = owner_word(waiter);

	for (uint32_t i = 0; i < 2 * QUEUE_PLACES; i++) {
		const uint32_t place = (waiter->worker + waiter->sequence + i) % QUEUE_PLACES;

		if (!take_place(&seg->queues[q].place[place], owner, i >= QUEUE_PLACES, now))
			continue;
		*ret_place = (struct queue_place){
			.queue = q,
			.place = place,
			.owner = owner,
			.arrival = waiter->arrival,
			.units = waiter->units,
		};
		return true;
	}
	return false;
}

enum queue_join queue_join(struct seg *seg, const struct queue_waiter *waiter, uint32_t most,
			   uint64_t now, struct queue_place *ret_place)
{
	if (most != 0 && count(seg, waiter, now) >= most)
		return QUEUE_BOUND;
	if (!find_place(seg, waiter, now, ret_place))
		return QUEUE_FULL;
	(void)queue_wake_at(seg, ret_place, now);
	return QUEUE_JOINED;
}

/*
 * The bit last, and even if it is set: whoever clears it looks once more afterwards, and one of these two locked
 * instructions comes after the other. That holds for a waiter that was late, too.
 */
bool queue_wake_at(struct seg *seg, const struct queue_place *place, uint64_t wake_at)
{
	struct seg_waiter *cell = cell_of(seg, place);
	const uint32_t hint = HINT(class_of(place->owner));

	if (!stands(cell, place))
		return false;
	shm_half_store(&cell->units, place->units);
	shm_store(&cell->arrival, place->arrival);
	shm_store(&cell->wake_at, wake_at ? wake_at : 1);
	return shm_half_or(&seg->hot[bucket_of(place->owner)].kind, hint) & hint;
}

/*
 * wake_at first: who takes the place next does not count until it has said when it means to try. By CAS, for it may be
 * another's by now; wakers change it too, but not for long.
 */
static bool clear(struct seg_waiter *cell, uint64_t owner)
{
	for (int i = 0; i < CLEAR_ATTEMPTS; i++) {
		uint64_t wake_at = shm_load(&cell->wake_at);

		if (shm_load(&cell->owner) != owner)
			return false;
		if (wake_at == 0 || shm_cas(&cell->wake_at, &wake_at, 0))
			break;
	}
	return shm_cas(&cell->owner, &owner, 0);
}

void queue_leave(struct seg *seg, struct queue_place *place)
{
	struct seg_waiter *cell = cell_of(seg, place);

	if (cell)
		(void)clear(cell, place->owner);
	place->owner = 0;
}

/* --- waking --- */

/* Where the waiter sleeps. Its worker was found to be one (has_worker). */
static shm_half *word_of(const struct seg *seg, struct seg_waiter *cell, uint64_t owner)
{
	return owner & LOOP ? &seg->workers[worker_of(owner)].waiting : &cell->futex;
}

/*
 * The word is counted up before wake_at falls: a waiter that is about to sleep finds it changed, whatever it says
 * itself of when it means to try. wake_at changes by CAS, so that it is not another's who took the place meanwhile.
 * One whose time has come is told too, however late it is: it may be looking just now, or its waker was killed before it
 * could say so.
 */
static void wake(struct seg *seg, struct seg_waiter *cell, const struct waiter *w, uint64_t now,
		 queue_woken *woken, void *user)
{
	uint64_t wake_at = w->wake_at;
	shm_half *word = word_of(seg, cell, w->owner);

	(void)shm_half_add(&cell->futex, 1);
	if (word != &cell->futex)
		(void)shm_half_add(word, 1);
	if (wake_at > now)
		(void)shm_cas(&cell->wake_at, &wake_at, now);
	woken(user, word);
}

uint32_t queue_wake_next(struct seg *seg, uint32_t bucket, uint64_t now, queue_woken *woken,
			 void *user)
{
	struct seg_queue *queue = &seg->queues[queue_of(seg, bucket)];
	struct seg_waiter *next = NULL;
	struct waiter first = {0};
	uint32_t n = 0;

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		struct seg_waiter *cell = &queue->place[i];
		struct waiter w;

		if (!look_at(seg, cell, bucket, &w))
			continue;
		if (w.wake_at <= now) {
			wake(seg, cell, &w, now, woken, user);
			n += !is_late(&w, now);
		} else if (!next ||
			   is_before(&w, class_of(first.owner), first.arrival, first.owner)) {
			next = cell;
			first = w;
		}
	}
	if (next)
		wake(seg, next, &first, now, woken, user);
	return n + (next != NULL);
}

uint32_t queue_wake_all(struct seg *seg, uint32_t bucket, uint64_t now, queue_woken *woken,
			void *user)
{
	struct seg_queue *queue = &seg->queues[queue_of(seg, bucket)];
	uint32_t n = 0;

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		struct waiter w;

		if (!look_at(seg, &queue->place[i], bucket, &w))
			continue;
		wake(seg, &queue->place[i], &w, now, woken, user);
		n++;
	}
	return n;
}

shm_half *queue_word(const struct seg *seg, const struct queue_place *place)
{
	struct seg_waiter *cell = cell_of(seg, place);

	return stands(cell, place) ? &cell->futex : NULL;
}

/* --- displays and repairs --- */

void queue_reap(struct seg *seg, uint32_t worker, queue_left *left, void *user)
{
	for (uint32_t q = 0; q < seg->n_queues; q++) {
		for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
			struct seg_waiter *cell = &seg->queues[q].place[i];
			const uint64_t owner = shm_load(&cell->owner);

			if (owner != 0 && worker_of(owner) == worker && clear(cell, owner) &&
			    left && bucket_of(owner) < seg->n_buckets)
				left(user, bucket_of(owner));
		}
	}
}

struct queue_length queue_length(const struct seg *seg, uint32_t bucket, uint32_t class_index)
{
	const struct seg_queue *queue = &seg->queues[queue_of(seg, bucket)];
	struct queue_length length = {0, 0};

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		struct waiter w;

		/* Late ones too: they stand there. */
		if (!look_at(seg, &queue->place[i], bucket, &w) || class_of(w.owner) != class_index)
			continue;
		length.waiting++;
		if (length.oldest == 0 || w.arrival < length.oldest)
			length.oldest = w.arrival;
	}
	return length;
}

static bool is_plausible(const struct seg *seg, uint32_t queue, uint64_t owner)
{
	return owner == 0 || (bucket_of(owner) < seg->n_buckets &&
			      queue_of(seg, bucket_of(owner)) == queue && has_worker(seg, owner));
}

bool queue_plausible(const struct seg *seg, uint32_t queue)
{
	const struct seg_queue *line = &seg->queues[queue];

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		const shm_word *word = &line->place[i].owner;
		const uint64_t owner = shm_load(word);

		/* It may just have left, and its worker with it. */
		if (!is_plausible(seg, queue, owner) && shm_load(word) == owner)
			return false;
	}
	return true;
}

uint32_t queue_repair(struct seg *seg, uint32_t queue)
{
	struct seg_queue *line = &seg->queues[queue];
	uint32_t repaired = 0;

	for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
		const uint64_t owner = shm_load(&line->place[i].owner);

		if (!is_plausible(seg, queue, owner))
			repaired += clear(&line->place[i], owner);
	}
	return repaired;
}
