/*
 * tests/test_policy_diff.c - ration diff: what another policy would change, in words
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "support_cli.h"
#include "support_policy.h"

/* Programs are sought below $RATION_BUILD, which may be relative to where the test began. */
static void enter(void)
{
	const char *build = getenv("RATION_BUILD");
	char *absolute = realpath(build ? build : "build", NULL);

	cr_assert_not_null(absolute);
	setenv("RATION_BUILD", absolute, 1);
	free(absolute);
	policy_dir_enter();
}

TestSuite(policy_diff, .init = enter, .fini = policy_dir_leave, .timeout = 60);

static const char head[] = "version: 1\nclasses: [a, b]\ndefaults: {margin: 0%}\n";

static void write_policy(const char *path, const char *first, const char *body)
{
	char *file;
	const int size = asprintf(&file, "%s%s", first, body);

	cr_assert_geq(size, 0);
	policy_write(path, file, (size_t)size);
	free(file);
}

static void run(struct cli_result *r, int status)
{
	CLI(r, "diff", "old.yaml", "new.yaml");
	cli_expect(r, status, NULL, NULL);
}

/* What `diff` says of two policies that differ only in what follows their head. */
static void expect_diff(const char *old, const char *new, const char *expected)
{
	struct cli_result r;

	write_policy("old.yaml", head, old);
	write_policy("new.yaml", head, new);
	run(&r, expected[0] ? 1 : EX_OK);
	cr_expect_str_eq(r.out, expected, "%s", r.out);
	cr_expect_str_eq(r.err, "", "%s", r.err);
	cli_free(&r);
}

#define VENDOR(limits) "vendors:\n  v:\n    limits:\n" limits
#define RATE           "      - {name: r, rate: 100/s, burst: 50, scope: [tenant], delay: 0s}\n"

Test(policy_diff, nothing)
{
	expect_diff(VENDOR(RATE), VENDOR(RATE), "");
	expect_diff(VENDOR(RATE), "# another comment\n" VENDOR(RATE), "");
}

Test(policy_diff, numbers)
{
	expect_diff(VENDOR(RATE),
		    VENDOR("      - {name: r, rate: 20/s, burst: 50, scope: [tenant], delay: 0s,\n"
			   "         classes: {a: {guarantee: 10/s}}}\n"),
		    "limit v/r\n"
		    "  written: 100/s, burst 50 becomes 20/s, burst 50\n"
		    "  effective: 100/s, burst 50 becomes 20/s, burst 50\n"
		    "  a: now guaranteed 10/s, burst 1; beyond that leaves 1\n"
		    "  b: now leaves 1\n"
		    "  what was spent stays spent\n");
}

Test(policy_diff, shapes)
{
	static const char *const anew[] = {
		"  it counts anew, and begins with what the old count shows as spent\n",
		"  it counts anew, and begins with all of it spent\n",
	};
	static const char *const changed[] = {
		"      - {name: r, kind: window, amount: 5, period: day, scope: [tenant]}\n",
		"      - {name: r, kind: window, amount: 5, period: day, scope: [vendor]}\n",
		"      - {name: r, kind: window, amount: 5, period: week, scope: [vendor]}\n",
		"      - {name: r, kind: window, amount: 5, period: week, scope: [vendor],\n"
		"         timezone: Asia/Tokyo}\n",
		"      - {name: r, kind: window, amount: 5, period: week, scope: [vendor],\n"
		"         timezone: Asia/Tokyo, offset: 1h}\n",
	};
	const char *before = RATE;

	for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
		struct cli_result r;
		char body[512];

		snprintf(body, sizeof(body), VENDOR("%s"), before);
		write_policy("old.yaml", head, body);
		snprintf(body, sizeof(body), VENDOR("%s"), changed[i]);
		write_policy("new.yaml", head, body);
		run(&r, 1);
		/* The second one changes per whom it is counted. */
		cr_expect(strstr(r.out, anew[i == 1]), "%s", r.out);
		cli_free(&r);
		before = changed[i];
	}
}

