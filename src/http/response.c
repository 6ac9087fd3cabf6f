/*
 * http/response.c - as much of a response as adapters read
 * SPDX-License-Identifier: MIT
 */
#include "http/response.h"

#include <stdlib.h>
#include <string.h>

/* Twice what is read: so that what is too much is thrown away only now and then. */
#define BODY_ROOM ((size_t)2 * SIGNAL_BODY_MAX)

static bool grow(struct response_buffer *b, size_t more)
{
	size_t size = b->size ? b->size : 1024;
	char *data;

	while (size - b->used < more)
		size *= 2;
	if (size == b->size)
		return true;
	data = realloc(b->data, size);
	if (!data)
		return false;
	b->data = data;
	b->size = size;
	return true;
}

static bool append(struct response_buffer *b, const char *data, size_t size)
{
	if (!grow(b, size))
		return false;
	memcpy(b->data + b->used, data, size);
	b->used += size;
	return true;
}

void response_line(struct response *response, const char *line, size_t size)
{
	if (!append(&response->head, line, size) || !append(&response->head, "\n", 1))
		response->no_memory = true;
}

void response_piece(struct response *response, const char *data, size_t size)
{
	struct response_buffer *b = &response->body;

	if (size > SIGNAL_BODY_MAX) {
		data += size - SIGNAL_BODY_MAX;
		size = SIGNAL_BODY_MAX;
	}
	if (b->used + size > BODY_ROOM) {
		memmove(b->data, b->data + b->used - SIGNAL_BODY_MAX, SIGNAL_BODY_MAX);
		b->used = SIGNAL_BODY_MAX;
	}
	if (!append(b, data, size))
		response->no_memory = true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

size_t response_headers(const struct response *response,
			struct signal_header headers[RESPONSE_HEADERS_MAX])
{
	const char *line = response->head.data;
	const char *end = line ? line + response->head.used : NULL;
	size_t n = 0;

	while (line < end && n < RESPONSE_HEADERS_MAX) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		const char *colon = memchr(line, ':', (size_t)(next - line));
		const char *value = colon ? colon + 1 : next;

		while (value < next && is_space(*value))
			value++;
		if (colon)
			headers[n++] = (struct signal_header){
				.name = line,
				.value = value,
				.name_size = (size_t)(colon - line),
				.value_size = (size_t)(next - value),
			};
		line = next + 1;
	}
	return n;
}

static void clear(struct response_buffer *b)
{
	b->used = 0;
	if (b->size <= RESPONSE_KEPT)
		return;
	free(b->data);
	*b = (struct response_buffer){0};
}

void response_clear(struct response *response)
{
	clear(&response->head);
	clear(&response->body);
	response->no_memory = false;
}

void response_free(struct response *response)
{
	free(response->head.data);
	free(response->body.data);
	*response = (struct response){0};
}
