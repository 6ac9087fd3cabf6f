/*
 * client/wait.c - sleeping until a cost can be had
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/memory.h"
#include "shm/queue.h"

#define ALL_CLASSES 0xffu

/* The kernel's number; its header is not on the path of every C library. */
#ifndef FUTEX_WAKE
#define FUTEX_WAKE 1
#endif

void wake_next(struct ration *ration, uint32_t bucket)
{
	struct seg *seg = &ration->seg;
	struct queue_place next;
	shm_half *futex;

	if (bucket >= seg->n_buckets || !queue_hinted(&seg->hot[bucket], ALL_CLASSES))
		return;
	next = queue_next(seg, bucket, client_now(ration));
	futex = next.owner ? queue_wake(seg, &next, client_now(ration)) : NULL;
	if (futex)
		(void)syscall(SYS_futex, futex, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static int sleep_until(uint64_t boot_ns)
{
	const struct timespec at = {
		.tv_sec = (time_t)(boot_ns / 1000000000),
		.tv_nsec = (long)(boot_ns % 1000000000),
	};

	return -clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &at, NULL);
}

int ration_acquire_until(struct ration_handle *handle, const struct ration_cost *costs,
			 size_t n_costs, uint64_t deadline_ns, struct ration_ticket *ret_ticket,
			 struct ration_denial *ret_denial)
{
	struct ration_denial denial;

	for (;;) {
		int result = ration_acquire(handle, costs, n_costs, ret_ticket, &denial);
		const bool late = result == RATION_CONTENDED && clock_boot_ns() > deadline_ns;

		if (result == RATION_CONTENDED && !late) {
			sched_yield();
			continue;
		}
		if (result == RATION_DENIED && denial.retry_at_ns <= deadline_ns) {
			result = sleep_until(denial.retry_at_ns);
			if (result == 0)
				continue;
			return result;
		}
		if (ret_denial && (result == RATION_DENIED || result == RATION_OVERSIZE ||
				   (result == 0 && ret_ticket->flags & RATION_TICKET_SHADOW)))
			*ret_denial = denial;
		return result;
	}
}
