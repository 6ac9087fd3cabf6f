/*
 * tests/test_bucket.c - the token bucket against an exact model
 * SPDX-License-Identifier: MIT
 *
 * The model is a leaky bucket in integers of 128 bits: nothing in it is rounded. A run over random rates,
 * costs, times and refunds is replayed through it with what was kept in the end; its level must never be above the burst,
 * which is the same as: over no interval more than rate * interval + burst.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/memory.h"
#include "shm/bucket.h"
#include "support_random.h"

#define SECOND      UINT64_C(1000000000) /* ns */
#define YEAR        (UINT64_C(31557600) * TICKS_PER_SEC)
#define FIFTY_YEARS (50 * YEAR)

/* --- one bucket and its exact shadow --- */

struct limit {
	uint64_t amount, period_ns, burst;
};

static struct seg_hot bucket_of(struct limit limit, uint64_t now)
{
	struct seg_hot hot;

	memset(&hot, 0, sizeof(hot));
	hot.numbers = bucket_pack(limit.amount, limit.period_ns, limit.burst);
	hot.kind = KIND_BUCKET;
	hot.state[0] = now;
	cr_assert(hot.numbers != 0, "%lu in %lu ns, burst %lu", limit.amount, limit.period_ns,
		  limit.burst);
	return hot;
}

struct event {
	uint64_t at;   /* permit, ticks */
	uint64_t kept; /* units, after refunds */
};

/* Level in units * period_ticks, so that draining is amount * ticks. */
static void replay(struct limit limit, const struct event *events, size_t n)
{
	const unsigned __int128 per_unit = (unsigned __int128)limit.period_ns * TICKS_PER_NS;
	unsigned __int128 level = 0;

	for (size_t i = 0; i < n; i++) {
		const uint64_t passed = i ? events[i].at - events[i - 1].at : 0;
		const unsigned __int128 drained = (unsigned __int128)passed * limit.amount;

		level = level > drained ? level - drained : 0;
		level += events[i].kept * per_unit;
		cr_assert(level <= limit.burst * per_unit,
			  "over at event %zu of %zu (%lu in %lu ns, burst %lu; RATION_SEED=%lu)", i,
			  n, limit.amount, limit.period_ns, limit.burst, seed_used);
	}
}

static enum take acquire(struct seg_hot *hot, uint64_t units, uint64_t now,
			 struct bucket_view *view)
{
	const enum take result = bucket_look(hot, hot->generation, units, now, view);

	return result == TAKE_ADMIT ? bucket_charge(hot, hot->generation, units, now, view)
				    : result;
}

/* What a refund of `ticks` of a charge gives back at `now`. */
static uint64_t refund(struct seg_hot *hot, const struct bucket_view *view, uint64_t ticks,
		       uint64_t now)
{
	const struct bucket_charged charged = {hot->generation, ticks, view->tat, view->refunds};
	struct bucket_pair pair;
	uint64_t given;

	bucket_refund_look(hot, &pair);
	cr_assert(bucket_refund(hot, &charged, &pair, now, &given));
	cr_assert(given <= ticks);
	return given;
}

static struct limit random_limit(void)
{
	static const uint64_t periods[] = {SECOND, 60 * SECOND, 3600 * SECOND, 86400 * SECOND};
	struct limit limit = {.period_ns = periods[below(4)]};
	const uint64_t most = 1000000 * (limit.period_ns / SECOND);

	limit.amount = 1 + below(below(2) ? 100 : most);
	limit.burst = 1 + below(below(2) ? 10 : 100000);
	while (bucket_pack(limit.amount, limit.period_ns, limit.burst) == 0)
		limit.burst = 1 + limit.burst / 2;
	return limit;
}

/* A step of time that neither always empties nor always fills the bucket. */
static uint64_t random_step(struct limit limit)
{
	const unsigned __int128 unit =
		(unsigned __int128)limit.period_ns * TICKS_PER_NS / limit.amount;
	const uint64_t scale = (uint64_t)(unit * (1 + limit.burst / 8));

	return below(4) ? below(scale + 2) / (1 + below(8)) : 0;
}

#define RUN 400

struct open_ticket {
	struct bucket_view view;
	uint64_t units;
	size_t event;
};

