/*
 * tests/test_cli_run.c - ration run against a real nginx: results, report, limits, bad input, secrets
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "support_cli.h"
#include "support_nginx.h"
#include "support_rationd.h"

static const char server[] = "server { listen $PORT backlog=1024; keepalive_requests 100000;\n"
			     "  location /ok { return 200 'fine'; }\n"
			     "  location /limited { return 429; }\n"
			     "  location /bad { return 500; }\n"
			     "  location /slow { limit_rate 100; }\n"
			     "  location /later { if (-f $DIR/open) { return 200 'fine'; }\n"
			     "    return 429; }\n"
			     "}";

/*
 * As good as no limit; and 20 requests, then an hour's pause: of 21, what could arrive late is taken off. A permit stays
 * good however slow this machine is.
 */
static const char wide[] = "version: 1\n"
			   "classes: [interactive, bulk]\n"
			   "defaults: { delay: 0ms }\n"
			   "vendors:\n"
			   "  crm:\n"
			   "    limits:\n"
			   "      - { name: rate, rate: 100000/s, burst: 1000, scope: [tenant, "
			   "vendor], margin: 0% }\n";
static const char tight[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 10s }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 21, scope: [tenant, vendor], margin: 0% }\n";

struct scene {
	struct test_dir dir;
	struct nginx nginx;
	const char *policy;
	const char *in;
	const char *out;
	const char *report;
};

static void scene_begin(struct scene *s, const char *policy)
{
	dir_make(&s->dir);
	nginx_start(&s->nginx, server);
	s->policy = strdup(dir_path(&s->dir, "policy.yaml"));
	s->in = strdup(dir_path(&s->dir, "in.jsonl"));
	s->out = strdup(dir_path(&s->dir, "out.jsonl"));
	s->report = strdup(dir_path(&s->dir, "report.json"));
	file_text(s->policy, policy);
}

static void scene_end(struct scene *s)
{
	if (s->nginx.pid)
		nginx_stop(&s->nginx);
	nginx_remove(&s->nginx);
	dir_remove(&s->dir);
	free((void *)(uintptr_t)s->policy);
	free((void *)(uintptr_t)s->in);
	free((void *)(uintptr_t)s->out);
	free((void *)(uintptr_t)s->report);
}

/* Requests of n ids, over tenants a, b, c and both classes, to what `path` names. more: further fields. */
static void write_requests(const struct scene *s, int n, const char *path, const char *more)
{
	FILE *file = fopen(s->in, "w");

	cr_assert(file);
	for (int i = 0; i < n; i++)
		fprintf(file,
			"{\"id\":\"r%d\",\"tenant\":\"%c\",\"vendor\":\"crm\",\"class\":\"%s\","
			"\"url\":\"%s?%d\"%s}\n",
			i, 'a' + i % 3, i % 2 ? "bulk" : "interactive", nginx_url(&s->nginx, path),
			i, more);
	cr_assert_eq(fclose(file), 0);
}

#define RUN(s, result, ...)                                                                        \
	CLI(result, "run", "--workers", "2", "--in", (s)->in, "--out", (s)->out, "--report",       \
	    (s)->report, __VA_ARGS__)

static double tally_sum(const json_t *tally)
{
	return json_at(tally, "ok") + json_at(tally, "limited") + json_at(tally, "denied") +
	       json_at(tally, "failed") + json_at(tally, "fate_unknown");
}

