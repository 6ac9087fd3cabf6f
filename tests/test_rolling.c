/*
 * tests/test_rolling.c - rolling limits against an exact log of what a vendor sees
 * SPDX-License-Identifier: MIT
 *
 * Time is made up by each test.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/rolling.h"
#include "support_random.h"
#include "support_seg.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define DAY    (1440 * MINUTE)
#define MONTH  (30 * DAY)
#define YEAR   (365 * DAY)

/* --- one rolling limit; times are ns since the segment's epoch --- */

struct limit {
	struct seg seg;
	struct bucket_ref ref;
	uint64_t period, delay;
	uint64_t amount;
	uint64_t born;
	uint32_t flags;
	uint64_t used; /* at first */
};

static uint64_t cell_of(const struct limit *limit)
{
	return rolling_cell_ticks(limit->period, limit->delay);
}

static uint64_t fill(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	const struct limit *limit = user;

	return rolling_first(seg, bucket, first, rolling_pack(limit->amount, cell_of(limit)),
			     cell_of(limit), limit->born * TICKS_PER_NS, limit->used);
}

static void insert(struct limit *limit, uint64_t id)
{
	const struct bucket_spec spec = {
		.identity = {{id, 1}},
		.kind = KIND_ROLLING,
		.numbers = rolling_pack(limit->amount, cell_of(limit)),
		.extent_lines = ROLLING_LINES,
		.fill = fill,
		.user = limit,
	};

	cr_assert(spec.numbers != 0);
	cr_assert_eq(rolling_amount(spec.numbers), limit->amount);
	cr_assert_eq(index_insert(&limit->seg, 0, &spec, &limit->ref), INDEX_FOUND);
}

static struct limit limit_of(uint64_t amount, uint64_t period, uint64_t delay, uint64_t born)
{
	struct limit limit = {.seg = seg_make(4, 4),
			      .period = period,
			      .delay = delay,
			      .amount = amount,
			      .born = born};

	insert(&limit, 1);
	return limit;
}

static struct seg_hot *hot_of(const struct limit *limit)
{
	return &limit->seg.hot[limit->ref.bucket];
}

static struct shortage why;

static enum take look(const struct limit *limit, const struct demand *demand, uint64_t now,
		      struct link *ret_link, struct taken *ret_taken)
{
	const struct instant at = {.now = now * TICKS_PER_NS};

	*ret_link = (struct link){
		.bucket = limit->ref.bucket,
		.generation = limit->ref.generation,
		.flags = KIND_ROLLING | limit->flags,
		.shape = {[ROLLING_CELL_TICKS] = cell_of(limit)},
	};
	return rolling_look(&limit->seg, ret_link, demand, &at, ret_taken, &why);
}

static enum take take_demand(struct limit *limit, const struct demand *demand, uint64_t now,
			     struct charge_ref *ret_charge)
{
	const struct instant at = {.now = now * TICKS_PER_NS};
	struct link link;
	struct taken taken;
	enum take result = look(limit, demand, now, &link, &taken);

	if (result != TAKE_ADMIT)
		return result;
	result = rolling_charge(&limit->seg, &link, demand, &at, &taken, &why);
	if (result == TAKE_ADMIT && ret_charge)
		*ret_charge = (struct charge_ref){
			limit->ref.bucket, limit->ref.generation, demand->units, at.now, taken, 0};
	return result;
}

static enum take take(struct limit *limit, uint64_t units, uint64_t now,
		      struct charge_ref *ret_charge)
{
	const struct demand demand = {.units = units};

	return take_demand(limit, &demand, now, ret_charge);
}

static uint64_t used_at(const struct limit *limit, uint64_t now)
{
	return rolling_used(&limit->seg, limit->ref.bucket, now * TICKS_PER_NS);
}

static uint64_t retry_ns(void)
{
	return (why.retry_at + TICKS_PER_NS - 1) / TICKS_PER_NS;
}

static void verify(const struct limit *limit, uint64_t now)
{
	seg_verify(&limit->seg, now * TICKS_PER_NS, true);
}

static void discard(struct limit *limit)
{
	munmap(limit->seg.base, limit->seg.size);
}

/* --- what the vendor counts --- */

struct arrival {
	uint64_t at; /* by the vendor's clock */
	uint64_t units;
};

struct vendor {
	struct arrival *arrivals;
	size_t n, room;
};

static size_t arrive(struct vendor *vendor, uint64_t at, uint64_t units)
{
	if (vendor->n == vendor->room) {
		vendor->room = vendor->room ? 2 * vendor->room : 1024;
		vendor->arrivals =
			realloc(vendor->arrivals, vendor->room * sizeof(*vendor->arrivals));
		cr_assert_not_null(vendor->arrivals);
	}
	vendor->arrivals[vendor->n] = (struct arrival){at, units};
	return vendor->n++;
}

