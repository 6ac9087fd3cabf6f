/*
 * tests/model/search.h - one exploration of one scenario
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_MODEL_SEARCH_H
#define RATION_MODEL_SEARCH_H

#include "report.h"

#define UNBOUNDED UINT32_MAX

struct search_how {
	unsigned bound; /* preemptions, or UNBOUNDED */
	bool plain;     /* no reduction: every access is a point of choice and a place to die */
	bool quietly;   /* say nothing of a violation */
};

/* Explore `scenario`, to its end or the first violation. */
struct result search_scenario(const struct search_how *how);

/* How many steps actors have made so far. */
uint64_t search_steps(void);

/* Forget what is known about who contends for what: before another scenario. */
void search_forget(void);

#endif
