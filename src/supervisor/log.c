/*
 * supervisor/log.c - one line an event, on stderr
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/memory.h"

#define LIMIT_NS    UINT64_C(10000000000)
#define LIMIT_LINES 20u

static bool to_journal;

/* $JOURNAL_STREAM names the journal's socket as device:inode (systemd.exec(5)). */
void log_open(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	to_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		     fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/*
 * One write(2) for each line, so that lines of several processes do not mix. A log that is gone
 * stops nothing.
 */
static void put_line(char *line, size_t length)
{
	ssize_t written;

	for (size_t i = 0; i < length; i++)
		if (is_control(line[i]))
			line[i] = '?';
	line[length] = '\n';
	written = write(STDERR_FILENO, line, length + 1);
	(void)written;
}

void log_event(int priority, const char *format, ...)
{
	char line[2048];
	const int prefix = to_journal ? snprintf(line, sizeof(line), "<%d>event=", priority)
				      : snprintf(line, sizeof(line), "rationd: event=");
	const size_t room = sizeof(line) - 1 - (size_t)prefix;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line + prefix, room, format, args);
	va_end(args);
	if (n < 0)
		return;
	put_line(line, (size_t)prefix + ((size_t)n < room ? (size_t)n : room - 1));
}

bool log_allowed(struct log_limit *limit, const char *kind)
{
	const uint64_t now = clock_boot_ns();

	if (now - limit->begun_ns >= LIMIT_NS) {
		if (limit->suppressed > 0)
			log_event(LOG_WARNING, "suppressed kind=%s lines=%u", kind,
				  limit->suppressed);
		*limit = (struct log_limit){.begun_ns = now};
	}
	if (limit->lines < LIMIT_LINES) {
		limit->lines++;
		return true;
	}
	limit->suppressed++;
	return false;
}
