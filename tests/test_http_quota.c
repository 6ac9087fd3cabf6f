/*
 * tests/test_http_quota.c - requests wait for quota, and are sent on permits that are good
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support_http.h"
#include "support_nginx.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static const struct peer_step answering[] = {{OK, PEER_KEEP}};
static const struct peer_step silent[] = {{"", PEER_HANG}};

/* One bucket for a vendor called v. */
static struct ration *quota(const char *limit, const char *delay)
{
	char path[] = "/tmp/ration-policy-XXXXXX";
	struct ration_error error;
	struct ration *ration = NULL;
	int fd = mkstemp(path), rc;
	FILE *file = fdopen(fd, "w");

	cr_assert(file);
	fprintf(file,
		"version: 1\nclasses: [bulk]\ndefaults: { delay: %s }\n"
		"vendors:\n  v:\n    limits:\n"
		"      - { name: limit, scope: [tenant, vendor], margin: 0%%, %s }\n",
		delay, limit);
	fclose(file);
	rc = ration_embed(path, &ration, &error);
	unlink(path);
	cr_assert_eq(rc, 0, "%s", error.text);
	return ration;
}

static struct ration_handle *handle_of(struct ration *ration, const char *tenant)
{
	const struct ration_key key = {.tenant = tenant, .vendor = "v", .traffic_class = "bulk"};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

/* What the bucket would still give. */
static int grants_left(struct ration_handle *handle)
{
	struct ration_ticket ticket;
	int n = 0;

	while (n < 1000 && !ration_acquire(handle, NULL, 0, &ticket, NULL))
		n++;
	return n;
}

/*
 * What a bucket of this limit gives when nobody has taken anything of it (`delay` makes it a little
 * less than its burst).
 */
static int grants_of_a_full_one(struct ration *ration)
{
	struct ration_handle *handle = handle_of(ration, "untouched");
	int n = grants_left(handle);

	ration_handle_free(&handle);
	return n;
}

static struct ration_http_request request_for(struct answer *answer, const char *url,
					      struct ration_handle *handle)
{
	struct ration_http_request request = answer_request(answer, url);

