/*
 * tests/test_wait.c - standing in line, in real processes
 * SPDX-License-Identifier: MIT
 *
 * Whoever has to come does so for as long as the suite's timeout allows: no test depends on how fast. Two things do
 * depend on the machine: a waiter that it runs more than 50 ms late is passed, and one that it runs later than the
 * next one's turn is seen to be late. So what those tests count, and in what order, has to be right once in a few
 * rounds.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/memory.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "support_blob.h"
#include "support_check.h"
#include "support_rationd.h"

#define MS      UINT64_C(1000000)
#define SECOND  UINT64_C(1000000000)
#define ROUNDS  6
#define FOREVER UINT64_MAX

TestSuite(wait, .fini = check_worlds, .timeout = 60);

/* --- scenes --- */

static struct policy_desc rate(uint64_t amount, uint64_t period_s, uint64_t burst)
{
	return (struct policy_desc){
		.delay_ns = 50 * MS,
		.classes = {"interactive", "bulk"},
		.vendors = {"v"},
		.limits = {{.name = "l",
			    .vendor = "v",
			    .amount = amount,
			    .period_s = period_s,
			    .burst = burst}},
	};
}

static struct policy_desc slots(uint32_t n, uint32_t flags)
{
	return (struct policy_desc){
		.classes = {"interactive", "bulk"},
		.vendors = {"v"},
		.limits = {{.name = "l",
			    .vendor = "v",
			    .kind = KIND_SLOTS,
			    .effective = slots_pack(n, 0, 0),
			    .flags = flags}},
	};
}

static struct ration_handle *key_of(struct ration *ration, const char *class_name)
{
	const struct ration_key key = {.tenant = "t", .vendor = "v", .traffic_class = class_name};
	struct ration_handle *handle = NULL;
	struct ration_error error = {""};

	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_ticket ticket;
	struct ration_denial denial;
	struct ration_wait wait;
};

static struct scene scene_of(struct policy_desc desc)
{
	struct scene s = {.ration = world_make(&desc, 64, 128)};

	s.handle = key_of(s.ration, "interactive");
	return s;
}

static void scene_end(struct scene *s)
{
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
}

static int try(struct scene *s)
{
	return ration_wait_try(s->handle, NULL, 0, &s->wait, &s->ticket, &s->denial);
}

static void drain(struct ration_handle *handle)
{
	struct ration_ticket ticket;

	while (ration_acquire(handle, NULL, 0, &ticket, NULL) == 0)
		;
}

static uint32_t waiting(struct scene *s, uint32_t class_index)
{
	return queue_length(&s->ration->seg, world_bucket(s->ration, s->handle, "l").bucket,
			    class_index)
		.waiting;
}

