/*
 * cli/signal.c - ration signal: read what responses say about limits
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "signal/adapter.h"
#include "signal/signal.h"

static const char command[] = "signal";

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

static json_t *json_signal(const struct signal *signal)
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

struct response {
	const char *vendor;
	struct signal_response response;
	struct signal_header *headers;
	size_t room;
};

static const char *add_header(struct response *r, const char *name, const json_t *value)
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

static const char *add_headers(struct response *r, json_t *headers)
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
		json_array_foreach(value, i, line)
			error = error ? error : add_header(r, name, line);
	}
	return error;
}

/* NULL: good; or what is wrong. */
static const char *take_case(const json_t *line, struct response *r)
{
	const json_t *vendor = json_object_get(line, "vendor");
	const json_t *status = json_object_get(line, "status");
	const json_t *body = json_object_get(line, "body"), *now = json_object_get(line, "now");
	struct signal_response *response = &r->response;

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

static json_t *failure(uint64_t number, const char *text)
{
	return json_pack("{s:s, s:I}", "error", text, "line", (json_int_t)number);
}

struct reader {
	struct adapters *adapters;
	unsigned unreadable;
};

static json_t *answer(struct reader *reader, const char *text, size_t size, uint64_t number)
{
	struct response r = {0};
	json_error_t error;
	json_t *line = json_loadb(text, size, 0, &error), *result = NULL;
	const char *wrong = line ? take_case(line, &r) : error.text;
	const struct adapter *adapter;
	struct signal signal;

	if (!wrong && adapters_get(reader->adapters, r.vendor, &adapter) < 0)
		wrong = "the vendor's adapter is not good";
	if (wrong) {
		reader->unreadable++;
		result = failure(number, wrong);
	} else {
		signal_read(adapter, &r.response, &signal);
		result = json_signal(&signal);
	}
	free(r.headers);
	json_decref(line);
	return result;
}

static void print(json_t *json)
{
	cli_need(json);
	json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
	putchar('\n');
	json_decref(json);
}

/* --- all of them --- */

static void take_line(struct reader *reader, enum line_result kind, const char *text, size_t size,
		      uint64_t number)
{
	if (kind == LINE_TOO_LONG) {
		reader->unreadable++;
		print(failure(number, "the line is too long"));
	} else if (!line_blank(text, size)) {
		print(answer(reader, text, size, number));
	}
}

/* Who pipes in one case at a time wants its answer before the next. */
static ssize_t more_lines(struct lines *lines)
{
	fflush(stdout);
	return lines_fill(lines);
}

static int read_lines(struct reader *reader)
{
	struct lines lines = {.fd = STDIN_FILENO};
	enum line_result kind;
	const char *text = NULL;
	size_t size = 0;
	ssize_t n = 1;

	while (n >= 0 && !ferror(stdout)) {
		kind = lines_next(&lines, &text, &size);
		if (kind == LINE_END)
			break;
		if (kind == LINE_NEED_MORE)
			n = more_lines(&lines);
		else
			take_line(reader, kind, text, size, lines.number);
	}
	lines_free(&lines);
	if (n < 0)
		return cli_fail(EX_IOERR, command, "cannot read standard input: %s",
				strerror((int)-n));
	return reader->unreadable ? EX_DATAERR : EX_OK;
}

static void print_message(void *user, const struct policy_message *m)
{
	(void)user;
	fputs(m->file, stderr);
	if (m->line > 0)
		fprintf(stderr, ":%u:%u", m->line, m->column);
	fprintf(stderr, ": %s: %s\n", m->severity == POLICY_ERROR ? "error" : "warning", m->text);
}

int cmd_signal(int argc, char **argv)
{
	const char *directory = NULL;
	struct reader reader = {0};
	const struct arg options[] = {
		{"adapters", ARG_TEXT, &directory, 0, "DIR", "adapters that come before those shipped"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "",
		.summary = "Read responses from standard input, one JSON object a line, and print "
			   "what each says about\nlimits: {\"vendor\":, \"status\":, \"headers\":, "
			   "\"body\":, \"now\":}.",
		.options = options,
	};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	n = adapters_open(directory, print_message, NULL, &reader.adapters);
	if (n < 0)
		return cli_fail(n == -ENOMEM ? EX_OSERR : EX_NOINPUT, command, "%s: %s", directory,
				strerror(-n));
	status = read_lines(&reader);
	adapters_close(&reader.adapters);
	return cli_close_stdout(status, command);
}
