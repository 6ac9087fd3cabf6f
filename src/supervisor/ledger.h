/*
 * supervisor/ledger.h - who each worker really is
 * SPDX-License-Identifier: MIT
 *
 * The supervisor's own memory, never handed out: what a scribbling worker must not be able to fake.
 * One flat table of fixed-size entries without pointers, written before a worker is told its
 * number.
 *
 *	free ---------> attached --------> detached
 *	  ^	give	  |	socket EOF	|
 *	  +-------------+-----------------+
 *	     death, goodbye		death, or the same process attaches anew
 */
#ifndef RATION_SUPERVISOR_LEDGER_H
#define RATION_SUPERVISOR_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/peer.h"

struct ledger_worker {
	uint64_t identity;    /* worker_identity() as given out; 0: the slot is free */
	uint64_t start;       /* process_start(); 0: unknown */
	uint64_t policy_sent; /* newest generation that lies in its socket, or was read from it */
	int32_t pid;
	uint32_t uid;
	uint32_t gid;
	uint32_t incarnation; /* of the slot; goes on through all its owners */
	int32_t pidfd;
	int32_t socket; /* -1: detached, its process lives */
};

_Static_assert(sizeof(struct ledger_worker) == 48, "no padding");

struct ledger {
	struct ledger_worker *workers;
	uint32_t n_workers;
	uint32_t n_taken;
};

int ledger_make(struct ledger *ledger, uint32_t n_workers);
void ledger_free(struct ledger *ledger);

/*
 * Take a free slot for a process: next incarnation, identity, start time. The ledger owns both
 * descriptors from here on. False: every slot is taken (the descriptors are still the caller's).
 */
bool ledger_give(struct ledger *ledger, const struct peer *peer, int pidfd, int socket,
		 uint32_t *ret_slot);

/* Close what the slot holds and free it. */
void ledger_take_back(struct ledger *ledger, uint32_t slot);

static inline bool ledger_taken(const struct ledger *ledger, uint32_t slot)
{
	return ledger->workers[slot].identity != 0;
}

#endif
