/*
 * cli/run_quota.h - how much of each limit's quota a run has used
 * SPDX-License-Identifier: MIT
 *
 * Counted here from what was sent, not read from the buckets: so the figure is about this run alone, and means the
 * same when no bucket is asked (--no-quota) or each worker asks one of its own (--private).
 */
#ifndef RATION_CLI_RUN_QUOTA_H
#define RATION_CLI_RUN_QUOTA_H

#include <jansson.h>

#include "cli/table.h"
#include "client/client.h"

/* One bucket: a limit and the values of its scope. Numbers as the policy writes them, share applied. */
struct quota_bucket {
	uint32_t limit;
	double rate; /* units a second */
	double burst;
	uint64_t admitted; /* units */
};

/* The buckets that one key meets. */
struct quota_chain {
	uint32_t count;
	struct quota_bucket *bucket[RATION_LINKS_MAX];
};

struct quota {
	const struct blob *blob; /* NULL: no policy, nothing to compare with */
	struct table buckets;    /* identity -> struct quota_bucket */
};

/* A key that the policy does not have has an empty chain. */
void quota_resolve(struct quota *quota, const char *const key[KEY_FIELDS],
		   struct quota_chain *ret_chain);

/* A request was sent. cost: as in its line, or NULL. */
void quota_charge(struct quota *quota, const struct quota_chain *chain, const json_t *cost);

/* admitted / (rate * elapsed + burst) of one bucket. */
double quota_share(const struct quota_bucket *bucket, double elapsed_s);

/* The same of the most used bucket; negative if there is none. */
double quota_used(const struct quota *quota, double elapsed_s);

/* "vendor/limit", or "limit" for one over all vendors. */
void quota_limit_name(const struct blob *blob, uint32_t limit, char *buf, size_t size);

void quota_free(struct quota *quota);

#endif
