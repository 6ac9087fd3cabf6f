/*
 * tests/test_http_route.c - requests that may go to one of several vendors
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "shm/check.h"
#include "support_http.h"

TestSuite(http_route, .timeout = 60);

#define S UINT64_C(1000000000)

static const char policy[] =
	"version: 1\n"
	"classes:\n"
	"  - { name: bulk, retry: { attempts: 3, total: 50s, base: 2ms, cap: 4ms, budget: 100% } "
	"}\n"
	"defaults: { margin: 0% }\n"
	"vendors:\n"
	"  one: { limits: [{ name: rate, rate: 1M/s, burst: 1M, scope: [vendor] }] }\n"
	"  two: { limits: [{ name: rate, rate: 1M/s, burst: 1M, scope: [vendor] }] }\n"
	"  three: { limits: [{ name: rate, rate: 100/s, burst: 10, scope: [vendor] }] }\n"
	"  four: { limits: [{ name: rate, rate: 100/s, burst: 10, scope: [vendor] }] }\n"
	"routes:\n"
	"  best: [one, two/x]\n"
	"  tight: [three, four]\n";

struct scene {
	struct ration *ration;
	struct ration_route *route;
	struct ration_http *engine;
	struct peer one, two;
	struct ration_http_alternative both[2];
};

static void problem(void *user, const char *what, uint32_t where)
{
	(void)user;
	cr_assert_fail("%s (%u)", what, where);
}

static void scene_begin(struct scene *s, const char *route,
			const struct ration_http_options *options)
{
	const struct ration_key key = {.vendor = route, .traffic_class = "bulk"};
	char path[] = "/tmp/ration-policy-XXXXXX";
	const int fd = mkstemp(path);
	struct ration_error error;

	cr_assert_eq(write(fd, policy, sizeof(policy) - 1), (ssize_t)sizeof(policy) - 1);
	close(fd);
	cr_assert_eq(ration_embed(path, &s->ration, &error), 0, "%s", error.text);
	unlink(path);
	cr_assert_eq(ration_route_resolve(s->ration, &key, &s->route, &error), 0, "%s", error.text);
	s->engine = engine_make(s->ration, options);
}

static void peers_begin(struct scene *s, const struct peer_step *one, int n_one,
			const struct peer_step *two, int n_two)
{
	peer_start(&s->one, one, n_one);
	peer_start(&s->two, two, n_two);
	s->both[0] = (struct ration_http_alternative){.name = "one", .url = s->one.url};
	s->both[1] = (struct ration_http_alternative){.name = "two/x", .url = s->two.url};
}

static void scene_end(struct scene *s)
{
	ration_http_free(&s->engine);
	seg_check(client_seg(s->ration), client_now(s->ration), true, problem, NULL);
	ration_route_free(&s->route);
	ration_detach(&s->ration);
}

static void peers_end(struct scene *s)
{
	peer_stop(&s->one);
	peer_stop(&s->two);
}

static struct ration_http_request request_of(struct scene *s, struct answer *answer)
{
	struct ration_http_request request = answer_request(answer, NULL);

	request.route = s->route;
	request.alternatives = s->both;
	request.n_alternatives = 2;
	request.retry = true;
	return request;
}

static void get(struct scene *s, struct answer *answer)
{
	const struct ration_http_request request = request_of(s, answer);

	engine_submit(s->engine, &request);
	engine_run(s->engine, NULL);
	cr_assert_eq(answer->done, 1);
}

static bool went_to(const struct answer *answer, const char *name)
{
	return answer->result.pick && strcmp(answer->pick.name, name) == 0;
}

#define KEPT(status, more)                                                                         \
	{                                                                                          \
		"HTTP/1.1 " status "\r\nContent-Length: 2\r\n" more "\r\n{}", PEER_KEEP            \
	}

static const struct peer_step good[] = {KEPT("200 OK", "")};

/* What is refused goes elsewhere at once, nothing goes there before its time, and then it is asked again. */
Test(http_route, a_refusal_in_the_middle_costs_no_request)
{
	static const struct peer_step refuses[] = {
		KEPT("200 OK", ""),
		KEPT("200 OK", ""),
		KEPT("429 Too Many Requests", "Retry-After: 1\r\n"),
		KEPT("200 OK", ""),
	};
	uint64_t refused_ns = 0;
	struct answer answer;
	struct scene s;
	int n = 0;

	scene_begin(&s, "best", NULL);
	peers_begin(&s, refuses, 4, good, 1);
	for (bool back = false; !back; n++) {
		const uint64_t before = now_ns();

		get(&s, &answer);
		cr_assert_eq(answer.result.status, 200, "request %d: %s", n, answer.error_text);
		if (n < 2) {
			cr_assert(went_to(&answer, "one"));
		} else if (n == 2) {
			refused_ns = before;
			cr_assert(went_to(&answer, "two/x"));
			cr_assert_eq(answer.result.attempts, 2);
			cr_assert_eq(answer.result.refusals, 1);
			cr_assert_eq(answer.sends, 2, "once for each try");
		} else {
			back = went_to(&answer, "one");
			cr_assert_eq(answer.result.attempts, 1);
			cr_assert(!back || now_ns() >= refused_ns + S);
			usleep(5000);
		}
	}
	scene_end(&s);
	peers_end(&s);
	cr_expect_eq(atomic_load(&s.one.requests), 4);
	cr_expect_eq(atomic_load(&s.two.requests), n - 3);
}

