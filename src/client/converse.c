/*
 * client/converse.c - what is said over the attach socket, from the worker's side
 * SPDX-License-Identifier: MIT
 */
#include "client/converse.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/memory.h"

/* For an operator's answer: a large policy is compiled meanwhile. */
#define SET_NS UINT64_C(60000000000)

/* Never waits: a supervisor that is stopped has a full backlog sooner or later. */
static int connect_once(const struct sockaddr_un *address)
{
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		const int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

static int open_pidfd(void)
{
	const long fd = syscall(SYS_pidfd_open, getpid(), 0);

	return fd < 0 ? -errno : (int)fd;
}

static int send_hello(int socket, const struct wire_hello *hello, int pidfd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)hello, sizeof(*hello)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (pidfd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pidfd, sizeof(int));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(*hello) ? 0 : -errno;
}

static int say_hello(int socket, enum wire_role role)
{
	const struct wire_hello hello = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_HELLO},
		.state_fingerprint = seg_fingerprint(),
		.policy_fingerprint = blob_fingerprint(),
		.role = role,
	};
	int pidfd = -1, result;

	if (role == ROLE_WORKER) {
		pidfd = open_pidfd();
		if (pidfd < 0)
			return pidfd;
	}
	result = send_hello(socket, &hello, pidfd);
	if (pidfd >= 0)
		close(pidfd);
	return result;
}

static int wait_readable(int socket, uint64_t until_ns)
{
	struct pollfd p = {.fd = socket, .events = POLLIN};
	int n;

	do {
		const uint64_t now = clock_boot_ns();

		if (now >= until_ns)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)((until_ns - now) / 1000000) + 1);
	} while (n == 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

static void take_descriptors(struct msghdr *msg, struct answer *answer)
{
	int fds[2] = {-1, -1};

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    bytes <= sizeof(fds))
			memcpy(fds, CMSG_DATA(c), bytes);
	}
	answer->state_fd = fds[0];
	answer->policy_fd = fds[1];
}

void answer_close(struct answer *answer)
{
	if (answer->state_fd >= 0)
		close(answer->state_fd);
	if (answer->policy_fd >= 0)
		close(answer->policy_fd);
}

static int receive_answer(int socket, uint64_t until_ns, struct answer *answer, ssize_t *ret_size)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&answer->message, sizeof(answer->message)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	const int waited = wait_readable(socket, until_ns);

	if (waited < 0)
		return waited;
	*ret_size = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	if (*ret_size < 0)
		return -errno;
	take_descriptors(&msg, answer);
	return 0;
}

/* An answer that is a welcome with both descriptors, or a reason why not. */
static int judge_answer(struct answer *answer, ssize_t size, struct ration_error *error)
{
	const struct wire_head *head = &answer->message.head;
	struct wire_refuse *refuse = &answer->message.refuse;

	if (size == 0)
		return explain(error, RATION_ESUPERVISOR, "the supervisor hung up");
	if (size < (ssize_t)sizeof(*head) || head->magic != WIRE_MAGIC)
		return explain(error, -EPROTO, "what listens on the socket is no rationd");
	if (head->type == WIRE_REFUSE && size == (ssize_t)sizeof(*refuse)) {
		refuse->text[sizeof(refuse->text) - 1] = '\0';
		return explain(error, refuse->code < 0 ? refuse->code : -EPROTO, "%s",
			       refuse->text);
	}
	if (head->abi != WIRE_ABI)
		return explain(error, RATION_ELAYOUT,
			       "the supervisor speaks version %" PRIu32 ", this library %u",
			       head->abi, WIRE_ABI);
	if (head->type != WIRE_WELCOME || size != (ssize_t)sizeof(answer->message.welcome) ||
	    answer->state_fd < 0 || answer->policy_fd < 0)
		return explain(error, -EPROTO, "the supervisor's answer makes no sense");
	return 0;
}

/* An answer that says yes or no. */
static int judge_done(struct answer *answer, ssize_t size, struct ration_error *error)
{
	struct wire_refuse *done = &answer->message.refuse;

	if (size == (ssize_t)sizeof(*done) && done->head.magic == WIRE_MAGIC &&
	    done->head.type == WIRE_DONE)
		return 0;
	return size == (ssize_t)sizeof(answer->message.welcome) ? -EPROTO
								: judge_answer(answer, size, error);
}

