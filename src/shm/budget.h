/*
 * shm/budget.h - how many retries are left: a budget that all processes share
 * SPDX-License-Identifier: MIT
 *
 * Where a vendor refuses everything, retries multiply what it is asked. So a retry is paid for: each first try earns a
 * part of one, each retry spends one. However many processes there are, and whatever the vendor does, retries then are
 * no more than that part of the first tries, and what the budget began with. (The idea is Finagle's retry budget.)
 *
 * A cell belongs to a vendor and class from the first use on. There are SEG_BUDGETS cells; who finds none has no budget
 * to keep to. Each step is one CAS; killed anywhere, one retry more or less was counted.
 */
#ifndef RATION_SHM_BUDGET_H
#define RATION_SHM_BUDGET_H

#include "shm/layout.h"

#define BUDGET_FIRST 10u  /* retries that may be made before any were earned */
#define BUDGET_MOST  100u /* that can be saved up */

/* Never 0. */
uint64_t budget_key(const char *vendor, const char *traffic_class);

/* A first try earns `ppm` millionths of a retry. */
void budget_earn(struct seg *seg, uint64_t key, uint32_t ppm);

/* False: there is none left; nothing was spent. */
bool budget_spend(struct seg *seg, uint64_t key);

struct budget {
	double left;
	uint64_t spent;   /* retries */
	uint64_t refused; /* that were wanted */
};

/* False: never used. */
bool budget_find(const struct seg *seg, uint64_t key, struct budget *ret_budget);

#endif
