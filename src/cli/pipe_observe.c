/*
 * cli/pipe_observe.c - what a vendor answered to a program that does its own HTTP
 * SPDX-License-Identifier: MIT
 */
#include "cli/pipe_observe.h"

#include <time.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/signal_json.h"
#include "signal/headers.h"
#include "signal/told.h"

static double wall_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static json_t *headers_json(const struct signal *signal)
{
	json_t *object = cli_need(json_object());
	struct signal_headers headers;
	const char *name, *value;

	signal_headers(signal, &headers);
	for (uint32_t n = 0; signal_header_next(&headers, &n, &name, &value);)
		json_object_set_new(object, name, json_string(value));
	return object;
}

static json_t *observe(struct ration_handle *handle, const struct ration_ticket *ticket,
		       const struct adapter *adapter, const struct signal_response *response,
		       uint32_t attempt)
{
	struct signal signal;
	struct ration_signal told;
	char text[1200];
	int result;

	signal_read(adapter, response, &signal);
	signal_told(&signal, response->status, &told);
	signal_told_headers(&signal, response, text, sizeof(text));
	told.headers = text;
	told.attempt = attempt;
	result = ration_observe(handle, ticket, &told);
	if (result != 0)
		return answer_error(answer_code(result), ration_strerror(result));
	return cli_need(json_pack("{s:b, s:o, s:o}", "ok", 1, "signal", signal_json(&signal),
				  "headers", headers_json(&signal)));
}

json_t *pipe_observe(struct ration_handle *handle, const struct ration_ticket *ticket,
		     struct adapters *adapters, const struct request *request)
{
	json_t *whole = cli_need(json_copy(request->root)), *answer = NULL;
	const struct adapter *adapter;
	struct signal_case c = {0};
	const char *wrong;

	if (!json_object_get(whole, "now"))
		json_object_set_new(whole, "now", json_real(wall_s()));
	wrong = signal_case_read(whole, &c);
	if (!wrong && adapters_get(adapters, ration_handle_vendor(handle), &adapter) < 0)
		wrong = "the vendor's adapter is not good";
	if (wrong) {
		answer = answer_error("invalid", wrong);
	} else {
		c.response.has_resource = ration_handle_resource(handle)[0] != '\0';
		answer = observe(handle, ticket, adapter, &c.response, request->attempt);
	}
	signal_case_free(&c);
	json_decref(whole);
	return answer;
}
