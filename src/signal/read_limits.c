/*
 * signal/read_limits.c - reading what an adapter says about limits
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "signal/read.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct limit_place {
	struct adapter_draft *draft;
	struct limit_rule *rule;
	struct variables variables;
};

/* --- fields --- */

static void read_number(struct limit_place *place, const struct node *node, enum limit_field field,
			enum value_kind kind)
{
	struct value_place value = {place->draft, &place->variables, &place->rule->fields[field],
				    kind};

	read_value(&value, node);
}

static void read_limit_size(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_number(target, node, FIELD_LIMIT, VALUE_NUMBER);
}

static void read_remaining(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_number(target, node, FIELD_REMAINING, VALUE_NUMBER);
}

static void read_used(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_number(target, node, FIELD_USED, VALUE_NUMBER);
}

static void read_refill(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_number(target, node, FIELD_REFILL, VALUE_NUMBER);
}

static void read_reset(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_number(target, node, FIELD_RESET, VALUE_TIME);
}

static void read_window(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_number(target, node, FIELD_WINDOW, VALUE_WINDOW);
}

/* How much is used of a whole that is not told: nothing to count, only how near it is. */
static void read_part(struct limit_place *place, const struct node *node, const char *whole,
		      const char *unit)
{
	struct limit_rule *rule = place->rule;

	read_number(place, node, FIELD_USED, VALUE_NUMBER);
	rule->fields[FIELD_LIMIT].fallback = whole;
	rule->share = true;
	rule->unit.n_parts = 1;
	rule->unit.parts[0].literal = unit;
}

static void read_percent(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_part(target, node, "100", "percent");
}

static void read_fraction(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	read_part(target, node, "1", "fraction");
}

static void read_limit_name(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *place = target;

	(void)c;
	read_wording(place->draft, node, &place->variables, &place->rule->name);
}

static void read_limit_scope(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *place = target;

	(void)c;
	read_wording(place->draft, node, &place->variables, &place->rule->scope);
}

static void read_limit_unit(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *place = target;

	(void)c;
	read_wording(place->draft, node, &place->variables, &place->rule->unit);
}

static void read_limit_when(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *place = target;

	(void)c;
	read_when(place->draft, node, &place->rule->when);
}

/* --- variables --- */

