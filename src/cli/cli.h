/*
 * cli/cli.h - the command line: its subcommands and what they share
 * SPDX-License-Identifier: MIT
 *
 * One file per subcommand. Each gets its own argv (argv[0] is its name) and returns an exit status
 *of <sysexits.h>:
 *
 *	EX_OK		done; acquire: granted
 *	1		run: done, but some requests did not succeed
 *	EX_USAGE	options or operands that make no sense
 *	EX_DATAERR	input that can never work: a cost that never fits, check: a policy with
 *errors EX_NOINPUT	a file that cannot be read EX_UNAVAILABLE	no supervisor, or it refused
 *	EX_SOFTWARE	shared memory holds impossible values
 *	EX_OSERR	the system refused (memory, processes)
 *	EX_CANTCREAT	a file that cannot be written
 *	EX_IOERR	output that could not be written
 *	EX_TEMPFAIL	acquire: denied, try again later
 *	EX_NOPERM	this user may not attach
 *	EX_CONFIG	a vendor, class or unit that the policy does not have; no usable policy
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

/* Every subcommand once: name, one line of help. cmd_NAME() does it. */
#define CLI_COMMANDS(X)                                                                            \
	X(run, "send a file of requests, as fast as the quota lets them")                          \
	X(pipe, "acquire and settle over JSON lines, for programs in any language")                \
	X(acquire, "take from a key's quota once, for scripts")                                    \
	X(status, "show every bucket: level, numbers, admitted, denied")                           \
	X(explain, "say in words which limits a key meets")                                        \
	X(check, "check a policy file")                                                            \
	X(init, "write a commented starting policy")

#define CLI_DECLARE(name, help) int cmd_##name(int argc, char **argv);
CLI_COMMANDS(CLI_DECLARE)
#undef CLI_DECLARE

#define CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Prints "ration COMMAND: message". Returns status, so that `return cli_fail(...)` reads well. */
int cli_fail(int status, const char *command, const char *format, ...) CLI_PRINTF(3, 4);

/* The exit status for a value that libration returned. */
int cli_status_of(int code);

/* Flushes stdout. EX_IOERR, with a message, if anything written to it was lost; else status. */
int cli_close_stdout(int status, const char *command);

#endif
