/*
 * shm/hash.h - the keyed hash behind every identity
 * SPDX-License-Identifier: MIT
 *
 * SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012): keys come from tenants, who must not be able to choose colliding ones. Our own code
 * because libration may depend on libc only; the test compares it with the authors' published
 * vectors.
 */
#ifndef RATION_SHM_HASH_H
#define RATION_SHM_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash128 {
	uint64_t word[2];
};

struct hash128 hash_keyed(const uint64_t key[2], const void *data, size_t size);

/* Names of units as numbers (FNV-1a). Stable everywhere; the policy compiler refuses two that
 * collide. */
uint32_t hash_unit(const char *name);

#endif
