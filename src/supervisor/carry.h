/*
 * supervisor/carry.h - what was spent under one policy is spent under the next, though it is counted elsewhere
 * SPDX-License-Identifier: MIT
 *
 * New numbers of a bucket are tune.c's. This is for reloads that move a count from one bucket to another:
 *
 *	shape	a limit that changed its kind, its period or its calendar has other buckets. Each old one is closed
 *		first, so that a worker that has not heard yet cannot go on with it; then its successor is made,
 *		spent by as much as the old one can have given within what the new one counts. Where nobody can know
 *		(another scope or unit, more time than the old one remembers), the successor begins spent.
 *	parts	a window or rolling amount of which classes have guaranteed parts is several buckets. If one part
 *		shrinks below what was used of it while another grows, the difference would be handed out twice:
 *		it counts as used of those that grow.
 *
 * Runs before the new policy is published. Killed in between, what was counted twice stays so: too much is spent,
 * never too little.
 */
#ifndef RATION_SUPERVISOR_CARRY_H
#define RATION_SUPERVISOR_CARRY_H

#include "supervisor/published.h"
#include "supervisor/tune.h"

struct carry {
	struct seg *seg;
	const struct published *before;
	const struct published *after;
	uint32_t slot; /* the supervisor's, to make buckets */
	uint64_t now;  /* ticks */
	int64_t wall;  /* ns since 1970; the latest that windows have gone by */
	seg_clock *clock;
	void *user;
};

/* bucket: a linked record. True: its count moved. */
bool carry_bucket(const struct carry *c, uint32_t bucket);

#endif
