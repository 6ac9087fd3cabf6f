/*
 * signal/stream.c - server-sent events, one after the other
 * SPDX-License-Identifier: MIT
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html, as far as data goes.
 */
#include "signal/stream.h"

#include <string.h>

static struct text line_at(struct text body, size_t *at)
{
	const char *line = body.at + *at;
	const char *end = memchr(line, '\n', body.size - *at);
	size_t size = end ? (size_t)(end - line) : body.size - *at;

	*at += size + (end != NULL);
	if (size > 0 && line[size - 1] == '\r')
		size--;
	return (struct text){line, size};
}

static bool begins_with(struct text line, const char *word)
{
	const size_t size = strlen(word);

	return line.size >= size && memcmp(line.at, word, size) == 0;
}

/* A byte order mark may stand before everything. */
static void skip_mark(struct text body, size_t *at)
{
	if (*at == 0 && body.size >= 3 && memcmp(body.at, "\xef\xbb\xbf", 3) == 0)
		*at = 3;
}

bool stream_begins(struct text body)
{
	struct text line;
	size_t at = 0;

	skip_mark(body, &at);
	while (at < body.size) {
		line = line_at(body, &at);
		if (line.size > 0)
			return begins_with(line, "data:") || begins_with(line, "event:") ||
			       begins_with(line, "id:") || begins_with(line, "retry:") ||
			       begins_with(line, ":");
	}
	return false;
}

/* A space behind the colon is not part of it. */
static struct text data_of(struct text line)
{
	struct text data = {line.at + 5, line.size - 5};

	if (data.size > 0 && *data.at == ' ') {
		data.at++;
		data.size--;
	}
	return data;
}

static bool append(struct arena *arena, struct text *data, struct text more)
{
	char *both = arena_alloc(arena, data->size + 1 + more.size);

	if (!both)
		return false;
	memcpy(both, data->at, data->size);
	both[data->size] = '\n';
	memcpy(both + data->size + 1, more.at, more.size);
	*data = (struct text){both, data->size + 1 + more.size};
	return true;
}

bool stream_next(struct text body, size_t *at, struct arena *arena, struct text *ret_data)
{
	struct text data = {NULL, 0};

	skip_mark(body, at);
	while (*at < body.size) {
		const struct text line = line_at(body, at);

		if (line.size == 0 && data.at)
			break;
		if (!begins_with(line, "data:"))
			continue;
		if (!data.at)
			data = data_of(line);
		else if (!append(arena, &data, data_of(line)))
			return false;
	}
	*ret_data = data;
	return data.at;
}
