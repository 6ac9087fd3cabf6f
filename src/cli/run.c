/*
 * cli/run.c - ration run: send a file of requests, as fast as the quota lets them
 * SPDX-License-Identifier: MIT
 *
 * Puts together what the other run_*.c do: options, input, output, the quota to be asked, workers, report.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/run_loop.h"

static const char command[] = "run";

struct options {
	struct cli_target target;
	uint32_t workers;
	const char *adapters;
	bool retry;
	const char *in;
	const char *out;
	const char *report;
	bool resume;
	bool no_quota;
	bool private_copy;
};

static int parse(int argc, char **argv, struct options *o)
{
	const struct arg table[] = {
		{"adapters", ARG_TEXT, &o->adapters, 0, "DIR",
		 "adapters that come before those shipped"},
		{"policy", ARG_TEXT, &o->target.policy, 0, "FILE",
		 "share this policy among the workers, without a supervisor"},
		{"socket", ARG_TEXT, &o->target.socket, 0, "PATH", "the supervisor's socket"},
		{"workers", ARG_COUNT, &o->workers, RUN_WORKERS_MAX, "N",
		 "worker processes (default: one for each CPU)"},
		{"in", ARG_TEXT, &o->in, 0, "FILE",
		 "requests, one JSON object a line (default: stdin)"},
		{"out", ARG_TEXT, &o->out, 0, "FILE",
		 "results, one JSON object a line (default: stdout)"},
		{"report", ARG_TEXT, &o->report, 0, "FILE", "write a JSON report at the end"},
		{"retry", ARG_FLAG, &o->retry, 0, NULL,
		 "try again as the policy says of each class"},
		{"resume", ARG_FLAG, &o->resume, 0, NULL,
		 "skip requests that --out has a result of"},
		{"no-quota", ARG_FLAG, &o->no_quota, 0, NULL, "send at once, whatever the quota"},
		{"private", ARG_FLAG, &o->private_copy, 0, NULL,
		 "each worker takes the whole of --policy for itself (to compare)"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "",
		.summary = "Send requests as fast as the quota lets them, from several worker "
			   "processes.",
		.options = table,
	};
	char **operands;
	int n;

	return args_parse(&args, argc, argv, &operands, &n);
}

/* Each worker opens it; what is wrong with it is said once. */
static int check_adapters(const char *directory)
{
	struct adapters *adapters = NULL;
	const int status = cli_adapters(command, directory, &adapters);

	adapters_close(&adapters);
	return status;
}

static int check(struct options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (o->target.policy && o->target.socket)
		return cli_fail(EX_USAGE, command, "--policy and --socket exclude each other");
	if (o->private_copy && !o->target.policy)
		return cli_fail(EX_USAGE, command, "--private needs --policy");
	if (o->private_copy && o->no_quota)
		return cli_fail(EX_USAGE, command, "--private and --no-quota exclude each other");
	if (o->resume && !o->out)
		return cli_fail(EX_USAGE, command, "--resume needs --out");
	if (o->workers == 0)
		o->workers = cpus < 1                 ? 1
			     : cpus > RUN_WORKERS_MAX ? RUN_WORKERS_MAX
						      : (uint32_t)cpus;
	return check_adapters(o->adapters);
}

static int open_input(struct run *run, const char *path)
{
	struct stat st;

	run->input.fd = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (run->input.fd < 0)
		return cli_fail(EX_NOINPUT, command, "cannot read %s: %s", path, strerror(errno));
	if (fstat(run->input.fd, &st) < 0)
		return EX_OK;
	if (S_ISDIR(st.st_mode))
		return cli_fail(EX_NOINPUT, command, "cannot read %s: %s", path ? path : "stdin",
				strerror(EISDIR));
	if (S_ISREG(st.st_mode))
		run->input_size = (uint64_t)st.st_size;
	return EX_OK;
}

static int open_report(const char *path, FILE **ret_file)
{
	*ret_file = NULL;
	if (!path)
		return EX_OK;
	*ret_file = fopen(path, "we");
	if (*ret_file)
		return EX_OK;
	return cli_fail(EX_CANTCREAT, command, "cannot write %s: %s", path, strerror(errno));
}

