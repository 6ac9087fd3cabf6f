/*
 * tests/test_queue.c - waiting lines: who is next, who is counted, who is woken
 * SPDX-License-Identifier: MIT
 *
 * Time is an argument: nothing here sleeps.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/chain.h"
#include "shm/queue.h"
#include "shm/slots.h"
#include "shm/worker.h"
#include "support_seg.h"

#define NOW     (UINT64_C(1000) * TICKS_PER_SEC)
#define MS      (TICKS_PER_SEC / 1000)
#define WORKERS 256u

enum { FIRST, SECOND, THIRD }; /* classes, most protected first */

static struct seg make(void)
{
	struct seg seg = seg_make(512, WORKERS);

	for (uint32_t i = 0; i < WORKERS; i++)
		shm_store(&seg.workers[i].identity, worker_identity(i, 1, 1000 + i));
	return seg;
}

static struct queue_waiter waiter(uint32_t worker, uint32_t bucket, uint32_t class_index,
				  uint64_t arrival)
{
	return (struct queue_waiter){
		.worker = worker,
		.bucket = bucket,
		.class_index = class_index,
		.units = 1,
		.arrival = arrival,
	};
}

/* Worker, which arrived at this time, stands in line and means to try at wake_at. */
static struct queue_place stand(struct seg *seg, const struct queue_waiter *who, uint64_t wake_at)
{
	struct queue_place place = {0};

	cr_assert_eq(queue_join(seg, who, 0, who->arrival, &place), QUEUE_JOINED);
	cr_assert(queue_wake_at(seg, &place, wake_at));
	return place;
}

static struct queue_place stand_for(struct seg *seg, uint32_t worker, uint32_t bucket,
				    uint32_t class_index, uint64_t arrival)
{
	const struct queue_waiter who = waiter(worker, bucket, class_index, arrival);

	return stand(seg, &who, NOW + TICKS_PER_SEC);
}

static uint64_t ahead_of(struct seg *seg, uint32_t bucket, uint32_t class_index,
			 const struct queue_place *place)
{
	return queue_ahead(seg, bucket, class_index, place, NOW).units;
}

/* --- order --- */

Test(queue, within_a_class_the_first_to_come_is_first)
{
	struct seg seg = make();
	struct queue_place places[5];

	for (uint32_t i = 0; i < 5; i++)
		places[i] = stand_for(&seg, i, 7, SECOND, NOW - i);
	for (uint32_t i = 0; i < 5; i++)
		cr_assert_eq(ahead_of(&seg, 7, SECOND, &places[i]), 4 - i);
	cr_assert_eq(ahead_of(&seg, 7, SECOND, NULL), 5, "who does not wait comes after all");
	queue_leave(&seg, &places[2]);
	queue_leave(&seg, &places[2]);
	cr_assert_eq(ahead_of(&seg, 7, SECOND, &places[0]), 3);
	cr_assert_eq(ahead_of(&seg, 7, SECOND, &places[4]), 0);
	seg_verify(&seg, NOW, true);
}

Test(queue, a_more_protected_class_stands_before_all_of_the_others)
{
	struct seg seg = make();
	const struct queue_place late = stand_for(&seg, 1, 7, FIRST, NOW);
	const struct queue_place early = stand_for(&seg, 2, 7, THIRD, NOW - 9);
	const struct queue_place middle = stand_for(&seg, 3, 7, SECOND, NOW - 5);

	cr_assert_eq(ahead_of(&seg, 7, FIRST, &late), 0);
	cr_assert_eq(ahead_of(&seg, 7, SECOND, &middle), 1);
	cr_assert_eq(ahead_of(&seg, 7, THIRD, &early), 2);
	cr_assert_eq(ahead_of(&seg, 7, FIRST, NULL), 1, "the other classes are nothing to it");
	cr_assert_eq(queue_ahead(&seg, 7, THIRD, NULL, NOW).own_units, 1);
}

Test(queue, another_buckets_line_is_another_line)
{
	struct seg seg = make();
	const struct queue_place here = stand_for(&seg, 1, 7, FIRST, NOW);
	/* In the same row of places. */
	const struct queue_place there = stand_for(&seg, 2, 7 + seg.n_queues, FIRST, NOW - 1);

	cr_assert_eq(here.queue, there.queue);
	cr_assert_eq(ahead_of(&seg, 7, FIRST, &here), 0);
	cr_assert_eq(ahead_of(&seg, 7 + seg.n_queues, FIRST, NULL), 1);
}

