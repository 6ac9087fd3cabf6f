/*
 * cli/table.c - from bytes to a pointer: a hash table that only grows
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/cli.h"
#include "cli/table.h"

enum { ROOM_MIN = 64 };

/* Forked workers share it; a failure (no such call: an old kernel) only makes the order of keys
 * predictable. */
static struct hash128 hash(const void *data, size_t size)
{
	static uint64_t key[2];

	if (key[0] == 0 && getrandom(key, sizeof(key), 0) != sizeof(key))
		key[0] = 1;
	return hash_keyed(key, data, size);
}

static bool is_key(const struct table_entry *e, uint32_t h, const void *key, size_t size)
{
	return e->hash == h && e->key_size == size && memcmp(e->key, key, size) == 0;
}

/* The cell of a key, or the empty one where it belongs. A cell whose value was never set counts as
 * empty. */
static struct table_entry *find(const struct table *t, uint32_t h, const void *key, size_t size)
{
	size_t i = h & (t->room - 1);

	while (t->cells[i].value && !is_key(&t->cells[i], h, key, size))
		i = (i + 1) & (t->room - 1);
	return &t->cells[i];
}

static void table_grow(struct table *t)
{
	struct table old = *t;

	t->room = old.room ? old.room * 2 : ROOM_MIN;
	t->cells = cli_need(calloc(t->room, sizeof(*t->cells)));
	for (size_t i = 0; i < old.room; i++) {
		const struct table_entry *e = &old.cells[i];

		if (e->value)
			*find(t, e->hash, e->key, e->key_size) = *e;
	}
	free(old.cells);
}

void *table_get(const struct table *table, const void *key, size_t size)
{
	if (table->count == 0)
		return NULL;
	return find(table, (uint32_t)hash(key, size).word[0], key, size)->value;
}

void **table_at(struct table *table, const void *key, size_t size)
{
	uint32_t h = (uint32_t)hash(key, size).word[0];
	struct table_entry *e;

	if (table->count * 4 >= table->room * 3)
		table_grow(table);
	e = find(table, h, key, size);
	if (e->value)
		return &e->value;
	e->hash = h;
	e->key_size = (uint32_t)size;
	e->key = cli_alloc(e->key, size + 1, 1);
	memcpy(e->key, key, size);
	e->key[size] = '\0';
	table->count++;
	return &e->value;
}

const struct table_entry *table_next(const struct table *table, size_t *cursor)
{
	while (*cursor < table->room) {
		const struct table_entry *e = &table->cells[(*cursor)++];

		if (e->value)
			return e;
	}
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	const struct table_entry *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

const struct table_entry **table_sorted(const struct table *table)
{
	const struct table_entry **list =
		cli_alloc(NULL, table->count, sizeof(struct table_entry *));
	size_t cursor = 0, n = 0;
	const struct table_entry *e;

	while ((e = table_next(table, &cursor)))
		list[n++] = e;
	qsort(list, n, sizeof(struct table_entry *), by_key);
	return list;
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->room; i++)
		free(table->cells[i].key);
	free(table->cells);
	*table = (struct table){0};
}

static bool is_empty(const struct hash128 *h)
{
	return (h->word[0] | h->word[1]) == 0;
}

static struct hash128 *idset_find(const struct idset *s, struct hash128 h)
{
	size_t i = h.word[0] & (s->room - 1);

	while (!is_empty(&s->cells[i]) && memcmp(&s->cells[i], &h, sizeof(h)) != 0)
		i = (i + 1) & (s->room - 1);
	return &s->cells[i];
}

static void idset_grow(struct idset *s)
{
	struct idset old = *s;

	s->room = old.room ? old.room * 2 : ROOM_MIN;
	s->cells = cli_need(calloc(s->room, sizeof(*s->cells)));
	for (size_t i = 0; i < old.room; i++)
		if (!is_empty(&old.cells[i]))
			*idset_find(s, old.cells[i]) = old.cells[i];
	free(old.cells);
}

bool idset_add(struct idset *set, const void *id, size_t size)
{
	struct hash128 h = hash(id, size), *cell;

	if (set->count * 4 >= set->room * 3)
		idset_grow(set);
	cell = idset_find(set, h);
	if (!is_empty(cell))
		return false;
	*cell = h;
	set->count++;
	return true;
}

bool idset_has(const struct idset *set, const void *id, size_t size)
{
	return set->count > 0 && !is_empty(idset_find(set, hash(id, size)));
}

void idset_free(struct idset *set)
{
	free(set->cells);
	*set = (struct idset){0};
}
