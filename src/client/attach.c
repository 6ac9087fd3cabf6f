/*
 * client/attach.c - becoming a worker, and ceasing to be one
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/converse.h"
#include "client/memory.h"
#include "shm/slots.h"

#define ATTACH_NS   UINT64_C(5000000000) /* for an answer, when attaching */
#define REGISTER_NS UINT64_C(1000000000) /* the same for a child's first call */
#define BACKOFF_NS  UINT64_C(100000000)  /* before a child that failed tries again */
#define RETRY_NS    20000000 /* between two looks for a supervisor that is not there yet */

/* Wall clocks that differ by less are one clock read twice; a time namespace is shifted by more. */
#define SAME_CLOCK_NS 100000000

/* --- finding the socket --- */

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

const char *client_socket_path(char *buf, size_t size)
{
	const char *named = secure_getenv("RATION_SOCKET");
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");

	if (named && *named)
		return named;
	if (runtime && *runtime) {
		const int n = snprintf(buf, size, "%s/ration/ration.sock", runtime);

		if (n > 0 && (size_t)n < size && exists(buf))
			return buf;
	}
	return "/run/ration/ration.sock";
}

static int set_address(struct ration *ration, const char *path, struct ration_error *error)
{
	char buf[sizeof(ration->address.sun_path)];

	if (!path)
		path = client_socket_path(buf, sizeof(buf));
	if (strlen(path) >= sizeof(ration->address.sun_path))
		return explain(error, -ENAMETOOLONG, "%s: longer than a socket's path may be",
			       path);
	ration->address.sun_family = AF_UNIX;
	strcpy(ration->address.sun_path, path);
	return 0;
}

/* --- from an answer to an attachment --- */

