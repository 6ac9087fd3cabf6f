/*
 * cli/block.c - ration block, ration unblock: stop a tenant's requests to a vendor by hand, and let them through again
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/words.h"
#include "client/gate.h"

/* "-" is none, as in a key. */
static const char *given(const char *text)
{
	return text && strcmp(text, "-") != 0 ? text : "";
}

static bool fits(const struct gate_key *key)
{
	return strlen(key->tenant) <= RATION_KEY_MAX && strlen(key->account) <= RATION_KEY_MAX &&
	       strlen(key->resource) <= RATION_KEY_MAX && strlen(key->vendor) <= RATION_NAME_MAX;
}

static struct gate_key key_of(char **operands, int n, const char *account)
{
	return (struct gate_key){
		.tenant = given(operands[0]),
		.vendor = given(operands[1]),
		.resource = given(n > 2 ? operands[2] : NULL),
		.account = given(account),
	};
}

static int attach(const char *command, const struct cli_target *target, const struct gate_key *key,
		  struct ration **ret_ration)
{
	if (!fits(key))
		return cli_fail(EX_USAGE, command, "a name is too long");
	return cli_attach(command, target, 0, ret_ration);
}

static int fail(const char *command, const struct gate_key *key, int result)
{
	if (result == RATION_EVENDOR)
		return cli_fail(EX_DATAERR, command, "no vendor '%s' in the policy", key->vendor);
	return cli_fail(cli_status_of(result), command, "%s", ration_strerror(result));
}

int cmd_block(int argc, char **argv)
{
	static const char command[] = "block";
	struct cli_target target = {0};
	const char *account = NULL;
	uint64_t length = 0;
	const struct arg options[] = {
		{"for", ARG_DURATION, &length, 0, "TIME", "for so long: 30s, 10m, 1h"},
		{"account", ARG_TEXT, &account, 0, "A",
		 "whoever uses this account of the vendor, whatever the tenant"},
		{"socket", ARG_TEXT, &target.socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "TENANT VENDOR [RESOURCE]",
		.summary = "Let no request of a tenant to a vendor pass (or only none for a "
			   "resource of it), for a time.",
		.options = options,
		.min_operands = 2,
		.max_operands = 3,
	};
	struct ration *ration = NULL;
	struct gate_key key;
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	if (length == 0)
		return cli_fail(EX_USAGE, command, "for how long? --for TIME");
	key = key_of(operands, n, account);
	status = attach(command, &target, &key, &ration);
	if (status != EX_OK)
		return status;
	status = gate_close_by_hand(ration, &key, length);
	ration_detach(&ration);
	return status == 0 ? EX_OK : fail(command, &key, status);
}

int cmd_unblock(int argc, char **argv)
{
	static const char command[] = "unblock";
	struct cli_target target = {0};
	const char *account = NULL;
	const struct arg options[] = {
		{"account", ARG_TEXT, &account, 0, "A", "the block of this account of the vendor"},
		{"socket", ARG_TEXT, &target.socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "TENANT VENDOR [RESOURCE]",
		.summary = "Lift what blocks a tenant's requests to a vendor, the breaker and "
			   "blocks of its resources too\n"
			   "(or only that of one resource). Says how many there were.",
		.options = options,
		.min_operands = 2,
		.max_operands = 3,
	};
	struct ration *ration = NULL;
	struct gate_key key;
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	key = key_of(operands, n, account);
	status = attach(command, &target, &key, &ration);
	if (status != EX_OK)
		return status;
	status = gate_lift_by_hand(ration, &key);
	ration_detach(&ration);
	if (status < 0)
		return fail(command, &key, status);
	printf("%d lifted\n", status);
	return cli_close_stdout(EX_OK, command);
}
