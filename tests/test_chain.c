/*
 * tests/test_chain.c - all links or none, under contention, with exact sums
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <string.h>

#include "shm/chain.h"
#include "shm/stat.h"
#include "support_seg.h"

#define NOW      TICKS_PER_SEC
#define REQUESTS UINT32_C(0x66ad5ad3)
#define TOKENS   UINT32_C(77)

static uint64_t at(void *user)
{
	return *(uint64_t *)user;
}

static struct link link_to(struct bucket_ref ref, uint32_t unit)
{
	return (struct link){
		.bucket = ref.bucket,
		.generation = ref.generation,
		.unit = unit,
		.flags = KIND_BUCKET,
	};
}

static bool prepare(const struct link *links, uint32_t n, uint64_t requests, uint64_t tokens,
		    uint64_t now, struct draw *draw)
{
	const struct charge costs[] = {{REQUESTS, requests}, {TOKENS, tokens}};

	*draw = (struct draw){.links = links, .n_links = n, .at = {.now = now}};
	return chain_units(draw, costs, 2);
}

static enum take take(struct seg *seg, const struct link *links, uint32_t n, uint64_t requests,
		      uint64_t tokens, uint64_t now, struct ration_ticket *ticket,
		      struct verdict *verdict)
{
	struct draw draw;
	enum take result;

	if (!prepare(links, n, requests, tokens, now, &draw))
		__builtin_trap();
	ticket->n_links = 0;
	ticket->permit = now;
	result = chain_look(seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(seg, &draw, ticket);
	*verdict = draw.verdict;
	return result;
}

Test(chain, a_denial_charges_nothing_and_names_the_last_link_to_have_room)
{
	struct seg seg = seg_make(16, 1);
	const struct bucket_ref refs[3] = {
		seg_bucket(&seg, 1, 100, 10, NOW),
		seg_bucket(&seg, 2, 10, 5, NOW),
		seg_bucket(&seg, 3, 1, 5, NOW),
	};
	const struct link links[3] = {link_to(refs[0], REQUESTS), link_to(refs[1], REQUESTS),
				      link_to(refs[2], REQUESTS)};
	struct ration_ticket ticket;
	struct verdict verdict;

	for (int i = 0; i < 5; i++)
		cr_assert_eq(take(&seg, links, 3, 1, 0, NOW, &ticket, &verdict), TAKE_ADMIT);
	cr_assert_eq(take(&seg, links, 3, 3, 0, NOW, &ticket, &verdict), TAKE_WAIT);
	cr_assert_eq(ticket.n_links, 0);
	cr_assert_eq(verdict.link, 2);
	cr_assert_eq(verdict.why.left, 0);
	cr_assert_eq(verdict.why.size, 5);
	cr_assert_eq(verdict.needed, 3);
	cr_assert_eq(verdict.why.retry_at, NOW + 3 * TICKS_PER_SEC);
	cr_assert_eq(seg_left(&seg, refs[0], NOW), 5);
	cr_assert_eq(take(&seg, links, 3, 3, 0, verdict.why.retry_at - 1, &ticket, &verdict),
		     TAKE_WAIT);
	cr_assert_eq(take(&seg, links, 3, 3, 0, NOW + 3 * TICKS_PER_SEC, &ticket, &verdict),
		     TAKE_ADMIT);
	seg_verify(&seg, NOW + 3 * TICKS_PER_SEC, true);
}

Test(chain, each_link_is_charged_in_its_own_unit)
{
	struct seg seg = seg_make(16, 1);
	const struct bucket_ref refs[3] = {
		seg_bucket(&seg, 1, 1, 10, NOW),
		seg_bucket(&seg, 2, 1, 1000, NOW),
		seg_bucket(&seg, 3, 1, 50, NOW),
	};
	struct link links[3] = {link_to(refs[0], REQUESTS), link_to(refs[1], TOKENS),
				link_to(refs[2], 12345)};
	struct ration_ticket ticket;
	struct draw draw;
	struct verdict verdict;

	cr_assert_not(prepare(links, 3, 1, 300, NOW, &draw));
	links[2].flags |= LINK_HAS_DEFAULT;
	links[2].default_cost = 7;
	cr_assert_eq(take(&seg, links, 3, 1, 300, NOW, &ticket, &verdict), TAKE_ADMIT);
	cr_assert_eq(seg_left(&seg, refs[0], NOW), 9);
	cr_assert_eq(seg_left(&seg, refs[1], NOW), 700);
	cr_assert_eq(seg_left(&seg, refs[2], NOW), 43);
	cr_assert_eq(take(&seg, links, 3, 1, 1001, NOW, &ticket, &verdict), TAKE_NEVER);
	cr_assert_eq(verdict.link, 1);
	cr_assert_eq(verdict.why.size, 1000);
}

Test(chain, cancel_gives_back_every_link_and_settle_the_difference)
{
	struct seg seg = seg_make(16, 1);
	const struct bucket_ref refs[2] = {
		seg_bucket(&seg, 1, 1, 10, NOW),
		seg_bucket(&seg, 2, 1, 1000, NOW),
	};
	const struct link links[2] = {link_to(refs[0], REQUESTS), link_to(refs[1], TOKENS)};
	struct ration_ticket ticket;
	struct verdict verdict;
	uint64_t now = NOW;

	cr_assert_eq(take(&seg, links, 2, 2, 600, now, &ticket, &verdict), TAKE_ADMIT);
	chain_give_back(&seg, &ticket, at, &now);
	cr_assert_eq(seg_left(&seg, refs[0], now), 10);
	cr_assert_eq(seg_left(&seg, refs[1], now), 1000);

	cr_assert_eq(take(&seg, links, 2, 2, 600, now, &ticket, &verdict), TAKE_ADMIT);
	chain_settle_link(&seg, &ticket, 1, 100, at, &now);
	cr_assert_eq(seg_left(&seg, refs[1], now), 900);
	cr_assert_eq(take(&seg, links, 2, 2, 600, now, &ticket, &verdict), TAKE_ADMIT);
	chain_settle_link(&seg, &ticket, 1, 1500, at, &now);
	cr_assert_eq(seg_left(&seg, refs[1], now), 0);
	cr_assert_eq(seg_left(&seg, refs[1], now + 601 * TICKS_PER_SEC), 1, "600 in debt");
	seg_verify(&seg, now, true);
}

/* --- several processes on chains that overlap --- */

