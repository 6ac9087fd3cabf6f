/*
 * policy/resolve.c - duplicates, references and numbers, over all files together
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include <ration/ration.h>

#include "policy/read.h"
#include "shm/hash.h"
#include "shm/take.h"

/* --- names in order --- */

static int order(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static int by_place(const struct node *a, const struct node *b)
{
	int result = order(a->place.source->order, b->place.source->order);

	if (result == 0)
		result = order(a->place.line, b->place.line);
	return result ? result : order(a->place.column, b->place.column);
}

static int by_name(const void *left, const void *right)
{
	const struct named *a = *(struct named *const *)left, *b = *(struct named *const *)right;
	const int result = strcmp(a->name, b->name);

	return result ? result : by_place(a->at, b->at);
}

/* Sorts a list of things that begin with a struct named, by name; of several with one name the first stays. */
static void sort_names(struct compiler *c, struct list *list, const char *what)
{
	uint32_t kept = 0;

	if (list->count > 0)
		qsort(list->item, list->count, sizeof(void *), by_name);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct named *named = list->item[i];
		const struct named *before = kept > 0 ? list->item[kept - 1] : NULL;

		if (before && strcmp(before->name, named->name) == 0)
			error_at(c, named->at, "duplicate %s '%s': it is already at %s:%u", what,
				 named->name, before->at->place.source->path,
				 before->at->place.line);
		else
			list->item[kept++] = list->item[i];
	}
	list->count = kept;
}

static int compare_name(const void *name, const void *item)
{
	return strcmp(name, (*(struct named *const *)item)->name);
}

static void *find(const struct list *list, const char *name)
{
	void *const *found = NULL;

	if (list->count > 0)
		found = bsearch(name, list->item, list->count, sizeof(void *), compare_name);
	return found ? *found : NULL;
}

/* "unknown limit 'rte' of vendor 'crm' (did you mean 'rate'?); known: rate, burst"; where may be "". */
static void unknown(struct compiler *c, const struct node *at, const char *what, const char *where,
		    const struct list *known)
{
	enum { LOOKED_AT = 256 };
	const char *names[LOOKED_AT];
	uint32_t n = 0;

	if (c->incomplete)
		return;
	for (; n < known->count && n < LOOKED_AT && notes_open(&c->notes); n++)
		names[n] = ((const struct named *)known->item[n])->name;
	error_at(c, at, "unknown %s %s%s%s", what, node_found(&c->arena, at), where,
		 known_words(&c->arena, at->text, names, n));
}

/* --- vendors and limits --- */

static void sort_limits(struct compiler *c, struct draft_vendor *vendor)
{
	for (uint32_t i = 0; i < vendor->limits.count; i++)
		list_add(&vendor->by_name, &c->arena, vendor->limits.item[i]);
	sort_names(c, &vendor->by_name, "limit");
}

uint32_t find_vendor(struct compiler *c, const struct node *at)
{
	const struct list *vendors = &c->vendors;
	const void *found = find(vendors, at->text);

	for (uint32_t i = 0; found && i < vendors->count; i++) {
		if (vendors->item[i] == found)
			return i;
	}
	unknown(c, at, "vendor", "", vendors);
	return BLOB_NO_INDEX;
}

/* A request says "vendor" of either. */
static void check_route_name(struct compiler *c, const struct draft_route *route)
{
	const struct named *vendor = find(&c->vendors, route->named.name);

	if (vendor)
		error_at(c, route->named.at,
			 "route '%s' has the name of a vendor, at %s:%u: expected another",
			 route->named.name, vendor->at->place.source->path, vendor->at->place.line);
}

static void resolve_routes(struct compiler *c)
{
	sort_names(c, &c->routes, "route");
	for (uint32_t i = 0; i < c->routes.count; i++) {
		check_route_name(c, c->routes.item[i]);
		resolve_route(c, c->routes.item[i]);
	}
}

