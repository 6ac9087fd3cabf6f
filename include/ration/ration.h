/*
 * ration/ration.h - take from shared vendor quotas before a request leaves the host
 * SPDX-License-Identifier: MIT
 *
 * A worker attaches once, resolves each key it works for once, and then, for every request:
 * acquire, send, and settle (or cancel if the request never left).
 *
 *	ration_attach -> ration_resolve -> [ ration_acquire -> send -> ration_settle ]...
 *
 * Return values. 0 is success. Positive values are decisions about this request (RATION_DENIED and
 * its like); negative values are errors: -errno, or one of the RATION_E* codes below. Nothing that
 * is returned through a ret_* pointer is written on an error. ration_strerror() names every value.
 *
 * Threads. One attachment and its handles serve every thread of a process; only ration_detach() and
 * ration_handle_free() need the caller to know that nobody else still uses what they end.
 * Fork. A child may go on using the attachment and the handles it inherited: its first call
 * registers it as a worker of its own. Tickets belong to the process that acquired them (-EINVAL
 * elsewhere).
 * Signals. Functions marked "async-signal-safe" may be called in a signal handler.
 */
#ifndef RATION_RATION_H
#define RATION_RATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RATION_API        __attribute__((visibility("default")))
#define RATION_MUST_CHECK __attribute__((warn_unused_result))
#else
#define RATION_API
#define RATION_MUST_CHECK
#endif

#define RATION_VERSION "0.1.0"

enum {
	RATION_LINKS_MAX = 16,       /* buckets that one request may have to pass */
	RATION_GATES_MAX = 3,        /* blocks that one request may have to pass */
	RATION_NAME_MAX = 63,        /* bytes in the name of a vendor, class, limit or unit */
	RATION_KEY_MAX = 256,        /* bytes in a tenant, account or resource */
	RATION_ALTERNATIVES_MAX = 8, /* of one route */
};

/* The largest amount one cost may name: about 1.1e12, a million dollars in millionths. */
#define RATION_COST_MAX ((UINT64_C(1) << 40) - 1)

/* Decisions. */
enum {
	RATION_DENIED = 1,    /* not now; the denial says when the same acquire could succeed */
	RATION_OVERSIZE = 2,  /* never: the cost is larger than the limit can ever hold */
	RATION_CONTENDED = 3, /* other workers changed the same bucket too often: try again now */
	RATION_BUSY = 4,      /* too many wait for it already: slow down */
	RATION_WAITING = 5,   /* stands in line (ration_wait_try() only) */
	RATION_GIVE_UP = 6,   /* do not try again (ration_retry_again() only) */
};

/* Errors that errno has no name for. */
enum {
	RATION_ESUPERVISOR = -1001, /* no supervisor listens on the socket */
	RATION_ELAYOUT = -1002,     /* library and supervisor differ in memory layout */
	RATION_ENOTREADY = -1003,   /* the segment is not completely made */
	RATION_EVENDOR = -1004,     /* the policy has no such vendor, and no default one */
	RATION_ECLASS = -1005,      /* the policy has no such class */
	RATION_EUNIT = -1006,       /* a limit counts a unit that the cost does not name */
	RATION_EFULL = -1007,       /* the segment has no room for another bucket */
	RATION_ECORRUPT = -1008,    /* shared memory holds an impossible value */
	RATION_EPOLICY = -1009,     /* the policy is not usable */
	RATION_EWORKERS = -1010,    /* every worker slot is taken */
	RATION_ELOST = -1011,       /* a lease was held too long and has gone to another */
};

struct ration;        /* an attachment of this process to a segment */
struct ration_handle; /* a key, resolved to the buckets it must pass */
struct ration_route;  /* a key whose vendor is a choice between several */

/* One line of explanation, always terminated, without a newline. */
struct ration_error {
	char text[512];
};

/* What a request is on behalf of. NULL, "" and "-" all mean: none. vendor and traffic_class are
 * required. */
struct ration_key {
	const char *tenant;
	const char *vendor;
	const char *traffic_class;
	const char
		*account; /* the vendor-side account, project or credential that owns the quota */
	const char *resource; /* a model, or a family of endpoints */
};

