/*
 * tests/test_policy_errors.c - every message for every kind of wrong policy
 * SPDX-License-Identifier: MIT
 *
 * The cases stand in tests/data/policy/errors.txt, whose head says how.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support_policy.h"

TestSuite(policy_errors, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 60);

/* Text that grows. */
struct buffer {
	char *data;
	size_t size;
};

static void append(struct buffer *b, const char *data, size_t size)
{
	b->data = realloc(b->data, b->size + size + 1);
	cr_assert_not_null(b->data);
	memcpy(b->data + b->size, data, size);
	b->size += size;
	b->data[b->size] = '\0';
}

static void clear(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}

/* One \xNN, \\ or plain byte; returns what follows it. */
static const char *append_byte(struct buffer *b, const char *p)
{
	unsigned byte;
	char c;

	if (p[0] == '\\' && sscanf(p, "\\x%2x", &byte) == 1) {
		c = (char)byte;
		append(b, &c, 1);
		return p + 4;
	}
	p += p[0] == '\\' && p[1] == '\\';
	append(b, p, 1);
	return p + 1;
}

static void append_line(struct buffer *b, const char *p)
{
	while (*p) {
		int times, skip = 0;
		const char *end;

		if (sscanf(p, "$%d{%n", &times, &skip) != 1 || skip == 0) {
			p = append_byte(b, p);
			continue;
		}
		end = strchr(p, '}');
		cr_assert_not_null(end);
		while (times-- > 0)
			for (const char *q = p + skip; q < end;)
				q = append_byte(b, q);
		p = end + 1;
	}
	append(b, "\n", 1);
}

/* One case as it is being read. */
struct error_case {
	char title[128];
	char file[64]; /* the file that is being read; "" while the messages are */
	struct buffer content;
	struct buffer expected;
	unsigned run;
};

static void end_file(struct error_case *e)
{
	if (e->file[0])
		policy_write(e->file, e->content.data ? e->content.data : "", e->content.size);
	e->file[0] = '\0';
	clear(&e->content);
}

static void begin_file(struct error_case *e, const char *name)
{
	end_file(e);
	snprintf(e->file, sizeof(e->file), "%s", name);
}

/* Compiles what was written, then removes it. */
static void end_case(struct error_case *e)
{
	const char *expected = e->expected.data ? e->expected.data : "";
	struct policy policy = {0};
	char *text;
	int result;

	if (!e->title[0])
		return;
	result = policy_compile_text("policy.yaml", &policy, &text);
	cr_expect_str_eq(text, expected, "%s:\n%s--- expected ---\n%s", e->title, text, expected);
	cr_expect_eq(result, strstr(expected, ": error: ") ? -EINVAL : 0, "%s: %d", e->title,
		     result);
	cr_expect(result == 0 || !policy.blob, "%s", e->title);
	policy_free(&policy);
	free(text);
	clear(&e->expected);
	cr_assert_eq(system("rm -rf ./*"), 0);
	e->run++;
}

static void take_line(struct error_case *e, const char *line)
{
	if (strncmp(line, "=== ", 4) == 0) {
		end_case(e);
		snprintf(e->title, sizeof(e->title), "%s", line + 4);
		begin_file(e, "policy.yaml");
	} else if (!e->title[0]) {
		cr_assert(line[0] == '#' || line[0] == '\0', "%s", line);
	} else if (e->file[0] && strncmp(line, "+++ ", 4) == 0) {
		begin_file(e, line + 4);
	} else if (e->file[0] && strcmp(line, "---") == 0) {
		end_file(e);
	} else if (e->file[0]) {
		append_line(&e->content, line);
	} else {
		append(&e->expected, line, strlen(line));
		append(&e->expected, "\n", 1);
	}
}

Test(policy_errors, every_case)
{
	struct error_case e = {.run = 0};
	char path[5000], *line = NULL;
	size_t room = 0;
	ssize_t size;
	FILE *file;

	snprintf(path, sizeof(path), "%s/tests/data/policy/errors.txt", policy_dir_top());
	file = fopen(path, "r");
	cr_assert_not_null(file);
	while ((size = getline(&line, &room, file)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		take_line(&e, line);
	}
	end_case(&e);
	cr_assert_gt(e.run, 70, "the file of cases was cut off");
	free(line);
	fclose(file);
}

/* --- files that are none, or too large --- */

static void expect_refused(const char *path, int expected, const char *message)
{
	struct policy policy = {0};
	char *text;
	const int result = policy_compile_text(path, &policy, &text);

	cr_expect_eq(result, expected, "%s: %d", path, result);
	cr_expect_str_eq(text, message, "%s", text);
	cr_expect_null(policy.blob);
	free(text);
}

Test(policy_errors, files_that_cannot_be_read)
{
	cr_assert_eq(symlink("loop", "loop"), 0);
	expect_refused("none", -ENOENT, "none: error: cannot be read: No such file or directory\n");
	expect_refused(".", -EISDIR, ".: error: cannot be read: Is a directory\n");
	expect_refused("/dev/null", -ENODEV,
		       "/dev/null: error: cannot be read: not a regular file\n");
	expect_refused("loop", -ELOOP,
		       "loop: error: cannot be read: Too many levels of symbolic links\n");
}

/* A FIFO that nobody writes to holds up nobody. */
Test(policy_errors, fifo)
{
	cr_assert_eq(system("mkfifo fifo"), 0);
	expect_refused("fifo", -ENODEV, "fifo: error: cannot be read: not a regular file\n");
}

/* A sparse file: its size alone is enough to refuse it. */
Test(policy_errors, too_large)
{
	policy_write("policy.yaml", "", 0);
	cr_assert_eq(truncate("policy.yaml", 16 * 1024 * 1024 + 1), 0);
	expect_refused("policy.yaml", -EINVAL,
		       "policy.yaml: error: too large: a policy and all it includes may have 16 "
		       "MiB\n");
}

Test(policy_errors, too_many_values)
{
	struct buffer all = {0};

	append(&all, "classes: [", 10);
	all.data = realloc(all.data, 4100000);
	cr_assert_not_null(all.data);
	for (int i = 0; i < 2000000; i++)
		memcpy(all.data + all.size + 2 * i, "a,", 2);
	policy_write("policy.yaml", all.data, all.size + 4000000);
	expect_refused("policy.yaml", -EINVAL,
		       "policy.yaml:1:4000005: error: too large: a policy may have 2000000 "
		       "values\n");
	clear(&all);
}

Test(policy_errors, too_many_files)
{
	static const char main_file[] = "version: 1\nclasses: [a]\nvendors: {crm: }\n"
					"include: many/*\n";
	char path[32];

	policy_write("policy.yaml", main_file, sizeof(main_file) - 1);
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "many/%04d.yaml", i);
		policy_write(path, "tenants:\n", 9);
	}
	expect_refused("policy.yaml", -EINVAL, "policy.yaml:4:10: error: more than 1000 files\n");
}

