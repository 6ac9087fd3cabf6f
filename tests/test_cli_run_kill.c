/*
 * tests/test_cli_run_kill.c - ration run is killed, stopped, resumed: no request is lost, none is sent twice
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sysexits.h>
#include <unistd.h>

#include "support_cli.h"
#include "support_nginx.h"

static const char server[] = "server { listen $PORT backlog=1024; keepalive_requests 100000;\n"
			     "  location /ok { return 200 'fine'; }\n"
			     "  location /slow { limit_rate 10; }\n"
			     "  location /late { limit_rate 10000; }\n"
			     "}";

/* Slow enough to be caught in the middle: 500 requests take two seconds. */
static const char paced[] =
	"version: 1\n"
	"classes: [bulk]\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: rate, rate: 250/s, burst: 20, scope: [vendor], margin: 0% }\n";

enum { N = 500 };

struct scene {
	struct test_dir dir;
	struct nginx nginx;
	char policy[128], in[128], out[128], journal[128], report[128];
};

static void scene_begin(struct scene *s)
{
	dir_make(&s->dir);
	nginx_start(&s->nginx, server);
	snprintf(s->policy, sizeof(s->policy), "%s/policy.yaml", s->dir.path);
	snprintf(s->in, sizeof(s->in), "%s/in.jsonl", s->dir.path);
	snprintf(s->out, sizeof(s->out), "%s/out.jsonl", s->dir.path);
	snprintf(s->journal, sizeof(s->journal), "%s/out.jsonl.journal", s->dir.path);
	snprintf(s->report, sizeof(s->report), "%s/report.json", s->dir.path);
	file_text(s->policy, paced);
}

static void scene_end(struct scene *s)
{
	if (s->nginx.pid)
		nginx_stop(&s->nginx);
	nginx_remove(&s->nginx);
	dir_remove(&s->dir);
}

static void write_requests(const struct scene *s, int n, const char *path)
{
	FILE *file = fopen(s->in, "w");

	cr_assert(file);
	for (int i = 0; i < n; i++)
		fprintf(file,
			"{\"id\":\"r%d\",\"tenant\":\"a\",\"vendor\":\"crm\",\"class\":\"bulk\","
			"\"url\":\"%s?r%d!\"}\n",
			i, nginx_url(&s->nginx, path), i);
	cr_assert_eq(fclose(file), 0);
}

static void start(const struct scene *s, struct cli_process *p, const char *more)
{
	cli_start(p,
		  (const char *const[]){"run", "--policy", s->policy, "--workers", "2", "--in",
					s->in, "--out", s->out, "--report", s->report, more, NULL});
	cli_close_input(p);
}

static void resume(const struct scene *s, struct cli_result *r)
{
	CLI(r, "run", "--policy", s->policy, "--workers", "2", "--in", s->in, "--out", s->out,
	    "--report", s->report, "--resume");
}

static void kill_and_wait(struct cli_process *p, int number)
{
	struct cli_result r;

	cr_assert_eq(kill(p->pid, number), 0);
	cli_wait(p, &r);
	cr_assert_eq(r.status, -number, "%d: %s", r.status, r.err);
	cli_free(&r);
}

/*
 * Each of n requests has exactly one result, and reached the server once; none or once if its fate is unknown.
 * Ends nginx, whose log is complete then. Returns how many fates are unknown.
 */
static size_t check_all(struct scene *s, int n)
{
	json_t *results = results_read(s->out);
	size_t unknown = 0;

	nginx_stop(&s->nginx);
	cr_expect_eq(json_array_size(results), (size_t)n);
	for (int i = 0; i < n; i++) {
		char id[16], uri[24];
		const char *error;
		int sent;

		snprintf(id, sizeof(id), "r%d", i);
		snprintf(uri, sizeof(uri), "?r%d!", i);
		error = json_string_value(json_object_get(result_of(results, id), "error"));
		sent = nginx_count(&s->nginx, NULL, uri);
		if (error) {
			cr_expect(strncmp(error, "fate unknown: ", 14) == 0, "%s", error);
			cr_expect_leq(sent, 1, "%s was sent %d times", id, sent);
			unknown++;
		} else {
			cr_expect_eq(sent, 1, "%s was sent %d times", id, sent);
		}
	}
	json_decref(results);
	cr_expect_not(file_exists(s->journal));
	return unknown;
}

