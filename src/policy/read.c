/*
 * policy/read.c - what each key of a policy means
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/read.h"
#include "policy/scalar.h"

static void read_limits(struct compiler *c, const struct node *value, void *target)
{
	schema_items(c, value, "a list of limits", read_limit, target);
}

static void read_limits_of_all(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	read_limits(c, value, &c->all);
}

/* --- vendors --- */

static void read_use_item(struct compiler *c, const struct node *value, void *target)
{
	struct draft_vendor *vendor = target;
	struct node *use = arena_alloc(&c->arena, sizeof(*use));

	if (!use)
		return;
	*use = *value;
	list_add(&vendor->uses, &c->arena, use);
}

static void read_use(struct compiler *c, const struct node *value, void *target)
{
	if (value->kind == NODE_LIST)
		schema_items(c, value, "", read_use_item, target);
	else
		read_use_item(c, value, target);
}

static const struct field vendor_fields[] = {
	{"use", read_use, 0, NULL, ANYWHERE},
	{"limits", read_limits, 0, NULL, ANYWHERE},
	{"delay", read_delay, offsetof(struct draft_vendor, written), NULL, ANYWHERE},
	{"learn", read_learn, offsetof(struct draft_vendor, written), NULL, ANYWHERE},
	{"clock_skew", read_clock_skew, offsetof(struct draft_vendor, written), NULL, ANYWHERE},
	{"max_block", read_max_block, offsetof(struct draft_vendor, written), NULL, ANYWHERE},
	{"breaker", read_breaker, offsetof(struct draft_vendor, written), NULL, ANYWHERE},
	{"margin", read_margin, offsetof(struct draft_vendor, written), NULL, ANYWHERE},
	{"share", read_share, offsetof(struct draft_vendor, written), NULL, ANYWHERE},
};
static const struct schema vendor_schema = SCHEMA("a vendor", vendor_fields, true);

/* Under a tenant these two mean something else. */
static bool reserved_name(const char *name)
{
	return strcmp(name, "plan") == 0 || strcmp(name, ALL_VENDORS) == 0;
}

static void read_vendor(struct compiler *c, const struct node *key, const struct node *value,
			void *target)
{
	struct draft_vendor *vendor = NULL;

	(void)target;
	if (good_name(c, key) && reserved_name(key->text))
		error_at(c, key, "a vendor cannot be called '%s'", key->text);
	else if (scalar_name(key->text, key->size))
		vendor = list_new(&c->vendors, &c->arena, sizeof(*vendor));
	if (!vendor) {
		c->incomplete = true;
		return;
	}
	vendor->named = (struct named){key->text, key};
	if (!node_empty(value))
		schema_walk(c, value, &vendor_schema, vendor);
}

static void read_vendors(struct compiler *c, const struct node *value, void *target)
{
	schema_entries(c, value, "a mapping of vendors", read_vendor, target);
}

/* --- plans and tenants --- */

static const struct field override_fields[] = {
	{"rate", read_rate, 0, NULL, ANYWHERE},     {"burst", read_burst, 0, NULL, ANYWHERE},
	{"amount", read_amount, 0, NULL, ANYWHERE}, {"slots", read_slots, 0, NULL, ANYWHERE},
	{"margin", read_margin, 0, NULL, ANYWHERE}, {"share", read_share, 0, NULL, ANYWHERE},
};
static const struct schema override_schema = SCHEMA("an override", override_fields, false);

void read_override_numbers(struct compiler *c, const struct node *value, struct written *written)
{
	schema_walk(c, value, &override_schema, written);
}

struct override_place {
	struct draft_owner *owner;
	const struct node *vendor;
};

static void read_override(struct compiler *c, const struct node *key, const struct node *value,
			  void *target)
{
	const struct override_place *place = target;
	struct draft_override *o;

	if (!good_name(c, key))
		return;
	o = list_new(&place->owner->overrides, &c->arena, sizeof(*o));
	if (!o)
		return;
	o->owner = place->owner;
	o->vendor_at = place->vendor;
	o->limit_name = (struct named){key->text, key};
	read_override_numbers(c, value, &o->written);
}

static void read_owner_entry(struct compiler *c, const struct node *key, const struct node *value,
			     void *target)
{
	struct override_place place = {target, key};

	if (good_name(c, key))
		schema_entries(c, value, "a mapping of limits", read_override, &place);
}

