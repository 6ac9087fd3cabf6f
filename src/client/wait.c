/*
 * client/wait.c - standing in line until a cost can be had
 * SPDX-License-Identifier: MIT
 *
 * A wait is a place in one line (shm/queue.h) and what is needed to find it again. Each try: load the word, acquire,
 * and where that is denied say when to try again. Whoever joins a line, or moves to another, looks once more from
 * there, because what was freed before he stood there woke nobody.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/memory.h"
#include "shm/chain.h"

/* The kernel's numbers; their header is not on the path of every C library. */
#ifndef FUTEX_WAIT
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#endif

#define ALL_CLASSES 0xffu
#define NS          UINT64_C(1000000000)

/* A time that has come already must not make anybody spin. */
#define RETRY_MIN_NS UINT64_C(20000)

/* Words that change and bring nothing: after so many in a row, this long a sleep that nothing ends. */
#define EARLY_MAX 3
#define EARLY_NS  UINT64_C(1000000)

/* The futex clock stands still while the host is suspended: look at ours this often. */
#define SLEEP_MAX_NS (60 * NS)

/* Nobody sleeps longer without a look; times as many as stand before it. */
#define LOOK_EVERY (5 * TICKS_PER_SEC)

/* Lines that a waiter may change in one try. */
#define MOVES 3

/* --- waking --- */

/* A waker's errno stays what it was: acquires may be made in signal handlers. */
static void wake_word(void *user, shm_half *word)
{
	const int error = errno;

	(void)user;
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	errno = error;
}

/* Should the first be stopped, the second is to notice. Of those who wait for slots one looks by itself. */
static void wake_first(struct seg *seg, uint32_t bucket, uint64_t now)
{
	(void)queue_wake_next(seg, bucket, now, wake_word, NULL);
	if (KIND_OF(shm_half_load(&seg->hot[bucket].kind)) != KIND_SLOTS)
		(void)queue_wake_next(seg, bucket, now, wake_word, NULL);
}

void client_wake(struct seg *seg, uint32_t bucket, uint64_t now, bool all)
{
	if (bucket >= seg->n_buckets)
		return;
	/*
	 * Numbers are changed by a plain store, and whoever has not seen it must be seen by us: the bit that he set
	 * before he looked is loaded after the store is out. Those who give something back did it by a CAS.
	 */
	if (all)
		atomic_thread_fence(memory_order_seq_cst);
	if (!queue_hinted(&seg->hot[bucket], ALL_CLASSES))
		return;
	if (all)
		(void)queue_wake_all(seg, bucket, now, wake_word, NULL);
	else
		wake_first(seg, bucket, now);
}

void wake_next(struct ration *ration, uint32_t bucket)
{
	/* No clock read where nobody waits. */
	if (bucket < ration->seg.n_buckets && queue_hinted(&ration->seg.hot[bucket], ALL_CLASSES))
		client_wake(&ration->seg, bucket, client_now(ration), false);
}

/* --- a wait, as the caller keeps it --- */

struct standing {
	struct queue_place place;
	uint64_t worker; /* identity: a forked child's is another */
	uint32_t bucket;
	uint32_t generation;
};

_Static_assert(sizeof(struct standing) == sizeof(((struct ration_wait *)0)->place), "opaque");

static struct standing standing_of(const struct ration *ration, const struct ration_wait *wait)
{
	struct standing s;

	memcpy(&s, wait->place, sizeof(s));
	if (atomic_load_explicit(&ration->process->registration, memory_order_acquire) !=
		    REGISTERED ||
	    s.worker != atomic_load(&ration->identity))
		s = (struct standing){0};
	return s;
}

static void keep(struct ration_wait *wait, const struct standing *s)
{
	memcpy(wait->place, s, sizeof(*s));
}

static void leave(struct ration *ration, struct ration_wait *wait, struct standing *s)
{
	queue_leave(&ration->seg, &s->place);
	s->place = (struct queue_place){0};
	wait->word = NULL;
	keep(wait, s);
}

/* --- trying --- */