/* The fields of a report agree with each other. */
static void check_report(const json_t *report)
{
	static const char *const groups[] = {"by_tenant", "by_class"};
	static const char *const times[] = {"wait_ms", "latency_ms", "acquire_ns"};
	static const char *const points[] = {"p50", "p90", "p99", "p999", "max"};

	cr_expect_eq(tally_sum(report), json_at(report, "requests"));
	for (int g = 0; g < 2; g++) {
		json_t *group = json_object_get(report, groups[g]);
		double requests = 0;

		for (void *i = json_object_iter(group); i; i = json_object_iter_next(group, i)) {
			const json_t *tally = json_object_iter_value(i);

			cr_expect_eq(tally_sum(tally), json_at(tally, "requests"));
			requests += json_at(tally, "requests");
		}
		cr_expect_eq(requests, json_at(report, "requests") - json_at(report, "unreadable") -
					       json_at(report, "duplicates"));
	}
	for (int t = 0; t < 3; t++) {
		double before = 0;

		for (int p = 0; p < 5; p++) {
			const double now = json_at(json_object_get(report, times[t]), points[p]);

			cr_expect_geq(now, before, "%s.%s", times[t], points[p]);
			before = now;
		}
	}
	cr_expect_gt(json_at(report, "duration_s"), 0);
}

Test(cli_run, every_request_gets_one_result)
{
	struct scene s;
	struct cli_result r;
	json_t *results, *report;
	char id[16];

	scene_begin(&s, wide);
	write_requests(&s, 3000, "/ok", "");
	RUN(&s, &r, "--policy", s.policy);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	cr_expect_str_eq(r.out, "");
	cr_expect(strncmp(r.err, "3000 requests: 3000 ok, 0 limited, 0 denied, 0 failed; ", 55) ==
			  0,
		  "%s", r.err);
	results = results_read(s.out);
	cr_assert_eq(json_array_size(results), 3000);
	for (int i = 0; i < 3000; i += 7) {
		const json_t *result;

		snprintf(id, sizeof(id), "r%d", i);
		result = result_of(results, id);
		cr_assert_eq(json_at(result, "status"), 200);
		cr_assert_eq(json_at(result, "attempts"), 1);
		cr_assert_geq(json_at(result, "wait_ms"), 0);
		cr_assert_gt(json_at(result, "latency_ms"), 0);
		cr_assert(json_is_null(json_object_get(result, "error")));
	}
	report = json_file(s.report);
	check_report(report);
	cr_expect_eq(json_at(report, "ok"), 3000);
	cr_expect_eq(json_at(report, "by_tenant.a.ok"), 1000);
	cr_expect_eq(json_at(report, "by_class.bulk.ok"), 1500);
	cr_expect_eq(json_at(json_object_get(json_object_get(report, "by_limit"), "crm/rate"),
			     "admitted"),
		     3000);
	cr_expect_gt(json_at(report, "rate_per_s"), 0);
	cr_expect_gt(json_at(report, "acquire_ns.p50"), 0);
	cr_expect_not(file_exists(dir_path(&s.dir, "out.jsonl.journal")));
	nginx_stop(&s.nginx);
	cr_expect_eq(nginx_count(&s.nginx, NULL, " 200 GET /ok?"), 3000);
	json_decref(report);
	json_decref(results);
	cli_free(&r);
	scene_end(&s);
}

