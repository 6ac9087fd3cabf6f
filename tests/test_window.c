/*
 * tests/test_window.c - calendar windows against an exact reference
 * SPDX-License-Identifier: MIT
 *
 * Time is made up by each test. A world has one wall clock; ticks go on evenly beside it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/calendar.h"
#include "shm/window.h"
#include "support_random.h"
#include "support_seg.h"

#define SECOND INT64_C(1000000000)
#define MS     (SECOND / 1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

/* 2026-01-01T00:00Z, and how the segment's ticks run beside it. */
#define NEW_YEAR (INT64_C(1767225600) * SECOND)
#define TICK_0   (NEW_YEAR - 10 * DAY)

/* --- one window limit --- */

struct limit {
	struct seg seg;
	struct calendar calendar;
	struct bucket_ref ref;
	uint64_t before, after; /* guard, ns */
	uint32_t flags;
	int64_t step; /* how much the wall clock was put forward since */
};

static struct seg_hot *hot_of(const struct limit *limit)
{
	return &limit->seg.hot[limit->ref.bucket];
}

static uint64_t index_at(const struct limit *limit, int64_t wall)
{
	struct calendar_window w;

	calendar_find(&limit->calendar, wall, &w);
	return w.index;
}

static struct limit limit_of(uint64_t amount, struct calendar calendar)
{
	struct limit limit = {.seg = seg_make(4, 2), .calendar = calendar};
	struct bucket_spec spec = {.identity = {{1, 1}}, .kind = KIND_WINDOW};

	spec.numbers = window_pack(amount, index_at(&limit, CALENDAR_LAST_NS));
	cr_assert(spec.numbers != 0);
	cr_assert_eq(window_amount(spec.numbers), amount);
	window_first(spec.numbers, index_at(&limit, NEW_YEAR), false, spec.state);
	cr_assert_eq(index_insert(&limit.seg, 0, &spec, &limit.ref), INDEX_FOUND);
	return limit;
}

static struct limit limit_every(uint64_t amount, int64_t length)
{
	return limit_of(amount,
			(struct calendar){.unit = CALENDAR_LENGTH, .length_ns = (uint64_t)length});
}

static uint64_t tick(const struct limit *limit, int64_t wall)
{
	return (uint64_t)(wall - limit->step - TICK_0) * TICKS_PER_NS;
}

/* As the wall clock shows it when the ticks are so far. */
static int64_t wall_of(const struct limit *limit, uint64_t ticks)
{
	return (int64_t)(ticks / TICKS_PER_NS) + TICK_0 + limit->step;
}

static struct link link_at(const struct limit *limit, int64_t wall)
{
	struct link link = {
		.bucket = limit->ref.bucket,
		.generation = limit->ref.generation,
		.flags = KIND_WINDOW | limit->flags,
	};
	struct calendar_window w;

	calendar_find(&limit->calendar, wall, &w);
	link.shape[WINDOW_INDEX] = w.index;
	link.shape[WINDOW_START] = (uint64_t)w.start;
	link.shape[WINDOW_END] = (uint64_t)w.end;
	link.shape[WINDOW_BEFORE] = limit->before;
	link.shape[WINDOW_AFTER] = limit->after;
	return link;
}

static struct shortage why;

static enum take take_demand(struct limit *limit, const struct demand *demand, int64_t wall,
			     struct charge_ref *ret_charge)
{
	const struct link link = link_at(limit, wall);
	const struct instant at = {tick(limit, wall), wall};
	struct taken taken;
	enum take result = window_look(&limit->seg, &link, demand, &at, &taken, &why);

	if (result != TAKE_ADMIT)
		return result;
	result = window_charge(&limit->seg, &link, demand, &at, &taken, &why);
	if (result == TAKE_ADMIT && ret_charge)
		*ret_charge = (struct charge_ref){
			limit->ref.bucket, limit->ref.generation, demand->units, at.now, taken, 0};
	return result;
}

static enum take take(struct limit *limit, uint64_t units, int64_t wall,
		      struct charge_ref *ret_charge)
{
	const struct demand demand = {.units = units};

	return take_demand(limit, &demand, wall, ret_charge);
}

static uint64_t used_at(const struct limit *limit, int64_t wall)
{
	return window_used(hot_of(limit), index_at(limit, wall));
}

