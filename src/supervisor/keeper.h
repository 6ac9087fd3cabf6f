/*
 * supervisor/keeper.h - holds descriptors and restarts rationd, where no service manager does
 * SPDX-License-Identifier: MIT
 *
 * A process that does next to nothing, and so has little to die of. It runs rationd as its child and is for it what systemd
 * is: it receives its notices (sd_notify(3)), keeps the descriptors that come with them, and hands them to the next one
 * (sd_listen_fds(3)). So a supervisor knows one way only to be taken over.
 *
 *	SIGTERM, SIGINT		end: the supervisor first
 *	SIGHUP			for the supervisor: reload
 *	SIGUSR1			replace the supervisor by what is installed now
 *
 * What it is told and does not itself answer it passes on to a service manager of its own, if it has one.
 */
#ifndef RATION_SUPERVISOR_KEEPER_H
#define RATION_SUPERVISOR_KEEPER_H

#include "supervisor/options.h"

/* Runs rationd with the same arguments, but for --keep, until told to end. Returns the status to exit with. */
int keeper_run(const struct options *options, int argc, char **argv);

#endif
