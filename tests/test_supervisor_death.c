/*
 * tests/test_supervisor_death.c - a slot is free again when its worker is gone, and not before
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/memory.h"
#include "shm/stat.h"
#include "shm/worker.h"
#include "support_rationd.h"

static const char *const one_worker[] = {"--workers", "1", NULL};
static const char *const two_workers[] = {"--workers", "2", NULL};

/* A child that attaches and says so, then does `then` and waits to be killed (or for the pipe's end). */
struct child {
	pid_t pid;
	int go; /* one byte lets it end */
	int said;
	int code; /* what ration_attach() returned */
};

static struct child child_start(const struct rationd *r, void (*then)(struct ration *ration))
{
	struct child child;
	int go[2], said[2];

	cr_assert(pipe2(go, O_CLOEXEC) == 0 && pipe2(said, O_CLOEXEC) == 0);
	child.pid = fork();
	cr_assert(child.pid >= 0);
	if (child.pid == 0) {
		struct ration *ration = NULL;
		const int code = ration_attach(r->socket, 0, &ration, NULL);
		char byte;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		if (code == 0 && then)
			then(ration);
		if (write(said[1], &code, sizeof(code)) == sizeof(code))
			_exit(read(go[0], &byte, 1) == 1 ? 0 : 1);
		_exit(2);
	}
	close(go[0]);
	close(said[1]);
	child.go = go[1];
	child.said = said[0];
	cr_assert(read(child.said, &child.code, sizeof(child.code)) == sizeof(child.code));
	return child;
}

static void child_kill(struct child *child)
{
	kill(child->pid, SIGKILL);
	cr_expect_eq(wait_child(child->pid), -SIGKILL);
	close(child->go);
	close(child->said);
}

/* A byte, not the end of the pipe: children started later hold it open too. */
static void child_end(struct child *child)
{
	cr_assert(write(child->go, "", 1) == 1);
	close(child->go);
	cr_expect_eq(wait_child(child->pid), 0);
	close(child->said);
}

Test(supervisor_death, killed_workers_give_their_slots_back)
{
	struct rationd r;
	struct child a, b;

	rationd_start(&r, rationd_plain_policy, two_workers);
	for (int i = 0; i < 10; i++) {
		a = child_start(&r, NULL);
		b = child_start(&r, NULL);
		cr_assert_eq(a.code, 0);
		cr_assert_eq(b.code, 0);
		child_kill(&a);
		child_kill(&b);
	}
	cr_expect_eq(rationd_stop(&r), 0);
}

Test(supervisor_death, a_full_table_is_said_so)
{
	struct rationd r;
	struct child a, b, c;

	rationd_start(&r, rationd_plain_policy, two_workers);
	a = child_start(&r, NULL);
	b = child_start(&r, NULL);
	c = child_start(&r, NULL);
	cr_expect_eq(c.code, RATION_EWORKERS);
	child_end(&c);
	child_end(&a);
	c = child_start(&r, NULL);
	cr_expect_eq(c.code, 0);
	child_end(&b);
	child_end(&c);
	rationd_stop(&r);
}

Test(supervisor_death, detach_and_attach_again_without_end)
{
	struct rationd r;

	rationd_start(&r, rationd_plain_policy, two_workers);
	for (int i = 0; i < 50; i++) {
		struct ration *ration = NULL, *second = NULL;

		cr_assert_eq(ration_attach(r.socket, 0, &ration, NULL), 0);
		cr_assert_eq(ration_attach(r.socket, 0, &second, NULL), 0);
		ration_detach(&ration);
		ration_detach(&second);
	}
	rationd_expect_log(&r, "event=left ", 50);
	rationd_stop(&r);
}

/* Incarnations of one slot never repeat soon: what outlived a worker is not taken for its successor's. */
Test(supervisor_death, each_owner_of_a_slot_has_another_identity)
{
	struct rationd r;
	uint64_t last = 0;

	rationd_start(&r, rationd_plain_policy, one_worker);
	for (int i = 0; i < 5; i++) {
		struct ration *ration = NULL;
		uint64_t identity;

		cr_assert_eq(ration_attach(r.socket, 0, &ration, NULL), 0);
		identity = shm_load(&client_seg(ration)->workers[0].identity);
		cr_expect_neq(identity, last);
		cr_expect_eq(worker_pid(identity), (uint32_t)getpid());
		last = identity;
		ration_detach(&ration);
	}
	rationd_stop(&r);
}

/* --- forks and execs --- */

static pid_t *silent_pid; /* shared with all children */

/* The child holds a copy of the socket and never says anything. */
static void fork_a_silent_child(struct ration *ration)
{
	const pid_t pid = fork();

	(void)ration;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		alarm(60); /* in case nobody ends it */
		for (;;)
			pause();
	}
	*silent_pid = pid;
}

