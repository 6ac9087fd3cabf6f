/*
 * tests/test_http_plain.c - the engine against nginx: requests arrive, answers come back
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "support_http.h"
#include "support_nginx.h"

static const char plain[] =
	"server { listen $PORT backlog=4096; keepalive_requests 100000;\n"
	"  location = /hello { return 200 'hello'; }\n"
	"  location = /echo { add_header X-Seen \"$request_method|$http_x_one|$http_x_empty|\";\n"
	"    return 200 '$content_type|$content_length|$http_expect|$http_user_agent'; }\n"
	"  location = /gone { return 404 'no'; }\n"
	"  location = /moved { return 302 /hello; }\n"
	"  location /put/ { dav_methods PUT; client_max_body_size 0; }\n"
	"  location /slow { limit_rate 100; }\n"
	"}";

Test(http_plain, connections_are_used_again)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct nginx nginx;

	nginx_start(&nginx, plain);
	for (int i = 0; i < 50; i++) {
		engine_get(engine, nginx_url(&nginx, "/hello"), &answer);
		cr_assert_eq(answer.result.error, 0, "%s", answer.error_text);
		cr_assert_eq(answer.result.status, 200);
		cr_assert_str_eq(answer.body, "hello");
		cr_assert_eq(answer.result.body_bytes, 5);
		cr_assert_eq(answer.result.attempts, 1);
		cr_assert_eq(answer.sends, 1);
		cr_assert_not(answer.result.fate_unknown);
		cr_assert_gt(answer.result.latency_ns, 0);
		cr_assert_null(answer.result.denial);
	}
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 GET /hello HTTP/1.1 "), 50);
	cr_expect_eq(nginx_connections(&nginx, NULL), 1);
	ration_http_free(&engine);
	cr_expect_null(engine);
	nginx_remove(&nginx);
}

Test(http_plain, an_http_error_or_a_redirect_is_an_answer)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct nginx nginx;

	nginx_start(&nginx, plain);
	engine_get(engine, nginx_url(&nginx, "/gone"), &answer);
	cr_expect_eq(answer.result.error, 0);
	cr_expect_eq(answer.result.status, 404);
	engine_get(engine, nginx_url(&nginx, "/moved"), &answer);
	cr_expect_eq(answer.result.error, 0);
	cr_expect_eq(answer.result.status, 302);
	cr_expect(strstr(answer.headers, "/hello\n"), "%s", answer.headers);
	cr_expect_null(strstr(answer.headers, "HTTP/"), "%s", answer.headers);
	ration_http_free(&engine);
	nginx_remove(&nginx);
}

/* What nginx saw of a request that is sent with given method, headers and body. */
static void ask_echo(struct ration_http *engine, const struct nginx *nginx, const char *method,
		     const char *body, struct answer *answer)
{
	static const char *const lines[] = {"X-One: a b", "X-Empty:", "Content-Length: 99"};
	struct ration_http_request request = answer_request(answer, nginx_url(nginx, "/echo"));

	request.method = method;
	request.headers = lines;
	request.n_headers = 3;
	request.body = body;
	request.body_size = body ? strlen(body) : 0;
	engine_submit(engine, &request);
	engine_run(engine, &answer->done);
	cr_assert_eq(answer->result.error, 0, "%s", answer->error_text);
}

Test(http_plain, methods_headers_and_bodies_arrive_as_given)
{
	static const struct {
		const char *method, *body, *seen, *body_seen;
	} cases[] = {
		{NULL, NULL, "GET|a b||", "|||ration/" RATION_VERSION},
		{NULL, "12345", "POST|a b||", "|5||ration/" RATION_VERSION},
		{"POST", NULL, "POST|a b||", "|0||ration/" RATION_VERSION},
		{"PATCH", "{}", "PATCH|a b||", "|2||ration/" RATION_VERSION},
		{"DELETE", NULL, "DELETE|a b||", "|||ration/" RATION_VERSION},
		{"HEAD", NULL, "HEAD|a b||", ""},
		{"GET", "query", "GET|a b||", "|5||ration/" RATION_VERSION},
	};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct nginx nginx;
	char line[64];

	nginx_start(&nginx, plain);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask_echo(engine, &nginx, cases[i].method, cases[i].body, &answer);
		snprintf(line, sizeof(line), "X-Seen: %s\n", cases[i].seen);
		cr_expect(strstr(answer.headers, line), "case %zu: %s", i, answer.headers);
		cr_expect_str_eq(answer.body, cases[i].body_seen, "case %zu: %s", i, answer.body);
	}
	ration_http_free(&engine);
	nginx_remove(&nginx);
}

