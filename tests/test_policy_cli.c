/*
 * tests/test_policy_cli.c - ration check and ration init; the examples of the manual page
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "support_policy.h"

TestSuite(policy_cli, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 30);

static char out[65536], err[65536];

static void slurp(const char *path, char *buf, size_t size)
{
	FILE *file = fopen(path, "r");

	cr_assert_not_null(file, "%s", path);
	buf[fread(buf, 1, size - 1, file)] = '\0';
	fclose(file);
}

/* Runs `ration ARGUMENTS` in the test's directory; what it wrote is in out and err. */
static int ration(const char *arguments)
{
	const char *build = getenv("RATION_BUILD");
	char line[3 * PATH_MAX];
	int status;

	if (!build)
		build = "build";
	snprintf(line, sizeof(line), "exec >.out 2>.err; %s%s%s/ration %s",
		 build[0] == '/' ? "" : policy_dir_top(), build[0] == '/' ? "" : "/", build,
		 arguments);
	status = system(line);
	slurp(".out", out, sizeof(out));
	slurp(".err", err, sizeof(err));
	cr_assert(WIFEXITED(status), "%s: %s", arguments, err);
	return WEXITSTATUS(status);
}

static void expect_good(const char *path)
{
	char arguments[256];

	snprintf(arguments, sizeof(arguments), "check %s", path);
	cr_expect_eq(ration(arguments), EX_OK, "%s: %s", path, err);
	cr_expect_str_eq(err, "", "%s: %s", path, err);
}

Test(policy_cli, init_writes_a_good_policy)
{
	static char printed[sizeof(out)];
	struct stat st;

	cr_assert_eq(ration("init"), EX_OK, "%s", err);
	strcpy(printed, out);
	cr_assert_eq(ration("init new.yaml"), EX_OK, "%s", err);
	cr_expect_str_eq(out, "");
	slurp("new.yaml", out, sizeof(out));
	cr_expect_str_eq(out, printed);
	cr_assert_eq(stat("new.yaml", &st), 0);
	expect_good("new.yaml");
}

/* What is commented out in it is good, too. */
Test(policy_cli, init_comments_are_good)
{
	static char edited[sizeof(out)];
	char *p = edited;

	cr_assert_eq(ration("init"), EX_OK, "%s", err);
	for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
		char *hash = strchr(line, '#');
		const bool example = hash && (strncmp(line, "#  ", 3) == 0 ||
					      strncmp(line, "      # - ", 10) == 0 ||
					      strncmp(line, "      #   ", 10) == 0);

		if (strstr(line, "limits: []") == line || strstr(line, "plans: {}") == line ||
		    strstr(line, "tenants: {}") == line)
			*strrchr(line, ' ') = '\0';
		if (example && line[0] == '#')
			line++;
		else if (example)
			memmove(hash, hash + 2, strlen(hash + 2) + 1);
		p += sprintf(p, "%s\n", line);
	}
	policy_write("edited.yaml", edited, (size_t)(p - edited));
	expect_good("edited.yaml");
	cr_expect_not_null(strstr(out, "tokens (tokens): one bucket that everybody shares"), "%s",
			   out);
	cr_expect_not_null(strstr(out, "platform (requests)"), "%s", out);
	cr_expect_not_null(strstr(out, "acme (gold)"), "%s", out);
}

Test(policy_cli, init_never_overwrites)
{
	policy_write("mine.yaml", "mine", 4);
	cr_expect_eq(ration("init mine.yaml"), EX_CANTCREAT);
	cr_expect_str_eq(err, "ration init: mine.yaml: File exists\n");
	slurp("mine.yaml", out, sizeof(out));
	cr_expect_str_eq(out, "mine");
	cr_assert_eq(symlink("nowhere", "link.yaml"), 0);
	cr_expect_eq(ration("init link.yaml"), EX_CANTCREAT);
	cr_expect_eq(access("nowhere", F_OK), -1);
	cr_expect_eq(ration("init no/such/directory.yaml"), EX_CANTCREAT);
}