/* How much of a unit. What costs do not name is charged the limit's default_cost: 1 of "requests". */
struct ration_cost {
	const char *unit;
	uint64_t amount; /* 0 ... RATION_COST_MAX */
};

/* Key fields, as bits: what a limit is counted per. */
enum {
	RATION_SCOPE_TENANT = 1,
	RATION_SCOPE_VENDOR = 2,
	RATION_SCOPE_CLASS = 4,
	RATION_SCOPE_ACCOUNT = 8,
	RATION_SCOPE_RESOURCE = 16,
};

/* Why nothing passes for a while, if it is no limit. 1 to 6: what the vendor said, as enum ration_limit_class. */
enum ration_block {
	RATION_BLOCK_NONE = 0,     /* it is a limit */
	RATION_BLOCK_BREAKER = 7,  /* too many of the last responses were limited */
	RATION_BLOCK_OPERATOR = 8, /* somebody blocked it by hand */
	RATION_BLOCK_VENDOR = 9,   /* the vendor asked for it, and did not say why */
};

/* Why an acquire was not granted: the limit that is the last to have room again, or a block that is the last to end. */
struct ration_denial {
	char vendor[RATION_NAME_MAX + 1]; /* "" for a limit over all vendors */
	char limit[RATION_NAME_MAX + 1];  /* "(block)" or "(breaker)" if block is set */
	char unit[RATION_NAME_MAX + 1];
	uint32_t scope;       /* RATION_SCOPE_* bits of that limit */
	uint32_t block;       /* enum ration_block */
	uint64_t left;        /* units it has for this class; if they are enough, it is paced */
	uint64_t size;        /* units it could ever give at once */
	uint64_t needed;      /* units this acquire needs of it */
	uint64_t retry_in_ns; /* from the acquire on; 0 when oversize */
	uint64_t retry_at_ns; /* the same as a CLOCK_BOOTTIME time of this process */
};

/* Set in a ticket: a limit in shadow mode would have denied, and was not charged; the denial names it. */
#define RATION_TICKET_SHADOW UINT32_C(1)

/* One bucket's part of a ticket. For the library alone. */
struct ration_ticket_link {
	uint32_t bucket;
	uint32_t generation;
	uint64_t amount;  /* units charged */
	uint64_t charged; /* the same in the bucket's own measure (ticks for a token bucket) */
	uint64_t word;    /* the state word the charge left behind */
	uint64_t refunds; /* the bucket's refund sum when it was charged */
	uint32_t unit;
	uint32_t flags;
	uint32_t line; /* the bucket in whose line others wait for this one, where it is another */
	uint32_t reserved;
};

/*
 * What an acquire hands out. Plain memory that the caller carries until it settles or cancels, and
 * may copy, but settle or cancel only once. Dropping a ticket is allowed: its cost stays spent as
 * estimated.
 */
struct ration_ticket {
	uint64_t owner;   /* the worker that acquired it; 0: nothing (any more) to settle */
	uint64_t permit;  /* time of permit, in ticks of 1/8 ns since the segment began */
	uint64_t expires; /* do not send after this (same measure): the policy's delay has passed */
	uint32_t flags;   /* RATION_TICKET_* */
	uint32_t n_links;
	struct ration_ticket_link links[RATION_LINKS_MAX + RATION_GATES_MAX];
};

/*
 * Attach to the segment of a running supervisor.
 * path: its socket. NULL: $RATION_SOCKET if that is set, else $XDG_RUNTIME_DIR/ration/ration.sock
 *	if that exists, else /run/ration/ration.sock.
 * wait_ns: how long to wait for a supervisor to appear; 0 fails at once.
 * ret_error: optional; the reason in words (a layout mismatch names both versions).
 * Errors: RATION_ESUPERVISOR, RATION_ELAYOUT, RATION_ENOTREADY, RATION_EWORKERS, RATION_EPOLICY,
 *	-EACCES (this user may not attach), -ENOMEM, other -errno.
 * Ends with ration_detach(). Blocks for at most wait_ns plus 5 seconds.
 */
