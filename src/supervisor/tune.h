/*
 * supervisor/tune.h - the numbers of live buckets follow the policy
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SUPERVISOR_TUNE_H
#define RATION_SUPERVISOR_TUNE_H

#include "supervisor/record.h"

enum tune_result {
	TUNE_SAME,
	TUNE_CHANGED,    /* has other numbers now */
	TUNE_BUSY,       /* should have, but workers were faster: to be repeated */
	TUNE_ORPHAN,     /* the policy has no such limit (any more): left as it is */
	TUNE_UNREADABLE, /* its names do not give its identity: left as it is */
};

/*
 * bucket: a linked record. Repeatable at any point. ret_limit: of the policy, or BLOB_NO_INDEX for what is left as
 * it is.
 */
enum tune_result tune_bucket(struct seg *seg, const struct published *published, uint32_t bucket,
			     seg_clock *clock, void *user, uint32_t *ret_limit);

/* The same for a record that is known to be of that limit. */
enum tune_result tune_record(struct seg *seg, const struct record *record, const struct blob *blob,
			     uint32_t limit, seg_clock *clock, void *user);

/*
 * Buckets that have learned other numbers than the policy's, which change with time; who waits for one is woken. Looking
 * for them is one load a record. False: there are none.
 */
bool tune_learned(struct seg *seg, const struct published *published, seg_clock *clock, void *user);

#endif
