/*
 * tests/test_client_text.c - results and denials in words
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "support_blob.h"
#include "support_check.h"

TestSuite(text, .fini = check_worlds, .timeout = 10);

static const struct ration_denial example = {
	.vendor = "salesforce",
	.limit = "org-rate",
	.unit = "requests",
	.scope = RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR,
	.left = 3,
	.size = 20,
	.needed = 5,
	.retry_in_ns = 20000000,
};

static const struct policy_desc salesforce = {
	.vendors = {"salesforce"},
	.limits = {{.name = "org-rate",
		    .vendor = "salesforce",
		    .scope = RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR,
		    .amount = 100,
		    .burst = 20}},
};

static void expect_text(const struct ration_denial *denial, const struct ration_handle *handle,
			const char *wanted)
{
	char text[400];

	cr_expect_eq(ration_denial_text(denial, handle, text, sizeof(text)), (int)strlen(wanted));
	cr_expect_str_eq(text, wanted);
}

Test(text, a_denial_reads_like_a_sentence)
{
	struct ration *ration = world_make(&salesforce, 16, 1);
	struct ration_handle *acme = world_key(ration, "acme", "salesforce", "a1", NULL);
	struct ration_handle *none = world_key(ration, NULL, "salesforce", NULL, NULL);
	struct ration_denial d = example;

	expect_text(&d, acme,
		    "denied: salesforce/org-rate (tenant acme): 3 of 20 left, needs 5; "
		    "retry in 20 ms");
	expect_text(&d, none,
		    "denied: salesforce/org-rate (tenant -): 3 of 20 left, needs 5; "
		    "retry in 20 ms");
	expect_text(&d, NULL, "denied: salesforce/org-rate: 3 of 20 left, needs 5; retry in 20 ms");
	d.scope = RATION_SCOPE_VENDOR;
	expect_text(&d, acme,
		    "denied: salesforce/org-rate: 3 of 20 left, needs 5; "
		    "retry in 20 ms");
	d.scope = 31;
	expect_text(&d, acme,
		    "denied: salesforce/org-rate (tenant acme, class interactive, "
		    "account a1, resource -): 3 of 20 left, needs 5; retry in 20 ms");
	d.scope = 0;
	d.vendor[0] = '\0';
	strcpy(d.unit, "tokens");
	expect_text(&d, acme, "denied: org-rate: 3 of 20 tokens left, needs 5; retry in 20 ms");
	d.needed = 2;
	expect_text(&d, acme,
		    "denied: org-rate: 3 of 20 tokens left, needs 2; paced, retry in 20 ms");
	d.needed = 21;
	expect_text(&d, acme, "denied: org-rate: 3 of 20 tokens left, needs 21; can never fit");
	ration_handle_free(&acme);
	ration_handle_free(&none);
	ration_detach(&ration);
}

/* The real thing: 3 of 20 are left, 2 more come within 20 ms. */
Test(text, the_example_of_the_manual)
{
	struct ration *ration = world_make(&salesforce, 16, 1);
	struct ration_handle *acme = world_key(ration, "acme", "salesforce", NULL, NULL);
	struct ration_ticket ticket;
	struct ration_denial denial;
	char text[400];
	int result;

	do { /* until it is quick enough to meet the bucket with no more than 3 in it */
		(void)!ration_acquire(acme, &(struct ration_cost){"requests", 20}, 1, &ticket,
				      NULL);
		world_advance(ration, 30000000);
		result = ration_acquire(acme, &(struct ration_cost){"requests", 5}, 1, &ticket,
					&denial);
	} while (result == 0 || denial.left != 3);
	cr_assert_eq(result, RATION_DENIED);
	ration_denial_text(&denial, acme, text, sizeof(text));
	cr_assert(strstr(text, "denied: salesforce/org-rate (tenant acme): 3 of 20 left, needs 5; "
			       "retry in ") == text,
		  "%s", text);
	cr_assert(denial.retry_in_ns > 10000000 && denial.retry_in_ns <= 20000001);
	ration_handle_free(&acme);
	ration_detach(&ration);
}

