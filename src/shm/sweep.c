/*
 * shm/sweep.c - names that no record uses any more are freed, in slices
 * SPDX-License-Identifier: MIT
 */
#include "shm/sweep.h"

#include "shm/names.h"

bool sweep_is_short(const struct seg *seg, const struct sweep *sweep)
{
	return shm_load_relaxed(&seg->control->unnamed) != sweep->unnamed;
}

static void begin_phase(struct sweep *sweep, enum sweep_phase phase)
{
	sweep->phase = phase;
	sweep->next = 0;
	sweep->used = 0;
}

static void begin_round(struct seg *seg, struct sweep *sweep)
{
	sweep->unnamed = shm_load_relaxed(&seg->control->unnamed);
	sweep->mark = names_begin_round(seg);
	begin_phase(sweep, SWEEP_MARK);
}

/* False: this record again, another time. */
static bool mark_next(struct seg *seg, struct sweep *sweep)
{
	if (!names_mark(seg, sweep->next, sweep->mark))
		return false;
	if (++sweep->next == seg->n_buckets)
		begin_phase(sweep, SWEEP_LINES);
	return true;
}

/* False: that was the last one. */
static bool sweep_next(struct seg *seg, struct sweep *sweep)
{
	sweep->used += names_sweep(seg, sweep->next, sweep->mark);
	if (++sweep->next < seg->n_extents)
		return true;
	begin_phase(sweep, sweep->used > seg->n_extents / 2 || sweep_is_short(seg, sweep)
				   ? SWEEP_BEGIN
				   : SWEEP_LINES);
	return false;
}

void sweep_slice(struct seg *seg, struct sweep *sweep, uint32_t n)
{
	bool more = true;

	if (sweep->phase == SWEEP_BEGIN)
		begin_round(seg, sweep);
	names_mend_round(seg, sweep->mark);
	for (uint32_t i = 0; i < n && more; i++)
		more = sweep->phase == SWEEP_MARK ? mark_next(seg, sweep) : sweep_next(seg, sweep);
}
