/*
 * tests/test_client.c - acquire, settle, cancel, and what a denial says
 * SPDX-License-Identifier: MIT
 *
 * Limits of one unit an hour refill nothing while a test runs; where time must pass the process's
 * clock is moved.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "client/memory.h"
#include "support_blob.h"
#include "support_check.h"

#define HOUR    UINT64_C(3600)
#define HOUR_NS (HOUR * 1000000000)

TestSuite(client, .fini = check_worlds, .timeout = 10);

#define PER_TENANT (RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR)

static const struct policy_desc two_units = {
	.vendors = {"ai"},
	.delay_ns = 50000000,
	.limits = {{.name = "calls",
		    .vendor = "ai",
		    .scope = PER_TENANT,
		    .amount = 1,
		    .period_s = HOUR,
		    .burst = 20},
		   {.name = "words",
		    .vendor = "ai",
		    .unit = "tokens",
		    .scope = PER_TENANT,
		    .amount = 1,
		    .period_s = 1,
		    .burst = 100000}},
};

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_ticket ticket;
	struct ration_denial denial;
};

static struct scene scene_of(const struct policy_desc *desc)
{
	struct scene s = {.ration = world_make(desc, 64, 2)};

	s.handle = world_key(s.ration, "acme", desc->vendors[0], NULL, NULL);
	return s;
}

static void scene_end(struct scene *s)
{
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
	cr_assert_null(s->ration);
}

static uint64_t left(const struct scene *s, const char *limit)
{
	return world_bucket(s->ration, s->handle, limit).left;
}

static int take(struct scene *s, const char *unit, uint64_t amount)
{
	const struct ration_cost cost = {unit, amount};

	memset(&s->ticket, 0xa5, sizeof(s->ticket));
	return ration_acquire(s->handle, &cost, 1, &s->ticket, &s->denial);
}

/* --- costs --- */

Test(client, a_request_costs_one_unless_it_says_otherwise)
{
	struct scene s = scene_of(&two_units);
	const struct ration_cost both[] = {{"tokens", 300}, {"requests", 4}};

	cr_assert_eq(take(&s, "tokens", 100), 0);
	cr_assert_eq(left(&s, "calls"), 19);
	cr_assert_eq(left(&s, "words"), 99900);
	cr_assert_eq(ration_acquire(s.handle, both, 2, &s.ticket, NULL), 0);
	cr_assert_eq(left(&s, "calls"), 15);
	cr_assert_eq(left(&s, "words"), 99600);
	cr_assert_eq(s.ticket.n_links, 2);
	scene_end(&s);
}

Test(client, a_unit_that_no_limit_counts_is_ignored)
{
	struct scene s = scene_of(&two_units);
	const struct ration_cost costs[] = {{"tokens", 1}, {"furlongs", 1000000}};

	cr_assert_eq(ration_acquire(s.handle, costs, 2, &s.ticket, NULL), 0);
	cr_assert_eq(left(&s, "calls"), 19);
	scene_end(&s);
}

Test(client, a_unit_that_the_cost_does_not_name_is_an_error)
{
	struct scene s = scene_of(&two_units);

	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &s.ticket, &s.denial), RATION_EUNIT);
	cr_assert_eq(s.ticket.owner, 0);
	cr_assert_eq(take(&s, "requests", 1), RATION_EUNIT);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), -EINVAL);
	cr_assert_eq(left(&s, "calls"), 20, "nothing is charged on a partial cost");
	scene_end(&s);
}

Test(client, a_limit_may_have_a_default_cost)
{
	struct policy_desc desc = two_units;
	struct scene s;

	desc.limits[1].has_default = true;
	desc.limits[1].default_cost = 7;
	s = scene_of(&desc);
	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &s.ticket, NULL), 0);
	cr_assert_eq(left(&s, "words"), 99993);
	cr_assert_eq(take(&s, "tokens", 3), 0);
	cr_assert_eq(left(&s, "words"), 99990);
	scene_end(&s);
}

Test(client, a_request_may_cost_more_than_one_by_default)
{
	struct policy_desc desc = two_units;
	struct scene s;

	desc.limits[0].has_default = true;
	desc.limits[0].default_cost = 5;
	s = scene_of(&desc);
	cr_assert_eq(take(&s, "tokens", 1), 0);
	cr_assert_eq(left(&s, "calls"), 15);
	cr_assert_eq(take(&s, "tokens", 1), 0, "the second time by the short path");
	cr_assert_eq(left(&s, "calls"), 10);
	scene_end(&s);
}

