/*
 * bench/support_redis.h - what many use today: a token bucket in Redis
 * SPDX-License-Identifier: MIT
 *
 * A Redis server of our own, without persistence, on a unix socket; a token bucket as a Lua script
 * that is loaded once and called by its hash. The client is a blocking write and read of one
 * prepared request: less than any client library does, so what is measured is Redis's share.
 */
#ifndef RATION_BENCH_SUPPORT_REDIS_H
#define RATION_BENCH_SUPPORT_REDIS_H

#include <stdbool.h>

/* False: there is no redis-server, or it does not work (said on stderr). */
bool redis_start(void);
void redis_stop(void);

/* "7.0.15", or "" before the start. */
const char *redis_version(void);

/* n acquires, one after another, each granted. Any process, each on a connection of its own. */
void redis_acquire(unsigned n);

#endif
