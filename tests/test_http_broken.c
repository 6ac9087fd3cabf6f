/*
 * tests/test_http_broken.c - peers that break off, reset, lie, or never answer
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_http.h"
#include "support_nginx.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

struct expectation {
	const char *name;
	struct peer_step step;
	int error;
	long status;
};

static const struct expectation expectations[] = {
	{"complete", {OK, PEER_KEEP}, 0, 200},
	{"no body", {"HTTP/1.1 204 No Content\r\n\r\n", PEER_KEEP}, 0, 204},
	{"hints first", {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" OK, PEER_KEEP}, 0, 200},
	{"ends with the connection", {"HTTP/1.1 200 OK\r\n\r\nok", PEER_CLOSE}, 0, 200},
	{"closed unanswered", {"", PEER_CLOSE}, -ECONNRESET, 0},
	{"reset unanswered", {"", PEER_RESET}, -ECONNRESET, 0},
	{"truncated body",
	 {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", PEER_CLOSE},
	 -ECONNRESET,
	 200},
	{"truncated chunk",
	 {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf", PEER_CLOSE},
	 -ECONNRESET,
	 200},
	{"no last chunk",
	 {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", PEER_CLOSE},
	 -ECONNRESET,
	 200},
	{"bad chunk",
	 {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok", PEER_CLOSE},
	 -ECONNRESET,
	 200},
	{"half a head", {"HTTP/1.1 200 OK\r\nContent-Le", PEER_CLOSE}, -ECONNRESET, 200},
	{"garbage", {"\x01\x02 what?\r\n\r\n", PEER_CLOSE}, -EPROTO, 0},
	{"another protocol", {"220 mail ready\r\n", PEER_CLOSE}, -EPROTO, 0},
	{"bad length",
	 {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nok", PEER_CLOSE},
	 -EPROTO,
	 200},
};

static void meet(const struct expectation *expected)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct peer peer;

	peer_start(&peer, &expected->step, 1);
	engine_get(engine, peer.url, &answer);
	engine_run(engine, NULL);
	cr_expect_eq(answer.done, 1, "%s", expected->name);
	cr_expect_eq(answer.result.error, expected->error, "%s: %d %s", expected->name,
		     answer.result.error, answer.error_text);
	cr_expect_eq(answer.result.status, expected->status, "%s: %ld", expected->name,
		     answer.result.status);
	cr_expect_eq(answer.result.fate_unknown, expected->error != 0, "%s", expected->name);
	cr_expect_eq(answer.result.attempts, 1, "%s", expected->name);
	cr_expect_null(strstr(answer.headers, "Link"), "%s: %s", expected->name, answer.headers);
	cr_expect_eq(answer.error_text[0] == '\0', expected->error == 0, "%s", expected->name);
	ration_http_free(&engine);
	peer_stop(&peer);
	cr_expect_eq(peer.requests, 1, "%s: sent %d times", expected->name, peer.requests);
}

Test(http_broken, every_way_to_answer_badly_is_an_error_and_said_so)
{
	for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++)
		meet(&expectations[i]);
}

/*
 * libcurl sends a request again when a connection it used before closes without an answer. Whether
 * the peer acted on the first one is not known, so it must not.
 */
static void expect_sent_once(enum peer_end end, const char *method)
{
	const struct peer_step steps[] = {{OK, PEER_KEEP}, {"", end}};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct peer peer;

	peer_start(&peer, steps, 2);
	engine_get(engine, peer.url, &answer);
	cr_assert_eq(answer.result.status, 200);
	request = answer_request(&answer, peer.url);
	request.method = method;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(answer.result.error, -ECONNRESET, "%d", answer.result.error);
	cr_expect_eq(answer.result.status, 0);
	cr_expect(answer.result.fate_unknown);
	cr_expect_eq(answer.sends, 1);
	cr_expect_eq(answer.result.attempts, 1);
	/* The engine is none the worse for it. */
	engine_get(engine, peer.url, &answer);
	cr_expect_eq(answer.result.status, 200);
	ration_http_free(&engine);
	peer_stop(&peer);
	cr_expect_eq(peer.requests, 3, "%d requests reached the peer", peer.requests);
}

Test(http_broken, a_request_of_unknown_fate_is_never_sent_again)
{
	expect_sent_once(PEER_CLOSE, "GET");
	expect_sent_once(PEER_CLOSE, "POST");
	expect_sent_once(PEER_RESET, "GET");
}

/*
 * A connection that died while it idled is found dead before anything is sent, and that is no
 * reason to fail.
 */
Test(http_broken, an_idle_connection_that_died_is_replaced)
{
	const struct peer_step steps[] = {{OK, PEER_CLOSE}};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct peer peer;

	peer_start(&peer, steps, 1);
	for (int i = 0; i < 5; i++) {
		engine_get(engine, peer.url, &answer);
		cr_expect_eq(answer.result.status, 200, "%s", answer.error_text);
		cr_expect_eq(answer.result.attempts, 1);
	}
	ration_http_free(&engine);
	peer_stop(&peer);
	cr_expect_eq(peer.requests, 5);
}

