/*
 * http/engine.h - the inside of an engine
 * SPDX-License-Identifier: MIT
 *
 * A request's way:
 *
 *	submit -> line (queue.c: of its handle, first come first served; the head waits for a
 *			place and a permit)
 *	       -> transfer (transfer.c: libcurl has it; at the point of sending the permit is
 *			looked at once more, and a request without a good one goes back)
 *	       -> finish (engine.c: ticket ended, on_done, gone)
 *
 * Places. A permit ages, so it is only taken when the request can leave at once: gates count what
 * is in use of a host's connections and of all connections, and a line waits at a full gate before
 * it acquires. libcurl's own limits are set to the same numbers but are never what a permitted
 * request waits for, except where only libcurl knows (a peer that takes few streams, a proxy that
 * many hosts share): then the look at the point of sending makes it right.
 *
 * Callbacks. A caller's callback may submit and cancel. Inside libcurl's callbacks a transfer
 * cannot be taken away, so a request that ends there is done for the caller at once, and its
 * transfer is `dead` until libcurl returns.
 */
#ifndef RATION_HTTP_ENGINE_H
#define RATION_HTTP_ENGINE_H

#include "http/feedback.h"
#include "http/poller.h"
#include "http/request.h"
#include "http/sockets.h"
#include "http/timers.h"
#include "http/waker.h"

TAILQ_HEAD(request_list, request);
TAILQ_HEAD(line_list, line);
SLIST_HEAD(transfer_list, transfer);

/* Room for so many; lines wait here for it. */
struct gate {
	uint32_t used;
	uint32_t max;
	struct line_list waiting;
};

/* What is known of scheme://host:port. */
struct host {
	const char *origin; /* behind the struct */
	struct gate gate;   /* requests under way */
	uint32_t refs;      /* requests that name it */
	bool multiplexed;   /* speaks HTTP/2: many requests share a connection */
};

/* Requests of one handle, or of one route with the same alternatives; without either, those of one host. */
struct line {
	const void *key; /* the handle, routed_key(), or the host */
	struct request_list waiting;
	TAILQ_ENTRY(line) link;
	struct line_list *
		in; /* the list that it is in: of the lines to look at, of a gate, of those that stand */
	struct timer retry; /* set while the head waits for quota */
	uint32_t contended; /* times in a row that the head's acquire was contended */
	uint64_t denied_ns; /* when the denial was given; 0: never */
	struct ration_denial denial;
	bool stands; /* the head stands in the quota's line, among those of other processes */
	struct ration_wait wait;
};

/* This end of a connection, which tells it from all others. */
struct endpoint {
	char ip[46];
	int port; /* 0: none */
};

/* A connection whose peer takes no more streams: refusal.c */
struct goaway {
	struct endpoint local;
	uint32_t last_stream;
};

enum {
	GOAWAYS = 32, /* connections ending at one time whose refused requests can be told */
};

/* A libcurl handle, and the request it is sending. Kept and used again. */
struct transfer {
	SLIST_ENTRY(transfer) link; /* among the idle, or the dead */
	struct ration_http *engine;
	CURL *easy;
	/* From here to `ticket` cleared for each request. */
	struct request *request;
	bool denied;  /* `denial` made it wait */
	bool counted; /* has a place at the gate of all connections */
	bool sent;    /* it may have left */
	bool parked;  /* not sent after all: see `error` (0: no permit); its connection stays */
	bool refused; /* its stream was */
	bool dead;    /* on_done has been called */
	bool retried; /* libcurl has come to the point of sending a second time */
	bool interim; /* the header lines that come now are of a 1xx answer */
	bool head_is_whole;    /* the header lines of the answer have all come */
	int error;             /* what ended it, if it was not libcurl */
	uint32_t stream;       /* of HTTP/2 that it is on; 0: none */
	struct endpoint local; /* of the connection that it was sent on */
	uint64_t permit_ns;    /* when the permit was had */
	uint64_t sent_ns;
	uint64_t acquire_ns;
	uint64_t retry_ns; /* parked: when to try again */
	uint64_t header_bytes;
	uint64_t body_bytes;
	struct ration_ticket ticket; /* owner 0: none */
	struct ration_denial denial;
	struct response response;
};

struct slot {
	struct request *request;
	uint32_t generation;
	uint32_t next_free;
};

struct ration_http {
	struct ration *ration;
	struct ration_http_options options;
	struct adapters *adapters;
	struct poller poller;
	struct sockets sockets;
	struct timers timers;
	CURLM *multi;
	char *ca_file; /* libcurl's own: the system's certificates */
	char *ca_path;
	uint64_t curl_at_ns; /* when libcurl wants to be called */
	uint32_t in_curl;    /* depth: libcurl is on the stack */
	bool running;
	bool closing;

	struct slot *slots; /* requests by id */
	uint32_t n_slots;
	uint32_t free_slot; /* index + 1; 0: none */
	uint32_t n_requests;
	uint32_t n_watched;
	uint64_t sequence;
	uint64_t callbacks; /* calls of the caller's functions so far */

	void *lines; /* tsearch(3) tree by key */
	struct line_list runnable;
	struct line_list standing; /* lines with their retry timers set that may be woken before */
	struct waker waker;        /* by this; runs from the first one on */
	void *hosts;               /* tsearch(3) tree by origin */
	uint32_t n_hosts;
	struct gate connections;
	uint32_t in_flight;
	struct goaway goaways[GOAWAYS];
	uint32_t next_goaway;
	struct transfer_list idle;
	struct transfer_list dead;
};

