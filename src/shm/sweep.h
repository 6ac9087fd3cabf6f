/*
 * shm/sweep.h - names that no record uses any more are freed, in slices
 * SPDX-License-Identifier: MIT
 *
 * A round goes over all records, then over all extent lines (names.h). The next one begins when it pays: more than half
 * of the lines are in use, or a name has found no room. Until then the lines are gone over again, which counts them.
 * Whoever begins anew, because the last one was killed, begins a round.
 *
 * Only the supervisor calls it: one process, which nobody replaces while it lives.
 */
#ifndef RATION_SHM_SWEEP_H
#define RATION_SHM_SWEEP_H

#include "shm/layout.h"

enum sweep_phase {
	SWEEP_BEGIN,
	SWEEP_MARK,
	SWEEP_LINES,
};

/* Where it has got to; all zero at first. Private memory. */
struct sweep {
	enum sweep_phase phase;
	uint32_t next; /* record or line */
	uint32_t mark; /* of this round */
	uint32_t used; /* lines, so far */
	uint64_t unnamed;
};

/*
 * Go on, over so many records and lines, up to the end of a round at most: what a worker has only just made is not freed
 * before the next slice but one.
 */
void sweep_slice(struct seg *seg, struct sweep *sweep, uint32_t n);

/* Whether names have found no room since the round began: it should hurry. */
bool sweep_is_short(const struct seg *seg, const struct sweep *sweep);

#endif
