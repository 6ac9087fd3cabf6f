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
 * line plus all cells. Cells of an earlier life of the record are dropped; the generation's byte tells 256 lives apart.
 */
#ifndef RATION_SHM_STAT_H
#define RATION_SHM_STAT_H

#include "shm/layout.h"

#define STAT_ADMITTED UINT64_C(0x10000)
#define STAT_DENIED   UINT64_C(1)

/* Everything but the usual case, which stat_count() does itself. */
void stat_count_slowly(struct seg *seg, uint32_t slot, uint64_t tag, uint64_t what);

static inline uint64_t stat_tag(uint32_t bucket, uint32_t generation)
{
	return (uint64_t)((generation & 0xff) << 24 | (bucket & (SEG_BUCKETS_MAX - 1))) << 32;
}

/* Where a bucket is counted first; the cell beside it is the second choice. */
static inline uint32_t stat_place(uint32_t bucket)
{
	return (bucket ^ bucket >> 10) % STAT_CELLS;
}

/* what: STAT_ADMITTED or STAT_DENIED. */
static inline void stat_count(struct seg *seg, uint32_t slot, uint32_t bucket, uint32_t generation,
			      uint64_t what)
{
	shm_word *cell = &seg->regions[slot].stat[stat_place(bucket)];
	const uint64_t tag = stat_tag(bucket, generation);
	uint64_t held = shm_load_relaxed(cell);

	/* Ours, and neither count has reached half of what fits. */
	if (((held ^ tag) & UINT64_C(0xffffffff80008000)) != 0 ||
	    !shm_cas(cell, &held, held + what))
		stat_count_slowly(seg, slot, tag, what);
}

/* Move everything a slot has counted into the cold lines. Anyone may, at any time. */
void stat_spill(struct seg *seg, uint32_t slot);

/* Add what all slots hold to totals[n_buckets], which the caller has filled from the cold lines. */
struct stat_total {
	uint64_t admitted;
	uint64_t denied;
};
/* Beside a spill, a total may be short for a moment. */
void stat_collect(const struct seg *seg, struct stat_total *totals);

/* What slots still hold of a record's life that has just ended. */
struct stat_total stat_left(const struct seg *seg, uint32_t bucket, uint32_t generation);

#endif