/* engine.c */
/*
 * End a request: its ticket, its place, on_done, its memory. error_text: NULL for
 * ration_strerror(error).
 */
void engine_finish(struct ration_http *engine, struct request *request, int error,
		   const char *error_text);

/* again.c */
/*
 * A request has ended, with `result`: let it rest and try again, if that is asked for and allowed. False: it is at its end.
 * feedback: NULL: nothing was answered.
 */
bool again_try(struct ration_http *engine, struct request *request,
	       const struct ration_http_result *result, const struct feedback *feedback);

/* routed.c */
/*
 * The forms in which a request is to be sent: what request_make() takes, with what the adapters make of each. -EINVAL, or
 * what ration_route_alternative() returns.
 */
struct forms {
	uint32_t n;
	struct ration_http_request specs[RATION_ALTERNATIVES_MAX];
	const char *names[RATION_ALTERNATIVES_MAX];
	struct ration_cost costs[RATION_ALTERNATIVES_MAX][RATION_LINKS_MAX];
};
int forms_of(const struct ration_http *engine, const struct ration_http_request *spec,
	     struct forms *ret_forms);
/* ration_wait_try() on the route of a request: it is in the form of the alternative that was picked. */
int routed_take(struct transfer *transfer, struct ration_wait *wait,
		struct ration_denial *ret_denial);
/* Whose requests wait one after the other: those of one route that may go to the same alternatives. */
const void *routed_key(const struct request *request);
/* What ration_retry_again() is to know of a refusal by one of several. */
const struct ration_signal *routed_signal(const struct request *request,
					  const struct ration_signal *signal,
					  struct ration_signal *copy);

/* queue.c */
void queue_init(struct ration_http *engine);
void queue_free(struct ration_http *engine);
/* Find its host, and put it at the end of its line. 0 or -ENOMEM. */
int queue_submit(struct ration_http *engine, struct request *request);
/* A request that had been taken out comes back to the head, to be tried at retry_ns. */
void queue_return(struct ration_http *engine, struct request *request, uint64_t retry_ns,
		  const struct ration_denial *denial);
/* Take a waiting request out. */
void queue_remove(struct ration_http *engine, struct request *request);
/* A request is gone: its host may be forgotten. */
void queue_release(struct ration_http *engine, struct request *request);
/* Start what can be started. */
void queue_run(struct ration_http *engine);
/* Look at lines that were woken. */
void queue_woken(struct ration_http *engine);
/* Whether queue_run() would have something to look at. */
bool queue_can_run(const struct ration_http *engine);
/* A place at a gate is given back. */
void gate_leave(struct ration_http *engine, struct gate *gate);
/* What a host speaks has been seen. */
void queue_learn(struct ration_http *engine, struct host *host, bool multiplexed);
/* The denial that made a waiting request wait, or NULL. */
const struct ration_denial *queue_denial(const struct request *request);

/* permit.c */
/*
 * Acquire, or stand in line with `wait` if that is not NULL. What ration_wait_try() returns, and where it has one the
 * transfer's denial.
 */
int permit_take(struct transfer *transfer, struct ration_wait *wait);
/*
 * The request is about to be sent: make sure of a permit that is still good. As permit_take(), or
 * -ETIME: its deadline has passed.
 */
int permit_confirm(struct transfer *transfer);
/* End the ticket, by what became of the request. */
enum permit_fate {
	PERMIT_UNUSED,     /* it never left */
	PERMIT_USED,       /* it was answered */
	PERMIT_UNANSWERED, /* it may have left, and the vendor may still be at it */
};
/* feedback: what it has used, with PERMIT_USED; or NULL. */
void permit_end(struct transfer *transfer, enum permit_fate fate, const struct feedback *feedback);

/* transfer.c */
struct transfer *transfer_get(struct ration_http *engine);
/* Hand a request to libcurl. 0 or -errno (then the transfer is as it was). */
int transfer_start(struct transfer *transfer, struct request *request);
/*
 * Take it from libcurl and put it away; inside a callback of libcurl, later. `request` is freed if
 * it is dead.
 */
void transfer_put(struct transfer *transfer);
void transfer_bury(struct ration_http *engine);
void transfer_free(struct transfer *transfer);

/* refusal.c */
/* A line of libcurl's log about a transfer. */
void refusal_listen(struct transfer *transfer, const char *data, size_t size);
/* Whether the peer has said that it did not look at what was sent. */
bool refusal_is_certain(struct transfer *transfer);

/* multi.c */
int multi_init(struct ration_http *engine);
void multi_free(struct ration_http *engine);
/* libcurl's clock has struck: at most once a turn. */
void multi_tick(struct ration_http *engine, uint64_t now_ns);
/* A request and its transfer part: the place is given back, the transfer put away. */
void multi_detach(struct ration_http *engine, struct transfer *transfer);
/* Take what libcurl has finished. */
void multi_collect(struct ration_http *engine);
curl_socket_t multi_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address);
int multi_close_socket(void *user, curl_socket_t fd);

/* outcome.c */
/*
 * What a libcurl result means: 0 or -errno, and a constant text that holds nothing of the request.
 */
int outcome_of(CURL *easy, CURLcode code, const char **ret_text);

#endif
