/*
 * tests/test_faults.c - rationd killed, or refused, at any one of its system calls
 * SPDX-License-Identifier: MIT
 *
 * strace kills rationd at the Nth call of a kind, or has that call fail, in the middle of a story: a start, workers that come,
 * take and die, a reload. What runs it then does what a service manager does, and the story goes on. At its end nothing
 * may be lost and nothing given twice; a start that fails must say why.
 *
 * All of them together take some minutes, so a few are drawn. $RATION_FAULTS_FOR: go on for so many seconds; 0: try each.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "support_manager.h"
#include "support_random.h"

#define DRAWN       16
#define AMOUNT      150
#define PATIENCE_NS UINT64_C(20000000000)

TestSuite(faults, .timeout = 3600);

#define POLICY(amount)                                                                             \
	"version: 1\n"                                                                             \
	"classes: [bulk]\n"                                                                        \
	"defaults: { delay: 0ms }\n"                                                               \
	"vendors:\n"                                                                               \
	"  crm:\n"                                                                                 \
	"    limits:\n"                                                                            \
	"      - { name: hour, kind: rolling, amount: " amount                                     \
	", period: 1h, scope: [vendor], margin: 0% }\n"                                            \
	"  queue:\n"                                                                               \
	"    limits:\n"                                                                            \
	"      - { name: slots, kind: concurrency, slots: 2, scope: [vendor] }\n"

static const struct ration_key crm = {.tenant = "t", .vendor = "crm", .traffic_class = "bulk"};
static const struct ration_key queue = {.tenant = "t", .vendor = "queue", .traffic_class = "bulk"};

/* --- the story --- */

static struct {
	unsigned told, taken_over, refused;
} figures;

