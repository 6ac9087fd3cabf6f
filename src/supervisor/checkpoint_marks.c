/*
 * supervisor/checkpoint_marks.c - what of each bucket the checkpoint on disk covers
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/checkpoint_marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/cells.h"
#include "shm/gate.h"
#include "shm/learn.h"
#include "shm/rolling.h"
#include "shm/view.h"
#include "shm/window.h"
#include "supervisor/record.h"

/* In `of`: nothing of that life is saved. */
#define NOT_COUNTED UINT32_MAX

/* What is left is used up at least to so much of it. */
#define LEFT_PART 50

/* --- the words of each kind --- */

static const struct seg_hot *hot_of(const struct marks_at *at, const struct mark *m)
{
	return &at->seg->hot[m->bucket];
}

static struct bucket_ref ref_of(const struct mark *m)
{
	return (struct bucket_ref){m->bucket, m->generation};
}

/* What changes when there is something new to save. False: another life. */
static bool read_words(const struct marks_at *at, const struct mark *m, uint64_t word[2])
{
	const struct seg_hot *hot = hot_of(at, m);

	word[0] = shm_load(&hot->state[0]);
	word[1] = m->kind == KIND_WINDOW ? shm_load(&hot->state[1]) : 0;
	if (word[0] == RECORD_DEAD || shm_half_load(&hot->generation) != m->generation)
		return false;
	if (m->kind == KIND_VIEW) {
		word[0] = view_value(at->seg, ref_of(m), VIEW_LIMIT);
		word[1] = view_value(at->seg, ref_of(m), VIEW_LEARNED);
	}
	return true;
}

/* --- how much was charged since a word was there --- */

static uint64_t charged_window(uint64_t numbers, const uint64_t from[2], const uint64_t to[2])
{
	uint64_t charged = 0;

	for (unsigned s = 0; s < 2; s++) {
		uint64_t index, used, index_before, before;

		if (!window_word(numbers, to[s], &index, &used) ||
		    !window_word(numbers, from[s], &index_before, &before))
			return 0;
		charged = most(charged, minus(used, index_before == index ? before : 0));
	}
	return charged;
}

/* Whatever was charged since went to the cell that was open then, or to a later one. */
static uint64_t charged_rolling(const struct marks_at *at, const struct mark *m, uint64_t from)
{
	struct cells then, now;

	if (cells_read(at->seg, m->bucket, m->generation, &now) != TAKE_ADMIT)
		return 0;
	if (from == 0 || !cells_look_again(at->seg, m->bucket, m->generation, from, &then) ||
	    then.at.index + ROLLING_CELLS < now.at.index)
		return rolling_used(at->seg, m->bucket, at->now);
	return minus(cells_used_since(&now, then.at.index), then.at.used);
}

/* from: all 0: since it was unused. */
static uint64_t charged(const struct marks_at *at, const struct mark *m, const uint64_t from[2],
			const uint64_t to[2])
{
	switch (m->kind) {
	case KIND_BUCKET:
		return minus(most(to[0], at->now), most(from[0], at->now));
	case KIND_WINDOW:
		return charged_window(shm_load_relaxed(&hot_of(at, m)->numbers), from, to);
	case KIND_ROLLING:
		return charged_rolling(at, m, from[0]);
	default:
		return 0;
	}
}

/* --- how much is to be ahead --- */

struct level {
	uint64_t amount, used, unit;
};

static uint64_t window_now(const struct marks_at *at, const struct mark *m)
{
	const struct blob *blob = &at->policy->blob;
	const struct calendar calendar = blob_calendar(blob, &blob->limits[m->limit]);
	struct calendar_window window;

	calendar_find(&calendar, at->wall, &window);
	return window.index;
}

static uint64_t used_of_window(const struct marks_at *at, const struct mark *m, uint64_t numbers,
			       const uint64_t word[2])
{
	const uint64_t present = window_now(at, m);
	uint64_t used = 0;

	for (unsigned s = 0; s < 2; s++) {
		uint64_t index, units;

		if (window_word(numbers, word[s], &index, &units) && index >= present)
			used = most(used, units);
	}
	return used;
}

