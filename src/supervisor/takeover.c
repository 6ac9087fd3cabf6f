/*
 * supervisor/takeover.c - going on with what a killed, stopped or older supervisor left
 * SPDX-License-Identifier: MIT
 *
 * Everything is there under its name (store.h), and the ledger says what it means. Whatever a predecessor was in the middle
 * of is either complete (its last word was moved) or did not happen: a worker without an identity was never told its slot, a
 * policy that is not the ledger's generation was never announced. What does not fit is not guessed at: we end, and workers go
 * on with what they have.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <ration/ration.h>

#include "shm/worker.h"
#include "supervisor/supervisor.h"

static int refuse_layout(void)
{
	log_event(LOG_ERR,
		  "failed what=takeover text=\"the running workers' memory was made by a rationd "
		  "of another layout (this one: "
		  "%s, state %016" PRIx64 ", policy %016" PRIx64
		  "). Start that version again, or stop the workers, stop rationd "
		  "and start this one\"",
		  RATION_VERSION, seg_fingerprint(), blob_fingerprint());
	return EX_DATAERR;
}

static int cannot(const char *what, int error)
{
	if (error == RATION_ELAYOUT || error == RATION_EPOLICY)
		return refuse_layout();
	log_event(LOG_ERR,
		  "failed what=takeover of=%s error=\"%s\" text=\"what was handed down cannot be "
		  "used: stop rationd and start "
		  "it again to begin anew\"",
		  what, ration_strerror(error));
	return error == -ENOMEM || error == -EMFILE ? EX_OSERR : EX_DATAERR;
}

/* --- memory and policy --- */

void takeover_keep(const struct published *p)
{
	char name[STORE_NAME_MAX];

	store_name_policy(name, p->blob.header->generation);
	store_put(name, &p->fd, 1);
	store_name_names(name, p->blob.header->generation);
	store_put(name, &p->names_fd, 1);
}

void takeover_drop(const struct published *p)
{
	char name[STORE_NAME_MAX];

	store_name_policy(name, p->blob.header->generation);
	store_drop(name);
	store_name_names(name, p->blob.header->generation);
	store_drop(name);
}

static int take_policy(struct supervisor *s, struct handed *handed)
{
	const uint64_t generation = shm_load(&s->ledger.head->generation);
	char policy[STORE_NAME_MAX], names[STORE_NAME_MAX];

	store_name_policy(policy, generation);
	store_name_names(names, generation);
	return published_adopt(&s->policy, handed_by_name(handed, policy),
			       handed_by_name(handed, names));
}

int takeover(struct supervisor *s, struct handed *handed)
{
	int result = ledger_adopt(&s->ledger, handed_by_name(handed, "ledger"));

	if (result < 0)
		return cannot("ledger", result);
	s->state_fd = handed_by_name(handed, "state");
	result = memory_adopt_state(s->state_fd, &s->ledger.head->config, s->ledger.head->epoch_ns,
				    &s->seg);
	if (result < 0)
		return cannot("state", result);
	result = take_policy(s, handed);
	if (result < 0)
		return cannot("policy", result);
	overlays_take(&s->overlays, ledger_get_overlays(&s->ledger));
	s->took_over = true;
	shm_add(&s->ledger.head->takeovers, 1);
	return 0;
}

/* --- workers --- */

static bool is_pidfd_of(int fd, pid_t pid)
{
	pid_t found = 0;
	const int result = pidfd_process(fd, &found);

	/* Of a dead process it does not say which. */
	return result == -ESRCH || (result == 0 && found == pid);
}

/* Both descriptors stand under one name. */
static void take_worker(struct supervisor *s, struct handed *handed, uint32_t slot, int *ret_socket,
			int *ret_pidfd)
{
	const struct ledger_worker *worker = &s->ledger.workers[slot];
	char name[STORE_NAME_MAX];
	int fd;

	*ret_socket = *ret_pidfd = -1;
	store_name_worker(name, slot, worker->incarnation);
	while ((fd = handed_by_name(handed, name)) >= 0) {
		if (*ret_socket < 0 && sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 0) > 0)
			*ret_socket = fd;
		else if (*ret_pidfd < 0 && is_pidfd_of(fd, worker->pid))
			*ret_pidfd = fd;
		else
			close(fd);
	}
}

/*
 * Killed between the ledger and the store: it was never welcomed. But a store may also have been too small, and a slot must
 * not be given away while somebody lives in it. -1: nobody does.
 */
static int find_process(const struct ledger_worker *worker)
{
	const int pidfd = (int)syscall(SYS_pidfd_open, worker->pid, 0);
	const uint64_t start = process_start(worker->pid);

	if (pidfd >= 0 && start != 0 && worker->start != 0 && start != worker->start) {
		close(pidfd);
		return -1;
	}
	return pidfd;
}

static int adopt_worker(struct supervisor *s, struct handed *handed, uint32_t slot)
{
	int socket, pidfd;

	take_worker(s, handed, slot, &socket, &pidfd);
	if (pidfd < 0)
		pidfd = find_process(&s->ledger.workers[slot]);
	return roster_adopt(s, slot, socket, pidfd);
}

/* What we ourselves were making is as if a worker had died over it. */
static void reap_predecessor(struct supervisor *s)
{
	worker_inherit(&s->seg, s->maker, supervisor_now(s), NULL, NULL);
}

int takeover_finish(struct supervisor *s, struct handed *handed)
{
	const struct published_from from = {
		.path = s->options->policy,
		.overlays = s->overlays.overlay,
		.n_overlays = s->overlays.n,
		.hash_key = s->ledger.head->hash_key,
		.before = &s->policy,
		.now = supervisor_now(s),
	};
	const uint32_t before = s->ledger.n_taken;
	int result = 0;

	reap_predecessor(s);
	for (uint32_t slot = 0; slot < s->ledger.n_workers && result >= 0; slot++) {
		if (ledger_taken(&s->ledger, slot))
			result = adopt_worker(s, handed, slot);
	}
	if (result < 0)
		return result;
	log_event(LOG_NOTICE,
		  "took-over takeovers=%" PRIu64 " generation=%" PRIu64 " workers=%u gone=%u",
		  shm_load(&s->ledger.head->takeovers), s->policy.blob.header->generation,
		  s->ledger.n_taken, before - s->ledger.n_taken);
	if (!published_is_current(&s->policy, &from))
		reload_policy(s);
	return 0;
}
