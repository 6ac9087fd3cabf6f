/*
 * cli/inventory.c - a policy as a list of things in words, so that two of them can be compared
 * SPDX-License-Identifier: MIT
 */
#include "cli/inventory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/limit_words.h"
#include "cli/words.h"

/* --- growing --- */

/* Lists have room for the next power of two. */
static bool is_full(size_t n)
{
	return (n & (n - 1)) == 0;
}

static struct thing *add_thing(struct inventory *inventory, enum thing_kind kind, char *name)
{
	const size_t n = inventory->n_things++;

	if (is_full(n))
		inventory->things =
			cli_alloc(inventory->things, n ? 2 * n : 1, sizeof(*inventory->things));
	inventory->things[n] = (struct thing){
		.kind = kind,
		.name = name,
		.keyed = cli_need(strdup("")),
		.shape = cli_need(strdup("")),
	};
	return &inventory->things[n];
}

static void add_property(void *user, const char *what, const char *text)
{
	struct thing *thing = user;
	const size_t n = thing->n_properties;

	if (text[0] == '\0')
		return;
	if (is_full(n))
		thing->properties =
			cli_alloc(thing->properties, n ? 2 * n : 1, sizeof(*thing->properties));
	thing->properties[n] = (struct property){cli_need(strdup(what)), cli_need(strdup(text))};
	thing->n_properties++;
}

__attribute__((format(printf, 1, 2))) static char *text_of(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	return cli_need(text);
}

/* --- classes --- */

/* "user 0, group 100" */
static void add_principals(struct thing *thing, const struct blob *blob,
			   const struct blob_class *class)
{
	char text[LIMIT_WORDS_SIZE] = "";

	for (uint32_t i = 0; i < class->principal_count; i++) {
		const struct blob_principal *p = &blob->principals[class->principal_first + i];
		const size_t used = strlen(text);

		snprintf(text + used, sizeof(text) - used, "%s%s %u", i > 0 ? ", " : "",
			 p->group ? "group" : "user", p->id);
	}
	add_property(thing, "may be claimed by", text[0] ? text : "everybody");
}

static void add_never_with(struct thing *thing, const struct blob *blob, uint32_t mask)
{
	char text[LIMIT_WORDS_SIZE] = "";

	for (uint32_t k = 0; k < blob->n_classes; k++) {
		const size_t used = strlen(text);

		if (mask >> k & 1)
			snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? ", " : "",
				 blob_text(blob, blob->classes[k].name));
	}
	add_property(thing, "never with", text);
}

static void add_class(struct inventory *inventory, const struct blob *blob, uint32_t k)
{
	const struct blob_class *class = &blob->classes[k];
	struct thing *thing =
		add_thing(inventory, THING_CLASS, text_of("%s", blob_text(blob, class->name)));
	char text[LIMIT_WORDS_SIZE];

	add_property(thing, "protected after",
		     k > 0 ? blob_text(blob, class[-1].name) : "none: the most protected");
	add_property(thing, "owner", blob_text(blob, class->owner));
	add_property(thing, "purpose", blob_text(blob, class->purpose));
	add_property(thing, "fallback", blob_text(blob, class->fallback));
	add_never_with(thing, blob, class->never_with);
	add_principals(thing, blob, class);
	if (class->queue > 0)
		snprintf(text, sizeof(text), "%u", class->queue);
	add_property(thing, "queue", class->queue > 0 ? text : "as many as there are places");
	add_property(thing, "retry", retry_words(&class->retry, text, sizeof(text)));
	add_property(thing, "mode", limit_mode(blob, &class->mode, text));
}

/* --- vendors and limits --- */

static void add_duration(struct thing *thing, const char *what, uint64_t ns)
{
	char text[32];

	add_property(thing, what, words_duration(ns, text, sizeof(text)));
}

static void add_vendor(struct inventory *inventory, const struct blob *blob,
		       const struct blob_vendor *vendor)
{
	struct thing *thing =
		add_thing(inventory, THING_VENDOR, text_of("%s", blob_text(blob, vendor->name)));
	char text[LIMIT_WORDS_SIZE];

	add_duration(thing, "permits are good for", vendor->delay_ns);
	add_duration(thing, "clock_skew", vendor->clock_skew_ns);
	add_duration(thing, "max_block", vendor->max_block_ns);
	add_property(thing, "breaker", limit_breaker(&vendor->breaker, text));
}

/* What the words of a bucket mean: client_identity() makes another bucket of another one. */
static char *shape_of(const struct blob *blob, const struct blob_limit *limit)
{
	const bool over_periods = limit->kind == KIND_WINDOW || limit->kind == KIND_ROLLING;

	return text_of(
		"%u %lu %u %ld %lu %s", limit->kind, over_periods ? limit->numbers.period_ns : 0,
		limit->calendar, limit->offset_ns,
		limit->kind == KIND_ROLLING ? limit->numbers.delay_ns : 0,
		limit->zone == BLOB_NO_INDEX ? "" : blob_text(blob, blob->zones[limit->zone].name));
}

