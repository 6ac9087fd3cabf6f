/*
 * client/wall.c - following a wall clock that may be set
 * SPDX-License-Identifier: MIT
 */
#include "client/wall.h"

void wall_confirm(struct wall *wall, int64_t found, uint64_t now)
{
	*wall = wall_begin(found, now);
}

static enum wall_event slew(struct wall *wall, int64_t ahead, uint64_t ticks)
{
	const uint64_t most = ticks / TICKS_PER_NS / 2;

	wall->offset += (uint64_t)ahead < most ? ahead : (int64_t)most;
	wall->jumped_at = 0;
	return WALL_SLEWS;
}

/* A clock that moved on after it jumped is confirmed as a whole or not at all. */
static enum wall_event doubt(struct wall *wall, int64_t found, uint64_t now)
{
	const int64_t moved = found - wall->jump;

	if (wall->jumped_at == 0 || moved < -WALL_LITTLE_NS || moved > WALL_LITTLE_NS) {
		wall->jump = found;
		wall->jumped_at = now;
		return WALL_JUMPED;
	}
	if (now - wall->jumped_at < WALL_CONFIRM)
		return WALL_WAITS;
	wall_confirm(wall, found, now);
	return WALL_CONFIRMED;
}

enum wall_event wall_follow(struct wall *wall, int64_t found, uint64_t now)
{
	const int64_t ahead = found - wall->offset;
	const uint64_t passed = now - wall->seen_at;

	wall->seen_at = now;
	if (ahead > WALL_LITTLE_NS)
		return doubt(wall, found, now);
	if (ahead > WALL_SAME_NS)
		return slew(wall, ahead, passed);
	wall->jumped_at = 0;
	if (ahead >= -WALL_SAME_NS)
		return WALL_STEADY;
	wall->offset = found;
	return WALL_SET_BACK;
}
