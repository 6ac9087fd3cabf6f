/*
 * http/transfer.c - one request in libcurl's hands
 * SPDX-License-Identifier: MIT
 *
 * The point of sending is libcurl's "prereq" callback: the connection stands, TLS is agreed,
 * nothing of the request is written yet. Here the permit is confirmed, the caller is told, and
 * sending twice is prevented:
 *
 * - No permit any more (the connection took longer than the policy's `delay`, and others took what
 *   there was): the request must wait, but the new connection should stay, or a slow handshake
 *   would find no permit each time anew. To abort in the callback closes the connection. Setting
 *   CURLOPT_CONNECT_ONLY there does not: libcurl looks at it right after the callback, ends the
 *   transfer as done, and keeps the connection for the next one. (Whether a connection may be
 *   shared was decided when it was made, with the option off.)
 * - libcurl sends a request again by itself when a reused connection dies before the first byte of
 *   the answer, also one that is not idempotent, and there is no option against that. It comes
 *   through here a second time, and is aborted: its fate is unknown, and what to do is the caller's
 *   decision.
 * - Except where the peer has said that it did not look at the request (HTTP/2: a refused stream,
 *   or one behind a GOAWAY; see refusal.c). Then it is sent again, on a permit of its own.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/engine.h"

/* Older ones need SIGPIPE ignored when OpenSSL writes, and lack some of the options below. */
_Static_assert(LIBCURL_VERSION_NUM >= 0x075800, "libcurl 7.88 or newer");

enum {
	ATTEMPTS_MAX = 10,             /* of a request that is refused unseen again and again */
	HEADER_BYTES_MAX = 256 * 1024, /* of one answer; libcurl keeps them all in memory */
	IDLE_S = 55, /* a connection idle for longer is not used again: many peers close at 60 */
};

#define TIMEOUT_DEFAULT_NS (UINT64_C(60) * 1000000000)

/* ---- what libcurl calls ---- */

static int park(struct transfer *transfer, int error, uint64_t retry_ns)
{
	transfer->parked = true;
	transfer->error = error;
	transfer->retry_ns = retry_ns;
	if (curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_ONLY, 1L))
		return CURL_PREREQFUNC_ABORT;
	return CURL_PREREQFUNC_OK;
}

static int park_without_permit(struct transfer *transfer, int rc)
{
	uint64_t now = time_now();

	if (rc == RATION_CONTENDED)
		return park(transfer, 0, now);
	if (rc == -ETIME)
		return park(transfer, RATION_DENIED, 0);
	if (rc == RATION_OVERSIZE)
		transfer->denied = true;
	if (rc != RATION_DENIED)
		return park(transfer, rc, 0);
	transfer->denied = true;
	return park(transfer, 0,
		    transfer->denial.retry_at_ns > now ? transfer->denial.retry_at_ns : now);
}

/*
 * A second time through here. True if it may be sent again: what the vendor counted of the first,
 * it counted.
 */
static bool may_resend(struct transfer *transfer)
{
	transfer->retried = true;
	if (!refusal_is_certain(transfer) || transfer->request->attempts >= ATTEMPTS_MAX) {
		transfer->error = -ECONNRESET;
		return false;
	}
	transfer->refused = false;
	transfer->sent = false;
	permit_end(transfer, PERMIT_USED, NULL);
	return true;
}

static int tell_sending(struct transfer *transfer)
{
	struct request *request = transfer->request;

	if (!request->spec.on_send || request->announced)
		return 0;
	request->announced = true;
	transfer->engine->callbacks++;
	return request->spec.on_send(request->spec.user, request->id);
}

static void note_sending(struct transfer *transfer, const char *local_ip, int local_port)
{
	transfer->sent = true;
	transfer->sent_ns = time_now();
	transfer->request->attempts++;
	transfer->stream = 0;
	transfer->local.port = local_port;
	snprintf(transfer->local.ip, sizeof(transfer->local.ip), "%s", local_ip);
}

static int on_prereq(void *user, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
	struct transfer *transfer = user;
	int rc;

	(void)peer_ip, (void)peer_port;
	if (transfer->dead || (transfer->sent && !may_resend(transfer)))
		return CURL_PREREQFUNC_ABORT;
	rc = permit_confirm(transfer);
	if (rc)
		return park_without_permit(transfer, rc);
	if (tell_sending(transfer) || transfer->dead)
		return park(transfer, -ECANCELED, 0);
	note_sending(transfer, local_ip, local_port);
	return CURL_PREREQFUNC_OK;
}

