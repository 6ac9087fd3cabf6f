/*
 * http/multi.c - libcurl's multi handle: its sockets, its clock, its results
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/engine.h"

/* ---- sockets ---- */

curl_socket_t multi_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct ration_http *engine = user;
	int fd;

	(void)purpose;
	/*
	 * Close-on-exec, which libcurl's own sockets are not: a program started meanwhile would
	 * keep the peer waiting.
	 */
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    address->protocol);
	if (fd >= 0 && sockets_opened(&engine->sockets, fd)) {
		close(fd);
		fd = -1;
	}
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

int multi_close_socket(void *user, curl_socket_t fd)
{
	struct ration_http *engine = user;

	sockets_closed(&engine->sockets, fd);
	return close(fd);
}

/* Errors and hang-ups are for libcurl to find, by trying to read or write. */
static void socket_is_ready(void *user, int fd, uint32_t events)
{
	struct ration_http *engine = user;
	int mask = 0, running;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		mask |= CURL_CSELECT_IN;
	if (events & (EPOLLOUT | EPOLLERR))
		mask |= CURL_CSELECT_OUT;
	engine->in_curl++;
	curl_multi_socket_action(engine->multi, fd, mask, &running);
	engine->in_curl--;
	transfer_bury(engine);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
	static const uint32_t events[] = {
		[CURL_POLL_IN] = EPOLLIN,
		[CURL_POLL_OUT] = EPOLLOUT,
		[CURL_POLL_INOUT] = EPOLLIN | EPOLLOUT,
		[CURL_POLL_REMOVE] = 0,
	};
	struct ration_http *engine = user;

	(void)easy, (void)socket_user;
	/*
	 * -1 makes libcurl fail every transfer, which is right when there is no memory to watch a
	 * socket with.
	 */
	return sockets_want(&engine->sockets, fd, events[what], socket_is_ready, engine) ? -1 : 0;
}

/* ---- clock ---- */

static uint64_t at(long ms)
{
	if (ms <= 0)
		return ms < 0 ? TIME_NEVER : 0;
	return time_now() + (uint64_t)ms * 1000000;
}

static int on_timer(CURLM *multi, long ms, void *user)
{
	struct ration_http *engine = user;

	(void)multi;
	engine->curl_at_ns = at(ms);
	return 0;
}

void multi_tick(struct ration_http *engine, uint64_t now_ns)
{
	long ms = -1;
	int running;

	if (engine->curl_at_ns > now_ns)
		return;
	engine->curl_at_ns = TIME_NEVER;
	engine->in_curl++;
	curl_multi_socket_action(engine->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	engine->in_curl--;
	transfer_bury(engine);
	/*
	 * libcurl rounds down, so it may have been called before anything was due; and it does not
	 * tell the same time twice. So ask, or its timer would be lost.
	 */
	curl_multi_timeout(engine->multi, &ms);
	engine->curl_at_ns = at(ms);
}

/* ---- results ---- */

static void give_back_place(struct ration_http *engine, struct transfer *transfer)
{
	gate_leave(engine, &transfer->request->host->gate);
	if (transfer->counted)
		gate_leave(engine, &engine->connections);
	engine->in_flight--;
}

void multi_detach(struct ration_http *engine, struct transfer *transfer)
{
	give_back_place(engine, transfer);
	transfer->request->transfer = NULL;
	transfer_put(transfer);
}

static void send_later(struct ration_http *engine, struct transfer *transfer)
{
	struct request *request = transfer->request;
	const struct ration_denial *denial = transfer->denied ? &transfer->denial : NULL;

	permit_end(transfer, PERMIT_UNUSED, NULL);
	multi_detach(engine, transfer);
	queue_return(engine, request, transfer->retry_ns, denial);
}

static void learn(struct ration_http *engine, const struct transfer *transfer)
{
	long version = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_VERSION, &version);
	if (version)
		queue_learn(engine, transfer->request->host, version == CURL_HTTP_VERSION_2_0);
}

/* A tunnel that the proxy did not open is to libcurl a connection that broke. */
static bool proxy_refused(const struct transfer *transfer)
{
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &status);
	return !transfer->sent && status >= 300;
}

static void collect(struct ration_http *engine, struct transfer *transfer, CURLcode code)
{
	const char *text = NULL;
	int error = transfer->error;

	if (transfer->parked && !error && !code) {
		send_later(engine, transfer);
		return;
	}
	learn(engine, transfer);
	/* libcurl is content with an answer that ends within its headers. */
	if (!error && !code && !transfer->head_is_whole)
		code = CURLE_PARTIAL_FILE;
	if (code && proxy_refused(transfer))
		code = CURLE_PROXY;
	if (!error)
		error = outcome_of(transfer->easy, code, &text);
	else if (error == -ECONNRESET)
		text = "the connection was closed without an answer";
	else if (error == -EMSGSIZE)
		text = "the answer is too long";
	engine_finish(engine, transfer->request, error, text);
}

void multi_collect(struct ration_http *engine)
{
	struct transfer *transfer;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(engine->multi, &left))) {
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
		collect(engine, transfer, code);
	}
}

/* ---- life ---- */

static CURLMcode set_options(struct ration_http *engine)
{
	CURLM *multi = engine->multi;
	const struct ration_http_options *options = &engine->options;

	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, engine);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, engine);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	/*
	 * As many streams as nghttp2 sends before the peer has said how many it takes: what libcurl
	 * hands over beyond that would wait in nghttp2, with its permit.
	 */
	curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, 100L);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)options->max_connections);
	curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)options->max_connections);
	return curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
				 (long)options->max_host_connections);
}

/* Where libcurl looks for certificates by itself, to be able to go back to it. */
static int find_certificates(struct ration_http *engine)
{
	CURL *easy = curl_easy_init();
	char *file = NULL, *path = NULL;

	if (!easy)
		return -ENOMEM;
	curl_easy_getinfo(easy, CURLINFO_CAINFO, &file);
	curl_easy_getinfo(easy, CURLINFO_CAPATH, &path);
	engine->ca_file = file ? strdup(file) : NULL;
	engine->ca_path = path ? strdup(path) : NULL;
	curl_easy_cleanup(easy);
	return (file && !engine->ca_file) || (path && !engine->ca_path) ? -ENOMEM : 0;
}

int multi_init(struct ration_http *engine)
{
	engine->curl_at_ns = TIME_NEVER;
	SLIST_INIT(&engine->idle);
	SLIST_INIT(&engine->dead);
	engine->multi = curl_multi_init();
	if (!engine->multi || set_options(engine))
		return -ENOMEM;
	return find_certificates(engine);
}

void multi_free(struct ration_http *engine)
{
	struct transfer *transfer;

	while ((transfer = SLIST_FIRST(&engine->idle))) {
		SLIST_REMOVE_HEAD(&engine->idle, link);
		transfer_free(transfer);
	}
	curl_multi_cleanup(engine->multi);
	free(engine->ca_file);
	free(engine->ca_path);
}
