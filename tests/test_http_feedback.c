/*
 * tests/test_http_feedback.c - what requests are estimated to cost, what answers say, and what was used
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_http.h"

TestSuite(http_feedback, .timeout = 60);

static const char policy[] =
	"version: 1\nclasses: [bulk]\ndefaults: { margin: 0%, delay: 1s }\n"
	"vendors:\n"
	"  default:\n    limits:\n"
	"      - { name: rate, kind: rolling, period: 30d, amount: 100, scope: [vendor] }\n"
	"  openai:\n    limits:\n"
	"      - { name: requests, kind: rolling, period: 30d, amount: 100, scope: [vendor] }\n"
	"      - { name: tokens, unit: tokens, kind: rolling, period: 30d, amount: 10000,\n"
	"          default_cost: 1000, scope: [vendor] }\n"
	"      - { name: spend, unit: usd_micros, kind: rolling, period: 30d, amount: 1000000,\n"
	"          default_cost: 1, scope: [vendor] }\n";

#define RESPONSE(status, headers, body)                                                            \
	"HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n" headers   \
	"\r\n" body

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_http *engine;
	struct peer peer;
	struct peer_step step;
};

static void scene_begin(struct scene *s, const char *vendor, const char *adapters,
			const char *response)
{
	const struct ration_key key = {.vendor = vendor, .traffic_class = "bulk"};
	const struct ration_http_options options = {.adapters = adapters};
	char path[] = "/tmp/ration-policy-XXXXXX";
	const int fd = mkstemp(path);
	struct ration_error error;

	cr_assert_eq(write(fd, policy, sizeof(policy) - 1), (ssize_t)sizeof(policy) - 1);
	close(fd);
	cr_assert_eq(ration_embed(path, &s->ration, &error), 0, "%s", error.text);
	unlink(path);
	cr_assert_eq(ration_resolve(s->ration, &key, &s->handle, &error), 0, "%s", error.text);
	s->engine = engine_make(s->ration, &options);
	s->step = (struct peer_step){response, PEER_CLOSE};
	peer_start(&s->peer, &s->step, 1);
}

static void scene_end(struct scene *s)
{
	ration_http_free(&s->engine);
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
	peer_stop(&s->peer);
}

static void ask(struct scene *s, const char *body, struct answer *answer)
{
	struct ration_http_request request;
	char url[128];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1/chat/completions", s->peer.port);
	request = answer_request(answer, url);

	request.handle = s->handle;
	request.body = body;
	request.body_size = body ? strlen(body) : 0;
	engine_submit(s->engine, &request);
	engine_run(s->engine, NULL);
	cr_assert_eq(answer->result.error, 0, "%s", answer->error_text);
	cr_assert_not_null(answer->result.signal);
}

/* As a denial of more than there is says. */
static uint64_t left(struct scene *s, const char *unit, uint64_t size)
{
	const struct ration_cost cost = {unit, size};
	struct ration_ticket ticket;
	struct ration_denial denial;
	const int result = ration_acquire(s->handle, &cost, 1, &ticket, &denial);

	cr_assert_eq(result, RATION_DENIED);
	cr_expect_str_eq(denial.unit, unit);
	return denial.left;
}

Test(http_feedback, a_vendor_that_nobody_knows)
{
	struct answer answer;
	struct scene s;

	scene_begin(&s, "some-crm", NULL,
		    RESPONSE("200 OK",
			     "X-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 7\r\n"
			     "X-RateLimit-Reset: 30\r\n",
			     "{}"));
	ask(&s, NULL, &answer);
	cr_expect_eq(answer.signal.status, 200);
	cr_expect_not(answer.signal.limited);
	cr_expect_eq(answer.signal.n_told, 1);
	cr_expect_eq(answer.signal.told[0].remaining, 7);
	cr_expect_eq(left(&s, "requests", 100), 7);
	cr_expect_not_null(strstr(answer.quota, "RateLimit-Remaining: 7\n"), "%s", answer.quota);
	scene_end(&s);
}

Test(http_feedback, a_refusal_in_the_words_of_the_standard)
{
	struct answer answer;
	struct scene s;

	scene_begin(&s, "some-crm", NULL,
		    RESPONSE("429 Too Many Requests", "Retry-After: 17\r\n",
			     "{\"error\":\"slow down\"}"));
	ask(&s, NULL, &answer);
	cr_expect_eq(answer.result.status, 429);
	cr_expect(answer.signal.limited);
	cr_expect(answer.signal.retryable);
	cr_expect_eq(answer.signal.retry_in_ns, UINT64_C(17000000000));
	cr_expect_not_null(strstr(answer.quota, "Retry-After: 17\n"), "%s", answer.quota);
	scene_end(&s);
}

