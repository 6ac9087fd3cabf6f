/*
 * tests/test_signal_adapters.c - adapters of one's own: what they may say, and every message about what they may not
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support_policy.h"
#include "support_signal.h"

TestSuite(signal_adapters, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 60);

static void write_adapter(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "own/%s.yaml", name);
	policy_write(path, text, strlen(text));
}

/* All messages about one adapter; malloc'd. */
static char *messages_of(const char *name, int expected)
{
	struct policy_text messages = {0};
	struct adapters *adapters = NULL;
	const struct adapter *adapter = NULL;

	cr_assert_eq(adapters_open("own", policy_text_add, &messages, &adapters), 0);
	cr_expect_eq(adapters_get(adapters, name, &adapter), expected, "%s",
		     messages.text ? messages.text : "no message");
	cr_expect_eq(adapter != NULL, expected == 0);
	/* The second time nothing is said again. */
	if (expected < 0) {
		const size_t size = messages.size;

		cr_expect_eq(adapters_get(adapters, name, &adapter), expected);
		cr_expect_eq(messages.size, size);
	}
	adapters_close(&adapters);
	return messages.text ? messages.text : strdup("");
}

static void expect_message(const char *text, const char *expected)
{
	char *messages;

	write_adapter("v", text);
	messages = messages_of("v", -EINVAL);
	cr_expect_str_eq(messages, expected, "%s--- expected ---\n%s--- of ---\n%s", messages,
			 expected, text);
	free(messages);
}

