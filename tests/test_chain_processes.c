/*
 * tests/test_chain_processes.c - real processes race for chains of mixed kinds, and some are killed
 * SPDX-License-Identifier: MIT
 *
 * They share a clock that each draw moves, and a list of what was admitted. Afterwards every limit must have held over
 * every interval, whoever was killed. What each does comes from a seed that is printed on failure; how they meet does not.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"
#include "support_kinds.h"
#include "support_seg.h"

#define WORKERS     4u
#define TICKETS     4u
#define PERMITS_MAX 3000u
#define BEGAN       UINT64_C(1000000000)
#define UNIT        7u
#define SLOTS       4u

enum limit { BUCKET, WINDOW, ROLLING, LEASE, LIMITS };

static const struct kinds_limit kinds[LIMITS] = {
	[BUCKET] = {.kind = KIND_BUCKET, .unit = UNIT, .amount = 40, .ns = 900},
	[WINDOW] = {.kind = KIND_WINDOW,
		    .unit = UNIT,
		    .amount = 300,
		    .ns = 250000,
		    .delay = 20000,
		    .skew = 10000},
	[ROLLING] =
		{.kind = KIND_ROLLING, .unit = UNIT, .amount = 350, .ns = 300000, .delay = 20000},
	[LEASE] = {.kind = KIND_SLOTS, .unit = UNIT, .amount = SLOTS},
};

struct permit {
	shm_word at;    /* ns; 0: not yet written */
	shm_word units; /* less what was given back */
	shm_word late;  /* the ticket was too old to be used */
};

struct race {
	struct kinds_limit limits[LIMITS];
	shm_word now; /* ns */
	shm_word failures;
	shm_word holder[SLOTS]; /* worker + 1 */
	shm_word n_permits;
	struct permit permits[PERMITS_MAX];
};

static struct race *race;
static struct seg seg;
static uint64_t seed;
static uint32_t incarnations[WORKERS];

/* --- one worker --- */

struct ticket {
	struct ration_ticket ticket;
	struct permit *permit; /* NULL: none */
};

struct worker {
	uint32_t who;
	uint32_t sequence;
	uint64_t random;
	struct ticket tickets[TICKETS];
};

static uint64_t below(struct worker *me, uint64_t n)
{
	uint64_t z = me->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % n;
}

static uint64_t ticks_now(void *user)
{
	(void)user;
	return shm_load(&race->now) * TICKS_PER_NS;
}

static shm_word *holder_of(const struct ration_ticket *ticket)
{
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		if (LINK_KIND(ticket->links[i].flags) == KIND_SLOTS)
			return &race->holder[ticket->links[i].charged];
	}
	return NULL;
}

static void note(struct worker *me, struct ticket *ticket, uint64_t at, uint64_t units)
{
	const uint64_t i = shm_add(&race->n_permits, 1);
	uint64_t nobody = 0;

	if (!shm_cas(holder_of(&ticket->ticket), &nobody, me->who + 1))
		shm_add(&race->failures, 1);
	if (i >= PERMITS_MAX)
		return;
	ticket->permit = &race->permits[i];
	shm_store(&ticket->permit->units, units);
	shm_store(&ticket->permit->late, shm_load(&race->now) - at > kinds[WINDOW].delay);
	shm_store(&ticket->permit->at, at);
}

static void acquire(struct worker *me, struct ticket *ticket)
{
	const uint64_t now = shm_add(&race->now, 1 + below(me, 2000));
	const struct charge cost = {UNIT, 1 + below(me, 8)};
	const unsigned first = (unsigned)below(me, LIMITS);
	struct link links[LIMITS];
	struct draw draw = {.links = links, .n_links = LIMITS, .at = kinds_instant(now)};
	enum take result;

	/* In any order. */
	for (unsigned i = 0; i < LIMITS; i++)
		links[i] = kinds_link(&race->limits[(i + first) % LIMITS], now);
	draw.lease = slots_lease(worker_identity(me->who, incarnations[me->who], 1), me->sequence++,
				 draw.at.now);
	(void)chain_units(&draw, &cost, 1);
	ticket->ticket.n_links = 0;
	result = chain_look(&seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&seg, &draw, &ticket->ticket);
	ticket->ticket.permit = draw.at.now;
	if (result == TAKE_ADMIT)
		note(me, ticket, now, cost.amount);
	else
		chain_give_back(&seg, &ticket->ticket, ticks_now, NULL);
	if (result == TAKE_CORRUPT || result == TAKE_NEVER)
		shm_add(&race->failures, 1);
}

/* What is given back counts nowhere from here on; the slot is another's only after it. */
static void end(struct worker *me, struct ticket *ticket)
{
	const uint64_t actual = below(me, 2) * shm_load(&ticket->permit->units) / 2;
	uint64_t mine = me->who + 1;

	shm_store(&ticket->permit->units, actual);
	if (!shm_cas(holder_of(&ticket->ticket), &mine, 0))
		shm_add(&race->failures, 1);
	if (actual == 0) {
		chain_give_back(&seg, &ticket->ticket, ticks_now, NULL);
	} else {
		for (uint32_t i = 0; i < ticket->ticket.n_links; i++) {
			if (LINK_KIND(ticket->ticket.links[i].flags) != KIND_SLOTS)
				chain_settle_link(&seg, &ticket->ticket, i, actual, ticks_now,
						  NULL);
		}
		chain_release(&seg, &ticket->ticket);
	}
	ticket->permit = NULL;
}