static int earlier(const void *a, const void *b)
{
	const struct arrival *l = a, *r = b;

	return (l->at > r->at) - (l->at < r->at);
}

/* The most that arrived in any interval of that length, both ends included. */
static uint64_t worst(struct vendor *vendor, uint64_t period)
{
	uint64_t units = 0, most = 0;

	qsort(vendor->arrivals, vendor->n, sizeof(*vendor->arrivals), earlier);
	for (size_t last = 0, first = 0; last < vendor->n; last++) {
		units += vendor->arrivals[last].units;
		for (; vendor->arrivals[last].at - vendor->arrivals[first].at > period; first++)
			units -= vendor->arrivals[first].units;
		most = units > most ? units : most;
	}
	return most;
}

/* --- plain charges --- */

Test(rolling, what_was_used_comes_back_a_period_later)
{
	struct limit limit = limit_of(10, SECOND, 0, 0);
	uint64_t again;

	cr_assert_eq(take(&limit, 4, 0, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 6, SECOND / 2, NULL), TAKE_ADMIT);
	cr_assert_eq(used_at(&limit, SECOND / 2), 10);
	cr_assert_eq(take(&limit, 3, SECOND / 2, NULL), TAKE_WAIT);
	cr_assert_eq(why.left, 0);
	cr_assert_eq(why.size, 10);
	again = retry_ns();
	cr_assert(again > SECOND && again <= SECOND + SECOND / ROLLING_CELLS + 10);
	cr_assert_eq(take(&limit, 3, again - 1, NULL), TAKE_WAIT);
	cr_assert_eq(take(&limit, 3, again, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 2, again, NULL), TAKE_WAIT);
	cr_assert_eq(why.left, 1);
	cr_assert(retry_ns() > SECOND + SECOND / 2);
	verify(&limit, again);
}

Test(rolling, a_cost_that_never_fits_is_said_so)
{
	struct limit limit = limit_of(10, SECOND, 0, 0);
	const struct demand marked = {.units = 7, .mark = 4};
	const struct demand last = {.units = 6, .mark = 4};

	cr_assert_eq(take(&limit, 11, 0, NULL), TAKE_NEVER);
	cr_assert_eq(why.size, 10);
	cr_assert_eq(take_demand(&limit, &marked, 0, NULL), TAKE_NEVER);
	cr_assert_eq(why.size, 6);
	cr_assert_eq(take(&limit, UINT64_MAX, 0, NULL), TAKE_NEVER);
	cr_assert_eq(used_at(&limit, 0), 0);
	cr_assert_eq(take_demand(&limit, &last, 0, NULL), TAKE_ADMIT);
	verify(&limit, 0);
}

Test(rolling, those_ahead_are_to_have_theirs_first)
{
	struct limit limit = limit_of(10, SECOND, 0, 0);
	const struct demand second = {.units = 2, .ahead = 4}, last = {.units = 2, .ahead = 25};

	cr_assert_eq(take(&limit, 5, 0, NULL), TAKE_ADMIT);
	cr_assert_eq(take_demand(&limit, &second, 0, NULL), TAKE_WAIT);
	cr_assert_eq(why.left, 1);
	cr_assert(retry_ns() <= SECOND + SECOND / ROLLING_CELLS + 10);
	cr_assert_eq(take_demand(&limit, &last, 0, NULL), TAKE_WAIT);
	cr_assert(retry_ns() > 2 * SECOND && retry_ns() < 4 * SECOND);
	verify(&limit, 0);
}

Test(rolling, a_spent_one_admits_nothing_for_a_period)
{
	struct limit limit = {
		.seg = seg_make(4, 4), .period = MINUTE, .amount = 5, .used = 5, .born = YEAR};

	insert(&limit, 1);
	cr_assert_eq(take(&limit, 1, YEAR, NULL), TAKE_WAIT);
	cr_assert(retry_ns() > YEAR + MINUTE - MINUTE / ROLLING_CELLS);
	cr_assert_eq(take(&limit, 5, retry_ns(), NULL), TAKE_ADMIT);
	verify(&limit, YEAR + 2 * MINUTE);
}