RATION_API RATION_MUST_CHECK int ration_attach(const char *path, uint64_t wait_ns,
					       struct ration **ret_ration,
					       struct ration_error *ret_error);

/*
 * Make a private segment from a policy file: no supervisor, shared by this process and the
 * children it forks from here on. In libration-embed.
 * ret_error: optional; the first thing wrong with the policy, as file:line:column: message.
 * Errors: RATION_EPOLICY, -ENOMEM, other -errno.
 */
RATION_API RATION_MUST_CHECK int ration_embed(const char *policy_path, struct ration **ret_ration,
					      struct ration_error *ret_error);

/*
 * Leave. Takes and nulls the attachment; NULL is allowed. Handles must have been freed before. What
 * outstanding tickets took stays spent; their leases end.
 */
RATION_API void ration_detach(struct ration **ration);

/*
 * Find (or make) the buckets that a key must pass. The handle copies the key, follows policy
 * changes by itself, and must be freed before its attachment ends.
 * Errors: RATION_EVENDOR, RATION_ECLASS (ret_error lists the known ones), RATION_EFULL, -ENOMEM,
 *	-EINVAL (a field is too long, holds control characters or is not UTF-8).
 */
RATION_API RATION_MUST_CHECK int ration_resolve(struct ration *ration, const struct ration_key *key,
						struct ration_handle **ret_handle,
						struct ration_error *ret_error);

/* The vendor, and the resource ("": none), of a handle's key. The texts live as long as the handle. */
RATION_API const char *ration_handle_vendor(const struct ration_handle *handle);
RATION_API const char *ration_handle_resource(const struct ration_handle *handle);

/* Frees and nulls a handle; NULL is allowed. Tickets acquired through it stay good. */
RATION_API void ration_handle_free(struct ration_handle **handle);

/*
 * Take a cost from every bucket of the key's chain, or from none. Never blocks, makes no system
 * call (but for the first call after a fork or a policy change). Async-signal-safe.
 * costs, n_costs: a unit may be named once; NULL, 0 names none, so that each default_cost holds.
 * ret_ticket: the ticket when 0 is returned, else one with nothing to settle.
 * ret_denial: optional, written when RATION_DENIED or RATION_OVERSIZE is returned, and with a
 *	shadow grant.
 * Returns 0, RATION_DENIED, RATION_OVERSIZE, RATION_CONTENDED, RATION_EUNIT, RATION_EFULL,
 *	RATION_ECORRUPT, -EINVAL; RATION_EVENDOR and RATION_ECLASS after a policy change.
 */
RATION_API RATION_MUST_CHECK int ration_acquire(struct ration_handle *handle,
						const struct ration_cost *costs, size_t n_costs,
						struct ration_ticket *ret_ticket,
						struct ration_denial *ret_denial);

/*
 * The same, standing in line until the cost can be had. Of those that wait for the same bucket, a more protected class
 * comes first, and within a class whoever began to wait first; ration_acquire() does not overtake them either.
 * deadline_ns: CLOCK_BOOTTIME in nanoseconds, as this process reads it; if the earliest possible time lies behind it,
 * RATION_DENIED is returned at once. RATION_BUSY, also at once: no more may stand in that line.
 * -EINTR when a signal handler ran meanwhile. Not async-signal-safe.
 */
RATION_API RATION_MUST_CHECK int ration_acquire_until(struct ration_handle *handle,
						      const struct ration_cost *costs,
						      size_t n_costs, uint64_t deadline_ns,
						      struct ration_ticket *ret_ticket,
						      struct ration_denial *ret_denial);

/*
 * One wait, for event loops. Zeroed memory that the caller keeps where it is from the first ration_wait_try() until one
 * returns something else than RATION_WAITING or RATION_CONTENDED, or ration_wait_end().
 */
