/*
 * cli/init.c - ration init: write a commented starting policy
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"

static const char command[] = "init";

static const char starting_policy[] =
	"# A policy for ration: how much of whose quota may be used by whom.\n"
	"# Check it with 'ration check FILE'; man ration-policy explains every key.\n"
	"version: 1\n"
	"\n"
	"# Traffic classes, most protected first. Every request says which one it belongs to.\n"
	"classes: [recovery, repair, interactive, integration, bulk]\n"
	"\n"
	"defaults:\n"
	"  # A request may reach the vendor this much later than it was permitted.\n"
	"  # A longer delay takes more of each burst: 'ration check' shows how much.\n"
	"  delay: 50ms\n"
	"  # shadow: decide and count, but deny nothing. Then: enforce.\n"
	"  mode: enforce\n"
	"  # Kept off every limit for what others spend. 0% where the numbers are exact.\n"
	"  margin: 10%\n"
	"\n"
	"# Limits over all vendors together.\n"
	"limits: []\n"
	"#  - name: platform\n"
	"#    rate: 2000/s\n"
	"#    burst: 500\n"
	"#    scope: []                     # one bucket for this whole host\n"
	"\n"
	"vendors:\n"
	"  example:                          # put the name of your vendor here\n"
	"    limits:\n"
	"      # What the vendor allows this account in total ...\n"
	"      - name: account-rate\n"
	"        rate: 100/s                 # also 90000/min, 100k/day, 0.5/s\n"
	"        burst: 50                   # at once, after a pause\n"
	"        scope: [vendor]             # all tenants share one bucket\n"
	"\n"
	"      # ... and how much of that one tenant may take.\n"
	"      - name: tenant-rate\n"
	"        rate: 50/s\n"
	"        burst: 25\n"
	"        scope: [tenant, vendor]     # a bucket for each tenant\n"
	"\n"
	"      # Other units than requests: say how many a request takes if it does not.\n"
	"      # - name: tokens\n"
	"      #   unit: tokens\n"
	"      #   rate: 1M/min\n"
	"      #   burst: 50k\n"
	"      #   scope: [vendor]\n"
	"      #   default_cost: 1000\n"
	"\n"
	"# Other numbers for some tenants: by plan, or for one of them alone.\n"
	"plans: {}\n"
	"#  gold:\n"
	"#    example: { tenant-rate: { rate: 80/s, burst: 40 } }\n"
	"tenants: {}\n"
	"#  acme: { plan: gold }\n"
	"\n"
	"# More of the same in other files, next to this one.\n"
	"# include: tenants.d/*.yaml\n";

/* 0 or errno. */
static int write_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		const ssize_t n = write(fd, text, size);

		if (n < 0 && errno != EINTR)
			return errno;
		if (n > 0) {
			text += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/* A file that was there before is never touched; one that could not be written whole is removed. */
static int write_file(const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int error;

	if (fd < 0)
		return cli_fail(EX_CANTCREAT, command, "%s: %s", path, strerror(errno));
	error = write_all(fd, starting_policy, sizeof(starting_policy) - 1);
	if (close(fd) < 0 && error == 0)
		error = errno;
	if (error == 0)
		return EX_OK;
	unlink(path);
	return cli_fail(EX_IOERR, command, "%s: %s", path, strerror(error));
}

int cmd_init(int argc, char **argv)
{
	const struct arg options[] = {{0}};
	const struct args args = {
		.command = command,
		.operands = "[FILE]",
		.summary = "Write a commented starting policy to FILE, or to standard output.\n"
			   "A file that exists is never overwritten.",
		.options = options,
		.min_operands = 0,
		.max_operands = 1,
	};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	if (n == 1 && strcmp(operands[0], "-") != 0)
		return write_file(operands[0]);
	fputs(starting_policy, stdout);
	return cli_close_stdout(EX_OK, command);
}
