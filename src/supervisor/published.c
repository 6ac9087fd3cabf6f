/*
 * supervisor/published.c - the policy as it is handed to workers
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/published.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/memory.h"
#include "shm/hash.h"
#include "shm/slots.h"

_Static_assert(sizeof(((struct limit_name *)0)->name) >= 2 * RATION_NAME_MAX + 2, "vendor/limit");

#define MONTH_NS (UINT64_C(31) * 86400 * 1000000000)
#define SLOTS_UNBOUNDED                                                                            \
	(60 * TICKS_PER_SEC) /* as slots_first() holds them without a maximum hold */

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

/* --- what a limit counts --- */

static uint32_t hash_zone(const struct blob *blob, const struct blob_limit *limit)
{
	return limit->zone == BLOB_NO_INDEX
		       ? 0
		       : hash_unit(blob_text(blob, blob->zones[limit->zone].name));
}

static struct limit_shape shape_of(const struct blob *blob, const struct blob_limit *limit)
{
	struct limit_shape shape = {
		.kind = limit->kind,
		.scope = limit->scope,
		.unit_hash = limit->unit_hash,
		.role = limit->role,
	};

	if (limit->kind != KIND_WINDOW && limit->kind != KIND_ROLLING)
		return shape;
	shape.period_ns = limit->numbers.period_ns;
	if (limit->kind == KIND_ROLLING) {
		shape.delay_ns = limit->numbers.delay_ns;
		return shape;
	}
	shape.calendar = limit->calendar;
	shape.zone_hash = hash_zone(blob, limit);
	shape.offset_ns = limit->offset_ns;
	return shape;
}

static bool same_shape(const struct limit_shape *a, const struct limit_shape *b)
{
	return a->kind == b->kind && a->scope == b->scope && a->unit_hash == b->unit_hash &&
	       a->role == b->role && a->calendar == b->calendar && a->zone_hash == b->zone_hash &&
	       a->period_ns == b->period_ns && a->delay_ns == b->delay_ns &&
	       a->offset_ns == b->offset_ns;
}

static uint64_t horizon_of(const struct blob_limit *limit, const struct blob_numbers *numbers)
{
	const bool month = limit->kind == KIND_WINDOW && limit->calendar == CALENDAR_MONTH;
	uint64_t hold;

	switch (limit->kind) {
	case KIND_BUCKET:
		return bucket_tolerance(numbers->effective);
	case KIND_SLOTS:
		hold = slots_hold(numbers->effective);
		return hold ? hold : SLOTS_UNBOUNDED;
	default:
		/* Days may have 25 hours, and windows a guard. */
		return 2 * TICKS_PER_NS *
		       ((month ? MONTH_NS : numbers->period_ns) + numbers->delay_ns);
	}
}

/* --- names --- */

static void name_limit(const struct blob *blob, uint32_t i, struct limit_name *ret)
{
	const struct blob_limit *limit = &blob->limits[i];
	const char *vendor = blob_text(blob, limit->vendor);

	*ret = (struct limit_name){
		.limit = i,
		.horizon = horizon_of(limit, &limit->numbers),
		.shape = shape_of(blob, limit),
	};
	snprintf(ret->name, sizeof(ret->name), "%s%s%s", vendor, *vendor ? "/" : "",
		 blob_text(blob, limit->name));
}

/* Tenants' numbers may take longer. */
static void stretch_horizons(struct limit_name *names, const struct blob *blob)
{
	const uint32_t n = blob->header->tables[BLOB_OVERRIDES].count;

	for (uint32_t i = 0; i < n; i++) {
		const struct blob_override *override = &blob->overrides[i];
		struct limit_name *name = &names[override->limit];
		const uint64_t horizon =
			horizon_of(&blob->limits[override->limit], &override->numbers);

		if (horizon > name->horizon)
			name->horizon = horizon;
	}
}

/*
 * Two different shapes under one name: other buckets, which begin spent until both what the old ones gave and what the
 * new ones would count of it has passed.
 */
static void inherit(struct limit_name *name, const struct limit_name *old, uint64_t generation,
		    uint64_t now)
{
	name->life = old->life;
	name->spent_until = old->spent_until;
	if (old->limit == BLOB_NO_INDEX && old->horizon > name->horizon)
		name->horizon = old->horizon;
	if (same_shape(&name->shape, &old->shape))
		return;
	name->life = (uint32_t)generation;
	name->spent_until = now + (old->horizon > name->horizon ? old->horizon : name->horizon);
}

static void sort_names(struct published *p)
{
	qsort(p->names, p->n_names, sizeof(*p->names), compare_names);
}

/* All limits of the blob, then all names that only earlier policies had. */
static int make_names(struct published *p, const struct blob *blob, const struct published *before,
		      uint64_t now)
{
	const uint32_t n_before = before ? before->n_names : 0;
	uint32_t n_gone = 0;

	p->names = calloc((size_t)blob->n_limits + n_before + 1, sizeof(*p->names));
	if (!p->names)
		return -ENOMEM;
	for (uint32_t i = 0; i < blob->n_limits; i++)
		name_limit(blob, i, &p->names[i]);
	stretch_horizons(p->names, blob);
	p->n_names = blob->n_limits;
	sort_names(p);
	for (uint32_t i = 0; i < n_before; i++) {
		struct limit_name *name = find_name(p, before->names[i].name);

		if (name) {
			inherit(name, &before->names[i], blob->header->generation, now);
		} else {
			p->names[blob->n_limits + n_gone] = before->names[i];
			p->names[blob->n_limits + n_gone++].limit = BLOB_NO_INDEX;
		}
	}
	p->n_names += n_gone;
	sort_names(p);
	return 0;
}