Test(signal_adapters, messages)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"signal: {}\n",
		 "own/v.yaml:1:1: error: unknown key 'signal' (did you mean 'signals'?); known: "
		 "signals, requests, limits\n"},
		{"signals:\n  limit: []\n",
		 "own/v.yaml:2:3: error: unknown key 'limit' (did you mean 'limits'?); known: "
		 "like, "
		 "scope, block, documents, limits, responses, wait, never, cost\n"},
		{"signals:\n  limits: 5\n",
		 "own/v.yaml:2:11: error: expected a list of limits, found '5'\n"},
		{"signals:\n  limits: [{ name: a, window: 1h }]\n",
		 "own/v.yaml:2:12: error: a limit needs limit, remaining, used, percent, fraction, "
		 "refill, reset or standard\n"},
		{"signals:\n  limits: [{ limit: 'a b' }]\n",
		 "own/v.yaml:2:21: error: expected a place: a header's name, a JSON pointer such "
		 "as "
		 "/error/code, header#/pointer, body, or a variable such as {name}, found 'a b'\n"},
		{"signals:\n  limits: [{ limit: a, reset: b }]\n",
		 "own/v.yaml:2:31: error: expected a time (a mapping), found 'b'\n"},
		{"signals:\n  limits: [{ limit: a, reset: { from: b } }]\n",
		 "own/v.yaml:2:31: error: missing key 'as' of a time: the notation of a time, such "
		 "as seconds or epoch\n"},
		{"signals:\n  limits: [{ limit: a, reset: { from: b, as: second } }]\n",
		 "own/v.yaml:2:46: error: unknown notation 'second' (did you mean 'seconds'?); "
		 "known: seconds, ms, minutes, duration, epoch, epoch-ms, date, retry-after, "
		 "auto\n"},
		{"signals:\n  limits: [{ limit: { match: x } }]\n",
		 "own/v.yaml:2:21: error: missing key 'from' of a value: where it is\n"},
		{"signals:\n  limits: [{ limit: { from: x, match: 'a(b' } }]\n",
		 "own/v.yaml:2:39: error: expected a regular expression: missing closing "
		 "parenthesis behind 'a(b'\n"},
		{"signals:\n  limits: [{ limit: 'x-{name' }]\n",
		 "own/v.yaml:2:21: error: expected a place: a header's name, a JSON pointer such "
		 "as "
		 "/error/code, header#/pointer, body, or a variable such as {name}, found "
		 "'x-{name'\n"},
		{"signals:\n  limits: [{ limit: '/a/x-{name' }]\n",
		 "own/v.yaml:2:21: error: a '{' without its '}' in '/a/x-{name'\n"},
		{"signals:\n  limits: [{ limit: 'x-{na me}' }]\n",
		 "own/v.yaml:2:21: error: expected a variable's name in 'x-{na me}'\n"},
		{"signals:\n  limits: [{ limit: 'x-{name:(a)|b}' }]\n",
		 "own/v.yaml:2:21: error: write (?:...) for a group inside a variable's pattern\n"},
		{"signals:\n  limits: [{ limit: 'x-{a}{b}{c}{d}{e}' }]\n",
		 "own/v.yaml:2:21: error: more than 4 variables in one name\n"},
		{"signals:\n  limits: [{ limit: a, name: '{a}{b}{c}{d}{e}{f}{g}{h}{i}' }]\n",
		 "own/v.yaml:2:30: error: more than 8 variables in one limit\n"},
		{"signals:\n  limits: [{ limit: /a/b/c/d/e/f/g/h/i/j/k/l/m }]\n",
		 "own/v.yaml:2:21: error: a pointer of more than 12 segments\n"},
		{"signals:\n  limits: [{ limit: [a, b, c, d, e] }]\n",
		 "own/v.yaml:2:34: error: more than 4 places\n"},
		{"signals:\n  limits: [{ limit: a, each: { from: b } }]\n",
		 "own/v.yaml:2:30: error: missing key 'match' of a step: a pattern whose named "
		 "groups become variables\n"},
		{"signals:\n  responses: [{ is: rate }]\n",
		 "own/v.yaml:2:15: error: missing key 'when' of a response: which responses\n"},
		{"signals:\n  responses: [{ when: { status: 429 }, is: rates }]\n",
		 "own/v.yaml:2:44: error: unknown class of limit 'rates' (did you mean 'rate'?); "
		 "known: none, rate, quota, concurrency, cost, overload, billing\n"},
		{"signals:\n  responses: [{ when: { status: 4x }, is: rate }]\n",
		 "own/v.yaml:2:33: error: expected a status such as 429, or all of a kind such as "
		 "5xx, found '4x'\n"},
		{"signals:\n  responses: [{ when: { status: 600 }, is: rate }]\n",
		 "own/v.yaml:2:33: error: expected a status such as 429, or all of a kind such as "
		 "5xx, found '600'\n"},
		{"signals:\n  responses: [{ when: {}, is: rate }]\n",
		 "own/v.yaml:2:23: error: expected a condition: a mapping of status, exhausted and "
		 "places to what they must be, found a mapping\n"},
		{"signals:\n  responses: [{ when: [], is: rate }]\n",
		 "own/v.yaml:2:23: error: expected a condition: a mapping of status, exhausted and "
		 "places to what they must be, found an empty list\n"},
		{"signals:\n  responses: [{ when: { '/a/{b}': x }, is: rate }]\n",
		 "own/v.yaml:2:25: error: there are no variables here: '/a/{b}'\n"},
		{"signals:\n  responses: [{ when: { /a: {} }, is: rate }]\n",
		 "own/v.yaml:2:29: error: expected a text, a list of texts, {matches: pattern} or "
		 "{present: yes}, found a mapping\n"},
		{"signals:\n  responses: [{ when: { /a: { present: maybe } }, is: rate }]\n",
		 "own/v.yaml:2:40: error: unknown answer 'maybe'; known: yes, no\n"},
		{"signals:\n  responses: [{ when: { /a: { match: b } }, is: rate }]\n",
		 "own/v.yaml:2:31: error: unknown key 'match' (did you mean 'matches'?); known: "
		 "matches, present\n"},
		{"signals:\n  wait: reset\n", "own/v.yaml:2:9: error: expected a list of waits, "
					      "such as [{from: retry-after, as: "
					      "retry-after}, reset], found 'reset'\n"},
		{"signals:\n  wait: [rest]\n", "own/v.yaml:2:10: error: unknown wait 'rest' (did "
					       "you mean 'reset'?); known: reset, "
					       "refill, window, aligned\n"},
		{"signals:\n  wait: [{ default: soon }]\n",
		 "own/v.yaml:2:21: error: expected a time such as 30s or 1m, found 'soon'\n"},
		{"signals:\n  block: everything\n",
		 "own/v.yaml:2:10: error: unknown block 'everything'; known: request, resource, "
		 "tenant, account\n"},
		{"signals:\n  documents: [0]\n",
		 "own/v.yaml:2:15: error: expected a JSON pointer such as /0, found '0'\n"},
		{"signals:\n  like: githbu\n",
		 "own/v.yaml:2:9: error: unknown adapter 'githbu' (did you mean 'github'?); known: "
		 "airtable, airweave, akamai, amazon-sp-api, anilist, anthropic, asaas, asana, "
		 "atlassian, atlassian-bitbucket, atlassian-trello, aws, azure, "
		 "azure-app-configuration, azure-cosmosdb, azure-openai and 63 more\n"},
		{"signals:\n  like: v\n", "own/v.yaml:2:9: error: 'v' stands behind itself\n"},
		{"signals: [\n",
		 "own/v.yaml:2:1: error: YAML: did not find expected node content\n"},
		{"", "own/v.yaml: error: expected an adapter (a YAML mapping), found nothing\n"},
		{"signals: &a {}\n", "own/v.yaml:1:10: error: anchors (&name) are not supported in "
				     "an adapter: write the value out\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_message(cases[i].text, cases[i].expected);
}

