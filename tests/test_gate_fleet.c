/*
 * tests/test_gate_fleet.c - 64 processes meet one block: one probe at its end, the rest one after the other
 * SPDX-License-Identifier: MIT
 *
 * Prints when they came. How long that takes here is no part of what is tested.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/gate.h"
#include "shm/gate.h"
#include "support_blob.h"
#include "support_check.h"

#define WORKERS 64
#define MS      UINT64_C(1000000)
#define STEPS   20

TestSuite(gate_fleet, .fini = check_worlds, .timeout = 120);

static const struct policy_desc ample = {
	.vendors = {"ai"},
	.limits = {{.name = "calls",
		    .vendor = "ai",
		    .scope = RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR,
		    .amount = 100000,
		    .burst = 100000}},
};

/* What the workers note down. Times are ticks. */
struct board {
	_Atomic uint32_t probes;
	_Atomic uint32_t out;      /* probes that are not answered yet */
	_Atomic uint32_t together; /* most of these at a time */
	_Atomic uint64_t answered; /* when the probe's good answer came */
	_Atomic uint32_t early;    /* passed before that, and no probe */
	_Atomic uint64_t came[WORKERS];
};

static void answer_probe(struct ration_handle *handle, struct ration_ticket *ticket,
			 struct board *board)
{
	const struct ration_signal good = {.status = 200, .retry_in_ns = RATION_UNKNOWN};
	const uint32_t out = atomic_fetch_add(&board->out, 1) + 1;
	uint32_t most = atomic_load(&board->together);

	while (out > most && !atomic_compare_exchange_weak(&board->together, &most, out))
		;
	atomic_fetch_add(&board->probes, 1);
	usleep(50000); /* the vendor takes its time */
	atomic_fetch_sub(&board->out, 1);
	atomic_store(&board->answered, client_now(handle->ration));
	if (ration_observe(handle, ticket, &good) != 0)
		_exit(3);
}

static void work(struct ration *ration, int who, struct board *board)
{
	struct ration_handle *handle = world_key(ration, "acme", "ai", NULL, NULL);
	const uint64_t deadline = client_boot_ns(ration, client_now(ration)) + 100000 * MS;
	struct ration_ticket ticket;
	const int result = ration_acquire_until(handle, NULL, 0, deadline, &ticket, NULL);

	if (result != 0)
		_exit(2);
	atomic_store(&board->came[who], client_now(ration));
	if (ticket.n_links > 1)
		answer_probe(handle, &ticket, board);
	else if (atomic_load(&board->answered) == 0)
		atomic_fetch_add(&board->early, 1);
	_exit(ration_settle(ration, &ticket, NULL, 0) == 0 ? 0 : 4);
}

static void wait_for(pid_t pid)
{
	int status = -1;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}

static void print_histogram(const struct board *board)
{
	const uint64_t from = atomic_load(&board->answered);
	int n[STEPS + 1] = {0};

	for (int i = 0; i < WORKERS; i++) {
		const uint64_t came = atomic_load(&board->came[i]);
		const uint64_t step = came > from ? (came - from) / (GATE_SPREAD / STEPS) : 0;

		n[step < STEPS ? step : STEPS] += came > from;
	}
	printf("gate_fleet: arrivals after the probe's answer\n");
	for (int i = 0; i <= STEPS; i++)
		printf("%5d ms %3d %.*s\n", i * 1000 / STEPS, n[i], n[i],
		       "################################################################");
}

/* Blocked for 300 ms, a little after which the first comes. */
static struct ration *block(struct ration_handle **ret_handle, uint32_t workers)
{
	struct ration *ration = world_make(&ample, 64, workers);
	struct ration_signal limited = {
		.status = 429,
		.limited = true,
		.limit_class = RATION_LIMIT_RATE,
		.reach = RATION_REACH_TENANT,
		.retry_in_ns = 300 * MS,
	};

	*ret_handle = world_key(ration, "acme", "ai", NULL, NULL);
	cr_assert_eq(ration_observe(*ret_handle, NULL, &limited), 0);
	return ration;
}

Test(gate_fleet, one_probe_and_the_others_spread)
{
	struct board *board = shared_memory(sizeof(*board));
	struct ration_handle *handle;
	struct ration *ration = block(&handle, WORKERS + 1);
	pid_t pids[WORKERS];

	fflush(NULL);
	for (int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		cr_assert_geq(pids[i], 0);
		if (pids[i] == 0)
			work(ration, i, board);
	}
	for (int i = 0; i < WORKERS; i++)
		wait_for(pids[i]);
	print_histogram(board);
	cr_expect_geq(board->probes, 1);
	cr_expect_eq(board->together, 1, "one at a time");
	cr_expect_eq(board->early, 0, "nobody beside it");
	ration_handle_free(&handle);
	ration_detach(&ration);
}

/* Whoever was to tell is dead: others go on when the probe's time is over. */
Test(gate_fleet, a_killed_probe_holds_nobody_up_for_longer)
{
	struct ration_handle *handle;
	struct ration *ration = block(&handle, 3);
	struct ration_ticket ticket;
	int ready[2];
	pid_t pid;
	char byte;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		const uint64_t deadline = client_boot_ns(ration, client_now(ration)) + 60000 * MS;
		const int result = ration_acquire_until(handle, NULL, 0, deadline, &ticket, NULL);

		if (result != 0 || ticket.n_links != 2 || write(ready[1], "x", 1) != 1)
			_exit(2);
		pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_expect_eq(ration_acquire(handle, NULL, 0, &ticket, NULL), RATION_DENIED);
	world_advance(ration, GATE_PROBE / TICKS_PER_NS + MS);
	cr_expect_eq(ration_acquire(handle, NULL, 0, &ticket, NULL), 0);
	close(ready[0]);
	close(ready[1]);
	ration_handle_free(&handle);
	ration_detach(&ration);
}
