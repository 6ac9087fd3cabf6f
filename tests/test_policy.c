/*
 * tests/test_policy.c - good policies: what is in the blob, and in which order
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ration/ration.h>

#include "policy/draft.h"
#include "policy/scalar.h"
#include "shm/hash.h"
#include "shm/layout.h"
#include "support_policy.h"

TestSuite(policy, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 30);

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

static struct policy policy;
static struct blob blob;

static const struct blob_limit *limit_named(const char *vendor, const char *name)
{
	for (uint32_t i = 0; i < blob.n_limits; i++) {
		const struct blob_limit *l = &blob.limits[i];

		if (strcmp(blob_text(&blob, l->name), name) == 0 &&
		    strcmp(blob_text(&blob, l->vendor), vendor) == 0)
			return l;
	}
	cr_assert_fail("no limit %s/%s", vendor, name);
	return NULL;
}

static const struct blob_numbers *numbers_named(const char *vendor, const char *name,
						const char *tenant)
{
	const struct blob_limit *l = limit_named(vendor, name);
	const uint32_t t = blob_find_tenant(&blob, tenant);

	cr_assert_neq(t, BLOB_NO_INDEX, "%s", tenant);
	return blob_numbers_for(&blob, (uint32_t)(l - blob.limits), t);
}

static void expect_written(const struct blob_numbers *n, uint64_t amount, uint64_t period_ns,
			   uint64_t burst)
{
	cr_expect_eq(n->amount, amount, "%lu", n->amount);
	cr_expect_eq(n->period_ns, period_ns, "%lu", n->period_ns);
	cr_expect_eq(n->burst, burst, "%lu", n->burst);
}

/* The chain of a vendor as "limit limit ..." */
static void expect_chain(const char *vendor, const char *expected)
{
	const struct blob_run *run = blob_chain(&blob, blob_find_vendor(&blob, vendor), 0);
	char text[256] = "";

	for (uint32_t i = 0; i < run->count; i++) {
		const struct blob_limit *l = &blob.limits[blob.links[run->first + i].limit];

		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 0 ? " " : "",
			 blob_text(&blob, l->name));
	}
	cr_expect_str_eq(text, expected, "%s: %s", vendor, text);
}

Test(policy, header)
{
	policy_make("vendors: {crm: }\n", &policy, &blob);
	cr_expect_eq(blob.header->generation, 7);
	cr_expect_eq(blob.header->hash_key[0], 3);
	cr_expect_eq(blob.header->hash_key[1], 4);
	cr_expect_eq(blob.header->mode.count, 0);
	cr_expect_eq(blob.header->default_vendor, BLOB_NO_INDEX);
	cr_expect_eq(blob.header->size, policy.size);
	policy_free(&policy);
	cr_expect_null(policy.blob);
}

/* The same policy is the same blob, byte for byte. */
Test(policy, reproducible)
{
	static const char body[] =
		"vendors:\n  crm: {limits: [{name: x, rate: 5/s, scope: [tenant]}]}\n"
		"plans: {p: {crm: {x: {rate: 6/s}}}}\n"
		"tenants: {b: {plan: p}, a: {crm: {x: {burst: 2}}}}\n";
	struct policy again;

	policy_make(body, &policy, &blob);
	policy_make(body, &again, &blob);
	cr_assert_eq(policy.size, again.size);
	cr_expect_eq(memcmp(policy.blob, again.blob, again.size), 0);
	policy_free(&policy);
	policy_free(&again);
}

Test(policy, classes_in_order)
{
	static const char file[] =
		"version: 1\nclasses: [z, y, a, x, b, w, c, v]\nvendors: {crm: }\n";
	char *text;

	policy_write("p.yaml", file, sizeof(file) - 1);
	cr_assert_eq(policy_compile_text("p.yaml", &policy, &text), 0, "%s", text);
	cr_assert(blob_open(policy.blob, policy.size, &blob));
	cr_expect_eq(blob.n_classes, 8);
	cr_expect_eq(blob_find_class(&blob, "z"), 0);
	cr_expect_eq(blob_find_class(&blob, "a"), 2);
	cr_expect_eq(blob_find_class(&blob, "v"), 7);
	cr_expect_eq(blob_find_class(&blob, "q"), BLOB_NO_INDEX);
	free(text);
	policy_free(&policy);
}

