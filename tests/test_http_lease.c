/*
 * tests/test_http_lease.c - requests hold slots while they are under way, and no longer, however they end
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support_http.h"
#include "support_rationd.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

enum { SLOTS = 2 };

static const struct peer_step answering[] = {{OK, PEER_KEEP}};
static const struct peer_step silent[] = {{"", PEER_HANG}};
static const struct peer_step resetting[] = {{"", PEER_RESET}};

static const char policy[] =
	"version: 1\nclasses: [bulk]\ndefaults: { delay: 10s, margin: 0% }\n"
	"vendors:\n  v:\n    limits:\n"
	"      - { name: in-flight, kind: concurrency, slots: 2, scope: [vendor], delay: 0ms }\n";

TestSuite(http_lease, .timeout = 60);

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_http *engine;
	struct peer peer;
};

static struct ration_handle *handle_of(struct ration *ration)
{
	const struct ration_key key = {.vendor = "v", .traffic_class = "bulk"};
	struct ration_handle *handle = NULL;

	cr_assert_eq(ration_resolve(ration, &key, &handle, NULL), 0);
	return handle;
}

static void scene_begin_with(struct scene *s, const char *text, size_t size,
			     const struct peer_step *step)
{
	char path[] = "/tmp/ration-policy-XXXXXX";
	const int fd = mkstemp(path);
	struct ration_error error;

	cr_assert_eq(write(fd, text, size), (ssize_t)size);
	close(fd);
	cr_assert_eq(ration_embed(path, &s->ration, &error), 0, "%s", error.text);
	unlink(path);
	s->handle = handle_of(s->ration);
	s->engine = engine_make(s->ration, NULL);
	peer_start(&s->peer, step, 1);
}

static void scene_begin(struct scene *s, const struct peer_step *step)
{
	scene_begin_with(s, policy, sizeof(policy) - 1, step);
}

/* Slots that are free now; they are given back. */
static int free_slots(struct scene *s)
{
	struct ration_ticket tickets[SLOTS + 1];
	int n = 0;

	while (n <= SLOTS && ration_acquire(s->handle, NULL, 0, &tickets[n], NULL) == 0)
		n++;
	for (int i = 0; i < n; i++)
		ration_release(s->ration, &tickets[i]);
	return n;
}

static void scene_end(struct scene *s)
{
	cr_expect_eq(free_slots(s), SLOTS);
	ration_http_free(&s->engine);
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
	peer_stop(&s->peer);
}

static uint64_t submit(struct scene *s, struct answer *answer, uint64_t timeout_ns)
{
	struct ration_http_request request = answer_request(answer, s->peer.url);

	request.handle = s->handle;
	request.timeout_ns = timeout_ns;
	return engine_submit(s->engine, &request);
}

/* Until the peer has read so many requests. */
static void run_until_read(struct scene *s, int requests)
{
	const uint64_t end = now_ns() + 50000000000;

	while (atomic_load(&s->peer.requests) < requests) {
		cr_assert_lt(now_ns(), end);
		cr_assert_geq(ration_http_run(s->engine, 1000000), 0);
	}
}

/* Many more than there are slots: each waits until another has ended, and all are sent. */
Test(http_lease, requests_that_are_done_let_others_go)
{
	enum { N = 200 };
	static struct answer answers[N];
	struct scene s;

	scene_begin(&s, answering);
	for (int i = 0; i < N; i++)
		submit(&s, &answers[i], 0);
	engine_run(s.engine, NULL);
	for (int i = 0; i < N; i++)
		cr_expect_eq(answers[i].result.status, 200, "%s", answers[i].error_text);
	scene_end(&s);
}

Test(http_lease, requests_that_fail)
{
	struct answer answers[SLOTS];
	struct scene s;

	scene_begin(&s, resetting);
	for (int i = 0; i < SLOTS; i++)
		submit(&s, &answers[i], 0);
	engine_run(s.engine, NULL);
	for (int i = 0; i < SLOTS; i++)
		cr_expect_neq(answers[i].result.error, 0);
	scene_end(&s);
}

