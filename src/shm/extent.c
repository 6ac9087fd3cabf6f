/*
 * shm/extent.c - more words for a record: consecutive lines, claimed whole
 * SPDX-License-Identifier: MIT
 */
#include "shm/extent.h"

/* How many of the lines from `first` on were claimed before another's was met. */
static uint32_t claim_run(struct seg *seg, uint32_t bucket, uint32_t first, uint32_t lines)
{
	for (uint32_t i = 0; i < lines; i++) {
		uint32_t owner = 0;

		/* Pairs with extent_free(): what a former owner still wrote is over before the line is ours. */
		if (!shm_half_cas(&seg->extent_owners[first + i], &owner, bucket + 1))
			return i;
	}
	return lines;
}

/* The first line at or after `from` that begins `lines` free ones, or `end`. */
static uint32_t find_run(const struct seg *seg, uint32_t from, uint32_t end, uint32_t lines)
{
	uint32_t run = 0;

	for (uint32_t i = from; i < end; i++) {
		run = shm_half_load(&seg->extent_owners[i]) == 0 ? run + 1 : 0;
		if (run == lines)
			return i + 1 - lines;
	}
	return end;
}

/* Each round either claims a run, or leaves behind a line that another has. */
static bool claim_from(struct seg *seg, uint32_t bucket, uint32_t from, uint32_t end,
		       uint32_t lines, uint32_t *ret_first)
{
	while (from < end) {
		const uint32_t first = find_run(seg, from, end, lines);
		uint32_t claimed;

		if (first == end)
			return false;
		claimed = claim_run(seg, bucket, first, lines);
		if (claimed == lines) {
			*ret_first = first;
			return true;
		}
		extent_free(seg, bucket, first, claimed);
		from = first + claimed + 1;
	}
	return false;
}

bool extent_claim_below(struct seg *seg, uint32_t bucket, uint32_t lines, uint32_t end,
			uint32_t *ret_first)
{
	const uint32_t hint = (uint32_t)(shm_load_relaxed(&seg->control->extent_hint) % end);

	if (lines == 0 || lines > EXTENT_LINES_MAX)
		return false;
	if (!claim_from(seg, bucket, hint, end, lines, ret_first) &&
	    !claim_from(seg, bucket, 0, end, lines, ret_first))
		return false;
	shm_store_relaxed(&seg->control->extent_hint, *ret_first + lines);
	return true;
}

bool extent_claim(struct seg *seg, uint32_t bucket, uint32_t lines, uint32_t *ret_first)
{
	const bool claimed = extent_claim_below(seg, bucket, lines, seg->n_extents, ret_first);

	if (!claimed)
		shm_add(&seg->control->full, 1);
	return claimed;
}

void extent_free(struct seg *seg, uint32_t bucket, uint32_t first, uint32_t lines)
{
	bool any = false;

	if (first > seg->n_extents || lines > seg->n_extents - first)
		return;
	for (uint32_t i = first; i < first + lines; i++) {
		uint32_t owner = bucket + 1;

		if (shm_half_load(&seg->extent_owners[i]) == owner)
			any |= shm_half_cas(&seg->extent_owners[i], &owner, 0);
	}
	if (any)
		shm_add(&seg->control->lines_freed, 1);
}

shm_word *extent_words(const struct seg *seg, uint32_t bucket, uint32_t *ret_words)
{
	const uint64_t word = shm_load(&seg->hot[bucket].state[3]);
	const uint32_t first = (uint32_t)(word >> 32), lines = (uint32_t)word;

	if (lines == 0 || lines > EXTENT_LINES_MAX || first >= seg->n_extents ||
	    lines > seg->n_extents - first)
		return NULL;
	/* A whole extent has one owner: the first line and the last one are enough to know that it is ours. */
	if (shm_half_load(&seg->extent_owners[first]) != bucket + 1 ||
	    shm_half_load(&seg->extent_owners[first + lines - 1]) != bucket + 1)
		return NULL;
	*ret_words = lines * (uint32_t)(sizeof(struct seg_extent) / sizeof(shm_word));
	return seg->extents[first].word;
}

void extent_recover(struct seg *seg, uint32_t bucket)
{
	extent_free(seg, bucket, 0, seg->n_extents);
}