Test(client, nothing_costs_nothing)
{
	struct scene s = scene_of(&two_units);
	const struct ration_cost none[] = {{"requests", 0}, {"tokens", 0}};

	for (int i = 0; i < 100; i++)
		cr_assert_eq(ration_acquire(s.handle, none, 2, &s.ticket, NULL), 0);
	cr_assert_eq(left(&s, "calls"), 20);
	cr_assert_eq(left(&s, "words"), 100000);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, &(struct ration_cost){"tokens", 5}, 1), 0);
	cr_assert_eq(left(&s, "words"), 99995, "what was free may turn out not to be");
	scene_end(&s);
}

Test(client, costs_that_make_no_sense_are_refused)
{
	struct scene s = scene_of(&two_units);
	struct ration_cost many[RATION_LINKS_MAX + 1];
	static const char *const units[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
					    "j", "k", "l", "m", "n", "o", "p", "q"};
	const struct ration_cost twice[] = {{"tokens", 1}, {"tokens", 1}};

	for (int i = 0; i <= RATION_LINKS_MAX; i++)
		many[i] = (struct ration_cost){units[i], 1};
	many[0].unit = "tokens";
	cr_assert_eq(ration_acquire(s.handle, twice, 2, &s.ticket, NULL), -EINVAL);
	cr_assert_eq(ration_acquire(s.handle, many, RATION_LINKS_MAX + 1, &s.ticket, NULL),
		     -EINVAL);
	cr_assert_eq(take(&s, "tokens", RATION_COST_MAX + 1), -EINVAL);
	cr_assert_eq(take(&s, "tokens", UINT64_MAX), -EINVAL);
	cr_assert_eq(take(&s, NULL, 1), -EINVAL, "a cost needs a unit");
	cr_assert_eq(s.ticket.owner, 0);
	cr_assert_eq(left(&s, "calls"), 20);
	cr_assert_eq(ration_acquire(s.handle, many, RATION_LINKS_MAX, &s.ticket, NULL), 0);

	cr_assert_eq(ration_settle(s.ration, &s.ticket, twice, 2), -EINVAL);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, many, RATION_LINKS_MAX + 1), -EINVAL);
	cr_assert_eq(ration_settle(s.ration, &s.ticket,
				   &(struct ration_cost){"tokens", RATION_COST_MAX + 1}, 1),
		     -EINVAL);
	cr_assert_eq(ration_cancel(s.ration, &s.ticket), 0, "a refused settle ends no ticket");
	cr_assert_eq(left(&s, "calls"), 20);
	scene_end(&s);
}

/* --- too large --- */

Test(client, what_can_never_fit_says_so_at_once)
{
	struct scene s = scene_of(&two_units);
	char text[200];

	cr_assert_eq(take(&s, "tokens", 100001), RATION_OVERSIZE);
	cr_assert_str_eq(s.denial.limit, "words");
	cr_assert_str_eq(s.denial.unit, "tokens");
	cr_assert_eq(s.denial.size, 100000);
	cr_assert_eq(s.denial.needed, 100001);
	cr_assert_eq(s.denial.retry_in_ns, 0);
	ration_denial_text(&s.denial, s.handle, text, sizeof(text));
	cr_assert_str_eq(text, "denied: ai/words (tenant acme): 100000 of 100000 tokens left, "
			       "needs 100001; can never fit");
	cr_assert_eq(take(&s, "tokens", RATION_COST_MAX), RATION_OVERSIZE);
	cr_assert_eq(take(&s, "tokens", 100000), 0);
	cr_assert_eq(left(&s, "calls"), 19);
	cr_assert_eq(ration_acquire_until(s.handle, &(struct ration_cost){"tokens", 100001}, 1,
					  UINT64_MAX, &s.ticket, &s.denial),
		     RATION_OVERSIZE, "waiting would not help, so it does not wait");
	scene_end(&s);
}

/* --- denials --- */

