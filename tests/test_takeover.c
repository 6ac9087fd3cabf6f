/*
 * tests/test_takeover.c - a supervisor that is killed, and the next one that goes on with what it had
 * SPDX-License-Identifier: MIT
 *
 * The real keeper and the real rationd. To do something while there is no supervisor, the keeper is stopped.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/attachment.h"
#include "supervisor/ledger.h"
#include "support_manager.h"
#include "support_rationd.h"

static const char *const keep[] = {"--keep", NULL};

/* Slow enough that nothing of it comes back while a test runs. */
static const char policy[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 0ms }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: hour, kind: rolling, amount: 100, period: 1h, scope: [tenant, vendor], "
	"margin: 0% }\n"
	"      - { name: slots, kind: concurrency, slots: 8, scope: [tenant, vendor] }\n";

static const struct ration_key key = {.tenant = "acme", .vendor = "crm", .traffic_class = "bulk"};

/* --- the supervisor behind the keeper --- */

static pid_t pid_in(const char *path)
{
	FILE *file = fopen(path, "r");
	int pid = 0;

	if (file) {
		if (fscanf(file, "%d", &pid) != 1)
			pid = 0;
		fclose(file);
	}
	return pid;
}

static pid_t supervisor_of(const struct rationd *r)
{
	char path[160];
	pid_t pid;

	snprintf(path, sizeof(path), "%s.pid", r->socket);
	pid = pid_in(path);
	cr_assert_gt(pid, 0, "%s", path);
	return pid;
}

static void expect_dead(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	cr_assert_eq(poll(&p, 1, 10000), 1, "it lives");
	close(pidfd);
}

static void kill_supervisor(const struct rationd *r)
{
	const pid_t pid = supervisor_of(r);
	const int pidfd = open_pidfd(pid);

	kill(pid, SIGKILL);
	expect_dead(pidfd);
}

/* No next one comes before keeper_goes_on(). */
static void stop_keeper(const struct rationd *r)
{
	kill(r->pid, SIGSTOP);
	kill_supervisor(r);
}

static void keeper_goes_on(struct rationd *r, int times)
{
	kill(r->pid, SIGCONT);
	rationd_expect_log(r, "took-over", times);
	rationd_expect_log(r, "event=ready", times + 1);
}

static void start(struct rationd *r)
{
	rationd_start(r, policy, keep);
}

/* --- workers --- */

struct worker {
	struct ration *ration;
	struct ration_handle *handle;
};

static struct worker worker_start(const struct rationd *r)
{
	struct worker w;
	struct ration_error error;

	cr_assert_eq(ration_attach(r->socket, 0, &w.ration, &error), 0, "%s", error.text);
	cr_assert_eq(ration_resolve(w.ration, &key, &w.handle, &error), 0, "%s", error.text);
	return w;
}

static void worker_end(struct worker *w)
{
	ration_handle_free(&w->handle);
	ration_detach(&w->ration);
}

static int acquire(struct worker *w, struct ration_ticket *ticket)
{
	struct ration_denial denial;

	return ration_acquire(w->handle, NULL, 0, ticket, &denial);
}

/* Takes as many as there are, and gives their slots back. */
static int acquire_all(struct worker *w)
{
	struct ration_ticket ticket;
	int n = 0;

	while (n < 1000 && acquire(w, &ticket) == 0) {
		cr_assert_eq(ration_settle(w->ration, &ticket, NULL, 0), 0);
		n++;
	}
	return n;
}

/* A process that attaches, takes a slot, and waits for its end. */
static pid_t holder_start(const struct rationd *r)
{
	int said[2];
	char byte = 0;
	pid_t pid;

	cr_assert(pipe2(said, O_CLOEXEC) == 0);
	pid = fork();
	cr_assert(pid >= 0);
	if (pid == 0) {
		struct worker w = worker_start(r);
		struct ration_ticket ticket;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = acquire(&w, &ticket) == 0 ? 1 : 2;
		if (write(said[1], &byte, 1) == 1)
			pause();
		_exit(0);
	}
	close(said[1]);
	cr_assert(read(said[0], &byte, 1) == 1 && byte == 1);
	close(said[0]);
	return pid;
}

static void holder_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_expect_eq(wait_child(pid), -SIGKILL);
}

static unsigned slots_held(const struct worker *w)
{
	struct ration_ticket tickets[8];
	unsigned n = 0;

	while (n < 8 && acquire((struct worker *)(uintptr_t)w, &tickets[n]) == 0)
		n++;
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(ration_cancel(w->ration, &tickets[i]), 0);
	return 8 - n;
}

/* --- --- */

