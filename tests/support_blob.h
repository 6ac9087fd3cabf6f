/*
 * tests/support_blob.h - a compiled policy and a segment without a file or a supervisor
 * SPDX-License-Identifier: MIT
 *
 * A policy is described as a C structure and laid out in memory as the compiler would; a world is a
 * segment with that policy and this process attached to it. Its clock can be moved forward. What
 * cannot be made ends the process with a message, also in programs that are no Criterion tests.
 */
#ifndef RATION_TESTS_SUPPORT_BLOB_H
#define RATION_TESTS_SUPPORT_BLOB_H

#include "client/client.h"

#define DESC_MAX 24

/*
 * As a limit in the file; all zero: the end of the list. What is derived for classes is described
 * like any other limit: `for_classes` says in whose chains it stands, `link_flags` how it is bound
 * to the next one of those.
 */
struct limit_desc {
	const char *name;
	const char *vendor; /* NULL: for all vendors */
	const char *unit;   /* NULL: requests */
	uint32_t scope;     /* RATION_SCOPE_* */
	uint64_t amount;    /* in period_s seconds */
	uint64_t period_s;  /* 0: 1 */
	uint64_t burst;
	bool has_default;
	uint64_t default_cost;

	/* For other kinds than token buckets: what their own packing function gives. */
	enum seg_kind kind; /* 0: KIND_BUCKET */
	uint64_t effective; /* 0: packed from amount, period_s and burst */
	uint64_t period_ns; /* 0: period_s */
	uint64_t hold_ns;
	enum calendar_unit calendar;
	int64_t offset_ns;

	uint64_t by_class[CLASSES_MAX];
	uint32_t flags;       /* LIMIT_*, besides the default cost's */
	uint32_t link_flags;  /* LINK_BACKING, LINK_OR, LINK_RELEASED */
	uint32_t for_classes; /* bit mask; 0: all */
	bool shadow;          /* denies nothing */
};

/* Other numbers for one tenant; at most one for each tenant. */
struct override_desc {
	const char *tenant;
	const char *limit;
	uint64_t amount;
	uint64_t period_s;
	uint64_t burst;
};

struct policy_desc {
	uint64_t generation; /* 0: 1 */
	bool shadow;         /* denies nothing */
	uint64_t delay_ns;
	uint64_t clock_skew_ns;
	const char *classes[CLASSES_MAX + 1]; /* none: only "interactive" */
	uint32_t queue[CLASSES_MAX];          /* of each: how many may wait; 0: no bound */
	const char *vendors[DESC_MAX];
	const char *default_vendor;
	struct limit_desc limits[DESC_MAX];
	struct override_desc overrides[DESC_MAX];
};

/* malloc'd. */
void *blob_make(const struct policy_desc *desc, size_t *ret_size);

/* A new segment, watched by support_check.h, and this process as its first worker. */
struct ration *world_make(const struct policy_desc *desc, uint32_t buckets, uint32_t workers);

/* Put another policy in the place of the present one, as a worker does that has received it, and
 * announce it. */
void world_policy(struct ration *ration, const struct policy_desc *desc);

/* From now on this process's clock, and that of children forked later, is so much ahead. */
void world_advance(struct ration *ration, uint64_t ns);

/* A handle that must resolve. Fields may be NULL. */
struct ration_handle *world_key(struct ration *ration, const char *tenant, const char *vendor,
				const char *account, const char *resource);

/* The bucket that a limit has for a handle's key, its level, and the counts of it so far. */
struct bucket_state {
	uint32_t bucket;
	uint64_t left;
	uint64_t admitted;
	uint64_t denied;
};
struct bucket_state world_bucket(struct ration *ration, const struct ration_handle *handle,
				 const char *limit);

/* Memory that children share. Zeroed. */
void *shared_memory(size_t size);

#endif
