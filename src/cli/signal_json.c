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

const char *signal_case_read(const json_t *line, struct signal_case *r)
{
	const json_t *vendor = json_object_get(line, "vendor");
	const json_t *status = json_object_get(line, "status");
	const json_t *body = json_object_get(line, "body"), *now = json_object_get(line, "now");
	struct signal_response *response = &r->response;

	*r = (struct signal_case){0};
	if (!json_is_object(line))
		return "not an object";
	if (!json_is_string(vendor))
		return "vendor is not a string";
	if (!json_is_integer(status) || json_integer_value(status) < 100 ||
	    json_integer_value(status) > 599)
		return "status is not an integer from 100 to 599";
	if (body && !json_is_null(body) && !json_is_string(body))
		return "body is not a string";
	if (!json_is_number(now) || json_number_value(now) < 0 || json_number_value(now) > 1e11)
		return "now is not a time in seconds since 1970";
	r->vendor = json_string_value(vendor);
	response->status = (int)json_integer_value(status);
	response->has_resource = true;
	response->now_us = (int64_t)(json_number_value(now) * 1e6);
	response->body = json_string_value(body);
	response->body_size = json_string_length(body);
	return add_headers(r, json_object_get(line, "headers"));
}

void signal_case_free(struct signal_case *r)
{
	free(r->headers);
	*r = (struct signal_case){0};
}