static void resolve_vendors(struct compiler *c)
{
	sort_names(c, &c->vendors, "vendor");
	sort_limits(c, &c->all);
	for (uint32_t i = 0; i < c->vendors.count; i++) {
		struct draft_vendor *vendor = c->vendors.item[i];
		const uint32_t chain = vendor->limits.count + c->all.limits.count;

		sort_limits(c, vendor);
		if (chain > RATION_LINKS_MAX)
			error_at(c, vendor->named.at,
				 "vendor '%s' has %u limits, with those for all vendors: expected "
				 "at most %d",
				 vendor->named.name, chain, RATION_LINKS_MAX);
	}
	if (c->vendors.count == 0 && !c->incomplete)
		notes_add(&c->notes, POLICY_ERROR, source_place(c->sources.item[0]),
			  "no vendors: expected at least one under 'vendors'");
}

/* What two classes must never share, neither may share. */
static void resolve_never_with(struct compiler *c, uint32_t class_index)
{
	struct draft_class *class = c->classes.item[class_index];
	const struct node *list = class->never_with_at;

	for (const struct node *at = list ? list->first : NULL; at; at = at->next) {
		const uint32_t other = find_class(c, at);

		if (other == class_index) {
			error_at(c, at, "class '%s' cannot be kept from itself", class->named.name);
		} else if (other < CLASSES_MAX) {
			class->never_with |= UINT32_C(1) << other;
			((struct draft_class *)c->classes.item[other])->never_with |=
				UINT32_C(1) << class_index;
		}
	}
}

static void resolve_classes(struct compiler *c)
{
	resolve_mode(c, &c->mode);
	for (uint32_t i = 0; i < c->classes.count; i++) {
		resolve_never_with(c, i);
		resolve_mode(c, &((struct draft_class *)c->classes.item[i])->mode);
	}
}

/* Written limits keep their order; those derived for classes follow. */
static void count_limits(struct compiler *c)
{
	c->n_limits = c->limits.count;
	for (uint32_t i = 0; i < c->limits.count; i++) {
		struct draft_limit *limit = c->limits.item[i];

		limit->index = i;
		limit->derived_index = c->n_limits;
		c->n_limits += limit->n_derived;
	}
	if (c->n_limits >= LINK_LIMITS_MAX)
		notes_add(&c->notes, POLICY_ERROR, source_place(c->sources.item[0]),
			  "%u limits, with those that guarantees and ceilings come to: expected "
			  "fewer than %u",
			  c->n_limits, LINK_LIMITS_MAX);
}

static void resolve_limits(struct compiler *c)
{
	numbers_of_vendor(c, &c->all);
	for (uint32_t i = 0; i < c->vendors.count; i++)
		numbers_of_vendor(c, c->vendors.item[i]);
	for (uint32_t i = 0; i < c->limits.count; i++) {
		struct draft_limit *limit = c->limits.item[i];

		resolve_mode(c, &limit->mode);
		resolve_claims(c, limit);
		numbers_of_limit(c, limit);
	}
	count_limits(c);
}

/* --- units --- */

static int by_unit(const void *left, const void *right)
{
	const struct draft_limit *a = *(struct draft_limit *const *)left;
	const struct draft_limit *b = *(struct draft_limit *const *)right;
	int result = order(hash_unit(a->unit), hash_unit(b->unit));

	if (result == 0)
		result = strcmp(a->unit, b->unit);
	return result ? result : by_place(a->unit_at, b->unit_at);
}

/* Costs find their limit by a hash of the unit's name; two names with one hash would be charged to each other. */
static void check_units(struct compiler *c)
{
	struct list units = {0};

	for (uint32_t i = 0; i < c->limits.count; i++)
		list_add(&units, &c->arena, c->limits.item[i]);
	if (units.count > 0)
		qsort(units.item, units.count, sizeof(void *), by_unit);
	for (uint32_t i = 1; i < units.count; i++) {
		const struct draft_limit *a = units.item[i - 1], *b = units.item[i];

		if (hash_unit(a->unit) == hash_unit(b->unit) && strcmp(a->unit, b->unit) != 0)
			error_at(c, b->unit_at,
				 "the units '%s' and '%s' cannot stand in one policy (they have "
				 "the same hash): rename one",
				 a->unit, b->unit);
	}
}