/* One call of ration_wait_try(). */
struct trying {
	struct ration *ration;
	const struct wanted *wanted;
	struct ration_wait *wait;
	uint64_t deadline_ns;
	struct standing standing;
	uint64_t began; /* ticks: the first try, if it stands nowhere yet */
	bool early;     /* it was woken before it meant to try */
};

/* Into the line where it has to wait now. 0 or RATION_BUSY. */
static int move(struct trying *t, const struct waiting *waiting)
{
	struct ration *ration = t->ration;
	struct standing *s = &t->standing;
	struct queue_waiter waiter = {
		.worker = atomic_load(&ration->slot),
		.bucket = waiting->bucket,
		.class_index = waiting->class_index,
		.units = waiting->units,
		.sequence = atomic_fetch_add(&ration->waits, 1),
		.loop = t->wait->loop,
		.arrival = s->place.arrival ? s->place.arrival : t->began,
	};
	enum queue_join joined;

	leave(ration, t->wait, s);
	joined = queue_join(&ration->seg, &waiter, waiting->bound, client_now(ration), &s->place);
	if (joined != QUEUE_JOINED) {
		t->wait->bound = joined == QUEUE_BOUND ? waiting->bound : 0;
		return RATION_BUSY;
	}
	s->worker = atomic_load(&ration->identity);
	s->bucket = waiting->bucket;
	s->generation = waiting->generation;
	keep(t->wait, s);
	return 0;
}

static bool stands_there(const struct trying *t, const struct waiting *waiting)
{
	const struct standing *s = &t->standing;

	return s->place.owner != 0 && s->bucket == waiting->bucket &&
	       s->generation == waiting->generation;
}

/* Its turn has come, and somebody before it is a little slow: a new turn would move those of all behind it. */
static bool turn_stays(const struct trying *t, const struct queue_ahead *ahead, uint64_t now)
{
	const uint64_t due = t->standing.place.due;

	return due != 0 && due <= now && ahead->coming > 0;
}

/*
 * When to look again, its turn being later. Slots come free when somebody frees them, and then the first in line is
 * woken; if that one is stopped, the second is to notice. Other limits wake two: if the first does not come, the second
 * looks once more. And whoever freed something may have been killed before it woke anybody: so each looks now and then,
 * those behind more rarely.
 */
static uint64_t look_again_at(const struct trying *t, const struct waiting *waiting,
			      const struct queue_ahead *ahead, uint64_t now)
{
	const bool first = ahead->waiters == 0 && !has_supervisor(t->ration);

	if (waiting->kind == KIND_SLOTS)
		return ahead->waiters == 1 || first ? now + 2 * QUEUE_GRACE : UINT64_MAX;
	if (waiting->kind != KIND_GATE && turn_stays(t, ahead, now))
		return now + ahead->coming * (QUEUE_GRACE / 16);
	if (t->early && ahead->coming > 0)
		return now + QUEUE_GRACE + 1;
	return now + (ahead->waiters + 1) * LOOK_EVERY;
}

/* Say when it means to try. False: it is to stand in line anew, and look. */
static bool announce(struct trying *t, const struct waiting *waiting)
{
	struct ration *ration = t->ration;
	const uint64_t now = client_now(ration), least = now + RETRY_MIN_NS * TICKS_PER_NS;
	const struct queue_ahead ahead = queue_ahead(&ration->seg, waiting->bucket,
						     waiting->class_index, &t->standing.place, now);
	uint64_t at = look_again_at(t, waiting, &ahead, now);

	if (at >= waiting->retry_at || !turn_stays(t, &ahead, now))
		t->standing.place.due = waiting->retry_at;
	at = at < waiting->retry_at ? at : waiting->retry_at;
	at = at > least ? at : least;
	t->standing.place.units = waiting->units;
	keep(t->wait, &t->standing);
	t->wait->wake_at_ns = client_boot_ns(ration, at);
	if (t->wait->wake_at_ns > t->deadline_ns)
		t->wait->wake_at_ns = t->deadline_ns;
	return queue_wake_at(&ration->seg, &t->standing.place, at);
}

/* For those who only look at it, and for the kernel. */
static const uint32_t *plain(const shm_half *word)
{
	return (const uint32_t *)(uintptr_t)word;
}

