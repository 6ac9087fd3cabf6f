/*
 * shm/saturate.h - arithmetic that stops at its ends instead of going round
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SHM_SATURATE_H
#define RATION_SHM_SATURATE_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t sum(uint64_t a, uint64_t b)
{
	return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

static inline uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* a * b / c, c > 0 */
static inline uint64_t ratio(uint64_t a, uint64_t b, uint64_t c, bool up)
{
	const unsigned __int128 product = (unsigned __int128)a * b;
	const unsigned __int128 result = (product + (up ? c - 1 : 0)) / c;

	return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

/* What is used after a debit of `units`: at most max_debt beyond the amount (0: no bound), and never less than before. */
static inline uint64_t debited(uint64_t used, uint64_t units, uint64_t amount, uint64_t max_debt)
{
	const uint64_t after = sum(used, units);

	return max_debt == 0 ? after : least(after, most(used, sum(amount, max_debt)));
}

#endif