static void pause_a_little(void)
{
	(void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void until_waiting(struct scene *s, uint32_t class_index, uint32_t n)
{
	while (waiting(s, class_index) != n)
		pause_a_little();
}

/* --- children: they end with the test --- */

typedef void work(struct scene *scene, int who, void *shared);

static pid_t child(struct scene *s, int who, work *body, void *shared)
{
	const pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body(s, who, shared);
		_exit(0);
	}
	return pid;
}

/* Bounded by the suite's timeout alone. */
static int end_of(pid_t pid)
{
	int status = 0;

	cr_assert(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void must(bool condition)
{
	if (!condition)
		_exit(1);
}

/* As an event loop does, counting how often it is woken. */
static void sleep_until_woken(const struct ration_wait *wait)
{
	const uint64_t now = clock_boot_ns();
	const uint64_t left = wait->wake_at_ns > now ? wait->wake_at_ns - now : 0;
	const struct timespec at_most = {(time_t)(left / SECOND), (long)(left % SECOND)};

	(void)syscall(SYS_futex, wait->word, FUTEX_WAIT, wait->value, &at_most, NULL, 0);
}

/* --- one process, no sleep --- */

Test(wait, what_can_be_had_is_had_at_once)
{
	struct scene s = scene_of(rate(1, 3600, 2));

	cr_assert_eq(try(&s), 0);
	cr_assert(s.ticket.owner != 0);
	cr_assert_null(s.wait.word);
	cr_assert_eq(waiting(&s, 0), 0);
	ration_wait_end(s.ration, &s.wait);
	scene_end(&s);
}

Test(wait, it_stands_in_line_until_its_turn_and_leaves_with_the_ticket)
{
	struct scene s = scene_of(rate(1, 4, 1));

	drain(s.handle);
	cr_assert_eq(try(&s), RATION_WAITING);
	cr_assert_eq(waiting(&s, 0), 1);
	cr_assert_eq(s.wait.wake_at_ns, s.denial.retry_at_ns);
	cr_assert(s.wait.wake_at_ns > clock_boot_ns());
	cr_assert(!ration_wait_woken(&s.wait));
	cr_assert_str_eq(s.denial.limit, "l");
	cr_assert_eq(try(&s), RATION_WAITING, "it may look when it likes");
	cr_assert_eq(waiting(&s, 0), 1);
	world_advance(s.ration, 10 * SECOND);
	cr_assert_eq(try(&s), 0);
	cr_assert_eq(waiting(&s, 0), 0);
	cr_assert_eq(world_bucket(s.ration, s.handle, "l").denied, 2, "drained once, denied once");
	scene_end(&s);
}

Test(wait, a_place_can_be_given_up)
{
	struct scene s = scene_of(rate(1, 3600, 1));

	drain(s.handle);
	cr_assert_eq(try(&s), RATION_WAITING);
	ration_wait_end(s.ration, &s.wait);
	ration_wait_end(s.ration, &s.wait);
	cr_assert_eq(waiting(&s, 0), 0);
	cr_assert_eq(try(&s), RATION_WAITING, "and taken again");
	ration_wait_end(s.ration, &s.wait);
	scene_end(&s);
}

Test(wait, what_cannot_be_had_by_the_deadline_is_denied_at_once)
{
	struct scene s = scene_of(rate(1, 3600, 1));

	drain(s.handle);
	s.wait.deadline_ns = clock_boot_ns() + SECOND;
	cr_assert_eq(try(&s), RATION_DENIED);
	cr_assert_eq(waiting(&s, 0), 0);
	cr_assert_null(s.wait.word);
	scene_end(&s);
}

/* Nobody knows when a slot is free: it may be in a moment. */
Test(wait, slots_are_waited_for_until_the_deadline)
{
	struct scene s = scene_of(slots(1, 0));
	struct ration_ticket held;

	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &held, NULL), 0);
	s.wait.deadline_ns = clock_boot_ns() + 100 * MS;
	cr_assert_eq(try(&s), RATION_WAITING);
	cr_assert_leq(s.wait.wake_at_ns, s.wait.deadline_ns);
	cr_assert_eq(
		ration_acquire_until(s.handle, NULL, 0, clock_boot_ns() + 20 * MS, &s.ticket, NULL),
		RATION_DENIED);
	cr_assert_eq(ration_release(s.ration, &held), 0);
	cr_assert(ration_wait_woken(&s.wait));
	cr_assert_eq(try(&s), 0);
	scene_end(&s);
}

Test(wait, plain_acquires_do_not_pass_those_who_wait)
{
	struct scene s = scene_of(slots(2, 0));
	struct ration_handle *bulk = key_of(s.ration, "bulk");
	struct ration_ticket held[2], other;

	for (int i = 0; i < 2; i++)
		cr_assert_eq(ration_acquire(s.handle, NULL, 0, &held[i], NULL), 0);
	cr_assert_eq(try(&s), RATION_WAITING);
	cr_assert_eq(ration_release(s.ration, &held[0]), 0);
	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &other, NULL), RATION_DENIED);
	cr_assert_eq(ration_acquire(bulk, NULL, 0, &other, NULL), RATION_DENIED);
	cr_assert_eq(ration_release(s.ration, &held[1]), 0);
	cr_assert_eq(ration_acquire(bulk, NULL, 0, &other, NULL), 0, "there is room for both");
	cr_assert_eq(try(&s), 0);
	ration_handle_free(&bulk);
	scene_end(&s);
}