Test(policy, vendors_chains_and_the_default_one)
{
	policy_make("limits: [{name: all, rate: 9/s, scope: []}]\n"
		    "vendors:\n"
		    "  zulu: {limits: [{name: b, rate: 1/s, scope: []}, {name: a, rate: 1/s, "
		    "scope: []}]}\n"
		    "  default: {limits: [{name: d, rate: 1/s, scope: [vendor]}]}\n"
		    "  Alpha:\n",
		    &policy, &blob);
	expect_chain("zulu", "b a all");
	expect_chain("Alpha", "all");
	expect_chain("default", "d all");
	expect_chain("anything else", "d all");
	cr_expect_str_eq(blob_text(&blob, blob.vendors[0].name), "Alpha");
	cr_expect_str_eq(blob_text(&blob, limit_named("", "all")->vendor), "");
	policy_free(&policy);
}

Test(policy, sixteen_links_fit)
{
	char body[2048] = "vendors:\n  crm:\n    limits:\n";

	for (int i = 0; i < 16; i++)
		snprintf(body + strlen(body), sizeof(body) - strlen(body),
			 "      - {name: l%d, rate: 1/s, scope: []}\n", i);
	policy_make(body, &policy, &blob);
	expect_chain("crm", "l0 l1 l2 l3 l4 l5 l6 l7 l8 l9 l10 l11 l12 l13 l14 l15");
	policy_free(&policy);
}

Test(policy, limit_as_written)
{
	policy_make("vendors:\n"
		    "  ai:\n"
		    "    limits:\n"
		    "      - {name: t, unit: tokens, kind: bucket, rate: 1M/min, burst: 20k,\n"
		    "         scope: [resource, account, tenant, vendor, class], margin: 2.5%,\n"
		    "         share: 25%, delay: 10ms, default_cost: 1.2k}\n"
		    "      - {name: r, rate: 5/s, scope: []}\n"
		    "      - {name: u, unit: points, rate: 5/s, burst: 7, scope: []}\n",
		    &policy, &blob);
	const struct blob_limit *t = limit_named("ai", "t"), *r = limit_named("ai", "r");

	expect_written(&t->numbers, 1000000, 60 * S, 20000);
	cr_expect_eq(t->numbers.margin_ppm, 25000);
	cr_expect_eq(t->numbers.share_ppm, 250000);
	cr_expect_eq(t->numbers.delay_ns, 10 * MS);
	cr_expect_eq(t->scope, 31);
	cr_expect_eq(t->kind, KIND_BUCKET);
	cr_expect_eq(t->unit_hash, hash_unit("tokens"));
	cr_expect_eq(t->flags, LIMIT_HAS_DEFAULT_COST);
	cr_expect_eq(t->default_cost, 1200);
	cr_expect_eq(t->line, 6);
	/* A request is one request; of other units somebody must say how many. */
	cr_expect_str_eq(blob_text(&blob, r->unit), "requests");
	cr_expect_eq(r->flags, LIMIT_HAS_DEFAULT_COST);
	cr_expect_eq(r->default_cost, 1);
	cr_expect_eq(limit_named("ai", "u")->flags, 0);
	policy_free(&policy);
}

