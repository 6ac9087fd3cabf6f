/*
 * supervisor/place.c - the one place where a supervisor is found
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/place.h"

#include <bsd/libutil.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "supervisor/log.h"
#include "supervisor/options.h"
#include "supervisor/store.h"

#define BACKLOG 128

static int cannot(const char *what, const char *path)
{
	log_event(LOG_ERR, "failed what=%s path=\"%s\" error=\"%s\"", what, path, strerror(errno));
	return EX_CANTCREAT;
}

/* Best effort: without the group, or the right to give files to it, only our own user gets in. */
static void give_to_group(const char *path)
{
	const struct group *entry = getgrnam(SUPERVISOR_GROUP);

	if (entry && lchown(path, (uid_t)-1, entry->gr_gid) < 0)
		log_event(LOG_NOTICE, "no-group path=\"%s\" error=\"%s\"", path, strerror(errno));
}

/* --- the socket that a service manager hands down --- */

static int take_attach_socket(struct place *place, int fd)
{
	socklen_t size = sizeof(place->address);

	memset(&place->address, 0, sizeof(place->address));
	if (getsockname(fd, (struct sockaddr *)&place->address, &size) < 0 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || place->address.sun_path[0] != '/') {
		log_event(LOG_ERR, "failed what=activation text=\"the socket has no path\"");
		return EX_UNAVAILABLE;
	}
	place->socket = fd;
	place->activated = true;
	return 0;
}

static bool is_listening(int fd, int family, int type)
{
	return fd >= 0 && sd_is_socket(fd, family, type, 1) > 0;
}

/* Whatever its name: a socket unit's, or the one that a predecessor made. */
static int take_activated(struct place *place, struct handed *handed)
{
	int attach = -1, n_attach = 0;

	place->metrics = handed_by_name(handed, "metrics");
	if (place->metrics >= 0)
		(void)fcntl(place->metrics, F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < handed->n; i++) {
		struct handed_fd *item = &handed->item[i];

		if (!is_listening(item->fd, 0, 0))
			continue;
		n_attach++;
		if (is_listening(item->fd, AF_UNIX, SOCK_SEQPACKET))
			attach = item->fd;
		item->fd = -1;
	}
	if (n_attach == 0)
		return 0;
	if (n_attach > 1 || attach < 0) {
		log_event(LOG_ERR,
			  "failed what=activation text=\"exactly one listening AF_UNIX "
			  "SOCK_SEQPACKET socket is needed\" sockets=%d",
			  n_attach);
		return EX_UNAVAILABLE;
	}
	return take_attach_socket(place, attach);
}

/* --- a socket of our own --- */

int place_directory(const char *socket_path)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(path, sizeof(path), "%s", socket_path);
	slash = strrchr(path, '/');
	if (!slash || slash == path)
		return 0;
	*slash = '\0';
	if (mkdir(path, 0750) == 0)
		give_to_group(path);
	else if (errno != EEXIST)
		return cannot("make-directory", path);
	return 0;
}

static int lock(struct place *place)
{
	char path[PATH_MAX];
	pid_t other = 0;

	snprintf(path, sizeof(path), "%s.pid", place->address.sun_path);
	place->pidfile = pidfile_open(path, 0644, &other);
	if (!place->pidfile && errno == EEXIST) {
		log_event(LOG_ERR, "already-running pid=%d path=\"%s\"", (int)other, path);
		return EX_TEMPFAIL;
	}
	if (!place->pidfile || pidfile_write(place->pidfile) < 0)
		return cannot("pid-file", path);
	return 0;
}

/* Somebody without our lock who listens all the same: a service manager's socket unit, say. */
static bool answers(const struct sockaddr_un *address)
{
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool connected = false;

	if (fd < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		connected = true;
	close(fd);
	return connected;
}

/* What a killed supervisor left. We hold the lock, so nobody else is about to use it. */
static int remove_stale(const struct sockaddr_un *address)
{
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : cannot("look-at-socket", path);
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return cannot("bind-over-other-file", path);
	}
	if (answers(address)) {
		log_event(LOG_ERR,
			  "already-running path=\"%s\" text=\"another program listens here\"",
			  path);
		return EX_TEMPFAIL;
	}
	return unlink(path) == 0 ? 0 : cannot("remove-stale-socket", path);
}

/* The umask makes the mode right from the first moment on. */
static int bind_private(struct place *place)
{
	const mode_t before = umask(0117);
	const int result = bind(place->socket, (const struct sockaddr *)&place->address,
				sizeof(place->address));

	umask(before);
	return result;
}

static int make_socket(struct place *place)
{
	const char *path = place->address.sun_path;
	const int status = remove_stale(&place->address);

	if (status != 0)
		return status;
	place->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (place->socket < 0)
		return cannot("socket", path);
	if (bind_private(place) < 0)
		return cannot("bind", path);
	place->bound = lstat(path, &place->made) == 0;
	give_to_group(path);
	if (listen(place->socket, BACKLOG) < 0)
		return cannot("listen", path);
	store_put("attach", &place->socket, 1);
	return 0;
}

int place_take(struct place *place, const struct sockaddr_un *address, struct handed *handed)
{
	int status;

	*place = (struct place){.address = *address, .socket = -1, .metrics = -1};
	status = take_activated(place, handed);
	if (status == 0 && !place->activated)
		status = place_directory(place->address.sun_path);
	if (status == 0)
		status = lock(place);
	if (status == 0 && !place->activated)
		status = make_socket(place);
	return status;
}

static bool still_ours(const struct place *place)
{
	struct stat st;

	return place->bound && !store_is_there() && lstat(place->address.sun_path, &st) == 0 &&
	       st.st_dev == place->made.st_dev && st.st_ino == place->made.st_ino;
}

void place_leave(struct place *place)
{
	if (still_ours(place))
		unlink(place->address.sun_path);
	if (place->socket >= 0)
		close(place->socket);
	if (place->pidfile)
		pidfile_remove(place->pidfile);
	*place = (struct place){.socket = -1, .metrics = -1};
}
