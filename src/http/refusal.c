/*
 * http/refusal.c - which requests the peer says it never looked at
 * SPDX-License-Identifier: MIT
 *
 * A server that ends an HTTP/2 connection (nginx does after 1,000 requests) names the last stream
 * it took in a GOAWAY; what was sent behind it is promised not to have been processed, and so may
 * be sent again. A connection that simply breaks promises nothing. libcurl sends again in both
 * cases and tells them apart only in its log. So the log's words are read: of a stream, its number;
 * of a connection (known by its local address), the last stream taken. Words that another version
 * of libcurl has changed are not found, and then a request's fate is unknown: the safe side.
 */
#include <stdio.h>
#include <string.h>

#include "http/engine.h"

/* "Using Stream ID: 41 (easy handle ...": libcurl 7; "[HTTP/2] [41] OPENED stream for ...": 8 */
static bool read_stream(const char *text, uint32_t *ret_stream)
{
	return sscanf(text, "Using Stream ID: %u", ret_stream) == 1 ||
	       (sscanf(text, "[HTTP/2] [%u] ", ret_stream) == 1 && strstr(text, "] OPENED"));
}

/* "received GOAWAY, error=0, last_stream=39" (libcurl 7 misspells the first word) */
static bool read_goaway(const char *text, uint32_t *ret_last)
{
	const char *last = strstr(text, "GOAWAY") ? strstr(text, "last_stream=") : NULL;

	return last && sscanf(last, "last_stream=%u", ret_last) == 1;
}

static struct goaway *find(struct ration_http *engine, const struct endpoint *local)
{
	for (int i = 0; i < GOAWAYS; i++) {
		struct goaway *goaway = &engine->goaways[i];

		if (goaway->local.port == local->port && !strcmp(goaway->local.ip, local->ip))
			return goaway;
	}
	return NULL;
}

static void note_stream(struct transfer *transfer, uint32_t stream)
{
	struct goaway *old = find(transfer->engine, &transfer->local);

	transfer->stream = stream;
	/* The first of a connection: what is known of this address was another one's. */
	if (stream == 1 && old)
		old->local.port = 0;
}

/*
 * A server may warn first (with the highest number there is) and name the last one later: the later
 * counts.
 */
static void note_goaway(struct ration_http *engine, const struct endpoint *local, uint32_t last)
{
	struct goaway *goaway = find(engine, local);

	if (!goaway)
		goaway = &engine->goaways[engine->next_goaway++ % GOAWAYS];
	*goaway = (struct goaway){.local = *local, .last_stream = last};
}

void refusal_listen(struct transfer *transfer, const char *data, size_t size)
{
	char text[128];
	uint32_t number;

	/*
	 * Only a request that may have left can be refused, and only these begin like what is
	 * looked for.
	 */
	if (!transfer->sent || !size || !strchr("UrR[D", *data))
		return;
	snprintf(text, sizeof(text), "%.*s", (int)size, data);
	if (!strncmp(text, "REFUSED_STREAM", 14) || !strncmp(text, "Downgrades to HTTP/1.1", 22))
		transfer->refused = true;
	else if (read_stream(text, &number))
		note_stream(transfer, number);
	else if (read_goaway(text, &number))
		note_goaway(transfer->engine, &transfer->local, number);
}

bool refusal_is_certain(struct transfer *transfer)
{
	const struct goaway *goaway = find(transfer->engine, &transfer->local);

	return transfer->refused ||
	       (transfer->stream && goaway && transfer->stream > goaway->last_stream);
}