Test(takeover, nothing_is_forgotten)
{
	struct rationd r;
	struct worker w, other;
	struct ration_ticket ticket;

	start(&r);
	w = worker_start(&r);
	for (int i = 0; i < 40; i++) {
		cr_assert_eq(acquire(&w, &ticket), 0);
		cr_assert_eq(ration_settle(w.ration, &ticket, NULL, 0), 0);
	}
	kill_supervisor(&r);
	keeper_goes_on(&r, 1);
	other = worker_start(&r);
	cr_expect_eq(acquire_all(&other), 60, "40 were taken before");
	cr_expect_eq(acquire_all(&w), 0);
	worker_end(&other);
	worker_end(&w);
	rationd_expect_log(&r, "event=left", 2);
	cr_expect_eq(rationd_stop(&r), 0);
}

Test(takeover, workers_go_on_without_a_supervisor)
{
	struct rationd r;
	struct worker w;

	start(&r);
	w = worker_start(&r);
	stop_keeper(&r);
	cr_expect_eq(acquire_all(&w), 100);
	keeper_goes_on(&r, 1);
	cr_expect_eq(acquire_all(&w), 0);
	worker_end(&w);
	rationd_stop(&r);
}

Test(takeover, who_died_meanwhile_gives_back_what_it_held)
{
	struct rationd r;
	struct worker w;
	pid_t dead, alive;

	start(&r);
	w = worker_start(&r);
	dead = holder_start(&r);
	alive = holder_start(&r);
	cr_expect_eq(slots_held(&w), 2);
	stop_keeper(&r);
	holder_kill(dead);
	keeper_goes_on(&r, 1);
	rationd_expect_log(&r, "event=died", 1);
	cr_expect_eq(slots_held(&w), 1, "the other one lives");
	holder_kill(alive);
	rationd_expect_log(&r, "event=died", 2);
	cr_expect_eq(slots_held(&w), 0);
	worker_end(&w);
	rationd_stop(&r);
}

Test(takeover, who_left_meanwhile_is_gone)
{
	struct rationd r;
	struct worker w;

	start(&r);
	w = worker_start(&r);
	stop_keeper(&r);
	worker_end(&w);
	keeper_goes_on(&r, 1);
	rationd_expect_log(&r, "event=left", 1);
	rationd_stop(&r);
}

Test(takeover, who_attaches_meanwhile_waits)
{
	struct rationd r;
	pid_t pid;

	start(&r);
	stop_keeper(&r);
	pid = fork();
	if (pid == 0) {
		struct ration *ration = NULL;

		_exit(ration_attach(r.socket, UINT64_C(10000000000), &ration, NULL) == 0 ? 0 : 1);
	}
	keeper_goes_on(&r, 1);
	cr_expect_eq(wait_child(pid), 0);
	rationd_stop(&r);
}

Test(takeover, slots_are_not_given_twice)
{
	struct rationd r;
	struct worker w[4];

	start(&r);
	for (int i = 0; i < 4; i++) {
		w[i] = worker_start(&r);
		kill_supervisor(&r);
		keeper_goes_on(&r, i + 1);
	}
	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < i; k++)
			cr_expect_neq(atomic_load(&w[i].ration->slot),
				      atomic_load(&w[k].ration->slot));
	}
	for (int i = 0; i < 4; i++)
		worker_end(&w[i]);
	rationd_stop(&r);
}

/* --- policy --- */

static const char larger[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 0ms }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: hour, kind: rolling, amount: 150, period: 1h, scope: [tenant, vendor], "
	"margin: 0% }\n"
	"      - { name: slots, kind: concurrency, slots: 8, scope: [tenant, vendor] }\n";

Test(takeover, a_policy_is_only_compiled_anew_if_it_changed)
{
	struct rationd r;
	struct worker w;

	start(&r);
	w = worker_start(&r);
	kill_supervisor(&r);
	keeper_goes_on(&r, 1);
	cr_expect(!strstr(rationd_log(&r), "event=reloaded"), "%s", r.log);
	stop_keeper(&r);
	rationd_write_policy(&r, larger);
	keeper_goes_on(&r, 2);
	rationd_expect_log(&r, "event=reloaded generation=2", 1);
	cr_expect_eq(acquire_all(&w), 150, "the worker has heard of it");
	worker_end(&w);
	rationd_stop(&r);
}

Test(takeover, a_broken_policy_does_not_stop_it)
{
	struct rationd r;
	struct worker w;

	start(&r);
	w = worker_start(&r);
	stop_keeper(&r);
	rationd_write_policy(&r, "version: 1\nvendors: 7\n");
	keeper_goes_on(&r, 1);
	rationd_expect_log(&r, "event=reload-failed", 1);
	cr_expect_eq(acquire_all(&w), 100);
	worker_end(&w);
	rationd_stop(&r);
}

