/*
 * tests/support_rationd.h - a real rationd in a directory of its own
 * SPDX-License-Identifier: MIT
 *
 * $RATION_BUILD names the directory of the program under test (default "build"). The supervisor dies with the test's
 * process. Everything here fails the test if it cannot do what it says.
 */
#ifndef RATION_TESTS_SUPPORT_RATIOND_H
#define RATION_TESTS_SUPPORT_RATIOND_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "client/wire.h"

struct rationd {
	char dir[64];       /* mode 0755; removed by rationd_stop() */
	char policy[128];   /* dir/policy.yaml */
	char socket[128];   /* dir/run/ration.sock */
	char log_path[128]; /* its stderr */
	pid_t pid;
	int notify;          /* what it tells its service manager */
	bool by_environment; /* tell it its socket by $RATION_SOCKET, not by option */
	const char *const
		*more;   /* options, for a service manager to start it with; NULL at the end */
	char log[65536]; /* as rationd_log() read it last */
};

/* One vendor `crm`, one class `interactive`, one limit per tenant: 100/s with a burst of 20, exactly. */
extern const char rationd_plain_policy[];

/* Path of a program that was built. */
const char *rationd_program(const char *name);

/* Directory and policy only. */
void rationd_prepare(struct rationd *r, const char *policy);

/* Run it in the prepared directory. args: more options, NULL at the end; NULL: none. Does not wait. */
void rationd_spawn(struct rationd *r, const char *const args[]);

/* Wait for READY=1 on its notify socket. */
void rationd_ready(struct rationd *r);

/* All three. */
void rationd_start(struct rationd *r, const char *policy, const char *const args[]);

/* The next datagram it sent to its service manager contains this. */
void rationd_expect_notice(struct rationd *r, const char *text);

/* Wait for its end: exit status, or -signal. */
int rationd_wait(struct rationd *r);

/* SIGTERM, wait, remove the directory. Returns the exit status, or -signal. */
int rationd_stop(struct rationd *r);

/* Replace the policy file. */
void rationd_write_policy(struct rationd *r, const char *policy);

/* SIGHUP, and wait until it says that it is done. */
void rationd_reload(struct rationd *r);

/* All of its stderr so far; and wait until that contains a text, n times. */
const char *rationd_log(struct rationd *r);
void rationd_expect_log(struct rationd *r, const char *text, int n);

/* Let users that the file modes would keep out connect, so that the supervisor has to decide. */
void rationd_open_to_all(struct rationd *r);

/* --- an attach by hand --- */

struct hello_answer {
	union {
		struct wire_head head;
		struct wire_welcome welcome;
		struct wire_refuse refuse;
	} message;
	ssize_t size; /* 0: end of file; negative: -errno */
	int fds[2];
	int n_fds;
};

/* A hello that is right. */
struct wire_hello hello_right(enum wire_role role);

struct sockaddr_un socket_address(const char *path);
int hello_connect(const char *path);
/* -errno if it cannot be sent. */
int hello_send(int socket, const void *message, size_t size, const int *fds, int n_fds);
/* Waits up to 10 s. */
struct hello_answer hello_answer(int socket);
/* Connect, send a right worker's hello with our own pidfd, take the answer; the socket is in *ret_socket. */
struct hello_answer hello_attach(const char *path, int *ret_socket);

int open_pidfd(pid_t pid);
/* Exit status of a child, or -signal. Bounded. */
int wait_child(pid_t pid);
/* Open descriptors of a process. */
int count_fds(pid_t pid);
/* Wait until it has so many: an answer comes just before the supervisor closes what it was about. */
void expect_fds(pid_t pid, int n);

#endif
