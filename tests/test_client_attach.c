/*
 * tests/test_client_attach.c - attaching to a real supervisor, forks and policy changes included
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/client.h"
#include "client/memory.h"
#include "support_rationd.h"

TestSuite(attach, .timeout = 30);

#define POLICY(limits)                                                                             \
	"version: 1\n"                                                                             \
	"classes: [interactive]\n"                                                                 \
	"defaults: { delay: 0ms }\n"                                                               \
	"vendors:\n"                                                                               \
	"  crm:\n"                                                                                 \
	"    limits:\n" limits
#define LIMIT(name) "      - { name: " name ", rate: 1/h, burst: 20, scope: [], margin: 0% }\n"

static const char one[] = POLICY(LIMIT("first"));
static const char two[] = POLICY(LIMIT("first") LIMIT("second"));
static const char other_vendor[] = "version: 1\n"
				   "classes: [interactive]\n"
				   "vendors: { erp: { limits: [] } }\n";

struct scene {
	struct rationd r;
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_ticket ticket;
};

static void attach(struct scene *s)
{
	const struct ration_key key = {.vendor = "crm", .traffic_class = "interactive"};
	struct ration_error error = {""};

	cr_assert_eq(ration_attach(s->r.socket, 0, &s->ration, &error), 0, "%s", error.text);
	cr_assert_eq(ration_resolve(s->ration, &key, &s->handle, &error), 0, "%s", error.text);
}

static void leave(struct scene *s)
{
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
	cr_assert_null(s->ration);
}

static void end(struct scene *s)
{
	leave(s);
	cr_assert_eq(rationd_stop(&s->r), 0);
}

static int take(struct scene *s)
{
	return ration_acquire(s->handle, NULL, 0, &s->ticket, NULL);
}

static int wait_for(pid_t pid)
{
	int status = -1;

	cr_assert(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* --- where there is no supervisor --- */

Test(attach, no_supervisor_is_said_at_once_and_by_name)
{
	struct ration *ration = NULL;
	struct ration_error error = {""};
	const uint64_t before = clock_boot_ns();

	cr_assert_eq(ration_attach("/nonexistent/x.sock", 0, &ration, &error), RATION_ESUPERVISOR);
	cr_assert_str_eq(error.text, "/nonexistent/x.sock: no supervisor listens here");
	cr_assert_eq(ration_attach("/dev/null", 0, &ration, &error), RATION_ESUPERVISOR);
	cr_assert_eq(ration_attach("/nonexistent/x.sock", 1000000, &ration, NULL),
		     RATION_ESUPERVISOR);
	cr_assert_geq(clock_boot_ns() - before, 1000000, "it waits as long as it may");
	cr_assert_null(ration);
	ration_detach(&ration);
}

Test(attach, a_path_may_be_too_long)
{
	struct ration *ration = NULL;
	struct ration_error error = {""};
	char path[200];

	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	cr_assert_eq(ration_attach(path, 0, &ration, &error), -ENAMETOOLONG);
	cr_assert(strstr(error.text, "longer than a socket's path may be"));
	setenv("RATION_SOCKET", path, 1);
	cr_assert_eq(ration_attach(NULL, 0, &ration, &error), -ENAMETOOLONG);
	cr_assert_null(ration);
}

Test(attach, the_socket_is_sought_in_three_places)
{
	char buf[108], runtime[64] = "/tmp/ration-test-XXXXXX", path[100];
	FILE *file;

	cr_assert(mkdtemp(runtime));
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	unsetenv("RATION_SOCKET");
	cr_assert_str_eq(client_socket_path(buf, sizeof(buf)), "/run/ration/ration.sock");
	snprintf(path, sizeof(path), "%s/ration", runtime);
	cr_assert(mkdir(path, 0700) == 0);
	snprintf(path, sizeof(path), "%s/ration/ration.sock", runtime);
	file = fopen(path, "w");
	cr_assert(file && fclose(file) == 0);
	cr_assert_str_eq(client_socket_path(buf, sizeof(buf)), path);
	setenv("RATION_SOCKET", "/elsewhere", 1);
	cr_assert_str_eq(client_socket_path(buf, sizeof(buf)), "/elsewhere");
	setenv("RATION_SOCKET", "", 1);
	cr_assert_str_eq(client_socket_path(buf, sizeof(buf)), path, "empty is not set");
	cr_assert(unlink(path) == 0);
	*strrchr(path, '/') = '\0';
	cr_assert(rmdir(path) == 0 && rmdir(runtime) == 0);
}

/* --- with one --- */

