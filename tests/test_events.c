/*
 * tests/test_events.c - what happened, from a worker to the log, to `ration events`, and to those who follow
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/converse.h"
#include "client/gate.h"
#include "client/memory.h"
#include "shm/event.h"
#include "supervisor/events.h"
#include "support_cli.h"
#include "support_rationd.h"

TestSuite(events, .timeout = 120);

static const char policy[] =
	"version: 1\nclasses: [interactive, bulk]\n"
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"
	"vendors:\n  crm:\n    limits:\n"
	"      - { name: calls, rate: 1/h, burst: 5, scope: [tenant, vendor] }\n";

struct world {
	struct rationd r;
	struct ration *ration;
	struct ration_handle *interactive, *bulk;
};

static struct ration_handle *resolve(struct ration *ration, const char *tenant, const char *class)
{
	const struct ration_key key = {.tenant = tenant, .vendor = "crm", .traffic_class = class};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

static void begin(struct world *w)
{
	struct ration_error error;

	rationd_start(&w->r, policy,
		      (const char *[]){"--buckets", "256", "--workers", "100", NULL});
	cr_assert_eq(ration_attach(w->r.socket, 0, &w->ration, &error), 0, "%s", error.text);
	w->interactive = resolve(w->ration, "acme", "interactive");
	w->bulk = resolve(w->ration, "acme", "bulk");
}

static void end(struct world *w)
{
	ration_handle_free(&w->interactive);
	ration_handle_free(&w->bulk);
	ration_detach(&w->ration);
	cr_expect_eq(rationd_stop(&w->r), 0);
}

static void refuse(struct ration_handle *handle, const char *headers, uint32_t n_told)
{
	const struct ration_signal signal = {
		.status = 429,
		.limited = true,
		.retryable = true,
		.limit_class = RATION_LIMIT_RATE,
		.reach = RATION_REACH_REQUEST,
		.retry_in_ns = 1500000000,
		.attempt = 2,
		.headers = headers,
		.n_told = n_told,
		.told = {{.name = "calls",
			  .limit = 100,
			  .remaining = 0,
			  .reset_in_ns = 30000000000,
			  .window_ns = RATION_UNKNOWN}},
	};

	cr_assert_eq(ration_observe(handle, NULL, &signal), 0);
}

/* All that `ration events --json` says with these options; the caller decrefs. */
static json_t *events_of(struct world *w, const char *option, const char *value)
{
	struct cli_result result;
	json_t *events;

	CLI(&result, "events", "--json", "--socket", w->r.socket, option, value);
	cli_expect(&result, EX_OK, NULL, "");
	events = results_parse(result.out, result.out_size);
	cli_free(&result);
	return events;
}

static const char *text_of(const json_t *events, size_t i, const char *name)
{
	const char *text = json_string_value(json_object_get(json_array_get(events, i), name));

	return text ? text : "(none)";
}

static double number_of(const json_t *events, size_t i, const char *name)
{
	const json_t *number = json_object_get(json_array_get(events, i), name);

	cr_assert(json_is_number(number), "%s", name);
	return json_number_value(number);
}

Test(events, denials_of_protected_classes)
{
	struct ration_ticket ticket;
	struct world w;
	json_t *events;

	begin(&w);
	while (ration_acquire(w.bulk, NULL, 0, &ticket, NULL) == 0)
		;
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(ration_acquire(w.interactive, NULL, 0, &ticket, NULL), RATION_DENIED);
	rationd_expect_log(&w.r,
			   "event=denied tenant=\"acme\" vendor=\"crm\" class=\"interactive\" "
			   "limit=\"calls\" unit=\"requests\" times=1 amount=1 size=5 "
			   "remaining=0 wait_s=",
			   1);
	events = events_of(&w, "--type", "denied");
	cr_expect_geq(json_array_size(events), 1);
	cr_expect_lt(json_array_size(events), 100, "told once a second");
	cr_expect_str_eq(text_of(events, 0, "class"), "interactive");
	cr_expect_eq(number_of(events, 0, "pid"), getpid());
	json_decref(events);
	events = events_of(&w, "--class", "bulk");
	cr_expect_eq(json_array_size(events), 0, "the least protected is denied every day");
	json_decref(events);
	end(&w);
}

