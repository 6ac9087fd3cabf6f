/*
 * cli/cli.c - messages and exit statuses, the same for all subcommands
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "client/client.h"

/* One write: lines of several processes do not mix. */
int cli_fail(int status, const char *command, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "ration%s%s: %s\n", command ? " " : "", command ? command : "", text);
	return status;
}

static void print_message(void *user, const struct policy_message *m)
{
	(void)user;
	fputs(m->file, stderr);
	if (m->line > 0)
		fprintf(stderr, ":%u:%u", m->line, m->column);
	fprintf(stderr, ": %s: %s\n", m->severity == POLICY_ERROR ? "error" : "warning", m->text);
}

int cli_adapters(const char *command, const char *directory, struct adapters **ret_adapters)
{
	const int result = adapters_open(directory, print_message, NULL, ret_adapters);

	if (result == 0)
		return EX_OK;
	return cli_fail(result == -ENOMEM ? EX_OSERR : EX_NOINPUT, command, "%s: %s",
			directory ? directory : "adapters", strerror(-result));
}

int cli_close_stdout(int status, const char *command)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return cli_fail(EX_IOERR, command, "cannot write to standard output: %s", strerror(errno));
}

int cli_status_of(int code)
{
	static const struct {
		int code;
		int status;
	} map[] = {
		{0, EX_OK},
		{RATION_DENIED, EX_TEMPFAIL},
		{RATION_CONTENDED, EX_TEMPFAIL},
		{RATION_BUSY, EX_TEMPFAIL},
		{RATION_OVERSIZE, EX_DATAERR},
		{-EINVAL, EX_USAGE},
		{RATION_EVENDOR, EX_CONFIG},
		{RATION_ECLASS, EX_CONFIG},
		{RATION_EUNIT, EX_CONFIG},
		{RATION_EPOLICY, EX_CONFIG},
		{RATION_ESUPERVISOR, EX_UNAVAILABLE},
		{RATION_ELAYOUT, EX_UNAVAILABLE},
		{RATION_ENOTREADY, EX_UNAVAILABLE},
		{RATION_EFULL, EX_UNAVAILABLE},
		{RATION_EWORKERS, EX_UNAVAILABLE},
		{RATION_ECORRUPT, EX_SOFTWARE},
		{-EACCES, EX_NOPERM},
		{-EPERM, EX_NOPERM},
		{-ENOENT, EX_NOINPUT},
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (map[i].code == code)
			return map[i].status;
	return EX_OSERR;
}

void *cli_need(void *pointer)
{
	if (!pointer)
		exit(cli_fail(EX_OSERR, NULL, "out of memory"));
	return pointer;
}

void *cli_alloc(void *old, size_t n, size_t size)
{
	return cli_need(reallocarray(old, n ? n : 1, size));
}

typedef int attach_fn(const char *path, uint64_t wait_ns, struct ration **ret_ration,
		      struct ration_error *ret_error);

static int attach_with(attach_fn *attach, const char *command, const struct cli_target *target,
		       uint64_t wait_ns, struct ration **ret_ration)
{
	struct ration_error error = {0};
	int r;

	if (target->policy && target->socket)
		return cli_fail(EX_USAGE, command, "--policy and --socket exclude each other");
	if (target->policy)
		r = ration_embed(target->policy, ret_ration, &error);
	else
		r = attach(target->socket, wait_ns, ret_ration, &error);
	if (r == 0)
		return EX_OK;
	/* Errors of a policy begin with its name; those of the system do not. */
	if (target->policy && r != RATION_EPOLICY)
		return cli_fail(cli_status_of(r), command, "cannot read %s: %s", target->policy,
				ration_strerror(r));
	return cli_fail(cli_status_of(r), command, "%s",
			error.text[0] ? error.text : ration_strerror(r));
}

int cli_attach(const char *command, const struct cli_target *target, uint64_t wait_ns,
	       struct ration **ret_ration)
{
	return attach_with(ration_attach, command, target, wait_ns, ret_ration);
}

int cli_observe(const char *command, const struct cli_target *target, struct ration **ret_ration)
{
	return attach_with(client_observe, command, target, 0, ret_ration);
}

/* Others may be at it too: that passes. */
static bool try_again(int i, int r)
{
	if (r == RATION_CONTENDED && i > 0)
		sched_yield();
	return r == RATION_CONTENDED && i < 100;
}

static int say_why(int r, struct ration_error *error)
{
	if (r != 0 && error->text[0] == '\0')
		snprintf(error->text, sizeof(error->text), "%s", ration_strerror(r));
	return r;
}

int cli_resolve(struct ration *ration, const struct ration_key *key,
		struct ration_handle **ret_handle, struct ration_error *error)
{
	int r = RATION_CONTENDED;

	error->text[0] = '\0';
	for (int i = 0; try_again(i, r); i++)
		r = ration_resolve(ration, key, ret_handle, error);
	return say_why(r, error);
}

int cli_route(struct ration *ration, const struct ration_key *key, struct ration_route **ret_route,
	      struct ration_error *error)
{
	int r = RATION_CONTENDED;

	error->text[0] = '\0';
	for (int i = 0; try_again(i, r); i++)
		r = ration_route_resolve(ration, key, ret_route, error);
	return say_why(r, error);
}
