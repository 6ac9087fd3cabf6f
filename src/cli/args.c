/*
 * cli/args.c - options as a table
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ration/ration.h>

#include "cli/args.h"
#include "cli/cli.h"

enum {
	ARGS_MAX = 24,
	OPT_HELP = 1000,
	OPT_VERSION = 1001,
};

static void print_usage(const struct args *args)
{
	const char *space = args->operands[0] ? " " : "";

	printf("usage: ration %s%s%s [options]\n\n%s\n\n", args->command, space, args->operands,
	       args->summary);
}

static void print_option(const char *name, const char *metavar, const char *help)
{
	char left[48];

	snprintf(left, sizeof(left), "--%s%s%s", name, metavar ? " " : "", metavar ? metavar : "");
	printf("  %-22s %s\n", left, help);
}

static void print_help(const struct args *args)
{
	print_usage(args);
	for (const struct arg *a = args->options; a->name; a++)
		print_option(a->name, a->metavar, a->help);
	print_option("help", NULL, "show this");
	print_option("version", NULL, "show the version");
	printf("\nMore: man ration\n");
}

/* Units of time, largest first so that "m" is not taken for the beginning of "ms". */
static const struct {
	const char *suffix;
	double ns;
} duration_units[] = {
	{"ns", 1},   {"us", 1e3},   {"ms", 1e6},   {"s", 1e9},
	{"m", 60e9}, {"min", 60e9}, {"h", 3600e9}, {"d", 86400e9},
};

bool args_duration(const char *text, uint64_t *ret_ns)
{
	char *end;
	double value;

	if (text[0] < '0' || text[0] > '9')
		return false;
	value = strtod(text, &end);
	if (value == 0 && *end == '\0') {
		*ret_ns = 0;
		return true;
	}
	for (size_t i = 0; i < sizeof(duration_units) / sizeof(duration_units[0]); i++) {
		double ns = value * duration_units[i].ns;

		if (strcmp(end, duration_units[i].suffix) != 0)
			continue;
		if (!(ns >= 0 && ns <= 1e18))
			return false;
		*ret_ns = (uint64_t)ns;
		return true;
	}
	return false;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long long value;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value < min || value > max)
		return false;
	*ret = value;
	return true;
}

/* Where a unit already stands in the list, or its end. */
static size_t find_unit(const struct arg_costs *costs, const char *unit, size_t size)
{
	size_t i = 0;

	while (i < costs->count && (strlen(costs->cost[i].unit) != size ||
				    memcmp(costs->cost[i].unit, unit, size) != 0))
		i++;
	return i;
}

static bool parse_cost(const char *text, struct arg_costs *costs)
{
	const char *equals = strchr(text, '=');
	size_t size = equals ? (size_t)(equals - text) : 0;

	if (size == 0 || size > RATION_NAME_MAX || costs->count == ARG_COSTS_MAX ||
	    find_unit(costs, text, size) != costs->count)
		return false;
	if (!parse_number(equals + 1, 0, RATION_COST_MAX, &costs->cost[costs->count].amount))
		return false;
	memcpy(costs->cost[costs->count].unit, text, size);
	costs->cost[costs->count].unit[size] = '\0';
	costs->count++;
	return true;
}

static bool set_value(const struct arg *arg, char *text)
{
	uint64_t number;

	switch (arg->type) {
	case ARG_FLAG:
		*(bool *)arg->value = true;
		return true;
	case ARG_TEXT:
		*(const char **)arg->value = text;
		return text[0] != '\0';
	case ARG_COUNT:
		if (!parse_number(text, 1, arg->max, &number))
			return false;
		*(uint32_t *)arg->value = (uint32_t)number;
		return true;
	case ARG_DURATION:
		return args_duration(text, arg->value);
	case ARG_COSTS:
		return parse_cost(text, arg->value);
	}
	return false;
}

static int usage_error(const struct args *args, const char *what, const char *which)
{
	return cli_fail(EX_USAGE, args->command, "%s%s%s (see ration %s --help)", what,
			which ? " " : "", which ? which : "", args->command);
}

/* What an argument of each type must look like, for messages. */
static int value_error(const struct args *args, const struct arg *arg, const char *text)
{
	static const char *const wanted[] = {
		[ARG_FLAG] = "nothing",
		[ARG_TEXT] = "something",
		[ARG_COUNT] = "a number from 1",
		[ARG_DURATION] = "a time such as 5s or 20ms",
		[ARG_COSTS] = "a unit once, such as tokens=1200",
	};

	if (arg->type == ARG_COUNT)
		return cli_fail(EX_USAGE, args->command, "--%s takes %s to %llu, not '%s'",
				arg->name, wanted[arg->type], (unsigned long long)arg->max, text);
	return cli_fail(EX_USAGE, args->command, "--%s takes %s, not '%s'", arg->name,
			wanted[arg->type], text);
}

static size_t build_table(const struct args *args, struct option *table)
{
	size_t n = 0;

	for (const struct arg *a = args->options; a->name && n < ARGS_MAX; a++, n++)
		table[n] = (struct option){
			.name = a->name,
			.has_arg = a->type == ARG_FLAG ? no_argument : required_argument,
			.val = (int)n,
		};
	table[n++] = (struct option){.name = "help", .val = OPT_HELP};
	table[n++] = (struct option){.name = "version", .val = OPT_VERSION};
	table[n] = (struct option){0};
	return n;
}

/* One answer of getopt_long(): -1 to go on, or a status. */
static int take_option(const struct args *args, int c, char *word)
{
	switch (c) {
	case 'h':
	case OPT_HELP:
		print_help(args);
		return cli_close_stdout(EX_OK, args->command);
	case OPT_VERSION:
		printf("ration %s\n", RATION_VERSION);
		return cli_close_stdout(EX_OK, args->command);
	case ':':
		return usage_error(args, "an argument is missing after", word);
	case '?':
		return usage_error(args, "unknown option", word);
	}
	return set_value(&args->options[c], optarg) ? -1
						    : value_error(args, &args->options[c], optarg);
}

int args_parse(const struct args *args, int argc, char **argv, char ***ret_operands, int *ret_count)
{
	struct option table[ARGS_MAX + 3];
	int c, status, n;

	build_table(args, table);
	opterr = 0;
	optind = 0; /* glibc: start over, with another argv */
	while ((c = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
		status = take_option(args, c, argv[optind - 1]);
		if (status >= 0)
			return status;
	}
	n = argc - optind;
	if (n < args->min_operands)
		return cli_fail(EX_USAGE, args->command, "needs %s (see ration %s --help)",
				args->operands, args->command);
	if (n > args->max_operands)
		return usage_error(args, "too many arguments, from",
				   argv[optind + args->max_operands]);
	*ret_operands = argv + optind;
	*ret_count = n;
	return -1;
}

size_t args_costs(const struct arg_costs *costs, struct ration_cost *out)
{
	for (size_t i = 0; i < costs->count; i++)
		out[i] = (struct ration_cost){.unit = costs->cost[i].unit,
					      .amount = costs->cost[i].amount};
	return costs->count;
}
