/*
 * bench/support_redis.c - what many use today: a token bucket in Redis
 * SPDX-License-Identifier: MIT
 */
#include "support_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support_server.h"

/* Rate and burst as in policy.yaml: 1,000 a second, never empty. */
static const char script[] =
	"local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')\n"
	"local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])\n"
	"local time = redis.call('TIME')\n"
	"local now = time[1] * 1000000 + time[2]\n"
	"local tokens, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now\n"
	"tokens = math.min(burst, tokens + (now - at) * rate / 1000000)\n"
	"if tokens < cost then return 0 end\n"
	"redis.call('HSET', KEYS[1], 'tokens', tokens - cost, 'at', now)\n"
	"redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate) * 1000)\n"
	"return 1\n";

static struct server server;
static char version[32];
static char request[256]; /* EVALSHA ..., ready to be written */
static size_t request_size;

/* This process's connection. */
static int connection = -1;
static pid_t connection_of;

static bool exchange(int fd, const char *text, size_t size, char *answer, size_t room)
{
	ssize_t n;

	if (write(fd, text, size) != (ssize_t)size)
		return false;
	n = read(fd, answer, room - 1);
	if (n <= 0)
		return false;
	answer[n] = '\0';
	return true;
}

static bool read_version(int fd)
{
	static const char info[] = "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n";
	char answer[8192];
	const char *at;

	if (!exchange(fd, info, sizeof(info) - 1, answer, sizeof(answer)))
		return false;
	at = strstr(answer, "redis_version:");
	return at && sscanf(at, "redis_version:%31[0-9.]", version) == 1;
}

static bool load_script(int fd)
{
	char text[2048], answer[256], hash[41];
	const int size =
		snprintf(text, sizeof(text), "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%zu\r\n%s\r\n",
			 sizeof(script) - 1, script);

	if (!exchange(fd, text, (size_t)size, answer, sizeof(answer)) ||
	    sscanf(answer, "$40\r\n%40[0-9a-f]", hash) != 1)
		return false;
	request_size =
		(size_t)snprintf(request, sizeof(request),
				 "*7\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n1\r\n$8\r\none/acme\r\n"
				 "$4\r\n1000\r\n$10\r\n1000000000\r\n$1\r\n1\r\n",
				 hash);
	return true;
}

static bool start_server(void)
{
	static const char *const argv[] = {"redis-server", "redis.conf", NULL};
	char conf[512], path[128];
	const char *started[] = {argv[0], path, NULL};

	if (!server_dir(&server))
		return false;
	snprintf(conf, sizeof(conf),
		 "port 0\nunixsocket %s/redis.sock\nsave \"\"\nappendonly no\ndir %s\n"
		 "daemonize no\nloglevel warning\n",
		 server.dir, server.dir);
	snprintf(path, sizeof(path), "%s/%s", server.dir, argv[1]);
	if (!server_file(&server, argv[1], conf))
		return false;
	if (server_start(&server, started))
		return true;
	fputs("bench: redis-server is not installed; its rows are left out\n", stderr);
	return false;
}

bool redis_start(void)
{
	int fd;
	bool ok;

	if (!start_server()) {
		server_stop(&server);
		return false;
	}
	fd = server_connect_unix(&server, "redis.sock");
	ok = fd >= 0 && read_version(fd) && load_script(fd);
	if (fd >= 0)
		close(fd);
	if (!ok) {
		fputs("bench: redis-server does not work; its rows are left out\n", stderr);
		redis_stop();
	}
	return ok;
}

void redis_stop(void)
{
	server_stop(&server);
}

const char *redis_version(void)
{
	return version;
}

void redis_acquire(unsigned n)
{
	char answer[256] = "";

	if (connection_of != getpid()) {
		connection = server_connect_unix(&server, "redis.sock");
		connection_of = getpid();
	}
	for (unsigned i = 0; i < n; i++) {
		if (!exchange(connection, request, request_size, answer, sizeof(answer)) ||
		    strcmp(answer, ":1\r\n") != 0) {
			fprintf(stderr, "bench: redis-server stopped granting: %s", answer);
			_exit(EXIT_FAILURE);
		}
	}
}
