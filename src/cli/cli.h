/*
 * cli/cli.h - the command line: its subcommands and what they share
 * SPDX-License-Identifier: MIT
 *
 * One file per subcommand. Each gets its own argv (argv[0] is its name) and returns an exit status
 *of <sysexits.h>:
 *
 *	EX_OK		done; acquire: granted
 *	1		run: done, but some requests did not succeed; diff: there are changes
 *	EX_USAGE	options or operands that make no sense
 *	EX_DATAERR	a cost that never fits; check: a policy with errors
 *	EX_NOINPUT	a file that cannot be read
 *	EX_UNAVAILABLE	no supervisor, or it refused
 *	EX_SOFTWARE	shared memory holds impossible values
 *	EX_OSERR	the system refused (memory, processes)
 *	EX_CANTCREAT	a file that cannot be written
 *	EX_IOERR	output that could not be written
 *	EX_TEMPFAIL	acquire: denied, try again later
 *	EX_NOPERM	this user may not attach
 *	EX_CONFIG	no usable policy, or one without this vendor, class or unit
 *
 * Messages go to stderr as "ration COMMAND: message".
 */
#ifndef RATION_CLI_CLI_H
#define RATION_CLI_CLI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sysexits.h>

#include <ration/ration.h>

#include "signal/adapter.h"

/* Every subcommand once: name, one line of help. cmd_NAME() does it. */
#define CLI_COMMANDS(X)                                                                            \
	X(run, "send a file of requests, as fast as the quota lets them")                          \
	X(pipe, "acquire and settle over JSON lines, for programs in any language")                \
	X(acquire, "take from a key's quota once, for scripts")                                    \
	X(exec, "run a command that holds a lease, or the only one of its name")                   \
	X(status, "show every bucket: level, numbers, admitted, denied")                           \
	X(events, "show what happened: refusals, corrections, denials")                            \
	X(explain, "say in words which limits a key meets")                                        \
	X(block, "stop a tenant's requests to a vendor for a time")                                \
	X(unblock, "lift what blocks a tenant's requests to a vendor")                             \
	X(set, "put a number over the policy's, until it is taken back")                           \
	X(check, "check a policy file")                                                            \
	X(diff, "say in words what another policy changes")                                        \
	X(signal, "read what responses of vendors say about limits")                               \
	X(init, "write a commented starting policy")

#define CLI_DECLARE(name, help) int cmd_##name(int argc, char **argv);
CLI_COMMANDS(CLI_DECLARE)
#undef CLI_DECLARE

#define CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Prints "ration COMMAND: message". Returns status, so that `return cli_fail(...)` reads well. */
int cli_fail(int status, const char *command, const char *format, ...) CLI_PRINTF(3, 4);

/* The exit status for a value that libration returned. */
int cli_status_of(int code);

/* realloc(3) of n cells; there is no going on without memory: says so and exits with EX_OSERR. */
void *cli_alloc(void *old, size_t n, size_t size);

/* The same end for a pointer that is NULL when memory ran out (strdup, jansson). */
void *cli_need(void *pointer);

/* Where the quota comes from: a supervisor's socket, or a policy file of one's own. Both NULL: the
 * usual socket. */
struct cli_target {
	const char *policy;
	const char *socket;
};

/*
 * Attach for acquiring, or for looking only. EX_OK, or the status to exit with after a message.
 * wait_ns: how long to wait for a supervisor.
 */
int cli_attach(const char *command, const struct cli_target *target, uint64_t wait_ns,
	       struct ration **ret_ration);
int cli_observe(const char *command, const struct cli_target *target, struct ration **ret_ration);

/* Adapters, those of a directory first (NULL: none). What is wrong with one that is asked for goes to stderr. EX_OK, or as cli_fail(). */
int cli_adapters(const char *command, const char *directory, struct adapters **ret_adapters);

/* ration_resolve(), tried again while other workers are faster. Anything but 0: no handle, error is filled in. */
int cli_resolve(struct ration *ration, const struct ration_key *key,
		struct ration_handle **ret_handle, struct ration_error *error);
/* The same of ration_route_resolve(). */
int cli_route(struct ration *ration, const struct ration_key *key, struct ration_route **ret_route,
	      struct ration_error *error);

/* Flushes stdout. EX_IOERR, with a message, if anything written to it was lost; else status. */
int cli_close_stdout(int status, const char *command);

#endif
