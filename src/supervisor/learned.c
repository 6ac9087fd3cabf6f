/*
 * supervisor/learned.c - numbers that a vendor taught us instead of the policy's
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/learned.h"

#include "policy/policy.h"
#include "shm/learn.h"
#include "shm/rolling.h"
#include "shm/saturate.h"
#include "shm/view.h"

/* Where a rate in whole units is too coarse, it is told over a longer time. */
#define FINER      UINT64_C(1024)
#define FINER_MOST (UINT64_C(86400) * 1000000000)

static struct hash128 identity_of(const struct seg *seg, uint32_t bucket)
{
	const struct seg_hot *hot = &seg->hot[bucket];

	return (struct hash128){{shm_load(&hot->identity[0]), shm_load(&hot->identity[1])}};
}

/* To the nearest: of few slots a part is as good as one. At least 1, and no more than anybody can ask for. */
static uint64_t scaled(uint64_t units, uint64_t by, uint64_t of)
{
	return least(most(sum(ratio(units, 2 * by, of, false), 1) / 2, 1), RATION_COST_MAX);
}

static void scale(const struct blob_limit *limit, struct blob_numbers *n, uint64_t by, uint64_t of)
{
	if (by == of)
		return;
	if (limit->kind == KIND_BUCKET && n->period_ns <= FINER_MOST &&
	    n->amount <= RATION_COST_MAX / FINER) {
		n->amount *= FINER;
		n->period_ns *= FINER;
	}
	n->amount = scaled(n->amount, by, of);
	if (limit->kind == KIND_BUCKET)
		n->burst = scaled(n->burst, by, of);
}

uint64_t learned_effective(const struct seg *seg, uint32_t bucket, const struct blob *blob,
			   const struct blob_limit *limit, const struct blob_numbers *numbers,
			   uint64_t now)
{
	struct blob_numbers n = *numbers;
	struct learn_pace pace;
	struct bucket_ref view;
	uint64_t told, word;

	if (limit->role != LIMIT_WRITTEN ||
	    index_find(seg, view_identity(identity_of(seg, bucket)), &view) != INDEX_FOUND)
		return numbers->effective;
	told = view_value(seg, view, VIEW_LIMIT);
	if (told > 1 && limit->flags & LIMIT_ADOPTS)
		scale(limit, &n, told - 1, n.amount);
	word = view_value(seg, view, VIEW_LEARNED);
	pace = learn_pace_of(numbers, limit->flags & LIMIT_SEEKS);
	scale(limit, &n, learn_share(word, now, &pace), LEARN_ALL);
	if (!policy_repack(blob, limit, &n))
		return numbers->effective;
	return limit->kind == KIND_ROLLING && learn_is_spread(word) ? rolling_paced(n.effective)
								    : n.effective;
}

bool learned_subject(const struct seg *seg, uint32_t view, uint32_t *ret_bucket)
{
	const struct bucket_ref ref = {view, shm_half_load(&seg->hot[view].generation)};
	struct bucket_ref found;

	if (view_value(seg, ref, VIEW_LEARNED) == 0 && view_value(seg, ref, VIEW_LIMIT) == 0)
		return false;
	/* The view of a view is its bucket: the same bits are turned back. */
	if (index_find(seg, view_identity(identity_of(seg, view)), &found) != INDEX_FOUND)
		return false;
	*ret_bucket = found.bucket;
	return true;
}
