/*
 * cli/signal_json.h - responses and signals as JSON
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_SIGNAL_JSON_H
#define RATION_CLI_SIGNAL_JSON_H

#include <jansson.h>

#include "signal/request.h"

/* A request, a response, or both, as they were written down. Their texts are the JSON's. */
struct signal_case {
	const char *vendor;
	bool has_request;
	bool has_response;
	struct signal_request request;
	struct signal_response response;
	struct signal_header *headers;
	size_t room;
};

/* NULL: good; or what is wrong with it. To be freed in any case. */
const char *signal_case_read(const json_t *line, struct signal_case *ret);
void signal_case_free(struct signal_case *c);

/* ration(1) says what is in it. */
json_t *signal_json(const struct signal *signal);

/* The same of the request: into an object. */
void signal_json_request(const struct adapter *adapter, const struct signal_case *c,
			 json_t *object);

#endif
