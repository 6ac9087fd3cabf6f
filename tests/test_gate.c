/*
 * tests/test_gate.c - blocks and the breaker: who is stopped, who is the probe, who comes in when
 * SPDX-License-Identifier: MIT
 *
 * Time passes only where a test moves the process's clock.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/gate.h"
#include "shm/gate.h"
#include "shm/reclaim.h"
#include "support_blob.h"
#include "support_check.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

TestSuite(gate, .fini = check_worlds, .timeout = 60);

#define PER_TENANT (RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR)

static const struct policy_desc ample = {
	.vendors = {"ai", "crm"},
	.classes = {"interactive", "bulk"},
	.limits = {{.name = "calls",
		    .vendor = "ai",
		    .scope = PER_TENANT,
		    .amount = 1000,
		    .burst = 1000}},
};

struct scene {
	struct ration *ration;
	struct ration_handle *handle;
	struct ration_ticket ticket;
	struct ration_denial denial;
};

static struct scene begin(const struct policy_desc *desc)
{
	struct scene s = {.ration = world_make(desc, 64, 2)};

	s.handle = world_key(s.ration, "acme", "ai", NULL, NULL);
	return s;
}

static void end(struct scene *s)
{
	ration_handle_free(&s->handle);
	ration_detach(&s->ration);
}

static struct ration_handle *key_of(const struct scene *s, const char *class)
{
	const struct ration_key key = {.tenant = "acme", .vendor = "ai", .traffic_class = class};
	struct ration_handle *handle = NULL;

	cr_assert_eq(ration_resolve(s->ration, &key, &handle, NULL), 0);
	return handle;
}

static int acquire(struct scene *s)
{
	memset(&s->ticket, 0xa5, sizeof(s->ticket));
	memset(&s->denial, 0xa5, sizeof(s->denial));
	return ration_acquire(s->handle, NULL, 0, &s->ticket, &s->denial);
}

static int acquire_for(struct ration_handle *handle)
{
	struct ration_ticket ticket;

	return ration_acquire(handle, NULL, 0, &ticket, NULL);
}

static struct ration_signal good(void)
{
	return (struct ration_signal){.status = 200, .retry_in_ns = RATION_UNKNOWN};
}

static struct ration_signal limited(uint64_t retry_in_ns)
{
	return (struct ration_signal){
		.status = 429,
		.limited = true,
		.retryable = true,
		.limit_class = RATION_LIMIT_RATE,
		.reach = RATION_REACH_TENANT,
		.retry_in_ns = retry_in_ns,
	};
}

/* As a response to the ticket at hand; it is ended. */
static void answer(struct scene *s, struct ration_signal signal)
{
	cr_assert_eq(ration_observe(s->handle, &s->ticket, &signal), 0);
	cr_assert_eq(ration_settle(s->ration, &s->ticket, NULL, 0), 0);
}

/* As a response to a request that nobody knows. */
static void tell(struct scene *s, struct ration_signal signal)
{
	cr_assert_eq(ration_observe(s->handle, NULL, &signal), 0);
}

static struct bucket_ref gate(const struct scene *s)
{
	const char *const field[KEY_FIELDS] = {"acme", "ai", "", "", ""};
	struct bucket_ref found = {0, 0};

	cr_assert_eq(index_find(client_seg(s->ration),
				client_gate_identity(client_blob(s->ration), PER_TENANT, field),
				&found),
		     INDEX_FOUND);
	return found;
}

/* --- what is blocked --- */