static void read_with_entry(struct compiler *c, const struct node *key, const struct node *value,
			    void *target)
{
	struct limit_place *place = target;
	struct limit_rule *rule = place->rule;
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

struct step_place {
	struct limit_place *limit;
	struct step *step;
};

static void read_step_from(struct compiler *c, const struct node *node, void *target)
{
	struct step_place *place = target;

	(void)c;
	read_value(&(struct value_place){place->limit->draft, &place->limit->variables,
					 &place->step->from, VALUE_PLACE},
		   node);
}

static void read_step_match(struct compiler *c, const struct node *node, void *target)
{
	struct step_place *place = target;
	struct step *step = place->step;

	(void)c;
	step->match = read_pattern(place->limit->draft, node);
	for (uint32_t g = 0; g <= PATTERN_GROUPS_MAX; g++) {
		const char *name = step->match ? pattern_group_name(step->match, g) : NULL;

		step->variables[g] = VARS_MAX;
		if (name)
			step->variables[g] =
				read_variable(place->limit->draft, node, &place->limit->variables,
					      name, strlen(name));
	}
}

static const struct field step_fields[] = {
	{"from", read_step_from, 0, "where it is", ANYWHERE},
	{"match", read_step_match, 0, "a pattern whose named groups become variables", ANYWHERE},
};
static const struct schema step_schema = SCHEMA("a step", step_fields, false);

static void read_step(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *limit = target;
	struct step_place place = {.limit = limit};

	if (limit->rule->n_steps == STEPS_MAX) {
		error_at(c, node, "more than %d steps", STEPS_MAX);
		return;
	}
	place.step = &limit->rule->steps[limit->rule->n_steps++];
	schema_walk(c, node, &step_schema, &place);
}

static void read_each(struct compiler *c, const struct node *node, void *target)
{
	if (node->kind == NODE_LIST)
		schema_items(c, node, "", read_step, target);
	else
		read_step(c, node, target);
}

/* --- the standard's own fields --- */

static void read_prefix(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *place = target;

	if (is_text(node))
		place->rule->prefix = node->text;
	else
		node_expected(&c->notes, node, "what stands before the names, such as beta-");
}

static void read_notation(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *place = target;
	const int word = schema_choose(c, node, "notation", time_words, LENGTH(time_words));

	if (word >= 0)
		place->rule->fields[FIELD_RESET].as = (enum time_notation)word;
}

static const struct field standard_fields[] = {
	{"prefix", read_prefix, 0, NULL, ANYWHERE},
	{"reset", read_notation, 0, NULL, ANYWHERE},
	{"unit", read_limit_unit, 0, NULL, ANYWHERE},
};
static const struct schema standard_schema = SCHEMA("the standard fields", standard_fields, false);

static void read_standard(struct compiler *c, const struct node *node, void *target)
{
	struct limit_place *place = target;

	place->rule->standard = true;
	place->rule->prefix = "";
	if (!node_empty(node))
		schema_walk(c, node, &standard_schema, place);
}

/* --- a limit --- */

static const struct field limit_fields[] = {
	{"name", read_limit_name, 0, NULL, ANYWHERE},
	{"when", read_limit_when, 0, NULL, ANYWHERE},
	{"each", read_each, 0, NULL, ANYWHERE},
	{"with", read_with, 0, NULL, ANYWHERE},
	{"limit", read_limit_size, 0, NULL, ANYWHERE},
	{"remaining", read_remaining, 0, NULL, ANYWHERE},
	{"used", read_used, 0, NULL, ANYWHERE},
	{"percent", read_percent, 0, NULL, ANYWHERE},
	{"fraction", read_fraction, 0, NULL, ANYWHERE},
	{"refill", read_refill, 0, NULL, ANYWHERE},
	{"reset", read_reset, 0, NULL, ANYWHERE},
	{"window", read_window, 0, NULL, ANYWHERE},
	{"unit", read_limit_unit, 0, NULL, ANYWHERE},
	{"scope", read_limit_scope, 0, NULL, ANYWHERE},
	{"standard", read_standard, 0, NULL, ANYWHERE},
};
static const struct schema limit_schema = SCHEMA("a limit", limit_fields, false);

/* A variable that is called like a field is that field, unless something else was written. */
static void default_fields(struct limit_place *place)
{
	static const struct {
		const char *name;
		enum limit_field field;
	} names[] = {
		{"limit", FIELD_LIMIT},   {"remaining", FIELD_REMAINING}, {"used", FIELD_USED},
		{"refill", FIELD_REFILL}, {"window", FIELD_WINDOW},
	};

	for (size_t i = 0; i < LENGTH(names); i++) {
		struct value *value = &place->rule->fields[names[i].field];

		for (uint32_t v = 0; v < place->variables.n; v++) {
			if (value_written(value) ||
			    strcmp(place->variables.names[v], names[i].name) != 0)
				continue;
			value->from[0] = (struct where){.kind = WHERE_VARIABLE, .variable = v};
			value->n_from = 1;
		}
	}
}

static void default_name(struct limit_place *place)
{
	struct wording *name = &place->rule->name;

	if (name->n_parts > 0)
		return;
	name->n_parts = 1;
	name->parts[0].literal = "default";
	for (uint32_t v = 0; v < place->variables.n; v++) {
		if (strcmp(place->variables.names[v], "name") == 0) {
			name->parts[0].literal = NULL;
			name->parts[0].variable = v;
		}
	}
}

static bool finds_something(const struct limit_rule *rule)
{
	for (int f = FIELD_LIMIT; f <= FIELD_RESET; f++) {
		if (value_written(&rule->fields[f]))
			return true;
	}
	return rule->standard;
}

void read_limit_rule(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;
	struct limit_place place = {.draft = draft};
	const unsigned errors = c->notes.errors;

	place.rule = list_new(&draft->limits, &c->arena, sizeof(*place.rule));
	if (!place.rule)
		return;
	schema_walk(c, node, &limit_schema, &place);
	default_fields(&place);
	default_name(&place);
	if (c->notes.errors == errors && !finds_something(place.rule))
		error_at(c, node,
			 "a limit needs limit, remaining, used, percent, fraction, "
			 "refill, reset or standard");
}