static void verify(const struct limit *limit, int64_t wall)
{
	cr_assert(window_plausible(hot_of(limit), index_at(limit, wall), tick(limit, wall)));
	seg_verify(&limit->seg, tick(limit, wall), true);
}

/* --- plain windows --- */

Test(window, begins_anew_at_each_edge)
{
	struct limit limit = limit_every(10, SECOND);

	for (int i = 0; i < 5; i++) {
		const int64_t start = NEW_YEAR + i * SECOND;

		cr_assert_eq(take(&limit, 4, start, NULL), TAKE_ADMIT);
		cr_assert_eq(take(&limit, 6, start + SECOND / 2, NULL), TAKE_ADMIT);
		cr_assert_eq(take(&limit, 1, start + SECOND - 1, NULL), TAKE_WAIT);
		cr_assert_eq(why.retry_at, tick(&limit, start + SECOND));
		cr_assert_eq(why.left, 0);
		cr_assert_eq(why.size, 10);
		cr_assert_eq(used_at(&limit, start), 10);
	}
	verify(&limit, NEW_YEAR + 5 * SECOND);
}

Test(window, a_cost_that_never_fits_is_said_so)
{
	struct limit limit = limit_every(10, SECOND);
	const struct demand marked = {.units = 7, .mark = 4};

	cr_assert_eq(take(&limit, 11, NEW_YEAR, NULL), TAKE_NEVER);
	cr_assert_eq(why.size, 10);
	cr_assert_eq(take_demand(&limit, &marked, NEW_YEAR, NULL), TAKE_NEVER);
	cr_assert_eq(why.size, 6);
	cr_assert_eq(take(&limit, UINT64_MAX, NEW_YEAR, NULL), TAKE_NEVER);
	cr_assert_eq(used_at(&limit, NEW_YEAR), 0);
	verify(&limit, NEW_YEAR);
}

Test(window, a_handle_of_another_window_is_stale)
{
	struct limit limit = limit_every(10, SECOND);
	const struct link link = link_at(&limit, NEW_YEAR);
	const struct instant early = {tick(&limit, NEW_YEAR - 1), NEW_YEAR - 1},
			     late = {tick(&limit, NEW_YEAR + SECOND), NEW_YEAR + SECOND};
	const struct demand demand = {.units = 1};
	struct taken taken;

	cr_assert_eq(window_look(&limit.seg, &link, &demand, &early, &taken, &why), TAKE_STALE);
	cr_assert_eq(window_look(&limit.seg, &link, &demand, &late, &taken, &why), TAKE_STALE);
	verify(&limit, NEW_YEAR);
}

Test(window, every_amount_and_calendar_fits_or_is_refused)
{
	static const struct calendar calendars[] = {
		{.unit = CALENDAR_LENGTH, .length_ns = (uint64_t)MS},
		{.unit = CALENDAR_LENGTH, .length_ns = (uint64_t)SECOND},
		{.unit = CALENDAR_DAY},
		{.unit = CALENDAR_MONTH},
	};
	/* 43, 33, 17 and 12 bits of index. */
	static const uint64_t most[] = {(UINT64_C(1) << 20) - 1, (UINT64_C(1) << 30) - 1,
					(UINT64_C(1) << 40) - 1, (UINT64_C(1) << 40) - 1};

	for (size_t i = 0; i < 4; i++) {
		const struct limit any = {.calendar = calendars[i]};
		const uint64_t last = index_at(&any, CALENDAR_LAST_NS);
		struct limit limit = limit_of(most[i], calendars[i]);

		cr_assert_eq(window_pack(most[i] + 1, last), 0);
		cr_assert_eq(window_pack(0, last), 0);
		for (int64_t wall = NEW_YEAR; wall < CALENDAR_LAST_NS;
		     wall += CALENDAR_LAST_NS / 50) {
			cr_assert_eq(take(&limit, most[i], wall, NULL), TAKE_ADMIT);
			cr_assert_eq(take(&limit, 1, wall, NULL), TAKE_WAIT);
			cr_assert_eq(used_at(&limit, wall), most[i]);
		}
	}
	cr_assert_eq(window_pack(1, UINT64_MAX), 0);
}

/* --- refunds, debts, corrections --- */

