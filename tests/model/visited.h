/*
 * tests/model/visited.h - which states were explored, and how many executions lead on from each
 * SPDX-License-Identifier: MIT
 *
 * States are kept as 128-bit hashes: of ten million, two are the same by accident once in 10^24
 * explorations.
 */
#ifndef RATION_MODEL_VISITED_H
#define RATION_MODEL_VISITED_H

#include "world.h"

void visited_clear(void);

/* Whether it is known; if not, it is from now on. *ret_executions: what was set, valid until the next call. */
bool visited_find(struct hash hash, double **ret_executions);

void visited_set(struct hash hash, double executions);

uint64_t visited_count(void);

#endif