/* One second's worth, and at least 1: of the rate in force, not of the one below it. */
Test(policy, default_burst)
{
	policy_make("vendors:\n"
		    "  crm:\n"
		    "    limits:\n"
		    "      - {name: a, rate: 90/s, scope: [tenant]}\n"
		    "      - {name: b, rate: 90/min, scope: [tenant]}\n"
		    "      - {name: c, rate: 5/h, scope: [tenant]}\n"
		    "      - {name: d, rate: 2.5/s, scope: [tenant]}\n"
		    "tenants: {t: {crm: {a: {rate: 200/s}}}}\n",
		    &policy, &blob);
	expect_written(&limit_named("crm", "a")->numbers, 90, S, 90);
	expect_written(&limit_named("crm", "b")->numbers, 90, 60 * S, 1);
	expect_written(&limit_named("crm", "c")->numbers, 5, 3600 * S, 1);
	expect_written(&limit_named("crm", "d")->numbers, 25, 10 * S, 2);
	expect_written(numbers_named("crm", "a", "t"), 200, S, 200);
	policy_free(&policy);
}

/* Built in, defaults, vendor, limit: the nearest wins. */
Test(policy, inheritance)
{
	policy_make(
		"defaults: {delay: 10ms, share: 50%}\n"
		"vendors:\n"
		"  crm:\n"
		"    delay: 20ms\n"
		"    limits:\n"
		"      - {name: a, rate: 90/s, scope: []}\n"
		"      - {name: b, rate: 90/s, delay: 30ms, margin: 0%, share: 100%, scope: []}\n"
		"  erp: {margin: 5%, limits: [{name: a, rate: 90/s, scope: []}]}\n",
		&policy, &blob);
	const struct blob_numbers *a = &limit_named("crm", "a")->numbers;
	const struct blob_numbers *b = &limit_named("crm", "b")->numbers;
	const struct blob_numbers *erp = &limit_named("erp", "a")->numbers;

	cr_expect(a->delay_ns == 20 * MS && a->share_ppm == 500000 && a->margin_ppm == 100000);
	cr_expect(b->delay_ns == 30 * MS && b->share_ppm == 1000000 && b->margin_ppm == 0);
	cr_expect(erp->delay_ns == 10 * MS && erp->share_ppm == 500000 && erp->margin_ppm == 50000);
	policy_free(&policy);
}

/* A permit is good for the shortest delay that any link of its chain made room for. */
Test(policy, permit_delay)
{
	policy_make("limits: [{name: all, rate: 9/s, delay: 40ms, scope: []}]\n"
		    "vendors:\n"
		    "  crm: {limits: [{name: a, rate: 9/s, delay: 30ms, scope: []}]}\n"
		    "  erp: {delay: 60ms, limits: [{name: a, rate: 9/s, scope: []}]}\n",
		    &policy, &blob);
	cr_expect_eq(blob.vendors[blob_find_vendor(&blob, "crm")].delay_ns, 30 * MS);
	cr_expect_eq(blob.vendors[blob_find_vendor(&blob, "erp")].delay_ns, 40 * MS);
	policy_free(&policy);
	policy_make("defaults: {delay: 7ms}\nvendors: {crm: , erp: {delay: 0}}\n", &policy, &blob);
	cr_expect_eq(blob.vendors[blob_find_vendor(&blob, "crm")].delay_ns, 7 * MS);
	cr_expect_eq(blob.vendors[blob_find_vendor(&blob, "erp")].delay_ns, 0);
	policy_free(&policy);
}

