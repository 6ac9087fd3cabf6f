/*
 * shm/event.h - what happened, for people to see: a lossy ring for each worker slot
 * SPDX-License-Identifier: MIT
 *
 * A worker puts an event into a free cell of its own slot's ring; the supervisor takes it out again. Threads of one
 * process share the slot, so a cell is claimed by one CAS. Where no cell is free the event is dropped and counted: the
 * worker never waits, and what stays is the beginning of a storm, not its end. With no supervisor for a while, a ring
 * keeps its first EVENT_CELLS events until one comes back.
 *
 * A cell's state is [number 62 | phase 2]:
 *
 *	0		free
 *	n, WRITING	whoever claimed it writes; nobody reads
 *	n, FULL		nobody writes; the supervisor reads, and frees it by a CAS
 *
 * What must hold:
 *  - Between claim and FULL only the claimer writes to the cell; between FULL and free nobody does. So whatever is taken
 *    out was put in as a whole, by one call, and is taken out once.
 *  - `next` only grows, so no state of a cell is ever that of an earlier use: a writer whose cell was taken from it (its
 *    worker was thought dead) cannot mark another's as full.
 *  - `told` moves after FULL: a reader that saw it move finds the cell full, and one that missed the cell sees it move again.
 *  - A worker that was killed while it wrote leaves its cell WRITING; whoever reaps the slot frees it (event_reap()), and
 *    makes `told` move for what was FULL but not told. A stopped one keeps its cell until it goes on.
 *  - All of it may be scribbled over: the reader checks each count and text (event_unpack()), and each loop is over
 *    EVENT_CELLS cells.
 *
 * An event is packed into words, in private memory, before it is put:
 *
 *	word 0		[words in use 16 | type 16 | which numbers are there 32]
 *	word 1, 2	when, in ticks; which worker
 *	then		the numbers that are there, a word each; the texts, each as 2 bytes of length and its bytes
 */
#ifndef RATION_SHM_EVENT_H
#define RATION_SHM_EVENT_H

#include <stddef.h>

#include "shm/layout.h"

/* Each once: constant, what it is called in lines and JSON, what it is. */
#define EVENT_TYPES(X)                                                                             \
	X(LIMITED, "limited", "the vendor refused a request because of a limit")                   \
	X(BLOCKED, "blocked", "nothing is sent until a time that the vendor named")                \
	X(UNBLOCKED, "unblocked", "a block is over, or was lifted")                                \
	X(BREAKER_OPENED, "breaker-opened", "too many refusals: nothing is sent for a while")      \
	X(BREAKER_CLOSED, "breaker-closed", "requests are sent again")                             \
	X(CORRECTED_UP, "corrected-up", "the vendor has more left than we thought")                \
	X(FOREIGN, "foreign", "the vendor has less left than we thought: others spent it")         \
	X(LEARNED, "learned", "the vendor grants another number than the policy says")             \
	X(DENIED, "denied", "a limit denied a request of a protected class")                       \
	X(RETRIED, "retried", "a refused request is tried again")                                  \
	X(FINISHED, "finished", "what became of a request that had been refused")

/* The same: constant, name. */
#define EVENT_NUMBERS(X)                                                                           \
	X(STATUS, "status")       /* HTTP status */                                                \
	X(ATTEMPT, "attempt")     /* 1: the first try */                                           \
	X(TIMES, "times")         /* so many alike since the last one that was told */             \
	X(AMOUNT, "amount")       /* units that it is about: corrected, foreign, asked for */      \
	X(SIZE, "size")           /* units of the limit */                                         \
	X(REMAINING, "remaining") /* units left, says the vendor; denied: say we */                \
	X(RESET_NS, "reset_s")    /* until the limit begins anew; in ns */                         \
	X(SHARE, "share_ppm")     /* of the limit that is used, as learned */                      \
	X(WAIT_NS, "wait_s")      /* how long is waited; in ns */

#define EVENT_TEXTS(X)                                                                             \
	X(TENANT, "tenant", 255)                                                                   \
	X(VENDOR, "vendor", 63)                                                                    \
	X(CLASS, "class", 63)                                                                      \
	X(ACCOUNT, "account", 255)                                                                 \
	X(RESOURCE, "resource", 255)                                                               \
	X(LIMIT, "limit", 63)                                                                      \
	X(UNIT, "unit", 63)                                                                        \
	X(WHY, "why", 160)                                                                         \
	X(HEADERS, "headers", 1200) /* those that speak of limits, as they came */

#define EVENT_TYPE_ID(id, name, about) EVENT_##id,
#define EVENT_NUMBER_ID(id, name)      EVENT_##id,
#define EVENT_TEXT_ID(id, name, max)   EVENT_##id,
enum event_type { EVENT_TYPES(EVENT_TYPE_ID) EVENT_TYPE_COUNT };
enum event_number { EVENT_NUMBERS(EVENT_NUMBER_ID) EVENT_NUMBER_COUNT };
enum event_text { EVENT_TEXTS(EVENT_TEXT_ID) EVENT_TEXT_COUNT };
#undef EVENT_TYPE_ID
#undef EVENT_NUMBER_ID
#undef EVENT_TEXT_ID

extern const char *const event_type_names[EVENT_TYPE_COUNT];
extern const char *const event_number_names[EVENT_NUMBER_COUNT];
extern const char *const event_text_names[EVENT_TEXT_COUNT];

/* A number that is not there; 0 is one that is. */
#define EVENT_NONE UINT64_MAX

struct event {
	enum event_type type;
	uint64_t at;     /* ticks */
	uint64_t worker; /* worker_identity() */
	uint64_t number[EVENT_NUMBER_COUNT];
	const char *text[EVENT_TEXT_COUNT]; /* NULL or "": not there */
};

/* Nothing is in it yet but this. */
struct event event_of(enum event_type type, uint64_t at, uint64_t worker);

struct event_image {
	uint64_t word[EVENT_WORDS];
};

/* Texts that are too long are cut, the headers to what room there is. Returns the words in use. */
size_t event_pack(const struct event *event, struct event_image *ret_image);

/* An event and the room that its texts stand in: not to be copied. */
struct event_copy {
	struct event event;
	char room[sizeof(uint64_t) * EVENT_WORDS + EVENT_TEXT_COUNT];
};

/*
 * False: that is no event. Every text ends, and is UTF-8 without control characters: what else was in it are now question
 * marks.
 */
bool event_unpack(const struct event_image *image, struct event_copy *ret_copy);

/* Put it into a slot's ring. False: there is no room, it is dropped and counted. slot: the caller's own, < n_workers. */
bool event_put(struct seg *seg, uint32_t slot, const struct event_image *image);

/*
 * Take out all that a slot's ring holds, oldest first; returns how many. *seen: what event_take() left there, at first 0:
 * where nothing was told since, it is one load. One reader at a time. It is freed before it is handed over.
 */
typedef void event_taken(void *user, const struct event_image *image);
uint32_t event_take(struct seg *seg, uint32_t slot, uint32_t *seen, event_taken *taken, void *user);

/* The worker of this slot is dead, or gone: free what it was writing. What it had put stays to be taken. */
void event_reap(struct seg *seg, uint32_t slot);

/* Nobody writes there: every cell is free or full. */
bool event_settled(const struct seg *seg, uint32_t slot);

#endif
