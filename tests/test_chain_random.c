/*
 * tests/test_chain_random.c - long random runs of chains of mixed kinds against an exact reference
 * SPDX-License-Identifier: MIT
 *
 * The reference is a list of all permits. At each new one, with what is kept of all others, every limit of the chain must
 * hold over every interval that ends there; a denial must name a limit that has no room; a refused acquire
 * leaves every state word as it was. The seed of a run is printed if it fails; RATION_SEED repeats it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"
#include "support_kinds.h"
#include "support_seg.h"

#define LIMITS_MAX  6
#define PERMITS_MAX 600
#define WORKERS     3
#define BEGAN       UINT64_C(1000000000)
#define UNITS       2

/* --- a random stream that can be repeated --- */

static uint64_t seed, state;

static uint64_t any(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
	return any() % n;
}

static bool perhaps(unsigned percent)
{
	return below(100) < percent;
}

/* --- what is known --- */

struct permit {
	uint64_t at;           /* ns */
	uint64_t units[UNITS]; /* as estimated, less what was given back */
	struct ration_ticket ticket;
	uint32_t worker;
	bool open;   /* neither cancelled nor settled */
	bool leases; /* its leases are not over */
};

struct run {
	struct seg seg;
	struct kinds_limit limits[LIMITS_MAX];
	unsigned n_limits;
	uint64_t now; /* ns */
	struct permit permits[PERMITS_MAX];
	unsigned n_permits;
	uint32_t sequence;
	uint32_t incarnation[WORKERS];
	unsigned admitted, denied;
	bool debts; /* whether more than was estimated is settled */
};

static struct run run;