Test(rolling, every_amount_and_period_fits_or_is_refused)
{
	static const struct {
		uint64_t period, most;
	} shapes[] = {
		{MS, (UINT64_C(1) << 15) - 1},        {SECOND, (UINT64_C(1) << 25) - 1},
		{MINUTE, (UINT64_C(1) << 30) - 1},    {MONTH, (UINT64_C(1) << 40) - 1},
		{400 * DAY, (UINT64_C(1) << 40) - 1},
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const uint64_t period = shapes[i].period, most = shapes[i].most;
		const uint64_t cell = rolling_cell_ticks(period, 0);

		cr_assert(rolling_pack(most, cell) != 0, "%zu", i);
		cr_assert_eq(rolling_pack(most + 1, cell), 0, "%zu", i);
		cr_assert_eq(rolling_pack(0, cell), 0);
		for (uint64_t year = 0; year <= 50; year += 10) {
			struct limit limit = limit_of(most, period, 0, year * YEAR);

			for (uint64_t k = 0; k < 3; k++) {
				const uint64_t now = year * YEAR + k * 2 * period;

				cr_assert_eq(take(&limit, most, now, NULL), TAKE_ADMIT);
				cr_assert_eq(take(&limit, 1, now, NULL), TAKE_WAIT);
				cr_assert(retry_ns() <= now + period + period / 20 + 1);
				cr_assert_eq(used_at(&limit, now), most);
			}
			verify(&limit, year * YEAR + 5 * period);
			discard(&limit);
		}
	}
	cr_assert_eq(rolling_pack(1, 0), 0);
}

/* --- clocks --- */

Test(rolling, a_clock_that_was_read_earlier_counts_later)
{
	struct limit limit = limit_of(10, 28 * SECOND, 0, 0);

	cr_assert_eq(take(&limit, 3, 0, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 2, 31 * SECOND, NULL), TAKE_ADMIT);
	/* At 29 s the cell of 0 s does not count any more, at 28 s it does. */
	cr_assert_eq(take(&limit, 6, 28 * SECOND, NULL), TAKE_WAIT);
	cr_assert_eq(take(&limit, 5, 28 * SECOND, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 4, 28 * SECOND, NULL), TAKE_WAIT);
	cr_assert_eq(take(&limit, 3, 29 * SECOND, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 1, 59 * SECOND, NULL), TAKE_WAIT);
	cr_assert_eq(retry_ns(), 60 * SECOND, "all of it counts at 31 s");
	verify(&limit, 59 * SECOND);
}

Test(rolling, a_clock_that_is_too_late_waits_and_one_beyond_belief_is_found)
{
	struct limit limit = limit_of(10, 28 * SECOND / 100, 0, 0);
	const uint64_t cell = SECOND / 100;

	cr_assert_eq(take(&limit, 3, 50 * cell, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 3, 46 * cell, NULL), TAKE_WAIT);
	cr_assert_eq(retry_ns(), 47 * cell);
	cr_assert_eq(why.left, 0);
	cr_assert_eq(take(&limit, 11, 46 * cell, NULL), TAKE_NEVER);
	cr_assert_eq(take(&limit, 3, 47 * cell, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 3, 300 * cell, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 3, 100 * cell, NULL), TAKE_CORRUPT);
	cr_assert_not(rolling_plausible(&limit.seg, limit.ref.bucket, 100 * cell * TICKS_PER_NS));
	verify(&limit, 300 * cell);
}

/* --- refunds, debts, corrections --- */

Test(rolling, a_refund_goes_to_its_own_cell)
{
	struct limit limit = limit_of(10, SECOND, 0, 0);
	struct charge_ref first, second, third;

	cr_assert_eq(take(&limit, 6, 0, &first), TAKE_ADMIT);
	cr_assert(rolling_give_back(&limit.seg, &first, 2));
	cr_assert_eq(used_at(&limit, 0), 4);
	cr_assert_eq(take(&limit, 6, SECOND / 2, &second), TAKE_ADMIT);
	cr_assert(rolling_give_back(&limit.seg, &first, 3));
	cr_assert_eq(used_at(&limit, SECOND / 2), 7, "in the ring");
	cr_assert_eq(take(&limit, 3, SECOND / 2, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 1, SECOND / 2, NULL), TAKE_WAIT);
	/* The place in the ring where `first` was is the one of another cell by now. */
	cr_assert_eq(take(&limit, 1, SECOND * 31 / 28 + SECOND / 100, &third), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 0, SECOND * 33 / 28, NULL), TAKE_ADMIT);
	cr_assert(rolling_give_back(&limit.seg, &first, 6));
	cr_assert_eq(used_at(&limit, SECOND * 33 / 28), 10);
	cr_assert(rolling_give_back(&limit.seg, &second, UINT64_MAX));
	cr_assert_eq(used_at(&limit, SECOND * 33 / 28), 4, "at most its own");
	verify(&limit, SECOND * 2);
}

/* As a worker leaves it that was killed after it had sealed the head. */
static void seal(const struct limit *limit)
{
	shm_store(&hot_of(limit)->state[0], shm_load(&hot_of(limit)->state[0]) | UINT64_C(1) << 63);
}

