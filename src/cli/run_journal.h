/*
 * cli/run_journal.h - the output of `ration run`, and what is known about it after a kill
 * SPDX-License-Identifier: MIT
 *
 * OUT.journal has the id of every request that was about to leave, one JSON value a line. It exists while a run
 * writes OUT, is locked by the run and its workers, and is removed when the run ends by itself. An id in the
 * journal without a result in OUT: the run was killed, and whether the request arrived is unknown.
 */
#ifndef RATION_CLI_RUN_JOURNAL_H
#define RATION_CLI_RUN_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/buffer.h"
#include "cli/table.h"

struct output {
	const char *path;   /* NULL: standard output */
	char *journal_path; /* NULL: none (output is no regular file) */
	int fd;
	int journal;          /* -1: none */
	bool failed;          /* a write failed: nothing more is written */
	struct buffer buffer; /* whole lines, until output_flush() */
};

/* Record that a request is about to leave. fd -1: no journal. 0 or -errno. */
int journal_sent(int fd, const char *id);

/*
 * Open the output, lock its journal. With `resume`, what stands in the output goes into `done` (ids as JSON text,
 * unreadable lines as output_line_key() names them), half a line at its end is cut off, and requests of
 * unknown fate get their result now; *ret_unknown counts them. EX_OK, or the status to exit with after a message.
 */
int output_open(struct output *output, const char *path, bool resume, struct idset *done,
		uint64_t *ret_unknown);

/* How `done` names a line of input that had no id. */
size_t output_line_key(uint64_t line, char *buf, size_t size);

/* Add one line. */
void output_add(struct output *output, const char *json);

/* EX_OK, or EX_IOERR after a message (once). */
int output_flush(struct output *output);

/* clean: every request has a result or was never sent. */
void output_close(struct output *output, bool clean);

#endif
