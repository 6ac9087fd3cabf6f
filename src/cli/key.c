/*
 * cli/key.c - a key on the command line
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/key.h"

static int key_error(const char *command)
{
	return cli_fail(
		EX_USAGE, command,
		"a key is TENANT VENDOR CLASS, or TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]]");
}

/* Splits key->text; false: too few or too many fields, or an empty one. */
static bool split(struct cli_key *key)
{
	char *rest = key->text;
	int n = 0;

	while (rest && n < KEY_FIELDS) {
		char *field = strsep(&rest, "/");

		if (field[0] == '\0')
			return false;
		key->field[n++] = field;
	}
	return !rest && n > KEY_CLASS;
}

int key_parse(const char *command, char **operands, int n, const char *account,
	      const char *resource, struct cli_key *ret_key)
{
	*ret_key = (struct cli_key){0};
	if (n == 1) {
		if (strlen(operands[0]) >= sizeof(ret_key->text))
			return key_error(command);
		strcpy(ret_key->text, operands[0]);
		if (!split(ret_key))
			return key_error(command);
	} else if (n == 3) {
		for (int i = 0; i < n; i++)
			ret_key->field[i] = operands[i];
	} else {
		return key_error(command);
	}
	if (account)
		ret_key->field[KEY_ACCOUNT] = account;
	if (resource)
		ret_key->field[KEY_RESOURCE] = resource;
	return EX_OK;
}

struct ration_key key_of(const struct cli_key *key)
{
	return (struct ration_key){
		.tenant = key->field[KEY_TENANT],
		.vendor = key->field[KEY_VENDOR],
		.traffic_class = key->field[KEY_CLASS],
		.account = key->field[KEY_ACCOUNT],
		.resource = key->field[KEY_RESOURCE],
	};
}

static const char *or_dash(const char *text)
{
	return text && text[0] ? text : "-";
}

void key_text(const struct cli_key *key, char *buf, size_t size)
{
	const char *const *f = key->field;
	const char *account = or_dash(f[KEY_ACCOUNT]), *resource = or_dash(f[KEY_RESOURCE]);
	bool has_resource = strcmp(resource, "-") != 0;
	bool has_account = has_resource || strcmp(account, "-") != 0;

	snprintf(buf, size, "%s/%s/%s%s%s%s%s", or_dash(f[KEY_TENANT]), or_dash(f[KEY_VENDOR]),
		 or_dash(f[KEY_CLASS]), has_account ? "/" : "", has_account ? account : "",
		 has_resource ? "/" : "", has_resource ? resource : "");
}
