/*
 * tests/test_lease.c - leases end with their holder, however that ends, and with nobody else
 * SPDX-License-Identifier: MIT
 *
 * Real processes below a real rationd, or in an embedded segment. Whoever waits is given far longer than it takes.
 * That no two hold a slot is watched by the kernel: every holder of the only one has a file locked.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/memory.h"
#include "support_check.h"
#include "support_cli.h"
#include "support_rationd.h"

#define MINUTE UINT64_C(60000000000)
#define SLOTS  3

/* `held` for as long as one likes, `short` for 200 ms, `one` by one at a time. */
static const char policy[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 0ms, margin: 0% }\n"
	"vendors:\n"
	"  held:\n"
	"    limits:\n"
	"      - { name: in-flight, kind: concurrency, slots: 3, scope: [vendor] }\n"
	"  short:\n"
	"    limits:\n"
	"      - { name: in-flight, kind: concurrency, slots: 1, max_hold: 200ms, scope: [vendor] "
	"}\n"
	"  one:\n"
	"    limits:\n"
	"      - { name: flow, kind: concurrency, slots: 1, order: fifo, scope: [vendor] }\n";

TestSuite(lease, .timeout = 100);

/* --- scenes --- */

static struct ration_handle *resolve(struct ration *ration, const char *vendor)
{
	const struct ration_key key = {.vendor = vendor, .traffic_class = "interactive"};
	struct ration_handle *handle;

	cr_assert_eq(ration_resolve(ration, &key, &handle, NULL), 0);
	return handle;
}

static struct ration *attach(const struct rationd *r)
{
	struct ration *ration;

	cr_assert_eq(ration_attach(r->socket, 0, &ration, NULL), 0);
	return ration;
}

static int take(struct ration_handle *handle, struct ration_ticket *ticket)
{
	int result = RATION_CONTENDED;

	while (result == RATION_CONTENDED)
		result = ration_acquire(handle, NULL, 0, ticket, NULL);
	return result;
}

static int take_waiting(struct ration_handle *handle, struct ration_ticket *ticket)
{
	return ration_acquire_until(handle, NULL, 0, clock_boot_ns() + MINUTE, ticket, NULL);
}

/* All slots of `held`, and not one more. */
static void expect_all_free(struct ration *ration, struct ration_handle *handle)
{
	struct ration_ticket tickets[SLOTS], more;

	for (int i = 0; i < SLOTS; i++)
		cr_assert_eq(take_waiting(handle, &tickets[i]), 0);
	cr_expect_eq(take(handle, &more), RATION_DENIED);
	for (int i = 0; i < SLOTS; i++)
		cr_expect_eq(ration_release(ration, &tickets[i]), 0);
}

/* A child that says when it holds what it is to hold, and then waits for what comes. */
struct holder {
	pid_t pid;
	int go; /* a byte lets it go on */
};

typedef void hold(struct ration *ration, struct ration_handle *handle);

static void hold_all(struct ration *ration, struct ration_handle *handle)
{
	(void)ration;
	for (int i = 0; i < SLOTS; i++) {
		struct ration_ticket ticket;

		if (take_waiting(handle, &ticket) != 0)
			_exit(9);
	}
}

/* `then` is done after the go. path: of the supervisor's socket; NULL: with the parent's attachment. */
static struct holder holder_start(const char *path, struct ration *ration,
				  struct ration_handle *handle, hold *then)
{
	struct holder h;
	int go[2], said[2];
	char byte = 0;