Test(signal_adapters, several_messages_at_once_and_in_order)
{
	char *messages;

	write_adapter("v", "signals:\n"
			   "  wait: [soon]\n"
			   "  limits:\n"
			   "    - { limt: a }\n"
			   "    - { limit: a, window: x y }\n"
			   "  block: nobody\n");
	messages = messages_of("v", -EINVAL);
	cr_expect(strstr(messages, "own/v.yaml:2:10: error: unknown wait 'soon'"), "%s", messages);
	cr_expect(strstr(messages, "own/v.yaml:4:9: error: unknown key 'limt'"), "%s", messages);
	cr_expect(strstr(messages, "own/v.yaml:5:27: error: expected a place"), "%s", messages);
	cr_expect(strstr(messages, "own/v.yaml:6:10: error: unknown block 'nobody'"), "%s",
		  messages);
	free(messages);
}

Test(signal_adapters, a_bad_one_spoils_those_it_stands_behind)
{
	char *messages;

	write_adapter("base", "signals: { block: x }\n");
	write_adapter("v", "signals: { like: base }\n");
	messages = messages_of("v", -EINVAL);
	cr_expect_str_eq(messages, "own/base.yaml:1:19: error: unknown block 'x'; known: request, "
				   "resource, tenant, account\n");
	free(messages);
}

Test(signal_adapters, a_chain_of_them_ends)
{
	char *messages, text[64];

	for (int i = 0; i < 9; i++) {
		char name[16];

		snprintf(name, sizeof(name), "v%d", i);
		snprintf(text, sizeof(text), "signals: { like: v%d }\n", i + 1);
		write_adapter(name, text);
	}
	write_adapter("v9", "signals: {}\n");
	messages = messages_of("v0", -EINVAL);
	cr_expect(strstr(messages, "more than 4 adapters stand behind each other"), "%s", messages);
	free(messages);
	write_adapter("v2", "signals: { like: v0 }\n");
	messages = messages_of("v0", -EINVAL);
	cr_expect(strstr(messages, "own/v2.yaml:1:18: error: 'v0' stands behind itself"), "%s",
		  messages);
	free(messages);
}

