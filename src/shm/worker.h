/*
 * shm/worker.h - worker slots
 * SPDX-License-Identifier: MIT
 *
 * identity = [slot + 1 : 16 | incarnation : 16 | pid : 32]. The incarnation grows each time a slot
 * is given out, so that nothing that outlived a worker can be taken for its successor's. Who really
 * is behind a slot the supervisor knows from memory of its own; the word here is for displays and,
 * in embedded segments, for finding the dead.
 */
#ifndef RATION_SHM_WORKER_H
#define RATION_SHM_WORKER_H

#include "shm/layout.h"

static inline uint64_t worker_identity(uint32_t slot, uint32_t incarnation, uint32_t pid)
{
	return (uint64_t)(slot + 1) << 48 | (uint64_t)(incarnation & 0xffff) << 32 | pid;
}

static inline uint32_t worker_slot(uint64_t identity)
{
	return (uint32_t)(identity >> 48) - 1;
}

static inline uint32_t worker_pid(uint64_t identity)
{
	return (uint32_t)identity;
}

/*
 * Take over what a dead or departed worker left: its leases end (slots_reap()), it waits no longer, counters are spilled, a half-made
 * record is freed, so is the event that it was writing, the slot becomes free, last of all: no successor's lease is ended. Harmless to repeat. Supervisor, or the owner of
 * an embedded segment.
 * freed: called for each bucket where it held slots or stood in line, for whoever may wait there; NULL if nobody is to
 * be told.
 */
typedef void worker_freed(void *user, uint32_t bucket);
/* All of it but the last: the slot is its caller's, and stays so. */
void worker_inherit(struct seg *seg, uint32_t slot, uint64_t now, worker_freed *freed, void *user);
void worker_reap_telling(struct seg *seg, uint32_t slot, uint64_t now, worker_freed *freed,
			 void *user);

static inline void worker_reap(struct seg *seg, uint32_t slot, uint64_t now)
{
	worker_reap_telling(seg, slot, now, NULL, NULL);
}

#endif
