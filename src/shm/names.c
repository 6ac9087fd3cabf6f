/*
 * shm/names.c - names for people, each stored once
 * SPDX-License-Identifier: MIT
 */
#include "shm/names.h"

#include <string.h>

#include "shm/hash.h"

#define NAME_BYTES_MAX 320u
#define CELL           ((uint32_t)sizeof(struct seg_name_cell))
#define TEXT_AT        ((uint32_t)offsetof(struct seg_name_cell, text))

/* The bytes of a name if its cell makes sense, else NULL. */
static const char *name_text(const struct seg *seg, uint32_t ref, uint32_t *ret_size)
{
	const uint32_t cell = ref - 1;
	uint32_t size;

	if (ref == 0 || cell >= seg->n_name_cells)
		return NULL;
	size = shm_half_load(&seg->name_cells[cell].size);
	if (size > NAME_BYTES_MAX || TEXT_AT + size > (uint64_t)(seg->n_name_cells - cell) * CELL)
		return NULL;
	*ret_size = size;
	return (const char *)&seg->name_cells[cell] + TEXT_AT;
}

static uint32_t name_find(const struct seg *seg, uint32_t ref, uint64_t hash, const char *name,
			  uint32_t size)
{
	for (uint32_t i = 0; ref != 0 && i < SEG_CHAIN_MAX; i++) {
		uint32_t found_size;
		const char *text = name_text(seg, ref, &found_size);

		if (!text)
			return 0;
		if (seg->name_cells[ref - 1].hash == hash && found_size == size &&
		    memcmp(text, name, size) == 0)
			return ref;
		ref = shm_half_load(&seg->name_cells[ref - 1].next);
	}
	return 0;
}

/* Consecutive cells that nobody else has, or 0. */
static uint32_t name_allocate(struct seg *seg, uint32_t size)
{
	const uint32_t cells = (TEXT_AT + size + CELL - 1) / CELL;

	for (int i = 0; i < 1000; i++) {
		uint64_t next = shm_load_relaxed(&seg->control->name_next);

		if (next > seg->n_name_cells || cells > seg->n_name_cells - next)
			return 0;
		if (shm_cas(&seg->control->name_next, &next, next + cells))
			return (uint32_t)next + 1;
	}
	return 0;
}

uint32_t names_intern(struct seg *seg, const char *name)
{
	const uint64_t key[2] = {seg->epoch_ns, 0};
	const size_t length = strlen(name);
	const uint32_t size = length < NAME_BYTES_MAX ? (uint32_t)length : NAME_BYTES_MAX;
	const uint64_t hash = hash_keyed(key, name, size).word[0];
	shm_word *head = &seg->name_heads[hash & (seg->n_name_heads - 1)];
	uint64_t first = shm_load(head);
	uint32_t ref = name_find(seg, (uint32_t)first, hash, name, size);
	struct seg_name_cell *cell;

	if (size == 0 || ref != 0)
		return ref;
	ref = name_allocate(seg, size);
	if (ref == 0)
		return 0;
	cell = &seg->name_cells[ref - 1];
	shm_half_store(&cell->size, size);
	cell->hash = hash;
	memcpy((char *)cell + TEXT_AT, name, size);
	/* One attempt: whoever loses stores the name twice, which nobody minds, but shows it all
	 * the same. */
	shm_half_store(&cell->next, (uint32_t)first);
	(void)shm_cas(head, &first, ref);
	return ref;
}

bool names_valid(const struct seg *seg, uint32_t ref)
{
	uint32_t size;

	return ref == 0 || name_text(seg, ref, &size);
}

void names_copy(const struct seg *seg, uint32_t ref, char *buf, size_t size)
{
	uint32_t length = 0;
	const char *text = name_text(seg, ref, &length);

	if (size == 0)
		return;
	if (!text) {
		text = "?";
		length = ref != 0;
	}
	if (length > size - 1)
		length = (uint32_t)(size - 1);
	memcpy(buf, text, length);
	buf[length] = '\0';
}
