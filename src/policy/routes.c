/*
 * policy/routes.c - routes: logical vendors, and what they lead to
 * SPDX-License-Identifier: MIT
 *
 *	routes:
 *	  best: [openai/gpt-4o, anthropic/sonnet]
 *	  cheap:
 *	    alternatives:
 *	      - {vendor: openai, resource: gpt-4o-mini, weight: 3}
 *	      - {vendor: groq, weight: 1, classes: [speculative]}
 *	    classes: [bulk, speculative]
 */
#include <string.h>

#include <ration/ration.h>

#include "policy/read.h"
#include "policy/scalar.h"

#define ROUTE_FORM       "a list of alternatives, such as [openai/gpt-4o, anthropic/sonnet]"
#define ALTERNATIVE_FORM "an alternative, such as openai/gpt-4o or {vendor: openai, weight: 3}"
#define RESOURCE_FORM    "a resource of 1 to 256 bytes, such as gpt-4o"
#define WEIGHT_FORM      "a weight, a whole number from 1 to 1000000"
#define CLASSES_FORM     "a list of classes, such as [bulk]"

/* --- reading --- */

static void read_vendor_name(struct compiler *c, const struct node *value, void *target)
{
	if (good_name(c, value))
		((struct draft_alternative *)target)->vendor_at = value;
}

static void read_resource(struct compiler *c, const struct node *value, void *target)
{
	if (is_text(value) && value->size > 0 && value->size <= RATION_KEY_MAX &&
	    strcmp(value->text, "-") != 0)
		((struct draft_alternative *)target)->resource = value->text;
	else
		node_expected(&c->notes, value, RESOURCE_FORM);
}

static void read_weight(struct compiler *c, const struct node *value, void *target)
{
	struct draft_alternative *alternative = target;
	uint64_t weight;

	alternative->weight_at = value;
	if (is_text(value) && scalar_count(value->text, &weight) && weight <= BLOB_WEIGHT_MAX)
		alternative->weight = (uint32_t)weight;
	else
		node_expected(&c->notes, value, WEIGHT_FORM);
}

/* An empty list would mean all of them where it was meant to say none. */
static void read_class_list(struct compiler *c, const struct node *value, void *target)
{
	if (value->kind == NODE_LIST && value->first)
		*(const struct node **)target = value;
	else
		node_expected(&c->notes, value, CLASSES_FORM);
}

static const struct field alternative_fields[] = {
	{"vendor", read_vendor_name, 0, "requests go to it", ANYWHERE},
	{"resource", read_resource, 0, NULL, ANYWHERE},
	{"weight", read_weight, 0, NULL, ANYWHERE},
	{"classes", read_class_list, offsetof(struct draft_alternative, classes_at), NULL,
	 ANYWHERE},
};
static const struct schema alternative_schema = SCHEMA("an alternative", alternative_fields, false);

/* "openai/gpt-4o": the vendor and the rest as texts of their own, at the same place. */
static void read_short(struct compiler *c, const struct node *value,
		       struct draft_alternative *alternative)
{
	const char *slash = strchr(value->text, '/');
	const size_t size = slash ? (size_t)(slash - value->text) : value->size;
	struct node *parts = arena_alloc(&c->arena, 2 * sizeof(*parts));

	if (!parts)
		return;
	parts[0] = parts[1] = *value;
	parts[0].text = arena_printf(&c->arena, "%.*s", (int)size, value->text);
	parts[0].size = (uint32_t)size;
	if (!parts[0].text)
		return;
	read_vendor_name(c, &parts[0], alternative);
	if (!slash)
		return;
	parts[1].text = slash + 1;
	parts[1].size = value->size - (uint32_t)size - 1;
	read_resource(c, &parts[1], alternative);
	if (!alternative->resource)
		alternative->vendor_at = NULL;
}

static void read_alternative(struct compiler *c, const struct node *value, void *target)
{
	struct draft_route *route = target;
	struct draft_alternative *alternative =
		list_new(&route->alternatives, &c->arena, sizeof(*alternative));

	if (!alternative)
		return;
	alternative->at = value;
	if (value->kind == NODE_MAP)
		schema_walk(c, value, &alternative_schema, alternative);
	else if (is_text(value) && value->size > 0)
		read_short(c, value, alternative);
	else
		node_expected(&c->notes, value, ALTERNATIVE_FORM);
	route->broken |= !alternative->vendor_at;
}

static void read_alternatives(struct compiler *c, const struct node *value, void *target)
{
	struct draft_route *route = target;

	if (value->kind == NODE_LIST)
		schema_items(c, value, ROUTE_FORM, read_alternative, route);
	else
		route->broken = !node_expected(&c->notes, value, ROUTE_FORM);
}

