/*
 * client/pressure.c - how pressed a quota is, for callers that can slow down
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>

#include "client/attachment.h"
#include "shm/chain.h"

/* The upper half is the line's, the lower half what is used of the limit. */
#define HALF 50u

static uint32_t used_half(uint64_t left, uint64_t size)
{
	if (size == 0 || left >= size)
		return 0;
	return (uint32_t)((unsigned __int128)(size - left) * HALF / size);
}

/* The class's own part of a line that has somebody in it. */
static uint32_t line_half(const struct seg *seg, uint32_t bucket, uint32_t class_index,
			  uint32_t bound)
{
	const uint32_t most = bound && bound < QUEUE_PLACES ? bound : QUEUE_PLACES;
	const uint32_t waiting = queue_length(seg, bucket, class_index).waiting;

	return waiting >= most ? HALF : HALF * waiting / most;
}

static uint32_t link_pressure(struct seg *seg, const struct draw *draw, uint32_t i, uint32_t bound)
{
	struct shortage room = {0, 0, 0};
	uint32_t class_index;
	const uint32_t bucket = chain_line(draw, i, &class_index);

	if (bucket >= seg->n_buckets)
		return 0;
	if (queue_hinted(&seg->hot[bucket], (UINT32_C(2) << class_index) - 1) &&
	    queue_ahead(seg, bucket, class_index, NULL, draw->at.now).waiters > 0)
		return HALF + line_half(seg, bucket, class_index, bound);
	return chain_room(seg, draw, i, &room) ? used_half(room.left, room.size) : 0;
}

/* Whatever stands for or backs another link is no limit by itself. */
static bool stands_alone(const struct link *link)
{
	return !(link->flags & (LINK_BACKING | LINK_OR | LINK_SHADOW));
}

/* A block that does not end yet leaves nothing. */
static bool gates_pass(const struct ration *ration, const struct chain *chain,
		       const struct instant *at)
{
	const struct demand demand = {.units = 1};
	struct shortage why;
	struct taken taken;

	for (uint32_t i = 0; i < chain_gates(&chain->head); i++) {
		const struct link *gate = &chain->links[chain->head.n_links + i];

		if (!(gate->flags & LINK_SHADOW) &&
		    gate_look(&ration->seg, gate, &demand, at, &taken, &why) == TAKE_WAIT)
			return false;
	}
	return true;
}

static int chain_pressure(struct ration *ration, const struct chain *chain,
			  const struct instant *at)
{
	const struct draw draw = {
		.links = chain->links,
		.n_links = (uint32_t)chain->head.n_links,
		.class_index = CHAIN_CLASS(chain->head.flags),
		.at = *at,
	};
	const struct blob *blob = policy_enter(ration);
	const uint32_t bound =
		draw.class_index < blob->n_classes ? blob->classes[draw.class_index].queue : 0;
	uint32_t most = 0;

	policy_leave(ration);
	if (!gates_pass(ration, chain, at))
		return 2 * HALF;
	for (uint32_t i = 0; i < draw.n_links; i++) {
		const uint32_t pressure = stands_alone(&chain->links[i])
						  ? link_pressure(&ration->seg, &draw, i, bound)
						  : 0;

		most = pressure > most ? pressure : most;
	}
	return (int)most;
}

int ration_pressure(struct ration_handle *handle)
{
	struct ration *ration = handle->ration;
	struct instant at;
	struct chain chain;
	int result = attachment_ready(ration);

	if (result == 0) {
		at.now = client_now(ration);
		at.wall = client_wall(ration, at.now);
		if (policy_moved(ration))
			policy_update(ration, at.now);
		result = client_chain(handle, at.wall, false, &chain);
	}
	if (result != 0)
		return result < 0 ? result : -EAGAIN;
	return chain_pressure(ration, &chain, &at);
}
