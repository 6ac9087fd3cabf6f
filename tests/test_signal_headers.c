/*
 * tests/test_signal_headers.c - what callers are told says what the vendor said, in the standard's words
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/signal_json.h"
#include "signal/headers.h"
#include "signal/told.h"
#include "support_signal.h"

TestSuite(signal_headers, .timeout = 60);

enum { FIELDS = 6 };

static uint32_t lines_of(const struct signal_headers *headers, struct signal_header lines[FIELDS])
{
	const char *name = NULL, *value = NULL;
	uint32_t i = 0, n = 0;

	while (signal_header_next(headers, &i, &name, &value)) {
		cr_assert_lt(n, FIELDS);
		cr_assert(*value);
		lines[n++] = (struct signal_header){name, value, strlen(name), strlen(value)};
	}
	return n;
}

/* As somebody reads it who knows the standard and nothing of the vendor. */
static void read_back(struct adapters *adapters, const struct signal *signal, struct signal *ret)
{
	struct signal_header lines[FIELDS];
	struct signal_headers headers;
	struct signal_response response = {.status = signal->limited ? 429 : 200, .headers = lines};
	const struct adapter *generic = NULL;

	cr_assert_eq(adapters_get(adapters, "generic", &generic), 0);
	signal_headers(signal, &headers);
	response.n_headers = lines_of(&headers, lines);
	signal_read(generic, &response, ret);
}

static void read_case(struct adapters *adapters, const json_t *one, struct signal *ret)
{
	const struct adapter *adapter = NULL;
	struct signal_case c;

	cr_assert_null(signal_case_read(one, &c));
	cr_assert_eq(adapters_get(adapters, c.vendor, &adapter), 0);
	signal_read(adapter, &c.response, ret);
	signal_case_free(&c);
}

/* Counted in hundredths, if it is a fraction. */
static double value_of(const struct signal_limit *limit, struct number n)
{
	return number_value(n) * (strcmp(limit->unit, "fraction") == 0 ? 100 : 1);
}

static bool ascii(const char *text)
{
	while (*text >= ' ' && *text <= '~')
		text++;
	return !*text;
}

/* False: it is not there, which is right if it says nothing that can be said. */
static bool same_limit(const struct signal_limit *limit, const struct signal *found, const char *id)
{
	for (uint32_t i = 0; i < found->n_limits; i++) {
		const struct signal_limit *other = &found->limits[i];

		if (strcmp(other->name, limit->name) != 0)
			continue;
		if (number_known(limit->remaining)) {
			cr_expect(number_known(other->remaining), "%s: %s", id, limit->name);
			cr_expect_eq(number_value(other->remaining),
				     floor(value_of(limit, limit->remaining) + 1e-9), "%s: %s", id,
				     limit->name);
		}
		if (number_known(limit->limit))
			cr_expect_eq(number_value(other->limit),
				     floor(value_of(limit, limit->limit) + 1e-9), "%s: %s", id,
				     limit->name);
		if (number_known(limit->remaining) && limit->reset_ms != SIGNAL_UNKNOWN)
			cr_expect(other->reset_ms >= limit->reset_ms &&
					  other->reset_ms < limit->reset_ms + 1000,
				  "%s: %s: %ld, not %ld", id, limit->name, other->reset_ms,
				  limit->reset_ms);
		if (number_known(limit->limit) && limit->window_ms > 0 &&
		    limit->window_ms % 1000 == 0)
			cr_expect_eq(other->window_ms, limit->window_ms, "%s: %s", id, limit->name);
		return true;
	}
	return false;
}

static bool twice(const struct signal *signal, uint32_t i)
{
	for (uint32_t k = 0; k < signal->n_limits; k++) {
		if (k != i && strcmp(signal->limits[k].name, signal->limits[i].name) == 0)
			return true;
	}
	return false;
}

static unsigned check_case(struct adapters *adapters, const json_t *one)
{
	const char *id = json_string_value(json_object_get(one, "id"));
	struct signal said, found;
	unsigned n = 0;

	read_case(adapters, one, &said);
	read_back(adapters, &said, &found);
	for (uint32_t i = 0; i < said.n_limits; i++) {
		const struct signal_limit *limit = &said.limits[i];

		if (twice(&said, i) || !ascii(limit->name) ||
		    (!number_known(limit->remaining) && !number_known(limit->limit)))
			continue;
		cr_expect(same_limit(limit, &found, id), "%s: %s is not there", id, limit->name);
		n++;
	}
	if (said.limited && said.retryable && said.retry_after_ms != SIGNAL_UNKNOWN) {
		cr_expect_eq(found.retry_from, SIGNAL_FROM_HEADER, "%s", id);
		cr_expect(found.retry_after_ms >= said.retry_after_ms &&
				  found.retry_after_ms >= 1000 &&
				  found.retry_after_ms <= said.retry_after_ms + 1000,
			  "%s: %ld, not %ld", id, found.retry_after_ms, said.retry_after_ms);
	} else {
		cr_expect_neq(found.retry_from, SIGNAL_FROM_HEADER, "%s", id);
	}
	return n;
}