#define ACTORS 6

struct account {
	shm_word granted[ACTORS];
	shm_word given_up[ACTORS];
};

struct scene {
	struct bucket_ref host, tenant[2];
	struct account *account;
};

static void take_until_empty(struct seg *seg, int who, void *user)
{
	const struct scene *scene = user;
	const struct link links[2] = {link_to(scene->tenant[who & 1], REQUESTS),
				      link_to(scene->host, REQUESTS)};
	uint64_t now = NOW;

	for (int denied = 0; denied < 50;) {
		struct ration_ticket ticket;
		struct verdict verdict;
		const enum take result = take(seg, links, 2, 1, 0, now, &ticket, &verdict);

		if (result == TAKE_ADMIT) {
			shm_add(&scene->account->granted[who], 1);
			stat_count(seg, (uint32_t)who, links[0].bucket, 0, STAT_ADMITTED);
			stat_count(seg, (uint32_t)who, links[1].bucket, 0, STAT_ADMITTED);
			continue;
		}
		if (ticket.n_links > 0)
			shm_add(&scene->account->given_up[who], 1);
		chain_give_back(seg, &ticket, at, &now);
		if (result != TAKE_AGAIN)
			denied++;
	}
}

/* Two tenants of 4,000 share a host's 5,000: when all are denied, exactly 5,000 are out and nothing else is charged. */
Test(chain, overlapping_chains_add_up_exactly)
{
	struct seg accounts = seg_make(16, 1);
	uint64_t rolled_back = 0;

	for (int round = 0; round < 30; round++) {
		struct seg seg = seg_make(16, ACTORS);
		struct scene scene = {
			.host = seg_bucket(&seg, 1, 1, 5000, NOW),
			.tenant = {seg_bucket(&seg, 2, 1, 4000, NOW),
				   seg_bucket(&seg, 3, 1, 4000, NOW)},
			.account = (void *)accounts.hot,
		};
		struct stat_total totals[16] = {{0, 0}};
		uint64_t granted = 0, left;

		memset(scene.account, 0, sizeof(*scene.account));
		seg_race(&seg, ACTORS, take_until_empty, &scene);
		for (int i = 0; i < ACTORS; i++) {
			granted += scene.account->granted[i];
			rolled_back += scene.account->given_up[i];
		}
		cr_assert_eq(granted, 5000);
		cr_assert_eq(seg_left(&seg, scene.host, NOW), 0);
		left = seg_left(&seg, scene.tenant[0], NOW) + seg_left(&seg, scene.tenant[1], NOW);
		cr_assert_eq(left, 3000, "%lu left of 3000: a denied chain kept a charge", left);
		seg_verify(&seg, NOW, true);

		for (uint32_t slot = 0; slot < ACTORS; slot += 2)
			stat_spill(&seg, slot);
		for (uint32_t i = 0; i < 16; i++)
			totals[i].admitted = seg.cold[i].admitted;
		stat_collect(&seg, totals);
		cr_assert_eq(totals[scene.host.bucket].admitted, 5000);
	}
	cr_log_info("%lu chains were rolled back", rolled_back);
}

/* --- counters --- */

Test(stat, counts_are_exact_over_eviction_and_overflow)
{
	struct seg seg = seg_make(5000, 1);
	struct stat_total *totals = (void *)seg_make(5000, 1).hot;

	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t bucket = 0; bucket < 5000; bucket++) {
			for (uint32_t i = 0; i <= bucket % 3; i++)
				stat_count(&seg, 0, bucket, 0, STAT_ADMITTED);
			stat_count(&seg, 0, bucket, 0, STAT_DENIED);
		}
	}
	for (int i = 0; i < 200000; i++)
		stat_count(&seg, 0, 4321, 0, STAT_DENIED);
	for (uint32_t i = 0; i < 5000; i++)
		totals[i] = (struct stat_total){seg.cold[i].admitted, seg.cold[i].denied};
	stat_collect(&seg, totals);
	for (uint32_t i = 0; i < 5000; i++) {
		cr_assert_eq(totals[i].admitted, 3 * (i % 3 + 1));
		cr_assert_eq(totals[i].denied, i == 4321 ? 200003u : 3u);
	}
	stat_spill(&seg, 0);
	cr_assert_eq(seg.cold[4321].denied, 200003);
}

static void count_together(struct seg *seg, int who, void *user)
{
	(void)user;
	for (uint32_t i = 0; i < 100000; i++)
		stat_count(seg, 0, (i + (uint32_t)who) % 3 * 2048, 0, STAT_ADMITTED);
}

/* As the threads of one process, which share a slot. */
Test(stat, counts_are_exact_when_a_slot_is_shared)
{
	struct seg seg = seg_make(5000, 1);
	uint64_t sum = 0;

	seg_race(&seg, 4, count_together, NULL);
	stat_spill(&seg, 0);
	for (uint32_t i = 0; i < 3; i++)
		sum += seg.cold[i * 2048].admitted;
	cr_assert_eq(sum, 400000);
}