Test(cli_run, every_kind_of_outcome)
{
	struct scene s;
	struct cli_result r;
	json_t *results, *report;
	FILE *file;

	scene_begin(&s, tight);
	nginx_file(&s.nginx, "slow", 100000);
	file = fopen(s.in, "w");
#define LINE(id, path, more)                                                                       \
	fprintf(file,                                                                              \
		"{\"id\":\"" id "\",\"tenant\":\"t-" id                                            \
		"\",\"vendor\":\"crm\",\"class\":\"bulk\",\"url\":\"%s\"" more "}\n",              \
		nginx_url(&s.nginx, path))
	LINE("ok", "/ok", "");
	LINE("limited", "/limited", "");
	LINE("bad", "/bad", "");
	LINE("gone", "/nothing", "");
	LINE("slow", "/slow", ",\"timeout_ms\":300");
	LINE("late", "/ok", ",\"cost\":{\"requests\":20}");
	LINE("post", "/ok", ",\"method\":\"POST\",\"body\":\"x\",\"headers\":{\"X-A\":\"b\"}");
	LINE("huge", "/ok", ",\"cost\":{\"requests\":21}");
	LINE("nourl", "/ok", "");
#undef LINE
	fprintf(file,
		"{\"id\":\"later\",\"tenant\":\"t-late\",\"vendor\":\"crm\",\"class\":\"bulk\","
		"\"url\":\"http://127.0.0.1:1/\",\"deadline_ms\":60000}\n");
	fprintf(file, "{\"id\":\"refused\",\"vendor\":\"crm\",\"class\":\"bulk\","
		      "\"url\":\"http://127.0.0.1:1/\"}\n");
	fprintf(file,
		"{\"id\":\"ftp\",\"vendor\":\"crm\",\"class\":\"bulk\",\"url\":\"ftp://h/\"}\n");
	fprintf(file,
		"{\"id\":\"vendor\",\"vendor\":\"x\",\"class\":\"bulk\",\"url\":\"http://h/\"}\n");
	fprintf(file,
		"{\"id\":\"class\",\"vendor\":\"crm\",\"class\":\"x\",\"url\":\"http://h/\"}\n");
	cr_assert_eq(fclose(file), 0);
	CLI(&r, "run", "--workers", "1", "--in", s.in, "--out", s.out, "--report", s.report,
	    "--policy", s.policy);
	cr_expect_eq(r.status, 1);
	results = results_read(s.out);
	cr_assert_eq(json_array_size(results), 14);
	cr_expect_eq(json_at(result_of(results, "ok"), "status"), 200);
	cr_expect_eq(json_at(result_of(results, "post"), "status"), 200);
	cr_expect_eq(json_at(result_of(results, "limited"), "status"), 429);
	cr_expect_eq(json_at(result_of(results, "bad"), "status"), 500);
	cr_expect_eq(json_at(result_of(results, "gone"), "status"), 404);
#define ERROR(id) json_string_value(json_object_get(result_of(results, id), "error"))
	cr_expect(strncmp(ERROR("slow"), "fate unknown: ", 14) == 0, "%s", ERROR("slow"));
	cr_expect_str_eq(
		ERROR("huge"),
		"denied: crm/rate (tenant t-huge): 20 of 20 left, needs 21; can never fit");
	cr_expect(strncmp(ERROR("later"),
			  "denied: crm/rate (tenant t-late): 0 of 20 left, needs 1; retry in ",
			  66) == 0,
		  "%s", ERROR("later"));
	cr_expect_str_eq(json_string_value(json_object_get(result_of(results, "later"), "limit")),
			 "crm/rate");
	cr_expect_eq(json_at(result_of(results, "later"), "attempts"), 0);
	cr_expect(ERROR("refused"));
	cr_expect_str_eq(ERROR("ftp"), "not a request that can be sent (url, method or headers)");
	cr_expect_str_eq(ERROR("vendor"), "no vendor 'x' in the policy; known are: crm");
	cr_expect_str_eq(ERROR("class"),
			 "no class 'x' in the policy; known are: interactive, bulk");
#undef ERROR
	report = json_file(s.report);
	check_report(report);
	cr_expect_eq(json_at(report, "requests"), 14);
	cr_expect_eq(json_at(report, "ok"), 4);
	cr_expect_eq(json_at(report, "limited"), 1);
	cr_expect_eq(json_at(report, "denied"), 2);
	cr_expect_eq(json_at(report, "fate_unknown"), 1);
	cr_expect_eq(json_at(report, "failed"), 6);
	cr_expect_eq(json_at(report, "by_class.bulk.requests"), 13);
	json_decref(report);
	json_decref(results);
	cli_free(&r);
	scene_end(&s);
}

/* --- who shares what: 40 requests of one tenant, 20 to be had within the hour --- */

