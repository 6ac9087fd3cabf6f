/*
 * supervisor/carry.c - what was spent under one policy is spent under the next, though it is counted elsewhere
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/carry.h"

#include "shm/rolling.h"
#include "shm/saturate.h"
#include "shm/window.h"
#include "supervisor/spent.h"

/* --- making a bucket as a worker would --- */

static bool make(const struct carry *c, const struct record *key, const struct blob *blob,
		 uint32_t limit, const struct spent *spent, uint64_t used,
		 struct bucket_ref *ret_ref)
{
	const struct blob_limit *l = &blob->limits[limit];
	struct link link = {.bucket = 0};
	struct birth birth = {
		.blob = blob,
		.limit = limit,
		.numbers = record_numbers(key, blob, limit),
		.link = &link,
		.field = key->field,
		.identity = client_identity(blob, limit, key->field),
		.at = {c->now, c->wall},
		.used = used,
		.before = used > 0 ? BIRTH_SPENT : 0,
	};

	spent_shape(c, blob, l, birth.numbers, &link);
	if (spent)
		spent_begin(spent, &birth);
	return make_bucket(c->seg, c->slot, &birth, ret_ref) == INDEX_FOUND;
}

/* --- another shape --- */

/* If there is no room, workers will make it: spent, as the policy says. */
static void carry_shape(const struct carry *c, const struct record *record,
			const struct limit_name *from, const struct limit_name *to)
{
	const struct spent spent = spent_close(c, record, &c->before->blob.limits[from->limit]);
	struct bucket_ref ref;

	if (from->shape.scope != to->shape.scope || from->shape.unit_hash != to->shape.unit_hash ||
	    from->shape.role != to->shape.role || to->shape.kind == KIND_SLOTS ||
	    c->before->in_parts[from->limit] || c->after->in_parts[to->limit])
		return;
	(void)make(c, record, &c->after->blob, to->limit, &spent, 0, &ref);
}

/* --- parts --- */

/* One bucket of those that share an amount. */
struct part {
	uint32_t limit; /* in the new policy, or BLOB_NO_INDEX: it has none */
	struct record record;
	bool exists;
	uint64_t room;    /* units that it may hold from now on */
	uint64_t used[2]; /* of this window and the next */
};

enum { PARTS_MAX = 1 + 2 * CLASSES_MAX };

struct parts {
	struct part part[PARTS_MAX];
	uint32_t n;
	uint64_t index;   /* the window that is now */
	uint64_t over[2]; /* used beyond what a part may hold now */
};

static bool find_part(const struct carry *c, const struct record *key, const struct blob *blob,
		      uint32_t limit, struct record *ret_record)
{
	struct bucket_ref ref;

	if (index_find(c->seg, client_identity(blob, limit, key->field), &ref) != INDEX_FOUND)
		return false;
	record_read(c->seg, ref.bucket, ret_record);
	return record_is(c->seg, ret_record, blob, limit);
}

static void add_part(const struct carry *c, const struct record *key, const struct blob *blob,
		     uint32_t limit, uint32_t new_limit, struct parts *parts)
{
	struct part *part = &parts->part[parts->n];

	if (parts->n == PARTS_MAX)
		return;
	*part = (struct part){.limit = new_limit};
	part->exists = find_part(c, key, blob, limit, &part->record);
	if (new_limit != BLOB_NO_INDEX)
		part->room =
			window_amount(record_numbers(key, &c->after->blob, new_limit)->effective);
	parts->n++;
}

static bool is_part_of(const struct blob *blob, uint32_t i, uint32_t parent)
{
	return i == parent ||
	       (blob->limits[i].parent == parent && blob->limits[i].role == LIMIT_GUARANTEE);
}

/* The common part first: it is the first to take over what others must not hold any more. */
static void list_new(const struct carry *c, const struct record *key, uint32_t parent,
		     struct parts *parts)
{
	const struct blob *blob = &c->after->blob;

	add_part(c, key, blob, parent, parent, parts);
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		if (i != parent && is_part_of(blob, i, parent))
			add_part(c, key, blob, i, i, parts);
	}
}

/* Those that only the old policy has. */
static void list_gone(const struct carry *c, const struct record *key, uint32_t parent,
		      struct parts *parts)
{
	for (uint32_t i = 0; i < c->before->n_names; i++) {
		const struct limit_name *name = &c->before->names[i];
		const struct limit_name *now;

		if (name->limit == BLOB_NO_INDEX ||
		    !is_part_of(&c->before->blob, name->limit, parent))
			continue;
		now = published_name(c->after, name->name);
		if (!now || now->limit == BLOB_NO_INDEX)
			add_part(c, key, &c->before->blob, name->limit, BLOB_NO_INDEX, parts);
	}
}

