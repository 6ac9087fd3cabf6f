/*
 * client/singleton.h - at most one of a name on the host
 * SPDX-License-Identifier: MIT
 *
 * A lease that no policy mentions: one slot for each name, of everybody who shares the segment. Like any lease it ends
 * with the process that holds it, however that dies, and it has no maximum hold.
 */
#ifndef RATION_CLIENT_SINGLETON_H
#define RATION_CLIENT_SINGLETON_H

#include <ration/ration.h>

/* Who has it already. */
struct singleton_holder {
	uint32_t pid;      /* in the pid namespace of whoever attached it; 0: not known */
	uint64_t since_ns; /* how long ago, to 134 ms */
};

/*
 * Take the lease of a name (1 ... RATION_KEY_MAX bytes), standing in line for it until deadline_ns (CLOCK_BOOTTIME) if
 * need be. 0: ret_ticket holds it, and ration_release() ends it. RATION_DENIED: ret_holder, which may be NULL, says who
 * has it. Otherwise as ration_resolve() and ration_acquire_until().
 */
int singleton_take(struct ration *ration, const char *name, uint64_t deadline_ns,
		   struct ration_ticket *ret_ticket, struct singleton_holder *ret_holder);

#endif
