/*
 * tests/support_checkpoint.h - hosts that are switched off and on, with time that is injected
 * SPDX-License-Identifier: MIT
 *
 * A host has a policy, a segment and the marks of a supervisor, but no process: who uses what, when the supervisor looks and
 * what reaches the disk is up to the test.
 */
#ifndef RATION_TESTS_SUPPORT_CHECKPOINT_H
#define RATION_TESTS_SUPPORT_CHECKPOINT_H

#include "supervisor/checkpoint_marks.h"
#include "supervisor/checkpoint_restore.h"

#define SECONDS(n) ((uint64_t)(n)*UINT64_C(1000000000))

struct host {
	struct published policy;
	struct seg seg;
	struct marks marks;
	uint64_t now; /* ticks */
	int64_t wall; /* ns since 1970 */
	uint64_t serial;
};

/* A file, malloc'd. */
struct image {
	void *data;
	size_t size;
};

/* Vendors `window`, `rolling` and `bucket`, each with a limit `l` of 1000 per tenant; nothing becomes new for months. */
extern const char host_policy[];

/*
 * Switch on, with a policy and a hash key of its own. image: what lies on its disk, or NULL; elapsed: ns since it was made;
 * far: it is not the last one. What restore_all() counted is in *ret_restore, if that is not NULL.
 */
struct host_start {
	const char *policy;
	int64_t wall;
	const struct image *image;
	uint64_t elapsed;
	bool far;
	struct restore *ret_restore;
};
void host_on(struct host *h, const struct host_start *start);
void host_off(struct host *h);

/* Time goes on. */
void host_pass(struct host *h, uint64_t ns);

/* Use so many units of a limit ("vendor/limit") for a tenant. */
void host_use(struct host *h, const char *limit, const char *tenant, uint64_t units);

/* Units used of it as of now; of a bucket rounded up. 0 where there is none. */
uint64_t host_used(const struct host *h, const char *limit, const char *tenant);

/* Its record. False: none. */
bool host_find(const struct host *h, const char *limit, const char *tenant,
	       struct bucket_ref *ret_ref);

/* A look of the supervisor's. */
void host_look(struct host *h, bool thorough);

/* A checkpoint of now, which is on disk at once. */
struct image host_save(struct host *h);

#endif
