/*
 * tests/test_cli_status.c - ration status and ration explain against a real supervisor
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
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
		   "LIMIT     FOR            LEFT  BURST  RATE  ADMITTED  DENIED\n"
		   "crm/rate  tenant=acme      39     40   2/h         1       0\n"
		   "crm/rate  tenant=globex     3     20   1/h         1       1\n"
		   "platform  everyone        482    500   2/h         2       0\n"
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
	cr_expect_eq(json_array_size(json_object_get(root, "workers")), 0);
	cr_assert_eq(json_array_size(json_object_get(root, "buckets")), 2);
	bucket = json_array_get(json_object_get(root, "buckets"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "limit")), "crm/rate");
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "tenant")), "globex");
	cr_expect_str_eq(json_string_value(json_object_get(bucket, "vendor")), "crm");
	cr_expect(json_is_null(json_object_get(bucket, "account")));
	cr_expect_eq(json_at(bucket, "left"), 3);
	cr_expect_eq(json_at(bucket, "burst"), 20);
	cr_expect_float_eq(json_at(bucket, "rate_per_s"), 1.0 / 3600, 1e-7);
	cr_expect_eq(json_at(bucket, "admitted"), 1);
	cr_expect_eq(json_at(bucket, "denied"), 1);
	json_decref(root);
	cli_free(&r);
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
		"A permit is good for 0 ns.\n";
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