Test(wait, a_bound_says_busy_at_once_and_a_full_line_too)
{
	struct policy_desc desc = rate(1, 3600, 1);
	struct ration_wait waits[QUEUE_PLACES] = {0};
	struct ration_handle *bulk;
	struct scene s;
	int n = 0;

	desc.queue[0] = 3;
	s = scene_of(desc);
	bulk = key_of(s.ration, "bulk");
	drain(s.handle);
	for (; n < 3; n++)
		cr_assert_eq(ration_wait_try(s.handle, NULL, 0, &waits[n], &s.ticket, NULL),
			     RATION_WAITING);
	cr_assert_eq(try(&s), RATION_BUSY);
	cr_assert_eq(s.wait.bound, 3);
	cr_assert_str_eq(s.denial.limit, "l");
	cr_assert_eq(ration_acquire_until(s.handle, NULL, 0, FOREVER, &s.ticket, &s.denial),
		     RATION_BUSY);
	for (; n < (int)QUEUE_PLACES; n++)
		cr_assert_eq(ration_wait_try(bulk, NULL, 0, &waits[n], &s.ticket, NULL),
			     RATION_WAITING);
	cr_assert_eq(ration_acquire_until(bulk, NULL, 0, FOREVER, &s.ticket, NULL), RATION_BUSY);
	ration_wait_end(s.ration, &waits[0]);
	cr_assert_eq(try(&s), RATION_WAITING);
	ration_wait_end(s.ration, &s.wait);
	for (n = 0; n < (int)QUEUE_PLACES; n++)
		ration_wait_end(s.ration, &waits[n]);
	ration_handle_free(&bulk);
	scene_end(&s);
}

Test(wait, pressure_rises_before_a_line_is_full)
{
	struct policy_desc desc = rate(1, 3600, 10);
	struct ration_wait waits[4] = {0};
	struct ration_ticket ticket;
	struct scene s;

	desc.queue[0] = 4;
	s = scene_of(desc);
	cr_assert_eq(ration_pressure(s.handle), 0);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(ration_acquire(s.handle, NULL, 0, &ticket, NULL), 0);
	cr_assert(ration_pressure(s.handle) >= 25 && ration_pressure(s.handle) <= 30);
	drain(s.handle);
	cr_assert_eq(ration_pressure(s.handle), 50);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(ration_pressure(s.handle), i ? 50 + i * 50 / 4 : 50);
		cr_assert_eq(ration_wait_try(s.handle, NULL, 0, &waits[i], &ticket, NULL),
			     RATION_WAITING);
	}
	cr_assert_eq(ration_pressure(s.handle), 100);
	for (int i = 0; i < 4; i++)
		ration_wait_end(s.ration, &waits[i]);
	scene_end(&s);
}

/* 60 permits in the first minute: the 61st has to wait for the platform's limit, and then for its tenant's. */
Test(wait, it_moves_to_the_line_of_the_limit_that_is_last_to_have_room)
{
	struct policy_desc desc = rate(1, 10, 1);
	struct ration_ticket ticket;
	struct ration_handle *other;
	struct scene s;
	uint32_t platform, tenant;

	desc.limits[0].scope = RATION_SCOPE_TENANT;
	desc.limits[1] = (struct limit_desc){.name = "p", .amount = 1, .period_s = 60, .burst = 1};
	s = scene_of(desc);
	other = world_key(s.ration, "u", "v", NULL, NULL);
	tenant = world_bucket(s.ration, s.handle, "l").bucket;
	platform = world_bucket(s.ration, s.handle, "p").bucket;
	drain(other);
	cr_assert_eq(try(&s), RATION_WAITING);
	cr_assert_eq(queue_length(&s.ration->seg, platform, 0).waiting, 1);
	world_advance(s.ration, 55 * SECOND);
	/* Another host's use becomes known: the tenant's bucket is empty now. */
	cr_assert(bucket_debit(&s.ration->seg.hot[tenant], 0, 9 * TICKS_PER_SEC * 10,
			       client_now(s.ration)));
	cr_assert_eq(try(&s), RATION_WAITING);
	cr_assert_eq(queue_length(&s.ration->seg, platform, 0).waiting, 0);
	cr_assert_eq(queue_length(&s.ration->seg, tenant, 0).waiting, 1);
	cr_assert(queue_length(&s.ration->seg, tenant, 0).oldest <
			  client_now(s.ration) - 50 * TICKS_PER_SEC,
		  "it is as old as it was");
	ration_wait_end(s.ration, &s.wait);
	(void)ticket;
	ration_handle_free(&other);
	scene_end(&s);
}

