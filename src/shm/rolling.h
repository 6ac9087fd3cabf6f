/*
 * shm/rolling.h - so much in any period of that length
 * SPDX-License-Identifier: MIT
 *
 *	state[0]	head: [sealed 1 | cell | used] of the present cell; bits as the numbers say
 *	state[1]	pace: ticks before which nothing more is admitted
 *	state[2]	ticks of the last downward correction
 *	state[3]	its extent (extent.h): ROLLING_RING words [1 | cell | used], cell c in word c % ROLLING_RING
 *
 * A period (made longer by `delay`) is cut into 20 cells. A charge in cell j is admitted if used + cost + mark +
 * the sum of the ring's cells j-20 ... j-1 <= amount, by one CAS of the head. When time is past cell j: seal the
 * head (no charge any more), put (j, used) into the ring, open the present cell with a fresh head; anybody may do
 * each step again. What the sum was is final once j is open (refunds only lower it), and a head never returns
 * to an earlier cell, so a CAS that succeeds had the right sum. Any period touches at most 21 cells: never over; at
 * most 1/21 of the amount is unused under saturating demand (4.8 %).
 *
 * A head whose cell is ahead of `now` (another process's later clock): wait until that cell begins, so that
 * nothing is admitted at a time that is counted elsewhere.
 */
#ifndef RATION_SHM_ROLLING_H
#define RATION_SHM_ROLLING_H

#include "shm/take.h"

#define ROLLING_CELLS 20u
#define ROLLING_RING  24u /* 3 lines */

/* link->shape */
enum rolling_shape {
	ROLLING_CELL_TICKS, /* length of a cell: (period + delay) / 20, rounded up */
};

/* A period is made longer by how late a request may arrive, and cut into cells. */
static inline uint64_t rolling_cell_ticks(uint64_t period_ns, uint64_t delay_ns)
{
	return ((period_ns + delay_ns) * TICKS_PER_NS + ROLLING_CELLS - 1) / ROLLING_CELLS;
}

/* [stamp 4 | 0 14 | bits 6 | amount 40] as window_pack(); 0 if the amount does not fit beside 73 years of cells. */
uint64_t rolling_pack(uint64_t amount, uint64_t cell_ticks);
uint64_t rolling_amount(uint64_t numbers);

/* Fill a claimed extent and return the first head. spent: the whole amount counts as used in the present cell. */
uint64_t rolling_first(struct seg *seg, uint32_t extent, uint64_t numbers, uint64_t cell_ticks,
		       uint64_t now, bool spent);

enum take rolling_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		       const struct instant *at, struct taken *ret_taken, struct shortage *ret_why);
enum take rolling_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			 const struct instant *at, struct taken *taken, struct shortage *ret_why);

/* Give back `units` of a charge to the cell it was counted in. False: out of attempts; it stays spent. */
bool rolling_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/* Charge more, to the present cell, into debt if need be (saturates). */
bool rolling_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/* Used units of the period that ends now, for displays. cell_ticks as in the link's shape. */
uint64_t rolling_used(const struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now);

bool rolling_plausible(const struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now);
bool rolling_repair(struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now);

#endif
