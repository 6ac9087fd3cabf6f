/*
 * tests/test_cli_usage.c - every way to call `ration` wrongly: message and exit status
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <ration/ration.h>

#include "support_cli.h"
#include "support_rationd.h"

static const char *const commands[] = {"run", "pipe",  "acquire", "status", "explain",
				       "set", "check", "diff",    "events", "init"};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

Test(cli_usage, help_and_version)
{
	struct cli_result r;

	for (size_t i = 0; i < N_COMMANDS; i++) {
		char usage[64];

		CLI(&r, commands[i], "--help");
		cli_expect(&r, EX_OK, NULL, "");
		snprintf(usage, sizeof(usage), "usage: ration %s", commands[i]);
		cr_expect(strncmp(r.out, usage, strlen(usage)) == 0, "%s", r.out);
		cr_expect(strstr(r.out, "--help") && strstr(r.out, "--version"));
		cli_free(&r);
		CLI(&r, commands[i], "--version");
		cli_expect(&r, EX_OK, "ration " RATION_VERSION "\n", "");
		cli_free(&r);
	}
	CLI(&r, "--version");
	cli_expect(&r, EX_OK, "ration " RATION_VERSION "\n", "");
	cli_free(&r);
	CLI(&r, "--help");
	cli_expect(&r, EX_OK, NULL, "");
	for (size_t i = 0; i < N_COMMANDS; i++)
		cr_expect(strstr(r.out, commands[i]), "%s is not in the list", commands[i]);
	cli_free(&r);
	cli_run(&r, NULL, 0, NULL);
	cr_expect_eq(r.status, EX_USAGE);
	cr_expect_str_eq(r.out, "");
	cr_expect(strstr(r.err, "usage: ration COMMAND"));
	cli_free(&r);
}

Test(cli_usage, wrong_calls)
{
	static const struct {
		const char *args[8];
		const char *err;
	} cases[] = {
		{{"statsu"}, "ration: no command 'statsu'; did you mean 'status'?\n"},
		{{"rum"}, "ration: no command 'rum'; did you mean 'run'?\n"},
		{{"frobnicate"}, "ration: no command 'frobnicate' (see ration --help)\n"},
		{{"--frobnicate"}, "ration: unknown option --frobnicate (see ration --help)\n"},
		{{"run", "--frob"}, "ration run: unknown option --frob (see ration run --help)\n"},
		{{"run", "-x"}, "ration run: unknown option -x (see ration run --help)\n"},
		{{"run", "file"},
		 "ration run: too many arguments, from file (see ration run --help)\n"},
		{{"run", "--in"},
		 "ration run: an argument is missing after --in (see ration run --help)\n"},
		{{"run", "--workers", "0"},
		 "ration run: --workers takes a number from 1 to 128, not '0'\n"},
		{{"run", "--workers", "129"},
		 "ration run: --workers takes a number from 1 to 128, not '129'\n"},
		{{"run", "--workers", "2x"},
		 "ration run: --workers takes a number from 1 to 128, not '2x'\n"},
		{{"run", "--workers", "-1"},
		 "ration run: --workers takes a number from 1 to 128, not '-1'\n"},
		{{"run", "--out", ""}, "ration run: --out takes something, not ''\n"},
		{{"run", "--policy", "a", "--socket", "b"},
		 "ration run: --policy and --socket exclude each other\n"},
		{{"run", "--private"}, "ration run: --private needs --policy\n"},
		{{"run", "--private", "--no-quota", "--policy", "a"},
		 "ration run: --private and --no-quota exclude each other\n"},
		{{"run", "--resume", "--no-quota"}, "ration run: --resume needs --out\n"},
		{{"run", "--resume", "--no-quota", "--out", "/dev/null"},
		 "ration run: --resume needs --out to be a regular file\n"},
		{{"pipe", "x"},
		 "ration pipe: too many arguments, from x (see ration pipe --help)\n"},
		{{"pipe", "--policy", "a", "--socket", "b"},
		 "ration pipe: --policy and --socket exclude each other\n"},
		{{"acquire"},
		 "ration acquire: needs TENANT VENDOR CLASS (see ration acquire --help)\n"},
		{{"acquire", "a", "b"},
		 "ration acquire: needs TENANT VENDOR CLASS (see ration acquire --help)\n"},
		{{"acquire", "a", "b", "c", "d"},
		 "ration acquire: too many arguments, from d (see ration acquire --help)\n"},
		{{"acquire", "a", "b", "c", "--wait", "5"},
		 "ration acquire: --wait takes a time such as 5s or 20ms, not '5'\n"},
		{{"acquire", "a", "b", "c", "--cost", "tokens"},
		 "ration acquire: --cost takes a unit once, such as tokens=1200, not 'tokens'\n"},
		{{"acquire", "a", "b", "c", "--cost", "=5"},
		 "ration acquire: --cost takes a unit once, such as tokens=1200, not '=5'\n"},
		{{"acquire", "a", "b", "c", "--cost", "t=1", "--cost", "t=2"},
		 "ration acquire: --cost takes a unit once, such as tokens=1200, not 't=2'\n"},
		{{"acquire", "a", "b", "c", "--cost", "t=1099511627776"},
		 "ration acquire: --cost takes a unit once, such as tokens=1200, not "
		 "'t=1099511627776'\n"},
		{{"status", "x"},
		 "ration status: too many arguments, from x (see ration status --help)\n"},
		{{"explain"}, "ration explain: needs KEY (see ration explain --help)\n"},
		{{"explain", "a", "b"},
		 "ration explain: a key is TENANT VENDOR CLASS, or "
		 "TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]]\n"},
		{{"explain", "a/b"},
		 "ration explain: a key is TENANT VENDOR CLASS, or "
		 "TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]]\n"},
		{{"explain", "a//c"},
		 "ration explain: a key is TENANT VENDOR CLASS, or "
		 "TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]]\n"},
		{{"explain", "a/b/c/d/e/f"},
		 "ration explain: a key is TENANT VENDOR CLASS, or "
		 "TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]]\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cli_result r;

		cli_run(&r, NULL, 0, cases[i].args);
		cli_expect(&r, EX_USAGE, "", cases[i].err);
		cli_free(&r);
	}
}

/* Nothing listens there: at once, for each command that needs a supervisor. */
Test(cli_usage, no_supervisor)
{
	static const struct {
		const char *args[8];
		const char *err;
	} cases[] = {
		{{"acquire", "a", "crm", "bulk", "--socket"},
		 "ration acquire: %s: no supervisor listens here\n"},
		{{"status", "--socket"}, "ration status: %s: no supervisor listens here\n"},
		{{"pipe", "--socket"}, "ration pipe: %s: no supervisor listens here\n"},
		{{"explain", "a/crm/bulk", "--socket"},
		 "ration explain: %s: no supervisor listens here\n"},
		{{"run", "--socket"}, "ration run: %s: no supervisor listens here\n"},
	};
	struct test_dir dir;
	const char *path;

	dir_make(&dir);
	path = dir_path(&dir, "none.sock");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *args[9] = {0};
		char err[512];
		struct cli_result r;
		int n = 0;

		for (; cases[i].args[n]; n++)
			args[n] = cases[i].args[n];
		args[n] = path;
		cli_run(&r, NULL, 0, args);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(err, sizeof(err), cases[i].err, path);
#pragma GCC diagnostic pop
		cli_expect(&r, EX_UNAVAILABLE, "", err);
		cli_free(&r);
	}
	dir_remove(&dir);
}

