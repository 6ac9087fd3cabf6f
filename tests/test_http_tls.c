/*
 * tests/test_http_tls.c - TLS with verification on, HTTP/2 by ALPN
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support_http.h"
#include "support_nginx.h"

#define TLS "ssl_certificate $DIR/server.pem; ssl_certificate_key $DIR/server.key;\n"

static const char two[] = "server { listen $PORT; listen $TLS_PORT ssl http2; " TLS
			  "  location = /hello { return 200 'hello'; }\n"
			  "}";

static const char one[] = "server { listen $PORT; listen $TLS_PORT ssl; " TLS
			  "  location = /hello { return 200 'hello'; }\n"
			  "}";

static const char *tls_url(const struct nginx *nginx, const char *host, const char *path)
{
	static char url[128];

	snprintf(url, sizeof(url), "https://%s:%d%s", host, nginx->tls_port, path);
	return url;
}

static struct ration_http_request tls_request(const struct nginx *nginx, const char *ca,
					      struct answer *answer)
{
	struct ration_http_request request =
		answer_request(answer, tls_url(nginx, "localhost", "/hello"));

	request.ca_file = ca ? nginx_path(nginx, ca) : NULL;
	return request;
}

struct tally {
	int ok;
	int failed;
	int unknown;
	int sends;
	char error[128];
};

static int tally_send(void *user, uint64_t id)
{
	(void)id;
	((struct tally *)user)->sends++;
	return 0;
}

static void tally_done(void *user, const struct ration_http_result *result)
{
	struct tally *tally = user;

	if (!result->error && result->status == 200) {
		tally->ok++;
		return;
	}
	tally->failed++;
	tally->unknown += result->fate_unknown;
	snprintf(tally->error, sizeof(tally->error), "%d %ld %s", result->error, result->status,
		 result->error_text);
}

static struct tally run_many(const struct nginx *nginx, const struct ration_http_options *options,
			     int n)
{
	struct ration_http *engine = engine_make(NULL, options);
	struct tally tally = {0};
	struct answer unused;
	struct ration_http_request request = tls_request(nginx, "ca.pem", &unused);

	request.user = &tally;
	request.on_send = tally_send;
	request.on_body = NULL;
	request.on_header = NULL;
	request.on_done = tally_done;
	for (int i = 0; i < n; i++)
		engine_submit(engine, &request);
	engine_run(engine, NULL);
	ration_http_free(&engine);
	return tally;
}

Test(http_tls, http2_shares_few_connections)
{
	struct nginx nginx;
	struct tally tally;

	nginx_start_tls(&nginx, two);
	tally = run_many(&nginx, NULL, 900);
	cr_expect_eq(tally.ok, 900, "%s", tally.error);
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 GET /hello HTTP/2.0 "), 900);
	cr_expect_leq(nginx_connections(&nginx, NULL), 20, "%d connections",
		      nginx_connections(&nginx, NULL));
	nginx_remove(&nginx);
}

Test(http_tls, without_http2_connections_are_used_again)
{
	const struct ration_http_options options = {.max_host_connections = 8};
	struct nginx nginx;
	struct tally tally;

	nginx_start_tls(&nginx, one);
	tally = run_many(&nginx, &options, 300);
	cr_expect_eq(tally.ok, 300, "%s", tally.error);
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 GET /hello HTTP/1.1 "), 300);
	cr_expect_leq(nginx_connections(&nginx, NULL), 8);
	nginx_remove(&nginx);
}

/*
 * nginx ends an HTTP/2 connection after so many requests; those that were under way behind the last
 * one it took are refused, and are sent again: each is served once, and no one's fate is unknown.
 */
Test(http_tls, streams_behind_a_goaway_are_sent_again)
{
	static const char few[] = "keepalive_requests 20;\n"
				  "server { listen $PORT; listen $TLS_PORT ssl http2; " TLS
				  "  location = /hello { return 200 'hello'; }\n"
				  "}";
	struct nginx nginx;
	struct tally tally;

	nginx_start_tls(&nginx, few);
	tally = run_many(&nginx, NULL, 600);
	cr_expect_eq(tally.ok, 600, "%d failed, %d unknown: %s", tally.failed, tally.unknown,
		     tally.error);
	cr_expect_eq(tally.sends, 600, "on_send was called %d times", tally.sends);
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 GET /hello HTTP/2.0 "), 600);
	nginx_remove(&nginx);
}

