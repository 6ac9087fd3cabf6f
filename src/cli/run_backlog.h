/*
 * cli/run_backlog.h - requests read ahead, one queue for each key
 * SPDX-License-Identifier: MIT
 *
 * Keys differ in how fast their quota lets them go. Were requests handed out in the order of the file, those of slow
 * keys would soon fill every worker's window and hold up the fast ones. So what goes out next is the oldest request
 * of the key that has the fewest out: each key keeps its share of the windows, whatever the others do.
 *
 * Keys with something queued stand in lists by how many they have out; the lowest list that is not empty is next.
 */
#ifndef RATION_CLI_RUN_BACKLOG_H
#define RATION_CLI_RUN_BACKLOG_H

#include "cli/run_report.h"

struct key_queue;

/* One request, from its line until its result. */
struct item {
	struct item *next;
	struct key_queue *key;
	char *id;     /* as JSON text */
	json_t *cost; /* or NULL */
	uint64_t read_ns;
	unsigned handed; /* times it was given to a worker */
	size_t size;
	char line[];
};

struct key_queue {
	struct key_queue *next; /* in its list; a ring */
	struct key_queue *prev;
	struct item *head;
	struct item *tail;
	unsigned out; /* with workers */
	struct report_key report;
};

enum { BACKLOG_LEVELS = RUN_WINDOW * RUN_WORKERS_MAX + 1 };

struct backlog {
	struct table keys;
	struct key_queue *levels[BACKLOG_LEVELS]; /* any member of the ring, or NULL */
	unsigned lowest;                          /* no list below it has anything */
	size_t n_queued;
	size_t n_out;
	size_t bytes; /* of the lines of both */
};

/* The queue of a key, made if need be. */
struct key_queue *backlog_key(struct backlog *backlog, struct report *report,
			      const char *const key[KEY_FIELDS]);

/* A new request, at the end of its key's queue. Takes id and cost. */
void backlog_add(struct backlog *backlog, struct key_queue *key, char *id, json_t *cost,
		 const char *line, size_t size, uint64_t read_ns);

/* Take the next one out; NULL: nothing is queued. It counts as out until backlog_done() or backlog_again(). */
struct item *backlog_next(struct backlog *backlog);

/* It has its result, or is dropped: frees it. */
void backlog_done(struct backlog *backlog, struct item *item);

/* It was not sent: to the front of its queue. */
void backlog_again(struct backlog *backlog, struct item *item);

/* Drops all that is queued; returns how many. */
size_t backlog_clear(struct backlog *backlog);

void backlog_free(struct backlog *backlog);

#endif
