/*
 * supervisor/roster.c - workers: giving slots, noticing death, telling them of policies
 * SPDX-License-Identifier: MIT
 *
 * When is a slot free again? When its process is dead, which only the pidfd says. A socket that
 * ends while the process lives means less: libration detached (it says so in its line of state
 * first, and nothing of it still runs), or the process called exec, or it closed descriptors it did
 * not know and goes on acquiring from memory it still has. In the last case a slot that is given
 * away would have two owners, and reaping it could free a record that is just being made. So
 * without a goodbye the slot waits for the pidfd, or for the same process to attach anew: by then
 * its earlier memory is gone (exec) or given up.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/wire.h"
#include "shm/worker.h"
#include "supervisor/supervisor.h"

/*
 * Unread bytes (as the kernel counts them) in a worker's socket beyond which no more policies are
 * put there.
 */
#define UNREAD_MAX 16384

/* --- leaving --- */

static bool said_goodbye(const struct supervisor *s, uint32_t slot)
{
	return shm_load(&s->seg.workers[slot].identity) == 0;
}

/* What it held or stood in front of, others may be waiting for. */
static void wake_waiters(void *user, uint32_t bucket)
{
	struct supervisor *s = user;

	client_wake(&s->seg, bucket, supervisor_now(s), false);
}

static void store_drop_worker(const struct supervisor *s, uint32_t slot)
{
	char name[STORE_NAME_MAX];

	store_name_worker(name, slot, s->ledger.workers[slot].incarnation);
	store_drop(name);
}

static void store_put_worker(const struct supervisor *s, uint32_t slot)
{
	const struct ledger_worker *worker = &s->ledger.workers[slot];
	const int fds[2] = {worker->socket, worker->pidfd};
	char name[STORE_NAME_MAX];

	store_name_worker(name, slot, worker->incarnation);
	store_put(name, fds, 2);
}

static void reap(struct supervisor *s, uint32_t slot, const char *why)
{
	struct watch *watch = &s->watches[slot];
	const struct ledger_worker *entry = &s->ledger.workers[slot];
	const int32_t pid = entry->pid;
	const uint32_t uid = entry->uid;

	watch->socket = sd_event_source_disable_unref(watch->socket);
	watch->pidfd = sd_event_source_disable_unref(watch->pidfd);
	/* Its last words come before the next one's first. */
	events_drain(s);
	worker_reap_telling(&s->seg, slot, supervisor_now(s), wake_waiters, s);
	ledger_take_back(&s->ledger, slot);
	store_drop_worker(s, slot);
	log_event(LOG_INFO, "%s slot=%u pid=%d uid=%u workers=%u", why, slot, pid, uid,
		  s->ledger.n_taken);
}

/* A process that says goodbye and exits may be seen dead before its goodbye is heard. */
static void reap_gone(struct supervisor *s, uint32_t slot)
{
	reap(s, slot, said_goodbye(s, slot) ? "left" : "died");
}

static void detach(struct supervisor *s, uint32_t slot)
{
	struct ledger_worker *worker = &s->ledger.workers[slot];
	struct watch *watch = &s->watches[slot];

	if (pidfd_dead(worker->pidfd) || said_goodbye(s, slot)) {
		reap_gone(s, slot);
		return;
	}
	watch->socket = sd_event_source_disable_unref(watch->socket);
	close(worker->socket);
	worker->socket = -1;
	log_event(LOG_INFO, "detached slot=%u pid=%d uid=%u", slot, worker->pid, worker->uid);
}

/* Only the supervisor speaks now. Whatever comes, end of file or chatter, ends the conversation. */
static int on_socket(sd_event_source *source, int fd, uint32_t events, void *user)
{
	const struct watch *watch = user;
	char byte;

	(void)source, (void)events;
	if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	detach(watch->supervisor, watch->slot);
	return 0;
}

static int on_death(sd_event_source *source, int fd, uint32_t events, void *user)
{
	const struct watch *watch = user;

	(void)source, (void)fd, (void)events;
	reap_gone(watch->supervisor, watch->slot);
	return 0;
}

