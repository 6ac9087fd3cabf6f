/*
 * policy/emit_limits.c - limits and their chains, routes, plans and tenants, as the compiled policy has them
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include <ration/ration.h>

#include "policy/emit.h"
#include "shm/hash.h"

/* --- limits: as written, then those derived for classes --- */

/*
 * The mode of the whole policy is what holds for limits that say nothing else. Where none does, it stands in the
 * header, for people to see.
 */
static bool modes_differ(const struct compiler *c)
{
	for (uint32_t i = 0; i < c->limits.count; i++) {
		if (((const struct draft_limit *)c->limits.item[i])->mode.at)
			return true;
	}
	return false;
}

static struct blob_rules mode_of(struct emitter *e, struct draft_limit *limit, bool differ)
{
	static const struct blob_rules as_the_policy;

	if (limit->mode.at)
		return emit_mode(e, &limit->mode);
	return differ ? emit_mode(e, &e->c->mode) : as_the_policy;
}

/* A request is one request unless it says otherwise. */
static uint64_t default_cost(const struct draft_limit *limit)
{
	if (limit->written.at[WRITTEN_COST])
		return limit->written.value[WRITTEN_COST];
	return limit->kind == KIND_SLOTS || limit_counts_requests(limit);
}

static struct blob_limit written_limit(struct emitter *e, struct draft_limit *limit, bool differ)
{
	const uint64_t cost = default_cost(limit);
	const bool window = limit->kind == KIND_WINDOW;

	return (struct blob_limit){
		.name = emit_text(e, limit->named.name),
		.vendor = emit_text(e, limit->vendor->named.name),
		.unit = emit_text(e, limit->unit),
		.unit_hash = hash_unit(limit->unit),
		.kind = limit->kind,
		.scope = limit->scope,
		.flags = limit->flags | (cost > 0 ? LIMIT_HAS_DEFAULT_COST : 0) |
			 (uint32_t)limit->written.value[WRITTEN_LEARN],
		.line = limit_at(limit)->place.line,
		.role = LIMIT_WRITTEN,
		.parent = limit->index,
		.class_index = BLOB_NO_INDEX,
		.calendar = window ? limit->calendar : 0,
		.zone = window && limit->zone ? limit->zone->index : BLOB_NO_INDEX,
		.told = emit_text(e, limit->told ? limit->told : ""),
		.offset_ns = window ? (int64_t)limit->offset_ns : 0,
		.mode = mode_of(e, limit, differ),
		.default_cost = cost,
		.hold_ns = limit->kind == KIND_SLOTS ? limit->written.value[WRITTEN_HOLD] : 0,
		.numbers = limit->numbers,
	};
}

/*
 * Like the limit it comes of. Only a ceiling clamps: what is larger than a guarantee is for the links after it, at
 * its full cost.
 */
static struct blob_limit derived_limit(struct emitter *e, const struct draft_limit *limit,
				       const struct blob_limit *parent, uint32_t i)
{
	const struct draft_derived *d = &limit->derived[i];
	const bool guarantee = d->role == LIMIT_GUARANTEE;
	struct blob_limit out = *parent;
	char name[256];

	snprintf(name, sizeof(name), "%s:%s.%s", limit->named.name, d->claims->class.name,
		 guarantee ? "guarantee" : "ceiling");
	out.name = emit_text(e, name);
	out.line = d->claims->class.at->place.line;
	out.role = d->role;
	out.class_index = d->claims->class_index;
	out.numbers = limit->derived_numbers[i];
	if (guarantee)
		out.flags &= ~LIMIT_CLAMP;
	return out;
}

void emit_limits(struct emitter *e)
{
	const struct list *limits = &e->c->limits;
	const bool differ = modes_differ(e->c);
	struct blob_limit *all = emit_new(e, BLOB_LIMITS, e->c->n_limits);

	if (!differ)
		e->header.mode = emit_mode(e, &e->c->mode);
	for (uint32_t i = 0; all && i < limits->count; i++) {
		struct draft_limit *limit = limits->item[i];

		all[i] = written_limit(e, limit, differ);
		for (uint32_t k = 0; k < limit->n_derived; k++)
			all[limit->derived_index + k] = derived_limit(e, limit, &all[i], k);
	}
}

/* --- vendors and chains --- */

static void emit_links(struct emitter *e, const struct list *limits, uint32_t class_index)
{
	for (uint32_t i = 0; i < limits->count; i++) {
		struct blob_link links[DERIVED_MAX + 1];
		const uint32_t n = links_of(limits->item[i], class_index, links);
		struct blob_link *out = emit_new(e, BLOB_LINKS, n);

		if (out)
			memcpy(out, links, n * sizeof(links[0]));
	}
}

/* The vendor's own limits, then those for all vendors. */
static void emit_run(struct emitter *e, const struct draft_vendor *vendor, uint32_t class_index)
{
	const uint32_t first = emit_count(e, BLOB_LINKS);
	struct blob_run *out;

	emit_links(e, &vendor->limits, class_index);
	emit_links(e, &e->c->all.limits, class_index);
	out = emit_new(e, BLOB_RUNS, 1);
	if (out)
		*out = (struct blob_run){first, emit_count(e, BLOB_LINKS) - first};
}