static void run_forty(const char *policy_option, const char *more, double ok, double denied,
		      const char *socket)
{
	struct scene s;
	struct cli_result r;
	json_t *report;

	scene_begin(&s, tight);
	write_requests(&s, 120, "/ok", ",\"deadline_ms\":5000");
	RUN(&s, &r, policy_option, socket ? socket : s.policy, more);
	report = json_file(s.report);
	check_report(report);
	cr_expect_eq(json_at(report, "by_tenant.a.ok"), ok, "%g",
		     json_at(report, "by_tenant.a.ok"));
	cr_expect_eq(json_at(report, "denied"), 3 * denied);
	cr_expect_float_eq(json_at(report, "quota_used"), ok / 21, 0.01);
	cr_expect_eq(json_at(json_object_get(json_object_get(report, "by_limit"), "crm/rate"),
			     "buckets"),
		     3);
	cr_expect_eq(r.status, denied > 0 ? 1 : EX_OK);
	json_decref(report);
	cli_free(&r);
	scene_end(&s);
}

static void write_routed(const struct scene *s, int n)
{
	FILE *file = fopen(s->in, "w");

	cr_assert(file);
	for (int i = 0; i < n; i++) {
		fprintf(file, "{\"id\":%d,\"vendor\":\"best\",\"class\":\"bulk\",\"url\":\"%s\",",
			i, nginx_url(&s->nginx, "/ok?few"));
		fprintf(file, "\"alternatives\":{\"few\":{},\"many/x\":{\"url\":\"%s\"}}}\n",
			nginx_url(&s->nginx, "/ok?many"));
	}
	cr_assert_eq(fclose(file), 0);
}

/* Twenty fit into the first, all else goes to the other; each counts where it went. */
Test(cli_run, a_route_is_counted_where_it_went)
{
	enum { N = 200 };
	struct cli_result r;
	struct scene s;
	json_t *report;
	double few, many;

	scene_begin(
		&s,
		"version: 1\nclasses: [bulk]\ndefaults: { delay: 10s, margin: 0% }\n"
		"vendors:\n"
		"  few: { limits: [{ name: rate, rate: 1/h, burst: 21, scope: [vendor] }] }\n"
		"  many: { limits: [{ name: rate, rate: 1000/s, burst: 100k, scope: [vendor] }] }\n"
		"routes: { best: [few, many/x] }\n");
	write_routed(&s, N);
	RUN(&s, &r, "--policy", s.policy);
	cli_expect(&r, EX_OK, "", NULL);
	cli_free(&r);
	report = json_file(s.report);
	check_report(report);
	few = json_at(json_object_get(json_object_get(report, "by_limit"), "few/rate"), "admitted");
	many = json_at(json_object_get(json_object_get(report, "by_limit"), "many/rate"),
		       "admitted");
	cr_expect_eq(json_at(report, "ok"), N);
	cr_expect_eq(few + many, N);
	cr_expect(few > 16 && few <= 20, "%g", few);
	json_decref(report);
	cr_assert_eq(unlink(s.out), 0);
	RUN(&s, &r, "--no-quota");
	cli_expect(&r, EX_OK, "", NULL);
	cli_free(&r);
	nginx_stop(&s.nginx);
	s.nginx.pid = 0;
	cr_expect_eq(nginx_count(&s.nginx, NULL, "/ok?few"), N + (int)few, "and all without");
	cr_expect_eq(nginx_count(&s.nginx, NULL, "/ok?many"), (int)many);
	scene_end(&s);
}

Test(cli_run, workers_share_a_policy)
{
	run_forty("--policy", NULL, 20, 20, NULL);
}

Test(cli_run, private_copies_admit_as_often_as_there_are_workers)
{
	run_forty("--policy", "--private", 40, 0, NULL);
}

Test(cli_run, no_quota_sends_all)
{
	run_forty("--policy", "--no-quota", 40, 0, NULL);
}

