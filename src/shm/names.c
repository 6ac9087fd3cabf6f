/*
 * shm/names.c - names for people, each stored once, for as long as records use them
 * SPDX-License-Identifier: MIT
 */
#include "shm/names.h"

#include <string.h>

#include "shm/extent.h"
#include "shm/hash.h"
#include "shm/list.h"
#include "shm/take.h"

#define TEXT_AT    (offsetof(struct seg_name_line, text) / sizeof(shm_word))
#define TEXT_WORDS (NAME_BYTES_MAX / 8)
#define MARKS      (EXTENT_NAME - 1)

/* How often names are made again that were freed while their record was filled in. */
#define GIVE_ATTEMPTS 3

/* One to be stored, or as it was copied out. */
struct name {
	uint32_t size;
	uint64_t hash;
	uint64_t text[TEXT_WORDS]; /* zero beyond its end */
};

/* --- one name in its lines --- */

static struct seg_name_line *name_at(const struct seg *seg, uint32_t line)
{
	return (struct seg_name_line *)(void *)&seg->extents[line];
}

static shm_word *text_of(const struct seg *seg, uint32_t line)
{
	return &seg->extents[line].word[TEXT_AT];
}

static uint32_t words_in(uint32_t size)
{
	return (size + 7) / 8;
}

static uint32_t lines_in(uint32_t size)
{
	return ((uint32_t)TEXT_AT + words_in(size) + EXTENT_LINE_WORDS - 1) / EXTENT_LINE_WORDS;
}

/* Its bytes, or 0: no name can begin at this line. */
static uint32_t size_at(const struct seg *seg, uint32_t line)
{
	uint32_t size;

	if (line >= seg->n_extents)
		return 0;
	size = shm_half_load(&name_at(seg, line)->size);
	return size <= NAME_BYTES_MAX && lines_in(size) <= seg->n_extents - line ? size : 0;
}

static uint64_t hash_of(const struct seg *seg, const struct name *name)
{
	const uint64_t key[2] = {seg->epoch_ns, 0};

	return hash_keyed(key, name->text, name->size).word[0];
}

static struct name name_of(const struct seg *seg, const char *text)
{
	const size_t size = strlen(text);
	struct name name = {.size = size < NAME_BYTES_MAX ? (uint32_t)size : NAME_BYTES_MAX};

	memcpy(name.text, text, name.size);
	name.hash = hash_of(seg, &name);
	return name;
}

/* Whatever stands there now: it may be changing. Acquire, for those who compare the record's generation afterwards. */
static bool name_read(const struct seg *seg, uint32_t line, struct name *ret_name)
{
	struct name name = {.size = size_at(seg, line)};

	if (name.size == 0)
		return false;
	name.hash = shm_load(&name_at(seg, line)->hash);
	for (uint32_t i = 0; i < words_in(name.size); i++)
		name.text[i] = shm_load(&text_of(seg, line)[i]) ^ name.hash;
	if (hash_of(seg, &name) != name.hash)
		return false;
	*ret_name = name;
	return true;
}

static bool name_is(const struct seg *seg, uint32_t line, const struct name *name)
{
	if (size_at(seg, line) != name->size ||
	    shm_load_relaxed(&name_at(seg, line)->hash) != name->hash)
		return false;
	for (uint32_t i = 0; i < words_in(name->size); i++) {
		if ((shm_load_relaxed(&text_of(seg, line)[i]) ^ name->hash) != name->text[i])
			return false;
	}
	return true;
}

/* --- marks --- */

static uint32_t mark_in(uint32_t round)
{
	return round % MARKS + 1;
}

static uint32_t mark_of(uint32_t owner)
{
	return owner & MARKS;
}

static bool is_kept(uint32_t owner)
{
	return (owner & EXTENT_NAME) != 0 && mark_of(owner) != 0;
}

enum marked {
	MARKED,
	MARK_GONE, /* no name's line, or it is about to be freed */
	MARK_BUSY, /* others marked it each time */
};

/* Pairs with itself, and with where the lines became a name's: the text is there. */
static enum marked mark_line(struct seg *seg, uint32_t line, uint32_t mark)
{
	uint32_t owner = shm_half_load(&seg->extent_owners[line]);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		if (!is_kept(owner))
			return MARK_GONE;
		if (mark_of(owner) >= mark ||
		    shm_half_cas(&seg->extent_owners[line], &owner, EXTENT_NAME | mark))
			return MARKED;
	}
	return MARK_BUSY;
}

/* The first line last: no other's mark is older than its. */
static enum marked mark_name(struct seg *seg, uint32_t line, uint32_t mark)
{
	const uint32_t size = size_at(seg, line);
	enum marked result = size > 0 ? MARKED : MARK_GONE;

