/*
 * supervisor/checkpoint_restore.h - buckets as a checkpoint left them
 * SPDX-License-Identifier: MIT
 *
 * Nothing is minted: what is not known is spent.
 *
 *	window		the units of each window that is not over; a window that by our clock has not begun stays ahead of it,
 *			and wins (shm/window.h)
 *	rolling		each cell as one charge at its end, or at the checkpoint's time where that is earlier
 *	bucket		what was missing then, less what it got back since, at the rate it had then
 *	other numbers	units stay units
 *	another shape	the limit begins spent, as after a reload (published.h)
 *	a limit that is not in the policy: nothing
 *
 * and what was ahead is spent, too. Where the clock says that it is before the checkpoint, no time has passed.
 */
#ifndef RATION_SUPERVISOR_CHECKPOINT_RESTORE_H
#define RATION_SUPERVISOR_CHECKPOINT_RESTORE_H

#include "shm/layout.h"
#include "supervisor/checkpoint_file.h"

/*
 * A segment begins as if it had run for so long: what a checkpoint tells of lies in that time. No period is longer, with its
 * delay and the cells that it is cut into.
 */
#define CHECKPOINT_PAST_NS (UINT64_C(500) * 86400 * 1000000000)

struct restore {
	struct seg *seg;
	uint32_t slot; /* whose hand makes the buckets */
	const struct published *policy;
	const struct checkpoint_file *file;
	bool far;         /* it is not the last one that was made */
	uint64_t now;     /* ticks */
	int64_t wall;     /* ns since 1970 */
	uint64_t elapsed; /* ns since the checkpoint was made */

	uint32_t buckets; /* counts of what was done */
	uint32_t blocks;
	uint32_t told;
	uint32_t unknown; /* limits that the policy has not, or not in this shape */
	uint32_t no_room;
};

/* What the names of limits stood for, as published_make() wants it of an earlier policy. now: ticks. -ENOMEM. */
int restore_names(const struct checkpoint_file *file, uint64_t elapsed, uint64_t now,
		  struct published *ret_before);

/* All of it, into a segment that nobody else has. */
void restore_all(struct restore *r);

#endif
