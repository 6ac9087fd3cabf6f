/*
 * cli/pipe_lease.c - what a ticket holds
 * SPDX-License-Identifier: MIT
 */
#include "cli/cli.h"
#include "cli/pipe_hold.h"
#include "shm/names.h"
#include "shm/slots.h"

static json_t *lease(const struct seg *seg, uint32_t bucket)
{
	const uint64_t hold = slots_hold(shm_load_relaxed(&seg->hot[bucket].numbers));
	char limit[2 * RATION_NAME_MAX + 2];
	json_t *json;

	names_copy(seg, shm_half_load(&seg->cold[bucket].names[NAME_LIMIT]), limit, sizeof(limit));
	json = cli_need(json_pack("{s:s}", "limit", limit));
	if (hold)
		json_object_set_new(json, "max_hold_ms",
				    json_real((double)hold / TICKS_PER_SEC * 1e3));
	return json;
}

json_t *pipe_leases(const struct ration *ration, const struct ration_ticket *ticket)
{
	json_t *list = cli_need(json_array());

	for (uint32_t i = 0; i < ticket->n_links; i++) {
		const struct ration_ticket_link *link = &ticket->links[i];

		if (LINK_KIND(link->flags) == KIND_SLOTS)
			json_array_append_new(list, lease(client_seg(ration), link->bucket));
	}
	return list;
}
