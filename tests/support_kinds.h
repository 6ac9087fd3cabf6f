/*
 * tests/support_kinds.h - limits of every kind in a segment, and links to them
 * SPDX-License-Identifier: MIT
 *
 * Times are ns: of the segment's epoch, and of a wall clock that shows KINDS_WALL then.
 */
#ifndef RATION_TESTS_SUPPORT_KINDS_H
#define RATION_TESTS_SUPPORT_KINDS_H

#include "shm/chain.h"
#include "shm/index.h"

#define KINDS_WALL INT64_C(1000000000000)

struct kinds_limit {
	enum seg_kind kind;
	uint32_t unit;
	uint64_t amount; /* burst, units of a window or period, slots */
	uint64_t ns; /* that a unit takes; length of a window or period; maximum hold of a slot */
	uint64_t delay, skew;
	struct bucket_ref ref;
};

/* Insert it, full or unused, at `now`, and set ref. id: what no other has. False: no room, or such a limit cannot be. */
bool kinds_insert(struct seg *seg, uint64_t id, struct kinds_limit *limit, uint64_t now);

/* The same as the worker of that slot, and what index_insert() said; INDEX_CORRUPT: such a limit cannot be. */
enum index_result kinds_insert_by(struct seg *seg, uint32_t slot, uint64_t id,
				  struct kinds_limit *limit, uint64_t now);

/* The numbers that it would have with another amount; 0: none. */
uint64_t kinds_numbers(const struct kinds_limit *limit, uint64_t amount);

struct instant kinds_instant(uint64_t now);

/* As a handle that was resolved at that time keeps it. */
struct link kinds_link(const struct kinds_limit *limit, uint64_t now);

/* Which window it is at `now`; at least 1. */
uint64_t kinds_window(const struct kinds_limit *limit, uint64_t now);

#endif
