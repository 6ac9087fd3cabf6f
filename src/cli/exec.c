/*
 * cli/exec.c - ration exec: run a command that holds a lease
 * SPDX-License-Identifier: MIT
 *
 * The command is a child: the lease is this process's, and ends with it however it dies. The command does not outlive
 * it, or it would run on without what it was given; what the command itself leaves behind is not our business.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/key.h"
#include "cli/words.h"
#include "client/memory.h"
#include "client/singleton.h"

static const char command[] = "exec";

/* As shells say it. */
enum { CANNOT_RUN = 126, NOT_FOUND = 127, SIGNALLED = 128 };

struct options {
	struct cli_target target;
	const char *account;
	const char *resource;
	const char *singleton;
	struct arg_costs costs;
	uint64_t wait_ns;
	struct cli_key key;
	char **command;
};

static int parse(int argc, char **argv, struct options *o)
{
	const struct arg table[] = {
		{"singleton", ARG_TEXT, &o->singleton, 0, "NAME",
		 "only if nobody else on this host runs one of this name"},
		{"wait", ARG_DURATION, &o->wait_ns, 0, "TIME", "wait for it this long, such as 5m"},
		{"account", ARG_TEXT, &o->account, 0, "A", "whose credential or project"},
		{"resource", ARG_TEXT, &o->resource, 0, "R", "a model, or a family of endpoints"},
		{"cost", ARG_COSTS, &o->costs, 0, "UNIT=N", "how much of a unit; may be repeated"},
		{"socket", ARG_TEXT, &o->target.socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "TENANT VENDOR CLASS -- CMD [ARG...]",
		.summary = "Run CMD once the key's quota admits it, holding its leases until CMD "
			   "ends. The exit status is\n"
			   "CMD's, or 75: not admitted in time, or the name is taken; 78: not in "
			   "the policy; 69: no supervisor;\n"
			   "126, 127: CMD cannot be run, was not found.",
		.options = table,
		.min_operands = 4,
		.max_operands = INT32_MAX,
	};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	if (o->singleton && (o->singleton[0] == '\0' || strlen(o->singleton) > RATION_KEY_MAX))
		return cli_fail(EX_USAGE, command, "--singleton needs a name of 1 to %d bytes",
				RATION_KEY_MAX);
	o->command = operands + 3;
	status = key_parse(command, operands, 3, o->account, o->resource, &o->key);
	return status == EX_OK ? -1 : status;
}

/* --- the command --- */

/* What the terminal, a service manager or an operator may send us and means for the command. */
static const int forwarded[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
				SIGUSR2, SIGCONT, SIGWINCH, SIGALRM};

static sigset_t signals_handled(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&set, forwarded[i]);
	return set;
}

static void run_child(char **argv, const sigset_t *signals, pid_t parent, int report)
{
	int error;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent) {
		sigprocmask(SIG_SETMASK, signals, NULL);
		execvp(argv[0], argv);
	}
	error = errno;
	(void)!write(report, &error, sizeof(error));
	_exit(NOT_FOUND);
}

/* 0: it runs; or the errno of why it does not. */
static int spawn(char **argv, const sigset_t *signals, pid_t *ret_pid)
{
	const pid_t self = getpid();
	int report[2], error = 0;

	if (pipe2(report, O_CLOEXEC) < 0)
		return errno;
	*ret_pid = fork();
	if (*ret_pid == 0)
		run_child(argv, signals, self, report[1]);
	if (*ret_pid < 0)
		error = errno;
	close(report[1]);
	while (*ret_pid > 0 && read(report[0], &error, sizeof(error)) < 0 && errno == EINTR)
		;
	close(report[0]);
	if (*ret_pid > 0 && error)
		waitpid(*ret_pid, NULL, 0);
	return error;
}

/* Pass signals on until the command ends; returns how it did. The terminal has sent its own to the command too. */
static int attend(pid_t pid, const sigset_t *handled)
{
	int status;

	for (;;) {
		siginfo_t info;
		const int number = sigwaitinfo(handled, &info);

		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (number > 0 && number != SIGCHLD && info.si_code != SI_KERNEL)
			kill(pid, number);
	}
}

