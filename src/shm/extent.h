/*
 * shm/extent.h - more words for a record: consecutive lines, claimed whole
 * SPDX-License-Identifier: MIT
 *
 * Whose a line is stands in extent_owners: record + 1, or EXTENT_NAME and a mark (names.h). Claiming goes line by line
 * by CAS and lets go again of what it has if it meets another's. Only the holder of a claimed record (index.h) claims
 * for it, one extent in a life, and what names take, which it gives a mark at once. Killed anywhere, lines carry the
 * name of a record that is not linked: extent_recover() finds them. Words of a claimed extent may hold anything;
 * whoever claims fills all of them before the record is linked.
 *
 * A record's state[3] is extent_word(): [first line 32 | lines 32]; read from shared memory, so checked.
 */
#ifndef RATION_SHM_EXTENT_H
#define RATION_SHM_EXTENT_H

#include "shm/layout.h"

/* An extent is asked for in lines. */
#define EXTENT_LINE_WORDS 8u

#define EXTENT_LINES_MAX 512u /* 4 * SLOTS_MAX words */

/* In an owner word: the line is part of a name, and the rest is its mark. */
#define EXTENT_NAME (UINT32_C(1) << 31)

/* Names stay below this line, so that there is room for rings and slots whatever comes and goes. */
static inline uint32_t extent_names_end(const struct seg *seg)
{
	return seg->n_extents - seg->n_extents / 6;
}

static inline uint64_t extent_word(uint32_t first, uint32_t lines)
{
	return (uint64_t)first << 32 | lines;
}

/*
 * What pairs of words in an extent begin with, [life, value], so that a CAS of both does nothing in another life of the
 * record, nor after the lines were passed on: no word of a slot or of a name's size and hash has this bit pattern.
 */
static inline uint64_t extent_life(uint32_t bucket, uint32_t generation)
{
	return UINT64_C(1) << 63 | (uint64_t)generation << 24 | (bucket & (SEG_BUCKETS_MAX - 1));
}

/* Claim n lines (1 ... EXTENT_LINES_MAX) for a record. False: no room. */
bool extent_claim(struct seg *seg, uint32_t bucket, uint32_t lines, uint32_t *ret_first);

/* The same for lines below `end`, and nothing is counted. */
bool extent_claim_below(struct seg *seg, uint32_t bucket, uint32_t lines, uint32_t end,
			uint32_t *ret_first);

/* Let go of lines that belong to the record; harmless to repeat. */
void extent_free(struct seg *seg, uint32_t bucket, uint32_t first, uint32_t lines);

/* The words of a record's extent, and how many; NULL if state[3] does not lead to lines of its own. */
shm_word *extent_words(const struct seg *seg, uint32_t bucket, uint32_t *ret_words);

/* Free every line that names this record, which is not linked. Supervisor (or the owner of an embedded segment). */
void extent_recover(struct seg *seg, uint32_t bucket);

#endif
