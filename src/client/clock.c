/*
 * client/clock.c - the clocks
 * SPDX-License-Identifier: MIT
 */
#include <sys/socket.h>
#include <time.h>

#include "client/attachment.h"
#include "client/memory.h"

static int64_t read_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint64_t clock_boot_ns(void)
{
	return (uint64_t)read_ns(CLOCK_BOOTTIME);
}

/* Of three tries the one whose two readings of CLOCK_BOOTTIME lie closest together. */
int64_t clock_wall_offset_ns(void)
{
	int64_t best = 0, best_width = INT64_MAX;

	for (int i = 0; i < 3; i++) {
		const int64_t before = read_ns(CLOCK_BOOTTIME);
		const int64_t wall = read_ns(CLOCK_REALTIME);
		const int64_t after = read_ns(CLOCK_BOOTTIME);

		if (after - before < best_width) {
			best_width = after - before;
			best = wall - (before + (after - before) / 2);
		}
	}
	return best;
}

/* --- the wall clock that windows go by --- */

/* How far a published offset may lie beyond what is known to be true, either way. */
#define LEEWAY_NS INT64_C(1000000000)

/* How often an embedded segment looks at the clock. */
#define LOOK_TICKS TICKS_PER_SEC

static int64_t own_offset(const struct ration *ration)
{
	return clock_wall_offset_ns() - ration->shift_ns + (int64_t)ration->seg.epoch_ns;
}

void wall_attach(struct ration *ration, int64_t ahead_ns)
{
	const int64_t own = own_offset(ration);

	ration->wall = wall_begin(own, client_now(ration));
	atomic_store(&ration->wall_known, own + ahead_ns);
}

/*
 * The supervisor's offset moves between what it was and what the clock says. Anything else has been scribbled into the
 * segment and counts as the nearest of what is possible, so it opens no window that has not begun.
 */
static int64_t believe(struct ration *ration, int64_t published, int64_t known)
{
	const int64_t own = own_offset(ration);
	const int64_t low = known < own - LEEWAY_NS ? known : own - LEEWAY_NS;
	const int64_t high = known > own + LEEWAY_NS ? known : own + LEEWAY_NS;

	if (published < low)
		return low;
	if (published > high)
		return high;
	atomic_store_explicit(&ration->wall_known, published, memory_order_relaxed);
	return published;
}

/* Nobody publishes anything in an embedded segment. */
static int64_t follow(struct ration *ration, uint64_t now, int64_t known)
{
	if (now < atomic_load_explicit(&ration->wall_look_at, memory_order_relaxed) ||
	    atomic_flag_test_and_set(&ration->following))
		return known;
	(void)wall_follow(&ration->wall, own_offset(ration), now);
	known = ration->wall.offset;
	atomic_store(&ration->wall_known, known);
	atomic_store(&ration->wall_look_at, now + LOOK_TICKS);
	atomic_flag_clear(&ration->following);
	return known;
}

int64_t client_wall(struct ration *ration, uint64_t now)
{
	const int64_t known = atomic_load_explicit(&ration->wall_known, memory_order_relaxed);
	/* It publishes nothing but itself. */
	const int64_t published = (int64_t)shm_load_relaxed(&ration->seg.control->wall_offset);
	int64_t offset = known;

	if (ration->address.sun_family != AF_UNIX)
		offset = follow(ration, now, known);
	else if (published != known)
		offset = believe(ration, published, known);
	return (int64_t)(now / TICKS_PER_NS) + offset;
}