struct ration_wait {
	/* Set by the caller before the first try, and then left alone. */
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; 0: none */
	bool loop;            /* sleep on ration_wait_word(), one word for all such waits */
	/* Set with RATION_WAITING. */
	uint64_t wake_at_ns;  /* CLOCK_BOOTTIME: try again then, or as soon as */
	const uint32_t *word; /* this word is no longer */
	uint32_t value;       /* this (loop: as ration_wait_woken() says) */
	/* Set with RATION_BUSY: so many of the class may wait, says the policy; 0: every place is taken. */
	uint32_t bound;
	/* For the library alone. */
	uint64_t place[7];
};

/*
 * ration_acquire(), but who is denied stands in line from then on: RATION_WAITING. Call it again, with the same cost,
 * at wake_at_ns or when the word has changed: wait for both with futex(2), FUTEX_WAIT without FUTEX_PRIVATE_FLAG. A
 * waiter that comes more than 50 ms late is passed by those behind it.
 * Returns what ration_acquire() returns, but RATION_DENIED only if it can not be had by the deadline; RATION_WAITING;
 * RATION_BUSY. ret_denial: optional, written with the last three, and as by ration_acquire().
 */
RATION_API RATION_MUST_CHECK int ration_wait_try(struct ration_handle *handle,
						 const struct ration_cost *costs, size_t n_costs,
						 struct ration_wait *wait,
						 struct ration_ticket *ret_ticket,
						 struct ration_denial *ret_denial);

/* Give up: leave the line. Harmless if it stands in none. */
RATION_API void ration_wait_end(struct ration *ration, struct ration_wait *wait);

/*
 * The word that changes whenever a wait of this process with `loop` is woken; ration_wait_woken() then says which of
 * them. NULL before anything was acquired or waited for in a forked child.
 */
RATION_API const uint32_t *ration_wait_word(const struct ration *ration);
RATION_API RATION_MUST_CHECK bool ration_wait_woken(const struct ration_wait *wait);

/*
 * Like ration_resolve(), for a key whose vendor may be a route of the policy: then each of its alternatives that the
 * key's class may take is resolved, with the alternative's vendor and resource (without one: the key's). A plain vendor
 * is a route of one alternative. Routes follow policy changes, and must be freed before their attachment ends.
 * Errors: those of ration_resolve(); -EACCES (the class may not take this route).
 */
RATION_API RATION_MUST_CHECK int ration_route_resolve(struct ration *ration,
						      const struct ration_key *key,
						      struct ration_route **ret_route,
						      struct ration_error *ret_error);

/* Frees and nulls a route and the handles of its alternatives; NULL is allowed. Tickets stay good. */
RATION_API void ration_route_free(struct ration_route **route);

/* One of those that a request can go to. */
struct ration_alternative {
	const char *name;                /* "openai/gpt-4o", or "openai": as the policy has it */
	const struct ration_cost *costs; /* of the request there */
	size_t n_costs;
};

/* What is asked of a route. */
struct ration_ask {
	const struct ration_cost *costs; /* wherever it goes */
	size_t n_costs;
	const struct ration_alternative *only; /* these alone, at their own costs; NULL: all */
	size_t n_only;
};

/* Where a request goes. Name and handle live as long as the route. */
struct ration_pick {
	const char *name;
	struct ration_handle *handle;
	size_t index; /* in `only` */
};

/*
 * ration_acquire() on one of a route's alternatives. Of ordered ones the first is taken as long as a fifth of its limits
 * is left for the class, and below that the less often the less there is; else the next. Weighted ones are taken by chance
 * in these parts. Whoever is left out by chance, or denied after all, takes the calmest that is left. What is blocked or
 * denies is left out. No state is kept: all is read from the same buckets that admit.
 * ret_pick: where it was granted; with RATION_DENIED, RATION_OVERSIZE: the alternative that the denial is of, the first
 *	to have room.
 * Not async-signal-safe. Threads may call it at the same time, and the next.
 * Returns what ration_acquire() returns; RATION_EVENDOR if the policy has none of `only`; -EACCES; -ENOMEM.
 */
RATION_API RATION_MUST_CHECK int
ration_route(struct ration_route *route, const struct ration_ask *ask, struct ration_pick *ret_pick,
	     struct ration_ticket *ret_ticket, struct ration_denial *ret_denial);

