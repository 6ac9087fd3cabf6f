/*
 * signal/read.h - the parts of reading an adapter: each reads what stands at one place of it
 * SPDX-License-Identifier: MIT
 *
 * The policy compiler's own reader: its schemas, its notes, its arena. Of struct compiler nothing else
 * is used.
 */
#ifndef RATION_SIGNAL_READ_H
#define RATION_SIGNAL_READ_H

#include "policy/schema.h"
#include "signal/rules.h"

/* One adapter while it is being read. */
struct adapter_draft {
	struct compiler *c;
	struct adapter *adapter;
	struct list patterns; /* struct pattern *: to be freed with the adapter */
	const struct node *root;
	const struct node *like;
	struct list limits;    /* struct limit_rule */
	struct list responses; /* struct response_rule */
	struct list cost;      /* struct value */
};

/* The variables of one limit, in the order in which they were met. Elsewhere there are none. */
struct variables {
	const char *names[VARS_MAX];
	uint32_t n;
};

enum value_kind {
	VALUE_NUMBER, /* may be a constant */
	VALUE_TIME,   /* needs `as` */
	VALUE_WINDOW, /* an interval, or a place */
	VALUE_TEXT,   /* a constant, unless it is a mapping */
	VALUE_PLACE,  /* of no constant */
};

/* What the readers of values get. variables: NULL where there are none. */
struct value_place {
	struct adapter_draft *draft;
	struct variables *variables;
	struct value *value;
	enum value_kind kind;
};

/* read_places.c. False after an error was noted. */
bool read_where(struct adapter_draft *draft, const struct node *node, struct variables *variables,
		struct where *ret);
void read_value(struct value_place *place, const struct node *node);
struct pattern *read_pattern(struct adapter_draft *draft, const struct node *node);
void read_wording(struct adapter_draft *draft, const struct node *node, struct variables *variables,
		  struct wording *ret);
/* The number of a variable; VARS_MAX after an error was noted. */
uint32_t read_variable(struct adapter_draft *draft, const struct node *node,
		       struct variables *variables, const char *name, size_t size);

/* read_when.c: one condition, or a list of which any will do. */
void read_when(struct adapter_draft *draft, const struct node *node, struct conditions *ret);

/* read_waits.c */
void read_waits(struct adapter_draft *draft, const struct node *node, struct waits *ret);

/* Targets: a struct adapter_draft. read_limits.c and read_responses.c. */
field_read read_limit_rule, read_response_rule;

/* One of the words of signal_block_name(). False after an error was noted. */
bool read_block(struct compiler *c, const struct node *node, enum signal_block *ret);

/* read_requests.c. Target: a struct adapter_draft. */
field_read read_requests;

/*
 * read_adapter.c: a whole file. behind: the one that is shipped, for the parts that the operator's has
 * not; or NULL.
 */
void read_adapter(struct adapter_draft *draft, const struct node *root, const struct node *behind);

/* A copy of a list's objects, each of `size` bytes, in a row. */
void *list_row(struct arena *arena, const struct list *list, size_t size);

#endif
