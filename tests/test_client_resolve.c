/*
 * tests/test_client_resolve.c - what a key may be, and which buckets it leads to
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shm/names.h"
#include "support_blob.h"
#include "support_check.h"

#define HOUR 3600

TestSuite(resolve, .fini = check_worlds, .timeout = 10);

static const struct policy_desc plain = {
	.classes = {"recovery", "interactive", "bulk"},
	.vendors = {"salesforce", "crm"},
	.limits = {{.name = "rate",
		    .vendor = "salesforce",
		    .scope = RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR,
		    .amount = 1,
		    .period_s = HOUR,
		    .burst = 20},
		   {.name = "rate",
		    .vendor = "crm",
		    .scope = RATION_SCOPE_VENDOR,
		    .amount = 1,
		    .period_s = HOUR,
		    .burst = 20}},
};

static int try_key(struct ration *ration, const struct ration_key *key, struct ration_error *error)
{
	struct ration_handle *handle = NULL;
	const int result = ration_resolve(ration, key, &handle, error);

	cr_assert((handle != NULL) == (result == 0), "the handle is written on success only");
	if (handle)
		ration_handle_free(&handle);
	cr_assert_null(handle);
	return result;
}

/* --- what a field may be --- */

static const struct {
	const char *text;
	int result;
} texts[] = {
	{"acme", 0},
	{"a b/c:d", 0},
	{"caf\xc3\xa9", 0},
	{"\xe2\x82\xac", 0},
	{"\xed\x9f\xbf", 0},
	{"\xee\x80\x80", 0},
	{"\xf0\x90\x80\x80", 0},
	{"\xf4\x8f\xbf\xbf", 0},
	{"\xc2\xa0", 0},
	{"\t", -EINVAL},
	{"a\nb", -EINVAL},
	{"\x7f", -EINVAL},
	{"\x1b[31m", -EINVAL},
	{"\xc2\x80", -EINVAL},         /* a C1 control */
	{"\xc2\x9f", -EINVAL},         /* another */
	{"\xc0\xaf", -EINVAL},         /* overlong */
	{"\xc1\xbf", -EINVAL},         /* overlong */
	{"\xe0\x80\x80", -EINVAL},     /* overlong */
	{"\xe0\x9f\xbf", -EINVAL},     /* overlong */
	{"\xf0\x8f\xbf\xbf", -EINVAL}, /* overlong */
	{"\xed\xa0\x80", -EINVAL},     /* a surrogate */
	{"\xf4\x90\x80\x80", -EINVAL}, /* beyond U+10FFFF */
	{"\xf5\x80\x80\x80", -EINVAL},
	{"\xff", -EINVAL},
	{"\x80", -EINVAL},         /* a continuation with nothing before it */
	{"a\xc3", -EINVAL},        /* cut off */
	{"a\xe2\x82", -EINVAL},    /* cut off */
	{"\xe2\x82z", -EINVAL},    /* cut off */
	{"\xf0\x90\x80z", -EINVAL} /* cut off */
};

Test(resolve, fields_are_utf8_without_controls)
{
	struct ration *ration = world_make(&plain, 64, 2);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const struct ration_key keys[] = {
			{texts[i].text, "crm", "bulk", NULL, NULL},
			{NULL, "crm", "bulk", texts[i].text, NULL},
			{NULL, "crm", "bulk", NULL, texts[i].text},
		};

		for (int k = 0; k < 3; k++) {
			struct ration_error error = {""};

			cr_expect_eq(try_key(ration, &keys[k], &error), texts[i].result,
				     "text %zu in field %d", i, k);
			cr_expect_eq(error.text[0] != '\0', texts[i].result != 0);
		}
	}
	ration_detach(&ration);
}

static const char *repeated(char c, size_t n)
{
	static char text[400];

	cr_assert(n < sizeof(text));
	memset(text, c, n);
	text[n] = '\0';
	return text;
}

