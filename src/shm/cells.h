/*
 * shm/cells.h - what was used in which part of a period
 * SPDX-License-Identifier: MIT
 *
 * The words of a rolling limit, which rolling.h describes, and the steps that change them; each is a CAS that
 * compares the life of the record too. What they add up to, and when, is rolling.c's.
 */
#ifndef RATION_SHM_CELLS_H
#define RATION_SHM_CELLS_H

#include "shm/rolling.h"
#include "shm/saturate.h"

/* How much later a cell may be open than the one that a charge is permitted in. */
#define CELLS_SPARE (ROLLING_RING - ROLLING_CELLS)

/* Cells that an interval of the length of a period can touch. */
#define CELLS_TOUCHED (ROLLING_CELLS + 1)

/* Counted from ROLLING_RING on, so that there are always as many before a cell as are looked at. */
static inline uint64_t cells_index(uint64_t ticks, uint64_t cell_ticks)
{
	return ticks / cell_ticks + ROLLING_RING;
}

/* When a cell begins. */
static inline uint64_t cells_begin(uint64_t index, uint64_t cell_ticks)
{
	return ratio(minus(index, ROLLING_RING), cell_ticks, 1, false);
}

/* Of numbers: see rolling_pack(). */
#define CELLS_AMOUNT_BITS 40
#define CELLS_BITS_MAX    63u

static inline unsigned cells_bits_of(uint64_t numbers)
{
	return (unsigned)(numbers >> CELLS_AMOUNT_BITS) & CELLS_BITS_MAX;
}

/* How many bits of a word count what is used; 0: such short cells do not fit beside them. cell_ticks > 0 */
unsigned cells_bits(uint64_t cell_ticks);

/* The most that so many bits count. */
static inline uint64_t cells_most(unsigned bits)
{
	return (UINT64_C(1) << bits) - 1;
}

/* What a head or a word of the ring says. */
struct cell {
	uint64_t index;
	uint64_t used;
	bool final; /* nothing is given back */
	bool top;   /* a head is sealed; a word is one of a ring */
};

/* One life of a record, as it was when it was looked at. */
struct cells {
	struct seg_hot *hot;
	shm_word *ring; /* pairs */
	uint64_t life;
	uint64_t cell_ticks;
	uint64_t numbers;
	unsigned bits;
	uint64_t head;
	struct cell at; /* what the head says */
};

/* TAKE_ADMIT, or TAKE_STALE or TAKE_CORRUPT. */
enum take cells_read(const struct seg *seg, uint32_t bucket, uint32_t generation,
		     struct cells *ret_cells);

/* The same from a head that was read before, as far as cells_count() needs it. False: it cannot be. */
bool cells_look_again(const struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t head,
		      struct cells *ret_cells);

/* Units of a cell up to the head's and after it; units of `first` and all cells since. */
uint64_t cells_used(const struct cells *cells, uint64_t index);
uint64_t cells_used_since(const struct cells *cells, uint64_t first);

/* The cell that a charge which is permitted in `present` is to be counted in. */
static inline uint64_t cells_to_open(const struct cells *cells, uint64_t present)
{
	return most(present, cells->at.index + cells->at.top);
}

/*
 * Open a later cell. Whether it is, or another was faster, shows who looks again: TAKE_AGAIN.
 * TAKE_CORRUPT: the ring is not the record's.
 */
enum take cells_roll(const struct cells *cells, uint64_t index);

/* Each of these is for the head that was looked at, of an open cell. False: another was faster. */
bool cells_count(const struct cells *cells, uint64_t units);
bool cells_raise(const struct cells *cells,
		 uint64_t used, /* with what counts beside it, at least */
		 uint64_t *ret_units);
bool cells_end(const struct cells *cells); /* the life */

/* Give back to any cell. False: another was faster. */
bool cells_lower(const struct cells *cells, uint64_t index, uint64_t units);

/*
 * Lower the oldest of the cells before `end` that has anything, by at most `units`, after making all that is looked at
 * final: from then on only this lowers them. How much it was; 0: another was faster, or it has only been made final.
 */
uint64_t cells_forgive(const struct cells *cells, uint64_t end, uint64_t units);

/*
 * Whether a linked record's head and ring can be true when no clock is ahead of `latest`; how long it
 * says a cell is.
 */
bool cells_plausible(const struct seg *seg, uint32_t bucket, uint64_t latest,
		     uint64_t *ret_cell_ticks);

/*
 * All of the amount is spent in the cell of `now`, and what is impossible is forgotten. False: no extent,
 * or no numbers.
 */
bool cells_spend(struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now);

#endif
