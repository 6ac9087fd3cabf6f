/*
 * policy/scalar.h - numbers as people write them
 * SPDX-License-Identifier: MIT
 *
 * Exact: whatever is read is an integer, or two of them. No floating point, no sign, no exponent, and nothing that
 * would have to be rounded is accepted. False: not readable, or out of range; the result is untouched then.
 */
#ifndef RATION_POLICY_SCALAR_H
#define RATION_POLICY_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rate {
	uint64_t amount;
	uint64_t period_ns;
};

/* "20", "1.5k", "2M", "3G": 1 ... RATION_COST_MAX. */
bool scalar_count(const char *text, uint64_t *ret_count);

/* "100/s", "0.5/s", "90000/min", "100k/day". "0.5/s" is 5 in 10 s. */
bool scalar_rate(const char *text, struct rate *ret_rate);

/* "50ms", "2s", "1.5m", "0": at most `max_ns`. */
bool scalar_duration(const char *text, uint64_t max_ns, uint64_t *ret_ns);

/* "08:00", "24:00": seconds after midnight. */
bool scalar_time_of_day(const char *text, uint32_t *ret_seconds);

/* "25%", "0.5%": parts per million, at most `max`. */
bool scalar_percent(const char *text, uint64_t max, uint64_t *ret_ppm);

/* Names of vendors, classes, limits, units and plans: a letter or digit, then those and . _ - */
bool scalar_name(const char *text, size_t size);

#endif