Test(client, a_denial_names_the_limit_and_when)
{
	struct scene s = scene_of(&two_units);
	const uint64_t before = clock_boot_ns();

	cr_assert_eq(take(&s, "tokens", 50000), 0);
	for (int i = 0; i < 16; i++)
		cr_assert_eq(take(&s, "tokens", 1), 0);
	cr_assert_eq(ration_acquire(s.handle,
				    (struct ration_cost[]){{"tokens", 1}, {"requests", 5}}, 2,
				    &s.ticket, &s.denial),
		     RATION_DENIED);
	cr_assert_str_eq(s.denial.vendor, "ai");
	cr_assert_str_eq(s.denial.limit, "calls");
	cr_assert_str_eq(s.denial.unit, "requests");
	cr_assert_eq(s.denial.scope, PER_TENANT);
	cr_assert_eq(s.denial.block, 0);
	cr_assert_eq(s.denial.left, 3);
	cr_assert_eq(s.denial.size, 20);
	cr_assert_eq(s.denial.needed, 5);
	/* 2 units are missing, and they come one an hour since the first was taken; a rate is
	 * rounded down by at most 2^-23 of it, here 20 hours. */
	cr_assert(s.denial.retry_in_ns <= 2 * HOUR_NS + 20 * HOUR_NS / (1 << 23) + 1);
	cr_assert(s.denial.retry_at_ns >= before + 2 * HOUR_NS);
	cr_assert(s.denial.retry_at_ns <= clock_boot_ns() + s.denial.retry_in_ns);
	cr_assert_eq(s.ticket.owner, 0);
	cr_assert_eq(left(&s, "calls"), 3);
	cr_assert_eq(left(&s, "words"), 49984, "a denied acquire leaves nothing charged");
	scene_end(&s);
}

Test(client, the_same_acquire_succeeds_at_the_time_named_and_not_before)
{
	struct scene s = scene_of(&two_units);

	for (int i = 0; i < 17; i++)
		cr_assert_eq(take(&s, "tokens", 1), 0);
	for (int i = 0; i < 3; i++) {
		const struct ration_cost costs[] = {{"tokens", 1}, {"requests", 5}};
		uint64_t wait;

		cr_assert_eq(ration_acquire(s.handle, costs, 2, &s.ticket, &s.denial),
			     RATION_DENIED);
		wait = s.denial.retry_in_ns;
		world_advance(s.ration, wait - HOUR_NS / 60);
		cr_assert_eq(ration_acquire(s.handle, costs, 2, &s.ticket, &s.denial),
			     RATION_DENIED);
		world_advance(s.ration, HOUR_NS / 60);
		cr_assert_eq(ration_acquire(s.handle, costs, 2, &s.ticket, NULL), 0);
	}
	scene_end(&s);
}

/* Each limit in turn is the one to wait for. */
Test(client, of_several_limits_the_last_to_have_room_is_named_and_counted)
{
	for (int slowest = 0; slowest < 3; slowest++) {
		struct policy_desc desc = {
			.vendors = {"v"},
			.limits = {{.name = "l0", .vendor = "v", .amount = 1, .burst = 4},
				   {.name = "l1", .vendor = "v", .amount = 1, .burst = 4},
				   {.name = "l2", .amount = 1, .burst = 4}},
		};
		struct scene s;

		for (int i = 0; i < 3; i++)
			desc.limits[i].period_s = i == slowest ? 10 * HOUR : HOUR;
		s = scene_of(&desc);
		cr_assert_eq(take(&s, "requests", 4), 0);
		cr_assert_eq(take(&s, "requests", 2), RATION_DENIED);
		cr_expect_str_eq(s.denial.limit, desc.limits[slowest].name, "slowest is %d",
				 slowest);
		cr_expect_str_eq(s.denial.vendor, slowest == 2 ? "" : "v");
		cr_expect(s.denial.retry_in_ns > 19 * HOUR_NS);
		for (int i = 0; i < 3; i++) {
			const struct bucket_state b =
				world_bucket(s.ration, s.handle, desc.limits[i].name);

			cr_expect_eq(b.admitted, 1);
			cr_expect_eq(b.denied, i == slowest, "limit %d of slowest %d", i, slowest);
		}
		scene_end(&s);
	}
}

