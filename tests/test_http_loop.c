/*
 * tests/test_http_loop.c - ending requests at any time, and what else the loop waits for
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support_http.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Some: thing\r\n\r\nok"

static const struct peer_step answering[] = {{OK, PEER_KEEP}};
static const struct peer_step silent[] = {{"", PEER_HANG}};

/* ---- cancelling ---- */

/* One turn after another until *counter has reached n. */
static void run_until(struct ration_http *engine, atomic_int *counter, int n)
{
	uint64_t end = now_ns() + UINT64_C(8000000000);

	while (atomic_load(counter) < n) {
		cr_assert_geq(ration_http_run(engine, 5000000), 0);
		cr_assert_lt(now_ns(), end);
	}
}

static void expect_cancelled(const struct answer *answer, bool sent)
{
	cr_expect_eq(answer->done, 1);
	cr_expect_eq(answer->result.error, -ECANCELED, "%d", answer->result.error);
	cr_expect_eq(answer->result.fate_unknown, sent);
	cr_expect_eq(answer->result.attempts, sent);
	cr_expect_str_eq(answer->error_text, "cancelled");
}

Test(http_loop, a_request_can_be_ended_before_it_starts_while_it_connects_and_while_it_waits)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer answer;
	struct relay relay;
	struct peer peer;
	char url[64];
	uint64_t id;

	peer_start(&peer, silent, 1);
	relay_start(&relay, peer.port, false);
	snprintf(url, sizeof(url), "https://localhost:%d/", relay.port);
	request = answer_request(&answer, peer.url);
	id = engine_submit(engine, &request);
	cr_expect_eq(ration_http_cancel(engine, id), 0);
	expect_cancelled(&answer, false);
	cr_expect_eq(ration_http_cancel(engine, id), -ENOENT);

	request = answer_request(&answer, url);
	id = engine_submit(engine, &request);
	run_until(engine, &relay.connections, 1);
	cr_expect_eq(ration_http_cancel(engine, id), 0);
	expect_cancelled(&answer, false);

	request = answer_request(&answer, peer.url);
	id = engine_submit(engine, &request);
	run_until(engine, &peer.requests, 1);
	cr_expect_eq(ration_http_cancel(engine, id), 0);
	expect_cancelled(&answer, true);
	cr_expect_eq(ration_http_run(engine, 0), 0);
	cr_expect_eq(ration_http_cancel(engine, id), -ENOENT);
	cr_expect_eq(ration_http_cancel(engine, 0), -ENOENT);
	cr_expect_eq(ration_http_cancel(engine, UINT64_MAX), -ENOENT);
	ration_http_free(&engine);
	relay_stop(&relay);
	peer_stop(&peer);
}

/* A request whose callbacks end requests: itself, or another one. */
struct killer {
	struct answer answer;
	struct ration_http *engine;
	uint64_t victim;
	char where; /* s: on_send, h: on_header, b: on_body, d: on_done; a capital: by itself */
	int kills;
};

static void strike(struct killer *killer, char where)
{
	if (killer->where == where && !killer->kills++)
		cr_expect_eq(ration_http_cancel(killer->engine, killer->victim), 0, "at %c", where);
}

static int killer_send(void *user, uint64_t id)
{
	struct killer *killer = user;

	(void)id;
	strike(killer, 's');
	return killer->where == 'S';
}

static void killer_header(void *user, const char *line, size_t size)
{
	(void)line, (void)size;
	strike(user, 'h');
}

static int killer_body(void *user, const void *data, size_t size)
{
	struct killer *killer = user;

	(void)data, (void)size;
	cr_expect_eq(killer->answer.done, 0, "a callback after the end");
	strike(killer, 'b');
	return killer->where == 'B';
}

static void killer_done(void *user, const struct ration_http_result *result)
{
	struct killer *killer = user;

	killer->answer.done++;
	killer->answer.result = *result;
	strike(killer, 'd');
}

static void submit_killer(struct ration_http *engine, struct killer *killer, char where,
			  const char *url)
{
	struct ration_http_request request = answer_request(&killer->answer, url);

	*killer = (struct killer){.engine = engine, .where = where};
	request.user = killer;
	request.on_send = killer_send;
	request.on_header = killer_header;
	request.on_body = killer_body;
	request.on_done = killer_done;
	killer->victim = engine_submit(engine, &request);
}

