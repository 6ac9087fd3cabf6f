/*
 * tests/test_http_timers.c - the heap of timers, against sorting
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "http/timers.h"

enum {
	N = 300,
	STEPS = 20000,
};

struct order {
	uint64_t last;
	int fired;
};

static void note(struct timer *timer, void *user)
{
	struct order *order = user;

	cr_assert_geq(timer->at_ns, order->last);
	cr_assert_eq(timer->slot, 0);
	order->last = timer->at_ns;
	order->fired++;
}

static uint64_t earliest(const struct timer *all)
{
	uint64_t at = TIME_NEVER;

	for (int i = 0; i < N; i++)
		if (all[i].slot && all[i].at_ns < at)
			at = all[i].at_ns;
	return at;
}

static void check(const struct timers *timers)
{
	for (size_t i = 1; i <= timers->n; i++) {
		cr_assert_eq(timers->heap[i]->slot, i);
		cr_assert(i == 1 || timers->heap[i / 2]->at_ns <= timers->heap[i]->at_ns);
	}
}

Test(http_timers, setting_and_clearing_at_random_keeps_them_in_order)
{
	struct timer all[N] = {0};
	struct timers timers = {0};
	unsigned seed = (unsigned)time(NULL);
	struct order order = {0};

	cr_log_info("seed %u", seed);
	srand(seed);
	for (int i = 0; i < N; i++)
		all[i].fire = note;
	for (int i = 0; i < STEPS; i++) {
		struct timer *timer = &all[rand() % N];

		if (rand() % 3)
			cr_assert_eq(timers_set(&timers, timer, (uint64_t)(rand() % 1000)), 0);
		else
			timers_clear(&timers, timer);
		cr_assert_eq(timers_next(&timers), earliest(all), "seed %u, step %d", seed, i);
		if (i % 100 == 0)
			check(&timers);
	}
	order.fired = -(int)timers.n;
	while (timers_fire(&timers, 1000, &order))
		;
	cr_expect_eq(order.fired, 0);
	cr_expect_eq(timers_next(&timers), TIME_NEVER);
	timers_free(&timers);
}

Test(http_timers, only_what_is_due_fires)
{
	struct timer early = {.fire = note}, late = {.fire = note};
	struct timers timers = {0};
	struct order order = {0};

	cr_assert_eq(timers_set(&timers, &late, 20), 0);
	cr_assert_eq(timers_set(&timers, &early, 10), 0);
	cr_expect_not(timers_fire(&timers, 9, &order));
	cr_expect(timers_fire(&timers, 10, &order));
	cr_expect_not(timers_fire(&timers, 19, &order));
	cr_expect_eq(timers_next(&timers), 20);
	timers_free(&timers);
}
