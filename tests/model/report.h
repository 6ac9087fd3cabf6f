/*
 * tests/model/report.h - the execution that is being explored, and what is said about it
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_MODEL_REPORT_H
#define RATION_MODEL_REPORT_H

#include <stdarg.h>

#include "explore.h"

struct access {
	uint32_t offset; /* NOWHERE: not to shared memory */
	uint32_t size;
	bool writes;
};

struct step {
	int actor;
	bool killed;
	struct access access;
	uint64_t before, after;
};

struct result {
	bool ok;
	bool too_large;
	double executions;
	uint64_t states;
	uint64_t ends;
	struct hash all_ends; /* which they are */
	double seconds;
	enum {
		NOT_COMPARED,
		COMPARED,
		TOO_LARGE_TO_COMPARE
	} compared; /* with a search without reductions */
};

/* Say nothing of violations: they are looked for again. */
void report_quietly(bool quietly);

size_t report_mark(void);
void report_rewind(size_t mark);

struct step *report_step(int actor, const struct access *access);
void report_outcome(struct step *step);
void report_kill(int actor);

void report_violation(const char *format, va_list args);
void report_dishonest(uint32_t offset);
void report_scenario(const struct result *result);

#endif