struct story {
	struct rationd r;
	pid_t manager;
	struct ration *ration;
	struct ration_handle *crm, *queue;
	char title[160]; /* what is done to it */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static bool manager_ended(const struct story *s)
{
	siginfo_t info = {.si_pid = 0};

	return waitid(P_PID, (id_t)s->manager, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == s->manager;
}

/* A start may be refused, in words; nothing that was ready may end. */
static bool was_refused(struct story *s)
{
	if (!manager_ended(s))
		return false;
	cr_expect(!strstr(rationd_log(&s->r), "event=ready"), "%s: it ended\n%s", s->title,
		  s->r.log);
	return true;
}

static struct ration *attach(struct story *s)
{
	const uint64_t end = now_ns() + PATIENCE_NS;
	struct ration *ration = NULL;
	struct ration_error error = {.text = ""};

	while (now_ns() < end && !was_refused(s)) {
		if (ration_attach(s->r.socket, 0, &ration, &error) == 0)
			return ration;
		pause_a_little();
	}
	cr_assert(was_refused(s), "%s: nobody may attach: %s\n%s", s->title, error.text,
		  rationd_log(&s->r));
	return NULL;
}

static bool acquire(struct ration_handle *handle, struct ration_ticket *ticket)
{
	struct ration_denial denial;

	return ration_acquire(handle, NULL, 0, ticket, &denial) == 0;
}

static bool take(struct story *s)
{
	struct ration_ticket ticket;

	return acquire(s->crm, &ticket) && ration_settle(s->ration, &ticket, NULL, 0) == 0;
}

/* A process that attaches, takes one, and dies holding a slot. */
static void somebody_dies(struct story *s)
{
	const pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0) {
		struct ration_handle *handle[2] = {NULL};
		struct ration_ticket ticket;
		struct ration *ration = attach(s);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!ration || ration_resolve(ration, &crm, &handle[0], NULL) != 0 ||
		    ration_resolve(ration, &queue, &handle[1], NULL) != 0 ||
		    !acquire(handle[0], &ticket) || !acquire(handle[1], &ticket))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	cr_assert_eq(wait_child(pid), -SIGKILL, "%s: it was not let in\n%s", s->title,
		     rationd_log(&s->r));
}

/* The reload itself may be what fails: then the operator repeats it. */
static void reload(struct story *s)
{
	const uint64_t end = now_ns() + PATIENCE_NS;

	rationd_write_policy(&s->r, POLICY("150"));
	while (!strstr(rationd_log(&s->r), "event=reloaded")) {
		const pid_t pid = manager_pid(&s->r);

		cr_assert_lt(now_ns(), end, "%s: no reload\n%s", s->title, s->r.log);
		if (pid > 0)
			kill(pid, SIGHUP);
		for (int i = 0; i < 40 && !strstr(rationd_log(&s->r), "event=reloaded"); i++)
			pause_a_little();
	}
}

static void take_all(struct story *s, int taken)
{
	const uint64_t end = now_ns() + PATIENCE_NS;

	while (taken < AMOUNT) {
		cr_assert_lt(now_ns(), end, "%s: only %d can be had\n%s", s->title, taken,
			     rationd_log(&s->r));
		if (take(s))
			taken++;
		else
			pause_a_little();
	}
	for (int i = 0; i < 10; i++)
		cr_assert(!take(s), "%s: more than all", s->title);
}

static void slots_are_back(struct story *s)
{
	const uint64_t end = now_ns() + PATIENCE_NS;
	struct ration_ticket tickets[3];
	int n = 0;

	while (n < 2) {
		cr_assert_lt(now_ns(), end, "%s: a dead worker's slot is not given back\n%s",
			     s->title, rationd_log(&s->r));
		if (acquire(s->queue, &tickets[n]))
			n++;
		else
			pause_a_little();
	}
	cr_expect(!acquire(s->queue, &tickets[2]), "%s: a third slot of two", s->title);
	while (n > 0)
		cr_expect_eq(ration_cancel(s->ration, &tickets[--n]), 0);
}

/* Three may attach: one did, and one is dead. */
static void table_is_whole(struct story *s)
{
	struct ration *others[2];

	for (int i = 0; i < 2; i++)
		others[i] = attach(s);
	for (int i = 0; i < 2; i++)
		ration_detach(&others[i]);
}

static void begin(struct story *s, const char *const before[])
{
	static const char *const three[] = {"--workers", "3", NULL};

	rationd_prepare(&s->r, POLICY("100"));
	s->r.more = three;
	s->manager = fork();
	cr_assert(s->manager >= 0);
	if (s->manager == 0)
		manager_serve(&s->r, before, 3);
}

static int end(struct story *s)
{
	int status;

	ration_handle_free(&s->crm);
	ration_handle_free(&s->queue);
	ration_detach(&s->ration);
	kill(s->manager, SIGTERM);
	status = wait_child(s->manager);
	cr_expect(!strstr(rationd_log(&s->r), "Sanitizer"), "%s: %s", s->title, s->r.log);
	s->r.pid = 0;
	rationd_stop(&s->r);
	return status;
}

static void tell(struct story *s, const char *const before[])
{
	int status;

	begin(s, before);
	s->ration = attach(s);
	figures.told++;
	if (!s->ration) {
		figures.refused++;
		cr_expect(strstr(rationd_log(&s->r), "event=failed") || strstr(s->r.log, "error"),
			  "%s: it does not say why:\n%s", s->title, s->r.log);
		end(s);
		return;
	}
	cr_assert_eq(ration_resolve(s->ration, &crm, &s->crm, NULL), 0);
	cr_assert_eq(ration_resolve(s->ration, &queue, &s->queue, NULL), 0);
	for (int i = 0; i < 30; i++)
		cr_assert(take(s));
	somebody_dies(s);
	reload(s);
	take_all(s, 31);
	slots_are_back(s);
	table_is_whole(s);
	figures.taken_over += strstr(rationd_log(&s->r), "event=took-over") != NULL;
	/* It may also be killed while it stops. */
	status = end(s);
	cr_expect(status == 0 || status == 100 + SIGKILL, "%s: status %d\n%s", s->title, status,
		  s->r.log);
}

/* --- faults --- */

static const struct {
	const char *call;
	const char *errors[3];
} failures[] = {
	{"accept4", {"EMFILE", "EINTR", "ECONNABORTED"}},
	{"bind", {"EACCES"}},
	{"epoll_create1",
	 {"EMFILE"}}, /* not epoll_ctl: sd-event aborts where the kernel never fails */
	{"epoll_wait", {"EINTR"}},
	{"fallocate", {"ENOSPC"}},
	{"fchmod", {"EPERM"}},
	{"fcntl", {"EMFILE"}},
	{"flock", {"EINTR", "ENOLCK"}},
	{"getrandom", {"EINTR"}},
	{"getsockopt", {"ENOBUFS"}},
	{"listen", {"EOPNOTSUPP"}},
	{"memfd_create", {"ENOMEM", "EMFILE"}},
	{"mkdir", {"EACCES"}},
	{"mmap", {"ENOMEM"}},
	{"newfstatat", {"EACCES", "ENOMEM"}},
	{"open", {"EMFILE", "ENFILE", "EINTR"}},
	{"openat", {"EMFILE", "EACCES", "EINTR"}},
	{"poll", {"EINTR"}},
	{"pread64", {"EIO", "EINTR"}},
	{"read", {"EIO", "EINTR"}},
	{"recvfrom", {"EINTR"}},
	{"recvmsg", {"EINTR", "ENOMEM"}},
	{"sendmsg", {"ENOBUFS", "EINTR"}},
	{"sendto", {"ENOBUFS"}},
	{"setsockopt", {"ENOBUFS"}},
	{"signalfd4", {"EMFILE"}},
	{"socket", {"EMFILE"}},
	{"timerfd_create", {"EMFILE"}},
	{"timerfd_settime", {"ENOMEM"}},
	{"write", {"ENOSPC", "EINTR"}},
};

/* Calls of one kind: so many come before main() does anything, before rationd is ready, and in all. */
struct calls {
	char name[32];
	unsigned before, ready, all;
};

struct trace {
	struct calls calls[96];
	unsigned n;
};

static struct calls *calls_of(struct trace *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (strcmp(t->calls[i].name, name) == 0)
			return &t->calls[i];
	}
	cr_assert_lt(t->n, 96);
	snprintf(t->calls[t->n].name, sizeof(t->calls[0].name), "%s", name);
	return &t->calls[t->n++];
}

