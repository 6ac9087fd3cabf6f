/*
 * cli/answer.h - what libration returned, as JSON and in words
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_ANSWER_H
#define RATION_CLI_ANSWER_H

#include <jansson.h>

#include <ration/ration.h>

#include "client/client.h"

/* A name for programs: "denied", "oversize", "vendor", ... */
const char *answer_code(int code);

/* {"ok":false,"code":...,"limit":...,"left":...,"size":...,"needed":...,"retry_ms":...,"text":...} */
json_t *answer_denied(int code, const struct ration_denial *denial,
		      const struct ration_handle *handle);

/* Where a request of a route went: vendor and resource are added unless it is the vendor that was asked for. */
void answer_pick(json_t *answer, const char *vendor, const struct ration_pick *pick);

/* {"ok":false,"code":...,"error":...} */
json_t *answer_error(const char *code, const char *text);

/* RATION_EUNIT in words: which limit, which unit. key: field by field, NULL for none. */
void answer_missing_unit(const struct ration *ration, const char *const key[KEY_FIELDS],
			 const struct ration_cost *costs, size_t n_costs, char *buf, size_t size);

#endif