Test(http_plain, what_cannot_be_a_request_is_refused)
{
	static const char *const bad_lines[] = {
		"no colon", ": no name", "X: a\r\nY: b", "X Y: a", "X: a\n", "",
	};
	static const char *const bad_urls[] = {
		NULL,
		"",
		"ftp://localhost/",
		"file:///etc/passwd",
		"http://",
		"https:///x",
		"http://local host/",
		"http://localhost/a b",
		"http://localhost/\r\n",
		"localhost",
	};
	struct ration_http *engine = engine_make(NULL, NULL);
	const struct ration_cost nameless = {"", 1};
	struct ration_http_request request;
	struct answer answer;
	uint64_t id = 7;

	for (size_t i = 0; i < sizeof(bad_urls) / sizeof(bad_urls[0]); i++) {
		request = answer_request(&answer, bad_urls[i]);
		cr_expect_eq(ration_http_submit(engine, &request, &id), -EINVAL, "url %zu", i);
	}
	for (size_t i = 0; i < sizeof(bad_lines) / sizeof(bad_lines[0]); i++) {
		request = answer_request(&answer, "http://localhost/");
		request.headers = &bad_lines[i];
		request.n_headers = 1;
		cr_expect_eq(ration_http_submit(engine, &request, &id), -EINVAL, "line %zu", i);
	}
	request = answer_request(&answer, "http://localhost/");
	request.method = "GET /x HTTP/1.1\r\nHost:";
	cr_expect_eq(ration_http_submit(engine, &request, &id), -EINVAL);
	request = answer_request(&answer, "http://localhost/");
	request.on_done = NULL;
	cr_expect_eq(ration_http_submit(engine, &request, &id), -EINVAL);
	request = answer_request(&answer, "http://localhost/");
	request.costs = &nameless;
	request.n_costs = 1;
	cr_expect_eq(ration_http_submit(engine, &request, &id), -EINVAL);
	cr_expect_eq(id, 7, "an out parameter was touched");
	cr_expect_eq(answer.done, 0);
	ration_http_free(&engine);
}

static long peak_rss_kb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

enum {
	BIG = 128 << 20,
};

Test(http_plain, a_long_answer_is_streamed_not_kept, .timeout = 30)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct nginx nginx;
	long before;

	nginx_start(&nginx, plain);
	nginx_file(&nginx, "small", 1000);
	nginx_file(&nginx, "big", BIG);
	engine_get(engine, nginx_url(&nginx, "/small"), &answer);
	before = peak_rss_kb();
	engine_get(engine, nginx_url(&nginx, "/big"), &answer);
	cr_expect_eq(answer.result.error, 0, "%s", answer.error_text);
	cr_expect_eq(answer.result.body_bytes, BIG);
	cr_expect_lt(peak_rss_kb() - before, 16 << 10);
	ration_http_free(&engine);
	nginx_remove(&nginx);
}

Test(http_plain, a_long_body_arrives_whole, .timeout = 30)
{
	enum { SIZE = 24 << 20 };
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct nginx nginx;
	char *body = malloc(SIZE), *back = malloc(SIZE);
	FILE *file;

	for (int i = 0; i < SIZE; i++)
		body[i] = (char)(i * 7 + i / 4096);
	nginx_start(&nginx, plain);
	request = answer_request(&answer, nginx_url(&nginx, "/put/file"));
	request.method = "PUT";
	request.body = body;
	request.body_size = SIZE;
	mkdir(nginx_path(&nginx, "put"), 0700);
	engine_submit(engine, &request);
	engine_run(engine, &answer.done);
	cr_expect_eq(answer.result.status, 201, "%ld %s", answer.result.status, answer.error_text);
	file = fopen(nginx_path(&nginx, "put/file"), "r");
	cr_assert(file && fread(back, 1, SIZE, file) == SIZE && fgetc(file) == EOF);
	cr_expect_eq(memcmp(body, back, SIZE), 0);
	fclose(file);
	free(body);
	free(back);
	ration_http_free(&engine);
	nginx_remove(&nginx);
}