static void expect_refused(struct ration_http *engine, struct ration_http_request *request,
			   struct answer *answer, const char *text)
{
	engine_submit(engine, request);
	engine_run(engine, NULL);
	cr_expect_eq(answer->done, 1);
	cr_expect_eq(answer->result.error, -EKEYREJECTED, "%d %s", answer->result.error,
		     answer->error_text);
	cr_expect_eq(answer->result.status, 0);
	cr_expect_eq(answer->sends, 0, "it was sent");
	cr_expect_eq(answer->result.attempts, 0);
	cr_expect_not(answer->result.fate_unknown);
	cr_expect(strstr(answer->error_text, text), "%s", answer->error_text);
}

Test(http_tls, nothing_is_sent_to_who_cannot_prove_his_name)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct nginx nginx;

	nginx_start_tls(&nginx, two);
	request = tls_request(&nginx, "other.pem", &answer);
	expect_refused(engine, &request, &answer, "unknown authority");
	request = tls_request(&nginx, NULL, &answer);
	expect_refused(engine, &request, &answer, "unknown authority");
	request = tls_request(&nginx, "ca.pem", &answer);
	request.url = tls_url(&nginx, "127.0.0.1", "/hello");
	expect_refused(engine, &request, &answer, "another name");
	/* And the same engine goes on trusting whom it should. */
	request = tls_request(&nginx, "ca.pem", &answer);
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(answer.result.status, 200, "%s", answer.error_text);
	request = tls_request(&nginx, "other.pem", &answer);
	expect_refused(engine, &request, &answer, "unknown authority");
	ration_http_free(&engine);
	nginx_remove(&nginx);
}

Test(http_tls, plain_talk_on_a_tls_port_and_the_other_way_round)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct nginx nginx;
	char url[64];

	nginx_start_tls(&nginx, two);
	snprintf(url, sizeof(url), "https://localhost:%d/hello", nginx.port);
	request = answer_request(&answer, url);
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(answer.result.error, -EPROTO, "%d", answer.result.error);
	cr_expect_eq(answer.sends, 0);
	snprintf(url, sizeof(url), "http://localhost:%d/hello", nginx.tls_port);
	engine_get(engine, url, &answer);
	cr_expect_eq(answer.result.status, 400);
	ration_http_free(&engine);
	nginx_remove(&nginx);
}

/* The proxy carries bytes; whom we talk to is verified through it all the same. */
Test(http_tls, through_a_proxys_tunnel)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct nginx nginx;
	struct relay proxy;
	char url[64], wanted[64];

	nginx_start_tls(&nginx, two);
	relay_start_tunnel(&proxy, nginx.tls_port);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", proxy.port);
	for (int i = 0; i < 2; i++) {
		request = tls_request(&nginx, "ca.pem", &answer);
		request.proxy = url;
		engine_submit(engine, &request);
		engine_run(engine, NULL);
		cr_expect_eq(answer.result.status, 200, "%s", answer.error_text);
		cr_expect_str_eq(answer.body, "hello");
	}
	ration_http_free(&engine);
	engine = engine_make(NULL, NULL);
	request = tls_request(&nginx, "other.pem", &answer);
	request.proxy = url;
	expect_refused(engine, &request, &answer, "unknown authority");
	ration_http_free(&engine);
	relay_stop(&proxy);
	snprintf(wanted, sizeof(wanted), "CONNECT localhost:%d HTTP/1.1", nginx.tls_port);
	cr_expect_str_eq(proxy.asked, wanted);
	cr_expect_eq(proxy.connections, 2, "one tunnel for two requests, one for the refused one");
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 GET /hello HTTP/2.0 "), 2);
	nginx_remove(&nginx);
}