Test(cli_usage, files_that_cannot_be_used)
{
	struct test_dir dir;
	struct cli_result r;
	char err[512];

	dir_make(&dir);
	file_text(dir_path(&dir, "p.yaml"), rationd_plain_policy);
	file_text(dir_path(&dir, "bad.yaml"), "version: 1\nclasses: [a]\nvendors: 5\n");

	CLI(&r, "run", "--policy", dir_path(&dir, "none.yaml"));
	snprintf(err, sizeof(err), "ration run: cannot read %s: No such file or directory\n",
		 dir_path(&dir, "none.yaml"));
	cli_expect(&r, EX_NOINPUT, "", err);
	cli_free(&r);

	CLI(&r, "acquire", "a", "crm", "a", "--policy", dir_path(&dir, "bad.yaml"));
	cr_expect_eq(r.status, EX_CONFIG, "%d", r.status);
	snprintf(err, sizeof(err), "ration acquire: %s:3:", dir_path(&dir, "bad.yaml"));
	cr_expect(strncmp(r.err, err, strlen(err)) == 0, "%s", r.err);
	cli_free(&r);

	CLI(&r, "run", "--no-quota", "--in", dir_path(&dir, "none"));
	snprintf(err, sizeof(err), "ration run: cannot read %s: No such file or directory\n",
		 dir_path(&dir, "none"));
	cli_expect(&r, EX_NOINPUT, "", err);
	cli_free(&r);

	CLI(&r, "run", "--no-quota", "--in", dir.path);
	snprintf(err, sizeof(err), "ration run: cannot read %s: Is a directory\n", dir.path);
	cli_expect(&r, EX_NOINPUT, "", err);
	cli_free(&r);

	CLI(&r, "run", "--no-quota", "--out", dir_path(&dir, "no/where"));
	snprintf(err, sizeof(err), "ration run: cannot write %s: No such file or directory\n",
		 dir_path(&dir, "no/where"));
	cli_expect(&r, EX_CANTCREAT, "", err);
	cli_free(&r);

	CLI(&r, "run", "--no-quota", "--report", dir_path(&dir, "no/where"));
	cli_expect(&r, EX_CANTCREAT, "", err);
	cli_free(&r);
	dir_remove(&dir);
}