Test(http_plain, an_answer_longer_than_allowed_ends_the_request)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct nginx nginx;

	nginx_start(&nginx, plain);
	nginx_file(&nginx, "file", 200000);
	request = answer_request(&answer, nginx_url(&nginx, "/file"));
	request.max_body = 200000;
	engine_submit(engine, &request);
	engine_run(engine, &answer.done);
	cr_expect_eq(answer.result.error, 0);
	request = answer_request(&answer, nginx_url(&nginx, "/file"));
	request.max_body = 199999;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(answer.done, 1);
	cr_expect_eq(answer.result.error, -EMSGSIZE);
	cr_expect_eq(answer.result.status, 200);
	cr_expect(answer.result.fate_unknown);
	cr_expect_leq(answer.result.body_bytes, 199999);
	ration_http_free(&engine);
	nginx_remove(&nginx);
}

/* ---- many ---- */

struct crowd {
	int in_flight;
	int peak;
	int ok;
	int done;
};

static int crowd_send(void *user, uint64_t id)
{
	struct crowd *crowd = user;

	(void)id;
	if (++crowd->in_flight > crowd->peak)
		crowd->peak = crowd->in_flight;
	return 0;
}

static void crowd_done(void *user, const struct ration_http_result *result)
{
	struct crowd *crowd = user;

	crowd->in_flight -= result->attempts != 0;
	crowd->ok += !result->error && result->status == 200;
	crowd->done++;
}

static void allow_descriptors(rlim_t n)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < n && limit.rlim_max >= n) {
		limit.rlim_cur = n;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	cr_assert_geq(limit.rlim_cur, n);
}

static void submit_crowd(struct ration_http *engine, const char *url, int n, struct crowd *crowd)
{
	struct ration_http_request request = {
		.url = url,
		.proxy = "",
		.user = crowd,
		.on_send = crowd_send,
		.on_done = crowd_done,
	};

	for (int i = 0; i < n; i++)
		engine_submit(engine, &request);
}

/*
 * Ten thousand at once; a thousand and more of them get their answers so slowly that they are in
 * flight together.
 */
Test(http_plain, ten_thousand_submitted_a_thousand_in_flight, .timeout = 30)
{
	enum { SLOW = 1050, ALL = 10000, LIMIT = 1200 };
	const struct ration_http_options options = {LIMIT, LIMIT, LIMIT, false, NULL};
	struct ration_http *engine;
	struct crowd crowd = {0};
	struct nginx nginx;

	allow_descriptors(4 * LIMIT);
	nginx_start(&nginx, plain);
	nginx_file(&nginx, "slow", 250);
	engine = engine_make(NULL, &options);
	submit_crowd(engine, nginx_url(&nginx, "/slow"), SLOW, &crowd);
	submit_crowd(engine, nginx_url(&nginx, "/hello"), ALL - SLOW, &crowd);
	engine_run(engine, NULL);
	cr_expect_eq(crowd.done, ALL);
	cr_expect_eq(crowd.ok, ALL);
	cr_expect_geq(crowd.peak, 1000);
	cr_expect_leq(crowd.peak, LIMIT);
	ration_http_free(&engine);
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 GET "), ALL);
	cr_expect_leq(nginx_connections(&nginx, NULL), LIMIT);
	nginx_remove(&nginx);
}

Test(http_plain, limits_on_connections_hold)
{
	const struct ration_http_options options = {.max_connections = 6,
						    .max_host_connections = 4};
	struct ration_http *engine = engine_make(NULL, &options);
	struct crowd one = {0}, other = {0};
	struct nginx nginx;
	char url[64];

	nginx_start(&nginx, plain);
	nginx_file(&nginx, "slow", 50);
	snprintf(url, sizeof(url), "http://localhost:%d/hello", nginx.port);
	submit_crowd(engine, nginx_url(&nginx, "/hello"), 400, &one);
	submit_crowd(engine, url, 400, &other);
	engine_run(engine, NULL);
	cr_expect_eq(one.ok, 400);
	cr_expect_eq(other.ok, 400);
	cr_expect_leq(one.peak, 4);
	cr_expect_leq(other.peak, 4);
	ration_http_free(&engine);
	nginx_remove(&nginx);
}