Test(queue, two_that_came_at_one_moment_are_not_each_behind_the_other)
{
	struct seg seg = make();
	const struct queue_place a = stand_for(&seg, 1, 7, FIRST, NOW);
	const struct queue_place b = stand_for(&seg, 2, 7, FIRST, NOW);

	cr_assert_eq(ahead_of(&seg, 7, FIRST, &a) + ahead_of(&seg, 7, FIRST, &b), 1);
}

/* --- who counts --- */

Test(queue, whoever_does_not_come_is_passed_after_the_grace_and_is_first_again_when_it_comes)
{
	struct seg seg = make();
	struct queue_waiter who = waiter(1, 7, FIRST, NOW - 10);
	const struct queue_place stopped = stand(&seg, &who, NOW);
	const struct queue_place next = stand_for(&seg, 2, 7, FIRST, NOW - 5);

	cr_assert_eq(queue_ahead(&seg, 7, FIRST, &next, NOW + QUEUE_GRACE).units, 1);
	cr_assert_eq(queue_ahead(&seg, 7, FIRST, &next, NOW + QUEUE_GRACE + 1).units, 0);
	cr_assert(queue_wake_at(&seg, &stopped, NOW + QUEUE_GRACE + 2));
	cr_assert_eq(queue_ahead(&seg, 7, FIRST, &next, NOW + QUEUE_GRACE + 2).units, 1);
}

struct told {
	uint32_t n;
	uint32_t bucket[4];
};

static void note_left(void *user, uint32_t bucket)
{
	struct told *told = user;

	told->bucket[told->n++] = bucket;
}

Test(queue, the_dead_are_not_counted_and_reaping_tells_where_they_stood)
{
	struct seg seg = make();
	struct told told = {0};

	(void)stand_for(&seg, 1, 7, FIRST, NOW - 2);
	(void)stand_for(&seg, 1, 9, SECOND, NOW - 2);
	(void)stand_for(&seg, 2, 7, FIRST, NOW);
	shm_store(&seg.workers[1].identity, 0);
	cr_assert_eq(ahead_of(&seg, 7, FIRST, NULL), 1);
	cr_assert_eq(ahead_of(&seg, 9, SECOND, NULL), 0);
	queue_reap(&seg, 1, note_left, &told);
	cr_assert_eq(told.n, 2);
	cr_assert_eq(told.bucket[0] + told.bucket[1], 7 + 9);
	seg_verify(&seg, NOW, true);
}

Test(queue, whoever_is_reaped_stands_there_no_more)
{
	struct seg seg = make();
	struct queue_waiter who = waiter(1, 7, FIRST, NOW);
	struct queue_place place = stand(&seg, &who, NOW), next;

	worker_reap(&seg, 1, 0);
	cr_assert(!queue_wake_at(&seg, &place, NOW));
	cr_assert_null(queue_word(&seg, &place));
	shm_store(&seg.workers[1].identity, worker_identity(1, 2, 5000));
	who.sequence = 1;
	next = stand(&seg, &who, NOW);
	queue_leave(&seg, &place);
	cr_assert_not_null(queue_word(&seg, &next), "a late leave is not another's");
}

/* --- hints --- */

static uint32_t hints(const struct seg *seg, uint32_t bucket)
{
	return KIND_WAITERS(shm_half_load(&seg->hot[bucket].kind));
}

Test(queue, bits_show_which_classes_wait_until_somebody_finds_nobody)
{
	struct seg seg = make();
	struct queue_place first = stand_for(&seg, 1, 7, FIRST, NOW);
	struct queue_place third = stand_for(&seg, 2, 7, THIRD, NOW);

	cr_assert_eq(hints(&seg, 7), 1 << FIRST | 1 << THIRD);
	cr_assert(!queue_hinted(&seg.hot[7], 1 << SECOND));
	queue_leave(&seg, &first);
	cr_assert(queue_hinted(&seg.hot[7], 1 << FIRST));
	(void)ahead_of(&seg, 7, SECOND, NULL);
	cr_assert_eq(hints(&seg, 7), 1 << THIRD);
	queue_leave(&seg, &third);
	(void)ahead_of(&seg, 7, SECOND, NULL);
	cr_assert_eq(hints(&seg, 7), 0);
	cr_assert_eq(KIND_OF(shm_half_load(&seg.hot[7].kind)), KIND_NONE);
}