Test(policy_diff, what_comes_and_goes)
{
	expect_diff(
		VENDOR(RATE) "tenants: {t: {v: {r: {rate: 7/s, burst: 7}}}}\n",
		"vendors:\n  w:\n    limits:\n"
		"      - {name: s, kind: concurrency, slots: 3, scope: [], mode: shadow}\n",
		"vendor v is gone: requests for it are refused, unless vendor 'default' stands "
		"for it\n"
		"vendor w is new\n"
		"  permits are good for: 50 ms\n"
		"  clock_skew: 50 ms\n"
		"  max_block: 25 h\n"
		"  breaker: opens for 30 s when 50 % of 10 or more responses in 10 s were limited\n"
		"limit v/r is gone: what it has counted is forgotten\n"
		"limit w/s is new: nothing of it is used yet\n"
		"  kind: concurrency limit\n"
		"  unit: slots\n"
		"  counted: for all requests together\n"
		"  written: 3 at a time\n"
		"  effective: 3 at a time\n"
		"  delay: a slot is free 50 ms after its request was given up\n"
		"  mode: shadow\n"
		"tenant t is gone: it has what everybody has\n");
}

#define TWO "vendors: {v: , w: }\n"

Test(policy_diff, routes)
{
	expect_diff(TWO "routes: {best: [v/x, w], old: [v]}\n",
		    TWO "routes: {best: [w, v/y], new: {alternatives: [{vendor: v, weight: 2}, "
			"{vendor: w, weight: 1, classes: [b]}]}}\n",
		    "route best\n"
		    "  v/x: no longer choice 1\n"
		    "  w: choice 2 becomes choice 1\n"
		    "  v/y: now choice 2\n"
		    "route new is new\n"
		    "  v: weight 2 of 3\n"
		    "  w: weight 1 of 3; for b\n"
		    "route old is gone: requests for it are refused, unless vendor 'default' "
		    "stands for it\n");
}

Test(policy_diff, tenants)
{
	expect_diff(VENDOR(RATE) "plans: {p: {v: {r: {rate: 7/s, burst: 7}}}}\n"
				 "tenants: {t: {plan: p}, u: {plan: p}}\n",
		    VENDOR(RATE) "plans: {p: {v: {r: {rate: 7/s, burst: 8}}}}\n"
				 "tenants: {t: {plan: p}, u: }\n",
		    "tenant t\n"
		    "  v/r: 7/s, burst 7 becomes 7/s, burst 8\n"
		    "tenant u\n"
		    "  plan: no longer p\n"
		    "  v/r: no longer 7/s, burst 7\n");
}

Test(policy_diff, classes)
{
	struct cli_result r;

	write_policy("old.yaml", "version: 1\nclasses: [a, {name: b, owner: x}, c]\n",
		     "vendors: {v: }\n");
	write_policy("new.yaml",
		     "version: 1\nclasses: [b, {name: d, queue: 5, users: [0]}, {name: c, mode: "
		     "{soft: [d]}}]\ndefaults: {mode: shadow}\n",
		     "vendors: {v: }\n");
	run(&r, 1);
	cr_expect_str_eq(r.out,
			 "the policy\n"
			 "  mode: enforce becomes shadow\n"
			 "class a is gone: requests of it are refused\n"
			 "class b\n"
			 "  protected after: a becomes none: the most protected\n"
			 "  owner: no longer x\n"
			 "class c\n"
			 "  protected after: b becomes d\n"
			 "  mode: enforce becomes denies only d\n"
			 "class d is new\n"
			 "  protected after: b\n"
			 "  may be claimed by: user 0\n"
			 "  queue: 5\n"
			 "  retry: sent at most 3 times in 1 min, after waits of up to 1 s, "
			 "doubling up to 1 min; 20% of the first tries earn one\n"
			 "  mode: enforce\n",
			 "%s", r.out);
	cli_free(&r);
}

Test(policy_diff, refuses)
{
	struct cli_result r;

	write_policy("old.yaml", head, VENDOR(RATE));
	write_policy("new.yaml", head, "vendors: {v: {rte: 1}}\n");
	run(&r, EX_DATAERR);
	cr_expect_str_eq(r.out, "");
	cr_expect(strncmp(r.err, "new.yaml:4:15: error: unknown key 'rte'", 38) == 0, "%s", r.err);
	cli_free(&r);
	CLI(&r, "diff", "old.yaml", "none.yaml");
	cli_expect(&r, EX_NOINPUT, "",
		   "none.yaml: error: cannot be read: No such file or directory\n");
	cli_free(&r);
	CLI(&r, "diff", "old.yaml");
	cli_expect(&r, EX_USAGE, "", NULL);
	cli_free(&r);
}