	request.handle = handle;
	return request;
}

Test(http_quota, each_request_takes_one_permit)
{
	struct ration *ration = quota("rate: 10/day, burst: 10", "50ms");
	struct ration_handle *handle = handle_of(ration, "acme");
	struct ration_http *engine = engine_make(ration, NULL);
	struct ration_http_request request;
	struct answer answers[4];
	struct peer peer;

	peer_start(&peer, answering, 1);
	for (int i = 0; i < 4; i++) {
		request = request_for(&answers[i], peer.url, handle);
		engine_submit(engine, &request);
	}
	engine_run(engine, NULL);
	for (int i = 0; i < 4; i++) {
		cr_expect_eq(answers[i].result.status, 200, "%s", answers[i].error_text);
		cr_expect_gt(answers[i].result.acquire_ns, 0);
		cr_expect_null(answers[i].result.denial);
	}
	cr_expect_eq(grants_left(handle), grants_of_a_full_one(ration) - 4);
	ration_http_free(&engine);
	ration_handle_free(&handle);
	ration_detach(&ration);
	peer_stop(&peer);
}

struct sequence {
	int next;
	int wrong;
};

struct ordered {
	struct sequence *sequence;
	int number;
};

static int ordered_send(void *user, uint64_t id)
{
	struct ordered *ordered = user;

	(void)id;
	ordered->sequence->wrong += ordered->number != ordered->sequence->next++;
	return 0;
}

static void ordered_done(void *user, const struct ration_http_result *result)
{
	struct ordered *ordered = user;

	ordered->sequence->wrong += result->error != 0;
}

/* Costs differ, so a later and cheaper request could overtake: it must not. */
Test(http_quota, requests_of_one_handle_are_sent_in_order)
{
	enum { N = 60 };
	const struct ration_cost costs[] = {{"points", 3}, {"points", 1}, {"points", 5}};
	/* One connection, so that the order of sending is the order of permits. */
	const struct ration_http_options options = {.max_host_connections = 1};
	struct ration *ration = quota("unit: points, rate: 2000/s, burst: 6", "0ms");
	struct ration_handle *handle = handle_of(ration, "acme");
	struct ration_http *engine = engine_make(ration, &options);
	struct sequence sequence = {0};
	struct ordered ordered[N];
	struct answer unused;
	struct ration_http_request request;
	struct peer peer;

	peer_start(&peer, answering, 1);
	for (int i = 0; i < N; i++) {
		ordered[i] = (struct ordered){&sequence, i};
		request = request_for(&unused, peer.url, handle);
		request.user = &ordered[i];
		request.costs = &costs[i % 3];
		request.n_costs = 1;
		request.on_send = ordered_send;
		request.on_done = ordered_done;
		request.on_header = NULL;
		request.on_body = NULL;
		engine_submit(engine, &request);
	}
	engine_run(engine, NULL);
	cr_expect_eq(sequence.next, N);
	cr_expect_eq(sequence.wrong, 0);
	ration_http_free(&engine);
	ration_handle_free(&handle);
	ration_detach(&ration);
	peer_stop(&peer);
	cr_expect_eq(peer.requests, N);
}

/* While one tenant waits for hours, the others' requests and those without a quota go on. */
Test(http_quota, waiting_is_a_timer_and_blocks_nobody)
{
	struct ration *ration = quota("rate: 24/day, burst: 1", "50ms");
	struct ration_handle *waits = handle_of(ration, "acme"), *goes = handle_of(ration, "beta");
	struct ration_http *engine = engine_make(ration, NULL);
	struct answer first, waiting, other, free_ones;
	struct ration_http_request request;
	struct peer peer;
	uint64_t id;

	peer_start(&peer, answering, 1);
	request = request_for(&first, peer.url, waits);
	engine_submit(engine, &request);
	request = request_for(&waiting, peer.url, waits);
	id = engine_submit(engine, &request);
	request = request_for(&other, peer.url, goes);
	engine_submit(engine, &request);
	engine_run(engine, &first.done);
	engine_run(engine, &other.done);
	for (int i = 0; i < 20; i++) {
		engine_get(engine, peer.url, &free_ones);
		cr_expect_eq(free_ones.result.status, 200);
	}
	cr_expect_eq(waiting.done, 0);
	cr_expect_eq(ration_http_run(engine, 0), 1);
	cr_expect_eq(ration_http_cancel(engine, id), 0);
	cr_expect_eq(waiting.result.error, -ECANCELED);
	cr_expect_not(waiting.result.fate_unknown);
	cr_assert(waiting.result.denial);
	cr_expect_str_eq(waiting.denial.limit, "limit");
	cr_expect_str_eq(waiting.denial.vendor, "v");
	ration_http_free(&engine);
	ration_handle_free(&waits);
	ration_handle_free(&goes);
	ration_detach(&ration);
	peer_stop(&peer);
	cr_expect_eq(peer.requests, 22);
}

Test(http_quota, a_deadline_that_cannot_be_met_ends_the_request_at_once)
{
	struct ration *ration = quota("rate: 24/day, burst: 1", "50ms");
	struct ration_handle *handle = handle_of(ration, "acme");
	struct ration_http *engine = engine_make(ration, NULL);
	struct answer first, head, behind;
	struct ration_http_request request;
	struct peer peer;

	peer_start(&peer, answering, 1);
	request = request_for(&first, peer.url, handle);
	request.deadline_ns = now_ns() + UINT64_C(600000000000);
	engine_submit(engine, &request);
	/* Ten minutes are not enough: it is told now, not in ten minutes. */
	request = request_for(&head, peer.url, handle);
	request.deadline_ns = now_ns() + UINT64_C(600000000000);
	engine_submit(engine, &request);
	request = request_for(&behind, peer.url, handle);
	request.deadline_ns = 1;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(first.result.status, 200);
	cr_expect_eq(head.result.error, RATION_DENIED);
	cr_assert(head.result.denial);
	cr_expect_gt(head.denial.retry_at_ns, now_ns() + UINT64_C(600000000000));
	cr_expect_eq(behind.result.error, RATION_DENIED);
	cr_expect_eq(head.sends + behind.sends, 0);
	ration_http_free(&engine);
	ration_handle_free(&handle);
	ration_detach(&ration);
	peer_stop(&peer);
	cr_expect_eq(peer.requests, 1);
}

Test(http_quota, what_can_never_be_granted_says_so)
{
	const struct ration_cost huge = {"points", 1000}, other = {"tokens", 1};
	struct ration *ration = quota("unit: points, rate: 10/s, burst: 5", "0ms");
	struct ration_handle *handle = handle_of(ration, "acme");
	struct ration_http *engine = engine_make(ration, NULL);
	struct answer oversize, unit, after;
	struct ration_http_request request;
	const struct ration_cost one = {"points", 1};
	struct peer peer;

	peer_start(&peer, answering, 1);
	request = request_for(&oversize, peer.url, handle);
	request.costs = &huge;
	request.n_costs = 1;
	engine_submit(engine, &request);
	request = request_for(&unit, peer.url, handle);
	request.costs = &other;
	request.n_costs = 1;
	engine_submit(engine, &request);
	request = request_for(&after, peer.url, handle);
	request.costs = &one;
	request.n_costs = 1;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	cr_expect_eq(oversize.result.error, RATION_OVERSIZE);
	cr_assert(oversize.result.denial);
	cr_expect_eq(oversize.denial.needed, 1000);
	cr_expect_eq(unit.result.error, RATION_EUNIT);
	cr_expect_eq(after.result.status, 200);
	request.handle = NULL;
	ration_http_free(&engine);
	engine = engine_make(NULL, NULL);
	request.handle = handle;
	cr_expect_eq(ration_http_submit(engine, &request, NULL), -EINVAL,
		     "a handle of no attachment");
	ration_http_free(&engine);
	ration_handle_free(&handle);
	ration_detach(&ration);
	peer_stop(&peer);
}

/* ---- tickets end as they should ---- */

static void end_one(struct ration *ration, struct ration_handle *handle, const char *url,
		    int refuse_send, struct answer *answer)
{
	struct ration_http *engine = engine_make(ration, NULL);
	struct ration_http_request request = request_for(answer, url, handle);

	answer->refuse_send = refuse_send;
	request.timeout_ns = 30000000;
	engine_submit(engine, &request);
	engine_run(engine, NULL);
	ration_http_free(&engine);
}

Test(http_quota, only_a_request_that_never_left_gives_its_permit_back)
{
	struct ration *ration = quota("rate: 10/day, burst: 10", "50ms");
	struct ration_handle *handle = handle_of(ration, "acme");
	struct answer answer;
	struct peer answers, hangs, gone;

	peer_start(&answers, answering, 1);
	peer_start(&hangs, silent, 1);
	peer_start(&gone, NULL, 0);
	peer_stop(&gone);
	end_one(ration, handle, gone.url, 0, &answer);
	cr_expect_eq(answer.result.error, -ECONNREFUSED);
	end_one(ration, handle, answers.url, 1, &answer);
	cr_expect_eq(answer.result.error, -ECANCELED);
	cr_expect_eq(answer.result.attempts, 0);
	end_one(ration, handle, "http://name.invalid/", 0, &answer);
	cr_expect_eq(answer.result.error, -EHOSTUNREACH);
	end_one(ration, handle, answers.url, 0, &answer);
	cr_expect_eq(answer.result.error, 0);
	end_one(ration, handle, hangs.url, 0, &answer);
	cr_expect_eq(answer.result.error, -ETIMEDOUT);
	cr_expect(answer.result.fate_unknown);
	cr_expect_eq(grants_left(handle), grants_of_a_full_one(ration) - 2,
		     "five requests, two of which left");
	ration_handle_free(&handle);
	ration_detach(&ration);
	peer_stop(&answers);
	peer_stop(&hangs);
	cr_expect_eq(answers.requests, 1);
}

/* ---- permits that grow old ---- */

#define TLS "ssl_certificate $DIR/server.pem; ssl_certificate_key $DIR/server.key;\n"

static const char one[] = "server { listen $PORT; listen $TLS_PORT ssl; " TLS
			  "  location / { return 200 'hello'; } }";

static const char two[] = "server { listen $PORT; listen $TLS_PORT ssl http2; " TLS
			  "  location / { return 200 'hello'; } }";

struct slow_start {
	struct nginx nginx;
	struct relay relay;
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_http *engine;
	struct answer answer;
	char url[64];
};

/*
 * A request whose connection is held up in the TLS handshake until its permit is older than the
 * policy's delay.
 */
static void hold_up(struct slow_start *s, const char *limit, bool http2)
{
	struct ration_http_request request;
	uint64_t later;

	nginx_start_tls(&s->nginx, http2 ? two : one);
	relay_start(&s->relay, s->nginx.tls_port, false);
	s->ration = quota(limit, "1ms");
	s->handle = handle_of(s->ration, "acme");
	s->engine = engine_make(s->ration, NULL);
	snprintf(s->url, sizeof(s->url), "https://localhost:%d/", s->relay.port);
	request = request_for(&s->answer, s->url, s->handle);
	request.ca_file = nginx_path(&s->nginx, "ca.pem");
	engine_submit(s->engine, &request);
	while (!atomic_load(&s->relay.connections))
		cr_assert_eq(ration_http_run(s->engine, 1000000), 1);
	later = now_ns() + 3000000;
	while (now_ns() < later)
		cr_assert_eq(ration_http_run(s->engine, 1000000), 1);
	cr_assert_eq(s->answer.sends, 0);
}

static void let_go(struct slow_start *s)
{
	atomic_store(&s->relay.open, 1);
	engine_run(s->engine, NULL);
	cr_expect_eq(s->answer.result.status, 200, "%s", s->answer.error_text);
	cr_expect_eq(s->answer.result.attempts, 1);
	cr_expect_eq(s->answer.sends, 1);
}

/* connections: how many were ever made; more would mean that one was not kept. */
static void tear_down(struct slow_start *s, int connections)
{
	ration_http_free(&s->engine);
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
	relay_stop(&s->relay);
	nginx_stop(&s->nginx);
	cr_expect_eq(nginx_count(&s->nginx, NULL, " 200 GET"), 1);
	cr_expect_eq(nginx_connections(&s->nginx, NULL), 1);
	cr_expect_eq(atomic_load(&s->relay.connections), connections);
	nginx_remove(&s->nginx);
}

Test(http_quota, an_old_permit_is_replaced_when_the_connection_stands)
{
	struct slow_start s;

	hold_up(&s, "rate: 10/day, burst: 10", false);
	let_go(&s);
	cr_expect_geq(s.answer.result.wait_ns, 3000000, "sent on the first permit");
	cr_expect_null(s.answer.result.denial);
	cr_expect_eq(grants_left(s.handle), grants_of_a_full_one(s.ration) - 1,
		     "the old one was not given back");
	tear_down(&s, 1);
}

/* Somebody else has meanwhile taken what there was: the request waits, its connection stays. */
static void be_overtaken(bool http2)
{
	const struct ration_cost many = {"requests", 400};
	struct ration_ticket ticket;
	struct slow_start s;

	hold_up(&s, "rate: 1000/s, burst: 2", http2);
	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ration_settle(s.ration, &ticket, &many, 1), 0);
	let_go(&s);
	cr_assert(s.answer.result.denial, "it did not have to wait");
	cr_expect_str_eq(s.answer.denial.limit, "limit");
	cr_expect_geq(s.answer.result.wait_ns, s.answer.denial.retry_in_ns);
	tear_down(&s, 1);
}