Test(queue, a_bit_that_somebody_cleared_and_died_comes_back_with_the_next_try)
{
	struct seg seg = make();
	const struct queue_place place = stand_for(&seg, 1, 7, SECOND, NOW);

	shm_half_and(&seg.hot[7].kind, 0xff);
	cr_assert(!queue_wake_at(&seg, &place, NOW), "it may have missed a wake");
	cr_assert_eq(hints(&seg, 7), 1 << SECOND);
	cr_assert(queue_wake_at(&seg, &place, NOW));
}

/* --- waking --- */

struct woken {
	uint32_t n;
	shm_half *word[QUEUE_PLACES];
};

static void note_woken(void *user, shm_half *word)
{
	struct woken *woken = user;

	woken->word[woken->n++] = word;
}

static bool was_woken(const struct seg *seg, const struct queue_place *place,
		      const struct woken *woken)
{
	for (uint32_t i = 0; i < woken->n; i++) {
		if (woken->word[i] == queue_word(seg, place))
			return true;
	}
	return false;
}

Test(queue, the_next_is_woken_and_nobody_else)
{
	struct seg seg = make();
	const struct queue_place low = stand_for(&seg, 1, 7, SECOND, NOW - 9);
	const struct queue_place second = stand_for(&seg, 2, 7, FIRST, NOW - 1);
	const struct queue_place first = stand_for(&seg, 3, 7, FIRST, NOW - 2);
	const uint32_t before = shm_half_load(queue_word(&seg, &first));
	struct woken woken = {0};

	cr_assert_eq(queue_wake_next(&seg, 7, NOW, note_woken, &woken), 1);
	cr_assert(was_woken(&seg, &first, &woken));
	cr_assert_eq(shm_half_load(queue_word(&seg, &first)), before + 1);
	/* It is awake, so a second wake is for the second, and tells the first that there is more. */
	woken.n = 0;
	cr_assert_eq(queue_wake_next(&seg, 7, NOW, note_woken, &woken), 2);
	cr_assert(was_woken(&seg, &first, &woken) && was_woken(&seg, &second, &woken));
	cr_assert(!was_woken(&seg, &low, &woken));
	/* Neither comes: the third is next, and once they are late nobody waits for them. */
	woken.n = 0;
	cr_assert_eq(queue_wake_next(&seg, 7, NOW + QUEUE_GRACE + 1, note_woken, &woken), 1);
	cr_assert(was_woken(&seg, &low, &woken));
}

/* Between its look and its sleep a waiter finds its word changed, even if it has not yet said when it means to try. */
Test(queue, whoever_is_about_to_look_is_told_too)
{
	struct seg seg = make();
	const struct queue_waiter who = waiter(1, 7, FIRST, NOW);
	struct queue_place place;
	struct woken woken = {0};
	uint32_t before;

	cr_assert_eq(queue_join(&seg, &who, 0, NOW, &place), QUEUE_JOINED);
	before = shm_half_load(queue_word(&seg, &place));
	cr_assert_eq(queue_wake_next(&seg, 7, NOW, note_woken, &woken), 1);
	cr_assert_eq(shm_half_load(queue_word(&seg, &place)), before + 1);
}

Test(queue, event_loops_are_woken_by_one_word_a_worker)
{
	struct seg seg = make();
	struct queue_waiter who = waiter(5, 7, FIRST, NOW);
	struct queue_place here, there;
	struct woken woken = {0};

	who.loop = true;
	here = stand(&seg, &who, NOW + TICKS_PER_SEC);
	who.bucket = 8;
	who.sequence = 1;
	there = stand(&seg, &who, NOW + TICKS_PER_SEC);
	const uint32_t before = shm_half_load(queue_word(&seg, &here));

	cr_assert_eq(queue_wake_next(&seg, 7, NOW, note_woken, &woken), 1);
	cr_assert_eq(woken.word[0], &seg.workers[5].waiting);
	cr_assert_eq(shm_half_load(&seg.workers[5].waiting), 1);
	cr_assert_eq(shm_half_load(queue_word(&seg, &here)), before + 1, "which of its waits");
	cr_assert_eq(shm_half_load(queue_word(&seg, &there)), 0);
}

