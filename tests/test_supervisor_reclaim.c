/*
 * tests/test_supervisor_reclaim.c - keys come and go in a small table, under a real supervisor
 * SPDX-License-Identifier: MIT
 *
 * Where the table is full it gives up what has had nothing to remember for a few seconds; the tests wait for that, as
 * long as it may take on a slow machine.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "shm/check.h"
#include "support_rationd.h"

TestSuite(supervisor_reclaim, .timeout = 110);

#define TABLE    8
#define PATIENCE 60 /* seconds */

/* What is spent of `slow` stays spent; what is spent of the others is back at once, but for a lease. */
static const char policy[] =
	"version: 1\n"
	"classes: [interactive]\n"
	"defaults: { delay: 0ms }\n"
	"vendors:\n"
	"  slow:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 20, scope: [tenant, vendor], margin: 0% }\n"
	"  fast:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1000/s, burst: 20, scope: [tenant, vendor], margin: 0% }\n"
	"  held:\n"
	"    limits:\n"
	"      - { name: slots, kind: concurrency, slots: 1, scope: [tenant, vendor] }\n";

static struct ration *attach(const struct rationd *r)
{
	struct ration *ration = NULL;
	struct ration_error error;

	cr_assert_eq(ration_attach(r->socket, 0, &ration, &error), 0, "%s", error.text);
	return ration;
}

static int try_resolve(struct ration *ration, const char *vendor, const char *tenant,
		       struct ration_handle **ret_handle, struct ration_error *error)
{
	const struct ration_key key = {
		.tenant = tenant, .vendor = vendor, .traffic_class = "interactive"};

	return ration_resolve(ration, &key, ret_handle, error);
}

static struct ration_handle *resolve(struct ration *ration, const char *vendor, const char *tenant)
{
	struct ration_handle *handle = NULL;
	struct ration_error error = {""};

	cr_assert_eq(try_resolve(ration, vendor, tenant, &handle, &error), 0, "%s", error.text);
	return handle;
}

static int take(struct ration_handle *handle, uint64_t units, struct ration_ticket *ticket)
{
	const struct ration_cost cost = {"requests", units};

	return ration_acquire(handle, &cost, 1, ticket, NULL);
}

/* Again and again, until it says something else than that there is no room. */
static int when_there_is_room(int (*attempt)(void *user), void *user)
{
	const struct timespec moment = {.tv_nsec = 20000000};
	const time_t began = time(NULL);
	int result = attempt(user);

	while (result == RATION_EFULL && time(NULL) - began < PATIENCE) {
		nanosleep(&moment, NULL);
		result = attempt(user);
	}
	return result;
}

struct wanted {
	struct ration *ration;
	const char *tenant;
	struct ration_handle *handle;
	struct ration_error error;
};

static int come(void *user)
{
	struct wanted *w = user;

	return try_resolve(w->ration, "fast", w->tenant, &w->handle, &w->error);
}

static int take_one(void *user)
{
	struct wanted *w = user;
	struct ration_ticket ticket;

	return take(w->handle, 1, &ticket);
}

static void complain(void *user, const char *what, uint32_t where)
{
	(void)user;
	cr_expect_fail("%s (%u)", what, where);
}

static void verify(struct ration *ration)
{
	(void)seg_check(client_seg(ration), client_now(ration), false, complain, NULL);
}

/* A worker that has a handle of its own, and is stopped until it is told to go on. */
static pid_t stopped_worker(const struct rationd *r)
{
	const pid_t pid = fork();
	int status;

	cr_assert(pid >= 0);
	if (pid == 0) {
		struct wanted w = {.tenant = "stopped"};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ration_attach(r->socket, 0, &w.ration, NULL) != 0 || come(&w) != 0 ||
		    take_one(&w) != 0)
			_exit(1);
		raise(SIGSTOP);
		_exit(when_there_is_room(take_one, &w) == 0 ? 0 : 2);
	}
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status), "it could not take");
	return pid;
}

Test(supervisor_reclaim, a_full_table_gets_room_and_forgets_nothing)
{
	static const char *const tenants[] = {"a", "b", "c", "d", "e"};
	struct ration_handle *handles[5], *spent, *held;
	struct ration_ticket ticket, lease;
	struct ration *ration;
	const struct seg *seg;
	struct wanted last = {.tenant = "z"}, old;
	struct rationd r;
	pid_t stopped;

	rationd_start(&r, policy, (const char *[]){"--buckets", "8", "--workers", "4", NULL});
	ration = attach(&r);
	seg = client_seg(ration);
	spent = resolve(ration, "slow", "acme");
	held = resolve(ration, "held", "acme");
	cr_assert_eq(take(spent, 15, &ticket), 0);
	cr_assert_eq(take(held, 1, &lease), 0);
	for (int i = 0; i < 5; i++) {
		handles[i] = resolve(ration, "fast", tenants[i]);
		cr_assert_eq(take(handles[i], 20, &ticket), 0);
	}
	stopped = stopped_worker(&r);

	last.ration = ration;
	cr_assert_eq(come(&last), RATION_EFULL);
	cr_assert_str_eq(last.error.text, "rate: the segment has no room for another bucket");
	cr_assert_geq(shm_load(&seg->control->full), 1);
	cr_assert_eq(when_there_is_room(come, &last), 0, "%s", last.error.text);
	cr_assert_geq(shm_load(&seg->control->freed), 1);
	cr_assert_eq(take(last.handle, 20, &ticket), 0, "a new one is full");

	/* What has anything to remember is as it was. */
	cr_expect_eq(take(spent, 6, &ticket), RATION_DENIED);
	cr_expect_eq(take(spent, 5, &ticket), 0);
	cr_expect_eq(take(held, 1, &ticket), RATION_DENIED);
	cr_expect_eq(ration_release(ration, &lease), 0);

	/* Who holds a handle to what is gone notices nothing, whether he was stopped or not. */
	old = (struct wanted){.ration = ration, .handle = handles[0]};
	cr_expect_eq(when_there_is_room(take_one, &old), 0);
	cr_assert_eq(kill(stopped, SIGCONT), 0);
	cr_expect_eq(wait_child(stopped), 0);
	verify(ration);

	for (int i = 0; i < 5; i++)
		ration_handle_free(&handles[i]);
	ration_handle_free(&last.handle);
	ration_handle_free(&spent);
	ration_handle_free(&held);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* Whoever finds keys that collide in one segment has found them for that one alone. */
Test(supervisor_reclaim, each_segment_has_a_hash_of_its_own)
{
	uint64_t identities[2] = {0, 0};

	for (int i = 0; i < 2; i++) {
		struct rationd r;
		struct ration *ration;
		struct ration_handle *handle;
		const struct seg *seg;

		rationd_start(&r, policy, (const char *[]){"--buckets", "8", NULL});
		ration = attach(&r);
		handle = resolve(ration, "fast", "acme");
		seg = client_seg(ration);
		for (uint32_t k = 0; k < TABLE; k++)
			identities[i] |= shm_load(&seg->hot[k].identity[0]);
		ration_handle_free(&handle);
		ration_detach(&ration);
		cr_expect_eq(rationd_stop(&r), 0);
	}
	cr_assert(identities[0] != 0 && identities[0] != identities[1]);
}
