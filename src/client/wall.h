/*
 * client/wall.h - following a wall clock that may be set
 * SPDX-License-Identifier: MIT
 *
 * Windows go by the wall clock, and a wall clock may be set: by an operator, by a time daemon, by a machine that wakes
 * up. So windows do not see CLOCK_REALTIME but an offset to the ticks, which follows it:
 *
 *	set back	at once. Windows that are counted in already stay so (shm/window.h): nothing opens again.
 *	forward, little	at half the speed of time, so that no window passes in a moment.
 *	forward, far	not until it is confirmed, because every window that begins by it hands out its amount. What
 *			confirms it is the operator (wall_confirm()), or that it is still so WALL_CONFIRM later: time
 *			daemons ask their servers at least every 2,048 s (the longest of systemd-timesyncd; chronyd
 *			and ntpd 1,024 s), so a false time would have been put right by then.
 *
 * Time daemons that correct a clock by its speed change CLOCK_BOOTTIME as well, and so not the offset.
 */
#ifndef RATION_CLIENT_WALL_H
#define RATION_CLIENT_WALL_H

#include <stdint.h>

#include "shm/layout.h"

#define WALL_SAME_NS   INT64_C(1000000)     /* readings that differ by less are the same clock */
#define WALL_LITTLE_NS INT64_C(60000000000) /* forward by more is to be confirmed */
#define WALL_CONFIRM   (2100 * TICKS_PER_SEC)

/* Offsets are ns since 1970 minus ticks / TICKS_PER_NS. */
struct wall {
	int64_t offset;     /* to go by */
	int64_t jump;       /* what the clock jumped to; with jumped_at */
	uint64_t jumped_at; /* ticks; 0: nothing is to be confirmed */
	uint64_t seen_at;   /* ticks */
};

enum wall_event {
	WALL_STEADY,
	WALL_SET_BACK,
	WALL_SLEWS,     /* on its way forward */
	WALL_JUMPED,    /* forward, far: to be confirmed */
	WALL_WAITS,     /* still to be confirmed */
	WALL_CONFIRMED, /* by having lasted */
};

static inline struct wall wall_begin(int64_t found, uint64_t now)
{
	return (struct wall){.offset = found, .seen_at = now};
}

/* What the clock shows now, to be called about once a second. */
enum wall_event wall_follow(struct wall *wall, int64_t found, uint64_t now);

/* Whoever may know says that the clock is right. */
void wall_confirm(struct wall *wall, int64_t found, uint64_t now);

#endif
