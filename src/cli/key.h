/*
 * cli/key.h - a key on the command line
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_KEY_H
#define RATION_CLI_KEY_H

#include "client/client.h"

/* Field by field, NULL for none; `text` holds what the fields point at. */
struct cli_key {
	const char *field[KEY_FIELDS];
	char text[KEY_FIELDS * (RATION_KEY_MAX + 1)];
};

/*
 * TENANT VENDOR CLASS, or one operand TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]]. account, resource: from their options,
 * or NULL. EX_OK, or EX_USAGE after a message.
 */
int key_parse(const char *command, char **operands, int n, const char *account,
	      const char *resource, struct cli_key *ret_key);

/* As libration takes it. */
struct ration_key key_of(const struct cli_key *key);

/* TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]], "-" for none. */
void key_text(const struct cli_key *key, char *buf, size_t size);

#endif