Test(cli_run_kill, whole_run_killed_and_resumed, .timeout = 60)
{
	struct cli_process *p = malloc(sizeof(*p));
	struct cli_result r;
	struct scene s;
	json_t *report;
	size_t unknown, before;

	scene_begin(&s);
	write_requests(&s, N, "/ok");
	start(&s, p, NULL);
	wait_for_lines(s.out, 60);
	kill_and_wait(p, SIGKILL);
	cr_assert(file_exists(s.journal));
	before = file_lines(s.out);
	cr_assert_lt(before, (size_t)N);
	resume(&s, &r);
	report = json_file(s.report);
	unknown = check_all(&s, N);
	cr_expect_eq(json_at(report, "skipped") + json_at(report, "requests"), N);
	cr_expect_eq(json_at(report, "skipped"), before + unknown);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	if (unknown)
		cr_expect(strstr(r.err, "have an unknown fate\n"), "%s", r.err);
	json_decref(report);
	cli_free(&r);
	free(p);
	scene_end(&s);
}

/* Killed three times at other points, resumed each time. */
Test(cli_run_kill, killed_again_and_again, .timeout = 60)
{
	struct cli_process *p = malloc(sizeof(*p));
	struct cli_result r;
	struct scene s;

	scene_begin(&s);
	write_requests(&s, N, "/ok");
	for (int i = 1; i <= 3; i++) {
		start(&s, p, "--resume");
		wait_for_lines(s.out, (size_t)i * 100);
		kill_and_wait(p, SIGKILL);
	}
	resume(&s, &r);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	check_all(&s, N);
	cli_free(&r);
	free(p);
	scene_end(&s);
}

Test(cli_run_kill, one_worker_killed, .timeout = 60)
{
	struct cli_process *p = malloc(sizeof(*p));
	pid_t workers[8], after[8];
	struct cli_result r;
	struct scene s;
	json_t *report;
	size_t unknown;

	scene_begin(&s);
	write_requests(&s, N, "/ok");
	start(&s, p, NULL);
	wait_for_lines(s.out, 60);
	cr_assert_eq(children_of(p->pid, workers, 8), 2);
	cr_assert_eq(kill(workers[0], SIGKILL), 0);
	wait_for_lines(s.out, 300);
	cr_expect_eq(children_of(p->pid, after, 8), 2);
	cli_wait(p, &r);
	report = json_file(s.report);
	unknown = check_all(&s, N);
	cr_expect_eq(json_at(report, "workers_lost"), 1);
	cr_expect_eq(json_at(report, "fate_unknown"), unknown);
	cr_expect_eq(json_at(report, "ok"), N - unknown);
	cr_expect_eq(r.status, unknown ? 1 : EX_OK);
	cr_expect(strstr(r.err, "ration run: a worker was lost with "), "%s", r.err);
	json_decref(report);
	cli_free(&r);
	free(p);
	scene_end(&s);
}

/* What a killed worker had sent is never sent again: all of it hangs at the server when it is killed. */
Test(cli_run_kill, sent_requests_of_a_killed_worker_are_unknown, .timeout = 60)
{
	struct cli_process *p = malloc(sizeof(*p));
	struct cli_result r;
	struct scene s;
	json_t *results;
	pid_t worker;

	scene_begin(&s);
	nginx_file(&s.nginx, "slow", 100000);
	write_requests(&s, 10, "/slow");
	cli_start(p, (const char *const[]){"run", "--policy", s.policy, "--workers", "1", "--in",
					   s.in, "--out", s.out, NULL});
	wait_for_lines(s.journal, 10);
	cr_assert_eq(children_of(p->pid, &worker, 1), 1);
	cr_assert_eq(kill(worker, SIGKILL), 0);
	cli_wait(p, &r);
	cr_expect_eq(r.status, 1);
	cr_expect(strstr(r.err, "ration run: a worker was lost with 10 requests sent and 0 not\n"),
		  "%s", r.err);
	results = results_read(s.out);
	cr_expect_eq(json_array_size(results), 10);
	cr_expect_eq(results_with_error(results, "fate unknown: the worker was killed after this "
						 "request was sent"),
		     10);
	json_decref(results);
	cr_expect_not(file_exists(s.journal));
	nginx_stop(&s.nginx);
	cr_expect_leq(nginx_count(&s.nginx, NULL, "/slow?"), 10);
	cli_free(&r);
	free(p);
	scene_end(&s);
}

