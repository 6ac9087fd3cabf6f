/*
 * tests/test_policy_kinds.c - limits of every kind, and what classes claim of them: from the file to the acquire
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ration/ration.h>

#include "client/client.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/take.h"
#include "shm/window.h"
#include "support_policy.h"

TestSuite(policy_kinds, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 60);

#define MS   UINT64_C(1000000)
#define S    (1000 * MS)
#define HOUR (3600 * S)

static struct policy policy;
static struct blob blob;

/* A policy of the classes x, y and z, with these limits of vendor v, which must compile. */
static void make(const char *limits)
{
	char *file, *text;
	const int size = asprintf(&file,
				  "version: 1\nclasses: [x, y, z]\ndefaults: {margin: 0%%}\n"
				  "vendors:\n  v:\n    limits:\n%s",
				  limits);

	cr_assert_geq(size, 0);
	policy_write("policy.yaml", file, (size_t)size);
	policy_free(&policy);
	cr_assert_eq(policy_compile_text("policy.yaml", &policy, &text), 0, "%s", text);
	cr_assert_str_empty(text, "%s", text);
	cr_assert(blob_open(policy.blob, policy.size, &blob));
	free(file);
	free(text);
}

static void done(void)
{
	policy_free(&policy);
}

static const struct blob_limit *limit_named(const char *name)
{
	for (uint32_t i = 0; i < blob.n_limits; i++) {
		if (strcmp(blob_text(&blob, blob.limits[i].name), name) == 0)
			return &blob.limits[i];
	}
	cr_assert_fail("no limit %s", name);
	return NULL;
}

/* The chain of a class: names, with '>' behind what backs the next, '|' behind what the next may stand in for. */
static void expect_chain(const char *class, const char *expected)
{
	const struct blob_run *run = blob_chain(&blob, 0, blob_find_class(&blob, class));
	char text[512] = "";

	for (uint32_t i = 0; i < run->count; i++) {
		const struct blob_link *link = &blob.links[run->first + i];
		const char *behind = link->flags & LINK_BACKING ? ">"
				     : link->flags & LINK_OR    ? "|"
								: "";

		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s%s%s",
			 i > 0 ? " " : "", link->flags & LINK_RELEASED ? "~" : "",
			 blob_text(&blob, blob.limits[link->limit].name), behind);
	}
	cr_expect_str_eq(text, expected, "%s: %s", class, text);
}

/* --- attached to nothing but the file --- */

static struct ration *ration;

static struct ration_handle *handle_of(const char *tenant, const char *class)
{
	const struct ration_key key = {.tenant = tenant, .vendor = "v", .traffic_class = class};
	struct ration_handle *handle;
	struct ration_error error = {""};