/* The tenant's own number, else its plan's, else the limit's: field by field. */
Test(policy, plans_and_tenants)
{
	policy_make("limits: [{name: each, rate: 9/s, burst: 9, scope: [tenant]}]\n"
		    "vendors:\n"
		    "  crm:\n"
		    "    limits:\n"
		    "      - {name: b, rate: 10/s, burst: 20, scope: [tenant]}\n"
		    "      - {name: a, rate: 30/s, burst: 40, margin: 0%, scope: [tenant]}\n"
		    "plans:\n"
		    "  gold: {crm: {a: {rate: 300/s}, b: {burst: 200, margin: 1%}}}\n"
		    "tenants:\n"
		    "  zed: {plan: gold}\n"
		    "  acme: {plan: gold, crm: {a: {burst: 7}}, limits: {each: {rate: 8/s, share: "
		    "50%}}}\n"
		    "  \"null\": {crm: {b: {rate: 11/min}}}\n"
		    "  Ümläut & Söhne:\n",
		    &policy, &blob);
	expect_written(numbers_named("crm", "a", "zed"), 300, S, 40);
	expect_written(numbers_named("crm", "b", "zed"), 10, S, 200);
	cr_expect_eq(numbers_named("crm", "b", "zed")->margin_ppm, 10000);
	expect_written(numbers_named("crm", "a", "acme"), 300, S, 7);
	expect_written(numbers_named("crm", "b", "acme"), 10, S, 200);
	expect_written(numbers_named("", "each", "acme"), 8, S, 9);
	cr_expect_eq(numbers_named("", "each", "acme")->share_ppm, 500000);
	expect_written(numbers_named("crm", "b", "null"), 11, 60 * S, 20);
	expect_written(numbers_named("crm", "a", "Ümläut & Söhne"), 30, S, 40);
	cr_expect_str_eq(blob_text(&blob, blob.tenants[blob_find_tenant(&blob, "acme")].plan),
			 "gold");
	cr_expect_eq(blob_find_tenant(&blob, "gold"), BLOB_NO_INDEX);
	policy_free(&policy);
}

Test(policy, routes)
{
	const struct blob_route *route;
	const struct blob_alternative *run;

	policy_make("vendors: {crm: , ai: }\n"
		    "routes:\n"
		    "  z: [crm/a/b, ai]\n"
		    "  a: {alternatives: [{vendor: ai, weight: 7, classes: [a]}], classes: [a]}\n",
		    &policy, &blob);
	cr_assert_eq(blob.n_routes, 2);
	cr_assert_eq(blob_find_route(&blob, "crm"), BLOB_NO_INDEX);
	route = &blob.routes[blob_find_route(&blob, "z")];
	run = &blob.alternatives[route->first];
	cr_assert_eq(route->count, 2);
	cr_expect_str_eq(blob_text(&blob, run[0].name), "crm/a/b");
	cr_expect_str_eq(blob_text(&blob, run[0].resource), "a/b");
	cr_expect_eq(run[0].vendor, blob_find_vendor(&blob, "crm"));
	cr_expect_eq(run[0].weight, 0);
	cr_expect_str_eq(blob_text(&blob, run[1].name), "ai");
	cr_expect_str_eq(blob_text(&blob, run[1].resource), "");
	route = &blob.routes[blob_find_route(&blob, "a")];
	cr_expect_eq(blob.alternatives[route->first].weight, 7);
	cr_expect_eq(blob.alternatives[route->first].classes, 1);
	policy_free(&policy);
}

Test(policy, shadow)
{
	int64_t until;

	policy_make("defaults: {mode: shadow}\nvendors: {crm: }\n", &policy, &blob);
	cr_expect_eq(blob_denied(&blob, &blob.header->mode, 0, &until), 0);
	cr_expect_eq(until, INT64_MAX);
	policy_free(&policy);
}

/* Relative to the including file, its own directory's odd characters taken literally. */
Test(policy, includes)
{
	static const char main_file[] =
		"version: 1\nclasses: [a]\ninclude: [\"*.d/*.yaml\", v.yaml]\n";
	static const char vendors[] = "version: 1\nvendors: {crm: {limits: [{name: x, rate: 5/s, "
				      "scope: [tenant]}]}}\nplans: {p: {crm: {x: {rate: 6/s}}}}\n"
				      "include: more/e.yaml\n";
	char *text;

	policy_write("odd [x]*/policy.yaml", main_file, sizeof(main_file) - 1);
	policy_write("odd [x]*/t.d/1.yaml", "tenants: {b: {plan: p}}\n", 24);
	policy_write("odd [x]*/t.d/2.yaml", "tenants: {a: }\n", 15);
	policy_write("odd [x]*/v.yaml", vendors, sizeof(vendors) - 1);
	policy_write("odd [x]*/more/e.yaml", "limits: [{name: all, rate: 7/s, scope: []}]\n", 44);
	cr_assert_eq(policy_compile_text("odd [x]*/policy.yaml", &policy, &text), 0, "%s", text);
	cr_assert(blob_open(policy.blob, policy.size, &blob));
	cr_expect_eq(blob.n_tenants, 2);
	expect_chain("crm", "x all");
	expect_written(numbers_named("crm", "x", "b"), 6, S, 6);
	free(text);
	policy_free(&policy);
}