/* A plan of 3,000 limits for 700 tenants that each differ in one of them: 2.1 million numbers. */
Test(policy_errors, too_many_numbers)
{
	struct buffer all = {0};
	char line[128];

	append(&all, "version: 1\nclasses: [a]\nvendors:\n", 33);
	for (int i = 0; i < 3000; i++)
		append(&all, line,
		       (size_t)snprintf(
			       line, sizeof(line),
			       "  v%d: {limits: [{name: x, rate: 1/s, scope: [tenant]}]}\n", i));
	append(&all, "plans:\n  p:\n", 12);
	for (int i = 0; i < 3000; i++)
		append(&all, line,
		       (size_t)snprintf(line, sizeof(line), "    v%d: {x: {rate: 2/s}}\n", i));
	append(&all, "tenants:\n", 9);
	for (int i = 0; i < 700; i++)
		append(&all, line,
		       (size_t)snprintf(line, sizeof(line),
					"  t%03d: {plan: p, v%d: {x: {rate: 3/s}}}\n", i, i));
	policy_write("policy.yaml", all.data, all.size);
	expect_refused(
		"policy.yaml", -EINVAL,
		"policy.yaml:6673:3: error: too large: tenants that have a plan and numbers of "
		"their own may come to 2000000 numbers\n");
	clear(&all);
}

/* Only so many messages: the first thousand, and how many there were. */
Test(policy_errors, too_many_messages)
{
	struct buffer all = {0};
	struct policy policy;
	char *text, line[32];
	const char *last;

	for (int i = 0; i < 1500; i++)
		append(&all, line, (size_t)snprintf(line, sizeof(line), "key%d: 1\n", i));
	policy_write("policy.yaml", all.data, all.size);
	cr_assert_eq(policy_compile_text("policy.yaml", &policy, &text), -EINVAL);
	last = strrchr(text, '\n');
	while (last > text && last[-1] != '\n')
		last--;
	cr_expect_str_eq(last, "policy.yaml: error: and 502 more, not shown\n", "%s", last);
	free(text);
	clear(&all);
}

/* Depth cannot make the YAML scanner slow: what is refused is refused early. */
Test(policy_errors, deep_nesting)
{
	static char deep[1000000];

	memset(deep, '[', sizeof(deep));
	policy_write("policy.yaml", deep, sizeof(deep));
	expect_refused("policy.yaml", -EINVAL,
		       "policy.yaml:1:33: error: nested deeper than 32 levels\n");
}

/* Anything at all: no crash, no leak, and a clear refusal. Flips of a good policy reach further than noise. */
Test(policy_errors, garbage)
{
	static const char good[] =
		"version: 1\nclasses: [a, b]\ndefaults: {delay: 5ms, margin: 0%}\nvendors:\n"
		"  crm:\n    limits:\n      - {name: x, rate: 1k/min, burst: 5, scope: [tenant]}\n"
		"plans: {gold: {crm: {x: {rate: 7/s}}}}\ntenants: {acme: {plan: gold}}\n";
	static const char bytes[] = "\0\n\t :-[]{}#,&*!|>%@'\"a0\x7f\x80\xff";
	char bad[sizeof(good)];
	unsigned seed = 20261122, refused = 0;

	for (int i = 0; i < 1500; i++) {
		const int flips = 1 + rand_r(&seed) % 4;
		struct policy policy = {0};
		struct blob blob;
		char *text;
		int result;

		memcpy(bad, good, sizeof(good));
		for (int j = 0; j < flips; j++)
			bad[(size_t)rand_r(&seed) % (sizeof(good) - 1)] =
				bytes[(size_t)rand_r(&seed) % (sizeof(bytes) - 1)];
		policy_write("policy.yaml", bad, sizeof(good) - 1);
		result = policy_compile_text("policy.yaml", &policy, &text);
		if (result == 0)
			cr_assert(blob_open(policy.blob, policy.size, &blob));
		else
			cr_assert_eq(result, -EINVAL);
		cr_assert_eq(result != 0, strstr(text, ": error: ") != NULL, "%s", text);
		refused += result != 0;
		policy_free(&policy);
		free(text);
	}
	cr_assert(refused > 500 && refused < 1500, "%u", refused);
}
