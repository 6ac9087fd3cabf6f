/*
 * client/headroom.c - how calm the limits of a chain are, for whoever may choose between chains
 * SPDX-License-Identifier: MIT
 *
 * A limit is calm as long as a fifth of it is left; below that it is the less calm the less there is. Whoever goes
 * elsewhere the more often the less calm a limit is leaves something for those who cannot, and nobody is sent back and
 * forth. But nothing may be lost by it:
 *
 *  - A token bucket loses only what it would hold beyond its burst: below a fifth, nothing.
 *  - What a window has left when it ends is lost: so what is left is compared with the time that is left.
 *  - A rolling limit and slots lose what is not used at any moment: they are calm as long as they admit at all, and come
 *    free as gradually as they were taken.
 */
#include "client/headroom.h"

#include "shm/window.h"

/* Calm at one part in so many. */
#define CALM_PART 5u

/* part / whole of being calm, in parts of HEADROOM_CALM. */
static uint32_t calm_part(uint64_t left, uint64_t size, uint64_t time_left, uint64_t time)
{
	const unsigned __int128 have = (unsigned __int128)left * CALM_PART * time;
	const unsigned __int128 whole = (unsigned __int128)size * time_left;

	if (have >= whole)
		return HEADROOM_CALM;
	/* Below 2^40 units of 2^64 ns: a millionth of the whole is exact enough. */
	return whole < HEADROOM_CALM ? (uint32_t)(have * HEADROOM_CALM / whole)
				     : (uint32_t)(have / (whole / HEADROOM_CALM + 1));
}

static uint32_t window_calm(const struct link *link, const struct instant *at,
			    const struct shortage *room)
{
	const int64_t start = (int64_t)link->shape[WINDOW_START];
	const int64_t end = (int64_t)link->shape[WINDOW_END];

	if (at->wall < start || at->wall >= end)
		return HEADROOM_CALM;
	return calm_part(room->left, room->size, (uint64_t)(end - at->wall),
			 (uint64_t)(end - start));
}

static uint32_t link_calm(struct seg *seg, const struct draw *draw, uint32_t i)
{
	const struct link *link = &draw->links[i];
	const uint32_t kind = LINK_KIND(link->flags);
	struct shortage room = {0, 0, 0};

	if ((kind != KIND_BUCKET && kind != KIND_WINDOW) || link->flags & LINK_SHADOW ||
	    !chain_room(seg, draw, i, &room) || room.size == 0)
		return HEADROOM_CALM;
	return kind == KIND_WINDOW ? window_calm(link, &draw->at, &room)
				   : calm_part(room.left, room.size, 1, 1);
}

/* Of links that stand for or back each other, the calmest. */
uint32_t headroom_of(struct seg *seg, const struct draw *draw)
{
	uint32_t least = HEADROOM_CALM, best = 0;

	for (uint32_t i = 0; i < draw->n_links; i++) {
		const uint32_t calm = link_calm(seg, draw, i);

		best = calm > best ? calm : best;
		if (draw->links[i].flags & (LINK_BACKING | LINK_OR))
			continue;
		least = best < least ? best : least;
		best = 0;
	}
	return least;
}
