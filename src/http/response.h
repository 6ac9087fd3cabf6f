/*
 * http/response.h - as much of a response as adapters read
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_HTTP_RESPONSE_H
#define RATION_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

#include "signal/signal.h"

enum {
	RESPONSE_HEADERS_MAX = 256, /* more are not looked at */
	RESPONSE_KEPT =
		64 * 1024, /* a buffer that has grown larger is not kept for the next request */
};

struct response_buffer {
	char *data;
	size_t used;
	size_t size;
};

/* Of a transfer, and used again. Zeroed: empty. */
struct response {
	struct response_buffer head; /* lines, each with a newline */
	struct response_buffer body;
	bool no_memory; /* something is missing: nothing is read */
};

/* A header line, without its end. */
void response_line(struct response *response, const char *line, size_t size);

/*
 * A piece of the body. Of one that has become longer than is read, the last part stays: of a stream the last events count,
 * and whatever else was cut cannot be read.
 */
void response_piece(struct response *response, const char *data, size_t size);

/* The lines as adapters take them; point into the response. Returns how many. */
size_t response_headers(const struct response *response,
			struct signal_header ret_headers[RESPONSE_HEADERS_MAX]);

/* For the next request. */
void response_clear(struct response *response);
void response_free(struct response *response);

#endif
