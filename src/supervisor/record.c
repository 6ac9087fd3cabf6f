/*
 * supervisor/record.c - which limit of a policy a bucket belongs to
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/record.h"

#include "shm/hash.h"
#include "shm/names.h"

void record_read(const struct seg *seg, uint32_t bucket, struct record *r)
{
	const struct seg_cold *cold = &seg->cold[bucket];

	r->bucket = bucket;
	r->kind = KIND_OF(shm_half_load(&seg->hot[bucket].kind));
	r->scope = COLD_SCOPE(shm_half_load(&cold->scope));
	names_copy(seg, shm_half_load(&cold->names[NAME_LIMIT]), r->limit, sizeof(r->limit));
	for (int i = 0; i < KEY_FIELDS; i++) {
		names_copy(seg, shm_half_load(&cold->names[NAME_TENANT + i]), r->value[i],
			   sizeof(r->value[i]));
		r->field[i] = r->value[i];
	}
}

bool record_is(const struct seg *seg, const struct record *r, const struct blob *blob,
	       uint32_t limit)
{
	const struct seg_hot *hot = &seg->hot[r->bucket];
	struct hash128 identity;

	if (blob->limits[limit].scope != r->scope || blob->limits[limit].kind != r->kind)
		return false;
	identity = client_identity(blob, limit, r->field);
	return shm_load_relaxed(&hot->identity[0]) == identity.word[0] &&
	       shm_load_relaxed(&hot->identity[1]) == identity.word[1];
}

/* The tenant counts only where the scope names it, so it is part of what was hashed. */
const struct blob_numbers *record_numbers(const struct record *r, const struct blob *blob,
					  uint32_t limit)
{
	const uint32_t tenant = r->scope & RATION_SCOPE_TENANT
					? blob_find_tenant(blob, r->field[KEY_TENANT])
					: BLOB_NO_INDEX;

	return blob_numbers_for(blob, limit, tenant);
}
