/*
 * tests/support_http.c - answers, a peer, a relay
 * SPDX-License-Identifier: MIT
 */
#include "support_http.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(9000000000)

enum {
	STEP_MS = 2, /* how often a peer looks whether it is to stop */
	CONNECTIONS_MAX = 64,
};

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* ---- answers ---- */

static int on_send(void *user, uint64_t id)
{
	struct answer *answer = user;

	(void)id;
	answer->sends++;
	return answer->refuse_send;
}

static void on_header(void *user, const char *line, size_t size)
{
	struct answer *answer = user;
	size_t used = strlen(answer->headers);

	cr_expect_null(memchr(line, '\n', size));
	snprintf(answer->headers + used, sizeof(answer->headers) - used, "%.*s\n", (int)size, line);
}

static int on_body(void *user, const void *data, size_t size)
{
	struct answer *answer = user;
	size_t used = strlen(answer->body);

	snprintf(answer->body + used, sizeof(answer->body) - used, "%.*s", (int)size,
		 (const char *)data);
	for (size_t i = 0; i < size; i++)
		answer->sum += ((const unsigned char *)data)[i];
	return 0;
}

static void copy_quota(struct answer *answer, const struct ration_http_result *result)
{
	const char *name, *value;
	size_t used = 0;

	for (uint32_t n = 0;
	     used < sizeof(answer->quota) && ration_http_headers(result, &n, &name, &value);)
		used += (size_t)snprintf(answer->quota + used, sizeof(answer->quota) - used,
					 "%s: %s\n", name, value);
}

static void on_done(void *user, const struct ration_http_result *result)
{
	struct answer *answer = user;

	answer->done++;
	answer->result = *result;
	snprintf(answer->error_text, sizeof(answer->error_text), "%s", result->error_text);
	answer->result.error_text = answer->error_text;
	if (result->denial) {
		answer->denial = *result->denial;
		answer->result.denial = &answer->denial;
	}
	if (result->pick) {
		answer->pick = *result->pick;
		answer->result.pick = &answer->pick;
	}
	answer->result.inside = NULL;
	answer->result.signal = NULL;
	if (result->signal) {
		answer->signal = *result->signal;
		answer->result.signal = &answer->signal;
		copy_quota(answer, result);
	}
}

struct ration_http_request answer_request(struct answer *answer, const char *url)
{
	*answer = (struct answer){0};
	return (struct ration_http_request){
		.url = url,
		.proxy = "",
		.timeout_ns = PATIENCE_NS,
		.user = answer,
		.on_send = on_send,
		.on_header = on_header,
		.on_body = on_body,
		.on_done = on_done,
	};
}

struct ration_http *engine_make(struct ration *ration, const struct ration_http_options *options)
{
	struct ration_http *engine = NULL;

	cr_assert_eq(ration_http_new(ration, options, &engine), 0);
	return engine;
}

uint64_t engine_submit(struct ration_http *engine, const struct ration_http_request *request)
{
	uint64_t id = 0;
	int rc = ration_http_submit(engine, request, &id);

	cr_assert_eq(rc, 0, "submit %s: %s", request->url, ration_strerror(rc));
	cr_assert_neq(id, 0);
	return id;
}

void engine_run(struct ration_http *engine, const int *until)
{
	uint64_t end = now_ns() + PATIENCE_NS;

	while (!until || !*until) {
		int rc = ration_http_run(engine, UINT64_C(50000000));

		cr_assert_geq(rc, 0, "run: %s", ration_strerror(rc));
		if (!rc)
			break;
		cr_assert_lt(now_ns(), end, "%d requests do not end", rc);
	}
	cr_assert(!until || *until, "nothing is left, but what was waited for has not come");
}

void engine_get(struct ration_http *engine, const char *url, struct answer *ret_answer)
{
	struct ration_http_request request = answer_request(ret_answer, url);

	engine_submit(engine, &request);
	engine_run(engine, &ret_answer->done);
}

/* ---- sockets ---- */

static int listen_anywhere(int *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&address, size) && !listen(fd, 64) &&
		  !getsockname(fd, (struct sockaddr *)&address, &size));
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static int dial(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool has_come(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, STEP_MS) == 1;
}

/* ---- peer: one connection after another is looked at, so one thread serves them all ---- */

struct talk {
	int fd;
	int step;
	bool hanging;
	size_t used;
	char head[8192];
};

static void end_talk(struct talk *talk, enum peer_end end)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	if (end == PEER_RESET)
		setsockopt(talk->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(talk->fd);
	talk->fd = -1;
}