static void read_tenant_entry(struct compiler *c, const struct node *key, const struct node *value,
			      void *target)
{
	struct draft_owner *tenant = target;

	if (strcmp(key->text, "plan") != 0)
		read_owner_entry(c, key, value, tenant);
	else if (tenant->plan_at)
		error_at(c, key, "duplicate key 'plan': it is already in line %u",
			 tenant->plan_at->place.line);
	else if (good_name(c, value))
		tenant->plan_at = value;
}

static void read_plan(struct compiler *c, const struct node *key, const struct node *value,
		      void *target)
{
	struct draft_owner *plan;

	(void)target;
	if (!good_name(c, key)) {
		c->incomplete = true;
		return;
	}
	plan = list_new(&c->plans, &c->arena, sizeof(*plan));
	if (!plan)
		return;
	plan->named = (struct named){key->text, key};
	schema_entries(c, value, "a plan (a mapping of vendors)", read_owner_entry, plan);
}

static void read_plans(struct compiler *c, const struct node *value, void *target)
{
	schema_entries(c, value, "a mapping of plans", read_plan, target);
}

static void read_tenant(struct compiler *c, const struct node *key, const struct node *value,
			void *target)
{
	struct draft_owner *tenant;

	(void)target;
	if (!good_tenant(c, key))
		return;
	tenant = list_new(&c->tenants, &c->arena, sizeof(*tenant));
	if (!tenant)
		return;
	tenant->named = (struct named){key->text, key};
	schema_entries(c, value, "a tenant (a mapping such as {plan: gold})", read_tenant_entry,
		       tenant);
}

static void read_tenants(struct compiler *c, const struct node *value, void *target)
{
	schema_entries(c, value, "a mapping of tenants", read_tenant, target);
}

/* --- the top level --- */

static void read_version(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	if (!is_text(value) || strcmp(value->text, "1") != 0)
		node_expected(&c->notes, value, "version 1, the only one there is");
}

static void read_policy_mode(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	read_mode(c, value, &c->mode);
}

static const struct field default_fields[] = {
	{"delay", read_delay, 0, NULL, ANYWHERE},
	{"learn", read_learn, 0, NULL, ANYWHERE},
	{"clock_skew", read_clock_skew, 0, NULL, ANYWHERE},
	{"max_block", read_max_block, 0, NULL, ANYWHERE},
	{"breaker", read_breaker, 0, NULL, ANYWHERE},
	{"mode", read_policy_mode, 0, NULL, ANYWHERE},
	{"share", read_share, 0, NULL, ANYWHERE},
	{"margin", read_margin, 0, NULL, ANYWHERE},
};
static const struct schema default_schema = SCHEMA("the defaults", default_fields, false);

static void read_defaults(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	if (!node_empty(value))
		schema_walk(c, value, &default_schema, &c->defaults);
}

static void add_include(struct compiler *c, const struct node *value)
{
	struct draft_include *include = list_new(&c->includes, &c->arena, sizeof(*include));

	if (include)
		include->at = value;
}

static void read_include_item(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	if (is_text(value) && value->size > 0)
		add_include(c, value);
	else
		node_expected(&c->notes, value, "a file name or pattern, such as tenants.d/*.yaml");
}

static void read_include(struct compiler *c, const struct node *value, void *target)
{
	if (value->kind == NODE_LIST)
		schema_items(c, value, "", read_include_item, target);
	else if (!node_empty(value))
		read_include_item(c, value, target);
}

static void read_adapters(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	if (is_text(value) && value->size > 0)
		c->adapters_at = value;
	else
		node_expected(&c->notes, value, "a directory, such as adapters.d");
}

static const struct field policy_fields[] = {
	{"version", read_version, 0, "write version: 1", MAIN_NEEDS},
	{"classes", read_classes, 0, "traffic classes, most protected first", MAIN_ONLY},
	{"defaults", read_defaults, 0, NULL, MAIN_ONLY},
	{"limits", read_limits_of_all, 0, NULL, ANYWHERE},
	{"vendors", read_vendors, 0, NULL, ANYWHERE},
	{"plans", read_plans, 0, NULL, ANYWHERE},
	{"tenants", read_tenants, 0, NULL, ANYWHERE},
	{"routes", read_routes, 0, NULL, ANYWHERE},
	{"include", read_include, 0, NULL, ANYWHERE},
	{"adapters", read_adapters, 0, NULL, MAIN_ONLY},
};
static const struct schema policy_schema = SCHEMA("a policy", policy_fields, true);

void read_policy(struct compiler *c, const struct node *root)
{
	if (root->kind != NODE_MAP)
		c->incomplete = true;
	schema_walk(c, root, &policy_schema, c);
}