/* --- acquire --- */

static const char tight[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 0ms }\n"
	"vendors:\n"
	"  salesforce:\n"
	"    limits:\n"
	"      - { name: org-rate, rate: 1/h, burst: 20, scope: [tenant, vendor], margin: 0% }\n"
	"  openai:\n"
	"    limits:\n"
	"      - { name: tpm, unit: tokens, rate: 1000/s, burst: 1000, scope: [account, vendor], "
	"margin: 0% }\n";

Test(cli_acquire, every_answer)
{
	struct rationd d;
	struct cli_result r;

	rationd_start(&d, tight, NULL);
	CLI(&r, "acquire", "acme", "salesforce", "bulk", "--cost", "requests=17", "--socket",
	    d.socket);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);

	CLI(&r, "acquire", "acme", "salesforce", "bulk", "--cost", "requests=5", "--socket",
	    d.socket);
	cr_expect_eq(r.status, EX_TEMPFAIL);
	cr_expect(strncmp(r.err,
			  "denied: salesforce/org-rate (tenant acme): 3 of 20 left, needs 5; retry "
			  "in ",
			  75) == 0,
		  "%s", r.err);
	cli_free(&r);

	/* Waiting is no use: it would take two hours. */
	CLI(&r, "acquire", "acme", "salesforce", "bulk", "--cost", "requests=5", "--wait", "2s",
	    "--socket", d.socket);
	cr_expect_eq(r.status, EX_TEMPFAIL);
	cli_free(&r);

	CLI(&r, "acquire", "acme", "salesforce", "bulk", "--cost", "requests=21", "--socket",
	    d.socket);
	cli_expect(&r, EX_DATAERR, "",
		   "denied: salesforce/org-rate (tenant acme): 3 of 20 left, needs 21; can never "
		   "fit\n");
	cli_free(&r);

	CLI(&r, "acquire", "acme", "hubspot", "bulk", "--socket", d.socket);
	cli_expect(&r, EX_CONFIG, "",
		   "ration acquire: no vendor 'hubspot' in the policy; known are: openai, "
		   "salesforce\n");
	cli_free(&r);

	CLI(&r, "acquire", "acme", "salesforce", "night", "--socket", d.socket);
	cli_expect(
		&r, EX_CONFIG, "",
		"ration acquire: no class 'night' in the policy; known are: interactive, bulk\n");
	cli_free(&r);

	CLI(&r, "acquire", "acme", "openai", "bulk", "--socket", d.socket);
	cli_expect(&r, EX_CONFIG, "",
		   "ration acquire: openai/tpm counts tokens, which the cost does not name\n");
	cli_free(&r);

	CLI(&r, "acquire", "acme", "openai", "bulk", "--cost", "tokens=1000", "--account", "proj",
	    "--socket", d.socket);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);

	/* A second's worth: comes within the wait. */
	CLI(&r, "acquire", "acme", "openai", "bulk", "--cost", "tokens=1000", "--account", "proj",
	    "--wait", "10s", "--socket", d.socket);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);

	CLI(&r, "acquire", "a\nb", "salesforce", "bulk", "--socket", d.socket);
	cr_expect_eq(r.status, EX_USAGE, "%d: %s", r.status, r.err);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

