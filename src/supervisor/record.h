/*
 * supervisor/record.h - which limit of a policy a bucket belongs to
 * SPDX-License-Identifier: MIT
 *
 * A bucket says in its cold line what it counts, so the supervisor can tell which limit of any
 * policy it belongs to, and for which tenant. Those names are for display and any worker can
 * scribble over them; they are believed only if hashing them gives the bucket's identity.
 */
#ifndef RATION_SUPERVISOR_RECORD_H
#define RATION_SUPERVISOR_RECORD_H

#include <ration/ration.h>

#include "client/client.h"
#include "shm/reclaim.h"
#include "supervisor/published.h"

/* What a cold line says, copied out once. */
struct record {
	uint32_t bucket;
	uint32_t scope;
	uint32_t kind;
	char limit[sizeof(((struct limit_name *)0)->name) + 1];
	char value[KEY_FIELDS][RATION_KEY_MAX + 2]; /* a longer one cannot pass for a shorter */
	const char *field[KEY_FIELDS];
};

/* bucket: a linked record. */
void record_read(const struct seg *seg, uint32_t bucket, struct record *ret_record);

/* Whether it is the bucket that a limit (an index) has for these fields. */
bool record_is(const struct seg *seg, const struct record *record, const struct blob *blob,
	       uint32_t limit);

/* The numbers that a limit has for the record's tenant. */
const struct blob_numbers *record_numbers(const struct record *record, const struct blob *blob,
					  uint32_t limit);

/* Linked, and not between two lives (shm/reclaim.h). */
static inline bool bucket_linked(const struct seg *seg, uint32_t bucket)
{
	return shm_load(&seg->cold[bucket].owner) == COLD_LINKED &&
	       !reclaim_is_dead(&seg->hot[bucket]);
}

#endif