static void random_run(uint64_t start)
{
	const struct limit limit = random_limit();
	struct seg_hot hot = bucket_of(limit, start);
	struct event events[RUN];
	struct open_ticket open[RUN];
	size_t n_events = 0, n_open = 0;
	uint64_t now = start;

	for (int i = 0; i < RUN && now < FIFTY_YEARS + YEAR; i++) {
		now += random_step(limit);
		if (n_open > 0 && below(3) == 0) {
			/* Cancel, or settle to less, any ticket, now or much later. */
			const size_t k = below(n_open);
			struct open_ticket ticket = open[k];
			const uint64_t actual = below(ticket.units + 1);
			const uint64_t used = bucket_cost(hot.numbers, actual);

			open[k] = open[--n_open];
			if (used < ticket.view.ticks) {
				refund(&hot, &ticket.view, ticket.view.ticks - used, now);
				events[ticket.event].kept = actual;
			}
		} else {
			struct open_ticket ticket = {.units = below(limit.burst + 2)};
			const enum take result = acquire(&hot, ticket.units, now, &ticket.view);

			cr_assert((result == TAKE_NEVER) == (ticket.units > limit.burst));
			if (result != TAKE_ADMIT)
				continue;
			ticket.event = n_events;
			events[n_events++] = (struct event){now, ticket.units};
			open[n_open++] = ticket;
		}
		cr_assert(bucket_plausible(&hot, now));
	}
	replay(limit, events, n_events);
}

Test(bucket, random_runs_are_never_over)
{
	seed(20261122);
	for (int i = 0; i < 3000; i++)
		random_run(below(FIFTY_YEARS));
}

/* The classic: A charges 5, the bucket drains, others spend the burst, A cancels. */
Test(bucket, a_drained_charge_refunds_nothing)
{
	const struct limit limit = {10, SECOND, 10};
	struct seg_hot hot = bucket_of(limit, TICKS_PER_SEC);
	struct bucket_view a, others;
	uint64_t now = TICKS_PER_SEC;

	cr_assert_eq(acquire(&hot, 5, now, &a), TAKE_ADMIT);
	now += 2 * TICKS_PER_SEC;
	cr_assert_eq(acquire(&hot, 10, now, &others), TAKE_ADMIT);
	cr_assert_eq(refund(&hot, &a, a.ticks, now), 0);
	cr_assert_eq(acquire(&hot, 1, now, &others), TAKE_WAIT);
}

Test(bucket, an_undrained_charge_comes_back_whole_once)
{
	const struct limit limit = {10, SECOND, 10};
	const uint64_t now = TICKS_PER_SEC;
	struct seg_hot hot = bucket_of(limit, now);
	struct bucket_view a, b;

	cr_assert_eq(acquire(&hot, 10, now, &a), TAKE_ADMIT);
	cr_assert_eq(acquire(&hot, 1, now, &b), TAKE_WAIT);
	cr_assert_eq(refund(&hot, &a, a.ticks, now), a.ticks);
	cr_assert_eq(refund(&hot, &a, a.ticks, now), 0, "the same ticket again");
	cr_assert_eq(acquire(&hot, 10, now, &b), TAKE_ADMIT);
	cr_assert_eq(refund(&hot, &a, a.ticks, now), 0, "nor at another's cost");
}

/*
 * The order that defeats two separate stores: a refund is stopped after its look, another lowers the TAT, a third
 * charges it back to the very value the first has seen. The first must notice.
 */
Test(bucket, a_stopped_refund_notices_that_the_same_value_is_not_the_same_state)
{
	const struct limit limit = {1, SECOND, 100};
	const uint64_t now = TICKS_PER_SEC;
	struct seg_hot hot = bucket_of(limit, now);
	struct bucket_view first, second, third;
	struct bucket_charged charged;
	struct bucket_pair stopped;
	uint64_t given = 0;

	cr_assert_eq(acquire(&hot, 5, now, &first), TAKE_ADMIT);
	cr_assert_eq(acquire(&hot, 5, now, &second), TAKE_ADMIT);
	bucket_refund_look(&hot, &stopped);
	cr_assert_eq(refund(&hot, &second, second.ticks, now), second.ticks);
	cr_assert_eq(acquire(&hot, 5, now, &third), TAKE_ADMIT);
	cr_assert_eq(hot.state[0], stopped.word[0], "the scene is set");
	charged = (struct bucket_charged){0, first.ticks, first.tat, first.refunds};
	cr_assert_not(bucket_refund(&hot, &charged, &stopped, now, &given));
	cr_assert_eq(given, 0);
}

