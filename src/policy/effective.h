/*
 * policy/effective.h - what share, margin and delay leave of a limit, kind by kind
 * SPDX-License-Identifier: MIT
 *
 * Token buckets: policy_effective() (policy.h). A packed word is never 0; 0 means that it cannot be represented.
 */
#ifndef RATION_POLICY_EFFECTIVE_H
#define RATION_POLICY_EFFECTIVE_H

#include "policy/policy.h"

#define PPM UINT64_C(1000000)

/* `ppm` of `units`, rounded down, at least 1. */
uint64_t units_part(uint64_t units, uint64_t ppm);

/* What is left of `units`: the share rounded down, at least 1, less the margin of that, rounded down. */
uint64_t units_kept(const struct blob_numbers *numbers, uint64_t units);

/* Units a second after share and margin. */
long double rate_kept(const struct blob_numbers *numbers);

/*
 * A bucket of the kept rate with exactly numbers->burst, and no delay taken off: what a class claims of another bucket.
 */
enum claim_rounding {
	CLAIM_AT_MOST,  /* never more than it says */
	CLAIM_PROMISED, /* demand at just that rate is never short of it */
	CLAIM_SLOWER, /* by 2^-22: so that several do not add up to more than the bucket they are parts of */
};
bucket_numbers bucket_claimed(const struct blob_numbers *numbers, enum claim_rounding rounding);

/* `units` a period. The calendar is what blob_calendar() will make of the limit. */
uint64_t window_effective(const struct calendar *calendar, uint64_t units);
uint64_t rolling_effective(const struct blob_numbers *numbers, uint64_t units);

#endif
