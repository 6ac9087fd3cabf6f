/*
 * tests/support_http.h - an engine's requests as a test wants them, and peers that misbehave
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_TESTS_SUPPORT_HTTP_H
#define RATION_TESTS_SUPPORT_HTTP_H

#include <pthread.h>
#include <stdatomic.h>

#include <ration/http.h>

/* What came of a request. Give its address as `user`, with answer_request(). */
struct answer {
	int done;        /* calls of on_done */
	int sends;       /* calls of on_send */
	int refuse_send; /* what on_send returns */
	struct ration_http_result
		result; /* pointers: error_text and denial point into this struct, or are NULL */
	char error_text[256];
	struct ration_denial denial;
	struct ration_pick pick;     /* where result.pick is not NULL */
	struct ration_signal signal; /* where result.signal is not NULL */
	char quota[1024];            /* what ration_http_headers() says, as lines */
	char headers[2048];          /* lines with newlines */
	char body[4096];             /* its beginning, terminated */
	uint64_t sum;                /* of all bytes of the body */
};

/* A request for url with callbacks that fill in the answer, which is cleared. */
struct ration_http_request answer_request(struct answer *answer, const char *url);

struct ration_http *engine_make(struct ration *ration, const struct ration_http_options *options);
uint64_t engine_submit(struct ration_http *engine, const struct ration_http_request *request);
/* Run until nothing is left, or *until is not 0 (if given). Fails the test after 9 seconds. */
void engine_run(struct ration_http *engine, const int *until);
/* Submit one GET and run until it is answered. */
void engine_get(struct ration_http *engine, const char *url, struct answer *ret_answer);

uint64_t now_ns(void);

/*
 * --- a peer: accepts on 127.0.0.1, reads a request, and does to the connection what it is told ---
 */

enum peer_end {
	PEER_KEEP, /* wait for the next request on it */
	PEER_CLOSE,
	PEER_RESET,
	PEER_HANG, /* say nothing more; open until peer_stop() */
};

/* What is done on the n-th request of a connection; the last one stands for all that follow. */
struct peer_step {
	const char *bytes;
	enum peer_end end;
};

struct peer {
	int port;
	int fd;
	pthread_t thread;
	const struct peer_step *steps;
	int n_steps;
	atomic_int requests; /* whole heads read */
	atomic_int connections;
	atomic_int stopping;
	char url[64];
	char last[8192]; /* the last head read; look at it after peer_stop() */
};

void peer_start(struct peer *peer, const struct peer_step *steps, int n_steps);
void peer_stop(struct peer *peer);

/* --- a relay: passes bytes on to another port of 127.0.0.1, or holds them --- */

struct relay {
	int port;
	int to;
	int fd;
	pthread_t thread;
	atomic_int open; /* while 0, nothing the client says is passed on */
	atomic_int connections;
	atomic_int stopping;
	bool tunnel;    /* an HTTP proxy: answers a CONNECT, then passes bytes on */
	char asked[64]; /* the last CONNECT's first line; look at it after relay_stop() */
};

void relay_start(struct relay *relay, int to_port, bool open);
void relay_start_tunnel(struct relay *relay, int to_port);
void relay_stop(struct relay *relay);

#endif
