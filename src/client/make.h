/*
 * client/make.h - the first words of a bucket
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLIENT_MAKE_H
#define RATION_CLIENT_MAKE_H

#include <ration/ration.h>

#include "shm/blob.h"
#include "shm/index.h"

/* All that there is to know about a bucket that is to be made. */
struct birth {
	const struct blob *blob;
	uint32_t limit;
	const struct blob_numbers *numbers;
	const struct link *link; /* its shape */
	const char *const *field;
	struct hash128 identity;
	struct instant at;
	uint64_t used;   /* units that are spent of it, for sure or perhaps; BIRTH_SPENT: all */
	uint64_t before; /* windows: the same of the one before */
};

#define BIRTH_SPENT UINT64_MAX

/* "vendor/limit", or "limit" for all vendors; derived limits have the longest names. */
#define LIMIT_NAME_SIZE ((size_t)4 * RATION_NAME_MAX)
void limit_name(const struct blob *blob, const struct blob_limit *limit, char *buf, size_t size);

/* What a bucket of this limit begins with if nobody knows better. */
static inline uint64_t birth_used(const struct blob_limit *limit, uint64_t now)
{
	return now < limit->spent_until ? BIRTH_SPENT : 0;
}

/*
 * Make the bucket that a limit has for a key, or find that somebody else just did. slot: that of the maker, who makes
 * one at a time.
 */
enum index_result make_bucket(struct seg *seg, uint32_t slot, const struct birth *birth,
			      struct bucket_ref *ret_ref);

#endif
