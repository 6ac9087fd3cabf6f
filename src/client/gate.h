/*
 * client/gate.h - blocks and the breaker, as a process has to do with them
 * SPDX-License-Identifier: MIT
 *
 * A key has to pass up to three gates (shm/gate.h): its tenant's at the vendor, its tenant's for the resource, and that of
 * the vendor's account, where it names one. There is none as long as there was no trouble.
 */
#ifndef RATION_CLIENT_GATE_H
#define RATION_CLIENT_GATE_H

#include "client/attachment.h"

/* --- for resolve.c and acquire.c --- */

/* Look for the gates of a key and put them behind a chain's links. Codes as resolve_chain() returns. */
int gates_find(const struct ration *ration, const struct blob *blob,
	       const char *const field[KEY_FIELDS], struct chain *chain);

/* The same for a chain that is else as it should be. */
int gates_resolve(const struct ration_handle *handle, struct chain *chain);

/* A gate as a link. */
void gates_link(const struct chain_head *head, struct bucket_ref gate, struct link *ret_link);

/* What a gate's word says to somebody who was refused. */
void gate_describe(const struct ration_handle *handle, const struct link *gate, uint64_t word,
		   struct ration_denial *denial);

/* A ticket ends as one of a request that was answered: where it was a probe, and nothing else was heard of it, it was good. */
void gates_answered(struct ration *ration, const struct ration_ticket *ticket);

/* A ticket ends as one of a request that was not answered: the next one who comes is the probe that it was. */
void gates_abandoned(struct ration *ration, const struct ration_ticket *ticket);

/* --- what a vendor said --- */

/*
 * Block what was limited, count it for the breaker, and end the probe that the ticket was. ticket: NULL if not known. now:
 * ticks. 0, or an error: nothing was blocked.
 */
int gate_observe(struct ration_handle *handle, const struct ration_ticket *ticket,
		 const struct ration_signal *signal, uint64_t now);

/* Nothing of the key passes for `ns`: the vendor has nothing left. Codes as gate_observe() returns. */
int gate_hold(struct ration_handle *handle, enum ration_reach reach, uint64_t ns, uint64_t now);

/* --- what an operator says --- */

/* "" for none, as in a key. An account's gate has no tenant. */
struct gate_key {
	const char *tenant;
	const char *vendor;
	const char *account;
	const char *resource;
};

/* Nothing passes for so long. RATION_EVENDOR, or why there is no room. */
int gate_close_by_hand(struct ration *ration, const struct gate_key *key, uint64_t ns);

/*
 * Lift what blocks a key: with a resource or an account that alone; else the tenant's gate and those of all its resources.
 * Returns how many were closed, or an error.
 */
int gate_lift_by_hand(struct ration *ration, const struct gate_key *key);

#endif
