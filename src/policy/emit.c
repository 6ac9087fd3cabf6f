/*
 * policy/emit.c - the compiled policy, as shm/blob.h lays it out
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/draft.h"
#include "shm/hash.h"
#include "shm/layout.h"

struct emitter {
	struct compiler *c;
	struct blob_header header;
	char *blob;
	uint32_t run_next; /* entries used so far, of the tables that grow by runs */
	uint32_t link_next;
	uint32_t override_next;
	uint32_t text_next;
};

/* --- how large --- */

static size_t name_size(const void *named)
{
	return strlen(((const struct named *)named)->name) + 1;
}

static size_t names_size(const struct list *list)
{
	size_t size = 0;

	for (uint32_t i = 0; i < list->count; i++)
		size += name_size(list->item[i]);
	return size;
}

static size_t text_size(const struct compiler *c)
{
	size_t size = 1;

	for (uint32_t i = 0; i < c->limits.count; i++) {
		const struct draft_limit *limit = c->limits.item[i];

		size += name_size(limit) + strlen(limit->unit) + 1;
	}
	return size + names_size(&c->classes) + 2 * names_size(&c->vendors) +
	       names_size(&c->plans) + names_size(&c->tenants);
}

static size_t links_size(const struct compiler *c)
{
	return c->classes.count * (c->limits.count - c->all.limits.count +
				   (size_t)c->vendors.count * c->all.limits.count);
}

static size_t overrides_size(const struct compiler *c)
{
	size_t size = 0;

	for (uint32_t i = 0; i < c->plans.count; i++)
		size += ((const struct draft_owner *)c->plans.item[i])->overrides.count;
	for (uint32_t i = 0; i < c->tenants.count; i++)
		size += ((const struct draft_owner *)c->tenants.item[i])->overrides.count;
	return size;
}

static void lay_out(struct emitter *e)
{
	const struct compiler *c = e->c;
	const struct {
		size_t stride, count;
	} tables[BLOB_TABLES] = {
		[BLOB_CLASSES] = {sizeof(struct blob_class), c->classes.count},
		[BLOB_VENDORS] = {sizeof(struct blob_vendor), c->vendors.count},
		[BLOB_RUNS] = {sizeof(struct blob_run),
			       (size_t)c->vendors.count * c->classes.count},
		[BLOB_LINKS] = {sizeof(struct blob_link), links_size(c)},
		[BLOB_LIMITS] = {sizeof(struct blob_limit), c->limits.count},
		[BLOB_TENANTS] = {sizeof(struct blob_tenant), c->tenants.count},
		[BLOB_OVERRIDES] = {sizeof(struct blob_override), overrides_size(c)},
		[BLOB_RULES] = {sizeof(struct blob_rule), c->shadow},
		[BLOB_ZONES] = {sizeof(struct blob_zone), 0},
		[BLOB_CHANGES] = {sizeof(struct calendar_change), 0},
		[BLOB_PRINCIPALS] = {sizeof(struct blob_principal), 0},
		[BLOB_TEXT] = {1, text_size(c)},
	};
	uint64_t offset = sizeof(e->header);

	for (int i = 0; i < BLOB_TABLES; i++) {
		e->header.tables[i] = (struct blob_table){
			.offset = offset,
			.stride = (uint32_t)tables[i].stride,
			.count = (uint32_t)tables[i].count,
		};
		offset += (tables[i].stride * tables[i].count + 7) / 8 * 8;
	}
	e->header.size = offset;
}

/* --- filling in --- */

static void *entry(struct emitter *e, enum blob_table_id id, uint32_t index)
{
	const struct blob_table *table = &e->header.tables[id];

	return e->blob + table->offset + (size_t)index * table->stride;
}

static uint32_t add_text(struct emitter *e, const char *text)
{
	const uint32_t at = e->text_next;

	strcpy(entry(e, BLOB_TEXT, at), text);
	e->text_next += (uint32_t)strlen(text) + 1;
	return at;
}

static void emit_classes(struct emitter *e)
{
	for (uint32_t i = 0; i < e->c->classes.count; i++) {
		const struct named *class = e->c->classes.item[i];
		struct blob_class *out = entry(e, BLOB_CLASSES, i);

		out->name = add_text(e, class->name);
	}
}

static void emit_limits(struct emitter *e, const struct draft_vendor *vendor)
{
	const uint32_t vendor_name = vendor->named.name ? add_text(e, vendor->named.name) : 0;

	for (uint32_t i = 0; i < vendor->limits.count; i++) {
		const struct draft_limit *limit = vendor->limits.item[i];
		struct blob_limit *out = entry(e, BLOB_LIMITS, limit->index);
		/* A request is one request unless it says otherwise. */
		const bool cost = limit->written.at[WRITTEN_COST] || limit_counts_requests(limit);

		*out = (struct blob_limit){
			.name = add_text(e, limit->named.name),
			.vendor = vendor_name,
			.unit = add_text(e, limit->unit),
			.unit_hash = hash_unit(limit->unit),
			.kind = KIND_BUCKET,
			.scope = limit->scope,
			.flags = cost ? LIMIT_HAS_DEFAULT_COST : 0,
			.line = limit->named.at->place.line,
			.parent = limit->index,
			.class_index = BLOB_NO_INDEX,
			.zone = BLOB_NO_INDEX,
			.default_cost = limit->written.at[WRITTEN_COST]
						? limit->written.value[WRITTEN_COST]
						: cost,
			.numbers = limit->numbers,
		};
	}
}

