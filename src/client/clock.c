/*
 * client/clock.c - the clocks
 * SPDX-License-Identifier: MIT
 */
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

/*
 * What is published is never ahead of the clock by more than that clock was set back since. Further ahead, the word
 * was scribbled over, and would open windows that have not begun; behind, it can only close some.
 */
#define AHEAD_NS INT64_C(2000000000)

int64_t client_wall(const struct ration *ration, uint64_t now)
{
	const uint64_t offset = shm_load_relaxed(&ration->seg.control->wall_offset);
	const int64_t published = (int64_t)(offset + now / TICKS_PER_NS);
	const int64_t own = read_ns(CLOCK_REALTIME);

	return published > own + AHEAD_NS ? own : published;
}
