/*
 * policy/emit.c - the compiled policy, as shm/blob.h lays it out
 * SPDX-License-Identifier: MIT
 */
#include "policy/emit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- growing tables --- */

static const size_t strides[BLOB_TABLES] = {
	[BLOB_CLASSES] = sizeof(struct blob_class),
	[BLOB_VENDORS] = sizeof(struct blob_vendor),
	[BLOB_RUNS] = sizeof(struct blob_run),
	[BLOB_LINKS] = sizeof(struct blob_link),
	[BLOB_LIMITS] = sizeof(struct blob_limit),
	[BLOB_TENANTS] = sizeof(struct blob_tenant),
	[BLOB_OVERRIDES] = sizeof(struct blob_override),
	[BLOB_RULES] = sizeof(struct blob_rule),
	[BLOB_ZONES] = sizeof(struct blob_zone),
	[BLOB_CHANGES] = sizeof(struct calendar_change),
	[BLOB_PRINCIPALS] = sizeof(struct blob_principal),
	[BLOB_ROUTES] = sizeof(struct blob_route),
	[BLOB_ALTERNATIVES] = sizeof(struct blob_alternative),
	[BLOB_TEXT] = 1,
};

static bool make_room(struct emitter *e, enum blob_table_id id, size_t n)
{
	struct emitted *table = &e->tables[id];
	size_t room = table->room * 2 > 64 ? table->room * 2 : 64;
	char *data;

	if (table->count + n <= table->room)
		return true;
	if (room < table->count + n)
		room = table->count + n;
	/* Indexes and offsets are 32 bits. */
	data = room < UINT32_MAX ? realloc(table->data, room * strides[id]) : NULL;
	if (!data) {
		e->failed = true;
		return false;
	}
	table->data = data;
	table->room = room;
	return true;
}

void *emit_new(struct emitter *e, enum blob_table_id id, size_t n)
{
	struct emitted *table = &e->tables[id];
	char *first;

	if (n == 0 || !make_room(e, id, n))
		return NULL;
	first = table->data + table->count * strides[id];
	memset(first, 0, n * strides[id]);
	table->count += n;
	return first;
}

uint32_t emit_text(struct emitter *e, const char *text)
{
	const uint32_t at = emit_count(e, BLOB_TEXT);
	char *copy;

	if (!text || text[0] == '\0')
		return 0;
	copy = emit_new(e, BLOB_TEXT, strlen(text) + 1);
	if (copy)
		strcpy(copy, text);
	return at;
}

/* --- time zones and modes --- */

static void emit_zone(struct emitter *e, struct draft_zone *zone)
{
	struct calendar_change *changes;
	struct blob_zone *out;

	zone->index = emit_count(e, BLOB_ZONES);
	out = emit_new(e, BLOB_ZONES, 1);
	if (!out)
		return;
	*out = (struct blob_zone){
		.name = emit_text(e, zone->name),
		.change_first = emit_count(e, BLOB_CHANGES),
		.change_count = zone->n_changes,
		.first_offset = zone->first_offset,
	};
	changes = emit_new(e, BLOB_CHANGES, zone->n_changes);
	if (changes)
		memcpy(changes, zone->changes, zone->n_changes * sizeof(*changes));
}

static void emit_zones(struct emitter *e)
{
	for (uint32_t i = 0; i < e->c->zones.count; i++)
		emit_zone(e, e->c->zones.item[i]);
}

struct blob_rules emit_mode(struct emitter *e, struct draft_mode *mode)
{
	if (!mode->emitted) {
		mode->emitted = true;
		mode->first = emit_count(e, BLOB_RULES);
		for (uint32_t i = 0; i < mode->rules.count; i++) {
			const struct draft_rule *rule = mode->rules.item[i];
			struct blob_rule *out = emit_new(e, BLOB_RULES, 1);

			if (out)
				*out = (struct blob_rule){
					.deny = rule->deny,
					.from = rule->from,
					.until = rule->until,
					.zone = rule->zone ? rule->zone->index : BLOB_NO_INDEX,
				};
		}
	}
	return (struct blob_rules){mode->first, mode->rules.count};
}

/* --- classes --- */

static void emit_principals(struct emitter *e, const struct list *principals)
{
	for (uint32_t i = 0; i < principals->count; i++) {
		const struct draft_principal *principal = principals->item[i];
		struct blob_principal *out = emit_new(e, BLOB_PRINCIPALS, 1);

		if (out)
			*out = (struct blob_principal){principal->group, principal->id};
	}
}

static void emit_classes(struct emitter *e)
{
	for (uint32_t i = 0; i < e->c->classes.count; i++) {
		struct draft_class *class = e->c->classes.item[i];
		struct blob_class *out = emit_new(e, BLOB_CLASSES, 1);

		if (!out)
			return;
		*out = (struct blob_class){
			.name = emit_text(e, class->named.name),
			.owner = emit_text(e, class->owner),
			.purpose = emit_text(e, class->purpose),
			.fallback = emit_text(e, class->fallback),
			.never_with = class->never_with,
			.queue = class->queue,
			.retry = class->retry,
			.mode = emit_mode(e, &class->mode),
			.principal_first = emit_count(e, BLOB_PRINCIPALS),
			.principal_count = class->principals.count,
		};
		emit_principals(e, &class->principals);
	}
}

/* --- one after the other --- */

static void lay_out(struct emitter *e)
{
	uint64_t offset = sizeof(e->header);

	for (int i = 0; i < BLOB_TABLES; i++) {
		e->header.tables[i] = (struct blob_table){
			.offset = offset,
			.stride = (uint32_t)strides[i],
			.count = (uint32_t)e->tables[i].count,
		};
		offset += (strides[i] * e->tables[i].count + 7) / 8 * 8;
	}
	e->header.size = offset;
}

static char *put_together(struct emitter *e)
{
	char *blob;

	lay_out(e);
	blob = calloc(1, e->header.size);
	if (!blob)
		return NULL;
	memcpy(blob, &e->header, sizeof(e->header));
	for (int i = 0; i < BLOB_TABLES; i++) {
		if (e->tables[i].count > 0)
			memcpy(blob + e->header.tables[i].offset, e->tables[i].data,
			       strides[i] * e->tables[i].count);
	}
	return blob;
}

int emit_policy(struct compiler *c, uint64_t generation, const uint64_t hash_key[2],
		struct policy *ret_policy)
{
	struct emitter e = {.c = c};
	char *blob;

	e.header = (struct blob_header){
		.magic = BLOB_MAGIC,
		.abi = BLOB_ABI,
		.fingerprint = blob_fingerprint(),
		.generation = generation,
		.hash_key = {hash_key[0], hash_key[1]},
		.default_vendor = BLOB_NO_INDEX,
	};
	emit_new(&e, BLOB_TEXT, 1);
	emit_zones(&e);
	emit_classes(&e);
	emit_limits(&e);
	emit_vendors(&e);
	emit_owners(&e);
	emit_routes(&e);
	blob = e.failed ? NULL : put_together(&e);
	for (int i = 0; i < BLOB_TABLES; i++)
		free(e.tables[i].data);
	if (!blob)
		return -ENOMEM;
	*ret_policy = (struct policy){.blob = blob, .size = e.header.size};
	return 0;
}
