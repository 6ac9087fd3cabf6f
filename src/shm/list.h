/*
 * shm/list.h - hash chains that anybody adds to and one process removes from
 * SPDX-License-Identifier: MIT
 *
 * A head is [tag 32 | first node + 1, 0 ends it]. A node is pushed in front by one CAS on the head. Only the supervisor
 * removes, and each time it bumps the tag, after the node is out and before it can be used again. Whoever stood on that
 * node meanwhile may have been led into another chain, so nothing that a search says counts unless the tag is still the
 * same afterwards. The tag has 32 bits: a worker would have to stand still through 2^32 removals from this one chain.
 * Others only ever add, so without a removal a head never returns to an earlier value.
 */
#ifndef RATION_SHM_LIST_H
#define RATION_SHM_LIST_H

#include "shm/layout.h"

/* One chain of nodes, each a line that holds somewhere which one comes next. */
struct list {
	shm_word *head;
	shm_half *next; /* that of node 0 */
	uint32_t count;
};

#define LIST_TAG (UINT64_C(1) << 32)

/* A head or next field names its node plus one. */
static inline uint32_t list_first(uint64_t head)
{
	return (uint32_t)head;
}

static inline uint64_t list_with(uint64_t head, uint32_t first)
{
	return (head & ~UINT64_C(0xffffffff)) | first;
}

/* Whether nothing has left the chain since its head was loaded as `before`. */
static inline bool list_same_tag(const shm_word *head, uint64_t before)
{
	return (shm_load(head) ^ before) >> 32 == 0;
}

/*
 * Take a node out; harmless to repeat, also where it is in the chain no more. False: the chain does not lead anywhere,
 * or others were always faster: not done.
 */
bool list_remove(const struct list *list, uint32_t node);

#endif