Test(signal_adapters, a_directory_that_is_none)
{
	struct adapters *adapters = NULL;
	struct policy_text messages = {0};

	cr_expect_eq(adapters_open("nowhere", policy_text_add, &messages, &adapters), -ENOENT);
	cr_expect_null(adapters);
	policy_write("file", "", 0);
	cr_expect_eq(adapters_open("file", policy_text_add, &messages, &adapters), -ENOTDIR);
	cr_expect_null(messages.text);
}

Test(signal_adapters, a_file_that_cannot_be_used)
{
	char *messages;

	policy_write("own/v.yaml/x", "", 0);
	messages = messages_of("v", -EINVAL);
	cr_expect_str_eq(messages, "own/v.yaml: error: cannot be read: Is a directory\n");
	free(messages);
	write_adapter("w", "signals: {} # \xff\n");
	messages = messages_of("w", -EINVAL);
	cr_expect_str_eq(messages,
			 "own/w.yaml:1:15: error: expected UTF-8 text, found the byte 0xff\n");
	free(messages);
}

/* --- adapters that are good --- */

static void expect_signal(struct adapters *adapters, const char *response, const char *expected)
{
	json_t *in = json_loads(response, 0, NULL), *want = json_loads(expected, 0, NULL), *out;
	char *text;

	cr_assert(in && want, "%s\n%s", response, expected);
	out = signal_of(adapters, in);
	text = signal_differs(want, out);
	cr_expect_null(text, "%s: %s", response, text);
	free(text);
	json_decref(in);
	json_decref(want);
	json_decref(out);
}

Test(signal_adapters, the_operators_come_first)
{
	struct adapters *adapters;

	write_adapter("github",
		      "signals:\n"
		      "  responses: [{ when: { status: 420 }, is: rate, reason: calm }]\n");
	write_adapter("new", "signals:\n  like: github\n  scope: desk\n"
			     "  limits: [{ remaining: left }]\n");
	write_adapter("not a name", "{");
	policy_write("own/readme.txt", "x", 1);
	adapters = signal_adapters("own");
	expect_signal(adapters, "{\"vendor\":\"github\",\"status\":420,\"now\":1}",
		      "{\"limited\":true,\"reason\":\"calm\"}");
	expect_signal(
		adapters,
		"{\"vendor\":\"new\",\"status\":420,\"headers\":{\"Left\":\"3\"},\"now\":1}",
		"{\"limited\":true,\"reason\":\"calm\",\"scope\":\"desk\",\"limits\":[{\"name\":"
		"\"default\",\"remaining\":3}]}");
	expect_signal(adapters, "{\"vendor\":\"slack\",\"status\":429,\"now\":1}",
		      "{\"reason\":\"ratelimited\"}");
	expect_signal(adapters, "{\"vendor\":\"nobody\",\"status\":429,\"now\":1}",
		      "{\"reason\":\"too_many_requests\"}");
	adapters_close(&adapters);
}

Test(signal_adapters, parts_that_a_file_has_not_are_those_that_are_shipped)
{
	struct adapters *adapters;

	write_adapter("slack", "limits: {}\n");
	write_adapter("acme", "limits: {}\n");
	adapters = signal_adapters("own");
	expect_signal(adapters, "{\"vendor\":\"slack\",\"status\":429,\"now\":1}",
		      "{\"reason\":\"ratelimited\"}");
	expect_signal(adapters, "{\"vendor\":\"acme\",\"status\":429,\"now\":1}",
		      "{\"reason\":\"too_many_requests\"}");
	adapters_close(&adapters);
}

