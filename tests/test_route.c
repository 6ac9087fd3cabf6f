/*
 * tests/test_route.c - a choice between vendors
 * SPDX-License-Identifier: MIT
 *
 * Time is injected. Bounds on what is left to chance lie six standard deviations away, or more.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/headroom.h"
#include "client/memory.h"
#include "shm/check.h"
#include "support_kinds.h"
#include "support_random.h"
#include "support_seg.h"

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

TestSuite(route, .timeout = 60);

static const char policy[] =
	"version: 1\nclasses: [live, bulk, idle]\n"
	"defaults: { delay: 0ms, margin: 0%, breaker: none }\n"
	"vendors:\n"
	"  fast: { limits: [{ name: rate, rate: 600/min, burst: 100, scope: [vendor] }] }\n"
	"  slow: { limits: [{ name: rate, rate: 600/min, burst: 100, scope: [vendor] }] }\n"
	"  wide: { limits: [{ name: rate, rate: 1M/s, burst: 1M, scope: [vendor] }] }\n"
	"  hourly: { limits: [{ name: rate, rate: 60/h, burst: 100, scope: [vendor] }] }\n"
	"  hours: { limits: [{ name: rate, rate: 60/h, burst: 100, scope: [vendor] }] }\n"
	"  soon: { limits: [{ name: rate, rate: 50/s, burst: 1, scope: [vendor] }] }\n"
	"  slot: { limits: [{ name: held, kind: concurrency, slots: 1, scope: [vendor] }] }\n"
	"  twenty: { limits: [{ name: held, kind: concurrency, slots: 20, scope: [vendor] }] }\n"
	"  meter: { limits: [{ name: t, unit: tokens, rate: 1000/min, burst: 1000, scope: [vendor] "
	"}] }\n"
	"routes:\n"
	"  best: [fast/a, slow, wide]\n"
	"  two: [fast, slow]\n"
	"  long: [hourly, hours]\n"
	"  waits: [fast, soon]\n"
	"  frees: [slot, fast]\n"
	"  some:\n"
	"    alternatives:\n"
	"      - { vendor: fast, classes: [bulk] }\n"
	"      - { vendor: slow, resource: b/c }\n"
	"    classes: [bulk, live]\n"
	"  parts: [{ vendor: wide, resource: x, weight: 3 }, { vendor: wide, resource: y, weight: "
	"1 }]\n"
	"  held: [twenty, wide]\n"
	"  costs: [meter, wide]\n";

struct scene {
	struct ration *ration;
	struct ration_route *route;
	struct ration_pick pick;
	struct ration_ticket ticket;
	struct ration_denial denial;
};

static struct ration *attach(void)
{
	char path[] = "/tmp/ration-policy-XXXXXX";
	const int fd = mkstemp(path);
	struct ration_error error;
	struct ration *ration = NULL;

	cr_assert_eq(write(fd, policy, sizeof(policy) - 1), (ssize_t)sizeof(policy) - 1);
	close(fd);
	cr_assert_eq(ration_embed(path, &ration, &error), 0, "%s", error.text);
	unlink(path);
	return ration;
}

static struct ration_key key_of(const char *vendor, const char *class)
{
	return (struct ration_key){.tenant = "t", .vendor = vendor, .traffic_class = class};
}

static struct scene scene_of(const char *vendor)
{
	const struct ration_key key = key_of(vendor, "bulk");
	struct scene s = {.ration = attach()};
	struct ration_error error;

	cr_assert_eq(ration_route_resolve(s.ration, &key, &s.route, &error), 0, "%s", error.text);
	return s;
}

static void problem(void *user, const char *what, uint32_t where)
{
	(void)user;
	cr_assert_fail("%s (%u)", what, where);
}

static void end(struct scene *s)
{
	seg_check(client_seg(s->ration), client_now(s->ration), true, problem, NULL);
	ration_route_free(&s->route);
	ration_detach(&s->ration);
}

static void advance(struct scene *s, uint64_t ns)
{
	s->ration->shift_ns += (int64_t)ns;
}

/* It is so much after `began`, whatever happened meanwhile. */
static void set_time(struct scene *s, uint64_t began, uint64_t ns)
{
	advance(s, began + ns - clock_boot_ns() - (uint64_t)s->ration->shift_ns);
}

static uint64_t time_of(const struct scene *s)
{
	return clock_boot_ns() + (uint64_t)s->ration->shift_ns;
}

/* What is asked of whatever does not matter. */
static const struct ration_ask one;

static int ask(struct scene *s)
{
	return ration_route(s->route, &one, &s->pick, &s->ticket, &s->denial);
}

