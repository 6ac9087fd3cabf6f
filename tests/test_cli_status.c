/*
 * tests/test_cli_status.c - ration status and ration explain against a real supervisor
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "support_cli.h"
#include "support_rationd.h"

static const char policy[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 0ms }\n"
	"limits:\n"
	"  - { name: platform, rate: 2/h, burst: 500, scope: [], margin: 0% }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 20, scope: [tenant, vendor], margin: 0% }\n"
	"  llm:\n"
	"    limits:\n"
	"      - { name: tpm, unit: tokens, rate: 60/h, burst: 1000, scope: [account], margin: 10% "
	"}\n"
	"plans:\n"
	"  gold:\n"
	"    crm: { rate: { rate: 2/h, burst: 40 } }\n"
	"tenants:\n"
	"  acme: { plan: gold }\n";

static void acquire(const struct rationd *d, const char *tenant, const char *cost, int status)
{
	struct cli_result r;

	CLI(&r, "acquire", tenant, "crm", "bulk", "--cost", cost, "--socket", d->socket);
	cr_assert_eq(r.status, status, "%s", r.err);
	cli_free(&r);
}

Test(cli_status, an_empty_segment)
{
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	CLI(&r, "status", "--socket", d.socket);
	cli_expect(&r, EX_OK, "0 of 65536 buckets, 0 workers, policy generation 1\n", "");
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_status, a_table_for_people)
{
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	acquire(&d, "globex", "requests=17", EX_OK);
	acquire(&d, "acme", "requests=1", EX_OK);
	acquire(&d, "globex", "requests=5", EX_TEMPFAIL);
	CLI(&r, "status", "--socket", d.socket);
	cli_expect(&r, EX_OK,
		   "LIMIT     FOR            LEFT   OF  RATE  ADMITTED  DENIED\n"
		   "crm/rate  tenant=acme      39   40   2/h         1       0\n"
		   "crm/rate  tenant=globex     3   20   1/h         1       1\n"
		   "platform  everyone        482  500   2/h         2       0\n"
		   "\n"
		   "3 of 65536 buckets, 0 workers, policy generation 1\n",
		   "");
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* Shadow mode: what would have been denied, and who was drawing then. */
Test(cli_status, shadow_denials_and_who_competed)
{
	static const char shadowed[] =
		"version: 1\n"
		"classes: [interactive, bulk]\n"
		"defaults: { delay: 0ms, mode: shadow }\n"
		"limits:\n"
		"  - { name: all, rate: 1/h, burst: 10, scope: [], margin: 0% }\n"
		"vendors:\n"
		"  crm: {}\n";
	json_t *root, *shadow;
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, shadowed, NULL);
	acquire(&d, "acme", "requests=10", EX_OK);
	acquire(&d, "acme", "requests=3", EX_OK);
	acquire(&d, "acme", "requests=3", EX_OK);
	CLI(&r, "acquire", "acme", "crm", "interactive", "--socket", d.socket);
	cr_assert_eq(r.status, EX_OK, "%s", r.err);
	cli_free(&r);
	CLI(&r, "status", "--socket", d.socket);
	cr_expect(strstr(r.out,
			 "shadow: all would have denied interactive 1 times (1 units), last "));
	cr_expect(strstr(r.out, "shadow: all would have denied bulk 2 times (6 units), last "));
	cr_expect(strstr(r.out, " ago; drawing then: bulk ("));
	cli_free(&r);
	CLI(&r, "status", "--json", "--socket", d.socket);
	root = json_loads(r.out, 0, NULL);
	cr_assert(root, "%s", r.out);
	shadow = json_object_get(root, "shadow");
	cr_expect_eq(json_array_size(shadow), 2);
	cr_expect_eq(json_integer_value(json_object_get(json_array_get(shadow, 1), "denied")), 2);
	json_decref(root);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_status, json)
{
	struct cli_result r;
	struct rationd d;
	json_t *root, *bucket;

	rationd_start(&d, policy, NULL);
	acquire(&d, "globex", "requests=17", EX_OK);
	acquire(&d, "globex", "requests=5", EX_TEMPFAIL);
	CLI(&r, "status", "--json", "--socket", d.socket);
	cli_expect(&r, EX_OK, NULL, "");
	root = json_loads(r.out, 0, NULL);
	cr_assert(root, "%s", r.out);
	cr_expect_eq(json_at(root, "policy_generation"), 1);
	cr_expect_eq(json_at(root, "counters.corrupt"), 0);
	cr_expect_eq(json_at(root, "counters.forgotten"), 0);
	cr_expect_eq(json_array_size(json_object_get(root, "workers")), 0);
	cr_assert_eq(json_array_size(json_object_get(root, "buckets")), 2);
	bucket = json_array_get(json_object_get(root, "buckets"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "limit")), "crm/rate");
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "tenant")), "globex");
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "vendor")), "crm");
	cr_expect(json_is_null(json_object_get(bucket, "account")));
	cr_expect_eq(json_at(bucket, "left"), 3);
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "kind")), "bucket");
	cr_expect_eq(json_array_size(json_object_get(bucket, "waiting")), 0);
	cr_expect_eq(json_at(bucket, "burst"), 20);
	cr_expect_float_eq(json_at(bucket, "rate_per_s"), 1.0 / 3600, 1e-7);
	cr_expect_eq(json_at(bucket, "admitted"), 1);
	cr_expect_eq(json_at(bucket, "denied"), 1);
	json_decref(root);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* --- limits of every kind --- */

