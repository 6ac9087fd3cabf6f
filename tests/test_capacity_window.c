/*
 * tests/test_capacity_window.c - several classes on one window: parts of their own, released with time
 * SPDX-License-Identifier: MIT
 *
 * Simulated: whole days of demand against the real chains, with the time passed in. A window cannot lend what it has
 * promised and have it back, so a guarantee is a part of its own; `release: linear` gives the others what a class
 * has left unused of it as the day goes by.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "shm/chain.h"
#include "shm/window.h"
#include "support_seg.h"

#define REQUESTS UINT32_C(0x66ad5ad3)
#define DAY      (INT64_C(86400) * 1000000000)
#define MINUTE   (DAY / 1440)
#define MIDNIGHT (INT64_C(20000) * DAY)

enum { REPAIR, INTERACTIVE, BULK, CLASSES };

/* 1,000 a day; 200 of them are repair's, 300 interactive's. */
static const uint64_t part_of[CLASSES] = {200, 300, 500};
#define WHOLE UINT64_C(1000)

struct day {
	struct seg seg;
	struct bucket_ref part[CLASSES]; /* BULK: what nobody was promised */
	bool release;
	uint64_t admitted[CLASSES];
};

static struct day day_make(bool release)
{
	struct day day = {.seg = seg_make(8, 1), .release = release};

	for (uint64_t k = 0; k < CLASSES; k++) {
		struct bucket_spec spec = {
			.identity = {{k + 1, k + 1}},
			.kind = KIND_WINDOW,
			.numbers = window_pack(part_of[k], 100000),
		};

		window_first(spec.numbers, 20000, false, spec.state);
		cr_assert_eq(index_insert(&day.seg, 0, &spec, &day.part[k]), INDEX_FOUND);
	}
	return day;
}

static struct link link_of(const struct day *day, uint32_t part, uint32_t flags, int64_t wall)
{
	const int64_t today = wall / DAY;

	return (struct link){
		.bucket = day->part[part].bucket,
		.generation = day->part[part].generation,
		.unit = REQUESTS,
		.flags = KIND_WINDOW | LINK_HAS_DEFAULT | flags,
		.default_cost = 1,
		.shape =
			{
				[WINDOW_INDEX] = (uint64_t)today,
				[WINDOW_START] = (uint64_t)(today * DAY),
				[WINDOW_END] = (uint64_t)((today + 1) * DAY),
			},
	};
}

static uint64_t tick_of(int64_t wall)
{
	return (uint64_t)(wall - MIDNIGHT + DAY) * TICKS_PER_NS;
}

/* Own part, or what nobody was promised, or what time has released of the others' parts. */
static enum take draw_at(struct day *day, uint32_t class_index, int64_t wall)
{
	const struct charge cost = {REQUESTS, 1};
	struct ration_ticket ticket = {.permit = tick_of(wall)};
	struct link links[CLASSES + 1];
	struct draw draw = {
		.links = links,
		.class_index = class_index,
		.at = {tick_of(wall), wall},
	};
	enum take result;

	if (class_index != BULK)
		links[draw.n_links++] = link_of(day, class_index, LINK_OR, wall);
	links[draw.n_links++] = link_of(day, BULK, LINK_OR, wall);
	for (uint32_t k = 0; day->release && k < BULK; k++) {
		if (k != class_index)
			links[draw.n_links++] = link_of(day, k, LINK_OR | LINK_RELEASED, wall);
	}
	links[draw.n_links - 1].flags &= ~LINK_OR;
	cr_assert(chain_units(&draw, &cost, 1));
	result = chain_look(&day->seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&day->seg, &draw, &ticket);
	if (result == TAKE_ADMIT) {
		cr_assert_eq(ticket.n_links, 1, "one of them is charged, not all");
		day->admitted[class_index]++;
	} else {
		cr_assert_eq(result, TAKE_WAIT);
		cr_assert(draw.verdict.why.retry_at > tick_of(wall));
	}
	return result;
}

