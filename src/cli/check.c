/*
 * cli/check.c - ration check: errors, warnings, and what a policy comes to
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "cli/args.h"
#include "cli/check_report.h"
#include "cli/cli.h"
#include "policy/policy.h"

static const char command[] = "check";

struct checking {
	json_t *messages; /* NULL: print them */
	unsigned warnings;
};

static const char *severity_name(enum policy_severity severity)
{
	return severity == POLICY_ERROR ? "error" : "warning";
}

static void print_message(const struct policy_message *m)
{
	fputs(m->file, stderr);
	if (m->line > 0)
		fprintf(stderr, ":%u:%u", m->line, m->column);
	fprintf(stderr, ": %s: %s\n", severity_name(m->severity), m->text);
}

static void take_message(void *user, const struct policy_message *m)
{
	struct checking *checking = user;

	checking->warnings += m->severity == POLICY_WARNING;
	if (!checking->messages)
		print_message(m);
	else
		json_array_append_new(checking->messages,
				      json_pack("{s:s, s:s, s:i, s:i, s:s}", "severity",
						severity_name(m->severity), "file", m->file, "line",
						(int)m->line, "column", (int)m->column, "text",
						m->text));
}

/* A policy that was compiled here opens: anything else is a bug of ours, and said so. */
static int report_good(const char *path, const struct policy *policy,
		       const struct checking *checking, json_t *report)
{
	struct blob blob;

	if (!blob_open(policy->blob, policy->size, &blob))
		return cli_fail(EX_SOFTWARE, command, "%s: the compiled policy does not open",
				path);
	if (report) {
		json_object_set_new(report, "policy", check_json(&blob));
		return EX_OK;
	}
	printf("%s is good", path);
	if (checking->warnings > 0)
		printf(", with %u warning%s", checking->warnings,
		       checking->warnings == 1 ? "" : "s");
	puts("\n");
	check_print(&blob);
	return EX_OK;
}

static int check_status(int result)
{
	if (result == -EINVAL)
		return EX_DATAERR;
	return result == -ENOMEM ? cli_fail(EX_OSERR, command, "%s", strerror(ENOMEM)) : EX_NOINPUT;
}

static int check(const char *path, struct checking *checking, json_t *report)
{
	/* The key decides which bucket is whose; nothing of this blob is ever used. */
	static const uint64_t key[2];
	struct policy policy;
	int result = policy_compile(path, 1, key, take_message, checking, &policy);

	if (result < 0)
		return check_status(result);
	result = report_good(path, &policy, checking, report);
	policy_free(&policy);
	return result;
}

/* "good" stands first, whatever follows. */
static int check_as_json(const char *path)
{
	struct checking checking = {.messages = json_array()};
	json_t *report = json_pack("{s:s, s:b, s:O}", "file", path, "good", 0, "messages",
				   checking.messages);
	int status;

	json_decref(checking.messages);
	if (!report)
		return cli_fail(EX_DATAERR, command, "the file's name is not UTF-8: no JSON");
	status = check(path, &checking, report);
	json_object_set_new(report, "good", json_boolean(status == EX_OK));
	json_dumpf(report, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(report);
	return cli_close_stdout(status, command);
}

int cmd_check(int argc, char **argv)
{
	struct checking checking = {0};
	bool json = false;
	const struct arg options[] = {
		{"json", ARG_FLAG, &json, 0, NULL, "one JSON object on standard output"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "FILE",
		.summary =
			"Check a policy file and all it includes; show what each limit comes to.",
		.options = options,
		.min_operands = 1,
		.max_operands = 1,
	};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	if (json)
		return check_as_json(operands[0]);
	return cli_close_stdout(check(operands[0], &checking, NULL), command);
}
