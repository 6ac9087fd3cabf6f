/*
 * cli/lines.c - a descriptor as lines, in bounded memory
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "cli/lines.h"

ssize_t lines_fill(struct lines *lines)
{
	ssize_t n = buffer_read(&lines->buffer, lines->fd);

	if (n == 0)
		lines->eof = true;
	return n;
}

static void drop(struct lines *lines, size_t n)
{
	buffer_consume(&lines->buffer, n);
	lines->offset += n;
	lines->scanned = 0;
}

/* No line end in the buffer. */
static enum line_result incomplete(struct lines *lines)
{
	if (lines->scanned <= LINES_MAX_SIZE && !lines->skipping)
		return LINE_NEED_MORE;
	drop(lines, lines->scanned);
	if (lines->skipping)
		return LINE_NEED_MORE;
	lines->skipping = true;
	lines->number++;
	return LINE_TOO_LONG;
}

/*
 * The text stays in the buffer's memory: consuming only moves its start, and bytes are moved by the
 * next read at the earliest.
 */
static enum line_result complete(struct lines *lines, size_t size, size_t with_end,
				 const char **ret_text, size_t *ret_size)
{
	*ret_text = buffer_bytes(&lines->buffer);
	drop(lines, with_end);
	if (lines->skipping) {
		lines->skipping = false;
		return lines_next(lines, ret_text, ret_size);
	}
	lines->number++;
	lines->unterminated = size == with_end;
	if (size > 0 && (*ret_text)[size - 1] == '\r')
		size--;
	*ret_size = size;
	return size > LINES_MAX_SIZE ? LINE_TOO_LONG : LINE_TEXT;
}

enum line_result lines_next(struct lines *lines, const char **ret_text, size_t *ret_size)
{
	size_t size = buffer_size(&lines->buffer);
	const char *end = NULL;

	if (size > lines->scanned)
		end = memchr(buffer_bytes(&lines->buffer) + lines->scanned, '\n',
			     size - lines->scanned);
	if (end) {
		size = (size_t)(end - buffer_bytes(&lines->buffer));
		return complete(lines, size, size + 1, ret_text, ret_size);
	}
	lines->scanned = size;
	if (!lines->eof)
		return incomplete(lines);
	if (size == 0)
		return LINE_END;
	return complete(lines, size, size, ret_text, ret_size);
}

void lines_free(struct lines *lines)
{
	buffer_free(&lines->buffer);
}

bool line_blank(const char *text, size_t size)
{
	while (size > 0 && (*text == ' ' || *text == '\t' || *text == '\r')) {
		text++;
		size--;
	}
	return size == 0;
}