Test(policy, crlf_and_byte_order_mark)
{
	static const char file[] =
		"\xef\xbb\xbfversion: 1\r\nclasses: [a]\r\nvendors:\r\n  crm:\r\n";
	char *text;

	policy_write("p.yaml", file, sizeof(file) - 1);
	cr_assert_eq(policy_compile_text("p.yaml", &policy, &text), 0, "%s", text);
	free(text);
	policy_free(&policy);
}

/* A hundred thousand tenants, read in an order that is not theirs. */
Test(policy, many_tenants)
{
	enum { N = 100000 };
	char *body = malloc(N * 32 + 200), *p = body, name[16];

	cr_assert_not_null(body);
	p += sprintf(p, "vendors: {crm: {limits: [{name: x, rate: 5/s, scope: [tenant]}]}}\n"
			"plans: {p: {crm: {x: {rate: 6/s}}}}\ntenants:\n");
	for (int i = 0; i < N; i++)
		p += sprintf(p, "  t%u: {plan: p}\n", (unsigned)((size_t)i * 77777 % N));
	policy_make(body, &policy, &blob);
	cr_expect_eq(blob.n_tenants, N);
	for (int i = 0; i < N; i += 997) {
		snprintf(name, sizeof(name), "t%d", i);
		expect_written(numbers_named("crm", "x", name), 6, S, 6);
	}
	/* All of them share the plan's one run. */
	cr_expect_eq(blob.header->tables[BLOB_OVERRIDES].count, 1);
	policy_free(&policy);
	free(body);
}

/* --- memory that runs out at each point in turn --- */

static void ignore(void *user, const struct policy_message *message)
{
	(void)user;
	(void)message;
}

Test(policy, out_of_memory)
{
	static const char body[] =
		"version: 1\nclasses: [a]\nvendors: {crm: {limits: [{name: x, rate: 5/s, scope: "
		"[tenant]}]}}\nplans: {p: {crm: {x: {rate: 6/s}}}}\ninclude: b.yaml\n";
	static const uint64_t key[2] = {1, 2};
	size_t budget = 0;
	int result;

	policy_write("p.yaml", body, sizeof(body) - 1);
	policy_write("b.yaml", "tenants: {a: {plan: p, crm: {x: {burst: 3}}}}\n", 46);
	while ((result = compile_within(budget, "p.yaml", 1, key, ignore, NULL, &policy)) ==
	       -ENOMEM) {
		cr_assert_null(policy.blob);
		budget += 16;
	}
	cr_expect_eq(result, 0);
	cr_expect_gt(budget, 100 * 16, "%zu", budget);
	policy_free(&policy);
}

/* --- scalars --- */

Test(policy, rates)
{
	static const struct {
		const char *text;
		uint64_t amount, period_ns;
	} good[] = {
		{"100/s", 100, S},
		{"90000/min", 90000, 60 * S},
		{"100k/day", 100000, 86400 * S},
		{"1M/min", 1000000, 60 * S},
		{"0.5/s", 5, 10 * S},
		{"1.5k/h", 1500, 3600 * S},
		{"2G/d", 2000000000, 86400 * S},
		{"1.250/minute", 125, 6000 * S},
		{"1/second", 1, S},
		{"7/hour", 7, 3600 * S},
		{"7/sec", 7, S},
		{"007.0/s", 7, S},
		{"1099511627775/s", RATION_COST_MAX, S},
	};
	struct rate rate;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert(scalar_rate(good[i].text, &rate), "%s", good[i].text);
		cr_expect_eq(rate.amount, good[i].amount, "%s", good[i].text);
		cr_expect_eq(rate.period_ns, good[i].period_ns, "%s", good[i].text);
	}
}

