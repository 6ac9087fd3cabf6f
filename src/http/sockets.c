/*
 * http/sockets.c - wishes for events, applied once a turn
 * SPDX-License-Identifier: MIT
 */
#include "http/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void sockets_init(struct sockets *sockets, struct poller *poller)
{
	*sockets = (struct sockets){.poller = poller};
}

void sockets_free(struct sockets *sockets)
{
	free(sockets->all);
	free(sockets->dirty);
	*sockets = (struct sockets){0};
}

/* The list of changes has room for every descriptor, so noting one cannot fail. */
static int reserve(struct sockets *sockets, int fd)
{
	size_t need = (size_t)fd + 1, size = sockets->size ? sockets->size : 64;
	struct socket *all;
	int *dirty;

	if (need <= sockets->size)
		return 0;
	while (size < need)
		size *= 2;
	dirty = realloc(sockets->dirty, size * sizeof(*dirty));
	if (!dirty)
		return -ENOMEM;
	sockets->dirty = dirty;
	all = realloc(sockets->all, size * sizeof(*all));
	if (!all)
		return -ENOMEM;
	memset(all + sockets->size, 0, (size - sockets->size) * sizeof(*all));
	sockets->all = all;
	sockets->size = size;
	return 0;
}

static void note(struct sockets *sockets, int fd)
{
	struct socket *socket = &sockets->all[fd];

	if (socket->dirty)
		return;
	socket->dirty = true;
	sockets->dirty[sockets->n_dirty++] = fd;
}

static int change(struct sockets *sockets, int fd, uint32_t events)
{
	struct socket *socket = &sockets->all[fd];
	uint64_t data = (uint64_t)socket->generation << 32 | (uint32_t)fd;
	int rc;

	if (socket->have == events)
		return 0;
	rc = poller_change(sockets->poller, fd, socket->have, events, data);
	if (!rc)
		socket->have = events;
	return rc;
}

/*
 * Its number may stand for another file from now on: forget it, and all events that are still to be
 * looked at.
 */
static void forget(struct sockets *sockets, int fd)
{
	struct socket *socket = &sockets->all[fd];

	(void)change(sockets, fd, 0);
	socket->want = 0;
	socket->have = 0;
	socket->kept = false;
	socket->generation = (socket->generation + 1) & INT32_MAX;
}

int sockets_opened(struct sockets *sockets, int fd)
{
	int rc = reserve(sockets, fd);

	if (rc)
		return rc;
	forget(sockets, fd);
	sockets->all[fd].kept = true;
	return 0;
}

void sockets_closed(struct sockets *sockets, int fd)
{
	if ((size_t)fd < sockets->size)
		forget(sockets, fd);
}

int sockets_want(struct sockets *sockets, int fd, uint32_t events, socket_ready *ready, void *user)
{
	struct socket *socket;
	int rc = reserve(sockets, fd);

	if (rc)
		return rc;
	socket = &sockets->all[fd];
	if (!events && !socket->kept) {
		forget(sockets, fd);
		return 0;
	}
	socket->want = events;
	socket->ready = ready;
	socket->user = user;
	note(sockets, fd);
	return 0;
}

bool sockets_is_watched(const struct sockets *sockets, int fd)
{
	return (size_t)fd < sockets->size && sockets->all[fd].want;
}

int sockets_apply_one(struct sockets *sockets, int fd)
{
	struct socket *socket = &sockets->all[fd];

	return socket->want ? change(sockets, fd, socket->want) : 0;
}

int sockets_apply(struct sockets *sockets)
{
	int rc = 0, one;

	while (sockets->n_dirty) {
		int fd = sockets->dirty[--sockets->n_dirty];

		sockets->all[fd].dirty = false;
		one = sockets_apply_one(sockets, fd);
		rc = rc ? rc : one;
	}
	return rc;
}

void sockets_dispatch(struct sockets *sockets, const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;
	struct socket *socket = &sockets->all[fd];

	if (socket->generation != event->data.u64 >> 32)
		return;
	if (socket->want)
		socket->ready(socket->user, fd, event->events);
	else
		(void)change(sockets, fd, 0);
}