Test(window, a_refund_goes_to_its_own_window)
{
	struct limit limit = limit_every(10, SECOND);
	struct charge_ref first, second;

	cr_assert_eq(take(&limit, 6, NEW_YEAR, &first), TAKE_ADMIT);
	cr_assert(window_give_back(&limit.seg, &first, 2));
	cr_assert_eq(used_at(&limit, NEW_YEAR), 4);
	cr_assert_eq(take(&limit, 10, NEW_YEAR + SECOND, &second), TAKE_ADMIT);
	cr_assert(window_give_back(&limit.seg, &first, 4));
	cr_assert_eq(used_at(&limit, NEW_YEAR + SECOND), 10, "not to the next");
	cr_assert_eq(take(&limit, 10, NEW_YEAR + 2 * SECOND, NULL), TAKE_ADMIT);
	cr_assert(window_give_back(&limit.seg, &first, 4));
	cr_assert_eq(used_at(&limit, NEW_YEAR + 2 * SECOND), 10, "nor to the one in its word");
	cr_assert(window_give_back(&limit.seg, &second, UINT64_MAX));
	cr_assert_eq(used_at(&limit, NEW_YEAR + SECOND), 0, "at most its own");
	verify(&limit, NEW_YEAR + 2 * SECOND);
}

Test(window, a_refund_of_a_guarded_charge_goes_to_both)
{
	struct limit limit = limit_every(10, SECOND);
	struct charge_ref charge;

	limit.before = 100 * (uint64_t)MS;
	cr_assert_eq(take(&limit, 6, NEW_YEAR + 950 * MS, &charge), TAKE_ADMIT);
	cr_assert_eq(used_at(&limit, NEW_YEAR), 6);
	cr_assert_eq(used_at(&limit, NEW_YEAR + SECOND), 6);
	cr_assert(window_give_back(&limit.seg, &charge, 5));
	cr_assert_eq(used_at(&limit, NEW_YEAR), 1);
	cr_assert_eq(used_at(&limit, NEW_YEAR + SECOND), 1);
	verify(&limit, NEW_YEAR);
}

Test(window, debts_are_carried_on_and_saturate)
{
	struct limit limit = limit_every(10, SECOND);
	struct charge_ref charge;

	cr_assert_eq(take(&limit, 6, NEW_YEAR, &charge), TAKE_ADMIT);
	cr_assert(window_debit(&limit.seg, &charge, 30));
	cr_assert_eq(used_at(&limit, NEW_YEAR), 36);
	cr_assert_eq(take(&limit, 1, NEW_YEAR, NULL), TAKE_WAIT);
	cr_assert_eq(why.left, 0);
	cr_assert_eq(take(&limit, 1, NEW_YEAR + SECOND, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 1, NEW_YEAR + 2 * SECOND, NULL), TAKE_ADMIT);
	cr_assert(window_debit(&limit.seg, &charge, 5));
	cr_assert_eq(used_at(&limit, NEW_YEAR + SECOND), 6);
	cr_assert_eq(used_at(&limit, NEW_YEAR + 2 * SECOND), 6);
	cr_assert(window_debit(&limit.seg, &charge, UINT64_MAX));
	cr_assert(window_debit(&limit.seg, &charge, UINT64_MAX));
	cr_assert_eq(take(&limit, 1, NEW_YEAR + 2 * SECOND, NULL), TAKE_WAIT);
	cr_assert_eq(why.retry_at, tick(&limit, NEW_YEAR + 3 * SECOND), "and no later");
	verify(&limit, NEW_YEAR + 2 * SECOND);
}

static uint64_t ticks_of(void *user)
{
	return *(const uint64_t *)user;
}

