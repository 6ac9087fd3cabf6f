/*
 * tests/support_policy.c - policy files in a directory of their own
 * SPDX-License-Identifier: MIT
 */
#include "support_policy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
static int __lsan_do_recoverable_leak_check(void)
{
	return 0;
}
#endif

static char top[PATH_MAX];
static char directory[] = "/tmp/ration-policy-XXXXXX";

void policy_dir_enter(void)
{
	cr_assert_not_null(getcwd(top, sizeof(top)));
	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(chdir(directory), 0);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* A failed assertion in a teardown does not count as a failure; only a crash makes the program fail. */
void policy_dir_leave(void)
{
	bool bad = chdir(top) != 0 || nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0;

	bad |= __lsan_do_recoverable_leak_check() != 0;
	if (!bad)
		return;
	fputs("teardown: memory was leaked, or the directory could not be removed\n", stderr);
	abort();
}

const char *policy_dir_top(void)
{
	return top;
}

void policy_write(const char *path, const void *data, size_t size)
{
	char part[PATH_MAX];
	FILE *file;

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		cr_assert(part[0] == '\0' || mkdir(part, 0755) == 0 || errno == EEXIST);
	}
	file = fopen(path, "wb");
	cr_assert_not_null(file, "%s", path);
	cr_assert_eq(fwrite(data, 1, size, file), size);
	cr_assert_eq(fclose(file), 0);
}

void policy_text_add(void *user, const struct policy_message *m)
{
	struct policy_text *all = user;
	char place[32] = "";
	char *line;
	int size;

	if (m->line > 0)
		snprintf(place, sizeof(place), ":%u:%u", m->line, m->column);
	size = asprintf(&line, "%s%s: %s: %s\n", m->file, place,
			m->severity == POLICY_ERROR ? "error" : "warning", m->text);
	cr_assert_geq(size, 0);
	all->text = realloc(all->text, all->size + (size_t)size + 1);
	cr_assert_not_null(all->text);
	memcpy(all->text + all->size, line, (size_t)size + 1);
	all->size += (size_t)size;
	free(line);
}

int policy_compile_text(const char *path, struct policy *ret_policy, char **ret_text)
{
	static const uint64_t key[2] = {3, 4};
	struct policy_text all = {.text = strdup("")};
	const int result = policy_compile(path, 7, key, policy_text_add, &all, ret_policy);

	*ret_text = all.text;
	return result;
}

void policy_make(const char *body, struct policy *ret_policy, struct blob *ret_blob)
{
	char *file, *text;
	const int size = asprintf(&file, "version: 1\nclasses: [a]\n%s", body);

	cr_assert_geq(size, 0);
	policy_write("policy.yaml", file, (size_t)size);
	cr_assert_eq(policy_compile_text("policy.yaml", ret_policy, &text), 0, "%s", text);
	cr_assert(blob_open(ret_policy->blob, ret_policy->size, ret_blob));
	free(file);
	free(text);
}