/* A limit that has room must not be named, wherever it stands. */
Test(client, a_limit_with_room_is_not_blamed)
{
	for (int empty = 0; empty < 3; empty++) {
		struct policy_desc desc = {
			.vendors = {"v"},
			.limits = {{.name = "l0", .amount = 1, .period_s = HOUR, .burst = 100},
				   {.name = "l1", .amount = 1, .period_s = HOUR, .burst = 100},
				   {.name = "l2", .amount = 1, .period_s = HOUR, .burst = 100}},
		};
		struct scene s;

		desc.limits[empty].burst = 4;
		s = scene_of(&desc);
		cr_assert_eq(take(&s, "requests", 4), 0);
		cr_assert_eq(take(&s, "requests", 1), RATION_DENIED);
		cr_expect_str_eq(s.denial.limit, desc.limits[empty].name, "empty is %d, got %s",
				 empty, s.denial.limit);
		cr_expect_eq(world_bucket(s.ration, s.handle, desc.limits[empty].name).denied, 1);
		scene_end(&s);
	}
}

/* --- settling --- */

Test(client, settle_corrects_in_both_directions)
{
	struct scene s = scene_of(&two_units);

	cr_assert_eq(take(&s, "tokens", 1000), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, &(struct ration_cost){"tokens", 200}, 1),
		     0);
	cr_assert_eq(left(&s, "words"), 99800);
	cr_assert_eq(left(&s, "calls"), 19, "units not named keep their estimate");
	cr_assert_eq(take(&s, "tokens", 1000), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, &(struct ration_cost){"tokens", 3000}, 1),
		     0);
	cr_assert_eq(left(&s, "words"), 96800);
	cr_assert_eq(take(&s, "tokens", 100), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), 0);
	cr_assert_eq(left(&s, "words"), 96700);
	cr_assert_eq(take(&s, "tokens", 100), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, &(struct ration_cost){"furlongs", 9}, 1),
		     0);
	cr_assert_eq(left(&s, "words"), 96600);
	scene_end(&s);
}

Test(client, settle_goes_into_debt_that_must_be_worked_off)
{
	struct scene s = scene_of(&two_units);

	cr_assert_eq(take(&s, "tokens", 100000), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, &(struct ration_cost){"tokens", 100600}, 1),
		     0);
	cr_assert_eq(take(&s, "tokens", 1), RATION_DENIED);
	cr_assert(s.denial.retry_in_ns > UINT64_C(590000000000), "600 s of debt");
	cr_assert_eq(s.denial.left, 0);
	world_advance(s.ration, s.denial.retry_in_ns);
	cr_assert_eq(take(&s, "tokens", 1), 0);
	scene_end(&s);
}

Test(client, a_settle_that_comes_after_its_bucket_was_given_up_is_counted_as_forgotten)
{
	struct scene s = scene_of(&two_units);
	const shm_word *forgotten = &client_seg(s.ration)->control->forgotten;
	struct ration_ticket late;

	cr_assert_eq(take(&s, "tokens", 1000), 0);
	late = s.ticket;
	late.links[0].generation++;
	late.links[1].generation++;
	cr_assert_eq(ration_settle(s.ration, &late, &(struct ration_cost){"tokens", 500}, 1), 0);
	cr_assert_eq(shm_load(forgotten), 0, "less than the estimate: nobody loses by that");
	late = s.ticket;
	late.links[0].generation++;
	late.links[1].generation++;
	cr_assert_eq(ration_settle(s.ration, &late, &(struct ration_cost){"tokens", 3000}, 1), 0);
	cr_assert_eq(shm_load(forgotten), 1);
	cr_assert_eq(left(&s, "words"), 99000);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, &(struct ration_cost){"tokens", 3000}, 1),
		     0);
	cr_assert_eq(shm_load(forgotten), 1);
	cr_assert_eq(left(&s, "words"), 97000);
	scene_end(&s);
}

Test(client, cancel_gives_back_what_time_has_not)
{
	struct scene s = scene_of(&two_units);

	cr_assert_eq(take(&s, "tokens", 1000), 0);
	world_advance(s.ration, UINT64_C(400000000000));
	cr_assert_eq(left(&s, "words"), 99400);
	cr_assert_eq(ration_cancel(s.ration, &s.ticket), 0);
	cr_assert_eq(left(&s, "words"), 100000);
	cr_assert_eq(left(&s, "calls"), 20);
	cr_assert_eq(take(&s, "tokens", 100000), 0, "and no more than that");
	cr_assert_eq(take(&s, "tokens", 2), RATION_DENIED);
	scene_end(&s);
}

