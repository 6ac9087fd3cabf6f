/*
 * client/converse.h - what is said over the attach socket, from the worker's side
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLIENT_CONVERSE_H
#define RATION_CLIENT_CONVERSE_H

#include "client/attachment.h"
#include "client/wire.h"

/* What a supervisor answered: one of two messages, and the descriptors that came with it. */
struct answer {
	union {
		struct wire_head head;
		struct wire_welcome welcome;
		struct wire_refuse refuse;
	} message;
	int state_fd;
	int policy_fd;
};

/*
 * Connect to ration->address, say hello, and be welcomed: a socket, or an error that is explained. The
 * answer's descriptors are the caller's to close. Takes no longer than budget_ns.
 */
int converse(const struct ration *ration, uint64_t budget_ns, struct answer *answer,
	     struct ration_error *error);

void answer_close(struct answer *answer);

/*
 * Ask a supervisor to put a number over its policy's. 0, or why not, in the supervisor's words.
 */
int converse_set(const char *path, const struct wire_set *set, struct ration_error *ret_error);

/*
 * Ask a supervisor for its latest events, and those to come if `follow`: a socket for converse_event(), or an error that is
 * explained.
 */
int converse_events(const char *path, bool follow, struct ration_error *ret_error);

/* Wait for the next event: 1, 0 at the end, or an error that is explained. */
int converse_event(int socket, struct wire_event *ret_event, struct ration_error *ret_error);

#endif