Test(signal_headers, each_collected_signal_reads_back)
{
	static const char *const files[] = {"tests/data/vendor-signals.json",
					    "tests/data/vendor-signals-varied.json"};
	struct adapters *adapters = signal_adapters(NULL);
	unsigned limits = 0;

	for (size_t f = 0; f < 2; f++) {
		json_t *cases = json_load_file(files[f], 0, NULL), *one;
		size_t i;

		json_array_foreach(cases, i, one) limits += check_case(adapters, one);
		json_decref(cases);
	}
	cr_expect_geq(limits, 200, "%u", limits);
	adapters_close(&adapters);
}

/* --- the fields themselves --- */

static struct signal_limit limit_called(const char *name, struct number limit,
					struct number remaining, int64_t reset_ms,
					int64_t window_ms)
{
	struct signal_limit l = {
		.limit = limit,
		.remaining = remaining,
		.used = NUMBER_UNKNOWN,
		.refill = NUMBER_UNKNOWN,
		.reset_ms = reset_ms,
		.window_ms = window_ms,
	};

	snprintf(l.name, sizeof(l.name), "%s", name);
	return l;
}

static void expect_field(const char *what, const char *found, const char *expected)
{
	cr_expect_str_eq(found, expected, "%s: '%s'", what, found);
}

Test(signal_headers, fields)
{
	struct signal s = {.limited = true, .retryable = true, .retry_after_ms = 12001};
	struct signal_headers h;

	s.limits[s.n_limits++] =
		limit_called("day", number_of(5000), number_of(100), 36000000, 86400000);
	s.limits[s.n_limits++] =
		limit_called("tokens", number_of(90000), number_of(0), 11001, 60000);
	s.limits[s.n_limits++] = limit_called("a \"b\"\\ \xc3\xbc", number_of(7),
					      (struct number){65, 1}, SIGNAL_UNKNOWN, 1500);
	s.limits[s.n_limits++] = limit_called("day", number_of(9), NUMBER_UNKNOWN, 1000, 60000);
	snprintf(s.limits[1].unit, sizeof(s.limits[1].unit), "tokens");
	snprintf(s.limits[1].partition_key, sizeof(s.limits[1].partition_key), "dXNlcg==");
	snprintf(s.limits[2].partition_key, sizeof(s.limits[2].partition_key), "no: base64");
	signal_headers(&s, &h);
	expect_field("RateLimit-Policy", h.policy,
		     "\"day\";q=5000;w=86400, \"tokens\";q=90000;qu=\"tokens\";w=60;pk=:dXNlcg==:, "
		     "\"a \\\"b\\\"\\\\ ??\";q=7, \"day-3\";q=9;w=60");
	expect_field("RateLimit", h.ratelimit,
		     "\"day\";r=100;t=36000, \"tokens\";r=0;t=12;pk=:dXNlcg==:, "
		     "\"a \\\"b\\\"\\\\ ??\";r=6");
	expect_field("RateLimit-Limit", h.limit, "90000");
	expect_field("RateLimit-Remaining", h.remaining, "0");
	expect_field("RateLimit-Reset", h.reset, "12");
	expect_field("Retry-After", h.retry_after, "13");
}

Test(signal_headers, the_triple_is_of_the_limit_that_is_closest_to_its_end)
{
	struct signal s = {.retry_after_ms = SIGNAL_UNKNOWN};
	struct signal_headers h;

	s.limits[s.n_limits++] = limit_called("a", number_of(1000), number_of(200), 5000, 0);
	s.limits[s.n_limits++] = limit_called("b", number_of(10), number_of(1), 7000, 0);
	s.limits[s.n_limits++] = limit_called("c", NUMBER_UNKNOWN, number_of(1), 9000, 0);
	signal_headers(&s, &h);
	expect_field("RateLimit-Limit", h.limit, "10");
	expect_field("RateLimit-Reset", h.reset, "7");
	expect_field("Retry-After", h.retry_after, "");
}

