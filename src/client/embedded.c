/*
 * client/embedded.c - workers of a segment that no supervisor looks after
 * SPDX-License-Identifier: MIT
 *
 * Whoever registers finds a free slot, or that of a dead worker together with what it left undone. The dead are looked
 * for where something of theirs is missed, too: a lease that nobody else can take. Whoever takes over a slot owns it
 * before he touches anything of it, so no two reap the same one; if he dies of it, he is one more of the dead.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/attachment.h"
#include "shm/index.h"
#include "shm/queue.h"
#include "shm/slots.h"
#include "shm/stat.h"
#include "shm/worker.h"

/* The dead are looked for this often at most. */
#define LOOK_TICKS (TICKS_PER_SEC / 50)

/* One that is dead and not yet waited for by its parent is dead too, which kill(2) does not say. */
static bool is_dead(uint64_t identity)
{
	const pid_t pid = (pid_t)worker_pid(identity);
	struct pollfd pidfd = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	bool dead;

	if (pidfd.fd < 0)
		return errno == ESRCH || (kill(pid, 0) < 0 && errno == ESRCH);
	dead = poll(&pidfd, 1, 0) == 1;
	close(pidfd.fd);
	return dead;
}

/* The first one differs from segment to segment: tickets of one must not pass for another's. */
static uint32_t incarnation_after(const struct ration *ration, uint64_t old)
{
	return old ? (uint32_t)(old >> 32) + 1 : (uint32_t)(ration->seg.epoch_ns >> 12);
}

/* 0: somebody else has it. */
static uint64_t own_slot(struct ration *ration, uint32_t slot, uint64_t old)
{
	const uint64_t mine =
		worker_identity(slot, incarnation_after(ration, old), (uint32_t)getpid());

	return shm_cas(&ration->seg.workers[slot].identity, &old, mine) ? mine : 0;
}

static void wake_waiters(void *user, uint32_t bucket)
{
	wake_next(user, bucket);
}

int embedded_register(struct ration *ration)
{
	for (uint32_t slot = 0; slot < ration->seg.n_workers; slot++) {
		const uint64_t old = shm_load(&ration->seg.workers[slot].identity);
		uint64_t mine;

		if (old != 0 && !is_dead(old))
			continue;
		mine = own_slot(ration, slot, old);
		if (mine == 0)
			continue;
		worker_inherit(&ration->seg, slot, client_now(ration), wake_waiters, ration);
		atomic_store(&ration->slot, slot);
		atomic_store(&ration->identity, mine);
		return 0;
	}
	return RATION_EWORKERS;
}

static bool bury(struct ration *ration)
{
	bool any = false;

	for (uint32_t slot = 0; slot < ration->seg.n_workers; slot++) {
		const uint64_t old = shm_load(&ration->seg.workers[slot].identity);

		if (old == 0 || !is_dead(old) || own_slot(ration, slot, old) == 0)
			continue;
		worker_reap_telling(&ration->seg, slot, client_now(ration), wake_waiters, ration);
		any = true;
	}
	return any;
}

bool embedded_bury(struct ration *ration, uint64_t now)
{
	uint64_t at = atomic_load(&ration->bury_at);
	const int error = errno;
	bool any;

	if (has_supervisor(ration) || now < at ||
	    !atomic_compare_exchange_strong(&ration->bury_at, &at, now + LOOK_TICKS))
		return false;
	any = bury(ration);
	errno = error;
	return any;
}

void embedded_leave(struct ration *ration)
{
	worker_reap_telling(&ration->seg, atomic_load(&ration->slot), client_now(ration),
			    wake_waiters, ration);
}
