/*
 * cli/status_rows.c - ration status: every bucket, of whatever kind, as it is now
 * SPDX-License-Identifier: MIT
 */
#include "cli/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "cli/words.h"
#include "client/client.h"
#include "shm/extent.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"

/* What all rows are read with. */
struct reading {
	struct ration *ration;
	const struct seg *seg;
	const struct blob *blob;
	uint64_t now;
	int64_t wall;
	uint32_t records;    /* in use */
	struct table limits; /* by "vendor/name": struct blob_limit */
};

/* --- kinds --- */

static void read_bucket(const struct reading *r, struct status_row *row)
{
	struct seg_hot *hot = &r->seg->hot[row->bucket];
	const bucket_numbers numbers = shm_load_relaxed(&hot->numbers);
	struct bucket_view view = {0};
	const enum take result = bucket_look(hot, row->generation, 1, r->now, &view);

	row->readable = result != TAKE_CORRUPT && result != TAKE_STALE;
	row->left = row->readable ? bucket_left(&view, r->now) : 0;
	row->size = bucket_burst(numbers);
	row->rate = words_per_second(numbers);
}

static void use(struct status_row *row, uint64_t used)
{
	row->used = used;
	row->left = used < row->size ? row->size - used : 0;
}

/* Which window it is only the policy says. */
static void read_window(const struct reading *r, struct status_row *row)
{
	const struct seg_hot *hot = &r->seg->hot[row->bucket];
	struct calendar_window window;
	struct calendar calendar;

	row->size = window_amount(shm_load_relaxed(&hot->numbers));
	row->readable = row->limit && row->limit->kind == KIND_WINDOW &&
			window_plausible(hot, UINT64_MAX, r->now);
	if (!row->readable)
		return;
	calendar = blob_calendar(r->blob, row->limit);
	calendar_find(&calendar, r->wall, &window);
	row->period_ns = (uint64_t)(window.end - window.start);
	row->ends_in_ns = (uint64_t)(window.end - r->wall);
	use(row, window_used(hot, window.index));
}

static void read_rolling(const struct reading *r, struct status_row *row)
{
	row->size = rolling_amount(shm_load_relaxed(&r->seg->hot[row->bucket].numbers));
	row->readable = rolling_plausible(r->seg, row->bucket, r->now);
	row->period_ns = row->limit ? row->limit->numbers.period_ns : 0;
	if (row->readable)
		use(row, rolling_used(r->seg, row->bucket, r->now));
}

static void read_slots(const struct reading *r, struct status_row *row)
{
	const uint64_t numbers = shm_load_relaxed(&r->seg->hot[row->bucket].numbers);
	uint32_t n_words = 0;
	uint64_t held = 0;

	row->readable = extent_words(r->seg, row->bucket, &n_words) != NULL;
	row->size = slots_count(numbers);
	row->hold_ns = slots_hold(numbers) / TICKS_PER_NS;
	row->n_words = n_words;
	for (uint32_t i = 0; i < n_words; i++)
		held += slots_word(r->seg, row->bucket, i) != 0;
	use(row, held);
}

static void read_kind(const struct reading *r, struct status_row *row)
{
	static void (*const readers[])(const struct reading *r, struct status_row *row) = {
		[KIND_BUCKET] = read_bucket,
		[KIND_WINDOW] = read_window,
		[KIND_ROLLING] = read_rolling,
		[KIND_SLOTS] = read_slots,
	};

	if (row->kind < sizeof(readers) / sizeof(readers[0]) && readers[row->kind])
		readers[row->kind](r, row);
}

/* --- rows --- */

static void read_names(const struct reading *r, struct status_row *row)
{
	const struct seg_cold *cold = &r->seg->cold[row->bucket];

	for (int f = 0; f < STATUS_NAMES; f++) {
		char name[RATION_KEY_MAX + 66];

		names_copy(r->seg, shm_half_load(&cold->names[f]), name, sizeof(name));
		words_printable(name);
		row->name[f] = cli_need(strdup(name));
	}
	row->scope = COLD_SCOPE(shm_half_load(&cold->scope));
	row->limit = table_get(&r->limits, row->name[NAME_LIMIT], strlen(row->name[NAME_LIMIT]));
}

static void free_names(struct status_row *row)
{
	for (int f = 0; f < STATUS_NAMES; f++)
		free(row->name[f]);
}

/* False: the record is no bucket in use, or another than it was a moment ago. */
static bool read_row(struct reading *r, uint32_t bucket, struct status_row *row)
{
	const struct seg_hot *hot = &r->seg->hot[bucket];

	if (shm_load(&r->seg->cold[bucket].owner) != COLD_LINKED ||
	    shm_load(&hot->state[0]) == RECORD_DEAD)
		return false;
	*row = (struct status_row){
		.bucket = bucket,
		.generation = shm_half_load(&hot->generation),
		.kind = KIND_OF(shm_half_load(&hot->kind)),
	};
	r->records++;
	if (row->kind == KIND_VIEW || row->kind == KIND_GATE)
		return false;
	read_names(r, row);
	read_kind(r, row);
	if (shm_half_load(&hot->generation) == row->generation)
		return true;
	free_names(row);
	return false;
}

static int by_names(const void *a, const void *b)
{
	const struct status_row *x = a, *y = b;
	int order = 0;

	for (int f = 0; f < STATUS_NAMES && order == 0; f++)
		order = strcmp(x->name[f], y->name[f]);
	return order;
}

static struct stat_total *collect(const struct seg *seg)
{
	struct stat_total *totals = cli_alloc(NULL, seg->n_buckets, sizeof(*totals));

	for (uint32_t i = 0; i < seg->n_buckets; i++)
		totals[i] = (struct stat_total){shm_load_relaxed(&seg->cold[i].admitted),
						shm_load_relaxed(&seg->cold[i].denied)};
	stat_collect(seg, totals);
	return totals;
}

static void list_limits(struct reading *r)
{
	for (uint32_t i = 0; i < r->blob->n_limits; i++) {
		const struct blob_limit *limit = &r->blob->limits[i];
		const char *vendor = blob_text(r->blob, limit->vendor);
		char name[4 * RATION_NAME_MAX];

		snprintf(name, sizeof(name), "%s%s%s", vendor, vendor[0] ? "/" : "",
			 blob_text(r->blob, limit->name));
		*table_at(&r->limits, name, strlen(name)) = (void *)(uintptr_t)limit;
	}
}

struct status_rows status_read(struct ration *ration)
{
	struct reading r = {.ration = ration,
			    .seg = client_seg(ration),
			    .blob = client_blob(ration),
			    .now = client_now(ration)};
	struct stat_total *totals = collect(r.seg);
	struct status_rows rows = {0};
	uint32_t room = 0;

	r.wall = client_wall(ration, r.now);
	list_limits(&r);
	for (uint32_t i = 0; i < r.seg->n_buckets; i++) {
		if (rows.n == room) {
			room = room ? room * 2 : 16;
			rows.row = cli_alloc(rows.row, room, sizeof(*rows.row));
		}
		if (read_row(&r, i, &rows.row[rows.n]))
			rows.row[rows.n++].total = totals[i];
	}
	rows.records = r.records;
	free(totals);
	table_free(&r.limits);
	if (rows.n > 0)
		qsort(rows.row, rows.n, sizeof(*rows.row), by_names);
	return rows;
}

void status_free(struct status_rows *rows)
{
	for (uint32_t i = 0; i < rows->n; i++)
		free_names(&rows->row[i]);
	free(rows->row);
}
