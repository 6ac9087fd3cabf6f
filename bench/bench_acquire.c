/*
 * bench/bench_acquire.c - what a permit costs, beside what it cannot cost less than
 * SPDX-License-Identifier: MIT
 *
 * Everything here is the public API of libration on an embedded segment (the same memory and the
 * same code as with a supervisor). See bench/README for what the figures mean.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <ration/ration.h>

#include "support_floors.h"
#include "support_redis.h"
#include "support_report.h"

/* Tickets that an operation prepares or leaves: few, so that they stay in the cache. */
enum { HELD = 32 };

static struct ration *ration;
static struct ration_handle *one, *five, *spent;
static struct ration_ticket tickets[HELD];
static struct ration_handle *resolved[HELD];

static const struct ration_cost cost_2 = {"requests", 2}, cost_1 = {"requests", 1};

static _Noreturn void give_up(const char *what, int code)
{
	fprintf(stderr, "bench: %s: %s\n", what, ration_strerror(code));
	redis_stop();
	exit(EXIT_FAILURE);
}

static struct ration_handle *resolve(const char *tenant, const char *vendor)
{
	const struct ration_key key = {tenant, vendor, "interactive", "account", "resource"};
	struct ration_handle *handle;
	struct ration_error error;
	const int result = ration_resolve(ration, &key, &handle, &error);

	if (result != 0)
		give_up(error.text, result);
	return handle;
}

/* --- acquire --- */

static void acquire(struct ration_handle *handle, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const int result = ration_acquire(handle, NULL, 0, &tickets[0], NULL);

		if (result != 0 && result != RATION_CONTENDED)
			give_up("acquire", result);
	}
}

static void acquire_one(unsigned n)
{
	acquire(one, n);
}

static void acquire_five(unsigned n)
{
	acquire(five, n);
}

static void denied(struct ration_denial *denial, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const int result = ration_acquire(spent, NULL, 0, &tickets[0], denial);

		if (result != RATION_DENIED)
			give_up("acquire that must be denied", result);
	}
}

static void deny(unsigned n)
{
	denied(NULL, n);
}

static void deny_and_explain(unsigned n)
{
	struct ration_denial denial;

	denied(&denial, n);
}

/* --- settle and cancel: tickets of 2 units are prepared --- */

static void hold(struct ration_handle *handle, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const int result = ration_acquire(handle, &cost_2, 1, &tickets[i], NULL);

		if (result != 0)
			give_up("acquire", result);
	}
}

static void hold_one(unsigned n)
{
	hold(one, n);
}

static void hold_five(unsigned n)
{
	hold(five, n);
}

static void settle(unsigned n, const struct ration_cost *actual)
{
	for (unsigned i = 0; i < n; i++) {
		const int result = ration_settle(ration, &tickets[i], actual, 1);

		if (result != 0)
			give_up("settle", result);
	}
}

static void settle_as_estimated(unsigned n)
{
	settle(n, &cost_2);
}

static void settle_for_less(unsigned n)
{
	settle(n, &cost_1);
}

static void settle_for_more(unsigned n)
{
	static const struct ration_cost cost_3 = {"requests", 3};

	settle(n, &cost_3);
}

static void cancel(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const int result = ration_cancel(ration, &tickets[i]);

		if (result != 0)
			give_up("cancel", result);
	}
}

/* --- resolve --- */

static void resolve_known(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		resolved[i] = resolve("acme", "five");
}

static void resolve_new(unsigned n)
{
	static unsigned serial;
	char tenant[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(tenant, sizeof(tenant), "tenant-%u", serial++);
		resolved[i] = resolve(tenant, "one");
	}
}

static void free_resolved(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ration_handle_free(&resolved[i]);
}

/* --- all of it --- */

enum {
	TIMER,
	CLOCK,
	CAS,
	FLOOR,
	GCRA,
	MUTEX,
	ACQUIRE_ONE,
	ACQUIRE_FIVE,
	DENY,
	DENY_AND_EXPLAIN,
	SETTLE_AS_ESTIMATED,
	SETTLE_FOR_LESS,
	SETTLE_FOR_MORE,
	CANCEL_ONE,
	CANCEL_FIVE,
	RESOLVE_KNOWN,
	RESOLVE_NEW,
	REDIS,
	OPERATIONS,
};

#define PAIRS .together = true, .singles = 500

