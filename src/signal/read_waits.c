/*
 * signal/read_waits.c - reading where an adapter finds out how long to wait
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "signal/read.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct wait_place {
	struct adapter_draft *draft;
	struct wait_step *step;
};

static void read_default_wait(struct compiler *c, const struct node *node, void *target)
{
	struct wait_step *step = ((struct wait_place *)target)->step;
	int64_t us;

	step->kind = WAIT_DEFAULT;
	if (!is_text(node) || !time_interval(node->text, node->size, &us))
		node_expected(&c->notes, node, "a time such as 30s or 1m");
	else
		step->value.fallback = node->text;
}

static void read_needed(struct compiler *c, const struct node *node, void *target)
{
	struct wait_place *place = target;
	struct value_place value = {place->draft, NULL, &place->step->value, VALUE_PLACE};

	(void)c;
	place->step->kind = WAIT_REFILL;
	read_value(&value, node);
}

static const struct field special_fields[] = {
	{"default", read_default_wait, 0, NULL, ANYWHERE},
	{"refill", read_needed, 0, NULL, ANYWHERE},
};
static const struct schema special_schema = SCHEMA("a wait", special_fields, false);

static void read_wait_word(struct compiler *c, const struct node *node, struct wait_step *step)
{
	static const char *const words[] = {"reset", "refill", "window", "aligned"};
	static const enum wait_kind kinds[] = {WAIT_RESET, WAIT_REFILL, WAIT_WINDOW, WAIT_ALIGNED};
	const int word = schema_choose(c, node, "wait", words, LENGTH(words));

	if (word >= 0)
		step->kind = kinds[word];
}

static void read_wait(struct compiler *c, const struct node *node, void *target)
{
	struct wait_place *place = target;
	struct value_place value = {place->draft, NULL, &place->step->value, VALUE_TIME};

	if (node->kind == NODE_TEXT)
		read_wait_word(c, node, place->step);
	else if (schema_get(node, "default") || schema_get(node, "refill"))
		schema_walk(c, node, &special_schema, place);
	else
		read_value(&value, node);
	place->step++;
}

#define WAITS_FORM "a list of waits, such as [{from: retry-after, as: retry-after}, reset]"

void read_waits(struct adapter_draft *draft, const struct node *node, struct waits *ret)
{
	struct wait_place place = {.draft = draft};
	struct wait_step *steps;
	uint32_t n = 0;

	ret->written = true;
	if (node->kind != NODE_LIST) {
		node_expected(&draft->c->notes, node, WAITS_FORM);
		return;
	}
	for (const struct node *item = node->first; item; item = item->next)
		n++;
	steps = arena_alloc(&draft->c->arena, (n ? n : 1) * sizeof(*steps));
	if (!steps)
		return;
	ret->steps = steps;
	ret->n = n;
	place.step = steps;
	schema_items(draft->c, node, WAITS_FORM, read_wait, &place);
}
