/*
 * shm/rolling.h - so much in any period of that length
 * SPDX-License-Identifier: MIT
 *
 *	state[0]	head: [sealed 1 | cell | final 1 | used] of the present cell; bits as the numbers say
 *	state[1]	life: [1 | 0 7 | generation 32 | bucket 24]
 *	state[2]	pace: ticks before which nothing more is admitted; 0 where it was never paced
 *	state[3]	its extent (extent.h): pairs of words [life, value]. The first has the length of a
 *			cell: [1 | ticks]. The others are the ring: cell c has [1 | c | final | used]
 *			in pair c % ROLLING_RING of it
 *
 * A period, made longer by how late a request may arrive (`delay`), is cut into ROLLING_CELLS cells. Any
 * interval of that length, its ends included, touches at most one cell more. So a charge in cell j is
 * admitted if
 *
 *	cost + mark + used + what the ring has for the ROLLING_CELLS cells before j <= amount
 *
 * by one CAS of the head. When time is past cell j: seal the head (nothing is counted in it any more),
 * put it into the ring, open the present cell with a fresh head; anybody may do each step, and do it
 * again. What the ring has for the cells before j is final once j is open, but that refunds lower it, and
 * a head never returns to an earlier cell: a CAS of the head that succeeds had no less than the right
 * sum.
 *
 * Never over an exact count of any period, by whatever clock that runs evenly. Under saturating demand
 * all of the amount is used in (period + delay) * (1 + 1 / ROLLING_CELLS): of what the vendor would
 * allow,
 *
 *	1 - period / ((period + delay) * (1 + 1 / 28))
 *
 * is wasted: 3.4 % and a part for the delay (50 ms: 0.1 % of a minute, 4.6 % of a second).
 *
 * A charge whose clock was read before another's opened a later cell is counted there, and what counts
 * against it is what counts at its own time and all since. That is good for as many cells back as the
 * ring has to spare; whoever is later still waits.
 *
 * A head is compared and swapped together with the life, a word of the ring with the life beside it:
 * whoever stopped in an earlier life of the record, or before its extent was passed on, does nothing.
 *
 * Beside each other, and killed or stopped between any two instructions:
 *
 *	charge, charge	each adds only what fits beside the very head that its CAS compares
 *	charge, roll	the head is sealed first, so what is put into the ring is all that it counted
 *	roll, roll	cells only grow, in the head and in each place of the ring: a step that was done
 *			fails when it is done again
 *	give back, any	to the head while its cell is open, else to the ring once it is there: never both
 *	give back, correct	a correction makes the ring final, then adds to the head that it found
 *			before and makes that final; what is final gives nothing back
 *	credit, any	makes the ring and the head final first, so that from then on the sum only grows by charges,
 *			all in the head; then it lowers the oldest cell that has anything, from the word it summed
 *	debit, any	goes to the head, as a charge does that fits
 *	pace		state[2] first, then the head. Killed between them, a worker has only delayed the
 *			others; denied between them, it puts state[2] back if nobody has moved it on
 *	anything, new amount	one word is stored: what is admitted fits into the old or the new one
 *
 * A debt has no bound of its own: it lasts no longer than a period, whatever its size.
 *
 * Pace: the amount is spread evenly over ROLLING_CELLS + 1 cells. An admitted cost of c puts state[2] at
 * max(state[2], now - slack) + c * those cells / amount, and it admits when state[2] <= now. The slack, a
 * tenth of a second or a cell where that is less, makes up for whoever comes a little after his turn. A limit is paced by
 * the policy (LINK_PACED), or in its numbers, where a vendor was found to grant as much only evenly (rolling_paced()).
 */
#ifndef RATION_SHM_ROLLING_H
#define RATION_SHM_ROLLING_H

#include "shm/take.h"

/* How far back the ring has to go, and how many cells it has. */
#ifndef ROLLING_CELLS
#define ROLLING_CELLS 28u
#define ROLLING_RING  31u
#endif

