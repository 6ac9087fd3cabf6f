/*
 * shm/chain.h - all buckets of a key, or none
 * SPDX-License-Identifier: MIT
 *
 * An acquire first looks at every link with plain loads, and writes nothing if one of them denies.
 * Then it charges link by link. If a link has filled up in between, the links before it are given
 * back (chain_give_back, which needs a clock of its own time: bucket.h says why) and the acquire is
 * denied. Killed half-way, a worker has only spent.
 */
#ifndef RATION_SHM_CHAIN_H
#define RATION_SHM_CHAIN_H

#include <ration/ration.h>

#include "shm/bucket.h"

/* A cost whose unit is already hashed. */
struct charge {
	uint32_t unit;
	uint64_t amount;
};

/*
 * Begin a ticket's link: what to charge, and how much. False: the costs do not name its unit and it
 * has no default.
 */
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

/* What the links said. */
struct verdict {
	uint32_t link; /* the one that decided: of those that deny, the last to have room again */
	uint64_t retry_at; /* ticks */
	uint64_t left;
	uint64_t size;
	uint64_t needed;
};

/* Work out what a link's default cost comes to under the numbers its bucket has now. */
void chain_hint(const struct seg *seg, struct link *link);

/*
 * Look at one prepared link. True: it admits, and the ticket's link holds what charging it needs. False: it
 * denies, or something is unusual: chain_look() finds out.
 */
static inline bool chain_admits(const struct seg *seg, const struct link *link,
				struct ration_ticket_link *taken, uint64_t now)
{
	const struct seg_hot *hot = &seg->hot[link->bucket];

	taken->refunds = shm_load(&hot->state[1]);
	taken->word = shm_load(&hot->state[0]);
	if (shm_load_relaxed(&hot->numbers) != link->numbers ||
	    taken->amount != link->default_cost ||
	    shm_half_load(&hot->generation) != link->generation)
		return false;
	taken->charged = link->ticks;
	/* RECORD_DEAD is further ahead than any room. */
	return taken->word <= now || taken->word - now <= link->room;
}

/*
 * Look at the n links prepared in a ticket, with plain loads. Of several that deny, the one that is the
 * last to have room decides; anything that waiting does not cure decides at once.
 */
enum take chain_look(const struct seg *seg, struct ration_ticket *ticket, uint32_t n, uint64_t now,
		     struct verdict *ret_verdict);

/*
 * Charge n links that were looked at. ticket->n_links becomes how many were charged: on anything
 * but TAKE_ADMIT the caller gives those back with chain_give_back().
 */
enum take chain_charge(struct seg *seg, struct ration_ticket *ticket, uint32_t n, uint64_t now,
		       struct verdict *ret_verdict);

/* Give back what each link of a ticket was charged, as far as time has not (cancel). */
void chain_give_back(struct seg *seg, const struct ration_ticket *ticket, seg_clock *clock,
		     void *user);

/* Correct one link from its estimate to `actual` units. */
void chain_settle_link(struct seg *seg, const struct ration_ticket_link *link, uint64_t actual,
		       seg_clock *clock, void *user);

#endif
