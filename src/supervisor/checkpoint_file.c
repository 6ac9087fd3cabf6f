/*
 * supervisor/checkpoint_file.c - a checkpoint as it lies on disk
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/checkpoint_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ration/ration.h>

#include "shm/hash.h"
#include "shm/layout.h"
#include "shm/saturate.h"
#include "shm/view.h"

/* Of a rolling limit: more cells than any ring has. */
#define CELLS_MAX 256u

#define SCOPE_ALL 0x1fu

static struct hash128 check_of(const void *data, size_t size)
{
	static const uint64_t key[2] = {UINT64_C(0x6e6f69746172), UINT64_C(0x746e696f706b6365)};

	return hash_keyed(key, data, size - sizeof(struct hash128));
}

/* --- reading --- */

static const char *check_bytes(const void *data, size_t size)
{
	const struct checkpoint_header *h = data;
	struct hash128 check, found;

	if (size < sizeof(*h) + sizeof(check))
		return "cut off";
	if (memcmp(h->magic, CHECKPOINT_MAGIC, sizeof(h->magic)) != 0)
		return "no checkpoint";
	if (h->version != CHECKPOINT_VERSION)
		return "of another version";
	if (h->size != size)
		return size < h->size ? "cut off" : "longer than it says";
	check = check_of(data, size);
	memcpy(&found, (const char *)data + size - sizeof(found), sizeof(found));
	return memcmp(&check, &found, sizeof(check)) == 0 ? NULL : "damaged";
}

/* The tables fill the file. */
static bool find_tables(const void *data, size_t size, struct checkpoint_file *f)
{
	const struct checkpoint_header *h = data;
	const uint64_t total = sizeof(*h) + (uint64_t)h->n_limits * sizeof(*f->limits) +
			       (uint64_t)h->n_entries * sizeof(*f->entries) +
			       (uint64_t)h->n_cells * sizeof(*f->cells) + h->n_text +
			       sizeof(struct hash128);

	if (total != size || h->n_text < 8 || h->n_text % 8 != 0)
		return false;
	f->header = h;
	f->limits = (const void *)(h + 1);
	f->entries = (const void *)(f->limits + h->n_limits);
	f->cells = (const void *)(f->entries + h->n_entries);
	f->text = (const void *)(f->cells + h->n_cells);
	return f->text[0] == '\0' && f->text[h->n_text - 1] == '\0';
}

static bool text_good(const struct checkpoint_file *f, uint32_t offset, size_t most_bytes)
{
	return offset < f->header->n_text &&
	       strnlen(f->text + offset, most_bytes + 1) <= most_bytes;
}

static bool limit_good(const struct checkpoint_file *f, const struct checkpoint_limit *l)
{
	return text_good(f, l->name, sizeof(((struct limit_name *)0)->name) - 1) &&
	       f->text[l->name] != '\0';
}

/* How many cells an entry of a kind may have. */
static const struct {
	uint32_t least, most;
} counts[KIND_COUNT] = {
	[KIND_BUCKET] = {1, 1},         [KIND_WINDOW] = {1, 2}, [KIND_ROLLING] = {0, CELLS_MAX},
	[KIND_VIEW] = {1, VIEW_VALUES}, [KIND_GATE] = {1, 1},
};

static bool entry_good(const struct checkpoint_file *f, const struct checkpoint_entry *e)
{
	const struct checkpoint_header *h = f->header;

	if (e->kind >= KIND_COUNT || e->count < counts[e->kind].least ||
	    e->count > counts[e->kind].most || counts[e->kind].most == 0)
		return false;
	if (e->kind == KIND_GATE ? e->limit != BLOB_NO_INDEX : e->limit >= h->n_limits)
		return false;
	if (e->first > h->n_cells || e->count > h->n_cells - e->first || e->scope > SCOPE_ALL)
		return false;
	for (int i = 0; i < KEY_FIELDS; i++) {
		if (!text_good(f, e->field[i], RATION_KEY_MAX))
			return false;
	}
	return true;
}

const char *checkpoint_open(const void *data, size_t size, struct checkpoint_file *ret)
{
	const char *wrong = check_bytes(data, size);
	struct checkpoint_file f;

	if (wrong)
		return wrong;
	if (!find_tables(data, size, &f))
		return "inconsistent";
	for (uint32_t i = 0; i < f.header->n_limits; i++) {
		if (!limit_good(&f, &f.limits[i]))
			return "inconsistent";
	}
	for (uint32_t i = 0; i < f.header->n_entries; i++) {
		if (!entry_good(&f, &f.entries[i]))
			return "inconsistent";
	}
	*ret = f;
	return NULL;
}

struct limit_shape checkpoint_shape(const struct checkpoint_limit *l)
{
	return (struct limit_shape){
		.kind = l->kind,
		.scope = l->scope,
		.unit_hash = l->unit_hash,
		.role = l->role,
		.calendar = l->calendar,
		.zone_hash = l->zone_hash,
		.period_ns = l->period_ns,
		.delay_ns = l->delay_ns,
		.offset_ns = l->offset_ns,
	};
}