/*
 * ration_acquire_until() and ration_wait_try() on a route: each look is at all alternatives, and whoever waits does so in
 * the line of the first that is to have room. ret_pick as above, and with RATION_WAITING and RATION_BUSY.
 */
RATION_API RATION_MUST_CHECK int
ration_route_until(struct ration_route *route, const struct ration_ask *ask, uint64_t deadline_ns,
		   struct ration_pick *ret_pick, struct ration_ticket *ret_ticket,
		   struct ration_denial *ret_denial);
RATION_API RATION_MUST_CHECK int
ration_route_try(struct ration_route *route, const struct ration_ask *ask, struct ration_wait *wait,
		 struct ration_pick *ret_pick, struct ration_ticket *ret_ticket,
		 struct ration_denial *ret_denial);

/*
 * The alternatives that the key's class may take just now, in the policy's order: n = 0, 1, ... until -ENOENT. Other
 * errors are those of ration_resolve().
 */
RATION_API RATION_MUST_CHECK int ration_route_alternative(struct ration_route *route, size_t n,
							  struct ration_pick *ret_pick);

/*
 * How pressed the quota of a key is, 0 ... 100: up to 50 as its fullest limit is used up; from 50 on its class (or a
 * more protected one) stands in line, and 100 is a line in which nobody finds a place. Callers that can slow
 * down should do so from 50 on: ration_acquire_until() returns RATION_BUSY at 100. Negative values are errors.
 */
RATION_API RATION_MUST_CHECK int ration_pressure(struct ration_handle *handle);

/*
 * Correct what a ticket took to what was really used, and end the ticket. Units that actual does
 * not name keep their estimate. More than the estimate is always charged, into debt if need be;
 * less gives back the part that time has not already given back. Async-signal-safe.
 * Errors: -EINVAL (not this process's ticket, or ended before); RATION_ELOST (it was settled and has ended, but a lease
 *	of it had been held longer than its limit allows, and somebody else has the slot).
 */
RATION_API int ration_settle(struct ration *ration, struct ration_ticket *ticket,
			     const struct ration_cost *actual, size_t n_actual);

/* Give a ticket back because the request never left, and end the ticket. Otherwise like settle. */
RATION_API int ration_cancel(struct ration *ration, struct ration_ticket *ticket);

/*
 * End a ticket whose request is over: its costs stay as estimated, its leases (slots of concurrency
 * limits) are free again. settle and cancel end leases too. Otherwise like settle.
 */
RATION_API int ration_release(struct ration *ration, struct ration_ticket *ticket);

/*
 * End a ticket whose request was given up without an answer (timed out, cancelled, its connection lost): its costs stay
 * as estimated, and its slots are free again when the policy's `delay` is over, for that long the vendor may not know.
 * Otherwise like settle.
 */
RATION_API int ration_abandon(struct ration *ration, struct ration_ticket *ticket);

/*
 * Whether a request may still be sent on this ticket: a permit is good for the policy's `delay`.
 * If not, cancel it and acquire again. One clock read. Async-signal-safe.
 */
RATION_API RATION_MUST_CHECK bool ration_ticket_fresh(const struct ration *ration,
						      const struct ration_ticket *ticket);

/* What kind of limit a response was refused for. */
enum ration_limit_class {
	RATION_LIMIT_NONE,
	RATION_LIMIT_RATE,
	RATION_LIMIT_QUOTA,       /* of a day or longer, or of the whole plan */
	RATION_LIMIT_CONCURRENCY, /* over when a request ends */
	RATION_LIMIT_COST,
	RATION_LIMIT_OVERLOAD, /* the vendor's own trouble */
	RATION_LIMIT_BILLING,
};

/* How far a refusal reaches: what is to be held back until its time is over. */
enum ration_reach {
	RATION_REACH_REQUEST,  /* this very request */
	RATION_REACH_RESOURCE, /* what it was for; of a key without a resource: the tenant */
	RATION_REACH_TENANT,
	RATION_REACH_ACCOUNT, /* of a key without an account: the tenant */
};

