/*
 * tests/model/report.c - the execution that is being explored, and what is said about it
 * SPDX-License-Identifier: MIT
 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STEPS_MAX 100000

static struct step path[STEPS_MAX];
static size_t n_steps;
static bool quiet;

void report_quietly(bool quietly)
{
	quiet = quietly;
}

size_t report_mark(void)
{
	return n_steps;
}

void report_rewind(size_t mark)
{
	n_steps = mark;
}

static struct step *next_step(void)
{
	if (n_steps == STEPS_MAX)
		abort();
	return &path[n_steps++];
}

struct step *report_step(int actor, const struct access *access)
{
	struct step *step = next_step();

	*step = (struct step){.actor = actor, .access = *access};
	if (access->offset != NOWHERE)
		step->before = world_value(access->offset, access->size);
	return step;
}

void report_outcome(struct step *step)
{
	if (step->access.offset != NOWHERE)
		step->after = world_value(step->access.offset, step->access.size);
}

void report_kill(int actor)
{
	*next_step() = (struct step){.actor = actor, .killed = true};
}

static void print_actor(const struct actor *actor)
{
	const char *between = "";

	for (const struct op *op = actor->ops; op < actor->ops + OPS_MAX && op->run; op++) {
		printf("%s", between);
		printf(op->name, (unsigned)op->a, (unsigned)op->b);
		between = ", ";
	}
}

static void print_actors(void)
{
	for (int i = 0; i < ACTORS_MAX && scenario->actors[i].ops[0].run; i++) {
		printf("%s", i ? " | " : "");
		print_actor(&scenario->actors[i]);
	}
}

static void print_step(const struct step *step)
{
	char name[64];

	if (step->access.offset == NOWHERE && !step->killed)
		return; /* it begins, ends, or has waited */
	printf("        %c  ", 'A' + step->actor);
	if (step->killed) {
		printf("killed\n");
		return;
	}
	world_name(step->access.offset, name, sizeof(name));
	printf("%-5s %-18s %" PRIx64, step->access.writes ? "write" : "read", name, step->before);
	if (step->after != step->before)
		printf(" -> %" PRIx64, step->after);
	printf("\n");
}

static void print_path(void)
{
	for (size_t i = 0; i < n_steps; i++) {
		/* The step that is being made shows what came of it so far. */
		if (i + 1 == n_steps && !path[i].killed)
			report_outcome(&path[i]);
		print_step(&path[i]);
	}
}

void report_violation(const char *format, va_list args)
{
	if (quiet)
		return;
	printf("    violation: ");
	vprintf(format, args);
	printf("\n      in ");
	print_actors();
	printf("\n");
	print_path();
}

void report_dishonest(uint32_t offset)
{
	char name[64];

	world_name(offset, name, sizeof(name));
	printf("    violation: something near %s was written to without a yield point\n", name);
}

static void print_bound(void)
{
	if (scenario->preemptions)
		printf("at most %u preemptions", scenario->preemptions);
	else
		printf("all interleavings");
	if (scenario->kills)
		printf(", %u killed anywhere", scenario->kills);
}

void report_scenario(const struct result *result)
{
	static const char *const compared[] = {
		[NOT_COMPARED] = "",
		[COMPARED] = " (the same ones without reductions)",
		[TOO_LARGE_TO_COMPARE] = " (too large without reductions)",
	};

	printf("  %-4s %s: ", result->ok ? "ok" : "FAIL", scenario->about);
	print_actors();
	printf(" (");
	print_bound();
	printf("): %.3g executions, %" PRIu64 " states, %" PRIu64 " ends%s, %.1f s%s\n",
	       result->executions, result->states, result->ends, compared[result->compared],
	       result->seconds, result->too_large ? "; TOO LARGE, not explored to its end" : "");
	fflush(stdout);
}