Test(queue, everybody_is_told_of_new_numbers)
{
	struct seg seg = make();
	struct woken woken = {0};

	for (uint32_t i = 0; i < 10; i++)
		(void)stand_for(&seg, i, 7, i % 3, NOW + i);
	(void)stand_for(&seg, 11, 7 + seg.n_queues, FIRST, NOW);
	cr_assert_eq(queue_wake_all(&seg, 7, NOW, note_woken, &woken), 10);
}

/* --- bounds --- */

Test(queue, a_bound_is_a_classs_own)
{
	struct seg seg = make();
	struct queue_waiter who = waiter(9, 7, SECOND, NOW);
	struct queue_place place;

	for (uint32_t i = 0; i < 3; i++) {
		(void)stand_for(&seg, i, 7, SECOND, NOW);
		(void)stand_for(&seg, 10 + i, 7, FIRST, NOW);
	}
	cr_assert_eq(queue_join(&seg, &who, 3, NOW, &place), QUEUE_BOUND);
	cr_assert_eq(queue_join(&seg, &who, 4, NOW, &place), QUEUE_JOINED);
	who.class_index = THIRD;
	cr_assert_eq(queue_join(&seg, &who, 3, NOW, &place), QUEUE_JOINED);
	who.class_index = SECOND;
	cr_assert_eq(queue_join(&seg, &who, 4, NOW + TICKS_PER_SEC + QUEUE_GRACE + 1, &place),
		     QUEUE_JOINED, "the late take nobody's place");
}

Test(queue, a_full_line_says_so_until_somebody_has_left_it_for_good)
{
	struct seg seg = make();
	struct queue_waiter who = waiter(200, 7, FIRST, NOW);
	struct queue_place first = {0}, place;

	for (uint32_t i = 0; i < QUEUE_PLACES; i++)
		place = stand_for(&seg, i, i % 2 ? 7 : 7 + seg.n_queues, FIRST, NOW + i);
	first = place;
	cr_assert_eq(queue_join(&seg, &who, 0, NOW + TICKS_PER_SEC + QUEUE_ABANDONED, &place),
		     QUEUE_FULL);
	cr_assert_eq(queue_join(&seg, &who, 0, NOW + TICKS_PER_SEC + QUEUE_ABANDONED + 1, &place),
		     QUEUE_JOINED);
	queue_leave(&seg, &first);
	cr_assert_eq(queue_join(&seg, &who, 0, NOW, &place), QUEUE_JOINED);
	seg_verify(&seg, NOW, true);
}

Test(queue, length_and_age_are_for_each_class)
{
	struct seg seg = make();
	struct queue_length length;

	for (uint32_t i = 0; i < 4; i++)
		(void)stand_for(&seg, i, 7, SECOND, NOW - i * MS);
	length = queue_length(&seg, 7, SECOND);
	cr_assert_eq(length.waiting, 4);
	cr_assert_eq(length.oldest, NOW - 3 * MS);
	length = queue_length(&seg, 7, FIRST);
	cr_assert_eq(length.waiting, 0);
	cr_assert_eq(length.oldest, 0);
}

/* --- scribbles --- */

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void seed_random(void)
{
	struct timespec ts;
	const char *given = getenv("SEED");

	clock_gettime(CLOCK_REALTIME, &ts);
	random_state = given ? strtoull(given, NULL, 10) : (uint64_t)ts.tv_nsec + 1;
	fprintf(stderr, "queue: SEED=%llu\n", (unsigned long long)random_state);
}

static void ignore_word(void *user, shm_half *word)
{
	const struct seg *seg = user;

	cr_assert((uintptr_t)word - (uintptr_t)seg->base < seg->size);
}

