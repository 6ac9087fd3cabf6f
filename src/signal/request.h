/*
 * signal/request.h - what a request is going to cost, and what it did cost
 * SPDX-License-Identifier: MIT
 *
 * Pure functions, as signal_read() is one: what an adapter's `requests` say, see ration-adapter(5).
 * Whatever is in a body, they end soon and never fail.
 */
#ifndef RATION_SIGNAL_REQUEST_H
#define RATION_SIGNAL_REQUEST_H

#include "signal/signal.h"

enum { AMOUNTS_MAX = 16 };

/* So many of each unit. Their names are the adapter's. */
struct amounts {
	struct {
		const char *unit;
		int64_t amount; /* not negative */
	} at[AMOUNTS_MAX];
	uint32_t n;
};

/* Not terminated. */
struct signal_request {
	const char *url;
	const char *body; /* NULL: none */
	size_t url_size;
	size_t body_size; /* of one larger than SIGNAL_BODY_MAX nothing is read */
};

/* What the request is for: a model, an endpoint. Terminated; "" if the adapter cannot tell. */
void request_resource(const struct adapter *adapter, const struct signal_request *request,
		      char ret_resource[SIGNAL_TEXT_MAX + 1]);

/*
 * Before it is sent. resource: what request_resource() said, or what the key names; its price depends
 * on that.
 */
void request_estimate(const struct adapter *adapter, const struct signal_request *request,
		      const char *resource, struct amounts *ret_amounts);

/*
 * After it was answered: from a body that is JSON, or a stream of server-sent events, of which for each
 * number the last event counts that has it. Of a longer stream the last SIGNAL_BODY_MAX bytes are
 * enough.
 */
void request_usage(const struct adapter *adapter, const char *body, size_t body_size,
		   const char *resource, struct amounts *ret_amounts);

#endif