	for (uint32_t i = lines_in(size); i > 0 && result == MARKED; i--)
		result = mark_line(seg, line + i - 1, mark);
	return result;
}

/* --- making --- */

static shm_word *head_of(const struct seg *seg, uint64_t hash)
{
	return &seg->name_heads[hash & (seg->n_name_heads - 1)];
}

/* A name that is kept, or 0, and how many there are before that. It may be led astray, which shows later. */
static uint32_t find(struct seg *seg, uint64_t first, const struct name *name, uint32_t mark,
		     uint32_t *ret_length)
{
	uint32_t next = list_first(first), length = 0;

	for (; next != 0 && next - 1 < seg->n_extents && length < SEG_CHAIN_MAX; length++) {
		if (name_is(seg, next - 1, name) && mark_name(seg, next - 1, mark) == MARKED)
			return next;
		next = shm_half_load(&name_at(seg, next - 1)->next);
	}
	*ret_length = length;
	return 0;
}

/*
 * Lines for the record to make a name of. Where so many were not to be had, no more are looked for until any became
 * free: control->name_full is [lines_freed + 1 | lines 8].
 */
static bool claim_lines(struct seg *seg, uint32_t bucket, uint32_t lines, uint32_t *ret_line)
{
	struct seg_control *control = seg->control;
	/* Before the search: what became free during it is looked for. */
	const uint64_t freed = (shm_load(&control->lines_freed) + 1) << 8;
	const uint64_t full = shm_load_relaxed(&control->name_full);

	if ((full & ~UINT64_C(0xff)) != freed || lines < (full & 0xff)) {
		if (extent_claim_below(seg, bucket, lines, extent_names_end(seg), ret_line))
			return true;
		shm_store_relaxed(&control->name_full, freed | lines);
	}
	shm_add(&control->unnamed, 1);
	return false;
}

static void fill(struct seg *seg, uint32_t line, const struct name *name, uint64_t first)
{
	struct seg_name_line *header = name_at(seg, line);

	shm_half_store(&header->next, list_first(first));
	shm_half_store(&header->size, name->size);
	shm_store_relaxed(&header->hash, name->hash);
	for (uint32_t i = 0; i < words_in(name->size); i++)
		shm_store_relaxed(&text_of(seg, line)[i], name->text[i] ^ name->hash);
}

/* The first line first: once any can be freed, freeing that moves the tag. False: they were not the record's. */
static bool hand_over(struct seg *seg, uint32_t bucket, uint32_t line, uint32_t lines,
		      uint32_t mark)
{
	for (uint32_t i = 0; i < lines; i++) {
		uint32_t owner = bucket + 1;

		if (!shm_half_cas(&seg->extent_owners[line + i], &owner, EXTENT_NAME | mark))
			return false;
	}
	return true;
}

/*
 * Its reference, or NAME_UNKNOWN: no room. A chain that is as long as one may be does without it, so it is stored each
 * time.
 */
static uint32_t intern(struct seg *seg, uint32_t bucket, const struct name *name)
{
	const uint32_t mark = mark_in(shm_half_load(&seg->control->name_round));
	shm_word *head = head_of(seg, name->hash);
	uint64_t first = shm_load(head);
	uint32_t line, length, ref = find(seg, first, name, mark, &length);

	if (ref != 0)
		return ref;
	if (!claim_lines(seg, bucket, lines_in(name->size), &line))
		return NAME_UNKNOWN;
	fill(seg, line, name, first);
	if (!hand_over(seg, bucket, line, lines_in(name->size), mark))
		return NAME_UNKNOWN;
	/* One attempt. It fails, too, if the search was led astray. */
	if (length + 1 < SEG_CHAIN_MAX)
		(void)shm_cas(head, &first, list_with(first, line + 1));
	return line + 1;
}

/* References stand in the record. Returns those that do not lead to their names, one bit each. */
static uint32_t keep(struct seg *seg, const struct seg_cold *cold, const struct name names[6],
		     uint32_t wanted)
{
	/* Pairs with names_begin_round(): later rounds see the references. */
	const uint32_t mark = mark_in(shm_half_add(&seg->control->name_round, 0));
	uint32_t lost = 0;

	for (uint32_t i = 0; i < 6; i++) {
		uint32_t ref;

		if ((wanted >> i & 1) == 0)
			continue;
		ref = shm_half_load(&cold->names[i]);
		if (ref != NAME_UNKNOWN &&
		    (mark_name(seg, ref - 1, mark) != MARKED || !name_is(seg, ref - 1, &names[i])))
			lost |= 1u << i;
	}
	return lost;
}