static char *limit_name(const struct blob *blob, const struct blob_limit *limit)
{
	const char *vendor = blob_text(blob, limit->vendor);

	return text_of("%s%s%s", vendor, vendor[0] ? "/" : "", blob_text(blob, limit->name));
}

static void add_limit(struct inventory *inventory, const struct blob *blob,
		      const struct blob_limit *limit)
{
	const struct limit_view view = {blob, limit, BLOB_NO_INDEX};
	struct thing *thing = add_thing(inventory, THING_LIMIT, limit_name(blob, limit));
	char text[LIMIT_WORDS_SIZE];

	free(thing->shape);
	free(thing->keyed);
	thing->shape = shape_of(blob, limit);
	thing->keyed = text_of("%u %s", limit->scope, blob_text(blob, limit->unit));
	add_property(thing, "kind", limit_kind(limit->kind));
	add_property(thing, "unit", blob_text(blob, limit->unit));
	add_property(thing, "counted", words_scope(limit->scope, text, sizeof(text)));
	add_property(thing, "written", limit_written(&view, text));
	add_property(thing, "effective", limit_effective(&view, text));
	for (uint32_t k = 0; k < blob->n_classes; k++)
		add_property(thing, blob_text(blob, blob->classes[k].name),
			     limit_claims(&view, k, text));
	if (limit->mode.count == 0)
		add_property(thing, "mode", "enforce");
	limit_lines(&view, add_property, thing);
}

/* --- routes --- */

static void add_route(struct inventory *inventory, const struct blob *blob,
		      const struct blob_route *route)
{
	struct thing *thing =
		add_thing(inventory, THING_ROUTE, text_of("%s", blob_text(blob, route->name)));
	char text[LIMIT_WORDS_SIZE];

	for (uint32_t i = 0; i < route->count; i++)
		add_property(thing, blob_text(blob, blob->alternatives[route->first + i].name),
			     route_place(blob, route, i, text));
}

/* --- tenants --- */

static void add_tenant(struct inventory *inventory, const struct blob *blob, uint32_t index)
{
	const struct blob_tenant *tenant = &blob->tenants[index];
	struct thing *thing =
		add_thing(inventory, THING_TENANT, text_of("%s", blob_text(blob, tenant->name)));

	add_property(thing, "plan", blob_text(blob, tenant->plan));
	for (uint32_t i = 0; i < tenant->override_count; i++) {
		const uint32_t limit = blob->overrides[tenant->override_first + i].limit;
		const struct limit_view view = {blob, &blob->limits[limit], index};
		char text[LIMIT_WORDS_SIZE], *name;

		if (view.limit->role != LIMIT_WRITTEN)
			continue;
		name = limit_name(blob, view.limit);
		add_property(thing, name, limit_effective(&view, text));
		free(name);
	}
}

/* --- all of it --- */

int inventory_compare(const void *left, const void *right)
{
	const struct thing *a = left, *b = right;

	return a->kind != b->kind ? (a->kind > b->kind) - (a->kind < b->kind)
				  : strcmp(a->name, b->name);
}

struct inventory inventory_make(const struct blob *blob)
{
	struct inventory inventory = {0};
	char mode[LIMIT_WORDS_SIZE];

	add_property(add_thing(&inventory, THING_POLICY, text_of("policy")), "mode",
		     limit_mode(blob, &blob->header->mode, mode));
	for (uint32_t i = 0; i < blob->n_classes; i++)
		add_class(&inventory, blob, i);
	for (uint32_t i = 0; i < blob->n_vendors; i++)
		add_vendor(&inventory, blob, &blob->vendors[i]);
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		if (blob->limits[i].role == LIMIT_WRITTEN)
			add_limit(&inventory, blob, &blob->limits[i]);
	}
	for (uint32_t i = 0; i < blob->n_routes; i++)
		add_route(&inventory, blob, &blob->routes[i]);
	for (uint32_t i = 0; i < blob->n_tenants; i++)
		add_tenant(&inventory, blob, i);
	qsort(inventory.things, inventory.n_things, sizeof(*inventory.things), inventory_compare);
	return inventory;
}

void inventory_free(struct inventory *inventory)
{
	for (size_t i = 0; i < inventory->n_things; i++) {
		struct thing *thing = &inventory->things[i];

		for (size_t k = 0; k < thing->n_properties; k++) {
			free(thing->properties[k].what);
			free(thing->properties[k].text);
		}
		free(thing->properties);
		free(thing->name);
		free(thing->keyed);
		free(thing->shape);
	}
	free(inventory->things);
	*inventory = (struct inventory){0};
}

const char *thing_text(const struct thing *thing, const char *what)
{
	for (size_t i = 0; i < thing->n_properties; i++) {
		if (strcmp(thing->properties[i].what, what) == 0)
			return thing->properties[i].text;
	}
	return NULL;
}
