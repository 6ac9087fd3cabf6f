/*
 * shm/stat.c - counting without touching shared lines
 * SPDX-License-Identifier: MIT
 */
#include "shm/stat.h"

#define COUNT_MAX   0x7fffu
#define COUNT_MASK  0xffffu
#define BUCKET_MASK (SEG_BUCKETS_MAX - 1)

static uint32_t cell_bucket(uint64_t cell)
{
	return (uint32_t)(cell >> 32) & BUCKET_MASK;
}

static uint32_t cell_admitted(uint64_t cell)
{
	return (uint32_t)(cell >> 16) & COUNT_MASK;
}

static uint32_t cell_denied(uint64_t cell)
{
	return (uint32_t)cell & COUNT_MASK;
}

/* Whether it counts for the life that its record has now: what was counted for an earlier one has gone with it. */
static bool is_current(const struct seg *seg, uint64_t cell)
{
	const uint32_t bucket = cell_bucket(cell);

	return bucket < seg->n_buckets &&
	       (shm_half_load(&seg->hot[bucket].generation) & 0xff) == cell >> 56;
}

static void spill(struct seg *seg, uint64_t cell)
{
	const uint32_t bucket = cell_bucket(cell);

	if (!is_current(seg, cell))
		return;
	if (cell_admitted(cell))
		shm_add(&seg->cold[bucket].admitted, cell_admitted(cell));
	if (cell_denied(cell))
		shm_add(&seg->cold[bucket].denied, cell_denied(cell));
}

/* What the cell becomes when `what` is counted, and whether what it held must be spilled first. */
static bool counted(uint64_t cell, uint64_t tag, uint64_t what, uint64_t *ret_next)
{
	const bool same = (cell & ~UINT64_C(0xffffffff)) == tag;

	if (same && cell_admitted(cell) < COUNT_MAX && cell_denied(cell) < COUNT_MAX) {
		*ret_next = cell + what;
		return false;
	}
	*ret_next = tag | what;
	return cell != 0;
}

/* Two places for each bucket, so that two busy ones seldom evict each other. */
static shm_word *cell_for(struct seg *seg, uint32_t slot, uint64_t tag)
{
	shm_word *cells = seg->regions[slot].stat;
	const uint32_t first = stat_place(cell_bucket(tag));
	const uint64_t held = shm_load_relaxed(&cells[first]);

	if (held == 0 || (held & ~UINT64_C(0xffffffff)) == tag)
		return &cells[first];
	return &cells[first ^ 1];
}

void stat_count_slowly(struct seg *seg, uint32_t slot, uint64_t tag, uint64_t what)
{
	for (int i = 0; i < 8; i++) {
		shm_word *cell = cell_for(seg, slot, tag);
		uint64_t held = shm_load_relaxed(cell);
		uint64_t next;
		const bool evicts = counted(held, tag, what, &next);

		if (!shm_cas(cell, &held, next))
			continue;
		if (evicts)
			spill(seg, held);
		return;
	}
	spill(seg, tag | what); /* other threads are faster: count in the open */
}

void stat_spill(struct seg *seg, uint32_t slot)
{
	for (uint32_t i = 0; i < STAT_CELLS; i++) {
		shm_word *cell = &seg->regions[slot].stat[i];

		if (shm_load_relaxed(cell) != 0)
			spill(seg, shm_exchange(cell, 0));
	}
}

void stat_collect(const struct seg *seg, struct stat_total *totals)
{
	for (uint32_t slot = 0; slot < seg->n_workers; slot++) {
		for (uint32_t i = 0; i < STAT_CELLS; i++) {
			const uint64_t cell = shm_load_relaxed(&seg->regions[slot].stat[i]);
			const uint32_t bucket = cell_bucket(cell);

			if (cell == 0 || !is_current(seg, cell))
				continue;
			totals[bucket].admitted += cell_admitted(cell);
			totals[bucket].denied += cell_denied(cell);
		}
	}
}

struct stat_total stat_left(const struct seg *seg, uint32_t bucket, uint32_t generation)
{
	const uint64_t tag = stat_tag(bucket, generation);
	struct stat_total total = {0, 0};

	for (uint32_t slot = 0; slot < seg->n_workers; slot++) {
		const shm_word *cells = seg->regions[slot].stat;

		for (uint32_t i = 0; i < 2; i++) {
			const uint64_t cell = shm_load_relaxed(&cells[stat_place(bucket) ^ i]);

			if ((cell & ~UINT64_C(0xffffffff)) != tag)
				continue;
			total.admitted += cell_admitted(cell);
			total.denied += cell_denied(cell);
		}
	}
	return total;
}