/* *ret_signal: what it died of, or 0. */
static int run(char **argv, int *ret_signal)
{
	const sigset_t handled = signals_handled();
	sigset_t before;
	pid_t pid = -1;
	int error, status;

	signal(SIGCHLD, SIG_DFL); /* or its end would not be told */
	sigprocmask(SIG_BLOCK, &handled, &before);
	error = spawn(argv, &before, &pid);
	if (error)
		return cli_fail(error == ENOENT ? NOT_FOUND : CANNOT_RUN, command, "%s: %s",
				argv[0], strerror(error));
	status = attend(pid, &handled);
	*ret_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return WIFSIGNALED(status) ? SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
}

/* --- what it needs --- */

static int take_name(const struct options *o, struct ration *ration, uint64_t deadline_ns,
		     struct ration_ticket *ticket)
{
	struct singleton_holder holder;
	char age[40];
	const int result = singleton_take(ration, o->singleton, deadline_ns, ticket, &holder);

	if (result == RATION_DENIED && holder.pid == 0)
		return cli_fail(EX_TEMPFAIL, command, "others wait for '%s'", o->singleton);
	if (result == RATION_DENIED)
		return cli_fail(EX_TEMPFAIL, command, "'%s' is run by process %u since %s",
				o->singleton, holder.pid,
				words_duration(holder.since_ns, age, sizeof(age)));
	if (result != 0)
		return cli_fail(cli_status_of(result), command, "%s", ration_strerror(result));
	return EX_OK;
}

static int take_quota(const struct options *o, struct ration *ration, uint64_t deadline_ns,
		      struct ration_ticket *ticket)
{
	const struct ration_key key = key_of(&o->key);
	struct ration_cost costs[ARG_COSTS_MAX];
	const size_t n = args_costs(&o->costs, costs);
	struct ration_handle *handle;
	struct ration_denial denial;
	struct ration_error error;
	char text[1024];
	int result = cli_resolve(ration, &key, &handle, &error);

	if (result != 0)
		return cli_fail(cli_status_of(result), command, "%s", error.text);
	result = ration_acquire_until(handle, n ? costs : NULL, n, deadline_ns, ticket, &denial);
	if (result == RATION_DENIED || result == RATION_OVERSIZE)
		ration_denial_text(&denial, handle, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "%s", ration_strerror(result));
	ration_handle_free(&handle);
	return result == 0 ? EX_OK : cli_fail(cli_status_of(result), command, "%s", text);
}

/* First the name, which may be long in coming, then the quota, which is spent from then on. */
static int run_holding(const struct options *o, struct ration *ration, uint64_t deadline_ns,
		       int *ret_signal)
{
	struct ration_ticket name = {0}, quota = {0};
	int status = EX_OK;

	if (o->singleton)
		status = take_name(o, ration, deadline_ns, &name);
	if (status == EX_OK)
		status = take_quota(o, ration, deadline_ns, &quota);
	if (status == EX_OK)
		status = run(o->command, ret_signal);
	if (quota.owner)
		(void)ration_release(ration, &quota);
	if (name.owner)
		(void)ration_release(ration, &name);
	return status;
}

/* Whoever waits for us is to see how the command ended: so end likewise. */
static void die_of(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	signal(number, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	/* One core file is enough. */
	prctl(PR_SET_DUMPABLE, 0);
	raise(number);
}

int cmd_exec(int argc, char **argv)
{
	struct options options = {0};
	uint64_t deadline_ns;
	struct ration *ration;
	int number = 0, status = parse(argc, argv, &options);

	if (status >= 0)
		return status;
	deadline_ns = clock_boot_ns() + options.wait_ns;
	status = cli_attach(command, &options.target, options.wait_ns, &ration);
	if (status != EX_OK)
		return status;
	status = run_holding(&options, ration, deadline_ns, &number);
	ration_detach(&ration);
	if (number)
		die_of(number);
	return status;
}