Test(signal_headers, when_to_come_again)
{
	struct signal s = {.limited = true, .retryable = true, .retry_after_ms = 0};
	struct signal_headers h;

	signal_headers(&s, &h);
	expect_field("at once", h.retry_after, "1");
	s.retry_after_ms = 5500;
	s.limits[s.n_limits++] =
		limit_called("a", number_of(10), number_of(0), SIGNAL_UNKNOWN, SIGNAL_UNKNOWN);
	signal_headers(&s, &h);
	expect_field("RateLimit", h.ratelimit, "\"a\";r=0;t=6");
	s.retryable = false;
	signal_headers(&s, &h);
	expect_field("never", h.retry_after, "");
	expect_field("RateLimit", h.ratelimit, "\"a\";r=0");
	s.retryable = true;
	s.retry_after_ms = INT64_MAX;
	signal_headers(&s, &h);
	expect_field("in some million years", h.retry_after, "999999999999999");
}

Test(signal_headers, shares_of_a_whole)
{
	struct signal s = {.retry_after_ms = SIGNAL_UNKNOWN};
	struct signal_headers h;

	s.limits[s.n_limits++] = limit_called("f", number_of(1), (struct number){155, 3},
					      SIGNAL_UNKNOWN, SIGNAL_UNKNOWN);
	snprintf(s.limits[0].unit, sizeof(s.limits[0].unit), "fraction");
	signal_headers(&s, &h);
	expect_field("RateLimit-Policy", h.policy, "\"f\";q=100;qu=\"percent\"");
	expect_field("RateLimit", h.ratelimit, "\"f\";r=15");
}

/* More than fits is left out, and what is there is whole. */
Test(signal_headers, many_limits_with_long_names)
{
	struct adapters *adapters = signal_adapters(NULL);
	struct signal s = {.retry_after_ms = SIGNAL_UNKNOWN}, found;

	for (; s.n_limits < SIGNAL_LIMITS_MAX; s.n_limits++) {
		struct signal_limit *l = &s.limits[s.n_limits];

		*l = limit_called("", number_of(INT64_MAX), number_of(INT64_MAX), INT64_MAX,
				  INT64_MAX / 1000 * 1000);
		memset(l->name, '"', SIGNAL_TEXT_MAX);
		l->name[0] = (char)('A' + s.n_limits);
		memset(l->unit, '\\', SIGNAL_TEXT_MAX);
		memset(l->partition_key, 'A', SIGNAL_TEXT_MAX);
	}
	read_back(adapters, &s, &found);
	cr_expect_geq(found.n_limits, 4, "%u", found.n_limits);
	for (uint32_t i = 0; i < found.n_limits; i++)
		cr_expect_str_eq(found.limits[i].name, s.limits[i].name);
	adapters_close(&adapters);
}

/* For people: what the adapter reads and what is called so everywhere; no credentials, whatever an adapter reads. */
Test(signal_headers, those_that_speak_of_limits)
{
	static const struct signal_header lines[] = {
#define LINE(name, value) {name, value, sizeof(name) - 1, sizeof(value) - 1}
		LINE("Content-Type", "text/html"),
		LINE("Set-Cookie", "session=secret"),
		LINE("X-Shopify-Shop-Api-Call-Limit", "39/40"),
		LINE("Retry-After", "2.0"),
		LINE("X-Shopify-Access-Token", "secret"),
		LINE("X-Other-RateLimit-Remaining", "1"),
#undef LINE
	};
	const struct signal_response response = {
		.status = 429, .headers = lines, .n_headers = sizeof(lines) / sizeof(lines[0])};
	struct adapters *adapters = signal_adapters(NULL);
	const struct adapter *adapter;
	struct signal signal;
	char text[200];

	cr_assert_eq(adapters_get(adapters, "shopify", &adapter), 0);
	signal_read(adapter, &response, &signal);
	signal_told_headers(&signal, &response, text, sizeof(text));
	cr_expect_str_eq(text, "X-Shopify-Shop-Api-Call-Limit: 39/40; Retry-After: 2.0; "
			       "X-Other-RateLimit-Remaining: 1");
	signal_told_headers(&signal, &response, text, 40);
	cr_expect_str_eq(text, "X-Shopify-Shop-Api-Call-Limit: 39/40",
			 "what does not fit is left out");
	signal.read = UINT64_MAX;
	signal_told_headers(&signal, &response, text, sizeof(text));
	cr_expect_null(strstr(text, "session"));
	adapters_close(&adapters);
}