static bool went_to(const struct scene *s, const char *name)
{
	return strcmp(s->pick.name, name) == 0;
}

static struct ration_handle *alternative(struct scene *s, size_t n)
{
	struct ration_pick pick;

	cr_assert_eq(ration_route_alternative(s->route, n, &pick), 0);
	return pick.handle;
}

static void use_up(struct scene *s, size_t n)
{
	struct ration_handle *handle = alternative(s, n);
	struct ration_ticket ticket;

	while (ration_acquire(handle, NULL, 0, &ticket, NULL) == 0)
		;
}

/* --- what a route leads to --- */

Test(route, a_plain_vendor_is_one_of_one_alternative)
{
	struct scene s = scene_of("fast");
	struct ration_pick pick;

	cr_assert_eq(ask(&s), 0);
	cr_assert_str_eq(s.pick.name, "fast");
	cr_assert_str_eq(ration_handle_vendor(s.pick.handle), "fast");
	cr_assert_eq(ration_route_alternative(s.route, 0, &pick), 0);
	cr_assert_eq(pick.handle, s.pick.handle);
	cr_assert_eq(ration_route_alternative(s.route, 1, &pick), -ENOENT);
	end(&s);
}

Test(route, alternatives_are_in_the_policys_order_with_their_keys)
{
	static const char *const names[] = {"fast/a", "slow", "wide"};
	static const char *const resources[] = {"a", "own", "own"};
	struct ration_key key = key_of("best", "live");
	struct scene s = {.ration = attach()};
	struct ration_pick pick;

	key.resource = "own";
	cr_assert_eq(ration_route_resolve(s.ration, &key, &s.route, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(ration_route_alternative(s.route, i, &pick), 0);
		cr_expect_str_eq(pick.name, names[i]);
		cr_expect_str_eq(ration_handle_resource(pick.handle), resources[i]);
	}
	cr_expect_eq(ration_route_alternative(s.route, 3, &pick), -ENOENT);
	end(&s);
}

Test(route, classes_take_what_they_may)
{
	struct scene s = scene_of("some");
	const struct ration_key live = key_of("some", "live"), idle = key_of("some", "idle"),
				none = key_of("some", "none"), odd = key_of("odd", "live"),
				best = key_of("best", "live");
	struct ration_route *route = NULL;
	struct ration_handle *handle = NULL;
	struct ration_error error;
	struct ration_pick pick;

	cr_expect_eq(ration_route_alternative(s.route, 1, &pick), 0);
	cr_assert_eq(ration_route_resolve(s.ration, &live, &route, NULL), 0);
	cr_assert_eq(ration_route_alternative(route, 0, &pick), 0);
	cr_expect_str_eq(pick.name, "slow/b/c");
	cr_expect_eq(ration_route_alternative(route, 1, &pick), -ENOENT);
	ration_route_free(&route);
	cr_expect_eq(ration_route_resolve(s.ration, &idle, &route, &error), -EACCES);
	cr_expect_str_eq(error.text, "class 'idle' may not take route 'some'");
	cr_expect_eq(ration_route_resolve(s.ration, &none, &route, &error), RATION_ECLASS);
	cr_expect_eq(ration_route_resolve(s.ration, &odd, &route, &error), RATION_EVENDOR);
	cr_expect(strstr(error.text, "and the routes: best, costs, frees"), "%s", error.text);
	cr_expect_eq(ration_resolve(s.ration, &best, &handle, &error), RATION_EVENDOR);
	cr_expect_str_eq(error.text,
			 "'best' is a route of the policy: no vendor, but one of several");
	end(&s);
}

Test(route, a_request_may_leave_out_alternatives_and_cost_something_else_at_each)
{
	const struct ration_cost tokens = {"tokens", 400}, many = {"requests", 1000};
	const struct ration_alternative meter = {"meter", &tokens, 1}, wide = {"wide", &many, 1},
					both[] = {wide, meter}, gone = {"gone", NULL, 0};
	struct ration_ask ask_of = {.only = both, .n_only = 2};
	struct scene s = scene_of("costs");

	/* 1,000 of it a minute; the third is left to chance, or not to be had. */
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(ration_route(s.route, &ask_of, &s.pick, &s.ticket, NULL), 0);
		cr_assert(went_to(&s, "meter"));
		cr_assert_eq(s.pick.index, 1);
		cr_assert_eq(s.ticket.links[0].amount, 400);
	}
	cr_assert_eq(ration_route(s.route, &ask_of, &s.pick, &s.ticket, NULL), 0);
	cr_assert(went_to(&s, "wide"));
	cr_assert_eq(s.pick.index, 0);
	cr_assert_eq(s.ticket.links[0].amount, 1000);
	ask_of = (struct ration_ask){.only = &meter, .n_only = 1};
	cr_assert_eq(ration_route(s.route, &ask_of, &s.pick, &s.ticket, &s.denial), RATION_DENIED);
	cr_assert_str_eq(s.denial.limit, "t");
	ask_of = (struct ration_ask){.only = &gone, .n_only = 1};
	cr_assert_eq(ration_route(s.route, &ask_of, &s.pick, &s.ticket, NULL), RATION_EVENDOR);
	/* One unit that no alternative but the other has a number for. */
	cr_assert_eq(ration_route(s.route, &one, &s.pick, &s.ticket, NULL), 0);
	cr_assert(went_to(&s, "wide"));
	end(&s);
}

