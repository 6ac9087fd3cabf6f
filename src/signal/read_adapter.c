/*
 * signal/read_adapter.c - reading an adapter as a whole
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "signal/read.h"

void *list_row(struct arena *arena, const struct list *list, size_t size)
{
	char *row = arena_alloc(arena, list->count * size + 1);

	for (uint32_t i = 0; row && i < list->count; i++)
		memcpy(row + i * size, list->item[i], size);
	return row;
}

static void read_like(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;

	if (good_name(c, node))
		draft->like = node;
}

static void read_scope(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;

	if (is_text(node) && node->size > 0)
		draft->adapter->scope = node->text;
	else
		node_expected(&c->notes, node, "a text");
}

static void read_adapter_block(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;

	draft->adapter->has_block = read_block(c, node, &draft->adapter->block);
}

static void read_document(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;
	struct adapter *a = draft->adapter;
	struct where *where = &a->documents[a->n_documents];

	/* The body itself is the first. */
	if (a->n_documents == DOCUMENTS_MAX - 1)
		error_at(c, node, "more than %d documents", DOCUMENTS_MAX - 1);
	else if (!is_text(node) || *node->text != '/')
		node_expected(&c->notes, node, "a JSON pointer such as /0");
	else if (read_where(draft, node, NULL, where))
		a->n_documents++;
}

static void read_documents(struct compiler *c, const struct node *node, void *target)
{
	schema_items(c, node, "a list of JSON pointers", read_document, target);
}

static void read_limits(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;

	draft->adapter->has_limits = true;
	schema_items(c, node, "a list of limits", read_limit_rule, target);
}

static void read_responses(struct compiler *c, const struct node *node, void *target)
{
	schema_items(c, node, "a list of responses", read_response_rule, target);
}

static void read_adapter_waits(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;

	(void)c;
	read_waits(draft, node, &draft->adapter->waits);
}

static void read_never(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;

	(void)c;
	read_when(draft, node, &draft->adapter->never);
}

static void read_cost_item(struct compiler *c, const struct node *node, void *target)
{
	struct adapter_draft *draft = target;
	struct value *value = list_new(&draft->cost, &c->arena, sizeof(*value));

	if (value)
		read_value(&(struct value_place){draft, NULL, value, VALUE_PLACE}, node);
}

static void read_cost(struct compiler *c, const struct node *node, void *target)
{
	schema_items(c, node, "a list of places", read_cost_item, target);
}

static const struct field signals_fields[] = {
	{"like", read_like, 0, NULL, ANYWHERE},
	{"scope", read_scope, 0, NULL, ANYWHERE},
	{"block", read_adapter_block, 0, NULL, ANYWHERE},
	{"documents", read_documents, 0, NULL, ANYWHERE},
	{"limits", read_limits, 0, NULL, ANYWHERE},
	{"responses", read_responses, 0, NULL, ANYWHERE},
	{"wait", read_adapter_waits, 0, NULL, ANYWHERE},
	{"never", read_never, 0, NULL, ANYWHERE},
	{"cost", read_cost, 0, NULL, ANYWHERE},
};
static const struct schema signals_schema = SCHEMA("the signals", signals_fields, false);

static void read_signals(struct compiler *c, const struct node *node, void *target)
{
	if (!node_empty(node))
		schema_walk(c, node, &signals_schema, target);
}

/* Presets are the policy compiler's (policy/presets.c). */
static void read_presets(struct compiler *c, const struct node *node, void *target)
{
	(void)target;
	if (node->kind != NODE_MAP)
		node_expected(&c->notes, node, "a mapping of presets");
}

static const struct field adapter_fields[] = {
	{"signals", read_signals, 0, NULL, ANYWHERE},
	{"requests", read_requests, 0, NULL, ANYWHERE},
	{"limits", read_presets, 0, NULL, ANYWHERE},
};
static const struct schema adapter_schema = SCHEMA("an adapter", adapter_fields, false);

/* Of a file that comes behind another one: the parts that the other one has not. */
static void read_others(struct adapter_draft *draft, const struct node *own,
			const struct node *root)
{
	for (size_t i = 0; i < sizeof(adapter_fields) / sizeof(adapter_fields[0]); i++) {
		const struct field *field = &adapter_fields[i];
		const struct node *part = schema_get(root, field->key);

		if (part && !schema_get(own, field->key))
			field->read(draft->c, part, draft);
	}
}

void read_adapter(struct adapter_draft *draft, const struct node *root, const struct node *behind)
{
	struct arena *arena = &draft->c->arena;
	struct adapter *a = draft->adapter;

	schema_walk(draft->c, root, &adapter_schema, draft);
	if (behind && root->kind == NODE_MAP)
		read_others(draft, root, behind);
	a->limits = list_row(arena, &draft->limits, sizeof(*a->limits));
	a->n_limits = draft->limits.count;
	a->responses = list_row(arena, &draft->responses, sizeof(*a->responses));
	a->n_responses = draft->responses.count;
	a->cost = list_row(arena, &draft->cost, sizeof(*a->cost));
	a->n_cost = draft->cost.count;
}
