/*
 * tests/support_random.c - a random stream that can be repeated
 * SPDX-License-Identifier: MIT
 */
#include "support_random.h"

#include <stdlib.h>

uint64_t seed_used;

static uint64_t state;

void seed(uint64_t value)
{
	const char *given = getenv("RATION_SEED");

	seed_used = given ? strtoull(given, NULL, 0) : value;
	state = seed_used;
}

/* splitmix64 */
uint64_t draw(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t below(uint64_t n)
{
	return draw() % n;
}