Test(cli_run, workers_share_a_supervisor)
{
	struct rationd d;

	rationd_start(&d, tight, NULL);
	run_forty("--socket", NULL, 20, 20, d.socket);
	/* And so does the next run: all is spent. */
	run_forty("--socket", NULL, 0, 40, d.socket);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* --- input --- */

Test(cli_run, unreadable_lines_are_told_and_passed_over)
{
	static const char input[] = "{\"id\":1,\"url\":\"ftp://x\"}\n"
				    "\n"
				    "junk\n"
				    "  \t\n"
				    "{\"id\":2,\"url\":\"\xff\"}\n"
				    "[1]\n"
				    "{\"url\":\"http://x/\"}\n"
				    "{\"id\":\"a\",\"urk\":\"http://x/\"}\n"
				    "{\"id\":\"b\"}\n"
				    "{\"id\":\"b\",\"url\":\"http://x/\"}\n"
				    "{\"id\":\"c\",\"url\":5}\r\n"
				    "{\"id\":\"d\",\"url\":\"http";
	static const char *const expected[] = {
		"{\"id\":null,\"line\":3,\"error\":\"not JSON, at byte 4\"}\n",
		"{\"id\":null,\"line\":5,\"error\":\"invalid UTF-8, at byte 15\"}\n",
		"{\"id\":null,\"line\":6,\"error\":\"not a JSON object\"}\n",
		"{\"id\":null,\"line\":7,\"error\":\"id: missing\"}\n",
		"{\"id\":\"b\",\"line\":10,\"error\":\"duplicate id: another line before has it; "
		"not sent\"}\n",
		"{\"id\":null,\"line\":12,\"error\":\"the line ends inside the JSON, at byte "
		"21\"}\n",
		"{\"id\":1,\"status\":null,\"attempts\":0,\"wait_ms\":0.000,\"latency_ms\":null,"
		"\"limit\":null,"
		"\"error\":\"not a request that can be sent (url, method or headers)\"}\n",
		"{\"id\":\"a\",\"status\":null,\"attempts\":0,\"wait_ms\":0.000,\"latency_ms\":"
		"null,"
		"\"limit\":null,\"error\":\"urk: no such field\"}\n",
		"{\"id\":\"b\",\"status\":null,\"attempts\":0,\"wait_ms\":0.000,\"latency_ms\":"
		"null,"
		"\"limit\":null,\"error\":\"url: missing\"}\n",
		"{\"id\":\"c\",\"status\":null,\"attempts\":0,\"wait_ms\":0.000,\"latency_ms\":"
		"null,"
		"\"limit\":null,\"error\":\"url: must be a string\"}\n",
	};
	struct cli_result r;
	size_t size = 0;

	cli_run(&r, input, sizeof(input) - 1,
		(const char *const[]){"run", "--no-quota", "--workers", "1", NULL});
	cr_expect_eq(r.status, 1);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		cr_expect(strstr(r.out, expected[i]), "no %s in:\n%s", expected[i], r.out);
		size += strlen(expected[i]);
	}
	cr_expect_eq(r.out_size, size, "%s", r.out);
	cr_expect(strncmp(r.err, "10 requests: 0 ok, 0 limited, 0 denied, 10 failed; ", 51) == 0,
		  "%s", r.err);
	cli_free(&r);
}

Test(cli_run, no_input_is_no_error)
{
	struct scene s;
	struct cli_result r;
	json_t *report;

	scene_begin(&s, wide);
	for (int i = 0; i < 2; i++) {
		file_text(s.in, i ? "\n \n\r\n" : "");
		remove(s.out);
		RUN(&s, &r, "--policy", s.policy);
		cr_expect_eq(r.status, EX_OK, "%s", r.err);
		cr_expect_eq(file_lines(s.out), 0);
		report = json_file(s.report);
		check_report(report);
		cr_expect_eq(json_at(report, "requests"), 0);
		cr_expect_eq(json_at(report, "latency_ms.max"), 0);
		json_decref(report);
		cli_free(&r);
	}
	scene_end(&s);
}