/* --- rates and uptime --- */

static const struct limit extremes[] = {
	{1, 86400 * SECOND, 1},
	{1, 86400 * SECOND, 1000},
	{3, 86400 * SECOND, 2},
	{7, 3600 * SECOND, 7},
	{1, SECOND, 1},
	{100, SECOND, 50},
	{8191, SECOND, 8191},
	{99991, SECOND, 3},
	{999983, SECOND, 100},
	{1000000, SECOND, 1},
	{1000000, SECOND, 1000000},
	{100000, 86400 * SECOND, 10},
};

/* Demand that never ends: at each moment the earliest possible next acquire. */
static void saturate(struct limit limit, uint64_t units, uint64_t start)
{
	struct seg_hot hot = bucket_of(limit, start);
	const uint64_t rounds = limit.burst / units + 20000;
	unsigned __int128 ideal, span;
	uint64_t now = start, granted = 0;

	while (granted < rounds) {
		struct bucket_view view;
		const enum take result = acquire(&hot, units, now, &view);

		if (result == TAKE_WAIT) {
			const uint64_t next = bucket_retry_at(&view, now);

			cr_assert(next > now);
			cr_assert_eq(acquire(&hot, units, next - 1, &view), TAKE_WAIT,
				     "an earlier time would do");
			now = next;
			continue;
		}
		cr_assert_eq(result, TAKE_ADMIT);
		granted++;
	}
	/* granted * units <= burst + rate * span, and at most 1e-3 less. */
	span = (unsigned __int128)(now - start) * limit.amount;
	ideal = span / (limit.period_ns * TICKS_PER_NS) + limit.burst;
	cr_assert((unsigned __int128)granted * units <= ideal, "over: %lu at %lu/%lu", granted,
		  limit.amount, limit.period_ns);
	cr_assert((unsigned __int128)(granted * units + units) * 1000 >= ideal * 999,
		  "waste: %lu granted of %lu, at %lu in %lu ns", granted * units, (uint64_t)ideal,
		  limit.amount, limit.period_ns);
}

Test(bucket, waste_is_below_a_thousandth_at_every_rate_and_age)
{
	for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++) {
		const struct limit limit = extremes[i];

		saturate(limit, 1, 1);
		if (limit.period_ns < 86400 * SECOND) /* 20,000 days more would leave 64 bits */
			saturate(limit, 1, FIFTY_YEARS);
	}
	/* A million acquires a second of a thousand units each, and half a million of three. */
	saturate((struct limit){1000000000, SECOND, 1000000}, 1000, FIFTY_YEARS);
	saturate((struct limit){1500000, SECOND, 300}, 3, FIFTY_YEARS);
}

Test(bucket, one_a_day_after_fifty_years)
{
	const struct limit limit = {1, 86400 * SECOND, 30};
	const uint64_t tomorrow = FIFTY_YEARS + 86400 * TICKS_PER_SEC;
	struct seg_hot hot = bucket_of(limit, FIFTY_YEARS);
	struct bucket_view view;

	for (int i = 0; i < 30; i++)
		cr_assert_eq(acquire(&hot, 1, FIFTY_YEARS, &view), TAKE_ADMIT);
	cr_assert_eq(acquire(&hot, 1, FIFTY_YEARS, &view), TAKE_WAIT);
	cr_assert(bucket_retry_at(&view, FIFTY_YEARS) >= tomorrow);
	cr_assert(bucket_retry_at(&view, FIFTY_YEARS) <= tomorrow + TICKS_PER_SEC,
		  "2^-23 of a month");
	cr_assert_eq(bucket_left(&view, FIFTY_YEARS), 0);
	cr_assert_eq(bucket_left(&view, bucket_retry_at(&view, FIFTY_YEARS)), 1);
}

Test(bucket, the_whole_burst_fits_at_any_rate)
{
	seed(7);
	for (int i = 0; i < 100000; i++) {
		const struct limit limit = random_limit();
		struct seg_hot hot = bucket_of(limit, 5);
		struct bucket_view view;

		cr_assert_eq(acquire(&hot, limit.burst, 5, &view), TAKE_ADMIT);
		cr_assert(acquire(&hot, limit.burst + 1, 5, &view) == TAKE_NEVER);
	}
}

