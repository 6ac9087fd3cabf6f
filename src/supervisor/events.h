/*
 * supervisor/events.h - what workers say happened: into the log, kept for a while, and to whoever follows
 * SPDX-License-Identifier: MIT
 *
 * Ten times a second one word is looked at; only where something was told are the rings of all slots (shm/event.h). The
 * latest events are kept, and a follower is a place among them: one that reads too slowly is told how many it missed.
 * Nobody is waited for, and a follower costs no memory that grows.
 */
#ifndef RATION_SUPERVISOR_EVENTS_H
#define RATION_SUPERVISOR_EVENTS_H

#include <systemd/sd-event.h>

#include "shm/event.h"
#include "supervisor/log.h"

#define EVENTS_KEPT   1024u
#define FOLLOWERS_MAX 32u
#define VENDORS_MAX   64u /* that events are counted by; all others are one */

struct supervisor;

struct kept_event {
	int64_t wall_ns; /* when, since 1970 */
	uint32_t words;
	struct event_image image;
};

struct follower {
	struct supervisor *supervisor;
	sd_event_source *io; /* NULL: none */
	int socket;
	bool stays;    /* for what is to come */
	uint64_t next; /* number of the event that it gets next */
};

/* How often each type was told for a vendor; the last one is for all whose names found no room. */
struct event_counts {
	char vendor[64];
	uint64_t n[EVENT_TYPE_COUNT];
};

struct events {
	struct kept_event *kept; /* EVENTS_KEPT; event number i is at i % EVENTS_KEPT */
	uint64_t told;           /* events so far: the next one's number */
	uint32_t *seen;          /* of each slot's ring */
	uint32_t looked;         /* control->events, as it was then */
	uint64_t dropped;        /* control->events_dropped, likewise */
	uint64_t malformed;
	unsigned lines; /* since the last tick */
	unsigned suppressed;
	struct log_limit losses;
	struct event_counts counts[VENDORS_MAX + 1];
	uint32_t n_counts;
	struct follower followers[FOLLOWERS_MAX];
};

/* -errno */
int events_start(struct supervisor *s);
/* Take what all workers have told. */
void events_drain(struct supervisor *s);
void events_stop(struct supervisor *s);

/* --- followers.c --- */

/* A peer that may attach is to have the latest events, and if it stays those to come. Takes the socket over; -EBUSY, -errno. */
int follower_add(struct supervisor *s, int socket, bool stays);
/* Something was told. */
void followers_feed(struct supervisor *s);
void followers_stop(struct supervisor *s);

#endif