Test(wait, one_word_tells_an_event_loop_of_all_its_waits)
{
	struct scene s = scene_of(rate(1, 3600, 2));
	struct ration_ticket held[2];
	struct ration_wait waits[2] = {{.loop = true}, {.loop = true}};
	uint32_t before;

	for (int i = 0; i < 2; i++)
		cr_assert_eq(ration_acquire(s.handle, NULL, 0, &held[i], NULL), 0);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(ration_wait_try(s.handle, NULL, 0, &waits[i], &s.ticket, NULL),
			     RATION_WAITING);
	before = *ration_wait_word(s.ration);
	cr_assert_eq(ration_cancel(s.ration, &held[0]), 0);
	cr_assert_neq(*ration_wait_word(s.ration), before);
	cr_assert(ration_wait_woken(&waits[0]));
	cr_assert_eq(ration_wait_try(s.handle, NULL, 0, &waits[1], &s.ticket, NULL), RATION_WAITING,
		     "it is not its turn");
	cr_assert_eq(ration_wait_try(s.handle, NULL, 0, &waits[0], &s.ticket, NULL), 0);
	ration_wait_end(s.ration, &waits[1]);
	scene_end(&s);
}

static void use_parents_wait(struct scene *s, int who, void *shared)
{
	struct ration_wait parents = s->wait;

	(void)who, (void)shared;
	ration_wait_end(s->ration, &parents);
	must(ration_wait_try(s->handle, NULL, 0, &s->wait, &s->ticket, NULL) == RATION_WAITING);
	must(waiting(s, 0) == 2);
	ration_wait_end(s->ration, &s->wait);
}

Test(wait, a_forked_childs_wait_is_not_its_parents)
{
	struct scene s = scene_of(rate(1, 3600, 1));

	drain(s.handle);
	cr_assert_eq(try(&s), RATION_WAITING);
	cr_assert_eq(end_of(child(&s, 0, use_parents_wait, NULL)), 0);
	cr_assert_eq(waiting(&s, 0), 1);
	ration_wait_end(s.ration, &s.wait);
	scene_end(&s);
}

/* A word that says "woken" for ever: it may cost a try a millisecond, but not more. */
static void *scribble(void *user)
{
	struct scene *s = user;
	struct seg_queue *queue =
		&s->ration->seg.queues[world_bucket(s->ration, s->handle, "l").bucket];

	for (;;) {
		for (uint32_t i = 0; i < QUEUE_PLACES; i++)
			(void)shm_half_add(&queue->place[i].futex, 1);
		pthread_testcancel();
	}
	return NULL;
}

