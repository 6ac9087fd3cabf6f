/*
 * policy/arena.h - memory of one compilation, freed in one go
 * SPDX-License-Identifier: MIT
 *
 * Everything the compiler makes lives until it ends, so nothing is freed alone and no error path can leak.
 * An allocation beyond the budget, or one that malloc refuses, returns NULL and sets `failed`; callers just
 * stop what they were doing, and policy_compile() looks at `failed` at the end.
 */
#ifndef RATION_POLICY_ARENA_H
#define RATION_POLICY_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	char *next;
	size_t left;
	size_t budget; /* bytes that may still be handed out */
	bool failed;
};

void arena_init(struct arena *arena, size_t budget);
void arena_free(struct arena *arena);

/* Zeroed, aligned for anything. */
void *arena_alloc(struct arena *arena, size_t size);

/* Terminated. */
char *arena_copy(struct arena *arena, const char *text, size_t size);
char *arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

/* A growing list of pointers. */
struct list {
	void **item;
	uint32_t count;
	uint32_t room;
};

bool list_add(struct list *list, struct arena *arena, void *item);

/* A new zeroed object of `size` bytes at the end of the list. */
void *list_new(struct list *list, struct arena *arena, size_t size);

#endif
