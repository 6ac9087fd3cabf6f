/*
 * tests/test_reload_kinds.c - a reload, for each kind of limit: what was spent stays spent
 * SPDX-License-Identifier: MIT
 *
 * Days may end while a test runs: all windows here are long, and what is expected holds across their ends too, because
 * nothing here asks for more than the smaller of two amounts.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include <ration/ration.h>

#include "client/client.h"
#include "support_check.h"
#include "support_rationd.h"

#define HEAD                                                                                       \
	"version: 1\nclasses: [interactive, bulk]\n"                                               \
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"                                  \
	"vendors:\n  crm:\n    limits:\n      - { name: quota, scope: [tenant, vendor], "
#define LIMIT(text)     HEAD text " }\n"
#define WINDOW(amount)  LIMIT("kind: window, period: month, amount: " #amount)
#define ROLLING(amount) LIMIT("kind: rolling, period: 24h, amount: " #amount)
#define BUCKET(burst)   LIMIT("kind: bucket, rate: 1/h, burst: " #burst)
#define SLOTS(n)        LIMIT("kind: concurrency, slots: " #n)
#define GUARANTEE(kind, amount, part)                                                              \
	LIMIT(kind ", amount: " #amount ", classes: { interactive: { guarantee: " #part " } }")

struct world {
	struct rationd r;
	struct ration *ration;
	struct ration_handle *interactive, *bulk;
};

static struct ration_handle *resolve(struct ration *ration, const char *class)
{
	const struct ration_key key = {.tenant = "acme", .vendor = "crm", .traffic_class = class};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

static void begin(struct world *w, const char *policy)
{
	struct ration_error error;

	rationd_start(&w->r, policy, (const char *[]){"--buckets", "256", NULL});
	cr_assert_eq(ration_attach(w->r.socket, 0, &w->ration, &error), 0, "%s", error.text);
	w->interactive = resolve(w->ration, "interactive");
	w->bulk = resolve(w->ration, "bulk");
}

static void end(struct world *w)
{
	ration_handle_free(&w->interactive);
	ration_handle_free(&w->bulk);
	ration_detach(&w->ration);
	cr_expect_null(strstr(rationd_log(&w->r), "event=corrupt"), "%s", w->r.log);
	cr_expect_null(strstr(w->r.log, "event=repaired"), "%s", w->r.log);
	cr_expect_eq(rationd_stop(&w->r), 0);
}

static void reload(struct world *w, const char *policy)
{
	const uint64_t generation = shm_load(&client_seg(w->ration)->control->policy_generation);

	rationd_write_policy(&w->r, policy);
	rationd_reload(&w->r);
	cr_assert_eq(shm_load(&client_seg(w->ration)->control->policy_generation), generation + 1,
		     "%s", rationd_log(&w->r));
}

/* How many single requests of at most `most` are admitted. */
static int take(struct ration_handle *handle, int most)
{
	struct ration_ticket ticket;
	int n = 0;

	while (n < most && ration_acquire(handle, NULL, 0, &ticket, NULL) == 0)
		n++;
	return n;
}

#define ALL 1000

/* --- numbers --- */

static void numbers_follow(const char *twenty, const char *fifty, const char *ten)
{
	struct world w;

	begin(&w, twenty);
	cr_expect_eq(take(w.bulk, 5), 5);
	reload(&w, fifty);
	cr_expect_eq(take(w.bulk, ALL), 45);
	reload(&w, ten);
	cr_expect_eq(take(w.bulk, ALL), 0);
	reload(&w, fifty);
	cr_expect_eq(take(w.bulk, ALL), 0, "nothing was forgotten meanwhile");
	end(&w);
}

Test(reload_kinds, a_windows_amount, .timeout = 60)
{
	numbers_follow(WINDOW(20), WINDOW(50), WINDOW(10));
}

Test(reload_kinds, a_rolling_amount, .timeout = 60)
{
	numbers_follow(ROLLING(20), ROLLING(50), ROLLING(10));
}

Test(reload_kinds, leases_stay_until_they_end, .timeout = 60)
{
	struct ration_ticket held[4];
	struct world w;

	begin(&w, SLOTS(4));
	for (int i = 0; i < 4; i++)
		cr_assert_eq(ration_acquire(w.bulk, NULL, 0, &held[i], NULL), 0);
	cr_expect_eq(take(w.bulk, 1), 0);
	reload(&w, SLOTS(2));
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(take(w.bulk, 1), 0);
		ration_release(w.ration, &held[i]);
	}
	cr_expect_eq(take(w.bulk, 1), 0, "two are held");
	ration_release(w.ration, &held[2]);
	cr_expect_eq(take(w.bulk, ALL), 1);
	reload(&w, SLOTS(6));
	cr_expect_eq(take(w.bulk, ALL), 4);
	end(&w);
}

/* --- shapes --- */

/* Five are spent of twenty; what another shape has left of its own twenty. */
static int left_after(const char *before, const char *after)
{
	struct world w;
	int left;

	begin(&w, before);
	cr_expect_eq(take(w.bulk, 5), 5);
	reload(&w, after);
	rationd_expect_log(&w.r, "carried=1", 1);
	left = take(w.bulk, ALL);
	end(&w);
	return left;
}

#define WINDOW_OF(period) LIMIT("kind: window, amount: 20, period: " period)