static int64_t clock_shift(const struct wire_welcome *welcome)
{
	const int64_t shift = clock_wall_offset_ns() - welcome->wall_offset_ns;

	return llabs(shift) < SAME_CLOCK_NS ? 0 : shift;
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Map state unless it is mapped already: a forked child gets the same memory again. */
static int adopt_state(struct ration *ration, const struct answer *answer)
{
	const uint64_t inode = inode_of(answer->state_fd);
	struct seg seg;
	int result;

	if (ration->seg.base && inode == ration->state_inode)
		return 0;
	result = memory_map_state(answer->state_fd, answer->message.welcome.state_size,
				  !ration->observer, &seg);
	if (result < 0)
		return result;
	/* What stands in the state, anyone may write. */
	seg.epoch_ns = answer->message.welcome.epoch_ns;
	/* The old mapping stays: another thread of this process may be looking at it. */
	ration->seg = seg;
	ration->state_inode = inode;
	atomic_fetch_add(&ration->serial, 1);
	return 0;
}

static int adopt_policy(struct ration *ration, const struct answer *answer)
{
	const struct wire_welcome *welcome = &answer->message.welcome;
	struct blob blob;
	int result = memory_map_policy(answer->policy_fd, welcome->policy_size, &blob);

	if (result == 0 && !policy_install(ration, &blob, welcome->classes)) {
		memory_unmap_policy(&blob);
		result = -ENOMEM;
	}
	return result;
}

static int adopt_answer(struct ration *ration, const struct answer *answer)
{
	const struct wire_welcome *welcome = &answer->message.welcome;
	int result = adopt_state(ration, answer);

	if (result == 0)
		result = adopt_policy(ration, answer);
	if (result < 0)
		return result;
	if (!ration->observer && welcome->slot >= ration->seg.n_workers)
		return -EPROTO;
	ration->shift_ns = clock_shift(welcome);
	wall_attach(ration, welcome->wall_ahead_ns);
	atomic_store(&ration->slot, welcome->slot);
	atomic_store(&ration->identity, welcome->worker);
	if (!ration->observer)
		shm_store(&ration->seg.workers[welcome->slot].policy_generation,
			  atomic_load(&ration->policy_generation));
	return 0;
}

/* Leaves a socket in ration->socket on success. */
static int attach_supervised(struct ration *ration, uint64_t budget_ns, struct ration_error *error)
{
	struct answer answer = {.state_fd = -1, .policy_fd = -1};
	const int socket = converse(ration, budget_ns, &answer, error);
	int result;

	if (socket < 0)
		return socket;
	result = adopt_answer(ration, &answer);
	answer_close(&answer);
	if (result < 0) {
		close(socket);
		return explain(error, result, "%s: %s", ration->address.sun_path,
			       ration_strerror(result));
	}
	ration->socket = socket;
	return 0;
}

/* --- registering, also after a fork --- */

static int register_now(struct ration *ration, uint64_t budget_ns, struct ration_error *error)
{
	atomic_flag_clear(&ration->inserting);
	atomic_flag_clear(&ration->updating);
	atomic_flag_clear(&ration->following);
	atomic_store(&ration->policy_readers, 0);
	atomic_store(&ration->policy_retry_at, 0);
	if (!has_supervisor(ration))
		return embedded_register(ration);
	if (ration->socket >= 0)
		close(ration->socket); /* the parent's: it must not be read, nor shut down */
	ration->socket = -1;
	return attach_supervised(ration, budget_ns, error);
}

static int register_child(struct ration *ration)
{
	const uint64_t now = clock_boot_ns();
	int result;

	if (now < atomic_load(&ration->register_retry_at))
		return atomic_load(&ration->register_error);
	result = register_now(ration, REGISTER_NS, NULL);
	atomic_store(&ration->register_error, result);
	atomic_store(&ration->register_retry_at, result < 0 ? clock_boot_ns() + BACKOFF_NS : 0);
	return result;
}

int attachment_register(struct ration *ration)
{
	const int error = errno;
	uint32_t state = UNREGISTERED;
	int result;

	if (!atomic_compare_exchange_strong(&ration->process->registration, &state, REGISTERING))
		return state == REGISTERED ? 0 : RATION_CONTENDED;
	result = register_child(ration);
	atomic_store(&ration->process->registration, result == 0 ? REGISTERED : UNREGISTERED);
	errno = error;
	return result;
}

/* --- the public ends --- */

static struct ration *ration_new(void)
{
	struct ration *ration = calloc(1, sizeof(*ration));
	void *page;

	if (!ration)
		return NULL;
	ration->socket = -1;
	page = mmap(NULL, SEG_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED && madvise(page, SEG_PAGE, MADV_WIPEONFORK) == 0) {
		ration->process = page;
		return ration;
	}
	if (page != MAP_FAILED)
		munmap(page, SEG_PAGE);
	free(ration);
	return NULL;
}

static void ration_delete(struct ration *ration)
{
	if (ration->socket >= 0)
		close(ration->socket);
	policy_close(ration);
	memory_unmap_state(&ration->seg);
	munmap(ration->process, SEG_PAGE);
	free(ration);
}

static int finish(struct ration *ration, int result, struct ration **ret_ration)
{
	if (result < 0) {
		ration_delete(ration);
		return result;
	}
	atomic_store(&ration->process->registration, REGISTERED);
	*ret_ration = ration;
	return 0;
}

static int attach(const char *path, uint64_t wait_ns, bool observer, struct ration **ret_ration,
		  struct ration_error *error)
{
	const uint64_t now = clock_boot_ns();
	const uint64_t end = wait_ns > UINT64_MAX - now ? UINT64_MAX : now + wait_ns;
	struct ration *ration = ration_new();
	int result;

	if (!ration)
		return explain(error, -ENOMEM, "out of memory");
	ration->observer = observer;
	for (;;) {
		result = set_address(ration, path, error);
		if (result == 0)
			result = register_now(ration, ATTACH_NS, error);
		if (result != RATION_ESUPERVISOR || clock_boot_ns() >= end)
			break;
		nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
	}
	return finish(ration, result, ret_ration);
}

int ration_attach(const char *path, uint64_t wait_ns, struct ration **ret_ration,
		  struct ration_error *ret_error)
{
	return attach(path, wait_ns, false, ret_ration, ret_error);
}

int client_observe(const char *path, uint64_t wait_ns, struct ration **ret_ration,
		   struct ration_error *ret_error)
{
	return attach(path, wait_ns, true, ret_ration, ret_error);
}

int client_adopt(const struct seg *seg, int policy_fd, uint64_t policy_size,
		 struct ration **ret_ration, struct ration_error *error)
{
	struct ration *ration = ration_new();
	struct blob blob;
	int result;

	if (!ration)
		return explain(error, -ENOMEM, "out of memory");
	result = memory_map_policy(policy_fd, policy_size, &blob);
	if (result == 0 && !policy_install(ration, &blob, UINT32_MAX))
		result = -ENOMEM;
	if (result == 0) {
		ration->seg = *seg;
		wall_attach(ration, 0);
		result = register_now(ration, ATTACH_NS, error);
	}
	if (result < 0)
		memset(&ration->seg, 0, sizeof(ration->seg)); /* still the caller's */
	return finish(ration, result, ret_ration);
}

static void wake_waiters(void *user, uint32_t bucket)
{
	wake_next(user, bucket);
}

/*
 * A goodbye is two things: our line says that nobody is there, then the socket ends. A socket that
 * ends without the other may have been closed by accident, and its process go on acquiring. Leases end before it,
 * whether or not a supervisor is there to hear it.
 */
static void say_goodbye(struct ration *r)
{
	const uint32_t slot = atomic_load(&r->slot);
	uint64_t identity = atomic_load(&r->identity);

	if (shm_load(&r->seg.workers[slot].identity) == identity)
		(void)slots_reap(&r->seg, slot, client_now(r), wake_waiters, r);
	(void)shm_cas(&r->seg.workers[slot].identity, &identity, 0);
	shutdown(r->socket, SHUT_RDWR);
}

void ration_detach(struct ration **ration)
{
	struct ration *r = *ration;

	if (!r)
		return;
	*ration = NULL;
	if (atomic_load(&r->process->registration) == REGISTERED && !r->observer) {
		/* Embedded, nobody else frees the slot; else the supervisor does when it sees this.
		 */
		if (r->socket < 0)
			embedded_leave(r);
		else
			say_goodbye(r);
	}
	ration_delete(r);
}

const struct seg *client_seg(const struct ration *ration)
{
	return &ration->seg;
}

const struct blob *client_blob(const struct ration *ration)
{
	return &atomic_load(&ration->policy)->blob;
}

uint64_t client_now(const struct ration *ration)
{
	const uint64_t ns = clock_boot_ns() + (uint64_t)ration->shift_ns;

	return (ns - ration->seg.epoch_ns) * TICKS_PER_NS;
}
