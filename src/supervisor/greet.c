/*
 * supervisor/greet.c - from accept to hello
 * SPDX-License-Identifier: MIT
 *
 * A peer is judged by its credentials before a byte of it is read. Whoever may come in gets 5
 * seconds for one packet; whatever is wrong with it is answered in words. Nothing here waits for
 * anybody.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/wire.h"
#include "supervisor/supervisor.h"

#define HELLO_USEC    UINT64_C(5000000)
#define ACCEPT_BATCH  32 /* before the loop looks at anything else again */
#define HELLO_FDS_MAX 4  /* received to be closed: one is right */

/* One packet as it came. */
struct packet {
	union {
		struct wire_hello hello;
		struct wire_set set;
	};
	ssize_t size; /* 0: an empty one, or end of file */
	bool cut;     /* it was longer than any hello, or had more descriptors than fit */
	int fds[HELLO_FDS_MAX];
	unsigned n_fds;
};

/* --- refusing --- */

int refuse(struct refusal *refusal, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(refusal->text, sizeof(refusal->text), format, args);
	va_end(args);
	refusal->code = code;
	return code;
}

/*
 * Closing a socket with unread packets resets the connection, and the peer would get an error in
 * place of our words. So what lies there is dropped first, descriptors and all; bounded, as the
 * peer may go on sending.
 */
static void drop_unread(int socket)
{
	char byte;

	for (int i = 0; i < 16 && recv(socket, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) > 0; i++)
		;
}

/* Best effort: a peer that does not read gets a closed socket and no words. */
static void send_verdict(int socket, enum wire_type type, const struct refusal *refusal)
{
	struct wire_refuse message = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = type},
		.code = refusal->code,
	};

	snprintf(message.text, sizeof(message.text), "%s", refusal->text);
	(void)send(socket, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(socket, SHUT_WR);
	drop_unread(socket);
}

static void turn_away(struct supervisor *s, int socket, const struct peer *peer,
		      const struct refusal *refusal)
{
	send_verdict(socket, WIRE_REFUSE, refusal);
	if (log_allowed(&s->refusals, "refused"))
		log_event(LOG_WARNING, "refused pid=%d uid=%u gid=%u code=%d text=\"%s\"",
			  (int)peer->pid, peer->uid, peer->gid, refusal->code, refusal->text);
}

/* --- reading a hello --- */

static void take_descriptors(struct msghdr *msg, struct packet *packet)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n && packet->n_fds < HELLO_FDS_MAX; i++)
			memcpy(&packet->fds[packet->n_fds++], CMSG_DATA(c) + i * sizeof(int),
			       sizeof(int));
	}
}