Test(bucket, numbers_round_to_the_safe_side)
{
	seed(11);
	for (int i = 0; i < 100000; i++) {
		const struct limit limit = random_limit();
		const bucket_numbers n = bucket_pack(limit.amount, limit.period_ns, limit.burst);
		const uint64_t units = 1 + below(limit.burst);
		const unsigned __int128 exact =
			(unsigned __int128)units * limit.period_ns * TICKS_PER_NS;
		const unsigned __int128 ticks = bucket_cost(n, units);

		cr_assert(ticks * limit.amount >= exact, "a cost is never less than it is");
		cr_assert((ticks - 1) * limit.amount * 4194304 <= exact * 4194305,
			  "2^-22 and a tick more at the most");
		cr_assert(bucket_burst(n) <= limit.burst);
		cr_assert(bucket_burst(n) >= limit.burst - limit.burst / 4194304);
		cr_assert_eq(bucket_stamp(bucket_restamp(n, 0x1b)), 0xb);
		cr_assert_eq(bucket_cost(bucket_restamp(n, 9), units), bucket_cost(n, units));
	}
}

Test(bucket, impossible_numbers_are_refused)
{
	cr_assert_eq(bucket_pack(0, SECOND, 1), 0);
	cr_assert_eq(bucket_pack(1, 0, 1), 0);
	cr_assert_eq(bucket_pack(1, SECOND, 0), 0);
	cr_assert_eq(bucket_pack(1, SECOND, UINT64_C(1) << 40), 0);
	cr_assert_eq(bucket_pack(1, 86400 * SECOND, UINT64_C(1) << 30), 0, "fills in 3 m years");
	cr_assert_eq(bucket_pack(UINT64_MAX, 1, 1), 0);
	cr_assert_eq(bucket_pack(1, UINT64_MAX, 1), 0);
	cr_assert(bucket_pack(UINT64_C(1000000000000), SECOND, 1000000) != 0);
}

/* --- debt, repair, lives --- */

static uint64_t at(void *user)
{
	return *(uint64_t *)user;
}

Test(bucket, debt_is_charged_and_bounded)
{
	const struct limit limit = {100, SECOND, 100};
	const uint64_t now = TICKS_PER_SEC;
	struct seg_hot hot = bucket_of(limit, now);
	struct bucket_view view;

	cr_assert(bucket_debit(&hot, 0, bucket_cost(hot.numbers, 250), now));
	cr_assert_eq(acquire(&hot, 1, now, &view), TAKE_WAIT);
	cr_assert_eq(bucket_retry_at(&view, now), now + bucket_cost(hot.numbers, 151));
	cr_assert(bucket_debit(&hot, 0, UINT64_MAX / 2, now));
	cr_assert(bucket_plausible(&hot, now), "the largest debt is still no corruption");
	cr_assert_eq(acquire(&hot, 1, now, &view), TAKE_WAIT);
	cr_assert_not(bucket_debit(&hot, 1, 1, now), "another life");
}

Test(bucket, an_impossible_time_is_seen_and_repaired_to_empty)
{
	const struct limit limit = {100, SECOND, 100};
	uint64_t now = TICKS_PER_SEC;
	struct seg_hot hot = bucket_of(limit, now);
	struct bucket_view view;

	hot.state[0] = UINT64_MAX - 1;
	cr_assert_eq(acquire(&hot, 1, now, &view), TAKE_CORRUPT);
	cr_assert_not(bucket_plausible(&hot, now));
	cr_assert(bucket_repair(&hot, at, &now));
	cr_assert_not(bucket_repair(&hot, at, &now));
	cr_assert(bucket_plausible(&hot, now));
	cr_assert_eq(acquire(&hot, 1, now, &view), TAKE_WAIT, "empty, not full");
	cr_assert_eq(acquire(&hot, 100, now + TICKS_PER_SEC, &view), TAKE_ADMIT);
	hot.numbers = 0;
	cr_assert_eq(acquire(&hot, 1, now, &view), TAKE_CORRUPT);
	cr_assert_not(bucket_plausible(&hot, now));
}

