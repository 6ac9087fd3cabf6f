/*
 * shm/chain.h - all buckets of a key, or none
 * SPDX-License-Identifier: MIT
 *
 * An acquire first looks at every link with plain loads, and writes nothing if one of them denies.
 * Then it charges link by link. If a link has filled up in between, the links before it are given
 * back (chain_give_back, which needs a clock of its own time: bucket.h says why) and the acquire is
 * denied, or looks once more where another combination of links may do. Killed half-way, a worker has
 * only spent.
 */
#ifndef RATION_SHM_CHAIN_H
#define RATION_SHM_CHAIN_H

#include <ration/ration.h>

#include "shm/bucket.h"
#include "shm/contest.h"
#include "shm/gate.h"
#include "shm/queue.h"

/* Limits, and behind them the gates that there are; so a probe is claimed when all else was charged. */
#define CHAIN_LINKS_MAX (RATION_LINKS_MAX + RATION_GATES_MAX)

/* A cost whose unit is already hashed. */
struct charge {
	uint32_t unit;
	uint64_t amount;
};

/* What the links said. */
struct verdict {
	uint32_t link; /* the one that decided: of those that deny, the last to have room again */
	uint64_t needed;
	struct shortage why;
};

/* A link that is to be charged. */
struct choice {
	uint32_t link;
	struct demand demand;
	struct taken taken;
};

/* One acquire. */
struct draw {
	/* Filled in by whoever asks. */
	const struct link *links;
	uint32_t n_links;
	uint32_t class_index;
	struct instant at;
	uint64_t lease;                  /* what takes a slot: slots_lease() */
	uint64_t seed;                   /* gates: the asker's own (take.h) */
	const struct queue_place *place; /* where the asker stands in line, or NULL */
	bool alone;                      /* as if nobody stood in any line */
	uint64_t units[CHAIN_LINKS_MAX];
	/* What chain_look() chose, and why it chose nothing. */
	uint32_t n_chosen;
	struct choice chosen[CHAIN_LINKS_MAX];
	struct verdict verdict;
	bool shadow; /* a link in shadow mode would have denied: the verdict is about it */
	bool again;  /* the charge failed where another look may choose otherwise */
};

/* What each link is to be charged. False: the costs do not name its unit and it has no default. */
bool chain_units(struct draw *draw, const struct charge *costs, uint32_t n_costs);

/*
 * Choose what to charge, with plain loads (a waiters' hint that nobody stands behind is cleared on the way). Of
 * several links that deny, the one that is the last to have room decides; anything that waiting does not cure
 * decides at once.
 */
enum take chain_look(struct seg *seg, struct draw *draw);

/* The bucket in whose line to wait for a link, and as which class. */
uint32_t chain_line(const struct draw *draw, uint32_t i, uint32_t *ret_class);

/* What a link has left for this class and how much it ever has, whoever waits for it. False: not known. */
bool chain_room(struct seg *seg, const struct draw *draw, uint32_t i, struct shortage *ret_why);

/*
 * Charge what was chosen; the ticket's links are what was charged. On anything but TAKE_ADMIT the caller gives
 * those back with chain_give_back().
 */
enum take chain_charge(struct seg *seg, struct draw *draw, struct ration_ticket *ticket);

/*
 * Give back what each link of a ticket was charged, as far as time has not, and end its leases (cancel). False: not all
 * of those were there any more.
 */
bool chain_give_back(struct seg *seg, const struct ration_ticket *ticket, seg_clock *clock,
		     void *user);

/* Correct one link from its estimate to `actual` units. Not for leases. */
void chain_settle_link(struct seg *seg, const struct ration_ticket *ticket, uint32_t link,
		       uint64_t actual, seg_clock *clock, void *user);

/* End the leases of a ticket; what else it took stays as it is. False: not all of them were there any more. */
bool chain_release(struct seg *seg, const struct ration_ticket *ticket);
bool chain_abandon(struct seg *seg, const struct ration_ticket *ticket, uint64_t now);

/* --- the usual acquire: token buckets that stand alone, at their default cost --- */

#define LINK_UNUSUAL (LINK_BACKING | LINK_OR | LINK_RELEASED | LINK_SHADOW | LINK_CLAMP)

static inline bool link_is_plain(const struct link *link)
{
	return LINK_KIND(link->flags) == KIND_BUCKET && !(link->flags & LINK_UNUSUAL);
}

/* Work out what a link's default cost comes to under the numbers its bucket has now. */
void chain_hint(const struct seg *seg, struct link *link);

/* Begin a ticket's link: what to charge, and how much. False: no such unit, and no default. */
static inline bool chain_prepare(const struct link *link, const struct charge *costs,
				 uint32_t n_costs, struct ration_ticket_link *taken)
{
	taken->bucket = link->bucket;
	taken->generation = link->generation;
	taken->unit = link->unit;
	taken->flags = link->flags;
	for (uint32_t i = 0; i < n_costs; i++) {
		if (costs[i].unit == link->unit) {
			taken->amount = costs[i].amount;
			return true;
		}
	}
	taken->amount = link->default_cost;
	return (link->flags & LINK_HAS_DEFAULT) != 0;
}

/*
 * Look at one prepared plain link. True: it admits, nobody of the class or of a more protected one waits for it, the
 * class is marked as one that draws from it, and the ticket's link holds what charging it needs. False: it denies, or
 * something is unusual: chain_look() finds out.
 */
static inline bool chain_admits(const struct seg *seg, const struct link *link,
				uint32_t class_index, struct ration_ticket_link *taken,
				uint64_t now)
{
	const struct seg_hot *hot = &seg->hot[link->bucket];
	const uint32_t mark = UINT32_C(1) << (KIND_RECENT_SHIFT + class_index);
	const uint32_t waiters = ((UINT32_C(2) << class_index) - 1) << KIND_WAITERS_SHIFT;

	taken->refunds = shm_load(&hot->state[1]);
	taken->word = shm_load(&hot->state[0]);
	if (shm_load_relaxed(&hot->numbers) != link->numbers ||
	    taken->amount != link->default_cost ||
	    shm_half_load(&hot->generation) != link->generation ||
	    (shm_half_load(&hot->kind) & (waiters | mark)) != mark)
		return false;
	taken->charged = link->ticks;
	/* RECORD_DEAD is further ahead than any room; room is some years at most. */
	return taken->word <= now + link->room;
}

/*
 * Charge plain links that chain_admits() found good, under these numbers (link->numbers), from ticket->n_links to `n`.
 * True: all of them. False: another was faster at link ticket->n_links. Those before it are charged: look at it again
 * and go on, or give them back.
 */
static inline bool chain_charge_plain(struct seg *seg, struct ration_ticket *ticket, uint32_t n,
				      const bucket_numbers numbers[], uint64_t now)
{
	for (; ticket->n_links < n; ticket->n_links++) {
		struct ration_ticket_link *link = &ticket->links[ticket->n_links];

		/* All n were written: NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
		if (!bucket_try(&seg->hot[link->bucket], now, numbers[ticket->n_links],
				link->charged, &link->word))
			return false;
	}
	return true;
}

#endif
