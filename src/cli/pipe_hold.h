/*
 * cli/pipe_hold.h - what a pipe holds: keys, tickets, acquires that wait
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_PIPE_HOLD_H
#define RATION_CLI_PIPE_HOLD_H

#include "cli/request.h"
#include "cli/table.h"

enum {
	PIPE_TICKETS_MAX = 4096, /* outstanding: neither settled nor cancelled */
	PIPE_WAITS_MAX = 4096,
};

/* A key that was used, resolved. Of a plain vendor it is a route of one alternative. */
struct pipe_key {
	struct ration_route *route;
	uint64_t
		blocked_pass; /* pass of waits_serve() in which one of its waits has to go on waiting */
	uint64_t retry_at_ns;     /* until when, then */
	bool stands;              /* the first of its waits stands in line: */
	struct ration_wait place; /* here */
};

/* Tickets by number. A number is never used twice. */
struct tickets {
	struct ticket_slot {
		uint64_t number;    /* 0: free */
		uint32_t next_free; /* slot + 1 */
		struct ration_ticket ticket;
	} * slots;
	uint32_t n_slots;    /* made so far */
	uint32_t first_free; /* slot + 1 */
	uint64_t serial;
};

bool tickets_full(const struct tickets *tickets);
uint64_t tickets_add(struct tickets *tickets, const struct ration_ticket *ticket);
/* Moves it out; false: no such ticket. */
bool tickets_take(struct tickets *tickets, uint64_t number, struct ration_ticket *ret_ticket);
/* It stays; NULL: no such ticket. */
const struct ration_ticket *tickets_find(const struct tickets *tickets, uint64_t number);
void tickets_free(struct tickets *tickets);

/* One acquire that waits. Costs point into root. */
struct wait {
	json_t *root;
	struct pipe_key *key;
	struct request request;
	uint64_t deadline_ns; /* CLOCK_BOOTTIME */
	uint64_t retry_at_ns;
};

/* In order of arrival. */
struct waits {
	struct wait *list;
	size_t count;
	size_t room;
	uint64_t pass;
};

/* Takes root. */
void waits_add(struct waits *waits, const struct wait *wait);

/*
 * Try those that are due, oldest first; of one key, none before an earlier one, which is the one that stands in line.
 * Says whether a wait is over (it was answered), or when to try it again in wait->retry_at_ns. first: of its key.
 */
typedef bool wait_try(void *user, struct wait *wait, uint64_t now_ns, bool first);
void waits_serve(struct waits *waits, uint64_t now_ns, wait_try *try, void *user);

/* When the next is due (0: one was woken); UINT64_MAX: nothing waits. */
uint64_t waits_due(const struct waits *waits);

void waits_free(struct waits *waits);

/* pipe_lease.c: [{"limit":..., "max_hold_ms":...}, ...] of a ticket's leases. */
json_t *pipe_leases(const struct ration *ration, const struct ration_ticket *ticket);

#endif
