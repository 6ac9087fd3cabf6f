/*
 * tests/test_capacity_fleet.c - several classes on one limit, each class processes of its own
 * SPDX-License-Identifier: MIT
 *
 * What test_capacity.c simulates, here real processes do that race for the same words. Their clock is injected: it
 * goes on by a step when all of them are through with the one before, so that minutes pass in seconds and a pause of
 * the machine costs no quota. Within a step nothing orders them.
 */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "shm/atomic.h"
#include "support_policy.h"

TestSuite(capacity_fleet, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 120);

#define MS      UINT64_C(1000000)
#define SECOND  (1000 * MS)
#define STEP    (5 * MS)
#define SECONDS UINT64_C(150)
#define START   (1000 * SECOND)
#define STEPS   (SECONDS * SECOND / STEP)

static const char policy[] = "version: 1\n"
			     "classes: [repair, interactive, bulk]\n"
			     "defaults: { delay: 0ms, margin: 0% }\n"
			     "vendors:\n"
			     "  crm:\n"
			     "    limits:\n"
			     "      - name: rate\n"
			     "        rate: 200/s\n"
			     "        burst: 50\n"
			     "        scope: [tenant, vendor]\n"
			     "        classes:\n"
			     "          repair: { guarantee: 20/s }\n"
			     "          interactive: { guarantee: 60/s }\n";

#define RATE  200
#define BURST 50

/* A guarantee's burst is 100 ms of it: as many at once, each time so many are due. 0: all it can get. */
static const struct role {
	const char *class;
	uint64_t burst;
} roles[] = {{"repair", 2}, {"interactive", 6}, {"bulk", 0}, {"bulk", 0}};

#define WORKERS ((int)(sizeof(roles) / sizeof(roles[0])))
#define EVERY   (100 * MS)

/* What the processes share besides the quota. */
struct fleet {
	shm_word step;  /* what they are to do; STEPS: end */
	shm_word ready; /* how many are through with it */
	struct {
		shm_word admitted, denied;
		uint64_t pad[6];
	} worker[4];
};

/* The clock of all of them, in place of the C library's: it stands still within a step. */
static const struct fleet *injected;

int clock_gettime(clockid_t id, struct timespec *ret_time)
{
	uint64_t ns;

	if (!injected || id != CLOCK_BOOTTIME)
		return (int)syscall(SYS_clock_gettime, id, ret_time);
	ns = START + shm_load(&injected->step) * STEP;
	*ret_time = (struct timespec){(time_t)(ns / SECOND), (long)(ns % SECOND)};
	return 0;
}

static void acquire(struct fleet *fleet, int worker, struct ration_handle *handle, int *ret_result)
{
	struct ration_ticket ticket;

	do
		*ret_result = ration_acquire(handle, NULL, 0, &ticket, NULL);
	while (*ret_result == RATION_CONTENDED);
	shm_add(*ret_result == 0 ? &fleet->worker[worker].admitted : &fleet->worker[worker].denied,
		1);
}

static void one_step(struct fleet *fleet, int worker, struct ration_handle *handle, uint64_t step)
{
	const uint64_t burst = roles[worker].burst;
	int result = 0;

	if (burst == 0) {
		while (result == 0)
			acquire(fleet, worker, handle, &result);
	} else if (step * STEP % EVERY == 0) {
		for (uint64_t i = 0; i < burst; i++)
			acquire(fleet, worker, handle, &result);
	}
}

static void work(struct ration *ration, struct fleet *fleet, int worker)
{
	const struct ration_key key = {
		.tenant = "acme", .vendor = "crm", .traffic_class = roles[worker].class};
	struct ration_handle *handle;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ration_resolve(ration, &key, &handle, NULL) != 0)
		_exit(1);
	for (uint64_t step = 0; step < STEPS; step++) {
		while (shm_load(&fleet->step) <= step)
			sched_yield();
		one_step(fleet, worker, handle, step);
		shm_add(&fleet->ready, 1);
	}
	_exit(0);
}

static void lead(struct fleet *fleet)
{
	for (uint64_t step = 0; step < STEPS; step++) {
		shm_store(&fleet->step, step + 1);
		while (shm_load(&fleet->ready) < (step + 1) * (uint64_t)WORKERS)
			sched_yield();
	}
}

Test(capacity_fleet, guarantees_hold_and_nothing_is_wasted)
{
	struct fleet *fleet = mmap(NULL, sizeof(*fleet), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ration_error error;
	struct ration *ration;
	pid_t pids[WORKERS];
	uint64_t used = 0;
	int status;

	cr_assert_neq(fleet, MAP_FAILED);
	injected = fleet;
	policy_write("policy.yaml", policy, sizeof(policy) - 1);
	cr_assert_eq(ration_embed("policy.yaml", &ration, &error), 0, "%s", error.text);
	for (int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		cr_assert_geq(pids[i], 0);
		if (pids[i] == 0)
			work(ration, fleet, i);
	}
	lead(fleet);
	for (int i = 0; i < WORKERS; i++) {
		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_expect_eq(status, 0);
		used += shm_load(&fleet->worker[i].admitted);
		if (roles[i].burst == 0)
			continue;
		cr_expect_eq(shm_load(&fleet->worker[i].denied), 0,
			     "%s was denied %lu, admitted %lu", roles[i].class,
			     shm_load(&fleet->worker[i].denied),
			     shm_load(&fleet->worker[i].admitted));
		cr_expect_eq(shm_load(&fleet->worker[i].admitted),
			     SECONDS * SECOND / EVERY * roles[i].burst, "%s", roles[i].class);
	}
	cr_expect_leq(used, BURST + RATE * SECONDS + 1, "over");
	cr_expect_geq(used * 100, RATE * SECONDS * 98, "%lu of %lu used", used, RATE * SECONDS);
	ration_detach(&ration);
	munmap(fleet, sizeof(*fleet));
}