Test(rolling, a_sealed_head_is_rolled_by_whoever_comes)
{
	struct limit limit = limit_of(10, 28 * SECOND, 0, 0);
	struct charge_ref charge;

	cr_assert_eq(take(&limit, 6, 0, &charge), TAKE_ADMIT);
	seal(&limit);
	verify(&limit, 0);
	cr_assert_eq(used_at(&limit, 0), 6);
	cr_assert_eq(take(&limit, 5, 0, NULL), TAKE_WAIT);
	cr_assert(rolling_give_back(&limit.seg, &charge, 1), "to a sealed one");
	cr_assert_eq(take(&limit, 5, SECOND, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 1, SECOND, NULL), TAKE_WAIT);
	seal(&limit);
	cr_assert_eq(take(&limit, 10, 31 * SECOND, NULL), TAKE_ADMIT, "a period later");
	cr_assert_eq(used_at(&limit, 31 * SECOND), 10);
	seal(&limit);
	cr_assert(rolling_debit(&limit.seg, &charge, 3, 31 * SECOND * TICKS_PER_NS));
	cr_assert_eq(used_at(&limit, 31 * SECOND), 13);
	verify(&limit, 32 * SECOND);
}

Test(rolling, debts_saturate_and_last_a_period)
{
	struct limit limit = limit_of(10, SECOND, 0, 0);
	struct charge_ref charge;

	cr_assert_eq(take(&limit, 6, 0, &charge), TAKE_ADMIT);
	cr_assert(rolling_debit(&limit.seg, &charge, 30, SECOND / 2 * TICKS_PER_NS));
	cr_assert_eq(used_at(&limit, SECOND / 2), 36);
	cr_assert_eq(take(&limit, 1, SECOND / 2, NULL), TAKE_WAIT);
	cr_assert_eq(why.left, 0);
	cr_assert(retry_ns() > SECOND + SECOND / 2, "from when it was known");
	cr_assert(rolling_debit(&limit.seg, &charge, UINT64_MAX, SECOND / 2 * TICKS_PER_NS));
	cr_assert(rolling_debit(&limit.seg, &charge, UINT64_MAX, SECOND / 2 * TICKS_PER_NS));
	cr_assert_eq(take(&limit, 1, SECOND / 2, NULL), TAKE_WAIT);
	cr_assert(retry_ns() < SECOND * 2, "and no later");
	cr_assert_eq(take(&limit, 10, retry_ns(), NULL), TAKE_ADMIT);
	charge.generation++;
	cr_assert_not(rolling_debit(&limit.seg, &charge, 1, SECOND / 2 * TICKS_PER_NS));
	verify(&limit, SECOND * 2);
}

static bool correct(struct limit *limit, uint64_t used, uint64_t now)
{
	uint64_t units;

	return rolling_correct(&limit->seg, limit->ref.bucket, limit->ref.generation, used,
			       now * TICKS_PER_NS, &units);
}

Test(rolling, what_the_vendor_knows_better_is_not_refunded)
{
	struct limit limit = limit_of(10, DAY, 0, 0);
	struct charge_ref old, recent, young;

	cr_assert_eq(take(&limit, 2, 0, &old), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 2, DAY / 2, &recent), TAKE_ADMIT);
	cr_assert(correct(&limit, 3, DAY / 2));
	cr_assert_eq(used_at(&limit, DAY / 2), 4, "never lower");
	cr_assert(correct(&limit, 7, DAY / 2));
	cr_assert_eq(used_at(&limit, DAY / 2), 7);
	cr_assert(rolling_give_back(&limit.seg, &old, 2));
	cr_assert(rolling_give_back(&limit.seg, &recent, 2));
	cr_assert_eq(used_at(&limit, DAY / 2), 7);
	cr_assert_eq(take(&limit, 2, DAY * 3 / 4, &young), TAKE_ADMIT);
	cr_assert(rolling_give_back(&limit.seg, &recent, 2));
	cr_assert_eq(used_at(&limit, DAY * 3 / 4), 9);
	cr_assert(rolling_give_back(&limit.seg, &young, 2));
	cr_assert_eq(used_at(&limit, DAY * 3 / 4), 7);
	cr_assert(correct(&limit, 8, DAY * 9 / 8), "when the first 2 are over");
	cr_assert_eq(used_at(&limit, DAY * 9 / 8), 8);
	limit.ref.generation++;
	cr_assert_not(correct(&limit, 9, DAY));
	verify(&limit, DAY * 9 / 8);
}