Test(cli_run, long_lines)
{
	static char body[100001];
	struct scene s;
	struct cli_result r;
	FILE *file;

	scene_begin(&s, wide);
	memset(body, 'x', sizeof(body) - 1);
	file = fopen(s.in, "w");
	for (int i = 0; i < 40; i++)
		fprintf(file,
			"{\"id\":%d,\"vendor\":\"crm\",\"class\":\"bulk\",\"url\":\"%s\",\"body\":"
			"\"%s\"}\n",
			i, nginx_url(&s.nginx, "/ok"), body);
	fprintf(file, "{\"id\":\"big\",\"body\":\"");
	for (int i = 0; i < 170; i++)
		fwrite(body, 1, 100000, file);
	fprintf(file,
		"\"}\n{\"id\":\"after\",\"vendor\":\"crm\",\"class\":\"bulk\",\"url\":\"%s\"}",
		nginx_url(&s.nginx, "/ok"));
	cr_assert_eq(fclose(file), 0);
	RUN(&s, &r, "--policy", s.policy);
	cr_expect(strncmp(r.err, "42 requests: 41 ok, 0 limited, 0 denied, 1 failed; ", 51) == 0,
		  "%s", r.err);
	{
		json_t *results = results_read(s.out);

		cr_expect_eq(results_with_error(results, "longer than 16 MiB"), 1);
		cr_expect_eq(json_at(result_of(results, "after"), "status"), 200);
		json_decref(results);
	}
	cli_free(&r);
	scene_end(&s);
}

/* --- tried again --- */

/* One request, which is refused. */
static void begin_refused(struct scene *s, struct cli_process *run, const char *more)
{
	scene_begin(s, wide);
	write_requests(s, 1, "/later", more);
	cli_start(run, (const char *const[]){"run", "--policy", s->policy, "--workers", "1", "--in",
					     s->in, "--out", s->out, "--report", s->report,
					     "--retry", NULL});
	wait_for_lines(nginx_path(&s->nginx, "access.log"), 1);
}

static json_t *end_refused(struct scene *s, struct cli_process *run, int status)
{
	struct cli_result r;
	json_t *results;

	cli_wait(run, &r);
	cli_expect(&r, status, "", NULL);
	cli_free(&r);
	results = results_read(s->out);
	cr_assert_eq(json_array_size(results), 1);
	return results;
}

Test(cli_run, a_refusal_is_told_though_a_later_try_was_accepted)
{
	struct scene s;
	struct cli_process run;
	json_t *results, *report;
	const json_t *result;

	begin_refused(&s, &run, "");
	nginx_file(&s.nginx, "open", 0);
	results = end_refused(&s, &run, EX_OK);
	result = json_array_get(results, 0);
	cr_expect_eq(json_at(result, "status"), 200);
	cr_expect_geq(json_at(result, "attempts"), 2);
	cr_expect_eq(json_at(result, "refusals"), json_at(result, "attempts") - 1);
	report = json_file(s.report);
	check_report(report);
	cr_expect_eq(json_at(report, "ok"), 1);
	cr_expect_eq(json_at(report, "refusals"), json_at(result, "refusals"));
	cr_expect_eq(json_at(report, "retries"), json_at(result, "refusals"));
	json_decref(report);
	json_decref(results);
	scene_end(&s);
}

Test(cli_run, a_line_may_say_that_it_is_not_tried_again)
{
	struct scene s;
	struct cli_process run;
	json_t *results;

	begin_refused(&s, &run, ",\"retry\":false");
	results = end_refused(&s, &run, 1);
	cr_expect_eq(json_at(json_array_get(results, 0), "status"), 429);
	cr_expect_eq(json_at(json_array_get(results, 0), "attempts"), 1);
	json_decref(results);
	scene_end(&s);
}