	if (!ration)
		cr_assert_eq(ration_embed("policy.yaml", &ration, &error), 0, "%s", error.text);
	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

/* How many are admitted before the first denial, of at most `limit`. */
static unsigned admitted(const char *tenant, const char *class, unsigned limit)
{
	struct ration_handle *handle = handle_of(tenant, class);
	struct ration_ticket ticket;
	unsigned n = 0;

	while (n < limit && ration_acquire(handle, NULL, 0, &ticket, NULL) == 0)
		n++;
	ration_handle_free(&handle);
	return n;
}

static void detach(void)
{
	ration_detach(&ration);
	done();
}

/* --- windows --- */

Test(policy_kinds, windows)
{
	const struct blob_limit *l;

	make("      - {name: d, kind: window, amount: 10k, period: day, timezone: Asia/Tokyo,\n"
	     "         offset: 90m, scope: [tenant, vendor], unit: points, default_cost: 3,\n"
	     "         pace: even, oversize: clamp, max_debt: 70, delay: 10ms}\n"
	     "      - {name: t, kind: window, amount: 5, period: 10s, scope: []}\n");
	l = limit_named("d");
	cr_expect_eq(l->kind, KIND_WINDOW);
	cr_expect_eq(l->calendar, CALENDAR_DAY);
	cr_expect_eq(l->offset_ns, (int64_t)(90 * 60 * S));
	cr_expect_str_eq(blob_text(&blob, blob.zones[l->zone].name), "Asia/Tokyo");
	cr_expect_eq(l->flags, LIMIT_HAS_DEFAULT_COST | LIMIT_PACED | LIMIT_CLAMP);
	cr_expect_eq(l->default_cost, 3);
	cr_expect_eq(window_amount(l->numbers.effective), 10000);
	cr_expect_eq(l->numbers.max_debt, 70);
	cr_expect_eq(blob.vendors[0].delay_ns, 10 * MS);
	cr_expect_eq(blob.vendors[0].clock_skew_ns, 50 * MS);
	l = limit_named("t");
	cr_expect_eq(l->calendar, CALENDAR_LENGTH);
	cr_expect_eq(l->numbers.period_ns, 10 * S);
	cr_expect_eq(l->zone, BLOB_NO_INDEX);
	done();
}

/* Share and margin scale an amount as they scale a rate. */
Test(policy_kinds, amounts_are_scaled)
{
	make("      - {name: w, kind: window, amount: 1000, period: hour, scope: [], share: 25%,\n"
	     "         margin: 10%}\n"
	     "      - {name: s, kind: concurrency, slots: 10, scope: [], share: 25%, margin: "
	     "30%}\n");
	cr_expect_eq(window_amount(limit_named("w")->numbers.effective), 225);
	cr_expect_eq(slots_count(limit_named("s")->numbers.effective), 2);
	done();
}

Test(policy_kinds, a_window_admits_its_amount)
{
	make("      - {name: w, kind: window, amount: 7, period: 400d, scope: [tenant]}\n");
	cr_expect_eq(admitted("a", "x", 100), 7);
	cr_expect_eq(admitted("a", "y", 100), 0);
	cr_expect_eq(admitted("b", "y", 100), 7);
	detach();
}

/* --- rolling limits --- */

Test(policy_kinds, rolling)
{
	const struct blob_limit *l;

	make("      - {name: r, kind: rolling, amount: 100, period: 10s, scope: [tenant], pace: "
	     "even,\n"
	     "         delay: 1s, classes: {x: {guarantee: 10%}, y: {ceiling: 30}, z: {reserve: "
	     "5}}}\n"
	     "      - {name: m, kind: rolling, amount: 100, period: week, scope: []}\n");
	l = limit_named("r");
	cr_expect_eq(l->kind, KIND_ROLLING);
	cr_expect_eq(l->flags, LIMIT_HAS_DEFAULT_COST | LIMIT_PACED);
	cr_expect_eq(rolling_amount(l->numbers.effective), 90);
	cr_expect_eq(l->numbers.period_ns, 10 * S);
	cr_expect_eq(l->numbers.delay_ns, S);
	expect_chain("x", "r:x.guarantee| r m");
	expect_chain("y", "r:y.ceiling r m");
	l = limit_named("r:y.ceiling");
	cr_expect_eq(rolling_amount(l->numbers.effective), 30);
	cr_expect_eq(l->numbers.delay_ns, S);
	cr_expect_eq(limit_named("m")->numbers.period_ns, 7 * 24 * HOUR);
	done();
}

Test(policy_kinds, a_rolling_limit_keeps_its_promises)
{
	make("      - {name: r, kind: rolling, amount: 100, period: 400d, scope: [tenant],\n"
	     "         classes: {x: {guarantee: 10%}, y: {ceiling: 30, reserve: 5}}}\n");
	cr_expect_eq(admitted("a", "y", 1000), 30);
	cr_expect_eq(admitted("a", "z", 1000), 55);
	cr_expect_eq(admitted("a", "x", 1000), 15);
	detach();
}

/* --- concurrency --- */

Test(policy_kinds, slots)
{
	const struct blob_limit *l;

	make("      - {name: s, kind: concurrency, slots: 9, scope: [], order: fifo, max_hold: "
	     "90s,\n"
	     "         classes: {x: {guarantee: 2}, y: {guarantee: 1, ceiling: 4}, z: {ceiling: "
	     "3}}}\n");
	l = limit_named("s");
	cr_expect_eq(l->kind, KIND_SLOTS);
	cr_expect_eq(l->flags, LIMIT_HAS_DEFAULT_COST | LIMIT_FIFO);
	cr_expect_eq(l->hold_ns, 90 * S);
	cr_expect_eq(slots_count(l->numbers.effective), 9);
	cr_expect_geq(slots_hold(l->numbers.effective), 90 * TICKS_PER_SEC);
	cr_expect_leq(slots_hold(l->numbers.effective), 91 * TICKS_PER_SEC);
	cr_expect_eq(l->numbers.by_class[0], BLOB_RANGE(0, 2, 3, 0));
	cr_expect_eq(l->numbers.by_class[1], BLOB_RANGE(2, 1, 3, 4));
	cr_expect_eq(l->numbers.by_class[2], BLOB_RANGE(3, 0, 3, 3));
	expect_chain("x", "s");
	done();
}

/* The two ceilings leave the same slots to their classes. */
Test(policy_kinds, slots_are_guaranteed)
{
	make("      - {name: s, kind: concurrency, slots: 9, scope: [],\n"
	     "         classes: {x: {guarantee: 2}, y: {guarantee: 1, ceiling: 4}, z: {ceiling: "
	     "3}}}\n");
	cr_expect_eq(admitted("a", "z", 100), 3);
	cr_expect_eq(admitted("a", "y", 100), 1);
	cr_expect_eq(admitted("a", "x", 100), 5);
	detach();
}

/* A class alone has all slots but those that are never lent. */
Test(policy_kinds, slots_of_a_class_alone)
{
	make("      - {name: s, kind: concurrency, slots: 9, scope: [],\n"
	     "         classes: {x: {guarantee: 2}, y: {guarantee: 1, reserve: 3}}}\n");
	cr_expect_eq(admitted("a", "z", 100), 3);
	cr_expect_eq(admitted("a", "x", 100), 5);
	detach();
}

/* --- what classes claim of a bucket --- */

Test(policy_kinds, bucket_claims)
{
	const struct blob_limit *l;

	make("      - name: r\n        rate: 100/s\n        burst: 50\n        scope: [vendor]\n"
	     "        delay: 0s\n"
	     "        classes: {x: {reserve: 10}, y: {guarantee: 20/s}, z: {ceiling: 60%}}\n");
	expect_chain("x", "r");
	expect_chain("y", "r:y.guarantee> r");
	expect_chain("z", "r:z.ceiling r");
	l = limit_named("r:y.guarantee");
	cr_expect_eq(l->role, LIMIT_GUARANTEE);
	cr_expect_eq(l->parent, 0);
	cr_expect_eq(l->class_index, 1);
	cr_expect_eq(l->scope, RATION_SCOPE_VENDOR);
	cr_expect_eq(bucket_burst(l->numbers.effective), 2);
	l = limit_named("r:z.ceiling");
	cr_expect_eq(l->role, LIMIT_CEILING);
	cr_expect_eq(bucket_burst(l->numbers.effective), 30);
	cr_expect_eq(bucket_millirate(l->numbers.effective), 59999);
	l = limit_named("r");
	cr_expect_eq(l->numbers.by_class[0], 2);
	cr_expect_eq(l->numbers.by_class[1], 10);
	cr_expect_eq(l->numbers.by_class[2], 10);
	done();
}

/* z leaves the reserve; y is promised 20 of them at once, whatever z took; what is left is x's. */
Test(policy_kinds, a_bucket_keeps_its_promises)
{
	make("      - name: r\n        rate: 1/h\n        burst: 100\n        scope: [vendor]\n"
	     "        delay: 0s\n"
	     "        classes: {x: {reserve: 30}, y: {guarantee: 50%, burst: 20}}\n");
	cr_expect_eq(admitted("a", "z", 1000), 70);
	cr_expect_eq(admitted("a", "y", 1000), 20);
	cr_expect_eq(admitted("a", "x", 1000), 0);
	detach();
}

/* --- and of a window --- */

Test(policy_kinds, window_claims)
{
	make("      - name: w\n        kind: window\n        amount: 100\n        period: day\n"
	     "        scope: []\n"
	     "        classes: {x: {guarantee: 10}, y: {guarantee: 20, ceiling: 50%, reserve: "
	     "5}}\n");
	expect_chain("x", "w:x.guarantee| w");
	expect_chain("y", "w:y.ceiling w:y.guarantee| w");
	expect_chain("z", "w");
	cr_expect_eq(window_amount(limit_named("w")->numbers.effective), 70);
	cr_expect_eq(window_amount(limit_named("w:x.guarantee")->numbers.effective), 10);
	cr_expect_eq(window_amount(limit_named("w:y.ceiling")->numbers.effective), 50);
	cr_expect_eq(limit_named("w")->numbers.by_class[2], 5);
	done();
}

Test(policy_kinds, a_window_keeps_its_promises)
{
	make("      - name: w\n        kind: window\n        amount: 100\n        period: 400d\n"
	     "        scope: []\n"
	     "        classes: {x: {guarantee: 10}, y: {guarantee: 20, ceiling: 50%, reserve: "
	     "5}}\n");
	cr_expect_eq(admitted("a", "z", 1000), 65);
	cr_expect_eq(admitted("a", "y", 1000), 25);
	cr_expect_eq(admitted("a", "x", 1000), 10);
	detach();
}

Test(policy_kinds, released_parts)
{
	make("      - name: w\n        kind: window\n        amount: 100\n        period: day\n"
	     "        scope: []\n        release: linear\n"
	     "        classes: {x: {guarantee: 10}, y: {guarantee: 20}}\n");
	expect_chain("x", "w:x.guarantee| ~w:y.guarantee| w");
	expect_chain("z", "~w:x.guarantee| ~w:y.guarantee| w");
	done();
}

/* --- other numbers for a tenant --- */

Test(policy_kinds, overrides_reach_what_is_derived)
{
	const struct blob_numbers *n;
	uint32_t limit, tenant;

	make("      - {name: r, rate: 100/s, burst: 100, scope: [tenant], delay: 0s,\n"
	     "         classes: {x: {guarantee: 10%}}}\n"
	     "      - {name: w, kind: window, amount: 100, period: day, scope: [tenant],\n"
	     "         classes: {y: {guarantee: 10%}}}\n"
	     "      - {name: s, kind: concurrency, slots: 10, scope: [tenant],\n"
	     "         classes: {z: {guarantee: 10%}}}\n"
	     "tenants:\n"
	     "  big: {v: {s: {slots: 100}, w: {amount: 1k}, r: {rate: 1k/s, burst: 1k}}}\n");
	tenant = blob_find_tenant(&blob, "big");
	limit = (uint32_t)(limit_named("r:x.guarantee") - blob.limits);
	n = blob_numbers_for(&blob, limit, tenant);
	cr_expect_eq(bucket_millirate(n->effective) / 1000, 100);
	cr_expect_eq(bucket_burst(n->effective), 10);
	limit = (uint32_t)(limit_named("w:y.guarantee") - blob.limits);
	cr_expect_eq(window_amount(blob_numbers_for(&blob, limit, tenant)->effective), 100);
	limit = (uint32_t)(limit_named("w") - blob.limits);
	cr_expect_eq(window_amount(blob_numbers_for(&blob, limit, tenant)->effective), 900);
	limit = (uint32_t)(limit_named("s") - blob.limits);
	n = blob_numbers_for(&blob, limit, tenant);
	cr_expect_eq(slots_count(n->effective), 100);
	cr_expect_eq(n->by_class[2], BLOB_RANGE(0, 10, 10, 0));
	done();
}

/* --- debt --- */

static uint64_t forgotten(void)
{
	return shm_load(&client_seg(ration)->control->forgotten);
}

/* Takes all ten of the limit, which then turn out to have been a thousand; the ticket of it. */
static struct ration_ticket overspend(struct ration_handle *handle)
{
	const struct ration_cost ten = {"requests", 10}, thousand = {"requests", 1000};
	struct ration_ticket ticket, taken;

