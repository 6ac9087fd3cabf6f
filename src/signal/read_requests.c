/*
 * signal/read_requests.c - reading what an adapter says about requests: what for, how much, at what price
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "policy/scalar.h"
#include "signal/read.h"

struct requests_place {
	struct adapter_draft *draft;
	struct list resources; /* struct resource_rule */
	struct list estimate;  /* struct unit_rule */
	struct list usage;
	struct list prices; /* struct price_rule */
};

/* --- resources --- */

struct resource_place {
	struct adapter_draft *draft;
	struct resource_rule *rule;
	struct variables variables;
};

static void read_url(struct compiler *c, const struct node *node, void *target)
{
	struct resource_place *place = target;
	struct resource_rule *rule = place->rule;

	(void)c;
	rule->url = read_pattern(place->draft, node);
	for (uint32_t g = 0; g <= PATTERN_GROUPS_MAX; g++) {
		const char *name = rule->url ? pattern_group_name(rule->url, g) : NULL;

		rule->variables[g] = VARS_MAX;
		if (name)
			rule->variables[g] = read_variable(place->draft, node, &place->variables,
							   name, strlen(name));
	}
}

static void read_with_entry(struct compiler *c, const struct node *key, const struct node *value,
			    void *target)
{
	struct resource_place *place = target;
	struct resource_rule *rule = place->rule;
	uint32_t variable;

	if (rule->n_with == WITH_MAX) {
		error_at(c, key, "more than %d variables", WITH_MAX);
		return;
	}
	variable = read_variable(place->draft, key, &place->variables, key->text, key->size);
	if (variable == VARS_MAX)
		return;
	rule->with[rule->n_with].variable = variable;
	read_value(&(struct value_place){place->draft, &place->variables,
					 &rule->with[rule->n_with].value, VALUE_PLACE},
		   value);
	rule->n_with++;
}

static void read_with(struct compiler *c, const struct node *node, void *target)
{
	schema_entries(c, node, "a mapping of variables to places", read_with_entry, target);
}

static void read_resource(struct compiler *c, const struct node *node, void *target)
{
	struct resource_place *place = target;

	(void)c;
	read_wording(place->draft, node, &place->variables, &place->rule->resource);
}

static const struct field resource_fields[] = {
	{"url", read_url, 0, "a pattern for the request's URL", ANYWHERE},
	{"with", read_with, 0, NULL, ANYWHERE},
	{"resource", read_resource, 0, "what such a request is for", ANYWHERE},
};
static const struct schema resource_schema = SCHEMA("a resource", resource_fields, false);

static void read_resource_rule(struct compiler *c, const struct node *node, void *target)
{
	struct requests_place *place = target;
	struct resource_place one = {.draft = place->draft};

	one.rule = list_new(&place->resources, &c->arena, sizeof(*one.rule));
	if (one.rule)
		schema_walk(c, node, &resource_schema, &one);
}

static void read_resources(struct compiler *c, const struct node *node, void *target)
{
	schema_items(c, node, "a list of resources", read_resource_rule, target);
}

/* --- terms --- */

struct term_place {
	struct adapter_draft *draft;
	struct term *terms;
	uint32_t n;
};

static struct term *this_term(struct term_place *place)
{
	return &place->terms[place->n];
}

static void read_term_from(struct compiler *c, const struct node *node, void *target)
{
	struct term_place *place = target;

	(void)c;
	read_value(&(struct value_place){place->draft, NULL, &this_term(place)->value, VALUE_PLACE},
		   node);
}

static void read_term_bytes(struct compiler *c, const struct node *node, void *target)
{
	this_term(target)->bytes = true;
	read_term_from(c, node, target);
}

static void read_term_match(struct compiler *c, const struct node *node, void *target)
{
	struct term_place *place = target;

	(void)c;
	this_term(place)->value.match = read_pattern(place->draft, node);
}

static void read_term_default(struct compiler *c, const struct node *node, void *target)
{
	struct number number;

	if (is_text(node) && number_parse(node->text, node->size, &number) && number.digits >= 0)
		this_term(target)->value.fallback = node->text;
	else
		node_expected(&c->notes, node, "a number");
}

static void read_term_times(struct compiler *c, const struct node *node, void *target)
{
	struct term_place *place = target;

	(void)c;
	read_value(
		&(struct value_place){place->draft, NULL, &this_term(place)->times, VALUE_NUMBER},
		node);
}

static void read_term_per(struct compiler *c, const struct node *node, void *target)
{
	struct term *term = this_term(target);

	if (!is_text(node) || !number_parse(node->text, node->size, &term->per) ||
	    term->per.digits <= 0)
		node_expected(&c->notes, node, "a number above 0");
}

static const struct field term_fields[] = {
	{"from", read_term_from, 0, NULL, ANYWHERE},
	{"bytes", read_term_bytes, 0, NULL, ANYWHERE},
	{"match", read_term_match, 0, NULL, ANYWHERE},
	{"default", read_term_default, 0, NULL, ANYWHERE},
	{"times", read_term_times, 0, NULL, ANYWHERE},
	{"per", read_term_per, 0, NULL, ANYWHERE},
};
static const struct schema term_schema = SCHEMA("a term", term_fields, false);

static void read_term(struct compiler *c, const struct node *node, void *target)
{
	struct term_place *place = target;
	struct term *term = this_term(place);

	term->per = number_of(1);
	if (node->kind != NODE_MAP)
		read_value(&(struct value_place){place->draft, NULL, &term->value, VALUE_NUMBER},
			   node);
	else if (!schema_get(node, "from") == !schema_get(node, "bytes"))
		node_expected(&c->notes, node, "a term with 'from' or with 'bytes'");
	else
		schema_walk(c, node, &term_schema, place);
	place->n++;
}

