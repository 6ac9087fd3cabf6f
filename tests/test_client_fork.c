/*
 * tests/test_client_fork.c - several processes behind one attachment
 * SPDX-License-Identifier: MIT
 *
 * Every child is a worker of its own from its first call on. Limits of one unit an hour refill
 * nothing while a test runs, so all sums are exact.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/worker.h"
#include "support_blob.h"
#include "support_check.h"
#include "support_seg.h"

#define HOUR       3600
#define PER_TENANT (RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR)

TestSuite(fork, .fini = check_worlds, .timeout = 20);

static const struct policy_desc one_limit = {
	.vendors = {"v"},
	.limits = {{.name = "l",
		    .vendor = "v",
		    .scope = PER_TENANT,
		    .amount = 1,
		    .period_s = HOUR,
		    .burst = 3000}},
};

/* What children tell: one line for each. */
struct account {
	shm_word granted, cancelled, denied, failed;
	uint64_t pad[4];
};

struct scene {
	struct ration *ration;
	struct ration_handle *handle[3];
	struct account *account;
};

static void take_until_empty(struct seg *seg, int who, void *user)
{
	struct scene *s = user;
	struct account *mine = &s->account[who];

	(void)seg;
	for (int denied = 0; denied < 20;) {
		struct ration_ticket ticket;
		const int result = ration_acquire(s->handle[0], NULL, 0, &ticket, NULL);

		if (result == 0)
			shm_add(&mine->granted, 1);
		else if (result == RATION_DENIED)
			denied++;
		else if (result != RATION_CONTENDED)
			shm_add(&mine->failed, 1);
	}
	shm_add(&mine->denied, 20);
}

Test(fork, many_processes_take_exactly_the_burst)
{
	for (int n = 2; n <= 8; n++) {
		struct scene s = {.ration = world_make(&one_limit, 16, 16),
				  .account = shared_memory(8 * sizeof(struct account))};
		struct seg seg = *client_seg(s.ration);
		uint64_t granted = 0, denied = 0;
		struct bucket_state b;

		s.handle[0] = world_key(s.ration, "t", "v", NULL, NULL);
		seg_race(&seg, n, take_until_empty, &s);
		for (int i = 0; i < n; i++) {
			granted += s.account[i].granted;
			denied += s.account[i].denied;
			cr_assert_eq(s.account[i].failed, 0);
		}
		cr_assert_eq(granted, 3000, "%d processes took %lu", n, granted);
		b = world_bucket(s.ration, s.handle[0], "l");
		cr_assert_eq(b.left, 0);
		cr_assert_eq(b.admitted, granted);
		cr_assert_eq(b.denied, denied);
		ration_handle_free(&s.handle[0]);
		ration_detach(&s.ration);
	}
}

/* --- chains that overlap: what is rolled back leaves nothing --- */

/* Each bucket has more taken out in advance than is ever given back: no refund is cut short. */
#define TAKEN 50000

static const struct policy_desc shared_host = {
	.vendors = {"v"},
	.limits = {{.name = "tenant",
		    .vendor = "v",
		    .scope = PER_TENANT,
		    .amount = 1,
		    .period_s = 600,
		    .burst = TAKEN + 1500},
		   {.name = "account",
		    .vendor = "v",
		    .scope = RATION_SCOPE_ACCOUNT,
		    .amount = 1,
		    .period_s = 600,
		    .burst = 2 * TAKEN + 1200},
		   {.name = "host", .amount = 1, .period_s = 600, .burst = 3 * TAKEN + 2000}},
};

static void take_some_give_some(struct seg *seg, int who, void *user)
{
	struct scene *s = user;
	struct account *mine = &s->account[who];
	unsigned step = (unsigned)who;

	(void)seg;
	for (int denied = 0; denied < 40;) {
		const struct ration_cost cost = {"requests", 1 + step++ % 3};
		struct ration_ticket ticket;
		const int result = ration_acquire(s->handle[who % 3], &cost, 1, &ticket, NULL);

		if (result == RATION_DENIED)
			denied++;
		if (result != 0)
			continue;
		if (step % 4 == 0) {
			if (ration_cancel(s->ration, &ticket) != 0)
				shm_add(&mine->failed, 1);
			continue;
		}
		shm_add(&mine->granted, cost.amount);
	}
}