	cr_assert_eq(ration_acquire(handle, &ten, 1, &ticket, NULL), 0);
	taken = ticket;
	cr_expect_eq(forgotten(), 0);
	cr_assert_eq(ration_settle(ration, &ticket, &thousand, 1), 0);
	cr_expect_eq(forgotten(), 1, "985 of it");
	return taken;
}

/* 5 of debt and 1 to take, at 1/h, are 6 h (and a little, for what rounding adds). */
Test(policy_kinds, debt_of_a_bucket)
{
	struct ration_denial denial;
	struct ration_ticket ticket;
	struct ration_handle *handle;
	struct timespec clock;
	uint64_t now;

	make("      - {name: r, rate: 1/h, burst: 10, scope: [], delay: 0s, max_debt: 5}\n");
	handle = handle_of("a", "x");
	overspend(handle);
	cr_assert_eq(ration_acquire(handle, NULL, 0, &ticket, &denial), RATION_DENIED);
	cr_assert_eq(clock_gettime(CLOCK_BOOTTIME, &clock), 0);
	now = (uint64_t)clock.tv_sec * S + (uint64_t)clock.tv_nsec;
	cr_expect_geq(denial.retry_at_ns - now, 5 * HOUR, "%lu", denial.retry_at_ns - now);
	cr_expect_leq(denial.retry_at_ns - now, 6 * HOUR + 6 * S);
	ration_handle_free(&handle);
	detach();
}

Test(policy_kinds, debt_of_a_window)
{
	struct ration_handle *handle;
	struct ration_ticket taken;
	const struct seg_hot *hot;

	make("      - {name: w, kind: window, amount: 10, period: 400d, scope: [], max_debt: 5}\n");
	handle = handle_of("a", "x");
	taken = overspend(handle);
	hot = &client_seg(ration)->hot[taken.links[0].bucket];
	if (taken.links[0].word)
		cr_expect_eq(window_used(hot, taken.links[0].word), 15);
	if (taken.links[0].refunds)
		cr_expect_eq(window_used(hot, taken.links[0].refunds), 15);
	ration_handle_free(&handle);
	detach();
}

Test(policy_kinds, debt_of_a_rolling_limit)
{
	struct ration_handle *handle;
	struct ration_ticket taken;

	make("      - {name: r, kind: rolling, amount: 10, period: 400d, scope: [], max_debt: "
	     "5}\n");
	handle = handle_of("a", "x");
	taken = overspend(handle);
	cr_expect_eq(rolling_used(client_seg(ration), taken.links[0].bucket, client_now(ration)),
		     15);
	ration_handle_free(&handle);
	detach();
}

/* As much as max_debt leaves is no more than is counted, for any kind. */
Test(policy_kinds, debt_within_its_bound_is_counted_in_full)
{
	const struct ration_cost ten = {"requests", 10}, fifteen = {"requests", 15};
	struct ration_handle *handle;
	struct ration_ticket ticket;

	make("      - {name: b, rate: 1/h, burst: 10, scope: [], delay: 0s, max_debt: 5}\n"
	     "      - {name: w, kind: window, amount: 10, period: 400d, scope: [], max_debt: 5}\n"
	     "      - {name: r, kind: rolling, amount: 10, period: 400d, scope: [], max_debt: 5}\n"
	     "      - {name: s, kind: concurrency, slots: 10, scope: []}\n");
	handle = handle_of("a", "x");
	cr_assert_eq(ration_acquire(handle, &ten, 1, &ticket, NULL), 0);
	cr_assert_eq(ration_settle(ration, &ticket, &fifteen, 1), 0);
	cr_expect_eq(forgotten(), 0);
	ration_handle_free(&handle);
	detach();
}

/* --- time zones, as libc has them --- */

static int32_t offset_at(const struct calendar *zone, int64_t at)
{
	int32_t offset = zone->first_offset;

	for (uint32_t i = 0; i < zone->n_changes && zone->changes[i].at <= at; i++)
		offset = zone->changes[i].offset;
	return offset;
}

static void expect_as_libc(const struct calendar *zone, const char *name, time_t at)
{
	struct tm tm;

	cr_assert_not_null(localtime_r(&at, &tm));
	cr_expect_eq(offset_at(zone, at), tm.tm_gmtoff, "%s at %ld: %d, libc says %ld", name, at,
		     offset_at(zone, at), tm.tm_gmtoff);
}

static void check_zone(const char *name)
{
	const time_t end = time(NULL) + 19 * 365 * 86400;
	struct calendar zone;
	char limit[256];

	snprintf(limit, sizeof(limit),
		 "      - {name: w, kind: window, amount: 7, period: day, timezone: %s, scope: "
		 "[]}\n",
		 name);
	make(limit);
	zone = blob_calendar(&blob, limit_named("w"));
	setenv("TZ", name, 1);
	tzset();
	for (time_t at = 0; at < end; at += 6 * 3600)
		expect_as_libc(&zone, name, at);
	for (uint32_t i = 0; i < zone.n_changes; i++) {
		expect_as_libc(&zone, name, zone.changes[i].at);
		expect_as_libc(&zone, name, zone.changes[i].at - 1);
	}
	done();
}

/* Half-hour summer time, a winter time that is the exception, changes at midnight, a day left out, never any change. */
Test(policy_kinds, zones_are_those_of_the_system)
{
	static const char *const names[] = {
		"Europe/Berlin",     "America/Los_Angeles", "Australia/Lord_Howe",
		"Africa/Casablanca", "America/Sao_Paulo",   "Pacific/Apia",
		"Asia/Kathmandu",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		check_zone(names[i]);
}

static double hours_of_day(const char *day)
{
	const struct calendar zone = blob_calendar(&blob, limit_named("w"));
	struct calendar_window window;
	struct tm tm = {0};

	cr_assert_not_null(strptime(day, "%Y-%m-%dT%H", &tm));
	calendar_find(&zone, (int64_t)timegm(&tm) * 1000000000, &window);
	return (double)(window.end - window.start) / 3600e9;
}

Test(policy_kinds, days_have_23_to_25_hours)
{
	make("      - {name: w, kind: window, amount: 7, period: day, timezone: Europe/Berlin,\n"
	     "         scope: []}\n");
	cr_expect_eq(hours_of_day("2026-03-28T12"), 24);
	cr_expect_eq(hours_of_day("2026-03-29T12"), 23);
	cr_expect_eq(hours_of_day("2026-10-25T12"), 25);
	cr_expect_eq(hours_of_day("2040-03-25T12"), 23);
	done();
}

/* --- what a class carries --- */

Test(policy_kinds, classes)
{
	static const char file[] =
		"version: 1\n"
		"classes:\n"
		"  - {name: x, owner: billing, purpose: invoices, fallback: by hand, queue: 12,\n"
		"     users: [root, 1234], groups: [0], never_with: [z]}\n"
		"  - y\n"
		"  - {name: z, mode: shadow}\n"
		"vendors: {v: {limits: [{name: r, rate: 5/s, scope: [class], margin: 0%}]}}\n";
	const struct blob_class *class;
	char *text;

	policy_write("policy.yaml", file, sizeof(file) - 1);
	cr_assert_eq(policy_compile_text("policy.yaml", &policy, &text), 0, "%s", text);
	cr_assert(blob_open(policy.blob, policy.size, &blob));
	class = &blob.classes[0];
	cr_expect_str_eq(blob_text(&blob, class->owner), "billing");
	cr_expect_str_eq(blob_text(&blob, class->purpose), "invoices");
	cr_expect_str_eq(blob_text(&blob, class->fallback), "by hand");
	cr_expect_eq(class->queue, 12);
	cr_expect_eq(class->never_with, 4);
	cr_expect_eq(blob.classes[2].never_with, 1);
	cr_assert_eq(class->principal_count, 3);
	cr_expect_eq(blob.principals[class->principal_first].id, 0);
	cr_expect_eq(blob.principals[class->principal_first + 1].id, 1234);
	cr_expect_eq(blob.principals[class->principal_first + 2].group, 1);
	cr_expect_eq(blob.classes[1].principal_count, 0);
	cr_expect_eq(blob.classes[2].mode.count, 1);
	free(text);
	done();
}

/* --- modes --- */

/* Which of x, y and z the first limit denies at a time of a winter's day (UTC), as "xyz". */
static const char *denied_at(const char *limit, int hour, int minute)
{
	static char text[4];
	int64_t until;
	const int64_t wall = (INT64_C(20820) * 86400 + hour * 3600 + minute * 60) * 1000000000;
	const uint32_t denied = blob_denied(&blob, &limit_named(limit)->mode, wall, &until);
	char *p = text;

	for (int k = 0; k < 3; k++) {
		if (denied >> k & 1)
			*p++ = (char)('x' + k);
	}
	*p = '\0';
	cr_expect_gt(until, wall);
	return text;
}

Test(policy_kinds, modes_by_time_of_day)
{
	make("      - name: r\n        rate: 5/s\n        scope: []\n"
	     "        mode:\n"
	     "          - {from: 08:00, until: 18:00, timezone: Europe/Berlin, mode: enforce}\n"
	     "          - {from: \"22:30\", until: \"01:00\", mode: {soft: [y, z]}}\n"
	     "          - {mode: shadow}\n"
	     "      - {name: s, rate: 5/s, scope: [], mode: {soft: [z]}}\n"
	     "      - {name: t, rate: 5/s, scope: []}\n");
	cr_expect_str_eq(denied_at("r", 6, 59), "");
	cr_expect_str_eq(denied_at("r", 7, 0), "xyz");
	cr_expect_str_eq(denied_at("r", 16, 59), "xyz");
	cr_expect_str_eq(denied_at("r", 17, 0), "");
	cr_expect_str_eq(denied_at("r", 22, 30), "yz");
	cr_expect_str_eq(denied_at("r", 0, 59), "yz");
	cr_expect_str_eq(denied_at("r", 1, 0), "");
	cr_expect_str_eq(denied_at("s", 1, 0), "z");
	cr_expect_str_eq(denied_at("t", 1, 0), "xyz");
	done();
}

/* What defaults say holds for limits that say nothing else. */
Test(policy_kinds, mode_of_the_policy)
{
	static const char file[] =
		"version: 1\nclasses: [x, y, z]\ndefaults: {mode: shadow, margin: 0%}\n"
		"vendors:\n  v:\n    limits:\n"
		"      - {name: a, rate: 5/s, scope: []}\n"
		"      - {name: b, rate: 5/s, scope: [], mode: enforce}\n";
	char *text;

	policy_write("policy.yaml", file, sizeof(file) - 1);
	cr_assert_eq(policy_compile_text("policy.yaml", &policy, &text), 0, "%s", text);
	cr_assert(blob_open(policy.blob, policy.size, &blob));
	cr_expect_eq(blob.header->mode.count, 0);
	cr_expect_str_eq(denied_at("a", 12, 0), "");
	cr_expect_str_eq(denied_at("b", 12, 0), "xyz");
	free(text);
	done();
}
