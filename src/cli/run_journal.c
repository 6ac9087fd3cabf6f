/*
 * cli/run_journal.c - the output of `ration run`, and what is known about it after a kill
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/run_journal.h"

static const char command[] = "run";

/* One call, so that a kill leaves all of the line or nothing, and lines of several workers never mix. */
int journal_sent(int fd, const char *id)
{
	struct iovec parts[2] = {
		{.iov_base = (void *)(uintptr_t)id, .iov_len = strlen(id)},
		{.iov_base = (void *)(uintptr_t) "\n", .iov_len = 1},
	};
	ssize_t n;

	if (fd < 0)
		return 0;
	do
		n = writev(fd, parts, 2);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == parts[0].iov_len + 1 ? 0 : -ENOSPC;
}

size_t output_line_key(uint64_t line, char *buf, size_t size)
{
	return (size_t)snprintf(buf, size, "line %llu", (unsigned long long)line);
}

void output_add(struct output *output, const char *json)
{
	buffer_append(&output->buffer, json, strlen(json));
	buffer_append(&output->buffer, "\n", 1);
}

int output_flush(struct output *output)
{
	while (buffer_size(&output->buffer) > 0 && !output->failed) {
		ssize_t n = write(output->fd, buffer_bytes(&output->buffer),
				  buffer_size(&output->buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			output->failed = true;
			cli_fail(EX_IOERR, command, "cannot write %s: %s",
				 output->path ? output->path : "standard output", strerror(errno));
			break;
		}
		buffer_consume(&output->buffer, (size_t)n);
	}
	return output->failed ? EX_IOERR : EX_OK;
}

static int cannot(int status, const char *what, const char *path)
{
	return cli_fail(status, command, "cannot %s %s: %s", what, path, strerror(errno));
}

/* --- what stands in the output already --- */

/* The id of a result, or the number of its line, as `done` names it; NULL: no result. */
static char *result_key(const char *text, size_t size)
{
	json_t *root = json_loadb(text, size, 0, NULL);
	const json_t *id = json_object_get(root, "id"), *line = json_object_get(root, "line");
	char *key = NULL, buf[32];

	if (id && !json_is_null(id)) {
		key = cli_need(json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT));
	} else if (json_is_integer(line)) {
		output_line_key((uint64_t)json_integer_value(line), buf, sizeof(buf));
		key = cli_need(strdup(buf));
	}
	json_decref(root);
	return key;
}

/*
 * A result without its line end is completed; half a one, as a kill in the middle of a write leaves it, is cut
 * off. start: where it begins.
 */
static int repair_tail(struct output *output, bool complete, uint64_t start)
{
	if (complete) {
		buffer_append(&output->buffer, "\n", 1);
		return EX_OK;
	}
	if (ftruncate(output->fd, (off_t)start) == 0)
		return EX_OK;
	return cannot(EX_IOERR, "repair", output->path);
}

/* One line of the output. -1 to go on. */
static int take_result(struct output *output, const struct lines *lines, const char *text,
		       size_t size, uint64_t start, struct idset *done)
{
	char *key = result_key(text, size);

	if (key)
		idset_add(done, key, strlen(key));
	free(key);
	if (lines->unterminated)
		return repair_tail(output, key != NULL, start);
	if (key)
		return -1;
	return cli_fail(EX_DATAERR, command, "%s:%llu: not a result of ration run; left as it is",
			output->path, (unsigned long long)lines->number);
}

static int read_results(struct output *output, struct idset *done)
{
	struct lines lines = {.fd = output->fd};
	int status = -1;

	while (status < 0) {
		const uint64_t start = lines.offset;
		const char *text = NULL;
		size_t size = 0;

		switch (lines_next(&lines, &text, &size)) {
		case LINE_TEXT:
			status = take_result(output, &lines, text, size, start, done);
			break;
		case LINE_TOO_LONG:
			status = take_result(output, &lines, "", 0, start, done);
			break;
		case LINE_NEED_MORE:
			if (lines_fill(&lines) < 0)
				status = cannot(EX_IOERR, "read", output->path);
			break;
		case LINE_END:
			status = EX_OK;
			break;
		}
	}
	lines_free(&lines);
	return status;
}

/* --- the journal --- */

/* A run that was killed may have left workers that are just noticing it: they hold the lock for a moment. */
static int lock(int fd)
{
	const struct timespec pause = {.tv_nsec = 20000000};

	for (int i = 0; i < 150; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -1;
		nanosleep(&pause, NULL);
	}
	return -1;
}