Test(bucket, another_life_is_stale)
{
	const struct limit limit = {100, SECOND, 100};
	struct seg_hot hot = bucket_of(limit, 8);
	struct bucket_view view;
	struct bucket_pair pair;
	struct bucket_charged charged;
	uint64_t given = 1;

	cr_assert_eq(acquire(&hot, 50, 8, &view), TAKE_ADMIT);
	hot.generation++;
	cr_assert_eq(bucket_look(&hot, 0, 1, 8, &view), TAKE_STALE);
	charged = (struct bucket_charged){0, view.ticks, hot.state[0], 0};
	bucket_refund_look(&hot, &pair);
	cr_assert(bucket_refund(&hot, &charged, &pair, 8, &given));
	cr_assert_eq(given, 0);
	hot.state[0] = RECORD_DEAD;
	cr_assert_eq(bucket_look(&hot, 1, 1, 8, &view), TAKE_STALE);
}

/* --- new numbers --- */

static uint64_t spent(const struct seg_hot *hot, uint64_t now)
{
	struct bucket_view view;

	(void)bucket_look(hot, 0, 0, now, &view);
	return bucket_burst(view.numbers) - bucket_left(&view, now);
}

Test(bucket, spent_stays_spent_when_numbers_change)
{
	seed(23);
	for (int i = 0; i < 20000; i++) {
		const struct limit from = random_limit(), to = random_limit();
		uint64_t now = TICKS_PER_SEC;
		struct seg_hot hot = bucket_of(from, now);
		const uint64_t units = 1 + below(from.burst);
		const bucket_numbers numbers = bucket_pack(to.amount, to.period_ns, to.burst);
		struct bucket_view view;
		uint64_t refund_before;

		cr_assert_eq(acquire(&hot, units, now, &view), TAKE_ADMIT);
		refund_before = hot.state[1];
		cr_assert(bucket_retune(&hot, numbers, at, &now));
		cr_assert(spent(&hot, now) >= (units < to.burst ? units : bucket_burst(numbers)),
			  "%lu of %lu spent, then %lu of %lu (RATION_SEED=%lu)", units, from.burst,
			  spent(&hot, now), to.burst, seed_used);
		cr_assert(hot.state[0] <= now + bucket_tolerance(numbers) + 2,
			  "not locked out for longer than an empty bucket");
		cr_assert(hot.state[1] >= refund_before);
		cr_assert(bucket_retune(&hot, numbers, at, &now));
		cr_assert(bucket_plausible(&hot, now));
	}
}

/* A bucket that may be in reals what no acquire may pass. */
struct reference {
	double ticks, burst, full_at;
};

static void admit(struct reference *r, uint64_t now, uint64_t units)
{
	r->full_at =
		(r->full_at > (double)now ? r->full_at : (double)now) + (double)units * r->ticks;
	cr_assert(r->full_at - (double)now <= (r->burst + 0.01) * r->ticks * (1 + 1e-6),
		  "%g units at once, of %g (RATION_SEED=%lu)",
		  (r->full_at - (double)now) / r->ticks, r->burst, seed_used);
}

/* Takes whatever there is, or some of it. */
static void drain(struct seg_hot *hot, uint64_t now, struct reference references[2])
{
	struct bucket_view view;
	uint64_t units;

	(void)bucket_look(hot, 0, 0, now, &view);
	units = bucket_left(&view, now);
	if (units > 0 && below(4) == 0)
		units = 1 + below(units);
	if (units == 0 || acquire(hot, units, now, &view) != TAKE_ADMIT)
		return;
	admit(&references[0], now, units);
	admit(&references[1], now, units);
}

static double ticks_of(struct limit limit)
{
	return (double)limit.period_ns * TICKS_PER_NS / (double)limit.amount;
}

#define POLICIES 4
#define CHANGES  40

/*
 * Policies in any order, as often as one likes, while the shortest of their bursts would fill: no more than the largest
 * burst and what comes in at the fastest rate; and from each change on no more than the new ones alone.
 */