static uint64_t all_admitted(const struct day *day)
{
	return day->admitted[REPAIR] + day->admitted[INTERACTIVE] + day->admitted[BULK];
}

/* Bulk takes all it can from the first minute; repair comes in one burst late at night, and has its part. */
Test(capacity_window, a_part_is_there_all_day)
{
	struct day day = day_make(false);

	for (int64_t wall = MIDNIGHT; wall < MIDNIGHT + DAY; wall += MINUTE) {
		while (draw_at(&day, BULK, wall) == TAKE_ADMIT)
			;
		if (wall != MIDNIGHT + DAY - MINUTE)
			continue;
		for (uint64_t i = 0; i < part_of[REPAIR]; i++)
			cr_assert_eq(draw_at(&day, REPAIR, wall), TAKE_ADMIT, "%lu", i);
		cr_assert_eq(draw_at(&day, REPAIR, wall), TAKE_WAIT);
	}
	cr_expect_eq(day.admitted[BULK], part_of[BULK], "what was promised is not lent");
	seg_verify(&day.seg, tick_of(MIDNIGHT + DAY), true);
}

/* A class that finds its part used up goes on with what is everybody's. */
Test(capacity_window, a_class_is_not_held_to_its_part)
{
	struct day day = day_make(false);

	while (draw_at(&day, REPAIR, MIDNIGHT) == TAKE_ADMIT)
		;
	cr_expect_eq(day.admitted[REPAIR], part_of[REPAIR] + part_of[BULK]);
	cr_expect_eq(draw_at(&day, BULK, MIDNIGHT), TAKE_WAIT);
	cr_expect_eq(draw_at(&day, INTERACTIVE, MIDNIGHT), TAKE_ADMIT);
	/* The next day begins anew for all. */
	cr_expect_eq(draw_at(&day, BULK, MIDNIGHT + DAY), TAKE_ADMIT);
	seg_verify(&day.seg, tick_of(MIDNIGHT + DAY), true);
}

/*
 * Released with time: bulk saturates, the promised classes come at random but never behind an even use of their
 * parts. They are never denied, and together all use the day.
 */
Test(capacity_window, released_parts_are_used_and_still_kept)
{
	const unsigned seed = 20261123;
	struct day day = day_make(true);

	srandom(seed);
	for (int64_t wall = MIDNIGHT; wall < MIDNIGHT + DAY; wall += MINUTE) {
		const int64_t passed = wall - MIDNIGHT;

		for (uint32_t k = REPAIR; k < BULK; k++) {
			const uint64_t due =
				(uint64_t)((__int128)passed * (int64_t)part_of[k] / DAY) + 1;

			/* Some ahead of time now and then, too. */
			while (day.admitted[k] < due ||
			       (day.admitted[k] < part_of[k] && random() % 50 == 0))
				cr_assert_eq(draw_at(&day, k, wall), TAKE_ADMIT,
					     "class %u, minute %ld (seed %u)", k, passed / MINUTE,
					     seed);
		}
		while (draw_at(&day, BULK, wall) == TAKE_ADMIT)
			;
		cr_assert(all_admitted(&day) <= WHOLE);
	}
	cr_expect(all_admitted(&day) * 100 >= WHOLE * 98, "%lu used", all_admitted(&day));
	seg_verify(&day.seg, tick_of(MIDNIGHT + DAY), true);
}

/* Alone all day, a class without a promise gets all but what time releases in the last minute. */
Test(capacity_window, alone_it_uses_the_whole_day)
{
	struct day day = day_make(true);

	for (int64_t wall = MIDNIGHT; wall < MIDNIGHT + DAY; wall += MINUTE) {
		while (draw_at(&day, BULK, wall) == TAKE_ADMIT)
			;
		if (wall == MIDNIGHT + DAY / 2 - MINUTE)
			cr_expect(day.admitted[BULK] <= part_of[BULK] + WHOLE / 4);
	}
	cr_expect(day.admitted[BULK] * 100 >= WHOLE * 98, "%lu", day.admitted[BULK]);
	seg_verify(&day.seg, tick_of(MIDNIGHT + DAY), true);
}