static struct level level_of(const struct marks_at *at, const struct mark *m,
			     const uint64_t word[2])
{
	const uint64_t numbers = shm_load_relaxed(&hot_of(at, m)->numbers);

	switch (m->kind) {
	case KIND_BUCKET:
		return (struct level){bucket_tolerance(numbers), minus(word[0], at->now),
				      bucket_cost(numbers, 1)};
	case KIND_WINDOW:
		return (struct level){window_amount(numbers), used_of_window(at, m, numbers, word),
				      1};
	case KIND_ROLLING:
		return (struct level){rolling_amount(numbers),
				      rolling_used(at->seg, m->bucket, at->now), 1};
	default:
		return (struct level){0, 0, 0};
	}
}

static uint64_t ahead_of(const struct level *level, uint64_t comes)
{
	const uint64_t left = minus(level->amount, level->used);
	const uint64_t part = least(checkpoint_part(level->amount), left / LEFT_PART);

	return most(most(level->unit, part), comes);
}

/* What the file on disk covers: in a new window the part that every restore leaves out. */
static uint64_t covered(const struct marks_at *at, const struct mark *m, const uint64_t word[2])
{
	const uint64_t numbers = shm_load_relaxed(&hot_of(at, m)->numbers);
	uint64_t index = 0, before = 0, used, latest = 0, latest_before = 0;

	if (!m->is_on_disk || m->kind != KIND_WINDOW)
		return m->on_disk.ahead;
	for (unsigned s = 0; s < 2; s++) {
		if (window_word(numbers, word[s], &index, &used) &&
		    window_word(numbers, m->on_disk.word[s], &before, &used)) {
			latest = most(latest, index);
			latest_before = most(latest_before, before);
		}
	}
	return latest == latest_before
		       ? m->on_disk.ahead
		       : most(m->on_disk.ahead, checkpoint_part(window_amount(numbers)));
}

/* --- looking --- */

static void drop(struct marks *marks, uint32_t i)
{
	struct mark *m = &marks->mark[i];

	free(m->key);
	marks->of[m->bucket] = 0;
	*m = marks->mark[--marks->n];
	if (i < marks->n)
		marks->of[m->bucket] = i + 1;
}

static void forget_all(struct marks *marks, uint64_t policy)
{
	while (marks->n > 0)
		drop(marks, marks->n - 1);
	memset(marks->of, 0, marks->n_buckets * sizeof(*marks->of));
	marks->policy = policy;
}

/*
 * Use that came in all of the last looks is expected in the next ones too; what comes at once and ends is not. True: nothing
 * is expected any more.
 */
static bool expect(struct mark *m, uint64_t grown)
{
	const uint64_t before = m->steady;

	m->steady = most(least(grown, m->last), minus(before, before / (grown > 0 ? 8 : 2) + 1));
	m->last = grown;
	return before > 0 && m->steady == 0;
}

static bool far_from(uint64_t ahead, uint64_t wanted, uint64_t unit)
{
	return ahead > sum(sum(wanted, wanted), unit) || wanted > sum(sum(ahead, ahead), unit);
}

/* False: it is another life's record now. */
static bool look(struct marks *marks, const struct marks_at *at, struct mark *m, bool thorough)
{
	uint64_t word[2], grown;
	bool same;

	if (!read_words(at, m, word))
		return false;
	same = word[0] == m->seen[0] && word[1] == m->seen[1];
	grown = same ? 0 : charged(at, m, m->seen, word);
	thorough |= expect(m, grown);
	m->seen[0] = word[0];
	m->seen[1] = word[1];
	marks->moved |= !same;
	if (grown > 0 && charged(at, m, m->on_disk.word, word) > covered(at, m, word) / 2)
		marks->due = true;
	if (thorough && m->is_on_disk) {
		const struct level level = level_of(at, m, word);

		marks->moved |= far_from(m->on_disk.ahead, ahead_of(&level, m->steady), level.unit);
	}
	return true;
}