/* The parts of a limit are all of its kind, and both kinds keep the amount in the same place. */
static uint64_t amount_of(const struct carry *c, const struct part *part)
{
	return window_amount(shm_load_relaxed(&c->seg->hot[part->record.bucket].numbers));
}

/* False: nothing was done. */
static bool burden(const struct carry *c, const struct parts *parts, uint32_t bucket, uint32_t kind,
		   uint32_t k, uint64_t units, uint64_t *ret_before)
{
	struct seg_hot *hot = &c->seg->hot[bucket];
	const struct charge_ref to = {.bucket = bucket,
				      .generation = shm_half_load(&hot->generation)};

	if (kind == KIND_WINDOW)
		return window_burden(hot, parts->index + k, units, ret_before);
	if (k > 0 || !rolling_debit(c->seg, &to, units, c->now))
		return false;
	*ret_before = minus(rolling_used(c->seg, bucket, c->now), units);
	return true;
}

/*
 * Counted after the new, smaller numbers stand, so that no charge goes by unseen: rolling periods are burdened with one
 * unit to that end, which makes whoever looked before look again.
 */
static void count_used(const struct carry *c, const struct parts *parts, struct part *part)
{
	const uint32_t kind = part->record.kind;
	const uint64_t all = amount_of(c, part);
	const uint64_t units = part->limit == BLOB_NO_INDEX ? all : kind == KIND_ROLLING;

	for (uint32_t k = 0; k < 1u + (kind == KIND_WINDOW); k++) {
		if (!burden(c, parts, part->record.bucket, kind, k, units, &part->used[k]))
			part->used[k] = all;
	}
}

static void shrink(const struct carry *c, struct parts *parts, struct part *part)
{
	if (!part->exists)
		return;
	if (part->limit != BLOB_NO_INDEX && part->room <= amount_of(c, part))
		(void)tune_record(c->seg, &part->record, &c->after->blob, part->limit, c->clock,
				  c->user);
	count_used(c, parts, part);
	for (uint32_t k = 0; k < 2; k++)
		parts->over[k] += minus(part->used[k], part->room);
}

static void grow(const struct carry *c, const struct record *key, struct parts *parts,
		 struct part *part)
{
	const uint32_t kind = c->after->blob.limits[parts->part[0].limit].kind;
	struct bucket_ref ref = {part->record.bucket, 0};
	uint64_t ignored;

	if (part->limit == BLOB_NO_INDEX)
		return;
	if (!part->exists && !make(c, key, &c->after->blob, part->limit, NULL,
				   least(parts->over[0], part->room), &ref))
		return;
	for (uint32_t k = 0; k < 2; k++) {
		const uint64_t takes = least(parts->over[k], minus(part->room, part->used[k]));

		if (takes > 0 && (part->exists || k == 1))
			(void)burden(c, parts, ref.bucket, kind, k, takes, &ignored);
		parts->over[k] -= takes;
	}
	if (part->exists)
		(void)tune_record(c->seg, &part->record, &c->after->blob, part->limit, c->clock,
				  c->user);
}

static void carry_parts(const struct carry *c, const struct record *key, uint32_t old_parent,
			uint32_t new_parent)
{
	struct parts parts = {.n = 0};

	if (key->kind == KIND_WINDOW)
		parts.index =
			spent_window(c, &c->after->blob, &c->after->blob.limits[new_parent]).index;
	list_new(c, key, new_parent, &parts);
	list_gone(c, key, old_parent, &parts);
	for (uint32_t i = 0; i < parts.n; i++)
		shrink(c, &parts, &parts.part[i]);
	for (uint32_t i = 0; i < parts.n; i++)
		grow(c, key, &parts, &parts.part[i]);
}

/* --- */

static const struct limit_name *name_of(const struct published *p, const char *name)
{
	const struct limit_name *found = published_name(p, name);

	return found && found->limit != BLOB_NO_INDEX ? found : NULL;
}

/* Once for each key: with the common part, which every chain makes. */
static bool heads_parts(const struct carry *c, uint32_t old_limit, uint32_t new_limit)
{
	return c->after->blob.limits[new_limit].role == LIMIT_WRITTEN &&
	       (c->before->in_parts[old_limit] || c->after->in_parts[new_limit]);
}

bool carry_bucket(const struct carry *c, uint32_t bucket)
{
	const struct limit_name *from, *to;
	struct record record;

	record_read(c->seg, bucket, &record);
	from = name_of(c->before, record.limit);
	to = name_of(c->after, record.limit);
	if (!from || !to || !record_is(c->seg, &record, &c->before->blob, from->limit))
		return false;
	if (from->life != to->life) {
		carry_shape(c, &record, from, to);
		return true;
	}
	if (heads_parts(c, from->limit, to->limit)) {
		carry_parts(c, &record, from->limit, to->limit);
		return true;
	}
	return false;
}