Test(signal_adapters, what_stands_behind_does_only_what_is_not_said)
{
	struct adapters *adapters;

	write_adapter("generic", "signals:\n"
				 "  block: account\n"
				 "  limits: [{ remaining: base-left }]\n"
				 "  wait: [{ default: 7s }]\n"
				 "  cost: [base-cost]\n"
				 "  never: { stop: 'yes' }\n"
				 "  responses:\n"
				 "    - { when: { status: 429 }, is: rate, reason: base }\n"
				 "    - { when: { status: 430 }, is: quota, reason: base }\n");
	write_adapter("v",
		      "signals:\n"
		      "  responses:\n"
		      "    - { when: { status: 429 }, is: cost }\n"
		      "    - { when: { status: 431 }, is: billing, retry: never, wait: [] }\n");
	adapters = signal_adapters("own");
	expect_signal(adapters,
		      "{\"vendor\":\"v\",\"status\":429,\"headers\":{\"base-left\":\"1\",\"base-"
		      "cost\":\"2\"},\"now\":1}",
		      "{\"class\":\"cost\",\"reason\":\"cost\",\"retry_after_ms\":7000,"
		      "\"retry_after_from\":\"vendor-default\",\"cost\":2,\"limits\":[{\"name\":"
		      "\"default\",\"remaining\":1}]}");
	expect_signal(adapters,
		      "{\"vendor\":\"v\",\"status\":430,\"headers\":{\"Stop\":\"YES\"},\"now\":1}",
		      "{\"class\":\"quota\",\"reason\":\"base\",\"retryable\":false}");
	expect_signal(adapters, "{\"vendor\":\"v\",\"status\":431,\"now\":1}",
		      "{\"class\":\"billing\",\"retryable\":false,\"retry_after_ms\":null}");
	adapters_close(&adapters);
}

Test(signal_adapters, how_far_a_block_reaches)
{
	static const struct {
		int status;
		bool has_resource;
		enum signal_block block;
	} cases[] = {
		{429, true, SIGNAL_BLOCK_RESOURCE}, {429, false, SIGNAL_BLOCK_TENANT},
		{430, true, SIGNAL_BLOCK_REQUEST},  {430, false, SIGNAL_BLOCK_REQUEST},
		{431, true, SIGNAL_BLOCK_ACCOUNT},
	};
	const struct adapter *adapter = NULL;
	struct adapters *adapters;
	struct signal signal;

	write_adapter("v", "signals:\n"
			   "  block: resource\n"
			   "  responses:\n"
			   "    - { when: { status: 430 }, is: cost, block: request }\n"
			   "    - { when: { status: 431 }, is: quota, block: account }\n");
	adapters = signal_adapters("own");
	cr_assert_eq(adapters_get(adapters, "v", &adapter), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct signal_response response = {
			.status = cases[i].status,
			.has_resource = cases[i].has_resource,
		};

		signal_read(adapter, &response, &signal);
		cr_expect_eq(signal.block, cases[i].block, "%d: %s", cases[i].status,
			     signal_block_name(signal.block));
	}
	adapters_close(&adapters);
}