/* The burst drains, others spend it, then the old ticket is cancelled. */
Test(client, a_late_cancel_mints_nothing)
{
	struct scene s = scene_of(&two_units);
	struct ration_ticket old;

	cr_assert_eq(take(&s, "tokens", 500), 0);
	old = s.ticket;
	world_advance(s.ration, UINT64_C(501000000000));
	cr_assert_eq(take(&s, "tokens", 100000), 0);
	cr_assert_eq(ration_cancel(s.ration, &old), 0);
	cr_assert(left(&s, "words") <= 1);
	scene_end(&s);
}

Test(client, a_ticket_ends_once)
{
	struct scene s = scene_of(&two_units);
	struct ration_ticket garbage;

	cr_assert_eq(take(&s, "tokens", 1000), 0);
	cr_assert_eq(ration_cancel(s.ration, &s.ticket), 0);
	cr_assert_eq(s.ticket.owner, 0);
	cr_assert_eq(ration_cancel(s.ration, &s.ticket), -EINVAL);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), -EINVAL);
	cr_assert_not(ration_ticket_fresh(s.ration, &s.ticket));
	cr_assert_eq(take(&s, "tokens", 1000), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), -EINVAL);
	memset(&garbage, 0, sizeof(garbage));
	cr_assert_eq(ration_settle(s.ration, &garbage, NULL, 0), -EINVAL);
	cr_assert_eq(ration_cancel(s.ration, &garbage), -EINVAL);
	memset(&garbage, 0x5a, sizeof(garbage));
	cr_assert_eq(ration_settle(s.ration, &garbage, NULL, 0), -EINVAL);
	cr_assert_eq(left(&s, "words"), 99000);
	scene_end(&s);
}

/* The owner is right, the rest is not: nothing may be read or written outside the segment. */
Test(client, a_scribbled_ticket_does_no_harm)
{
	struct scene s = scene_of(&two_units);
	struct ration_ticket bad;

	cr_assert_eq(take(&s, "tokens", 1000), 0);
	bad = s.ticket;
	bad.n_links = RATION_LINKS_MAX + 1;
	cr_assert_eq(ration_cancel(s.ration, &bad), -EINVAL);
	bad = s.ticket;
	bad.links[1].bucket = UINT32_MAX;
	cr_assert_eq(ration_cancel(s.ration, &bad), -EINVAL);
	bad = s.ticket;
	bad.links[1].bucket = client_seg(s.ration)->n_buckets;
	cr_assert_eq(ration_settle(s.ration, &bad, NULL, 0), -EINVAL);
	bad = s.ticket;
	bad.links[1].generation++;
	cr_assert_eq(ration_cancel(s.ration, &bad), 0, "of an earlier life: nothing is due");
	cr_assert_eq(left(&s, "words"), 99000);
	cr_assert_eq(left(&s, "calls"), 20, "its other link was right");
	scene_end(&s);
}

/* Two segments in one process: a ticket of one must not mint in the other. */
Test(client, a_ticket_is_of_no_use_in_another_segment)
{
	struct scene one = scene_of(&two_units), other = scene_of(&two_units);
	const struct ration_cost costs[] = {{"tokens", 5}};

	cr_assert_eq(ration_acquire(one.handle, costs, 1, &one.ticket, NULL), 0);
	cr_assert_eq(ration_acquire(other.handle, costs, 1, &other.ticket, NULL), 0);
	cr_assert_eq(ration_cancel(other.ration, &one.ticket), -EINVAL);
	cr_assert_eq(ration_settle(one.ration, &other.ticket, NULL, 0), -EINVAL);
	cr_assert_eq(ration_cancel(one.ration, &one.ticket), 0);
	cr_assert_eq(ration_cancel(other.ration, &other.ticket), 0);
	scene_end(&one);
	scene_end(&other);
}

Test(client, a_ticket_is_fresh_for_the_delay)
{
	struct policy_desc desc = two_units;
	struct scene s;

	desc.delay_ns = HOUR_NS;
	s = scene_of(&desc);
	cr_assert_eq(take(&s, "tokens", 1), 0);
	cr_assert_eq(s.ticket.expires - s.ticket.permit, HOUR_NS * TICKS_PER_NS);
	cr_assert(ration_ticket_fresh(s.ration, &s.ticket));
	world_advance(s.ration, HOUR_NS - 60 * UINT64_C(1000000000));
	cr_assert(ration_ticket_fresh(s.ration, &s.ticket));
	world_advance(s.ration, 60 * UINT64_C(1000000000));
	cr_assert_not(ration_ticket_fresh(s.ration, &s.ticket));
	cr_assert_eq(ration_cancel(s.ration, &s.ticket), 0, "stale, but still there to cancel");
	scene_end(&s);
}