static const struct field route_fields[] = {
	{"alternatives", read_alternatives, 0, "it has to lead somewhere", ANYWHERE},
	{"classes", read_class_list, offsetof(struct draft_route, classes_at), NULL, ANYWHERE},
};
static const struct schema route_schema = SCHEMA("a route", route_fields, false);

static void read_route(struct compiler *c, const struct node *key, const struct node *value,
		       void *target)
{
	struct draft_route *route;

	(void)target;
	if (!good_name(c, key))
		return;
	route = list_new(&c->routes, &c->arena, sizeof(*route));
	if (!route)
		return;
	route->named = (struct named){key->text, key};
	if (value->kind != NODE_MAP) {
		read_alternatives(c, value, route);
		return;
	}
	schema_walk(c, value, &route_schema, route);
	route->broken |= !schema_get(value, "alternatives");
}

void read_routes(struct compiler *c, const struct node *value, void *target)
{
	schema_entries(c, value, "a mapping of routes", read_route, target);
}

/* --- resolving --- */

/* Of a list of classes, or all of them; those that are unknown were told. */
static uint32_t classes_of(struct compiler *c, const struct node *list)
{
	uint32_t classes = 0;

	if (!list)
		return (UINT32_C(1) << c->classes.count) - 1;
	for (const struct node *at = list->first; at; at = at->next) {
		const uint32_t class_index = find_class(c, at);

		if (class_index < CLASSES_MAX)
			classes |= UINT32_C(1) << class_index;
	}
	return classes;
}

static const char *class_name(const struct compiler *c, uint32_t classes)
{
	const int first = __builtin_ctz(classes);

	return ((const struct named *)c->classes.item[first])->name;
}

static bool is_same(const struct draft_alternative *a, const struct draft_alternative *b)
{
	return strcmp(a->vendor_at->text, b->vendor_at->text) == 0 &&
	       strcmp(a->resource ? a->resource : "", b->resource ? b->resource : "") == 0;
}

static void check_twice(struct compiler *c, const struct draft_route *route, uint32_t i)
{
	const struct draft_alternative *a = route->alternatives.item[i];

	for (uint32_t k = 0; k < i; k++) {
		const struct draft_alternative *before = route->alternatives.item[k];

		if (!before->vendor_at || !is_same(a, before))
			continue;
		error_at(c, a->at, "duplicate alternative '%s%s%s' of route '%s'",
			 a->vendor_at->text, a->resource ? "/" : "", a->resource ? a->resource : "",
			 route->named.name);
		return;
	}
}

static void check_weights(struct compiler *c, const struct draft_route *route)
{
	const struct draft_alternative *first = route->alternatives.item[0];

	for (uint32_t i = 1; i < route->alternatives.count; i++) {
		const struct draft_alternative *a = route->alternatives.item[i];

		if (!a->weight_at == !first->weight_at)
			continue;
		error_at(c, a->at,
			 "this alternative of route '%s' has %s weight, the first has %s: expected "
			 "a weight on all of them, or on none (they are in order then)",
			 route->named.name, a->weight_at ? "a" : "no",
			 first->weight_at ? "one" : "none");
		return;
	}
}

static void resolve_alternative(struct compiler *c, const struct draft_route *route,
				struct draft_alternative *a)
{
	uint32_t others;

	a->vendor = find_vendor(c, a->vendor_at);
	a->classes = a->classes_at ? classes_of(c, a->classes_at) : route->classes;
	others = a->classes & ~route->classes;
	if (a->classes_at && others)
		error_at(c, a->classes_at, "class '%s' may not take route '%s' at all",
			 class_name(c, others), route->named.name);
}

static void check_classes(struct compiler *c, const struct draft_route *route)
{
	uint32_t left = route->classes;

	for (uint32_t i = 0; i < route->alternatives.count; i++)
		left &= ~((const struct draft_alternative *)route->alternatives.item[i])->classes;
	if (left)
		error_at(c, route->classes_at ? route->classes_at : route->named.at,
			 "class '%s' has no alternative in route '%s'", class_name(c, left),
			 route->named.name);
}

void resolve_route(struct compiler *c, struct draft_route *route)
{
	const struct list *list = &route->alternatives;

	route->classes = classes_of(c, route->classes_at);
	for (uint32_t i = 0; i < list->count; i++) {
		struct draft_alternative *a = list->item[i];

		if (!a->vendor_at)
			continue;
		resolve_alternative(c, route, a);
		check_twice(c, route, i);
	}
	if (route->broken)
		return;
	if (list->count < 1 || list->count > RATION_ALTERNATIVES_MAX) {
		error_at(c, route->named.at, "route '%s' has %u alternatives: expected 1 to %d",
			 route->named.name, list->count, RATION_ALTERNATIVES_MAX);
		return;
	}
	check_weights(c, route);
	check_classes(c, route);
}