Test(http_loop, a_callback_may_end_its_own_request)
{
	static const char places[] = {'s', 'h', 'b', 'S', 'B'};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct killer killer;
	struct answer answer;
	struct peer peer;

	peer_start(&peer, answering, 1);
	for (size_t i = 0; i < sizeof(places); i++) {
		bool sent = places[i] != 's' && places[i] != 'S';

		submit_killer(engine, &killer, places[i], peer.url);
		engine_run(engine, NULL);
		cr_expect_eq(killer.answer.done, 1, "%c", places[i]);
		cr_expect_eq(killer.answer.result.error, -ECANCELED, "%c", places[i]);
		cr_expect_eq(killer.answer.result.fate_unknown, sent, "%c", places[i]);
		engine_get(engine, peer.url, &answer);
		cr_expect_eq(answer.result.status, 200);
	}
	ration_http_free(&engine);
	peer_stop(&peer);
	cr_expect_eq(peer.requests, 3 + 5, "those not sent were not sent: %d", peer.requests);
}

Test(http_loop, a_callback_may_end_another_request)
{
	static const char places[] = {'s', 'h', 'b', 'd'};
	struct ration_http *engine = engine_make(NULL, NULL);
	struct ration_http_request request;
	struct answer victim;
	struct killer killer;
	struct peer peer, hole;

	peer_start(&peer, answering, 1);
	peer_start(&hole, silent, 1);
	for (size_t i = 0; i < sizeof(places); i++) {
		request = answer_request(&victim, hole.url);
		request.timeout_ns = 0;
		submit_killer(engine, &killer, places[i], peer.url);
		killer.victim = engine_submit(engine, &request);
		engine_run(engine, NULL);
		cr_expect_eq(killer.answer.result.error, 0, "%c", places[i]);
		cr_expect_eq(victim.done, 1, "%c", places[i]);
		cr_expect_eq(victim.result.error, -ECANCELED, "%c", places[i]);
	}
	ration_http_free(&engine);
	peer_stop(&hole);
	peer_stop(&peer);
}

Test(http_loop, freeing_the_engine_ends_everything_once)
{
	enum { N = 20 };
	const struct ration_http_options options = {.max_in_flight = 5};
	struct ration_http *engine = engine_make(NULL, &options);
	struct ration_http_request request;
	struct answer answers[N];
	struct peer peer;
	int unknown = 0;

	peer_start(&peer, silent, 1);
	for (int i = 0; i < N; i++) {
		request = answer_request(&answers[i], peer.url);
		engine_submit(engine, &request);
	}
	run_until(engine, &peer.requests, 5);
	ration_http_free(&engine);
	for (int i = 0; i < N; i++) {
		cr_expect_eq(answers[i].done, 1);
		cr_expect_eq(answers[i].result.error, -ECANCELED);
		unknown += answers[i].result.fate_unknown;
	}
	cr_expect_eq(unknown, 5);
	peer_stop(&peer);
}

/* ---- a callback may submit, but not run ---- */

struct chain {
	struct ration_http *engine;
	struct ration_http_request request;
	int left;
	int busy;
	int ok;
};

static void chain_done(void *user, const struct ration_http_result *result)
{
	struct chain *chain = user;

	chain->ok += result->status == 200;
	chain->busy += ration_http_run(chain->engine, 0) == -EBUSY;
	if (--chain->left)
		engine_submit(chain->engine, &chain->request);
}

Test(http_loop, on_done_may_submit_the_next)
{
	struct chain chain = {.left = 30};
	struct peer peer;

	peer_start(&peer, answering, 1);
	chain.engine = engine_make(NULL, NULL);
	chain.request = (struct ration_http_request){
		.url = peer.url, .proxy = "", .user = &chain, .on_done = chain_done};
	engine_submit(chain.engine, &chain.request);
	engine_run(chain.engine, NULL);
	cr_expect_eq(chain.ok, 30);
	cr_expect_eq(chain.busy, 30);
	ration_http_free(&chain.engine);
	peer_stop(&peer);
	cr_expect_eq(peer.connections, 1);
}