/* --- in order --- */

Test(route, the_first_as_long_as_it_is_calm)
{
	struct scene s = scene_of("two");

	for (int i = 0; i < 80; i++) {
		cr_assert_eq(ask(&s), 0);
		cr_assert(went_to(&s, "fast"), "request %d", i);
	}
	end(&s);
}

Test(route, what_is_empty_is_left_out_and_of_all_the_first_to_have_room_is_told)
{
	struct scene s = scene_of("long");
	int n = 0;

	use_up(&s, 0);
	advance(&s, 30 * S); /* half of a unit */
	for (; ask(&s) == 0; n++)
		cr_assert(went_to(&s, "hours"));
	cr_assert_eq(n, 100);
	cr_assert_eq(ask(&s), RATION_DENIED);
	cr_assert(went_to(&s, "hourly"));
	cr_assert_str_eq(s.denial.vendor, "hourly");
	cr_assert_leq(s.denial.retry_in_ns, 30 * S);
	advance(&s, 30 * S);
	cr_assert_eq(ask(&s), 0);
	cr_assert(went_to(&s, "hourly"), "it has a unit, the other has not");
	end(&s);
}

/* 10/s, asked for 20/s: all of it is used, the rest goes elsewhere, and nobody is denied. */
Test(route, at_saturation_the_first_is_used_up)
{
	enum { ASKED = 6000 };
	struct scene s = scene_of("two");
	int first = 0;

	use_up(&s, 0);
	for (int i = 0; i < ASKED; i++) {
		advance(&s, 50 * MS);
		cr_assert_eq(ask(&s), 0, "request %d", i);
		first += went_to(&s, "fast");
	}
	cr_expect_geq(first, ASKED / 2 * 95 / 100);
	end(&s);
}

/* 20 units of its burst come back in 2 s; meanwhile ever more of the requests, of which there are 40/s. */
Test(route, it_comes_back_gradually)
{
	enum { ROUNDS = 40, STEPS = 10, ASKED = 80 };
	struct scene s = scene_of("best");
	int first[STEPS] = {0};

	for (int round = 0; round < ROUNDS; round++) {
		advance(&s, 60 * S);
		use_up(&s, 0);
		for (int i = 0; i < ASKED; i++) {
			advance(&s, 25 * MS);
			cr_assert_eq(ask(&s), 0);
			first[i * STEPS / ASKED] += went_to(&s, "fast/a");
		}
	}
	/* Of 320 in each step. It settles where what comes back is what is taken: a quarter. */
	cr_expect_lt(first[0], 320 / 8, "%d", first[0]);
	for (int i = STEPS / 2; i < STEPS; i++)
		cr_expect(first[i] > 320 / 8 && first[i] < 320 / 2, "step %d: %d", i, first[i]);
	end(&s);
}

/* --- by weight --- */

Test(route, weights_are_parts)
{
	enum { ASKED = 4000 };
	struct scene s = scene_of("parts");
	int first = 0;

	for (int i = 0; i < ASKED; i++) {
		cr_assert_eq(ask(&s), 0);
		first += went_to(&s, "wide/x");
	}
	cr_expect(first > 3000 - 170 && first < 3000 + 170, "%d of 4000", first);
	end(&s);
}

/* --- blocks --- */

static struct ration_signal signal_of(uint64_t retry_in_ns, enum ration_reach reach)
{
	const bool limited = retry_in_ns > 0;

	return (struct ration_signal){
		.status = limited ? 429 : 200,
		.limited = limited,
		.retryable = true,
		.limit_class = limited ? RATION_LIMIT_OVERLOAD : RATION_LIMIT_NONE,
		.reach = reach,
		.retry_in_ns = limited ? retry_in_ns : RATION_UNKNOWN,
	};
}