/* --- shadow --- */

Test(client, shadow_mode_tells_and_charges_what_has_room)
{
	struct policy_desc desc = two_units;
	struct bucket_state calls;
	struct scene s;

	desc.shadow = true;
	s = scene_of(&desc);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(take(&s, "tokens", 1), 0);
		cr_assert_eq(s.ticket.flags, 0);
	}
	cr_assert_eq(take(&s, "tokens", 1), 0);
	cr_assert_eq(s.ticket.flags, RATION_TICKET_SHADOW);
	cr_assert_eq(s.ticket.n_links, 1, "the other limit has room");
	cr_assert_str_eq(s.denial.limit, "calls");
	cr_assert_eq(s.denial.left, 0);
	cr_assert_eq(s.denial.needed, 1);
	cr_assert(ration_ticket_fresh(s.ration, &s.ticket));
	cr_assert_eq(ration_settle(s.ration, &s.ticket, &(struct ration_cost){"tokens", 900}, 1),
		     0);
	cr_assert_eq(left(&s, "words"), 99080, "what was charged is corrected");
	memset(&s.denial, 0, sizeof(s.denial));
	cr_assert_eq(take(&s, "tokens", 100001), 0);
	cr_assert_eq(s.ticket.flags, RATION_TICKET_SHADOW);
	cr_assert_str_eq(s.denial.limit, "words");
	cr_assert_eq(ration_cancel(s.ration, &s.ticket), 0);
	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &s.ticket, NULL), RATION_EUNIT,
		     "a cost that is wrong stays wrong");
	memset(&s.denial, 0, sizeof(s.denial));
	cr_assert_eq(ration_acquire_until(s.handle, &(struct ration_cost){"tokens", 1}, 1,
					  UINT64_MAX, &s.ticket, &s.denial),
		     0);
	cr_assert_str_eq(s.denial.limit, "calls");
	calls = world_bucket(s.ration, s.handle, "calls");
	cr_assert_eq(calls.admitted, 20);
	cr_assert_eq(calls.denied, 2);
	cr_assert_eq(world_bucket(s.ration, s.handle, "words").denied, 1);
	scene_end(&s);
}

/* --- counting --- */

Test(client, statistics_add_up)
{
	struct scene s = scene_of(&two_units);
	struct bucket_state calls, words;

	for (int i = 0; i < 20; i++) {
		cr_assert_eq(take(&s, "tokens", 10), 0);
		if (i % 2)
			cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), 0);
	}
	for (int i = 0; i < 70000; i++)
		cr_assert_eq(take(&s, "tokens", 10), RATION_DENIED);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(take(&s, "tokens", 200000), RATION_OVERSIZE);
	cr_assert_eq(ration_acquire(s.handle, NULL, 0, &s.ticket, NULL), RATION_EUNIT);
	calls = world_bucket(s.ration, s.handle, "calls");
	words = world_bucket(s.ration, s.handle, "words");
	cr_assert_eq(calls.admitted, 20);
	cr_assert_eq(calls.denied, 70000);
	cr_assert_eq(words.admitted, 20);
	cr_assert_eq(words.denied, 5);
	scene_end(&s);
}

/* --- corrupt values --- */

Test(client, an_impossible_time_denies_once_and_is_put_right)
{
	struct scene s = scene_of(&two_units);
	struct seg_hot *hot;

	cr_assert_eq(take(&s, "tokens", 1), 0);
	hot = &client_seg(s.ration)->hot[world_bucket(s.ration, s.handle, "words").bucket];
	shm_store(&hot->state[0], UINT64_MAX - 1);
	cr_assert_eq(take(&s, "tokens", 1), RATION_ECORRUPT);
	cr_assert_eq(s.ticket.owner, 0);
	cr_assert_eq(shm_load(&client_seg(s.ration)->control->corrupt), 1);
	cr_assert_eq(shm_load(&client_seg(s.ration)->control->repaired), 1);
	cr_assert_eq(take(&s, "tokens", 1), RATION_DENIED, "it is empty now, to the safe side");
	world_advance(s.ration, s.denial.retry_in_ns);
	cr_assert_eq(take(&s, "tokens", 1), 0);
	scene_end(&s);
}