/* ---- the caller's descriptors, and wake-ups ---- */

struct seen {
	int calls;
	uint32_t events;
	char text[16];
};

static void pipe_ready(void *user, int fd, uint32_t events)
{
	struct seen *seen = user;
	ssize_t n = read(fd, seen->text, sizeof(seen->text) - 1);

	seen->calls++;
	seen->events = events;
	seen->text[n > 0 ? n : 0] = '\0';
}

static void watch_a_pipe(bool no_uring)
{
	const struct ration_http_options options = {.no_uring = no_uring};
	struct ration_http *engine = engine_make(NULL, &options);
	struct seen seen = {0};
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	cr_expect_eq(ration_http_watch(engine, fds[0], EPOLLIN, pipe_ready, &seen), 0);
	cr_expect_eq(ration_http_run(engine, 1000000), 0);
	cr_expect_eq(seen.calls, 0);
	cr_assert_eq(write(fds[1], "one", 3), 3);
	cr_expect_eq(ration_http_run(engine, UINT64_C(8000000000)), 0);
	cr_expect_eq(seen.calls, 1);
	cr_expect_str_eq(seen.text, "one");
	cr_expect(seen.events & EPOLLIN);
	/* Level-triggered: what is not read is told again. */
	cr_assert_eq(write(fds[1], "a string of many bytes", 22), 22);
	cr_expect_eq(ration_http_run(engine, UINT64_C(8000000000)), 0);
	cr_expect_eq(ration_http_run(engine, UINT64_C(8000000000)), 0);
	cr_expect_eq(seen.calls, 3);
	cr_expect_eq(ration_http_watch(engine, fds[0], 0, NULL, NULL), 0);
	cr_expect_eq(ration_http_watch(engine, fds[0], 0, NULL, NULL), -ENOENT);
	cr_assert_eq(write(fds[1], "x", 1), 1);
	cr_expect_eq(ration_http_run(engine, UINT64_MAX), 0, "nothing to wait for, but it waits");
	cr_expect_eq(seen.calls, 3);
	cr_expect_eq(ration_http_watch(engine, -1, EPOLLIN, pipe_ready, &seen), -EBADF);
	cr_expect_eq(ration_http_watch(engine, fds[0], EPOLLIN, NULL, &seen), -EINVAL);
	ration_http_free(&engine);
	cr_expect_eq(read(fds[0], seen.text, 1), 1, "the caller's descriptor was closed");
	close(fds[0]);
	close(fds[1]);
}

Test(http_loop, it_watches_the_callers_descriptors_too)
{
	watch_a_pipe(false);
	watch_a_pipe(true);
}

Test(http_loop, a_file_that_cannot_be_waited_for_is_refused)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct seen seen = {0};
	FILE *file = tmpfile();

	cr_expect_eq(ration_http_watch(engine, fileno(file), EPOLLIN, pipe_ready, &seen), -EPERM);
	cr_expect_eq(ration_http_run(engine, UINT64_MAX), 0);
	fclose(file);
	ration_http_free(&engine);
}

static void *wake(void *user)
{
	ration_http_wake(user);
	return NULL;
}

static void be_woken(bool no_uring)
{
	const struct ration_http_options options = {.no_uring = no_uring};
	struct ration_http *engine = engine_make(NULL, &options);
	struct ration_http_request request;
	struct answer answer;
	struct peer peer;
	pthread_t thread;

	peer_start(&peer, silent, 1);
	request = answer_request(&answer, peer.url);
	request.timeout_ns = UINT64_C(3600000000000);
	engine_submit(engine, &request);
	run_until(engine, &peer.requests, 1);
	/* It would wait for ever, and the test run into its time limit. */
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(pthread_create(&thread, NULL, wake, engine), 0);
		cr_expect_eq(ration_http_run(engine, UINT64_MAX), 1);
		pthread_join(thread, NULL);
	}
	ration_http_wake(engine);
	ration_http_wake(engine);
	cr_expect_eq(ration_http_run(engine, UINT64_MAX), 1);
	ration_http_free(&engine);
	peer_stop(&peer);
}