Test(window, what_the_vendor_knows_better_is_not_refunded)
{
	struct limit limit = limit_every(10, DAY);
	const uint64_t index = index_at(&limit, NEW_YEAR);
	uint64_t now = tick(&limit, NEW_YEAR + HOUR), units;
	const struct bucket_ref other = {limit.ref.bucket, limit.ref.generation + 1};
	struct charge_ref old, young;

	cr_assert_eq(take(&limit, 4, NEW_YEAR, &old), TAKE_ADMIT);
	cr_assert(window_correct(&limit.seg, limit.ref, index, 3, ticks_of, &now, &units));
	cr_assert_eq(units, 0);
	cr_assert_eq(used_at(&limit, NEW_YEAR), 4, "never lower");
	cr_assert(window_correct(&limit.seg, limit.ref, index, 8, ticks_of, &now, &units));
	cr_assert_eq(units, 4);
	cr_assert_eq(used_at(&limit, NEW_YEAR), 8);
	cr_assert(window_give_back(&limit.seg, &old, 4));
	cr_assert_eq(used_at(&limit, NEW_YEAR), 8);
	cr_assert_eq(take(&limit, 2, NEW_YEAR + HOUR + 1, &young), TAKE_ADMIT);
	cr_assert(window_give_back(&limit.seg, &young, 2));
	cr_assert_eq(used_at(&limit, NEW_YEAR), 8);
	cr_assert_not(window_correct(&limit.seg, other, index, 9, ticks_of, &now, &units));
	verify(&limit, NEW_YEAR + HOUR);
}

/* --- against an exact reference --- */

#define RUN     600
#define WINDOWS 4096 /* of one run */

struct reference {
	uint64_t kept[WINDOWS];
	uint64_t first; /* index of kept[0] */
};

static uint64_t *kept_in(struct reference *reference, uint64_t index)
{
	cr_assert(index >= reference->first && index - reference->first < WINDOWS);
	return &reference->kept[index - reference->first];
}

struct open_ticket {
	struct charge_ref charge;
	uint64_t window;
};

/* Without a guard, exactly what the reference admits is admitted. */
static void exact_run(void)
{
	const uint64_t amount = 1 + below(below(2) ? 20 : 100000);
	const int64_t length = MS * (int64_t)(1 + below(below(2) ? 100 : 100000));
	struct limit limit = limit_every(amount, length);
	int64_t wall = NEW_YEAR + (int64_t)below((uint64_t)DAY);
	struct reference reference = {.first = index_at(&limit, wall)};
	struct open_ticket open[RUN];
	size_t n_open = 0;

	for (int i = 0; i < RUN; i++) {
		const uint64_t units = below(amount + 2) / (1 + below(6));
		struct open_ticket ticket = {.window = 0};
		uint64_t *kept;

		wall += (int64_t)below((uint64_t)length) / (int64_t)(1 + below(20));
		ticket.window = index_at(&limit, wall);
		kept = kept_in(&reference, ticket.window);
		if (n_open > 0 && below(3) == 0) {
			const size_t k = below(n_open);
			const uint64_t back = below(open[k].charge.units + 1);

			cr_assert(window_give_back(&limit.seg, &open[k].charge, back));
			*kept_in(&reference, open[k].window) -= back;
			open[k] = open[--n_open];
			continue;
		}
		if (units > amount) {
			cr_assert_eq(take(&limit, units, wall, NULL), TAKE_NEVER);
			continue;
		}
		cr_assert_eq(take(&limit, units, wall, &ticket.charge),
			     *kept + units <= amount ? TAKE_ADMIT : TAKE_WAIT, "RATION_SEED=%lu",
			     seed_used);
		if (*kept + units > amount) {
			cr_assert_eq(why.left, amount - *kept);
			continue;
		}
		*kept += units;
		cr_assert_eq(used_at(&limit, wall), *kept);
		open[n_open++] = ticket;
	}
	verify(&limit, wall);
	munmap(limit.seg.base, limit.seg.size);
}

Test(window, random_runs_admit_exactly_what_fits)
{
	seed(20261123);
	for (int i = 0; i < 600; i++)
		exact_run();
}

/* --- a vendor with a clock and a network of its own --- */

struct vendor {
	struct calendar calendar;
	struct reference counted;
	int64_t skew;
	int64_t clock; /* ahead of ours by so much, at most skew either way */
	uint64_t delay;
};

static int64_t somewhere(int64_t low, int64_t high)
{
	const uint64_t where = below(4);

	if (where < 2)
		return where ? low : high;
	return low + (int64_t)below((uint64_t)(high - low) + 1);
}

/* What a request permitted now counts at the vendor, when it arrives there. */
static uint64_t *arrival(struct vendor *vendor, int64_t wall)
{
	struct calendar_window w;

	if (below(100) == 0)
		vendor->clock = somewhere(-vendor->skew, vendor->skew);
	calendar_find(&vendor->calendar,
		      wall + vendor->clock + somewhere(0, (int64_t)vendor->delay), &w);
	return kept_in(&vendor->counted, w.index);
}

