/*
 * shm/list.c - hash chains that anybody adds to and one process removes from
 * SPDX-License-Identifier: MIT
 */
#include "shm/list.h"

#include "shm/take.h"

static shm_half *next_of(const struct list *list, uint32_t node)
{
	return &list->next[(size_t)node * (SEG_LINE / sizeof(shm_half))];
}

/* Whether it can be told if the chain holds a node; if it does, the place that names it, which may be the head. */
static bool find_node(const struct list *list, uint64_t first, uint32_t node, bool *ret_there,
		      uint32_t *ret_before)
{
	uint32_t next = list_first(first);

	*ret_before = UINT32_MAX;
	*ret_there = false;
	for (uint32_t i = 0; next != 0; i++) {
		*ret_there = next == node + 1;
		if (*ret_there)
			return true;
		if (next - 1 >= list->count || i > SEG_CHAIN_MAX)
			return false;
		*ret_before = next - 1;
		next = shm_half_load(next_of(list, next - 1));
	}
	return true;
}

/*
 * Out first, then the tag: whoever loads the new tag cannot come to the node any more. A node before it that was
 * found stays there: nobody else removes, and others only add in front.
 */
bool list_remove(const struct list *list, uint32_t node)
{
	uint64_t first = shm_load(list->head);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		const uint32_t next = shm_half_load(next_of(list, node));
		uint64_t after = first;
		uint32_t before;
		bool there;

		if (!find_node(list, first, node, &there, &before))
			return false;
		if (there && before == UINT32_MAX)
			after = list_with(first, next);
		else if (there)
			shm_half_store(next_of(list, before), next);
		if (shm_cas(list->head, &first, after + LIST_TAG))
			return true;
	}
	return false;
}