static void do_step(struct peer *peer, struct talk *talk)
{
	const struct peer_step *step = &peer->steps[talk->step];

	memcpy(peer->last, talk->head, sizeof(talk->head));
	atomic_fetch_add(&peer->requests, 1);
	talk->used = 0;
	if (talk->step + 1 < peer->n_steps)
		talk->step++;
	(void)!send(talk->fd, step->bytes, strlen(step->bytes), MSG_NOSIGNAL);
	talk->hanging = step->end == PEER_HANG;
	if (step->end == PEER_CLOSE || step->end == PEER_RESET)
		end_talk(talk, step->end);
}

static void listen_to(struct peer *peer, struct talk *talk)
{
	ssize_t n = recv(talk->fd, talk->head + talk->used, sizeof(talk->head) - 1 - talk->used,
			 MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		end_talk(talk, PEER_CLOSE);
	} else if (n > 0) {
		talk->used += (size_t)n;
		talk->head[talk->used] = '\0';
		if (strstr(talk->head, "\r\n\r\n") && !talk->hanging)
			do_step(peer, talk);
	}
}

static void *peer_main(void *user)
{
	static _Thread_local struct talk talks[CONNECTIONS_MAX];
	struct peer *peer = user;
	int n = 0;

	while (!atomic_load(&peer->stopping)) {
		if (n < CONNECTIONS_MAX && has_come(peer->fd)) {
			talks[n++] = (struct talk){.fd = accept(peer->fd, NULL, NULL)};
			atomic_fetch_add(&peer->connections, 1);
		}
		for (int i = 0; i < n; i++)
			if (talks[i].fd >= 0)
				listen_to(peer, &talks[i]);
	}
	for (int i = 0; i < n; i++)
		if (talks[i].fd >= 0)
			end_talk(&talks[i], PEER_CLOSE);
	return NULL;
}

void peer_start(struct peer *peer, const struct peer_step *steps, int n_steps)
{
	memset(peer, 0, sizeof(*peer));
	peer->steps = steps;
	peer->n_steps = n_steps;
	peer->fd = listen_anywhere(&peer->port);
	snprintf(peer->url, sizeof(peer->url), "http://127.0.0.1:%d/", peer->port);
	cr_assert_eq(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

void peer_stop(struct peer *peer)
{
	atomic_store(&peer->stopping, 1);
	pthread_join(peer->thread, NULL);
	close(peer->fd);
}

/* ---- relay ---- */

struct pair {
	int client;
	int server;
};

/* False when one side has closed. */
static bool pass(int from, int to)
{
	char bytes[16384];
	ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN;
	return n > 0 && send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void end_pair(struct pair *pair)
{
	close(pair->client);
	close(pair->server);
	pair->client = -1;
}

/* Read a head byte by byte, so that nothing behind it is swallowed, and say yes. */
static void open_tunnel(struct relay *relay, int client)
{
	char head[1024] = "";
	size_t n = 0;

	while (n < sizeof(head) - 1 && !strstr(head, "\r\n\r\n") &&
	       recv(client, head + n, 1, 0) == 1)
		head[++n] = '\0';
	snprintf(relay->asked, sizeof(relay->asked), "%.*s", (int)strcspn(head, "\r"), head);
	(void)!send(client, "HTTP/1.1 200 Connection established\r\n\r\n", 39, MSG_NOSIGNAL);
}

static void *relay_main(void *user)
{
	struct relay *relay = user;
	struct pair pairs[CONNECTIONS_MAX];
	int n = 0;

	while (!atomic_load(&relay->stopping)) {
		if (n < CONNECTIONS_MAX && has_come(relay->fd)) {
			pairs[n] = (struct pair){accept(relay->fd, NULL, NULL), dial(relay->to)};
			if (relay->tunnel)
				open_tunnel(relay, pairs[n].client);
			n++;
			atomic_fetch_add(&relay->connections, 1);
		}
		for (int i = 0; i < n; i++) {
			if (pairs[i].client < 0 || !atomic_load(&relay->open))
				continue;
			if (!pass(pairs[i].client, pairs[i].server) ||
			    !pass(pairs[i].server, pairs[i].client))
				end_pair(&pairs[i]);
		}
	}
	for (int i = 0; i < n; i++)
		if (pairs[i].client >= 0)
			end_pair(&pairs[i]);
	return NULL;
}

static void start(struct relay *relay, int to_port, bool open, bool tunnel)
{
	memset(relay, 0, sizeof(*relay));
	relay->to = to_port;
	relay->tunnel = tunnel;
	atomic_store(&relay->open, open);
	relay->fd = listen_anywhere(&relay->port);
	cr_assert_eq(pthread_create(&relay->thread, NULL, relay_main, relay), 0);
}

void relay_start(struct relay *relay, int to_port, bool open)
{
	start(relay, to_port, open, false);
}

void relay_start_tunnel(struct relay *relay, int to_port)
{
	start(relay, to_port, true, true);
}

void relay_stop(struct relay *relay)
{
	atomic_store(&relay->stopping, 1);
	pthread_join(relay->thread, NULL);
	close(relay->fd);
}