Test(http_quota, an_old_permit_that_cannot_be_replaced_is_not_sent_on)
{
	be_overtaken(false);
	be_overtaken(true);
}

Test(http_quota, a_deadline_that_passes_while_it_connects)
{
	struct ration_http_request request;
	struct answer other;
	struct slow_start s;

	hold_up(&s, "rate: 10/day, burst: 10", false);
	request = request_for(&other, s.url, s.handle);
	request.ca_file = nginx_path(&s.nginx, "ca.pem");
	request.deadline_ns = now_ns() + 1000000;
	engine_submit(s.engine, &request);
	while (now_ns() <= request.deadline_ns)
		cr_assert_geq(ration_http_run(s.engine, 100000), 1);
	let_go(&s);
	cr_expect_eq(other.result.error, RATION_DENIED, "%s", other.error_text);
	cr_expect_eq(other.sends, 0);
	cr_expect_eq(grants_left(s.handle), grants_of_a_full_one(s.ration) - 1);
	tear_down(&s, 2);
}

Test(http_quota, cancelled_while_it_waits_with_a_connection)
{
	const struct ration_cost many = {"requests", 100000};
	struct ration_http_request request;
	struct ration_ticket ticket;
	struct slow_start s;
	uint64_t end;

	hold_up(&s, "rate: 100/s, burst: 2", false);
	cr_assert_eq(ration_acquire_until(s.handle, NULL, 0, UINT64_MAX, &ticket, NULL), 0);
	cr_assert_eq(ration_settle(s.ration, &ticket, &many, 1), 0);
	atomic_store(&s.relay.open, 1);
	end = now_ns() + 100000000;
	while (now_ns() < end)
		cr_assert_eq(ration_http_run(s.engine, 10000000), 1);
	cr_expect_eq(s.answer.sends, 0);
	/* The connection that was made for it serves another. */
	request = answer_request(&s.answer, s.url);
	request.ca_file = nginx_path(&s.nginx, "ca.pem");
	engine_submit(s.engine, &request);
	engine_run(s.engine, &s.answer.done);
	cr_expect_eq(s.answer.result.status, 200);
	tear_down(&s, 1);
}

/* ---- as fast as the quota lets them, and no faster ---- */

Test(http_quota, a_crowd_keeps_the_vendors_limit)
{
	enum { N = 600 };
	static const char limited[] = "limit_req_zone $server_name zone=all:1m rate=1000r/s;\n"
				      "limit_req_status 429;\n"
				      "server { listen $PORT; location / { limit_req zone=all "
				      "burst=199 nodelay; return 200 ok; } }";
	struct ration *ration = quota("rate: 1000/s, burst: 200", "20ms");
	struct ration_handle *handle = handle_of(ration, "acme");
	struct ration_http *engine = engine_make(ration, NULL);
	static struct answer answers[N];
	struct ration_http_request request;
	struct nginx nginx;

	nginx_start(&nginx, limited);
	for (int i = 0; i < N; i++) {
		request = request_for(&answers[i], nginx_url(&nginx, "/"), handle);
		engine_submit(engine, &request);
	}
	engine_run(engine, NULL);
	ration_http_free(&engine);
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 429 "), 0);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 "), N);
	nginx_remove(&nginx);
	ration_handle_free(&handle);
	ration_detach(&ration);
}
