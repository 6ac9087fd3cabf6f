/*
 * tests/model/world.c - the memory that actors share: a segment, and what the test notes down
 * SPDX-License-Identifier: MIT
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64u

struct world world;

static _Alignas(4096) char block[WORLD_MAX];
static char beginning[WORLD_MAX];
static bool is_touched[WORLD_MAX / LINE];
static uint32_t touched[WORLD_MAX / LINE];
static uint32_t n_touched;

void hash_bytes(struct hash *h, const void *bytes, size_t size)
{
	const char *p = bytes;

	for (size_t i = 0; i < size; i += 8) {
		uint64_t w;

		memcpy(&w, p + i, 8);
		hash_word(h, w);
	}
}

void world_clear(uint32_t own, const struct seg_config *config)
{
	const uint64_t size = seg_size(config);

	if (size == 0 || size > WORLD_MAX - OWN_MAX || own > OWN_MAX) {
		fprintf(stderr, "model: a segment of %llu bytes does not fit\n",
			(unsigned long long)size);
		exit(2);
	}
	memset(block, 0, sizeof(block));
	world.base = block;
	world.size = OWN_MAX + (uint32_t)size;
	world.own = (own + LINE - 1) / LINE * LINE;
	seg_init(block + OWN_MAX, config, 0, &world.seg);
}

void world_begin(void)
{
	memcpy(beginning, block, world.size);
	memset(is_touched, 0, sizeof(is_touched));
	n_touched = 0;
	for (uint32_t at = 0; at < world.own; at += LINE)
		world_touch(at);
}

uint32_t world_offset(const volatile void *address)
{
	const uintptr_t at = (uintptr_t)address - (uintptr_t)block;

	return at < world.size ? (uint32_t)at : NOWHERE;
}

uint64_t world_value(uint32_t offset, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, block + offset, size < 8 ? size : 8);
	return value;
}

void world_touch(uint32_t offset)
{
	if (is_touched[offset / LINE])
		return;
	is_touched[offset / LINE] = true;
	touched[n_touched++] = offset / LINE * LINE;
}

/* A sum, so that lines not touched yet and lines as they were count the same. */
void world_hash(struct hash *h)
{
	struct hash sum = {{0, 0}};

	for (uint32_t i = 0; i < n_touched; i++) {
		const uint32_t at = touched[i];
		struct hash line = {{at, at}};

		if (memcmp(block + at, beginning + at, LINE) == 0)
			continue;
		hash_bytes(&line, block + at, LINE);
		sum.word[0] += line.word[0];
		sum.word[1] += line.word[1];
	}
	hash_word(h, sum.word[0]);
	hash_word(h, sum.word[1]);
}

uint64_t world_notes(void)
{
	struct hash h = {{1, 2}};

	hash_bytes(&h, block, world.own);
	return h.word[0] ^ h.word[1];
}

size_t world_image_size(void)
{
	return (size_t)n_touched * LINE;
}

void world_save(char *image)
{
	for (uint32_t i = 0; i < n_touched; i++)
		memcpy(image + (size_t)i * LINE, block + touched[i], LINE);
}

/* Lines touched since the image was taken were then as in the beginning. */
void world_restore(const char *image, size_t size)
{
	for (uint32_t i = 0; i < n_touched; i++) {
		const bool held = (size_t)i * LINE < size;

		memcpy(block + touched[i], held ? image + (size_t)i * LINE : beginning + touched[i],
		       LINE);
	}
}

bool world_honest(uint32_t *ret_offset)
{
	for (uint32_t at = 0; at < world.size; at += LINE) {
		if (!is_touched[at / LINE] && memcmp(block + at, beginning + at, LINE) != 0) {
			*ret_offset = at;
			return false;
		}
	}
	return true;
}

void world_name(uint32_t offset, char *buf, size_t size)
{
	static const char *const names[SEC_COUNT] = {
#define NAME(id, name) [id] = (name)
		NAME(SEC_CONTROL, "control"),
		NAME(SEC_HEADS, "head"),
		NAME(SEC_HOT, "hot"),
		NAME(SEC_COLD, "cold"),
		NAME(SEC_NAME_HEADS, "name_head"),
		NAME(SEC_WORKERS, "worker"),
		NAME(SEC_REGIONS, "region"),
		NAME(SEC_EXTENTS, "extent"),
		NAME(SEC_EXTENT_OWNERS, "extent_owner"),
		NAME(SEC_QUEUES, "queue"),
		NAME(SEC_EVENTS, "event"),
#undef NAME
	};
	const struct seg_header *header = (const void *)(block + OWN_MAX);

	for (int i = 0; offset >= OWN_MAX && i < SEC_COUNT; i++) {
		const struct seg_section *s = &header->sections[i];
		const uint64_t at = offset - OWN_MAX - s->offset;

		if (offset - OWN_MAX < s->offset || at >= (uint64_t)s->stride * s->count)
			continue;
		snprintf(buf, size, "%s[%u]+%u", names[i] ? names[i] : "?",
			 (unsigned)(at / s->stride), (unsigned)(at % s->stride));
		return;
	}
	snprintf(buf, size, offset == 0 ? "clock" : "note+%u", offset);
}
