/*
 * tests/model/world.h - the memory that actors share: a segment, and what the test notes down
 * SPDX-License-Identifier: MIT
 *
 * All of it lies in one block, so that an access is an offset. A copy of the world holds only the
 * lines that anybody ever wrote to; a write that did not announce itself is found by comparing the
 * rest with what it was at the beginning.
 */
#ifndef RATION_MODEL_WORLD_H
#define RATION_MODEL_WORLD_H

#include "shm/layout.h"

#define WORLD_MAX (UINT32_C(1) << 20)
#define OWN_MAX   4096u /* what the test notes down, at the beginning of the block */
#define NOWHERE   UINT32_MAX

struct world {
	char *base;
	uint32_t size;
	uint32_t own; /* bytes of the notes in use */
	struct seg seg;
};

extern struct world world;

struct hash {
	uint64_t word[2];
};

static inline void hash_word(struct hash *h, uint64_t w)
{
	h->word[0] = (h->word[0] ^ w) * UINT64_C(0x9e3779b97f4a7c15);
	h->word[0] ^= h->word[0] >> 32;
	h->word[1] = (h->word[1] + w) * UINT64_C(0xff51afd7ed558ccd);
	h->word[1] ^= h->word[1] >> 29;
}

/* size: a multiple of 8 */
void hash_bytes(struct hash *h, const void *bytes, size_t size);

/* All zero, with `own` bytes of notes and an empty segment. */
void world_clear(uint32_t own, const struct seg_config *config);

/* What is there now is how it begins. */
void world_begin(void);

/* Offset of an address, or NOWHERE. */
uint32_t world_offset(const volatile void *address);

/* The word at an offset, for reports. */
uint64_t world_value(uint32_t offset, unsigned size);

/* This line is about to be written to. */
void world_touch(uint32_t offset);

void world_hash(struct hash *h);

/* A hash of what the test has noted down. */
uint64_t world_notes(void);
size_t world_image_size(void);
void world_save(char *image);
void world_restore(const char *image, size_t size);

/* Whether nothing changed that was not touched; else where. */
bool world_honest(uint32_t *ret_offset);

/* "hot[0]+8" */
void world_name(uint32_t offset, char *buf, size_t size);

#endif
