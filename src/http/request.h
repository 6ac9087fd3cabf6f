/*
 * http/request.h - one request, checked and copied
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_HTTP_REQUEST_H
#define RATION_HTTP_REQUEST_H

#include <sys/queue.h>

#include <curl/curl.h>

#include <ration/http.h>

#include "http/timers.h"

struct host;
struct line;
struct transfer;

/* One allocation: the struct, then everything its pointers point at. */
struct request {
	TAILQ_ENTRY(request) link; /* in its line, while it waits */
	struct line *line;         /* NULL: it does not wait */
	struct transfer *transfer; /* NULL: libcurl does not have it */
	struct host *host;
	struct timer deadline; /* set while it waits, if it has one */
	uint64_t id;
	uint64_t sequence; /* order of submission */
	uint64_t submitted_ns;
	uint32_t refusals;  /* of its tries, for a limit */
	struct timer again; /* set while it rests before the next try */
	struct ration_retry retry;
	uint32_t attempts; /* times it was sent; more than 1 only after certain refusals */
	struct ration_http_request spec; /* pointers into this block, but for handle and user */
	struct curl_slist *headers;      /* as libcurl takes them, also into this block */
	const char *method;              /* never NULL */
	const char *origin; /* scheme://host:port in small letters, without credentials */
	bool tls;
};

bool request_is_good(const struct ration_http_request *spec);

/* Of one that is. 0 or -ENOMEM. The caller frees it with free(). */
int request_make(const struct ration_http_request *spec, struct request **ret_request);

#endif
