/*
 * shm/learn.h - which share of a limit a vendor really grants
 * SPDX-License-Identifier: MIT
 *
 * A request that was refused although the bucket admitted it shows that the vendor grants less than the limit says. How
 * much that is the refusal itself tells, more or less exactly: see learn_granted(). The limit is lowered to it (the knee), and
 * stays there for a while; then it grows, slowly at first and faster the longer nothing is refused, until the next refusal
 * measures it anew, as CUBIC does with a congestion window (RFC 9438): most of the time is spent at what is granted, and few
 * requests are lost to finding out that it is still not more.
 *
 * All of it is one word, and the share of a moment follows from it and the time:
 *
 *	[spread 1 | share 19 | knee 20 | cut 24]	share and knee in 2^-16; cut: when, in units of 2^30 ticks (134 ms), modulo
 *							26 days. spread: evenly over the period. 0: nothing was learned, all of
 *							the limit
 */
#ifndef RATION_SHM_LEARN_H
#define RATION_SHM_LEARN_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/blob.h"

/* Shares are in parts of this; at most LEARN_MOST of the limit, at least 1 part in 1,000. */
#define LEARN_ALL   UINT64_C(65536)
#define LEARN_MOST  UINT64_C(458752) /* 7 times */
#define LEARN_LEAST (LEARN_ALL / 1000)

/* How fast a limit grows back. Times are ticks. */
struct learn_pace {
	uint64_t
		period; /* the limit's, within a second and an hour: three of them lead back to just below the knee */
	uint64_t plateau; /* so long around the knee, before more is tried */
	uint64_t most;    /* share that is never exceeded */
};

/*
 * interval: ticks between two units of the limit as the policy has it. Around the knee for as long as 3,000 requests take,
 * so that those that are lost are not one in a thousand, but no longer than a day. seeks: not bounded by the policy's number.
 */
struct learn_pace learn_pace(uint64_t period, uint64_t interval, bool seeks);

/* The same from a limit's numbers. */
static inline struct learn_pace learn_pace_of(const struct blob_numbers *n, bool seeks)
{
	const uint64_t period = (n->period_ns ? n->period_ns : 1000000000) * TICKS_PER_NS;

	return learn_pace(period, period / (n->amount ? n->amount : 1), seeks);
}

uint64_t learn_share(uint64_t word, uint64_t now, const struct learn_pace *pace);

/* Times as the word has them: 24 bits, of LEARN_UNIT ticks each. */
#define LEARN_UNIT (UINT64_C(1) << 30)
uint32_t learn_stamp(uint64_t ticks);
/* Ticks since a stamp, of which only the lower 24 bits count; what seems to be to come has just been. */
uint64_t learn_since(uint64_t stamp, uint64_t now);

/* Whether a request that was permitted at `permit` was under way when the limit was lowered: it tells nothing new. */
bool learn_knows(uint64_t word, uint64_t permit, uint64_t now);

/* Refused, and nothing is known of what is granted: a twentieth less. */
uint64_t learn_cut(uint64_t word, uint64_t now, const struct learn_pace *pace);

/*
 * Refused, and `granted` is what the vendor grants, as a share; the knee. share: what to begin with, granted or a little less.
 * In one go nothing is lowered to less than a quarter: somebody else may have used up what is usually ours.
 */
uint64_t learn_granted(uint64_t word, uint64_t share, uint64_t granted, uint64_t now,
		       const struct learn_pace *pace);

/*
 * Refused long before as much was used as was granted before: the vendor counts otherwise, and grants it only evenly, and
 * perhaps a little less. Over the first periods what was used before that counts there, too, and refusals tell nothing.
 */
uint64_t learn_spread(uint64_t word, uint64_t now, const struct learn_pace *pace);
bool learn_is_spread(uint64_t word);

/* Until more is tried, since the last refusal. */
bool learn_is_over(uint64_t word, uint64_t now, const struct learn_pace *pace);

/* One more of those that were under way was refused: so much less was granted. */
uint64_t learn_less(uint64_t word, uint64_t part);

/* Nothing was refused: more than the knee is to be tried from now on; is being tried; is not to be tried for now. */
uint64_t learn_try(uint64_t word, uint64_t now, const struct learn_pace *pace);
bool learn_is_trying(uint64_t word, uint64_t now, const struct learn_pace *pace);
uint64_t learn_hold(uint64_t word, uint64_t now);

#endif
