/*
 * cli/run_fleet.h - the worker processes of `ration run`, as their parent sees them
 * SPDX-License-Identifier: MIT
 *
 * Each worker holds at most RUN_WINDOW requests. A worker that is killed is noticed by the end of its socket: what it
 * had marked as sent has an unknown fate, the rest may go to others, and it is replaced.
 */
#ifndef RATION_CLI_RUN_FLEET_H
#define RATION_CLI_RUN_FLEET_H

#include <poll.h>
#include <sys/types.h>

#include "cli/run_backlog.h"
#include "cli/run_worker.h"

struct fleet_worker {
	pid_t pid; /* 0: none, and none will come */
	int fd;
	unsigned n_out;
	size_t bytes;           /* of the lines it holds */
	_Atomic uint32_t *sent; /* RUN_WINDOW marks, shared with the worker */
	struct buffer in;
	struct buffer out;
	struct item *slots[RUN_WINDOW];
	uint16_t free_slots[RUN_WINDOW]; /* RUN_WINDOW - n_out of them */
};

/* What the fleet has to say. */
struct fleet_events {
	/* The request has ended. */
	void (*answer)(void *user, struct item *item, const struct frame_answer *answer,
		       const char *text, size_t size);
	/* It was not sent: given back as told, or its worker was lost. */
	void (*back)(void *user, struct item *item, bool lost);
	void *user;
};

struct fleet {
	struct worker_setup setup; /* the same for all, but for fd and sent */
	struct fleet_events events;
	int close_in_child[4]; /* the parent's own descriptors; -1: none */
	int status;            /* not EX_OK: workers cannot work, a message was printed */
	bool ending;           /* lost workers are not replaced any more */
	uint64_t lost;
	unsigned lost_in_a_row; /* without any answer in between */
	uint32_t n;
	struct fleet_worker *workers;
};

/* EX_OK, or a status after a message. */
int fleet_start(struct fleet *fleet, uint32_t n);

/* Whether any worker could take a request. */
bool fleet_has_room(const struct fleet *fleet);

/* Give a request to the worker that holds the fewest. Only if there is room. */
void fleet_give(struct fleet *fleet, struct item *item);

/* FRAME_STOP or FRAME_END, to all. */
void fleet_tell(struct fleet *fleet, enum frame_type type);

/* Fill in one struct pollfd for each worker, and handle what poll() found. */
void fleet_poll_prepare(const struct fleet *fleet, struct pollfd *fds);
void fleet_poll_done(struct fleet *fleet, const struct pollfd *fds);

/* End all workers now. Their requests get their events. */
void fleet_kill(struct fleet *fleet);

/* Wait for workers that were told FRAME_END, and free everything. */
void fleet_close(struct fleet *fleet);

#endif