Test(queue, whatever_stands_there_nobody_leaves_the_segment_and_repair_clears_it)
{
	struct seg seg = make();

	seed_random();
	for (int round = 0; round < 2000; round++) {
		const uint32_t q = (uint32_t)(next_random() % 4);
		struct seg_waiter *cell = &seg.queues[q].place[next_random() % QUEUE_PLACES];
		const struct queue_waiter who =
			waiter((uint32_t)next_random() % WORKERS, q, next_random() & 7, NOW);
		struct queue_place place;

		for (int i = 0; i < 4; i++)
			((uint64_t *)(void *)cell)[i] =
				next_random() >> (next_random() & 63) << (next_random() & 31);
		(void)queue_ahead(&seg, q, 7, NULL, NOW);
		(void)queue_wake_next(&seg, q, NOW, ignore_word, &seg);
		(void)queue_wake_all(&seg, q, NOW, ignore_word, &seg);
		(void)queue_length(&seg, q, 3);
		if (queue_join(&seg, &who, 100, NOW, &place) == QUEUE_JOINED) {
			(void)queue_wake_at(&seg, &place, NOW);
			queue_leave(&seg, &place);
		}
	}
	for (uint32_t q = 0; q < seg.n_queues; q++) {
		(void)queue_repair(&seg, q);
		cr_assert(queue_plausible(&seg, q));
		cr_assert_eq(queue_repair(&seg, q), 0);
	}
}

/* --- what it comes to: a chain, and those who wait for it --- */

static struct link plain_link(struct bucket_ref ref)
{
	return (struct link){
		.bucket = ref.bucket,
		.generation = ref.generation,
		.flags = KIND_BUCKET | LINK_HAS_DEFAULT,
		.default_cost = 1,
	};
}

static struct draw draw_of(const struct link *links, uint32_t n, uint32_t class_index, uint64_t now)
{
	struct draw draw = {
		.links = links,
		.n_links = n,
		.class_index = class_index,
		.at = {.now = now},
	};

	cr_assert(chain_units(&draw, NULL, 0));
	return draw;
}

static enum take look(struct seg *seg, struct draw *draw, const struct queue_place *place)
{
	draw->place = place;
	return chain_look(seg, draw);
}

Test(queue, nobody_passes_those_who_wait_unless_there_is_room_for_them_too)
{
	struct seg seg = make();
	const struct bucket_ref ref = seg_bucket(&seg, 1, 100, 3, NOW);
	const struct link link = plain_link(ref);
	const struct queue_place place = stand_for(&seg, 1, ref.bucket, SECOND, NOW);
	struct draw draw = draw_of(&link, 1, SECOND, NOW);
	struct ration_ticket ticket;

	for (int left = 3; left > 1; left--) {
		cr_assert_eq(look(&seg, &draw, NULL), TAKE_ADMIT);
		cr_assert_eq(chain_charge(&seg, &draw, &ticket), TAKE_ADMIT);
	}
	cr_assert_eq(look(&seg, &draw, NULL), TAKE_WAIT, "the last one is its");
	cr_assert_eq(draw.verdict.why.retry_at, NOW + 10 * MS, "and then it is ours");
	cr_assert_eq(look(&seg, &draw, &place), TAKE_ADMIT);
	draw = draw_of(&link, 1, FIRST, NOW);
	cr_assert_eq(look(&seg, &draw, NULL), TAKE_ADMIT, "a more protected class does not wait");
}

/* What a class is guaranteed it gets, whoever waits; its own class's line it still stands in. */
Test(queue, a_guarantee_is_not_behind_a_more_protected_line)
{
	struct seg seg = make();
	const struct bucket_ref own = seg_bucket(&seg, 1, 10, 1, NOW);
	const struct bucket_ref shared = seg_bucket(&seg, 2, 100, 2, NOW);
	struct link links[2] = {plain_link(own), plain_link(shared)};
	struct queue_waiter many = waiter(1, shared.bucket, FIRST, NOW);
	struct queue_place first, mine;
	struct draw draw;
	struct ration_ticket ticket;

	links[0].flags |= LINK_BACKING;
	links[1].mark = 1;
	many.units = 50;
	first = stand(&seg, &many, NOW + TICKS_PER_SEC);
	draw = draw_of(links, 2, THIRD, NOW);
	cr_assert_eq(look(&seg, &draw, NULL), TAKE_ADMIT);
	cr_assert_eq(chain_charge(&seg, &draw, &ticket), TAKE_ADMIT);
	cr_assert_eq(ticket.n_links, 2);
	cr_assert_eq(ticket.links[0].line, shared.bucket);
	/* The next is backed in 100 ms, long before the others are done. */
	cr_assert_eq(look(&seg, &draw, NULL), TAKE_WAIT);
	cr_assert_eq(draw.verdict.why.retry_at, NOW + 100 * MS);
	mine = stand_for(&seg, 2, shared.bucket, THIRD, NOW);
	draw.at.now = NOW + 100 * MS;
	cr_assert_eq(look(&seg, &draw, NULL), TAKE_WAIT, "the guarantee has a line too");
	cr_assert_eq(look(&seg, &draw, &mine), TAKE_ADMIT);
	queue_leave(&seg, &first);
}

