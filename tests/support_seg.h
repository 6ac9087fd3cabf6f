/*
 * tests/support_seg.h - a segment in anonymous shared memory
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_TESTS_SUPPORT_SEG_H
#define RATION_TESTS_SUPPORT_SEG_H

#include "shm/index.h"
#include "shm/layout.h"

/* Shared with children that are forked later. */
struct seg seg_make(uint32_t buckets, uint32_t workers);

/* Fails the test for each violation that the invariant walk finds. Nobody else may be at work if `quiet`. */
void seg_verify(const struct seg *seg, uint64_t now, bool quiet);

/* Insert a token bucket named by a number: amount in a second, burst; full at `now`. */
struct bucket_ref seg_bucket(struct seg *seg, uint64_t id, uint64_t amount, uint64_t burst,
			     uint64_t now);

/* Insert a concurrency limit named by a number; every slot is free. hold_ns: maximum hold of a lease; 0: none. */
struct bucket_ref seg_slots(struct seg *seg, uint64_t id, uint32_t slots, uint64_t hold_ns);

/* Units that a bucket could give at `now`. */
uint64_t seg_left(const struct seg *seg, struct bucket_ref ref, uint64_t now);

/* Fork n children that run work(seg, i, user) together, and wait for all to end well. */
void seg_race(struct seg *seg, int n, void (*work)(struct seg *seg, int who, void *user),
	      void *user);

#endif
