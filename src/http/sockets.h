/*
 * http/sockets.h - which descriptors are watched, for whom, and for what
 * SPDX-License-Identifier: MIT
 *
 * libcurl asks for a socket to be watched at the start of each request and to be forgotten at its
 * end. Obeying at once would cost two system calls a request. So wishes are noted, and applied once
 * a turn; and a socket that libcurl made through our hooks stays registered while its connection
 * idles. Only if something happens on it then (the peer closes) is it taken out of the set.
 *
 * A descriptor can be closed and its number taken by another within one turn. The hooks tell us of
 * every close, a generation number in the event tells the old one from the new.
 */
#ifndef RATION_HTTP_SOCKETS_H
#define RATION_HTTP_SOCKETS_H

#include "http/poller.h"

typedef void socket_ready(void *user, int fd, uint32_t events);

struct socket {
	uint32_t want; /* EPOLL* bits asked for */
	uint32_t have; /* what the epoll set was last told */
	uint32_t generation;
	bool kept;  /* its closing will be told: may stay registered while nobody wants it */
	bool dirty; /* in the list of changes */
	socket_ready *ready;
	void *user;
};

struct sockets {
	struct poller *poller;
	struct socket *all; /* by descriptor */
	size_t size;
	int *dirty;
	size_t n_dirty;
};

void sockets_init(struct sockets *sockets, struct poller *poller);
void sockets_free(struct sockets *sockets);

/* A socket was made whose closing sockets_closed() will be told of. 0 or -ENOMEM. */
int sockets_opened(struct sockets *sockets, int fd);
/* It is about to be closed. */
void sockets_closed(struct sockets *sockets, int fd);

/* Wish for events (0: none any more) from the next wait on. 0 or -ENOMEM. */
int sockets_want(struct sockets *sockets, int fd, uint32_t events, socket_ready *ready, void *user);

bool sockets_is_watched(const struct sockets *sockets, int fd);

/*
 * Tell the epoll set what has changed. 0, or the first -errno (the others are told all the same).
 */
int sockets_apply(struct sockets *sockets);

/* Apply the wish for one descriptor now, so that an error can be reported to who wished. */
int sockets_apply_one(struct sockets *sockets, int fd);

/* Call whoever wanted this event, unless it is of a descriptor closed meanwhile. */
void sockets_dispatch(struct sockets *sockets, const struct epoll_event *event);

#endif
