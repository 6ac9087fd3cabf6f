/*
 * shm/contest.c - whom a limit in shadow mode would have denied, and who was competing then
 * SPDX-License-Identifier: MIT
 */
#include "shm/contest.h"

#include <string.h>

#include "shm/hash.h"

/* Cells looked at before one gives up. */
#define PROBES 16u

void contest_age(struct seg_hot *hot)
{
	const uint32_t word = shm_half_load(&hot->kind);
	const uint32_t recent = word >> KIND_RECENT_SHIFT & 0xff,
		       before = word >> KIND_BEFORE_SHIFT;

	if ((recent | before) == 0)
		return;
	shm_half_or(&hot->kind, recent << KIND_BEFORE_SHIFT);
	shm_half_and(&hot->kind,
		     ~(recent << KIND_RECENT_SHIFT | (before & ~recent) << KIND_BEFORE_SHIFT));
}

uint64_t contest_key(const char *limit, uint32_t class_index)
{
	/* Names come from the policy, not from tenants, so the hash needs no secret. */
	static const uint64_t no_secret[2];
	const struct hash128 hash = hash_keyed(no_secret, limit, strlen(limit));

	return hash.word[0] << 4 | 8 | (class_index & 7);
}

static struct seg_contest *cell_at(const struct seg *seg, uint64_t key, uint32_t probe)
{
	return &seg->contests[((key >> 4) + (key & 7) * PROBES + probe) % SEG_CONTESTS];
}

void contest_count(struct seg *seg, uint64_t key, uint32_t classes, uint64_t units, uint64_t now)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		struct seg_contest *cell = cell_at(seg, key, i);
		uint64_t holder = shm_load(&cell->key);

		if (holder != key &&
		    (holder != 0 || (!shm_cas(&cell->key, &holder, key) && holder != key)))
			continue;
		shm_add(&cell->denied, 1);
		shm_add(&cell->units, units);
		shm_store(&cell->last_at, now);
		for (uint32_t k = 0; k < 8; k++) {
			if (classes >> k & 1)
				shm_add(&cell->with[k], 1);
		}
		return;
	}
}

bool contest_find(const struct seg *seg, uint64_t key, struct contest *ret_contest)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		const struct seg_contest *cell = cell_at(seg, key, i);

		if (shm_load(&cell->key) != key)
			continue;
		*ret_contest = (struct contest){
			.denied = shm_load_relaxed(&cell->denied),
			.units = shm_load_relaxed(&cell->units),
			.last_at = shm_load_relaxed(&cell->last_at),
		};
		for (uint32_t k = 0; k < 8; k++)
			ret_contest->with[k] = shm_load_relaxed(&cell->with[k]);
		return true;
	}
	return false;
}