static uint64_t credit(struct limit *limit, uint64_t used, uint64_t late, uint64_t now)
{
	uint64_t units;

	(void)rolling_credit(&limit->seg, limit->ref.bucket, limit->ref.generation, used,
			     late * TICKS_PER_NS, now * TICKS_PER_NS, &units);
	return units;
}

/* What came after it fills all that counts now. */
Test(rolling, what_the_vendor_knew_long_ago_gives_nothing_back)
{
	struct limit limit = limit_of(10, SECOND, 0, YEAR);

	cr_assert_eq(take(&limit, 3, YEAR + DAY, NULL), TAKE_ADMIT);
	cr_assert_eq(credit(&limit, 0, YEAR, YEAR + DAY), 0);
	cr_assert_eq(credit(&limit, 0, YEAR + DAY - SECOND, YEAR + DAY), 0);
	cr_assert_eq(credit(&limit, 0, YEAR + DAY + SECOND / 20, YEAR + DAY + SECOND / 20), 3);
	verify(&limit, YEAR + DAY + SECOND / 20);
}

Test(rolling, a_head_that_was_scribbled_far_ahead_is_not_counted_to, .timeout = 20)
{
	struct limit limit = limit_of(10, SECOND, 0, YEAR);

	cr_assert_eq(take(&limit, 3, YEAR, NULL), TAKE_ADMIT);
	shm_store(&hot_of(&limit)->state[0], INT64_MAX);
	cr_assert_eq(credit(&limit, 1, YEAR, YEAR), 0);
	cr_assert_not(rolling_plausible(&limit.seg, limit.ref.bucket, YEAR * TICKS_PER_NS));
}

/* --- pace --- */

Test(rolling, a_paced_limit_is_spread_evenly)
{
	struct limit limit = limit_of(100, 280 * SECOND, 0, 0);
	uint64_t now = YEAR, admitted = 0, kept = 0;

	limit.flags = LINK_PACED;
	for (int i = 0; i < 100000 && now < YEAR + 2800 * SECOND; i++) {
		if (take(&limit, 1, now, NULL) == TAKE_ADMIT) {
			admitted++;
			continue;
		}
		cr_assert(retry_ns() > now && retry_ns() <= now + 3 * SECOND);
		kept += why.left > 0;
		now = retry_ns() + below(20 * MS);
	}
	/* Coming a little late costs nothing: 100 in each 290 s. */
	cr_assert(admitted >= 960 && admitted <= 967, "%lu", admitted);
	cr_assert(kept > admitted / 2, "%lu waited for their turn, not for room", kept);
	cr_assert_eq(take(&limit, 1, now + MINUTE, NULL), TAKE_ADMIT);
	cr_assert_eq(take(&limit, 1, now + MINUTE, NULL), TAKE_WAIT,
		     "an idle time is not made up for");
	verify(&limit, now + MINUTE);
}

Test(rolling, a_pace_from_the_future_is_none)
{
	struct limit limit = limit_of(100, SECOND, 0, 0);

	limit.flags = LINK_PACED;
	shm_store(&hot_of(&limit)->state[2], DAY * TICKS_PER_NS);
	cr_assert_not(rolling_plausible(&limit.seg, limit.ref.bucket, 0));
	cr_assert_eq(take(&limit, 1, SECOND, NULL), TAKE_ADMIT);
	verify(&limit, SECOND);
}

/* --- against an exact log of a vendor with a clock and a network of its own --- */

struct sent {
	struct charge_ref charge;
	size_t arrival;
};

#define RUN 800

struct run {
	struct limit limit;
	struct vendor vendor;
	uint64_t skew; /* that its clock is ahead */
	uint64_t most; /* the largest amount so far */
	struct sent open[RUN];
	size_t n_open;
};

/* Nothing before retry_at would do; at it the same is admitted. */
static void check_retry(const struct limit *limit, uint64_t units, uint64_t now)
{
	const struct demand demand = {.units = units};
	const uint64_t then = retry_ns();
	const uint64_t times[] = {then - 1, now + below(then - now), then};

	cr_assert(then > now, "RATION_SEED=%lu", seed_used);
	for (int i = 0; i < 3; i++) {
		struct taken taken;
		struct link link;

		cr_assert_eq(look(limit, &demand, times[i], &link, &taken),
			     i == 2 ? TAKE_ADMIT : TAKE_WAIT, "RATION_SEED=%lu", seed_used);
	}
}

