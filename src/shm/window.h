/*
 * shm/window.h - so much in each second, hour, day or month of the calendar
 * SPDX-License-Identifier: MIT
 *
 *	state[0], state[1]	window i counts in state[i & 1]: [index | used], how many bits each takes stands
 *				in the numbers. Both change together, by one 16-byte CAS.
 *	state[2]		pace: ticks before which nothing more is admitted; 0 where it was never paced
 *	state[3]		ticks of the last downward correction: charges permitted before it give nothing back
 *
 * Which window it is now the handle knows (calendar.h); resolving works it out, and the handle is resolved
 * again when that window is over. The vendor counts arrivals by a clock that may be `clock_skew` off, and a
 * request may arrive `delay` late. So within [end - clock_skew - delay, end] and [start, start + clock_skew]
 * a charge counts in both windows, in one step: either both have room or nothing is charged.
 *
 * Safe by: a charge adds only where used + cost + mark <= amount held for the very word that the CAS compares. A
 * word whose index is ahead of the clock's wins: a wall clock that went back re-opens nothing. A new window
 * begins by the charge that first names it. A refund names its window and does nothing once the word has moved on.
 * Words do not repeat across lives of a record: the supervisor reclaims one only when both its windows are over,
 * and charge and refund look at the generation after loading the words.
 *
 * Pace: remaining * (1 - margin is in the amount already) spread over the time to the end: an admitted cost of c
 * puts state[2] at max(state[2], now) + c * (end - now) / remaining; it admits when state[2] <= now. state[2] goes
 * first: killed in between, a worker has only delayed others.
 */
#ifndef RATION_SHM_WINDOW_H
#define RATION_SHM_WINDOW_H

#include "shm/take.h"

/* link->shape of a window: ns since 1970 (UTC), as two's complement where it says so. */
enum window_shape {
	WINDOW_INDEX,  /* of the window that holds [start, end) */
	WINDOW_START,  /* int64_t */
	WINDOW_END,    /* int64_t */
	WINDOW_BEFORE, /* ns before the end from which the next window is charged too */
	WINDOW_AFTER,  /* ns after the start during which the one before is charged too */
};

/*
 * [stamp 4 | 0 14 | bits 6 | amount 40]: `bits` of a state word count what is used, the rest are the index.
 * Returns 0 if the amount does not fit. index_max: the largest index that will ever be (50 years ahead).
 */
uint64_t window_pack(uint64_t amount, uint64_t index_max);
uint64_t window_amount(uint64_t numbers);

/* What state[0] and state[1] are for a new record: nothing used, or (spent) all of this window and the next. */
void window_first(uint64_t numbers, uint64_t index, bool spent, uint64_t ret_state[2]);

enum take window_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		      const struct instant *at, struct taken *ret_taken, struct shortage *ret_why);

/* Charge what was looked at; looks again as long as others are faster. On anything else nothing was charged. */
enum take window_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			const struct instant *at, struct taken *taken, struct shortage *ret_why);

/* Give back `units` of a charge (at most its own). False: out of attempts; it stays spent. */
bool window_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/* Charge `units` more to the window(s) of a charge, or to those that came after; into debt if need be (saturates). */
bool window_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/* Used units of window `index`, for displays. */
uint64_t window_used(const struct seg_hot *hot, uint64_t index);

/* Whether the words of a linked window can be true when the current window is `index`. */
bool window_plausible(const struct seg_hot *hot, uint64_t index);
bool window_repair(struct seg_hot *hot, uint64_t index);

#endif