static int count_first(struct scene *s, int asked)
{
	int first = 0;

	for (int i = 0; i < asked; i++) {
		cr_assert_eq(ask(s), 0);
		first += went_to(s, "fast/a");
	}
	return first;
}

Test(route, nothing_goes_to_what_is_blocked_then_one_probe_then_ever_more)
{
	enum { STEPS = 10 };
	const struct ration_signal blocked = signal_of(10 * S, RATION_REACH_TENANT),
				   good = signal_of(0, RATION_REACH_TENANT);
	struct scene s = scene_of("best");
	uint64_t began = time_of(&s);
	struct ration_ticket probe;
	int n = 0;

	cr_assert_eq(ration_observe(alternative(&s, 0), NULL, &blocked), 0);
	for (uint64_t i = 0; i < 90; i++) {
		set_time(&s, began, i * 100 * MS);
		cr_assert_eq(count_first(&s, 1), 0);
	}
	set_time(&s, began, 12 * S);
	cr_assert_eq(count_first(&s, 1), 1, "the probe");
	probe = s.ticket;
	cr_assert_eq(count_first(&s, 50), 0, "while it is out");
	cr_assert_eq(ration_observe(alternative(&s, 0), &probe, &good), 0);
	cr_assert_eq(ration_settle(s.ration, &probe, NULL, 0), 0);
	/* Over a second about 0, 1, 2, ... 9 tenths of what is asked, which is little to its limits. */
	began = time_of(&s);
	for (uint64_t step = 0; step < STEPS; step++) {
		set_time(&s, began, step * 100 * MS);
		n += count_first(&s, 8);
	}
	cr_expect(n > 8 && n < 72, "%d of 80", n);
	set_time(&s, began, 20 * S);
	cr_assert_eq(count_first(&s, 10), 10, "as before");
	end(&s);
}

Test(route, all_blocked_is_denied_until_the_first_ends)
{
	const struct ration_signal later = signal_of(30 * S, RATION_REACH_TENANT),
				   sooner = signal_of(20 * S, RATION_REACH_TENANT);
	struct scene s = scene_of("two");

	cr_assert_eq(ration_observe(alternative(&s, 0), NULL, &later), 0);
	cr_assert_eq(ration_observe(alternative(&s, 1), NULL, &sooner), 0);
	cr_assert_eq(ask(&s), RATION_DENIED);
	cr_assert(went_to(&s, "slow"));
	cr_assert_str_eq(s.denial.limit, "(block)");
	cr_assert(s.denial.retry_in_ns > 10 * S && s.denial.retry_in_ns < 22 * S);
	end(&s);
}

/* --- waiting --- */

Test(route, whoever_waits_gets_the_first_that_has_room)
{
	struct scene s = scene_of("waits");

	use_up(&s, 0);
	use_up(&s, 1);
	/* Nothing for a tenth of a second in the first, for 20 ms in the second. */
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(ration_route_until(s.route, &one, UINT64_MAX, &s.pick, &s.ticket,
						&s.denial),
			     0);
	}
	cr_assert_eq(ration_route_until(s.route, &one, 0, &s.pick, &s.ticket, &s.denial),
		     RATION_DENIED, "not by a time that is over");
	end(&s);
}

static void *free_later(void *user)
{
	struct scene *s = user;

	usleep(20000);
	cr_assert_eq(ration_release(s->ration, &s->ticket), 0);
	return NULL;
}

/* Of a slot nobody knows when it is free: whoever waits is woken there, long before the other has room again. */
Test(route, whoever_waits_is_woken_where_nobody_knows_when)
{
	const struct ration_signal blocked = signal_of(3600 * S, RATION_REACH_TENANT);
	struct scene s = scene_of("frees");
	struct ration_ticket ticket;
	pthread_t thread;

	cr_assert_eq(ration_acquire(alternative(&s, 0), NULL, 0, &s.ticket, NULL), 0);
	cr_assert_eq(ration_observe(alternative(&s, 1), NULL, &blocked), 0);
	cr_assert_eq(pthread_create(&thread, NULL, free_later, &s), 0);
	cr_assert_eq(ration_route_until(s.route, &one, UINT64_MAX, &s.pick, &ticket, NULL), 0);
	cr_assert(went_to(&s, "slot"));
	cr_assert_eq(pthread_join(thread, NULL), 0);
	end(&s);
}

