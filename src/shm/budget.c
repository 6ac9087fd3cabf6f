/*
 * shm/budget.c - how many retries are left: a budget that all processes share
 * SPDX-License-Identifier: MIT
 */
#include "shm/budget.h"

#include <string.h>

#include "shm/hash.h"
#include "shm/take.h"

/* Cells looked at before one gives up. */
#define PROBES 16u

#define PPM  UINT64_C(1000000)
#define MOST (BUDGET_MOST * PPM)

/* What is left stands in the word one higher: 0 is a cell that nobody has used. */
static uint64_t left_of(uint64_t word)
{
	const uint64_t left = word == 0 ? BUDGET_FIRST * PPM : word - 1;

	return left < MOST ? left : MOST;
}

uint64_t budget_key(const char *vendor, const char *traffic_class)
{
	/* Names come from the policy, not from tenants, so the hash needs no secret. */
	static const uint64_t no_secret[2];
	const struct hash128 a = hash_keyed(no_secret, vendor, strlen(vendor));
	const struct hash128 b = hash_keyed(a.word, traffic_class, strlen(traffic_class));

	return b.word[0] | 1;
}

/* NULL: every cell that it could have is another's. */
static struct seg_budget *find(const struct seg *seg, uint64_t key, bool make)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		struct seg_budget *cell = &seg->budgets[((key >> 1) + i) % SEG_BUDGETS];
		uint64_t holder = shm_load(&cell->key);

		if (holder == key ||
		    (make && holder == 0 && (shm_cas(&cell->key, &holder, key) || holder == key)))
			return cell;
	}
	return NULL;
}

void budget_earn(struct seg *seg, uint64_t key, uint32_t ppm)
{
	struct seg_budget *cell = find(seg, key, true);

	for (int i = 0; cell && i < CAS_ATTEMPTS; i++) {
		uint64_t word = shm_load(&cell->left);
		const uint64_t left = left_of(word), more = left + ppm < MOST ? left + ppm : MOST;

		/* At its most no first try writes anything. */
		if (word == more + 1 || shm_cas(&cell->left, &word, more + 1))
			return;
	}
}

bool budget_spend(struct seg *seg, uint64_t key)
{
	struct seg_budget *cell = find(seg, key, true);

	for (int i = 0; cell && i < CAS_ATTEMPTS; i++) {
		uint64_t word = shm_load(&cell->left);
		const uint64_t left = left_of(word);

		if (left < PPM) {
			shm_add(&cell->refused, 1);
			return false;
		}
		if (shm_cas(&cell->left, &word, left - PPM + 1)) {
			shm_add(&cell->spent, 1);
			return true;
		}
	}
	return cell == NULL;
}

bool budget_find(const struct seg *seg, uint64_t key, struct budget *ret_budget)
{
	const struct seg_budget *cell = find(seg, key, false);

	if (!cell)
		return false;
	*ret_budget = (struct budget){
		.left = (double)left_of(shm_load_relaxed(&cell->left)) / (double)PPM,
		.spent = shm_load_relaxed(&cell->spent),
		.refused = shm_load_relaxed(&cell->refused),
	};
	return true;
}