/* --- plans and tenants --- */

static struct draft_limit *find_limit(struct compiler *c, const struct draft_override *o)
{
	const char *name = o->vendor_at->text;
	const bool all = strcmp(name, ALL_VENDORS) == 0;
	const struct draft_vendor *vendor = all ? &c->all : find(&c->vendors, name);
	struct draft_limit *limit;

	if (!vendor)
		return NULL;
	limit = find(&vendor->by_name, o->limit_name.name);
	if (!limit)
		unknown(c, o->limit_name.at, "limit",
			all ? " of all vendors" : arena_printf(&c->arena, " of vendor '%s'", name),
			&vendor->by_name);
	return limit;
}

/* What limits of its kind have no number for. */
static bool override_fits(struct compiler *c, const struct draft_override *o)
{
	static const struct {
		enum written_field field;
		const char *key;
	} keys[] = {
		{WRITTEN_RATE, "rate"},
		{WRITTEN_BURST, "burst"},
		{WRITTEN_AMOUNT, "amount"},
		{WRITTEN_SLOTS, "slots"},
	};
	bool fits = true;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct node *at = o->written.at[keys[i].field];

		if (!at || o->limit->later || kind_has(o->limit->kind, keys[i].key))
			continue;
		error_at(c, at, "limit '%s' is %s, which has no '%s'", o->limit->named.name,
			 kind_name(o->limit->kind), keys[i].key);
		fits = false;
	}
	return fits;
}

static bool resolve_override(struct compiler *c, struct draft_override *o)
{
	o->limit = find_limit(c, o);
	if (!o->limit)
		return false;
	if (o->limit->scope & RATION_SCOPE_TENANT)
		return override_fits(c, o);
	if (!o->limit->scope_broken && !o->limit->later)
		error_at(c, o->limit_name.at,
			 "limit '%s' cannot differ by tenant: its scope does not contain 'tenant'",
			 o->limit->named.name);
	return false;
}

/* Each vendor once, though it may stand over several limits. */
static void check_vendor_names(struct compiler *c, const struct draft_owner *owner)
{
	const struct node *last = NULL;

	for (uint32_t i = 0; i < owner->overrides.count; i++) {
		const struct node *at =
			((const struct draft_override *)owner->overrides.item[i])->vendor_at;

		if (at != last && strcmp(at->text, ALL_VENDORS) != 0 &&
		    !find(&c->vendors, at->text))
			unknown(c, at, "vendor", "", &c->vendors);
		last = at;
	}
}

static int by_limit(const void *left, const void *right)
{
	const struct draft_override *a = *(struct draft_override *const *)left;
	const struct draft_override *b = *(struct draft_override *const *)right;
	const int result = order(a->limit->index, b->limit->index);

	return result ? result : by_place(a->limit_name.at, b->limit_name.at);
}

/* What is sound, by limit, each limit once. */
static void sort_overrides(struct compiler *c, struct draft_owner *owner)
{
	struct list *list = &owner->overrides;
	uint32_t sound = 0, kept = 0;

	check_vendor_names(c, owner);
	for (uint32_t i = 0; i < list->count; i++) {
		if (resolve_override(c, list->item[i]))
			list->item[sound++] = list->item[i];
	}
	if (sound > 0)
		qsort(list->item, sound, sizeof(void *), by_limit);
	for (uint32_t i = 0; i < sound; i++) {
		const struct draft_override *o = list->item[i];
		const struct draft_override *before = kept > 0 ? list->item[kept - 1] : NULL;

		if (before && before->limit == o->limit)
			error_at(c, o->limit_name.at,
				 "duplicate limit '%s': it is already in line %u",
				 o->limit_name.name, before->limit_name.at->place.line);
		else
			list->item[kept++] = list->item[i];
	}
	list->count = kept;
}

