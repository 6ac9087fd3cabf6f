/*
 * cli/histogram.c - percentiles of any number of values in fixed memory
 * SPDX-License-Identifier: MIT
 */
#include "cli/histogram.h"

/* Bits of a value that are kept. */
enum { KEPT = 8, HALF = 1 << (KEPT - 1) };

static unsigned cell_of(uint64_t value)
{
	unsigned top = 63 - (unsigned)__builtin_clzll(value | 1);
	unsigned shift = top >= KEPT ? top - (KEPT - 1) : 0;

	return shift * HALF + (unsigned)(value >> shift);
}

/* The middle of a cell. */
static uint64_t value_of(unsigned cell)
{
	unsigned shift = cell < 2 * HALF ? 0 : cell / HALF - 1;
	uint64_t low = (uint64_t)(cell - shift * HALF) << shift;

	return low + ((UINT64_C(1) << shift) >> 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->cells[cell_of(value)]++;
	h->count++;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_at(const struct histogram *h, unsigned permille)
{
	uint64_t rank = (h->count * permille + 999) / 1000, seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
		seen += h->cells[i];
		if (seen >= rank && seen > 0)
			return value_of(i) < h->max ? value_of(i) : h->max;
	}
	return h->max;
}
