/*
 * bench/support_report.h - the figures, for people and for programs
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_BENCH_SUPPORT_REPORT_H
#define RATION_BENCH_SUPPORT_REPORT_H

#include <stddef.h>

#include "support_rounds.h"

struct report_setup {
	const char *bench; /* name in each JSON line */
	bool json;
	unsigned rounds;
	unsigned timer; /* operation that does nothing: its p50 is taken off all percentiles */
	unsigned floor; /* operation that ratios are made to */
};

/* One table (or one line of JSON for each row and company). Operations without a text are left out,
 * those without a measurement too. A text that ends in ':' is a heading; it has no run. */
void report_rows(const struct report_setup *setup, const struct operation *ops, unsigned n_ops,
		 const struct measured *m);

/* What one cost may be, and what it is. NAN: could not be measured. */
struct target {
	const char *id;
	const char *text;
	double value;
	double bound;
	bool at_least; /* else: at most */
	const char *unit;
};
void report_targets(const struct report_setup *setup, const struct target *targets, unsigned n);

/* A percentile of single operations without the clock's own cost, in ns. */
double report_percentile(const struct report_setup *setup, const struct measured *all,
			 unsigned which, enum company company, unsigned permille);

/* "model name, N CPUs, compiler", for the head. */
void report_machine(char *buf, size_t size);

/* Options of every benchmark: --rounds N, --json, --help. Exits on a bad one. */
void report_options(int argc, char **argv, const char *about, struct report_setup *setup);

#endif