Test(text, a_duration_has_a_unit_that_fits)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} durations[] = {
		{0, "0 us"},
		{1, "0.1 us"},
		{999, "1 us"},
		{1000, "1 us"},
		{1500, "1.5 us"},
		{1501, "1.6 us"}, /* rounded up: retrying earlier would be in vain */
		{999000, "999 us"},
		{1000000, "1 ms"},
		{1234567, "1.3 ms"},
		{20000000, "20 ms"},
		{150000000, "150 ms"},
		{150100000, "151 ms"}, /* three digits are enough */
		{1000000000, "1 s"},
		{3500000000, "3.5 s"},
		{59000000000, "59 s"},
		{60000000000, "1 min"},
		{90000000000, "1.5 min"},
		{3600000000000, "1 h"},
		{7200000000000, "2 h"},
		{86400000000000, "1 d"},
		{864000000000000, "10 d"},
		{31557600000000000, "366 d"},
		{UINT64_MAX, "213504 d"},
	};

	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		struct ration_denial d = example;
		char text[200];

		d.retry_in_ns = durations[i].ns;
		ration_denial_text(&d, NULL, text, sizeof(text));
		cr_expect_str_eq(strstr(text, "retry in ") + 9, durations[i].text, "%lu ns",
				 durations[i].ns);
	}
}

/* As snprintf: what would have been written is returned, what fits is written and terminated. */
Test(text, a_small_buffer_is_not_overrun)
{
	static const char whole[] =
		"denied: salesforce/org-rate: 3 of 20 left, needs 5; retry in 20 ms";

	for (size_t size = 0; size <= sizeof(whole) + 1; size++) {
		char text[sizeof(whole) + 8];

		memset(text, '#', sizeof(text));
		cr_assert_eq(ration_denial_text(&example, NULL, text, size), sizeof(whole) - 1);
		cr_assert_eq(text[size], '#');
		if (size > 0) {
			const size_t fits = size < sizeof(whole) ? size - 1 : sizeof(whole) - 1;

			cr_assert_eq(strlen(text), fits);
			cr_assert_eq(memcmp(text, whole, fits), 0);
		}
	}
	cr_assert_eq(ration_denial_text(&example, NULL, NULL, 0), sizeof(whole) - 1);
}

Test(text, every_result_has_words_of_its_own)
{
	static const int codes[] = {0,
				    RATION_DENIED,
				    RATION_OVERSIZE,
				    RATION_CONTENDED,
				    RATION_BUSY,
				    RATION_WAITING,
				    RATION_ESUPERVISOR,
				    RATION_ELAYOUT,
				    RATION_ENOTREADY,
				    RATION_EVENDOR,
				    RATION_ECLASS,
				    RATION_EUNIT,
				    RATION_EFULL,
				    RATION_ECORRUPT,
				    RATION_EPOLICY,
				    RATION_EWORKERS,
				    RATION_ELOST,
				    -EINVAL,
				    -ENOMEM,
				    -EACCES,
				    -EINTR};
	const size_t n = sizeof(codes) / sizeof(codes[0]);

	for (size_t i = 0; i < n; i++) {
		cr_assert_str_neq(ration_strerror(codes[i]), "unknown result");
		for (size_t k = 0; k < i; k++)
			cr_assert_str_neq(ration_strerror(codes[i]), ration_strerror(codes[k]));
	}
	cr_assert_str_eq(ration_strerror(-EACCES), "Permission denied");
	cr_assert_str_eq(ration_strerror(7), "unknown result");
	cr_assert_str_eq(ration_strerror(-999999), "unknown result");
	cr_assert_str_eq(ration_strerror(RATION_ELOST - 1), "unknown result");
	cr_assert_eq(ration_strerror(-ENOENT), ration_strerror(-ENOENT), "a constant string");
}