static const char every_kind[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: monthly, kind: window, amount: 1000, period: month, scope: [tenant] }\n"
	"      - { name: yearly, kind: rolling, amount: 500, period: 365d, scope: [vendor] }\n"
	"      - { name: in-flight, kind: concurrency, slots: 2, max_hold: 1h, scope: [tenant] }\n";

/* A pipe that has been given what it asked for. */
static struct cli_process *holder_start(const struct rationd *d, const char *line)
{
	const char *args[] = {"pipe", "--socket", d->socket, NULL};
	struct cli_process *p = malloc(sizeof(*p));

	cli_start(p, args);
	cli_write(p, line);
	cr_assert(strncmp(cli_read_line(p), "{\"ok\":true,", 11) == 0);
	return p;
}

static void holder_end(struct cli_process *p)
{
	struct cli_result r;

	cli_close_input(p);
	cli_wait(p, &r);
	cli_free(&r);
	free(p);
}

static json_t *status_of(const struct rationd *d)
{
	struct cli_result r;
	json_t *root;

	CLI(&r, "status", "--json", "--socket", d->socket);
	cli_expect(&r, EX_OK, NULL, "");
	root = json_loads(r.out, 0, NULL);
	cr_assert(root, "%s", r.out);
	cli_free(&r);
	return root;
}

static json_t *bucket_of(json_t *root, const char *limit)
{
	json_t *bucket;
	size_t i;

	json_array_foreach(json_object_get(root, "buckets"), i, bucket)
	{
		if (strcmp(json_string_value(json_object_get(bucket, "limit")), limit) == 0)
			return bucket;
	}
	cr_assert_fail("no bucket of %s", limit);
	return NULL;
}

#define LEASE(more) "{\"op\":\"lease\",\"tenant\":\"acme\",\"vendor\":\"crm\"" more "}\n"

Test(cli_status, windows_periods_slots_and_their_holders)
{
	struct cli_process *a, *b;
	struct rationd d;
	json_t *root, *bucket, *holder;

	rationd_start(&d, every_kind, NULL);
	a = holder_start(&d, LEASE(",\"class\":\"bulk\",\"cost\":{\"requests\":3}"));
	b = holder_start(&d, LEASE(",\"class\":\"interactive\""));
	root = status_of(&d);
	bucket = bucket_of(root, "crm/monthly");
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "kind")), "window");
	cr_expect_eq(json_at(bucket, "amount"), 1000);
	cr_expect_eq(json_at(bucket, "used"), 4);
	cr_expect_eq(json_at(bucket, "left"), 996);
	cr_expect_geq(json_at(bucket, "period_s"), 28 * 86400);
	cr_expect_leq(json_at(bucket, "ends_in_s"), json_at(bucket, "period_s"));
	bucket = bucket_of(root, "crm/yearly");
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "kind")), "rolling");
	cr_expect_eq(json_at(bucket, "used"), 4);
	cr_expect_eq(json_at(bucket, "left"), 496);
	cr_expect_eq(json_at(bucket, "period_s"), 365 * 86400);
	bucket = bucket_of(root, "crm/in-flight");
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "kind")), "concurrency");
	cr_expect_eq(json_at(bucket, "slots"), 2);
	cr_expect_eq(json_at(bucket, "left"), 0);
	cr_expect_geq(json_at(bucket, "max_hold_s"), 3600);
	cr_assert_eq(json_array_size(json_object_get(bucket, "holders")), 2);
	for (size_t i = 0; i < 2; i++) {
		bool of_a;

		holder = json_array_get(json_object_get(bucket, "holders"), i);
		of_a = json_at(holder, "pid") == a->pid;
		cr_expect(of_a || json_at(holder, "pid") == b->pid);
		cr_expect_str_eq(json_string_value(json_object_get(holder, "class")),
				 of_a ? "bulk" : "interactive");
		cr_expect_leq(json_at(holder, "age_s"), 3600);
	}
	json_decref(root);
	holder_end(a);
	holder_end(b);
	root = status_of(&d);
	cr_expect_eq(json_at(bucket_of(root, "crm/in-flight"), "left"), 2);
	json_decref(root);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* Ten were taken, a hundred were used, and max_debt is five. */
