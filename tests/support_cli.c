/*
 * tests/support_cli.c - run the real `ration` and see what it says
 * SPDX-License-Identifier: MIT
 */
#include "support_cli.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_rationd.h"

enum { PATIENCE_MS = 20000 };

/* --- files --- */

void dir_make(struct test_dir *dir)
{
	snprintf(dir->path, sizeof(dir->path), "/tmp/ration-test-XXXXXX");
	cr_assert(mkdtemp(dir->path), "mkdtemp: %s", strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void dir_remove(struct test_dir *dir)
{
	cr_assert(nftw(dir->path, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

const char *dir_path(const struct test_dir *dir, const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir->path, name);
	return path;
}

void file_write(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "w");

	cr_assert(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, "%s: %s", path,
		  strerror(errno));
}

void file_text(const char *path, const char *text)
{
	file_write(path, text, strlen(text));
}

char *file_read(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "r");
	size_t size = 0, room = 4096, n;
	char *text = malloc(room + 1);

	cr_assert(file && text, "%s: %s", path, strerror(errno));
	while ((n = fread(text + size, 1, room - size, file)) > 0) {
		size += n;
		if (size == room) {
			room *= 2;
			text = realloc(text, room + 1);
			cr_assert(text);
		}
	}
	fclose(file);
	text[size] = '\0';
	if (ret_size)
		*ret_size = size;
	return text;
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

size_t file_lines(const char *path)
{
	size_t size, n = 0;
	char *text;

	if (!file_exists(path))
		return 0;
	text = file_read(path, &size);
	for (size_t i = 0; i < size; i++)
		n += text[i] == '\n';
	free(text);
	return n;
}

/* --- programs --- */

static void become(const char *program, const char *const args[], const int fds[3])
{
	const char *argv[64] = {program};
	int n = 1;

	for (; args && *args && n < 63; args++)
		argv[n++] = *args;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(127);
	execvp(program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void start(struct cli_process *p, const char *program, const char *const args[])
{
	int in[2], out[2], err[2];

	memset(p, 0, sizeof(*p));
	cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
		  pipe2(err, O_CLOEXEC) == 0);
	signal(SIGPIPE, SIG_IGN);
	p->pid = fork();
	cr_assert(p->pid >= 0);
	if (p->pid == 0)
		become(program, args, (int[]){in[0], out[1], err[1]});
	close(in[0]);
	close(out[1]);
	close(err[1]);
	p->in = in[1];
	p->out = out[0];
	p->err = err[0];
}

void cli_start(struct cli_process *p, const char *const args[])
{
	start(p, rationd_program("ration"), args);
}

void cli_close_input(struct cli_process *p)
{
	if (p->in >= 0)
		close(p->in);
	p->in = -1;
}

void cli_write(struct cli_process *p, const char *text)
{
	const size_t size = strlen(text);

	cr_assert(write(p->in, text, size) == (ssize_t)size, "write: %s", strerror(errno));
}

const char *cli_read_line(struct cli_process *p)
{
	static char line[sizeof(p->line)];
	struct pollfd fd = {.fd = p->out, .events = POLLIN};
	char *end;

	while (!(end = memchr(p->line, '\n', p->line_size))) {
		ssize_t n;

		cr_assert(poll(&fd, 1, PATIENCE_MS) == 1, "no line came");
		n = read(p->out, p->line + p->line_size, sizeof(p->line) - p->line_size);
		cr_assert(n >= 0);
		if (n == 0)
			return NULL;
		p->line_size += (size_t)n;
	}
	memcpy(line, p->line, (size_t)(end - p->line));
	line[end - p->line] = '\0';
	p->line_size -= (size_t)(end - p->line) + 1;
	memmove(p->line, end + 1, p->line_size);
	return line;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Reads what there is; false at the end. */
static bool drain(int fd, char **text, size_t *size)
{
	ssize_t n;

	*text = realloc(*text, *size + 65536 + 1);
	cr_assert(*text);
	n = read(fd, *text + *size, 65536);
	if (n > 0)
		*size += (size_t)n;
	(*text)[*size] = '\0';
	return n > 0;
}

/* Feed and listen until both outputs have ended. */
static void converse(struct cli_process *p, const char *input, size_t size, struct cli_result *ret)
{
	const long long deadline = now_ms() + PATIENCE_MS;
	struct pollfd fds[3] = {{p->in, POLLOUT, 0}, {p->out, POLLIN, 0}, {p->err, POLLIN, 0}};

	while (fds[1].fd >= 0 || fds[2].fd >= 0) {
		if (size == 0 || p->in < 0) {
			fds[0].fd = -1;
			if (input)
				cli_close_input(p);
		}
		if (poll(fds, 3, (int)(deadline - now_ms())) <= 0 || now_ms() > deadline) {
			kill(p->pid, SIGKILL);
			cr_assert_fail("the program did not end; stderr so far: %s", ret->err);
		}
		if (fds[0].fd >= 0 && fds[0].revents) {
			ssize_t n = write(p->in, input, size < 4096 ? size : 4096);

			if (n < 0)
				size = 0;
			input += n > 0 ? n : 0;
			size -= n > 0 ? (size_t)n : 0;
		}
		if (fds[1].revents && !drain(p->out, &ret->out, &ret->out_size))
			fds[1].fd = -1;
		if (fds[2].revents && !drain(p->err, &ret->err, &ret->err_size))
			fds[2].fd = -1;
	}
}

static void finish(struct cli_process *p, struct cli_result *ret)
{
	cli_close_input(p);
	close(p->out);
	close(p->err);
	ret->status = wait_child(p->pid);
	cr_assert(!strstr(ret->err, "Sanitizer") && !strstr(ret->err, "runtime error"), "%s",
		  ret->err);
}

void cli_wait(struct cli_process *p, struct cli_result *ret)
{
	*ret = (struct cli_result){0};
	converse(p, NULL, 0, ret);
	finish(p, ret);
}

void cli_run_program(struct cli_result *ret, const char *program, const char *input, size_t size,
		     const char *const args[])
{
	struct cli_process *p = malloc(sizeof(*p));

	cr_assert(p);
	*ret = (struct cli_result){0};
	start(p, program, args);
	converse(p, input ? input : "", size, ret);
	finish(p, ret);
	free(p);
}

void cli_run(struct cli_result *ret, const char *input, size_t size, const char *const args[])
{
	cli_run_program(ret, rationd_program("ration"), input, size, args);
}

void cli_free(struct cli_result *result)
{
	free(result->out);
	free(result->err);
	*result = (struct cli_result){0};
}

void cli_expect(const struct cli_result *result, int status, const char *out, const char *err)
{
	cr_expect_eq(result->status, status, "status %d, wanted %d; stderr: %s", result->status,
		     status, result->err);
	if (out)
		cr_expect_str_eq(result->out, out, "stdout:\n%s\nwanted:\n%s", result->out, out);
	if (err)
		cr_expect_str_eq(result->err, err, "stderr:\n%s\nwanted:\n%s", result->err, err);
}

void wait_for_lines(const char *path, size_t n)
{
	const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
	const long long deadline = now_ms() + PATIENCE_MS;

	while (file_lines(path) < n) {
		cr_assert(now_ms() < deadline, "%s has %zu lines, not %zu", path, file_lines(path),
			  n);
		nanosleep(&pause, NULL);
	}
}

size_t children_of(pid_t pid, pid_t *ret, size_t max)
{
	char path[64], *list, *next;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	list = file_read(path, NULL);
	next = list;
	while (n < max) {
		char *end;
		long child = strtol(next, &end, 10);

		if (end == next)
			break;
		ret[n++] = (pid_t)child;
		next = end;
	}
	free(list);
	return n;
}

/* --- results --- */

json_t *results_parse(const char *text, size_t size)
{
	json_t *list = json_array();
	size_t at = 0;

	while (at < size) {
		const char *end = memchr(text + at, '\n', size - at);
		json_error_t error;
		json_t *line;

		cr_assert(end, "the last line has no end: %.200s", text + at);
		line = json_loadb(text + at, (size_t)(end - text) - at, JSON_REJECT_DUPLICATES,
				  &error);
		cr_assert(json_is_object(line), "no JSON object (%s): %.200s", error.text,
			  text + at);
		json_array_append_new(list, line);
		at = (size_t)(end - text) + 1;
	}
	return list;
}

json_t *results_read(const char *path)
{
	size_t size;
	char *text = file_read(path, &size);
	json_t *list = results_parse(text, size);

	free(text);
	return list;
}

json_t *result_of(const json_t *results, const char *id)
{
	json_t *found = NULL;

	for (size_t i = 0; i < json_array_size(results); i++) {
		json_t *result = json_array_get(results, i);
		const char *its = json_string_value(json_object_get(result, "id"));

		if (!its || strcmp(its, id) != 0)
			continue;
		cr_assert_null(found, "%s has two results", id);
		found = result;
	}
	cr_assert(found, "%s has no result", id);
	return found;
}

size_t results_with_error(const json_t *results, const char *prefix)
{
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(results); i++) {
		const char *error =
			json_string_value(json_object_get(json_array_get(results, i), "error"));

		n += error && strncmp(error, prefix, strlen(prefix)) == 0;
	}
	return n;
}

json_t *json_file(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error);

	cr_assert(root, "%s: %s", path, error.text);
	return root;
}

double json_at(const json_t *root, const char *path)
{
	char copy[128], *rest = copy, *name;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((name = strsep(&rest, ".")))
		root = json_object_get(root, name);
	cr_assert(json_is_number(root), "%s is no number", path);
	return json_number_value(root);
}
