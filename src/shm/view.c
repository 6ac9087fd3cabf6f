/*
 * shm/view.c - what a vendor has told of one bucket
 * SPDX-License-Identifier: MIT
 */
#include "shm/view.h"

#include "shm/extent.h"
#include "shm/saturate.h"
#include "shm/take.h"

/* A keyed hash with any bits turned is as hard to meet as the hash itself. */
#define OTHER_IDENTITY UINT64_C(0x76696577206f6620)

#define SINCE_SHIFT   40
#define FULL_MASK     0xfffu
#define GRANTED_SHIFT 12

/* How far ahead of this clock another's may have been. */
#define MARK_LATE (TICKS_PER_SEC * 60)

struct hash128 view_identity(struct hash128 bucket)
{
	return (struct hash128){{bucket.word[0] ^ OTHER_IDENTITY, bucket.word[1]}};
}

static uint64_t fill(struct seg *seg, uint32_t view, uint32_t first, void *user)
{
	const uint64_t life = extent_life(view, shm_half_load(&seg->hot[view].generation));

	for (size_t i = 0; i < VIEW_VALUES; i++) {
		shm_store_relaxed(&seg->extents[first].word[2 * i + 1], 0);
		shm_store_relaxed(&seg->extents[first].word[2 * i], life);
	}
	shm_store_relaxed(&seg->hot[view].state[1], 0);
	/* A time that no earlier life had; with a level of 0 nothing is given back. */
	return *(const uint64_t *)user;
}

struct bucket_spec view_spec(struct hash128 bucket, uint64_t *now)
{
	return (struct bucket_spec){
		.identity = view_identity(bucket),
		.kind = KIND_VIEW,
		.now = *now,
		.extent_lines = VIEW_LINES,
		.fill = fill,
		.user = now,
	};
}

static bool is_alive(const struct seg *seg, struct bucket_ref view)
{
	return view.bucket < seg->n_buckets &&
	       shm_half_load(&seg->hot[view.bucket].generation) == view.generation;
}

/* --- the mark --- */

bool view_mark(const struct seg *seg, struct bucket_ref view, struct view_mark *ret_mark)
{
	const struct seg_hot *hot;

	if (view.bucket >= seg->n_buckets)
		return false;
	hot = &seg->hot[view.bucket];
	ret_mark->at = shm_load(&hot->state[0]);
	ret_mark->level = shm_load(&hot->state[1]);
	/* Times only grow: if it is still the same, both are of one mark. */
	return ret_mark->at != RECORD_DEAD && shm_load(&hot->state[0]) == ret_mark->at &&
	       is_alive(seg, view);
}

bool view_remark(struct seg *seg, struct bucket_ref view, const struct view_mark *from,
		 const struct view_mark *to)
{
	const uint64_t found[2] = {from->at, from->level}, next[2] = {to->at, to->level};

	return to->at > from->at && is_alive(seg, view) &&
	       shm_cas_pair(seg->hot[view.bucket].state, found, next);
}

/* --- values --- */

static shm_word *pair_of(const struct seg *seg, struct bucket_ref view, enum view_value which)
{
	uint32_t n_words = 0;
	shm_word *words;

	if (view.bucket >= seg->n_buckets ||
	    KIND_OF(shm_half_load(&seg->hot[view.bucket].kind)) != KIND_VIEW)
		return NULL;
	words = extent_words(seg, view.bucket, &n_words);
	return words && n_words >= 2 * VIEW_VALUES ? &words[2 * (size_t)which] : NULL;
}

uint64_t view_value(const struct seg *seg, struct bucket_ref view, enum view_value which)
{
	shm_word *pair = pair_of(seg, view, which);
	uint64_t value;

	if (!pair)
		return 0;
	value = shm_load(&pair[1]);
	return shm_load(&pair[0]) == extent_life(view.bucket, view.generation) ? value : 0;
}

bool view_change(struct seg *seg, struct bucket_ref view, enum view_value which, uint64_t from,
		 uint64_t to)
{
	const uint64_t life = extent_life(view.bucket, view.generation);
	const uint64_t found[2] = {life, from}, next[2] = {life, to};
	shm_word *pair = pair_of(seg, view, which);

	return pair && shm_cas_pair(pair, found, next);
}

