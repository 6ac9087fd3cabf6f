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

/* The groups of a peer: those of connect(2), not what the process has made of itself since. */
struct groups {
	gid_t *gid;
	size_t n;
};

static struct groups groups_of(int socket)
{
	socklen_t size = NGROUPS_MAX * sizeof(gid_t);
	struct groups groups = {.gid = malloc(size)};

	if (groups.gid && getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.gid, &size) == 0)
		groups.n = size / sizeof(gid_t);
	return groups;
}

static bool in_group(const struct peer *peer, const struct groups *groups, gid_t gid)
{
	if (peer->gid == gid)
		return true;
	for (size_t i = 0; i < groups->n; i++)
		if (groups->gid[i] == gid)
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

bool peer_allowed(int socket, const struct peer *peer, const struct access *access)
{
	struct groups groups;
	bool allowed = false;

	if (user_allowed(peer->uid, access))
		return true;
	if (access->n_groups == 0)
		return false;
	groups = groups_of(socket);
	for (unsigned i = 0; i < access->n_groups && !allowed; i++)
		allowed = in_group(peer, &groups, access->groups[i]);
	free(groups.gid);
	return allowed;
}

static bool may_claim(const struct peer *peer, const struct groups *groups, const struct blob *blob,
		      const struct blob_class *class)
{
	const struct blob_principal *who = blob->principals + class->principal_first;

	if (class->principal_count == 0 || peer->uid == 0)
		return true;
	for (uint32_t i = 0; i < class->principal_count; i++) {
		if (who[i].group ? in_group(peer, groups, who[i].id) : peer->uid == who[i].id)
			return true;
	}
	return false;
}

uint32_t peer_classes(int socket, const struct peer *peer, const struct blob *blob)
{
	struct groups groups;
	uint32_t classes = 0;

	if (!peer)
		return 0;
	groups = groups_of(socket);
	for (uint32_t i = 0; i < blob->n_classes; i++) {
		if (may_claim(peer, &groups, blob, &blob->classes[i]))
			classes |= UINT32_C(1) << i;
	}
	free(groups.gid);
	return classes;
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
