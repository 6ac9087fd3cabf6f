/*
 * ration/http.h - send requests within their quota: libcurl on an io_uring event loop
 * SPDX-License-Identifier: MIT
 *
 * An engine belongs to one thread, which submits requests and runs the loop; every callback is made
 * from inside ration_http_run(), ration_http_cancel() or ration_http_free(). A request first waits
 * for its quota (in the line that all processes stand in; requests of one handle in order of submission), is sent, and ends in
 * exactly one call of on_done. Nothing here blocks but ration_http_run(). Callbacks may submit and
 * cancel, but not run or free the engine. After fork(2) the child must not use it.
 *
 * Permits. A request takes its permit when there is a place for it to be sent from, and the permit
 * is looked at once more when its connection stands: one that has grown older than the policy's
 * `delay` is cancelled and another is acquired. If none is to be had any more the request waits
 * again, and its connection stays open for it. The ticket is settled with the cost as estimated
 * when the request reached the vendor, and cancelled when it certainly never left.
 *
 * Routes. A request of a route goes to one of several vendors, picked when its permit is taken (ration_route()), anew for
 * each try; what is sent may differ.
 *
 * Vendors. The adapter of the vendor that a request's handle names says what the request will cost, in units that `costs`
 * does not name; what its answer says about quota, which is fed back as by ration_observe(); and what it really used, for
 * which the ticket is settled.
 *
 * Sending again. What may have reached the vendor is not sent a second time; `fate_unknown` says
 * so, and the caller decides. The exception is what the peer itself declares not to have looked at
 * (HTTP/2: a refused stream, or one behind the last that a GOAWAY names): it is sent again, on a
 * permit of its own.
 *
 * A redirect is an answer like any other. Certificates are always verified. HTTP/2 is used where
 * TLS offers it.
 */
#ifndef RATION_HTTP_H
#define RATION_HTTP_H

#include <ration/ration.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ration_http;

/*
 * Over HTTP/1 a request needs a connection to itself, so in flight to one host are at most
 * max_host_connections, and max_connections to all; over HTTP/2 up to 100 requests share one.
 * Requests beyond that wait, without a permit. A connection is a descriptor: RLIMIT_NOFILE must
 * allow for them.
 */
struct ration_http_options {
	uint32_t max_in_flight;        /* requests sent and not answered; 0: 1,024 */
	uint32_t max_connections;      /* open at once; 0: 256 */
	uint32_t max_host_connections; /* the same for one host; 0: 64 */
	bool no_uring; /* wait with epoll alone, as is done anyway where io_uring is refused */
	const char *
		adapters; /* a directory of adapters that come before those shipped, see ration-adapter(5); NULL: none */
};

/*
 * How a request ended. Pointers are valid during on_done only. Beside what ration_acquire()
 * returns, error is -ECANCELED, -ETIMEDOUT, -ECONNREFUSED (also by a proxy), -EHOSTUNREACH (no such
 * name), -ECONNRESET (broken off), -EPROTO (no HTTP, or no TLS), -EKEYREJECTED (the peer could not
 * prove its name), -EMSGSIZE (more than max_body, or 256 KiB of headers), -ENOENT (ca_file),
 * -EINVAL, -ENOMEM or -EIO.
 */
struct ration_http_result {
	uint64_t id;            /* what ration_http_submit() returned */
	int error;              /* 0: answered, `status` is set; a RATION_* or -errno value: not */
	const char *error_text; /* "" or one line; never holds headers, bodies or credentials */
	long status;            /* HTTP status, 0 if none came */
	uint32_t
		attempts; /* times it was sent: 0, 1; more where the peer refused it unseen, and with `retry` */
	uint32_t
		refusals; /* of those, refused for a limit: a 429 is told even if a later try was accepted */
	bool fate_unknown;   /* it may have reached the vendor, and no whole answer came back */
	uint64_t wait_ns;    /* from submission to the permit that was used */
	uint64_t latency_ns; /* from sending to the end of the answer */
	uint64_t acquire_ns; /* the time inside ration_acquire() of the call that was granted */
	uint64_t body_bytes; /* bytes of answer body given to on_body */
	const struct ration_denial *denial; /* the last that made it wait or refused it; or NULL */
	const struct ration_signal
		*signal; /* what the answer says about quota; NULL: no answer, or no handle */
	const struct ration_pick *pick; /* of a route: where it went or last tried to; else NULL */
	const struct ration_http_inside *inside; /* for the library alone */
};

/* A request of a route, as it is sent to one of the alternatives. */
struct ration_http_alternative {
	const char *name; /* as the policy has it, such as "openai/gpt-4o" */
	/* What is NULL is the request's own. */
	const char *url;
	const char *const *headers;
	size_t n_headers;
	const void *body;
	size_t body_size;
	const struct ration_cost *costs;
	size_t n_costs;
};

/*
 * What to send. Everything is copied by ration_http_submit() but what `user` points at, the handle and
 * the route, which must live until on_done.
 */