Test(cli_status, what_settles_could_not_count)
{
	static const char small_debt[] = "version: 1\n"
					 "classes: [bulk]\n"
					 "vendors:\n"
					 "  crm:\n"
					 "    limits:\n"
					 "      - { name: b, rate: 1/h, burst: 10, scope: [], "
					 "margin: 0%, delay: 0s, max_debt: 5 }\n";
	struct cli_process *p;
	struct cli_result r;
	struct rationd d;
	json_t *root;

	rationd_start(&d, small_debt, NULL);
	p = holder_start(&d, "{\"op\":\"acquire\",\"tenant\":\"acme\",\"vendor\":\"crm\","
			     "\"class\":\"bulk\",\"cost\":{\"requests\":10}}\n");
	cli_write(p, "{\"op\":\"settle\",\"ticket\":4096,\"cost\":{\"requests\":100}}\n");
	cr_assert_str_eq(cli_read_line(p), "{\"ok\":true}");
	root = status_of(&d);
	cr_expect_eq(json_at(root, "counters.forgotten"), 1);
	json_decref(root);
	CLI(&r, "status", "--socket", d.socket);
	cli_expect(&r, EX_OK, NULL, "");
	cr_expect(strstr(r.out, "\n1 actual costs beyond max_debt, or settled too late: "
				"not charged in full\n"),
		  "%s", r.out);
	cli_free(&r);
	holder_end(p);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* Who waits stands in line a moment after it was told to: look until it does. */
/* --- what is blocked --- */

/* The blocks of one state: how many, and one of them. */
static size_t blocks_in(const struct rationd *d, const char *state, json_t **ret_one)
{
	struct cli_result r;
	json_t *status, *one;
	size_t i, n = 0;

	CLI(&r, "status", "--json", "--socket", d->socket);
	cr_assert_eq(r.status, EX_OK, "%s", r.err);
	status = json_loads(r.out, 0, NULL);
	cr_assert(status);
	*ret_one = NULL;
	json_array_foreach(json_object_get(status, "blocks"), i, one)
	{
		if (strcmp(json_string_value(json_object_get(one, "state")), state) != 0)
			continue;
		n++;
		json_decref(*ret_one);
		*ret_one = json_incref(one);
	}
	json_decref(status);
	cli_free(&r);
	return n;
}

static void expect_said(const char *text, const char *said)
{
	cr_expect(strstr(text, said), "'%s' is not in: %s", said, text);
}

Test(cli_block, blocked_shown_and_lifted)
{
	struct cli_result r;
	struct rationd d;
	json_t *one;

	rationd_start(&d, policy, NULL);
	CLI(&r, "block", "acme", "crm", "--for", "1h", "--socket", d.socket);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);
	CLI(&r, "block", "acme", "llm", "gpt", "--for", "30m", "--socket", d.socket);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);
	CLI(&r, "acquire", "acme", "crm", "bulk", "--socket", d.socket);
	cr_expect_eq(r.status, EX_TEMPFAIL);
	expect_said(r.err, "(block)");
	cli_free(&r);
	acquire(&d, "other", "requests=1", EX_OK);
	cr_expect_eq(blocks_in(&d, "blocked", &one), 2);
	cr_expect_str_eq(json_string_value(json_object_get(one, "tenant")), "acme");
	cr_expect_str_eq(json_string_value(json_object_get(one, "why")), "operator");
	cr_expect_gt(json_at(one, "left_s"), 1500);
	json_decref(one);
	CLI(&r, "status", "--socket", d.socket);
	expect_said(r.out, "blocked: crm tenant=acme");
	expect_said(r.out, "blocked: llm tenant=acme resource=gpt");
	cli_free(&r);
	/* A shorter one does not cut it. */
	CLI(&r, "block", "acme", "crm", "--for", "1s", "--socket", d.socket);
	cli_free(&r);
	(void)blocks_in(&d, "blocked", &one);
	json_decref(one);
	CLI(&r, "unblock", "acme", "crm", "--socket", d.socket);
	cli_expect(&r, EX_OK, "1 lifted\n", "");
	cli_free(&r);
	CLI(&r, "unblock", "acme", "crm", "--socket", d.socket);
	cli_expect(&r, EX_OK, "0 lifted\n", "");
	cli_free(&r);
	cr_expect_eq(blocks_in(&d, "blocked", &one), 1, "that of the other vendor's resource");
	json_decref(one);
	CLI(&r, "unblock", "acme", "llm", "gpt", "--socket", d.socket);
	cli_expect(&r, EX_OK, "1 lifted\n", "");
	cli_free(&r);
	/* What waited comes in within a second. */
	CLI(&r, "acquire", "acme", "crm", "bulk", "--wait", "60s", "--socket", d.socket);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_block, what_cannot_be_is_refused_in_words)
{
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	CLI(&r, "block", "acme", "crm", "--socket", d.socket);
	cli_expect(&r, EX_USAGE, "", "ration block: for how long? --for TIME\n");
	cli_free(&r);
	CLI(&r, "block", "acme", "crn", "--for", "1s", "--socket", d.socket);
	cli_expect(&r, EX_DATAERR, "", "ration block: no vendor 'crn' in the policy\n");
	cli_free(&r);
	CLI(&r, "unblock", "acme", "crn", "--socket", d.socket);
	cli_expect(&r, EX_DATAERR, "", "ration unblock: no vendor 'crn' in the policy\n");
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_status, holders_and_waiters_for_people)
{
	struct cli_process *a;
	struct cli_result r;
	struct rationd d;
	char expected[256];
	bool waits = false;

	rationd_start(&d, every_kind, NULL);
	a = holder_start(&d, LEASE(",\"class\":\"bulk\""));
	cli_write(a, LEASE(",\"class\":\"interactive\""));
	cr_assert(strncmp(cli_read_line(a), "{\"ok\":true,", 11) == 0);
	cli_write(a, LEASE(",\"class\":\"bulk\",\"wait_ms\":60000"));
	for (int i = 0; i < 600 && !waits; i++) {
		json_t *root = status_of(&d);
		json_t *waiting = json_object_get(bucket_of(root, "crm/in-flight"), "waiting");

		waits = json_array_size(waiting) == 1;
		if (waits) {
			cr_expect_eq(json_at(json_array_get(waiting, 0), "waiting"), 1);
			cr_expect_str_eq(json_string_value(json_object_get(
						 json_array_get(waiting, 0), "class")),
					 "bulk");
		}
		json_decref(root);
	}
	cr_assert(waits);
	CLI(&r, "status", "--socket", d.socket);
	cli_expect(&r, EX_OK, NULL, "");
	snprintf(expected, sizeof(expected), "  pid %d, interactive, for ", (int)a->pid);
	cr_expect(strstr(r.out, "crm/in-flight (tenant=acme) is held by\n"), "%s", r.out);
	cr_expect(strstr(r.out, expected), "%s", r.out);
	cr_expect(strstr(r.out, "crm/in-flight (tenant=acme): 1 of bulk wait, the oldest for "),
		  "%s", r.out);
	cr_expect(strstr(r.out, " to go  "), "%s", r.out);
	cr_expect(strstr(r.out, "  in any 365 days  "), "%s", r.out);
	cr_expect(strstr(r.out, "  at a time  "), "%s", r.out);
	cli_free(&r);
	holder_end(a);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_explain, from_a_supervisor)
{
	static const char before[] =
		"globex/crm/bulk meets 2 limits, all or none of which a request passes:\n"
		"\n"
		"1. crm/rate (requests): 1/h, burst 20, per tenant and vendor\n"
		"   counts    every request of tenant globex, vendor crm\n"
		"   effective 1/h, burst 20 (share 100 %, margin 0 %, delay 0 ns)\n"
		"   from      line 9 of the policy\n"
		"   now       not used yet\n"
		"\n"
		"2. platform (requests): 2/h, burst 500, for all requests together\n"
		"   counts    every request of this host\n"
		"   effective 2/h, burst 500 (share 100 %, margin 0 %, delay 0 ns)\n"
		"   from      line 5 of the policy\n"
		"   now       not used yet\n"
		"\n"
		"A permit is good for 0 ns.\n"
		"The breaker: opens for 30 s when 50 % of 10 or more responses in 10 s were "
		"limited.\n";
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	CLI(&r, "explain", "globex", "crm", "bulk", "--socket", d.socket);
	cli_expect(&r, EX_OK, before, "");
	cli_free(&r);
	acquire(&d, "globex", "requests=17", EX_OK);
	CLI(&r, "explain", "globex/crm/bulk", "--socket", d.socket);
	cli_expect(&r, EX_OK, NULL, "");
	cr_expect(strstr(r.out, "   now       3 of 20 left\n"), "%s", r.out);
	cr_expect(strstr(r.out, "   now       483 of 500 left\n"), "%s", r.out);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* Every kind says how full it is, and what the class has of its own. */
Test(cli_explain, every_kind)
{
	static const char kinds[] =
		"version: 1\nclasses: [a, b]\ndefaults: {margin: 0%}\nvendors:\n  v:\n    limits:\n"
		"      - {name: w, kind: window, amount: 50, period: 400d, scope: [], mode: "
		"shadow,\n"
		"         classes: {a: {guarantee: 10}}}\n"
		"      - {name: r, kind: rolling, amount: 40, period: 30d, scope: [], pace: even}\n"
		"      - {name: s, kind: concurrency, slots: 3, scope: [], max_hold: 1h}\n";
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, kinds, NULL);
	CLI(&r, "acquire", "-", "v", "a", "--socket", d.socket);
	cli_expect(&r, EX_OK, NULL, "");
	cli_free(&r);
	CLI(&r, "explain", "-", "v", "a", "--socket", d.socket);
	cli_expect(&r, EX_OK, NULL, "");
	cr_expect(strncmp(r.out, "-/v/a meets 3 limits", 20) == 0, "%s", r.out);
	cr_expect(strstr(r.out, "   effective 50 in each 400 days, of which 40 for all classes ("),
		  "%s", r.out);
	cr_expect(strstr(r.out, "   a         guaranteed 10\n"), "%s", r.out);
	cr_expect(strstr(r.out, "   mode      shadow\n"), "%s", r.out);
	cr_expect(strstr(r.out, "   now       guarantee: 1 of 10 used\n"), "%s", r.out);
	cr_expect(strstr(r.out, "   now       0 of 40 used\n"), "%s", r.out);
	cr_expect(strstr(r.out, " of 3 used\n"), "%s", r.out);
	cr_expect(strstr(r.out, "   now       1 of 40 used\n"), "%s", r.out);
	cr_expect(strstr(r.out, "   pace      what is left is spread over the time that is left\n"),
		  "%s", r.out);
	cr_expect(strstr(r.out, "   max_hold  1 h\n"), "%s", r.out);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_explain, from_a_file)
{
	struct test_dir dir;
	struct cli_result r;

	dir_make(&dir);
	file_text(dir_path(&dir, "p.yaml"), policy);
	CLI(&r, "explain", "acme/crm/bulk", "--policy", dir_path(&dir, "p.yaml"));
	cli_expect(&r, EX_OK, NULL, "");
	cr_expect(strstr(r.out, "1. crm/rate (requests): 2/h, burst 40, per tenant and vendor\n"),
		  "%s", r.out);
	cr_expect(
		strstr(r.out,
		       "   from      plan gold or tenant acme, instead of line 9 of the policy\n"),
		"%s", r.out);
	cr_expect_not(strstr(r.out, "   now "), "%s", r.out);
	cli_free(&r);

	CLI(&r, "explain", "-", "llm", "bulk", "--account", "proj", "--policy",
	    dir_path(&dir, "p.yaml"));
	cli_expect(&r, EX_OK, NULL, "");
	cr_expect(strncmp(r.out, "-/llm/bulk/proj meets 2 limits", 30) == 0, "%s", r.out);
	cr_expect(strstr(r.out,
			 "   effective 54/h, burst 900 (share 100 %, margin 10 %, delay 0 ns)\n"),
		  "%s", r.out);
	cr_expect(strstr(r.out, "   counts    every request of account proj\n"), "%s", r.out);
	cr_expect(strstr(r.out, "   cost      a request must say how many tokens\n"), "%s", r.out);
	cli_free(&r);

	CLI(&r, "explain", "acme/nope/bulk", "--policy", dir_path(&dir, "p.yaml"));
	cli_expect(&r, EX_CONFIG, "",
		   "ration explain: no vendor 'nope' in the policy; known are: crm, llm\n");
	cli_free(&r);
	CLI(&r, "explain", "acme/crm/nope", "--policy", dir_path(&dir, "p.yaml"));
	cli_expect(&r, EX_CONFIG, "",
		   "ration explain: no class 'nope' in the policy; known are: interactive, bulk\n");
	cli_free(&r);
	dir_remove(&dir);
}
