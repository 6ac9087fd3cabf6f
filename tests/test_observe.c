/*
 * tests/test_observe.c - what vendors say is left, and what becomes of our buckets
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/view.h"
#include "shm/check.h"
#include "shm/view.h"

TestSuite(observe, .timeout = 60);

/* The delay is none: what was charged before a request has arrived before it. */
static const char policy[] =
	"version: 1\nclasses: [bulk]\n"
	"defaults: { delay: 0ms, clock_skew: 1ms, margin: 0% }\n"
	"vendors:\n"
	"  win:\n    limits:\n"
	"      - { name: month, kind: window, period: 365d, amount: 10000, scope: [vendor] }\n"
	"  roll:\n    limits:\n"
	"      - { name: month, kind: rolling, period: 300d, amount: 10000, scope: [vendor] }\n"
	"  buck:\n    limits:\n"
	"      - { name: month, rate: 100/day, burst: 10000, scope: [vendor] }\n"
	"  kept:\n    limits:\n"
	"      - { name: month, kind: rolling, period: 300d, amount: 10000, margin: 10%, scope: "
	"[vendor] }\n"
	"  part:\n    limits:\n"
	"      - { name: month, kind: rolling, period: 300d, amount: 10000, share: 25%, scope: "
	"[vendor] }\n"
	"  late:\n    delay: 60s\n    limits:\n"
	"      - { name: month, kind: rolling, period: 300d, amount: 10000, scope: [vendor] }\n"
	"  two:\n    limits:\n"
	"      - { name: rpm, kind: rolling, period: 1min, amount: 500, scope: [vendor] }\n"
	"      - { name: rpd, told: requests-day, kind: rolling, period: 1d, amount: 10000, scope: "
	"[vendor] }\n"
	"      - { name: tpm, unit: tokens, kind: rolling, period: 1min, amount: 90000, "
	"default_cost: 1,\n"
	"          scope: [vendor] }\n";

#define ALL 10000u

static const char *const kinds[] = {"win", "roll", "buck"};

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
};

static void scene_begin(struct scene *s, const char *vendor)
{
	const struct ration_key key = {.vendor = vendor, .traffic_class = "bulk"};
	char path[] = "/tmp/ration-policy-XXXXXX";
	const int fd = mkstemp(path);
	struct ration_error error;

	cr_assert_eq(write(fd, policy, sizeof(policy) - 1), (ssize_t)sizeof(policy) - 1);
	close(fd);
	cr_assert_eq(ration_embed(path, &s->ration, &error), 0, "%s", error.text);
	unlink(path);
	cr_assert_eq(ration_resolve(s->ration, &key, &s->handle, &error), 0, "%s", error.text);
}

static void problem(void *user, const char *what, uint32_t where)
{
	(void)user;
	cr_assert_fail("%s (%u)", what, where);
}

static void scene_end(struct scene *s)
{
	seg_check(client_seg(s->ration), client_now(s->ration), true, problem, NULL);
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
}

static struct ration_ticket take(struct scene *s, const char *unit, uint64_t amount)
{
	const struct ration_cost cost = {unit, amount};
	struct ration_denial denial;
	struct ration_ticket ticket;

	cr_assert_eq(ration_acquire(s->handle, &cost, 1, &ticket, &denial), 0, "left %llu",
		     (unsigned long long)denial.left);
	return ticket;
}

/* As a denial says of more than there is. */
static uint64_t left(struct scene *s, const char *unit)
{
	struct ration_cost cost = {unit, ALL};
	struct ration_ticket ticket;
	struct ration_denial denial = {.left = 0};
	int result = ration_acquire(s->handle, &cost, 1, &ticket, &denial);

	if (result == RATION_OVERSIZE) {
		cost.amount = denial.size;
		result = ration_acquire(s->handle, &cost, 1, &ticket, &denial);
	}
	if (result == RATION_DENIED)
		return denial.left;
	cr_assert_eq(result, 0);
	cr_assert_eq(ration_cancel(s->ration, &ticket), 0);
	return cost.amount;
}

