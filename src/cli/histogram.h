/*
 * cli/histogram.h - percentiles of any number of values in fixed memory
 * SPDX-License-Identifier: MIT
 *
 * Log-linear: 128 cells for each power of two, so a value is known to 1/128 of itself, and exactly
 * below 256.
 */
#ifndef RATION_CLI_HISTOGRAM_H
#define RATION_CLI_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_CELLS 7424u

/* All zeroes is an empty histogram. */
struct histogram {
	uint64_t count;
	uint64_t max;
	uint64_t cells[HISTOGRAM_CELLS];
};

void histogram_add(struct histogram *h, uint64_t value);

/* The value that `permille` of 1,000 values do not exceed; 0 of an empty histogram. */
uint64_t histogram_at(const struct histogram *h, unsigned permille);

#endif
