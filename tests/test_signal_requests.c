/*
 * tests/test_signal_requests.c - what requests are for, are going to cost and did cost
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/signal_json.h"
#include "support_policy.h"
#include "support_random.h"
#include "support_signal.h"

TestSuite(signal_requests, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 60);

static const struct adapter *get(struct adapters *adapters, const char *name)
{
	const struct adapter *adapter = NULL;

	cr_assert_eq(adapters_get(adapters, name, &adapter), 0, "%s", name);
	return adapter;
}

/* "unit=amount unit=amount" */
static char *words_of(const struct amounts *amounts)
{
	char *text = calloc(1, 1024);

	for (uint32_t i = 0; i < amounts->n; i++)
		snprintf(text + strlen(text), 1024 - strlen(text), "%s%s=%lld", i > 0 ? " " : "",
			 amounts->at[i].unit, (long long)amounts->at[i].amount);
	return text;
}

static void expect_amounts(const char *what, const struct amounts *amounts, const char *expected)
{
	char *text = words_of(amounts);

	cr_expect_str_eq(text, expected, "%s: '%s', not '%s'", what, text, expected);
	free(text);
}

static struct signal_request request(const char *url, const char *body)
{
	return (struct signal_request){url, body, strlen(url), body ? strlen(body) : 0};
}

static void expect_request(const struct adapter *adapter, const char *url, const char *body,
			   const char *resource, const char *estimate)
{
	const struct signal_request r = request(url, body);
	char found[SIGNAL_TEXT_MAX + 1];
	struct amounts amounts;

	request_resource(adapter, &r, found);
	cr_expect_str_eq(found, resource, "%s: '%s'", url, found);
	request_estimate(adapter, &r, found, &amounts);
	expect_amounts(body ? body : url, &amounts, estimate);
}

static void expect_usage(const struct adapter *adapter, const char *resource, const char *body,
			 const char *expected)
{
	struct amounts amounts;

	request_usage(adapter, body, strlen(body), resource, &amounts);
	expect_amounts(body, &amounts, expected);
}

/* --- adapters that are shipped --- */

Test(signal_requests, resources)
{
	static const struct {
		const char *vendor, *url, *body, *resource;
	} cases[] = {
		{"openai", "https://api.openai.com/v1/embeddings",
		 "{\"model\":\"text-embedding-3-small\"}", "text-embedding-3-small"},
		{"openai", "https://api.openai.com/v1/models", NULL, ""},
		{"groq", "https://api.groq.com/openai/v1/chat/completions", "{\"model\":\"llama\"}",
		 "llama"},
		{"azure-openai",
		 "https://x.openai.azure.com/openai/deployments/prod-4o/chat/completions?a=1", "{}",
		 "prod-4o"},
		{"google-gemini", "https://g/v1beta/models/gemini-2.5-pro:generateContent", NULL,
		 "gemini-2.5-pro"},
		{"slack", "https://slack.com/api/conversations.history?x=1", NULL,
		 "conversations.history"},
		{"stripe", "https://api.stripe.com/v1/payment_intents/pi_1", NULL,
		 "payment_intents"},
		{"github", "https://api.github.com/search/code?q=x", NULL, "code_search"},
		{"github", "https://api.github.com/repos/a/b", NULL, "core"},
		{"github", "https://api.github.com/graphql", NULL, "graphql"},
		{"airtable", "https://api.airtable.com/v0/appX1/T", NULL, "appX1"},
		{"atlassian", "https://a.atlassian.net/rest/api/3/issue/X-1", NULL, "issue"},
		{"shopify", "https://s.myshopify.com/admin/api/2025-07/graphql.json", NULL,
		 "graphql"},
		{"unheard-of", "https://x/y", "{\"model\":\"m\"}", ""},
	};
	struct adapters *adapters = signal_adapters(NULL);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct signal_request r = request(cases[i].url, cases[i].body);
		char found[SIGNAL_TEXT_MAX + 1];

		request_resource(get(adapters, cases[i].vendor), &r, found);
		cr_expect_str_eq(found, cases[i].resource, "%s: '%s'", cases[i].url, found);
	}
	adapters_close(&adapters);
}

Test(signal_requests, estimates_of_language_models)
{
	struct adapters *adapters = signal_adapters(NULL);
	const struct adapter *openai = get(adapters, "openai"),
			     *claude = get(adapters, "anthropic");

	expect_request(
		openai, "https://api.openai.com/v1/chat/completions",
		"{\"model\":\"gpt-4o\",\"n\":2,\"max_tokens\":100,\"messages\":["
		"{\"role\":\"user\",\"content\":\"twelve bytes\"},{\"role\":\"user\","
		"\"content\":[{\"type\":\"text\",\"text\":\"12345\"},{\"image_url\":{\"url\":"
		"\"data:a picture is no text\"}}]}]}",
		"gpt-4o", "tokens=205 input-tokens=5 output-tokens=200 usd_micros=2013");
	expect_request(openai, "https://api.openai.com/v1/embeddings",
		       "{\"model\":\"other\",\"input\":\"12345678\"}", "other",
		       "tokens=2 input-tokens=2");
	expect_request(openai, "https://api.openai.com/v1/responses",
		       "{\"model\":\"gpt-5-mini\",\"max_output_tokens\":7,\"max_tokens\":9}",
		       "gpt-5-mini", "tokens=7 output-tokens=7 usd_micros=14");
	expect_request(claude, "https://api.anthropic.com/v1/messages",
		       "{\"model\":\"claude-sonnet-4-5\",\"system\":\"four\",\"max_tokens\":10,"
		       "\"messages\":[{\"content\":\"12345678\"}]}",
		       "claude-sonnet-4-5", "input-tokens=3 output-tokens=10 usd_micros=159");
	expect_request(openai, "https://api.openai.com/v1/responses", "not JSON", "", "");
	adapters_close(&adapters);
}