/* Not by the deadline. Of slots nobody knows when they are free before they are, and of probes when they come back. */
static bool too_late(const struct trying *t, const struct waiting *waiting)
{
	return client_boot_ns(t->ration, waiting->retry_at) > t->deadline_ns &&
	       (!waiting->sooner || clock_boot_ns() >= t->deadline_ns);
}

/* The word as it is before the try: what changes it later ends the sleep. */
static void load_word(struct trying *t)
{
	shm_half *word = queue_word(&t->ration->seg, &t->standing.place);

	t->wait->word = plain(word);
	if (word)
		t->wait->value = shm_half_load(word);
	else
		t->standing.place.owner = 0;
}

static int try_once(struct trying *t, struct ration_ticket *ticket, struct ration_denial *denial,
		    struct waiting *waiting)
{
	load_word(t);
	return t->wanted->acquire(t->wanted->user,
				  t->standing.place.owner ? &t->standing.place : NULL, ticket,
				  denial, waiting);
}

static int try_in_line(struct trying *t, struct ration_ticket *ticket, struct ration_denial *denial)
{
	for (int i = 0;; i++) {
		struct waiting waiting;
		int result = try_once(t, ticket, denial, &waiting);

		if (result != RATION_DENIED || too_late(t, &waiting))
			return result;
		if (stands_there(t, &waiting) && announce(t, &waiting))
			return RATION_WAITING;
		result = move(t, &waiting);
		if (result != 0)
			return result;
		if (i == MOVES) {
			(void)announce(t, &waiting);
			t->wait->wake_at_ns = clock_boot_ns();
			return RATION_WAITING;
		}
	}
}

/*
 * Whoever leaves makes room for those behind it: all that it stood for if it was not served, and if it was, it was
 * counted twice between its taking and its leaving; also, what woke it may be enough for more.
 */
static void pass_on(const struct trying *t, bool served)
{
	struct ration *ration = t->ration;
	const uint32_t bucket = t->standing.bucket;

	if (bucket < ration->seg.n_buckets && queue_hinted(&ration->seg.hot[bucket], ALL_CLASSES) &&
	    (!served || t->wanted->fits(t->wanted->user)))
		wake_next(ration, bucket);
}

static int wait_try(struct trying *t, struct ration_ticket *ticket, struct ration_denial *denial)
{
	struct ration *ration = t->ration;
	const int ready = attachment_ready(ration);
	int result;

	if (ready != 0)
		return ready;
	t->standing = standing_of(ration, t->wait);
	t->began = client_now(ration);
	t->early = t->standing.place.owner != 0 && clock_boot_ns() < t->wait->wake_at_ns;
	result = try_in_line(t, ticket, denial);
	if (result == RATION_WAITING || result == RATION_CONTENDED || t->standing.place.owner == 0)
		return result;
	leave(ration, t->wait, &t->standing);
	pass_on(t, result == 0);
	return result;
}

/* --- waiting for what a handle stands for --- */

static int acquire_asked(void *user, const struct queue_place *place, struct ration_ticket *ticket,
			 struct ration_denial *denial, struct waiting *waiting)
{
	return client_acquire(user, place, ticket, denial, waiting);
}

static bool asked_fits(void *user)
{
	return client_fits(user);
}

static struct wanted wanted_of(struct asked *asked)
{
	return (struct wanted){acquire_asked, asked_fits, asked};
}

int client_wait_try(struct ration *ration, const struct wanted *wanted, struct ration_wait *wait,
		    struct ration_ticket *ret_ticket, struct ration_denial *ret_denial)
{
	struct trying t = {
		.ration = ration,
		.wanted = wanted,
		.wait = wait,
		.deadline_ns = wait->deadline_ns ? wait->deadline_ns : UINT64_MAX,
	};

	ret_ticket->owner = 0;
	return wait_try(&t, ret_ticket, ret_denial);
}

int ration_wait_try(struct ration_handle *handle, const struct ration_cost *costs, size_t n_costs,
		    struct ration_wait *wait, struct ration_ticket *ret_ticket,
		    struct ration_denial *ret_denial)
{
	struct asked asked = {handle, costs, n_costs, 0};
	const struct wanted wanted = wanted_of(&asked);

