/*
 * cli/cli.c - messages and exit statuses, the same for all subcommands
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"

int cli_fail(int status, const char *command, const char *format, ...)
{
	va_list args;

	if (command)
		fprintf(stderr, "ration %s: ", command);
	else
		fputs("ration: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

int cli_close_stdout(int status, const char *command)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return cli_fail(EX_IOERR, command, "cannot write to standard output: %s", strerror(errno));
}

int cli_status_of(int code)
{
	static const struct {
		int code;
		int status;
	} map[] = {
		{0, EX_OK},
		{RATION_DENIED, EX_TEMPFAIL},
		{RATION_CONTENDED, EX_TEMPFAIL},
		{RATION_OVERSIZE, EX_DATAERR},
		{-EINVAL, EX_USAGE},
		{RATION_EVENDOR, EX_CONFIG},
		{RATION_ECLASS, EX_CONFIG},
		{RATION_EUNIT, EX_CONFIG},
		{RATION_EPOLICY, EX_CONFIG},
		{RATION_ESUPERVISOR, EX_UNAVAILABLE},
		{RATION_ELAYOUT, EX_UNAVAILABLE},
		{RATION_ENOTREADY, EX_UNAVAILABLE},
		{RATION_EFULL, EX_UNAVAILABLE},
		{RATION_EWORKERS, EX_UNAVAILABLE},
		{RATION_ECORRUPT, EX_SOFTWARE},
		{-EACCES, EX_NOPERM},
		{-EPERM, EX_NOPERM},
		{-ENOENT, EX_NOINPUT},
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (map[i].code == code)
			return map[i].status;
	return EX_OSERR;
}
