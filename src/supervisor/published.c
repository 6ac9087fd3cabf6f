/*
 * supervisor/published.c - the policy as it is handed to workers
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/published.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/memory.h"

_Static_assert(sizeof(((struct limit_name *)0)->name) >= 2 * RATION_NAME_MAX + 2, "vendor/limit");

static int compare_names(const void *a, const void *b)
{
	const struct limit_name *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static struct limit_name *find_name(const struct published *p, const char *name)
{
	uint32_t low = 0, high = p->n_names;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const int order = strcmp(p->names[middle].name, name);

		if (order == 0)
			return &p->names[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void name_limit(const struct blob *blob, uint32_t i, struct limit_name *ret)
{
	const struct blob_limit *limit = &blob->limits[i];
	const char *vendor = blob_text(blob, limit->vendor);

	*ret = (struct limit_name){.limit = i, .kind = limit->kind, .scope = limit->scope};
	snprintf(ret->name, sizeof(ret->name), "%s%s%s", vendor, *vendor ? "/" : "",
		 blob_text(blob, limit->name));
}

/*
 * Two different shapes under one name: the buckets of the later one begin spent, for as long as we
 * live.
 */
static void inherit(struct limit_name *name, const struct limit_name *old)
{
	name->flags = old->flags;
	if (name->kind != old->kind || name->scope != old->scope)
		name->flags |= LIMIT_STARTS_SPENT;
}

static void sort_names(struct published *p)
{
	qsort(p->names, p->n_names, sizeof(*p->names), compare_names);
}

/* All limits of the blob, then all names that only earlier policies had. */
static int make_names(struct published *p, const struct blob *blob, const struct published *before)
{
	const uint32_t n_before = before ? before->n_names : 0;
	uint32_t n_gone = 0;

	p->names = calloc((size_t)blob->n_limits + n_before + 1, sizeof(*p->names));
	if (!p->names)
		return -ENOMEM;
	for (uint32_t i = 0; i < blob->n_limits; i++)
		name_limit(blob, i, &p->names[i]);
	p->n_names = blob->n_limits;
	sort_names(p);
	for (uint32_t i = 0; i < n_before; i++) {
		struct limit_name *name = find_name(p, before->names[i].name);

		if (name) {
			inherit(name, &before->names[i]);
		} else {
			p->names[blob->n_limits + n_gone] = before->names[i];
			p->names[blob->n_limits + n_gone++].limit = BLOB_NO_INDEX;
		}
	}
	p->n_names += n_gone;
	sort_names(p);
	return 0;
}

/* The blob is still ours alone: not yet sealed. */
static void mark_spent(const struct published *p, const struct policy *policy)
{
	char *base = policy->blob;
	const struct blob_header *header = policy->blob;
	struct blob_limit *limits = (void *)(base + header->tables[BLOB_LIMITS].offset);

	for (uint32_t i = 0; i < p->n_names; i++)
		if (p->names[i].limit != BLOB_NO_INDEX)
			limits[p->names[i].limit].flags |= p->names[i].flags;
}

static int seal(struct published *p, const struct policy *policy, const struct published *before)
{
	struct blob blob;
	int result;

	if (!blob_open(policy->blob, policy->size, &blob))
		return RATION_EPOLICY;
	result = make_names(p, &blob, before);
	if (result < 0)
		return result;
	mark_spent(p, policy);
	result = memory_make_policy(policy->blob, policy->size, &p->fd);
	if (result < 0)
		return result;
	p->size = policy->size;
	return memory_map_policy(p->fd, p->size, &p->blob);
}

int published_make(struct published *ret, const char *path, uint64_t generation,
		   const uint64_t hash_key[2], const struct published *before,
		   policy_report *report, void *user)
{
	struct published p = {.fd = -1};
	struct policy policy;
	int result = policy_compile(path, generation, hash_key, report, user, &policy);

	if (result < 0)
		return result;
	result = seal(&p, &policy, before);
	policy_free(&policy);
	if (result < 0)
		published_free(&p);
	else
		*ret = p;
	return result;
}

void published_free(struct published *published)
{
	if (published->fd >= 0)
		close(published->fd);
	memory_unmap_policy(&published->blob);
	free(published->names);
	*published = (struct published){.fd = -1};
}

uint32_t published_limit(const struct published *published, const char *name)
{
	const struct limit_name *found = find_name(published, name);

	return found ? found->limit : BLOB_NO_INDEX;
}
