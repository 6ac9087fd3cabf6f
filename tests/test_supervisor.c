/*
 * tests/test_supervisor.c - rationd starts, says that it is ready, and leaves nothing behind
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "support_rationd.h"

static const char broken_policy[] =
	"version: 1\n"
	"classes: [interactive]\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: rate, rate: fast, scope: [vendor] }\n"
	"      - { name: other, colour: blue, rate: 1/s, scope: [vendor] }\n";

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void path_in(const struct rationd *r, const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s", r->dir, name);
}

/* Runs to its end with these arguments alone; stdout and stderr go to the log. */
static int run_with(struct rationd *r, const char *const argv[])
{
	const char *program = rationd_program("rationd");
	const pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0) {
		const int log = open(r->log_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(log, 1) >= 0 && dup2(log, 2) >= 0)
			execv(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return wait_child(pid);
}

Test(supervisor, ready_then_stopped_leaves_no_file)
{
	static const int signals[] = {SIGTERM, SIGINT};
	struct rationd r;
	char pid_file[160];

	for (int i = 0; i < 2; i++) {
		struct stat st;

		rationd_start(&r, rationd_plain_policy, NULL);
		path_in(&r, "run/ration.sock.pid", pid_file, sizeof(pid_file));
		cr_expect(is_there(pid_file));
		cr_assert(stat(r.socket, &st) == 0);
		cr_expect(S_ISSOCK(st.st_mode));
		cr_expect_eq(st.st_mode & 07777, 0660);
		kill(r.pid, signals[i]);
		rationd_expect_notice(&r, "STOPPING=1");
		cr_expect_eq(rationd_wait(&r), 0);
		cr_expect(!is_there(r.socket));
		cr_expect(!is_there(pid_file));
		rationd_stop(&r);
	}
}

Test(supervisor, the_directory_is_made_private)
{
	struct rationd r;
	char dir[160];
	struct stat st;

	rationd_start(&r, rationd_plain_policy, NULL);
	path_in(&r, "run", dir, sizeof(dir));
	cr_assert(stat(dir, &st) == 0);
	cr_expect_eq(st.st_mode & 07777, 0750);
	rationd_stop(&r);
}

Test(supervisor, lines_are_key_value)
{
	struct rationd r;

	rationd_start(&r, rationd_plain_policy, NULL);
	cr_expect_eq(strncmp(rationd_log(&r), "rationd: event=ready socket=\"", 29), 0, "%s",
		     r.log);
	cr_expect(strstr(r.log, " limits=1 buckets=65536 workers=256 "), "%s", r.log);
	rationd_stop(&r);
}

/* The journal's own prefix appears only where stderr really is what $JOURNAL_STREAM names. */
Test(supervisor, lines_to_the_journal_carry_a_priority)
{
	struct rationd r;
	char stream[64];
	struct stat st;

	rationd_prepare(&r, broken_policy);
	close(open(r.log_path, O_WRONLY | O_CREAT, 0644));
	cr_assert(stat(r.log_path, &st) == 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	cr_expect_eq(run_with(&r, (const char *[]){"rationd", "--policy", r.policy, "--socket",
						   r.socket, NULL}),
		     EX_CONFIG);
	cr_expect_eq(strncmp(rationd_log(&r), "<3>event=policy-error where=\"", 29), 0, "%s",
		     r.log);
	rationd_stop(&r);
}

Test(supervisor, check_of_a_good_policy)
{
	struct rationd r;
	char dir[160];

	rationd_prepare(&r, rationd_plain_policy);
	cr_expect_eq(run_with(&r, (const char *[]){"rationd", "-n", "--policy", r.policy,
						   "--socket", r.socket, NULL}),
		     0);
	cr_expect_str_empty(rationd_log(&r));
	path_in(&r, "run", dir, sizeof(dir));
	cr_expect(!is_there(dir));
	rationd_stop(&r);
}

Test(supervisor, check_of_a_broken_policy_names_every_place)
{
	struct rationd r;
	char where[160];

	rationd_prepare(&r, broken_policy);
	cr_expect_eq(run_with(&r, (const char *[]){"rationd", "--check", "--policy", r.policy,
						   "--socket", r.socket, NULL}),
		     EX_CONFIG);
	path_in(&r, "policy.yaml:6:", where, sizeof(where));
	cr_expect(strstr(rationd_log(&r), where), "%s", r.log);
	path_in(&r, "policy.yaml:7:", where, sizeof(where));
	cr_expect(strstr(r.log, where), "%s", r.log);
	rationd_stop(&r);
}

Test(supervisor, does_not_start_with_a_broken_or_missing_policy)
{
	struct rationd r;

	rationd_prepare(&r, broken_policy);
	rationd_spawn(&r, NULL);
	cr_expect_eq(rationd_wait(&r), EX_CONFIG);
	cr_expect(strstr(rationd_log(&r), "event=policy-error where=\""), "%s", r.log);
	cr_expect(!is_there(r.socket));
	unlink(r.policy);
	rationd_spawn(&r, NULL);
	cr_expect_eq(rationd_wait(&r), EX_CONFIG);
	cr_expect(!is_there(r.socket));
	rationd_stop(&r);
}

Test(supervisor, only_one_in_a_place)
{
	struct rationd first, second;
	int socket;

	rationd_start(&first, rationd_plain_policy, NULL);
	second = first;
	rationd_spawn(&second, NULL);
	cr_expect_eq(rationd_wait(&second), EX_TEMPFAIL);
	rationd_expect_log(&first, "event=already-running", 1);
	/* The first still serves, and its files are untouched. */
	cr_expect_eq(hello_attach(first.socket, &socket).message.head.type, WIRE_WELCOME);
	cr_expect_eq(rationd_stop(&first), 0);
}

Test(supervisor, replaces_what_a_killed_one_left)
{
	struct rationd r;
	int socket;

	rationd_start(&r, rationd_plain_policy, NULL);
	kill(r.pid, SIGKILL);
	cr_expect_eq(rationd_wait(&r), -SIGKILL);
	cr_expect(is_there(r.socket));
	rationd_spawn(&r, NULL);
	rationd_ready(&r);
	cr_expect_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* A socket without our lock may be a service manager's. */
Test(supervisor, does_not_take_a_socket_from_a_listener)
{
	struct sockaddr_un address;
	struct rationd r;
	char dir[160];
	int fd;

	rationd_prepare(&r, rationd_plain_policy);
	path_in(&r, "run", dir, sizeof(dir));
	address = socket_address(r.socket);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cr_assert(mkdir(dir, 0755) == 0 &&
		  bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		  listen(fd, 8) == 0);
	rationd_spawn(&r, NULL);
	cr_expect_eq(rationd_wait(&r), EX_TEMPFAIL);
	cr_expect(is_there(r.socket));
	rationd_stop(&r);
}

Test(supervisor, does_not_remove_other_files)
{
	struct rationd r;
	char dir[160];

	rationd_prepare(&r, rationd_plain_policy);
	path_in(&r, "run", dir, sizeof(dir));
	cr_assert(mkdir(dir, 0755) == 0);
	close(open(r.socket, O_WRONLY | O_CREAT, 0644));
	rationd_spawn(&r, NULL);
	cr_expect_eq(rationd_wait(&r), EX_CANTCREAT);
	cr_expect(is_there(r.socket));
	rationd_stop(&r);
}

Test(supervisor, cannot_create_where_there_is_no_directory)
{
	struct rationd r;

	rationd_prepare(&r, rationd_plain_policy);
	snprintf(r.socket, sizeof(r.socket), "%s/no/such/ration.sock", r.dir);
	rationd_spawn(&r, NULL);
	cr_expect_eq(rationd_wait(&r), EX_CANTCREAT);
	rationd_stop(&r);
}

/* --- options --- */

Test(supervisor, usage_errors)
{
	static const char *const wrong[][2] = {
		{"--frob", NULL},
		{"--buckets", "0"},
		{"--buckets", "16777217"},
		{"--buckets", "many"},
		{"--workers", "4097"},
		{"--workers", "-1"},
		{"--allow-user", "no user"},
		{"--allow-group", "no group"},
		{"--socket", ""},
		{"--policy", NULL},
		{"extra", NULL},
		{"--allow-user", "4294967295"},
	};
	struct rationd r;

	rationd_prepare(&r, rationd_plain_policy);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *argv[] = {"rationd", wrong[i][0], wrong[i][1], NULL};

		cr_expect_eq(run_with(&r, argv), EX_USAGE, "%s %s", wrong[i][0], wrong[i][1]);
		cr_expect_eq(strncmp(rationd_log(&r), "rationd: ", 9), 0, "%s", r.log);
	}
	memset(r.log, 'x', 200);
	r.log[200] = '\0';
	cr_expect_eq(run_with(&r, (const char *[]){"rationd", "--socket", r.log, NULL}), EX_USAGE);
	rationd_stop(&r);
}

Test(supervisor, help_and_version)
{
	struct rationd r;

	rationd_prepare(&r, rationd_plain_policy);
	cr_expect_eq(run_with(&r, (const char *[]){"rationd", "--help", NULL}), 0);
	cr_expect(strstr(rationd_log(&r), "--allow-group GROUP"), "%s", r.log);
	cr_expect_eq(run_with(&r, (const char *[]){"rationd", "--version", NULL}), 0);
	cr_expect_eq(strncmp(rationd_log(&r), "rationd ", 8), 0, "%s", r.log);
	rationd_stop(&r);
}

Test(supervisor, socket_from_the_environment)
{
	struct rationd r;
	int socket;

	rationd_prepare(&r, rationd_plain_policy);
	r.by_environment = true;
	rationd_spawn(&r, NULL);
	rationd_ready(&r);
	cr_expect_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	rationd_stop(&r);
}

/* --- socket activation --- */

/* As a service manager does it: the socket is descriptor 3, and LISTEN_PID is the process itself. */
static void become_activated(const struct rationd *r, const char *program, int fd)
{
	char pid[16], notify[128];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	snprintf(notify, sizeof(notify), "%s/notify", r->dir);
	setenv("NOTIFY_SOCKET", notify, 1);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(open(r->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), STDERR_FILENO);
	if (fd == 3 ? fcntl(3, F_SETFD, 0) == 0 : dup2(fd, 3) == 3)
		execl(program, "rationd", "--policy", r->policy, (char *)NULL);
	_exit(127);
}

static void start_activated(struct rationd *r, int type)
{
	struct sockaddr_un address;
	const char *program = rationd_program("rationd");
	const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(r->socket, sizeof(r->socket), "%s/activated.sock", r->dir);
	address = socket_address(r->socket);
	cr_assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		  listen(fd, 8) == 0);
	r->pid = fork();
	cr_assert(r->pid >= 0);
	if (r->pid == 0)
		become_activated(r, program, fd);
	close(fd);
}

Test(supervisor, socket_activation)
{
	struct rationd r;
	int socket;

	rationd_prepare(&r, rationd_plain_policy);
	start_activated(&r, SOCK_SEQPACKET);
	rationd_ready(&r);
	cr_expect_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	kill(r.pid, SIGTERM);
	cr_expect_eq(rationd_wait(&r), 0);
	cr_expect(is_there(r.socket), "the socket file is the service manager's");
	rationd_stop(&r);
}

Test(supervisor, activation_with_the_wrong_kind_of_socket)
{
	struct rationd r;

	rationd_prepare(&r, rationd_plain_policy);
	start_activated(&r, SOCK_STREAM);
	cr_expect_eq(rationd_wait(&r), EX_UNAVAILABLE);
	rationd_stop(&r);
}
