/*
 * bench/support_rounds.h - measure many operations so that they can be compared
 * SPDX-License-Identifier: MIT
 *
 * On a shared machine the same loop is 20 % slower one second later. So nothing is measured once
 * and compared with something measured then: a run is many short rounds, each round measures every
 * operation for a moment, and what is published is the median over the rounds of the ratio
 * *within* a round.
 *
 * Two things are measured of each operation: the time of a batch, which makes the clock's own cost
 * vanish (its mean is what ratios are made of), and, where percentiles are wanted, single
 * operations between two clock reads. The cost of those two reads is measured in the same way, as
 * an operation that does nothing, and shown.
 */
#ifndef RATION_BENCH_SUPPORT_ROUNDS_H
#define RATION_BENCH_SUPPORT_ROUNDS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/histogram.h"

enum { ROUNDS_MAX = 1000 };

/* Something to measure. State belongs to the process: a partner has its own after fork. */
struct operation {
	const char *id;             /* for --json */
	const char *text;           /* for people; NULL: not shown */
	unsigned batch;             /* operations between two clock reads */
	uint64_t budget_ns;         /* of a round; 0: 400 us */
	void (*before)(unsigned n); /* not timed; may be NULL */
	void (*run)(unsigned n);    /* timed */
	void (*after)(unsigned n);  /* not timed; may be NULL */
	unsigned singles;           /* timed one by one, in a round; 0: no percentiles */
	bool together;              /* measure it with two processes, too */
	bool unbound;               /* leave it to the kernel which CPU does what */
};

/* How many processes did it at once. */
enum company { ALONE, TOGETHER, COMPANIES };

struct measured {
	double ns[COMPANIES][ROUNDS_MAX]; /* of one operation; NAN: not measured in this round */
	struct histogram single[COMPANIES];
};

/*
 * Measures all operations, `rounds` times. Each process is bound to a CPU of its own (unless there
 * is a third that does the work); where two work at once, a round in which the other got less than
 * half as much done (somebody else had its CPU) is left out. Returns false after a message if the
 * partner could not be had.
 */
bool rounds_run(const struct operation *ops, unsigned n_ops, unsigned rounds, struct measured *ret);

/* Medians over the rounds; NAN if no round has both. */
double rounds_median(const struct measured *m, enum company company, unsigned rounds);
double rounds_ratio(const struct measured *m, const struct measured *to, enum company company,
		    unsigned rounds);

/* Rounds in which it was measured. */
unsigned rounds_counted(const struct measured *m, enum company company, unsigned rounds);

/* CLOCK_MONOTONIC. */
uint64_t rounds_clock(void);

#endif