#define must(condition, format, ...)                                                               \
	cr_assert(condition, "seed %llu: " format, (unsigned long long)seed, ##__VA_ARGS__)

static uint64_t ticks_now(void *user)
{
	(void)user;
	return run.now * TICKS_PER_NS;
}

/* --- limits --- */

static const enum seg_kind all_kinds[] = {KIND_BUCKET, KIND_BUCKET, KIND_WINDOW, KIND_ROLLING,
					  KIND_SLOTS};

/* Times in us: long enough for the cells of a rolling limit to be told apart. */
static struct kinds_limit any_limit(void)
{
	struct kinds_limit limit = {
		.kind = all_kinds[below(5)],
		.unit = 1 + (uint32_t)below(UNITS),
		.delay = below(3) * 10000,
	};

	switch (limit.kind) {
	case KIND_BUCKET:
		limit.amount = 1 + below(30);
		limit.ns = 100 + below(20000);
		break;
	case KIND_SLOTS:
		limit.amount = 1 + below(6);
		break;
	default:
		limit.amount = 5 + below(100);
		limit.ns = 200000 + below(1000000);
		limit.skew = below(3) * 10000;
	}
	return limit;
}

static void begin(void)
{
	memset(&run, 0, sizeof(run));
	run.seg = seg_make(16, WORKERS);
	run.now = BEGAN;
	run.debts = perhaps(50);
	run.n_limits = 1 + (unsigned)below(LIMITS_MAX);
	for (uint32_t i = 0; i < WORKERS; i++)
		run.seg.workers[i].identity = worker_identity(i, 0, 1);
	for (unsigned i = 0; i < run.n_limits; i++) {
		run.limits[i] = any_limit();
		must(kinds_insert(&run.seg, i + 1, &run.limits[i], run.now), "a limit");
	}
}

/* --- the reference --- */

static uint64_t units_of(const struct permit *permit, const struct kinds_limit *limit)
{
	return limit->kind == KIND_SLOTS ? permit->leases : permit->units[limit->unit - 1];
}

/* Ever since any permit: no more than the burst and what came in since. From the last permit backwards. */
static void check_bucket(const struct kinds_limit *limit)
{
	const uint64_t until = run.now;
	uint64_t sum = 0;

	for (unsigned i = run.n_permits; i-- > 0;) {
		const struct permit *permit = &run.permits[i];

		sum += units_of(permit, limit);
		must(sum <= limit->amount + (until - permit->at) / limit->ns,
		     "a bucket admitted %llu units within %llu ns", (unsigned long long)sum,
		     (unsigned long long)(until - permit->at));
	}
}

static uint64_t sum_between(const struct kinds_limit *limit, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (unsigned i = run.n_permits; i-- > 0 && run.permits[i].at >= from;) {
		if (run.permits[i].at < to)
			sum += units_of(&run.permits[i], limit);
	}
	return sum;
}

/* Whatever may arrive in a window by a clock that is off by the skew, with requests that are late by the delay. */
static uint64_t in_window(const struct kinds_limit *limit, uint64_t window)
{
	const uint64_t start = (window - 1) * limit->ns - (uint64_t)KINDS_WALL;

	return sum_between(limit, start - limit->skew - limit->delay,
			   start + limit->ns + limit->skew);
}

static void check_limit(const struct kinds_limit *limit)
{
	const uint64_t window = limit->kind == KIND_WINDOW ? kinds_window(limit, run.now) : 0;

	switch (limit->kind) {
	case KIND_BUCKET:
		check_bucket(limit);
		break;
	case KIND_WINDOW:
		for (uint64_t i = window - 1; i <= window + 1; i++)
			must(in_window(limit, i) <= limit->amount, "a window admitted too much");
		break;
	case KIND_ROLLING:
		must(sum_between(limit, run.now - limit->ns - limit->delay, run.now + 1) <=
			     limit->amount,
		     "a period admitted too much");
		break;
	default:
		must(sum_between(limit, 0, run.now + 1) <= limit->amount, "too many leases");
	}
}

/* No two tickets have one slot, and nobody else has one. */
static void check_leases(const struct kinds_limit *limit)
{
	uint64_t held = 0;

	for (uint32_t i = 0; i < limit->amount; i++)
		held += slots_word(&run.seg, limit->ref.bucket, i) != 0;
	must(held == sum_between(limit, 0, run.now + 1), "a lease is gone, or left behind");
	for (unsigned i = 0; i < run.n_permits; i++) {
		const struct ration_ticket *ticket = &run.permits[i].ticket;

		for (uint32_t k = 0; run.permits[i].leases && k < ticket->n_links; k++) {
			const struct ration_ticket_link *link = &ticket->links[k];

			if (link->bucket == limit->ref.bucket)
				must(slots_word(&run.seg, link->bucket, (uint32_t)link->charged) ==
					     link->word,
				     "a lease is another's");
		}
	}
}

/* What a window counts is what was admitted to it and not given back, to the unit. */
static void check_used(const struct kinds_limit *limit)
{
	const uint64_t window = kinds_window(limit, run.now);
	uint64_t sum = 0;

	for (unsigned i = 0; i < run.n_permits; i++) {
		const struct ration_ticket *ticket = &run.permits[i].ticket;

		for (uint32_t k = 0; k < ticket->n_links; k++) {
			const struct ration_ticket_link *link = &ticket->links[k];

			if (link->bucket == limit->ref.bucket &&
			    (link->word == window || link->refunds == window))
				sum += units_of(&run.permits[i], limit);
		}
	}
	must(window_used(&run.seg.hot[limit->ref.bucket], window) == sum,
	     "a window counts something else than what was admitted");
}

static void check_all(void)
{
	for (unsigned i = 0; i < run.n_limits; i++) {
		const struct kinds_limit *limit = &run.limits[i];

		if (limit->kind == KIND_SLOTS)
			check_leases(limit);
		else if (limit->kind == KIND_WINDOW && !run.debts)
			check_used(limit);
	}
}

/* --- what happens --- */

static uint32_t make_links(struct link *links, uint64_t default_cost)
{
	for (unsigned i = 0; i < run.n_limits; i++) {
		links[i] = kinds_link(&run.limits[i], run.now);
		links[i].flags |= LINK_HAS_DEFAULT;
		links[i].default_cost = default_cost;
	}
	return run.n_limits;
}

static void copy_states(uint64_t states[LIMITS_MAX][4])
{
	for (unsigned i = 0; i < run.n_limits; i++) {
		for (int k = 0; k < 4; k++)
			states[i][k] = shm_load(&run.seg.hot[run.limits[i].ref.bucket].state[k]);
	}
}

/* Waiting until then must help, as far as this limit is concerned: the time is not one at which it would deny again. */
static void check_denial(const struct draw *draw, enum take result)
{
	const struct verdict *verdict = &draw->verdict;
	const struct kinds_limit *limit = &run.limits[verdict->link];

	must(result == TAKE_WAIT || result == TAKE_NEVER, "take %d", result);
	if (result == TAKE_NEVER) {
		must(verdict->needed > verdict->why.size, "never, and yet it would fit");
		return;
	}
	must(verdict->why.left < verdict->needed, "denied by a limit that has room");
	must(verdict->why.retry_at > draw->at.now, "may be tried again at once");
	if (limit->kind == KIND_SLOTS)
		must(sum_between(limit, 0, run.now + 1) == limit->amount,
		     "a free slot was overlooked");
	if (limit->kind == KIND_BUCKET)
		must(verdict->needed <= limit->amount, "a bucket that never holds so much");
}

static void acquire(void)
{
	const uint32_t worker = (uint32_t)below(WORKERS);
	struct permit *permit = &run.permits[run.n_permits];
	const struct charge costs[UNITS] = {{1, 1 + below(8)}, {2, 1 + below(20)}};
	uint64_t before[LIMITS_MAX][4], after[LIMITS_MAX][4];
	struct link links[LIMITS_MAX];
	struct draw draw = {.links = links, .n_links = make_links(links, 1)};
	enum take result;

	copy_states(before);
	*permit = (struct permit){.at = run.now, .worker = worker, .open = true, .leases = true};
	draw.at = kinds_instant(run.now);
	draw.lease = slots_lease(worker_identity(worker, run.incarnation[worker], 1),
				 run.sequence++, draw.at.now);
	must(chain_units(&draw, costs, UNITS), "units");
	result = chain_look(&run.seg, &draw);
	if (result == TAKE_ADMIT) {
		must(chain_charge(&run.seg, &draw, &permit->ticket) == TAKE_ADMIT,
		     "what was looked at by nobody else is not there");
		permit->ticket.permit = draw.at.now;
		for (int i = 0; i < UNITS; i++)
			permit->units[i] = costs[i].amount;
		run.n_permits++;
		run.admitted++;
		for (unsigned i = 0; i < run.n_limits; i++)
			check_limit(&run.limits[i]);
		return;
	}
	run.denied++;
	check_denial(&draw, result);
	copy_states(after);
	must(memcmp(before, after, sizeof(before[0]) * run.n_limits) == 0,
	     "a refused acquire left something charged");
}

static struct permit *any_open(void)
{
	for (int i = 0; i < 8 && run.n_permits > 0; i++) {
		struct permit *permit = &run.permits[run.n_permits - 1 - below(run.n_permits) % 20];

		if (permit->open)
			return permit;
	}
	return NULL;
}

static void cancel(struct permit *permit)
{
	chain_give_back(&run.seg, &permit->ticket, ticks_now, NULL);
	memset(permit->units, 0, sizeof(permit->units));
	permit->open = permit->leases = false;
}

/* To less than was estimated, or more: that is a debt and no permit. */
static void settle(struct permit *permit)
{
	const uint64_t percent = below(run.debts ? 150 : 100);

	for (uint32_t i = 0; i < permit->ticket.n_links; i++) {
		const struct ration_ticket_link *link = &permit->ticket.links[i];
		const uint64_t actual = link->amount * percent / 100;

		if (LINK_KIND(link->flags) == KIND_SLOTS)
			continue;
		chain_settle_link(&run.seg, &permit->ticket, i, actual, ticks_now, NULL);
		if (actual < permit->units[link->unit - 1])
			permit->units[link->unit - 1] = actual;
	}
	chain_release(&run.seg, &permit->ticket);
	permit->open = permit->leases = false;
}

/* Its leases end; what it had charged stays so. */
static void die(uint32_t worker)
{
	worker_reap(&run.seg, worker, 0);
	run.incarnation[worker]++;
	shm_store(&run.seg.workers[worker].identity,
		  worker_identity(worker, run.incarnation[worker], 1));
	for (unsigned i = 0; i < run.n_permits; i++) {
		if (run.permits[i].worker == worker)
			run.permits[i].open = run.permits[i].leases = false;
	}
}

static void something(void)
{
	struct permit *permit = any_open();

	if (perhaps(40))
		run.now += below(perhaps(10) ? 400000 : 10000);
	if (perhaps(60) || !permit)
		acquire();
	else if (perhaps(40))
		cancel(permit);
	else if (perhaps(80))
		settle(permit);
	else if (perhaps(30))
		die(permit->worker);
	check_all();
}

static void run_with(uint64_t the_seed)
{
	seed = state = the_seed;
	begin();
	while (run.n_permits < PERMITS_MAX && run.admitted + run.denied < 4 * PERMITS_MAX)
		something();
	seg_verify(&run.seg, ticks_now(NULL), true);
	munmap(run.seg.base, run.seg.size);
}

Test(chain_random, never_over_and_nothing_left_behind, .timeout = 100)
{
	const char *given = getenv("RATION_SEED");
	unsigned admitted = 0, denied = 0;

	for (uint64_t i = 0; i < (given ? 1 : 150); i++) {
		run_with(given ? strtoull(given, NULL, 0) : 1000 + i);
		admitted += run.admitted;
		denied += run.denied;
	}
	printf("%u admitted, %u denied\n", admitted, denied);
	cr_assert(admitted > 0 && denied > 0);
}