Test(bucket, policies_in_any_order_admit_no_more_than_the_larger)
{
	seed(29);
	for (int i = 0; i < 2000; i++) {
		struct limit limits[POLICIES];
		struct reference larger = {1e300, 0, 0};
		const uint64_t n = 2 + below(POLICIES - 1);
		uint64_t now = TICKS_PER_SEC;
		double shortest = 1e300;
		struct seg_hot hot;

		for (uint64_t k = 0; k < n; k++) {
			limits[k] = random_limit();
			larger.ticks = fmin(larger.ticks, ticks_of(limits[k]));
			larger.burst = fmax(larger.burst, (double)limits[k].burst);
			shortest = fmin(shortest, ticks_of(limits[k]) * (double)limits[k].burst);
		}
		hot = bucket_of(limits[0], now);
		for (uint64_t k = 1, which = 0; k < CHANGES; k++) {
			struct reference both[2] = {larger};

			both[1] = (struct reference){ticks_of(limits[which]),
						     (double)limits[which].burst, 0};
			drain(&hot, now, both);
			now += below((uint64_t)(shortest / (2 * CHANGES)) + 2);
			drain(&hot, now, both);
			larger = both[0];
			which = n == 2 ? k % 2 : below(n);
			cr_assert(bucket_retune(&hot,
						bucket_pack(limits[which].amount,
							    limits[which].period_ns,
							    limits[which].burst),
						at, &now));
		}
	}
}

/* Whoever looked under the old numbers must not charge under the new ones. */
Test(bucket, a_look_from_before_a_change_is_of_no_use_after_it)
{
	static const struct limit before = {1000, SECOND, 4}, after = {100, SECOND, 4};
	uint64_t now = TICKS_PER_SEC;
	struct seg_hot hot = bucket_of(before, 1);
	struct bucket_view stopped, view;

	cr_assert_eq(bucket_look(&hot, 0, 4, now, &stopped), TAKE_ADMIT);
	cr_assert(bucket_retune(&hot, bucket_pack(after.amount, after.period_ns, after.burst), at,
				&now));
	cr_assert_eq(bucket_charge(&hot, 0, 4, now, &stopped), TAKE_ADMIT);
	cr_assert_eq(stopped.ticks, bucket_cost(hot.numbers, 4), "at the new price");
	cr_assert_eq(acquire(&hot, 3, now, &view), TAKE_WAIT, "all four are out already");
}

/* A permit with a clock from before the change is judged as strictly as it would have been. */
Test(bucket, an_old_clock_finds_no_more_room_after_a_change)
{
	const uint64_t old = TICKS_PER_SEC;
	uint64_t now = old + TICKS_PER_SEC / 100;
	struct seg_hot hot = bucket_of((struct limit){1000, SECOND, 4}, 1);
	struct bucket_view view;

	cr_assert_eq(acquire(&hot, 4, old, &view), TAKE_ADMIT);
	cr_assert(bucket_retune(&hot, bucket_pack(100, SECOND, 4), at, &now));
	cr_assert_eq(acquire(&hot, 2, old, &view), TAKE_WAIT);
	cr_assert_eq(acquire(&hot, 4, now + TICKS_PER_SEC, &view), TAKE_ADMIT);
}

/* A ticket from before a change gives nothing back: its measure is another. */
Test(bucket, a_refund_from_before_a_change_gives_nothing)
{
	uint64_t now = TICKS_PER_SEC;
	struct seg_hot hot = bucket_of((struct limit){10, SECOND, 100}, now);
	struct bucket_view a, b;

	cr_assert_eq(acquire(&hot, 50, now, &a), TAKE_ADMIT);
	cr_assert_eq(acquire(&hot, 50, now, &b), TAKE_ADMIT);
	cr_assert(bucket_retune(&hot, bucket_pack(100, SECOND, 100), at, &now));
	cr_assert_eq(refund(&hot, &a, a.ticks, now), 0);
	cr_assert_eq(acquire(&hot, 1, now, &b), TAKE_WAIT);
	cr_assert_eq(acquire(&hot, 100, now + TICKS_PER_SEC, &b), TAKE_ADMIT);
}

