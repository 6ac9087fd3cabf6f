/*
 * cli/lines.h - a descriptor as lines, in bounded memory
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_LINES_H
#define RATION_CLI_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/buffer.h"

#define LINES_MAX_SIZE ((size_t)16 << 20) /* a longer line is an error, and is skipped */

struct lines {
	int fd;
	bool eof;
	bool skipping;     /* inside a line that was too long */
	size_t scanned;    /* bytes of the buffer known to hold no line end */
	uint64_t number;   /* of the line last returned, from 1 */
	uint64_t offset;   /* of the byte behind it and its end */
	bool unterminated; /* it had no line end */
	struct buffer buffer;
};

enum line_result {
	LINE_TEXT, /* a line, without its end ("\n" or "\r\n"); may be empty */
	LINE_TOO_LONG,
	LINE_NEED_MORE, /* call lines_fill() */
	LINE_END,
};

/* One read(2): bytes, 0 at the end of input, -errno. */
ssize_t lines_fill(struct lines *lines);

/* The next line; its text is valid until the next call of any of these functions. The last needs no
 * line end. */
enum line_result lines_next(struct lines *lines, const char **ret_text, size_t *ret_size);

void lines_free(struct lines *lines);

/* Nothing but spaces. */
bool line_blank(const char *text, size_t size);

#endif