Test(attach, waits_for_a_supervisor_that_is_still_to_come)
{
	struct scene s;
	pid_t pid;

	rationd_prepare(&s.r, one);
	pid = fork();
	if (pid == 0) {
		struct ration *ration = NULL;

		_exit(ration_attach(s.r.socket, UINT64_C(10000000000), &ration, NULL) == 0 ? 0 : 1);
	}
	rationd_spawn(&s.r, NULL);
	rationd_ready(&s.r);
	cr_assert_eq(wait_for(pid), 0);
	cr_assert_eq(rationd_stop(&s.r), 0);
}

Test(attach, what_is_spent_and_what_is_not_ours_survive_a_new_attachment)
{
	struct scene s;
	struct ration_ticket old;

	rationd_start(&s.r, one, NULL);
	attach(&s);
	for (int i = 0; i < 12; i++)
		cr_assert_eq(take(&s), 0);
	old = s.ticket;
	leave(&s);
	attach(&s);
	cr_assert_eq(ration_cancel(s.ration, &old), -EINVAL, "of the worker that left");
	cr_assert_eq(ration_settle(s.ration, &old, NULL, 0), -EINVAL);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(take(&s), 0);
	cr_assert_eq(take(&s), RATION_DENIED);
	end(&s);
}

/* A child that resolves first, with a new policy in the socket it inherited: it must not take that
 * away from its parent. */
Test(attach, a_child_leaves_its_parents_policy_alone)
{
	struct scene s;
	int go[2];
	pid_t pid;
	char c = 0;

	rationd_start(&s.r, one, NULL);
	attach(&s);
	cr_assert(pipe(go) == 0);
	pid = fork();
	if (pid == 0) {
		const struct ration_key key = {.vendor = "crm", .traffic_class = "interactive"};
		struct ration_handle *handle;
		struct ration_ticket ticket;

		if (read(go[0], &c, 1) != 1)
			_exit(1);
		if (ration_resolve(s.ration, &key, &handle, NULL) != 0)
			_exit(2);
		if (ration_acquire(handle, NULL, 0, &ticket, NULL) != 0 || ticket.n_links != 2)
			_exit(3);
		/* The inherited handle has followed, too. */
		if (ration_acquire(s.handle, NULL, 0, &ticket, NULL) != 0 || ticket.n_links != 2)
			_exit(4);
		_exit(0);
	}
	rationd_write_policy(&s.r, two);
	rationd_reload(&s.r);
	cr_assert(write(go[1], &c, 1) == 1);
	cr_assert_eq(wait_for(pid), 0);
	cr_assert_eq(take(&s), 0);
	cr_assert_eq(s.ticket.n_links, 2, "the parent did not see the new policy");
	cr_assert_eq(client_blob(s.ration)->header->generation, 2);
	close(go[0]);
	close(go[1]);
	end(&s);
}

Test(attach, a_vendor_that_vanishes_is_an_error_for_its_handles)
{
	struct scene s;

	rationd_start(&s.r, one, NULL);
	attach(&s);
	cr_assert_eq(take(&s), 0);
	rationd_write_policy(&s.r, other_vendor);
	rationd_reload(&s.r);
	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &(struct ration_ticket){0}, NULL),
		     RATION_EVENDOR);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), 0, "what is out can be ended");
	rationd_write_policy(&s.r, two);
	rationd_reload(&s.r);
	cr_assert_eq(take(&s), 0, "and when it is back, so is the handle");
	end(&s);
}

/* Workers go on without a supervisor; only who is new needs one. */
Test(attach, nobody_needs_a_supervisor_to_acquire)
{
	struct scene s;
	struct ration_error error = {""};
	pid_t pid;

	rationd_start(&s.r, one, NULL);
	attach(&s);
	cr_assert(kill(s.r.pid, SIGKILL) == 0);
	cr_assert_eq(rationd_wait(&s.r), -SIGKILL);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(take(&s), 0);
		cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), 0);
	}
	cr_assert_eq(take(&s), RATION_DENIED);
	pid = fork();
	if (pid == 0) {
		const struct ration_key key = {.vendor = "crm", .traffic_class = "interactive"};
		struct ration_handle *handle;

		if (ration_resolve(s.ration, &key, &handle, &error) != RATION_ESUPERVISOR)
			_exit(1);
		if (strcmp(error.text, ration_strerror(RATION_ESUPERVISOR)) != 0)
			_exit(2);
		if (take(&s) != RATION_ESUPERVISOR || s.ticket.owner != 0)
			_exit(3);
		ration_detach(&s.ration);
		_exit(0);
	}
	cr_assert_eq(wait_for(pid), 0);
	cr_assert_eq(take(&s), RATION_DENIED, "its child's end is not its own");
	end(&s);
}
