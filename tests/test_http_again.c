/*
 * tests/test_http_again.c - requests that failed and are tried again
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "shm/budget.h"
#include "support_http.h"

TestSuite(http_again, .timeout = 60);

static const char policy[] =
	"version: 1\n"
	"classes:\n"
	"  - { name: quick, retry: { attempts: 3, total: 50s, base: 2ms, cap: 4ms, budget: 100% } "
	"}\n"
	"  - { name: once, retry: none }\n"
	"  - { name: poor, retry: { attempts: 1000, total: 50s, base: 1ms, cap: 1ms, budget: 0% } "
	"}\n"
	"  - { name: short, retry: { attempts: 3, total: 1s, base: 2ms, cap: 4ms } }\n"
	"vendors:\n  v:\n    limits:\n"
	"      - { name: rate, kind: rolling, period: 30d, amount: 100000, scope: [vendor] }\n";

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_http *engine;
	struct peer peer;
};

static struct ration_handle *handle_of(struct ration *ration, const char *class)
{
	const struct ration_key key = {.vendor = "v", .traffic_class = class};
	struct ration_handle *handle = NULL;

	cr_assert_eq(ration_resolve(ration, &key, &handle, NULL), 0);
	return handle;
}

static void scene_begin(struct scene *s, const char *class)
{
	char path[] = "/tmp/ration-policy-XXXXXX";
	const int fd = mkstemp(path);
	struct ration_error error;

	cr_assert_eq(write(fd, policy, sizeof(policy) - 1), (ssize_t)sizeof(policy) - 1);
	close(fd);
	cr_assert_eq(ration_embed(path, &s->ration, &error), 0, "%s", error.text);
	unlink(path);
	s->handle = handle_of(s->ration, class);
	s->engine = engine_make(s->ration, NULL);
}

static void scene_end(struct scene *s)
{
	ration_http_free(&s->engine);
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
}

struct seen {
	struct answer answer;
	int retries;
	long status[16];
};

static void on_retry(void *user, const struct ration_http_result *result, uint64_t wait_ns)
{
	struct seen *seen = (struct seen *)user;

	cr_assert_lt(seen->retries, 16);
	cr_expect_lt(wait_ns, UINT64_C(3000000000));
	seen->status[seen->retries++] = result->error ? result->error : result->status;
}

static struct ration_http_request request_of(struct scene *s, struct seen *seen)
{
	struct ration_http_request request;

	memset(seen, 0, sizeof(*seen));
	request = answer_request(&seen->answer, s->peer.url);
	request.handle = s->handle;
	request.retry = true;
	request.on_retry = on_retry;
	return request;
}

static void run(struct scene *s, const struct ration_http_request *request)
{
	engine_submit(s->engine, request);
	engine_run(s->engine, NULL);
}

_Static_assert(offsetof(struct seen, answer) == 0, "user of both kinds of callback");

/* The answers of a peer, the last of them again and again. All on one connection that is kept. */
#define KEPT(status, more)                                                                         \
	{                                                                                          \
		"HTTP/1.1 " status "\r\nContent-Length: 2\r\n" more "\r\n{}", PEER_KEEP            \
	}

Test(http_again, a_refusal_is_repeated_and_told)
{
	static const struct peer_step steps[] = {
		KEPT("429 Too Many Requests", "Retry-After: 0\r\n"),
		KEPT("429 Too Many Requests", "Retry-After: 0\r\n"),
		KEPT("200 OK", ""),
	};
	struct ration_http_request request;
	struct seen seen;
	struct scene s;

	scene_begin(&s, "quick");
	peer_start(&s.peer, steps, 3);
	request = request_of(&s, &seen);
	request.method = "POST"; /* refused before it was acted upon */
	request.body = "{}";
	request.body_size = 2;
	run(&s, &request);
	cr_expect_eq(seen.answer.done, 1);
	cr_expect_eq(seen.answer.result.status, 200, "%s", seen.answer.error_text);
	cr_expect_eq(seen.answer.result.attempts, 3);
	cr_expect_eq(seen.answer.result.refusals, 2);
	cr_expect_eq(seen.retries, 2);
	cr_expect_eq(seen.status[0], 429);
	cr_expect_eq(seen.answer.sends, 3, "once for each try");
	scene_end(&s);
	peer_stop(&s.peer);
}

Test(http_again, no_more_often_than_the_class_says)
{
	static const struct peer_step steps[] = {
		KEPT("429 Too Many Requests", "Retry-After: 0\r\n")};
	struct ration_http_request request;
	struct seen seen;
	struct scene s;

	scene_begin(&s, "quick");
	peer_start(&s.peer, steps, 1);
	request = request_of(&s, &seen);
	run(&s, &request);
	cr_expect_eq(seen.answer.result.status, 429);
	cr_expect_eq(seen.answer.result.attempts, 3);
	cr_expect_eq(seen.answer.result.refusals, 3);
	ration_handle_free(&s.handle);
	s.handle = handle_of(s.ration, "once");
	request = request_of(&s, &seen);
	run(&s, &request);
	cr_expect_eq(seen.answer.result.attempts, 1);
	cr_expect_eq(seen.retries, 0);
	scene_end(&s);
	peer_stop(&s.peer);
}