/* --- meeting --- */

static char *pack_key(const struct record *record)
{
	size_t size[KEY_FIELDS], total = 0;
	char *key, *to;

	for (int i = 0; i < KEY_FIELDS; i++) {
		size[i] = record->scope & 1u << i ? strlen(record->field[i]) + 1 : 1;
		total += size[i];
	}
	key = to = calloc(1, total);
	for (int i = 0; key && i < KEY_FIELDS; i++) {
		memcpy(to, record->field[i], size[i] - 1);
		to += size[i];
	}
	return key;
}

static bool has_identity(const struct seg *seg, uint32_t bucket, struct hash128 identity)
{
	const struct seg_hot *hot = &seg->hot[bucket];

	return shm_load(&hot->identity[0]) == identity.word[0] &&
	       shm_load(&hot->identity[1]) == identity.word[1];
}

/* Names are anybody's to scribble over: they are believed if they give the identity. */
static bool is_counted(const struct marks_at *at, const struct record *r, struct mark *m)
{
	const struct blob *blob = &at->policy->blob;
	const struct limit_name *name;

	if (r->kind == KIND_GATE)
		return has_identity(at->seg, r->bucket,
				    client_gate_identity(blob, r->scope, r->field));
	name = published_name(at->policy, r->limit);
	if (!name || name->limit == BLOB_NO_INDEX)
		return false;
	m->limit = name->limit;
	m->name = (uint32_t)(name - at->policy->names);
	if (r->kind == KIND_VIEW)
		return blob->limits[m->limit].scope == r->scope &&
		       has_identity(at->seg, r->bucket,
				    view_identity(client_identity(blob, m->limit, r->field)));
	return (r->kind == KIND_BUCKET || r->kind == KIND_WINDOW || r->kind == KIND_ROLLING) &&
	       name->horizon >= CHECKPOINT_HORIZON && record_is(at->seg, r, blob, m->limit);
}

static bool keep(struct marks *marks, const struct mark *m)
{
	if (marks->n == marks->room) {
		const uint32_t room = marks->room ? 2 * marks->room : 64;
		struct mark *grown = reallocarray(marks->mark, room, sizeof(*grown));

		if (!grown)
			return false;
		marks->mark = grown;
		marks->room = room;
	}
	marks->mark[marks->n++] = *m;
	marks->of[m->bucket] = marks->n;
	return true;
}

/* What was there before says nothing of how fast it is used. */
static void begin_mark(struct marks *marks, const struct marks_at *at, uint32_t i)
{
	struct mark *m = &marks->mark[i];

	if (!read_words(at, m, m->seen))
		drop(marks, i);
	else if (charged(at, m, m->on_disk.word, m->seen) > 0)
		marks->due = true;
}

/* No memory: it is tried again at the next look. */
static void meet(struct marks *marks, const struct marks_at *at, uint32_t bucket)
{
	const uint32_t generation = shm_half_load(&at->seg->hot[bucket].generation);
	struct mark m = {.bucket = bucket,
			 .generation = generation,
			 .limit = BLOB_NO_INDEX,
			 .name = BLOB_NO_INDEX};
	struct record record;

	if (!bucket_linked(at->seg, bucket))
		return;
	record_read(at->seg, bucket, &record);
	m.kind = record.kind;
	m.scope = record.scope;
	marks->generation[bucket] = generation;
	if (!is_counted(at, &record, &m)) {
		marks->of[bucket] = NOT_COUNTED;
		return;
	}
	m.key = pack_key(&record);
	if (!m.key)
		return;
	if (!keep(marks, &m)) {
		free(m.key);
		return;
	}
	marks->moved = true;
	begin_mark(marks, at, marks->n - 1);
}

