/*
 * cli/run_quota.c - how much of each limit's quota a run has used
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/run_quota.h"

static struct quota_bucket *find_bucket(struct quota *quota, uint32_t limit,
					const char *const key[KEY_FIELDS])
{
	const struct hash128 identity = client_identity(quota->blob, limit, key);
	void **at = table_at(&quota->buckets, &identity, sizeof(identity));
	uint32_t tenant = blob_find_tenant(quota->blob, key[KEY_TENANT]);
	const struct blob_numbers *n = blob_numbers_for(quota->blob, limit, tenant);
	struct quota_bucket *bucket = *at;
	double share = n->share_ppm / 1e6;

	if (bucket)
		return bucket;
	bucket = cli_alloc(NULL, 1, sizeof(*bucket));
	*bucket = (struct quota_bucket){
		.limit = limit,
		.rate = (double)n->amount * 1e9 / (double)n->period_ns * share,
		.burst = (double)n->burst * share,
	};
	*at = bucket;
	return bucket;
}

void quota_resolve(struct quota *quota, const char *const key[KEY_FIELDS],
		   struct quota_chain *ret_chain)
{
	const struct blob *blob = quota->blob;
	const char *field[KEY_FIELDS];
	const struct blob_run *run;
	uint32_t vendor, class_index;

	*ret_chain = (struct quota_chain){0};
	for (int i = 0; i < KEY_FIELDS; i++)
		field[i] = key[i] && strcmp(key[i], "-") != 0 ? key[i] : "";
	if (!blob)
		return;
	vendor = blob_find_vendor(blob, field[KEY_VENDOR]);
	class_index = blob_find_class(blob, field[KEY_CLASS]);
	if (vendor == BLOB_NO_INDEX || class_index == BLOB_NO_INDEX)
		return;
	run = blob_chain(blob, vendor, class_index);
	for (uint32_t i = 0; i < run->count; i++) {
		uint32_t limit = blob->links[run->first + i].limit;

		/* What is derived for classes says how, not how much. */
		if (blob->limits[limit].role == LIMIT_WRITTEN)
			ret_chain->bucket[ret_chain->count++] = find_bucket(quota, limit, field);
	}
}

static uint64_t cost_of(const struct blob *blob, const struct blob_limit *limit, const json_t *cost)
{
	const json_t *amount = json_object_get(cost, blob_text(blob, limit->unit));

	return amount ? (uint64_t)json_integer_value(amount) : limit->default_cost;
}

void quota_charge(struct quota *quota, const struct quota_chain *chain, const json_t *cost)
{
	for (uint32_t i = 0; i < chain->count; i++) {
		struct quota_bucket *bucket = chain->bucket[i];

		bucket->admitted += cost_of(quota->blob, &quota->blob->limits[bucket->limit], cost);
	}
}

double quota_share(const struct quota_bucket *bucket, double elapsed_s)
{
	return (double)bucket->admitted / (bucket->rate * elapsed_s + bucket->burst);
}

double quota_used(const struct quota *quota, double elapsed_s)
{
	const struct table_entry *e;
	size_t cursor = 0;
	double most = -1;

	while ((e = table_next(&quota->buckets, &cursor))) {
		double share = quota_share(e->value, elapsed_s);

		if (share > most)
			most = share;
	}
	return most;
}

void quota_limit_name(const struct blob *blob, uint32_t limit, char *buf, size_t size)
{
	const struct blob_limit *l = &blob->limits[limit];
	const char *vendor = blob_text(blob, l->vendor);

	snprintf(buf, size, "%s%s%s", vendor, vendor[0] ? "/" : "", blob_text(blob, l->name));
}

void quota_free(struct quota *quota)
{
	const struct table_entry *e;
	size_t cursor = 0;

	while ((e = table_next(&quota->buckets, &cursor)))
		free(e->value);
	table_free(&quota->buckets);
}
