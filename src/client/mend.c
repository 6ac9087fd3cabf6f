/*
 * client/mend.c - impossible values in shared memory
 * SPDX-License-Identifier: MIT
 *
 * A supervisor looks after the buckets. In an embedded segment there is none, so whoever meets an impossible value
 * puts it right.
 */
#include "client/attachment.h"
#include "shm/rolling.h"
#include "shm/window.h"

static uint64_t ticks_now(void *user)
{
	return client_now(user);
}

static bool plausible(const struct ration *ration, const struct link *link)
{
	const struct seg_hot *hot = &ration->seg.hot[link->bucket];

	switch (LINK_KIND(link->flags)) {
	case KIND_BUCKET:
		return bucket_plausible(hot, client_now(ration));
	case KIND_WINDOW:
		return window_plausible(hot, UINT64_MAX, client_now(ration));
	case KIND_ROLLING:
		return rolling_plausible(&ration->seg, link->bucket, client_now(ration));
	case KIND_GATE:
		return gate_plausible(&ration->seg, link->bucket, client_now(ration));
	default:
		return true;
	}
}

static bool repair(struct ration *ration, const struct link *link)
{
	struct seg_hot *hot = &ration->seg.hot[link->bucket];

	switch (LINK_KIND(link->flags)) {
	case KIND_BUCKET:
		return bucket_repair(hot, ticks_now, ration);
	case KIND_WINDOW:
		return window_repair(hot, link->shape[WINDOW_INDEX], client_now(ration));
	case KIND_ROLLING:
		return rolling_repair(&ration->seg, link->bucket, link->shape[ROLLING_CELL_TICKS],
				      client_now(ration));
	case KIND_GATE:
		return gate_repair(&ration->seg, link->bucket, client_now(ration));
	default:
		return false;
	}
}

static bool mend_numbers(struct ration_handle *handle, const struct link *link)
{
	struct ration *ration = handle->ration;
	struct seg_hot *hot = &ration->seg.hot[link->bucket];
	const struct blob *blob = policy_enter(ration);
	const uint32_t tenant = blob_find_tenant(blob, handle->field[KEY_TENANT]);
	const struct blob_numbers *numbers =
		blob_numbers_for(blob, LINK_LIMIT(link->flags), tenant);
	const uint64_t wanted =
		bucket_restamp(numbers->effective, (uint32_t)blob->header->generation);
	const bool other = shm_load_relaxed(&hot->numbers) != wanted;

	if (other)
		shm_store(&hot->numbers, wanted);
	policy_leave(ration);
	return other;
}

int mend_corrupt(struct ration_handle *handle, const struct link *link)
{
	struct ration *ration = handle->ration;
	bool mended;

	if (plausible(ration, link))
		return RATION_CONTENDED;
	shm_add(&ration->seg.control->corrupt, 1);
	if (ration->socket >= 0)
		return RATION_ECORRUPT;
	mended = LINK_KIND(link->flags) != KIND_GATE && mend_numbers(handle, link);
	if (repair(ration, link))
		mended = true;
	if (mended)
		shm_add(&ration->seg.control->repaired, 1);
	return RATION_ECORRUPT;
}
