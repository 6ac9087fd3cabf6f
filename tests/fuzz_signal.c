/*
 * tests/fuzz_signal.c - libFuzzer: any response, by any adapter that is shipped, and any request
 * SPDX-License-Identifier: MIT
 *
 * Input: a byte that chooses the adapter, one that chooses the status, then header lines, an empty
 * line, and the body, which is also taken for that of a request; its URL is the first line of the
 * headers. tests/fuzz_seeds.py makes such inputs from tests/data/vendor-signals.json.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signal/adapter.h"
#include "signal/headers.h"
#include "signal/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_US  (INT64_C(1700000000) * 1000000)
#define MUST(x) ((x) ? (void)0 : broken(#x))

static _Noreturn void broken(const char *what)
{
	fprintf(stderr, "broken promise: %s\n", what);
	abort();
}

static void no_message(void *user, const struct policy_message *m)
{
	(void)user;
	broken(m->text);
}

/* All of them, read once. */
static struct {
	struct adapters *adapters;
	const struct adapter *at[256];
	size_t n;
} all;

static void load(void)
{
	MUST(adapters_open(NULL, no_message, NULL, &all.adapters) == 0);
	for (const char *name; all.n < 256 && (name = adapters_name(all.adapters, all.n)); all.n++)
		MUST(adapters_get(all.adapters, name, &all.at[all.n]) == 0);
}

enum { LINES_MAX = 64 };

/* What stands before an empty line; the rest is the body. */
static size_t split(const char *text, size_t size, struct signal_header *headers, const char **body)
{
	const char *end = text + size;
	size_t n = 0;

	while (text < end && *text != '\n') {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		const char *last = stop ? stop : end;
		const char *colon = memchr(text, ':', (size_t)(last - text));

		if (colon && n < LINES_MAX)
			headers[n++] = (struct signal_header){
				.name = text,
				.value = colon + 1,
				.name_size = (size_t)(colon - text),
				.value_size = (size_t)(last - colon - 1),
			};
		text = stop ? stop + 1 : end;
	}
	*body = text < end ? text + 1 : NULL;
	return n;
}

static void check_text(const char *text)
{
	MUST(memchr(text, '\0', SIGNAL_TEXT_MAX + 1));
}

static void check_limit(const struct signal_limit *l)
{
	check_text(l->name);
	check_text(l->unit);
	check_text(l->scope);
	check_text(l->partition_key);
	MUST(*l->name);
	MUST(!number_known(l->limit) || l->limit.digits >= 0);
	MUST(!number_known(l->remaining) || l->remaining.digits >= 0);
	MUST(!number_known(l->used) || l->used.digits >= 0);
	MUST(l->reset_ms >= SIGNAL_UNKNOWN && l->window_ms >= SIGNAL_UNKNOWN);
}

static void check_signal(const struct signal *s)
{
	MUST(s->limited == (s->limit_class != SIGNAL_NONE));
	MUST(s->limited || (!s->retryable && s->retry_after_ms == SIGNAL_UNKNOWN));
	MUST(s->retry_after_ms >= SIGNAL_UNKNOWN);
	MUST((s->retry_after_ms == SIGNAL_UNKNOWN) == (s->retry_from == SIGNAL_FROM_NOTHING));
	MUST(s->n_limits <= SIGNAL_LIMITS_MAX);
	MUST(s->block < SIGNAL_BLOCKS && s->retry_from < SIGNAL_FROMS);
	check_text(s->reason);
	check_text(s->scope);
	for (uint32_t i = 0; i < s->n_limits; i++)
		check_limit(&s->limits[i]);
}

static void check_headers(const struct signal *s)
{
	const char *name = NULL, *value = NULL;
	struct signal_headers headers;
	uint32_t n = 0;

	signal_headers(s, &headers);
	while (signal_header_next(&headers, &n, &name, &value)) {
		for (const char *p = value; *p; p++)
			MUST(*p >= ' ' && *p <= '~');
	}
}

static void check_amounts(const struct amounts *amounts)
{
	MUST(amounts->n <= AMOUNTS_MAX);
	for (uint32_t i = 0; i < amounts->n; i++)
		MUST(amounts->at[i].amount >= 0);
}

static void check_request(const struct adapter *adapter, const struct signal_response *response)
{
	struct signal_request request = {
		.url = response->n_headers > 0 ? response->headers[0].value : "",
		.url_size = response->n_headers > 0 ? response->headers[0].value_size : 0,
		.body = response->body,
		.body_size = response->body_size,
	};
	char resource[SIGNAL_TEXT_MAX + 1];
	struct amounts amounts;

	request_resource(adapter, &request, resource);
	check_text(resource);
	request_estimate(adapter, &request, resource, &amounts);
	check_amounts(&amounts);
	request_usage(adapter, response->body, response->body_size, resource, &amounts);
	check_amounts(&amounts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = {200, 400, 403, 418, 420, 422, 429, 430,
				       477, 500, 503, 509, 529, 301, 100, 599};
	struct signal_header headers[LINES_MAX];
	struct signal_response response = {.headers = headers, .now_us = NOW_US};
	const struct adapter *adapter;
	struct signal signal;
	const char *text;

	if (all.n == 0)
		load();
	if (size < 2)
		return 0;
	adapter = all.at[data[0] % all.n];
	response.status = statuses[data[1] % (sizeof(statuses) / sizeof(statuses[0]))];
	response.has_resource = data[1] & 0x80;
	text = (const char *)data + 2;
	response.n_headers = split(text, size - 2, headers, &response.body);
	response.body_size = response.body ? (size_t)(text + size - 2 - response.body) : 0;
	signal_read(adapter, &response, &signal);
	check_signal(&signal);
	check_headers(&signal);
	check_request(adapter, &response);
	return 0;
}
