/*
 * supervisor/peer.c - who is at the other end, and may they?
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int peer_read(int socket, struct peer *ret_peer)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	if (cred.pid <= 0)
		return -ESRCH;
	*ret_peer = (struct peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
	return 0;
}

static bool group_allowed(gid_t gid, const struct access *access)
{
	for (unsigned i = 0; i < access->n_groups; i++)
		if (access->groups[i] == gid)
			return true;
	return false;
}

static bool user_allowed(uid_t uid, const struct access *access)
{
	if (uid == 0 || uid == geteuid())
		return true;
	for (unsigned i = 0; i < access->n_users; i++)
		if (access->users[i] == uid)
			return true;
	return false;
}

/* The groups are those of connect(2) too, not what the process has made of itself since. */
static bool supplementary_allowed(int socket, const struct access *access)
{
	socklen_t size = NGROUPS_MAX * sizeof(gid_t);
	gid_t *groups = malloc(size);
	bool allowed = false;

	if (groups && getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
		for (size_t i = 0; i < size / sizeof(gid_t) && !allowed; i++)
			allowed = group_allowed(groups[i], access);
	free(groups);
	return allowed;
}

bool peer_allowed(int socket, const struct peer *peer, const struct access *access)
{
	if (user_allowed(peer->uid, access))
		return true;
	if (access->n_groups == 0)
		return false;
	return group_allowed(peer->gid, access) || supplementary_allowed(socket, access);
}

/* A small file of /proc, terminated. */
static bool read_proc(const char *path, char *buf, size_t size)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/*
 * Only a pidfd has a line "Pid:" in its fdinfo; the number is the process in the reader's
 * namespace.
 */
int pidfd_process(int fd, pid_t *ret_pid)
{
	char path[64], text[1024];
	const char *line;
	long pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!read_proc(path, text, sizeof(text)))
		return -EBADF;
	line = strstr(text, "\nPid:");
	if (!line)
		return -EBADF;
	pid = strtol(line + strlen("\nPid:"), NULL, 10);
	if (pid <= 0)
		return -ESRCH;
	*ret_pid = (pid_t)pid;
	return 0;
}

bool pidfd_dead(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* Field 22 of /proc/PID/stat. The name in field 2 may hold anything, so count from its last ')'. */
uint64_t process_start(pid_t pid)
{
	char path[64], text[1024];
	const char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!read_proc(path, text, sizeof(text)))
		return 0;
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at ? strtoull(at, NULL, 10) : 0;
}