Test(policy_cli, init_says_when_its_output_is_lost)
{
	cr_expect_eq(ration("init >/dev/full"), EX_IOERR);
	cr_expect_eq(ration("init a b"), EX_USAGE);
	cr_expect_eq(ration("init --frob"), EX_USAGE);
	cr_expect_eq(ration("init --help"), EX_OK);
}

Test(policy_cli, shipped_examples_are_good)
{
	static const char *const names[] = {"policy.yaml", "classes.yaml"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/src/examples/%s", policy_dir_top(), names[i]);
		expect_good(path);
	}
}

static FILE *source(const char *path)
{
	char full[PATH_MAX + 32];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", policy_dir_top(), path);
	file = fopen(full, "r");
	cr_assert_not_null(file, "%s", full);
	return file;
}

/* Calls each(user, block) for each .Bd block of EXAMPLES: they are whole policies. */
static unsigned each_example(void (*each)(void *user, const char *block), void *user)
{
	bool examples = false, block = false;
	char line[256], policy[8192] = "";
	FILE *page = source("man/ration-policy.5");
	unsigned n = 0;

	while (fgets(line, sizeof(line), page)) {
		if (strncmp(line, ".Sh ", 4) == 0)
			examples = strcmp(line, ".Sh EXAMPLES\n") == 0;
		else if (examples && strncmp(line, ".Bd", 3) == 0)
			block = true;
		else if (block && strncmp(line, ".Ed", 3) == 0) {
			each(user, policy);
			block = false;
			policy[0] = '\0';
			n++;
		} else if (block)
			strcat(policy, line);
	}
	fclose(page);
	return n;
}

static void check_example(void *user, const char *block)
{
	(void)user;
	policy_write("example.yaml", block, strlen(block));
	expect_good("example.yaml");
}

Test(policy_cli, examples_of_the_manual_page)
{
	policy_write("adapters.d/acme.yaml", "limits: {}\n", 11);
	cr_expect_eq(each_example(check_example, NULL), 7);
}

static void append_example(void *user, const char *block)
{
	strcat(user, block);
}

/* Keys as the compiler's tables have them, each at the beginning of a line: {"key", read_... */
static unsigned expect_keys(const char *path, const char *examples)
{
	FILE *file = source(path);
	char line[256], key[64], written[80];
	unsigned n = 0;

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "\t{\"%63[a-z_]\", read_", key) != 1 || !strstr(line, ", read_"))
			continue;
		n++;
		snprintf(written, sizeof(written), "%s:", key);
		/* There is nothing to include beside an example. */
		if (strcmp(key, "include") != 0)
			cr_expect_not_null(strstr(examples, written), "%s has no example of '%s'",
					   "ration-policy(5)", key);
	}
	fclose(file);
	return n;
}

Test(policy_cli, the_manual_page_has_an_example_of_each_key)
{
	static char examples[7 * 8192];
	unsigned n = 0;

	each_example(append_example, examples);
	n += expect_keys("src/policy/read.c", examples);
	n += expect_keys("src/policy/read_class.c", examples);
	n += expect_keys("src/policy/read_limit.c", examples);
	n += expect_keys("src/policy/modes.c", examples);
	n += expect_keys("src/policy/routes.c", examples);
	cr_expect_geq(n, 55, "only %u keys were found", n);
}

static const char policy_file[] =
	"version: 1\n"
	"classes: [fast, slow]\n"
	"defaults: { margin: 10% }\n"
	"limits: [{ name: all, rate: 2000/s, burst: 500, scope: [], margin: 0%, delay: 0 }]\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: x, rate: 100/s, burst: 50, scope: [tenant, vendor], share: 50% }\n"
	"      - { name: tight, rate: 100/s, burst: 20, delay: 250ms, scope: [account, class], "
	"margin: "
	"0% }\n"
	"      - { name: t, unit: tokens, rate: 1M/min, burst: 1k, scope: [vendor], delay: 0 }\n"
	"plans: { gold: { crm: { x: { rate: 300/s } } } }\n"
	"tenants: { acme: { plan: gold }, bee: }\n";

