/*
 * supervisor/ledger.h - who each worker really is, and what else a successor must know
 * SPDX-License-Identifier: MIT
 *
 * The supervisor's own memory, never handed to workers: what a scribbling one must not be able to fake. A memfd, so that it
 * outlives us (store.h): one head, then one flat table of fixed-size entries without pointers, then what operators have set.
 * We may be killed at any instruction, so whatever must change together is made complete beside what stands, and then one
 * word is moved: a worker's identity, the generation, the side that the overlays are on.
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

#include "client/wall.h"
#include "client/wire.h"
#include "shm/layout.h"
#include "supervisor/peer.h"

#define OVERLAYS_MAX 256u

struct ledger_worker {
	shm_word identity;    /* worker_identity() as given out; 0: the slot is free */
	uint64_t start;       /* process_start(); 0: unknown */
	uint64_t policy_sent; /* newest generation that lies in its socket, or was read from it */
	int32_t pid;
	uint32_t uid;
	uint32_t gid;
	uint32_t incarnation; /* of the slot; goes on through all its owners */
	int32_t pidfd;        /* descriptors are of the process that has the ledger now */
	int32_t socket;       /* -1: detached, its process lives */
};

_Static_assert(sizeof(struct ledger_worker) == 48, "no padding");

/* Numbers that operators have put over the policy's. */
struct ledger_overlays {
	uint32_t n;
	uint32_t reserved;
	struct wire_set text[OVERLAYS_MAX];
};

struct ledger_head {
	char magic[8];
	uint32_t abi;
	uint32_t n_workers;
	uint64_t size; /* of the ledger; 0: its maker was killed before it was done */
	uint64_t state_fingerprint;
	uint64_t policy_fingerprint;
	char version[16];         /* of the rationd that made it */
	struct seg_config config; /* of state: what stands in state itself, any worker may write */
	uint64_t epoch_ns;
	uint64_t hash_key[2];
	shm_word generation; /* of the policy that workers are to go by */
	shm_word
		used; /* the highest generation that was ever made: it may lie in a worker's socket */
	shm_word takeovers;
	struct wall wall;    /* wallclock.c */
	int64_t wall_latest; /* likewise */
	shm_half side;       /* of the overlays */
	uint32_t reserved;
};

struct ledger {
	int fd;
	struct ledger_head *head; /* NULL: none */
	struct ledger_worker *workers;
	struct ledger_overlays *overlays; /* two sides */
	uint32_t n_workers;
	uint32_t n_taken;
};

/* For a state of this geometry, whose last worker slot is ours. 0 or -errno. */
int ledger_make(struct ledger *ledger, const struct seg_config *config, uint64_t epoch_ns);

/*
 * Take over what a predecessor left. Takes the descriptor over. 0; RATION_ELAYOUT: it is of another build; RATION_ECORRUPT: it is
 * none, or not whole; -errno. Descriptors in it are not ours: they are all -1 now.
 */
int ledger_adopt(struct ledger *ledger, int fd);

/* Close what we have of it. Nothing in it changes: a successor may want it. */
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
	return shm_load(&ledger->workers[slot].identity) != 0;
}

/* All of them at once. n <= OVERLAYS_MAX */
void ledger_set_overlays(struct ledger *ledger, const struct wire_set *text, uint32_t n);
const struct ledger_overlays *ledger_get_overlays(const struct ledger *ledger);

#endif
