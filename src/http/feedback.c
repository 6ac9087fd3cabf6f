/*
 * http/feedback.c - what a request is going to cost, and what its response says
 * SPDX-License-Identifier: MIT
 */
#include "http/feedback.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/engine.h"
#include "signal/told.h"

/* Statuses from which on a body may say why. */
#define FIRST_ERROR 400

static const struct adapter *adapter_of(struct adapters *adapters,
					const struct ration_http_request *spec)
{
	const struct adapter *adapter;

	if (!adapters || !spec->handle ||
	    adapters_get(adapters, ration_handle_vendor(spec->handle), &adapter) < 0)
		return NULL;
	return adapter;
}

static struct signal_request request_of(const struct ration_http_request *spec)
{
	return (struct signal_request){
		.url = spec->url,
		.body = spec->body,
		.url_size = strlen(spec->url),
		.body_size = spec->body_size,
	};
}

/* The key's; else what the adapter makes of the request. */
static const char *resource_of(const struct adapter *adapter,
			       const struct ration_http_request *spec,
			       char buf[SIGNAL_TEXT_MAX + 1])
{
	const struct signal_request request = request_of(spec);
	const char *resource = ration_handle_resource(spec->handle);

	if (resource[0])
		return resource;
	request_resource(adapter, &request, buf);
	return buf;
}

static bool is_named(const struct ration_cost *costs, size_t n, const char *unit)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(costs[i].unit, unit) == 0)
			return true;
	}
	return false;
}

/* From n on, those that are not named yet. */
static size_t add_amounts(const struct amounts *amounts, struct ration_cost *costs, size_t n,
			  size_t room)
{
	for (uint32_t i = 0; i < amounts->n && n < room; i++) {
		const uint64_t amount = (uint64_t)amounts->at[i].amount;

		if (!is_named(costs, n, amounts->at[i].unit))
			costs[n++] = (struct ration_cost){
				amounts->at[i].unit,
				amount < RATION_COST_MAX ? amount : RATION_COST_MAX};
	}
	return n;
}

size_t feedback_costs(struct adapters *adapters, const struct ration_http_request *spec,
		      struct ration_cost *costs, size_t room)
{
	const struct adapter *adapter = adapter_of(adapters, spec);
	const struct signal_request request = request_of(spec);
	char resource[SIGNAL_TEXT_MAX + 1];
	struct amounts amounts;
	size_t n = 0;

	for (; n < spec->n_costs && n < room; n++)
		costs[n] = spec->costs[n];
	if (!adapter)
		return n;
	request_estimate(adapter, &request, resource_of(adapter, spec, resource), &amounts);
	return add_amounts(&amounts, costs, n, room);
}

bool feedback_wants_body(const struct transfer *transfer)
{
	const struct adapter *adapter =
		adapter_of(transfer->engine->adapters, &transfer->request->spec);
	long status = 0;

	if (!adapter)
		return false;
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= FIRST_ERROR || adapter_reads_bodies(adapter);
}

static int64_t wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void read_usage(const struct adapter *adapter, const struct transfer *transfer,
		       struct feedback *feedback)
{
	const struct response_buffer *body = &transfer->response.body;
	char resource[SIGNAL_TEXT_MAX + 1];
	struct amounts amounts;

	request_usage(adapter, body->data, body->used,
		      resource_of(adapter, &transfer->request->spec, resource), &amounts);
	feedback->n_actual = add_amounts(&amounts, feedback->actual, 0, AMOUNTS_MAX);
}

/* What cannot be fed back is known to the caller all the same. */
static void observe(struct transfer *transfer, const struct signal_response *response,
		    struct feedback *feedback)
{
	char text[1200];

	signal_told_headers(&feedback->signal, response, text, sizeof(text));
	feedback->told.headers = text;
	feedback->told.attempt = transfer->request->retry.tries;
	(void)ration_observe(transfer->request->spec.handle,
			     transfer->ticket.owner ? &transfer->ticket : NULL, &feedback->told);
	feedback->told.headers = NULL;
}

void feedback_read(struct transfer *transfer, long status, struct feedback *feedback)
{
	const struct ration_http_request *spec = &transfer->request->spec;
	const struct adapter *adapter = adapter_of(transfer->engine->adapters, spec);
	struct signal_header headers[RESPONSE_HEADERS_MAX];
	const struct response *kept = &transfer->response;
	const struct signal_response response = {
		.status = (int)status,
		.has_resource = spec->handle && ration_handle_resource(spec->handle)[0],
		.headers = headers,
		.n_headers = response_headers(kept, headers),
		.body = kept->body.used ? kept->body.data : NULL,
		.body_size = kept->body.used,
		.now_us = wall_us(),
	};

	feedback->read = false;
	feedback->n_actual = 0;
	if (!adapter || kept->no_memory)
		return;
	signal_read(adapter, &response, &feedback->signal);
	signal_told(&feedback->signal, (int)status, &feedback->told);
	feedback->read = true;
	if (kept->body.used)
		read_usage(adapter, transfer, feedback);
	observe(transfer, &response, feedback);
}