/* Its work is used, and its slot free again. */
static void leave(struct worker *me, struct ticket *ticket)
{
	uint64_t mine = me->who + 1;

	if (!shm_cas(holder_of(&ticket->ticket), &mine, 0))
		shm_add(&race->failures, 1);
	chain_release(&seg, &ticket->ticket);
	ticket->permit = NULL;
}

static void work(uint32_t who)
{
	struct worker me = {.who = who, .random = seed * WORKERS + who};

	while (shm_load(&race->n_permits) < PERMITS_MAX) {
		struct ticket *ticket = &me.tickets[below(&me, TICKETS)];

		if (!ticket->permit)
			acquire(&me, ticket);
		else if (below(&me, 3) == 0)
			end(&me, ticket);
		else
			leave(&me, ticket);
	}
}

/* --- the parent --- */

static pid_t start(uint32_t who)
{
	pid_t pid;

	shm_store(&seg.workers[who].identity, worker_identity(who, ++incarnations[who], 1));
	pid = fork();
	cr_assert(pid >= 0);
	if (pid == 0) {
		work(who);
		_exit(0);
	}
	return pid;
}

static void stop(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

/* Its leases go to others only now. */
static void reap(uint32_t who)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t his = who + 1;

		(void)shm_cas(&race->holder[i], &his, 0);
	}
	worker_reap(&seg, who, 0);
}

/* Kill one after the other as the work goes on, wherever it is. */
static void kill_some(pid_t pids[WORKERS])
{
	for (uint64_t i = 1; i < 40; i++) {
		const uint32_t who = i % WORKERS;

		while (shm_load(&race->n_permits) < i * PERMITS_MAX / 40)
			usleep(100);
		kill(pids[who], SIGKILL);
		stop(pids[who]);
		reap(who);
		seed++; /* its successor does something else */
		pids[who] = start(who);
	}
}

/* --- what must hold --- */

static uint64_t admitted(uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PERMITS_MAX; i++) {
		const struct permit *permit = &race->permits[i];
		const uint64_t at = shm_load(&permit->at);

		if (at >= from && at < to && !shm_load(&permit->late))
			sum += shm_load(&permit->units);
	}
	return sum;
}

static void check_windows(void)
{
	const struct kinds_limit *limit = &race->limits[WINDOW];
	const uint64_t last = kinds_window(limit, shm_load(&race->now));

	for (uint64_t i = kinds_window(limit, BEGAN); i <= last; i++) {
		const uint64_t start = (i - 1) * limit->ns - (uint64_t)KINDS_WALL;

		cr_assert_leq(admitted(start - limit->skew - limit->delay,
				       start + limit->ns + limit->skew),
			      limit->amount, "window %llu of seed %llu", (unsigned long long)i,
			      (unsigned long long)seed);
	}
}

/* Every interval that begins with a permit. */
static void check_intervals(void)
{
	const struct kinds_limit *bucket = &race->limits[BUCKET], *rolling = &race->limits[ROLLING];

	for (unsigned i = 0; i < PERMITS_MAX; i++) {
		const uint64_t from = shm_load(&race->permits[i].at);

		if (from == 0)
			continue;
		cr_assert_leq(admitted(from, from + rolling->ns + rolling->delay + 1),
			      rolling->amount, "seed %llu", (unsigned long long)seed);
		for (uint64_t length = 0; length <= 64 * bucket->ns; length += 8 * bucket->ns)
			cr_assert_leq(admitted(from, from + length + 1),
				      bucket->amount + length / bucket->ns, "seed %llu",
				      (unsigned long long)seed);
	}
}

static void *shared(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(mem != MAP_FAILED);
	return mem;
}

Test(chain_processes, never_over_whoever_is_killed, .timeout = 100)
{
	const char *given = getenv("RATION_SEED");
	pid_t pids[WORKERS];

	seed = given ? strtoull(given, NULL, 0) : (unsigned)getpid();
	seg = seg_make(16, WORKERS);
	race = shared(sizeof(*race));
	shm_store(&race->now, BEGAN);
	for (unsigned i = 0; i < LIMITS; i++) {
		race->limits[i] = kinds[i];
		cr_assert(kinds_insert(&seg, i + 1, &race->limits[i], BEGAN));
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		pids[i] = start(i);
	kill_some(pids);
	for (uint32_t i = 0; i < WORKERS; i++) {
		stop(pids[i]);
		reap(i);
	}
	cr_assert_eq(shm_load(&race->failures), 0, "seed %llu", (unsigned long long)seed);
	check_windows();
	check_intervals();
	for (uint32_t i = 0; i < SLOTS; i++)
		cr_assert_eq(slots_word(&seg, race->limits[LEASE].ref.bucket, i), 0);
	seg_verify(&seg, ticks_now(NULL), true);
}
