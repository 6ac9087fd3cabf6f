/*
 * http/timers.c - a binary heap
 * SPDX-License-Identifier: MIT
 */
#include "http/timers.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

uint64_t time_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

void timers_free(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){0};
}

static void place(struct timers *timers, size_t slot, struct timer *timer)
{
	timers->heap[slot] = timer;
	timer->slot = slot;
}

static void sift_up(struct timers *timers, size_t slot, struct timer *timer)
{
	while (slot > 1 && timers->heap[slot / 2]->at_ns > timer->at_ns) {
		place(timers, slot, timers->heap[slot / 2]);
		slot /= 2;
	}
	place(timers, slot, timer);
}

static void sift_down(struct timers *timers, size_t slot, struct timer *timer)
{
	size_t child;

	while ((child = slot * 2) <= timers->n) {
		if (child < timers->n &&
		    timers->heap[child + 1]->at_ns < timers->heap[child]->at_ns)
			child++;
		if (timers->heap[child]->at_ns >= timer->at_ns)
			break;
		place(timers, slot, timers->heap[child]);
		slot = child;
	}
	place(timers, slot, timer);
}

static void settle(struct timers *timers, size_t slot, struct timer *timer)
{
	if (slot > 1 && timers->heap[slot / 2]->at_ns > timer->at_ns)
		sift_up(timers, slot, timer);
	else
		sift_down(timers, slot, timer);
}

static int grow(struct timers *timers)
{
	size_t size = timers->size ? timers->size * 2 : 64;
	struct timer **heap = realloc(timers->heap, size * sizeof(struct timer *));

	if (!heap)
		return -ENOMEM;
	timers->heap = heap;
	timers->size = size;
	return 0;
}

int timers_set(struct timers *timers, struct timer *timer, uint64_t at_ns)
{
	if (!timer->slot) {
		if (timers->n + 1 >= timers->size && grow(timers))
			return -ENOMEM;
		timer->slot = ++timers->n;
		timers->heap[timer->slot] = timer;
	}
	timer->at_ns = at_ns;
	settle(timers, timer->slot, timer);
	return 0;
}

void timers_clear(struct timers *timers, struct timer *timer)
{
	size_t slot = timer->slot;
	struct timer *last;

	if (!slot)
		return;
	timer->slot = 0;
	last = timers->heap[timers->n--];
	if (last != timer)
		settle(timers, slot, last);
}

uint64_t timers_next(const struct timers *timers)
{
	return timers->n ? timers->heap[1]->at_ns : TIME_NEVER;
}

bool timers_fire(struct timers *timers, uint64_t now_ns, void *user)
{
	struct timer *timer;

	if (timers_next(timers) > now_ns)
		return false;
	timer = timers->heap[1];
	timers_clear(timers, timer);
	timer->fire(timer, user);
	return true;
}