static void meet_if_new(struct marks *marks, const struct marks_at *at, uint32_t bucket)
{
	const struct seg_hot *hot = &at->seg->hot[bucket];

	if (KIND_OF(shm_half_load(&hot->kind)) == KIND_NONE || reclaim_is_dead(hot))
		return;
	if (marks->of[bucket] == 0 ||
	    (marks->of[bucket] == NOT_COUNTED &&
	     marks->generation[bucket] != shm_half_load(&hot->generation)))
		meet(marks, at, bucket);
}

void marks_look(struct marks *marks, const struct marks_at *at, uint32_t records, bool thorough)
{
	const uint64_t policy = at->policy->blob.header->generation;

	if (marks->policy != policy)
		forget_all(marks, policy);
	for (uint32_t i = marks->n; i-- > 0;) {
		if (!look(marks, at, &marks->mark[i], thorough))
			drop(marks, i);
	}
	for (uint32_t i = 0; i < records && i < marks->n_buckets; i++) {
		const uint32_t bucket = marks->next;

		marks->next = (bucket + 1) % marks->n_buckets;
		meet_if_new(marks, at, bucket);
	}
}

/* --- saving --- */

static uint64_t ns_up(uint64_t ticks)
{
	return ticks / TICKS_PER_NS + (ticks % TICKS_PER_NS != 0);
}

static void save_window(struct checkpoint_draft *draft, uint64_t numbers, const uint64_t word[2],
			uint64_t present)
{
	uint32_t n = 0;

	for (unsigned s = 0; s < 2; s++) {
		uint64_t index, used;

		if (!window_word(numbers, word[s], &index, &used) || used == 0)
			continue;
		checkpoint_add_cell(draft, index, used);
		n++;
	}
	if (n == 0)
		checkpoint_add_cell(draft, present, 0);
}

/* The oldest first; each as if all of it had been charged at its end. */
static void save_rolling(struct checkpoint_draft *draft, const struct marks_at *at,
			 const struct mark *m)
{
	struct cells cells;
	uint64_t present, used;

	if (cells_read(at->seg, m->bucket, m->generation, &cells) != TAKE_ADMIT)
		return;
	present = cells_index(at->now, cells.cell_ticks);
	for (uint64_t i = present - ROLLING_CELLS; i <= cells.at.index; i++) {
		used = cells_used(&cells, i);
		if (used > 0)
			checkpoint_add_cell(
				draft,
				minus(at->now, cells_begin(i + 1, cells.cell_ticks) - 1) /
					TICKS_PER_NS,
				used);
	}
}

/* Open again: nothing to remember. */
static void save_gate(struct checkpoint_draft *draft, const struct marks_at *at, uint64_t word)
{
	const uint64_t until = GATE_PHASE(word) == GATE_OPEN ? 0 : GATE_WHEN(word);

	checkpoint_add_cell(draft, (uint64_t)at->wall + minus(until, at->now) / TICKS_PER_NS,
			    GATE_WHY(word));
}

/* How old what was learned is stands in `ahead`: its stamps are by a clock that ends with the boot. */
static void save_view(struct checkpoint_draft *draft, const struct marks_at *at,
		      const uint64_t word[2], struct checkpoint_entry *e)
{
	if (word[1] != 0)
		e->ahead = learn_since(word[1], at->now) / TICKS_PER_NS;
	checkpoint_add_cell(draft, VIEW_LIMIT, word[0]);
	checkpoint_add_cell(draft, VIEW_LEARNED, word[1]);
}

static void save_cells(struct checkpoint_draft *draft, const struct marks_at *at,
		       const struct mark *m, const uint64_t word[2], struct checkpoint_entry *e)
{
	const uint64_t numbers = shm_load_relaxed(&hot_of(at, m)->numbers);

	switch (m->kind) {
	case KIND_BUCKET:
		e->burst = bucket_burst(numbers);
		e->full_ns = bucket_tolerance(numbers) / TICKS_PER_NS;
		checkpoint_add_cell(draft, 0, ns_up(minus(word[0], at->now)));
		break;
	case KIND_WINDOW:
		save_window(draft, numbers, word, window_now(at, m));
		break;
	case KIND_ROLLING:
		save_rolling(draft, at, m);
		break;
	case KIND_GATE:
		save_gate(draft, at, word[0]);
		break;
	case KIND_VIEW:
		save_view(draft, at, word, e);
		break;
	default:
		break;
	}
}

