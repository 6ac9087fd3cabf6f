/*
 * tests/test_policy_presets.c - published limits that a policy uses by name
 * SPDX-License-Identifier: MIT
 *
 * What is wrong with a use of them stands in tests/data/policy/errors.txt.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/draft.h"
#include "policy/schema.h"
#include "policy/shipped.h"
#include "support_policy.h"

TestSuite(policy_presets, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 30);

#define S UINT64_C(1000000000)

static struct policy policy;
static struct blob blob;

static void make(const char *body)
{
	policy_make(body, &policy, &blob);
}

static const struct blob_limit *limit_of(const char *vendor, const char *name)
{
	for (uint32_t i = 0; i < blob.n_limits; i++) {
		const struct blob_limit *l = &blob.limits[i];

		if (strcmp(blob_text(&blob, l->name), name) == 0 &&
		    strcmp(blob_text(&blob, l->vendor), vendor) == 0)
			return l;
	}
	return NULL;
}

static const struct blob_limit *expect_limit(const char *vendor, const char *name, uint64_t amount,
					     uint64_t period_ns)
{
	const struct blob_limit *l = limit_of(vendor, name);

	cr_assert_not_null(l, "%s/%s", vendor, name);
	cr_expect_eq(l->numbers.amount, amount, "%s/%s: %lu", vendor, name, l->numbers.amount);
	cr_expect_eq(l->numbers.period_ns, period_ns, "%s/%s: %lu", vendor, name,
		     l->numbers.period_ns);
	return l;
}

/* --- those that are shipped --- */

struct body {
	char *text;
	size_t size;
	FILE *file;
	unsigned presets;
};

static void begin(struct body *body)
{
	*body = (struct body){0};
	body->file = open_memstream(&body->text, &body->size);
	cr_assert_not_null(body->file);
	fputs("vendors:\n", body->file);
}

/* One vendor for each preset of an adapter: the names two spaces in, below "limits:". */
static void use_all(struct body *body, const struct shipped_adapter *adapter)
{
	const char *p = strstr(adapter->text, "\nlimits:\n  ");
	char name[64];

	for (p = p ? p + strlen("\nlimits:\n") : NULL; p && *p == ' '; p = strchr(p, '\n') + 1) {
		if (p[2] == ' ' || sscanf(p, "  %63[a-z0-9-]:\n", name) != 1)
			continue;
		fprintf(body->file, "  %s.%s: { use: %s/%s }\n", adapter->name, name, adapter->name,
			name);
		body->presets++;
	}
}

Test(policy_presets, every_shipped_preset_is_good)
{
	struct body body;

	begin(&body);
	for (const struct shipped_adapter *a = shipped_adapters; a->name; a++)
		use_all(&body, a);
	fclose(body.file);
	cr_expect_geq(body.presets, 50, "%u", body.presets);
	make(body.text);
	cr_expect_geq(blob.n_limits, body.presets);
	free(body.text);
	policy_free(&policy);
}

Test(policy_presets, vendors_that_have_some)
{
	static const char *const vendors[] = {
		"openai", "anthropic", "google-gemini", "salesforce", "hubspot", "shopify",
		"github", "slack",     "stripe",        "xero",       "zendesk", "atlassian",
	};
	struct body body;

	for (size_t i = 0; i < sizeof(vendors) / sizeof(vendors[0]); i++) {
		begin(&body);
		for (const struct shipped_adapter *a = shipped_adapters; a->name; a++) {
			if (strcmp(a->name, vendors[i]) == 0)
				use_all(&body, a);
		}
		fclose(body.file);
		cr_expect_gt(body.presets, 0, "%s", vendors[i]);
		free(body.text);
	}
}

/* --- using them --- */