static struct operation ops[OPERATIONS] = {
	[TIMER] = {"timer", NULL, 1000, .run = floor_nothing, .singles = 500},
	[CLOCK] = {"clock", "one clock read", 1000, .run = floor_clock, .together = true},
	[CAS] = {"cas", "one compare-and-swap", 1000, .run = floor_cas, .together = true},
	[FLOOR] = {"clock_cas", "both: the floor", 1000, .run = floor_clock_cas, PAIRS},
	[GCRA] = {"gcra", "GCRA alone, time passed in", 1000, .run = floor_gcra, .together = true},
	[MUTEX] = {"mutex", "robust mutex, clock read, GCRA", 1000, .run = floor_mutex, PAIRS},
	[ACQUIRE_ONE] = {"acquire_1", "acquire, chain of 1", 1000, .run = acquire_one, PAIRS},
	[ACQUIRE_FIVE] = {"acquire_5", "acquire, chain of 5", 1000, .run = acquire_five, PAIRS},
	[DENY] = {"deny", "denial", 1000, .run = deny, PAIRS},
	[DENY_AND_EXPLAIN] = {"deny_explain", "denial, with its explanation", 1000,
			      .run = deny_and_explain, PAIRS},
	[SETTLE_AS_ESTIMATED] = {"settle_same", "settle as estimated, chain of 1", HELD,
				 .before = hold_one, .run = settle_as_estimated},
	[SETTLE_FOR_LESS] = {"settle_less", "settle for less, chain of 1", HELD, .before = hold_one,
			     .run = settle_for_less},
	[SETTLE_FOR_MORE] = {"settle_more", "settle for more, chain of 1", HELD, .before = hold_one,
			     .run = settle_for_more},
	[CANCEL_ONE] = {"cancel_1", "cancel, chain of 1", HELD, .before = hold_one, .run = cancel},
	[CANCEL_FIVE] = {"cancel_5", "cancel, chain of 5", HELD, .before = hold_five,
			 .run = cancel},
	[RESOLVE_KNOWN] = {"resolve", "resolve, chain of 5", HELD, .run = resolve_known,
			   .after = free_resolved},
	[RESOLVE_NEW] = {"resolve_new", "resolve a new tenant (makes 1 bucket)", HELD, 20000,
			 .run = resolve_new, .after = free_resolved},
	[REDIS] = {"redis", "Redis, token bucket in Lua, unix socket", 20, 8000000,
		   .run = redis_acquire, .singles = 150, .together = true, .unbound = true},
};

static void start(void)
{
	struct ration_error error;
	const int result = ration_embed("bench/policy.yaml", &ration, &error);

	if (result != 0)
		give_up(error.text, result);
	one = resolve("acme", "one");
	five = resolve("acme", "five");
	spent = resolve("acme", "spent");
	if (ration_acquire(spent, NULL, 0, &tickets[0], NULL) != 0 || !floors_start())
		exit(EXIT_FAILURE);
}

static void stop(void)
{
	ration_handle_free(&one);
	ration_handle_free(&five);
	ration_handle_free(&spent);
	ration_detach(&ration);
}

static void show_targets(const struct report_setup *setup, const struct measured *m, bool redis)
{
	const unsigned n = setup->rounds;
	const struct target targets[] = {
		{"chain_of_1", "chain of 1, to one clock read plus one compare-and-swap",
		 rounds_ratio(&m[ACQUIRE_ONE], &m[FLOOR], ALONE, n), 1.5, false, "x"},
		{"chain_of_5", "chain of 5, to one clock read",
		 rounds_ratio(&m[ACQUIRE_FIVE], &m[CLOCK], ALONE, n), 3, false, "x"},
		{"redis", "Redis's p50, to a chain of 1",
		 redis ? report_percentile(setup, m, REDIS, ALONE, 500) /
				 rounds_median(&m[ACQUIRE_ONE], ALONE, n)
		       : NAN,
		 1000, true, "x"},
	};

	report_targets(setup, targets, sizeof(targets) / sizeof(targets[0]));
}

int main(int argc, char **argv)
{
	static struct measured m[OPERATIONS];
	struct report_setup setup = {
		.bench = "acquire",
		.rounds = 60,
		.timer = TIMER,
		.floor = FLOOR,
	};
	char machine[256];
	bool redis, ok;

	report_options(argc, argv, "What a permit costs, beside what it cannot cost less than.",
		       &setup);
	start();
	redis = redis_start();
	ok = rounds_run(ops, redis ? OPERATIONS : REDIS, setup.rounds, m);
	redis_stop();
	stop();
	if (!ok)
		return EXIT_FAILURE;
	report_machine(machine, sizeof(machine));
	if (!setup.json)
		printf("%s; Redis %s\nmedians of %u rounds; percentiles without the timer's own "
		       "%.0f ns\n\n",
		       machine, redis ? redis_version() : "not installed", setup.rounds,
		       (double)histogram_at(&m[TIMER].single[ALONE], 500));
	report_rows(&setup, ops, redis ? OPERATIONS : REDIS, m);
	show_targets(&setup, m, redis);
	return EXIT_SUCCESS;
}
