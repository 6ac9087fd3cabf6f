/*
 * supervisor/checkpoint_restore.c - buckets as a checkpoint left them
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/checkpoint_restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/make.h"
#include "shm/gate.h"
#include "shm/learn.h"
#include "shm/rolling.h"
#include "shm/saturate.h"
#include "shm/view.h"
#include "shm/window.h"
#include "supervisor/checkpoint_marks.h"
#include "supervisor/spent.h"

/* What a word of learn.h can tell of the past. */
#define LEARNED_NS (UINT64_C(12) * 86400 * 1000000000)

/* --- names --- */

static uint64_t ticks_of(uint64_t ns)
{
	return ns > UINT64_MAX / TICKS_PER_NS ? UINT64_MAX : ns * TICKS_PER_NS;
}

static int compare_names(const void *a, const void *b)
{
	const struct limit_name *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int restore_names(const struct checkpoint_file *file, uint64_t elapsed, uint64_t now,
		  struct published *ret_before)
{
	const uint32_t n = file->header->n_limits;
	struct limit_name *names = calloc((size_t)n + 1, sizeof(*names));

	if (!names)
		return -ENOMEM;
	*ret_before = (struct published){.names = names};
	for (uint32_t i = 0; i < n; i++) {
		const struct checkpoint_limit *l = &file->limits[i];
		struct limit_name *name = &names[ret_before->n_names];

		/* Nothing of it counts any more: as good as never heard of. */
		if (most(l->horizon_ns, l->spent_ns) <= elapsed)
			continue;
		strcpy(name->name, checkpoint_text(file, l->name));
		name->shape = checkpoint_shape(l);
		name->horizon = ticks_of(l->horizon_ns);
		name->spent_until =
			l->spent_ns > elapsed ? sum(now, ticks_of(l->spent_ns - elapsed)) : 0;
		ret_before->n_names++;
	}
	qsort(names, ret_before->n_names, sizeof(*names), compare_names);
	return 0;
}

/* --- one entry --- */

struct one {
	struct restore *r;
	const struct checkpoint_entry *entry;
	const struct checkpoint_cell *cells;
	const char *field[KEY_FIELDS];
	uint32_t limit;
	const struct blob_numbers *numbers;
	struct link link; /* its shape */
	struct bucket_ref ref;
};

static struct one one_of(struct restore *r, const struct checkpoint_entry *entry)
{
	struct one o = {.r = r, .entry = entry, .cells = r->file->cells + entry->first};

	for (int i = 0; i < KEY_FIELDS; i++)
		o.field[i] = checkpoint_text(r->file, entry->field[i]);
	return o;
}

_Static_assert(sizeof(struct limit_shape) == 48, "no padding");

/* The limit that it is of, if there is one that counts the same. */
static bool find_limit(struct one *o)
{
	const struct blob *blob = &o->r->policy->blob;
	const struct checkpoint_limit *l = &o->r->file->limits[o->entry->limit];
	const struct limit_name *name =
		published_name(o->r->policy, checkpoint_text(o->r->file, l->name));
	const struct limit_shape shape = checkpoint_shape(l);

	if (!name || name->limit == BLOB_NO_INDEX ||
	    memcmp(&name->shape, &shape, sizeof(shape)) != 0 || o->entry->scope != shape.scope ||
	    (o->entry->kind != shape.kind && o->entry->kind != KIND_VIEW))
		return false;
	o->limit = name->limit;
	o->numbers = blob_numbers_for(blob, o->limit,
				      shape.scope & RATION_SCOPE_TENANT
					      ? blob_find_tenant(blob, o->field[KEY_TENANT])
					      : BLOB_NO_INDEX);
	return true;
}

static uint64_t ahead_of(const struct one *o)
{
	return o->r->far ? o->entry->far : o->entry->ahead;
}

/* Unused, as at a time that may be long ago. */
static bool make_at(struct one *o, uint64_t then)
{
	const struct restore *r = o->r;
	const struct blob *blob = &r->policy->blob;
	const struct carry c = {.seg = r->seg, .now = r->now, .wall = r->wall};
	const struct birth birth = {
		.blob = blob,
		.limit = o->limit,
		.numbers = o->numbers,
		.link = &o->link,
		.field = o->field,
		.identity = client_identity(blob, o->limit, o->field),
		.at = {then, r->wall},
	};

	spent_shape(&c, blob, &blob->limits[o->limit], o->numbers, &o->link);
	return make_bucket(r->seg, r->slot, &birth, &o->ref) == INDEX_FOUND;
}

/* --- kinds --- */

/* Of what a bucket with other numbers was short, so many units: ticks now. */
static uint64_t ticks_by_now(const struct one *o, uint64_t ns)
{
	const struct checkpoint_entry *e = o->entry;
	const uint64_t numbers = o->numbers->effective;

	if (e->burst == bucket_burst(numbers) &&
	    e->full_ns == bucket_tolerance(numbers) / TICKS_PER_NS)
		return ticks_of(ns);
	if (e->full_ns == 0)
		return bucket_tolerance(numbers);
	return bucket_cost(numbers, ratio(ns, e->burst, e->full_ns, true));
}

static bool restore_bucket(struct one *o)
{
	struct restore *r = o->r;
	const uint64_t all = bucket_tolerance(o->numbers->effective);
	const uint64_t missing = ticks_by_now(o, minus(o->cells[0].units, r->elapsed));
	const uint64_t total =
		least(sum(missing, ticks_by_now(o, ahead_of(o))), most(missing, all));

	if (!make_at(o, r->now))
		return false;
	(void)bucket_debit(&r->seg->hot[o->ref.bucket], o->ref.generation, total, r->now);
	return true;
}

/* The latest window that the checkpoint can speak of: the one after the last that anybody went by. */
static uint64_t latest_window(const struct one *o)
{
	const struct blob *blob = &o->r->policy->blob;
	const struct calendar calendar = blob_calendar(blob, &blob->limits[o->limit]);
	const int64_t latest = o->r->file->header->latest;
	struct calendar_window window;

	calendar_find(&calendar, latest > o->r->wall ? latest : o->r->wall, &window);
	return window.index + 1;
}

static void burden(const struct one *o, uint64_t index, uint64_t units)
{
	uint64_t ignored;

	(void)window_burden(&o->r->seg->hot[o->ref.bucket], index, units, &ignored);
}

static void burden_ahead(const struct one *o, uint64_t index, uint64_t units)
{
	const struct seg_hot *hot = &o->r->seg->hot[o->ref.bucket];

	burden(o, index,
	       least(units, minus(window_amount(o->numbers->effective), window_used(hot, index))));
}

/* What was ahead may have been charged in any window since: in the present one, and in whatever is counted beside it. */
static bool restore_window(struct one *o)
{
	const uint64_t *shape = o->link.shape;
	const uint64_t part = checkpoint_part(window_amount(o->numbers->effective));
	uint64_t ahead = ahead_of(o), top = 0;

	if (!make_at(o, o->r->now))
		return false;
	for (uint32_t i = 0; i < o->entry->count; i++) {
		const struct checkpoint_cell *cell = &o->cells[i];

		if (cell->at + 1 < shape[WINDOW_INDEX] || cell->at > latest_window(o))
			continue;
		burden(o, cell->at, cell->units);
		top = most(top, cell->at);
	}
	if (top < shape[WINDOW_INDEX])
		ahead = most(ahead, part);
	if (shape[WINDOW_END] - (uint64_t)o->r->wall <= shape[WINDOW_BEFORE])
		top = most(top, shape[WINDOW_INDEX] + 1);
	burden_ahead(o, shape[WINDOW_INDEX], ahead);
	if (top > shape[WINDOW_INDEX])
		burden_ahead(o, top, ahead);
	return true;
}

/* Ticks at which a cell ended, if that counts still. */
static bool cell_time(const struct one *o, const struct checkpoint_cell *cell, uint64_t *ret_then)
{
	const uint64_t period = o->numbers->period_ns + o->numbers->delay_ns;
	const uint64_t ago = sum(cell->at, o->r->elapsed);

	if (ago > period + period / ROLLING_CELLS || ticks_of(ago) > o->r->now)
		return false;
	*ret_then = o->r->now - ticks_of(ago);
	return true;
}

/* As it was charged, cell by cell: a debit goes by the time that it is given. */
static bool restore_rolling(struct one *o)
{
	struct restore *r = o->r;
	const uint64_t amount = rolling_amount(o->numbers->effective);
	struct charge_ref charge;
	uint64_t then = r->now;
	uint32_t i = 0;

	while (i < o->entry->count && !cell_time(o, &o->cells[i], &then))
		i++;
	if (!make_at(o, then))
		return false;
	charge = (struct charge_ref){.bucket = o->ref.bucket, .generation = o->ref.generation};
	for (; i < o->entry->count; i++) {
		if (cell_time(o, &o->cells[i], &then))
			(void)rolling_debit(r->seg, &charge, o->cells[i].units, then);
	}
	(void)rolling_debit(
		r->seg, &charge,
		least(ahead_of(o), minus(amount, rolling_used(r->seg, o->ref.bucket, r->now))),
		r->now);
	return true;
}

/* --- what is no limit --- */

static uint64_t blocked_for(const struct one *o)
{
	const int64_t wall = o->r->file->header->wall;
	const uint64_t until = o->cells[0].at;
	const uint64_t then = until > (uint64_t)wall ? until - (uint64_t)wall : 0;

	return least(ticks_of(minus(then, o->r->elapsed)), GATE_BLOCK_MAX);
}

static void restore_gate(struct one *o)
{
	struct restore *r = o->r;
	const struct blob *blob = &r->policy->blob;
	const struct gate_block block = {
		.until = r->now + blocked_for(o),
		.why = o->cells[0].units < GATE_WHYS ? (enum gate_why)o->cells[0].units
						     : GATE_WHY_VENDOR,
	};

	if (block.until == r->now)
		return;
	if (blob_find_vendor(blob, o->field[KEY_VENDOR]) == BLOB_NO_INDEX)
		r->unknown++;
	else if (client_gate_make(r->seg, r->slot, blob, o->entry->scope, o->field, r->now,
				  &o->ref) != INDEX_FOUND ||
		 !gate_block(r->seg, o->ref, &block))
		r->no_room++;
	else {
		gate_announce(r->seg, o->ref);
		r->blocks++;
	}
}

/* A word that says when as a stamp is moved to where that is now. */
static uint64_t learned_now(const struct one *o, uint64_t word)
{
	const uint64_t ago = sum(o->entry->ahead, o->r->elapsed);
	return ago > LEARNED_NS
		       ? 0
		       : (word & ~UINT64_C(0xffffff)) | learn_stamp(o->r->now - ticks_of(ago));
}

static void restore_view(struct one *o)
{
	struct restore *r = o->r;
	const struct blob *blob = &r->policy->blob;
	const struct hash128 bucket = client_identity(blob, o->limit, o->field);

	if (client_view_make(r->seg, r->slot, blob, o->limit, o->field, bucket, r->now, &o->ref) !=
	    INDEX_FOUND) {
		r->no_room++;
		return;
	}
	for (uint32_t i = 0; i < o->entry->count; i++) {
		const uint64_t value = o->cells[i].units;

		if (o->cells[i].at == VIEW_LIMIT)
			view_tell(r->seg, o->ref, VIEW_LIMIT, value);
		else if (o->cells[i].at == VIEW_LEARNED)
			view_tell(r->seg, o->ref, VIEW_LEARNED, learned_now(o, value));
	}
	shm_add(&r->seg->control->learned, 1);
	r->told++;
}

/* --- all --- */

static void restore_limit(struct one *o)
{
	static bool (*const by_kind[KIND_COUNT])(struct one *) = {
		[KIND_BUCKET] = restore_bucket,
		[KIND_WINDOW] = restore_window,
		[KIND_ROLLING] = restore_rolling,
	};

	if (by_kind[o->entry->kind](o))
		o->r->buckets++;
	else
		o->r->no_room++;
}

void restore_all(struct restore *r)
{
	for (uint32_t i = 0; i < r->file->header->n_entries; i++) {
		struct one o = one_of(r, &r->file->entries[i]);

		if (o.entry->kind == KIND_GATE)
			restore_gate(&o);
		else if (!find_limit(&o))
			r->unknown++;
		else if (o.entry->kind == KIND_VIEW)
			restore_view(&o);
		else
			restore_limit(&o);
	}
}
