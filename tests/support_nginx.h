/*
 * tests/support_nginx.h - a real nginx in a directory of its own, on a free port of 127.0.0.1
 * SPDX-License-Identifier: MIT
 *
 *	struct nginx nginx;
 *	nginx_start(&nginx, "server { listen $PORT; location / { return 200 hello; } }");
 *	... nginx_url(&nginx, "/") ...
 *	nginx_stop(&nginx);			ends it; its log is complete from here on
 *	... nginx_count(&nginx, NULL, " 200 ") ...
 *	nginx_remove(&nginx);
 *
 * Whatever fails here fails the running test. A killed test takes its nginx with it; only the
 * directory stays.
 */
#ifndef RATION_TESTS_SUPPORT_NGINX_H
#define RATION_TESTS_SUPPORT_NGINX_H

#include <stddef.h>
#include <sys/types.h>

struct nginx {
	char dir[64]; /* files to serve: $DIR in the configuration */
	int port;     /* $PORT, as 127.0.0.1:port */
	int tls_port; /* $TLS_PORT, likewise */
	pid_t pid;    /* 0: not running */
};

/*
 * One process serves all. `http` is what stands in its http block; $PORT, $TLS_PORT and $DIR are
 * replaced.
 */
void nginx_start(struct nginx *nginx, const char *http);
/*
 * The same, with ca.pem (the authority), server.pem and server.key (for localhost and 127.0.0.1)
 * and other.pem (another authority) in $DIR.
 */
void nginx_start_tls(struct nginx *nginx, const char *http);
void nginx_stop(struct nginx *nginx);
void nginx_remove(struct nginx *nginx);

/* A file to serve: `size` bytes of a pattern. */
void nginx_file(const struct nginx *nginx, const char *name, size_t size);

/* Both: static memory, four at a time. */
const char *nginx_url(const struct nginx *nginx, const char *path);
const char *nginx_path(const struct nginx *nginx, const char *name);

/*
 * The access log has one line a request: "c=CONNECTION n=ITS-HOW-MANYTH STATUS METHOD URI PROTOCOL
 * body=BYTES". log: its file in $DIR; NULL: the one that is there without an access_log of your
 * own.
 */
int nginx_count(const struct nginx *nginx, const char *log, const char *text);
int nginx_connections(const struct nginx *nginx, const char *log);

#endif