static struct ration_told told_of(const char *name, uint64_t limit, uint64_t remaining)
{
	struct ration_told told = {.limit = limit,
				   .remaining = remaining,
				   .reset_in_ns = RATION_UNKNOWN,
				   .window_ns = RATION_UNKNOWN};

	snprintf(told.name, sizeof(told.name), "%s", name);
	return told;
}

static void observe(struct scene *s, const struct ration_ticket *ticket, struct ration_told told)
{
	struct ration_signal signal = {.status = 200, .retry_in_ns = RATION_UNKNOWN, .n_told = 1};

	signal.told[0] = told;
	cr_assert_eq(ration_observe(s->handle, ticket, &signal), 0);
}

static void say(struct scene *s, const struct ration_ticket *ticket, uint64_t remaining)
{
	observe(s, ticket, told_of("month", ALL, remaining));
}

static uint64_t foreign(struct scene *s)
{
	const struct seg *seg = client_seg(s->ration);
	uint64_t units = 0;

	for (uint32_t i = 0; i < seg->n_buckets; i++) {
		if (KIND_OF(shm_half_load(&seg->hot[i].kind)) == KIND_VIEW)
			units += shm_load(&seg->cold[i].admitted);
	}
	return units;
}

/* A mark costs a window one unit, and within a hundredth nothing is given back. */
static void expect_left(struct scene *s, const char *kind, uint64_t wanted)
{
	const uint64_t found = left(s, "requests"), slack = kind[0] == 'b' ? 1 : ALL / 100 + 2;

	cr_expect_leq(found, wanted, "%s: %llu of %llu", kind, (unsigned long long)found,
		      (unsigned long long)wanted);
	cr_expect_geq(found + slack, wanted, "%s: %llu of %llu", kind, (unsigned long long)found,
		      (unsigned long long)wanted);
}

Test(observe, less_is_left_than_we_thought)
{
	for (int i = 0; i < 3; i++) {
		struct ration_ticket ticket;
		struct scene s;

		scene_begin(&s, kinds[i]);
		ticket = take(&s, "requests", 10);
		cr_expect_eq(left(&s, "requests"), ALL - 10);
		say(&s, &ticket, 4000);
		expect_left(&s, kinds[i], 4000);
		/* What was known is not foreign: 10 are ours. */
		cr_expect_geq(foreign(&s), ALL - 10 - 4000 - 1, "%s: %llu", kinds[i],
			      (unsigned long long)foreign(&s));
		cr_expect_leq(foreign(&s), ALL - 10 - 4000);
		cr_expect_eq(ration_cancel(s.ration, &ticket), 0);
		expect_left(&s, kinds[i], 4000);
		scene_end(&s);
	}
}

/* The vendor's limit is another, and nobody has spent of it. */
Test(observe, less_is_there_than_we_thought)
{
	for (int i = 0; i < 3; i++) {
		struct scene s;

		scene_begin(&s, kinds[i]);
		observe(&s, NULL, told_of("month", 4000, 4000));
		expect_left(&s, kinds[i], 4000);
		cr_expect_eq(foreign(&s), 0, "nobody has spent what was never there");
		scene_end(&s);
	}
}

Test(observe, as_much_as_we_knew_changes_nothing)
{
	for (int i = 0; i < 3; i++) {
		struct ration_ticket ticket, later;
		struct scene s;

		scene_begin(&s, kinds[i]);
		ticket = take(&s, "requests", 10);
		later = take(&s, "requests", 500);
		say(&s, &ticket, ALL - 10);
		say(&s, &ticket, ALL - 300);
		say(&s, &later, ALL - 510);
		expect_left(&s, kinds[i], ALL - 510);
		cr_expect_eq(foreign(&s), 0);
		cr_expect_eq(ration_cancel(s.ration, &later), 0);
		expect_left(&s, kinds[i], ALL - 10);
		scene_end(&s);
	}
}

