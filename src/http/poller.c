/*
 * http/poller.c - epoll, nested in a ring
 * SPDX-License-Identifier: MIT
 */
#include "http/poller.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NS UINT64_C(1000000000)

/*
 * What a completion is of. There is one thing in flight at a time today; a wait for another word or
 * descriptor gets its own tag here and its own `armed`.
 */
enum ring_tag {
	TAG_EPOLL = 1,
};

enum {
	RING_ENTRIES = 8,
};

/*
 * Not having io_uring is normal, so the reason is not kept. EXT_ARG is what lets a wait carry its
 * own time limit.
 */
static bool open_ring(struct io_uring *ring)
{
	if (io_uring_queue_init(RING_ENTRIES, ring, 0) < 0)
		return false;
	if (ring->features & IORING_FEAT_EXT_ARG)
		return true;
	io_uring_queue_exit(ring);
	return false;
}

static int open_set(struct poller *poller)
{
	struct epoll_event wake = {.events = EPOLLIN, .data.u64 = POLLER_WAKE};

	poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	poller->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (poller->epoll_fd < 0 || poller->wake_fd < 0 ||
	    epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, poller->wake_fd, &wake))
		return -errno;
	return 0;
}

static void close_set(struct poller *poller)
{
	if (poller->epoll_fd >= 0)
		close(poller->epoll_fd);
	if (poller->wake_fd >= 0)
		close(poller->wake_fd);
}

int poller_open(struct poller *poller, bool no_uring)
{
	int rc;

	*poller = (struct poller){.epoll_fd = -1, .wake_fd = -1};
	rc = open_set(poller);
	if (rc) {
		close_set(poller);
		return rc;
	}
	poller->has_ring = !no_uring && open_ring(&poller->ring);
	return 0;
}

void poller_close(struct poller *poller)
{
	if (poller->has_ring)
		io_uring_queue_exit(&poller->ring);
	close_set(poller);
}

int poller_change(struct poller *poller, int fd, uint32_t old, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};
	int op = !events ? EPOLL_CTL_DEL : old ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (!epoll_ctl(poller->epoll_fd, op, fd, &event))
		return 0;
	/* A descriptor that its owner closed without saying so, whose number is in use again. */
	if (errno == ENOENT && op == EPOLL_CTL_MOD &&
	    !epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		return 0;
	return -errno;
}

static int wait_coarse(struct poller *poller, uint64_t timeout_ns, struct epoll_event *events,
		       int n)
{
	/* Rounded up: a timer must not be looked at before it is due. */
	uint64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
	int rc = epoll_wait(poller->epoll_fd, events, n, ms > INT_MAX ? INT_MAX : (int)ms);

	return rc < 0 ? -errno : rc;
}

static struct timespec duration(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NS),
		.tv_nsec = (long)(ns % NS),
	};
}

static int wait_epoll(struct poller *poller, uint64_t timeout_ns, struct epoll_event *events, int n)
{
	struct timespec ts = duration(timeout_ns);
	int rc;

	if (poller->coarse)
		return wait_coarse(poller, timeout_ns, events, n);
	rc = epoll_pwait2(poller->epoll_fd, events, n, &ts, NULL);
	if (rc >= 0)
		return rc;
	if (errno != ENOSYS && errno != EPERM)
		return -errno;
	poller->coarse = true;
	return wait_coarse(poller, timeout_ns, events, n);
}

static int arm(struct poller *poller)
{
	struct io_uring_sqe *sqe;

	if (poller->armed)
		return 0;
	sqe = io_uring_get_sqe(&poller->ring);
	if (!sqe)
		return -EBUSY;
	io_uring_prep_poll_add(sqe, poller->epoll_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, TAG_EPOLL);
	poller->armed = true;
	return 0;
}

static int reap(struct poller *poller)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	int rc = 0;

	io_uring_for_each_cqe(&poller->ring, head, cqe)
	{
		n++;
		if (io_uring_cqe_get_data64(cqe) != TAG_EPOLL)
			continue;
		poller->armed = false;
		if (cqe->res < 0)
			rc = cqe->res;
	}
	io_uring_cq_advance(&poller->ring, n);
	return rc;
}

/*
 * The wait may end early for a signal, or because the kernel is short of something for the moment
 * (EAGAIN, EBUSY): the set is looked at all the same, and the next turn waits again.
 */
static int wait_ring(struct poller *poller, uint64_t timeout_ns)
{
	struct timespec ts = duration(timeout_ns);
	struct __kernel_timespec limit = {.tv_sec = ts.tv_sec, .tv_nsec = ts.tv_nsec};
	struct io_uring_cqe *cqe;
	int rc = arm(poller);

	if (rc)
		return rc;
	rc = io_uring_submit_and_wait_timeout(&poller->ring, &cqe, 1, &limit, NULL);
	if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
		return rc;
	return reap(poller);
}

/*
 * io_uring was taken away after it had been given: a process that confines itself when it has
 * started.
 */
static void drop_ring(struct poller *poller)
{
	io_uring_queue_exit(&poller->ring);
	poller->has_ring = false;
	poller->armed = false;
}

int poller_wait(struct poller *poller, uint64_t timeout_ns, struct epoll_event *events, int n)
{
	int rc;

	/* A turn that has work to do already only looks; the ring has nothing to add to that. */
	if (poller->has_ring && timeout_ns) {
		rc = wait_ring(poller, timeout_ns);
		if (rc == -EPERM || rc == -EACCES || rc == -ENOSYS)
			drop_ring(poller);
		else if (rc || poller->armed)
			return rc;
		else
			timeout_ns = 0;
	}
	rc = wait_epoll(poller, timeout_ns, events, n);
	return rc == -EINTR ? 0 : rc;
}

void poller_wake(struct poller *poller)
{
	int saved = errno;

	/* It fails only when the counter is full, and then a wake-up is pending anyway. */
	(void)eventfd_write(poller->wake_fd, 1);
	errno = saved;
}

void poller_woken(struct poller *poller)
{
	eventfd_t n;

	(void)eventfd_read(poller->wake_fd, &n);
}
