/*
 * supervisor/published.h - the policy as it is handed to workers
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SUPERVISOR_PUBLISHED_H
#define RATION_SUPERVISOR_PUBLISHED_H

#include "policy/policy.h"
#include "shm/blob.h"

/* What a bucket's words mean depends on this. */
struct limit_shape {
	uint32_t kind;
	uint32_t scope;
	uint32_t unit_hash;
	uint32_t role;
	uint32_t calendar; /* the rest: of windows and rolling limits */
	uint32_t zone_hash;
	uint64_t period_ns;
	uint64_t delay_ns;
	int64_t offset_ns;
};

/*
 * A limit by the name that buckets carry: "vendor/limit", or "limit" for all vendors. Names of
 * earlier policies stay listed, so that a limit that comes back in another shape is not taken for a
 * new one.
 */
struct limit_name {
	char name[2 * 64 + 1];
	uint32_t limit; /* index, or BLOB_NO_INDEX: in an earlier policy only */
	uint32_t life;  /* as in struct blob_limit */
	uint64_t spent_until;
	uint64_t horizon; /* ticks after which nothing that was spent of it counts any more */
	struct limit_shape shape;
};

struct published {
	int fd;       /* sealed memfd */
	int names_fd; /* a copy of names, likewise: for a successor */
	uint64_t size;
	struct blob blob;         /* our own mapping of it; header NULL: none */
	struct limit_name *names; /* sorted */
	uint32_t n_names;
	/* By limit: its amount is divided among several buckets, its own and those of classes' guarantees. */
	bool *in_parts;
};

/* What a policy is made from. */
struct published_from {
	const char *path;
	const struct policy_overlay *overlays;
	size_t n_overlays;
	const uint64_t *hash_key;       /* two words */
	const struct published *before; /* what it replaces, or NULL */
	uint64_t now;                   /* ticks */
};

/*
 * Compile a file into a sealed memfd. A limit that has the name of an earlier one but counts
 * otherwise gets new buckets; until what was spent of the old ones has passed they begin spent, or
 * changing a scope would hand out the quota a second time. Returns 0 or what policy_compile() and
 * memory_make_policy() return; errors of the policy go to report.
 */
int published_make(struct published *ret, const struct published_from *from, uint64_t generation,
		   policy_report *report, void *user);

/* What a predecessor published. Takes both descriptors over. 0; RATION_EPOLICY: it does not fit this build; -errno. */
int published_adopt(struct published *ret, int fd, int names_fd);

/* Whether the file still compiles to what is published. */
bool published_is_current(const struct published *published, const struct published_from *from);

void published_free(struct published *published);

/* What is known of that name, or NULL. */
const struct limit_name *published_name(const struct published *published, const char *name);
/* The limit of that name, or BLOB_NO_INDEX. */
uint32_t published_limit(const struct published *published, const char *name);

#endif
