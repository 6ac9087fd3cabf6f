/*
 * client/wire.h - what worker and supervisor say to each other over the attach socket
 * SPDX-License-Identifier: MIT
 *
 * SOCK_SEQPACKET: one message is one packet. A worker connects, sends one hello with a pidfd of
 * itself, and gets one welcome with the descriptors of state and policy, or one refusal in words.
 * After that only the supervisor speaks: a newer policy is one packet with one descriptor. A closed
 * socket means detached; the pidfd alone says dead. A worker that really leaves first clears the
 * identity in its line of state; otherwise its slot waits for its death, as its memory may still be
 * in use. An observer's connection ends with its welcome, an operator's with its answer.
 */
#ifndef RATION_CLIENT_WIRE_H
#define RATION_CLIENT_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "shm/layout.h"

#define WIRE_MAGIC UINT32_C(0x4e544152) /* "RATN" */
#define WIRE_ABI   2u

enum wire_type {
	WIRE_HELLO = 1,
	WIRE_WELCOME = 2,
	WIRE_REFUSE = 3,
	WIRE_POLICY = 4,
	WIRE_SET = 5,
	WIRE_DONE = 6,
	WIRE_EVENT = 7,
};

enum wire_role {
	ROLE_WORKER = 1,   /* gets a slot and may write state */
	ROLE_OBSERVER = 2, /* gets a read-only state, no slot; sends no pidfd */
	ROLE_READER = 3,   /* gets the latest events, no welcome; sends no pidfd */
	ROLE_FOLLOWER = 4, /* and those to come, until it hangs up */
};

struct wire_head {
	uint32_t magic;
	uint32_t abi;
	uint32_t type;
	uint32_t reserved;
};

/* Worker to supervisor. With it: one pidfd (ROLE_WORKER), none (ROLE_OBSERVER). */
struct wire_hello {
	struct wire_head head;
	uint64_t state_fingerprint;
	uint64_t policy_fingerprint;
	uint32_t role;
	uint32_t reserved;
};

/* Supervisor to worker. With it: state, then policy. */
struct wire_welcome {
	struct wire_head head;
	uint64_t state_size;
	uint64_t policy_size;
	uint64_t policy_generation;
	uint64_t worker; /* worker_identity(); 0 for an observer */
	uint32_t slot;
	uint32_t classes; /* bit mask of those that this user may claim under this policy */
	/* CLOCK_REALTIME - CLOCK_BOOTTIME of the supervisor, just before it sent this: a worker in
	 * another time namespace finds its shift by comparing with its own. */
	int64_t wall_offset_ns;
	uint64_t epoch_ns;     /* CLOCK_BOOTTIME of the supervisor at tick 0 */
	int64_t wall_ahead_ns; /* how far what windows go by is ahead of CLOCK_REALTIME (wall.h) */
};

/* Supervisor to worker: no. The socket closes after it. */
struct wire_refuse {
	struct wire_head head;
	int32_t code; /* what ration_attach() returns */
	uint32_t reserved;
	char text[496]; /* terminated */
};

/* Supervisor to worker. With it: the policy. */
struct wire_policy {
	struct wire_head head;
	uint64_t policy_size;
	uint64_t policy_generation;
	uint32_t classes; /* as in the welcome */
	uint32_t reserved;
};

/*
 * Operator to supervisor, in place of a hello: put a number over the policy's. Answered by WIRE_DONE or WIRE_REFUSE, both as
 * struct wire_refuse. All texts are terminated; number "default": the policy's own again.
 */
struct wire_set {
	struct wire_head head;
	char tenant[256]; /* "-": the limit itself */
	char vendor[64];  /* "-": a limit of all vendors */
	char limit[64];
	char number[32];
};

/* Supervisor to reader or follower: as many words as are in use. It has not got `missed` others before this one. */
struct wire_event {
	struct wire_head head;
	int64_t wall_ns; /* when, since 1970 */
	uint64_t missed;
	uint64_t word[EVENT_WORDS]; /* event_unpack() */
};

_Static_assert(offsetof(struct wire_event, word) == 32, "wire format");
_Static_assert(sizeof(struct wire_hello) == 40, "wire format");
_Static_assert(sizeof(struct wire_set) == 432, "wire format");
_Static_assert(sizeof(struct wire_welcome) == 80, "wire format");
_Static_assert(sizeof(struct wire_refuse) == 520, "wire format");
_Static_assert(sizeof(struct wire_policy) == 40, "wire format");

#endif