Test(reload_kinds, a_kind_changes_and_what_was_spent_stays_so, .timeout = 60)
{
	cr_expect_eq(left_after(WINDOW(20), ROLLING(20)), 15);
	cr_expect_eq(left_after(WINDOW(20), BUCKET(20)), 15);
	cr_expect_eq(left_after(ROLLING(20), BUCKET(20)), 15);
	cr_expect_eq(left_after(ROLLING(20), WINDOW_OF("hour")), 15);
}

/* It may have given one more in the hour, and that to the fraction. */
Test(reload_kinds, a_bucket_becomes_a_window, .timeout = 60)
{
	const int left = left_after(BUCKET(20), WINDOW_OF("hour"));

	cr_expect(left >= 12 && left <= 15, "%d", left);
}

Test(reload_kinds, a_shorter_period_goes_on_where_the_longer_one_was, .timeout = 60)
{
	cr_expect_eq(left_after(WINDOW(20), WINDOW_OF("day")), 15);
	cr_expect_eq(left_after(WINDOW_OF("day"), WINDOW_OF("day, timezone: Asia/Tokyo")), 15);
}

/* Nobody remembers so far back, or nobody has counted that. */
Test(reload_kinds, what_nobody_can_know_counts_as_spent, .timeout = 60)
{
	cr_expect_eq(left_after(WINDOW_OF("hour"), WINDOW(20)), 0);
	cr_expect_eq(left_after(ROLLING(20), WINDOW(20)), 0);
	cr_expect_eq(left_after(WINDOW_OF("hour"), BUCKET(20)), 0, "slower than what was");
	cr_expect_eq(left_after(WINDOW(20), SLOTS(20)), 0);
}

/* There and back again: the first bucket is still there, and must not count as if nothing had happened since. */
Test(reload_kinds, a_shape_that_comes_back, .timeout = 60)
{
	struct world w;

	begin(&w, WINDOW_OF("day"));
	cr_expect_eq(take(w.bulk, 5), 5);
	reload(&w, ROLLING(20));
	cr_expect_eq(take(w.bulk, 1), 1);
	reload(&w, WINDOW_OF("day"));
	cr_expect_eq(take(w.bulk, ALL), 14);
	end(&w);
}

/* A key that nobody used under the old shape is new under the new one as well, once the old one's time is over. */
Test(reload_kinds, another_unit_is_another_count, .timeout = 60)
{
	struct world w;

	begin(&w, WINDOW(20));
	cr_expect_eq(take(w.bulk, 5), 5);
	reload(&w, LIMIT("kind: window, period: month, amount: 20, unit: tokens, default_cost: 1"));
	cr_expect_eq(take(w.bulk, ALL), 0);
	end(&w);
}

/* --- parts --- */

static void parts_never_hand_out_more(const char *plain, const char *five, const char *ten)
{
	struct world w;
	int left;

	/* A part grows though the common one is used up. */
	begin(&w, five);
	cr_expect_eq(take(w.bulk, ALL), 15);
	reload(&w, ten);
	cr_expect_eq(take(w.bulk, ALL), 0);
	/* One may be lost in counting. */
	left = take(w.interactive, ALL);
	cr_expect(left == 4 || left == 5, "%d", left);
	reload(&w, five);
	cr_expect_eq(take(w.bulk, ALL), 0, "nor does it come back to the others");
	reload(&w, plain);
	cr_expect_eq(take(w.bulk, ALL), 0, "also not if there are no parts any more");
	end(&w);
	/* A part that nobody had. */
	begin(&w, plain);
	cr_expect_eq(take(w.bulk, 18), 18);
	reload(&w, ten);
	cr_expect_eq(take(w.bulk, ALL), 0);
	cr_expect(take(w.interactive, ALL) <= 2);
	end(&w);
	/* A part that is given up, used and unused. */
	begin(&w, ten);
	cr_expect_eq(take(w.interactive, 4), 4);
	reload(&w, plain);
	cr_expect(take(w.bulk, ALL) <= 16);
	end(&w);
}

#define MONTH "kind: window, period: month"
#define DAY   "kind: rolling, period: 24h"

Test(reload_kinds, parts_of_a_window, .timeout = 60)
{
	parts_never_hand_out_more(WINDOW(20), GUARANTEE(MONTH, 20, 5), GUARANTEE(MONTH, 20, 10));
}

Test(reload_kinds, parts_of_a_rolling_period, .timeout = 60)
{
	parts_never_hand_out_more(ROLLING(20), GUARANTEE(DAY, 20, 5), GUARANTEE(DAY, 20, 10));
}

/* --- nothing at all --- */

Test(reload_kinds, a_broken_file_changes_nothing, .timeout = 60)
{
	static const char *const broken[] = {
		"",    "version: 1\n", WINDOW(none),
		"\t{", SLOTS(0),       GUARANTEE(MONTH, 20, 21), /* cannot be kept */
	};
	struct world w;

	begin(&w, WINDOW(20));
	cr_expect_eq(take(w.bulk, 5), 5);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		rationd_write_policy(&w.r, broken[i]);
		rationd_reload(&w.r);
		rationd_expect_log(&w.r, "event=reload-failed", (int)i + 1);
		cr_expect_eq(take(w.bulk, 1), 1);
	}
	cr_expect_eq(shm_load(&client_seg(w.ration)->control->policy_generation), 1);
	cr_expect_eq(take(w.bulk, ALL), 9);
	end(&w);
}
