/*
 * client/view.c - the record of what a vendor has told of a bucket
 * SPDX-License-Identifier: MIT
 */
#include "client/view.h"

#include "client/attachment.h"
#include "client/make.h"
#include "shm/view.h"

static bool identity_of(const struct ration *ration, struct bucket_ref bucket,
			struct hash128 *ret_identity)
{
	const struct seg_hot *hot;

	if (bucket.bucket >= ration->seg.n_buckets)
		return false;
	hot = &ration->seg.hot[bucket.bucket];
	ret_identity->word[0] = shm_load(&hot->identity[0]);
	ret_identity->word[1] = shm_load(&hot->identity[1]);
	/* The generation last: both words were of this life. */
	return shm_half_load(&hot->generation) == bucket.generation;
}

bool client_view_find(const struct ration *ration, struct bucket_ref bucket,
		      struct bucket_ref *ret_view)
{
	struct hash128 identity;

	return identity_of(ration, bucket, &identity) &&
	       index_find(&ration->seg, view_identity(identity), ret_view) == INDEX_FOUND;
}

enum index_result client_view_make(struct seg *seg, uint32_t slot, const struct blob *blob,
				   uint32_t limit, const char *const field[KEY_FIELDS],
				   struct hash128 bucket, uint64_t now, struct bucket_ref *ret_view)
{
	const struct blob_limit *l = &blob->limits[limit];
	struct bucket_spec spec = view_spec(bucket, &now);
	char name[LIMIT_NAME_SIZE];

	limit_name(blob, l, name, sizeof(name));
	spec.scope = l->scope;
	spec.names[NAME_LIMIT] = name;
	for (int i = 0; i < KEY_FIELDS; i++) {
		if (l->scope & 1u << i)
			spec.names[NAME_TENANT + i] = field[i];
	}
	return index_insert(seg, slot, &spec, ret_view);
}

bool client_view(struct ration *ration, const char *const field[KEY_FIELDS],
		 const struct blob *blob, uint32_t limit, struct bucket_ref bucket,
		 struct bucket_ref *ret_view)
{
	struct hash128 identity;
	enum index_result result;

	if (!identity_of(ration, bucket, &identity))
		return false;
	if (index_find(&ration->seg, view_identity(identity), ret_view) == INDEX_FOUND)
		return true;
	/* One insert at a time for each slot; whoever meets another lets this response go. */
	if (atomic_flag_test_and_set(&ration->inserting))
		return false;
	result = client_view_make(&ration->seg, atomic_load(&ration->slot), blob, limit, field,
				  identity, client_now(ration), ret_view);
	atomic_flag_clear(&ration->inserting);
	return result == INDEX_FOUND;
}