void emit_vendors(struct emitter *e)
{
	for (uint32_t i = 0; i < e->c->vendors.count; i++) {
		const struct draft_vendor *vendor = e->c->vendors.item[i];
		struct blob_vendor *out = emit_new(e, BLOB_VENDORS, 1);

		if (!out)
			return;
		*out = (struct blob_vendor){
			.name = emit_text(e, vendor->named.name),
			.delay_ns = permit_delay(e->c, vendor),
			.clock_skew_ns = vendor->written.value[WRITTEN_SKEW],
			.max_block_ns = vendor->written.value[WRITTEN_MAX_BLOCK],
			.breaker =
				{
					.window_ns = vendor->written.value[WRITTEN_BREAK_WINDOW],
					.open_ns = vendor->written.value[WRITTEN_BREAK_OPEN],
					.share_ppm = (uint32_t)vendor->written
							     .value[WRITTEN_BREAK_SHARE],
					.least = (uint32_t)
							 vendor->written.value[WRITTEN_BREAK_LEAST],
				},
		};
		if (strcmp(vendor->named.name, "default") == 0)
			e->header.default_vendor = i;
		for (uint32_t k = 0; k < e->c->classes.count; k++)
			emit_run(e, vendor, k);
	}
}

/* --- routes --- */

static void emit_alternatives(struct emitter *e, const struct draft_route *route)
{
	for (uint32_t i = 0; i < route->alternatives.count; i++) {
		const struct draft_alternative *a = route->alternatives.item[i];
		const char *resource = a->resource ? a->resource : "";
		struct blob_alternative *out = emit_new(e, BLOB_ALTERNATIVES, 1);
		char name[RATION_NAME_MAX + RATION_KEY_MAX + 2];

		snprintf(name, sizeof(name), "%s%s%s", a->vendor_at->text, resource[0] ? "/" : "",
			 resource);
		if (out)
			*out = (struct blob_alternative){
				.name = emit_text(e, name),
				.vendor = a->vendor,
				.resource = emit_text(e, resource),
				.weight = a->weight,
				.classes = a->classes,
			};
	}
}

void emit_routes(struct emitter *e)
{
	for (uint32_t i = 0; i < e->c->routes.count; i++) {
		const struct draft_route *route = e->c->routes.item[i];
		struct blob_route *out = emit_new(e, BLOB_ROUTES, 1);

		if (out)
			*out = (struct blob_route){
				.name = emit_text(e, route->named.name),
				.first = emit_count(e, BLOB_ALTERNATIVES),
				.count = route->alternatives.count,
				.line = route->named.at->place.line,
			};
		emit_alternatives(e, route);
	}
}

/* --- plans and tenants --- */

static void emit_override(struct emitter *e, uint32_t limit, const struct blob_numbers *numbers,
			  bool set)
{
	struct blob_override *out = emit_new(e, BLOB_OVERRIDES, 1);

	if (out)
		*out = (struct blob_override){.limit = limit, .set = set, .numbers = *numbers};
}

/* By limit: all that are written stand before all that are derived. */
static void emit_overrides(struct emitter *e, struct draft_owner *owner)
{
	owner->first = emit_count(e, BLOB_OVERRIDES);
	for (uint32_t i = 0; i < owner->overrides.count; i++) {
		const struct draft_override *o = owner->overrides.item[i];

		emit_override(e, o->limit->index, &o->numbers, o->set);
	}
	for (uint32_t i = 0; i < owner->overrides.count; i++) {
		const struct draft_override *o = owner->overrides.item[i];

		for (uint32_t k = 0; k < o->limit->n_derived; k++)
			emit_override(e, o->limit->derived_index + k, &o->derived_numbers[k],
				      o->set);
	}
	owner->count = emit_count(e, BLOB_OVERRIDES) - owner->first;
}

/* A tenant with nothing of its own shares its plan's run. */
static void emit_tenant(struct emitter *e, struct draft_owner *tenant)
{
	const bool shares = tenant->overrides.count == 0 && tenant->plan;
	const struct draft_owner *owner = shares ? tenant->plan : tenant;
	struct blob_tenant *out;

	if (!shares)
		emit_overrides(e, tenant);
	out = emit_new(e, BLOB_TENANTS, 1);
	if (out)
		*out = (struct blob_tenant){
			.name = emit_text(e, tenant->named.name),
			.plan = tenant->plan ? tenant->plan->text : 0,
			.override_first = owner->first,
			.override_count = owner->count,
		};
}

void emit_owners(struct emitter *e)
{
	const struct compiler *c = e->c;

	for (uint32_t i = 0; i < c->plans.count; i++) {
		struct draft_owner *plan = c->plans.item[i];

		plan->text = emit_text(e, plan->named.name);
		emit_overrides(e, plan);
	}
	for (uint32_t i = 0; i < c->tenants.count; i++)
		emit_tenant(e, c->tenants.item[i]);
}