/* Should others tell at the same time, one of them is last. */
void view_tell(struct seg *seg, struct bucket_ref view, enum view_value which, uint64_t value)
{
	for (int i = 0; i < CAS_ATTEMPTS && is_alive(seg, view); i++) {
		const uint64_t told = view_value(seg, view, which);

		if (told == value || view_change(seg, view, which, told, value))
			return;
	}
}

/* --- counts --- */

static struct view_count count_of(uint64_t word)
{
	return (struct view_count){
		.since = (uint32_t)(word >> SINCE_SHIFT),
		.granted = (uint32_t)(word >> GRANTED_SHIFT & VIEW_GRANTED_MAX),
		.full = (uint32_t)(word & FULL_MASK),
	};
}

static uint64_t word_of(uint32_t since, uint64_t granted, uint32_t full)
{
	return (uint64_t)since << SINCE_SHIFT | least(granted, VIEW_GRANTED_MAX) << GRANTED_SHIFT |
	       (full & FULL_MASK);
}

void view_count(struct seg *seg, struct bucket_ref view, const struct view_count *add)
{
	shm_word *word = &seg->hot[view.bucket].state[2];
	bool done = false;

	for (int i = 0; i < CAS_ATTEMPTS && !done && is_alive(seg, view); i++) {
		uint64_t found = shm_load(word);
		const struct view_count now = count_of(found);
		const uint64_t before = now.since == add->since ? now.granted : 0;

		done = shm_cas(word, &found, word_of(add->since, before + add->granted, add->full));
	}
}

struct view_count view_counts(const struct seg *seg, uint32_t view)
{
	return count_of(shm_load(&seg->hot[view].state[2]));
}

void view_count_foreign(struct seg *seg, struct bucket_ref view, uint64_t units)
{
	if (is_alive(seg, view))
		shm_add(&seg->cold[view.bucket].admitted, units);
}

void view_count_limited(struct seg *seg, struct bucket_ref view)
{
	if (is_alive(seg, view))
		shm_add(&seg->cold[view.bucket].denied, 1);
}

/* --- looking after --- */

bool view_plausible(const struct seg *seg, uint32_t view, uint64_t now)
{
	const struct seg_hot *hot = &seg->hot[view];
	const uint64_t life = extent_life(view, shm_half_load(&hot->generation));
	const uint64_t at = shm_load(&hot->state[0]);
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, view, &n_words);

	if (!words || n_words < 2 * VIEW_VALUES || (at != RECORD_DEAD && at > now + MARK_LATE))
		return false;
	for (size_t i = 0; i < VIEW_VALUES; i++) {
		if (shm_load(&words[2 * i]) != life)
			return false;
	}
	return true;
}

/* What was told is forgotten. False: nothing was wrong, or there is no extent. */
bool view_repair(struct seg *seg, uint32_t view, uint64_t now)
{
	struct seg_hot *hot = &seg->hot[view];
	const uint64_t life = extent_life(view, shm_half_load(&hot->generation));
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, view, &n_words);

	if (view_plausible(seg, view, now) || !words || n_words < 2 * VIEW_VALUES)
		return false;
	for (size_t i = 0; i < VIEW_VALUES; i++) {
		if (shm_load(&words[2 * i]) == life)
			continue;
		shm_store(&words[2 * i + 1], 0);
		shm_store(&words[2 * i], life);
	}
	if (shm_load(&hot->state[0]) > now + MARK_LATE)
		shm_store(&hot->state[0], now);
	return true;
}

bool view_close(struct seg *seg, uint32_t view, uint64_t before)
{
	struct seg_hot *hot = &seg->hot[view];
	const uint64_t found[2] = {shm_load(&hot->state[0]), shm_load(&hot->state[1])};
	const uint64_t dead[2] = {RECORD_DEAD, found[1]};

	return found[0] <= before && shm_cas_pair(hot->state, found, dead);
}
