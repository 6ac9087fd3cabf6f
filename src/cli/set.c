/*
 * cli/set.c - ration set: put a number over the policy's
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "client/converse.h"

static const char command[] = "set";

static int parse(int argc, char **argv, struct cli_target *target, char ***ret_operands)
{
	const struct arg table[] = {
		{"socket", ARG_TEXT, &target->socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "TENANT VENDOR LIMIT NUMBER",
		.summary = "Put NUMBER in the place of the policy's for a tenant: a rate such as "
			   "50/s, or a burst, an amount or\n"
			   "slots, whichever the limit has. TENANT - is the limit itself, VENDOR - "
			   "a limit of all vendors. It is kept\n"
			   "across reloads, until NUMBER is `default`.",
		.options = table,
		.min_operands = 4,
		.max_operands = 4,
	};
	int count;

	return args_parse(&args, argc, argv, ret_operands, &count);
}

static bool copy(char *to, size_t size, const char *from)
{
	if (strlen(from) >= size)
		return false;
	memcpy(to, from, strlen(from) + 1);
	return true;
}

int cmd_set(int argc, char **argv)
{
	struct wire_set set = {.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_SET}};
	char usual[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct cli_target target = {0};
	struct ration_error error;
	char **words;
	int result = parse(argc, argv, &target, &words);

	if (result >= 0)
		return result;
	if (!copy(set.tenant, sizeof(set.tenant), words[0]) ||
	    !copy(set.vendor, sizeof(set.vendor), words[1]) ||
	    !copy(set.limit, sizeof(set.limit), words[2]) ||
	    !copy(set.number, sizeof(set.number), words[3]))
		return cli_fail(EX_USAGE, command, "a name or number is too long");
	result = converse_set(target.socket ? target.socket
					    : client_socket_path(usual, sizeof(usual)),
			      &set, &error);
	if (result == 0)
		return EX_OK;
	return cli_fail(result == -EINVAL || result == -ENOENT ? EX_DATAERR : cli_status_of(result),
			command, "%s", error.text);
}
