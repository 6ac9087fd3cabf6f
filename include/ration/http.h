/*
 * ration/http.h - send requests within their quota: libcurl on an io_uring event loop
 * SPDX-License-Identifier: MIT
 *
 * An engine belongs to one thread, which submits requests and runs the loop; every callback is made
 * from inside ration_http_run(). A request first waits for its quota (as a timer, requests of one
 * handle in order of submission), is sent, and ends in exactly one call of on_done. Nothing here
 * blocks but ration_http_run().
 *
 * Tickets are settled with the cost as estimated when the request reached the vendor, and cancelled
 * when it certainly never left. A ticket older than the policy's `delay` is not sent on: it is
 * cancelled and acquired again.
 */
#ifndef RATION_HTTP_H
#define RATION_HTTP_H

#include <ration/ration.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ration_http;

struct ration_http_options {
	uint32_t
		max_in_flight; /* requests sent and not answered; 0: 1,024. More wait their turn. */
	uint32_t max_connections;      /* open at once; 0: 256 */
	uint32_t max_host_connections; /* the same for one host; 0: 64 */
	bool no_uring; /* wait with epoll alone, as is done anyway where io_uring is refused */
};

/* How a request ended. Pointers are valid during on_done only. */
struct ration_http_result {
	uint64_t id;            /* what ration_http_submit() returned */
	int error;              /* 0: answered, `status` is set; a RATION_* or -errno value: not */
	const char *error_text; /* "" or one line; never holds headers, bodies or credentials */
	long status;            /* HTTP status, 0 if none came */
	uint32_t attempts;      /* times it was handed to the network: 0 or 1 */
	bool fate_unknown;      /* it may have reached the vendor, and no whole answer came back */
	uint64_t wait_ns;       /* from submission to the permit that was used */
	uint64_t latency_ns;    /* from the hand-over to the network to the end of the answer */
	uint64_t acquire_ns;    /* the time inside ration_acquire() of the call that was granted */
	uint64_t body_bytes;    /* bytes of answer body given to on_body */
	const struct ration_denial
		*denial; /* last limit that made it wait, or refused it; NULL: none */
};

/*
 * What to send. Everything is copied by ration_http_submit() but what `user` points at and the
 * handle, which must live until on_done.
 */
struct ration_http_request {
	struct ration_handle *handle;    /* NULL: no quota applies */
	const struct ration_cost *costs; /* as for ration_acquire() */
	size_t n_costs;
	const char *method;         /* NULL: GET, or POST with a body */
	const char *url;            /* http or https */
	const char *const *headers; /* "Name: value" lines */
	size_t n_headers;
	const void *body;
	size_t body_size;
	const char *proxy;    /* NULL: as the environment says; "": none */
	const char *ca_file;  /* NULL: the system's certificates. Verification is always on. */
	uint64_t timeout_ns;  /* from sending to the end of the answer; 0: 60 s */
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; if no permit can be had by then: RATION_DENIED. 0:
				 wait for ever */
	uint64_t max_body; /* more answer than this ends the request with -EMSGSIZE; 0: no bound */

	void *user;
	/* The request is about to leave (after this its fate may be unknown). Optional. Non-zero:
	 * do not send; the request ends with -ECANCELED and its ticket is given back. */
	int (*on_send)(void *user, uint64_t id);
	/* One header line of the answer, without line end. Optional. */
	void (*on_header)(void *user, const char *line, size_t size);
	/* A piece of the answer's body. Optional. Non-zero ends the request with -ECANCELED. */
	int (*on_body)(void *user, const void *data, size_t size);
	/* The end; exactly once. Required. May submit more. */
	void (*on_done)(void *user, const struct ration_http_result *result);
};

/* ration: NULL where no request will have a handle. Errors: -ENOMEM, other -errno. */
RATION_API RATION_MUST_CHECK int ration_http_new(struct ration *ration,
						 const struct ration_http_options *options,
						 struct ration_http **ret_engine);

/* Ends every request (on_done with -ECANCELED), frees and nulls the engine. NULL is allowed. */
RATION_API void ration_http_free(struct ration_http **engine);

/* Errors: -EINVAL (no URL, not http(s), no on_done, a header without a colon, ...), -ENOMEM. */
RATION_API RATION_MUST_CHECK int ration_http_submit(struct ration_http *engine,
						    const struct ration_http_request *request,
						    uint64_t *ret_id);

/* End a request; its on_done is called with -ECANCELED before this returns. -ENOENT: not (any more)
 * there. */
RATION_API int ration_http_cancel(struct ration_http *engine, uint64_t id);

/*
 * Do what is due, wait for at most timeout_ns for more, do that. Returns the number of requests
 * that are still waiting or in flight (0: nothing left to wait for), or -errno.
 */
RATION_API RATION_MUST_CHECK int ration_http_run(struct ration_http *engine, uint64_t timeout_ns);

/*
 * Let the same wait also watch a descriptor of the caller's (level-triggered). events: EPOLLIN,
 * EPOLLOUT or 0 to stop. One callback for one descriptor; watching it again replaces. The
 * descriptor stays the caller's.
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
