/*
 * shm/atomic.h - the only ways this project touches memory that other processes write
 * SPDX-License-Identifier: MIT
 *
 * Each wrapper names its memory order. SHM_YIELD(address, size, writes) stands before every access,
 * so that the same sources compile into a program that explores interleavings (tests/model); it is
 * empty otherwise. A CAS counts as a write, whether it succeeds or not.
 */
#ifndef RATION_SHM_ATOMIC_H
#define RATION_SHM_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef SHM_YIELD
#define SHM_YIELD(address, size, writes) ((void)0)
#endif

typedef _Atomic uint64_t shm_word;
typedef _Atomic uint32_t shm_half;

_Static_assert(sizeof(shm_word) == 8, "a word is a plain 64-bit word");
_Static_assert(_Alignof(shm_word) == 8, "aligned as one");
_Static_assert(__atomic_always_lock_free(8, 0), "64-bit atomics must not need a lock");

/* Sees everything that was written before the value it reads was released. */
static inline uint64_t shm_load(const shm_word *w)
{
	SHM_YIELD(w, sizeof(*w), false);
	return atomic_load_explicit(w, memory_order_acquire);
}

/* For values that publish nothing but themselves: counters, hints, numbers of a single word. */
static inline uint64_t shm_load_relaxed(const shm_word *w)
{
	SHM_YIELD(w, sizeof(*w), false);
	return atomic_load_explicit(w, memory_order_relaxed);
}

/* Publishes everything written before it to whoever loads this value. */
static inline void shm_store(shm_word *w, uint64_t value)
{
	SHM_YIELD(w, sizeof(*w), true);
	atomic_store_explicit(w, value, memory_order_release);
}

static inline void shm_store_relaxed(shm_word *w, uint64_t value)
{
	SHM_YIELD(w, sizeof(*w), true);
	atomic_store_explicit(w, value, memory_order_relaxed);
}

/* On failure *expected becomes what is there. Both orders cover: publishing a record, taking one
 * over. */
static inline bool shm_cas(shm_word *w, uint64_t *expected, uint64_t desired)
{
	SHM_YIELD(w, sizeof(*w), true);
	return atomic_compare_exchange_strong_explicit(w, expected, desired, memory_order_acq_rel,
						       memory_order_acquire);
}

static inline bool shm_half_cas(shm_half *h, uint32_t *expected, uint32_t desired)
{
	SHM_YIELD(h, sizeof(*h), true);
	return atomic_compare_exchange_strong_explicit(h, expected, desired, memory_order_acq_rel,
						       memory_order_acquire);
}

static inline uint64_t shm_exchange(shm_word *w, uint64_t value)
{
	SHM_YIELD(w, sizeof(*w), true);
	return atomic_exchange_explicit(w, value, memory_order_acq_rel);
}

/* Counters only: nothing is ordered by them. */
static inline uint64_t shm_add(shm_word *w, uint64_t n)
{
	SHM_YIELD(w, sizeof(*w), true);
	return atomic_fetch_add_explicit(w, n, memory_order_relaxed);
}

static inline uint32_t shm_half_load(const shm_half *h)
{
	SHM_YIELD(h, sizeof(*h), false);
	return atomic_load_explicit(h, memory_order_acquire);
}

static inline void shm_half_store(shm_half *h, uint32_t value)
{
	SHM_YIELD(h, sizeof(*h), true);
	atomic_store_explicit(h, value, memory_order_release);
}

/*
 * Set and clear bits; what was there is returned. Both orders: what was written before is seen by whoever changes the
 * same bits later.
 */
static inline uint32_t shm_half_or(shm_half *h, uint32_t bits)
{
	SHM_YIELD(h, sizeof(*h), true);
	return atomic_fetch_or_explicit(h, bits, memory_order_acq_rel);
}

static inline uint32_t shm_half_and(shm_half *h, uint32_t bits)
{
	SHM_YIELD(h, sizeof(*h), true);
	return atomic_fetch_and_explicit(h, bits, memory_order_acq_rel);
}

/* Returns what was there. Publishes everything written before it. */
static inline uint32_t shm_half_add(shm_half *h, uint32_t n)
{
	SHM_YIELD(h, sizeof(*h), true);
	return atomic_fetch_add_explicit(h, n, memory_order_acq_rel);
}

/*
 * Two neighbouring words as one, 16-byte aligned; full barrier. Only refunds need it (bucket.h says
 * why), never the path of an acquire. C11 has no lock-free form of it that stays free of libatomic,
 * so this is the one place that uses a compiler builtin; with -mcx16 it is a single cmpxchg16b.
 */
#if !defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16)
#error "ration needs a 16-byte compare-and-swap: build for x86-64 with -mcx16"
#endif

static inline bool shm_cas_pair(shm_word pair[2], const uint64_t expected[2],
				const uint64_t desired[2])
{
	unsigned __int128 e = ((unsigned __int128)expected[1] << 64) | expected[0];
	unsigned __int128 d = ((unsigned __int128)desired[1] << 64) | desired[0];

	SHM_YIELD(pair, 16, true);
	return __sync_bool_compare_and_swap((unsigned __int128 *)(uintptr_t)pair, e, d);
}

#endif