static void resolve_plan(struct compiler *c, struct draft_owner *plan)
{
	sort_overrides(c, plan);
	for (uint32_t i = 0; i < plan->overrides.count; i++) {
		struct draft_override *o = plan->overrides.item[i];

		numbers_of_override(c, o->limit, o);
	}
}

static int compare_limit(const void *limit, const void *item)
{
	const struct draft_override *o = *(struct draft_override *const *)item;

	return order(((const struct draft_limit *)limit)->index, o->limit->index);
}

/* Among overrides by limit. */
static struct draft_override *of_limit(const struct list *list, const struct draft_limit *limit)
{
	void *const *found = NULL;

	if (list->count > 0)
		found = bsearch(limit, list->item, list->count, sizeof(void *), compare_limit);
	return found ? *found : NULL;
}

/* What a plan gives to a tenant that has numbers of its own is copied, so its sum is bounded. */
static bool may_copy(struct compiler *c, const struct draft_owner *tenant)
{
	const size_t count = tenant->plan->overrides.count;

	if (count <= c->copies_left) {
		c->copies_left -= count;
		return true;
	}
	if (!c->copies_refused)
		error_at(c, tenant->named.at,
			 "too large: tenants that have a plan and numbers of their own may come to "
			 "%d numbers",
			 COPIES_MAX);
	c->copies_refused = true;
	return false;
}

static void add_planned(struct compiler *c, struct draft_owner *tenant, const struct list *own)
{
	const struct list *planned = &tenant->plan->overrides;

	if (!may_copy(c, tenant))
		return;
	for (uint32_t i = 0; i < planned->count; i++) {
		struct draft_override *o = planned->item[i];

		if (!of_limit(own, o->limit))
			list_add(&tenant->overrides, &c->arena, o);
	}
	qsort(tenant->overrides.item, tenant->overrides.count, sizeof(void *), by_limit);
}

/* A tenant's own numbers come first, then its plan's, then the limit's. */
static void merge_plan(struct compiler *c, struct draft_owner *tenant)
{
	struct list own = {0};

	for (uint32_t i = 0; i < tenant->overrides.count; i++) {
		struct draft_override *o = tenant->overrides.item[i];
		const struct draft_override *planned =
			tenant->plan ? of_limit(&tenant->plan->overrides, o->limit) : NULL;

		if (planned)
			written_inherit(&o->written, &planned->written);
		numbers_of_override(c, o->limit, o);
		list_add(&own, &c->arena, o);
	}
	if (tenant->plan)
		add_planned(c, tenant, &own);
}

static void resolve_tenant(struct compiler *c, struct draft_owner *tenant)
{
	if (tenant->plan_at)
		tenant->plan = find(&c->plans, tenant->plan_at->text);
	if (tenant->plan)
		tenant->plan->used = true;
	else if (tenant->plan_at)
		unknown(c, tenant->plan_at, "plan", "", &c->plans);
	if (tenant->overrides.count == 0)
		return;
	sort_overrides(c, tenant);
	if (tenant->overrides.count > 0)
		merge_plan(c, tenant);
}

void resolve_policy(struct compiler *c)
{
	resolve_classes(c);
	resolve_vendors(c);
	resolve_limits(c);
	resolve_routes(c);
	check_layers(c);
	check_units(c);
	sort_names(c, &c->plans, "plan");
	sort_names(c, &c->tenants, "tenant");
	for (uint32_t i = 0; i < c->plans.count; i++)
		resolve_plan(c, c->plans.item[i]);
	for (uint32_t i = 0; i < c->tenants.count; i++)
		resolve_tenant(c, c->tenants.item[i]);
}
