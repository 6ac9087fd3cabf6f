/*
 * tests/test_client_until.c - sleeping until a cost can be had
 * SPDX-License-Identifier: MIT
 *
 * The sleeps are real and a few milliseconds long; nothing depends on how long they take in the
 * end.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/memory.h"
#include "support_blob.h"
#include "support_check.h"
#include "support_seg.h"

#define MS UINT64_C(1000000)

TestSuite(until, .fini = check_worlds, .timeout = 10);

/* One each `period` seconds / `amount`. */
static struct policy_desc policy(uint64_t amount, uint64_t period_s, uint64_t burst)
{
	return (struct policy_desc){
		.vendors = {"v"},
		.limits = {{.name = "l",
			    .vendor = "v",
			    .amount = amount,
			    .period_s = period_s,
			    .burst = burst}},
	};
}

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_ticket ticket;
	struct ration_denial denial;
};

static struct scene scene_of(struct policy_desc desc)
{
	struct scene s = {.ration = world_make(&desc, 16, 8)};

	s.handle = world_key(s.ration, "t", "v", NULL, NULL);
	return s;
}

static void scene_end(struct scene *s)
{
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
}

static int until(struct scene *s, uint64_t deadline_ns)
{
	return ration_acquire_until(s->handle, NULL, 0, deadline_ns, &s->ticket, &s->denial);
}

Test(until, a_deadline_behind_us_still_grants_what_is_there)
{
	struct scene s = scene_of(policy(1, 3600, 1));

	cr_assert_eq(until(&s, 0), 0);
	cr_assert_eq(until(&s, 0), RATION_DENIED);
	cr_assert_str_eq(s.denial.limit, "l");
	cr_assert_eq(s.ticket.owner, 0);
	cr_assert_eq(world_bucket(s.ration, s.handle, "l").denied, 1, "one try, no sleep");
	scene_end(&s);
}

Test(until, what_comes_after_the_deadline_is_denied_at_once)
{
	struct scene s = scene_of(policy(1, 3600, 1));

	cr_assert_eq(until(&s, UINT64_MAX), 0);
	/* If it slept until the deadline, the suite's timeout would end it. */
	cr_assert_eq(until(&s, clock_boot_ns() + 3000000 * MS), RATION_DENIED);
	cr_assert(s.denial.retry_at_ns > clock_boot_ns() + 3000000 * MS);
	cr_assert_eq(ration_acquire_until(s.handle, NULL, 0, clock_boot_ns() + 3000000 * MS,
					  &s.ticket, NULL),
		     RATION_DENIED, "the denial is optional");
	scene_end(&s);
}

/* 1,000/s: nine of ten have to wait a millisecond each, and every one is granted at the first retry. */
Test(until, it_sleeps_exactly_as_long_as_it_must)
{
	struct scene s = scene_of(policy(1000, 1, 1));
	const uint64_t begin = clock_boot_ns();

	for (int i = 0; i < 10; i++)
		cr_assert_eq(until(&s, UINT64_MAX), 0);
	cr_assert(clock_boot_ns() - begin >= 9 * MS - 9000, "not a moment too early");
	cr_assert_leq(world_bucket(s.ration, s.handle, "l").denied, 9,
		      "alone, one sleep is enough");
	cr_assert_eq(world_bucket(s.ration, s.handle, "l").admitted, 10);
	scene_end(&s);
}

Test(until, errors_and_what_can_never_fit_come_at_once)
{
	struct scene s = scene_of(policy(1, 3600, 5));
	const struct ration_cost six = {"requests", 6}, twice[] = {{"a", 1}, {"a", 1}};

	cr_assert_eq(ration_acquire_until(s.handle, &six, 1, UINT64_MAX, &s.ticket, &s.denial),
		     RATION_OVERSIZE);
	cr_assert_eq(s.denial.needed, 6);
	cr_assert_eq(ration_acquire_until(s.handle, twice, 2, UINT64_MAX, &s.ticket, NULL),
		     -EINVAL);
	scene_end(&s);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* The timer goes off again and again, so that one signal before the sleep cannot make it hang. */
Test(until, a_signal_ends_the_sleep)
{
	struct scene s = scene_of(policy(1, 3600, 1));
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	const struct itimerval soon = {{.tv_usec = 2000}, {.tv_usec = 2000}}, never = {0};

	cr_assert_eq(until(&s, UINT64_MAX), 0);
	cr_assert(sigaction(SIGALRM, &action, NULL) == 0);
	cr_assert(setitimer(ITIMER_REAL, &soon, NULL) == 0);
	cr_assert_eq(until(&s, UINT64_MAX), -EINTR, "SA_RESTART makes no difference");
	cr_assert(setitimer(ITIMER_REAL, &never, NULL) == 0);
	cr_assert_eq(s.ticket.owner, 0);
	cr_assert_eq(world_bucket(s.ration, s.handle, "l").admitted, 1);
	scene_end(&s);
}

static void take_ten(struct seg *seg, int who, void *user)
{
	struct scene *s = user;

	(void)seg, (void)who;
	for (int i = 0; i < 10; i++) {
		if (until(s, UINT64_MAX) != 0)
			_exit(1);
	}
}

/* Four processes want ten each of 2,000/s: all get theirs, and never faster than the limit allows. */
Test(until, waiting_processes_all_get_theirs)
{
	struct scene s = scene_of(policy(2000, 1, 2));
	struct seg seg = *client_seg(s.ration);
	const uint64_t begin = clock_boot_ns();

	seg_race(&seg, 4, take_ten, &s);
	cr_assert(clock_boot_ns() - begin >= 38 * MS / 2 - 40000);
	cr_assert_eq(world_bucket(s.ration, s.handle, "l").admitted, 40);
	scene_end(&s);
}
