/*
 * client/policy_view.c - following the policy while others read it
 * SPDX-License-Identifier: MIT
 *
 * Readers count themselves in and out; a replaced policy is unmapped once nobody is in. All
 * counting is sequentially consistent: a reader that the updater does not see has not loaded the
 * pointer yet, and will load the new one.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/memory.h"
#include "client/wire.h"

/* How long to leave the socket alone after it had nothing although the generation word has moved.
 */
#define RETRY_TICKS (TICKS_PER_NS * 10 * 1000000)

const struct blob *policy_enter(struct ration *ration)
{
	atomic_fetch_add(&ration->policy_readers, 1);
	return &atomic_load(&ration->policy)->blob;
}

void policy_leave(struct ration *ration)
{
	atomic_fetch_sub(&ration->policy_readers, 1);
}

static void unmap_retired(struct ration *ration)
{
	if (atomic_load(&ration->policy_readers) != 0)
		return;
	for (int i = 0; i < POLICY_VIEWS; i++) {
		if (ration->views[i].retired) {
			memory_unmap_policy(&ration->views[i].blob);
			ration->views[i].retired = false;
		}
	}
}

static struct policy_view *free_view(struct ration *ration)
{
	for (int i = 0; i < POLICY_VIEWS; i++) {
		if (!ration->views[i].blob.header)
			return &ration->views[i];
	}
	return NULL;
}

bool policy_install(struct ration *ration, const struct blob *blob, uint32_t classes)
{
	struct policy_view *old = atomic_load(&ration->policy);
	struct policy_view *view;

	unmap_retired(ration);
	view = free_view(ration);
	if (!view)
		return false;
	view->blob = *blob;
	view->classes = classes;
	atomic_store(&ration->policy, view);
	atomic_store(&ration->policy_generation, blob->header->generation);
	if (old)
		old->retired = true;
	unmap_retired(ration);
	return true;
}

void policy_close(struct ration *ration)
{
	for (int i = 0; i < POLICY_VIEWS; i++)
		memory_unmap_policy(&ration->views[i].blob);
	atomic_store(&ration->policy, NULL);
}

/* One packet, without waiting: the descriptor of a policy in *ret_fd, or -1. False: nothing more
 * there. */
static bool receive_policy(int socket, struct wire_policy *message, int *ret_fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {message, sizeof(*message)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	const ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*ret_fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	if (n == (ssize_t)sizeof(*message) && message->head.magic == WIRE_MAGIC &&
	    message->head.abi == WIRE_ABI && message->head.type == WIRE_POLICY)
		return true;
	if (*ret_fd >= 0)
		close(*ret_fd);
	*ret_fd = -1;
	return n > 0;
}

/* Map what was received and let it replace the current policy if it is newer. */
static void take_policy(struct ration *ration, int fd, const struct wire_policy *message)
{
	struct blob blob;
	const int mapped = memory_map_policy(fd, message->policy_size, &blob);

	close(fd);
	if (mapped < 0)
		return;
	if (blob.header->generation <= atomic_load(&ration->policy_generation) ||
	    !policy_install(ration, &blob, message->classes))
		memory_unmap_policy(&blob);
}

void policy_update(struct ration *ration, uint64_t now)
{
	const int error = errno;
	struct wire_policy message = {0};
	int fd;

	if (ration->socket < 0 || now < atomic_load(&ration->policy_retry_at) ||
	    atomic_flag_test_and_set(&ration->updating))
		return;
	unmap_retired(ration);
	/*
	 * Bounded: a socket holds few packets, and more than these wait for the next time, as does one
	 * whose policy there is no place for.
	 */
	for (int i = 0;
	     i < 64 && free_view(ration) && receive_policy(ration->socket, &message, &fd); i++) {
		if (fd >= 0)
			take_policy(ration, fd, &message);
	}
	if (!ration->observer)
		shm_store(&ration->seg.workers[atomic_load(&ration->slot)].policy_generation,
			  atomic_load(&ration->policy_generation));
	/* Still older than announced: a scribbled word, or no free view. Not every acquire shall
	 * ask. */
	if (shm_load(&ration->seg.control->policy_generation) >
	    atomic_load(&ration->policy_generation))
		atomic_store(&ration->policy_retry_at, now + RETRY_TICKS);
	atomic_flag_clear(&ration->updating);
	errno = error;
}
