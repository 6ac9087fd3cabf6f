/*
 * cli/signal_json.h - responses and signals as JSON
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_SIGNAL_JSON_H
#define RATION_CLI_SIGNAL_JSON_H

#include <jansson.h>

#include "signal/signal.h"

/* A response as it was written down. Its texts are the JSON's. */
struct signal_case {
	const char *vendor;
	struct signal_response response;
	struct signal_header *headers;
	size_t room;
};

/* NULL: good; or what is wrong with it. To be freed in any case. */
const char *signal_case_read(const json_t *line, struct signal_case *ret);
void signal_case_free(struct signal_case *c);

/* ration(1) says what is in it. */
json_t *signal_json(const struct signal *signal);

#endif
