/*
 * cli/table.h - from bytes to a pointer: a hash table that only grows
 * SPDX-License-Identifier: MIT
 *
 * Keys come from request lines, so the hash is keyed (at random, once for each process).
 */
#ifndef RATION_CLI_TABLE_H
#define RATION_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/hash.h"

/* All zeroes is an empty table. */
struct table {
	struct table_entry {
		void *value; /* NULL: an empty cell */
		uint32_t hash;
		uint32_t key_size;
		char *key; /* terminated */
	} * cells;
	size_t count;
	size_t room; /* a power of two, or 0 */
};

/* The value of a key, or NULL. */
void *table_get(const struct table *table, const void *key, size_t size);

/* Where the value of a key stands. NULL stands there if it was not in the table: the caller must set it at once. */
void **table_at(struct table *table, const void *key, size_t size);

/* Walk all entries, in no order: *cursor starts at 0; NULL at the end. */
const struct table_entry *table_next(const struct table *table, size_t *cursor);

/* Entries sorted by key; malloc'd, count entries. */
const struct table_entry **table_sorted(const struct table *table);

/* Frees keys and cells; values are the caller's. */
void table_free(struct table *table);

/* A set of byte strings that keeps 16 bytes of each: their 128-bit hash. */
struct idset {
	struct hash128 *cells; /* 0, 0: empty */
	size_t count;
	size_t room;
};

/* False: it was there before. */
bool idset_add(struct idset *set, const void *id, size_t size);
bool idset_has(const struct idset *set, const void *id, size_t size);
void idset_free(struct idset *set);

#endif
