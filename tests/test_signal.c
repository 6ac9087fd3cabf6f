/*
 * tests/test_signal.c - what vendors send, and what it means
 * SPDX-License-Identifier: MIT
 *
 * tests/data/vendor-signals.json holds responses from vendors' documentation, from their clients' code
 * and from their users, each with its source; tests/data/vendor-signals-varied.json the same notations
 * with other numbers, names, orders and parts missing, and rules between them.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cli/signal_json.h"
#include "support_random.h"
#include "support_signal.h"

TestSuite(signal, .timeout = 60);

Test(signal, collected)
{
	cr_expect_eq(signal_check_file("tests/data/vendor-signals.json"), 193);
}

Test(signal, varied)
{
	cr_expect_geq(signal_check_file("tests/data/vendor-signals-varied.json"), 100);
}

Test(signal, every_shipped_adapter_is_good)
{
	struct adapters *adapters = signal_adapters(NULL);
	const struct adapter *adapter;
	size_t n = 0;

	for (const char *name; (name = adapters_name(adapters, n)); n++)
		cr_expect_eq(adapters_get(adapters, name, &adapter), 0, "%s", name);
	cr_expect_geq(n, 75);
	adapters_close(&adapters);
	cr_expect_null(adapters);
}

Test(signal, headers_in_any_order_and_case)
{
	struct adapters *adapters = signal_adapters(NULL);
	json_t *cases = json_load_file("tests/data/vendor-signals.json", 0, NULL), *one;
	size_t i;

	json_array_foreach(cases, i, one)
	{
		json_t *headers = json_object_get(one, "headers"), *other = json_object(), *value;
		json_t *before = signal_of(adapters, one), *after;
		const char *key;
		char name[256];

		json_object_foreach(headers, key, value)
		{
			size_t n = 0;

			for (; key[n] && n + 1 < sizeof(name); n++)
				name[n] =
					(char)(n % 2 && key[n] >= 'a' && key[n] <= 'z' ? key[n] - 32
										       : key[n]);
			name[n] = '\0';
			json_object_set(other, name, value);
		}
		json_object_set_new(one, "headers", other);
		after = signal_of(adapters, one);
		cr_expect(json_equal(before, after), "%s",
			  json_string_value(json_object_get(one, "id")));
		json_decref(before);
		json_decref(after);
	}
	json_decref(cases);
	adapters_close(&adapters);
}

/* --- hostile input --- */

/* Some bytes of a text are changed, dropped, doubled or taken from another. */
static size_t spoil(char *text, size_t size, size_t room)
{
	static const char spice[] = "0919-.,;:=\"/{}[]()\\ \t\n\xff\xc3%~*";
	const uint64_t times = below(6);

	for (uint64_t t = 0; t < times && size > 0; t++) {
		const size_t at = (size_t)below(size);
		const size_t n = 1 + (size_t)below(size - at);

		switch (below(4)) {
		case 0:
			text[at] = spice[below(sizeof(spice) - 1)];
			break;
		case 1:
			memmove(text + at, text + at + n, size - at - n);
			size -= n;
			break;
		case 2:
			if (size + n <= room) {
				memmove(text + at + n, text + at, size - at);
				size += n;
			}
			break;
		default:
			text[at] = (char)below(256);
			break;
		}
	}
	return size;
}

static void check_sane(const struct signal *s, const char *vendor)
{
	cr_assert(s->limited || (!s->retryable && s->retry_after_ms == SIGNAL_UNKNOWN),
		  "%s, seed %lu", vendor, seed_used);
	cr_assert_geq(s->retry_after_ms, SIGNAL_UNKNOWN, "%s, seed %lu", vendor, seed_used);
	cr_assert_eq(s->retry_after_ms == SIGNAL_UNKNOWN, s->retry_from == SIGNAL_FROM_NOTHING);
	cr_assert_leq(s->n_limits, SIGNAL_LIMITS_MAX);
	for (uint32_t i = 0; i < s->n_limits; i++) {
		const struct signal_limit *l = &s->limits[i];

		cr_assert(!number_known(l->remaining) || l->remaining.digits >= 0, "%s, seed %lu",
			  vendor, seed_used);
		cr_assert(!number_known(l->limit) || l->limit.digits >= 0, "%s, seed %lu", vendor,
			  seed_used);
		cr_assert_geq(l->reset_ms, SIGNAL_UNKNOWN, "%s, seed %lu", vendor, seed_used);
		cr_assert_geq(l->window_ms, SIGNAL_UNKNOWN, "%s, seed %lu", vendor, seed_used);
		cr_assert(*l->name, "%s, seed %lu", vendor, seed_used);
	}
}

enum { TEXTS = 16, ROOM = 4096 };

/* The headers and body of a case, each a copy of its own and of its own size, spoiled. */
static void spoiled_case(const struct adapter *adapter, const struct signal_case *c)
{
	struct signal_header headers[TEXTS];
	struct signal_response response = c->response;
	char *texts[TEXTS + 1] = {0};
	struct signal signal;
	size_t n = 0;

	for (; n < TEXTS && n < c->response.n_headers; n++) {
		const struct signal_header *h = &c->response.headers[n];
		const size_t room = h->value_size + 64;

		texts[n] = calloc(1, room);
		memcpy(texts[n], h->value, h->value_size);
		headers[n] = *h;
		headers[n].value_size = spoil(texts[n], h->value_size, room);
		headers[n].value = realloc(texts[n], headers[n].value_size + 1);
		texts[n] = (char *)(uintptr_t)headers[n].value;
	}
	response.headers = headers;
	response.n_headers = n;
	if (response.body) {
		texts[TEXTS] = calloc(1, response.body_size + ROOM);
		memcpy(texts[TEXTS], response.body, response.body_size);
		response.body_size =
			spoil(texts[TEXTS], response.body_size, response.body_size + ROOM);
		response.body = texts[TEXTS];
	}
	if (below(4) == 0)
		response.status = 100 + (int)below(500);
	signal_read(adapter, &response, &signal);
	check_sane(&signal, c->vendor);
	json_decref(signal_json(&signal));
	for (n = 0; n <= TEXTS; n++)
		free(texts[n]);
}

Test(signal, spoiled_responses_are_read_without_harm)
{
	struct adapters *adapters = signal_adapters(NULL);
	json_t *cases = json_load_file("tests/data/vendor-signals.json", 0, NULL), *one;
	size_t i;

	seed(20260923);
	json_array_foreach(cases, i, one)
	{
		const struct adapter *adapter = NULL;
		struct signal_case c;

		cr_assert_null(signal_case_read(one, &c));
		cr_assert_eq(adapters_get(adapters, c.vendor, &adapter), 0);
		for (int t = 0; t < 40; t++)
			spoiled_case(adapter, &c);
		signal_case_free(&c);
	}
	json_decref(cases);
	adapters_close(&adapters);
}