Test(resolve, fields_have_a_longest_size)
{
	struct ration *ration = world_make(&plain, 64, 2);
	struct ration_error error;
	struct ration_key key = {.vendor = "salesforce", .traffic_class = "bulk"};

	key.tenant = repeated('t', RATION_KEY_MAX);
	cr_assert_eq(try_key(ration, &key, NULL), 0);
	key.tenant = repeated('t', RATION_KEY_MAX + 1);
	cr_assert_eq(try_key(ration, &key, &error), -EINVAL);
	cr_assert_str_eq(error.text, "the tenant has 257 bytes, at most 256 are allowed");
	key.tenant = NULL;
	key.resource = repeated('r', RATION_KEY_MAX + 1);
	cr_assert_eq(try_key(ration, &key, &error), -EINVAL);
	cr_assert(strstr(error.text, "resource"));
	key.resource = NULL;
	key.vendor = repeated('v', RATION_NAME_MAX + 1);
	cr_assert_eq(try_key(ration, &key, &error), -EINVAL);
	cr_assert_str_eq(error.text, "the vendor has 64 bytes, at most 63 are allowed");
	key.vendor = "crm";
	key.traffic_class = repeated('c', RATION_NAME_MAX + 1);
	cr_assert_eq(try_key(ration, &key, &error), -EINVAL);
	cr_assert(strstr(error.text, "class"));
	ration_detach(&ration);
}

/* --- keys that are nearly the same --- */

static struct bucket_state state_of(struct ration *ration, const char *tenant, const char *account,
				    const char *resource)
{
	struct ration_handle *handle = world_key(ration, tenant, "salesforce", account, resource);
	const struct bucket_state state = world_bucket(ration, handle, "rate");

	ration_handle_free(&handle);
	return state;
}

/* Of the whole key; and the longest that there are. */
static const struct policy_desc by_all = {
	.vendors = {"salesforce"},
	.limits = {{.name = "rate",
		    .vendor = "salesforce",
		    .scope = RATION_SCOPE_TENANT | RATION_SCOPE_ACCOUNT | RATION_SCOPE_RESOURCE,
		    .amount = 1,
		    .period_s = HOUR,
		    .burst = 20}},
};

Test(resolve, long_keys_that_differ_at_their_end_are_two)
{
	struct ration *ration = world_make(&by_all, 64, 2);
	const struct seg *seg = client_seg(ration);
	char one[RATION_KEY_MAX + 1], other[RATION_KEY_MAX + 1], shorter[RATION_KEY_MAX];
	char stored[RATION_KEY_MAX + 1];
	struct bucket_state a, b, c;

	/* 85 times a euro sign, and one byte more. */
	for (size_t i = 0; i < RATION_KEY_MAX - 1; i++)
		one[i] = "\xe2\x82\xac"[i % 3];
	one[RATION_KEY_MAX - 1] = 'x';
	one[RATION_KEY_MAX] = '\0';
	strcpy(other, one);
	other[RATION_KEY_MAX - 1] = 'y';
	memcpy(shorter, one, RATION_KEY_MAX - 1);
	shorter[RATION_KEY_MAX - 1] = '\0';

	a = state_of(ration, one, one, one);
	b = state_of(ration, other, one, one);
	c = state_of(ration, shorter, one, one);
	cr_assert(a.bucket != b.bucket && a.bucket != c.bucket && b.bucket != c.bucket);
	cr_assert_neq(state_of(ration, one, one, other).bucket, a.bucket);
	cr_assert_eq(state_of(ration, one, one, one).bucket, a.bucket);
	names_copy(seg, shm_half_load(&seg->cold[b.bucket].names[NAME_TENANT]), stored,
		   sizeof(stored));
	cr_assert_str_eq(stored, other);
	ration_detach(&ration);
}

Test(resolve, what_stands_in_which_field_matters)
{
	static const char *const keys[][3] = {
		{"ab", "c", ""}, {"a", "bc", ""}, {"abc", "", ""},
		{"", "abc", ""}, {"ab", "", "c"}, {"c", "ab", ""},
		{"", "ab", "c"}, {"a", "b", "c"}, {"a\x01", "", ""},
	};
	const size_t n = sizeof(keys) / sizeof(keys[0]) - 1;
	struct ration *ration = world_make(&by_all, 64, 2);
	const struct ration_key separated = {keys[n][0], "salesforce", "interactive", NULL, NULL};
	uint32_t buckets[sizeof(keys) / sizeof(keys[0])];

	for (size_t i = 0; i < n; i++) {
		buckets[i] = state_of(ration, keys[i][0], keys[i][1], keys[i][2]).bucket;
		for (size_t k = 0; k < i; k++)
			cr_expect_neq(buckets[i], buckets[k], "keys %zu and %zu", i, k);
	}
	/* Nor does any byte stand for the end of a field. */
	cr_assert_eq(try_key(ration, &separated, NULL), -EINVAL);
	ration_detach(&ration);
}

