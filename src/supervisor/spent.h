/*
 * supervisor/spent.h - what was spent of a bucket, for another that is to count on
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SUPERVISOR_SPENT_H
#define RATION_SUPERVISOR_SPENT_H

#include "client/make.h"
#include "supervisor/carry.h"

/*
 * In the last T ns at most so many units: `recent` for T up to recent_ns, `units` for T up to known_ns; beyond that nobody
 * knows. Where it drains, and what its rate gave in T.
 */
struct spent {
	uint64_t recent, recent_ns;
	uint64_t units, known_ns;
	uint64_t ticks; /* for each unit that it gives for long; rounded down */
	bool drains;
};

/* Close a bucket: nothing more is admitted, for longer than any worker can be behind. What had been spent of it. */
struct spent spent_close(const struct carry *c, const struct record *record,
			 const struct blob_limit *limit);

/* Fill in how much of a new bucket is spent, if that was spent of its predecessor: birth->used and before. */
void spent_begin(const struct spent *spent, struct birth *birth);

/* The shape that a limit's buckets have now (link->shape), with the longest guard of all vendors. */
void spent_shape(const struct carry *c, const struct blob *blob, const struct blob_limit *limit,
		 const struct blob_numbers *numbers, struct link *link);

/* The window that is now. */
struct calendar_window spent_window(const struct carry *c, const struct blob *blob,
				    const struct blob_limit *limit);

#endif