Test(queue, in_a_sequential_flow_classes_do_not_count)
{
	struct seg seg = make();
	const struct bucket_ref ref = seg_slots(&seg, 1, 1, 0);
	struct link link = {.bucket = ref.bucket,
			    .generation = ref.generation,
			    .flags = KIND_SLOTS | LINK_HAS_DEFAULT,
			    .default_cost = 1,
			    .shape = {[SLOTS_FIFO] = 1}};
	struct draw draw = draw_of(&link, 1, FIRST, NOW);
	uint32_t class_index;

	cr_assert_eq(chain_line(&draw, 0, &class_index), ref.bucket);
	cr_assert_eq(class_index, 0);
	draw.class_index = THIRD;
	(void)chain_line(&draw, 0, &class_index);
	cr_assert_eq(class_index, 0, "whoever came first is next");
	const struct queue_place bulk = stand_for(&seg, 1, ref.bucket, class_index, NOW - 1);

	draw.class_index = FIRST;
	draw.lease = slots_lease(worker_identity(2, 1, 9), 1, NOW);
	cr_assert_eq(look(&seg, &draw, NULL), TAKE_WAIT);
	cr_assert_eq(look(&seg, &draw, &bulk), TAKE_ADMIT);
}

Test(queue, room_is_told_whoever_waits)
{
	struct seg seg = make();
	const struct bucket_ref rate = seg_bucket(&seg, 1, 100, 10, NOW);
	const struct bucket_ref slots = seg_slots(&seg, 2, 25, 0);
	struct link links[2] = {plain_link(rate), plain_link(slots)};
	struct draw draw;
	struct shortage room = {0};
	struct ration_ticket ticket;

	links[1].flags = KIND_SLOTS | LINK_HAS_DEFAULT;
	links[0].mark = 2;
	(void)stand_for(&seg, 1, rate.bucket, FIRST, NOW);
	draw = draw_of(links, 2, SECOND, NOW);
	draw.lease = slots_lease(worker_identity(2, 1, 9), 1, NOW);
	for (int i = 0; i < 3; i++, draw.lease++) {
		cr_assert_eq(look(&seg, &draw, NULL), TAKE_ADMIT);
		cr_assert_eq(chain_charge(&seg, &draw, &ticket), TAKE_ADMIT);
	}
	cr_assert(chain_room(&seg, &draw, 0, &room));
	cr_assert_eq(room.left, 5);
	cr_assert_eq(room.size, 8);
	cr_assert(chain_room(&seg, &draw, 1, &room));
	cr_assert_eq(room.left, 22);
	cr_assert_eq(room.size, 25);
}

/* --- many of them, each woken a little late --- */

struct sleeper {
	struct queue_place place;
	uint64_t arrival;
	uint64_t wakes_at;
	uint32_t class_index;
};

struct crowd {
	struct seg *seg;
	struct link link;
	struct sleeper sleepers[64];
	uint32_t n;
	uint64_t lateness; /* up to so much, at random */
	uint32_t looks, grants, overtakes;
};

/* As client/wait.c does: until its turn; when that has come and somebody before it is slow, a little longer. */
static void sleep_on(struct crowd *crowd, struct sleeper *s, const struct draw *draw, uint64_t now)
{
	const uint64_t retry_at = draw->verdict.why.retry_at;
	const struct queue_ahead ahead =
		queue_ahead(crowd->seg, crowd->link.bucket, s->class_index, &s->place, now);
	const bool waits = s->place.due != 0 && s->place.due <= now && ahead.coming > 0;
	const uint64_t again = waits ? now + ahead.coming * (QUEUE_GRACE / 16) : UINT64_MAX;
	const uint64_t at = again < retry_at ? again : retry_at;

	if (at == retry_at)
		s->place.due = at;
	s->wakes_at = (at > now ? at : now) + next_random() % (crowd->lateness + 1);
	cr_assert(queue_wake_at(crowd->seg, &s->place, at));
}

