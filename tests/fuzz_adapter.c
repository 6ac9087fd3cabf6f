/*
 * tests/fuzz_adapter.c - libFuzzer: any text as an adapter, and what comes through it of some responses
 * SPDX-License-Identifier: MIT
 *
 * The text is a file of a directory of its own, because adapters are files.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signal/adapter.h"
#include "signal/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64], path[96];

static void remove_all(void)
{
	unlink(path);
	rmdir(directory);
}

static _Noreturn void broken(const char *what)
{
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void make_directory(void)
{
	snprintf(directory, sizeof(directory), "%s/fuzz-adapter-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(directory))
		broken("mkdtemp");
	snprintf(path, sizeof(path), "%s/v.yaml", directory);
	atexit(remove_all);
}

static void write_file(const uint8_t *data, size_t size)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		broken("write");
	close(fd);
}

/* Errors have a text and a place. */
static void take_message(void *user, const struct policy_message *m)
{
	unsigned *n = user;

	if (!m->text || !*m->text || !m->file)
		broken("a message without a text");
	++*n;
}

static void evaluate(const struct adapter *adapter)
{
	static const char body[] =
		"{\"error\":{\"code\":\"x\",\"n\":7,\"list\":[1,{\"a\":\"2s\"}]},"
		"\"usage\":{\"total_tokens\":3}}";
	static const struct signal_header headers[] = {
		{"x-ratelimit-limit", "60", 17, 2},
		{"x-ratelimit-remaining", "0, 5", 21, 4},
		{"x-ratelimit-reset", "1700000060", 17, 10},
		{"retry-after", "Tue, 14 Nov 2023 22:14:20 GMT", 11, 29},
		{"x-info", "a=1/2; b=3/4", 6, 12},
	};
	struct signal_response response = {
		.headers = headers,
		.n_headers = sizeof(headers) / sizeof(headers[0]),
		.body = body,
		.body_size = sizeof(body) - 1,
		.now_us = INT64_C(1700000000) * 1000000,
	};
	const struct signal_request request = {"https://h/v1/x?y", body, 16, sizeof(body) - 1};
	char resource[SIGNAL_TEXT_MAX + 1];
	struct amounts amounts;
	struct signal signal;

	for (response.status = 200; response.status <= 503; response.status += 101) {
		signal_read(adapter, &response, &signal);
		if (signal.n_limits > SIGNAL_LIMITS_MAX)
			broken("too many limits");
	}
	request_resource(adapter, &request, resource);
	request_estimate(adapter, &request, resource, &amounts);
	request_usage(adapter, body, sizeof(body) - 1, resource, &amounts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct adapters *adapters = NULL;
	const struct adapter *adapter = NULL;
	unsigned messages = 0;
	int result;

	if (!*directory)
		make_directory();
	write_file(data, size);
	if (adapters_open(directory, take_message, &messages, &adapters) < 0)
		broken("adapters_open");
	result = adapters_get(adapters, "v", &adapter);
	if ((result == 0) != (adapter != NULL) || (result < 0 && messages == 0))
		broken("an error without a message");
	if (result == 0)
		evaluate(adapter);
	adapters_close(&adapters);
	return 0;
}