	return client_wait_try(handle->ration, &wanted, wait, ret_ticket, ret_denial);
}

void ration_wait_end(struct ration *ration, struct ration_wait *wait)
{
	struct standing s = standing_of(ration, wait);
	const bool stood = s.place.owner != 0;

	leave(ration, wait, &s);
	if (stood)
		wake_next(ration, s.bucket);
}

const uint32_t *ration_wait_word(const struct ration *ration)
{
	const uint32_t slot = atomic_load(&ration->slot);

	if (atomic_load_explicit(&ration->process->registration, memory_order_acquire) !=
		    REGISTERED ||
	    ration->observer)
		return NULL;
	return plain(&ration->seg.workers[slot].waiting);
}

bool ration_wait_woken(const struct ration_wait *wait)
{
	return wait->word && shm_half_load((const shm_half *)wait->word) != wait->value;
}

/* --- the blocking form --- */

/* Until the word changes or the time has come: 0, *ret_early says which; or -errno. */
static int sleep_in_line(const struct ration_wait *wait, bool *ret_early)
{
	for (;;) {
		const uint64_t now = clock_boot_ns();
		uint64_t left = wait->wake_at_ns > now ? wait->wake_at_ns - now : 0;
		struct timespec at_most;

		*ret_early = ration_wait_woken(wait);
		if (*ret_early || left == 0)
			return 0;
		left = left < SLEEP_MAX_NS ? left : SLEEP_MAX_NS;
		at_most = (struct timespec){(time_t)(left / NS), (long)(left % NS)};
		if (syscall(SYS_futex, wait->word, FUTEX_WAIT, wait->value, &at_most, NULL, 0) <
			    0 &&
		    errno != EAGAIN && errno != ETIMEDOUT)
			return -errno;
	}
}

/* Whoever wakes us for nothing, or scribbles over the word, does not make us spin. */
static int sleep_well(const struct ration_wait *wait, int *early_in_a_row)
{
	const struct timespec pause = {.tv_nsec = EARLY_NS};
	bool early;
	int result = sleep_in_line(wait, &early);

	*early_in_a_row = early ? *early_in_a_row + 1 : 0;
	if (result == 0 && *early_in_a_row > EARLY_MAX && nanosleep(&pause, NULL) < 0)
		result = -errno;
	return result;
}

static int wait_until(struct trying *t, struct ration_ticket *ticket, struct ration_denial *denial)
{
	int early = 0;

	for (;;) {
		int result = wait_try(t, ticket, denial);

		if (result == RATION_CONTENDED && clock_boot_ns() <= t->deadline_ns) {
			sched_yield();
			continue;
		}
		if (result != RATION_WAITING)
			return result;
		result = sleep_well(t->wait, &early);
		if (result != 0)
			return result;
	}
}

int client_acquire_until(struct ration *ration, const struct wanted *wanted, uint64_t deadline_ns,
			 struct ration_ticket *ret_ticket, struct ration_denial *ret_denial)
{
	struct ration_wait wait = {0};
	struct trying t = {
		.ration = ration,
		.wanted = wanted,
		.wait = &wait,
		.deadline_ns = deadline_ns,
	};
	int result;

	ret_ticket->owner = 0;
	result = wait_until(&t, ret_ticket, ret_denial);
	ration_wait_end(ration, &wait);
	return result;
}

static bool has_denial(int result, const struct ration_ticket *ticket)
{
	return result == RATION_DENIED || result == RATION_OVERSIZE || result == RATION_BUSY ||
	       (result == 0 && ticket->flags & RATION_TICKET_SHADOW);
}

int ration_acquire_until(struct ration_handle *handle, const struct ration_cost *costs,
			 size_t n_costs, uint64_t deadline_ns, struct ration_ticket *ret_ticket,
			 struct ration_denial *ret_denial)
{
	struct asked asked = {handle, costs, n_costs, 0};
	const struct wanted wanted = wanted_of(&asked);
	struct ration_denial denial;
	const int result =
		client_acquire_until(handle->ration, &wanted, deadline_ns, ret_ticket, &denial);

	if (ret_denial && has_denial(result, ret_ticket))
		*ret_denial = denial;
	return result;
}
