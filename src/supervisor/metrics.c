/*
 * supervisor/metrics.c - figures of all records, as sums over the buckets of each limit
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/extent.h"
#include "shm/gate.h"
#include "shm/learn.h"
#include "shm/names.h"
#include "shm/queue.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/stat.h"
#include "shm/view.h"
#include "shm/window.h"
#include "supervisor/record.h"
#include "supervisor/supervisor.h"

/* Records that are gone over before the loop looks at anything else: a few milliseconds. */
#define SLICE 8192u

#define PPM 1000000u

static const char others[] = "(other)";

/* --- rows --- */

static uint32_t hash_text(uint32_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT32_C(16777619);
	return (hash ^ 0xff) * UINT32_C(16777619);
}

static bool row_is(const struct metric_row *row, const char *limit, const char *tenant)
{
	return strcmp(row->limit, limit) == 0 && strcmp(row->tenant, tenant) == 0;
}

/* Its index + 1, or where that is to be put. */
static uint32_t *place_of(struct metrics *m, const char *limit, const char *tenant)
{
	uint32_t at = hash_text(hash_text(UINT32_C(2166136261), limit), tenant);

	for (;; at++) {
		uint32_t *place = &m->places[at & (m->n_places - 1)];

		if (*place == 0 || row_is(&m->rows[*place - 1], limit, tenant))
			return place;
	}
}

/* The last row is kept for those that find no room; places are twice as many as rows. */
static uint32_t row_of(struct metrics *m, const char *limit, const char *tenant)
{
	uint32_t *place = place_of(m, limit, tenant);

	if (*place)
		return *place - 1;
	if (m->n_rows == m->max_rows - 1)
		return m->max_rows - 1;
	snprintf(m->rows[m->n_rows].limit, sizeof(m->rows[0].limit), "%s", limit);
	snprintf(m->rows[m->n_rows].tenant, sizeof(m->rows[0].tenant), "%s", tenant);
	*place = ++m->n_rows;
	return *place - 1;
}

/* Beyond the number that was asked for, tenants of a limit are one. */
static uint32_t tenant_row(struct supervisor *s, const char *limit, const char *tenant)
{
	struct metrics *m = &s->metrics;

	if (*place_of(m, limit, tenant) == 0) {
		if (m->n_tenants == s->options->metrics_tenants)
			return row_of(m, limit, others);
		m->n_tenants++;
	}
	return row_of(m, limit, tenant);
}

static uint32_t record_row(struct supervisor *s, uint32_t bucket)
{
	const struct seg_cold *cold = &s->seg.cold[bucket];
	char limit[sizeof(((struct metric_row *)0)->limit)];
	char tenant[sizeof(((struct metric_row *)0)->tenant)];

	names_copy(&s->seg, shm_half_load(&cold->names[NAME_LIMIT]), limit, sizeof(limit));
	if (s->options->metrics_tenants == 0 ||
	    !(COLD_SCOPE(shm_half_load(&cold->scope)) & RATION_SCOPE_TENANT))
		return row_of(&s->metrics, limit, "");
	names_copy(&s->seg, shm_half_load(&cold->names[NAME_TENANT]), tenant, sizeof(tenant));
	return tenant_row(s, limit, tenant[0] ? tenant : "-");
}

/* --- one record --- */

struct level {
	uint64_t left, size;
};

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static struct level bucket_level_of(struct supervisor *s, uint32_t bucket)
{
	struct seg_hot *hot = &s->seg.hot[bucket];
	const uint64_t now = supervisor_now(s);
	struct bucket_view view = {0};
	const enum take result = bucket_look(hot, shm_half_load(&hot->generation), 1, now, &view);
	const bool readable = result != TAKE_CORRUPT && result != TAKE_STALE;

	return (struct level){readable ? bucket_left(&view, now) : 0,
			      bucket_burst(shm_load_relaxed(&hot->numbers))};
}

static struct level window_level_of(struct supervisor *s, uint32_t bucket, uint32_t limit)
{
	const struct seg_hot *hot = &s->seg.hot[bucket];
	const uint64_t size = window_amount(shm_load_relaxed(&hot->numbers));
	struct calendar_window window;
	struct calendar calendar;

