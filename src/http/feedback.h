/*
 * http/feedback.h - what a request is going to cost, and what its response says
 * SPDX-License-Identifier: MIT
 *
 * By the adapter of the vendor that the request's handle names. A request without a handle has none.
 */
#ifndef RATION_HTTP_FEEDBACK_H
#define RATION_HTTP_FEEDBACK_H

#include <ration/http.h>

#include "http/response.h"
#include "signal/adapter.h"
#include "signal/request.h"

struct transfer;

/* What a response said. */
struct feedback {
	bool read; /* else nothing is in here */
	struct signal signal;
	struct ration_signal told;
	struct ration_cost actual[AMOUNTS_MAX];
	size_t n_actual;
};

/*
 * The costs that a request names, and after them those that the adapter estimates and it does not name. Returns how many of
 * them there are; `room` is for both.
 */
size_t feedback_costs(struct adapters *adapters, const struct ration_http_request *spec,
		      struct ration_cost *ret_costs, size_t room);

/* Whether a piece of the answer's body is to be kept. */
bool feedback_wants_body(const struct transfer *transfer);

/* The answer is whole: read it, and feed it back before the ticket is ended. */
void feedback_read(struct transfer *transfer, long status, struct feedback *ret);

#endif