/* "PID name(...": the first that blocks signals is rationd's own first one. */
static void read_trace(const char *path, struct trace *t)
{
	FILE *file = fopen(path, "r");
	char line[1024], name[32];
	bool begun = false, ready = false;

	cr_assert(file, "%s", path);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*d %31[a-z0-9_](", name) != 1)
			continue;
		begun |= strstr(line, "SIG_BLOCK, [HUP INT TERM]") != NULL;
		calls_of(t, name)->all++;
		calls_of(t, name)->before += !begun;
		calls_of(t, name)->ready += !ready;
		ready |= strstr(line, "READY=1") != NULL;
	}
	fclose(file);
	cr_assert(begun && ready, "no trace of rationd's start");
}

/* As it is installed: a sanitizer ends a program that is out of memory, and makes system calls of its own. */
static void take_plain_build(void)
{
	const char *build = getenv("RATION_BUILD");
	char text[1024];
	char *end;

	snprintf(text, sizeof(text), "%s", build && *build ? build : "build");
	end = strstr(text, "/asan");
	if (end && end[strlen("/asan")] == '\0')
		*end = '\0';
	setenv("RATION_BUILD", text, 1);
}

static struct trace plain_trace(void)
{
	struct story s = {.title = "nothing fails"};
	struct trace trace = {.n = 0};
	char path[] = "/tmp/ration-trace-XXXXXX";
	const int fd = mkstemp(path);
	const char *const before[] = {"strace", "-f", "-qq", "-o", path, NULL};

	cr_assert(fd >= 0);
	tell(&s, before);
	read_trace(path, &trace);
	close(fd);
	unlink(path);
	return trace;
}

static void try(const char *call, unsigned when, const char *fault)
{
	struct story s = {.ration = NULL};
	char only[64], inject[128];
	const char *const before[] = {"strace", "-f", "-qq", "-o",   "/dev/null",
				      "-e",     only, "-e",  inject, NULL};

	snprintf(s.title, sizeof(s.title), "%s at call %u of %s (RATION_SEED=%llu)", fault, when,
		 call, (unsigned long long)seed_used);
	snprintf(only, sizeof(only), "trace=%s", call);
	snprintf(inject, sizeof(inject), "inject=%s:%s:when=%u", call, fault, when);
	tell(&s, before);
}

static void try_failure(unsigned i, unsigned when, unsigned e)
{
	char fault[32];

	snprintf(fault, sizeof(fault), "error=%s", failures[i].errors[e]);
	try(failures[i].call, when, fault);
}

/* Any kind as likely as another; the calls of a start, which are the most, as likely as those after it. */
static bool draw_call(const struct calls *calls, unsigned *ret_when)
{
	const unsigned from = below(2) ? calls->ready : calls->before;
	const unsigned until = from == calls->ready ? calls->all : calls->ready;

	if (from >= until || strncmp(calls->name, "exit", 4) == 0)
		return false;
	*ret_when = from + 1 + (unsigned)below(until - from);
	return true;
}

static void try_drawn(struct trace *t)
{
	const unsigned n = sizeof(failures) / sizeof(failures[0]);
	const bool kills = below(2);
	const struct calls *calls;
	unsigned i, when, e = 0;

	do {
		i = (unsigned)below(kills ? t->n : n);
		calls = kills ? &t->calls[i] : calls_of(t, failures[i].call);
	} while (!draw_call(calls, &when));
	while (!kills && e < 2 && failures[i].errors[e + 1] && below(2))
		e++;
	if (kills)
		try(calls->name, when, "signal=KILL");
	else
		try_failure(i, when, e);
}

static unsigned try_each(struct trace *t)
{
	unsigned tried = 0;

	for (unsigned i = 0; i < t->n; i++) {
		const struct calls *calls = &t->calls[i];

		for (unsigned k = calls->before + 1; k <= calls->all; k++, tried++)
			try(calls->name, k, "signal=KILL");
	}
	for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		const struct calls *calls = calls_of(t, failures[i].call);

		for (unsigned k = calls->before + 1; k <= calls->all; k++) {
			for (unsigned e = 0; e < 3 && failures[i].errors[e]; e++, tried++)
				try_failure(i, k, e);
		}
	}
	return tried;
}

Test(faults, any_call_of_a_supervisor)
{
	const char *seconds = getenv("RATION_FAULTS_FOR");
	const uint64_t until = now_ns() + strtoull(seconds ? seconds : "0", NULL, 10) * 1000000000;
	struct trace trace;
	unsigned tried = 0;

	seed(now_ns());
	take_plain_build();
	trace = plain_trace();
	if (seconds && strcmp(seconds, "0") == 0)
		tried = try_each(&trace);
	for (; !seconds ? tried < DRAWN : now_ns() < until; tried++)
		try_drawn(&trace);
	cr_assert_gt(tried, 0);
	fprintf(stderr,
		"figures: %u faults, %u starts refused, %u supervisors taken over "
		"(RATION_SEED=%llu)\n",
		tried, figures.refused, figures.taken_over, (unsigned long long)seed_used);
}
