/*
 * cli/ask.h - what a line asks of a route
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_ASK_H
#define RATION_CLI_ASK_H

#include "cli/request.h"

struct asking {
	struct ration_ask ask;
	struct ration_alternative only[RATION_ALTERNATIVES_MAX];
	struct request each[RATION_ALTERNATIVES_MAX]; /* of `alternatives`: their costs */
};

/* Points into itself and into the request. */
void ask_of(const struct request *request, struct asking *ret_asking);

/* request_key_text(), and the names of the alternatives: what waits one after the other. */
size_t ask_key_text(const struct request *request, char *buf, size_t size);
enum {
	ASK_KEY_TEXT =
		REQUEST_KEY_TEXT + RATION_ALTERNATIVES_MAX * (RATION_NAME_MAX + RATION_KEY_MAX + 2),
};

#endif
