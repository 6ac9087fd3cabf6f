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

/* As it is sent to one of those that it may go to. */
struct form {
	const char *name; /* of the route's alternative; NULL: there is no route */
	struct host *host;
	const char *url;
	const char *method;         /* never NULL */
	const char *origin;         /* scheme://host:port in small letters, without credentials */
	struct curl_slist *headers; /* as libcurl takes them */
	const void *body;
	size_t body_size;
	const struct ration_cost *costs;
	size_t n_costs;
	bool tls;
};

/* One allocation: the struct, then everything its pointers point at. */
struct request {
	TAILQ_ENTRY(request) link; /* in its line, while it waits */
	struct line *line;         /* NULL: it does not wait */
	struct transfer *transfer; /* NULL: libcurl does not have it */
	struct host *host;         /* the form's */
	struct timer deadline;     /* set while it waits, if it has one */
	uint64_t id;
	uint64_t sequence; /* order of submission */
	uint64_t submitted_ns;
	uint32_t refusals;  /* of its tries, for a limit */
	struct timer again; /* set while it rests before the next try */
	struct ration_retry retry;
	bool announced;    /* on_send was called for this try */
	uint32_t attempts; /* times it was sent; more than 1 only after certain refusals */
	/* Pointers into this block, but for handle, route and user. What also stands in a form is the present one's. */
	struct ration_http_request spec;
	struct form *form;  /* the present one */
	struct form *forms; /* in this block, too */
	uint32_t n_forms;   /* at least 1, at most RATION_ALTERNATIVES_MAX */
	uint32_t open;      /* bit mask: those for whose hosts there is a place now */
	uint32_t failed; /* of those the one whose vendor could not be reached, or was in trouble */
	struct ration_pick pick;
};

bool request_is_good(const struct ration_http_request *spec);

/*
 * Of n that are, which differ in what a form holds. names: of a route's alternatives; NULL: no route. 0 or -ENOMEM. The
 * caller frees it with free().
 */
int request_make(const struct ration_http_request *specs, const char *const *names, uint32_t n,
		 struct request **ret_request);

/* From now on it is sent in this form. */
void request_wear(struct request *request, struct form *form);

#endif