/* Open and lock, once more if the run that had it locked has removed it meanwhile. */
static int open_journal(struct output *output)
{
	struct stat opened, named;

	for (;;) {
		output->journal =
			open(output->journal_path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		if (output->journal < 0)
			return cannot(EX_CANTCREAT, "write", output->journal_path);
		if (lock(output->journal) < 0) {
			close(output->journal);
			output->journal = -1; /* not ours to remove */
			return cli_fail(EX_TEMPFAIL, command, "another run is writing %s",
					output->path);
		}
		if (fstat(output->journal, &opened) == 0 &&
		    stat(output->journal_path, &named) == 0 && opened.st_ino == named.st_ino)
			return EX_OK;
		close(output->journal);
	}
}

static void add_unknown(struct output *output, const json_t *id)
{
	json_t *result = json_pack("{s:O, s:n, s:i, s:n, s:n, s:n, s:s}", "id", id, "status",
				   "attempts", 1, "wait_ms", "latency_ms", "limit", "error",
				   "fate unknown: the run was killed after this request was sent");
	char *text = cli_need(json_dumps(cli_need(result), JSON_COMPACT));

	output_add(output, text);
	free(text);
	json_decref(result);
}

/* Half a line at the end never led to a request: it is written before. */
static int read_journal(struct output *output, struct idset *done, uint64_t *ret_unknown)
{
	struct lines lines = {.fd = output->journal};
	enum line_result r;
	const char *text;
	size_t size;

	while ((r = lines_next(&lines, &text, &size)) != LINE_END) {
		json_t *id;
		char *key;

		if (r == LINE_NEED_MORE && lines_fill(&lines) < 0)
			return cannot(EX_IOERR, "read", output->journal_path);
		if (r != LINE_TEXT || lines.unterminated)
			continue;
		id = json_loadb(text, size, JSON_DECODE_ANY, NULL);
		if (!id)
			continue;
		key = cli_need(json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT));
		if (idset_add(done, key, strlen(key))) {
			add_unknown(output, id);
			++*ret_unknown;
		}
		free(key);
		json_decref(id);
	}
	lines_free(&lines);
	return EX_OK;
}

/* --- opening and closing --- */

static bool holds_something(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size > 0;
}

static int resume_output(struct output *output, struct idset *done, uint64_t *ret_unknown)
{
	int status = read_results(output, done);

	if (status == EX_OK)
		status = read_journal(output, done, ret_unknown);
	if (status == EX_OK)
		status = output_flush(output);
	if (status == EX_OK && ftruncate(output->journal, 0) < 0)
		status = cannot(EX_IOERR, "write", output->journal_path);
	return status;
}

static int open_regular(struct output *output, bool resume, struct idset *done,
			uint64_t *ret_unknown)
{
	int status;

	if (asprintf(&output->journal_path, "%s.journal", output->path) < 0)
		cli_need(NULL);
	status = open_journal(output);
	if (status != EX_OK)
		return status;
	if (resume)
		return resume_output(output, done, ret_unknown);
	if (holds_something(output->fd))
		return cli_fail(EX_CANTCREAT, command,
				"%s exists: continue it with --resume, or remove it", output->path);
	if (holds_something(output->journal))
		return cli_fail(EX_CANTCREAT, command,
				"%s is left of a run that was killed: continue it with --resume, "
				"or remove it",
				output->journal_path);
	return EX_OK;
}

int output_open(struct output *output, const char *path, bool resume, struct idset *done,
		uint64_t *ret_unknown)
{
	struct stat st;

	*output = (struct output){.path = path, .fd = STDOUT_FILENO, .journal = -1};
	if (!path)
		return EX_OK;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		output->fd = open(path, O_WRONLY | O_CLOEXEC);
	else
		output->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (output->fd < 0)
		return cannot(EX_CANTCREAT, "write", path);
	if (fstat(output->fd, &st) == 0 && S_ISREG(st.st_mode))
		return open_regular(output, resume, done, ret_unknown);
	if (resume)
		return cli_fail(EX_USAGE, command, "--resume needs --out to be a regular file");
	return EX_OK;
}

/* A journal that says nothing is no use to anyone, whoever made it. */
void output_close(struct output *output, bool clean)
{
	if (output->journal >= 0) {
		if (clean || !holds_something(output->journal))
			unlink(output->journal_path);
		close(output->journal);
	}
	free(output->journal_path);
	buffer_free(&output->buffer);
	if (output->path && output->fd >= 0)
		close(output->fd);
	*output = (struct output){.fd = -1, .journal = -1};
}