static void run_take(struct run *run, uint64_t now)
{
	struct limit *limit = &run->limit;
	const uint64_t units = below(limit->amount + 1) / (1 + below(20));
	/* Some looked at the clock a while ago. */
	const uint64_t cell = cell_of(limit) / TICKS_PER_NS;
	const uint64_t seen = below(3) || now < 4 * cell ? now : now - below(2 * cell);
	struct sent sent;
	const enum take result = take(limit, units, seen, &sent.charge);

	if (result == TAKE_ADMIT) {
		const uint64_t delay = below(3) ? below(limit->delay + 1) : limit->delay;

		sent.arrival = arrive(&run->vendor, seen + run->skew + delay, units);
		run->open[run->n_open++] = sent;
		return;
	}
	cr_assert_eq(result, TAKE_WAIT, "RATION_SEED=%lu", seed_used);
	if (seen == now)
		check_retry(limit, units, now);
}

/* A request that was charged and needed less, or never left. */
static void run_give_back(struct run *run)
{
	const size_t k = below(run->n_open);
	struct sent *sent = &run->open[k];
	const uint64_t back = below(sent->charge.units + 1);

	cr_assert(rolling_give_back(&run->limit.seg, &sent->charge, back));
	run->vendor.arrivals[sent->arrival].units -= back;
	*sent = run->open[--run->n_open];
}

static void run_debit(struct run *run, uint64_t now)
{
	const struct charge_ref charge = {.bucket = run->limit.ref.bucket,
					  .generation = run->limit.ref.generation};

	cr_assert(rolling_debit(&run->limit.seg, &charge, below(5), now * TICKS_PER_NS));
}

static void run_retune(struct run *run)
{
	struct limit *limit = &run->limit;

	limit->amount = 1 + below(below(2) ? 20 : 3000);
	shm_store(&hot_of(limit)->numbers, rolling_pack(limit->amount, cell_of(limit)));
	run->most = limit->amount > run->most ? limit->amount : run->most;
}

static uint64_t next_time(const struct limit *limit, uint64_t now)
{
	const uint64_t cell = cell_of(limit) / TICKS_PER_NS;

	switch (below(6)) {
	case 0:
		return now + below(limit->period) / (1 + below(60));
	case 1:
		return now + below(cell + 1);
	case 2: /* to the edge of a cell, or just before it */
		return now + cell - now % cell - below(2);
	default:
		return now;
	}
}

static void vendor_run(bool retune)
{
	const uint64_t period = MS * (1 + below(below(2) ? 100 : 100000));
	const uint64_t amount = 1 + below(below(2) ? 20 : 3000);
	uint64_t now = below(50 * YEAR);
	struct run run = {
		.limit = limit_of(amount, period, below(2) ? below(period / 4) : 0, now),
		.skew = below(period),
		.most = amount,
	};

	for (int i = 0; i < RUN; i++) {
		now = next_time(&run.limit, now);
		if (run.n_open > 0 && below(5) == 0)
			run_give_back(&run);
		else if (retune && below(40) == 0)
			run_retune(&run);
		else if (below(50) == 0)
			run_debit(&run, now);
		else
			run_take(&run, now);
	}
	cr_assert(worst(&run.vendor, period) <= run.most, "over at the vendor: RATION_SEED=%lu",
		  seed_used);
	verify(&run.limit, now);
	discard(&run.limit);
	free(run.vendor.arrivals);
}

Test(rolling, a_vendor_with_another_clock_and_a_slow_network_never_counts_too_much)
{
	seed(20261123);
	for (int i = 0; i < 600; i++)
		vendor_run(false);
}

Test(rolling, nor_while_the_numbers_change)
{
	seed(7);
	for (int i = 0; i < 600; i++)
		vendor_run(true);
}

/* --- how much of what the vendor allows is used --- */

/* Whoever wants all that there is, in costs of `units`: what is wasted of the vendor's amount, in thousandths. */
static uint64_t waste(uint64_t amount, uint64_t period, uint64_t delay, uint64_t units)
{
	const uint64_t born = YEAR + below(period), periods = 40;
	struct limit limit = limit_of(amount, period, delay, born);
	struct vendor vendor = {0};
	uint64_t admitted = 0, now = born;

	while (now - born < periods * period) {
		if (take(&limit, units, now, NULL) != TAKE_ADMIT) {
			now = retry_ns();
			continue;
		}
		admitted += units;
		(void)arrive(&vendor, now + below(delay + 1), units);
	}
	cr_assert(worst(&vendor, period) <= amount);
	verify(&limit, now);
	discard(&limit);
	free(vendor.arrivals);
	return 1000 - admitted * 1000 / (amount * periods);
}

Test(rolling, at_most_a_twentieth_is_wasted)
{
	seed(5);
	cr_assert(waste(1000, SECOND, 0, 1) <= 50);
	cr_assert(waste(100, 10 * SECOND, 50 * MS, 1) <= 50);
	cr_assert(waste(60, MINUTE, 50 * MS, 1) <= 50);
	cr_assert(waste(100000, DAY, 50 * MS, 10) <= 50);
	cr_assert(waste(10, MONTH, 50 * MS, 1) <= 50);
	cr_assert(waste(1, MINUTE, 50 * MS, 1) <= 50);
	cr_assert(waste(30000, MINUTE, SECOND / 2, 30) <= 50);
}

