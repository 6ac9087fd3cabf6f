/*
 * cli/pipe_observe.h - what a vendor answered to a program that does its own HTTP
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_PIPE_OBSERVE_H
#define RATION_CLI_PIPE_OBSERVE_H

#include <jansson.h>

#include <ration/ration.h>

#include "cli/request.h"
#include "signal/adapter.h"

/*
 * request: a line with the fields of a response as `ration signal` reads them; `now` may be missing. Reads it by the adapter of the
 * key's vendor and feeds it back. ticket: NULL if it is not known. The answer, which is the caller's.
 */
json_t *pipe_observe(struct ration_handle *handle, const struct ration_ticket *ticket,
		     struct adapters *adapters, const struct request *request);

#endif
