/*
 * policy/effective.c - what share, margin and delay leave of a limit
 * SPDX-License-Identifier: MIT
 *
 * Exact fractions throughout; the one rounding is the last, and to the safe side: intervals up, bursts down.
 * Everything fits 128 bits: amounts are below 2^40, share and keep at most 10^6 < 2^20, periods below 2^61, delays below
 * 2^42, bursts below 2^40.
 */
#include <stdbool.h>

#include <ration/ration.h>

#include "policy/policy.h"

typedef unsigned __int128 wide;

#define PPM         UINT64_C(1000000)
#define PERIOD_MAX  (UINT64_MAX / TICKS_PER_NS)
#define DELAY_LIMIT (UINT64_C(1) << 42)

/* Time per unit, in ns: numerator / denominator. */
struct interval {
	wide numerator;
	wide denominator;
};

/*
 * 2^k units in a whole number of ns, rounded up: binary long division, as many bits as fit. 0: slower than the period
 * can say.
 */
static bucket_numbers pack(struct interval interval, uint64_t burst)
{
	wide period = interval.numerator / interval.denominator;
	wide rest = interval.numerator % interval.denominator;
	uint64_t amount = 1;

	if (period >= PERIOD_MAX)
		return 0;
	while (rest > 0 && period < PERIOD_MAX / 2 && amount < UINT64_C(1) << 62) {
		rest *= 2;
		period = period * 2 + (rest >= interval.denominator);
		rest %= interval.denominator;
		amount *= 2;
	}
	return bucket_pack(amount, (uint64_t)(period + (rest > 0)), burst);
}

static bool in_range(const struct blob_numbers *n)
{
	return n->amount > 0 && n->amount <= RATION_COST_MAX && n->period_ns > 0 &&
	       n->period_ns <= PERIOD_MAX && n->burst > 0 && n->burst <= RATION_COST_MAX &&
	       n->margin_ppm < PPM && n->share_ppm > 0 && n->share_ppm <= PPM &&
	       n->delay_ns < DELAY_LIMIT;
}

bool policy_effective(struct blob_numbers *n)
{
	struct interval interval;
	uint64_t burst, keep;
	wide late, packed_burst;
	bucket_numbers packed;

	if (!in_range(n))
		return false;
	keep = (uint64_t)n->share_ppm * (PPM - n->margin_ppm); /* of PPM * PPM */
	burst = (uint64_t)((wide)n->burst * keep / (PPM * PPM));
	if (burst == 0)
		burst = 1;
	interval = (struct interval){(wide)n->period_ns * (PPM * PPM), (wide)n->amount * keep};
	/* Units that may still be on their way: rate * delay, rounded up. */
	late = (n->delay_ns * interval.denominator + interval.numerator - 1) / interval.numerator;
	if (late < burst) {
		packed_burst = burst - late;
	} else {
		/* One unit each (1 / rate + delay) / burst. */
		interval.numerator += n->delay_ns * interval.denominator;
		interval.denominator *= burst;
		packed_burst = 1;
	}
	packed = pack(interval, (uint64_t)packed_burst);
	if (packed == 0)
		return false;
	n->effective = packed;
	return true;
}