static json_t *answer_of(const struct cli_result *r)
{
	json_t *results = results_parse(r->out, r->out_size), *answer;

	cr_assert_eq(json_array_size(results), 1, "%s", r->out);
	answer = json_incref(json_array_get(results, 0));
	json_decref(results);
	return answer;
}

Test(cli_acquire, answers_as_json)
{
	struct rationd d;
	struct cli_result r;
	json_t *answer;

	rationd_start(&d, tight, NULL);
	CLI(&r, "acquire", "acme", "salesforce", "bulk", "--cost", "requests=17", "--json",
	    "--socket", d.socket);
	cli_expect(&r, EX_OK, "{\"ok\":true}\n", "");
	cli_free(&r);

	CLI(&r, "acquire", "acme", "salesforce", "bulk", "--cost", "requests=5", "--json",
	    "--socket", d.socket);
	cli_expect(&r, EX_TEMPFAIL, NULL, "");
	answer = answer_of(&r);
	cr_expect_str_eq(json_string_value(json_object_get(answer, "code")), "denied");
	cr_expect_str_eq(json_string_value(json_object_get(answer, "limit")),
			 "salesforce/org-rate");
	cr_expect_eq(json_at(answer, "left"), 3);
	cr_expect_eq(json_at(answer, "size"), 20);
	cr_expect_eq(json_at(answer, "needed"), 5);
	cr_expect_gt(json_at(answer, "retry_ms"), 3600e3);
	json_decref(answer);
	cli_free(&r);

	CLI(&r, "acquire", "acme", "nope", "bulk", "--json", "--socket", d.socket);
	cli_expect(&r, EX_CONFIG,
		   "{\"ok\":false,\"code\":\"vendor\",\"error\":\"no vendor 'nope' in the policy; "
		   "known are: "
		   "openai, salesforce\"}\n",
		   "");
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* --wait also waits for a supervisor. */
Test(cli_acquire, waits_for_a_supervisor)
{
	struct cli_process *p = malloc(sizeof(*p));
	struct cli_result r;
	struct rationd d;

	rationd_prepare(&d, tight);
	cli_start(p, (const char *const[]){"acquire", "acme", "salesforce", "bulk", "--wait", "15s",
					   "--socket", d.socket, NULL});
	rationd_spawn(&d, NULL);
	rationd_ready(&d);
	cli_wait(p, &r);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);
	free(p);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_usage, lost_output_is_an_error)
{
	struct cli_result r;

	cli_run_program(&r, "/bin/sh", NULL, 0,
			(const char *const[]){"-c", "\"$0\" --help > /dev/full",
					      rationd_program("ration"), NULL});
	cli_expect(&r, EX_IOERR, "",
		   "ration: cannot write to standard output: No space left on device\n");
	cli_free(&r);
}