Test(wait, a_scribbled_word_does_not_make_it_spin)
{
	struct scene s = scene_of(rate(1, 1, 1));
	struct timespec before, after;
	pthread_t thread;

	drain(s.handle);
	cr_assert_eq(pthread_create(&thread, NULL, scribble, &s), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	cr_assert_eq(ration_acquire_until(s.handle, NULL, 0, FOREVER, &s.ticket, NULL), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	cr_assert_lt((after.tv_sec - before.tv_sec) * 1000 +
			     (after.tv_nsec - before.tv_nsec) / 1000000,
		     700, "of the second that it waits it sleeps");
	scene_end(&s);
}

/* --- what wakes --- */

static void wait_for_it(struct scene *s, int who, void *shared)
{
	(void)who, (void)shared;
	must(ration_acquire_until(s->handle, NULL, 0, FOREVER, &s->ticket, NULL) == 0);
}

/* Each of them would otherwise have had to wait for an hour. */
Test(wait, a_cancel_wakes)
{
	struct scene s = scene_of(rate(1, 3600, 1));
	struct ration_ticket held;
	pid_t pid;

	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &held, NULL), 0);
	pid = child(&s, 0, wait_for_it, NULL);
	until_waiting(&s, 0, 1);
	cr_assert_eq(ration_cancel(s.ration, &held), 0);
	cr_assert_eq(end_of(pid), 0);
	scene_end(&s);
}

Test(wait, a_settle_below_the_estimate_wakes_as_many_as_it_gives_back_for)
{
	struct scene s = scene_of(rate(1, 3600, 5));
	const struct ration_cost estimate = {"requests", 5}, actual = {"requests", 2};
	struct ration_ticket held;
	pid_t pids[3];

	cr_assert_eq(ration_acquire(s.handle, &estimate, 1, &held, NULL), 0);
	for (int i = 0; i < 3; i++)
		pids[i] = child(&s, i, wait_for_it, NULL);
	until_waiting(&s, 0, 3);
	cr_assert_eq(ration_settle(s.ration, &held, &actual, 1), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(end_of(pids[i]), 0);
	scene_end(&s);
}

Test(wait, whoever_waits_for_a_class_of_a_window_is_woken_by_what_its_part_gets_back)
{
	struct policy_desc desc = rate(1, 3600, 1);
	struct ration_ticket held;
	struct scene s;
	pid_t pid;

	for (int i = 0; i < 2; i++)
		desc.limits[i] = (struct limit_desc){
			.name = i ? "l" : "l:interactive.guarantee",
			.vendor = "v",
			.kind = KIND_WINDOW,
			.effective = window_pack(1, 4096),
			.amount = 1,
			.calendar = CALENDAR_MONTH,
			.period_ns = 0,
			.link_flags = i ? 0 : LINK_OR,
		};
	s = scene_of(desc);
	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &held, NULL), 0);
	drain(s.handle);
	pid = child(&s, 0, wait_for_it, NULL);
	until_waiting(&s, 0, 1);
	cr_assert_eq(ration_cancel(s.ration, &held), 0);
	cr_assert_eq(end_of(pid), 0);
	scene_end(&s);
}

static void detach(struct scene *s, int who, void *shared)
{
	(void)who;
	must(ration_acquire(s->handle, NULL, 0, &s->ticket, NULL) == 0);
	shm_store((shm_word *)shared, 1);
	until_waiting(s, 0, 1);
	ration_detach(&s->ration);
}

Test(wait, whoever_leaves_with_a_lease_wakes)
{
	struct scene s = scene_of(slots(1, 0));
	shm_word *taken = shared_memory(sizeof(*taken));
	const pid_t holder = child(&s, 0, detach, taken);

	while (shm_load(taken) == 0)
		pause_a_little();
	cr_assert_eq(ration_acquire_until(s.handle, NULL, 0, FOREVER, &s.ticket, NULL), 0);
	cr_assert_eq(end_of(holder), 0);
	scene_end(&s);
}

/* --- with a supervisor --- */

static struct scene attached(struct rationd *r)
{
	const struct ration_key key = {
		.tenant = "t", .vendor = "crm", .traffic_class = "interactive"};
	struct ration_error error = {""};
	struct scene s = {0};

	cr_assert_eq(ration_attach(r->socket, 0, &s.ration, &error), 0, "%s", error.text);
	cr_assert_eq(ration_resolve(s.ration, &key, &s.handle, &error), 0, "%s", error.text);
	return s;
}

#define POLICY(limit)                                                                              \
	"version: 1\nclasses: [interactive]\ndefaults: { delay: 0ms }\n"                           \
	"vendors:\n  crm:\n    limits:\n      - { name: l, " limit                                 \
	", scope: [vendor], margin: 0% }\n"