static int on_log(CURL *easy, curl_infotype type, char *data, size_t size, void *user)
{
	(void)easy;
	if (type == CURLINFO_TEXT)
		refusal_listen(user, data, size);
	return 0;
}

/* "HTTP/1.1 103 Early Hints": header lines that follow belong to no answer. */
static bool is_interim(const char *line, size_t size)
{
	const char *status = memchr(line, ' ', size);

	return status && status + 1 < line + size && status[1] == '1';
}

static size_t on_header_line(char *line, size_t one, size_t size, void *user)
{
	struct transfer *transfer = user;
	const struct ration_http_request *spec = &transfer->request->spec;
	size_t n = size;

	(void)one;
	if (transfer->dead)
		return 0;
	transfer->header_bytes += size;
	if (transfer->header_bytes > HEADER_BYTES_MAX) {
		transfer->error = -EMSGSIZE;
		return 0;
	}
	while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		n--;
	if (n >= 5 && !memcmp(line, "HTTP/", 5)) {
		transfer->interim = is_interim(line, n);
		response_clear(&transfer->response);
	} else if (!n) {
		transfer->head_is_whole = !transfer->interim;
	} else if (!transfer->interim) {
		if (spec->handle)
			response_line(&transfer->response, line, n);
		if (spec->on_header) {
			transfer->engine->callbacks++;
			spec->on_header(spec->user, line, n);
		}
	}
	return transfer->dead ? 0 : size;
}

static size_t on_body_piece(char *data, size_t one, size_t size, void *user)
{
	struct transfer *transfer = user;
	const struct ration_http_request *spec = &transfer->request->spec;

	(void)one;
	if (transfer->dead)
		return 0;
	if (spec->max_body && size > spec->max_body - transfer->body_bytes) {
		transfer->error = -EMSGSIZE;
		return 0;
	}
	transfer->body_bytes += size;
	if (feedback_wants_body(transfer))
		response_piece(&transfer->response, data, size);
	if (!spec->on_body)
		return size;
	transfer->engine->callbacks++;
	if (spec->on_body(spec->user, data, size) && !transfer->dead)
		transfer->error = -ECANCELED;
	return transfer->dead || transfer->error ? 0 : size;
}

/* ---- options ---- */

/* Never changed again: what a request sets anew each time is in set_request(). */
static const struct {
	CURLoption option;
	long value;
} fixed[] = {
	{CURLOPT_NOSIGNAL, 1},
	{CURLOPT_NOPROGRESS, 1},
	{CURLOPT_SSL_VERIFYPEER, 1},
	{CURLOPT_SSL_VERIFYHOST, 2},
	{CURLOPT_FOLLOWLOCATION, 0}, /* a redirect is an answer */
	{CURLOPT_HTTPAUTH,
	 CURLAUTH_BASIC}, /* schemes of several rounds would send several requests */
	{CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
	{CURLOPT_TCP_KEEPALIVE, 1},
	{CURLOPT_MAXAGE_CONN, IDLE_S},
	{CURLOPT_QUICK_EXIT, 1}, /* or ending a request waits for its name to be resolved */
};

static void set_callbacks(struct transfer *transfer)
{
	CURL *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_prereq);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header_line);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body_piece);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_log);
	curl_easy_setopt(easy, CURLOPT_DEBUGDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, multi_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer->engine);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, multi_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->engine);
}

static CURLcode set_fixed(struct transfer *transfer)
{
	CURL *easy = transfer->easy;
	CURLcode rc = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		rc = rc ? rc : curl_easy_setopt(easy, fixed[i].option, fixed[i].value);
	if (!rc)
		rc = curl_easy_setopt(easy, CURLOPT_USERAGENT, "ration/" RATION_VERSION);
	set_callbacks(transfer);
	return rc;
}

/* Methods that a server expects a Content-Length with, even without a body. */
static bool has_body(const struct request *request)
{
	static const char *const methods[] = {"POST", "PUT", "PATCH"};

	if (request->spec.body_size)
		return true;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(request->form->method, methods[i]))
			return true;
	return false;
}

static CURLcode set_method(CURL *easy, const struct request *request)
{
	const char *usual = "GET";
	const void *body = request->spec.body ? request->spec.body : "";

	if (has_body(request)) {
		usual = "POST";
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)request->spec.body_size);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	} else if (!strcmp(request->form->method, "HEAD")) {
		usual = "HEAD";
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
				strcmp(request->form->method, usual) ? request->form->method
								     : NULL);
}