Test(fork, a_chain_is_charged_completely_or_not_at_all)
{
	for (int round = 0; round < 8; round++) {
		struct scene s = {.ration = world_make(&shared_host, 16, 16),
				  .account = shared_memory(6 * sizeof(struct account))};
		struct seg seg = *client_seg(s.ration);
		uint64_t granted[3] = {0};
		struct ration_ticket ticket;

		for (int i = 0; i < 3; i++) {
			char tenant[2] = {(char)('a' + i)};

			/* The first two share an account, the third has its own. */
			s.handle[i] = world_key(s.ration, tenant, "v", i < 2 ? "x" : "y", NULL);
			cr_assert_eq(ration_acquire(s.handle[i],
						    &(struct ration_cost){"requests", TAKEN}, 1,
						    &ticket, NULL),
				     0);
		}
		seg_race(&seg, 6, take_some_give_some, &s);
		for (int i = 0; i < 6; i++) {
			granted[i % 3] += s.account[i].granted;
			cr_assert_eq(s.account[i].failed, 0);
		}
		for (int i = 0; i < 3; i++) {
			const uint64_t left = world_bucket(s.ration, s.handle[i], "tenant").left;

			cr_assert_eq(left, 1500 - granted[i], "tenant %d: %lu granted, %lu left", i,
				     granted[i], left);
		}
		cr_assert_eq(world_bucket(s.ration, s.handle[0], "account").left,
			     1200 - granted[0] - granted[1]);
		cr_assert_eq(world_bucket(s.ration, s.handle[2], "account").left,
			     TAKEN + 1200 - granted[2]);
		cr_assert_eq(world_bucket(s.ration, s.handle[0], "host").left,
			     2000 - granted[0] - granted[1] - granted[2]);
		for (int i = 0; i < 3; i++)
			ration_handle_free(&s.handle[i]);
		ration_detach(&s.ration);
	}
}

static void take_and_give_back(struct seg *seg, int who, void *user)
{
	struct scene *s = user;

	(void)seg;
	for (int i = 0; i < 100000; i++) {
		struct ration_ticket ticket;

		if (ration_acquire(s->handle[who % 3], NULL, 0, &ticket, NULL) != 0)
			continue;
		shm_add(&s->account[who].granted, 1);
		if (ration_cancel(s->ration, &ticket) != 0)
			shm_add(&s->account[who].failed, 1);
	}
}

/*
 * Four processes for one unit of the host's, which stands last in long chains: again and again one
 * has charged its other links when the last turns out to be gone.
 */
Test(fork, what_is_rolled_back_leaves_nothing_charged)
{
	struct policy_desc desc = {.vendors = {"v"}};
	struct scene s = {.account = shared_memory(4 * sizeof(struct account))};
	char names[RATION_LINKS_MAX][16];
	struct seg seg;

	for (int i = 0; i < RATION_LINKS_MAX; i++) {
		const bool last = i == RATION_LINKS_MAX - 1;

		snprintf(names[i], sizeof(names[i]), "l%d", i);
		desc.limits[i] = (struct limit_desc){.name = names[i],
						     .scope = last ? 0 : RATION_SCOPE_TENANT,
						     .amount = 1,
						     .period_s = 600,
						     .burst = last ? 3 * TAKEN + 1 : TAKEN + 100};
	}
	s.ration = world_make(&desc, 64, 8);
	seg = *client_seg(s.ration);
	for (int i = 0; i < 3; i++) {
		struct ration_ticket ticket;

		s.handle[i] = world_key(s.ration, (char[]){(char)('a' + i), 0}, "v", NULL, NULL);
		cr_assert_eq(ration_acquire(s.handle[i], &(struct ration_cost){"requests", TAKEN},
					    1, &ticket, NULL),
			     0);
	}
	seg_race(&seg, 4, take_and_give_back, &s);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(s.account[i].failed, 0);
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < RATION_LINKS_MAX - 1; k++)
			cr_expect_eq(world_bucket(s.ration, s.handle[i], names[k]).left, 100,
				     "tenant %d, link %d", i, k);
	}
	cr_expect_eq(world_bucket(s.ration, s.handle[0], names[RATION_LINKS_MAX - 1]).left, 1);
	for (int i = 0; i < 3; i++)
		ration_handle_free(&s.handle[i]);
	ration_detach(&s.ration);
}

