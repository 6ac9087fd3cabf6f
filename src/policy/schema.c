/*
 * policy/schema.c - walking mappings by tables of keys
 * SPDX-License-Identifier: MIT
 */
#include "policy/schema.h"

#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Keys and values of the policy language that this version does not know how to keep. */
static const char *const later[] = {
	"on_unavailable",
	"signals",
};

bool schema_later(const char *word)
{
	for (size_t i = 0; i < LENGTH(later); i++) {
		if (strcmp(later[i], word) == 0)
			return true;
	}
	return false;
}

static const struct field *find_field(const struct schema *schema, const char *key)
{
	for (size_t i = 0; i < schema->n_fields; i++) {
		if (strcmp(schema->fields[i].key, key) == 0)
			return &schema->fields[i];
	}
	return NULL;
}

static const char *known_keys(struct compiler *c, const struct schema *schema, const char *key)
{
	const char *known[SCHEMA_KEYS_MAX];
	size_t n = 0;

	for (; n < schema->n_fields && n < LENGTH(known); n++)
		known[n] = schema->fields[n].key;
	return known_words(&c->arena, key, known, n);
}

static void unknown_key(struct compiler *c, const struct schema *schema, const struct node *key)
{
	c->incomplete |= schema->holds_names;
	if (schema_later(key->text))
		error_at(c, key, "'%s' is not supported yet", key->text);
	else
		error_at(c, key, "unknown key %s%s", node_found(&c->arena, key),
			 known_keys(c, schema, key->text));
}

static bool is_key(struct compiler *c, const struct node *key)
{
	return key->kind == NODE_TEXT ? !key->broken : node_expected(&c->notes, key, "a key");
}

static bool allowed_here(struct compiler *c, const struct field *field, const struct node *key)
{
	if (field->place != MAIN_ONLY || !key->place.source->includer)
		return true;
	error_at(c, key, "'%s' may only stand in the policy file itself, not in an included one",
		 field->key);
	return false;
}

static void check_missing(struct compiler *c, const struct node *map, const struct schema *schema,
			  const struct node *const *seen)
{
	for (size_t i = 0; i < schema->n_fields; i++) {
		const struct field *field = &schema->fields[i];

		if (seen[i] || !field->missing ||
		    (field->place != ANYWHERE && map->place.source->includer))
			continue;
		error_at(c, map, "missing key '%s' of %s: %s", field->key, schema->what,
			 field->missing);
	}
}

static void walk_key(struct compiler *c, const struct node *key, const struct schema *schema,
		     const struct node **seen, char *target)
{
	const struct field *field;
	const struct node **first;

	if (!is_key(c, key))
		return;
	field = find_field(schema, key->text);
	if (!field) {
		unknown_key(c, schema, key);
		return;
	}
	first = &seen[field - schema->fields];
	if (*first) {
		error_at(c, key, "duplicate key '%s': it is already in line %u", field->key,
			 (*first)->place.line);
		return;
	}
	*first = key;
	if (allowed_here(c, field, key))
		field->read(c, key->next, target + field->offset);
}

void schema_walk(struct compiler *c, const struct node *map, const struct schema *schema,
		 void *target)
{
	const struct node *seen[SCHEMA_KEYS_MAX] = {0};

	if (map->kind != NODE_MAP) {
		node_expected(&c->notes, map,
			      arena_printf(&c->arena, "%s (a mapping)", schema->what));
		return;
	}
	for (const struct node *key = map->first; key && key->next; key = key->next->next)
		walk_key(c, key, schema, seen, target);
	check_missing(c, map, schema, seen);
}

void schema_entries(struct compiler *c, const struct node *map, const char *what, entry_read *read,
		    void *target)
{
	if (node_empty(map))
		return;
	if (map->kind != NODE_MAP) {
		c->incomplete = true;
		node_expected(&c->notes, map, what);
		return;
	}
	for (const struct node *key = map->first; key && key->next; key = key->next->next) {
		if (is_key(c, key))
			read(c, key, key->next, target);
	}
}

void schema_items(struct compiler *c, const struct node *list, const char *what, field_read *read,
		  void *target)
{
	if (node_empty(list))
		return;
	if (list->kind != NODE_LIST) {
		c->incomplete = true;
		node_expected(&c->notes, list, what);
		return;
	}
	for (const struct node *item = list->first; item; item = item->next)
		read(c, item, target);
}

const struct node *schema_get(const struct node *map, const char *key)
{
	if (map->kind != NODE_MAP)
		return NULL;
	for (const struct node *k = map->first; k && k->next; k = k->next->next) {
		if (k->kind == NODE_TEXT && strcmp(k->text, key) == 0)
			return k->next;
	}
	return NULL;
}

int schema_choose(struct compiler *c, const struct node *node, const char *what,
		  const char *const *words, size_t n)
{
	if (node->kind != NODE_TEXT || node_empty(node)) {
		node_expected(&c->notes, node, arena_printf(&c->arena, "a %s", what));
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], node->text) == 0)
			return (int)i;
	}
	if (node->broken)
		return -1;
	if (schema_later(node->text))
		error_at(c, node, "%s '%s' is not supported yet", what, node->text);
	else
		error_at(c, node, "unknown %s %s%s", what, node_found(&c->arena, node),
			 known_words(&c->arena, node->text, words, n));
	return -1;
}