/* Answers take their time, so that there is always something in flight: nginx gives a second's worth at once. */
static void stop_midway(int number)
{
	struct cli_process *p = malloc(sizeof(*p));
	struct cli_result r;
	struct scene s;
	json_t *report, *results;

	scene_begin(&s);
	nginx_file(&s.nginx, "late", 13000);
	write_requests(&s, N, "/late");
	start(&s, p, NULL);
	wait_for_lines(s.out, 60);
	cr_assert_eq(kill(p->pid, number), 0);
	cli_wait(p, &r);
	cr_expect_eq(r.status, 128 + number);
	cr_expect(strstr(r.err, "ration run: stopping; "), "%s", r.err);
	report = json_file(s.report);
	results = results_read(s.out);
	cr_expect_eq(json_array_size(results), (size_t)json_at(report, "requests"));
	cr_expect_eq(json_at(report, "ok"), json_at(report, "requests"),
		     "all in flight ended well");
	cr_expect_gt(json_at(report, "not_sent"), 0);
	cr_expect_eq(json_at(report, "requests") + json_at(report, "not_sent"), N);
	cr_expect_not(file_exists(s.journal));
	json_decref(results);
	json_decref(report);
	cli_free(&r);
	resume(&s, &r);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	cr_expect_eq(check_all(&s, N), 0);
	cli_free(&r);
	free(p);
	scene_end(&s);
}

Test(cli_run_kill, sigint_stops_and_finishes, .timeout = 60)
{
	stop_midway(SIGINT);
}

Test(cli_run_kill, sigterm_stops_and_finishes, .timeout = 60)
{
	stop_midway(SIGTERM);
}

Test(cli_run_kill, a_second_signal_aborts, .timeout = 60)
{
	struct cli_process *p = malloc(sizeof(*p));
	struct cli_result r;
	struct scene s;
	json_t *results, *report;

	scene_begin(&s);
	nginx_file(&s.nginx, "slow", 100000);
	write_requests(&s, 200, "/slow");
	start(&s, p, NULL);
	wait_for_lines(s.journal, 20);
	cr_assert_eq(kill(p->pid, SIGINT), 0);
	/* In flight: a first signal waits for them. The second may only come after the first was read. */
	{
		char said[256];
		ssize_t n = read(p->err, said, sizeof(said) - 1);

		cr_assert_gt(n, 0);
		said[n] = '\0';
		cr_expect(strncmp(said, "ration run: stopping; ", 22) == 0, "%s", said);
	}
	cr_assert_eq(kill(p->pid, SIGINT), 0);
	cli_wait(p, &r);
	cr_expect_eq(r.status, 128 + SIGINT);
	results = results_read(s.out);
	report = json_file(s.report);
	cr_expect_geq(json_array_size(results), 20);
	cr_expect_eq(results_with_error(results, "fate unknown: "), json_array_size(results));
	cr_expect_eq(json_at(report, "fate_unknown"), json_array_size(results));
	cr_expect_eq(json_at(report, "fate_unknown") + json_at(report, "not_sent"), 200);
	cr_expect_not(file_exists(s.journal));
	json_decref(report);
	json_decref(results);
	cli_free(&r);
	free(p);
	scene_end(&s);
}

/* --- what a kill can leave behind, by hand --- */

#define DONE(id) "{\"id\":\"" id "\",\"status\":200,\"error\":null}\n"

static void leave_behind(const struct scene *s, const char *out, const char *journal)
{
	write_requests(s, 4, "/ok");
	file_text(s->out, out);
	if (journal)
		file_text(s->journal, journal);
}

Test(cli_run_kill, half_a_line_is_cut_off)
{
	struct cli_result r;
	struct scene s;
	json_t *results;

	scene_begin(&s);
	leave_behind(&s, DONE("r0") DONE("r1") "{\"id\":\"r2\",\"sta", "\"r0\"\n\"r1\"\n\"r2\"\n");
	resume(&s, &r);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	results = results_read(s.out);
	cr_expect_eq(json_array_size(results), 4);
	cr_expect_str_eq(json_string_value(json_object_get(result_of(results, "r2"), "error")),
			 "fate unknown: the run was killed after this request was sent");
	cr_expect_eq(json_at(result_of(results, "r3"), "status"), 200);
	json_decref(results);
	cr_expect_not(file_exists(s.journal));
	nginx_stop(&s.nginx);
	cr_expect_eq(nginx_count(&s.nginx, NULL, "/ok?"), 1);
	cli_free(&r);
	scene_end(&s);
}