Test(policy_presets, numbers_of_a_preset)
{
	const struct blob_limit *l;

	make("vendors:\n"
	     "  gpt: { use: openai/tier-3 }\n"
	     "  hub: { use: [hubspot/private-starter, hubspot/search] }\n");
	l = expect_limit("gpt", "tokens", 800000, 60 * S);
	cr_expect_str_eq(blob_text(&blob, l->unit), "tokens");
	cr_expect_eq(l->numbers.burst, 800000);
	cr_expect_eq(l->line, 4, "the line that uses it: %u", l->line);
	cr_expect_eq(l->numbers.margin_ppm, 50000, "the preset's: %u", l->numbers.margin_ppm);
	expect_limit("gpt", "requests", 5000, 60 * S);
	expect_limit("hub", "ten_secondly", 100, 10 * S);
	expect_limit("hub", "search", 5, S);
	policy_free(&policy);
}

Test(policy_presets, own_limits_take_the_place_of_those_of_the_same_name)
{
	const struct blob_limit *l;

	make("vendors:\n"
	     "  openai:\n"
	     "    margin: 0%\n"
	     "    limits:\n"
	     "      - { name: tokens, unit: tokens, rate: 10/s, burst: 600, scope: [tenant] }\n"
	     "      - { name: spend, unit: usd_micros, kind: window, amount: 5M, period: day, "
	     "scope: [] }\n"
	     "    use: openai/tier-1\n");
	cr_expect_eq(blob.n_limits, 3);
	expect_limit("openai", "tokens", 10, S);
	l = expect_limit("openai", "requests", 500, 60 * S);
	cr_expect_eq(l->numbers.margin_ppm, 0, "the vendor's margin");
	cr_expect_not_null(limit_of("openai", "spend"));
	policy_free(&policy);
}

Test(policy_presets, plans_and_tenants_speak_about_them)
{
	const struct blob_limit *l;
	uint32_t tenant;

	make("vendors: { hubspot: { use: hubspot/oauth } }\n"
	     "plans: { big: { hubspot: { ten_secondly: { amount: 150 } } } }\n"
	     "tenants: { acme: { plan: big } }\n");
	l = expect_limit("hubspot", "ten_secondly", 110, 10 * S);
	tenant = blob_find_tenant(&blob, "acme");
	cr_assert_neq(tenant, BLOB_NO_INDEX);
	cr_expect_eq(blob_numbers_for(&blob, (uint32_t)(l - blob.limits), tenant)->amount, 150);
	policy_free(&policy);
}

Test(policy_presets, directory_of_ones_own)
{
	static const char own[] =
		"limits:\n"
		"  tier-1:\n"
		"    source: our contract\n"
		"    date: 2025-12-31\n"
		"    note: agreed upon\n"
		"    limits: [ { name: requests, rate: 7/s, scope: [account] } ]\n"
		"signals: { this is: for others }\n";
	static const char acme[] = "limits: { basic: { source: x, date: 2025-01-01, limits: [ "
				   "{ name: r, rate: 3/s, scope: [] } ] } }\n";

	policy_write("own/openai.yaml", own, sizeof(own) - 1);
	policy_write("own/acme.yaml", acme, sizeof(acme) - 1);
	make("adapters: own\n"
	     "vendors:\n"
	     "  one: { use: openai/tier-1 }\n"
	     "  two: { use: openai/tier-2 }\n"
	     "  three: { use: acme/basic }\n");
	expect_limit("one", "requests", 7, S);
	cr_expect_null(limit_of("one", "tokens"));
	expect_limit("two", "requests", 5000, 60 * S);
	expect_limit("three", "r", 3, S);
	policy_free(&policy);
}

Test(policy_presets, set_by_an_operator)
{
	static const char text[] = "version: 1\nclasses: [a]\nvendors: { xero: { use: "
				   "xero/standard } }\n";
	const struct policy_overlay overlay = {"-", "xero", "minute", "30", true};
	const uint64_t key[2] = {1, 2};
	struct policy_text messages = {0};

	policy_write("policy.yaml", text, sizeof(text) - 1);
	cr_assert_eq(policy_compile_over("policy.yaml", &overlay, 1, 1, key, policy_text_add,
					 &messages, &policy),
		     0, "%s", messages.text);
	cr_assert(blob_open(policy.blob, policy.size, &blob));
	expect_limit("xero", "minute", 30, 60 * S);
	free(messages.text);
	policy_free(&policy);
}