Test(events, refusals_as_received)
{
	struct world w;
	json_t *events;

	begin(&w);
	refuse(w.bulk, "retry-after: 1.5; x-ratelimit-remaining: \"0\"\r\n\x9b\x1b[2J", 1);
	rationd_expect_log(&w.r,
			   "event=limited tenant=\"acme\" vendor=\"crm\" class=\"bulk\" "
			   "limit=\"calls\" why=\"rate\" "
			   "headers=\"retry-after: 1.5; x-ratelimit-remaining: '0'????[2J\" "
			   "status=429 attempt=2 "
			   "size=100 remaining=0 reset_s=30.000 wait_s=1.500 pid=",
			   1);
	events = events_of(&w, "--type", "limited");
	cr_assert_eq(json_array_size(events), 1);
	cr_expect_str_eq(text_of(events, 0, "event"), "limited");
	cr_expect_str_eq(text_of(events, 0, "headers"),
			 "retry-after: 1.5; x-ratelimit-remaining: \"0\"????[2J");
	cr_expect_eq(number_of(events, 0, "wait_s"), 1.5);
	cr_expect_eq(strlen(text_of(events, 0, "time")), strlen("2026-11-23T10:51:31.450Z"));
	json_decref(events);
	/* It also told of a limit that is not the policy's, and of nothing left, which is not what we spent. */
	events = events_of(&w, "--type", "foreign,learned");
	cr_assert_eq(json_array_size(events), 2);
	cr_expect_str_eq(text_of(events, 0, "event"), "foreign");
	cr_expect_eq(number_of(events, 0, "amount"), 5);
	cr_expect_str_eq(text_of(events, 1, "why"), "the policy says another, which is used");
	cr_expect_eq(number_of(events, 1, "size"), 20);
	json_decref(events);
	events = events_of(&w, "--tenant", "acme2");
	cr_expect_eq(json_array_size(events), 0);
	json_decref(events);
	end(&w);
}

Test(events, blocks_and_their_end)
{
	struct ration_signal signal = {
		.status = 429,
		.limited = true,
		.retryable = true,
		.limit_class = RATION_LIMIT_RATE,
		.reach = RATION_REACH_TENANT,
		.retry_in_ns = 1000000,
	};
	struct ration_ticket ticket;
	struct world w;

	begin(&w);
	cr_assert_eq(ration_observe(w.bulk, NULL, &signal), 0);
	rationd_expect_log(&w.r,
			   "event=blocked tenant=\"acme\" vendor=\"crm\" class=\"bulk\" status=429 "
			   "times=1 wait_s=0.001 pid=",
			   1);
	while (ration_acquire(w.bulk, NULL, 0, &ticket, NULL) != 0)
		usleep(1000);
	signal = (struct ration_signal){.status = 200, .retry_in_ns = RATION_UNKNOWN};
	cr_assert_eq(ration_observe(w.bulk, &ticket, &signal), 0);
	rationd_expect_log(&w.r,
			   "event=unblocked tenant=\"acme\" vendor=\"crm\" "
			   "why=\"a probe was let through\" pid=",
			   1);
	signal = (struct ration_signal){.status = 429,
					.limited = true,
					.limit_class = RATION_LIMIT_RATE,
					.reach = RATION_REACH_TENANT,
					.retry_in_ns = 60000000000};
	cr_assert_eq(ration_observe(w.bulk, NULL, &signal), 0);
	cr_assert_eq(gate_lift_by_hand(w.ration, &(struct gate_key){"acme", "crm", "", ""}), 1);
	rationd_expect_log(&w.r, "event=unblocked tenant=\"acme\" vendor=\"crm\" why=\"by hand\"",
			   1);
	end(&w);
}

Test(events, tries_and_what_became_of_them)
{
	const struct ration_signal refusal = {.status = 429,
					      .limited = true,
					      .retryable = true,
					      .limit_class = RATION_LIMIT_RATE,
					      .reach = RATION_REACH_REQUEST,
					      .retry_in_ns = 0,
					      .attempt = 1};
	const struct ration_signal good = {
		.status = 200, .retry_in_ns = RATION_UNKNOWN, .attempt = 2};
	struct ration_retry retry;
	uint64_t wait_ns;
	struct world w;

	begin(&w);
	ration_retry_begin(w.interactive, &retry);
	cr_assert_eq(ration_observe(w.interactive, NULL, &refusal), 0);
	cr_assert_eq(ration_retry_again(w.interactive, &retry, &refusal, true, &wait_ns), 0);
	cr_assert_eq(ration_observe(w.interactive, NULL, &good), 0);
	cr_assert_eq(ration_retry_again(w.interactive, &retry, &refusal, true, &wait_ns),
		     RATION_GIVE_UP);
	rationd_expect_log(&w.r,
			   "event=retried tenant=\"acme\" vendor=\"crm\" class=\"interactive\" "
			   "status=429 attempt=2 wait_s=",
			   1);
	rationd_expect_log(&w.r, "why=\"answered\" status=200 attempt=2 pid=", 1);
	rationd_expect_log(&w.r, "why=\"no tries are left\" status=429 attempt=2 pid=", 1);
	end(&w);
}

/* What it put before it died is taken; its slot has no event that is being written. */
Test(events, last_words_of_the_killed)
{
	struct world w;
	pid_t pid;

	begin(&w);
	pid = fork();
	if (pid == 0) {
		refuse(w.bulk, "last: words", 0);
		raise(SIGKILL);
	}
	cr_assert_eq(wait_child(pid), -SIGKILL);
	rationd_expect_log(&w.r, "headers=\"last: words\"", 1);
	end(&w);
}

