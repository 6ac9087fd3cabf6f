/*
 * supervisor/published.h - the policy as it is handed to workers
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SUPERVISOR_PUBLISHED_H
#define RATION_SUPERVISOR_PUBLISHED_H

#include "policy/policy.h"
#include "shm/blob.h"

/*
 * A limit by the name that buckets carry: "vendor/limit", or "limit" for all vendors. Names of
 * earlier policies stay listed, so that a limit that comes back in another shape is not taken for a
 * new one.
 */
struct limit_name {
	char name[2 * 64 + 1];
	uint32_t limit; /* index, or BLOB_NO_INDEX: in an earlier policy only */
	uint32_t kind;
	uint32_t scope;
	uint32_t flags; /* LIMIT_STARTS_SPENT */
};

struct published {
	int fd; /* sealed memfd */
	uint64_t size;
	struct blob blob;         /* our own mapping of it; header NULL: none */
	struct limit_name *names; /* sorted */
	uint32_t n_names;
};

/*
 * Compile a file into a sealed memfd. before: the policy it replaces, or NULL. A limit that has the
 * name of an earlier one but counts otherwise gets new buckets; they are marked LIMIT_STARTS_SPENT,
 * or changing a scope would hand out the quota a second time. Returns 0 or what policy_compile()
 * and memory_make_policy() return; errors of the policy go to report.
 */
int published_make(struct published *ret, const char *path, uint64_t generation,
		   const uint64_t hash_key[2], const struct published *before,
		   policy_report *report, void *user);

void published_free(struct published *published);

/* The limit of that name, or BLOB_NO_INDEX. */
uint32_t published_limit(const struct published *published, const char *name);

#endif
