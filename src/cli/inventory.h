/*
 * cli/inventory.h - a policy as a list of things in words, so that two of them can be compared
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_INVENTORY_H
#define RATION_CLI_INVENTORY_H

#include "shm/blob.h"

enum thing_kind {
	THING_POLICY,
	THING_CLASS,
	THING_VENDOR,
	THING_LIMIT,
	THING_ROUTE,
	THING_TENANT,
};

/* One property: "rate", "100/s, burst 50". */
struct property {
	char *what;
	char *text;
};

struct thing {
	enum thing_kind kind;
	char *name;
	char *keyed; /* limits: what is counted and per whom; else "" */
	char *shape; /* limits: how it is counted; else "" */
	struct property *properties;
	size_t n_properties;
};

/* By kind, then by name. */
struct inventory {
	struct thing *things;
	size_t n_things;
};

struct inventory inventory_make(const struct blob *blob);
void inventory_free(struct inventory *inventory);

/* Order of things. */
int inventory_compare(const void *left, const void *right);

/* The text of a property, or NULL. */
const char *thing_text(const struct thing *thing, const char *what);

#endif