static bool is_worth_saving(const struct mark *m, const struct marks_at *at, const uint64_t word[2])
{
	if (m->kind == KIND_GATE)
		return GATE_PHASE(word[0]) != GATE_OPEN && GATE_WHEN(word[0]) > at->now;
	return m->kind != KIND_VIEW || word[0] != 0 || word[1] != 0;
}

static void save_key(struct checkpoint_draft *draft, const struct mark *m,
		     struct checkpoint_entry *e)
{
	const char *text = m->key;

	for (int i = 0; i < KEY_FIELDS; i++) {
		e->field[i] = checkpoint_add_text(draft, text);
		text += strlen(text) + 1;
	}
}

/* Three times, so that the file before the last still covers what the next one says. */
static uint64_t far_of(uint64_t ahead)
{
	return sum(ahead, sum(ahead, ahead));
}

static void save_one(struct marks *marks, const struct marks_at *at, struct mark *m,
		     struct checkpoint_draft *draft, uint64_t haste)
{
	struct mark_state *state = &m->being_written;
	struct checkpoint_entry *e;
	struct level level;

	m->is_being_written = false;
	/* The words first: what is counted later than them is saved as well, and ahead of use once more. */
	if (!read_words(at, m, state->word) || !is_worth_saving(m, at, state->word))
		return;
	e = checkpoint_add_entry(draft);
	if (!e)
		return;
	level = level_of(at, m, state->word);
	state->ahead = haste > 0 ? ahead_of(&level, ratio(m->steady, 2 * haste, 1, false)) : 0;
	state->far = far_of(state->ahead);
	e->kind = m->kind;
	e->limit = m->name;
	e->scope = m->scope;
	e->ahead = m->kind == KIND_BUCKET ? ns_up(state->ahead) : state->ahead;
	e->far = m->kind == KIND_BUCKET ? ns_up(state->far) : state->far;
	save_key(draft, m, e);
	save_cells(draft, at, m, state->word, e);
	m->is_being_written = true;
	if (level.amount > 0 &&
	    sum(charged(at, m, m->on_disk.word, state->word), state->ahead) > m->on_disk.far)
		marks->once_more = true;
}

void marks_save(struct marks *marks, const struct marks_at *at, struct checkpoint_draft *draft,
		uint64_t haste)
{
	marks->moved = marks->due = marks->once_more = false;
	for (uint32_t i = 0; i < marks->n; i++)
		save_one(marks, at, &marks->mark[i], draft, haste);
}

void marks_saved(struct marks *marks)
{
	for (uint32_t i = 0; i < marks->n; i++) {
		struct mark *m = &marks->mark[i];

		m->is_on_disk = m->is_being_written;
		m->on_disk = m->is_being_written ? m->being_written : (struct mark_state){0};
		m->is_being_written = false;
	}
	marks->moved |= marks->once_more;
	marks->due |= marks->once_more;
}

void marks_lost(struct marks *marks)
{
	for (uint32_t i = 0; i < marks->n; i++)
		marks->mark[i].is_being_written = false;
	marks->moved = marks->due = true;
}

/* --- */

int marks_make(struct marks *marks, uint32_t n_buckets)
{
	*marks = (struct marks){
		.n_buckets = n_buckets,
		.of = calloc(n_buckets, sizeof(*marks->of)),
		.generation = calloc(n_buckets, sizeof(*marks->generation)),
	};
	if (marks->of && marks->generation)
		return 0;
	marks_free(marks);
	return -ENOMEM;
}

void marks_free(struct marks *marks)
{
	for (uint32_t i = 0; i < marks->n; i++)
		free(marks->mark[i].key);
	free(marks->mark);
	free(marks->of);
	free(marks->generation);
	*marks = (struct marks){0};
}