Test(signal_adapters, places)
{
	struct adapters *adapters;

	write_adapter("v",
		      "signals:\n"
		      "  documents: [/wrapped]\n"
		      "  limits:\n"
		      "    - { name: escaped, remaining: /a~1b/c~0d }\n"
		      "    - { name: first, remaining: /list/0/n }\n"
		      "    - { name: any, remaining: /list/*/n }\n"
		      "    - { name: deep, remaining: /**/far }\n"
		      "    - { name: 'k-{k}', remaining: '/map/{k}/n' }\n"
		      "    - { name: 'p-{k}', remaining: '/map2/pre-{k:[0-9]+}' }\n"
		      "    - { name: inside, remaining: /inside/n }\n"
		      "    - { name: header, remaining: usage#/n }\n"
		      "    - { name: several, remaining: [none, /none, two] }\n"
		      "    - each:\n"
		      "        - { from: groups, match: '(?<where>\\w+)=(?<list>[^;]+)' }\n"
		      "        - { from: '{list}', match: '(?<remaining>\\d+)@(?<name>\\w+)' }\n"
		      "      scope: '{where}'\n");
	adapters = signal_adapters("own");
	expect_signal(
		adapters,
		"{\"vendor\":\"v\",\"status\":200,\"now\":1,"
		"\"headers\":{\"Usage\":\"{\\\"n\\\":8}\",\"two\":\"9\",\"Groups\":\"x=1@a,2@b;y=3@"
		"c\"},"
		"\"body\":\"{\\\"a/"
		"b\\\":{\\\"c~d\\\":1},\\\"list\\\":[{\\\"n\\\":2},{\\\"n\\\":1}],"
		"\\\"q\\\":[{\\\"r\\\":{\\\"far\\\":4}}],\\\"map\\\":{\\\"one\\\":{\\\"n\\\":5},"
		"\\\"two\\\":"
		"{\\\"n\\\":\\\"6\\\"}},\\\"map2\\\":{\\\"pre-7\\\":7,\\\"pre-x\\\":0},"
		"\\\"wrapped\\\":"
		"\\\"{\\\\\\\"inside\\\\\\\":{\\\\\\\"n\\\\\\\":3}}\\\"}\"}",
		"{\"limits\":[{\"name\":\"escaped\",\"remaining\":1},{\"name\":\"first\","
		"\"remaining\":2},"
		"{\"name\":\"any\",\"remaining\":1},{\"name\":\"deep\",\"remaining\":4},"
		"{\"name\":\"k-one\",\"remaining\":5},{\"name\":\"k-two\",\"remaining\":6},"
		"{\"name\":\"p-7\",\"remaining\":7},{\"name\":\"inside\",\"remaining\":3},"
		"{\"name\":\"header\",\"remaining\":8},{\"name\":\"several\",\"remaining\":9},"
		"{\"name\":\"a\",\"remaining\":1},{\"name\":\"b\",\"remaining\":2},"
		"{\"name\":\"c\",\"remaining\":3}],\"scope\":\"x\"}");
	adapters_close(&adapters);
}

Test(signal_adapters, bounds_of_what_is_read)
{
	const struct adapter *adapter = NULL;
	struct adapters *adapters;
	const size_t large = SIGNAL_BODY_MAX + 1;
	char *body = malloc(large), name[300], *deep = malloc(4000);
	struct signal_header headers[100];
	struct signal_response response = {.status = 429, .headers = headers};
	struct signal signal;

	write_adapter("v", "signals:\n"
			   "  limits: [{ name: '{k}', remaining: 'left-{k}' }, { name: d, "
			   "remaining: /**/n }]\n"
			   "  responses: [{ when: { body: { matches: 'x' } }, is: cost }]\n");
	adapters = signal_adapters("own");
	cr_assert_eq(adapters_get(adapters, "v", &adapter), 0);
	/* More limits than there is room for, with names that are too long. */
	memset(name, 'k', sizeof(name));
	memcpy(name, "left-", 5);
	for (size_t i = 0; i < 100; i++)
		headers[i] = (struct signal_header){name, "1", sizeof(name) - i, 1};
	response.n_headers = 100;
	signal_read(adapter, &response, &signal);
	cr_expect_eq(signal.n_limits, 1, "all are cut to the same name: %u", signal.n_limits);
	cr_expect_eq(strlen(signal.limits[0].name), SIGNAL_TEXT_MAX);
	for (size_t i = 0; i < 100; i++)
		headers[i].name_size = 6 + i;
	signal_read(adapter, &response, &signal);
	cr_expect_eq(signal.n_limits, SIGNAL_LIMITS_MAX);
	/* A body that is too large is none. */
	response.n_headers = 0;
	memset(body, 'x', large);
	response.body = body;
	response.body_size = large;
	signal_read(adapter, &response, &signal);
	cr_expect_eq(signal.limit_class, SIGNAL_RATE);
	response.body_size = large - 1;
	signal_read(adapter, &response, &signal);
	cr_expect_eq(signal.limit_class, SIGNAL_COST);
	/* A body that is nested far too deep is looked at as far as that goes. */
	memset(deep, '[', 2000);
	memset(deep + 2000, ']', 2000);
	response.body = deep;
	response.body_size = 4000;
	signal_read(adapter, &response, &signal);
	cr_expect_eq(signal.n_limits, 0);
	free(body);
	free(deep);
	adapters_close(&adapters);
}
