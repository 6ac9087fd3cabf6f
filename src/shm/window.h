/*
 * shm/window.h - so much in each second, hour, day or month of the calendar
 * SPDX-License-Identifier: MIT
 *
 *	state[0], state[1]	window i counts in state[i & 1]: [index | used], how many bits each takes stands
 *				in the numbers. Both change together, by one 16-byte CAS.
 *	state[2]		pace: ticks before which nothing more is admitted; 0 where it was never paced
 *	state[3]		ticks of the last downward correction: charges permitted before it give nothing back
 *
 * Which window it is now the handle knows (calendar.h); resolving works it out. Outside that window everything
 * answers TAKE_STALE, and the handle is resolved again. The vendor counts arrivals by a clock that may be `clock_skew`
 * off, and a request may arrive `delay` late. So within [end - clock_skew - delay, end] and [start, start +
 * clock_skew] a charge counts in both windows, in one step: either both have room or nothing is charged.
 *
 * A word whose index is ahead of the clock's wins: what is charged counts in it too, or, where it took the word that
 * the clock's own window would count in, instead. So a wall clock that went back re-opens nothing.
 *
 * A new window begins by the charge that first names it. A refund names its windows and does nothing to a word that
 * has moved on.
 *
 * Beside each other, and killed or stopped between any two instructions:
 *
 *	charge, charge		each adds only what fits into the very pair of words that its CAS compares; with two words
 *				compared at once, no window can begin or fill unseen
 *	charge, give back	likewise; what is given back was counted in that word, and at most once
 *	mark, any		changes a word, so nothing that lowers or corrects the words goes on across it unnoticed
 *	credit, any		whatever lowers or corrects the words counts itself first; a give-back then looks at state[3].
 *				A credit stores state[3], reads the words, and claims its mark by a CAS of the count: who
 *				has counted itself before makes it fail, and a give-back that does so later finds the time.
 *				So from the claim on the words only grow, and the CAS of the words means what it compares
 *	give back, correct	a correction reads the clock after the words and stores state[3] before its CAS; a refund
 *				reads state[3] after the words. Either it sees the new time, or the words have grown
 *				meanwhile and its CAS fails: below a corrected sum go only charges permitted after it
 *	pace			state[2] first, then the words. Killed between them, a worker has only delayed the others;
 *				denied between them, it puts state[2] back if nobody has moved it on
 *	anything, reclaim	the words are loaded first, then the generation is compared; a record is reclaimed only when both its
 *				windows are over, and begins again at later ones, so the CAS of a worker that stood
 *				still fails. A charge looks at the generation once more afterwards: should its CAS have met
 *				the same two words in a later life, it stays spent there, and nothing was admitted. It is not
 *				taken back, since nobody can tell which of the two lives it was charged to
 *	anything, new amount	a charge that looked under the old amount, and whose CAS came after somebody counted the
 *				words under the new one (window_burden()), finds the new one after it: it stays spent,
 *				and is not admitted
 *
 * Pace: what remains is spread over the time to the end (a margin is in the amount already): an admitted cost of c puts
 * state[2] at max(state[2], now) + c * (end - now) / remaining; it admits when state[2] <= now. A time beyond the end
 * was set by a later clock, or before the wall clock was put forward, and holds all the same: were it passed over, a
 * worker that stood still over an edge would put the pace of the new window back.
 */
#ifndef RATION_SHM_WINDOW_H
#define RATION_SHM_WINDOW_H

#include "shm/index.h"
#include "shm/take.h"

/*
 * link->shape of a window: ns since 1970 (UTC), as two's complement where it says so. BEFORE + AFTER is at most the
 * length of the shortest window: the policy sees to it.
 */
enum window_shape {
	WINDOW_INDEX, /* of the window that holds [start, end); at least 1 */
	WINDOW_START, /* int64_t */
	WINDOW_END,   /* int64_t */
	WINDOW_BEFORE, /* ns before the end from which the next window is charged too: clock_skew + delay */
	WINDOW_AFTER, /* ns after the start during which the one before is charged too: clock_skew */
};