static int connect_to(const char *path, struct ration_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int socket;

	if (strlen(path) >= sizeof(address.sun_path))
		return explain(error, -ENAMETOOLONG, "%s: longer than a socket's path may be",
			       path);
	strcpy(address.sun_path, path);
	socket = connect_once(&address);
	return socket < 0
		       ? explain(error, RATION_ESUPERVISOR, "%s: no supervisor listens here", path)
		       : socket;
}

int converse_set(const char *path, const struct wire_set *set, struct ration_error *error)
{
	struct answer answer = {.state_fd = -1, .policy_fd = -1};
	const int socket = connect_to(path, error);
	ssize_t size = 0;
	int result;

	if (socket < 0)
		return socket;
	if (send(socket, set, sizeof(*set), MSG_NOSIGNAL) < 0)
		result = -errno;
	else
		result = receive_answer(socket, clock_boot_ns() + SET_NS, &answer, &size);
	if (result < 0)
		explain(error, result, "%s: no answer: %s", path, ration_strerror(result));
	else
		result = judge_done(&answer, size, error);
	answer_close(&answer);
	close(socket);
	return result;
}

/* Connect and be welcomed: a socket, and the answer, whose descriptors the caller closes. */
int converse(const struct ration *ration, uint64_t budget_ns, struct answer *answer,
	     struct ration_error *error)
{
	const char *path = ration->address.sun_path;
	const uint64_t until = clock_boot_ns() + budget_ns;
	const int socket = connect_once(&ration->address);
	ssize_t size = 0;
	int result;

	if (socket == -ENOENT || socket == -ECONNREFUSED || socket == -ENOTDIR)
		return explain(error, RATION_ESUPERVISOR, "%s: no supervisor listens here", path);
	if (socket == -EAGAIN)
		return explain(error, RATION_ESUPERVISOR, "%s: the supervisor does not answer",
			       path);
	if (socket < 0)
		return explain(error, socket, "%s: %s", path, ration_strerror(socket));
	result = say_hello(socket, ration->observer ? ROLE_OBSERVER : ROLE_WORKER);
	/* A supervisor that refuses may answer and close before it reads: its reason comes first.
	 */
	if (result == 0 || result == -EPIPE || result == -ECONNRESET)
		result = receive_answer(socket, until, answer, &size);
	if (result < 0)
		explain(error, result, "%s: no answer: %s", path, ration_strerror(result));
	else
		result = judge_answer(answer, size, error);
	if (result == 0)
		return socket;
	answer_close(answer);
	close(socket);
	return result;
}

int converse_events(const char *path, bool follow, struct ration_error *error)
{
	const int socket = connect_to(path, error);
	int result;

	if (socket < 0)
		return socket;
	result = say_hello(socket, follow ? ROLE_FOLLOWER : ROLE_READER);
	/* Refused before it was read: the reason is there. */
	if (result == 0 || result == -EPIPE || result == -ECONNRESET)
		return socket;
	close(socket);
	return explain(error, result, "%s: %s", path, ration_strerror(result));
}

/* What is no event is a reason why there is none. */
static int judge_event(const struct wire_event *event, ssize_t size, struct ration_error *error)
{
	const size_t words = (size_t)size / sizeof(event->word[0]);
	struct answer answer = {.state_fd = -1, .policy_fd = -1};

	if (size > (ssize_t)offsetof(struct wire_event, word) && event->head.magic == WIRE_MAGIC &&
	    event->head.type == WIRE_EVENT &&
	    (event->word[0] & 0xffff) == words - offsetof(struct wire_event, word) / 8)
		return 1;
	memcpy(&answer.message, event,
	       (size_t)size < sizeof(answer.message) ? (size_t)size : sizeof(answer.message));
	return judge_answer(&answer, size, error);
}

int converse_event(int socket, struct wire_event *ret_event, struct ration_error *error)
{
	struct pollfd p = {.fd = socket, .events = POLLIN};
	ssize_t size;

	do {
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return explain(error, -errno, "%s", ration_strerror(-errno));
		size = recv(socket, ret_event, sizeof(*ret_event), MSG_DONTWAIT);
	} while (size < 0 && (errno == EAGAIN || errno == EINTR));
	if (size < 0)
		return explain(error, -errno, "%s", ration_strerror(-errno));
	return size == 0 ? 0 : judge_event(ret_event, size, error);
}
