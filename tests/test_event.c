/*
 * tests/test_event.c - events packed, put, taken, and whatever else may lie in a ring
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/event_line.h"
#include "shm/event.h"
#include "shm/utf8.h"
#include "shm/worker.h"
#include "support_random.h"
#include "support_seg.h"

#define ME UINT64_C(0x0001000100001234)

static struct event whole(void)
{
	struct event event = event_of(EVENT_LIMITED, 77, ME);

	for (int i = 0; i < EVENT_NUMBER_COUNT; i++)
		event.number[i] = (uint64_t)i * 1000;
	for (int i = 0; i < EVENT_TEXT_COUNT; i++)
		event.text[i] = event_text_names[i];
	return event;
}

static void expect_same(const struct event *got, const struct event *put)
{
	cr_expect_eq(got->type, put->type);
	cr_expect_eq(got->at, put->at);
	cr_expect_eq(got->worker, put->worker);
	for (int i = 0; i < EVENT_NUMBER_COUNT; i++)
		cr_expect_eq(got->number[i], put->number[i], "%s", event_number_names[i]);
	for (int i = 0; i < EVENT_TEXT_COUNT; i++)
		cr_expect_str_eq(got->text[i], put->text[i] ? put->text[i] : "");
}

static void through(const struct event *event, struct event_copy *ret_copy)
{
	struct event_image image;
	const size_t words = event_pack(event, &image);

	cr_assert_leq(words, EVENT_WORDS);
	cr_assert_eq(image.word[0] & 0xffff, words);
	cr_assert(event_unpack(&image, ret_copy));
}

Test(event, all_of_it_comes_through)
{
	const struct event event = whole();
	struct event_copy copy;

	through(&event, &copy);

	expect_same(&copy.event, &event);
}

Test(event, what_is_not_there_stays_so)
{
	struct event event = event_of(EVENT_DENIED, 1, 2);
	struct event_copy copy;

	event.number[EVENT_REMAINING] = 0;
	event.text[EVENT_WHY] = "x";
	through(&event, &copy);
	expect_same(&copy.event, &event);
	cr_expect_eq(copy.event.number[EVENT_STATUS], EVENT_NONE);
}

/* Names are cut at what names may have; the headers get the room that is left. */
Test(event, long_texts_are_cut)
{
	static char text[5000];
	struct event event = whole();
	struct event_copy copy;

	memset(text, 'a', sizeof(text) - 1);
	for (int i = 0; i < EVENT_TEXT_COUNT; i++)
		event.text[i] = text;
	through(&event, &copy);
	cr_expect_eq(strlen(copy.event.text[EVENT_TENANT]), 255);
	cr_expect_eq(strlen(copy.event.text[EVENT_VENDOR]), 63);
	cr_expect_gt(strlen(copy.event.text[EVENT_HEADERS]), 200);
	cr_expect_lt(strlen(copy.event.text[EVENT_HEADERS]), 8 * EVENT_WORDS);
	event = event_of(EVENT_LIMITED, 1, 2);
	event.text[EVENT_HEADERS] = text;
	through(&event, &copy);
	cr_expect_eq(strlen(copy.event.text[EVENT_HEADERS]), 1200);
}

Test(event, what_is_no_text_is_question_marks)
{
	struct event event = event_of(EVENT_LIMITED, 1, 2);
	struct event_copy copy;
	char line[EVENT_LINE_MAX];

	event.text[EVENT_TENANT] = "M\xc3\xbcller \"& Co\"";
	event.text[EVENT_WHY] = "a\nb\x1b[31m\xff\xc3";
	through(&event, &copy);
	cr_expect_str_eq(copy.event.text[EVENT_TENANT], event.text[EVENT_TENANT]);
	cr_expect_str_eq(copy.event.text[EVENT_WHY], "a?b?[31m??");
	event_line(&copy.event, line);
	cr_expect_str_eq(line, "limited tenant=\"M\xc3\xbcller '& Co'\" why=\"a?b?[31m??\" pid=2");
}

static bool is_text(const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		const size_t n = utf8_size((const unsigned char *)text, left);

		if (n == 0)
			return false;
		text += n;
		left -= n;
	}
	return true;
}

