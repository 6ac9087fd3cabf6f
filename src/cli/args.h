/*
 * cli/args.h - options as a table
 * SPDX-License-Identifier: MIT
 *
 * A subcommand lists its options once; parsing, --help and error messages come from that list. Long
 * options only (-h is --help). "--" ends the options; options and operands may be mixed.
 */
#ifndef RATION_CLI_ARGS_H
#define RATION_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_type {
	ARG_FLAG,     /* bool: set to true */
	ARG_TEXT,     /* const char *: the argument itself */
	ARG_COUNT,    /* uint32_t: 1 ... max */
	ARG_DURATION, /* uint64_t nanoseconds: "5s", "20ms", "1.5m" */
	ARG_COSTS,    /* struct arg_costs: "tokens=1200", may be repeated */
};

struct arg {
	const char *name; /* without the dashes; NULL ends the list */
	enum arg_type type;
	void *value;         /* untouched if the option is not given */
	uint64_t max;        /* ARG_COUNT */
	const char *metavar; /* as --help names the argument; NULL for ARG_FLAG */
	const char *help;
};

struct args {
	const char *command;  /* NULL: ration itself */
	const char *operands; /* as --help shows them; "" for none */
	const char *summary;
	const struct arg *options;
	int min_operands;
	int max_operands;
};

enum { ARG_COSTS_MAX = 16 };

struct ration_cost;
struct arg_costs {
	size_t count;
	struct {
		char unit[64];
		uint64_t amount;
	} cost[ARG_COSTS_MAX];
};

/*
 * Parse argv in place. On success the operands are argv[0 ... count - 1] of *ret_operands. Returns
 * -1 to go on; otherwise the status to exit with: --help and --version were asked for and answered,
 * or a message was printed.
 */
int args_parse(const struct args *args, int argc, char **argv, char ***ret_operands,
	       int *ret_count);

/* "5s", "20ms", "1.5m", "2h", "100us", "0" -> nanoseconds. */
bool args_duration(const char *text, uint64_t *ret_ns);

/* The amounts as libration takes them; out has room for ARG_COSTS_MAX and points into costs. */
size_t args_costs(const struct arg_costs *costs, struct ration_cost *out);

#endif