Test(events, a_stopped_supervisor_stops_nobody)
{
	struct world w;

	begin(&w);
	cr_assert_eq(kill(w.r.pid, SIGSTOP), 0);
	for (unsigned i = 0; i < EVENT_CELLS + 84; i++)
		refuse(w.bulk, "a: b", 0);
	cr_assert_eq(kill(w.r.pid, SIGCONT), 0);
	rationd_expect_log(&w.r, "event=events-dropped total=84 malformed=0", 1);
	rationd_expect_log(&w.r, "event=limited", EVENT_CELLS);
	end(&w);
}

Test(events, followed)
{
	struct cli_process p;
	struct cli_result result;
	struct world w;
	const char *line;

	begin(&w);
	refuse(w.bulk, "first: 1", 0);
	rationd_expect_log(&w.r, "first: 1", 1);
	cli_start(&p, (const char *const[]){"events", "--follow", "--socket", w.r.socket, "--type",
					    "blocked,limited", NULL});
	line = cli_read_line(&p);
	cr_assert(line && strstr(line, "first: 1"), "%s", line);
	refuse(w.bulk, "second: 2", 0);
	line = cli_read_line(&p);
	cr_assert(line && strstr(line, "second: 2"), "%s", line);
	end(&w);
	cli_wait(&p, &result);
	cli_expect(&result, EX_UNAVAILABLE, "", "ration events: the supervisor is gone\n");
	cli_free(&result);
}

Test(events, wrong_types)
{
	struct cli_result result;

	CLI(&result, "events", "--type", "limited,denid");
	cli_expect(&result, EX_USAGE, "",
		   "ration events: no type 'denid'; did you mean 'denied'?\n");
	cli_free(&result);
	CLI(&result, "events", "--socket", "/nonexistent/socket");
	cli_expect(&result, EX_UNAVAILABLE, "",
		   "ration events: /nonexistent/socket: no supervisor listens here\n");
	cli_free(&result);
}

/* --- slow ones --- */

/* Into rings of many slots, as many workers would; waits until all of it has been taken. */
static void put_many(struct world *w, uint64_t n)
{
	struct seg seg = *client_seg(w->ration);
	struct event event = event_of(EVENT_LIMITED, client_now(w->ration), 1);
	struct event_image image;

	event.text[EVENT_HEADERS] = "retry-after: 1";
	event_pack(&event, &image);
	for (uint64_t i = 0; i < n; i++) {
		while (!event_put(&seg, (uint32_t)(i % 99) + 1, &image))
			usleep(1000);
	}
}

static int follower_of(struct world *w)
{
	struct ration_error error;
	const int socket = converse_events(w->r.socket, true, &error);

	cr_assert(socket >= 0, "%s", error.text);
	return socket;
}

/* One that reads nothing costs nobody anything, and learns how much it missed. */
Test(events, slow_followers_miss_events)
{
	const uint64_t n = 4 * EVENTS_KEPT;
	struct ration_error error;
	struct wire_event event;
	uint64_t got = 0, missed = 0;
	struct world w;
	int slow;

	begin(&w);
	refuse(w.bulk, "first: 1", 0);
	slow = follower_of(&w);
	cr_assert_eq(converse_event(slow, &event, &error), 1, "it follows");
	put_many(&w, n);
	while (got + missed < n) {
		cr_assert_eq(converse_event(slow, &event, &error), 1, "%s", error.text);
		got++;
		missed += event.missed;
	}
	cr_expect_eq(got + missed, n);
	cr_expect_gt(missed, 0);
	close(slow);
	end(&w);
}

Test(events, followers_are_bounded)
{
	int sockets[FOLLOWERS_MAX];
	struct ration_error error;
	struct wire_event event;
	struct world w;
	int socket, fds;

	begin(&w);
	refuse(w.bulk, "first: 1", 0);
	rationd_expect_log(&w.r, "first: 1", 1);
	fds = count_fds(w.r.pid);
	for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
		sockets[i] = follower_of(&w);
		cr_assert_eq(converse_event(sockets[i], &event, &error), 1);
	}
	socket = follower_of(&w);
	cr_expect_eq(converse_event(socket, &event, &error), -EBUSY);
	cr_expect(strstr(error.text, "others are reading events"), "%s", error.text);
	close(socket);
	/* One that says anything more than hello is ended. */
	cr_assert_eq(send(sockets[0], "x", 1, 0), 1);
	cr_expect_leq(converse_event(sockets[0], &event, &error), 0);
	for (unsigned i = 0; i < FOLLOWERS_MAX; i++)
		close(sockets[i]);
	expect_fds(w.r.pid, fds);
	end(&w);
}