/*
 * The quota that the parent looks at. A policy file is embedded here, before the fork, so that all workers
 * share it; from a supervisor the parent only reads, each worker attaches by itself.
 */
static int open_quota(struct run *run, const struct options *o, struct ration **ret_ration)
{
	int status;

	*ret_ration = NULL;
	if (o->no_quota && !o->target.policy && !o->target.socket)
		return EX_OK;
	status = cli_observe(command, &o->target, ret_ration);
	if (status == EX_OK)
		run->report.quota.blob = client_blob(*ret_ration);
	return status;
}

static int start_workers(struct run *run, const struct options *o, struct ration *ration)
{
	int fds[2];

	run_signal_fds(fds);
	run->fleet.setup = (struct worker_setup){
		.target = o->target,
		.inherited = o->target.policy && !o->private_copy && !o->no_quota ? ration : NULL,
		.no_quota = o->no_quota,
		.journal = run->output.journal,
		.retry = o->retry,
		.adapters = o->adapters,
	};
	memcpy(run->fleet.close_in_child,
	       (int[]){fds[0], fds[1], run->input.fd, o->out ? run->output.fd : -1},
	       sizeof(run->fleet.close_in_child));
	return fleet_start(&run->fleet, o->workers);
}

static int write_report(const struct run *run, const char *path, FILE *file)
{
	json_t *report = report_json(&run->report);
	int failed = json_dumpf(report, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) < 0;

	json_decref(report);
	failed |= fputc('\n', file) == EOF;
	failed |= fflush(file) != 0;
	if (!failed)
		return EX_OK;
	return cli_fail(EX_IOERR, command, "cannot write %s: %s", path, strerror(errno));
}

static int work(struct run *run, const struct options *o, struct ration *ration, FILE *report)
{
	int status = run_signals();

	if (status == EX_OK)
		status = start_workers(run, o, ration);
	if (status != EX_OK) {
		fleet_kill(&run->fleet);
		fleet_close(&run->fleet);
		return status;
	}
	run->progress = isatty(STDERR_FILENO);
	if (run->fleet.setup.inherited)
		(void)tend_begin(&run->tend, ration, o->target.policy);
	status = run_loop(run);
	tend_end(&run->tend);
	run_progress_clear(run);
	report_summary(&run->report);
	if (report && write_report(run, o->report, report) != EX_OK && status <= 1)
		status = EX_IOERR;
	return status;
}

/* Opens the output last: from then on the run may be resumed. */
static int with_output(struct run *run, const struct options *o, struct ration *ration,
		       FILE *report)
{
	uint64_t unknown = 0;
	int status = output_open(&run->output, o->out, o->resume, &run->done, &unknown);

	if (unknown > 0)
		cli_fail(EX_OK, command, "%llu requests of the run before have an unknown fate",
			 (unsigned long long)unknown);
	if (status != EX_OK) {
		output_close(&run->output, false);
		return status;
	}
	status = work(run, o, ration, report);
	output_close(&run->output, !run->output.failed);
	return status;
}

static int with_files(struct run *run, const struct options *o)
{
	struct ration *ration;
	FILE *report = NULL;
	int status = open_quota(run, o, &ration);

	if (status == EX_OK)
		status = open_input(run, o->in);
	if (status == EX_OK)
		status = open_report(o->report, &report);
	if (status == EX_OK)
		status = with_output(run, o, ration, report);
	if (report && fclose(report) != 0 && status <= 1)
		status = cli_fail(EX_IOERR, command, "cannot write %s: %s", o->report,
				  strerror(errno));
	ration_detach(&ration);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct options options = {0};
	int status = parse(argc, argv, &options);
	struct run *run;

	if (status < 0)
		status = check(&options);
	else
		return status;
	if (status != EX_OK)
		return status;
	run = cli_need(calloc(1, sizeof(*run)));
	run->output = (struct output){.fd = -1, .journal = -1};
	status = with_files(run, &options);
	lines_free(&run->input);
	backlog_free(&run->backlog);
	report_free(&run->report);
	idset_free(&run->done);
	idset_free(&run->seen);
	free(run);
	return status;
}