Test(supervisor_death, a_silent_child_does_not_keep_its_parents_slot)
{
	struct rationd r;
	struct child a, b;

	silent_pid = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(silent_pid != MAP_FAILED);
	cr_assert(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	rationd_start(&r, rationd_plain_policy, one_worker);
	a = child_start(&r, fork_a_silent_child);
	cr_assert_eq(a.code, 0);
	child_kill(&a);
	rationd_expect_log(&r, "event=died slot=0", 1);
	b = child_start(&r, NULL);
	cr_expect_eq(b.code, 0, "while the silent child still holds the socket");
	child_kill(&b);
	kill(*silent_pid, SIGKILL);
	cr_expect_eq(wait_child(*silent_pid), -SIGKILL);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* A forked child that works gets a slot of its own, and keeps it when its parent is gone. */
static void acquire_in_a_child(struct ration *ration)
{
	const struct ration_key key = {
		.tenant = "t", .vendor = "crm", .traffic_class = "interactive"};
	struct ration_handle *handle = NULL;
	struct ration_ticket ticket;
	pid_t pid;

	if (ration_resolve(ration, &key, &handle, NULL) != 0)
		_exit(3);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		if (ration_acquire(handle, NULL, 0, &ticket, NULL) != 0)
			_exit(4);
		alarm(60); /* in case nobody ends it */
		for (;;)
			pause();
	}
	*silent_pid = pid;
}

Test(supervisor_death, a_working_child_has_a_slot_of_its_own)
{
	struct rationd r;
	struct child a, b;

	silent_pid = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(silent_pid != MAP_FAILED);
	cr_assert(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	rationd_start(&r, rationd_plain_policy, two_workers);
	a = child_start(&r, acquire_in_a_child);
	cr_assert_eq(a.code, 0);
	rationd_expect_log(&r, "event=attached slot=1", 1);
	child_kill(&a);
	rationd_expect_log(&r, "event=died slot=0", 1);
	a = child_start(&r, NULL);
	cr_expect_eq(a.code, 0);
	b = child_start(&r, NULL);
	cr_expect_eq(b.code, RATION_EWORKERS, "the grandchild still has slot 1");
	child_end(&a);
	child_end(&b);
	kill(*silent_pid, SIGKILL);
	cr_expect_eq(wait_child(*silent_pid), -SIGKILL);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* cat waits for the end of the pipe; its memory is not the worker's any more, but nobody can know. */
static struct child start_and_exec(const struct rationd *r)
{
	struct child child;
	int go[2];

	cr_assert(pipe2(go, O_CLOEXEC) == 0);
	child.pid = fork();
	cr_assert(child.pid >= 0);
	if (child.pid == 0) {
		struct ration *ration = NULL;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ration_attach(r->socket, 0, &ration, NULL) == 0 && dup2(go[0], 0) == 0 &&
		    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 1) == 1)
			execl("/bin/cat", "cat", (char *)NULL);
		_exit(127);
	}
	close(go[0]);
	child.go = go[1];
	child.said = -1;
	return child;
}

Test(supervisor_death, an_exec_is_a_detach_and_its_slot_waits_for_the_end)
{
	struct rationd r;
	struct child a, b;

	rationd_start(&r, rationd_plain_policy, one_worker);
	a = start_and_exec(&r);
	rationd_expect_log(&r, "event=detached slot=0", 1);
	b = child_start(&r, NULL);
	cr_expect_eq(b.code, RATION_EWORKERS);
	child_end(&b);
	child_end(&a);
	b = child_start(&r, NULL);
	cr_expect_eq(b.code, 0);
	child_end(&b);
	rationd_stop(&r);
}

/* Programs that close every descriptor they do not know still hold the memory, so nobody else may have the slot. */
Test(supervisor_death, a_socket_closed_by_accident_frees_nothing)
{
	struct rationd r;
	struct child other;
	int socket;

	rationd_start(&r, rationd_plain_policy, one_worker);
	cr_assert_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	close(socket);
	rationd_expect_log(&r, "event=detached slot=0", 1);
	other = child_start(&r, NULL);
	cr_expect_eq(other.code, RATION_EWORKERS);
	child_end(&other);
	/* The same process anew: now the earlier slot is known to be given up. */
	cr_expect_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	rationd_expect_log(&r, "event=replaced slot=0", 1);
	rationd_stop(&r);
}

/* --- what a killed worker leaves in memory --- */

Test(supervisor_death, counters_and_claims_of_the_dead_are_taken_over)
{
	struct hello_answer answer;
	struct rationd r;
	struct seg seg;
	pid_t pid;
	int socket;

	rationd_start(&r, rationd_plain_policy, two_workers);
	answer = hello_attach(r.socket, &socket);
	cr_assert_eq(memory_map_state(answer.fds[0], answer.message.welcome.state_size, true, &seg),
		     0);
	pid = fork();
	if (pid == 0) {
		answer = hello_attach(r.socket, &socket);
		/* Killed between taking a record and naming what it is for. */
		shm_store(&seg.workers[answer.message.welcome.slot].claim, 7 + 1);
		shm_store(&seg.cold[7].owner, answer.message.welcome.slot + 1);
		stat_count(&seg, answer.message.welcome.slot, 5, 0, STAT_ADMITTED);
		raise(SIGKILL);
	}
	cr_expect_eq(wait_child(pid), -SIGKILL);
	rationd_expect_log(&r, "event=died slot=1", 1);
	cr_expect_eq(shm_load(&seg.workers[1].claim), 0);
	cr_expect_eq(shm_load(&seg.workers[1].identity), 0);
	cr_expect_eq(shm_load(&seg.cold[7].owner), COLD_FREE);
	cr_expect_eq(shm_load(&seg.cold[5].admitted), 1);
	rationd_stop(&r);
}

/* Where everybody dies at once, and on to the next round: no descriptor may stay. */
Test(supervisor_death, nothing_leaks)
{
	enum { EACH = 8 };
	struct child children[EACH];
	struct rationd r;
	int before = 0;

	rationd_start(&r, rationd_plain_policy, NULL);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < EACH; i++)
			children[i] = child_start(&r, NULL);
		for (int i = 0; i < EACH; i++)
			child_kill(&children[i]);
		rationd_expect_log(&r, "event=died", (round + 1) * EACH);
		if (round == 0)
			before = count_fds(r.pid);
	}
	expect_fds(r.pid, before);
	cr_expect_eq(rationd_stop(&r), 0);
}