Test(route, a_wait_in_an_event_loop_moves_to_what_has_room)
{
	const struct ration_signal blocked = signal_of(3600 * S, RATION_REACH_TENANT);
	struct ration_wait wait = {0};
	struct scene s = scene_of("long");

	use_up(&s, 0);
	use_up(&s, 1);
	advance(&s, 30 * S);
	cr_assert_eq(ration_route_try(s.route, &one, &wait, &s.pick, &s.ticket, &s.denial),
		     RATION_WAITING);
	cr_assert_eq(ration_observe(alternative(&s, 0), NULL, &blocked), 0);
	cr_assert_eq(ration_route_try(s.route, &one, &wait, &s.pick, &s.ticket, &s.denial),
		     RATION_WAITING);
	cr_assert(went_to(&s, "hours"));
	advance(&s, 31 * S);
	cr_assert_eq(ration_route_try(s.route, &one, &wait, &s.pick, &s.ticket, &s.denial), 0);
	cr_assert(went_to(&s, "hours"));
	ration_wait_end(s.ration, &wait);
	end(&s);
}

/* --- headroom: nothing is lost by leaving something --- */

/* Limits of `amount` that come back in 100 s, however. */
static struct kinds_limit limit_of(enum seg_kind kind, uint64_t amount)
{
	const uint64_t ns = kind == KIND_BUCKET  ? 100 * S / amount
			    : kind == KIND_SLOTS ? 0
						 : 100 * S;

	return (struct kinds_limit){.kind = kind, .unit = 1, .amount = amount, .ns = ns};
}

/* Asked for so much of its rate, evenly, for ten periods: percent of what it has that was used. */
static unsigned used(enum seg_kind kind, uint64_t amount, unsigned percent)
{
	struct seg seg = seg_make(8, 2);
	struct kinds_limit limit = limit_of(kind, amount);
	const uint64_t step = 100 * S * 100 / (amount * percent);
	/* From the beginning of a window on. */
	const uint64_t begin = 100 * S - (uint64_t)kinds_instant(0).wall % (100 * S);
	uint64_t taken = 0;

	cr_assert(kinds_insert(&seg, 1, &limit, begin));
	for (uint64_t now = begin; now < begin + 1000 * S; now += step) {
		const struct link link = kinds_link(&limit, now);
		struct ration_ticket ticket;
		struct draw d = {.links = &link, .n_links = 1, .at = kinds_instant(now)};

		d.units[0] = 1;
		if (chain_look(&seg, &d) == TAKE_ADMIT &&
		    headroom_of(&seg, &d) > below(HEADROOM_CALM) &&
		    chain_charge(&seg, &d, &ticket) == TAKE_ADMIT)
			taken++;
	}
	return (unsigned)(taken * 100 / (10 * amount));
}

Test(route, limits_of_every_kind_are_used_up)
{
	static const enum seg_kind kinds[] = {KIND_BUCKET, KIND_WINDOW, KIND_ROLLING};
	static const unsigned asked[] = {100, 103, 110, 130, 200, 1000};

	seed(20261123);
	for (size_t k = 0; k < 3; k++) {
		for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
			cr_expect_geq(used(kinds[k], 1000, asked[i]), 95,
				      "kind %d, asked for %u %%, seed %lu", (int)kinds[k], asked[i],
				      (unsigned long)seed_used);
		cr_expect_geq(used(kinds[k], 10, 300), 95, "kind %d, small, seed %lu",
			      (int)kinds[k], (unsigned long)seed_used);
	}
}

Test(route, the_last_slot_is_taken)
{
	struct scene s = scene_of("held");

	for (int i = 0; i < 20; i++) {
		cr_assert_eq(ask(&s), 0);
		cr_assert(went_to(&s, "twenty"));
	}
	cr_assert_eq(ask(&s), 0);
	cr_assert(went_to(&s, "wide"));
	end(&s);
}

/* --- at the same time --- */

enum { THREADS = 4, EACH = 300 };

static void *take_many(void *user)
{
	struct scene *s = user;
	struct ration_pick pick;
	struct ration_ticket ticket;
	uintptr_t n = 0;

	for (int i = 0; i < EACH; i++)
		n += ration_route(s->route, &one, &pick, &ticket, NULL) == 0;
	return (void *)n;
}

Test(route, threads_share_a_route_and_take_no_more_than_there_is)
{
	struct scene s = scene_of("two");
	pthread_t threads[THREADS];
	uintptr_t n = 0;
	uint64_t began = clock_boot_ns(), spent;

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, take_many, &s), 0);
	for (int i = 0; i < THREADS; i++) {
		void *took;

		cr_assert_eq(pthread_join(threads[i], &took), 0);
		n += (uintptr_t)took;
	}
	spent = clock_boot_ns() - began;
	cr_expect_geq(n, 200);
	cr_expect_leq(n, 200 + 2 * (spent / (100 * MS) + 1));
	end(&s);
}