void names_give(struct seg *seg, uint32_t bucket, const char *const texts[6])
{
	struct seg_cold *cold = &seg->cold[bucket];
	struct name names[6];
	uint32_t lost = 0;

	for (uint32_t i = 0; i < 6; i++) {
		names[i] = name_of(seg, texts[i] ? texts[i] : "");
		shm_half_store(&cold->names[i], 0);
		lost |= (uint32_t)(names[i].size > 0) << i;
	}
	for (int attempt = 0; lost != 0 && attempt < GIVE_ATTEMPTS; attempt++) {
		for (uint32_t i = 0; i < 6; i++) {
			if (lost >> i & 1)
				shm_half_store(&cold->names[i], intern(seg, bucket, &names[i]));
		}
		lost = keep(seg, cold, names, lost);
	}
	for (uint32_t i = 0; i < 6; i++) {
		if (lost >> i & 1)
			shm_half_store(&cold->names[i], NAME_UNKNOWN);
	}
}

/* --- reading --- */

void names_copy(const struct seg *seg, uint32_t ref, char *buf, size_t size)
{
	struct name name = {.text = {'?'}, .size = ref != 0};
	uint32_t length;

	if (size == 0)
		return;
	if (ref != 0)
		(void)name_read(seg, ref - 1, &name);
	length = name.size < size ? name.size : (uint32_t)(size - 1);
	memcpy(buf, name.text, length);
	buf[length] = '\0';
}

/* --- rounds --- */

uint32_t names_begin_round(struct seg *seg)
{
	return mark_in(shm_half_add(&seg->control->name_round, 1) + 1);
}

void names_mend_round(struct seg *seg, uint32_t mark)
{
	if (mark_in(shm_half_load(&seg->control->name_round)) != mark)
		shm_half_store(&seg->control->name_round, mark - 1);
}

bool names_mark(struct seg *seg, uint32_t bucket, uint32_t mark)
{
	const struct seg_cold *cold = &seg->cold[bucket];

	if (shm_load(&cold->owner) == COLD_FREE)
		return true;
	for (int i = 0; i < 6; i++) {
		const uint32_t ref = shm_half_load(&cold->names[i]);

		if (ref != 0 && mark_name(seg, ref - 1, mark) == MARK_BUSY)
			return false;
	}
	return true;
}

/*
 * A line that begins no name is in no chain, whatever stands in it: some chain's tag moves. A chain that a stray write
 * has led elsewhere is given up; its names stay with the records that have them.
 */
static bool take_out(struct seg *seg, uint32_t line)
{
	uint64_t first;
	const struct list chain = {
		.head = head_of(seg, shm_load_relaxed(&name_at(seg, line)->hash)),
		.next = &name_at(seg, 0)->next,
		.count = seg->n_extents,
	};

	if (list_remove(&chain, line))
		return true;
	first = shm_load(chain.head);
	(void)shm_cas(chain.head, &first, list_with(first, 0) + LIST_TAG);
	return false;
}

bool names_sweep(struct seg *seg, uint32_t line, uint32_t mark)
{
	shm_half *word = &seg->extent_owners[line];
	uint32_t owner = shm_half_load(word);

	if ((owner & EXTENT_NAME) == 0 || mark_of(owner) == mark || mark_of(owner) + 1 == mark)
		return owner != 0;
	if (mark_of(owner) > mark) {
		(void)shm_half_cas(word, &owner, EXTENT_NAME | mark);
		return true;
	}
	/* From that very mark: it fails if anybody has found a use for it. Killed after it, mark 0 is old, too. */
	if (!shm_half_cas(word, &owner, EXTENT_NAME) || !take_out(seg, line))
		return true;
	shm_half_store(word, 0); /* pairs with the claim in extent.c */
	shm_add(&seg->control->lines_freed, 1);
	return false;
}

/* --- checks --- */

bool names_valid(const struct seg *seg, uint32_t ref)
{
	struct name name;

	if (ref == 0 || ref == NAME_UNKNOWN)
		return true;
	if (!name_read(seg, ref - 1, &name))
		return false;
	for (uint32_t i = 0; i < lines_in(name.size); i++) {
		if (!is_kept(shm_half_load(&seg->extent_owners[ref - 1 + i])))
			return false;
	}
	return true;
}

bool names_chain_valid(const struct seg *seg, uint32_t head)
{
	uint32_t next = list_first(shm_load(&seg->name_heads[head]));
	uint32_t length = 0;

	for (; next != 0 && length < SEG_CHAIN_MAX; length++) {
		if (next - 1 >= seg->n_extents ||
		    (shm_half_load(&seg->extent_owners[next - 1]) & EXTENT_NAME) == 0 ||
		    head_of(seg, shm_load(&name_at(seg, next - 1)->hash)) != &seg->name_heads[head])
			return false;
		next = shm_half_load(&name_at(seg, next - 1)->next);
	}
	return next == 0;
}