struct ration_http_request {
	struct ration_handle *handle; /* NULL, and no route: no quota applies */
	/*
	 * Instead of a handle. The request goes to those that are listed, at most RATION_ALTERNATIVES_MAX, and then needs no
	 * URL of its own if each has one; none: to all that the route has now, always as it is.
	 */
	struct ration_route *route;
	const struct ration_http_alternative *alternatives;
	size_t n_alternatives;
	const struct ration_cost *costs; /* as for ration_acquire() */
	size_t n_costs;
	const char *method;         /* NULL: GET, or POST with a body */
	const char *url;            /* http or https */
	const char *const *headers; /* "Name: value"; lengths of the body are left out */
	size_t n_headers;
	const void *body;
	size_t body_size;
	const char *proxy;    /* NULL: as the environment says; "": none */
	const char *ca_file;  /* NULL: the system's certificates. Verification is always on. */
	uint64_t timeout_ns;  /* from the permit, connecting included, to the end; 0: 60 s */
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; no permit by then: RATION_DENIED. 0: none */
	/*
	 * Try again by what the policy says of the handle's class (ration_retry_again()), if the vendor refused it for a limit,
	 * could not be reached or was in trouble (408, 500, 502, 503, 504). What may have been acted upon is only repeated if it
	 * is idempotent: GET, HEAD, PUT, DELETE, OPTIONS, TRACE, a header Idempotency-Key, or `idempotent`. Meanwhile it has no
	 * connection, no ticket and no place in line.
	 */
	bool retry;
	bool idempotent;
	uint64_t max_body; /* more answer than this ends the request with -EMSGSIZE; 0: no bound */

	void *user;
	/*
	 * The request is about to leave, and after this its fate may be unknown: its permit is good
	 * and its connection stands. Called once, with `retry` once for each try. Optional. Non-zero: do not send; the request ends
	 * with -ECANCELED and its ticket is given back.
	 */
	int (*on_send)(void *user, uint64_t id);
	/* One header line of the answer, without line end; not the status line. Optional. */
	void (*on_header)(void *user, const char *line, size_t size);
	/* A piece of the answer's body. Optional. Non-zero ends the request with -ECANCELED. */
	int (*on_body)(void *user, const void *data, size_t size);
	/*
	 * A try has failed, and the next comes after wait_ns: what on_header and on_body were given so far is of no answer.
	 * result: as on_done would have got it. Optional.
	 */
	void (*on_retry)(void *user, const struct ration_http_result *result, uint64_t wait_ns);
	/* The end; exactly once. Required. May submit more. */
	void (*on_done)(void *user, const struct ration_http_result *result);
};

/*
 * What the answer says about quota, as header fields for one's own callers, whatever the vendor spoke: RateLimit,
 * RateLimit-Policy, RateLimit-Limit, -Remaining and -Reset, Retry-After. During on_done only. n: 0 at first, counted up by
 * this. False: there are no more.
 */
RATION_API bool ration_http_headers(const struct ration_http_result *result, uint32_t *n,
				    const char **ret_name, const char **ret_value);

/*
 * ration: NULL where no request will have a handle. Errors: -ENOMEM, other -errno (of options->adapters, too). An adapter
 * that is not good counts as none: ration-adapter(5) says how to check it.
 */
RATION_API RATION_MUST_CHECK int ration_http_new(struct ration *ration,
						 const struct ration_http_options *options,
						 struct ration_http **ret_engine);

/* Ends every request (on_done with -ECANCELED), frees and nulls the engine. NULL is allowed. */
RATION_API void ration_http_free(struct ration_http **engine);

/*
 * ret_id: optional. Errors: -EINVAL (no URL, not http(s), no on_done, a header without a colon, a
 * handle without an attachment, ...), -ECANCELED (the engine is being freed), -ENOMEM.
 */
RATION_API RATION_MUST_CHECK int ration_http_submit(struct ration_http *engine,
						    const struct ration_http_request *request,
						    uint64_t *ret_id);

/* End a request; its on_done is called with -ECANCELED before this returns. -ENOENT: not (any more)
 * there. */
RATION_API int ration_http_cancel(struct ration_http *engine, uint64_t id);

/*
 * Do what is due, wait for at most timeout_ns for more, do that. It does not wait if there was
 * something to tell already, nor if there is neither a request nor a watched descriptor. Returns
 * the number of requests that are still waiting or in flight, or -errno (-EBUSY: called from a
 * callback).
 */
RATION_API RATION_MUST_CHECK int ration_http_run(struct ration_http *engine, uint64_t timeout_ns);

/*
 * Let the same wait also watch a descriptor of the caller's (level-triggered). events: EPOLLIN,
 * EPOLLOUT, or 0 to stop (before it is closed). One callback for one descriptor; watching it again
 * replaces. The descriptor stays the caller's. Errors: -EPERM (a regular file, which is always
 * ready), -EBADF, -EINVAL, -ENOENT (to stop what is not watched), -ENOMEM.
 */
RATION_API RATION_MUST_CHECK int
ration_http_watch(struct ration_http *engine, int fd, uint32_t events,
		  void (*on_ready)(void *user, int fd, uint32_t events), void *user);

/* Make a running ration_http_run() return soon. Any thread; async-signal-safe. */
RATION_API void ration_http_wake(struct ration_http *engine);

/* Whether io_uring drives this engine (false: epoll alone). */
RATION_API RATION_MUST_CHECK bool ration_http_uses_uring(const struct ration_http *engine);

#ifdef __cplusplus
}
#endif

#endif
