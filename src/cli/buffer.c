/*
 * cli/buffer.c - bytes that come in at one end and leave at the other
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/buffer.h"
#include "cli/cli.h"

enum { READ_SIZE = 64 * 1024 };

char *buffer_reserve(struct buffer *b, size_t n)
{
	if (b->room - b->end >= n)
		return b->data + b->end;
	if (b->start > 0) {
		memmove(b->data, b->data + b->start, buffer_size(b));
		b->end -= b->start;
		b->start = 0;
	}
	if (b->room - b->end < n) {
		b->room = (b->end + n) * 2;
		b->data = cli_alloc(b->data, b->room, 1);
	}
	return b->data + b->end;
}

void buffer_append(struct buffer *b, const void *data, size_t n)
{
	if (n == 0)
		return;
	memcpy(buffer_reserve(b, n), data, n);
	b->end += n;
}

void buffer_consume(struct buffer *b, size_t n)
{
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void buffer_free(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}

static ssize_t took(struct buffer *b, ssize_t n)
{
	if (n < 0)
		return -errno;
	b->end += (size_t)n;
	return n;
}

ssize_t buffer_read(struct buffer *b, int fd)
{
	char *room = buffer_reserve(b, READ_SIZE);

	return took(b, read(fd, room, READ_SIZE));
}

ssize_t buffer_receive(struct buffer *b, int fd, int flags)
{
	char *room = buffer_reserve(b, READ_SIZE);

	return took(b, recv(fd, room, READ_SIZE, flags));
}