/* The estimate is charged, and what the answer says was used stays. */
Test(http_feedback, tokens_are_estimated_and_settled)
{
	static const char prompt[] = "{\"model\":\"gpt-4o\",\"max_tokens\":3000,\"messages\":"
				     "[{\"role\":\"user\",\"content\":\"Say this is a test\"}]}";
	struct answer answer;
	struct scene s;

	scene_begin(&s, "openai", NULL,
		    RESPONSE("200 OK", "",
			     "{\"model\":\"gpt-4o\",\"usage\":{\"prompt_tokens\":12,"
			     "\"completion_tokens\":30,\"total_tokens\":42}}"));
	ask(&s, prompt, &answer);
	cr_expect_eq(left(&s, "tokens", 10000), 10000 - 42);
	/* 12 at 2.5 and 30 at 10 millionths of a dollar. */
	cr_expect_eq(left(&s, "usd_micros", 1000000), 1000000 - 330);
	scene_end(&s);
}

/* Nothing was said of what was used: the estimate stands. */
Test(http_feedback, an_estimate_stands_where_nothing_is_said)
{
	static const char prompt[] = "{\"model\":\"gpt-4o\",\"max_tokens\":3000,\"messages\":[]}";
	struct answer answer;
	struct scene s;

	scene_begin(&s, "openai", NULL, RESPONSE("200 OK", "", "{}"));
	ask(&s, prompt, &answer);
	cr_expect_eq(left(&s, "tokens", 10000), 7000);
	scene_end(&s);
}

/* What the caller names is not estimated. */
Test(http_feedback, a_cost_that_is_named_is_not_estimated)
{
	static const char prompt[] = "{\"model\":\"gpt-4o\",\"max_tokens\":3000}";
	const struct ration_cost cost = {"tokens", 500};
	struct ration_http_request request;
	struct answer answer;
	struct scene s;

	scene_begin(&s, "openai", NULL, RESPONSE("200 OK", "", "{}"));
	request = answer_request(&answer, s.peer.url);
	request.handle = s.handle;
	request.body = prompt;
	request.body_size = strlen(prompt);
	request.costs = &cost;
	request.n_costs = 1;
	engine_submit(s.engine, &request);
	engine_run(s.engine, NULL);
	cr_expect_eq(answer.result.error, 0);
	cr_expect_eq(left(&s, "tokens", 10000), 9500);
	scene_end(&s);
}

/* Of a stream of events the last that says it counts. */
Test(http_feedback, a_stream_of_events)
{
	static const char prompt[] = "{\"model\":\"gpt-4o\",\"max_tokens\":3000,\"stream\":true}";
	struct answer answer;
	struct scene s;

	scene_begin(
		&s, "openai", NULL,
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
		"data: {\"choices\":[],\"usage\":null}\n\n"
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"
		"\"total_tokens\":7}}\n\ndata: [DONE]\n\n");
	ask(&s, prompt, &answer);
	cr_expect_eq(left(&s, "tokens", 10000), 9993);
	scene_end(&s);
}

/* An adapter of the operator's own. */
Test(http_feedback, adapters_of_ones_own)
{
	static const char adapter[] = "signals:\n"
				      "  limits:\n"
				      "    - { name: rate, remaining: x-still-there }\n";
	char directory[] = "/tmp/ration-adapters-XXXXXX", path[64];
	struct answer answer;
	struct scene s;
	FILE *file;

	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/some-crm.yaml", directory);
	file = fopen(path, "w");
	cr_assert(file && fputs(adapter, file) >= 0 && fclose(file) == 0);
	scene_begin(&s, "some-crm", directory, RESPONSE("200 OK", "X-Still-There: 3\r\n", "{}"));
	ask(&s, NULL, &answer);
	cr_expect_eq(answer.signal.n_told, 1);
	cr_expect_eq(left(&s, "requests", 100), 3);
	scene_end(&s);
	unlink(path);
	rmdir(directory);
}

Test(http_feedback, a_directory_that_is_not_there)
{
	const struct ration_http_options options = {.adapters = "/nonexistent"};
	struct ration_http *engine = NULL;
	struct scene s;

	scene_begin(&s, "some-crm", NULL, RESPONSE("200 OK", "", "{}"));
	cr_expect_eq(ration_http_new(s.ration, &options, &engine), -ENOENT);
	cr_expect_null(engine);
	scene_end(&s);
}
