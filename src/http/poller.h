/*
 * http/poller.h - one wait for everything an engine waits for
 * SPDX-License-Identifier: MIT
 *
 * A level-triggered epoll set. Where io_uring is to be had, the ring polls the set (one-shot, armed
 * anew each turn) and the wait is the ring's, so that whatever else the ring can wait for ends it
 * too; where it is refused (seccomp, io_uring_disabled, an old kernel) the same set is waited for
 * directly.
 *
 * Why the ring polls the set and not the sockets: libcurl needs level-triggered readiness, which
 * multishot polls are not; and a ring that polls a socket keeps it open after close().
 *
 * Why epoll_ctl(2) is called and not queued as IORING_OP_EPOLL_CTL: sockets.c keeps a socket
 * registered between the requests of its connection, which leaves about three calls a connection
 * and none a request. Queued ones would save nothing that can be measured, and would need their
 * failures matched to descriptors that may be reused by then.
 */
#ifndef RATION_HTTP_POLLER_H
#define RATION_HTTP_POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <liburing.h>

/* epoll_event.data of the wake-up; a descriptor's is never this. */
#define POLLER_WAKE UINT64_MAX
/* The same of a word that the engine waits for (waker.h). */
#define POLLER_WORD (UINT64_MAX - 1)

struct poller {
	int epoll_fd;
	int wake_fd;
	bool has_ring;
	bool armed;  /* a poll of epoll_fd is under way in the ring */
	bool coarse; /* the kernel has no epoll_pwait2(): milliseconds */
	struct io_uring ring;
};

/* 0 or -errno; io_uring being refused is no error. */
int poller_open(struct poller *poller, bool no_uring);
void poller_close(struct poller *poller);

/*
 * Change what is waited for on fd: from what was last set (`old`, 0: nothing) to `events`. 0 or
 * -errno.
 */
int poller_change(struct poller *poller, int fd, uint32_t old, uint32_t events, uint64_t data);

/* Wait. Returns how many events were written (0: time is over, or a signal came), or -errno. */
int poller_wait(struct poller *poller, uint64_t timeout_ns, struct epoll_event *events, int n);

/* End a wait, now or the next one. Any thread; async-signal-safe. */
void poller_wake(struct poller *poller);
void poller_woken(struct poller *poller);

#endif
