/*
 * supervisor/main.c - rationd
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <sysexits.h>

#include "supervisor/keeper.h"
#include "supervisor/supervisor.h"

/* For people: the form that editors and compilers' users know. */
static void print_message(void *user, const struct policy_message *m)
{
	const char *word = m->severity == POLICY_ERROR ? "error" : "warning";

	(void)user;
	if (m->line > 0)
		fprintf(stderr, "%s:%u:%u: %s: %s\n", m->file, m->line, m->column, word, m->text);
	else
		fprintf(stderr, "%s: %s: %s\n", m->file, word, m->text);
}

/*
 * Everything that could stop a start from the configuration's side, and nothing that leaves a
 * trace.
 */
static int check(const struct options *options)
{
	static const uint64_t any_key[2] = {1, 2};
	struct policy policy;
	const int result =
		policy_compile(options->policy, 1, any_key, print_message, NULL, &policy);

	if (result == -ENOMEM) {
		fprintf(stderr, "rationd: %s: out of memory\n", options->policy);
		return EX_OSERR;
	}
	if (result < 0)
		return EX_CONFIG; /* and the reasons were printed */
	policy_free(&policy);
	return EX_OK;
}

int main(int argc, char **argv)
{
	static struct supervisor supervisor;
	struct options options;
	const int status = options_read(&options, argc, argv);

	if (status != 0 || options.leave)
		return status;
	if (options.check)
		return check(&options);
	log_open();
	if (options.keep)
		return keeper_run(&options, argc, argv);
	return supervisor_run(&supervisor, &options);
}