/* Of amounts and times that a response does not tell. */
#define RATION_UNKNOWN UINT64_MAX

enum {
	RATION_TOLD_MAX = 16, /* limits that one response may speak of */
};

/* What the vendor said of one limit. */
struct ration_told {
	char name[RATION_NAME_MAX + 1]; /* as the vendor calls it; "": not known */
	char unit[RATION_NAME_MAX + 1]; /* "": requests */
	uint64_t limit;                 /* units, in window_ns if that is told */
	uint64_t remaining;             /* units */
	uint64_t reset_in_ns;           /* until all of it, or more of it, is there again */
	uint64_t window_ns;
};

/* What one response said about quota, whatever its vendor's notation. */
struct ration_signal {
	int status; /* HTTP status; 0: none came */
	bool limited;
	bool retryable;
	enum ration_limit_class limit_class;
	enum ration_reach reach;
	uint64_t retry_in_ns; /* not before; RATION_UNKNOWN: back off */
	uint32_t n_told;
	uint32_t
		attempt; /* 1: the first try; 0: not known. This and headers are for people: see ration(1), events */
	const char
		*headers; /* those that speak of limits, as received, no others; NULL: not known */
	struct ration_told told[RATION_TOLD_MAX];
};

/*
 * Feed back what a vendor answered, so that every process on the host knows it at its next acquire. What the vendor
 * says is left corrects the buckets: down at once, and what we did not spend is counted as foreign; up only by what
 * nothing of ours that may still be on its way explains.
 * handle: of the request's key. ticket: what it was sent on, before it is ended; NULL if it is not known, then nothing
 * is corrected upwards. A ticket of another process is as good, for its times and words are compared only.
 * signal: a copy is not kept; what it does not tell must be RATION_UNKNOWN, or "".
 * Not async-signal-safe. Threads may call it at the same time.
 * Errors: those of ration_resolve(); -EINVAL (n_told, limit_class or reach is out of range, or a text has no end).
 */
RATION_API int ration_observe(struct ration_handle *handle, const struct ration_ticket *ticket,
			      const struct ration_signal *signal);

/* The tries of one request. */
struct ration_retry {
	uint64_t began_ns; /* CLOCK_BOOTTIME */
	uint32_t tries;    /* so far */
	uint32_t reserved;
	const char *why; /* set with RATION_GIVE_UP: a constant text */
};

/*
 * A request is about to be tried for the first time: this earns a part of a retry for the budget that all processes share
 * for its vendor and class. What follows goes by the class's `retry` in the policy. Not async-signal-safe, as the next.
 */
RATION_API void ration_retry_begin(struct ration_handle *handle, struct ration_retry *ret_retry);

/*
 * A try has failed. signal: what was answered; NULL: nothing. repeatable: it did not reach the vendor, or does no harm
 * a second time (GET, PUT, DELETE, a request with an idempotency key); what the vendor refused for a limit was not acted upon,
 * and may be repeated in any case.
 * Returns 0, and a retry was taken from the budget: try again after *ret_wait_ns, on a ticket of its own; or
 * RATION_GIVE_UP; or an error. The wait is the vendor's, if it says one, else any time up to a bound that doubles.
 */
RATION_API RATION_MUST_CHECK int ration_retry_again(struct ration_handle *handle,
						    struct ration_retry *retry,
						    const struct ration_signal *signal,
						    bool repeatable, uint64_t *ret_wait_ns);

/*
 * Write a denial as one line, such as
 *	denied: salesforce/org-rate (tenant acme): 3 of 20 left, needs 5; retry in 20 ms
 * handle: optional; whose key fields are named. Returns what snprintf(3) returns.
 */
RATION_API int ration_denial_text(const struct ration_denial *denial,
				  const struct ration_handle *handle, char *buf, size_t size);

/* A constant string for any value that this library returns, -errno included. Never NULL. */
RATION_API const char *ration_strerror(int code);

#ifdef __cplusplus
}
#endif

#endif