	cr_assert(pipe2(go, O_CLOEXEC) == 0 && pipe2(said, O_CLOEXEC) == 0);
	h.pid = fork();
	cr_assert(h.pid >= 0);
	if (h.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (path) {
			if (ration_attach(path, 0, &ration, NULL) != 0)
				_exit(8);
			handle = resolve(ration, "held");
		}
		hold_all(ration, handle);
		if (write(said[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(7);
		if (then)
			then(ration, handle);
		_exit(0);
	}
	close(go[0]);
	close(said[1]);
	cr_assert_eq(read(said[0], &byte, 1), 1, "the child did not get its leases");
	close(said[0]);
	h.go = go[1];
	return h;
}

static void holder_go(struct holder *h)
{
	cr_assert_eq(write(h->go, "", 1), 1);
	close(h->go);
}

/* --- below a supervisor --- */

struct scene {
	struct rationd rationd;
	struct ration *ration;
	struct ration_handle *handle;
};

static void scene_begin(struct scene *s)
{
	rationd_start(&s->rationd, policy, NULL);
	s->ration = attach(&s->rationd);
	s->handle = resolve(s->ration, "held");
}

static void scene_end(struct scene *s)
{
	struct ration_ticket ticket;

	expect_all_free(s->ration, s->handle);
	cr_expect_eq(take(s->handle, &ticket), 0);
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
	cr_expect_eq(rationd_stop(&s->rationd), 0);
}

static void expect_none_free(const struct scene *s)
{
	struct ration_ticket ticket;

	cr_expect_eq(take(s->handle, &ticket), RATION_DENIED);
}

static void die_of_abort(struct ration *ration, struct ration_handle *handle)
{
	(void)ration, (void)handle;
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void crash(struct ration *ration, struct ration_handle *handle)
{
	(void)ration, (void)handle;
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void leave(struct ration *ration, struct ration_handle *handle)
{
	ration_handle_free(&handle);
	ration_detach(&ration);
}

/* The descriptors of a worker that becomes another program are closed; the process lives on. */
static void become_another(struct ration *ration, struct ration_handle *handle)
{
	(void)ration, (void)handle;
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	_exit(6);
}

Test(lease, ends_with_its_holder_however_that_ends)
{
	static const struct {
		hold *then;
		int status;
	} ends[] = {
		{NULL, 0},
		{die_of_abort, -SIGABRT},
		{crash, -SIGSEGV},
		{leave, 0},
	};
	struct scene s;

	scene_begin(&s);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct holder h = holder_start(s.rationd.socket, NULL, NULL, ends[i].then);

		expect_none_free(&s);
		holder_go(&h);
		cr_expect_eq(wait_child(h.pid), ends[i].status);
		expect_all_free(s.ration, s.handle);
	}
	scene_end(&s);
}

Test(lease, of_a_killed_worker_goes_to_whoever_waits_for_it)
{
	struct scene s;

	scene_begin(&s);
	for (int i = 0; i < 10; i++) {
		struct holder h = holder_start(s.rationd.socket, NULL, NULL, NULL);

		expect_none_free(&s);
		if (i % 2)
			kill(h.pid, SIGSTOP);
		expect_none_free(&s);
		kill(h.pid, SIGKILL);
		/* Not waited for: dead it is all the same. */
		expect_all_free(s.ration, s.handle);
		cr_expect_eq(wait_child(h.pid), -SIGKILL);
		close(h.go);
	}
	scene_end(&s);
}

Test(lease, of_a_worker_that_becomes_another_program_lasts_as_long_as_its_process)
{
	struct scene s;
	struct holder h;

	scene_begin(&s);
	h = holder_start(s.rationd.socket, NULL, NULL, become_another);
	holder_go(&h);
	rationd_expect_log(&s.rationd, "event=detached ", 1);
	expect_none_free(&s);
	kill(h.pid, SIGKILL);
	expect_all_free(s.ration, s.handle);
	cr_expect_eq(wait_child(h.pid), -SIGKILL);
	scene_end(&s);
}

/* Nobody is there to reap it: whoever leaves gives back himself. */
Test(lease, ends_with_detach_even_while_the_supervisor_stands_still)
{
	struct scene s;
	struct ration *other;
	struct ration_handle *handle;
	struct ration_ticket ticket;

	scene_begin(&s);
	other = attach(&s.rationd);
	handle = resolve(other, "held");
	hold_all(other, handle);
	expect_none_free(&s);
	kill(s.rationd.pid, SIGSTOP);
	leave(other, handle);
	cr_expect_eq(take(s.handle, &ticket), 0);
	cr_expect_eq(ration_release(s.ration, &ticket), 0);
	kill(s.rationd.pid, SIGCONT);
	scene_end(&s);
}

/* A lease that is lost is said to be, and its end takes nothing from the one who has the slot now. */
static void lose_one(struct ration *mine, struct ration *others,
		     int (*finish)(struct ration *, struct ration_ticket *))
{
	struct ration_handle *my_handle = resolve(mine, "short"),
			     *other_handle = resolve(others, "short");
	struct ration_ticket old, young, third;

	cr_assert_eq(take_waiting(my_handle, &old), 0);
	cr_assert_eq(take_waiting(other_handle, &young), 0, "after its maximum hold it is free");
	cr_expect_eq(finish(mine, &old), RATION_ELOST);
	cr_expect_eq(old.owner, 0, "the ticket has ended");
	cr_expect_eq(finish(mine, &old), -EINVAL);
	/* It may be past its maximum hold by now, but only whoever asks takes it over. */
	cr_expect_eq(ration_release(others, &young), 0);
	cr_assert_eq(take(my_handle, &third), 0);
	cr_expect_eq(ration_release(mine, &third), 0);
	ration_handle_free(&my_handle);
	ration_handle_free(&other_handle);
}

static int settle(struct ration *ration, struct ration_ticket *ticket)
{
	return ration_settle(ration, ticket, NULL, 0);
}

Test(lease, held_too_long_goes_to_the_next_and_is_refused_at_its_end)
{
	struct scene s;
	struct ration *other;

	scene_begin(&s);
	other = attach(&s.rationd);
	lose_one(s.ration, other, ration_release);
	lose_one(s.ration, other, ration_cancel);
	lose_one(s.ration, other, settle);
	lose_one(s.ration, s.ration, ration_release);
	ration_detach(&other);
	scene_end(&s);
}

/* A fork copies tickets, not leases. */
Test(lease, of_a_parent_is_not_its_childs)
{
	struct scene s;
	struct ration_ticket tickets[SLOTS];
	pid_t child;

	scene_begin(&s);
	for (int i = 0; i < SLOTS; i++)
		cr_assert_eq(take(s.handle, &tickets[i]), 0);
	child = fork();
	if (child == 0) {
		struct ration_ticket ticket;
		const bool denied = take(s.handle, &ticket) == RATION_DENIED;

		_exit(denied && ration_release(s.ration, &tickets[0]) == -EINVAL ? 0 : 1);
	}
	cr_expect_eq(wait_child(child), 0);
	rationd_expect_log(&s.rationd, "event=died ", 1);
	expect_none_free(&s);
	for (int i = 0; i < SLOTS; i++)
		cr_expect_eq(ration_release(s.ration, &tickets[i]), 0);
	scene_end(&s);
}

/* --- never two --- */

/* What children count, in memory that outlives them. */
struct tally {
	_Atomic uint64_t held, doubly;
};

/* The kernel unlocks a dead process's files before anybody can see that it is dead. */
static void hold_and_lock(struct ration *ration, struct ration_handle *handle, const char *path,
			  struct tally *tally)
{
	struct ration_ticket ticket;
	int fd;

	if (take_waiting(handle, &ticket) != 0)
		_exit(5);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		tally->doubly++;
	tally->held++;
	sched_yield();
	close(fd);
	(void)ration_release(ration, &ticket);
}

static pid_t start_flow(const char *socket, struct ration *ration, struct ration_handle *handle,
			const char *path, struct tally *tally)
{
	const pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (socket) {
		if (ration_attach(socket, MINUTE, &ration, NULL) != 0)
			_exit(8);
		handle = resolve(ration, "one");
	}
	for (;;)
		hold_and_lock(ration, handle, path, tally);
}

enum { FLOWS = 4, KILLS = 60 };

/* Kill one after another, each time after some more have held it. */
static void kill_at_random(const char *socket, struct ration *ration, struct ration_handle *handle)
{
	struct test_dir dir;
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const unsigned seed = (unsigned)time(NULL);
	const char *path;
	pid_t flows[FLOWS];

	printf("seed %u\n", seed);
	srand(seed);
	dir_make(&dir);
	path = dir_path(&dir, "lock");
	for (int i = 0; i < FLOWS; i++)
		flows[i] = start_flow(socket, ration, handle, path, tally);
	for (int i = 0; i < KILLS; i++) {
		const uint64_t enough = tally->held + (uint64_t)(rand() % 40);
		const int k = rand() % FLOWS;

		while (tally->held < enough)
			sched_yield();
		kill(flows[k], SIGKILL);
		if (i % 3)
			cr_assert_eq(wait_child(flows[k]), -SIGKILL);
		flows[k] = start_flow(socket, ration, handle, path, tally);
	}
	for (int i = 0; i < FLOWS; i++)
		kill(flows[i], SIGKILL);
	cr_expect_eq(tally->doubly, 0, "two held it (seed %u)", seed);
	cr_expect_gt(tally->held, KILLS);
	munmap(tally, sizeof(*tally));
	dir_remove(&dir);
}

Test(lease, the_only_one_is_never_held_by_two_whoever_is_killed)
{
	struct scene s;
	struct ration_handle *handle;
	struct ration_ticket ticket;

	scene_begin(&s);
	kill_at_random(s.rationd.socket, NULL, NULL);
	handle = resolve(s.ration, "one");
	cr_expect_eq(take_waiting(handle, &ticket), 0);
	ration_handle_free(&handle);
	scene_end(&s);
}

/* --- in an embedded segment, where workers bury each other --- */

static struct ration *embed(struct test_dir *dir)
{
	struct ration_error error = {""};
	struct ration *ration = NULL;

	dir_make(dir);
	file_text(dir_path(dir, "p.yaml"), policy);
	cr_assert_eq(ration_embed(dir_path(dir, "p.yaml"), &ration, &error), 0, "%s", error.text);
	return ration;
}

Test(lease, of_a_dead_worker_is_free_without_a_supervisor_too)
{
	struct test_dir dir;
	struct ration *ration = embed(&dir);
	struct ration_handle *handle = resolve(ration, "held");

	for (int i = 0; i < 10; i++) {
		struct holder h = holder_start(NULL, ration, handle, NULL);
		struct ration_ticket ticket;

		cr_expect_eq(take(handle, &ticket), RATION_DENIED);
		kill(h.pid, SIGKILL);
		expect_all_free(ration, handle);
		cr_expect_eq(wait_child(h.pid), -SIGKILL);
		close(h.go);
	}
	ration_handle_free(&handle);
	ration_detach(&ration);
	dir_remove(&dir);
}

Test(lease, the_only_one_is_never_held_by_two_without_a_supervisor_either)
{
	struct test_dir dir;
	struct ration *ration = embed(&dir);
	struct ration_handle *handle = resolve(ration, "one");
	struct ration_ticket ticket;

	kill_at_random(NULL, ration, handle);
	cr_expect_eq(take_waiting(handle, &ticket), 0);
	cr_expect_eq(ration_release(ration, &ticket), 0);
	ration_handle_free(&handle);
	ration_detach(&ration);
	dir_remove(&dir);
}
