/*
 * cli/run_loop.h - `ration run`: from input lines to results
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_RUN_LOOP_H
#define RATION_CLI_RUN_LOOP_H

#include "cli/lines.h"
#include "cli/run_backlog.h"
#include "cli/run_fleet.h"
#include "cli/run_journal.h"
#include "cli/run_report.h"
#include "cli/tend.h"

struct run {
	struct lines input;
	struct output output;
	struct backlog backlog;
	struct fleet fleet;
	struct report report;
	struct idset done;   /* had a result before this run */
	struct idset seen;   /* ids of this run */
	int signal;          /* that told us to stop; 0: none */
	bool input_failed;   /* a read error: what came before it is finished */
	bool aborted;        /* told to stop twice */
	bool progress;       /* stderr is a terminal */
	uint64_t drawn_ns;   /* when the progress line was drawn last */
	uint64_t input_size; /* bytes; 0: not known */
	struct tend tend;
};

/* SIGINT and SIGTERM wake the loop from now on. EX_OK, or a status after a message. */
int run_signals(void);

/* The ends of the pipe that signals write to, which workers close. */
void run_signal_fds(int fds[2]);

/* Until every request that was taken has its result. Returns the status to exit with. */
int run_loop(struct run *run);

/* The progress line: drawn when it is time (or now), and removed. */
void run_progress(struct run *run, bool now);
void run_progress_clear(const struct run *run);

#endif
