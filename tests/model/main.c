/*
 * tests/model/main.c - explores the scenarios of one area
 * SPDX-License-Identifier: MIT
 *
 * Usage: AREA [--all] [--hunt] [--compare] [WORDS]
 *	--all		the long form too
 *	--hunt		a violation is expected: look for one with few preemptions first, stop at it
 *	--compare	explore once more without reductions, which must come to as many different ends
 *	WORDS		only scenarios that are about them
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "search.h"

const struct scenario *scenario;

static struct {
	bool all, hunting, comparing;
	const char *only;
} asked;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A violation with as few preemptions as there are; true if there is one. */
static bool hunt(unsigned from, unsigned up_to)
{
	for (unsigned bound = from; bound <= up_to; bound++) {
		const struct result result = search_scenario(&(struct search_how){.bound = bound});

		if (!result.ok && !result.too_large)
			return true;
	}
	return false;
}

/*
 * Most mistakes need few preemptions, and are easiest to understand with few. So those go first; it
 * also finds most of the contention before the large exploration.
 */
#define EARLY_PREEMPTIONS 1
#define HUNT_PREEMPTIONS  3

static struct result explore_all(void)
{
	struct search_how how = {.bound = UNBOUNDED, .quietly = !asked.hunting};
	struct result result;

	if (scenario->preemptions)
		how.bound = scenario->preemptions;
	result = search_scenario(&how);
	if (!result.ok && !result.too_large && how.quietly &&
	    !hunt(EARLY_PREEMPTIONS + 1, HUNT_PREEMPTIONS)) {
		how.quietly = false;
		(void)search_scenario(&how);
	}
	return result;
}

/* As many ends without any reduction. */
static bool compare(const struct result *with)
{
	const struct result without =
		search_scenario(&(struct search_how){.bound = UNBOUNDED, .plain = true});

	if (without.ok && without.ends != with->ends)
		printf("    violation: %llu ends without reductions, %llu with them\n",
		       (unsigned long long)without.ends, (unsigned long long)with->ends);
	return without.too_large || (without.ok && without.ends == with->ends);
}

/* True: what must hold holds. */
static bool run(void)
{
	const double began = seconds();
	struct result result = {.ok = false};

	search_forget();
	if (!hunt(0, asked.hunting ? HUNT_PREEMPTIONS : EARLY_PREEMPTIONS))
		result = explore_all();
	if (asked.comparing && result.ok && !scenario->preemptions)
		result.ok = compare(&result);
	result.seconds = seconds() - began;
	report_scenario(&result);
	return result.ok;
}

static void read_arguments(char **argv)
{
	for (; *argv; argv++) {
		asked.all = asked.all || strcmp(*argv, "--all") == 0;
		asked.hunting = asked.hunting || strcmp(*argv, "--hunt") == 0;
		asked.comparing = asked.comparing || strcmp(*argv, "--compare") == 0;
		if (**argv != '-')
			asked.only = *argv;
	}
}

int main(int argc, char **argv)
{
	unsigned tested = 0, passed = 0;

	(void)argc;
	read_arguments(argv + 1);
	for (scenario = model.scenarios; scenario->about; scenario++) {
		if ((scenario->longer && !asked.all) ||
		    (asked.only && !strstr(scenario->about, asked.only)))
			continue;
		tested++;
		passed += run();
		if (asked.hunting && passed < tested)
			break;
	}
	printf("%s: Tested: %u | Passing: %u | Failing: %u | Crashing: 0\n", model.area, tested,
	       passed, tested - passed);
	return tested == 0 || passed < tested;
}
