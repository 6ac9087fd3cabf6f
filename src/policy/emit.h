/*
 * policy/emit.h - the tables of a compiled policy while they grow
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_EMIT_H
#define RATION_POLICY_EMIT_H

#include "policy/draft.h"

struct emitted {
	char *data;
	size_t count;
	size_t room;
};

struct emitter {
	struct compiler *c;
	struct blob_header header;
	struct emitted tables[BLOB_TABLES];
	bool failed; /* out of memory */
};

/* n zeroed entries at the end of a table, good until the next call. NULL: n is 0, or out of memory. */
void *emit_new(struct emitter *e, enum blob_table_id id, size_t n);

static inline uint32_t emit_count(const struct emitter *e, enum blob_table_id id)
{
	return (uint32_t)e->tables[id].count;
}

/* The offset of a text; NULL and "" are 0. */
uint32_t emit_text(struct emitter *e, const char *text);

/* A mode's run of rules, made once. */
struct blob_rules emit_mode(struct emitter *e, struct draft_mode *mode);

/* emit_limits.c: vendors with their chains, limits, plans and tenants. */
void emit_limits(struct emitter *e);
void emit_vendors(struct emitter *e);
void emit_owners(struct emitter *e);
void emit_routes(struct emitter *e);

#endif
