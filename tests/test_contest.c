/*
 * tests/test_contest.c - whom a limit in shadow mode would have denied, and who was drawing then
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "shm/chain.h"
#include "support_seg.h"

#define REQUESTS UINT32_C(0x66ad5ad3)
#define START    (UINT64_C(1000) * TICKS_PER_SEC)

static uint32_t recent(const struct seg *seg, uint32_t bucket)
{
	return KIND_RECENT(shm_half_load(&seg->hot[bucket].kind));
}

static enum take draw_as(struct seg *seg, const struct link *link, uint32_t class_index)
{
	const struct charge cost = {REQUESTS, 1};
	struct ration_ticket ticket = {.permit = START};
	struct draw draw = {
		.links = link,
		.n_links = 1,
		.class_index = class_index,
		.at = {.now = START},
	};
	enum take result;

	cr_assert(chain_units(&draw, &cost, 1));
	result = chain_look(seg, &draw);
	return result == TAKE_ADMIT ? chain_charge(seg, &draw, &ticket) : result;
}

Test(contest, who_draws_is_recent_until_passed_twice)
{
	struct seg seg = seg_make(4, 1);
	const struct bucket_ref ref = seg_bucket(&seg, 1, 10, 3, START);
	const struct link link = {
		.bucket = ref.bucket,
		.generation = ref.generation,
		.unit = REQUESTS,
		.flags = KIND_BUCKET | LINK_HAS_DEFAULT,
		.default_cost = 1,
	};
	struct seg_hot *hot = &seg.hot[ref.bucket];

	cr_assert_eq(recent(&seg, ref.bucket), 0);
	cr_assert_eq(draw_as(&seg, &link, 2), TAKE_ADMIT);
	cr_assert_eq(recent(&seg, ref.bucket), 1 << 2);
	contest_age(hot);
	cr_assert_eq(recent(&seg, ref.bucket), 1 << 2);
	cr_assert_eq(draw_as(&seg, &link, 7), TAKE_ADMIT);
	cr_assert_eq(recent(&seg, ref.bucket), 1 << 2 | 1 << 7);
	contest_age(hot);
	cr_assert_eq(recent(&seg, ref.bucket), 1 << 7);
	contest_age(hot);
	cr_assert_eq(recent(&seg, ref.bucket), 0);
	cr_assert_eq(KIND_OF(shm_half_load(&hot->kind)), KIND_BUCKET);
	cr_assert_eq(draw_as(&seg, &link, 0), TAKE_ADMIT);
	cr_assert_eq(draw_as(&seg, &link, 1), TAKE_WAIT);
	cr_assert_eq(recent(&seg, ref.bucket), 1, "a denial draws nothing");
	seg_verify(&seg, START, true);
}

Test(contest, each_limit_and_class_has_its_counts)
{
	struct seg seg = seg_make(4, 1);
	const uint64_t bulk = contest_key("crm/rate", 1), chat = contest_key("crm/rate", 0);
	struct contest contest;

	cr_assert_neq(bulk, chat);
	cr_assert_neq(bulk, contest_key("crm/rat", 1));
	cr_assert_not(contest_find(&seg, bulk, &contest));
	contest_count(&seg, bulk, 1 << 0 | 1 << 3, 5, 100);
	contest_count(&seg, bulk, 1 << 3, 2, 200);
	contest_count(&seg, chat, 0, 1, 300);
	cr_assert(contest_find(&seg, bulk, &contest));
	cr_expect_eq(contest.denied, 2);
	cr_expect_eq(contest.units, 7);
	cr_expect_eq(contest.last_at, 200);
	cr_expect_eq(contest.with[0], 1);
	cr_expect_eq(contest.with[1], 0);
	cr_expect_eq(contest.with[3], 2);
	cr_assert(contest_find(&seg, chat, &contest));
	cr_expect_eq(contest.denied, 1);
}

/* More limits than cells: those that found one keep counting, the others are not counted, nothing breaks. */
Test(contest, a_full_table_loses_only_newcomers)
{
	struct seg seg = seg_make(4, 1);
	char name[32];
	uint32_t found = 0;

	contest_count(&seg, contest_key("first", 0), 1, 1, 1);
	for (uint32_t i = 0; i < 4 * SEG_CONTESTS; i++) {
		snprintf(name, sizeof(name), "limit-%u", i);
		contest_count(&seg, contest_key(name, i % 8), 1, 1, 1);
	}
	for (uint32_t i = 0; i < 4 * SEG_CONTESTS; i++) {
		struct contest contest;

		snprintf(name, sizeof(name), "limit-%u", i);
		if (!contest_find(&seg, contest_key(name, i % 8), &contest))
			continue;
		found++;
		cr_assert_eq(contest.denied, 1);
	}
	cr_expect(found > SEG_CONTESTS / 2 && found < SEG_CONTESTS, "%u", found);
	contest_count(&seg, contest_key("first", 0), 1, 1, 1);
	struct contest first;
	cr_assert(contest_find(&seg, contest_key("first", 0), &first));
	cr_expect_eq(first.denied, 2);
}
