/*
 * tests/test_cli_signal.c - ration signal: a line for a line, whatever stands in it
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "support_cli.h"

TestSuite(cli_signal, .timeout = 60);

static struct test_dir dir;

static void run(struct cli_result *r, const char *input, const char *adapters)
{
	const char *const args[] = {"signal", adapters ? "--adapters" : NULL, adapters, NULL};

	cli_run(r, input, strlen(input), args);
}

/* The answers, one after the other; a text must be in each, in order. */
static void expect_lines(const struct cli_result *r, const char *const *parts, size_t n)
{
	const char *line = r->out;

	for (size_t i = 0; i < n; i++) {
		const char *end = strchr(line, '\n');
		char *text;

		cr_assert_not_null(end, "only %zu lines: %s", i, r->out);
		text = strndup(line, (size_t)(end - line));
		cr_expect(strstr(text, parts[i]), "line %zu: %s", i + 1, text);
		free(text);
		line = end + 1;
	}
	cr_expect_eq(*line, '\0', "more lines: %s", line);
}

Test(cli_signal, an_answer_for_each_line_in_order)
{
	static const char input[] =
		"{\"vendor\":\"slack\",\"status\":429,\"headers\":{\"Retry-After\":\"3\"},\"body\":"
		"null,\"now\":1700000000,\"id\":\"x\"}\n"
		"\n"
		"  "
		"{\"vendor\":\"nobody\",\"status\":200,\"headers\":{},\"body\":null,\"now\":1.5}"
		"\r\n"
		"{\"vendor\":\"rfc\",\"status\":429,\"headers\":{\"Retry-After\":[\"1\",\"9\"]},"
		"\"now\":0}";
	static const char *const expected[] = {"\"retry_after_ms\":3000,", "\"reason\":\"ok\"",
					       "\"retry_after_ms\":9000,"};
	struct cli_result r;

	run(&r, input, NULL);
	cli_expect(&r, EX_OK, NULL, "");
	expect_lines(&r, expected, 3);
	cli_free(&r);
}

Test(cli_signal, the_whole_answer)
{
	struct cli_result r;

	run(&r,
	    "{\"vendor\":\"github\",\"status\":403,\"headers\":{\"x-ratelimit-limit\":\"60\","
	    "\"x-ratelimit-remaining\":\"0\",\"x-ratelimit-reset\":\"1700000061\"},\"body\":"
	    "\"{\\\"message\\\":\\\"API rate limit exceeded for 203.0.113.7.\\\"}\","
	    "\"now\":1700000000}\n",
	    NULL);
	cli_expect(&r, EX_OK,
		   "{\"limited\":true,\"retryable\":true,\"retry_after_ms\":61000,"
		   "\"retry_after_from\":\"reset\",\"limits\":[{\"name\":\"core\",\"limit\":60,"
		   "\"remaining\":0,\"reset_in_ms\":61000}],\"reason\":\"primary_rate_limit\","
		   "\"class\":\"rate\",\"scope\":\"ip\"}\n",
		   "");
	cli_free(&r);
}