/* The longest that a window may be, in ns. */
#define WINDOW_LENGTH_MAX (UINT64_C(400) * 86400 * 1000000000)

/*
 * [stamp 4 | 0 14 | bits 6 | amount 40]: `bits` of a state word count what is used, the rest are the index.
 * index_max: the largest index that will ever be (CALENDAR_LAST_NS). It alone decides the bits, so a new amount leaves
 * the words good. Returns 0 if the amount, and as much debt again, does not fit.
 */
uint64_t window_pack(uint64_t amount, uint64_t index_max);
uint64_t window_amount(uint64_t numbers);

/*
 * What state[0] and state[1] are for a new record: so much of window `index` used (UINT64_MAX: all; more than there is
 * counts should the amount be raised), and if any, all of the one before. Then
 * index is that of the last window in which what was permitted until now may arrive: the one that holds wall + BEFORE.
 */
void window_first(uint64_t numbers, uint64_t index, uint64_t used, uint64_t ret_state[2]);

/* TAKE_STALE also means that `at` is outside the link's window. */
enum take window_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		      const struct instant *at, struct taken *ret_taken, struct shortage *ret_why);

/*
 * Charge what was looked at; looks again as long as others are faster. On anything else nothing was charged.
 * taken->charged: units; word, refunds: the windows they count in, of state[0] and state[1]; 0: none.
 */
enum take window_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			const struct instant *at, struct taken *taken, struct shortage *ret_why);

/* Give back `units` of a charge (at most its own). False: out of attempts; it stays spent. */
bool window_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/*
 * Charge `units` more to the windows of a charge and, where a later one has begun, to that too; into debt if need be
 * (saturates).
 */
enum debit window_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/*
 * The vendor says that `used` units of window `index` are spent. Never lowers; if it raises, all charges until now give
 * nothing back. *ret_units: by how much it raised. False: out of attempts, or another life.
 */
bool window_correct(struct seg *seg, struct bucket_ref bucket, uint64_t index, uint64_t used,
		    seg_clock *clock, void *user, uint64_t *ret_units);

/*
 * Put down a mark, to compare with what the vendor says later. It costs one unit: whoever is about to lower or correct the
 * words meets it and begins again, and so is counted after the mark (cold->scope). *ret_level: [count 24 | used 40].
 * False: another life, that window is not the present one, nothing is left of it, or others were faster.
 */
bool window_mark(struct seg *seg, struct bucket_ref bucket, uint64_t index, uint64_t *ret_level);

/*
 * The vendor says that of window `index`, of all that was charged when the mark was put down, no more than `used` units
 * were spent. The rest is given back, and charges until now give nothing back any more. Does nothing if anything was given
 * back or corrected since the mark, or others are faster: the next response will say it again. *ret_units: how much.
 */
void window_credit(struct seg *seg, struct bucket_ref bucket, uint64_t index, uint64_t used,
		   uint64_t level, seg_clock *clock, void *user, uint64_t *ret_units);

/*
 * `units` more of window `index` are spent elsewhere, whatever its amount is; saturates. ret_before: what was used of it.
 * Who counts after storing other numbers misses no charge that is admitted under the old ones. False: out of
 * attempts, or between two lives. The supervisor only.
 */
bool window_burden(struct seg_hot *hot, uint64_t index, uint64_t units, uint64_t *ret_before);

/* What a state word says, by the numbers that stood beside it. False: they are none. */
bool window_word(uint64_t numbers, uint64_t word, uint64_t *ret_index, uint64_t *ret_used);

/* Used units of window `index`, for displays. */
uint64_t window_used(const struct seg_hot *hot, uint64_t index);

/*
 * Whether the words and numbers of a linked window can be true at `now` when no window after `latest` has begun;
 * UINT64_MAX: not known. Repair puts in place of a word that cannot be a window all of which is spent, and needs
 * `latest`. True: something was wrong.
 */
bool window_plausible(const struct seg_hot *hot, uint64_t latest, uint64_t now);
bool window_repair(struct seg_hot *hot, uint64_t latest, uint64_t now);

#endif