/* A steady stream that asks for somewhat more than there is. */
Test(rolling, of_a_steady_stream_no_more_is_wasted)
{
	const uint64_t amount = 1000, period = 10 * SECOND, born = YEAR;
	struct limit limit = limit_of(amount, period, 0, born);
	struct vendor vendor = {0};
	uint64_t admitted = 0;

	for (uint64_t now = born; now < born + 40 * period; now += period / (amount * 11 / 10)) {
		if (take(&limit, 1, now, NULL) == TAKE_ADMIT) {
			admitted++;
			(void)arrive(&vendor, now, 1);
		}
	}
	cr_assert(worst(&vendor, period) <= amount);
	cr_assert(admitted >= amount * 40 * 95 / 100, "%lu", admitted);
	discard(&limit);
	free(vendor.arrivals);
}

Test(rolling, a_million_a_second)
{
	const uint64_t amount = 1000000, born = 50 * YEAR;
	struct limit limit = limit_of(amount, SECOND, 0, born);
	struct vendor vendor = {0};
	uint64_t now = born;

	while (now - born < 3 * SECOND) {
		if (take(&limit, 1, now, NULL) == TAKE_ADMIT) {
			(void)arrive(&vendor, now, 1);
			now += 1000;
		} else {
			now = retry_ns();
		}
	}
	cr_assert(vendor.n >= 3 * amount * 95 / 100, "%zu", vendor.n);
	cr_assert(worst(&vendor, SECOND) <= amount);
	verify(&limit, now);
	free(vendor.arrivals);
}

/* --- processes --- */

#define TAKEN 4000

struct race {
	struct limit limit;
	shm_word now;
	shm_word n;
	struct {
		shm_word at, units;
	} taken[4 * TAKEN];
};

/* The clock goes on with every attempt of anybody. */
static void race(struct seg *seg, int who, void *user)
{
	struct race *shared = user;
	struct limit limit = shared->limit;

	(void)who;
	for (int i = 0; i < TAKEN; i++) {
		const uint64_t now = shm_add(&shared->now, limit.period / 300);
		const uint64_t units = 1 + (uint64_t)i % 3;
		struct charge_ref charge;
		uint64_t n;

		if (take(&limit, units, now, &charge) != TAKE_ADMIT)
			continue;
		if (i % 5 == 0 && rolling_give_back(seg, &charge, units))
			continue;
		n = shm_add(&shared->n, 1);
		shm_store(&shared->taken[n].at, now);
		shm_store(&shared->taken[n].units, units);
	}
}

Test(rolling, processes_together_are_never_over)
{
	struct vendor vendor = {0};
	struct race *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(shared != MAP_FAILED);
	shared->limit = limit_of(50, SECOND, 0, YEAR);
	shm_store(&shared->now, YEAR);
	seg_race(&shared->limit.seg, 4, race, shared);
	for (uint64_t i = 0; i < shared->n; i++)
		(void)arrive(&vendor, shared->taken[i].at, shared->taken[i].units);
	cr_assert(vendor.n > 0);
	cr_assert(worst(&vendor, SECOND) <= 50);
	verify(&shared->limit, shared->now);
	free(vendor.arrivals);
}

/* --- lives --- */

Test(rolling, a_record_is_reclaimed_when_nothing_counts_any_more)
{
	struct limit limit = limit_of(10, SECOND, 0, 0), other;
	struct charge_ref charge;

	cr_assert_eq(take(&limit, 3, SECOND, &charge), TAKE_ADMIT);
	cr_assert_not(rolling_close(&limit.seg, limit.ref.bucket, 2 * SECOND * TICKS_PER_NS));
	cr_assert_eq(take(&limit, 3, SECOND, NULL), TAKE_ADMIT);
	cr_assert(rolling_close(&limit.seg, limit.ref.bucket, 3 * SECOND * TICKS_PER_NS));
	cr_assert_eq(take(&limit, 1, 3 * SECOND, NULL), TAKE_STALE);
	/* The next life, in the same words and at the same time. */
	shm_half_store(&hot_of(&limit)->generation, limit.ref.generation + 1);
	limit.born = 3 * SECOND;
	shm_store(&hot_of(&limit)->state[0],
		  fill(&limit.seg, limit.ref.bucket,
		       (uint32_t)(shm_load(&hot_of(&limit)->state[3]) >> 32), &limit));
	cr_assert_eq(take(&limit, 1, 3 * SECOND, NULL), TAKE_STALE);
	cr_assert(rolling_give_back(&limit.seg, &charge, 3));
	cr_assert_not(rolling_debit(&limit.seg, &charge, 3, 3 * SECOND * TICKS_PER_NS));
	other = limit;
	other.ref.generation++;
	cr_assert_eq(used_at(&other, 3 * SECOND), 0);
	cr_assert_eq(take(&other, 10, 3 * SECOND, NULL), TAKE_ADMIT);
	verify(&other, 3 * SECOND);
}