Test(gate, nothing_passes_until_the_vendor_said)
{
	struct scene s = begin(&ample);

	cr_assert_eq(acquire(&s), 0);
	answer(&s, limited(20 * SECOND));
	cr_assert_eq(acquire(&s), RATION_DENIED, "at the next acquire");
	cr_expect_str_eq(s.denial.vendor, "ai");
	cr_expect_str_eq(s.denial.limit, "(block)");
	cr_expect_eq(s.denial.block, RATION_BLOCK_NONE + RATION_LIMIT_RATE);
	cr_expect_eq(s.denial.scope, PER_TENANT);
	cr_expect_leq(s.denial.retry_in_ns, 21 * SECOND + MS);
	world_advance(s.ration, 10 * SECOND);
	cr_expect_eq(acquire(&s), RATION_DENIED);
	world_advance(s.ration, 10 * SECOND);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

Test(gate, a_denial_says_so_in_words)
{
	static const char expected[] =
		"denied: ai/(block) (tenant acme): blocked: the vendor limits the rate; retry in 1";
	struct scene s = begin(&ample);
	char text[256];

	tell(&s, limited(HOUR));
	cr_assert_eq(acquire(&s), RATION_DENIED);
	(void)ration_denial_text(&s.denial, s.handle, text, sizeof(text));
	cr_expect_eq(strncmp(text, expected, strlen(expected)), 0, "%s", text);
	end(&s);
}

Test(gate, other_keys_pass)
{
	struct scene s = begin(&ample);
	struct ration_handle *tenant = world_key(s.ration, "globex", "ai", NULL, NULL);
	struct ration_handle *vendor = world_key(s.ration, "acme", "crm", NULL, NULL);
	struct ration_handle *resource = world_key(s.ration, "acme", "ai", NULL, "gpt");

	tell(&s, limited(HOUR));
	cr_expect_eq(acquire_for(tenant), 0);
	cr_expect_eq(acquire_for(vendor), 0);
	cr_expect_eq(acquire_for(resource), RATION_DENIED, "all of the tenant's resources");
	ration_handle_free(&tenant);
	ration_handle_free(&vendor);
	ration_handle_free(&resource);
	end(&s);
}

Test(gate, a_block_reaches_as_far_as_the_signal)
{
	struct scene s = begin(&ample);
	struct ration_handle *one = world_key(s.ration, "acme", "ai", "a1", "gpt");
	struct ration_handle *two = world_key(s.ration, "acme", "ai", "a1", "whisper");
	struct ration_handle *other = world_key(s.ration, "globex", "ai", "a1", "gpt");
	struct ration_signal signal = limited(HOUR);

	signal.reach = RATION_REACH_REQUEST;
	cr_assert_eq(ration_observe(one, NULL, &signal), 0);
	cr_expect_eq(acquire_for(one), 0, "a request's own trouble");
	signal.reach = RATION_REACH_RESOURCE;
	cr_assert_eq(ration_observe(one, NULL, &signal), 0);
	cr_expect_eq(acquire_for(one), RATION_DENIED);
	cr_expect_eq(acquire_for(two), 0);
	cr_expect_eq(acquire_for(other), 0);
	signal.reach = RATION_REACH_ACCOUNT;
	cr_assert_eq(ration_observe(one, NULL, &signal), 0);
	cr_expect_eq(acquire_for(two), RATION_DENIED);
	cr_expect_eq(acquire_for(other), RATION_DENIED, "whoever uses that account");
	cr_expect_eq(acquire(&s), 0, "not who uses another");
	ration_handle_free(&one);
	ration_handle_free(&two);
	ration_handle_free(&other);
	end(&s);
}

Test(gate, an_account_that_nobody_named_is_the_tenants)
{
	struct scene s = begin(&ample);
	struct ration_handle *other = world_key(s.ration, "globex", "ai", NULL, NULL);
	struct ration_signal signal = limited(HOUR);

	signal.reach = RATION_REACH_ACCOUNT;
	tell(&s, signal);
	cr_expect_eq(acquire(&s), RATION_DENIED);
	cr_expect_eq(acquire_for(other), 0);
	ration_handle_free(&other);
	end(&s);
}

Test(gate, a_later_end_extends_and_an_earlier_does_not_cut)
{
	struct scene s = begin(&ample);

	tell(&s, limited(MINUTE));
	tell(&s, limited(SECOND));
	world_advance(s.ration, 50 * SECOND);
	cr_expect_eq(acquire(&s), RATION_DENIED, "not cut");
	tell(&s, limited(MINUTE));
	world_advance(s.ration, 50 * SECOND);
	cr_expect_eq(acquire(&s), RATION_DENIED, "extended");
	world_advance(s.ration, 10 * SECOND + MS);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

Test(gate, no_block_is_longer_than_the_policy_lets_it)
{
	struct scene s = begin(&ample);

	tell(&s, limited(1000 * HOUR));
	cr_assert_eq(acquire(&s), RATION_DENIED);
	cr_expect_leq(s.denial.retry_in_ns, 25 * HOUR + 2 * SECOND);
	tell(&s, limited(RATION_UNKNOWN - 1));
	world_advance(s.ration, 25 * HOUR + MS);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

Test(gate, shadow_tells_and_denies_nothing)
{
	struct policy_desc desc = ample;
	struct scene s;

	desc.shadow = true;
	s = begin(&desc);
	tell(&s, limited(HOUR));
	cr_expect_eq(acquire(&s), 0);
	cr_expect(s.ticket.flags & RATION_TICKET_SHADOW);
	cr_expect_str_eq(s.denial.limit, "(block)");
	end(&s);
}

/* --- the probe --- */

/* Blocked, and the block is over. */
static struct scene over(void)
{
	struct scene s = begin(&ample);

	tell(&s, limited(10 * SECOND));
	world_advance(s.ration, 10 * SECOND + MS);
	return s;
}

Test(gate, one_probe_at_its_end)
{
	struct scene s = over();
	struct ration_handle *bulk = key_of(&s, "bulk");

	cr_assert_eq(acquire(&s), 0);
	cr_expect_eq(s.ticket.n_links, 2, "it stands on the ticket");
	for (int i = 0; i < 100; i++)
		cr_expect_eq(acquire_for(bulk), RATION_DENIED);
	answer(&s, good());
	world_advance(s.ration, SECOND + MS);
	cr_expect_eq(acquire_for(bulk), 0);
	cr_expect_eq(acquire(&s), 0);
	cr_expect_eq(s.ticket.n_links, 1);
	ration_handle_free(&bulk);
	end(&s);
}

Test(gate, others_come_in_over_a_second)
{
	enum { ASKERS = 400, STEPS = 20 };
	struct scene s = over();
	const struct bucket_ref ref = gate(&s);
	const struct link link = {.bucket = ref.bucket, .generation = ref.generation};
	const uint64_t now = client_now(s.ration);
	int in = 0;

	cr_assert(gate_lift(&s.ration->seg, ref, 0, now));
	for (int step = 0; step <= STEPS; step++) {
		const struct instant at = {.now = now + GATE_SPREAD / STEPS * (unsigned)step +
						  (UINT64_C(1) << GATE_TIME_SHIFT)};
		const int before = in;

		in = 0;
		for (uint64_t i = 0; i < ASKERS; i++) {
			const struct demand demand = {.units = 1, .seed = i};
			struct taken taken;
			struct shortage why;

			in += gate_look(&s.ration->seg, &link, &demand, &at, &taken, &why) ==
			      TAKE_ADMIT;
		}
		cr_expect_geq(in, before, "whoever may pass may so later");
		cr_expect_leq(in - before, ASKERS * 3 / STEPS, "not all at once");
	}
	cr_expect_eq(in, ASKERS);
	end(&s);
}

Test(gate, a_denial_tells_the_own_moment)
{
	struct scene s = over();
	struct ration_handle *bulk = key_of(&s, "bulk");
	uint64_t left;

	cr_assert_eq(acquire(&s), 0);
	answer(&s, good());
	while (acquire(&s) == RATION_DENIED) {
		left = s.denial.retry_in_ns;
		cr_assert_leq(left, SECOND + MS);
		world_advance(s.ration, left);
	}
	ration_handle_free(&bulk);
	end(&s);
}

Test(gate, after_a_limited_probe_it_stays_closed)
{
	struct scene s = over();

	cr_assert_eq(acquire(&s), 0);
	answer(&s, limited(MINUTE));
	cr_expect_eq(acquire(&s), RATION_DENIED);
	world_advance(s.ration, 40 * SECOND);
	cr_expect_eq(acquire(&s), RATION_DENIED);
	world_advance(s.ration, 21 * SECOND);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

Test(gate, a_vendor_that_does_not_say_is_left_alone_for_longer_each_time)
{
	static const uint64_t waits[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct scene s = begin(&ample);

	cr_assert_eq(acquire(&s), 0);
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		const uint64_t before = client_now(s.ration);
		uint64_t until;

		answer(&s, limited(RATION_UNKNOWN));
		tell(&s, limited(RATION_UNKNOWN)); /* of those that were under way */
		until = GATE_WHEN(shm_load(&s.ration->seg.hot[gate(&s).bucket].state[0]));
		cr_expect_geq(until, before + waits[i] * TICKS_PER_SEC, "%zu", i);
		cr_expect_leq(until, client_now(s.ration) + (waits[i] * SECOND + MS) * TICKS_PER_NS,
			      "%zu", i);
		world_advance(s.ration, waits[i] * SECOND + MS);
		cr_assert_eq(acquire(&s), 0, "%zu", i);
	}
	end(&s);
}

Test(gate, whoever_does_not_send_passes_the_probe_on)
{
	struct scene s = over();
	struct ration_handle *bulk = key_of(&s, "bulk");

	cr_assert_eq(acquire(&s), 0);
	cr_assert_eq(ration_cancel(s.ration, &s.ticket), 0);
	cr_expect_eq(acquire_for(bulk), 0);
	cr_expect_eq(acquire(&s), RATION_DENIED);
	ration_handle_free(&bulk);
	end(&s);
}

Test(gate, settling_says_that_it_was_answered)
{
	struct scene s = over();

	cr_assert_eq(acquire(&s), 0);
	cr_assert_eq(ration_settle(s.ration, &s.ticket, NULL, 0), 0);
	world_advance(s.ration, SECOND + MS);
	cr_expect_eq(acquire(&s), 0);
	cr_expect_eq(s.ticket.n_links, 1);
	end(&s);
}

Test(gate, probes_that_nobody_hears_of_are_followed_by_others_and_then_it_is_open)
{
	struct scene s = over();

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		cr_assert_eq(acquire(&s), 0, "%u", i);
		cr_expect_eq(s.ticket.n_links, 2);
		world_advance(s.ration, GATE_PROBE / TICKS_PER_NS / 2);
		cr_expect_eq(acquire(&s), RATION_DENIED, "%u", i);
		world_advance(s.ration, GATE_PROBE / TICKS_PER_NS / 2 + MS);
	}
	world_advance(s.ration, SECOND);
	for (int i = 0; i < 10; i++) {
		cr_expect_eq(acquire(&s), 0);
		cr_expect_eq(s.ticket.n_links, 1);
	}
	end(&s);
}

Test(gate, who_gives_a_probe_up_says_so)
{
	struct scene s = over();
	struct ration_ticket late;

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		cr_assert_eq(acquire(&s), 0, "%u", i);
		cr_expect_eq(s.ticket.n_links, 2);
		late = s.ticket;
		world_advance(s.ration, SECOND);
		cr_expect_eq(acquire_for(s.handle), RATION_DENIED, "%u", i);
		cr_assert_eq(ration_abandon(s.ration, &s.ticket), 0);
		world_advance(s.ration, MS);
	}
	world_advance(s.ration, SECOND);
	cr_expect_eq(acquire(&s), 0);
	cr_expect_eq(s.ticket.n_links, 1);
	cr_assert_eq(ration_abandon(s.ration, &late), 0, "once more changes nothing");
	cr_expect_eq(acquire(&s), 0);
	cr_expect_eq(s.ticket.n_links, 1);
	end(&s);
}

Test(gate, a_late_answer_ends_nobody_elses_probe)
{
	struct scene s = over();
	struct ration_ticket late;
	struct ration_signal signal = good();

	cr_assert_eq(acquire(&s), 0);
	late = s.ticket;
	world_advance(s.ration, GATE_PROBE / TICKS_PER_NS + MS);
	cr_assert_eq(acquire(&s), 0);
	cr_assert_eq(ration_observe(s.handle, &late, &signal), 0);
	world_advance(s.ration, 2 * SECOND);
	cr_expect_eq(acquire_for(s.handle), RATION_DENIED, "that of the second is out");
	answer(&s, good());
	world_advance(s.ration, 2 * SECOND);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

Test(gate, a_probe_of_two_gates_ends_each_by_what_it_met)
{
	struct scene s = begin(&ample);
	struct ration_handle *gpt = world_key(s.ration, "acme", "ai", NULL, "gpt");
	struct ration_signal signal = limited(10 * SECOND);

	tell(&s, signal);
	signal.reach = RATION_REACH_RESOURCE;
	cr_assert_eq(ration_observe(gpt, NULL, &signal), 0);
	world_advance(s.ration, 11 * SECOND);
	cr_assert_eq(ration_acquire(gpt, NULL, 0, &s.ticket, NULL), 0);
	cr_assert_eq(s.ticket.n_links, 3);
	signal.retry_in_ns = HOUR;
	cr_assert_eq(ration_observe(gpt, &s.ticket, &signal), 0);
	world_advance(s.ration, 2 * SECOND);
	cr_expect_eq(acquire(&s), 0, "the tenant may, for the vendor spoke of the resource");
	cr_expect_eq(acquire_for(gpt), RATION_DENIED);
	ration_handle_free(&gpt);
	end(&s);
}

/* --- the breaker --- */

/* Of requests for a resource of its own, so that nothing else is blocked. */
static void respond(struct scene *s, int n, bool is_limited, enum ration_reach reach)
{
	struct ration_handle *gpt = world_key(s->ration, "acme", "ai", NULL, "gpt");
	struct ration_signal signal = is_limited ? limited(0) : good();

	signal.reach = is_limited ? reach : RATION_REACH_REQUEST;
	for (int i = 0; i < n; i++)
		cr_assert_eq(ration_observe(gpt, NULL, &signal), 0);
	ration_handle_free(&gpt);
}

static uint64_t closed_for(struct scene *s)
{
	return acquire(s) == RATION_DENIED ? s->denial.retry_in_ns : 0;
}

Test(gate, the_breaker_opens_at_half_of_ten)
{
	struct scene s = begin(&ample);

	respond(&s, 4, true, RATION_REACH_RESOURCE);
	respond(&s, 5, false, 0);
	cr_expect_eq(closed_for(&s), 0, "nine are too few");
	respond(&s, 1, true, RATION_REACH_RESOURCE);
	cr_assert_eq(acquire(&s), RATION_DENIED);
	cr_expect_str_eq(s.denial.limit, "(breaker)");
	cr_expect_eq(s.denial.block, RATION_BLOCK_BREAKER);
	cr_expect_leq(s.denial.retry_in_ns, 31 * SECOND + MS);
	world_advance(s.ration, 15 * SECOND);
	cr_expect_eq(acquire(&s), RATION_DENIED);
	world_advance(s.ration, 16 * SECOND);
	cr_expect_eq(acquire(&s), 0);
	answer(&s, good());
	world_advance(s.ration, 2 * SECOND);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

Test(gate, the_breaker_counts_a_window_only)
{
	struct scene s = begin(&ample);

	respond(&s, 9, true, RATION_REACH_RESOURCE);
	world_advance(s.ration, 11 * SECOND);
	respond(&s, 1, true, RATION_REACH_RESOURCE);
	cr_expect_eq(closed_for(&s), 0);
	end(&s);
}

Test(gate, requests_that_were_wrong_by_themselves_never_open_it)
{
	struct scene s = begin(&ample);

	respond(&s, 100, true, RATION_REACH_REQUEST);
	cr_expect_eq(closed_for(&s), 0);
	respond(&s, 1, true, RATION_REACH_RESOURCE);
	respond(&s, 100, true, RATION_REACH_REQUEST);
	cr_expect_eq(closed_for(&s), 0);
	end(&s);
}

Test(gate, many_good_responses_keep_it_closed)
{
	struct scene s = begin(&ample);

	respond(&s, 1, true, RATION_REACH_RESOURCE);
	for (int i = 0; i < 40; i++) {
		respond(&s, 30, false, 0);
		respond(&s, 20, true, RATION_REACH_RESOURCE);
	}
	cr_expect_eq(closed_for(&s), 0, "40 % of 2,000");
	end(&s);
}

Test(gate, a_breaker_whose_probe_fails_opens_again)
{
	struct scene s = begin(&ample);

	respond(&s, 10, true, RATION_REACH_RESOURCE);
	world_advance(s.ration, 30 * SECOND + MS);
	cr_assert_eq(acquire(&s), 0);
	answer(&s, limited(SECOND));
	world_advance(s.ration, 15 * SECOND);
	cr_expect_eq(acquire(&s), RATION_DENIED);
	cr_expect_str_eq(s.denial.limit, "(breaker)");
	world_advance(s.ration, 16 * SECOND);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

/* --- waiting --- */

static int try(struct scene *s, struct ration_handle *handle, struct ration_wait *wait)
{
	wait->deadline_ns = UINT64_MAX;
	return ration_wait_try(handle, NULL, 0, wait, &s->ticket, &s->denial);
}

/* However long this process is stopped. */
static void nobody_is_late(const struct scene *s)
{
	const struct seg *seg = &s->ration->seg;

	for (uint32_t q = 0; q < seg->n_queues; q++) {
		for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
			struct seg_waiter *waiter = &seg->queues[q].place[i];

			if (shm_load(&waiter->owner) != 0)
				shm_store(&waiter->wake_at,
					  client_now(s->ration) + HOUR * TICKS_PER_NS);
		}
	}
}

Test(gate, the_most_protected_class_that_waits_is_the_probe)
{
	struct scene s = begin(&ample);
	struct ration_handle *bulk = key_of(&s, "bulk");
	struct ration_wait first = {0}, second = {0};
	struct ration_ticket probe;

	tell(&s, limited(10 * SECOND));
	cr_assert_eq(try(&s, bulk, &first), RATION_WAITING);
	cr_assert_eq(try(&s, s.handle, &second), RATION_WAITING);
	world_advance(s.ration, 10 * SECOND + MS);
	nobody_is_late(&s);
	cr_expect_eq(try(&s, bulk, &first), RATION_WAITING, "it came first, but is less protected");
	cr_expect_eq(acquire_for(bulk), RATION_DENIED, "nor does anybody barge");
	cr_expect_eq(try(&s, s.handle, &second), 0);
	probe = s.ticket;
	cr_expect_eq(try(&s, bulk, &first), RATION_WAITING, "one probe");
	cr_assert_eq(ration_settle(s.ration, &probe, NULL, 0), 0);
	cr_expect(ration_wait_woken(&first), "and when it is back, all are told");
	world_advance(s.ration, SECOND + MS);
	cr_expect_eq(try(&s, bulk, &first), 0);
	ration_handle_free(&bulk);
	end(&s);
}

Test(gate, a_waiter_that_does_not_come_is_passed)
{
	struct scene s = begin(&ample);
	struct ration_handle *bulk = key_of(&s, "bulk");
	struct ration_wait first = {0}, second = {0};

	tell(&s, limited(10 * SECOND));
	cr_assert_eq(try(&s, s.handle, &first), RATION_WAITING);
	cr_assert_eq(try(&s, bulk, &second), RATION_WAITING);
	world_advance(s.ration, 12 * SECOND);
	cr_expect_eq(try(&s, bulk, &second), 0);
	ration_wait_end(s.ration, &first);
	ration_handle_free(&bulk);
	end(&s);
}

Test(gate, a_probe_that_was_cancelled_wakes_the_next)
{
	struct scene s = begin(&ample);
	struct ration_wait first = {0}, second = {0};

	tell(&s, limited(10 * SECOND));
	cr_assert_eq(try(&s, s.handle, &first), RATION_WAITING);
	cr_assert_eq(try(&s, s.handle, &second), RATION_WAITING);
	world_advance(s.ration, 10 * SECOND + MS);
	cr_assert_eq(try(&s, s.handle, &first), 0);
	{
		struct ration_ticket probe = s.ticket;

		cr_expect_eq(try(&s, s.handle, &second), RATION_WAITING);
		cr_expect_not(ration_wait_woken(&second));
		cr_assert_eq(ration_cancel(s.ration, &probe), 0);
	}
	cr_expect(ration_wait_woken(&second));
	cr_expect_eq(try(&s, s.handle, &second), 0);
	end(&s);
}

Test(gate, who_has_a_deadline_waits_for_the_probe_but_not_for_the_block)
{
	struct scene s = begin(&ample);
	struct ration_wait wait = {0};

	tell(&s, limited(10 * SECOND));
	wait.deadline_ns = client_boot_ns(s.ration, client_now(s.ration)) + SECOND;
	cr_expect_eq(ration_wait_try(s.handle, NULL, 0, &wait, &s.ticket, &s.denial), RATION_DENIED,
		     "it ends later");
	world_advance(s.ration, 10 * SECOND + MS);
	cr_assert_eq(acquire(&s), 0);
	{
		struct ration_ticket other;

		wait = (struct ration_wait){0};
		wait.deadline_ns = client_boot_ns(s.ration, client_now(s.ration)) + 5 * SECOND;
		cr_expect_eq(ration_wait_try(s.handle, NULL, 0, &wait, &other, &s.denial),
			     RATION_WAITING, "it may be back at any time");
	}
	ration_wait_end(s.ration, &wait);
	end(&s);
}

/* --- by hand --- */

Test(gate, an_operator_blocks_and_unblocks)
{
	const struct gate_key key = {.tenant = "acme", .vendor = "ai"};
	const struct gate_key unknown = {.tenant = "acme", .vendor = "nobody"};
	struct scene s = begin(&ample);
	struct ration_wait wait = {0};

	cr_assert_eq(gate_close_by_hand(s.ration, &key, HOUR), 0);
	cr_assert_eq(acquire(&s), RATION_DENIED);
	cr_expect_eq(s.denial.block, RATION_BLOCK_OPERATOR);
	cr_assert_eq(try(&s, s.handle, &wait), RATION_WAITING);
	cr_expect_eq(gate_lift_by_hand(s.ration, &key), 1);
	cr_expect(ration_wait_woken(&wait));
	world_advance(s.ration, SECOND + MS);
	cr_expect_eq(try(&s, s.handle, &wait), 0);
	cr_expect_eq(gate_lift_by_hand(s.ration, &key), 0, "nothing is blocked");
	cr_expect_eq(gate_close_by_hand(s.ration, &unknown, HOUR), RATION_EVENDOR);
	cr_expect_eq(gate_lift_by_hand(s.ration, &unknown), RATION_EVENDOR);
	end(&s);
}

Test(gate, unblocking_a_tenant_is_for_all_its_resources)
{
	const struct gate_key tenant = {.tenant = "acme", .vendor = "ai"};
	const struct gate_key gpt = {.tenant = "acme", .vendor = "ai", .resource = "gpt"};
	const struct gate_key whisper = {.tenant = "acme", .vendor = "ai", .resource = "whisper"};
	const struct gate_key other = {.tenant = "globex", .vendor = "ai", .resource = "gpt"};
	const struct gate_key account = {.vendor = "ai", .account = "a1"};
	struct scene s = begin(&ample);

	cr_assert_eq(gate_close_by_hand(s.ration, &gpt, HOUR), 0);
	cr_assert_eq(gate_close_by_hand(s.ration, &whisper, HOUR), 0);
	cr_assert_eq(gate_close_by_hand(s.ration, &tenant, HOUR), 0);
	cr_assert_eq(gate_close_by_hand(s.ration, &other, HOUR), 0);
	cr_assert_eq(gate_close_by_hand(s.ration, &account, HOUR), 0);
	cr_expect_eq(gate_lift_by_hand(s.ration, &whisper), 1);
	cr_expect_eq(gate_lift_by_hand(s.ration, &tenant), 2);
	cr_expect_eq(gate_lift_by_hand(s.ration, &other), 1);
	cr_expect_eq(gate_lift_by_hand(s.ration, &account), 1);
	end(&s);
}

/* --- the record --- */

Test(gate, calm_ones_are_reclaimed_and_made_again)
{
	struct scene s = over();
	struct seg *seg = &s.ration->seg;
	const struct bucket_ref old = gate(&s);
	struct reclaim_rule rule = {.idle = MINUTE * TICKS_PER_NS};

	cr_assert_eq(acquire(&s), 0);
	rule.now = client_now(s.ration) + HOUR * TICKS_PER_NS;
	cr_expect_not(reclaim_record(seg, old.bucket, &rule), "a probe is out");
	answer(&s, good());
	rule.now = client_now(s.ration);
	cr_expect_not(reclaim_record(seg, old.bucket, &rule), "it was blocked lately");
	world_advance(s.ration, HOUR);
	cr_assert_eq(acquire(&s), 0);
	rule.now = client_now(s.ration);
	shm_half_and(&seg->hot[old.bucket].kind, 0xff);
	reclaim_begin(seg, &rule);
	cr_assert(reclaim_record(seg, old.bucket, &rule));
	cr_expect_eq(acquire(&s), 0);
	cr_expect_eq(acquire(&s), 0);
	world_advance(s.ration, MINUTE);
	tell(&s, limited(HOUR));
	cr_expect_eq(acquire(&s), RATION_DENIED);
	end(&s);
}

Test(gate, impossible_words_are_put_right)
{
	struct scene s = begin(&ample);
	shm_word *word;

	tell(&s, limited(HOUR));
	word = &s.ration->seg.hot[gate(&s).bucket].state[0];
	shm_store(word, UINT64_MAX - 1);
	cr_expect_eq(acquire(&s), RATION_ECORRUPT);
	world_advance(s.ration, 2 * SECOND);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}

Test(gate, a_blocked_key_is_under_full_pressure)
{
	struct scene s = begin(&ample);

	cr_expect_eq(ration_pressure(s.handle), 0);
	tell(&s, limited(HOUR));
	cr_expect_eq(ration_pressure(s.handle), 100);
	end(&s);
}

Test(gate, no_room_for_one_is_an_error_that_changes_nothing)
{
	struct scene s = {.ration = world_make(&ample, 1, 2)};
	const struct ration_signal signal = limited(HOUR);

	s.handle = world_key(s.ration, "acme", "ai", NULL, NULL);
	cr_expect_eq(ration_observe(s.handle, NULL, &signal), RATION_EFULL);
	cr_expect_eq(acquire(&s), 0);
	end(&s);
}