Test(http_lease, requests_that_time_out)
{
	struct answer answers[SLOTS];
	struct scene s;

	scene_begin(&s, silent);
	for (int i = 0; i < SLOTS; i++)
		submit(&s, &answers[i], 1000000000);
	run_until_read(&s, SLOTS);
	cr_expect_eq(free_slots(&s), 0);
	engine_run(s.engine, NULL);
	for (int i = 0; i < SLOTS; i++)
		cr_expect_eq(answers[i].result.error, -ETIMEDOUT, "%s", answers[i].error_text);
	scene_end(&s);
}

/*
 * The vendor may not know yet: until it must, nobody else has the slots. Of those that were answered they are free at
 * once.
 */
Test(http_lease, slots_of_requests_without_an_answer_are_free_after_the_delay)
{
	static const char late[] =
		"version: 1\nclasses: [bulk]\ndefaults: { delay: 300ms, margin: 0% }\n"
		"vendors:\n  v:\n    limits:\n"
		"      - { name: in-flight, kind: concurrency, slots: 2, scope: [vendor] }\n";
	struct answer answers[SLOTS];
	struct ration_ticket tickets[SLOTS];
	uint64_t ids[SLOTS], ended;
	struct scene s;

	scene_begin_with(&s, late, sizeof(late) - 1, silent);
	for (int i = 0; i < SLOTS; i++)
		ids[i] = submit(&s, &answers[i], 0);
	run_until_read(&s, SLOTS);
	ended = now_ns();
	for (int i = 0; i < SLOTS; i++)
		cr_expect_eq(ration_http_cancel(s.engine, ids[i]), 0);
	for (int i = 0; i < SLOTS; i++)
		cr_assert_eq(ration_acquire_until(s.handle, NULL, 0, ended + 60000000000,
						  &tickets[i], NULL),
			     0);
	cr_expect_geq(now_ns() - ended, 300000000);
	for (int i = 0; i < SLOTS; i++)
		cr_expect_eq(ration_abandon(s.ration, &tickets[i]), 0);
	for (int i = 0; i < SLOTS; i++)
		cr_assert_eq(ration_acquire_until(s.handle, NULL, 0, ended + 60000000000,
						  &tickets[i], NULL),
			     0);
	for (int i = 0; i < SLOTS; i++)
		cr_expect_eq(ration_release(s.ration, &tickets[i]), 0);
	cr_expect_eq(free_slots(&s), SLOTS);
	scene_end(&s);
}

/* Two under way and one that stands in line. */
Test(http_lease, requests_that_are_cancelled)
{
	struct answer answers[SLOTS + 1];
	uint64_t ids[SLOTS + 1];
	struct scene s;

	scene_begin(&s, silent);
	for (int i = 0; i <= SLOTS; i++)
		ids[i] = submit(&s, &answers[i], 0);
	run_until_read(&s, SLOTS);
	cr_expect_eq(free_slots(&s), 0);
	cr_expect_eq(ration_http_cancel(s.engine, ids[SLOTS]), 0);
	cr_expect_eq(ration_http_cancel(s.engine, ids[0]), 0);
	cr_expect_eq(free_slots(&s), 1);
	cr_expect_eq(ration_http_cancel(s.engine, ids[1]), 0);
	scene_end(&s);
}

Test(http_lease, requests_of_an_engine_that_ends)
{
	struct answer answers[SLOTS + 3];
	struct scene s;

	scene_begin(&s, silent);
	for (int i = 0; i < SLOTS + 3; i++)
		submit(&s, &answers[i], 0);
	run_until_read(&s, SLOTS);
	cr_expect_eq(free_slots(&s), 0);
	ration_http_free(&s.engine);
	for (int i = 0; i < SLOTS + 3; i++)
		cr_expect_eq(answers[i].result.error, -ECANCELED);
	scene_end(&s);
}

