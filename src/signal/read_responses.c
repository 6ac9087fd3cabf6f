/*
 * signal/read_responses.c - reading what an adapter says about responses
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "signal/read.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct response_place {
	struct adapter_draft *draft;
	struct response_rule *rule;
};

static void read_response_when(struct compiler *c, const struct node *node, void *target)
{
	struct response_place *place = target;

	(void)c;
	read_when(place->draft, node, &place->rule->when);
}

static void read_is(struct compiler *c, const struct node *node, void *target)
{
	struct response_place *place = target;
	const char *words[SIGNAL_CLASSES];
	int word;

	for (int i = 0; i < SIGNAL_CLASSES; i++)
		words[i] = signal_class_name((enum signal_class)i);
	word = schema_choose(c, node, "class of limit", words, SIGNAL_CLASSES);
	if (word >= 0)
		place->rule->limit_class = (enum signal_class)word;
}

static void read_retry(struct compiler *c, const struct node *node, void *target)
{
	static const char *const words[] = {"wait", "never"};
	struct response_place *place = target;

	place->rule->never = schema_choose(c, node, "retry", words, LENGTH(words)) == 1;
}

static void read_response_reason(struct compiler *c, const struct node *node, void *target)
{
	struct response_place *place = target;

	(void)c;
	read_value(&(struct value_place){place->draft, NULL, &place->rule->reason, VALUE_TEXT},
		   node);
}

static void read_response_scope(struct compiler *c, const struct node *node, void *target)
{
	struct response_place *place = target;

	place->rule->has_scope = true;
	place->rule->scope = is_text(node) ? node->text : "";
	if (!is_text(node) || node->size == 0)
		node_expected(&c->notes, node, "a text");
}

bool read_block(struct compiler *c, const struct node *node, enum signal_block *ret)
{
	const char *words[SIGNAL_BLOCKS];
	int word;

	for (int i = 0; i < SIGNAL_BLOCKS; i++)
		words[i] = signal_block_name((enum signal_block)i);
	word = schema_choose(c, node, "block", words, SIGNAL_BLOCKS);
	if (word >= 0)
		*ret = (enum signal_block)word;
	return word >= 0;
}

static void read_response_block(struct compiler *c, const struct node *node, void *target)
{
	struct response_rule *rule = ((struct response_place *)target)->rule;

	rule->has_block = read_block(c, node, &rule->block);
}

static void read_response_wait(struct compiler *c, const struct node *node, void *target)
{
	struct response_place *place = target;

	(void)c;
	read_waits(place->draft, node, &place->rule->waits);
}

static const struct field response_fields[] = {
	{"when", read_response_when, 0, "which responses", ANYWHERE},
	{"is", read_is, 0, "which class of limit, or none", ANYWHERE},
	{"retry", read_retry, 0, NULL, ANYWHERE},
	{"reason", read_response_reason, 0, NULL, ANYWHERE},
	{"scope", read_response_scope, 0, NULL, ANYWHERE},
	{"block", read_response_block, 0, NULL, ANYWHERE},
	{"wait", read_response_wait, 0, NULL, ANYWHERE},
};
static const struct schema response_schema = SCHEMA("a response", response_fields, false);

void read_response_rule(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;
	struct response_place place = {.draft = draft};

	place.rule = list_new(&draft->responses, &c->arena, sizeof(*place.rule));
	if (!place.rule)
		return;
	schema_walk(c, node, &response_schema, &place);
	if (!value_written(&place.rule->reason))
		place.rule->reason.fallback = signal_class_name(place.rule->limit_class);
}