/* The kernel closes what does not fit the control buffer. */
static int receive_packet(int socket, struct packet *packet)
{
	union {
		char buf[CMSG_SPACE(HELLO_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&packet->set, sizeof(packet->set)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};

	memset(packet, 0, sizeof(*packet));
	packet->size = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (packet->size < 0)
		return -errno;
	packet->cut = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	take_descriptors(&msg, packet);
	return 0;
}

static void close_descriptors(struct packet *packet)
{
	while (packet->n_fds > 0)
		close(packet->fds[--packet->n_fds]);
}

/* --- judging it --- */

static int refuse_layout(const struct packet *packet, struct refusal *refusal)
{
	const struct wire_hello *hello = &packet->hello;
	const bool whole = packet->size >= (ssize_t)sizeof(*hello);

	return refuse(refusal, RATION_ELAYOUT,
		      "library and supervisor differ: rationd " RATION_VERSION
		      " has wire ABI %u, state layout %016" PRIx64 ", policy layout %016" PRIx64
		      "; the library has wire ABI %" PRIu32 ", state layout %016" PRIx64
		      ", policy layout %016" PRIx64,
		      WIRE_ABI, seg_fingerprint(), blob_fingerprint(), hello->head.abi,
		      whole ? hello->state_fingerprint : 0, whole ? hello->policy_fingerprint : 0);
}

static bool is_request(const struct packet *packet)
{
	const struct wire_head *head = &packet->set.head;

	return packet->size >= (ssize_t)sizeof(*head) && head->magic == WIRE_MAGIC &&
	       head->abi == WIRE_ABI && head->type == WIRE_SET;
}

static int judge_layout(const struct packet *packet, struct refusal *refusal)
{
	const struct wire_hello *hello = &packet->hello;

	if (packet->size < (ssize_t)sizeof(hello->head) || hello->head.magic != WIRE_MAGIC)
		return refuse(refusal, -EPROTO, "that is no hello of a ration library");
	/* Another version's hello may well be longer or shorter: only its head is for sure. */
	if (hello->head.abi != WIRE_ABI)
		return refuse_layout(packet, refusal);
	if (packet->size != (ssize_t)sizeof(*hello) || packet->cut ||
	    hello->head.type != WIRE_HELLO)
		return refuse(refusal, -EPROTO,
			      "a hello is one packet of %zu bytes with at most "
			      "one descriptor",
			      sizeof(*hello));
	if (hello->state_fingerprint != seg_fingerprint() ||
	    hello->policy_fingerprint != blob_fingerprint())
		return refuse_layout(packet, refusal);
	return 0;
}

/*
 * A descriptor the peer sent must stand for the very process that connected, and that must be
 * alive.
 */
static int judge_pidfd(const struct packet *packet, const struct peer *peer,
		       struct refusal *refusal)
{
	pid_t pid = 0;
	int result;

	if (packet->n_fds != 1)
		return refuse(refusal, -EPROTO, "a worker sends one descriptor, its pidfd (got %u)",
			      packet->n_fds);
	result = pidfd_process(packet->fds[0], &pid);
	if (result == -EBADF)
		return refuse(refusal, -EPROTO, "the descriptor is no pidfd");
	if (result < 0 || pidfd_dead(packet->fds[0]))
		return refuse(refusal, -ESRCH, "the pidfd's process is dead");
	if (pid != peer->pid)
		return refuse(refusal, -EPROTO,
			      "the pidfd is of process %d, the connection of process %d", (int)pid,
			      (int)peer->pid);
	return 0;
}

/* An operator's. */
static int obey(struct greeting *g, const struct packet *packet, struct refusal *refusal)
{
	const struct refusal done = {.code = 0};
	int result;

	if (packet->size != (ssize_t)sizeof(packet->set) || packet->cut || packet->n_fds > 0)
		return refuse(refusal, -EPROTO, "that is no request to set a number");
	result = set_number(g->supervisor, &g->peer, &packet->set, refusal);
	if (result == 0)
		send_verdict(g->socket, WIRE_DONE, &done);
	return result;
}

static int admit_follower(struct greeting *g, const struct packet *packet, struct refusal *refusal)
{
	int result;

	if (packet->n_fds > 0)
		return refuse(refusal, -EPROTO, "a reader of events sends no descriptor");
	result = follower_add(g->supervisor, g->socket, packet->hello.role == ROLE_FOLLOWER);
	if (result == -EBUSY)
		return refuse(refusal, result, "%u others are reading events already",
			      FOLLOWERS_MAX);
	if (result < 0)
		return refuse(refusal, result, "out of memory");
	g->socket = -1;
	return 0;
}

/* On success the socket is not the greeting's any more, or is to be closed (an observer's). */
static int admit(struct greeting *g, struct packet *packet, struct refusal *refusal)
{
	int result;

	if (is_request(packet))
		return obey(g, packet, refusal);
	result = judge_layout(packet, refusal);
	if (result < 0)
		return result;
	switch (packet->hello.role) {
	case ROLE_WORKER:
		result = judge_pidfd(packet, &g->peer, refusal);
		if (result == 0)
			result = roster_add(g->supervisor, g->socket, &g->peer, packet->fds[0],
					    refusal);
		if (result == 0) {
			packet->n_fds = 0;
			g->socket = -1;
		}
		return result;
	case ROLE_OBSERVER:
		if (packet->n_fds > 0)
			return refuse(refusal, -EPROTO, "an observer sends no descriptor");
		return roster_show(g->supervisor, g->socket, refusal);
	case ROLE_READER:
	case ROLE_FOLLOWER:
		return admit_follower(g, packet, refusal);
	default:
		return refuse(refusal, -EPROTO, "there is no role %" PRIu32, packet->hello.role);
	}
}

/* --- the connections in between --- */

static void greeting_end(struct greeting *g)
{
	g->io = sd_event_source_disable_unref(g->io);
	g->deadline = sd_event_source_disable_unref(g->deadline);
	if (g->socket >= 0)
		close(g->socket);
	g->socket = -1;
}

static void greeting_refuse(struct greeting *g, int code, const char *text)
{
	struct refusal refusal = {0};

	refuse(&refusal, code, "%s", text);
	turn_away(g->supervisor, g->socket, &g->peer, &refusal);
	greeting_end(g);
}

/* Handle the hello if it is there. */
static void greeting_read(struct greeting *g)
{
	struct refusal refusal = {0};
	struct packet packet;
	const int result = receive_packet(g->socket, &packet);

	if (result == -EAGAIN || result == -EINTR)
		return;
	/* roster.c will watch the same descriptor. */
	g->io = sd_event_source_disable_unref(g->io);
	if (result == 0 && admit(g, &packet, &refusal) < 0)
		turn_away(g->supervisor, g->socket, &g->peer, &refusal);
	if (result == 0)
		close_descriptors(&packet);
	greeting_end(g);
}

static int on_hello(sd_event_source *source, int fd, uint32_t events, void *user)
{
	(void)source, (void)fd, (void)events;
	greeting_read(user);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *user)
{
	(void)source, (void)usec;
	greeting_refuse(user, -ETIMEDOUT, "no hello within 5 seconds");
	return 0;
}

/*
 * A free place, or that of whoever has been silent for longest: the silent cannot lock others out.
 */
static struct greeting *greeting_place(struct supervisor *s)
{
	struct greeting *oldest = &s->greetings[0];

	for (unsigned i = 0; i < GREETINGS_MAX; i++) {
		if (s->greetings[i].socket < 0)
			return &s->greetings[i];
		if (s->greetings[i].serial < oldest->serial)
			oldest = &s->greetings[i];
	}
	greeting_refuse(oldest, -EBUSY, "too many connections without a hello");
	return oldest;
}

/* Owns the socket from here on. */
static void greeting_begin(struct supervisor *s, int socket, const struct peer *peer)
{
	struct greeting *g = greeting_place(s);

	*g = (struct greeting){
		.supervisor = s, .socket = socket, .peer = *peer, .serial = s->greeted++};
	greeting_read(g); /* it is mostly there already */
	if (g->socket < 0)
		return;
	if (sd_event_add_io(s->event, &g->io, socket, EPOLLIN, on_hello, g) < 0 ||
	    sd_event_add_time_relative(s->event, &g->deadline, CLOCK_MONOTONIC, HELLO_USEC, 0,
				       on_deadline, g) < 0)
		greeting_refuse(g, -ENOMEM, "out of memory");
}

/* --- accepting --- */

static void judge_connection(struct supervisor *s, int socket)
{
	struct peer peer = {0};
	struct refusal refusal = {0};
	const int result = peer_read(socket, &peer);

	if (result < 0)
		refuse(&refusal, result, "the kernel does not say who you are (%s)",
		       strerror(-result));
	else if (!peer_allowed(socket, &peer, &s->options->access))
		refuse(&refusal, -EACCES, "user %u, group %u may not attach", peer.uid, peer.gid);
	else {
		greeting_begin(s, socket, &peer);
		return;
	}
	turn_away(s, socket, &peer, &refusal);
	close(socket);
}

/* Out of descriptors: the connection would wake us for ever. patrol.c resumes after a second. */
static void pause_accepting(struct supervisor *s)
{
	if (log_allowed(&s->problems, "problem"))
		log_event(LOG_ERR, "accept-failed error=\"%s\"", strerror(errno));
	sd_event_source_set_enabled(s->listening, SD_EVENT_OFF);
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct supervisor *s = user;

	(void)source, (void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		const int socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (socket >= 0)
			judge_connection(s, socket);
		else if (errno == EAGAIN)
			break;
		else if (errno != ECONNABORTED && errno != EINTR) {
			pause_accepting(s);
			break;
		}
	}
	return 0;
}

int greet_start(struct supervisor *s)
{
	for (unsigned i = 0; i < GREETINGS_MAX; i++)
		s->greetings[i].socket = -1;
	return sd_event_add_io(s->event, &s->listening, s->place.socket, EPOLLIN, on_connection, s);
}

void greet_resume(struct supervisor *s)
{
	int enabled = SD_EVENT_ON;

	if (sd_event_source_get_enabled(s->listening, &enabled) >= 0 && enabled == SD_EVENT_OFF)
		sd_event_source_set_enabled(s->listening, SD_EVENT_ON);
}

void greet_stop(struct supervisor *s)
{
	s->listening = sd_event_source_disable_unref(s->listening);
	for (unsigned i = 0; i < GREETINGS_MAX; i++)
		if (s->greetings[i].supervisor)
			greeting_end(&s->greetings[i]);
}