	if (limit == BLOB_NO_INDEX || s->policy.blob.limits[limit].kind != KIND_WINDOW)
		return (struct level){0, size};
	calendar = blob_calendar(&s->policy.blob, &s->policy.blob.limits[limit]);
	calendar_find(&calendar, wallclock_latest(s), &window);
	return (struct level){less(size, window_used(hot, window.index)), size};
}

static struct level rolling_level_of(struct supervisor *s, uint32_t bucket)
{
	const uint64_t size = rolling_amount(shm_load_relaxed(&s->seg.hot[bucket].numbers));
	const uint64_t now = supervisor_now(s);

	if (!rolling_plausible(&s->seg, bucket, now))
		return (struct level){0, size};
	return (struct level){less(size, rolling_used(&s->seg, bucket, now)), size};
}

static struct level slots_level_of(struct supervisor *s, uint32_t bucket)
{
	const uint64_t size = slots_count(shm_load_relaxed(&s->seg.hot[bucket].numbers));
	uint32_t n = 0;
	uint64_t held = 0;

	if (!extent_words(&s->seg, bucket, &n))
		n = 0;
	for (uint32_t i = 0; i < n; i++)
		held += slots_word(&s->seg, bucket, i) != 0;
	return (struct level){less(size, held), size};
}

static struct level level_of(struct supervisor *s, uint32_t bucket, uint32_t kind, uint32_t limit)
{
	switch (kind) {
	case KIND_BUCKET:
		return bucket_level_of(s, bucket);
	case KIND_WINDOW:
		return window_level_of(s, bucket, limit);
	case KIND_ROLLING:
		return rolling_level_of(s, bucket);
	case KIND_SLOTS:
		return slots_level_of(s, bucket);
	default:
		return (struct level){0, 0};
	}
}

static void look_at_waiters(struct supervisor *s, uint32_t bucket, struct metric_row *row)
{
	if (!queue_hinted(&s->seg.hot[bucket], 0xff))
		return;
	for (uint32_t k = 0; k < METRIC_CLASSES; k++) {
		const struct queue_length length = queue_length(&s->seg, bucket, k);

		row->waiting[k] += length.waiting;
		if (length.waiting > 0 && (row->oldest[k] == 0 || length.oldest < row->oldest[k]))
			row->oldest[k] = length.oldest;
	}
}

/* What the vendor said of a bucket. */
static void look_at_view(struct supervisor *s, uint32_t record, uint32_t limit,
			 struct metric_row *row)
{
	const struct bucket_ref view = {record, shm_half_load(&s->seg.hot[record].generation)};
	const uint64_t remaining = view_value(&s->seg, view, VIEW_REMAINING);
	const struct blob_limit *l = limit == BLOB_NO_INDEX ? NULL : &s->policy.blob.limits[limit];

	if (remaining > 0) {
		row->level[METRIC_TOLD]++;
		row->level[METRIC_REMAINING] += remaining - 1;
	}
	if (l) {
		const struct learn_pace pace =
			learn_pace_of(&l->numbers, (l->flags & LIMIT_SEEKS) != 0);
		const uint64_t share = learn_share(view_value(&s->seg, view, VIEW_LEARNED),
						   supervisor_now(s), &pace);
		const uint64_t ppm = share * PPM / LEARN_ALL;

		row->share_ppm = ppm < row->share_ppm ? ppm : row->share_ppm;
	}
}

static void look_at_gate(struct supervisor *s, uint32_t record, struct metric_row *row)
{
	const uint64_t word = shm_load(&s->seg.hot[record].state[0]);
	const bool blocked = GATE_PHASE(word) != GATE_OPEN;

	row->level[METRIC_GATES]++;
	row->level[METRIC_BLOCKED] += blocked;
	row->level[METRIC_BREAKERS] += blocked && GATE_WHY(word) == GATE_WHY_BREAKER;
	look_at_waiters(s, record, row);
}