Test(wait, higher_numbers_wake_everybody)
{
	struct rationd r;
	struct scene s;
	pid_t pids[3];

	rationd_start(&r, POLICY("rate: 1/h, burst: 1"), NULL);
	s = attached(&r);
	drain(s.handle);
	for (int i = 0; i < 3; i++)
		pids[i] = child(&s, i, wait_for_it, NULL);
	until_waiting(&s, 0, 3);
	rationd_write_policy(&r, POLICY("rate: 10000/s, burst: 1"));
	rationd_reload(&r);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(end_of(pids[i]), 0);
	scene_end(&s);
	cr_assert_eq(rationd_stop(&r), 0);
}

static void hold(struct scene *s, int who, void *shared)
{
	(void)who;
	must(ration_acquire(s->handle, NULL, 0, &s->ticket, NULL) == 0);
	shm_store((shm_word *)shared, 1);
	for (;;)
		pause();
}

/* Of those who wait one is killed too: the next is woken instead. */
Test(wait, the_death_of_a_holder_wakes_and_that_of_a_waiter)
{
	struct rationd r;
	struct scene s;
	shm_word *taken = shared_memory(sizeof(*taken));
	pid_t holder, waiters[2];

	rationd_start(&r, POLICY("kind: concurrency, slots: 1"), NULL);
	s = attached(&r);
	holder = child(&s, 0, hold, taken);
	while (shm_load(taken) == 0)
		pause_a_little();
	for (uint32_t i = 0; i < 2; i++) {
		waiters[i] = child(&s, 0, wait_for_it, NULL);
		until_waiting(&s, 0, i + 1);
	}
	kill(waiters[0], SIGKILL);
	cr_assert_eq(end_of(waiters[0]), -SIGKILL);
	until_waiting(&s, 0, 1);
	kill(holder, SIGKILL);
	cr_assert_eq(end_of(holder), -SIGKILL);
	cr_assert_eq(end_of(waiters[1]), 0);
	scene_end(&s);
	cr_assert_eq(rationd_stop(&r), 0);
}

/* --- order --- */

struct log {
	shm_word n;
	shm_word who[64];
};

static void log_and_release(struct scene *s, int who, void *shared)
{
	struct log *log = shared;
	struct ration_handle *handle = key_of(s->ration, who % 2 ? "bulk" : "interactive");

	must(ration_acquire_until(handle, NULL, 0, FOREVER, &s->ticket, NULL) == 0);
	shm_store(&log->who[shm_add(&log->n, 1)], (uint64_t)who);
	must(ration_release(s->ration, &s->ticket) == 0);
}

/* Children come one after the other while we hold the only slot; then each has it in turn. */
static void serve_in_turn(struct scene *s, int n, bool fifo, struct log *log)
{
	struct ration_ticket held;
	pid_t pids[16];

	memset(log, 0, sizeof(*log));
	cr_assert_eq(ration_acquire_until(s->handle, NULL, 0, FOREVER, &held, NULL), 0);
	for (int i = 0; i < n; i++) {
		pids[i] = child(s, i, log_and_release, log);
		until_waiting(s, fifo ? 0 : (uint32_t)i % 2,
			      fifo ? (uint32_t)i + 1 : (uint32_t)i / 2 + 1);
	}
	cr_assert_eq(ration_release(s->ration, &held), 0);
	for (int i = 0; i < n; i++)
		cr_assert_eq(end_of(pids[i]), 0);
}

static bool in_order(const struct log *log, const int *expected, int n)
{
	for (int i = 0; i < n; i++) {
		if (shm_load(&log->who[i]) != (uint64_t)expected[i])
			return false;
	}
	return true;
}

