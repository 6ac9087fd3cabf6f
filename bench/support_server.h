/*
 * bench/support_server.h - a server of the benchmark's own, in a directory that vanishes
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_BENCH_SUPPORT_SERVER_H
#define RATION_BENCH_SUPPORT_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct server {
	char dir[80]; /* in $TMPDIR; holds its socket, configuration and logs */
	pid_t pid;    /* 0: not started */
};

/* Make the directory. False after a message. */
bool server_dir(struct server *server);

/* Write dir/name. False after a message. */
bool server_file(const struct server *server, const char *name, const char *text);

/*
 * Start argv[0] (a path, or sought in $PATH and the sbin directories), output to dir/log; it dies with us.
 * Returns false if there is no such program.
 */
bool server_start(struct server *server, const char *const argv[]);

/* Whether the program still runs. */
bool server_runs(const struct server *server);

/* Connect to dir/name or to a port of 127.0.0.1, for up to 5 seconds while the program runs. A
 * descriptor, or -1 after showing what the program said. */
int server_connect_unix(const struct server *server, const char *name);
int server_connect_tcp(const struct server *server, unsigned port);

/* A port of 127.0.0.1 that nobody uses just now; 0: none. */
unsigned server_free_port(void);

/* End the program, if it runs, and remove the directory. May be called again. */
void server_stop(struct server *server);

#endif
