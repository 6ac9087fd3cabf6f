/*
 * tests/support_cli.h - run the real `ration` and see what it says
 * SPDX-License-Identifier: MIT
 *
 * Every wait is bounded; what takes longer is killed and fails the test. A killed test takes its programs with it.
 */
#ifndef RATION_TESTS_SUPPORT_CLI_H
#define RATION_TESTS_SUPPORT_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

/* A directory for a test's files; dir_path() is static memory, eight at a time. */
struct test_dir {
	char path[64];
};
void dir_make(struct test_dir *dir);
void dir_remove(struct test_dir *dir);
const char *dir_path(const struct test_dir *dir, const char *name);
/* Write and read whole files; what is read is malloc'd and terminated. */
void file_write(const char *path, const void *data, size_t size);
void file_text(const char *path, const char *text);
char *file_read(const char *path, size_t *ret_size);
bool file_exists(const char *path);
/* Lines in a file; 0 if there is none. */
size_t file_lines(const char *path);

/* How a program ended and what it said. */
struct cli_result {
	int status; /* exit status, or -signal */
	char *out;  /* terminated */
	size_t out_size;
	char *err;
	size_t err_size;
};

/* `ration` with arguments ("run", ..., NULL) and standard input. input NULL: none. */
void cli_run(struct cli_result *ret, const char *input, size_t size, const char *const args[]);
/* Any program. */
void cli_run_program(struct cli_result *ret, const char *program, const char *input, size_t size,
		     const char *const args[]);
void cli_free(struct cli_result *result);

/* Arguments in place, no input: CLI(&r, "run", "--in", path) */
#define CLI(result, ...) cli_run(result, NULL, 0, (const char *const[]){__VA_ARGS__, NULL})

/* It must end with this status, and say exactly this. NULL: whatever. */
void cli_expect(const struct cli_result *result, int status, const char *out, const char *err);

/* --- a program that goes on running --- */

struct cli_process {
	pid_t pid;
	int in;  /* to its standard input; -1: closed */
	int out; /* from its standard output */
	int err;
	char line[65536];
	size_t line_size; /* bytes read and not returned */
};

void cli_start(struct cli_process *p, const char *const args[]);
void cli_write(struct cli_process *p, const char *text);
/* The next line of its standard output, without its end; NULL at the end. Valid until the next call. */
const char *cli_read_line(struct cli_process *p);
void cli_close_input(struct cli_process *p);
/* Wait for its end: what is left of its output goes into ret. */
void cli_wait(struct cli_process *p, struct cli_result *ret);

/* Wait until a file has so many lines. */
void wait_for_lines(const char *path, size_t n);
/* The child processes of a process, at most `max`; returns how many. */
size_t children_of(pid_t pid, pid_t *ret, size_t max);

/* --- results of `ration run` --- */

/* Every line must be one JSON object. An array of them. */
json_t *results_read(const char *path);
json_t *results_parse(const char *text, size_t size);
/* The one result of an id; it must be there exactly once. Borrowed. */
json_t *result_of(const json_t *results, const char *id);
/* How many have an error that begins so. "": any error. */
size_t results_with_error(const json_t *results, const char *prefix);

json_t *json_file(const char *path);
/* A number at a path such as "wait_ms.p50"; fails if it is none. */
double json_at(const json_t *root, const char *path);

#endif
