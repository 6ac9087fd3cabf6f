/*
 * tests/support_manager.h - what a service manager does for rationd: notices, and the descriptor store
 * SPDX-License-Identifier: MIT
 *
 * As systemd does it (sd_pid_notify_with_fds(3), sd_listen_fds(3)), for a rationd that support_rationd.h prepared.
 */
#ifndef RATION_TESTS_SUPPORT_MANAGER_H
#define RATION_TESTS_SUPPORT_MANAGER_H

#include "support_rationd.h"

#define MANAGER_FDS_MAX 64

struct manager {
	struct rationd *rationd;
	char name[MANAGER_FDS_MAX][32];
	int fd[MANAGER_FDS_MAX];
	int n;
	int ready; /* times it said so */
};

/* Prepared, but not started. */
void manager_begin(struct manager *m, struct rationd *rationd);

/* Run rationd with what is stored. before: a command that runs it, NULL at the end; NULL: it runs by itself. */
void manager_spawn(struct manager *m, const char *const before[]);

/* Take its next notice. False: none came in time. */
bool manager_read(struct manager *m, int patience_ms);

/* Take notices until it is ready once more. */
void manager_until_ready(struct manager *m);

/* How many descriptors stand under a name; the first of them; close and forget them. */
int manager_has(const struct manager *m, const char *name);
int manager_fd(const struct manager *m, const char *name);
void manager_remove(struct manager *m, const char *name);

/*
 * Be the service manager from here on, in a child: run rationd (the first time by a command, if there is one), and run it
 * again when it dies, so many times, until told to stop (SIGTERM). Does not return: exits with rationd's last status, or
 * 100 + the signal that killed it. One that was never ready and exits is not run again.
 */
void manager_serve(struct rationd *r, const char *const before[], unsigned deaths_max)
	__attribute__((noreturn));
/* The process that has the place now; 0: none. */
pid_t manager_pid(const struct rationd *r);

/* Forget all. */
void manager_end(struct manager *m);

#endif
