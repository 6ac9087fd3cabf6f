/*
 * tests/support_random.h - a random stream that can be repeated
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_TESTS_SUPPORT_RANDOM_H
#define RATION_TESTS_SUPPORT_RANDOM_H

#include <stdint.h>

/* What to print when a test fails. */
extern uint64_t seed_used;

/* Begin with $RATION_SEED, or with this value. */
void seed(uint64_t value);

/* 64 bits. */
uint64_t draw(void);

/* 0 ... n - 1 */
uint64_t below(uint64_t n);

#endif