Test(resolve, vendor_and_class_are_required_and_known)
{
	static const char *const none[] = {NULL, "", "-"};
	struct ration *ration = world_make(&plain, 64, 2);
	struct ration_error error;

	for (int i = 0; i < 3; i++) {
		const struct ration_key no_vendor = {"t", none[i], "bulk", NULL, NULL};
		const struct ration_key no_class = {"t", "crm", none[i], NULL, NULL};

		cr_assert_eq(try_key(ration, &no_vendor, &error), -EINVAL);
		cr_assert_str_eq(error.text, "the key has no vendor");
		cr_assert_eq(try_key(ration, &no_class, &error), -EINVAL);
		cr_assert_str_eq(error.text, "the key has no class");
	}
	cr_assert_eq(try_key(ration, &(struct ration_key){"t", "cmr", "bulk", NULL, NULL}, &error),
		     RATION_EVENDOR);
	cr_assert_str_eq(error.text, "no vendor 'cmr' in the policy; known are: crm, salesforce");
	cr_assert_eq(try_key(ration, &(struct ration_key){"t", "crm", "bluk", NULL, NULL}, &error),
		     RATION_ECLASS);
	cr_assert_str_eq(error.text,
			 "no class 'bluk' in the policy; known are: recovery, interactive, bulk");
	cr_assert_eq(try_key(ration, &(struct ration_key){"t", "cmr", "bulk", NULL, NULL}, NULL),
		     RATION_EVENDOR, "the explanation is optional");
	ration_detach(&ration);
}

Test(resolve, a_long_list_of_vendors_is_cut_not_overrun)
{
	struct policy_desc desc = {.vendors = {NULL}};
	char names[16][RATION_NAME_MAX + 1];
	struct ration_error error;
	struct ration *ration;

	for (int i = 0; i < 16; i++) {
		memset(names[i], 'a' + i, RATION_NAME_MAX);
		names[i][RATION_NAME_MAX] = '\0';
		desc.vendors[i] = names[i];
	}
	ration = world_make(&desc, 64, 2);
	cr_assert_eq(
		try_key(ration, &(struct ration_key){NULL, "x", "interactive", NULL, NULL}, &error),
		RATION_EVENDOR);
	cr_assert(strstr(error.text, names[0]) && strlen(error.text) < sizeof(error.text));
	ration_detach(&ration);
}

/* --- which buckets --- */

static uint32_t bucket_of(struct ration *ration, const struct ration_key *key, const char *limit)
{
	struct ration_handle *handle;
	uint32_t bucket;

	cr_assert_eq(ration_resolve(ration, key, &handle, NULL), 0);
	bucket = world_bucket(ration, handle, limit).bucket;
	ration_handle_free(&handle);
	return bucket;
}

static const struct ration_key first_key = {"t1", "one", "recovery", "a1", "r1"};
static const struct ration_key other_keys[] = {
	{"t2", "one", "recovery", "a1", "r1"}, {"t1", "two", "recovery", "a1", "r1"},
	{"t1", "one", "bulk", "a1", "r1"},     {"t1", "one", "recovery", "a2", "r1"},
	{"t1", "one", "recovery", "a1", "r2"},
};

/* Two keys that differ in one field share a bucket exactly if the limit's scope lacks that field. */
Test(resolve, a_bucket_is_counted_per_the_fields_of_its_scope)
{
	for (uint32_t scope = 0; scope < 32; scope++) {
		const struct policy_desc desc = {
			.classes = {"recovery", "bulk"},
			.vendors = {"one", "two"},
			.limits = {{.name = "all", .scope = scope, .amount = 1, .burst = 20}},
		};
		struct ration *ration = world_make(&desc, 64, 2);
		const uint32_t bucket = bucket_of(ration, &first_key, "all");

		cr_assert_eq(bucket, bucket_of(ration, &first_key, "all"));
		for (int field = 0; field < 5; field++) {
			const bool same = bucket == bucket_of(ration, &other_keys[field], "all");

			cr_expect_eq(same, !(scope & 1u << field), "scope %u, field %d", scope,
				     field);
		}
		ration_detach(&ration);
	}
}

