/*
 * signal/number.h - decimal numbers as vendors write them
 * SPDX-License-Identifier: MIT
 *
 * Exact: digits / 10^scale. What cannot be kept exactly is not known, and what is not known stays so through
 * every sum: a wrong number would be learned.
 */
#ifndef RATION_SIGNAL_NUMBER_H
#define RATION_SIGNAL_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NUMBER_SCALE_MAX = 9 };

struct number {
	int64_t digits;
	int32_t scale; /* 0 ... NUMBER_SCALE_MAX; negative: not known */
};

#define NUMBER_UNKNOWN ((struct number){0, -1})

static inline bool number_known(struct number n)
{
	return n.scale >= 0;
}

static inline struct number number_of(int64_t whole)
{
	return (struct number){whole, 0};
}

/* "12", "-3", "0.15", "60.0", with spaces around it. Digits behind the ninth decimal place are dropped. */
bool number_parse(const char *text, size_t size, struct number *ret);

/* Of the beginning of a text: *ret_used is how many bytes it has. */
bool number_prefix(const char *text, size_t size, struct number *ret, size_t *ret_used);

struct number number_sum(struct number a, struct number b);
struct number number_difference(struct number a, struct number b);

/* Like strcmp(); both known. */
int number_compare(struct number a, struct number b);

/* Known, and 0. */
bool number_is_zero(struct number n);

/* ceil(n * factor): false if that does not fit. n known, factor positive. */
bool number_times(struct number n, int64_t factor, int64_t *ret);

/* ceil(a * factor / b): false if b is not above 0, or the result does not fit. */
bool number_ratio(struct number a, int64_t factor, struct number b, int64_t *ret);

double number_value(struct number n);

#endif
