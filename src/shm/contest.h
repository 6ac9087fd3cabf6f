/*
 * shm/contest.h - whom a limit in shadow mode would have denied, and who was competing then
 * SPDX-License-Identifier: MIT
 *
 * Before a limit is enforced its operator wants to know which class would have lost to which. A record's kind word has
 * a bit for each class that has drawn from it lately (layout.h: KIND_RECENT); an acquire finds its own bit set and
 * writes nothing. Only a shadow denial is counted here, so the path of an enforced limit never comes by.
 *
 * A cell belongs to a limit (whatever its buckets) and a class from the first count on. There are SEG_CONTESTS cells;
 * what finds none is not counted. Whoever is killed between two counters leaves one behind by one.
 */
#ifndef RATION_SHM_CONTEST_H
#define RATION_SHM_CONTEST_H

#include "shm/layout.h"

/* Mark a class as one that draws from a record; a load if it is marked already. */
static inline void contest_mark(struct seg_hot *hot, uint32_t class_index)
{
	const uint32_t bit = UINT32_C(1) << (KIND_RECENT_SHIFT + class_index);

	if (!(shm_half_load(&hot->kind) & bit))
		shm_half_or(&hot->kind, bit);
}

/* Those that have drawn since the last call are recent for one more turn; others are so no longer. */
void contest_age(struct seg_hot *hot);

/* A limit and a class; `limit` is "vendor/limit", or "limit" for one of all vendors. */
uint64_t contest_key(const char *limit, uint32_t class_index);

/* Count one denial of `units`; `classes` are those that competed (bit mask). Lossy when all cells are taken. */
void contest_count(struct seg *seg, uint64_t key, uint32_t classes, uint64_t units, uint64_t now);

struct contest {
	uint64_t denied;  /* acquires */
	uint64_t units;   /* that they wanted */
	uint64_t last_at; /* ticks */
	uint64_t with[8]; /* in how many of them each class had drawn from the same bucket lately */
};

/* False: never counted. */
bool contest_find(const struct seg *seg, uint64_t key, struct contest *ret_contest);

#endif
