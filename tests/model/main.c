/*
 * tests/model/main.c - explores the scenarios of one area
 * SPDX-License-Identifier: MIT
 *
 * Usage: AREA [--all] [--hunt] [--compare] [WORDS]
 *	--all		the long form too
 *	--hunt		a violation is expected: look for one, with few preemptions first. Exit status 1 if there is one
 *	--compare	explore once more without reductions, which must come to the same ends
 *	WORDS		only scenarios that are about them
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

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

/* Explore with at most so many preemptions. True: there is a violation, and it was told. */
static bool violated(unsigned bound)
{
	const struct result result = search_scenario(&(struct search_how){.bound = bound});

	return !result.ok && !result.too_large;
}

/*
 * Most mistakes need few preemptions, and are easiest to understand with few. So those go first; it
 * also finds most of the contention before the large exploration.
 */
#define EARLY_PREEMPTIONS 1
#define HUNT_PREEMPTIONS  3

static unsigned bound_of_all(void)
{
	return scenario->preemptions ? scenario->preemptions : UNBOUNDED;
}

/* All of it, quietly; a violation is then looked for again with as few preemptions as there are. */
static struct result explore_all(void)
{
	struct search_how how = {.bound = bound_of_all(), .quietly = true};
	struct result result;

	for (unsigned bound = 0; bound <= EARLY_PREEMPTIONS; bound++) {
		if (violated(bound))
			return (struct result){.ok = false};
	}
	result = search_scenario(&how);
	for (unsigned bound = EARLY_PREEMPTIONS + 1; !result.ok && !result.too_large; bound++) {
		if (violated(bound <= HUNT_PREEMPTIONS ? bound : how.bound) ||
		    bound > HUNT_PREEMPTIONS)
			break;
	}
	return result;
}

/* The same ends without any reduction. */
static void compare(struct result *with)
{
	const struct result without =
		search_scenario(&(struct search_how){.bound = UNBOUNDED, .plain = true});

	with->compared = without.too_large ? TOO_LARGE_TO_COMPARE : COMPARED;
	if (without.too_large)
		return;
	with->ok = without.ok && without.ends == with->ends &&
		   memcmp(&without.all_ends, &with->all_ends, sizeof(with->all_ends)) == 0;
	if (without.ok && !with->ok)
		printf("    violation: %llu ends without reductions, %llu with them\n",
		       (unsigned long long)without.ends, (unsigned long long)with->ends);
}

/* True: what must hold holds. */
static bool run(void)
{
	const double began = seconds();
	struct result result;

	search_forget();
	result = explore_all();
	if (asked.comparing && result.ok && !scenario->preemptions)
		compare(&result);
	result.seconds = seconds() - began;
	report_scenario(&result);
	return result.ok;
}

static bool is_asked_for(void)
{
	return (!scenario->longer || asked.all) &&
	       (!asked.only || strstr(scenario->about, asked.only));
}

/* Every scenario with few preemptions, then every one with more, until one has a violation. */
static bool hunt(void)
{
	for (unsigned bound = 0; bound <= HUNT_PREEMPTIONS + 1; bound++) {
		for (scenario = model.scenarios; scenario->about; scenario++) {
			search_forget();
			if (is_asked_for() &&
			    violated(bound <= HUNT_PREEMPTIONS ? bound : bound_of_all()))
				return true;
		}
	}
	return false;
}

/* --- whoever loops without an access never comes back to the search --- */

#define SECONDS_A_STEP 20 /* of CPU time */

static void look_whether_it_goes_on(int signal)
{
	static const char what[] = "    violation: an actor goes on for ever\n";
	static uint64_t steps_before;

	(void)signal;
	if (search_steps() == steps_before) {
		(void)!write(STDOUT_FILENO, what, sizeof(what) - 1);
		_exit(1);
	}
	steps_before = search_steps();
}

static void watch(void)
{
	static char stack[65536];
	const struct itimerval often = {{SECONDS_A_STEP, 0}, {SECONDS_A_STEP, 0}};
	const stack_t own = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = look_whether_it_goes_on, .sa_flags = SA_ONSTACK};

	sigaltstack(&own, NULL);
	sigaction(SIGVTALRM, &action, NULL);
	setitimer(ITIMER_VIRTUAL, &often, NULL);
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
	watch();
	if (asked.hunting)
		return hunt();
	for (scenario = model.scenarios; scenario->about; scenario++) {
		if (is_asked_for()) {
			tested++;
			passed += run();
		}
	}
	printf("%s: Tested: %u | Passing: %u | Failing: %u | Crashing: 0\n", model.area, tested,
	       passed, tested - passed);
	return tested == 0 || passed < tested;
}
