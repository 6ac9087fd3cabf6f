/*
 * supervisor/tune.h - the numbers of live buckets follow the policy
 * SPDX-License-Identifier: MIT
 *
 * A bucket says in its cold line what it counts, so the supervisor can tell which limit of any
 * policy it belongs to, and for which tenant. Those names are for display and any worker can
 * scribble over them; they are believed only if hashing them gives the bucket's identity.
 */
#ifndef RATION_SUPERVISOR_TUNE_H
#define RATION_SUPERVISOR_TUNE_H

#include "supervisor/published.h"

enum tune_result {
	TUNE_SAME,
	TUNE_CHANGED,    /* has other numbers now */
	TUNE_BUSY,       /* should have, but workers were faster: to be repeated */
	TUNE_ORPHAN,     /* the policy has no such limit (any more): left as it is */
	TUNE_UNREADABLE, /* its names do not give its identity: left as it is */
};

/* bucket: a linked record. Repeatable at any point. */
enum tune_result tune_bucket(struct seg *seg, const struct published *published, uint32_t bucket,
			     seg_clock *clock, void *user);

static inline bool bucket_linked(const struct seg *seg, uint32_t bucket)
{
	return shm_load(&seg->cold[bucket].owner) == COLD_LINKED;
}

#endif