Test(policy, durations_percents_counts)
{
	uint64_t v;

	cr_expect(scalar_duration("50ms", 3600 * S, &v) && v == 50 * MS);
	cr_expect(scalar_duration("100us", 3600 * S, &v) && v == 100000);
	cr_expect(scalar_duration("1.5m", 3600 * S, &v) && v == 90 * S);
	cr_expect(scalar_duration("1d", 86400 * S, &v) && v == 86400 * S);
	cr_expect(scalar_duration("0", 3600 * S, &v) && v == 0);
	cr_expect(scalar_duration("0.0s", 3600 * S, &v) && v == 0);
	cr_expect_not(scalar_duration("1.5ns", 3600 * S, &v));
	cr_expect_not(scalar_duration("50", 3600 * S, &v));
	cr_expect_not(scalar_duration("3601s", 3600 * S, &v));
	cr_expect_not(scalar_duration("99999999999999d", UINT64_MAX, &v));
	cr_expect(scalar_percent("25%", 1000000, &v) && v == 250000);
	cr_expect(scalar_percent("0.5%", 1000000, &v) && v == 5000);
	cr_expect(scalar_percent("99.9999%", 999999, &v) && v == 999999);
	cr_expect(scalar_percent("0%", 1000000, &v) && v == 0);
	cr_expect_not(scalar_percent("0.00001%", 1000000, &v));
	cr_expect_not(scalar_percent("25", 1000000, &v));
	cr_expect_not(scalar_percent("-1%", 1000000, &v));
	cr_expect(scalar_count("1.5k", &v) && v == 1500);
	cr_expect(scalar_count("3G", &v) && v == 3000000000);
	cr_expect(scalar_count("1099511627775", &v) && v == RATION_COST_MAX);
	cr_expect_not(scalar_count("1099511627776", &v));
	cr_expect_not(scalar_count("1.5", &v));
	cr_expect_not(scalar_count("5K", &v));
	cr_expect_not(scalar_count("", &v));
}

/* --- blocks and the breaker --- */

Test(policy, blocks_and_the_breaker)
{
	policy_make("defaults: { max_block: 2h, breaker: { window: 20s, least: 5 } }\n"
		    "vendors:\n"
		    "  a: {}\n"
		    "  b: { max_block: 1m, breaker: { share: 12.5%, open: 90s } }\n"
		    "  c: { breaker: none }\n",
		    &policy, &blob);
	cr_assert_eq(blob.n_vendors, 3);
	cr_expect_eq(blob.vendors[0].max_block_ns, UINT64_C(7200) * 1000000000);
	cr_expect_eq(blob.vendors[0].breaker.window_ns, UINT64_C(20000000000));
	cr_expect_eq(blob.vendors[0].breaker.share_ppm, 500000);
	cr_expect_eq(blob.vendors[0].breaker.least, 5);
	cr_expect_eq(blob.vendors[0].breaker.open_ns, UINT64_C(30000000000));
	cr_expect_eq(blob.vendors[1].max_block_ns, UINT64_C(60000000000));
	cr_expect_eq(blob.vendors[1].breaker.window_ns, UINT64_C(20000000000));
	cr_expect_eq(blob.vendors[1].breaker.share_ppm, 125000);
	cr_expect_eq(blob.vendors[1].breaker.open_ns, UINT64_C(90000000000));
	cr_expect_eq(blob.vendors[2].breaker.window_ns, 0);
	policy_free(&policy);
}
