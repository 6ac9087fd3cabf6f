/*
 * shm/stat.h - counting without touching shared lines
 * SPDX-License-Identifier: MIT
 *
 * Each worker has a small cache of counters in its own region. A cell is one word, so that
 * counting, evicting and reaping are exact under threads, signals and kills:
 *
 *	[generation 8 | bucket 24 | admitted 16 | denied 16]
 *
 * A cell that is needed for another bucket, or is about to overflow, is exchanged and added to that
 * bucket's cold line. (A kill between the two loses the counts of one cell.) Totals are the cold
 * line plus all cells.
 */
#ifndef RATION_SHM_STAT_H
#define RATION_SHM_STAT_H

#include "shm/layout.h"

void stat_admitted(struct seg *seg, uint32_t slot, uint32_t bucket, uint32_t generation);
void stat_denied(struct seg *seg, uint32_t slot, uint32_t bucket, uint32_t generation);

/* Move everything a slot has counted into the cold lines. Anyone may, at any time. */
void stat_spill(struct seg *seg, uint32_t slot);

/* Add what all slots hold to totals[n_buckets], which the caller has filled from the cold lines. */
struct stat_total {
	uint64_t admitted;
	uint64_t denied;
};
void stat_collect(const struct seg *seg, struct stat_total *totals);

#endif