static void add_counts(const struct supervisor *s, uint32_t record, const struct stat_total *total,
		       uint64_t count[METRIC_COUNTS])
{
	const struct seg_cold *cold = &s->seg.cold[record];
	const bool view = KIND_OF(shm_half_load(&s->seg.hot[record].kind)) == KIND_VIEW;

	count[view ? METRIC_FOREIGN : METRIC_ADMITTED] +=
		shm_load_relaxed(&cold->admitted) + total->admitted;
	count[view ? METRIC_REFUSED : METRIC_DENIED] +=
		shm_load_relaxed(&cold->denied) + total->denied;
}

static void look_at(struct supervisor *s, uint32_t record)
{
	const uint32_t kind = KIND_OF(shm_half_load(&s->seg.hot[record].kind));
	struct metric_row *row;
	struct level level;
	uint32_t limit;

	if (!bucket_linked(&s->seg, record))
		return;
	row = &s->metrics.rows[record_row(s, record)];
	limit = published_limit(&s->policy, row->limit);
	add_counts(s, record, &s->metrics.totals[record], row->live);
	if (kind == KIND_VIEW) {
		look_at_view(s, record, limit, row);
		return;
	}
	if (kind == KIND_GATE) {
		look_at_gate(s, record, row);
		return;
	}
	level = level_of(s, record, kind, limit);
	row->level[METRIC_BUCKETS]++;
	row->level[METRIC_LEFT] += level.left;
	row->level[METRIC_SIZE] += level.size;
	look_at_waiters(s, record, row);
}

/* --- all of them --- */

bool metrics_begin(struct supervisor *s)
{
	struct metrics *m = &s->metrics;

	m->totals = calloc(s->seg.n_buckets, sizeof(*m->totals));
	if (!m->totals)
		return false;
	stat_collect(&s->seg, m->totals);
	for (uint32_t i = 0; i < m->max_rows; i++) {
		struct metric_row *row = &m->rows[i];

		memset(row->live, 0, sizeof(row->live));
		memset(row->level, 0, sizeof(row->level));
		memset(row->waiting, 0, sizeof(row->waiting));
		memset(row->oldest, 0, sizeof(row->oldest));
		row->share_ppm = PPM;
	}
	m->next = 0;
	m->going = true;
	m->began = supervisor_now(s);
	return true;
}

bool metrics_step(struct supervisor *s)
{
	struct metrics *m = &s->metrics;

	for (uint32_t i = 0; i < SLICE && m->next < s->seg.n_buckets; i++)
		look_at(s, m->next++);
	if (m->next < s->seg.n_buckets)
		return false;
	m->going = false;
	free(m->totals);
	m->totals = NULL;
	return true;
}

struct metric_last metrics_last(struct supervisor *s, uint32_t record)
{
	struct metric_last last = {.record = record, .row = UINT32_MAX};

	if (!s->metrics.daemon || !bucket_linked(&s->seg, record))
		return last;
	last.row = record_row(s, record);
	last.generation = shm_half_load(&s->seg.hot[record].generation);
	add_counts(s, record, &(struct stat_total){0, 0}, last.count);
	return last;
}

void metrics_gone(struct supervisor *s, const struct metric_last *last)
{
	struct metric_row *row;
	struct stat_total left;

	if (last->row == UINT32_MAX)
		return;
	row = &s->metrics.rows[last->row];
	for (int i = 0; i < METRIC_COUNTS; i++)
		row->gone[i] += last->count[i];
	left = stat_left(&s->seg, last->record, last->generation);
	row->gone[METRIC_ADMITTED] += left.admitted;
	row->gone[METRIC_DENIED] += left.denied;
}

int metrics_make(struct supervisor *s)
{
	struct metrics *m = &s->metrics;

	m->max_rows = METRIC_LIMITS_MAX + s->options->metrics_tenants;
	for (m->n_places = 1; m->n_places < 2 * m->max_rows; m->n_places *= 2)
		;
	m->rows = calloc(m->max_rows, sizeof(*m->rows));
	m->places = calloc(m->n_places, sizeof(*m->places));
	if (!m->rows || !m->places)
		return -ENOMEM;
	strcpy(m->rows[m->max_rows - 1].limit, others);
	return 0;
}

void metrics_free(struct supervisor *s)
{
	struct metrics *m = &s->metrics;

	free(m->rows);
	free(m->places);
	free(m->totals);
	m->rows = NULL;
	m->places = NULL;
	m->totals = NULL;
}