Test(signal_requests, usage_of_language_models)
{
	struct adapters *adapters = signal_adapters(NULL);
	const struct adapter *openai = get(adapters, "openai"),
			     *claude = get(adapters, "anthropic");

	expect_usage(openai, "gpt-4o",
		     "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,"
		     "\"total_tokens\":15}}",
		     "tokens=15 input-tokens=10 output-tokens=5 usd_micros=75");
	expect_usage(openai, "gpt-4o",
		     "data: {\"choices\":[],\"usage\":null}\n\n"
		     "data: {\"choices\":[],\"usage\":{\"total_tokens\":17}}\n\ndata: [DONE]\n\n",
		     "tokens=17");
	expect_usage(openai, "",
		     "event: response.completed\r\ndata: {\"response\":{\"usage\":"
		     "{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}}\r\n\r\n",
		     "tokens=7 input-tokens=3 output-tokens=4");
	expect_usage(claude, "claude-haiku-4-5",
		     "event: message_start\n"
		     "data: {\"message\":{\"usage\":{\"input_tokens\":20,"
		     "\"cache_creation_input_tokens\":8,\"output_tokens\":1}}}\n\n"
		     ": ping\n\n"
		     "event: message_delta\ndata: {\"usage\":{\"output_tokens\":15}}\n\n",
		     "input-tokens=28 output-tokens=15 cache-write-tokens=8 usd_micros=105");
	expect_usage(get(adapters, "google-gemini"), "",
		     "[{\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":1}},"
		     "{\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":21,"
		     "\"thoughtsTokenCount\":4}}]",
		     "input-tokens=9 output-tokens=25");
	expect_usage(get(adapters, "shopify"), "",
		     "{\"extensions\":{\"cost\":{\"actualQueryCost\":46}}}", "points=46");
	expect_usage(openai, "", "{\"error\":{}}", "");
	expect_usage(openai, "", "", "");
	adapters_close(&adapters);
}

/* --- adapters of one's own --- */

static const char own[] =
	"requests:\n"
	"  resources:\n"
	"    - { url: '/v(?<version>[0-9]+)/things', resource: '{version}-{kind}', with: { kind: "
	"/kind } }\n"
	"    - { url: '/v(?<version>[0-9]+)/', resource: 'v{version}' }\n"
	"  estimate:\n"
	"    pages: { from: /pages, default: 3, per: 2 }\n"
	"    rows: [{ from: /rows, times: /repeat }, 5, { bytes: body, per: 10 }]\n"
	"    letters: { bytes: /text/** }\n"
	"    words: { from: /note, match: '([0-9]+) words' }\n"
	"  usage:\n"
	"    rows: [/rows, /more/rows]\n"
	"  price:\n"
	"    - { unit: cents, resource: '^1-', per: { rows: 0.5, requests: 2 }, source: x, date: "
	"2025-01-01 }\n"
	"    - { unit: cents, per: { rows: 10 }, source: x, date: 2025-01-01 }\n";

Test(signal_requests, terms_and_prices)
{
	struct adapters *adapters;
	const struct adapter *v;

	policy_write("own/v.yaml", own, sizeof(own) - 1);
	adapters = signal_adapters("own");
	v = get(adapters, "v");
	expect_request(v, "http://h/v1/things?x", "{\"kind\":\"a\"}", "1-a",
		       "pages=2 rows=7 cents=6");
	expect_request(v, "http://h/v1/things", "{}", "v1", "pages=2 rows=6 cents=60");
	expect_request(v, "http://h/", NULL, "", "pages=2 rows=5 cents=50");
	expect_request(
		v, "http://h/v2/",
		"{\"pages\":7,\"rows\":\"1.5\",\"repeat\":3,\"text\":{\"a\":[\"xy\",7],\"b\":"
		"\"z\"},\"note\":\"40 words\"}",
		"v2", "pages=4 rows=19 letters=4 words=40 cents=190");
	expect_usage(v, "1-", "{\"rows\":1,\"more\":{\"rows\":2}}", "rows=3 cents=4");
	expect_usage(v, "1-", "{\"more\":{\"rows\":-2}}", "");
	expect_usage(v, "", "data: {\ndata: \"rows\":\ndata:9}\n\ndata: {\"x\":1}",
		     "rows=9 cents=90");
	expect_usage(v, "",
		     "\xef\xbb\xbf"
		     "data: {\"rows\":9007199254740993}",
		     "rows=9007199254740993 cents=90071992547409930");
	expect_usage(v, "", "{\"rows\":9223372036854775807,\"more\":{\"rows\":5}}",
		     "rows=9223372036854775807");
	adapters_close(&adapters);
}

