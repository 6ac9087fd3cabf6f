/*
 * supervisor/place.h - the one place where a supervisor is found
 * SPDX-License-Identifier: MIT
 *
 * A place is a socket's path. Who holds the lock on the pid file beside it (PATH.pid) is the
 * supervisor of that place; only the holder touches the socket file. The socket is either made here
 * or handed down by a service manager (sd_listen_fds(3)), which then owns its file. One that was made here and is kept
 * for a successor (store.h) stays, and so does its file: who attaches meanwhile waits for that successor.
 */
#ifndef RATION_SUPERVISOR_PLACE_H
#define RATION_SUPERVISOR_PLACE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

struct handed;
struct pidfh;

struct place {
	struct sockaddr_un address;
	struct pidfh *pidfile;
	int socket;
	int metrics; /* a socket handed down for figures, by the name "metrics"; -1: none */
	bool activated;
	bool bound;
	struct stat made; /* the file that bind(2) made, so that no other is ever removed */
};

/*
 * Returns 0 or the status to exit with (EX_TEMPFAIL: another supervisor runs), after logging why.
 */
int place_take(struct place *place, const struct sockaddr_un *address, struct handed *handed);

/* Make the directory that a socket is to be in, if it is not there. 0 or the status to exit with. */
int place_directory(const char *socket_path);

/*
 * Stop listening, remove what place_take() made. Harmless on a place that was not (wholly) taken.
 */
void place_leave(struct place *place);

#endif
