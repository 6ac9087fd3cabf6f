/*
 * policy/source.c - reading a file, bounded and as UTF-8 only
 * SPDX-License-Identifier: MIT
 */
#include "policy/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int source_open(struct source *source)
{
	struct stat st;
	int fd, error;

	/* A FIFO without a writer must not hold us up; it is refused below. */
	fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return S_ISDIR(st.st_mode) ? -EISDIR : -ENODEV;
	}
	source->device = st.st_dev;
	source->inode = st.st_ino;
	return fd;
}

/* --- UTF-8 --- */

struct utf8_form {
	unsigned char mask, lead;
	unsigned extra;
	uint32_t least; /* anything smaller has a shorter form */
};

static const struct utf8_form forms[] = {
	{0x80, 0x00, 0, 0},
	{0xe0, 0xc0, 1, 0x80},
	{0xf0, 0xe0, 2, 0x800},
	{0xf8, 0xf0, 3, 0x10000},
};

/* Bytes of the character at p, or 0 if it is none. */
static size_t utf8_next(const unsigned char *p, size_t size, uint32_t *ret_code)
{
	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		const struct utf8_form *form = &forms[f];
		uint32_t code = p[0] & (uint32_t)(unsigned char)~form->mask;

		if ((p[0] & form->mask) != form->lead || size <= form->extra)
			continue;
		for (unsigned i = 1; i <= form->extra; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			code = code << 6 | (p[i] & 0x3f);
		}
		if (code < form->least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return 0;
		*ret_code = code;
		return form->extra + 1;
	}
	return 0;
}

static bool control(uint32_t code)
{
	return (code < 0x20 && code != '\t' && code != '\n' && code != '\r') ||
	       (code >= 0x7f && code < 0xa0 && code != 0x85);
}

static bool check_text(const struct source *source, struct notes *notes)
{
	const unsigned char *p = (const unsigned char *)source->text;
	struct place place = {source, 1, 1};
	uint32_t code = 0;

	for (size_t at = 0, n; at < source->size; at += n) {
		n = utf8_next(p + at, source->size - at, &code);
		if (n == 0) {
			notes_add(notes, POLICY_ERROR, place,
				  "expected UTF-8 text, found the byte 0x%02x", p[at]);
			return false;
		}
		if (control(code)) {
			notes_add(notes, POLICY_ERROR, place,
				  "expected text, found the control character U+%04X", code);
			return false;
		}
		if (code == '\n' || (code == '\r' && (at + 1 >= source->size || p[at + 1] != '\n')))
			place = (struct place){source, place.line + 1, 1};
		else
			place.column++;
	}
	return true;
}

/* --- bytes --- */

/* Up to `room` bytes; -errno. */
static ssize_t read_all(int fd, char *buffer, size_t room)
{
	size_t size = 0;

	while (size < room) {
		ssize_t n = read(fd, buffer + size, room - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
	}
	return (ssize_t)size;
}

static bool too_large(const struct source *source, struct notes *notes)
{
	if (source->what)
		notes_add(notes, POLICY_ERROR, source_place(source), "too large for %s",
			  source->what);
	else
		notes_add(notes, POLICY_ERROR, source_place(source),
			  "too large: a policy and all it includes may have %d MiB",
			  SOURCE_BYTES_MAX / (1024 * 1024));
	return false;
}

bool source_read(struct source *source, int fd, struct notes *notes, size_t *left)
{
	struct stat st;
	size_t room;
	char *buffer;
	ssize_t size;

	if (fstat(fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size > *left)
		return too_large(source, notes);
	/* Files of /proc say 0 and have more; one that grows meanwhile is cut and refused. */
	room = st.st_size > 0 ? (size_t)st.st_size + 1 : 65536;
	buffer = arena_alloc(notes->arena, room);
	if (!buffer)
		return false;
	size = read_all(fd, buffer, room);
	if (size < 0) {
		notes_add(notes, POLICY_ERROR, source_place(source), "cannot be read: %s",
			  strerror((int)-size));
		return false;
	}
	if ((size_t)size == room || (size_t)size > *left)
		return too_large(source, notes);
	*left -= (size_t)size;
	if (size >= 3 && memcmp(buffer, "\xef\xbb\xbf", 3) == 0) {
		buffer += 3;
		size -= 3;
	}
	source->text = buffer;
	source->size = (size_t)size;
	return check_text(source, notes);
}
