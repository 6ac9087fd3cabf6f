/*
 * cli/tend.h - a segment of our own learns, too
 * SPDX-License-Identifier: MIT
 *
 * What vendors teach (shm/learn.h) is put in force by the supervisor, once a second. A segment that this process made itself
 * (--policy) has none: then this process does it, and nobody else.
 */
#ifndef RATION_CLI_TEND_H
#define RATION_CLI_TEND_H

#include "supervisor/published.h"

/* Zeroes: nothing to do. */
struct tend {
	struct ration *ration;
	struct seg seg;
	struct published published;
	uint64_t due_ns;
};

/* policy: the file that the segment was made from. 0, or -errno: it is gone, or another by now. */
int tend_begin(struct tend *tend, struct ration *ration, const char *policy);
void tend_end(struct tend *tend);

/* If it is time. */
void tend(struct tend *tend);

/* How long poll(2) may wait, at most `ms` (-1: for ever). */
int tend_wait_ms(const struct tend *tend, int ms);

#endif
