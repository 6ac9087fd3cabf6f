/*
 * cli/run_worker.h - one worker process of `ration run`
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_RUN_WORKER_H
#define RATION_CLI_RUN_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"

struct worker_setup {
	struct cli_target target; /* attach to this, or embed it */
	struct ration *inherited; /* made by the parent before it forked; NULL: attach by target */
	bool no_quota;            /* neither */
	bool retry;               /* unless a line says no */
	const char *adapters;     /* a directory of the operator's; NULL: none */
	int fd;                   /* socket to the parent */
	int journal;              /* -1: none */
	_Atomic uint32_t *
		sent; /* shared with the parent: sent[slot] is 1 from just before a request leaves */
};

/* Runs in the child; returns its exit status. */
int run_worker(const struct worker_setup *setup);

#endif