static void come(struct crowd *crowd, uint32_t i, uint64_t now)
{
	struct sleeper *s = &crowd->sleepers[i];
	struct draw draw = draw_of(&crowd->link, 1, s->class_index, now);
	const struct queue_waiter who = waiter(i, crowd->link.bucket, s->class_index, now);

	s->arrival = now;
	cr_assert_eq(queue_join(crowd->seg, &who, 0, now, &s->place), QUEUE_JOINED);
	cr_assert_eq(look(crowd->seg, &draw, &s->place), TAKE_WAIT);
	sleep_on(crowd, s, &draw, now);
}

static struct sleeper *next_to_wake(struct crowd *crowd)
{
	struct sleeper *next = &crowd->sleepers[0];

	for (uint32_t i = 1; i < crowd->n; i++) {
		if (crowd->sleepers[i].wakes_at < next->wakes_at)
			next = &crowd->sleepers[i];
	}
	return next;
}

/* Whether somebody who should have been before it still waits. */
static bool overtook(const struct crowd *crowd, const struct sleeper *s)
{
	for (uint32_t i = 0; i < crowd->n; i++) {
		const struct sleeper *other = &crowd->sleepers[i];

		if (other != s && other->class_index == s->class_index &&
		    other->arrival < s->arrival)
			return true;
		if (other->class_index < s->class_index)
			return true;
	}
	return false;
}

/* It comes again at once: there are always as many. */
static void step(struct crowd *crowd)
{
	struct sleeper *s = next_to_wake(crowd);
	const uint64_t now = s->wakes_at;
	/* Late, it takes it as of its turn. */
	struct draw draw = draw_of(&crowd->link, 1, s->class_index, s->place.due);
	struct ration_ticket ticket;

	crowd->looks++;
	if (look(crowd->seg, &draw, &s->place) != TAKE_ADMIT) {
		sleep_on(crowd, s, &draw, now);
		return;
	}
	cr_assert_eq(chain_charge(crowd->seg, &draw, &ticket), TAKE_ADMIT);
	crowd->grants++;
	crowd->overtakes += overtook(crowd, s);
	queue_leave(crowd->seg, &s->place);
	come(crowd, (uint32_t)(s - crowd->sleepers), now);
}

static void run_crowd(struct crowd *crowd, struct seg *seg, uint64_t burst, uint64_t lateness,
		      uint32_t n_classes)
{
	const struct bucket_ref ref = seg_bucket(seg, burst, 100, burst, NOW);

	*crowd = (struct crowd){.seg = seg, .link = plain_link(ref), .n = 64, .lateness = lateness};
	(void)bucket_debit(&seg->hot[ref.bucket], ref.generation,
			   bucket_tolerance(seg->hot[ref.bucket].numbers), NOW);
	for (uint32_t i = 0; i < crowd->n; i++) {
		crowd->sleepers[i].class_index = i % n_classes;
		come(crowd, i, NOW + i);
	}
	while (crowd->grants < 20000)
		step(crowd);
}

/*
 * 64 that want 100 a second, each up to 5 ms late. All of one class: in order, but where somebody so late that its turn
 * is another's too found room for both.
 */
Test(queue, no_herd)
{
	struct seg seg = make();
	const uint64_t bursts[] = {1, 5, 100};
	struct crowd crowd;

	seed_random();
	for (int i = 0; i < 3; i++) {
		run_crowd(&crowd, &seg, bursts[i], 5 * MS, 1);
		fprintf(stderr, "queue: burst %llu: %u looks, %u grants\n",
			(unsigned long long)bursts[i], crowd.looks, crowd.grants);
		cr_assert_leq(crowd.looks, crowd.grants * 12 / 10);
		cr_assert_eq(crowd.overtakes, 0);
	}
}

/* Those of the last class never have a turn while the others want it all; and none of the first waits for another's. */
Test(queue, no_class_is_behind_a_less_protected_one)
{
	struct seg seg = make();
	struct crowd crowd;

	seed_random();
	run_crowd(&crowd, &seg, 2, 5 * MS, 3);
	cr_assert_eq(crowd.overtakes, 0);
	seg_verify(&seg, NOW * 2, false);
}