/* What a limit's name counted before is remembered by the successor, too: or it would be handed out again. */
Test(takeover, a_limit_that_comes_back_in_another_shape_begins_spent)
{
	static const char without[] =
		"version: 1\nclasses: [interactive, bulk]\nvendors: { crm: { limits: [ "
		"{ name: other, rate: 1000/s, scope: [vendor] } ] } }\n";
	static const char otherwise[] =
		"version: 1\nclasses: [interactive, bulk]\nvendors: { crm: { limits: [ "
		"{ name: hour, kind: rolling, amount: 100, period: 1h, scope: [vendor], margin: 0% "
		"} ] } }\n";
	struct rationd r;
	struct worker w;

	start(&r);
	w = worker_start(&r);
	cr_expect_eq(acquire_all(&w), 100);
	stop_keeper(&r);
	rationd_write_policy(&r, without);
	keeper_goes_on(&r, 1);
	rationd_expect_log(&r, "event=reloaded generation=2", 1);
	stop_keeper(&r);
	rationd_write_policy(&r, otherwise);
	keeper_goes_on(&r, 2);
	rationd_expect_log(&r, "event=reloaded generation=3", 1);
	cr_expect_eq(acquire_all(&w), 0);
	worker_end(&w);
	rationd_stop(&r);
}

