/*
 * client/chance.h - numbers that nobody can foresee well enough to agree on them
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLIENT_CHANCE_H
#define RATION_CLIENT_CHANCE_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014): a counter, mixed; counters go up by this. */
#define CHANCE_STEP UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t mixed(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* A number of 64 bits as one below `end`. */
static inline uint64_t chance_below(uint64_t number, uint64_t end)
{
	return (uint64_t)((unsigned __int128)number * end >> 64);
}

#endif
