/*
 * shm/index.h - from an identity to its one bucket
 * SPDX-License-Identifier: MIT
 *
 * A chained hash. A record is claimed (one CAS on its owner word), filled in while nobody else can
 * find it, and pushed by one CAS on the head of its chain; if that fails the chain is searched
 * again from its new head, so one identity never gets two live records. Dead ones (reclaim.h) are passed over.
 *
 * Only the supervisor takes records out of a chain, and each time the chain's tag moves: list.h.
 *
 * Killed anywhere: before the push, the record is named in the worker's claim word and
 * index_recover() frees it; after it, the record is simply there.
 *
 * A table without a free record is searched once; after that an insert fails at once until a record has become free.
 */
#ifndef RATION_SHM_INDEX_H
#define RATION_SHM_INDEX_H

#include "shm/hash.h"
#include "shm/layout.h"

/* All that a new bucket starts with. */
struct bucket_spec {
	struct hash128 identity; /* never 0, 0 */
	enum seg_kind kind;
	uint64_t numbers;
	uint64_t max_debt; /* units; 0: no bound of its own */
	uint64_t now;      /* ticks; the clock that `state` was made from */
	/*
	 * First values of the state words; a token bucket starts full: state[0], the TAT, is now. Its state[1], the
	 * refund sum, goes on from whatever it was; state[3] of kinds with an extent is that.
	 */
	uint64_t state[3];
	uint32_t scope;
	const char *names[6];  /* enum seg_name; NULL or "": none */
	uint32_t extent_lines; /* 0: none */
	/* Fills all words of the extent, and state[1]; returns the first value of state[0]. */
	uint64_t (*fill)(struct seg *seg, uint32_t bucket, uint32_t first_line, void *user);
	void *user;
};

/* Which record, and which of its lives. */
struct bucket_ref {
	uint32_t bucket;
	uint32_t generation;
};

enum index_result {
	INDEX_FOUND,
	INDEX_ABSENT,
	INDEX_FULL,
	INDEX_CORRUPT, /* a chain leaves the table or does not end */
	INDEX_AGAIN,   /* out of attempts, or the caller's clock is of an earlier life's time */
};

enum index_result index_find(const struct seg *seg, struct hash128 identity,
			     struct bucket_ref *ret_ref);

/* Find, or make. slot: the caller's worker slot; one insert at a time for each slot. */
enum index_result index_insert(struct seg *seg, uint32_t slot, const struct bucket_spec *spec,
			       struct bucket_ref *ret_ref);

/* Free the record that the (dead) worker in this slot had claimed but not linked. Supervisor only.
 */
void index_recover(struct seg *seg, uint32_t slot);

/*
 * Take a dead record out of its chain; harmless to repeat, also where it is in it no more. False: the chain does not
 * lead anywhere, or others were always faster: not done. Whoever reclaims only (reclaim.h).
 */
bool index_unlink(struct seg *seg, uint32_t bucket);

#endif