Test(signal_requests, messages)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"requests: []\n",
		 "1:11: error: expected the requests (a mapping), found an empty list\n"},
		{"requests: { resources: [{ url: '(', resource: x }] }\n",
		 "1:32: error: expected a regular expression: missing closing parenthesis behind "
		 "'('\n"},
		{"requests: { resources: [{ resource: x }] }\n",
		 "1:25: error: missing key 'url' of a resource: a pattern for the request's URL\n"},
		{"requests: { estimate: { a b: /x } }\n",
		 "1:25: error: expected a name (letters, digits, '.', '_' and '-', beginning with "
		 "a "
		 "letter or digit, at most 63), found 'a b'\n"},
		{"requests: { usage: { a: { per: 4 } } }\n",
		 "1:25: error: expected a term with 'from' or with 'bytes', found a mapping\n"},
		{"requests: { usage: { a: { from: /x, bytes: /y } } }\n",
		 "1:25: error: expected a term with 'from' or with 'bytes', found a mapping\n"},
		{"requests: { usage: { a: { from: /x, per: 0 } } }\n",
		 "1:42: error: expected a number above 0, found '0'\n"},
		{"requests: { usage: { a: { from: /x, default: much } } }\n",
		 "1:46: error: expected a number, found 'much'\n"},
		{"requests: { price: [{ unit: c, per: { a: -1 } }] }\n",
		 "1:21: error: missing key 'source' of a price: where the prices are published\n"
		 "1:21: error: missing key 'date' of a price: the day they were read\n"
		 "1:42: error: expected a number, found '-1'\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_text messages = {0};
		struct adapters *adapters = NULL;
		const struct adapter *adapter = NULL;
		char expected[1024] = "";

		policy_write("own/v.yaml", cases[i].text, strlen(cases[i].text));
		for (const char *p = cases[i].expected; *p; p = strchr(p, '\n') + 1)
			snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected),
				 "own/v.yaml:%.*s\n", (int)strcspn(p, "\n"), p);
		cr_assert_eq(adapters_open("own", policy_text_add, &messages, &adapters), 0);
		cr_expect_eq(adapters_get(adapters, "v", &adapter), -EINVAL);
		cr_expect_str_eq(messages.text ? messages.text : "", expected, "%s",
				 messages.text ? messages.text : "no message");
		free(messages.text);
		adapters_close(&adapters);
	}
}

/* --- hostile input --- */

/* A stream of more than is looked at: what stands at its end is enough. */
Test(signal_requests, a_long_stream)
{
	static const char piece[] = "data: {\"usage\":{\"total_tokens\":1}}\n\n";
	static const char last[] = "data: {\"usage\":{\"total_tokens\":42}}\n\n";
	const size_t n = 2 * SIGNAL_BODY_MAX / (sizeof(piece) - 1);
	struct adapters *adapters = signal_adapters(NULL);
	char *body = malloc(n * sizeof(piece) + sizeof(last));
	size_t size = 0;

	cr_assert_not_null(body);
	for (size_t i = 0; i < n; i++, size += sizeof(piece) - 1)
		memcpy(body + size, piece, sizeof(piece));
	memcpy(body + size, last, sizeof(last));
	expect_usage(get(adapters, "openai"), "", body, "tokens=42");
	free(body);
	adapters_close(&adapters);
}

Test(signal_requests, spoiled_bodies_are_read_without_harm)
{
	static const char *const bodies[] = {
		"data: {\"usage\":{\"total_tokens\":17,\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n",
		"[{\"usageMetadata\":{\"promptTokenCount\":9}},{\"usageMetadata\":{}}]",
		"{\"model\":\"gpt-4o\",\"max_tokens\":1e3,\"messages\":[{\"content\":\"text\"}]}",
	};
	static const char *const vendors[] = {"openai", "google-gemini", "anthropic", "cohere"};
	struct adapters *adapters = signal_adapters(NULL);
	struct amounts amounts;
	char resource[SIGNAL_TEXT_MAX + 1];

	seed(20261123);
	for (int i = 0; i < 20000; i++) {
		const struct adapter *adapter = get(adapters, vendors[below(4)]);
		const char *whole = bodies[below(3)];
		const size_t size = (size_t)below(strlen(whole) + 1);
		char *body = malloc(size + 1);
		struct signal_request r = {body, body, size, size};

		memcpy(body, whole, size);
		for (uint64_t k = below(4); k > 0 && size > 0; k--)
			body[below(size)] = (char)below(256);
		request_resource(adapter, &r, resource);
		request_estimate(adapter, &r, resource, &amounts);
		request_usage(adapter, body, size, resource, &amounts);
		for (uint32_t u = 0; u < amounts.n; u++)
			cr_assert_geq(amounts.at[u].amount, 0, "seed %lu", seed_used);
		free(body);
	}
	adapters_close(&adapters);
}
