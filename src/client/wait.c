/*
 * client/wait.c - sleeping until a cost can be had
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "client/attachment.h"
#include "client/memory.h"

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