/* --- whose ticket --- */

static int wait_for(pid_t pid)
{
	int status = -1;

	cr_assert(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* In the child every wrong answer has a number of its own. */
static int check_as_child(struct scene *s, struct ration_ticket *parents,
			  struct ration_ticket *shared)
{
	if (ration_cancel(s->ration, parents) != -EINVAL)
		return 1;
	if (ration_settle(s->ration, parents, NULL, 0) != -EINVAL)
		return 2;
	if (ration_acquire(s->handle[0], NULL, 0, shared, NULL) != 0)
		return 3;
	if (shared->owner == parents->owner || worker_pid(shared->owner) != (uint32_t)getpid())
		return 4;
	if (ration_cancel(s->ration, parents) != -EINVAL)
		return 5;
	if (ration_settle(s->ration, parents, NULL, 0) != -EINVAL)
		return 6;
	return 0;
}

Test(fork, tickets_belong_to_the_process_that_took_them)
{
	struct scene s = {.ration = world_make(&one_limit, 16, 4)};
	struct ration_ticket *childs = shared_memory(sizeof(*childs));
	struct ration_ticket mine;
	pid_t pid;

	s.handle[0] = world_key(s.ration, "t", "v", NULL, NULL);
	cr_assert_eq(ration_acquire(s.handle[0], NULL, 0, &mine, NULL), 0);
	pid = fork();
	if (pid == 0)
		_exit(check_as_child(&s, &mine, childs));
	cr_assert_eq(wait_for(pid), 0);
	cr_assert_neq(childs->owner, 0);
	cr_assert_eq(ration_cancel(s.ration, childs), -EINVAL);
	cr_assert_eq(ration_settle(s.ration, childs, NULL, 0), -EINVAL);
	cr_assert_eq(world_bucket(s.ration, s.handle[0], "l").left, 2998);
	cr_assert_eq(ration_cancel(s.ration, &mine), 0, "its own is still good");
	cr_assert_eq(world_bucket(s.ration, s.handle[0], "l").left, 2999);
	ration_handle_free(&s.handle[0]);
	ration_detach(&s.ration);
}

/* --- children that live longer, that leave, that are killed --- */

/* A child of a child goes on after its parent has gone; both are counted. */
Test(fork, a_child_outlives_its_parent)
{
	struct scene s = {.ration = world_make(&one_limit, 16, 8),
			  .account = shared_memory(3 * sizeof(struct account))};
	struct seg seg = *client_seg(s.ration);
	int alive[2];
	pid_t pid;
	char c;

	s.handle[0] = world_key(s.ration, "t", "v", NULL, NULL);
	cr_assert(pipe(alive) == 0);
	pid = fork();
	if (pid == 0) {
		struct ration_ticket ticket;
		const pid_t parent = getpid();

		if (ration_acquire(s.handle[0], NULL, 0, &ticket, NULL) == 0)
			shm_add(&s.account[0].granted, 1);
		if (fork() != 0)
			_exit(0);
		while (getppid() == parent)
			usleep(100);
		take_until_empty(&seg, 1, &s);
		_exit(0);
	}
	close(alive[1]);
	cr_assert_eq(wait_for(pid), 0);
	take_until_empty(&seg, 2, &s);
	cr_assert_eq(read(alive[0], &c, 1), 0, "the grandchild has ended");
	close(alive[0]);
	cr_assert_eq(s.account[0].granted, 1);
	cr_assert_gt(s.account[1].denied, 0);
	cr_assert_eq(1 + s.account[1].granted + s.account[2].granted, 3000);
	cr_assert_eq(s.account[1].failed + s.account[2].failed, 0);
	cr_assert_eq(world_bucket(s.ration, s.handle[0], "l").admitted, 3000);
	ration_handle_free(&s.handle[0]);
	ration_detach(&s.ration);
}

Test(fork, a_child_that_detaches_leaves_the_parent_alone)
{
	struct scene s = {.ration = world_make(&one_limit, 16, 2)};
	const struct seg seg = *client_seg(s.ration);
	struct ration_ticket ticket;

	s.handle[0] = world_key(s.ration, "t", "v", NULL, NULL);
	for (int uses = 0; uses < 2; uses++) {
		const pid_t pid = fork();

		if (pid == 0) {
			if (uses && ration_acquire(s.handle[0], NULL, 0, &ticket, NULL) != 0)
				_exit(1);
			ration_handle_free(&s.handle[0]);
			ration_detach(&s.ration);
			_exit(s.ration ? 2 : 0);
		}
		cr_assert_eq(wait_for(pid), 0);
		cr_assert_eq(shm_load(&seg.workers[1].identity), 0, "its slot is free again");
		cr_assert_neq(shm_load(&seg.workers[0].identity), 0, "ours is not");
	}
	cr_assert_eq(ration_acquire(s.handle[0], NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ration_cancel(s.ration, &ticket), 0);
	cr_assert_eq(world_bucket(s.ration, s.handle[0], "l").admitted, 2, "nothing uncounted");
	ration_handle_free(&s.handle[0]);
	ration_detach(&s.ration);
}

static pid_t fork_holder(struct scene *s, int tell, int until)
{
	const pid_t pid = fork();

	if (pid == 0) {
		struct ration_ticket ticket;
		char c = (char)ration_acquire(s->handle[0], NULL, 0, &ticket, NULL);

		if (write(tell, &c, 1) != 1 || read(until, &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	return pid;
}

static int acquire_in_child(struct scene *s)
{
	const pid_t pid = fork();

	if (pid == 0) {
		struct ration_ticket ticket;

		_exit(-ration_acquire(s->handle[0], NULL, 0, &ticket, NULL) & 0xff);
	}
	return wait_for(pid);
}

Test(fork, slots_run_out_and_dead_workers_slots_are_taken_over)
{
	struct scene s = {.ration = world_make(&one_limit, 16, 3)};
	const struct seg seg = *client_seg(s.ration);
	uint64_t old[2];
	int tell[2], until[2];
	pid_t pids[2];
	char c;

	s.handle[0] = world_key(s.ration, "t", "v", NULL, NULL);
	cr_assert(pipe(tell) == 0 && pipe(until) == 0);
	for (int i = 0; i < 2; i++) {
		pids[i] = fork_holder(&s, tell[1], until[0]);
		cr_assert(read(tell[0], &c, 1) == 1 && c == 0);
		old[i] = shm_load(&seg.workers[i + 1].identity);
		cr_assert_eq(worker_pid(old[i]), (uint32_t)pids[i]);
	}
	cr_assert_eq(acquire_in_child(&s), -RATION_EWORKERS & 0xff);
	cr_assert(kill(pids[0], SIGKILL) == 0);
	cr_assert_eq(wait_for(pids[0]), -SIGKILL);
	cr_assert_eq(acquire_in_child(&s), 0);
	cr_assert_neq(shm_load(&seg.workers[1].identity), old[0]);
	cr_assert_eq(shm_load(&seg.workers[2].identity), old[1], "the living keeps its own");
	cr_assert(write(until[1], "", 1) == 1);
	cr_assert_eq(wait_for(pids[1]), 0);
	cr_assert_eq(world_bucket(s.ration, s.handle[0], "l").admitted, 3,
		     "what the killed one had counted is not lost");
	ration_handle_free(&s.handle[0]);
	ration_detach(&s.ration);
}

/* Makes buckets and takes from them until it is killed; says what it was granted before it can use
 * it. */
static void work_for_ever(struct scene *s, int who)
{
	struct account *mine = &s->account[who];

	for (unsigned i = 0;; i++) {
		const struct ration_key key = {(char[]){(char)('a' + i % 26), (char)('a' + who), 0},
					       "v", "interactive", NULL, NULL};
		struct ration_handle *handle;
		struct ration_ticket ticket;

		if (ration_acquire(s->handle[0], NULL, 0, &ticket, NULL) == 0)
			shm_add(&mine->granted, 1);
		if (ration_resolve(s->ration, &key, &handle, NULL) != 0)
			continue;
		if (ration_acquire(handle, NULL, 0, &ticket, NULL) == 0)
			(void)ration_cancel(s->ration, &ticket);
		ration_handle_free(&handle);
	}
}

Test(fork, killed_anywhere_workers_have_only_spent)
{
	struct policy_desc desc = one_limit;
	struct scene s;
	struct seg seg;
	uint64_t granted = 0;
	struct bucket_state b;

	desc.limits[0].burst = 300000;
	desc.limits[0].period_s = 60;
	s = (struct scene){.ration = world_make(&desc, 512, 8),
			   .account = shared_memory(16 * sizeof(struct account))};
	seg = *client_seg(s.ration);
	s.handle[0] = world_key(s.ration, "t", "v", NULL, NULL);
	for (int round = 0; round < 100; round++) {
		const int who = round % 16;
		const pid_t pid = fork();

		if (pid == 0)
			work_for_ever(&s, who);
		for (uint64_t was = s.account[who].granted, spin = 0;
		     s.account[who].granted == was || spin < (uint64_t)round * 200;)
			spin++;
		cr_assert(kill(pid, SIGKILL) == 0);
		cr_assert_eq(wait_for(pid), -SIGKILL);
	}
	for (uint32_t slot = 1; slot < seg.n_workers; slot++)
		worker_reap(&seg, slot, 0);
	for (int i = 0; i < 16; i++)
		granted += s.account[i].granted;
	b = world_bucket(s.ration, s.handle[0], "l");
	cr_assert_geq(300000 - b.left, granted, "more was granted than was charged");
	cr_assert_leq(300000 - b.left, granted + 100, "at most one charge a kill is unaccounted");
	ration_handle_free(&s.handle[0]);
	ration_detach(&s.ration);
}

/* --- fork while a thread is in the middle of something --- */

#define KEYS 300

struct middle {
	struct scene s;
	struct ration_handle *keys[KEYS];
	shm_word stop, failed;
};

/* After a policy change an acquire makes the new limit's bucket: the thread is always inserting. */
static void *acquire_all(void *user)
{
	struct middle *m = user;
	struct ration_ticket ticket;

	for (int i = 0; i < KEYS || !shm_load(&m->stop); i++)
		if (ration_acquire(m->keys[i % KEYS], NULL, 0, &ticket, NULL) < 0)
			shm_add(&m->failed, 1);
	return NULL;
}

static int use_inherited(struct middle *m, int which)
{
	struct ration_ticket ticket;
	int result;

	do
		result = ration_acquire(m->keys[which], NULL, 0, &ticket, NULL);
	while (result == RATION_CONTENDED);
	if (result != 0)
		return 1;
	return ration_cancel(m->s.ration, &ticket) == 0 ? 0 : 2;
}

Test(fork, a_child_is_not_stuck_in_what_a_thread_was_doing)
{
	struct policy_desc desc = one_limit;
	struct middle m = {.s.ration = world_make(&desc, 8192, 4)};
	pthread_t thread;
	char name[16];

	for (int i = 0; i < KEYS; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		m.keys[i] = world_key(m.s.ration, name, "v", NULL, NULL);
	}
	for (unsigned round = 2; round < 12; round++) {
		snprintf(name, sizeof(name), "l%u", round);
		desc.generation = round;
		desc.limits[0].name = name;
		world_policy(m.s.ration, &desc);
		shm_store(&m.stop, 0);
		cr_assert(pthread_create(&thread, NULL, acquire_all, &m) == 0);
		for (int i = 0; i < 10; i++) {
			const pid_t pid = fork();

			if (pid == 0)
				_exit(use_inherited(&m, (int)(round * 10) + i));
			cr_assert_eq(wait_for(pid), 0, "round %u, child %d", round, i);
		}
		shm_store(&m.stop, 1);
		cr_assert(pthread_join(thread, NULL) == 0);
		cr_assert_eq(m.failed, 0);
	}
	for (int i = 0; i < KEYS; i++)
		ration_handle_free(&m.keys[i]);
	ration_detach(&m.s.ration);
}
