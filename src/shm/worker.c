/*
 * shm/worker.c - worker slots
 * SPDX-License-Identifier: MIT
 */
#include "shm/worker.h"

#include "shm/event.h"
#include "shm/index.h"
#include "shm/queue.h"
#include "shm/slots.h"
#include "shm/stat.h"

void worker_inherit(struct seg *seg, uint32_t slot, uint64_t now, worker_freed *freed, void *user)
{
	(void)slots_reap(seg, slot, now, freed, user);
	queue_reap(seg, slot, freed, user);
	stat_spill(seg, slot);
	index_recover(seg, slot);
	event_reap(seg, slot);
}

void worker_reap_telling(struct seg *seg, uint32_t slot, uint64_t now, worker_freed *freed,
			 void *user)
{
	worker_inherit(seg, slot, now, freed, user);
	shm_store(&seg->workers[slot].policy_generation, 0);
	shm_store(&seg->workers[slot].identity, 0);
}