#define ROLLING_LINES ((ROLLING_RING + 1) / 4)

_Static_assert((ROLLING_RING + 1) % 4 == 0, "whole lines");
_Static_assert(ROLLING_RING > ROLLING_CELLS, "a cell is in the ring as long as it counts");

/* link->shape */
enum rolling_shape {
	ROLLING_CELL_TICKS, /* length of a cell */
};

/* Rounded up. The period and the delay are at most 400 days. */
static inline uint64_t rolling_cell_ticks(uint64_t period_ns, uint64_t delay_ns)
{
	return ((period_ns + delay_ns) * TICKS_PER_NS + ROLLING_CELLS - 1) / ROLLING_CELLS;
}

/*
 * [stamp 4 | 0 13 | paced 1 | bits 6 | amount 40]: `bits` of a word count what is used; the length of a cell alone
 * decides it, so a new amount leaves the words good. 0 if the amount, and as much debt again, does not
 * fit beside 73 years of cells.
 */
uint64_t rolling_pack(uint64_t amount, uint64_t cell_ticks);
uint64_t rolling_amount(uint64_t numbers);
uint64_t rolling_paced(uint64_t numbers);

/*
 * Fill the extent (ROLLING_LINES) that was claimed for a record, whose generation is that of the life to
 * come, and state[1]; returns the first head. used: in the present cell (UINT64_MAX: the amount; more than that counts
 * should the amount be raised).
 */
uint64_t rolling_first(struct seg *seg, uint32_t bucket, uint32_t extent, uint64_t numbers,
		       uint64_t cell_ticks, uint64_t now, uint64_t used);

enum take rolling_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		       const struct instant *at, struct taken *ret_taken, struct shortage *ret_why);

/*
 * Charge what was looked at; looks again as long as others are faster. On anything else nothing was charged.
 * taken->charged: units; word: the cell they count in.
 */
enum take rolling_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			 const struct instant *at, struct taken *taken, struct shortage *ret_why);

/* Give back `units` of a charge (at most its own) to its cell. False: out of attempts; it stays spent. */
bool rolling_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/*
 * Charge `units` more to the present cell, into debt if need be (saturates).
 */
enum debit rolling_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units,
			 uint64_t now);

/*
 * The vendor says that `used` units of the period that ends now are spent. Never lowers; if it raises,
 * all charges until now give nothing back, nor do later ones of this cell. *ret_units: by how much. False: out of
 * attempts, or another life.
 */
bool rolling_correct(struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t used,
		     uint64_t now, uint64_t *ret_units);

/*
 * The vendor says that no more than `used` units of the period that ended lately were spent. What was charged since `late`
 * it may not know yet; what else we count beyond that is given back, the oldest first, and charges until now give nothing
 * back any more. *ret_units: how much. False: out of attempts, or another life.
 */
bool rolling_credit(struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t used,
		    uint64_t late, uint64_t now, uint64_t *ret_units);

/*
 * Units that counted in the period that ended at `then` and do not in the one that ends now. False: that was too long ago
 * to know, or another life.
 */
bool rolling_gone(const struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t then,
		  uint64_t now, uint64_t *ret_units);

/* Used units of the period that ends now, for displays. */
uint64_t rolling_used(const struct seg *seg, uint32_t bucket, uint64_t now);

/*
 * Before a record is reclaimed: end its life, if nothing that was charged counts any more at `now`.
 * False: it does, and the record lives on.
 */
bool rolling_close(struct seg *seg, uint32_t bucket, uint64_t now);

/*
 * Whether the words and numbers of a linked record can be true. Repair makes all of the amount spent in
 * the present cell and forgets what is impossible; cell_ticks: as in the link's shape. True: something
 * was wrong. The supervisor, or the owner of an embedded segment, only.
 */
bool rolling_plausible(const struct seg *seg, uint32_t bucket, uint64_t now);
bool rolling_repair(struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now);

#endif
