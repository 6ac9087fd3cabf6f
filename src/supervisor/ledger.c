/*
 * supervisor/ledger.c - who each worker really is, and what else a successor must know
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/ledger.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/memory.h"
#include "shm/blob.h"
#include "shm/worker.h"

#define LEDGER_MAGIC "RATNLEDG"
#define LEDGER_ABI   1u

_Static_assert(sizeof(struct ledger_head) % 8 == 0, "workers begin aligned");

static uint64_t size_for(uint32_t n_workers)
{
	return sizeof(struct ledger_head) + n_workers * sizeof(struct ledger_worker) +
	       2 * sizeof(struct ledger_overlays);
}

static void view(struct ledger *ledger, int fd, void *mem, uint32_t n_workers)
{
	struct ledger_head *head = mem;
	struct ledger_worker *workers = (void *)(head + 1);

	*ledger = (struct ledger){
		.fd = fd,
		.head = head,
		.workers = workers,
		.overlays = (void *)(workers + n_workers),
		.n_workers = n_workers,
	};
}

int ledger_make(struct ledger *ledger, const struct seg_config *config, uint64_t epoch_ns)
{
	const uint32_t n_workers = config->workers - 1;
	struct ledger_head *head;
	void *mem;
	int fd, result = memory_make_fixed("ration-ledger", size_for(n_workers), &fd, &mem);

	if (result < 0)
		return result;
	view(ledger, fd, mem, n_workers);
	for (uint32_t i = 0; i < n_workers; i++)
		ledger->workers[i].pidfd = ledger->workers[i].socket = -1;
	head = ledger->head;
	memcpy(head->magic, LEDGER_MAGIC, sizeof(head->magic));
	strncpy(head->version, RATION_VERSION, sizeof(head->version) - 1);
	head->abi = LEDGER_ABI;
	head->n_workers = n_workers;
	head->state_fingerprint = seg_fingerprint();
	head->policy_fingerprint = blob_fingerprint();
	head->config = *config;
	head->epoch_ns = epoch_ns;
	head->size = size_for(n_workers);
	return 0;
}

/* --- taking over --- */

static int judge(const struct ledger_head *head, uint64_t size)
{
	if (memcmp(head->magic, LEDGER_MAGIC, sizeof(head->magic)) != 0)
		return RATION_ECORRUPT;
	if (head->abi != LEDGER_ABI || head->state_fingerprint != seg_fingerprint() ||
	    head->policy_fingerprint != blob_fingerprint())
		return RATION_ELAYOUT;
	if (head->size != size || head->n_workers >= SEG_WORKERS_MAX ||
	    size != size_for(head->n_workers) || head->config.workers != head->n_workers + 1)
		return RATION_ECORRUPT;
	return 0;
}

/* The numbers of the predecessor's descriptors mean nothing here. */
static void forget_descriptors(struct ledger *ledger)
{
	for (uint32_t slot = 0; slot < ledger->n_workers; slot++) {
		struct ledger_worker *worker = &ledger->workers[slot];

		worker->pidfd = worker->socket = -1;
		ledger->n_taken += ledger_taken(ledger, slot);
	}
}

/* NULL: *ret_result says why. */
static struct ledger_head *map(int fd, int *ret_result)
{
	struct stat st;
	uint64_t size;
	void *mem;

	*ret_result = fstat(fd, &st) < 0 ? -errno : 0;
	if (*ret_result < 0)
		return NULL;
	size = (uint64_t)st.st_size;
	*ret_result = RATION_ECORRUPT;
	if (size < sizeof(struct ledger_head))
		return NULL;
	*ret_result = memory_map_fixed(fd, size, &mem);
	if (*ret_result < 0)
		return NULL;
	*ret_result = judge(mem, size);
	if (*ret_result == 0)
		return mem;
	munmap(mem, size);
	return NULL;
}

int ledger_adopt(struct ledger *ledger, int fd)
{
	int result;
	struct ledger_head *head = map(fd, &result);

	if (!head) {
		close(fd);
		return result;
	}
	view(ledger, fd, head, head->n_workers);
	forget_descriptors(ledger);
	return 0;
}

static void close_descriptors(struct ledger_worker *worker)
{
	if (worker->socket >= 0)
		close(worker->socket);
	if (worker->pidfd >= 0)
		close(worker->pidfd);
	worker->pidfd = worker->socket = -1;
}

void ledger_free(struct ledger *ledger)
{
	if (!ledger->head)
		return;
	for (uint32_t slot = 0; slot < ledger->n_workers; slot++)
		close_descriptors(&ledger->workers[slot]);
	munmap(ledger->head, size_for(ledger->n_workers));
	close(ledger->fd);
	*ledger = (struct ledger){.fd = -1};
}

/* --- slots --- */

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
	worker->incarnation++;
	worker->start = process_start(peer->pid);
	worker->policy_sent = 0;
	worker->pid = peer->pid;
	worker->uid = peer->uid;
	worker->gid = peer->gid;
	worker->pidfd = pidfd;
	worker->socket = socket;
	/* Released last: a successor sees all of the entry or a free slot. */
	shm_store(&worker->identity,
		  worker_identity(slot, worker->incarnation, (uint32_t)peer->pid));
	ledger->n_taken++;
	*ret_slot = slot;
	return true;
}

void ledger_take_back(struct ledger *ledger, uint32_t slot)
{
	struct ledger_worker *worker = &ledger->workers[slot];

	shm_store(&worker->identity, 0);
	close_descriptors(worker);
	ledger->n_taken--;
}

/* --- what operators have set --- */

void ledger_set_overlays(struct ledger *ledger, const struct wire_set *text, uint32_t n)
{
	const uint32_t side = shm_half_load(&ledger->head->side) & 1;
	struct ledger_overlays *other = &ledger->overlays[!side];

	memcpy(other->text, text, n * sizeof(*text));
	other->n = n;
	shm_half_store(&ledger->head->side, !side);
}

const struct ledger_overlays *ledger_get_overlays(const struct ledger *ledger)
{
	return &ledger->overlays[shm_half_load(&ledger->head->side) & 1];
}