Test(policy_cli, check_shows_what_each_limit_comes_to)
{
	static const char expected[] =
		"p.yaml is good, with 1 warning\n"
		"\n"
		"classes, most protected first: fast, slow\n"
		"\n"
		"all vendors together:\n"
		"  all (requests): one bucket that everybody shares\n"
		"    written: 2000/s, burst 500\n"
		"    effective: 2000/s, burst 500\n"
		"\n"
		"vendor crm: a permit is good for 0 ns\n"
		"  at most 25 h of a block; breaker: opens for 30 s when 50 % of 10 or more "
		"responses in 10 s were limited\n"
		"  x (requests): one bucket for each tenant\n"
		"    written: 100/s, burst 50\n"
		"    share 50%, margin 10%: 45/s, burst 23\n"
		"    delay 50 ms: burst 23 - 45/s x 50 ms = 20.75, rounded down\n"
		"    effective: 45/s, burst 20\n"
		"  tight (requests): one bucket for each class and account\n"
		"    written: 100/s, burst 20\n"
		"    delay 250 ms: burst 1, rate 20 / (1 / (100/s) + 250 ms) = 76.92/s\n"
		"    effective: 76.92/s, burst 1\n"
		"  t (tokens): one bucket that everybody shares\n"
		"    written: 16667/s, burst 1000\n"
		"    share 100%, margin 10%: 15000/s, burst 900\n"
		"    effective: 15000/s, burst 900\n"
		"    cost: a request must say how many tokens\n"
		"  and all of all vendors\n"
		"\n"
		"2 tenants named, with what is theirs:\n"
		"  acme (gold): crm/x: 300/s, burst 50 (effective 135/s, burst 16)\n"
		"  bee: as everybody\n";

	policy_write("p.yaml", policy_file, sizeof(policy_file) - 1);
	cr_expect_eq(ration("check p.yaml"), EX_OK);
	cr_expect_str_eq(out, expected, "%s", out);
	cr_expect_str_eq(err,
			 "p.yaml:9:17: warning: the delay does not fit into the burst of 20, so "
			 "the rate comes down from 100.000/s to 76.923/s: a larger burst or a "
			 "smaller delay avoids it\n",
			 "%s", err);
}

/* The formulas of ration-policy(5), with the numbers of each limit; `all` is worst at the vendor with the most. */
Test(policy_cli, check_shows_what_delay_and_clock_skew_cost)
{
	static const char text[] =
		"version: 1\n"
		"classes: [any]\n"
		"defaults: { margin: 10%, delay: 200ms, clock_skew: 150ms }\n"
		"limits: [{ name: all, kind: window, amount: 9, period: 100s, scope: [] }]\n"
		"vendors:\n"
		"  a:\n"
		"    limits:\n"
		"      - { name: b, rate: 100/s, burst: 30, scope: [vendor] }\n"
		"      - { name: w, kind: window, amount: 10, period: 10s, scope: [vendor] }\n"
		"      - { name: r, kind: rolling, amount: 600, period: 2s, scope: [vendor] }\n"
		"      - { name: s, kind: concurrency, slots: 2, scope: [vendor] }\n"
		"  b:\n"
		"    clock_skew: 250ms\n"
		"    limits: [{ name: s, kind: concurrency, slots: 25, scope: [vendor] }]\n";
	static const char *const expected[] = {
		"    delay 200 ms: burst 27 - 90/s x 200 ms = 9\n"
		"    effective: 90/s, burst 9\n",
		"from 350 ms before an edge to 150 ms after it, permits count on both sides of it: "
		"(2 x clock_skew + delay) / period = 5% of an even demand at most\n"
		"    effective: 9 in each 10 s\n",
		"counted over period + delay, in 28 cells: under saturating demand 1 - period / "
		"((period + delay) x (1 + 1/28)) = 12.2% is not used\n"
		"    effective: 540 in any 2 s\n",
		"a slot is taken on the way there and back, too: of the slots, 2 x delay / (2 x "
		"delay + "
		"T) = 28.6% at most, where requests take T = 1 s\n"
		"    effective: 2 at a time\n",
		"    effective: 23 at a time\n",
		"(2 x clock_skew + delay) / period = 0.7% of an even demand at most\n"
		"    effective: 9 in each 1.667 min\n",
	};

	policy_write("p.yaml", text, sizeof(text) - 1);
	cr_expect_eq(ration("check p.yaml"), EX_OK);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		cr_expect_not_null(strstr(out, expected[i]), "%s: %s", expected[i], out);
}