/* --- coming --- */

static int send_with(int socket, const void *message, size_t size, const int *fds, size_t n_fds)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)message, size};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(n_fds * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	return sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int welcome(struct supervisor *s, int socket, const struct peer *peer, int state_fd,
		   uint64_t identity, uint32_t slot)
{
	const int fds[2] = {state_fd, s->policy.fd};
	const struct wire_welcome message = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_WELCOME},
		.state_size = s->seg.size,
		.policy_size = s->policy.size,
		.policy_generation = s->policy.blob.header->generation,
		.worker = identity,
		.slot = slot,
		.classes = peer_classes(socket, peer, &s->policy.blob),
		.wall_offset_ns = clock_wall_offset_ns(),
		.epoch_ns = s->seg.epoch_ns,
		.wall_ahead_ns = wallclock_ahead(s),
	};

	return send_with(socket, &message, sizeof(message), fds, 2);
}

static int watch_worker(struct supervisor *s, uint32_t slot)
{
	const struct ledger_worker *worker = &s->ledger.workers[slot];
	struct watch *watch = &s->watches[slot];
	int result;

	*watch = (struct watch){.supervisor = s, .slot = slot};
	result = sd_event_add_io(s->event, &watch->pidfd, worker->pidfd, EPOLLIN, on_death, watch);
	if (result < 0)
		return result;
	/* Death first: then the socket's end needs no guessing. */
	sd_event_source_set_priority(watch->pidfd, SD_EVENT_PRIORITY_NORMAL - 1);
	if (worker->socket < 0)
		return 0;
	return sd_event_add_io(s->event, &watch->socket, worker->socket, EPOLLIN, on_socket, watch);
}

static void reap_earlier_self(struct supervisor *s, const struct peer *peer)
{
	for (uint32_t slot = 0; slot < s->ledger.n_workers; slot++) {
		const struct ledger_worker *worker = &s->ledger.workers[slot];

		if (ledger_taken(&s->ledger, slot) && worker->socket < 0 &&
		    worker->pid == peer->pid)
			reap(s, slot, "replaced");
	}
}

/*
 * The end of a socket and the next hello of the same process are two events in no particular order;
 * what has ended must be known before slots are counted. One recv each, only when the table is
 * full.
 */
static void look_for_ended(struct supervisor *s)
{
	for (uint32_t slot = 0; slot < s->ledger.n_workers; slot++) {
		const struct ledger_worker *worker = &s->ledger.workers[slot];
		char byte;

		if (!ledger_taken(&s->ledger, slot))
			continue;
		if (pidfd_dead(worker->pidfd))
			reap_gone(s, slot);
		else if (worker->socket >= 0 && recv(worker->socket, &byte, 1, MSG_DONTWAIT) == 0)
			detach(s, slot);
	}
}

/* What others see of the slot; its owner is not told before all of it stands. */
static void enter_state(struct supervisor *s, uint32_t slot)
{
	struct seg_worker *line = &s->seg.workers[slot];

	shm_store(&line->policy_generation, s->policy.blob.header->generation);
	shm_store(&line->identity, s->ledger.workers[slot].identity);
}

int roster_add(struct supervisor *s, int socket, const struct peer *peer, int pidfd,
	       struct refusal *refusal)
{
	uint32_t slot;
	int result;

	if (s->ledger.n_taken == s->ledger.n_workers)
		look_for_ended(s);
	reap_earlier_self(s, peer);
	if (!ledger_give(&s->ledger, peer, pidfd, socket, &slot))
		return refuse(refusal, RATION_EWORKERS, "all %u worker slots are taken",
			      s->ledger.n_workers);
	store_put_worker(s, slot);
	enter_state(s, slot);
	s->ledger.workers[slot].policy_sent = s->policy.blob.header->generation;
	result = watch_worker(s, slot);
	if (result == 0)
		result = welcome(s, socket, peer, s->state_fd, s->ledger.workers[slot].identity,
				 slot);
	if (result < 0) {
		/* The slot is gone again, but the descriptors are still the caller's. */
		s->ledger.workers[slot].socket = s->ledger.workers[slot].pidfd = -1;
		reap(s, slot, "unwelcomed");
		return refuse(refusal, result, "the welcome could not be sent (%s)",
			      strerror(-result));
	}
	log_event(LOG_INFO, "attached slot=%u pid=%d uid=%u gid=%u workers=%u", slot,
		  (int)peer->pid, peer->uid, peer->gid, s->ledger.n_taken);
	return 0;
}

