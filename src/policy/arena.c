/*
 * policy/arena.c - memory of one compilation
 * SPDX-License-Identifier: MIT
 */
#include "policy/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 * 1024 };

struct arena_chunk {
	struct arena_chunk *before;
	alignas(max_align_t) char memory[];
};

void arena_init(struct arena *arena, size_t budget)
{
	*arena = (struct arena){.budget = budget};
}

void arena_free(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;

		arena->chunks = chunk->before;
		free(chunk);
	}
	*arena = (struct arena){0};
}

static bool add_chunk(struct arena *arena, size_t size)
{
	struct arena_chunk *chunk = calloc(1, sizeof(*chunk) + size);

	if (!chunk)
		return false;
	chunk->before = arena->chunks;
	arena->chunks = chunk;
	arena->next = chunk->memory;
	arena->left = size;
	return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	void *memory;

	if (size > arena->budget)
		goto failed;
	size = (size + align - 1) / align * align;
	if (size > arena->left && !add_chunk(arena, size > CHUNK ? size : CHUNK))
		goto failed;
	memory = arena->next;
	arena->next += size;
	arena->left -= size;
	arena->budget -= size < arena->budget ? size : arena->budget;
	return memory;
failed:
	arena->failed = true;
	return NULL;
}

char *arena_copy(struct arena *arena, const char *text, size_t size)
{
	char *copy = arena_alloc(arena, size + 1);

	if (copy && size > 0)
		memcpy(copy, text, size);
	return copy;
}

char *arena_vprintf(struct arena *arena, const char *format, va_list args)
{
	va_list again;
	char *text = NULL;
	int size;

	va_copy(again, args);
	size = vsnprintf(NULL, 0, format, args);
	if (size >= 0)
		text = arena_alloc(arena, (size_t)size + 1);
	if (text)
		vsnprintf(text, (size_t)size + 1, format, again);
	va_end(again);
	return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = arena_vprintf(arena, format, args);
	va_end(args);
	return text;
}

static bool grow(struct list *list, struct arena *arena)
{
	const uint32_t room = list->room ? list->room * 2 : 8;
	void **item = arena_alloc(arena, room * sizeof(*item));

	if (!item)
		return false;
	if (list->count > 0)
		memcpy(item, list->item, list->count * sizeof(*item));
	list->item = item;
	list->room = room;
	return true;
}

bool list_add(struct list *list, struct arena *arena, void *item)
{
	if (list->count == list->room && !grow(list, arena))
		return false;
	list->item[list->count++] = item;
	return true;
}

void *list_new(struct list *list, struct arena *arena, size_t size)
{
	void *item = arena_alloc(arena, size);

	return item && list_add(list, arena, item) ? item : NULL;
}