Test(policy_cli, check_as_json)
{
	const char *name, *severity, *unit;
	json_int_t line, burst;
	json_t *report;
	int good;

	policy_write("p.yaml", policy_file, sizeof(policy_file) - 1);
	cr_assert_eq(ration("check --json p.yaml"), EX_OK);
	cr_expect_str_eq(err, "");
	report = json_loads(out, 0, NULL);
	cr_assert_not_null(report, "%s", out);
	cr_assert_eq(
		json_unpack(report,
			    "{s:b, s:[{s:s, s:I}], s:{s:[{s:s, s:[{s:{s:I}}, {}, {s:s}, {}]}]}}",
			    "good", &good, "messages", "severity", &severity, "line", &line,
			    "policy", "vendors", "name", &name, "limits", "numbers",
			    "effective_burst", &burst, "unit", &unit),
		0, "%s", out);
	cr_expect(good);
	cr_expect_str_eq(severity, "warning");
	cr_expect_eq(line, 9);
	cr_expect_str_eq(name, "crm");
	cr_expect_eq(burst, 20);
	cr_expect_str_eq(unit, "tokens");
	json_decref(report);
}

Test(policy_cli, check_refuses)
{
	static const char bad[] = "version: 1\nclasses: [a]\nvendors: {crm: {rte: 1}}\n";
	json_t *report;

	policy_write("bad.yaml", bad, sizeof(bad) - 1);
	cr_expect_eq(ration("check bad.yaml"), EX_DATAERR);
	cr_expect_str_eq(out, "");
	cr_expect_str_eq(
		err, "bad.yaml:3:17: error: unknown key 'rte'; known: use, limits, delay, learn, "
		     "clock_skew, max_block, breaker, margin, share\n");
	cr_expect_eq(ration("check --json bad.yaml"), EX_DATAERR);
	report = json_loads(out, 0, NULL);
	cr_assert_not_null(report, "%s", out);
	cr_expect(json_is_false(json_object_get(report, "good")));
	cr_expect_eq(json_array_size(json_object_get(report, "messages")), 1);
	json_decref(report);
	cr_expect_eq(ration("check none.yaml"), EX_NOINPUT);
	cr_expect_str_eq(err, "none.yaml: error: cannot be read: No such file or directory\n");
	cr_expect_eq(ration("check ."), EX_NOINPUT);
	cr_expect_eq(ration("check"), EX_USAGE);
	cr_expect_eq(ration("check a b"), EX_USAGE);
	cr_expect_eq(ration("check --frob bad.yaml"), EX_USAGE);
	cr_expect_eq(ration("check --help"), EX_OK);
	policy_write("p.yaml", policy_file, sizeof(policy_file) - 1);
	cr_expect_eq(ration("check p.yaml >/dev/full"), EX_IOERR);
}

Test(policy_cli, check_says_shadow)
{
	static const char shadow[] = "version: 1\nclasses: [a]\ndefaults: {mode: shadow}\n"
				     "limits: [{name: x, rate: 1/s, scope: [], margin: 0%}]\n"
				     "vendors: {default: }\n";

	policy_write("p.yaml", shadow, sizeof(shadow) - 1);
	cr_expect_eq(ration("check p.yaml"), EX_OK);
	cr_expect_not_null(strstr(out, "mode: shadow\n"), "%s", out);
}