/* What a server in trouble may have done is not done twice, unless that does no harm. */
Test(http_again, what_may_have_been_done_is_not_repeated)
{
	static const char *const keyed[] = {"Idempotency-Key: 7"};
	static const struct peer_step steps[] = {KEPT("500 Internal Server Error", "")};
	struct ration_http_request request;
	struct seen seen;
	struct scene s;

	scene_begin(&s, "quick");
	peer_start(&s.peer, steps, 1);
	request = request_of(&s, &seen);
	request.method = "POST";
	run(&s, &request);
	cr_expect_eq(seen.answer.result.attempts, 1);
	request = request_of(&s, &seen);
	run(&s, &request);
	cr_expect_eq(seen.answer.result.attempts, 3, "a GET");
	request = request_of(&s, &seen);
	request.method = "POST";
	request.headers = keyed;
	request.n_headers = 1;
	run(&s, &request);
	cr_expect_eq(seen.answer.result.attempts, 3, "with a key");
	request = request_of(&s, &seen);
	request.method = "POST";
	request.idempotent = true;
	run(&s, &request);
	cr_expect_eq(seen.answer.result.attempts, 3, "the caller knows better");
	scene_end(&s);
	peer_stop(&s.peer);
}

/* Nobody listens there: it has not left, and may be tried again whatever it is. */
Test(http_again, what_never_left_is_repeated)
{
	static const struct peer_step steps[] = {KEPT("200 OK", "")};
	struct ration_http_request request;
	struct seen seen;
	struct scene s;

	scene_begin(&s, "quick");
	peer_start(&s.peer, steps, 1);
	peer_stop(&s.peer);
	request = request_of(&s, &seen);
	request.method = "POST";
	run(&s, &request);
	cr_expect_eq(seen.answer.result.error, -ECONNREFUSED, "%s", seen.answer.error_text);
	cr_expect_eq(seen.retries, 2);
	cr_expect_eq(seen.answer.result.attempts, 0);
	scene_end(&s);
}

/* The vendor's time comes after all that the class has. */
Test(http_again, nobody_waits_longer_than_the_class_says)
{
	static const struct peer_step steps[] = {
		KEPT("429 Too Many Requests", "Retry-After: 3600\r\n")};
	struct ration_http_request request;
	struct seen seen;
	struct scene s;

	scene_begin(&s, "short");
	peer_start(&s.peer, steps, 1);
	request = request_of(&s, &seen);
	run(&s, &request);
	cr_expect_eq(seen.answer.result.status, 429);
	cr_expect_eq(seen.answer.result.attempts, 1);
	scene_end(&s);
	peer_stop(&s.peer);
}

/* Ten to begin with, and nothing is earned: after that everybody gives up at once. */
Test(http_again, the_budget_is_everybodys)
{
	static const struct peer_step steps[] = {KEPT("500 Internal Server Error", "")};
	struct ration_http_request request;
	struct budget budget;
	struct seen seen;
	struct scene s;

	scene_begin(&s, "poor");
	peer_start(&s.peer, steps, 1);
	request = request_of(&s, &seen);
	run(&s, &request);
	cr_expect_eq(seen.answer.result.attempts, 11);
	request = request_of(&s, &seen);
	run(&s, &request);
	cr_expect_eq(seen.answer.result.attempts, 1);
	cr_assert(budget_find(client_seg(s.ration), budget_key("v", "poor"), &budget));
	cr_expect_eq(budget.spent, 10);
	cr_expect_eq(budget.refused, 2);
	scene_end(&s);
	peer_stop(&s.peer);
}

/* While it rests it is nowhere, and can be cancelled. */
Test(http_again, a_request_that_rests_is_cancelled)
{
	static const struct peer_step steps[] = {
		KEPT("429 Too Many Requests", "Retry-After: 2\r\n")};
	struct ration_http_request request;
	struct seen seen;
	struct scene s;
	uint64_t id;

	scene_begin(&s, "quick");
	peer_start(&s.peer, steps, 1);
	request = request_of(&s, &seen);
	id = engine_submit(s.engine, &request);
	engine_run(s.engine, &seen.retries);
	cr_expect_eq(seen.answer.done, 0);
	cr_expect_eq(ration_http_cancel(s.engine, id), 0);
	cr_expect_eq(seen.answer.result.error, -ECANCELED);
	cr_expect_eq(ration_http_run(s.engine, 0), 0);
	request = request_of(&s, &seen);
	engine_submit(s.engine, &request);
	engine_run(s.engine, &seen.retries);
	scene_end(&s); /* one that rests ends with the engine */
	cr_expect_eq(seen.answer.result.error, -ECANCELED);
	peer_stop(&s.peer);
}
