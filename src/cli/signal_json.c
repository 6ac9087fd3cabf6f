/*
 * cli/signal_json.c - responses and signals as JSON
 * SPDX-License-Identifier: MIT
 */
#include "cli/signal_json.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* --- a signal as JSON --- */

static json_t *json_number(struct number n)
{
	if (!number_known(n))
		return json_null();
	return n.scale == 0 ? json_integer(n.digits) : json_real(number_value(n));
}

static json_t *json_time(int64_t ms)
{
	return ms == SIGNAL_UNKNOWN ? json_null() : json_integer(ms);
}

static json_t *json_words(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static void put_known(json_t *object, const char *key, json_t *value)
{
	if (json_is_null(value))
		json_decref(value);
	else
		json_object_set_new(object, key, value);
}

static json_t *json_limit(const struct signal_limit *limit)
{
	json_t *object =
		json_pack("{s:s, s:o, s:o, s:o}", "name", limit->name, "limit",
			  json_number(limit->limit), "remaining", json_number(limit->remaining),
			  "reset_in_ms", json_time(limit->reset_ms));

	put_known(object, "used", json_number(limit->used));
	put_known(object, "window_ms", json_time(limit->window_ms));
	put_known(object, "refill_per_s", json_number(limit->refill));
	put_known(object, "unit", json_words(limit->unit));
	put_known(object, "partition_key", json_words(limit->partition_key));
	return object;
}

json_t *signal_json(const struct signal *signal)
{
	const char *from = signal_from_name(signal->retry_from);
	json_t *limits = json_array(), *object;

	for (uint32_t i = 0; i < signal->n_limits; i++)
		json_array_append_new(limits, json_limit(&signal->limits[i]));
	object = json_pack("{s:b, s:b, s:o, s:o, s:o, s:s, s:s, s:o}", "limited", signal->limited,
			   "retryable", signal->retryable, "retry_after_ms",
			   json_time(signal->retry_after_ms), "retry_after_from",
			   json_words(from ? from : ""), "limits", limits, "reason", signal->reason,
			   "class", signal_class_name(signal->limit_class), "scope",
			   json_words(signal->scope));
	put_known(object, "cost", json_number(signal->cost));
	return object;
}

/* --- a request as JSON --- */

static json_t *json_amounts(const struct amounts *amounts)
{
	json_t *object = json_object();

	for (uint32_t i = 0; i < amounts->n; i++)
		json_object_set_new(object, amounts->at[i].unit,
				    json_integer(amounts->at[i].amount));
	return object;
}

void signal_json_request(const struct adapter *adapter, const struct signal_case *c, json_t *object)
{
	char resource[SIGNAL_TEXT_MAX + 1];
	struct amounts amounts;

	request_resource(adapter, &c->request, resource);
	json_object_set_new(object, "resource", json_words(resource));
	request_estimate(adapter, &c->request, resource, &amounts);
	json_object_set_new(object, "estimate", json_amounts(&amounts));
	if (!c->has_response)
		return;
	request_usage(adapter, c->response.body, c->response.body_size, resource, &amounts);
	json_object_set_new(object, "usage", json_amounts(&amounts));
}

/* --- a case --- */

static const char *add_header(struct signal_case *r, const char *name, const json_t *value)
{
	struct signal_response *response = &r->response;

	if (!json_is_string(value))
		return "a header is not a string, or an array of strings";
	if (response->n_headers == r->room) {
		r->room = r->room ? 2 * r->room : 32;
		r->headers = cli_alloc(r->headers, r->room, sizeof(*r->headers));
		response->headers = r->headers;
	}
	r->headers[response->n_headers++] = (struct signal_header){
		.name = name,
		.name_size = strlen(name),
		.value = json_string_value(value),
		.value_size = json_string_length(value),
	};
	return NULL;
}

static const char *add_headers(struct signal_case *r, json_t *headers)
{
	const char *name, *error = NULL;
	json_t *value, *line;
	size_t i;

	if (headers && !json_is_null(headers) && !json_is_object(headers))
		return "headers is not an object";
	json_object_foreach(headers, name, value)
	{
		if (!json_is_array(value))
			error = error ? error : add_header(r, name, value);
		json_array_foreach(value, i, line) error =
			error ? error : add_header(r, name, line);
	}
	return error;
}

static const char *read_response(const json_t *line, struct signal_case *r)
{
	const json_t *status = json_object_get(line, "status");
	const json_t *body = json_object_get(line, "body"), *now = json_object_get(line, "now");
	struct signal_response *response = &r->response;

	if (!json_is_integer(status) || json_integer_value(status) < 100 ||
	    json_integer_value(status) > 599)
		return "status is not an integer from 100 to 599";
	if (body && !json_is_null(body) && !json_is_string(body))
		return "body is not a string";
	if (!json_is_number(now) || json_number_value(now) < 0 || json_number_value(now) > 1e11)
		return "now is not a time in seconds since 1970";
	r->has_response = true;
	response->status = (int)json_integer_value(status);
	response->has_resource = true;
	response->now_us = (int64_t)(json_number_value(now) * 1e6);
	response->body = json_string_value(body);
	response->body_size = json_string_length(body);
	return add_headers(r, json_object_get(line, "headers"));
}

static const char *read_request(const json_t *request, struct signal_case *r)
{
	const json_t *url = json_object_get(request, "url");
	const json_t *body = json_object_get(request, "body");

	if (!json_is_object(request))
		return "request is not an object";
	if (!json_is_string(url))
		return "the request's url is not a string";
	if (body && !json_is_null(body) && !json_is_string(body))
		return "the request's body is not a string";
	r->has_request = true;
	r->request = (struct signal_request){
		.url = json_string_value(url),
		.url_size = json_string_length(url),
		.body = json_string_value(body),
		.body_size = json_string_length(body),
	};
	return NULL;
}

const char *signal_case_read(const json_t *line, struct signal_case *r)
{
	const json_t *vendor = json_object_get(line, "vendor");
	const json_t *request = json_object_get(line, "request");
	const char *wrong = NULL;

	*r = (struct signal_case){0};
	if (!json_is_object(line))
		return "not an object";
	if (!json_is_string(vendor))
		return "vendor is not a string";
	r->vendor = json_string_value(vendor);
	if (request)
		wrong = read_request(request, r);
	if (!wrong && (!request || json_object_get(line, "status")))
		wrong = read_response(line, r);
	return wrong;
}

void signal_case_free(struct signal_case *r)
{
	free(r->headers);
	*r = (struct signal_case){0};
}