Test(http_route, each_is_sent_what_is_meant_for_it)
{
	static const char *const own[] = {"X-Key: own"}, *const others[] = {"X-Key: others"};
	struct ration_http_request request;
	struct answer answer;
	struct scene s;

	scene_begin(&s, "best", NULL);
	peers_begin(&s, good, 1, good, 1);
	s.both[1].headers = others;
	s.both[1].n_headers = 1;
	s.both[1].body = "two";
	s.both[1].body_size = 3;
	request = request_of(&s, &answer);
	request.headers = own;
	request.n_headers = 1;
	request.body = "first";
	request.body_size = 5;
	engine_submit(s.engine, &request);
	engine_run(s.engine, NULL);
	cr_assert(went_to(&answer, "one"));
	request.alternatives = &s.both[1];
	request.n_alternatives = 1;
	engine_submit(s.engine, &request);
	engine_run(s.engine, NULL);
	cr_assert_eq(answer.done, 2);
	cr_assert(went_to(&answer, "two/x"), "the only one that is listed");
	cr_expect_str_eq(ration_handle_resource(answer.pick.handle), "x");
	scene_end(&s);
	peers_end(&s);
	cr_expect(strstr(s.one.last, "X-Key: own\r\n") && strstr(s.one.last, "Length: 5\r\n"), "%s",
		  s.one.last);
	cr_expect(strstr(s.two.last, "X-Key: others\r\n") && strstr(s.two.last, "Length: 3\r\n"),
		  "%s", s.two.last);
}

Test(http_route, without_a_list_it_goes_anywhere_as_it_is)
{
	struct ration_http_request request;
	struct answer answer;
	struct scene s;

	scene_begin(&s, "best", NULL);
	peers_begin(&s, good, 1, good, 1);
	request = request_of(&s, &answer);
	request.url = s.two.url;
	request.alternatives = NULL;
	request.n_alternatives = 0;
	engine_submit(s.engine, &request);
	engine_run(s.engine, NULL);
	cr_expect_eq(answer.result.status, 200);
	cr_expect(went_to(&answer, "one"));
	scene_end(&s);
	peers_end(&s);
	cr_expect_eq(atomic_load(&s.two.requests), 1);
}

/* Nobody listens at the first: the next try goes to the other, though nothing blocks the first. */
Test(http_route, whoever_cannot_be_reached_is_not_asked_twice)
{
	struct answer answer;
	struct scene s;
	char nowhere[64];

	scene_begin(&s, "best", NULL);
	peers_begin(&s, good, 1, good, 1);
	snprintf(nowhere, sizeof(nowhere), "%s", s.one.url);
	peer_stop(&s.one);
	s.both[0].url = nowhere;
	get(&s, &answer);
	cr_expect_eq(answer.result.status, 200, "%s", answer.error_text);
	cr_expect_eq(answer.result.attempts, 1);
	cr_expect(went_to(&answer, "two/x"));
	scene_end(&s);
	peer_stop(&s.two);
}

Test(http_route, what_makes_no_sense_is_refused)
{
	struct ration_http_alternative nine[RATION_ALTERNATIVES_MAX + 1] = {0};
	const struct ration_http_alternative unknown = {.name = "three",
							.url = "http://localhost/"},
					     nameless = {.url = "http://localhost/"},
					     nowhere = {.name = "one"};
	const struct ration_key key = {.vendor = "one", .traffic_class = "bulk"};
	struct ration_http_request request;
	struct ration_handle *handle;
	struct answer answer;
	struct scene s;

	scene_begin(&s, "best", NULL);
	request = request_of(&s, &answer);
	request.alternatives = &nowhere;
	request.n_alternatives = 1;
	cr_expect_eq(ration_http_submit(s.engine, &request, NULL), -EINVAL, "no URL");
	request.alternatives = &nameless;
	cr_expect_eq(ration_http_submit(s.engine, &request, NULL), -EINVAL);
	request.alternatives = nine;
	request.n_alternatives = RATION_ALTERNATIVES_MAX + 1;
	cr_expect_eq(ration_http_submit(s.engine, &request, NULL), -EINVAL);
	cr_assert_eq(ration_resolve(s.ration, &key, &handle, NULL), 0);
	request.url = "http://localhost/";
	request.n_alternatives = 0;
	request.handle = handle;
	cr_expect_eq(ration_http_submit(s.engine, &request, NULL), -EINVAL, "either, not both");
	ration_handle_free(&handle);
	request.handle = NULL;
	request.alternatives = &unknown;
	request.n_alternatives = 1;
	engine_submit(s.engine, &request);
	engine_run(s.engine, NULL);
	cr_expect_eq(answer.result.error, RATION_EVENDOR, "it is none of the route's");
	scene_end(&s);
}

