/*
 * tests/test_manual.c - the programs in the manual compile and run
 * SPDX-License-Identifier: MIT
 *
 * A line `.\" C program: NAME` stands before each example in man/ (section 3). It is taken out as a
 * reader would see it, compiled with warnings as errors against the shared libraries, and run
 * beside a real supervisor.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_rationd.h"

TestSuite(manual, .timeout = 120);

#define MARK "\n.\\\" C program: "

static const char policy[] =
	"version: 1\n"
	"classes: [interactive]\n"
	"defaults: { delay: 1s }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 20, scope: [tenant, vendor], margin: 0% }\n"
	"      - { name: words, unit: tokens, rate: 1000/h, burst: 5000, scope: [vendor],\n"
	"          default_cost: 1, margin: 0% }\n"
	"routes: {either: [crm]}\n";

/* Where the shared libraries are: the build directory, or the one above a sanitizer's. */
static const char *library_dir(void)
{
	static char dir[4096];
	char path[4200];
	const char *build = getenv("RATION_BUILD");

	snprintf(dir, sizeof(dir), "%s", build && *build ? build : "build");
	snprintf(path, sizeof(path), "%s/libration.so", dir);
	if (access(path, R_OK) != 0)
		strncat(dir, "/..", sizeof(dir) - strlen(dir) - 1);
	snprintf(path, sizeof(path), "%s/libration-embed.so", dir);
	cr_assert(access(path, R_OK) == 0, "%s was not built", path);
	return dir;
}

static char *read_page(const char *name)
{
	char path[512];
	FILE *file;
	char *text = calloc(1, 65536);

	snprintf(path, sizeof(path), "man/%s", name);
	file = fopen(path, "r");
	cr_assert(file && text, "%s", path);
	cr_assert_lt(fread(text, 1, 65535, file), 65535, "%s is too long for this test", path);
	fclose(file);
	return text;
}

/* What stands between .Bd and .Ed, with \e as a backslash. */
static void write_source(const char *example, const char *path)
{
	const char *begin = strstr(example, ".Bd -literal\n");
	const char *end = begin ? strstr(begin, "\n.Ed") : NULL;
	FILE *file = fopen(path, "w");

	cr_assert(end && file, "no display after the mark");
	for (const char *p = begin + strlen(".Bd -literal\n"); p <= end; p++) {
		if (*p == '\\') {
			cr_assert_eq(p[1], 'e', "an escape that this test does not know");
			p++;
			fputc('\\', file);
		} else {
			fputc(*p, file);
		}
	}
	fclose(file);
}

static int run(const char *format, const char *dir, const char *name)
{
	char command[8192];
	int status;

	snprintf(command, sizeof(command), format, dir, name, library_dir());
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define COMPILE                                                                                    \
	"gcc -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Wpedantic -Werror -Iinclude "               \
	"-o %1$s/%2$s %1$s/%2$s.c -L%3$s -lration-embed -lration "                                 \
	"-Wl,-rpath-link,%3$s"
#define RUN                                                                                        \
	"LD_LIBRARY_PATH=%3$s RATION_SOCKET=%1$s/run/ration.sock "                                 \
	"%1$s/%2$s %1$s/policy.yaml >%1$s/output 2>&1"

/* One page: every example in it is compiled and run. Returns how many there were. */
static int try_page(struct rationd *r, const char *page)
{
	char *text = read_page(page);
	int n = 0;

	for (const char *p = text; (p = strstr(p, MARK)); n++) {
		char name[64], path[256];
		int status;

		p += strlen(MARK);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(p, "\n"), p);
		snprintf(path, sizeof(path), "%s/%s.c", r->dir, name);
		write_source(p, path);
		cr_assert_eq(run(COMPILE, r->dir, name), 0, "%s: %s does not compile", page, name);
		status = run(RUN, r->dir, name);
		cr_expect_eq(status, 0, "%s: %s ended with %d", page, name, status);
	}
	free(text);
	return n;
}

static void expect_output(const struct rationd *r, const char *wanted)
{
	char path[256], text[4096];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "%s/output", r->dir);
	file = fopen(path, "r");
	cr_assert(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
	cr_expect(strstr(text, wanted), "wanted '%s', got:\n%s", wanted, text);
}

static const struct {
	const char *page;
	const char *output;
} pages[] = {
	{"libration.3", "request 9\n"},
	{"ration_attach.3", "attached\n"},
	{"ration_embed.3", " granted\n"},
	{"ration_resolve.3", ""},
	{"ration_acquire.3", "0\n"},
	{"ration_acquire_until.3", "granted\n"},
	{"ration_settle.3", "ended\n"},
	{"ration_route.3", "sent to crm\n"},
	{"ration_ticket_fresh.3", "granted\n"},
	{"ration_detach.3", ""},
	{"ration_strerror.3", "denied: crm/rate: 3 of 20 left, needs 5; retry in 20 ms\n"},
};

Test(manual, examples_compile_and_run)
{
	struct rationd r;

	rationd_start(&r, policy, NULL);
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		cr_assert_eq(try_page(&r, pages[i].page), 1, "%s has no example", pages[i].page);
		expect_output(&r, pages[i].output);
	}
	cr_assert_eq(rationd_stop(&r), 0);
}

/* Every function of the public header has a page, or a name that leads to one. */
Test(manual, every_call_has_a_page)
{
	FILE *header = fopen("include/ration/ration.h", "r");
	char line[512];
	int n = 0;

	cr_assert(header);
	while (fgets(line, sizeof(line), header)) {
		char *name = strstr(line, "ration_"), path[600];
		const char *paren = name ? strchr(name, '(') : NULL;

		if (strncmp(line, "RATION_API", 10) != 0 || !paren)
			continue;
		while (name && strcspn(name, " *(") != (size_t)(paren - name))
			name = strstr(name + 1, "ration_");
		cr_assert(name, "%s", line);
		snprintf(path, sizeof(path), "man/%.*s.3", (int)(paren - name), name);
		cr_expect(access(path, R_OK) == 0, "%s is missing", path);
		n++;
	}
	fclose(header);
	cr_assert_geq(n, 13, "functions found in the header: %d", n);
}

/* The values that an error or a decision can have are all explained in section 3. */
Test(manual, every_result_is_explained)
{
	static const char *const results[] = {
		"RATION_DENIED",   "RATION_OVERSIZE",  "RATION_CONTENDED", "RATION_ESUPERVISOR",
		"RATION_ELAYOUT",  "RATION_ENOTREADY", "RATION_EVENDOR",   "RATION_ECLASS",
		"RATION_EUNIT",    "RATION_EFULL",     "RATION_ECORRUPT",  "RATION_EPOLICY",
		"RATION_EWORKERS", "RATION_ELOST",
	};

	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		char item[64];
		bool found = false;

		snprintf(item, sizeof(item), "\n.It Dv %s", results[i]);
		for (size_t k = 0; k < sizeof(pages) / sizeof(pages[0]); k++) {
			char *text = read_page(pages[k].page);

			found |= strstr(text, item) != NULL;
			free(text);
		}
		cr_expect(found, "%s", results[i]);
	}
}