/* A sum that has run to its end refunds nothing, until the bucket has drained. */
Test(bucket, a_refund_sum_never_wraps)
{
	uint64_t now = TICKS_PER_SEC;
	struct seg_hot hot = bucket_of((struct limit){1, SECOND, 100}, now);
	struct bucket_view old, view;

	cr_assert_eq(acquire(&hot, 50, now, &old), TAKE_ADMIT);
	hot.state[1] = UINT64_MAX - TICKS_PER_SEC;
	cr_assert_eq(acquire(&hot, 10, now, &view), TAKE_ADMIT);
	cr_assert_eq(refund(&hot, &view, view.ticks, now), 0);
	cr_assert_eq(refund(&hot, &old, old.ticks, now), 0);
	now += 1000 * TICKS_PER_SEC;
	cr_assert_eq(refund(&hot, &view, view.ticks, now), 0);
	cr_assert_eq(hot.state[1], 0, "begun anew");
	cr_assert_eq(acquire(&hot, 10, now, &old), TAKE_ADMIT);
	cr_assert_eq(refund(&hot, &view, view.ticks, now), 0, "older than the sum");
	cr_assert_eq(refund(&hot, &old, old.ticks, now), old.ticks);
}

/* --- several processes, one bucket --- */

struct arena {
	struct seg_hot hot;
	shm_word go;
	shm_word granted[8];
	shm_word refunded[8];
};

static struct arena *arena_of(struct limit limit, uint64_t now)
{
	struct arena *arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(arena != MAP_FAILED);
	arena->hot = bucket_of(limit, now);
	return arena;
}

static void run_processes(struct arena *arena, int n, void (*work)(struct arena *, int))
{
	for (int i = 0; i < n; i++) {
		const pid_t pid = fork();

		cr_assert(pid >= 0);
		if (pid == 0) {
			while (!shm_load(&arena->go))
				;
			work(arena, i);
			_exit(0);
		}
	}
	shm_store(&arena->go, 1);
	for (int i = 0; i < n; i++) {
		int status;

		cr_assert(wait(&status) > 0 && status == 0);
	}
}

static void take_all(struct arena *arena, int who)
{
	struct bucket_view view;
	uint64_t granted = 0;

	while (acquire(&arena->hot, 1, TICKS_PER_SEC, &view) == TAKE_ADMIT)
		granted++;
	shm_store(&arena->granted[who], granted);
}

Test(bucket, processes_share_a_burst_exactly)
{
	for (int n = 2; n <= 8; n += 2) {
		struct arena *arena = arena_of((struct limit){1000, SECOND, 100000}, TICKS_PER_SEC);
		uint64_t sum = 0;

		run_processes(arena, n, take_all);
		for (int i = 0; i < n; i++)
			sum += arena->granted[i];
		cr_assert_eq(sum, 100000);
		munmap(arena, sizeof(*arena));
	}
}

/* Take one or three, give half of them back at once: what was kept is exactly the burst in the end. */
static void take_and_cancel(struct arena *arena, int who)
{
	uint64_t kept = 0, state = (uint64_t)who + 1;
	int denied = 0;

	while (denied < 100) {
		struct bucket_view view;
		struct bucket_pair pair;
		const uint64_t units = (state = state * 6364136223846793005u + 1) >> 63 ? 1 : 3;
		uint64_t given = 0;

		if (acquire(&arena->hot, units, TICKS_PER_SEC, &view) != TAKE_ADMIT) {
			denied++;
			continue;
		}
		kept += units;
		if (state >> 62 & 1)
			continue;
		do
			bucket_refund_look(&arena->hot, &pair);
		while (!bucket_refund(
			&arena->hot,
			&(struct bucket_charged){0, view.ticks, view.tat, view.refunds}, &pair,
			TICKS_PER_SEC, &given));
		kept -= given / bucket_cost(arena->hot.numbers, 1);
		shm_add(&arena->refunded[who], given);
	}
	shm_store(&arena->granted[who], kept);
}

Test(bucket, processes_that_cancel_never_mint)
{
	for (int round = 0; round < 20; round++) {
		struct arena *arena = arena_of((struct limit){1000, SECOND, 5000}, TICKS_PER_SEC);
		uint64_t kept = 0, refunded = 0;

		run_processes(arena, 4, take_and_cancel);
		for (int i = 0; i < 4; i++) {
			kept += arena->granted[i];
			refunded += arena->refunded[i];
		}
		/* Time stands still, so the words are an exact account: what is kept is what the TAT says. */
		cr_assert_eq(arena->hot.state[1], refunded);
		cr_assert_eq((arena->hot.state[0] - TICKS_PER_SEC) /
				     bucket_cost(arena->hot.numbers, 1),
			     kept);
		cr_assert(kept <= 5000, "%lu kept of 5000", kept);
		cr_assert(refunded > 0);
		munmap(arena, sizeof(*arena));
	}
}
