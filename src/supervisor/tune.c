/*
 * supervisor/tune.c - the numbers of live buckets follow the policy
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/tune.h"

#include "client/client.h"
#include "shm/hash.h"
#include "shm/names.h"

/* What a cold line says, copied out once. */
struct described {
	char limit[sizeof(((struct limit_name *)0)->name) + 1];
	char value[KEY_FIELDS][RATION_KEY_MAX + 2]; /* a longer one cannot pass for a shorter */
	const char *field[KEY_FIELDS];
	uint32_t scope;
};

static void describe(const struct seg *seg, uint32_t bucket, struct described *d)
{
	const struct seg_cold *cold = &seg->cold[bucket];

	names_copy(seg, shm_half_load(&cold->names[NAME_LIMIT]), d->limit, sizeof(d->limit));
	for (int i = 0; i < KEY_FIELDS; i++) {
		names_copy(seg, shm_half_load(&cold->names[NAME_TENANT + i]), d->value[i],
			   sizeof(d->value[i]));
		d->field[i] = d->value[i];
	}
	d->scope = shm_half_load(&cold->scope);
}

static bool identity_matches(const struct seg_hot *hot, struct hash128 identity)
{
	return shm_load_relaxed(&hot->identity[0]) == identity.word[0] &&
	       shm_load_relaxed(&hot->identity[1]) == identity.word[1];
}

/* A limit that kept its name but changed its shape has other buckets: these are orphans. */
static bool same_shape(const struct blob_limit *limit, const struct seg_hot *hot, uint32_t scope)
{
	return limit->scope == scope && limit->kind == (shm_half_load(&hot->kind) & 0xff);
}

static enum tune_result set_numbers(struct seg_hot *hot, bucket_numbers wanted, seg_clock *clock,
				    void *user)
{
	const bucket_numbers found = shm_load_relaxed(&hot->numbers);

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
	return bucket_retune(hot, wanted, clock, user) ? TUNE_CHANGED : TUNE_BUSY;
}

enum tune_result tune_bucket(struct seg *seg, const struct published *published, uint32_t bucket,
			     seg_clock *clock, void *user)
{
	const struct blob *blob = &published->blob;
	struct seg_hot *hot = &seg->hot[bucket];
	const struct blob_numbers *numbers;
	struct described d;
	uint32_t limit, tenant;

	describe(seg, bucket, &d);
	limit = published_limit(published, d.limit);
	if (limit == BLOB_NO_INDEX || !same_shape(&blob->limits[limit], hot, d.scope))
		return TUNE_ORPHAN;
	if (!identity_matches(hot, client_identity(blob, limit, d.field)))
		return TUNE_UNREADABLE;
	/* The tenant counts only where the scope names it, so it is part of what was hashed. */
	tenant = d.scope & RATION_SCOPE_TENANT ? blob_find_tenant(blob, d.field[KEY_TENANT])
					       : BLOB_NO_INDEX;
	numbers = blob_numbers_for(blob, limit, tenant);
	return set_numbers(hot,
			   bucket_restamp(numbers->effective, (uint32_t)blob->header->generation),
			   clock, user);
}
