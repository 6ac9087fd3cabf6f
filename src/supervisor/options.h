/*
 * supervisor/options.h - what the command line says
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SUPERVISOR_OPTIONS_H
#define RATION_SUPERVISOR_OPTIONS_H

#include <stdbool.h>
#include <sys/un.h>

#include "shm/layout.h"
#include "supervisor/peer.h"

#define SUPERVISOR_GROUP "ration" /* who may attach where nobody says who; owns the socket */

struct options {
	const char *policy;
	struct sockaddr_un address;
	struct seg_config config;
	struct access access;
	bool access_given;
	const char *metrics;         /* where figures are to be had; NULL: nowhere of our own */
	uint32_t metrics_tenants;    /* rows for tenants */
	const char *state_directory; /* where checkpoints are; NULL: there are none */
	uint64_t checkpoint_period_ns;
	bool check;
	bool keep;  /* be the keeper (keeper.h) */
	bool leave; /* --help, --version: all is said */
};

/* Returns 0 or the status to exit with, after saying on stderr what is wrong. */
int options_read(struct options *options, int argc, char **argv);

#endif