/* --- writing --- */

enum { LIMITS, ENTRIES, CELLS, TEXT };

/* Room for n more in a table that has `used`. */
static bool make_room(struct checkpoint_draft *d, int table, void *array, size_t stride,
		      uint32_t used, size_t n)
{
	const uint64_t wanted = (uint64_t)used + n;
	uint64_t room = d->room[table];
	void *grown, **where = array;

	if (d->failed || wanted <= room)
		return !d->failed;
	room = least(most(2 * room, most(wanted, 256)), UINT32_MAX);
	grown = wanted <= room ? reallocarray(*where, room, stride) : NULL;
	if (!grown) {
		d->failed = true;
		return false;
	}
	*where = grown;
	d->room[table] = (uint32_t)room;
	return true;
}

uint32_t checkpoint_add_text(struct checkpoint_draft *d, const char *text)
{
	const size_t size = strlen(text) + 1;
	const uint32_t offset = d->header.n_text;

	if (size == 1 && offset > 0)
		return 0;
	if (!make_room(d, TEXT, &d->text, 1, offset, size))
		return 0;
	memcpy(d->text + offset, text, size);
	d->header.n_text += (uint32_t)size;
	return offset;
}

static void add_limit(struct checkpoint_draft *d, const struct limit_name *name, uint64_t now)
{
	struct checkpoint_limit *l;

	if (!make_room(d, LIMITS, &d->limits, sizeof(*l), d->header.n_limits, 1))
		return;
	l = &d->limits[d->header.n_limits++];
	*l = (struct checkpoint_limit){
		.name = checkpoint_add_text(d, name->name),
		.kind = name->shape.kind,
		.scope = name->shape.scope,
		.unit_hash = name->shape.unit_hash,
		.role = name->shape.role,
		.calendar = name->shape.calendar,
		.zone_hash = name->shape.zone_hash,
		.period_ns = name->shape.period_ns,
		.delay_ns = name->shape.delay_ns,
		.offset_ns = name->shape.offset_ns,
		.horizon_ns = name->horizon / TICKS_PER_NS,
		.spent_ns = minus(name->spent_until, now) / TICKS_PER_NS,
	};
}

void checkpoint_begin(struct checkpoint_draft *d, const struct published *policy, uint64_t now)
{
	*d = (struct checkpoint_draft){.header = {.version = CHECKPOINT_VERSION}};
	memcpy(d->header.magic, CHECKPOINT_MAGIC, sizeof(d->header.magic));
	(void)checkpoint_add_text(d, "");
	/* All that are known, so that an index here is that of the name there. */
	for (uint32_t i = 0; i < policy->n_names; i++)
		add_limit(d, &policy->names[i], now);
}

struct checkpoint_entry *checkpoint_add_entry(struct checkpoint_draft *d)
{
	struct checkpoint_entry *e;

	if (!make_room(d, ENTRIES, &d->entries, sizeof(*e), d->header.n_entries, 1))
		return NULL;
	e = &d->entries[d->header.n_entries++];
	*e = (struct checkpoint_entry){.first = d->header.n_cells};
	return e;
}

void checkpoint_add_cell(struct checkpoint_draft *d, uint64_t at, uint64_t units)
{
	if (d->header.n_entries == 0 ||
	    !make_room(d, CELLS, &d->cells, sizeof(*d->cells), d->header.n_cells, 1))
		return;
	d->cells[d->header.n_cells++] = (struct checkpoint_cell){at, units};
	d->entries[d->header.n_entries - 1].count++;
}

static char *put(char *to, const void *from, size_t size)
{
	if (size > 0)
		memcpy(to, from, size);
	return to + size;
}

int checkpoint_pack(struct checkpoint_draft *d, void **ret_data, size_t *ret_size)
{
	struct checkpoint_header *h = &d->header;
	const size_t limits = h->n_limits * sizeof(*d->limits);
	const size_t entries = h->n_entries * sizeof(*d->entries);
	const size_t cells = h->n_cells * sizeof(*d->cells);
	const size_t text = h->n_text;
	char *data, *to;

	h->n_text = (h->n_text + 8) / 8 * 8;
	h->size = sizeof(*h) + limits + entries + cells + h->n_text + sizeof(struct hash128);
	data = d->failed ? NULL : calloc(1, h->size);
	if (data) {
		to = put(data, h, sizeof(*h));
		to = put(to, d->limits, limits);
		to = put(to, d->entries, entries);
		to = put(to, d->cells, cells);
		put(to, d->text, text);
		*ret_data = data;
		*ret_size = h->size;
	}
	checkpoint_discard(d);
	return data ? 0 : -ENOMEM;
}

void checkpoint_seal(void *data, size_t size)
{
	const struct hash128 check = check_of(data, size);

	memcpy((char *)data + size - sizeof(check), &check, sizeof(check));
}

void checkpoint_discard(struct checkpoint_draft *d)
{
	free(d->limits);
	free(d->entries);
	free(d->cells);
	free(d->text);
	*d = (struct checkpoint_draft){.failed = true};
}
