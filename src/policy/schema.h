/*
 * policy/schema.h - walking mappings by tables of keys
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_SCHEMA_H
#define RATION_POLICY_SCHEMA_H

#include "policy/draft.h"

/* Reads one value. target is what schema_walk() was given. */
typedef void field_read(struct compiler *c, const struct node *value, void *target);

enum field_place {
	ANYWHERE,
	MAIN_ONLY,  /* not in an included file */
	MAIN_NEEDS, /* an included file may leave it out */
};

struct field {
	const char *key;
	field_read *read;
	size_t offset;       /* added to the target */
	const char *missing; /* why the key must be there; NULL: it may be left out */
	enum field_place place;
};

struct schema {
	const char *what; /* "a limit" */
	const struct field *fields;
	size_t n_fields;
	bool holds_names; /* an unknown key may be what other parts refer to, misspelt */
};

enum { SCHEMA_KEYS_MAX = 32 };

#define SCHEMA(what, fields, holds_names)                                                          \
	{                                                                                          \
		what, fields, sizeof(fields) / sizeof((fields)[0]), holds_names                    \
	}

/* Unknown, repeated and missing keys are errors; each other key is read by its function. */
void schema_walk(struct compiler *c, const struct node *map, const struct schema *schema,
		 void *target);

/* A mapping whose keys are names: read(c, key, value, target) for each. Nothing at all is an empty one. */
typedef void entry_read(struct compiler *c, const struct node *key, const struct node *value,
			void *target);
void schema_entries(struct compiler *c, const struct node *map, const char *what, entry_read *read,
		    void *target);

/* Each element of a list. Nothing at all is an empty one. */
void schema_items(struct compiler *c, const struct node *list, const char *what, field_read *read,
		  void *target);

/* The value of a key of a mapping, or NULL. */
const struct node *schema_get(const struct node *map, const char *key);

/* A text that is one of n words: its index, or -1 after an error was noted ("unknown WHAT ..."). */
int schema_choose(struct compiler *c, const struct node *node, const char *what,
		  const char *const *words, size_t n);

/* Whether a later version will know this word: such is refused by name. */
bool schema_later(const char *word);

#endif