/* Its deadline passes while it stands in line; nobody waits behind it for ever. */
Test(http_lease, requests_whose_deadline_passes_in_line)
{
	struct answer answers[SLOTS + 1];
	struct ration_http_request request;
	struct scene s;

	scene_begin(&s, silent);
	for (int i = 0; i < SLOTS; i++)
		submit(&s, &answers[i], 0);
	run_until_read(&s, SLOTS);
	request = answer_request(&answers[SLOTS], s.peer.url);
	request.handle = s.handle;
	request.deadline_ns = now_ns() + 200000000;
	engine_submit(s.engine, &request);
	engine_run(s.engine, &answers[SLOTS].done);
	cr_expect_eq(answers[SLOTS].result.error, RATION_DENIED);
	cr_assert_not_null(answers[SLOTS].result.denial);
	cr_expect_str_eq(answers[SLOTS].result.denial->limit, "in-flight");
	ration_http_free(&s.engine);
	scene_end(&s);
}

/* Three handles, but only one may stand in line: the others ask again, and nobody is refused. */
Test(http_lease, requests_that_find_no_place_in_line_are_sent_all_the_same)
{
	enum { N = 3 };
	static const char bounded[] =
		"version: 1\nclasses: [{ name: bulk, queue: 1 }]\ndefaults: { delay: 10s }\n"
		"vendors:\n  v:\n    limits:\n"
		"      - { name: one, kind: concurrency, slots: 1, margin: 0%, scope: [vendor] }\n";
	struct ration_handle *handles[N];
	struct answer answers[N];
	struct scene s;

	scene_begin_with(&s, bounded, sizeof(bounded) - 1, answering);
	for (int i = 0; i < N; i++) {
		struct ration_http_request request = answer_request(&answers[i], s.peer.url);

		request.handle = handles[i] = handle_of(s.ration);
		engine_submit(s.engine, &request);
	}
	engine_run(s.engine, NULL);
	for (int i = 0; i < N; i++)
		cr_expect_eq(answers[i].result.status, 200, "%s", answers[i].error_text);
	ration_http_free(&s.engine);
	for (int i = 0; i < N; i++)
		ration_handle_free(&handles[i]);
	ration_handle_free(&s.handle);
	ration_detach(&s.ration);
	peer_stop(&s.peer);
}

/* Another process has all slots and dies: the engine is woken and sends. */
Test(http_lease, another_process_that_dies_lets_requests_go)
{
	struct rationd d;
	struct scene s;
	struct answer answer;
	int said[2];
	char byte = 0;
	pid_t child;

	rationd_start(&d, policy, NULL);
	cr_assert_eq(pipe(said), 0);
	child = fork();
	cr_assert(child >= 0);
	if (child == 0) {
		struct ration_ticket tickets[SLOTS];
		struct ration_handle *handle;
		bool ok = ration_attach(d.socket, 0, &s.ration, NULL) == 0;

		handle = handle_of(s.ration);
		for (int i = 0; i < SLOTS; i++)
			ok &= ration_acquire(handle, NULL, 0, &tickets[i], NULL) == 0;
		byte = ok;
		(void)!write(said[1], &byte, 1);
		for (;;)
			pause();
	}
	cr_assert_eq(read(said[0], &byte, 1), 1);
	cr_assert_eq(byte, 1);
	cr_assert_eq(ration_attach(d.socket, 0, &s.ration, NULL), 0);
	s.handle = handle_of(s.ration);
	s.engine = engine_make(s.ration, NULL);
	peer_start(&s.peer, answering, 1);
	submit(&s, &answer, 0);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(ration_http_run(s.engine, 1000000), 1);
	kill(child, SIGKILL);
	engine_run(s.engine, NULL);
	cr_expect_eq(answer.result.status, 200, "%s", answer.error_text);
	cr_expect_eq(wait_child(child), -SIGKILL);
	scene_end(&s);
	rationd_stop(&d);
}