/* Also with heads that are nearly right: otherwise hardly one would get past it. */
Test(event, whatever_lies_there_is_harmless)
{
	struct event_image image;
	struct event_copy copy;
	char line[EVENT_LINE_MAX];
	unsigned events = 0;

	seed(0xe7e27);
	for (int round = 0; round < 100000; round++) {
		const uint64_t mode = below(3);

		for (uint32_t i = 0; i < EVENT_WORDS; i++)
			image.word[i] = mode == 0 ? draw() : below(40) << 8 * below(8);
		if (mode > 0)
			image.word[0] = below(EVENT_WORDS + 2) | below(EVENT_TYPE_COUNT + 1) << 16 |
					below(1u << 10) << 32;
		if (!event_unpack(&image, &copy))
			continue;
		events++;
		for (int i = 0; i < EVENT_TEXT_COUNT; i++)
			cr_assert(is_text(copy.event.text[i]));
		event_line(&copy.event, line);
		cr_assert(is_text(line));
	}
	cr_expect_gt(events, 100);
}

/* --- the ring --- */

struct taken {
	uint64_t at[EVENT_CELLS * 2];
	uint32_t n;
	uint32_t seen;
};

static void on_taken(void *user, const struct event_image *image)
{
	struct taken *taken = user;
	struct event_copy copy;

	cr_assert(event_unpack(image, &copy));
	cr_assert_lt(taken->n, EVENT_CELLS * 2);
	taken->at[taken->n++] = copy.event.at;
}

static uint32_t take(struct seg *seg, struct taken *taken)
{
	taken->n = 0;
	return event_take(seg, 0, &taken->seen, on_taken, taken);
}

static bool put(struct seg *seg, uint64_t at)
{
	struct event event = whole();
	struct event_image image;

	event.at = at;
	event_pack(&event, &image);
	return event_put(seg, 0, &image);
}

Test(event, a_full_ring_drops_and_counts)
{
	struct seg seg = seg_make(1, 2);
	struct taken taken = {.seen = 0};

	cr_expect_eq(take(&seg, &taken), 0);
	for (uint64_t i = 0; i < EVENT_CELLS; i++)
		cr_assert(put(&seg, i));
	for (uint64_t i = 0; i < 5; i++)
		cr_assert(!put(&seg, 100));
	cr_expect_eq(shm_load(&seg.control->events_dropped), 5);
	cr_expect_eq(take(&seg, &taken), EVENT_CELLS);
	cr_expect_eq(take(&seg, &taken), 0);
	cr_expect_eq(shm_half_load(&seg.control->events), EVENT_CELLS);
	cr_assert(put(&seg, 200) && put(&seg, 201));
	cr_expect_eq(take(&seg, &taken), 2);
	cr_expect_eq(taken.at[0], 200, "oldest first");
	cr_expect_eq(taken.at[1], 201);
	seg_verify(&seg, 0, true);
}

Test(event, it_is_in_order_wherever_the_ring_begins)
{
	struct seg seg = seg_make(1, 1);
	struct taken taken = {.seen = 0};
	uint64_t at = 0;

	for (uint32_t n = 1; n <= EVENT_CELLS; n++) {
		for (uint32_t i = 0; i < n; i++)
			cr_assert(put(&seg, at++));
		cr_assert_eq(take(&seg, &taken), n);
		for (uint32_t i = 0; i < n; i++)
			cr_expect_eq(taken.at[i], at - n + i);
	}
	seg_verify(&seg, 0, true);
}

static void on_anything(void *user, const struct event_image *image)
{
	struct event_copy copy;

	(void)user;
	(void)event_unpack(image, &copy);
}

Test(event, a_ring_that_was_scribbled_over_is_of_use_again)
{
	struct seg seg = seg_make(1, 1);
	struct seg_events *ring = &seg.events[0];
	struct taken taken = {.seen = 0};

	seed(0x5c41bb1e);
	for (int round = 0; round < 300; round++) {
		shm_word *words = (shm_word *)(void *)ring;

		for (size_t i = 0; i < sizeof(*ring) / sizeof(*words); i++)
			shm_store(&words[i], draw() & draw());
		for (uint32_t i = 0; i < EVENT_CELLS; i++)
			(void)put(&seg, i);
		taken.seen = shm_half_load(&ring->told) - 1;
		cr_assert_leq(event_take(&seg, 0, &taken.seen, on_anything, NULL), EVENT_CELLS);
		worker_reap(&seg, 0, 0);
		cr_assert(event_settled(&seg, 0));
		taken.n = 0;
		cr_assert(put(&seg, 1));
		cr_assert_eq(take(&seg, &taken), 1, "seed %llu", (unsigned long long)seed_used);
	}
	seg_verify(&seg, 0, true);
}