int roster_adopt(struct supervisor *s, uint32_t slot, int socket, int pidfd)
{
	struct ledger_worker *worker = &s->ledger.workers[slot];

	worker->socket = socket;
	worker->pidfd = pidfd;
	if (pidfd < 0 || pidfd_dead(pidfd)) {
		reap_gone(s, slot);
		return 0;
	}
	return watch_worker(s, slot);
}

int roster_show(struct supervisor *s, int socket, struct refusal *refusal)
{
	const int result = welcome(s, socket, NULL, s->state_reader_fd, 0, 0);

	if (result < 0)
		return refuse(refusal, result, "the welcome could not be sent (%s)",
			      strerror(-result));
	return 0;
}

/* --- policies --- */

/*
 * Descriptors lie in a socket until they are read, so a sleeping worker must not collect them
 * without end.
 */
static bool unread(int socket)
{
	int bytes = 0;

	return ioctl(socket, SIOCOUTQ, &bytes) == 0 && bytes > UNREAD_MAX;
}

static bool tell(struct supervisor *s, struct ledger_worker *worker)
{
	const struct blob_header *header = s->policy.blob.header;
	const struct peer peer = {.pid = worker->pid, .uid = worker->uid, .gid = worker->gid};
	const struct wire_policy message = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_POLICY},
		.policy_size = s->policy.size,
		.policy_generation = header->generation,
		.classes = peer_classes(worker->socket, &peer, &s->policy.blob),
	};

	if (worker->policy_sent == header->generation)
		return true;
	if (unread(worker->socket))
		return false;
	if (send_with(worker->socket, &message, sizeof(message), &s->policy.fd, 1) < 0)
		return false;
	worker->policy_sent = header->generation;
	return true;
}

uint32_t roster_tell(struct supervisor *s)
{
	uint32_t waiting = 0;

	for (uint32_t slot = 0; slot < s->ledger.n_workers; slot++) {
		struct ledger_worker *worker = &s->ledger.workers[slot];

		if (ledger_taken(&s->ledger, slot) && worker->socket >= 0 && !tell(s, worker))
			waiting++;
	}
	return waiting;
}

bool roster_lags(const struct supervisor *s)
{
	const uint64_t generation = s->policy.blob.header->generation;

	for (uint32_t slot = 0; slot < s->ledger.n_workers; slot++)
		if (ledger_taken(&s->ledger, slot) &&
		    shm_load(&s->seg.workers[slot].policy_generation) < generation)
			return true;
	return false;
}

/* 0 is left alone: it may be a goodbye whose end of file is on its way. */
void roster_mend(struct supervisor *s)
{
	for (uint32_t slot = 0; slot < s->ledger.n_workers; slot++) {
		const uint64_t is = shm_load(&s->seg.workers[slot].identity);
		const uint64_t should_be = s->ledger.workers[slot].identity;

		if (is == should_be || is == 0)
			continue;
		shm_store(&s->seg.workers[slot].identity, should_be);
		shm_add(&s->seg.control->repaired, 1);
		if (log_allowed(&s->problems, "problem"))
			log_event(LOG_WARNING, "repaired what=worker-line slot=%u", slot);
	}
}

void roster_stop(struct supervisor *s)
{
	for (uint32_t slot = 0; s->watches && slot < s->ledger.n_workers; slot++) {
		sd_event_source_disable_unref(s->watches[slot].socket);
		sd_event_source_disable_unref(s->watches[slot].pidfd);
	}
}