static struct vendor vendor_of(const struct limit *limit, int64_t skew, uint64_t delay,
			       int64_t wall)
{
	struct vendor vendor = {.calendar = limit->calendar, .skew = skew, .delay = delay};

	vendor.counted.first = index_at(limit, wall) - 2;
	return vendor;
}

static void guard(struct limit *limit, int64_t skew, uint64_t delay)
{
	limit->before = (uint64_t)skew + delay;
	limit->after = (uint64_t)skew;
}

/* Nothing before retry_at would do; at it the same is admitted. */
static void check_retry(const struct limit *limit, uint64_t units, int64_t wall)
{
	const struct demand demand = {.units = units};
	const int64_t then = wall_of(limit, why.retry_at);
	const int64_t times[] = {then - 1, wall + (int64_t)below((uint64_t)(then - wall)), then};

	cr_assert(then > wall);
	for (int i = 0; i < 3; i++) {
		const struct link link = link_at(limit, times[i]);
		const struct instant at = {tick(limit, times[i]), times[i]};
		struct shortage shortage;
		struct taken taken;

		cr_assert_eq(window_look(&limit->seg, &link, &demand, &at, &taken, &shortage),
			     i == 2 ? TAKE_ADMIT : TAKE_WAIT, "RATION_SEED=%lu", seed_used);
	}
}

struct sent {
	struct charge_ref charge;
	uint64_t *counted; /* where it arrived */
};

/* Often to where the guard begins or ends; sometimes windows on. */
static int64_t next_time(const struct limit *limit, int64_t wall, int64_t length)
{
	struct calendar_window w;
	int64_t edge;

	calendar_find(&limit->calendar, wall, &w);
	if (below(4) == 0)
		return wall + (int64_t)below((uint64_t)length) / (int64_t)(1 + below(60));
	if (below(4) != 0)
		return wall;
	edge = below(2) ? w.end - (int64_t)limit->before : w.start + (int64_t)limit->after;
	edge += (int64_t)below(2) - (int64_t)below(2);
	return edge > wall ? edge : wall;
}

static void vendor_run(struct calendar calendar, int64_t length)
{
	const uint64_t amount = 1 + below(below(2) ? 20 : 2000);
	const int64_t skew = (int64_t)below((uint64_t)length / 8);
	const uint64_t delay = below((uint64_t)length / 8);
	int64_t wall = NEW_YEAR + (int64_t)below((uint64_t)(100 * DAY));
	struct limit limit = limit_of(amount, calendar);
	struct vendor vendor = vendor_of(&limit, skew, delay, wall);
	struct sent open[RUN];
	size_t n_open = 0;

	guard(&limit, skew, delay);
	for (int i = 0; i < RUN; i++) {
		struct sent sent;
		const uint64_t units = below(amount) / (1 + below(20));
		enum take result;

		wall = next_time(&limit, wall, length);
		if (n_open > 0 && below(4) == 0) {
			const size_t k = below(n_open);
			const uint64_t back = below(open[k].charge.units + 1);

			cr_assert(window_give_back(&limit.seg, &open[k].charge, back));
			*open[k].counted -= back;
			open[k] = open[--n_open];
			continue;
		}
		result = take(&limit, units, wall, &sent.charge);
		if (result == TAKE_WAIT) {
			check_retry(&limit, units, wall);
			continue;
		}
		cr_assert_eq(result, TAKE_ADMIT);
		sent.counted = arrival(&vendor, wall);
		*sent.counted += units;
		cr_assert(*sent.counted <= amount, "over at the vendor: RATION_SEED=%lu",
			  seed_used);
		open[n_open++] = sent;
	}
	verify(&limit, wall);
	munmap(limit.seg.base, limit.seg.size);
}

Test(window, a_vendor_with_another_clock_and_a_slow_network_never_counts_too_much)
{
	seed(42);
	for (int i = 0; i < 600; i++) {
		const int64_t length = MS * (int64_t)(1 + below(100000));

		vendor_run((struct calendar){.length_ns = (uint64_t)length}, length);
	}
	for (int i = 0; i < 100; i++)
		vendor_run((struct calendar){.unit = CALENDAR_DAY}, DAY);
}