/* A term, or a list of them. */
static void read_unit(struct adapter_draft *draft, struct list *units, const struct node *key,
		      const struct node *value)
{
	struct compiler *c = draft->c;
	struct term_place place = {.draft = draft};
	struct unit_rule *rule;
	uint32_t n = 1;

	if (!good_name(c, key))
		return;
	if (value->kind == NODE_LIST) {
		n = 0;
		for (const struct node *item = value->first; item; item = item->next)
			n++;
	}
	rule = list_new(units, &c->arena, sizeof(*rule));
	place.terms = arena_alloc(&c->arena, (n + 1) * sizeof(*place.terms));
	if (!rule || !place.terms)
		return;
	*rule = (struct unit_rule){key->text, place.terms, n};
	if (value->kind == NODE_LIST)
		schema_items(c, value, "", read_term, &place);
	else
		read_term(c, value, &place);
}

static void read_estimate_entry(struct compiler *c, const struct node *key,
				const struct node *value, void *target)
{
	struct requests_place *place = target;

	(void)c;
	read_unit(place->draft, &place->estimate, key, value);
}

static void read_usage_entry(struct compiler *c, const struct node *key, const struct node *value,
			     void *target)
{
	struct requests_place *place = target;

	(void)c;
	read_unit(place->draft, &place->usage, key, value);
}

#define UNITS_FORM "a mapping of units to terms, such as {tokens: /usage/total_tokens}"

static void read_estimate(struct compiler *c, const struct node *node, void *target)
{
	schema_entries(c, node, UNITS_FORM, read_estimate_entry, target);
}

static void read_usage(struct compiler *c, const struct node *node, void *target)
{
	schema_entries(c, node, UNITS_FORM, read_usage_entry, target);
}

/* --- prices --- */

struct price_place {
	struct adapter_draft *draft;
	struct price_rule *rule;
};

static void read_price_unit(struct compiler *c, const struct node *node, void *target)
{
	if (good_name(c, node))
		((struct price_place *)target)->rule->unit = node->text;
}

static void read_price_resource(struct compiler *c, const struct node *node, void *target)
{
	struct price_place *place = target;

	(void)c;
	place->rule->resources = read_pattern(place->draft, node);
}

static void read_per_entry(struct compiler *c, const struct node *key, const struct node *value,
			   void *target)
{
	struct price_rule *rule = ((struct price_place *)target)->rule;
	struct number price;

	if (!good_name(c, key))
		return;
	if (rule->n_per == PRICED_MAX) {
		error_at(c, key, "more than %d units", PRICED_MAX);
	} else if (!is_text(value) || !number_parse(value->text, value->size, &price) ||
		   price.digits < 0) {
		node_expected(&c->notes, value, "a number");
	} else {
		rule->per[rule->n_per].unit = key->text;
		rule->per[rule->n_per++].price = price;
	}
}

static void read_per(struct compiler *c, const struct node *node, void *target)
{
	schema_entries(c, node, "a mapping of units to what one of them costs", read_per_entry,
		       target);
}

static const struct field price_fields[] = {
	{"unit", read_price_unit, 0, "in what the price is, such as usd_micros", ANYWHERE},
	{"resource", read_price_resource, 0, NULL, ANYWHERE},
	{"per", read_per, 0, "what one of each unit costs", ANYWHERE},
	{"source", read_published_source, 0, "where the prices are published", ANYWHERE},
	{"date", read_published_date, 0, "the day they were read", ANYWHERE},
	{"note", read_published_note, 0, NULL, ANYWHERE},
};
static const struct schema price_schema = SCHEMA("a price", price_fields, false);

static void read_price(struct compiler *c, const struct node *node, void *target)
{
	struct requests_place *place = target;
	struct price_place one = {.draft = place->draft};

	one.rule = list_new(&place->prices, &c->arena, sizeof(*one.rule));
	if (one.rule)
		schema_walk(c, node, &price_schema, &one);
}

static void read_prices(struct compiler *c, const struct node *node, void *target)
{
	schema_items(c, node, "a list of prices", read_price, target);
}

/* --- all of it --- */

static const struct field requests_fields[] = {
	{"resources", read_resources, 0, NULL, ANYWHERE},
	{"estimate", read_estimate, 0, NULL, ANYWHERE},
	{"usage", read_usage, 0, NULL, ANYWHERE},
	{"price", read_prices, 0, NULL, ANYWHERE},
};
static const struct schema requests_schema = SCHEMA("the requests", requests_fields, false);

void read_requests(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;
	struct requests_place place = {.draft = draft};
	struct request_rules *rules = arena_alloc(&c->arena, sizeof(*rules));

	if (!rules)
		return;
	schema_walk(c, node, &requests_schema, &place);
	rules->resources = list_row(&c->arena, &place.resources, sizeof(*rules->resources));
	rules->n_resources = place.resources.count;
	rules->estimate = list_row(&c->arena, &place.estimate, sizeof(*rules->estimate));
	rules->n_estimate = place.estimate.count;
	rules->usage = list_row(&c->arena, &place.usage, sizeof(*rules->usage));
	rules->n_usage = place.usage.count;
	rules->prices = list_row(&c->arena, &place.prices, sizeof(*rules->prices));
	rules->n_prices = place.prices.count;
	draft->adapter->requests = rules;
}
