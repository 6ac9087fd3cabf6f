/*
 * shm/learn.h - which share of a limit a vendor really grants
 * SPDX-License-Identifier: MIT
 *
 * A request that was refused although the bucket admitted it shows that the vendor grants less than the limit says. Then
 * the limit is lowered, and grows back over time without refusals: fast at first, slowly around the share at which it was
 * refused last (the knee), and faster again beyond it, as CUBIC does with a congestion window (RFC 9438): most of the time
 * is spent just below what is granted, and few requests are lost to finding out that it is still not more.
 *
 * All of it is one word, and the share of a moment follows from it and the time:
 *
 *	[share 20 | knee 20 | cut 24]	share and knee in 2^-16; cut: when, in units of 2^30 ticks (134 ms), modulo 26 days.
 *					0: nothing was learned, all of the limit
 */
#ifndef RATION_SHM_LEARN_H
#define RATION_SHM_LEARN_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/blob.h"

/* Shares are in parts of this; at most LEARN_MOST of the limit, at least 1 part in 1,000. */
#define LEARN_ALL   UINT64_C(65536)
#define LEARN_MOST  (15 * LEARN_ALL)
#define LEARN_LEAST (LEARN_ALL / 1000)

/* How fast a limit grows back. Times are ticks. */
struct learn_pace {
	uint64_t
		period; /* the limit's, within a second and an hour: three of them lead back to just below the knee */
	uint64_t plateau; /* so long around the knee, before more is tried */
	uint64_t most;    /* share that is never exceeded */
};

/*
 * interval: ticks between two units of the limit as the policy has it. Around the knee for as long as 1,500 requests take,
 * so that the one that is lost is not one in a thousand, but no longer than a day. seeks: not bounded by the policy's number.
 */
struct learn_pace learn_pace(uint64_t period, uint64_t interval, bool seeks);

/* The same from a limit's numbers. */
static inline struct learn_pace learn_pace_of(const struct blob_numbers *n, bool seeks)
{
	const uint64_t period = (n->period_ns ? n->period_ns : 1000000000) * TICKS_PER_NS;

	return learn_pace(period, period / (n->amount ? n->amount : 1), seeks);
}

uint64_t learn_share(uint64_t word, uint64_t now, const struct learn_pace *pace);

/*
 * A request that was permitted at `permit` was refused: at once a tenth less. Of those permitted before the last cut took
 * effect nothing new is learned: the same word comes back.
 */
uint64_t learn_cut(uint64_t word, uint64_t permit, uint64_t now, const struct learn_pace *pace);

/*
 * A period is over in which so many were accepted and so many refused: what was offered and what was granted show what
 * the knee is. limited > 0
 */
uint64_t learn_measured(uint64_t word, uint64_t accepted, uint64_t limited, uint64_t now);

#endif
