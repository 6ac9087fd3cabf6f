/*
 * http/timers.h - what is due when: a binary heap of timers that live in their owners
 * SPDX-License-Identifier: MIT
 *
 * Times are CLOCK_BOOTTIME in nanoseconds, as denials and deadlines are.
 */
#ifndef RATION_HTTP_TIMERS_H
#define RATION_HTTP_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIME_NEVER UINT64_MAX

struct timer {
	uint64_t at_ns;
	size_t slot; /* place in the heap, from 1; 0: not set */
	void (*fire)(struct timer *timer, void *user);
};

struct timers {
	struct timer **heap; /* heap[1 ... n] */
	size_t n;
	size_t size;
};

uint64_t time_now(void);

void timers_free(struct timers *timers);

/* Set a timer, or set it anew. 0 or -ENOMEM (never when it was set already). */
int timers_set(struct timers *timers, struct timer *timer, uint64_t at_ns);
void timers_clear(struct timers *timers, struct timer *timer);

/* When the next one is due; TIME_NEVER if none is set. */
uint64_t timers_next(const struct timers *timers);

/* Take one timer that is due and call its fire(); false if none is. */
bool timers_fire(struct timers *timers, uint64_t now_ns, void *user);

#endif