/* Whether it is between two tries or not. */
Test(cli_run, what_was_refused_is_told_when_the_run_is_stopped)
{
	struct scene s;
	struct cli_process run;
	json_t *results;

	begin_refused(&s, &run, "");
	cr_assert_eq(kill(run.pid, SIGTERM), 0);
	results = end_refused(&s, &run, 128 + SIGTERM);
	cr_expect_eq(json_at(json_array_get(results, 0), "status"), 429);
	cr_expect_geq(json_at(json_array_get(results, 0), "refusals"), 1);
	json_decref(results);
	scene_end(&s);
}

Test(cli_run, standard_input_and_output)
{
	struct scene s;
	struct cli_result r;
	json_t *results;
	char input[256];

	scene_begin(&s, wide);
	snprintf(input, sizeof(input),
		 "{\"id\":\"\xc3\xa4\",\"vendor\":\"crm\",\"class\":\"bulk\",\"url\":\"%s\"}",
		 nginx_url(&s.nginx, "/ok"));
	cli_run(&r, input, strlen(input),
		(const char *const[]){"run", "--policy", s.policy, "--workers", "3", NULL});
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	results = results_parse(r.out, r.out_size);
	cr_expect_eq(json_at(result_of(results, "\xc3\xa4"), "status"), 200);
	json_decref(results);
	cli_free(&r);
	scene_end(&s);
}

/* A producer that is slow gets each result as soon as it is there. */
Test(cli_run, results_come_while_input_goes_on)
{
	struct cli_process *p = malloc(sizeof(*p));
	struct cli_result r;
	struct scene s;
	char line[256];

	scene_begin(&s, wide);
	cli_start(p, (const char *const[]){"run", "--policy", s.policy, "--workers", "1", NULL});
	for (int i = 0; i < 5; i++) {
		const char *result;

		snprintf(line, sizeof(line),
			 "{\"id\":%d,\"vendor\":\"crm\",\"class\":\"bulk\",\"url\":\"%s\"}\n", i,
			 nginx_url(&s.nginx, "/ok"));
		cli_write(p, line);
		result = cli_read_line(p);
		snprintf(line, sizeof(line), "{\"id\":%d,\"status\":200,", i);
		cr_assert(result && strncmp(result, line, strlen(line)) == 0, "%s", result);
	}
	cli_close_input(p);
	cli_wait(p, &r);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	cli_free(&r);
	free(p);
	scene_end(&s);
}

/* --- output --- */

Test(cli_run, output_that_cannot_be_written)
{
	struct scene s;
	struct cli_result r;

	scene_begin(&s, wide);
	write_requests(&s, 50, "/ok", "");
	CLI(&r, "run", "--policy", s.policy, "--in", s.in, "--out", "/dev/full");
	cr_expect_eq(r.status, EX_IOERR);
	cr_expect(strstr(r.err, "ration run: cannot write /dev/full: No space left on device\n"),
		  "%s", r.err);
	cli_free(&r);
	scene_end(&s);
}

/* On a terminal, and only there, a line shows how far it is. */
Test(cli_run, progress_on_a_terminal)
{
	const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char shell[1024], seen[16384];
	struct cli_result r;
	struct scene s;
	ssize_t n;
	int held;

	cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	held = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert(held >= 0);
	scene_begin(&s, wide);
	/* The second is held back, and then goes first to see whether it is over. */
	write_requests(&s, 2, "/limited", "");
	snprintf(shell, sizeof(shell), "\"$0\" run --policy %s --in %s --out %s 2> %s", s.policy,
		 s.in, s.out, ptsname(terminal));
	cli_run_program(&r, "/bin/sh", NULL, 0,
			(const char *const[]){"-c", shell, rationd_program("ration"), NULL});
	cr_expect_eq(r.status, 1);
	n = read(terminal, seen, sizeof(seen) - 1);
	cr_assert_gt(n, 0);
	seen[n] = '\0';
	cr_expect(strstr(seen, "\r\033[K0"), "%s", seen);
	cr_expect(strstr(seen, "/s, "), "%s", seen);
	cr_expect(strstr(seen, " % of the quota, "), "%s", seen);
	cr_expect(strstr(seen, " x 429"), "%s", seen);
	cr_expect(strstr(seen, "\r\033[K2 requests: 0 ok, 2 limited, "), "%s", seen);
	close(held);
	close(terminal);
	cli_free(&r);
	scene_end(&s);
}