Test(resolve, limits_of_one_name_under_two_vendors_are_two)
{
	struct ration *ration = world_make(&plain, 64, 2);
	struct ration_handle *one = world_key(ration, "acme", "salesforce", NULL, NULL);
	struct ration_handle *two = world_key(ration, "acme", "crm", NULL, NULL);
	struct ration_ticket ticket;

	for (int i = 0; i < 20; i++)
		cr_assert_eq(ration_acquire(one, NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ration_acquire(one, NULL, 0, &ticket, NULL), RATION_DENIED);
	cr_assert_eq(ration_acquire(two, NULL, 0, &ticket, NULL), 0);
	ration_handle_free(&one);
	ration_handle_free(&two);
	ration_detach(&ration);
}

Test(resolve, none_is_null_empty_or_a_dash)
{
	static const char *const none[] = {NULL, "", "-"};
	struct ration *ration = world_make(&plain, 64, 2);
	const struct ration_key first = {NULL, "salesforce", "bulk", NULL, NULL};
	const uint32_t bucket = bucket_of(ration, &first, "rate");
	struct ration_handle *handle;
	char buf[16];

	for (int i = 0; i < 3; i++) {
		const struct ration_key key = {none[i], "salesforce", "bulk", none[i], none[i]};

		cr_assert_eq(bucket_of(ration, &key, "rate"), bucket);
	}
	handle = world_key(ration, "-", "salesforce", NULL, NULL);
	cr_assert_str_eq(client_handle_field(handle, KEY_TENANT), "");
	cr_assert_str_eq(client_handle_field(handle, KEY_VENDOR), "salesforce");
	cr_assert_str_eq(client_handle_field(handle, KEY_CLASS), "interactive");
	cr_assert_neq(
		bucket_of(ration, &(struct ration_key){"--", "salesforce", "bulk", "", ""}, "rate"),
		bucket);
	names_copy(client_seg(ration), client_seg(ration)->cold[bucket].names[NAME_TENANT], buf,
		   sizeof(buf));
	cr_assert_str_eq(buf, "");
	ration_handle_free(&handle);
	ration_detach(&ration);
}

/* What is shown for a name that was lost is a name like any other. */
Test(resolve, a_tenant_may_be_a_question_mark)
{
	struct ration *ration = world_make(&plain, 64, 2);
	struct ration_handle *handle = world_key(ration, "?", "salesforce", NULL, NULL);

	cr_assert_eq(world_bucket(ration, handle, "rate").left, 20);
	cr_assert_eq(check_count(), 0, "seg_check() takes the name for a lost one");
	ration_handle_free(&handle);
	ration_detach(&ration);
}

Test(resolve, a_default_vendor_stands_for_the_rest)
{
	const struct policy_desc desc = {
		.vendors = {"known", "default"},
		.default_vendor = "default",
		.limits = {{.name = "few",
			    .vendor = "default",
			    .scope = RATION_SCOPE_VENDOR,
			    .amount = 1,
			    .period_s = HOUR,
			    .burst = 3},
			   {.name = "together",
			    .vendor = "default",
			    .amount = 1,
			    .period_s = HOUR,
			    .burst = 5},
			   {.name = "many",
			    .vendor = "known",
			    .amount = 1,
			    .period_s = HOUR,
			    .burst = 100}},
	};
	struct ration *ration = world_make(&desc, 64, 2);
	struct ration_handle *known = world_key(ration, "t", "known", NULL, NULL);
	struct ration_handle *some = world_key(ration, "t", "some", NULL, NULL);
	struct ration_handle *more = world_key(ration, "t", "more", NULL, NULL);
	struct ration_denial denial;
	struct ration_ticket ticket;

	for (int i = 0; i < 10; i++)
		cr_assert_eq(ration_acquire(known, NULL, 0, &ticket, NULL), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ration_acquire(some, NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ration_acquire(some, NULL, 0, &ticket, &denial), RATION_DENIED);
	cr_assert_str_eq(denial.limit, "few");
	for (int i = 0; i < 2; i++)
		cr_assert_eq(ration_acquire(more, NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ration_acquire(more, NULL, 0, &ticket, &denial), RATION_DENIED);
	cr_assert_str_eq(denial.limit, "together", "the fifth of all unnamed vendors");
	ration_handle_free(&known);
	ration_handle_free(&some);
	ration_handle_free(&more);
	ration_detach(&ration);
}

Test(resolve, a_tenant_with_numbers_of_its_own_gets_them)
{
	struct policy_desc desc = plain;
	struct ration *ration;
	struct ration_handle *gold, *other;

	desc.overrides[0] = (struct override_desc){"zeta", "rate", 1, HOUR, 7};
	desc.overrides[1] = (struct override_desc){"zulu", "rate", 1, HOUR, 50};
	ration = world_make(&desc, 64, 2);
	gold = world_key(ration, "zulu", "salesforce", NULL, NULL);
	other = world_key(ration, "acme", "salesforce", NULL, NULL);
	cr_assert_eq(world_bucket(ration, gold, "rate").left, 50);
	cr_assert_eq(world_bucket(ration, other, "rate").left, 20);
	ration_handle_free(&gold);
	ration_handle_free(&other);
	ration_detach(&ration);
}

Test(resolve, a_vendor_without_limits_admits)
{
	const struct policy_desc desc = {.vendors = {"free"}};
	struct ration *ration = world_make(&desc, 1, 1);
	struct ration_handle *handle = world_key(ration, "t", "free", NULL, NULL);
	struct ration_ticket ticket;

	cr_assert_eq(ration_acquire(handle, NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ticket.n_links, 0);
	cr_assert_eq(ration_settle(ration, &ticket, NULL, 0), 0);
	ration_handle_free(&handle);
	ration_detach(&ration);
}

Test(resolve, sixteen_links_are_charged_together)
{
	struct policy_desc desc = {.vendors = {"long"}};
	char names[RATION_LINKS_MAX][16];
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_ticket ticket;

	for (int i = 0; i < RATION_LINKS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "l%d", i);
		desc.limits[i] = (struct limit_desc){
			.name = names[i], .amount = 1, .period_s = HOUR, .burst = 20};
	}
	ration = world_make(&desc, 64, 1);
	handle = world_key(ration, "t", "long", NULL, NULL);
	cr_assert_eq(ration_acquire(handle, NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ticket.n_links, RATION_LINKS_MAX);
	for (int i = 0; i < RATION_LINKS_MAX; i++)
		cr_assert_eq(world_bucket(ration, handle, names[i]).left, 19);
	cr_assert_eq(ration_cancel(ration, &ticket), 0);
	for (int i = 0; i < RATION_LINKS_MAX; i++)
		cr_assert_eq(world_bucket(ration, handle, names[i]).left, 20);
	ration_handle_free(&handle);
	ration_detach(&ration);
}

/* --- no room --- */

Test(resolve, a_full_table_is_an_error_and_counted)
{
	struct ration *ration = world_make(&plain, 3, 2);
	const struct seg *seg = client_seg(ration);
	struct ration_handle *handles[3];
	struct ration_error error;
	struct ration_ticket ticket;
	char name[16];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		handles[i] = world_key(ration, name, "salesforce", NULL, NULL);
	}
	cr_assert_eq(shm_load(&seg->control->full), 0);
	for (unsigned i = 1; i <= 2; i++) {
		cr_assert_eq(try_key(ration,
				     &(struct ration_key){"t9", "salesforce", "bulk", NULL, NULL},
				     &error),
			     RATION_EFULL);
		cr_assert_str_eq(error.text, "rate: the segment has no room for another bucket");
		cr_assert_eq(shm_load(&seg->control->full), i);
	}
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(ration_acquire(handles[i], NULL, 0, &ticket, NULL), 0);
		ration_handle_free(&handles[i]);
	}
	ration_detach(&ration);
}
