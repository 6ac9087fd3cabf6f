/*
 * supervisor/tune.c - the numbers of live buckets follow the policy
 * SPDX-License-Identifier: MIT
 *
 * What was spent stays spent, in units: a token bucket's backlog is worked out anew (bucket_retune()); windows and
 * rolling periods count units anyway; leases stay until they end (slots_retune()).
 */
#include "supervisor/tune.h"

#include "client/client.h"
#include "shm/slots.h"
#include "supervisor/learned.h"

static bool retune(struct seg *seg, const struct record *record, uint64_t wanted, seg_clock *clock,
		   void *user)
{
	struct seg_hot *hot = &seg->hot[record->bucket];

	switch (record->kind) {
	case KIND_BUCKET:
		return bucket_retune(hot, wanted, clock, user);
	case KIND_SLOTS:
		slots_retune(seg, record->bucket, wanted);
		return true;
	default:
		shm_store(&hot->numbers, wanted);
		return true;
	}
}

enum tune_result tune_record(struct seg *seg, const struct record *record, const struct blob *blob,
			     uint32_t limit, seg_clock *clock, void *user)
{
	const struct blob_numbers *numbers = record_numbers(record, blob, limit);
	const uint64_t effective = learned_effective(seg, record->bucket, blob,
						     &blob->limits[limit], numbers, clock(user));
	const uint64_t wanted = bucket_restamp(effective, (uint32_t)blob->header->generation);
	struct seg_hot *hot = &seg->hot[record->bucket];
	const uint64_t found = shm_load_relaxed(&hot->numbers);

	shm_store_relaxed(&seg->cold[record->bucket].max_debt, numbers->max_debt);
	if (found == wanted)
		return TUNE_SAME;
	if (bucket_restamp(found, 0) == bucket_restamp(wanted, 0)) {
		/*
		 * Only the stamp is old. The supervisor alone writes the numbers of a linked
		 * bucket.
		 */
		shm_store(&hot->numbers, wanted);
		return TUNE_SAME;
	}
	return retune(seg, record, wanted, clock, user) ? TUNE_CHANGED : TUNE_BUSY;
}

enum tune_result tune_bucket(struct seg *seg, const struct published *published, uint32_t bucket,
			     seg_clock *clock, void *user, uint32_t *ret_limit)
{
	const uint32_t kind = KIND_OF(shm_half_load(&seg->hot[bucket].kind));
	const struct limit_name *name;
	struct record record;

	*ret_limit = BLOB_NO_INDEX;
	/* No limits: they have no numbers. */
	if (kind == KIND_VIEW || kind == KIND_GATE)
		return TUNE_SAME;
	record_read(seg, bucket, &record);
	name = published_name(published, record.limit);
	/* A limit that kept its name but changed its shape has other buckets: these are orphans. */
	if (!name || name->limit == BLOB_NO_INDEX)
		return TUNE_ORPHAN;
	if (!record_is(seg, &record, &published->blob, name->limit))
		return name->life > 0 || name->shape.kind != record.kind ||
				       name->shape.scope != record.scope
			       ? TUNE_ORPHAN
			       : TUNE_UNREADABLE;
	*ret_limit = name->limit;
	return tune_record(seg, &record, &published->blob, name->limit, clock, user);
}

bool tune_learned(struct seg *seg, const struct published *published, seg_clock *clock, void *user)
{
	bool any = false;
	uint32_t bucket, limit;

	for (uint32_t view = 0; view < seg->n_buckets; view++) {
		if (KIND_OF(shm_half_load(&seg->hot[view].kind)) != KIND_VIEW ||
		    !bucket_linked(seg, view) || !learned_subject(seg, view, &bucket))
			continue;
		any = true;
		if (tune_bucket(seg, published, bucket, clock, user, &limit) == TUNE_CHANGED)
			client_wake(seg, bucket, clock(user), true);
	}
	return any;
}
