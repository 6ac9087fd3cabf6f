/*
 * policy/modes.c - what is enforced, and when
 * SPDX-License-Identifier: MIT
 *
 *	mode: shadow
 *	mode: { soft: [bulk] }
 *	mode: [ { from: "08:00", until: "18:00", timezone: Europe/Berlin, mode: enforce }, { mode: shadow } ]
 */
#include <string.h>

#include "policy/fields.h"
#include "policy/scalar.h"

#define MODE_FORM                                                                                  \
	"enforce, shadow, {soft: [class, ...]}, or a list of these with the times of day at "      \
	"which they hold"
#define SOFT_FORM "a list of the classes that are denied, such as [bulk]"
#define TIME_FORM "a time of day such as \"08:00\", up to \"24:00\""

enum { DAY_SECONDS = 86400 };

static void read_soft(struct compiler *c, const struct node *value, void *target)
{
	struct draft_rule *rule = target;

	if (value->kind == NODE_LIST && value->first)
		rule->soft = value;
	else
		node_expected(&c->notes, value, SOFT_FORM);
}

static const struct field soft_fields[] = {
	{"soft", read_soft, 0, "the classes that are denied", ANYWHERE},
};
static const struct schema soft_schema = SCHEMA("a mode", soft_fields, false);

static void read_word(struct compiler *c, const struct node *value, struct draft_rule *rule)
{
	static const char *const words[] = {"shadow", "enforce", "soft"};
	const int word = schema_choose(c, value, "mode", words, 3);

	if (word == 2)
		error_at(c, value, "'soft' needs the classes that it denies: {soft: [bulk]}");
	rule->deny = word == 1 ? UINT32_MAX : 0;
}

/* What one rule does. */
static void read_effect(struct compiler *c, const struct node *value, void *target)
{
	if (value->kind == NODE_MAP)
		schema_walk(c, value, &soft_schema, target);
	else if (value->kind == NODE_LIST)
		node_expected(&c->notes, value, "enforce, shadow or {soft: [class, ...]}");
	else
		read_word(c, value, target);
}

static void read_time(struct compiler *c, const struct node *value, void *target)
{
	uint32_t *seconds = target;

	if (!is_text(value) || !scalar_time_of_day(value->text, seconds))
		node_expected(&c->notes, value, TIME_FORM);
}

static void read_zone(struct compiler *c, const struct node *value, void *target)
{
	*(struct draft_zone **)target = zone_of(c, value);
}

static const struct field rule_fields[] = {
	{"from", read_time, offsetof(struct draft_rule, from), NULL, ANYWHERE},
	{"until", read_time, offsetof(struct draft_rule, until), NULL, ANYWHERE},
	{"timezone", read_zone, offsetof(struct draft_rule, zone), NULL, ANYWHERE},
	{"mode", read_effect, 0, "what holds then", ANYWHERE},
};
static const struct schema rule_schema = SCHEMA("a rule", rule_fields, false);

static bool all_day(const struct draft_rule *rule)
{
	return rule->from == 0 && rule->until == DAY_SECONDS;
}

static struct draft_rule *add_rule(struct compiler *c, struct draft_mode *mode,
				   const struct node *at)
{
	struct draft_rule *rule = list_new(&mode->rules, &c->arena, sizeof(*rule));

	if (rule)
		*rule = (struct draft_rule){.until = DAY_SECONDS, .at = at};
	return rule;
}

static void read_rule(struct compiler *c, const struct node *value, void *target)
{
	struct draft_mode *mode = target;
	const struct draft_rule *before =
		mode->rules.count > 0 ? mode->rules.item[mode->rules.count - 1] : NULL;
	struct draft_rule *rule = add_rule(c, mode, value);

	if (!rule)
		return;
	schema_walk(c, value, &rule_schema, rule);
	if (rule->from == DAY_SECONDS)
		rule->from = 0;
	if (rule->from == rule->until)
		error_at(c, value,
			 "'from' and 'until' are the same time: leave both out for a "
			 "rule that always holds");
	if (before && all_day(before))
		error_at(c, value, "never reached: the rule before it holds all day");
}

static bool enforced(const struct draft_rule *rule)
{
	return rule->deny == UINT32_MAX && !rule->soft;
}

void read_mode(struct compiler *c, const struct node *value, void *target)
{
	struct draft_mode *mode = target;
	struct draft_rule *rule;

	mode->at = value;
	if (value->kind == NODE_LIST) {
		if (!value->first)
			node_expected(&c->notes, value, MODE_FORM);
		schema_items(c, value, MODE_FORM, read_rule, mode);
		return;
	}
	rule = add_rule(c, mode, value);
	if (!rule)
		return;
	read_effect(c, value, rule);
	if (enforced(rule))
		mode->rules.count = 0;
}

void resolve_mode(struct compiler *c, struct draft_mode *mode)
{
	for (uint32_t i = 0; i < mode->rules.count; i++) {
		struct draft_rule *rule = mode->rules.item[i];

		for (const struct node *at = rule->soft ? rule->soft->first : NULL; at;
		     at = at->next) {
			const uint32_t class_index = find_class(c, at);

			if (class_index < CLASSES_MAX)
				rule->deny |= UINT32_C(1) << class_index;
		}
	}
}