/* --- secrets --- */

static void no_marker(const char *what, const char *text)
{
	cr_expect_not(strstr(text, "MARKER"), "%s holds a secret:\n%s", what, text);
}

Test(cli_run, secrets_stay_where_they_are)
{
	static const char *const shapes[] = {
		/* fine, refused by the server, refused by the network, not resolvable, not sendable */
		"\"url\":\"http://user:MARKER@127.0.0.1:%d/ok?key=MARKER\"",
		"\"url\":\"http://user:MARKER@127.0.0.1:%d/bad?key=MARKER\"",
		"\"url\":\"http://user:MARKER@127.0.0.1:%d/slow?key=MARKER\",\"timeout_ms\":100",
		"\"url\":\"http://user:MARKER@127.0.0.1:1/?key=MARKER\"",
		"\"url\":\"http://user:MARKER@no.such.host.invalid/?key=MARKER\"",
		"\"url\":\"https://user:MARKER@127.0.0.1:%d/?key=MARKER\"",
		"\"url\":\"ftp://user:MARKER@127.0.0.1/?key=MARKER\"",
		"\"url\":\"http://user:MARKER@[/?key=MARKER\"",
		"\"url\":\"MARKER\"",
		"\"url\":\"http://127.0.0.1:%d/ok\",\"method\":\"MARK ER MARKER\"",
		"\"url\":\"http://127.0.0.1:%d/ok\",\"headers\":{\"A\":5,\"B\":\"MARKER\"}",
		"\"url\":\"http://127.0.0.1:%d/ok\",\"headers\":{\"A\\nMARKER\":\"x\"}",
		"\"url\":\"http://127.0.0.1:%d/ok\",\"cost\":{\"requests\":21}",
		"\"url\":\"http://127.0.0.1:%d/ok\",\"timeout_ms\":\"MARKER\"",
		"\"url\":\"http://127.0.0.1:%d/ok\"} MARKER",
		"\"url\":\"http://127.0.0.1:%d/ok\",\"x\":\"MARKER",
	};
	struct scene s;
	struct cli_result r;
	FILE *file;

	scene_begin(&s, tight);
	nginx_file(&s.nginx, "slow", 100000);
	file = fopen(s.in, "w");
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		fprintf(file,
			"{\"id\":\"r%zu\",\"vendor\":\"crm\",\"class\":\"bulk\",\"body\":"
			"\"MARKER\","
			"%s\"account\":\"x\",",
			i,
			strstr(shapes[i], "\"headers\"")
				? ""
				: "\"headers\":{\"Authorization\":\"Bearer MARKER\"},");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		fprintf(file, shapes[i], s.nginx.port);
#pragma GCC diagnostic pop
		fputs("}\n", file);
	}
	cr_assert_eq(fclose(file), 0);
	for (int i = 0; i < 2; i++) {
		char *text;

		remove(s.out);
		RUN(&s, &r, "--policy", s.policy, i ? "--no-quota" : NULL);
		cr_expect_eq(r.status, 1);
		no_marker("stderr", r.err);
		no_marker("stdout", r.out);
		text = file_read(s.out, NULL);
		no_marker("the output", text);
		cr_expect_eq(file_lines(s.out), sizeof(shapes) / sizeof(shapes[0]), "%s", text);
		free(text);
		text = file_read(s.report, NULL);
		no_marker("the report", text);
		free(text);
		cli_free(&r);
	}
	nginx_stop(&s.nginx);
	cr_expect_geq(nginx_count(&s.nginx, NULL, "key=MARKER"), 2, "none was really sent");
	scene_end(&s);
}