/* A hundred at once, for which there are 20 and then 200 a second: each goes where there is room, and none is refused. */
Test(http_route, those_who_wait_go_where_there_is_room_first)
{
	enum { ASKED = 100 };
	static struct answer answers[ASKED];
	struct ration_http_request request;
	struct scene s;
	int first = 0;

	scene_begin(&s, "tight", NULL);
	peers_begin(&s, good, 1, good, 1);
	s.both[0].name = "three";
	s.both[1].name = "four";
	for (int i = 0; i < ASKED; i++) {
		request = request_of(&s, &answers[i]);
		engine_submit(s.engine, &request);
	}
	engine_run(s.engine, NULL);
	for (int i = 0; i < ASKED; i++) {
		cr_assert_eq(answers[i].result.status, 200, "%s", answers[i].error_text);
		first += went_to(&answers[i], "three");
	}
	cr_expect(first > 10 && first < ASKED - 10, "%d", first);
	scene_end(&s);
	peers_end(&s);
	cr_expect_eq(atomic_load(&s.one.requests), first);
}

static void block(struct scene *s, size_t n)
{
	const struct ration_signal signal = {
		.status = 429,
		.limited = true,
		.retryable = true,
		.limit_class = RATION_LIMIT_OVERLOAD,
		.reach = RATION_REACH_TENANT,
		.retry_in_ns = 3600 * S,
	};
	struct ration_pick pick;

	cr_assert_eq(ration_route_alternative(s->route, n, &pick), 0);
	cr_assert_eq(ration_observe(pick.handle, NULL, &signal), 0);
}

Test(http_route, whoever_may_go_elsewhere_is_not_held_up)
{
	struct ration_http_request only, request;
	struct answer waits, answer;
	struct scene s;
	uint64_t id;

	scene_begin(&s, "best", NULL);
	peers_begin(&s, good, 1, good, 1);
	block(&s, 0);
	only = request_of(&s, &waits);
	only.n_alternatives = 1;
	id = engine_submit(s.engine, &only);
	request = request_of(&s, &answer);
	engine_submit(s.engine, &request);
	engine_run(s.engine, &answer.done);
	cr_expect_eq(answer.result.status, 200);
	cr_expect(went_to(&answer, "two/x"));
	cr_expect_eq(waits.done, 0);
	cr_assert_eq(ration_http_cancel(s.engine, id), 0);
	scene_end(&s);
	peers_end(&s);
	cr_expect_eq(atomic_load(&s.one.requests), 0);
}

/* All that wait for a vendor that is blocked meanwhile go to the other as soon as it has room. */
Test(http_route, a_block_while_they_wait_moves_them)
{
	enum { ASKED = 40 };
	static struct answer answers[ASKED];
	struct ration_http_request request;
	struct scene s;

	scene_begin(&s, "tight", NULL);
	peers_begin(&s, good, 1, good, 1);
	s.both[0].name = "three";
	s.both[1].name = "four";
	for (int i = 0; i < ASKED; i++) {
		request = request_of(&s, &answers[i]);
		engine_submit(s.engine, &request);
	}
	engine_run(s.engine, &answers[0].done);
	block(&s, 0);
	engine_run(s.engine, NULL);
	for (int i = 0; i < ASKED; i++)
		cr_assert_eq(answers[i].result.status, 200, "%s", answers[i].error_text);
	cr_expect_geq(atomic_load(&s.two.requests), 1);
	scene_end(&s);
	peers_end(&s);
}

/* The only connection to the first is in use: no place there is as good as no quota. */
Test(http_route, a_host_without_a_place_is_left_out)
{
	static const struct peer_step hangs[] = {{"", PEER_HANG}};
	const struct ration_http_options options = {.max_host_connections = 1};
	struct ration_http_request request;
	struct answer slow, answer;
	struct scene s;
	uint64_t id;

	scene_begin(&s, "best", &options);
	peers_begin(&s, hangs, 1, good, 1);
	request = request_of(&s, &slow);
	id = engine_submit(s.engine, &request);
	engine_run(s.engine, &slow.sends);
	request = request_of(&s, &answer);
	engine_submit(s.engine, &request);
	engine_run(s.engine, &answer.done);
	cr_expect_eq(answer.result.status, 200, "%s", answer.error_text);
	cr_expect(went_to(&answer, "two/x"));
	cr_expect_eq(slow.done, 0);
	cr_assert_eq(ration_http_cancel(s.engine, id), 0);
	scene_end(&s);
	peers_end(&s);
}
