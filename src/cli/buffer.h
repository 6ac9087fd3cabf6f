/*
 * cli/buffer.h - bytes that come in at one end and leave at the other
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_BUFFER_H
#define RATION_CLI_BUFFER_H

#include <stddef.h>
#include <sys/types.h>

/* All zeroes is an empty buffer. */
struct buffer {
	char *data; /* the bytes held are data[start ... end - 1] */
	size_t start;
	size_t end;
	size_t room;
};

static inline size_t buffer_size(const struct buffer *b)
{
	return b->end - b->start;
}

static inline char *buffer_bytes(const struct buffer *b)
{
	return b->data + b->start;
}

/* At least n bytes of room behind the end. */
char *buffer_reserve(struct buffer *b, size_t n);
void buffer_append(struct buffer *b, const void *data, size_t n);
void buffer_consume(struct buffer *b, size_t n);
void buffer_free(struct buffer *b);

/* One read(2) or recv(2) into the buffer: bytes, 0 at the end, -errno. */
ssize_t buffer_read(struct buffer *b, int fd);
ssize_t buffer_receive(struct buffer *b, int fd, int flags);

#endif