/* Who looked in one life and charges in the next finds the same head. */
Test(rolling, what_was_looked_at_in_an_earlier_life_is_not_charged)
{
	struct limit limit = limit_of(10, SECOND, 0, SECOND);
	const struct demand demand = {.units = 3};
	const struct instant at = {.now = SECOND * TICKS_PER_NS};
	struct taken taken;
	struct link link;

	cr_assert_eq(look(&limit, &demand, SECOND, &link, &taken), TAKE_ADMIT);
	cr_assert(rolling_close(&limit.seg, limit.ref.bucket, SECOND * TICKS_PER_NS));
	shm_half_store(&hot_of(&limit)->generation, ++limit.ref.generation);
	shm_store(&hot_of(&limit)->state[0],
		  fill(&limit.seg, limit.ref.bucket,
		       (uint32_t)(shm_load(&hot_of(&limit)->state[3]) >> 32), &limit));
	cr_assert_eq(rolling_charge(&limit.seg, &link, &demand, &at, &taken, &why), TAKE_STALE);
	cr_assert_eq(used_at(&limit, SECOND), 0);
	verify(&limit, SECOND);
}

/* --- scribbles --- */

static void repaired(struct limit *limit, uint64_t now, bool pace)
{
	const uint64_t ticks = now * TICKS_PER_NS;
	const uint32_t bucket = limit->ref.bucket;
	uint64_t again;

	cr_assert_not(rolling_plausible(&limit->seg, bucket, ticks));
	cr_assert(rolling_repair(&limit->seg, bucket, cell_of(limit), ticks));
	cr_assert(rolling_plausible(&limit->seg, bucket, ticks));
	cr_assert_not(rolling_repair(&limit->seg, bucket, cell_of(limit), ticks));
	/* All of it is spent, but where nothing but the pace was wrong. */
	cr_assert(used_at(limit, now) >= limit->amount || pace);
	cr_assert_eq(take(limit, limit->amount, now, NULL), TAKE_WAIT);
	again = retry_ns();
	cr_assert(again < now + 2 * limit->period);
	cr_assert_eq(take(limit, limit->amount, again, NULL), TAKE_ADMIT);
	verify(limit, again);
}

Test(rolling, any_scribbled_word_is_found_or_harmless)
{
	seed(99);
	for (int i = 0; i < 400; i++) {
		struct limit limit = limit_of(10, SECOND, 0, YEAR);
		const uint64_t now = YEAR + below(3 * SECOND);
		const uint32_t lines = (uint32_t)(shm_load(&hot_of(&limit)->state[3]) >> 32);
		const uint64_t place = below(3 + 8 * ROLLING_LINES);
		shm_word *word = place < 3 ? &hot_of(&limit)->state[place]
					   : &limit.seg.extents[lines].word[place - 3];
		struct charge_ref charge = {limit.ref.bucket, limit.ref.generation, 1, 0, {0}, 0};

		cr_assert_eq(take(&limit, 3, now, &charge), TAKE_ADMIT);
		shm_store(word, below(2) ? draw() : draw() >> below(64));
		(void)take(&limit, 1, now + below(SECOND), NULL);
		(void)rolling_give_back(&limit.seg, &charge, 1);
		(void)rolling_debit(&limit.seg, &charge, 1, now * TICKS_PER_NS);
		(void)correct(&limit, 5, now);
		(void)credit(&limit, 1, now - SECOND, now);
		(void)used_at(&limit, now);
		if (!rolling_plausible(&limit.seg, limit.ref.bucket, (now + SECOND) * TICKS_PER_NS))
			repaired(&limit, now + SECOND, place == 2);
		discard(&limit);
	}
}

Test(rolling, a_record_without_its_extent_is_corrupt)
{
	struct limit limit = limit_of(10, SECOND, 0, 0);

	shm_store(&hot_of(&limit)->state[3], 0);
	cr_assert_eq(take(&limit, 1, 0, NULL), TAKE_CORRUPT);
	cr_assert_not(rolling_plausible(&limit.seg, limit.ref.bucket, 0));
	cr_assert_not(rolling_repair(&limit.seg, limit.ref.bucket, cell_of(&limit), 0));
}