/* Only its end is missing: the result stands. Half a line of the journal was written before its request. */
Test(cli_run_kill, a_whole_line_without_its_end_is_kept)
{
	struct cli_result r;
	struct scene s;
	json_t *results;

	scene_begin(&s);
	leave_behind(&s, DONE("r0") "{\"id\":\"r1\",\"status\":200,\"error\":null}",
		     "\"r0\"\n\"r1\"\n\"r2");
	resume(&s, &r);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	results = results_read(s.out);
	cr_expect_eq(json_array_size(results), 4);
	cr_expect_eq(results_with_error(results, ""), 0);
	json_decref(results);
	nginx_stop(&s.nginx);
	cr_expect_eq(nginx_count(&s.nginx, NULL, "/ok?"), 2);
	cli_free(&r);
	scene_end(&s);
}

Test(cli_run_kill, an_output_that_is_none_is_left_alone)
{
	static const char content[] = DONE("r0") "my diary\n" DONE("r1");
	struct cli_result r;
	struct scene s;
	char err[256], *text;

	scene_begin(&s);
	leave_behind(&s, content, NULL);
	resume(&s, &r);
	snprintf(err, sizeof(err), "ration run: %s:2: not a result of ration run; left as it is\n",
		 s.out);
	cli_expect(&r, EX_DATAERR, "", err);
	text = file_read(s.out, NULL);
	cr_expect_str_eq(text, content);
	free(text);
	cr_expect_not(file_exists(s.journal));
	cli_free(&r);
	scene_end(&s);
}

Test(cli_run_kill, nothing_is_overwritten)
{
	struct cli_result r;
	struct scene s;
	char err[512], *text;

	scene_begin(&s);
	leave_behind(&s, DONE("r0"), NULL);
	CLI(&r, "run", "--policy", s.policy, "--in", s.in, "--out", s.out);
	snprintf(err, sizeof(err),
		 "ration run: %s exists: continue it with --resume, or remove it\n", s.out);
	cli_expect(&r, EX_CANTCREAT, "", err);
	text = file_read(s.out, NULL);
	cr_expect_str_eq(text, DONE("r0"));
	free(text);
	cr_expect_not(file_exists(s.journal));
	cli_free(&r);

	leave_behind(&s, "", "\"r0\"\n");
	CLI(&r, "run", "--policy", s.policy, "--in", s.in, "--out", s.out);
	snprintf(err, sizeof(err),
		 "ration run: %s is left of a run that was killed: continue it with --resume, or "
		 "remove it\n",
		 s.journal);
	cli_expect(&r, EX_CANTCREAT, "", err);
	cr_expect_eq(file_lines(s.journal), 1);
	cli_free(&r);
	nginx_stop(&s.nginx);
	cr_expect_eq(nginx_count(&s.nginx, NULL, "/ok?"), 0);
	scene_end(&s);
}

/* Lines without a usable id are told once, by their number. */
Test(cli_run_kill, unreadable_lines_are_not_told_again)
{
	struct cli_result r;
	struct scene s;

	scene_begin(&s);
	file_text(s.in, "junk\n{\"url\":\"x\"}\n{\"id\":1,\"url\":\"ftp://x\",\"vendor\":\"crm\","
			"\"class\":\"bulk\"}\n");
	for (int i = 0; i < 2; i++) {
		resume(&s, &r);
		cr_expect_eq(r.status, i ? EX_OK : 1, "%s", r.err);
		cr_expect_eq(file_lines(s.out), 3);
		cli_free(&r);
	}
	scene_end(&s);
}

Test(cli_run_kill, two_runs_do_not_write_one_file, .timeout = 60)
{
	struct cli_result r;
	struct scene s;
	char err[256];
	int fd;

	scene_begin(&s);
	write_requests(&s, 4, "/ok");
	fd = open(s.journal, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
	resume(&s, &r);
	snprintf(err, sizeof(err), "ration run: another run is writing %s\n", s.out);
	cli_expect(&r, EX_TEMPFAIL, "", err);
	cr_expect(file_exists(s.journal));
	close(fd);
	cli_free(&r);
	scene_end(&s);
}
