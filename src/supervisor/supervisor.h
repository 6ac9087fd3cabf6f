/*
 * supervisor/supervisor.h - everything one supervisor has
 * SPDX-License-Identifier: MIT
 *
 * One thread, one event loop. The loop is sd-event's: this is not a data path, and it brings
 * signals, timers and the service manager's watchdog in one well-kept piece; io_uring would only
 * add a second way to wait for them.
 *
 *	place		where workers find us
 *	store		what is kept for a successor, and takeover: being one
 *	greet		connections that have not yet said who they are
 *	ledger		who the workers are
 *	roster		giving slots, death, detach, telling workers of a new policy
 *	published	the policy
 *	reload, carry	a new one
 *	tune, patrol	keeping live buckets right
 *	wallclock	which time it is for windows
 *	events		what workers say happened, and who wants to know
 *	metrics		figures for monitoring
 *	checkpoint	what outlives a reboot
 */
#ifndef RATION_SUPERVISOR_SUPERVISOR_H
#define RATION_SUPERVISOR_SUPERVISOR_H

#include <systemd/sd-event.h>

#include "client/memory.h"
#include "client/wall.h"
#include "shm/layout.h"
#include "shm/sweep.h"
#include "supervisor/checkpoint.h"
#include "supervisor/events.h"
#include "supervisor/ledger.h"
#include "supervisor/log.h"
#include "supervisor/metrics.h"
#include "supervisor/options.h"
#include "supervisor/place.h"
#include "supervisor/published.h"
#include "supervisor/set.h"
#include "supervisor/store.h"

#define GREETINGS_MAX 64u /* connections that have not yet greeted; the oldest makes room */

struct supervisor;

/* A connection before its hello. socket -1: none. */
struct greeting {
	struct supervisor *supervisor;
	int socket;
	struct peer peer;
	uint64_t serial; /* order of arrival */
	sd_event_source *io;
	sd_event_source *deadline;
};

/* What the event loop watches for one slot of the ledger. */
struct watch {
	struct supervisor *supervisor;
	uint32_t slot;
	sd_event_source *socket;
	sd_event_source *pidfd;
};

struct patrol {
	uint32_t next;       /* bucket to look at next */
	uint32_t next_stamp; /* the same for stamps */
	uint32_t behind;     /* buckets still to be looked at because of an older policy */
	uint64_t repaired;
	uint64_t reclaimed;
	uint64_t full;    /* as it was counted last */
	uint64_t learned; /* likewise */
	bool learning;    /* some bucket has other numbers than the policy's */
	struct sweep names;
};

struct supervisor {
	const struct options *options;
	sd_event *event;
	struct place place;
	sd_event_source *listening;
	uint32_t maker; /* worker slot of our own, to make buckets */
	int state_fd;
	int state_reader_fd; /* the same, opened read-only: for observers */
	struct seg seg;
	struct published policy;
	struct overlays overlays;
	struct ledger ledger;
	struct watch *watches; /* one for each slot */
	struct greeting greetings[GREETINGS_MAX];
	uint64_t greeted; /* connections so far */
	struct log_limit refusals;
	struct log_limit problems;
	struct log_limit corrupt;
	struct patrol patrol;
	struct events events;
	struct metrics metrics;
	struct checkpoint *checkpoint; /* NULL: there is no directory for any */
	enum wall_event wall_said;     /* the last one, so that each is logged once */
	bool took_over;
	int status; /* to exit with */
};

/* Serve until told to stop. Returns the status to exit with. */
int supervisor_run(struct supervisor *supervisor, const struct options *options);

/* --- greet.c --- */

/* Begin to accept. -errno. */
int greet_start(struct supervisor *s);
/* Accept again after greet.c stopped for want of descriptors. */
void greet_resume(struct supervisor *s);
void greet_stop(struct supervisor *s);

/* --- takeover.c --- */

/* Have a policy kept for a successor; and not any more. */
void takeover_keep(const struct published *policy);
void takeover_drop(const struct published *policy);
/* Go on with what a predecessor left. 0, or the status to exit with after logging why. */
int takeover(struct supervisor *s, struct handed *handed);
/* The workers' descriptors, once the loop is there; and a policy that was changed meanwhile. */
int takeover_finish(struct supervisor *s, struct handed *handed);

/* --- roster.c --- */

/* Watch a worker that a predecessor let in. The descriptors are the roster's from here on; -1: it is not there. */
int roster_adopt(struct supervisor *s, uint32_t slot, int socket, int pidfd);

/* Why somebody is not let in. */
struct refusal {
	int code;
	char text[400];
};
int refuse(struct refusal *refusal, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Make the process behind `socket` a worker and welcome it. Takes over both descriptors on success
 * only. Otherwise returns a negative code, with the words in *refusal.
 */
int roster_add(struct supervisor *s, int socket, const struct peer *peer, int pidfd,
	       struct refusal *refusal);
/* Hand an observer what it may look at. Its connection ends with that. */
int roster_show(struct supervisor *s, int socket, struct refusal *refusal);
/*
 * Put the current policy into the socket of every worker that does not have it yet. Returns how
 * many still wait.
 */
uint32_t roster_tell(struct supervisor *s);
/* Whether some worker may still act on an older policy than the current one. */
bool roster_lags(const struct supervisor *s);
/* Put right what stands in state about who has which slot. */
void roster_mend(struct supervisor *s);
void roster_stop(struct supervisor *s);

/* --- reload.c --- */

/* Compile the file again and publish it, or keep what there is; either way say so. */
void reload_policy(struct supervisor *s);
/* The same with words for somebody else. 0, or what published_make() returns. */
int reload_with(struct supervisor *s, policy_report *report, void *user);
/* Tell the service manager. */
void reload_status(const struct supervisor *s, const char *state, const char *remark);
/* A policy_report: into the log. */
void reload_message(void *user, const struct policy_message *message);

/* --- set.c --- */

/* Put a number over the policy's, as a peer asks. 0, or a negative code with the words in *refusal. */
int set_number(struct supervisor *s, const struct peer *peer, const struct wire_set *set,
	       struct refusal *refusal);

/* --- patrol.c --- */

int patrol_start(struct supervisor *s);
/* All buckets at once, for a new policy; before: the one that it replaces. */
struct patrol_counts {
	uint32_t linked;
	uint32_t changed;
	uint32_t carried;
	uint32_t orphans;
	uint32_t unreadable;
};
struct patrol_counts patrol_all(struct supervisor *s, const struct published *before);

/* --- wallclock.c --- */

int wallclock_start(struct supervisor *s);
/* Before that: go on by this offset, and from what windows have gone by. */
void wallclock_resume(struct supervisor *s, int64_t offset, int64_t latest);
/* See whether the clock was set, and publish what windows are to go by. */
void wallclock_look(struct supervisor *s);
/* Whoever asked for a reload has confirmed a clock that was set far forward. */
void wallclock_confirm(struct supervisor *s);
/* ns since 1970: the latest that windows have gone by, which is now unless the clock was set back. */
int64_t wallclock_latest(struct supervisor *s);
/* How far what windows go by is ahead of the clock, in ns; negative: behind. */
int64_t wallclock_ahead(const struct supervisor *s);

/* Ticks now. */
static inline uint64_t supervisor_now(const struct supervisor *s)
{
	return (clock_boot_ns() - s->seg.epoch_ns) * TICKS_PER_NS;
}

#endif
