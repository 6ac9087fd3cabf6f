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

/* One bucket to pass, as a handle keeps it: whole words, so that handles can publish it word by
 * word. */
struct link {
	uint32_t bucket;
	uint32_t generation;
	uint32_t unit;  /* hash_unit() of its name */
	uint32_t limit; /* index in the policy of the chain's generation */
	uint64_t default_cost;
	uint32_t kind;
	uint32_t has_default_cost;
};

/* A cost whose unit is already hashed. */
struct charge {
	uint32_t unit;
	uint64_t amount;
};

enum chain_result {
	CHAIN_ADMIT,
	CHAIN_WAIT,
	CHAIN_NEVER,
	CHAIN_NO_UNIT, /* verdict.link: the limit whose unit the costs do not name */
	CHAIN_STALE,
	CHAIN_CORRUPT,
	CHAIN_AGAIN,
};

/* What the links said. */
struct verdict {
	uint32_t link; /* the one that decided: of those that deny, the last to have room again */
	uint64_t retry_at; /* ticks */
	uint64_t left;
	uint64_t size;
	uint64_t needed;
};

/*
 * Look, then charge. ticket: n_links and links[] are written, those that were charged first. On
 * anything but CHAIN_ADMIT the caller must give back ticket->links[0 ... n_links - 1] with
 * chain_give_back (n_links is 0 if nothing was charged).
 */
enum chain_result chain_acquire(struct seg *seg, const struct link *links, uint32_t n_links,
				const struct charge *costs, uint32_t n_costs, uint64_t now,
				struct ration_ticket *ticket, struct verdict *ret_verdict);

/* The clock a refund reads between its two steps: ticks now. */
typedef uint64_t chain_clock(void *user);

/* Give back what each link of a ticket was charged, as far as time has not (cancel). */
void chain_give_back(struct seg *seg, const struct ration_ticket *ticket, chain_clock *clock,
		     void *user);

/* Correct one link from its estimate to `actual` units. */
void chain_settle_link(struct seg *seg, const struct ration_ticket_link *link, uint64_t actual,
		       chain_clock *clock, void *user);

#endif