static void expect_order(uint32_t flags, const int expected[10])
{
	struct log *log = shared_memory(sizeof(*log));
	struct scene s = scene_of(slots(1, flags));
	bool right = false;

	for (int i = 0; i < ROUNDS && !right; i++) {
		serve_in_turn(&s, 10, flags & LIMIT_FIFO, log);
		cr_assert_eq(shm_load(&log->n), 10);
		right = in_order(log, expected, 10);
	}
	cr_assert(right);
	scene_end(&s);
}

Test(wait, the_more_protected_class_is_served_first_and_in_each_whoever_came_first)
{
	expect_order(0, (const int[]){0, 2, 4, 6, 8, 1, 3, 5, 7, 9});
}

Test(wait, in_a_sequential_flow_whoever_came_first_is_served_first)
{
	expect_order(LIMIT_FIFO, (const int[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

/* --- those who do not come --- */

/* The first in line is stopped and the third is killed: all others are served all the same. */
static void others_are_served(struct policy_desc desc, uint64_t cost)
{
	const struct ration_cost whole = {"requests", cost};
	struct log *log = shared_memory(sizeof(*log));
	struct scene s = scene_of(desc);
	struct ration_ticket held;
	pid_t pids[6];

	cr_assert_eq(ration_acquire(s.handle, &whole, 1, &held, NULL), 0);
	for (int i = 0; i < 6; i++) {
		pids[i] = child(&s, 2 * i, log_and_release, log);
		until_waiting(&s, 0, (uint32_t)i + 1);
	}
	kill(pids[0], SIGSTOP);
	kill(pids[2], SIGKILL);
	cr_assert_eq(end_of(pids[2]), -SIGKILL);
	cr_assert_eq(ration_cancel(s.ration, &held), 0);
	for (int i = 1; i < 6; i++)
		cr_assert(i == 2 || end_of(pids[i]) == 0);
	cr_assert_eq(shm_load(&log->n), 4);
	kill(pids[0], SIGCONT);
	cr_assert_eq(end_of(pids[0]), 0, "it has its turn when it comes");
	scene_end(&s);
}

Test(wait, the_stopped_and_the_killed_hold_up_nobody_who_waits_for_a_slot)
{
	others_are_served(slots(1, 0), 1);
}

/* Their own turns are hours away. */
Test(wait, the_stopped_and_the_killed_hold_up_nobody_who_waits_for_a_rate)
{
	others_are_served(rate(1, 3600, 6), 6);
}

/* --- no herd --- */

#define CROWD  64
#define TURNS  2
#define SERVED (CROWD * TURNS)

struct counts {
	shm_word woken;
	shm_word granted;
};

static void wait_and_count(struct scene *s, int who, void *shared)
{
	struct counts *counts = shared;
	int result;

	(void)who;
	for (int i = 0; i < TURNS; i++) {
		while ((result = try(s)) == RATION_WAITING || result == RATION_CONTENDED) {
			if (result == RATION_CONTENDED)
				continue;
			sleep_until_woken(&s->wait);
			shm_add(&counts->woken, 1);
		}
		must(result == 0);
		shm_add(&counts->granted, 1);
	}
}

static double wakes_a_grant(uint64_t burst)
{
	struct counts *counts = shared_memory(sizeof(*counts));
	struct scene s = scene_of(rate(100, 1, burst));
	pid_t pids[CROWD];

	drain(s.handle);
	for (int i = 0; i < CROWD; i++)
		pids[i] = child(&s, i, wait_and_count, counts);
	for (int i = 0; i < CROWD; i++)
		cr_assert_eq(end_of(pids[i]), 0);
	cr_assert_eq(shm_load(&counts->granted), SERVED);
	scene_end(&s);
	return (double)shm_load(&counts->woken) / SERVED;
}

/* Smaller bursts: test_queue.c, where time is injected. */
Test(wait, sixty_four_that_want_100_a_second_are_woken_once_each)
{
	double least = CROWD;

	for (int i = 0; i < ROUNDS && least > 1.2; i++) {
		const double n = wakes_a_grant(20);

		fprintf(stderr, "wait: %.2f wake-ups a grant\n", n);
		least = n < least ? n : least;
	}
	cr_assert_leq(least, 1.2);
}