static int run_ration(const char *const argv[])
{
	const char *program = rationd_program("ration");
	const pid_t pid = fork();

	if (pid == 0) {
		execv(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return wait_child(pid);
}

Test(takeover, what_operators_set_stays)
{
	struct rationd r;
	struct worker w;
	const char *const set[] = {"ration", "set",  "--socket", r.socket, "acme",
				   "crm",    "hour", "120",      NULL};

	start(&r);
	w = worker_start(&r);
	cr_expect_eq(run_ration(set), 0);
	kill_supervisor(&r);
	keeper_goes_on(&r, 1);
	cr_expect_eq(acquire_all(&w), 120);
	kill(supervisor_of(&r), SIGHUP);
	rationd_expect_log(&r, "event=reloaded", 2);
	cr_expect_eq(acquire_all(&w), 0, "a reload keeps it");
	worker_end(&w);
	rationd_stop(&r);
}

/* --- the protocol, with a service manager of our own --- */

static void managed_start(struct manager *m, struct rationd *r)
{
	rationd_prepare(r, policy);
	manager_begin(m, r);
	manager_spawn(m, NULL);
	manager_until_ready(m);
}

static void managed_kill(struct rationd *r)
{
	kill(r->pid, SIGKILL);
	cr_expect_eq(rationd_wait(r), -SIGKILL);
}

Test(takeover, is_stored_before_it_is_told)
{
	struct rationd r;
	struct manager m;
	struct hello_answer answer;
	int socket;

	managed_start(&m, &r);
	cr_expect_eq(manager_has(&m, "attach"), 1);
	cr_expect_eq(manager_has(&m, "state"), 1);
	cr_expect_eq(manager_has(&m, "ledger"), 1);
	cr_expect_eq(manager_has(&m, "policy-1"), 1);
	cr_expect_eq(manager_has(&m, "names-1"), 1);
	answer = hello_attach(r.socket, &socket);
	cr_assert_eq(answer.message.head.type, WIRE_WELCOME);
	cr_assert(manager_read(&m, 0), "it was told its slot before that was stored");
	cr_expect_eq(manager_has(&m, "w0-1"), 2);
	managed_kill(&r);
	manager_spawn(&m, NULL);
	manager_until_ready(&m);
	rationd_expect_log(&r, "event=took-over takeovers=1 generation=1 workers=1 gone=0", 1);
	close(socket);
	rationd_expect_log(&r, "event=detached slot=0", 1);
	rationd_write_policy(&r, larger);
	kill(r.pid, SIGHUP);
	manager_until_ready(&m);
	cr_expect_eq(manager_has(&m, "policy-2") + manager_has(&m, "names-2"), 2);
	cr_expect_eq(manager_has(&m, "policy-1") + manager_has(&m, "names-1"), 0);
	managed_kill(&r);
	rationd_stop(&r);
}

/* What is of another layout, or not whole, is not guessed at. */
static void expect_refused(struct manager *m, struct rationd *r, const char *words)
{
	manager_spawn(m, NULL);
	cr_expect_eq(rationd_wait(r), EX_DATAERR);
	rationd_expect_log(r, words, 1);
}

Test(takeover, another_layout_is_refused)
{
	struct rationd r;
	struct manager m;
	struct ledger_head *head;

	managed_start(&m, &r);
	managed_kill(&r);
	head = mmap(NULL, sizeof(*head), PROT_READ | PROT_WRITE, MAP_SHARED,
		    manager_fd(&m, "ledger"), 0);
	cr_assert_neq(head, MAP_FAILED);
	head->state_fingerprint++;
	expect_refused(&m, &r, "another layout");
	head->state_fingerprint--;
	head->n_workers++;
	expect_refused(&m, &r, "cannot be used");
	head->n_workers--;
	manager_spawn(&m, NULL);
	manager_until_ready(&m);
	munmap(head, sizeof(*head));
	managed_kill(&r);
	rationd_stop(&r);
}

Test(takeover, without_its_memory_nothing_is_taken_over)
{
	static const char *const parts[] = {"state", "policy-1", "names-1"};
	struct rationd r;
	struct manager m;

	managed_start(&m, &r);
	managed_kill(&r);
	for (size_t i = 0; i < 3; i++) {
		struct manager less = m;

		for (int k = 0; k < less.n; k++) {
			if (strcmp(less.name[k], parts[i]) == 0)
				strcpy(less.name[k], "unknown");
		}
		manager_spawn(&less, NULL);
		cr_expect_eq(rationd_wait(&r), EX_DATAERR, "%s", parts[i]);
	}
	rationd_stop(&r);
}

/* Killed before the ledger was stored: there is nothing to take over, and what there is is dropped. */
Test(takeover, half_a_start_is_none)
{
	struct rationd r;
	struct manager m;

	managed_start(&m, &r);
	managed_kill(&r);
	manager_remove(&m, "ledger");
	manager_spawn(&m, NULL);
	manager_until_ready(&m);
	cr_expect(!strstr(rationd_log(&r), "took-over"));
	cr_expect_eq(manager_has(&m, "state"), 1);
	cr_expect_eq(manager_has(&m, "attach"), 1);
	cr_expect_eq(m.n, 5);
	managed_kill(&r);
	rationd_stop(&r);
}

/* --- one at a time --- */

Test(takeover, a_second_keeper_is_refused)
{
	struct rationd r;
	pid_t first;

	start(&r);
	first = r.pid;
	rationd_spawn(&r, keep);
	cr_expect_eq(rationd_wait(&r), EX_TEMPFAIL);
	r.pid = first;
	rationd_stop(&r);
}

/* The lock is free, but the place is not: its socket is kept. */
Test(takeover, a_stranger_does_not_take_the_place)
{
	struct rationd r;
	struct worker w;
	pid_t first;

	start(&r);
	w = worker_start(&r);
	stop_keeper(&r);
	first = r.pid;
	rationd_spawn(&r, NULL);
	cr_expect_eq(rationd_wait(&r), EX_TEMPFAIL);
	r.pid = first;
	keeper_goes_on(&r, 1);
	worker_end(&w);
	rationd_stop(&r);
}

Test(takeover, replaced_by_what_is_installed)
{
	struct rationd r;
	struct worker w;
	pid_t before;

	start(&r);
	w = worker_start(&r);
	cr_expect_eq(acquire_all(&w), 100);
	before = supervisor_of(&r);
	kill(r.pid, SIGUSR1);
	rationd_expect_log(&r, "took-over", 1);
	rationd_expect_log(&r, "event=ready", 2);
	cr_expect_neq(supervisor_of(&r), before);
	cr_expect_eq(acquire_all(&w), 0);
	worker_end(&w);
	rationd_expect_log(&r, "event=left", 1);
	cr_expect_eq(rationd_stop(&r), 0);
}

Test(takeover, what_never_worked_is_not_tried_again)
{
	struct rationd r;

	rationd_prepare(&r, "version: 1\nvendors: 7\n");
	rationd_spawn(&r, keep);
	cr_expect_eq(rationd_wait(&r), EX_CONFIG);
	rationd_stop(&r);
}

/* A notice on its way has one open for a moment, also while we counted first. */
static void expect_at_most(pid_t pid, int n)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	for (int i = 0; i < 5000 && count_fds(pid) > n; i++)
		nanosleep(&pause, NULL);
	cr_expect_leq(count_fds(pid), n);
}

Test(takeover, descriptors_do_not_pile_up)
{
	struct rationd r;
	struct worker w;
	int supervisor, keeper;

	start(&r);
	w = worker_start(&r);
	worker_end(&w);
	rationd_expect_log(&r, "event=left", 1);
	kill_supervisor(&r);
	keeper_goes_on(&r, 1);
	supervisor = count_fds(supervisor_of(&r));
	keeper = count_fds(r.pid);
	for (int i = 0; i < 4; i++) {
		w = worker_start(&r);
		worker_end(&w);
		rationd_expect_log(&r, "event=left", i + 2);
		kill(r.pid, SIGHUP);
		kill_supervisor(&r);
		keeper_goes_on(&r, i + 2);
	}
	expect_at_most(supervisor_of(&r), supervisor);
	expect_at_most(r.pid, keeper);
	rationd_stop(&r);
}
