/*
 * tests/model/yield.h - what stands before every access to shared memory in the explorer
 * SPDX-License-Identifier: MIT
 *
 * Included before everything else by the compiler (-include), so that src/shm/atomic.h finds it.
 */
#ifndef RATION_MODEL_YIELD_H
#define RATION_MODEL_YIELD_H

#include <stdbool.h>

void model_yield(const volatile void *address, unsigned size, bool writes);

#define SHM_YIELD(address, size, writes) model_yield(address, (unsigned)(size), writes)

#endif
