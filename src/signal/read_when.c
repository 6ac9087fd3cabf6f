/*
 * signal/read_when.c - reading the conditions of an adapter
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "signal/read.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define STATUS_FORM "a status such as 429, or all of a kind such as 5xx"
#define TEST_FORM   "a text, a list of texts, {matches: pattern} or {present: yes}"

struct when_place {
	struct adapter_draft *draft;
	struct condition *condition;
	struct test *test;
};

/* --- statuses --- */

static bool status_of(const char *text, size_t size, int *ret_low, int *ret_high)
{
	if (size != 3 || *text < '1' || *text > '5')
		return false;
	*ret_low = (*text - '0') * 100;
	*ret_high = *ret_low + 99;
	if (strcmp(text + 1, "xx") == 0)
		return true;
	for (int i = 1; i < 3; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	*ret_low += (text[1] - '0') * 10 + text[2] - '0';
	*ret_high = *ret_low;
	return true;
}

static void read_status_item(struct compiler *c, const struct node *node, void *target)
{
	struct condition *condition = ((struct when_place *)target)->condition;
	int low, high;

	if (!is_text(node) || !status_of(node->text, node->size, &low, &high)) {
		node_expected(&c->notes, node, STATUS_FORM);
	} else if (condition->n_statuses == RANGES_MAX) {
		error_at(c, node, "more than %d statuses", RANGES_MAX);
	} else {
		condition->statuses[condition->n_statuses].low = low;
		condition->statuses[condition->n_statuses++].high = high;
	}
}

static void read_status(struct when_place *place, const struct node *node)
{
	if (node->kind == NODE_LIST)
		schema_items(place->draft->c, node, "", read_status_item, place);
	else
		read_status_item(place->draft->c, node, place);
}

/* --- tests --- */

/* A text or a list of them, NULL behind the last. */
static const char *const *read_words(struct compiler *c, const struct node *node)
{
	const struct node *first = node->kind == NODE_LIST ? node->first : node;
	const char **words;
	size_t n = 0;

	for (const struct node *item = first; item;
	     item = node->kind == NODE_LIST ? item->next : NULL)
		n++;
	words = arena_alloc(&c->arena, (n + 1) * sizeof(*words));
	n = 0;
	for (const struct node *item = first; words && item;
	     item = node->kind == NODE_LIST ? item->next : NULL) {
		if (!is_text(item)) {
			node_expected(&c->notes, item, "a text");
			return NULL;
		}
		words[n++] = item->text;
	}
	if (n == 0 && words)
		node_expected(&c->notes, node, TEST_FORM);
	return words;
}

static void read_matches(struct compiler *c, const struct node *node, void *target)
{
	struct when_place *place = target;

	(void)c;
	place->test->kind = TEST_MATCHES;
	place->test->pattern = read_pattern(place->draft, node);
}

static void read_present(struct compiler *c, const struct node *node, void *target)
{
	static const char *const words[] = {"yes", "no"};
	struct when_place *place = target;
	const int word = schema_choose(c, node, "answer", words, LENGTH(words));

	place->test->kind = word == 1 ? TEST_ABSENT : TEST_PRESENT;
}

static const struct field test_fields[] = {
	{"matches", read_matches, 0, NULL, ANYWHERE},
	{"present", read_present, 0, NULL, ANYWHERE},
};
static const struct schema test_schema = SCHEMA("a test", test_fields, false);

static void read_test(struct when_place *place, const struct node *node)
{
	struct compiler *c = place->draft->c;

	if (node->kind != NODE_MAP) {
		place->test->kind = TEST_EQUALS;
		place->test->words = read_words(c, node);
	} else if (!node->first || node->first->next->next) {
		node_expected(&c->notes, node, TEST_FORM);
	} else {
		schema_walk(c, node, &test_schema, place);
	}
}

static void read_condition_entry(struct compiler *c, const struct node *key,
				 const struct node *value, void *target)
{
	struct when_place *place = target;
	struct condition *condition = place->condition;

	if (strcmp(key->text, "status") == 0) {
		read_status(place, value);
		return;
	}
	if (condition->n_tests == TESTS_MAX) {
		error_at(c, key, "more than %d tests", TESTS_MAX);
		return;
	}
	place->test = &condition->tests[condition->n_tests++];
	if (strcmp(key->text, "exhausted") == 0) {
		place->test->kind = TEST_EXHAUSTED;
		place->test->words = read_words(c, value);
	} else if (read_where(place->draft, key, NULL, &place->test->where)) {
		read_test(place, value);
	}
}

/* --- all of them --- */

#define CONDITION_FORM "a condition: a mapping of status, exhausted and places to what they must be"

static void read_condition(struct compiler *c, const struct node *node, void *target)
{
	struct when_place *place = target;

	if (node->kind != NODE_MAP || !node->first)
		node_expected(&c->notes, node, CONDITION_FORM);
	else
		schema_entries(c, node, CONDITION_FORM, read_condition_entry, place);
	place->condition++;
}

void read_when(struct adapter_draft *draft, const struct node *node, struct conditions *ret)
{
	const bool list = node->kind == NODE_LIST;
	struct when_place place = {.draft = draft};
	struct condition *all;
	uint32_t n = 1;

	if (list) {
		n = 0;
		for (const struct node *item = node->first; item; item = item->next)
			n++;
		if (n == 0)
			node_expected(&draft->c->notes, node, CONDITION_FORM);
	}
	all = arena_alloc(&draft->c->arena, n * sizeof(*all));
	if (!all)
		return;
	*ret = (struct conditions){all, n};
	place.condition = all;
	if (list)
		schema_items(draft->c, node, "", read_condition, &place);
	else
		read_condition(draft->c, node, &place);
}
