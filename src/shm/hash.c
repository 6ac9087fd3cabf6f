/*
 * shm/hash.c - SipHash-2-4-128, FNV-1a
 * SPDX-License-Identifier: MIT
 */
#include "shm/hash.h"

#include <string.h>

static uint64_t rotate(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void sip_rounds(uint64_t v[4], int n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

/* The last 0 ... 8 bytes, least significant first. */
static uint64_t little_endian(const unsigned char *p, size_t size)
{
	uint64_t word = 0;

	while (size-- > 0)
		word = word << 8 | p[size];
	return word;
}

static void sip_absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
}

struct hash128 hash_keyed(const uint64_t key[2], const void *data, size_t size)
{
	const unsigned char *p = data;
	uint64_t v[4] = {
		key[0] ^ UINT64_C(0x736f6d6570736575),
		key[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
		key[0] ^ UINT64_C(0x6c7967656e657261),
		key[1] ^ UINT64_C(0x7465646279746573),
	};
	struct hash128 hash;
	size_t left;

	for (left = size; left >= 8; left -= 8, p += 8)
		sip_absorb(v, little_endian(p, 8));
	sip_absorb(v, (uint64_t)size << 56 | little_endian(p, left));

	v[2] ^= 0xee;
	sip_rounds(v, 4);
	hash.word[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
	v[1] ^= 0xdd;
	sip_rounds(v, 4);
	hash.word[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
	return hash;
}

uint32_t hash_unit(const char *name)
{
	uint32_t hash = UINT32_C(2166136261);

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT32_C(16777619);
	return hash;
}