/*
 * Taken, and never sent: the vendor knows nothing of it. (What a rolling limit charged in the present cell may be on its
 * way: test_rolling.c moves the clock.)
 */
Test(observe, more_is_left_than_we_thought)
{
	for (int i = 0; i < 3; i += 2) {
		struct ration_ticket ticket;
		struct scene s;

		scene_begin(&s, kinds[i]);
		(void)take(&s, "requests", 5000);
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 1);
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 2);
		expect_left(&s, kinds[i], ALL - 2);
		scene_end(&s);
	}
}

/* Of what was charged after the request was permitted, and of what it shows itself, the vendor may not know. */
Test(observe, what_may_be_on_its_way_is_not_given_back)
{
	for (int i = 0; i < 3; i++) {
		struct ration_ticket ticket, on_its_way;
		struct scene s;

		scene_begin(&s, kinds[i]);
		(void)take(&s, "requests", 5000);
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 1);
		ticket = take(&s, "requests", 1);
		on_its_way = take(&s, "requests", 2000);
		say(&s, &ticket, ALL - 2);
		say(&s, &ticket, ALL - 2);
		cr_expect_leq(left(&s, "requests"), ALL - 2002);
		cr_expect_eq(ration_cancel(s.ration, &on_its_way), 0);
		cr_expect_leq(left(&s, "requests"), ALL - 2);
		scene_end(&s);
	}
}

Test(observe, without_a_ticket_nothing_is_given_back)
{
	for (int i = 0; i < 3; i++) {
		struct scene s;

		scene_begin(&s, kinds[i]);
		(void)take(&s, "requests", 5000);
		say(&s, NULL, ALL);
		say(&s, NULL, ALL);
		expect_left(&s, kinds[i], 5000);
		say(&s, NULL, 100);
		expect_left(&s, kinds[i], 100);
		scene_end(&s);
	}
}

/* A request that is 60 s late at most says nothing of what was charged within 60 s before it. */
Test(observe, a_delay_is_waited_for)
{
	struct ration_ticket ticket;
	struct scene s;

	scene_begin(&s, "late");
	(void)take(&s, "requests", 5000);
	for (int i = 0; i < 3; i++) {
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 1);
	}
	cr_expect_eq(left(&s, "requests"), 4997);
	scene_end(&s);
}

/* A late settle and a credit for the same units: they come back once. */
Test(observe, nothing_comes_back_twice)
{
	for (int i = 0; i < 3; i++) {
		const struct ration_cost little = {"requests", 1};
		struct ration_ticket estimate, ticket;
		struct scene s;

		scene_begin(&s, kinds[i]);
		estimate = take(&s, "requests", 5000);
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 2);
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 3);
		cr_expect_eq(ration_settle(s.ration, &estimate, &little, 1), 0);
		cr_expect_leq(left(&s, "requests"), ALL - 3, "%s: %llu", kinds[i],
			      (unsigned long long)left(&s, "requests"));
		scene_end(&s);
	}
}

/* The settle came first: the mark says more than was there, and is not believed. */
Test(observe, a_mark_from_before_a_settle_gives_nothing_back)
{
	for (int i = 0; i < 3; i++) {
		const struct ration_cost little = {"requests", 1};
		struct ration_ticket estimate, ticket;
		struct scene s;

		scene_begin(&s, kinds[i]);
		estimate = take(&s, "requests", 5000);
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 2);
		cr_expect_eq(ration_settle(s.ration, &estimate, &little, 1), 0);
		(void)take(&s, "requests", 4000);
		ticket = take(&s, "requests", 1);
		say(&s, &ticket, ALL - 4003);
		cr_expect_leq(left(&s, "requests"), ALL - 4003);
		scene_end(&s);
	}
}