static int find_parts(struct published *p, const struct blob *blob)
{
	p->in_parts = calloc((size_t)blob->n_limits + 1, sizeof(*p->in_parts));
	if (!p->in_parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		const struct blob_limit *limit = &blob->limits[i];

		if (limit->role != LIMIT_GUARANTEE || limit->kind == KIND_BUCKET)
			continue;
		p->in_parts[i] = p->in_parts[limit->parent] = true;
	}
	return 0;
}

/* The blob is still ours alone: not yet sealed. */
static void mark_lives(const struct published *p, const struct policy *policy)
{
	char *base = policy->blob;
	const struct blob_header *header = policy->blob;
	struct blob_limit *limits = (void *)(base + header->tables[BLOB_LIMITS].offset);

	for (uint32_t i = 0; i < p->n_names; i++) {
		const struct limit_name *name = &p->names[i];

		if (name->limit == BLOB_NO_INDEX)
			continue;
		limits[name->limit].life = name->life;
		limits[name->limit].spent_until = name->spent_until;
	}
}

static int seal(struct published *p, const struct policy *policy, const struct published *before,
		uint64_t now)
{
	struct blob blob;
	int result;

	if (!blob_open(policy->blob, policy->size, &blob))
		return RATION_EPOLICY;
	result = make_names(p, &blob, before, now);
	if (result == 0)
		result = find_parts(p, &blob);
	if (result < 0)
		return result;
	mark_lives(p, policy);
	result = memory_make_policy(policy->blob, policy->size, &p->fd);
	if (result < 0)
		return result;
	p->size = policy->size;
	result = memory_make_sealed("ration-names", p->names, p->n_names * sizeof(*p->names),
				    &p->names_fd);
	return result < 0 ? result : memory_map_policy(p->fd, p->size, &p->blob);
}

int published_make(struct published *ret, const struct published_from *from, uint64_t generation,
		   policy_report *report, void *user)
{
	struct published p = {.fd = -1, .names_fd = -1};
	struct policy policy;
	int result = policy_compile_over(from->path, from->overlays, from->n_overlays, generation,
					 from->hash_key, report, user, &policy);

	if (result < 0)
		return result;
	result = seal(&p, &policy, from->before, from->now);
	policy_free(&policy);
	if (result < 0)
		published_free(&p);
	else
		*ret = p;
	return result;
}

/* --- taking over --- */

static bool name_fits(const struct limit_name *name, const struct blob *blob)
{
	return memchr(name->name, '\0', sizeof(name->name)) != NULL &&
	       (name->limit < blob->n_limits || name->limit == BLOB_NO_INDEX);
}

static int read_names(struct published *p)
{
	struct stat st;
	uint64_t size;

	if (fstat(p->names_fd, &st) < 0)
		return -errno;
	size = (uint64_t)st.st_size;
	if (size % sizeof(*p->names) != 0 || size / sizeof(*p->names) < p->blob.n_limits)
		return RATION_EPOLICY;
	p->names = malloc(size + 1);
	if (!p->names)
		return -ENOMEM;
	if (pread(p->names_fd, p->names, size, 0) != (ssize_t)size)
		return RATION_EPOLICY;
	p->n_names = (uint32_t)(size / sizeof(*p->names));
	for (uint32_t i = 0; i < p->n_names; i++) {
		if (!name_fits(&p->names[i], &p->blob))
			return RATION_EPOLICY;
	}
	return 0;
}

int published_adopt(struct published *ret, int fd, int names_fd)
{
	struct published p = {.fd = fd, .names_fd = names_fd};
	struct stat st;
	int result = fstat(fd, &st) < 0 ? -errno : 0;

	p.size = result == 0 ? (uint64_t)st.st_size : 0;
	if (result == 0)
		result = memory_map_policy(fd, p.size, &p.blob);
	if (result == 0)
		result = read_names(&p);
	if (result == 0)
		result = find_parts(&p, &p.blob);
	if (result < 0)
		published_free(&p);
	else
		*ret = p;
	return result;
}

static void ignore_message(void *user, const struct policy_message *message)
{
	(void)user, (void)message;
}

/* Compiled as if it were the same generation, it is the same to the byte. */
bool published_is_current(const struct published *published, const struct published_from *from)
{
	const uint64_t generation = published->blob.header->generation;
	struct published again;
	bool same;

	if (published_make(&again, from, generation, ignore_message, NULL) != 0)
		return false;
	same = again.size == published->size &&
	       memcmp(again.blob.header, published->blob.header, again.size) == 0;
	published_free(&again);
	return same;
}

void published_free(struct published *published)
{
	if (published->fd >= 0)
		close(published->fd);
	if (published->names_fd >= 0)
		close(published->names_fd);
	memory_unmap_policy(&published->blob);
	free(published->names);
	free(published->in_parts);
	*published = (struct published){.fd = -1, .names_fd = -1};
}

const struct limit_name *published_name(const struct published *published, const char *name)
{
	return find_name(published, name);
}

uint32_t published_limit(const struct published *published, const char *name)
{
	const struct limit_name *found = find_name(published, name);

	return found ? found->limit : BLOB_NO_INDEX;
}
