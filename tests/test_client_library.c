/*
 * tests/test_client_library.c - what libration.so shows and what it needs
 * SPDX-License-Identifier: MIT
 *
 * Every worker of every language loads this library: it must not bring anything along, nor export
 * a name that is not in the header.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(library, .timeout = 30);

/* The shared library stands in the build directory, not in those of the sanitizers below it. */
static const char *library(const char *name)
{
	static char path[4096];
	const char *build = getenv("RATION_BUILD");
	const char *const places[] = {build && *build ? build : "build", "build"};

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", places[i], name);
		if (access(path, R_OK) == 0)
			return path;
		snprintf(path, sizeof(path), "%s/../%s", places[i], name);
		if (access(path, R_OK) == 0)
			return path;
	}
	cr_assert_fail("%s was not built", name);
	return NULL;
}

/* All that a command prints. */
static const char *output(const char *format, const char *path)
{
	static char text[65536];
	char command[5000];
	FILE *pipe;
	size_t n;

	snprintf(command, sizeof(command), format, path);
	pipe = popen(command, "r");
	cr_assert(pipe);
	n = fread(text, 1, sizeof(text) - 1, pipe);
	text[n] = '\0';
	cr_assert_eq(pclose(pipe), 0, "%s", command);
	return text;
}

/* Every function of the header is in one of the two libraries, and has a version. */
Test(library, symbols_are_versioned)
{
	cr_assert_str_eq(output("nm -D --defined-only '%s' | awk '$2 == \"T\" { print $3 }' | "
				"grep -vc '@@RATION_0' || true",
				library("libration.so")),
			 "0\n");
	cr_assert_str_eq(output("nm -D --defined-only --without-symbol-versions '%s' | "
				"awk '$2 == \"T\" { print $3 }'",
				library("libration-embed.so")),
			 "ration_embed\n");
}

Test(library, needs_libc_only)
{
	cr_assert_str_eq(output("readelf -dW '%s' | sed -n 's/.*(NEEDED).*\\[\\(.*\\)\\]/\\1/p'",
				library("libration.so")),
			 "libc.so.6\n");
}

Test(library, has_a_name_to_be_loaded_by)
{
	cr_assert_str_eq(output("readelf -dW '%s' | sed -n 's/.*(SONAME).*\\[\\(.*\\)\\]/\\1/p'",
				library("libration.so")),
			 "libration.so.0\n");
}

/* The library never writes to the terminal, ends the process or takes locks of threads. */
Test(library, imports_nothing_that_prints_or_exits_or_locks)
{
	cr_assert_str_eq(output("nm -D --undefined-only --without-symbol-versions '%s' | "
				"awk '{ print $2 }' | grep -E "
				"'^(f?printf|puts|perror|syslog|v?syslog|_?exit|abort|__assert_"
				"fail|pthread_mutex.*|sem_.*)$' || true",
				library("libration.so")),
			 "");
}