Test(cli_signal, lines_that_cannot_be_read)
{
	static const char *const lines[][2] = {
		{"nonsense", "{\"error\":\"'[' or '{' expected near 'nonsense'\",\"line\":1}"},
		{"[]", "{\"error\":\"not an object\",\"line\":2}"},
		{"{\"status\":200}", "{\"error\":\"vendor is not a string\",\"line\":3}"},
		{"{\"vendor\":\"a\"}",
		 "{\"error\":\"status is not an integer from 100 to 599\",\"line\":4}"},
		{"{\"vendor\":\"a\",\"status\":\"429\"}",
		 "{\"error\":\"status is not an integer from 100 to 599\",\"line\":5}"},
		{"{\"vendor\":\"a\",\"status\":429}",
		 "{\"error\":\"now is not a time in seconds since 1970\",\"line\":6}"},
		{"{\"vendor\":\"a\",\"status\":429,\"now\":1,\"body\":{}}",
		 "{\"error\":\"body is not a string\",\"line\":7}"},
		{"{\"vendor\":\"a\",\"status\":429,\"now\":1,\"headers\":[]}",
		 "{\"error\":\"headers is not an object\",\"line\":8}"},
		{"{\"vendor\":\"a\",\"status\":429,\"now\":1,\"headers\":{\"x\":1}}",
		 "{\"error\":\"a header is not a string, or an array of strings\",\"line\":9}"},
		{"{\"vendor\":\"a\",\"request\":{}}",
		 "{\"error\":\"the request's url is not a string\",\"line\":10}"},
		{"{\"vendor\":\"a\",\"status\":429,\"now\":1}", "\"reason\":\"too_many_requests\""},
	};
	enum { N = sizeof(lines) / sizeof(lines[0]) };
	const char *expected[N];
	char input[4096] = "";
	struct cli_result r;

	for (size_t i = 0; i < N; i++) {
		strcat(strcat(input, lines[i][0]), "\n");
		expected[i] = lines[i][1];
	}
	run(&r, input, NULL);
	cli_expect(&r, EX_DATAERR, NULL, "");
	expect_lines(&r, expected, N);
	cli_free(&r);
}

Test(cli_signal, a_request_and_what_it_cost)
{
	static const char input[] =
		"{\"vendor\":\"openai\",\"request\":{\"url\":\"https://api.openai.com/v1/"
		"responses\","
		"\"body\":\"{\\\"model\\\":\\\"gpt-4o\\\",\\\"max_output_tokens\\\":10}\"}}\n"
		"{\"vendor\":\"openai\",\"request\":{\"url\":\"x/v1/"
		"\",\"body\":null},\"status\":200,"
		"\"now\":1,\"body\":\"{\\\"usage\\\":{\\\"total_tokens\\\":5}}\"}\n";
	static const char *const expected[] = {
		"{\"resource\":\"gpt-4o\",\"estimate\":{\"tokens\":10,\"output-tokens\":10,\"usd_"
		"micros\":100}}",
		"\"scope\":null,\"resource\":null,\"estimate\":{},\"usage\":{\"tokens\":5}}",
	};
	struct cli_result r;

	run(&r, input, NULL);
	cli_expect(&r, EX_OK, NULL, "");
	expect_lines(&r, expected, 2);
	cli_free(&r);
}

Test(cli_signal, adapters_of_ones_own)
{
	static const char input[] = "{\"vendor\":\"acme\",\"status\":418,\"now\":1}\n"
				    "{\"vendor\":\"bad\",\"status\":418,\"now\":1}\n"
				    "{\"vendor\":\"bad\",\"status\":418,\"now\":1}\n"
				    "{\"vendor\":\"slack\",\"status\":429,\"now\":1}\n";
	static const char *const expected[] = {
		"\"reason\":\"teapot\"",
		"{\"error\":\"the vendor's adapter is not good\",\"line\":2}",
		"{\"error\":\"the vendor's adapter is not good\",\"line\":3}",
		"\"reason\":\"ratelimited\"",
	};
	struct cli_result r;
	char message[256];

	dir_make(&dir);
	file_text(
		dir_path(&dir, "acme.yaml"),
		"signals: { responses: [{ when: { status: 418 }, is: rate, reason: teapot }] }\n");
	file_text(dir_path(&dir, "bad.yaml"), "signals: { colour: red }\n");
	run(&r, input, dir.path);
	snprintf(message, sizeof(message), "%s:1:12: error: unknown key 'colour'; known: like, ",
		 dir_path(&dir, "bad.yaml"));
	cr_expect(strncmp(r.err, message, strlen(message)) == 0, "%s", r.err);
	cr_expect_eq(strchr(r.err, '\n'), r.err + strlen(r.err) - 1, "said once: %s", r.err);
	cli_expect(&r, EX_DATAERR, NULL, NULL);
	expect_lines(&r, expected, 4);
	cli_free(&r);
	run(&r, "", dir_path(&dir, "nowhere"));
	cli_expect(&r, EX_NOINPUT, "", NULL);
	cr_expect(strstr(r.err, "nowhere: No such file or directory"), "%s", r.err);
	cli_free(&r);
	dir_remove(&dir);
}
