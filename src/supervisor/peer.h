/*
 * supervisor/peer.h - who is at the other end, and may they?
 * SPDX-License-Identifier: MIT
 *
 * Everything is asked of the kernel; nothing a peer says about itself is believed.
 */
#ifndef RATION_SUPERVISOR_PEER_H
#define RATION_SUPERVISOR_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/blob.h"

#define ACCESS_MAX 64u

/* Who may attach, besides root and the supervisor's own user. */
struct access {
	uid_t users[ACCESS_MAX];
	gid_t groups[ACCESS_MAX];
	unsigned n_users;
	unsigned n_groups;
};

struct peer {
	pid_t pid; /* in our pid namespace */
	uid_t uid;
	gid_t gid;
};

/* As they were at connect(2). -ESRCH: a process outside our pid namespace. */
int peer_read(int socket, struct peer *ret_peer);

/* By user, primary group, or a supplementary group. */
bool peer_allowed(int socket, const struct peer *peer, const struct access *access);

/*
 * Which classes of a policy a peer may claim, as a bit mask: those that list nobody, or it, or a group of its. root
 * may claim all of them. peer NULL: an observer, which claims none.
 */
uint32_t peer_classes(int socket, const struct peer *peer, const struct blob *blob);

/*
 * The process a pidfd stands for. -EBADF: that is no pidfd; -ESRCH: it is dead, or not in our pid
 * namespace.
 */
int pidfd_process(int fd, pid_t *ret_pid);

/* A pidfd is readable from the moment its process (all of its threads) has ended. */
bool pidfd_dead(int fd);

/* Clock ticks after boot at which a process began; 0 if /proc does not say. */
uint64_t process_start(pid_t pid);

#endif
