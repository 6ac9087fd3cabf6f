/*
 * supervisor/learned.h - numbers that a vendor taught us instead of the policy's
 * SPDX-License-Identifier: MIT
 *
 * Workers note what a vendor told (shm/view.h); numbers are changed by the supervisor alone. So once a second, and as soon
 * as something new was learned, the numbers of every bucket that has learned anything are worked out anew.
 */
#ifndef RATION_SUPERVISOR_LEARNED_H
#define RATION_SUPERVISOR_LEARNED_H

#include "supervisor/record.h"

/* The effective numbers of a bucket, whose policy's are `numbers`: those, or what was learned makes of them. */
uint64_t learned_effective(const struct seg *seg, uint32_t bucket, const struct blob *blob,
			   const struct blob_limit *limit, const struct blob_numbers *numbers,
			   uint64_t now);

/* The bucket that a view is of. False: there is none any more, or nothing was learned of it. */
bool learned_subject(const struct seg *seg, uint32_t view, uint32_t *ret_bucket);

#endif