/* Of what the vendor has, the margin is not ours. */
Test(observe, the_margin_stays_unused)
{
	struct ration_ticket ticket;
	struct scene s;

	scene_begin(&s, "kept");
	ticket = take(&s, "requests", 1);
	say(&s, &ticket, 3000);
	cr_expect_eq(left(&s, "requests"), 2000);
	say(&s, &ticket, 500);
	cr_expect_eq(left(&s, "requests"), 0);
	scene_end(&s);
}

/* One host of four: what the others use is theirs, and of what is left a fourth is ours. */
Test(observe, a_share_of_what_is_left)
{
	struct ration_ticket ticket;
	struct scene s;

	scene_begin(&s, "part");
	ticket = take(&s, "requests", 1000);
	cr_expect_eq(left(&s, "requests"), 1500);
	say(&s, &ticket, 5000);
	cr_expect_leq(left(&s, "requests"), 1500);
	say(&s, &ticket, 400);
	cr_expect_eq(left(&s, "requests"), 100);
	scene_end(&s);
}

static uint64_t remaining_of(struct scene *s, const char *limit)
{
	const struct blob *blob = client_blob(s->ration);
	const char *field[KEY_FIELDS];
	struct bucket_ref bucket, view;

	for (int i = 0; i < KEY_FIELDS; i++)
		field[i] = client_handle_field(s->handle, (enum key_field)i);
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		if (strcmp(blob_text(blob, blob->limits[i].name), limit) != 0 ||
		    index_find(client_seg(s->ration), client_identity(blob, i, field), &bucket) !=
			    INDEX_FOUND ||
		    !client_view_find(s->ration, bucket, &view))
			continue;
		return view_value(client_seg(s->ration), view, VIEW_REMAINING);
	}
	return 0;
}

/* By its name, by the name the policy gives, by its time; by its unit where that is enough. */
Test(observe, the_limit_that_is_meant)
{
	struct ration_ticket ticket;
	struct ration_told told;
	struct scene s;

	scene_begin(&s, "two");
	ticket = take(&s, "requests", 1);
	observe(&s, &ticket, told_of("rpm", 500, 400));
	cr_expect_eq(remaining_of(&s, "rpm"), 401);
	cr_expect_eq(remaining_of(&s, "rpd"), 0);
	observe(&s, &ticket, told_of("requests-day", 10000, 9000));
	cr_expect_eq(remaining_of(&s, "rpd"), 9001);
	told = told_of("", 500, 300);
	observe(&s, &ticket, told);
	cr_expect_eq(remaining_of(&s, "rpm"), 401, "either could be meant");
	told.window_ns = UINT64_C(60000000000);
	observe(&s, &ticket, told);
	cr_expect_eq(remaining_of(&s, "rpm"), 301);
	told.window_ns = UINT64_C(3600000000000);
	told.remaining = 1;
	observe(&s, &ticket, told);
	cr_expect_eq(remaining_of(&s, "rpm"), 301, "of an hour we have none");
	told = told_of("input", 90000, 1234);
	snprintf(told.unit, sizeof(told.unit), "tokens");
	observe(&s, &ticket, told);
	cr_expect_eq(remaining_of(&s, "tpm"), 1235);
	scene_end(&s);
}

Test(observe, nonsense_is_refused_and_changes_nothing)
{
	struct ration_signal signal = {.n_told = RATION_TOLD_MAX + 1};
	struct scene s;

	scene_begin(&s, "roll");
	cr_expect_eq(ration_observe(s.handle, NULL, &signal), -EINVAL);
	signal.n_told = 1;
	signal.told[0] = told_of("month", ALL, 0);
	memset(signal.told[0].name, 'x', sizeof(signal.told[0].name));
	cr_expect_eq(ration_observe(s.handle, NULL, &signal), -EINVAL);
	signal.n_told = 0;
	signal.reach = (enum ration_reach)77;
	cr_expect_eq(ration_observe(s.handle, NULL, &signal), -EINVAL);
	cr_expect_eq(left(&s, "requests"), ALL);
	scene_end(&s);
}
