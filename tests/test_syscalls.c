/*
 * tests/test_syscalls.c - no system call on the path, shown by strace
 * SPDX-License-Identifier: MIT
 *
 * This program has a second mode, in which it is a worker: it attaches, and takes, is denied and
 * settles a million times between two system calls that serve as marks. The test runs that under
 * strace and wants nothing between the marks. The worker then has the supervisor reload, takes up
 * the new policy by one acquire, and does it all again.
 */
#include <criterion/criterion.h>
#include <criterion/options.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"
#include "support_rationd.h"

#define TIMES 1000000

TestSuite(syscalls, .timeout = 120);

/* --- the worker --- */

/* A system call that does nothing but be seen: "mark" names it in the trace. */
static void mark(const char *name)
{
	(void)!syscall(SYS_access, name, F_OK);
}

static struct ration_handle *resolve(struct ration *ration, const char *vendor)
{
	const struct ration_key key = {"t", vendor, "interactive", "a", "r"};
	struct ration_handle *handle = NULL;

	return ration_resolve(ration, &key, &handle, NULL) == 0 ? handle : NULL;
}

/* Grants that are settled below, at and above their estimate or cancelled, and denials. 0: all came
 * as they should. */
static int work(struct ration *ration, struct ration_handle *plenty, struct ration_handle *none)
{
	const struct ration_cost estimate = {"requests", 4};
	int wrong = 0;

	for (uint64_t i = 0; i < TIMES; i++) {
		const struct ration_cost actual = {"requests", 2 + i % 4};
		struct ration_ticket ticket;
		struct ration_denial denial;

		wrong |= ration_acquire(plenty, &estimate, 1, &ticket, &denial) != 0;
		wrong |= ticket.n_links != 5 || !ration_ticket_fresh(ration, &ticket);
		if (i % 5 == 0)
			wrong |= ration_cancel(ration, &ticket) != 0;
		else
			wrong |= ration_settle(ration, &ticket, &actual, 1) != 0;
		wrong |= ration_acquire(none, NULL, 0, &ticket, &denial) != RATION_DENIED;
	}
	return wrong;
}

/* Until the supervisor has announced the policy, which it does after it has sent it. */
static void wait_for_policy(struct ration *ration)
{
	while (shm_load(&client_seg(ration)->control->policy_generation) < 2)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static int worker(const char *socket, pid_t supervisor)
{
	struct ration *ration;
	struct ration_handle *plenty, *none;
	struct ration_ticket ticket;
	int wrong;

	if (ration_attach(socket, 0, &ration, NULL) != 0)
		return 10;
	plenty = resolve(ration, "plenty");
	none = resolve(ration, "none");
	if (!plenty || !none || ration_acquire(none, NULL, 0, &ticket, NULL) != 0)
		return 11;
	mark("mark-1");
	wrong = work(ration, plenty, none);
	mark("mark-2");
	if (wrong || kill(supervisor, SIGHUP) != 0)
		return 12;
	wait_for_policy(ration);
	mark("mark-3");
	if (ration_acquire(plenty, NULL, 0, &ticket, NULL) != 0 || ticket.n_links != 5)
		return 13;
	if (ration_acquire(none, NULL, 0, &ticket, NULL) != RATION_DENIED)
		return 14;
	mark("mark-4");
	wrong = work(ration, plenty, none);
	mark("mark-5");
	ration_handle_free(&plenty);
	ration_handle_free(&none);
	ration_detach(&ration);
	return wrong ? 15 : 0;
}

/* --- the test --- */

#define LIMIT(n, numbers) "      - { name: l" n ", " numbers ", scope: [tenant], margin: 0% }\n"
#define POLICY(rate)                                                                               \
	"version: 1\n"                                                                             \
	"classes: [interactive]\n"                                                                 \
	"defaults: { delay: 10s }\n"                                                               \
	"limits:\n"                                                                                \
	"  - { name: all, rate: 900M/s, burst: 100G, scope: [], margin: 0% }\n"                    \
	"vendors:\n"                                                                               \
	"  plenty:\n"                                                                              \
	"    limits:\n" LIMIT("1", rate) LIMIT("2", rate) LIMIT("3", rate)                         \
		LIMIT("4", rate) "  none:\n"                                                       \
				 "    limits:\n" LIMIT("n", "rate: 1/h, burst: 1")

static const char before[] = POLICY("rate: 900M/s, burst: 100G");
static const char after[] = POLICY("rate: 800M/s, burst: 80G");

static char trace[1 << 20];

static void read_trace(const char *path)
{
	FILE *file = fopen(path, "r");
	size_t n;

	cr_assert(file, "strace wrote no trace");
	n = fread(trace, 1, sizeof(trace) - 1, file);
	trace[n] = '\0';
	fclose(file);
}

/* What the trace has between the lines of two marks. */
static char *between(const char *from, const char *to)
{
	char *begin = strstr(trace, from), *end;

	cr_assert(begin, "no %s in the trace:\n%s", from, trace);
	begin = strchr(begin, '\n') + 1;
	end = strstr(begin, to);
	cr_assert(end, "no %s in the trace:\n%s", to, trace);
	while (end > begin && end[-1] != '\n')
		end--;
	return strndup(begin, (size_t)(end - begin));
}

static int run_strace(const struct rationd *r, const char *path)
{
	char self[4096], pid[16];
	const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const pid_t child = n > 0 ? fork() : -1;
	int status;

	cr_assert(child >= 0);
	self[n] = '\0';
	if (child == 0) {
		snprintf(pid, sizeof(pid), "%d", (int)r->pid);
		/* The leak detector traces, too, and two cannot. */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		unsetenv("BXFI_MAP"); /* or Criterion takes the worker for one of its tests */
		execlp("strace", "strace", "-f", "-o", path, self, "--worker", r->socket, pid,
		       NULL);
		_exit(127);
	}
	cr_assert(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Test(syscalls, none_for_a_million_grants_denials_and_settles)
{
	struct rationd r;
	char path[128], *first, *reload, *second;
	int status;

	rationd_start(&r, before, NULL);
	rationd_write_policy(&r, after);
	snprintf(path, sizeof(path), "%s/trace", r.dir);
	status = run_strace(&r, path);
	cr_assert_eq(status, 0, "the worker ended with %d; the supervisor said:\n%s", status,
		     rationd_log(&r));
	read_trace(path);
	first = between("\"mark-1\"", "\"mark-2\"");
	reload = between("\"mark-3\"", "\"mark-4\"");
	second = between("\"mark-4\"", "\"mark-5\"");
	cr_expect_str_eq(first, "", "system calls on the path:\n%s", first);
	cr_expect(strstr(reload, "recvmsg("), "the policy was not received:\n%s", reload);
	cr_expect_str_eq(second, "", "system calls after a policy change:\n%s", second);
	free(first);
	free(reload);
	free(second);
	cr_assert_eq(rationd_stop(&r), 0);
}

/* Criterion runs tests in copies of this program, which it enters in the place of main(): it must
 * find it. */
__attribute__((visibility("default"))) int main(int argc, char *argv[])
{
	struct criterion_test_set *tests;
	int result = 0;

	if (argc == 4 && strcmp(argv[1], "--worker") == 0)
		return worker(argv[2], (pid_t)atoi(argv[3]));
	tests = criterion_initialize();
	if (criterion_handle_args(argc, argv, true))
		result = !criterion_run_all_tests(tests);
	criterion_finalize(tests);
	return result;
}