static CURLcode set_tls(struct transfer *transfer, const struct request *request)
{
	const struct ration_http *engine = transfer->engine;
	const char *ca = request->spec.ca_file;
	CURLcode rc;

	curl_easy_setopt(transfer->easy, CURLOPT_VERBOSE, (long)request->form->tls);
	/*
	 * Rather wait for a connection in the making than make one for each request: it may be
	 * HTTP/2.
	 */
	curl_easy_setopt(transfer->easy, CURLOPT_PIPEWAIT, (long)request->form->tls);
	curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION,
			 request->form->tls ? (long)CURL_HTTP_VERSION_2TLS
					    : (long)CURL_HTTP_VERSION_1_1);
	if (!request->form->tls)
		return CURLE_OK;
	rc = curl_easy_setopt(transfer->easy, CURLOPT_CAINFO, ca ? ca : engine->ca_file);
	return rc ? rc
		  : curl_easy_setopt(transfer->easy, CURLOPT_CAPATH, ca ? NULL : engine->ca_path);
}

static long timeout_ms(uint64_t ns)
{
	uint64_t ms = (ns ? ns : TIMEOUT_DEFAULT_NS) / 1000000;

	return ms >= INT_MAX ? INT_MAX : (long)ms + 1;
}

static CURLcode set_request(struct transfer *transfer, const struct request *request)
{
	CURL *easy = transfer->easy;
	CURLcode rc = curl_easy_setopt(easy, CURLOPT_URL, request->spec.url);

	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->form->headers);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms(request->spec.timeout_ns));
	if (!rc)
		rc = set_method(easy, request);
	if (!rc)
		rc = curl_easy_setopt(easy, CURLOPT_PROXY, request->spec.proxy);
	return rc ? rc : set_tls(transfer, request);
}

/* ---- life ---- */

static struct transfer *make(struct ration_http *engine)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer)
		return NULL;
	transfer->engine = engine;
	transfer->easy = curl_easy_init();
	if (!transfer->easy || set_fixed(transfer)) {
		transfer_free(transfer);
		return NULL;
	}
	return transfer;
}

void transfer_free(struct transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	response_free(&transfer->response);
	free(transfer);
}

/* libcurl counts a handle's retries over all its transfers, and gives up at five. */
static bool make_new(struct transfer *transfer)
{
	curl_easy_reset(transfer->easy);
	return !set_fixed(transfer);
}

struct transfer *transfer_get(struct ration_http *engine)
{
	struct transfer *transfer = SLIST_FIRST(&engine->idle);

	if (!transfer)
		return make(engine);
	SLIST_REMOVE_HEAD(&engine->idle, link);
	if (transfer->retried && !make_new(transfer)) {
		transfer_free(transfer);
		return NULL;
	}
	/* Ticket and denial are a kilobyte, and say themselves whether they hold anything. */
	memset(&transfer->request, 0,
	       offsetof(struct transfer, ticket) - offsetof(struct transfer, request));
	transfer->ticket.owner = 0;
	return transfer;
}

int transfer_start(struct transfer *transfer, struct request *request)
{
	struct ration_http *engine = transfer->engine;
	CURLMcode rc = CURLM_OUT_OF_MEMORY;

	transfer->request = request;
	engine->in_curl++;
	if (!set_request(transfer, request))
		rc = curl_multi_add_handle(engine->multi, transfer->easy);
	engine->in_curl--;
	return rc ? -ENOMEM : 0;
}

static void put_away(struct transfer *transfer)
{
	struct ration_http *engine = transfer->engine;

	if (transfer->dead)
		free(transfer->request);
	transfer->request = NULL;
	response_clear(&transfer->response);
	engine->in_curl++;
	/* A connection of a parked transfer would be closed with it as long as this is set. */
	if (transfer->parked)
		curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_ONLY, 0L);
	curl_multi_remove_handle(engine->multi, transfer->easy);
	engine->in_curl--;
	SLIST_INSERT_HEAD(&engine->idle, transfer, link);
}

void transfer_put(struct transfer *transfer)
{
	if (transfer->engine->in_curl)
		SLIST_INSERT_HEAD(&transfer->engine->dead, transfer, link);
	else
		put_away(transfer);
}

void transfer_bury(struct ration_http *engine)
{
	struct transfer *transfer;

	while (!engine->in_curl && (transfer = SLIST_FIRST(&engine->dead))) {
		SLIST_REMOVE_HEAD(&engine->dead, link);
		put_away(transfer);
	}
}
