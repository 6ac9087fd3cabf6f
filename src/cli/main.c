/*
 * cli/main.c - ration: find the subcommand and call it
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "cli/cli.h"
#include "policy/nearest.h"

struct command {
	const char *name;
	const char *help;
	int (*run)(int argc, char **argv);
};

#define COMMAND(command, text) {#command, text, cmd_##command},
static const struct command commands[] = {CLI_COMMANDS(COMMAND)};
#undef COMMAND

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_commands(FILE *out)
{
	fputs("usage: ration COMMAND [options]\n\ncommands:\n", out);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fputs("\noptions:\n  --help     show this\n  --version  show the version\n\n"
	      "ration COMMAND --help says more about one of them, man ration about all.\n",
	      out);
}

static int unknown_command(const char *name)
{
	const char *names[N_COMMANDS];
	const char *meant;

	for (size_t i = 0; i < N_COMMANDS; i++)
		names[i] = commands[i].name;
	meant = nearest_word(name, names, N_COMMANDS);
	if (meant)
		return cli_fail(EX_USAGE, NULL, "no command '%s'; did you mean '%s'?", name, meant);
	return cli_fail(EX_USAGE, NULL, "no command '%s' (see ration --help)", name);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_commands(stderr);
		return EX_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_commands(stdout);
		return cli_close_stdout(EX_OK, NULL);
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("ration %s\n", RATION_VERSION);
		return cli_close_stdout(EX_OK, NULL);
	}
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (argv[1][0] == '-')
		return cli_fail(EX_USAGE, NULL, "unknown option %s (see ration --help)", argv[1]);
	return unknown_command(argv[1]);
}