Test(http_broken, who_never_answers_is_not_waited_for)
{
	const struct peer_step silent = {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
					 PEER_HANG};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct peer peer;

	peer_start(&peer, &silent, 1);
	request = answer_request(&answer, peer.url);
	request.timeout_ns = 50000000;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(answer.result.error, -ETIMEDOUT);
	cr_expect(answer.result.fate_unknown);
	cr_expect_eq(answer.result.status, 200);
	cr_expect_str_eq(answer.body, "ab");
	ration_http_free(&engine);
	peer_stop(&peer);
}

Test(http_broken, what_cannot_be_reached_was_not_sent)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct peer peer;

	peer_start(&peer, NULL, 0);
	peer_stop(&peer);
	engine_get(engine, peer.url, &answer);
	cr_expect_eq(answer.result.error, -ECONNREFUSED, "%d", answer.result.error);
	cr_expect_not(answer.result.fate_unknown);
	cr_expect_eq(answer.result.attempts, 0);
	cr_expect_eq(answer.sends, 0);
	engine_get(engine, "http://name.invalid/", &answer);
	cr_expect_eq(answer.result.error, -EHOSTUNREACH, "%d", answer.result.error);
	cr_expect_not(answer.result.fate_unknown);
	ration_http_free(&engine);
}

/* Answer headers are kept by libcurl: there must be an end to them. */
Test(http_broken, endless_headers_end_the_request)
{
	enum { LINES = 20000 };
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct peer_step step = {NULL, PEER_HANG};
	struct peer peer;
	char *bytes = malloc(LINES * 32), *p = bytes;

	p += sprintf(p, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < LINES; i++)
		p += sprintf(p, "X-%d: aaaaaaaaaaaaaa\r\n", i);
	step.bytes = bytes;
	peer_start(&peer, &step, 1);
	engine_get(engine, peer.url, &answer);
	cr_expect_eq(answer.result.error, -EMSGSIZE, "%d", answer.result.error);
	ration_http_free(&engine);
	peer_stop(&peer);
	free(bytes);
}

Test(http_broken, errors_hold_no_secrets)
{
	static const char *const lines[] = {"Authorization: Bearer hunter2"};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct peer peer;
	char url[128];

	for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
		peer_start(&peer, &expectations[i].step, 1);
		snprintf(url, sizeof(url), "http://me:hunter2@127.0.0.1:%d/?key=hunter2",
			 peer.port);
		request = answer_request(&answer, url);
		request.headers = lines;
		request.n_headers = 1;
		request.body = "hunter2";
		request.body_size = 7;
		engine_submit(engine, &request);
		engine_run(engine, NULL);
		cr_expect_null(strstr(answer.error_text, "hunter2"), "%s", answer.error_text);
		cr_expect_null(strchr(answer.error_text, '\n'));
		peer_stop(&peer);
		cr_expect(strstr(peer.last, "hunter2"), "it was to be sent");
	}
	ration_http_free(&engine);
}

/* ---- proxies ---- */

static const char proxying[] = "server { listen $PORT; access_log $DIR/proxy.log plain;\n"
			       "  location / { proxy_pass http://$http_host$request_uri; "
			       "proxy_set_header X-Via proxy; } }\n";

static void get_by_proxy(struct ration_http *engine, const char *url, const char *proxy,
			 struct answer *answer)
{
	struct ration_http_request request = answer_request(answer, url);

	request.proxy = proxy;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(answer->result.status, 200, "%s", answer->error_text);
}

Test(http_broken, proxies_given_inherited_and_refused)
{
	const struct peer_step steps[] = {{OK, PEER_KEEP}};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct answer answer;
	struct nginx nginx;
	struct peer peer;

	nginx_start(&nginx, proxying);
	peer_start(&peer, steps, 1);
	unsetenv("no_proxy");
	unsetenv("NO_PROXY");
	setenv("http_proxy", nginx_url(&nginx, ""), 1);
	get_by_proxy(engine, peer.url, "", &answer);
	get_by_proxy(engine, peer.url, NULL, &answer);
	unsetenv("http_proxy");
	get_by_proxy(engine, peer.url, NULL, &answer);
	get_by_proxy(engine, peer.url, nginx_url(&nginx, ""), &answer);
	ration_http_free(&engine);
	peer_stop(&peer);
	nginx_stop(&nginx);
	cr_expect(strstr(peer.last, "X-Via: proxy"));
	cr_expect_eq(peer.requests, 4);
	cr_expect_eq(nginx_count(&nginx, "proxy.log", " 200 GET"), 2);
	nginx_remove(&nginx);
}

Test(http_broken, a_proxy_that_refuses_a_tunnel)
{
	const struct peer_step refusal = {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
					  PEER_CLOSE};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct peer peer;

	peer_start(&peer, &refusal, 1);
	request = answer_request(&answer, "https://localhost:1/secret");
	request.proxy = peer.url;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(answer.result.error, -ECONNREFUSED, "%d", answer.result.error);
	cr_expect_str_eq(answer.error_text, "the proxy refused");
	cr_expect_eq(answer.result.status, 0);
	cr_expect_eq(answer.headers[0], '\0', "%s", answer.headers);
	cr_expect_eq(answer.sends, 0);
	cr_expect_not(answer.result.fate_unknown);
	ration_http_free(&engine);
	peer_stop(&peer);
	cr_expect(strstr(peer.last, "CONNECT localhost:1 "));
	cr_expect_null(strstr(peer.last, "secret"));
}