static void emit_links(struct emitter *e, const struct draft_vendor *vendor)
{
	for (uint32_t i = 0; i < vendor->limits.count; i++) {
		struct blob_link *out = entry(e, BLOB_LINKS, e->link_next++);

		out->limit = ((const struct draft_limit *)vendor->limits.item[i])->index;
	}
}

/* The vendor's own limits, then those for all vendors. */
static void emit_runs(struct emitter *e, const struct draft_vendor *vendor)
{
	for (uint32_t i = 0; i < e->c->classes.count; i++) {
		struct blob_run *out = entry(e, BLOB_RUNS, e->run_next++);

		out->first = e->link_next;
		emit_links(e, vendor);
		emit_links(e, &e->c->all);
		out->count = e->link_next - out->first;
	}
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A permit is good as long as every limit it passed has made room for. */
static uint64_t permit_delay(const struct emitter *e, const struct draft_vendor *vendor)
{
	const struct list *lists[] = {&vendor->limits, &e->c->all.limits};
	uint64_t delay = UINT64_MAX;

	for (int l = 0; l < 2; l++) {
		for (uint32_t i = 0; i < lists[l]->count; i++) {
			const struct draft_limit *limit = lists[l]->item[i];

			delay = lesser(delay, limit->numbers.delay_ns);
		}
	}
	return delay == UINT64_MAX ? vendor->written.value[WRITTEN_DELAY] : delay;
}

static void emit_vendors(struct emitter *e)
{
	for (uint32_t i = 0; i < e->c->vendors.count; i++) {
		const struct draft_vendor *vendor = e->c->vendors.item[i];
		struct blob_vendor *out = entry(e, BLOB_VENDORS, i);

		*out = (struct blob_vendor){
			.name = add_text(e, vendor->named.name),
			.delay_ns = permit_delay(e, vendor),
		};
		emit_runs(e, vendor);
		if (strcmp(vendor->named.name, "default") == 0)
			e->header.default_vendor = i;
		emit_limits(e, vendor);
	}
	emit_limits(e, &e->c->all);
}

static void emit_overrides(struct emitter *e, struct draft_owner *owner)
{
	owner->first = e->override_next;
	for (uint32_t i = 0; i < owner->overrides.count; i++) {
		const struct draft_override *o = owner->overrides.item[i];
		struct blob_override *out = entry(e, BLOB_OVERRIDES, e->override_next++);

		*out = (struct blob_override){.limit = o->limit->index, .numbers = o->numbers};
	}
}

/* A tenant with nothing of its own shares its plan's run. */
static void emit_tenant(struct emitter *e, uint32_t index, struct draft_owner *tenant)
{
	struct blob_tenant *out = entry(e, BLOB_TENANTS, index);
	const struct draft_owner *owner = tenant;

	if (tenant->overrides.count == 0 && tenant->plan)
		owner = tenant->plan;
	else
		emit_overrides(e, tenant);
	*out = (struct blob_tenant){
		.name = add_text(e, tenant->named.name),
		.plan = tenant->plan ? tenant->plan->text : 0,
		.override_first = owner->first,
		.override_count = owner->overrides.count,
	};
}

static void emit_owners(struct emitter *e)
{
	const struct compiler *c = e->c;

	for (uint32_t i = 0; i < c->plans.count; i++) {
		struct draft_owner *plan = c->plans.item[i];

		plan->text = add_text(e, plan->named.name);
		emit_overrides(e, plan);
	}
	for (uint32_t i = 0; i < c->tenants.count; i++)
		emit_tenant(e, i, c->tenants.item[i]);
}

int emit_policy(struct compiler *c, uint64_t generation, const uint64_t hash_key[2],
		struct policy *ret_policy)
{
	struct emitter e = {.c = c, .text_next = 1};

	e.header = (struct blob_header){
		.magic = BLOB_MAGIC,
		.abi = BLOB_ABI,
		.mode = {.count = c->shadow},
		.fingerprint = blob_fingerprint(),
		.generation = generation,
		.hash_key = {hash_key[0], hash_key[1]},
		.default_vendor = BLOB_NO_INDEX,
	};
	lay_out(&e);
	e.blob = calloc(1, e.header.size);
	if (!e.blob)
		return -ENOMEM;
	if (c->shadow)
		*(struct blob_rule *)entry(&e, BLOB_RULES, 0) =
			(struct blob_rule){.until = 86400, .zone = BLOB_NO_INDEX};
	emit_classes(&e);
	emit_vendors(&e);
	emit_owners(&e);
	memcpy(e.blob, &e.header, sizeof(e.header));
	*ret_policy = (struct policy){.blob = e.blob, .size = e.header.size};
	return 0;
}
