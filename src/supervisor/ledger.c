/*
 * supervisor/ledger.c - who each worker really is
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/worker.h"

int ledger_make(struct ledger *ledger, uint32_t n_workers)
{
	struct ledger_worker *workers = calloc(n_workers, sizeof(*workers));

	if (!workers)
		return -ENOMEM;
	for (uint32_t i = 0; i < n_workers; i++)
		workers[i].pidfd = workers[i].socket = -1;
	*ledger = (struct ledger){.workers = workers, .n_workers = n_workers};
	return 0;
}

void ledger_free(struct ledger *ledger)
{
	for (uint32_t slot = 0; slot < ledger->n_workers; slot++)
		if (ledger_taken(ledger, slot))
			ledger_take_back(ledger, slot);
	free(ledger->workers);
	*ledger = (struct ledger){0};
}

static bool find_free(const struct ledger *ledger, uint32_t *ret_slot)
{
	for (uint32_t slot = 0; slot < ledger->n_workers; slot++) {
		if (ledger_taken(ledger, slot))
			continue;
		*ret_slot = slot;
		return true;
	}
	return false;
}

bool ledger_give(struct ledger *ledger, const struct peer *peer, int pidfd, int socket,
		 uint32_t *ret_slot)
{
	struct ledger_worker *worker;
	uint32_t slot;

	if (!find_free(ledger, &slot))
		return false;
	worker = &ledger->workers[slot];
	*worker = (struct ledger_worker){
		.start = process_start(peer->pid),
		.pid = peer->pid,
		.uid = peer->uid,
		.gid = peer->gid,
		.incarnation = worker->incarnation + 1,
		.pidfd = pidfd,
		.socket = socket,
	};
	worker->identity = worker_identity(slot, worker->incarnation, (uint32_t)peer->pid);
	ledger->n_taken++;
	*ret_slot = slot;
	return true;
}

void ledger_take_back(struct ledger *ledger, uint32_t slot)
{
	struct ledger_worker *worker = &ledger->workers[slot];

	if (worker->socket >= 0)
		close(worker->socket);
	if (worker->pidfd >= 0)
		close(worker->pidfd);
	*worker = (struct ledger_worker){
		.incarnation = worker->incarnation,
		.pidfd = -1,
		.socket = -1,
	};
	ledger->n_taken--;
}