Test(http_loop, another_thread_can_wake_it)
{
	be_woken(false);
	be_woken(true);
}

/* ---- io_uring there, and refused ---- */

static void refuse_io_uring(uint32_t call)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static bool io_uring_is_there(void)
{
	struct io_uring_params params = {0};
	long fd = syscall(SYS_io_uring_setup, 4, &params);

	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

static void get_some(struct ration_http *engine, const char *url)
{
	struct answer answer;

	for (int i = 0; i < 10; i++) {
		engine_get(engine, url, &answer);
		cr_expect_eq(answer.result.status, 200, "%s", answer.error_text);
	}
}

Test(http_loop, it_uses_io_uring_where_there_is_one_unless_told_not_to)
{
	const struct ration_http_options options = {.no_uring = true};
	struct ration_http *with = engine_make(NULL, NULL), *without = engine_make(NULL, &options);
	struct peer peer;

	peer_start(&peer, answering, 1);
	cr_expect_eq(ration_http_uses_uring(with), io_uring_is_there());
	cr_expect_not(ration_http_uses_uring(without));
	get_some(with, peer.url);
	get_some(without, peer.url);
	ration_http_free(&with);
	ration_http_free(&without);
	peer_stop(&peer);
}

Test(http_loop, it_works_where_io_uring_is_refused)
{
	struct ration_http *engine;
	struct peer peer;

	peer_start(&peer, answering, 1);
	refuse_io_uring(SYS_io_uring_setup);
	engine = engine_make(NULL, NULL);
	cr_expect_not(ration_http_uses_uring(engine));
	get_some(engine, peer.url);
	ration_http_free(&engine);
	peer_stop(&peer);
}

Test(http_loop, it_goes_on_when_io_uring_is_taken_away)
{
	struct ration_http *engine = engine_make(NULL, NULL);
	struct peer peer;

	peer_start(&peer, answering, 1);
	get_some(engine, peer.url);
	refuse_io_uring(SYS_io_uring_enter);
	get_some(engine, peer.url);
	cr_expect_not(ration_http_uses_uring(engine));
	ration_http_free(&engine);
	peer_stop(&peer);
}

/* ---- names that are never resolved ---- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
	close(fd);
}

/*
 * A network of our own, whose name server is a socket that nobody answers on. -1 where that is not
 * allowed.
 */
static int make_silent_name_server(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(53),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	char path[] = "/tmp/ration-resolv-XXXXXX";
	int fd, rc;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	close(mkstemp(path));
	write_file(path, "nameserver 127.0.0.1\n");
	rc = mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL);
	unlink(path);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (rc || ioctl(fd, SIOCSIFFLAGS, &loopback) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * Waiting for the thread that resolves would take ten seconds and more: longer than this test has.
 */
Test(http_loop, ending_a_request_does_not_wait_for_its_name_to_be_resolved, .timeout = 8)
{
	struct ration_http *engine;
	struct ration_http_request request;
	struct answer answer;
	struct seen seen = {0};
	int server = make_silent_name_server();
	uint64_t id;

	if (server < 0)
		cr_skip_test("needs the right to make namespaces");
	engine = engine_make(NULL, NULL);
	request = answer_request(&answer, "http://nowhere.example/");
	id = engine_submit(engine, &request);
	cr_assert_eq(ration_http_watch(engine, server, EPOLLIN, pipe_ready, &seen), 0);
	engine_run(engine, &seen.calls);
	cr_expect_eq(ration_http_cancel(engine, id), 0);
	expect_cancelled(&answer, false);
	request = answer_request(&answer, "http://nowhere.example/");
	request.timeout_ns = 10000000;
	engine_submit(engine, &request);
	cr_expect_eq(ration_http_watch(engine, server, 0, NULL, NULL), 0);
	engine_run(engine, NULL);
	cr_expect_eq(answer.result.error, -ETIMEDOUT, "%s", answer.error_text);
	cr_expect_not(answer.result.fate_unknown);
	ration_http_free(&engine);
	close(server);
}
