/*
 * tests/test_slots.c - leases: one holder a slot, each ends once, none outlives its worker
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/extent.h"
#include "shm/slots.h"
#include "shm/worker.h"
#include "support_seg.h"

#define NOW    (UINT64_C(1000) * TICKS_PER_SEC)
#define SECOND UINT64_C(1000000000)
#define UNIT   (UINT64_C(1) << 30) /* what the age of a lease is measured in */

/* --- one worker after the other --- */

static uint64_t identity_of(uint32_t worker, uint32_t incarnation)
{
	return worker_identity(worker, incarnation, 1000 + worker);
}

static void enter(struct seg *seg, uint32_t worker, uint32_t incarnation)
{
	shm_store(&seg->workers[worker].identity, identity_of(worker, incarnation));
}

static struct seg make(uint32_t workers)
{
	struct seg seg = seg_make(2048, workers);

	for (uint32_t i = 0; i < workers; i++)
		enter(&seg, i, 1);
	return seg;
}

struct shape {
	uint64_t own_first, own_count, shared_first, ceiling;
};

static const struct shape whole = {0, 0, 0, 0};

static uint32_t sequence;

static enum take take_at(struct seg *seg, struct bucket_ref ref, uint32_t worker, uint64_t ahead,
			 const struct shape *shape, uint64_t now, struct charge_ref *charge,
			 struct shortage *why)
{
	const struct link link = {
		.bucket = ref.bucket,
		.generation = ref.generation,
		.flags = KIND_SLOTS,
		.shape = {shape->own_first, shape->own_count, shape->shared_first, shape->ceiling},
	};
	const struct demand demand = {
		.units = 1,
		.ahead = ahead,
		.lease = slots_lease(shm_load(&seg->workers[worker].identity), sequence++, now),
	};
	const struct instant at = {.now = now};
	struct taken taken = {0};
	enum take result = slots_look(seg, &link, &demand, &at, &taken, why);

	if (result == TAKE_ADMIT)
		result = slots_charge(seg, &link, &demand, &at, &taken, why);
	if (result == TAKE_ADMIT)
		*charge = (struct charge_ref){
			.bucket = ref.bucket,
			.generation = ref.generation,
			.units = 1,
			.permit = now,
			.taken = taken,
		};
	return result;
}

static enum take take(struct seg *seg, struct bucket_ref ref, uint32_t worker,
		      struct charge_ref *charge)
{
	struct shortage why;

	return take_at(seg, ref, worker, 0, &whole, NOW, charge, &why);
}

/* How many more leases a class could have now; they are given back. */
static uint32_t room(struct seg *seg, struct bucket_ref ref, const struct shape *shape,
		     uint64_t now)
{
	static struct charge_ref held[SLOTS_MAX + 1];
	struct shortage why;
	uint32_t n = 0;

	while (take_at(seg, ref, 0, 0, shape, now, &held[n], &why) == TAKE_ADMIT)
		n++;
	for (uint32_t i = 0; i < n; i++)
		cr_assert(slots_release(seg, &held[i]));
	return n;
}

Test(slots, numbers_hold_what_was_packed)
{
	cr_assert_eq(slots_count(slots_pack(25, 0, 0)), 25);
	cr_assert_eq(slots_hold(slots_pack(25, 0, 0)), 0);
	cr_assert_eq(slots_count(slots_pack(SLOTS_MAX, 86400 * SECOND, 0)), SLOTS_MAX);
	cr_assert_geq(slots_hold(slots_pack(1, 86400 * SECOND, 0)), 86400 * TICKS_PER_SEC);
	cr_assert_leq(slots_hold(slots_pack(1, 86400 * SECOND, 0)), 86400 * TICKS_PER_SEC + UNIT);
	cr_assert_eq(slots_hold(slots_pack(1, 1, 0)), UNIT);
	cr_assert_eq(slots_pack(0, 0, 0), 0);
	cr_assert_eq(slots_pack(SLOTS_MAX + 1, 0, 0), 0);
	cr_assert_eq(slots_pack(1, 86400 * SECOND + 1, 0), 0);
	cr_assert_neq(slots_pack(1, 0, UINT64_C(9) * 3600 * SECOND), 0);
	cr_assert_eq(slots_pack(1, 0, UINT64_C(10) * 3600 * SECOND), 0);
	for (uint32_t n = 1; n <= SLOTS_MAX; n++) {
		cr_assert_eq(slots_table_words(n) % 8, 0);
		cr_assert_geq(slots_table_words(n), n > 16 ? 4 * n : 64);
		cr_assert_leq(slots_table_words(n), EXTENT_LINES_MAX * 8);
	}
}

Test(slots, a_lease_says_whose_it_is_and_since_when)
{
	const uint64_t lease = slots_lease(worker_identity(4095, 0xffff, 1), 12345, NOW);

	cr_assert_eq(slots_holder(lease), 4095);
	cr_assert_leq(slots_since(lease, NOW + TICKS_PER_SEC), NOW);
	cr_assert_gt(slots_since(lease, NOW + TICKS_PER_SEC), NOW - UNIT);
}

Test(slots, as_many_as_there_are_slots)
{
	struct seg seg = make(2);
	const struct bucket_ref ref = seg_slots(&seg, 1, 3, 0);
	struct charge_ref held[4];
	struct shortage why;

	for (int i = 0; i < 3; i++)
		cr_assert_eq(take(&seg, ref, (uint32_t)i % 2, &held[i]), TAKE_ADMIT);
	cr_assert_eq(take_at(&seg, ref, 1, 0, &whole, NOW, &held[3], &why), TAKE_WAIT);
	cr_assert_eq(why.left, 0);
	cr_assert_eq(why.size, 3);
	cr_assert_eq(why.retry_at, NOW + TICKS_PER_SEC);
	cr_assert(slots_release(&seg, &held[1]));
	cr_assert_not(slots_release(&seg, &held[1]));
	cr_assert_eq(take(&seg, ref, 1, &held[3]), TAKE_ADMIT);
	cr_assert_eq(held[3].taken.charged, held[1].taken.charged);
	cr_assert_not(slots_release(&seg, &held[1]), "the first lease is over: it ends no other");
	cr_assert(slots_release(&seg, &held[0]));
	cr_assert(slots_release(&seg, &held[2]));
	cr_assert(slots_release(&seg, &held[3]));
	cr_assert_eq(room(&seg, ref, &whole, NOW), 3);
	seg_verify(&seg, NOW, true);
}

Test(slots, the_last_of_1024_is_found)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, SLOTS_MAX, 0);
	static struct charge_ref held[SLOTS_MAX];
	struct charge_ref more;

	for (uint32_t i = 0; i < SLOTS_MAX; i++)
		cr_assert_eq(take(&seg, ref, 0, &held[i]), TAKE_ADMIT);
	cr_assert_eq(take(&seg, ref, 0, &more), TAKE_WAIT);
	for (uint32_t i = 0; i < SLOTS_MAX; i += 93) {
		cr_assert(slots_release(&seg, &held[i]));
		cr_assert_eq(take(&seg, ref, 0, &held[i]), TAKE_ADMIT);
		cr_assert_eq(take(&seg, ref, 0, &more), TAKE_WAIT);
	}
	seg_verify(&seg, NOW, true);
}

Test(slots, those_ahead_are_to_have_theirs_first)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 3, 0);
	struct charge_ref held;
	struct shortage why;

	cr_assert_eq(take(&seg, ref, 0, &held), TAKE_ADMIT);
	cr_assert_eq(take_at(&seg, ref, 0, 2, &whole, NOW, &held, &why), TAKE_WAIT);
	cr_assert_eq(why.left, 2);
	cr_assert_eq(take_at(&seg, ref, 0, 1, &whole, NOW, &held, &why), TAKE_ADMIT);
	cr_assert_eq(take_at(&seg, ref, 0, 1, &whole, NOW, &held, &why), TAKE_WAIT);
	cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, NOW, &held, &why), TAKE_ADMIT);
}

/* A sequential flow: one slot, and whoever comes while others stand in line comes after them. */
Test(slots, one_slot_goes_to_the_first_in_line)
{
	struct seg seg = make(3);
	const struct bucket_ref ref = seg_slots(&seg, 1, 1, 0);
	struct charge_ref held;
	struct shortage why;

	cr_assert_eq(take(&seg, ref, 0, &held), TAKE_ADMIT);
	cr_assert(slots_release(&seg, &held));
	cr_assert_eq(take_at(&seg, ref, 2, 1, &whole, NOW, &held, &why), TAKE_WAIT);
	cr_assert_eq(take_at(&seg, ref, 1, 0, &whole, NOW, &held, &why), TAKE_ADMIT);
	cr_assert_eq(take_at(&seg, ref, 2, 0, &whole, NOW, &held, &why), TAKE_WAIT);
}

/* --- time --- */

/* What was given up is nobody's for a delay, also where its worker died; and then it is free, though nobody came. */
Test(slots, what_was_given_up_is_free_when_the_delay_is_over)
{
	const uint64_t unit = UINT64_C(1) << 20;
	const uint64_t delays[] = {0, 1, 20000000, 50000000, 3600 * SECOND};

	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
		struct seg seg = make(2);
		const struct bucket_ref ref = seg_slots(&seg, 1, 1, 0);
		const uint64_t delay = delays[i] * TICKS_PER_NS;
		const uint64_t reaped = delay < SLOTS_REAP_DELAY ? delay : SLOTS_REAP_DELAY;
		struct charge_ref held, late;
		struct shortage why;
		uint64_t at = NOW;

		slots_retune(&seg, ref.bucket, slots_pack(1, 0, delays[i]));
		cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, at, &held, &why), TAKE_ADMIT);
		late = held;
		cr_assert(slots_abandon(&seg, &held, at));
		cr_assert_not(slots_abandon(&seg, &late, at), "given up once");
		cr_assert_not(slots_release(&seg, &late));
		if (delay != 0) {
			cr_assert_eq(take_at(&seg, ref, 1, 0, &whole, at + delay - 1, &held, &why),
				     TAKE_WAIT);
			cr_assert_geq(why.retry_at, at + delay);
			cr_assert_leq(why.retry_at, at + delay + 2 * unit);
			cr_assert_not(slots_close(&seg, ref.bucket, at + delay - 1));
			at = why.retry_at;
		}
		seg_verify(&seg, at, false);
		cr_assert_eq(take_at(&seg, ref, 1, 0, &whole, at, &held, &why), TAKE_ADMIT);
		worker_reap(&seg, 1, at);
		cr_assert_not(slots_release(&seg, &held));
		if (reaped != 0) {
			cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, at + reaped - 1, &held, &why),
				     TAKE_WAIT);
			cr_assert_leq(why.retry_at, at + reaped + 2 * unit);
			at = why.retry_at;
		}
		cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, at, &held, &why), TAKE_ADMIT);
		cr_assert(slots_release(&seg, &held));
		seg_verify(&seg, at, true);
	}
}

/* A word that says a time which no delay reaches is not believed. */
Test(slots, a_scribbled_time_holds_nobody_up)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 1, 0);
	uint32_t n_words;
	shm_word *words = extent_words(&seg, ref.bucket, &n_words);
	struct charge_ref held;

	shm_store(&words[0], (UINT64_C(1) << 47) | ((UINT64_C(1) << 47) - 1));
	cr_assert_eq(take(&seg, ref, 0, &held), TAKE_ADMIT);
}

Test(slots, a_late_release_does_not_end_the_next_lease)
{
	struct seg seg = make(2);
	const struct bucket_ref ref = seg_slots(&seg, 1, 1, 10 * SECOND);
	const uint64_t hold = slots_hold(slots_pack(1, 10 * SECOND, 0));
	struct charge_ref first, second, none;
	struct shortage why;

	cr_assert_eq(take(&seg, ref, 0, &first), TAKE_ADMIT);
	for (uint64_t t = NOW; t <= NOW + hold; t += UNIT / 3)
		cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, t, &none, &why), TAKE_WAIT);
	cr_assert_gt(why.retry_at, NOW + hold);
	cr_assert_leq(why.retry_at, NOW + hold + UNIT);
	cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, why.retry_at - 1, &none, &why), TAKE_WAIT);
	cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, why.retry_at, &second, &why), TAKE_ADMIT);
	cr_assert_not(slots_release(&seg, &first));
	cr_assert_eq(take_at(&seg, ref, 1, 0, &whole, second.permit, &none, &why), TAKE_WAIT);
	cr_assert(slots_release(&seg, &second));
	seg_verify(&seg, NOW, true);
}

/* Its clock may be days old: a worker that was stopped in the middle of an acquire. */
Test(slots, an_old_clock_ends_no_lease)
{
	struct seg seg = make(2);
	const struct bucket_ref ref = seg_slots(&seg, 1, 1, SECOND);
	const struct bucket_ref day = seg_slots(&seg, 2, 1, 86400 * SECOND);
	const uint64_t late = NOW + 6 * 86400 * TICKS_PER_SEC;
	struct charge_ref held, none;
	struct shortage why;

	cr_assert_eq(take_at(&seg, ref, 0, 0, &whole, late, &held, &why), TAKE_ADMIT);
	cr_assert_eq(take_at(&seg, day, 0, 0, &whole, late, &held, &why), TAKE_ADMIT);
	for (uint64_t t = NOW; t < late; t += 3600 * TICKS_PER_SEC) {
		cr_assert_eq(take_at(&seg, ref, 1, 0, &whole, t, &none, &why), TAKE_WAIT);
		cr_assert_gt(why.retry_at, late);
		cr_assert_eq(take_at(&seg, day, 1, 0, &whole, t, &none, &why), TAKE_WAIT);
	}
	cr_assert_eq(take_at(&seg, ref, 1, 0, &whole, late + 2 * TICKS_PER_SEC, &none, &why),
		     TAKE_ADMIT);
}

Test(slots, a_lost_history_is_held_by_nobody_for_as_long_as_a_lease_may_be)
{
	static const uint64_t holds[][2] = {{10 * SECOND, 10}, {0, 60}};

	for (int i = 0; i < 2; i++) {
		struct seg seg = make(1);
		const struct bucket_ref ref = seg_slots(&seg, 1, 3, holds[i][0]);
		const uint64_t end = NOW + holds[i][1] * TICKS_PER_SEC;
		const uint64_t extent = shm_load(&seg.hot[ref.bucket].state[3]);

		slots_first(&seg, ref.bucket, (uint32_t)(extent >> 32), slots_table_words(3),
			    slots_pack(3, holds[i][0], 0), NOW, true);
		cr_assert_eq(slots_holder(slots_word(&seg, ref.bucket, 2)), UINT32_MAX);
		cr_assert_eq(room(&seg, ref, &whole, end), 0);
		seg_verify(&seg, NOW, true);
		cr_assert_eq(slots_reap(&seg, 0, 0, NULL, NULL), 0);
		cr_assert_eq(room(&seg, ref, &whole, end), 0);
		cr_assert_eq(room(&seg, ref, &whole, end + 2 * UNIT), 3);
		seg_verify(&seg, NOW, true);
	}
}

/* --- classes --- */

/* 10 slots: repair has 2 of its own, interactive 3, bulk none and at most 4. */
static const struct shape repair = {0, 2, 5, 0};
static const struct shape interactive = {2, 3, 5, 0};
static const struct shape integration = {0, 0, 5, 0};
static const struct shape bulk = {0, 0, 5, 4};
static const struct shape capped = {2, 3, 5, 4};

static void fill(struct seg *seg, struct bucket_ref ref, const struct shape *shape, uint32_t n)
{
	struct charge_ref held;
	struct shortage why;

	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(take_at(seg, ref, 0, 0, shape, NOW, &held, &why), TAKE_ADMIT);
	cr_assert_eq(take_at(seg, ref, 0, 0, shape, NOW, &held, &why), TAKE_WAIT);
}

Test(slots, a_guarantee_is_never_lent)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 10, 0);

	fill(&seg, ref, &integration, 5);
	fill(&seg, ref, &repair, 2);
	fill(&seg, ref, &interactive, 3);
}

Test(slots, a_class_takes_its_own_first_and_then_of_the_rest)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 10, 0);

	fill(&seg, ref, &interactive, 8);
	fill(&seg, ref, &repair, 2);
}

Test(slots, a_ceiling_counts_its_own_slots_too)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 10, 0);
	const struct shape less_than_own = {2, 3, 5, 2};

	cr_assert_eq(room(&seg, ref, &bulk, NOW), 4);
	cr_assert_eq(room(&seg, ref, &capped, NOW), 4);
	cr_assert_eq(room(&seg, ref, &less_than_own, NOW), 2);
	fill(&seg, ref, &bulk, 4);
	fill(&seg, ref, &integration, 1);
}

/* The others take from the other end, so what a ceiling leaves is used up first. */
Test(slots, a_class_with_a_ceiling_is_met_last)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 10, 0);
	struct charge_ref held;
	struct shortage why;

	cr_assert_eq(take_at(&seg, ref, 0, 0, &integration, NOW, &held, &why), TAKE_ADMIT);
	fill(&seg, ref, &bulk, 4);
}

Test(slots, no_slot_for_a_class_is_never)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 5, 0);
	struct charge_ref held;
	struct shortage why;

	cr_assert_eq(take_at(&seg, ref, 0, 0, &integration, NOW, &held, &why), TAKE_NEVER);
	cr_assert_eq(why.size, 0);
}

/* --- other numbers --- */

Test(slots, more_slots_are_there_at_once)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 2, 0);

	fill(&seg, ref, &whole, 2);
	slots_retune(&seg, ref.bucket, slots_pack(5, 0, 0));
	cr_assert_eq(room(&seg, ref, &whole, NOW), 3);
	/* As far as the table reaches, no further. */
	slots_retune(&seg, ref.bucket, slots_pack(SLOTS_MAX, 0, 0));
	cr_assert_eq(room(&seg, ref, &whole, NOW), slots_table_words(2) - 2);
	seg_verify(&seg, NOW, true);
}

Test(slots, leases_beyond_a_smaller_number_count_until_they_end)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 10, 0);
	struct charge_ref held[10];

	for (int i = 0; i < 10; i++)
		cr_assert_eq(take(&seg, ref, 0, &held[i]), TAKE_ADMIT);
	slots_retune(&seg, ref.bucket, slots_pack(4, 0, 0));
	for (int i = 0, left = 10; i < 10; i++) {
		cr_assert_eq(room(&seg, ref, &whole, NOW), left < 4 ? 4 - left : 0);
		cr_assert(slots_release(&seg, &held[i]));
		left--;
	}
	cr_assert_eq(room(&seg, ref, &whole, NOW), 4);
	seg_verify(&seg, NOW, true);
}

/* --- lives --- */

Test(slots, an_old_handle_is_told_so)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 2, 0);
	struct charge_ref held;

	shm_half_store(&seg.hot[ref.bucket].generation, ref.generation + 1);
	cr_assert_eq(take(&seg, ref, 0, &held), TAKE_STALE);
	shm_store(&seg.hot[ref.bucket].state[3], 0);
	cr_assert_eq(take(&seg, ref, 0, &held), TAKE_STALE);
}

static void copy(const struct seg *seg, struct bucket_ref ref, uint64_t to[64])
{
	uint32_t words = 0;
	const shm_word *table = extent_words(seg, ref.bucket, &words);

	cr_assert_eq(words, 64);
	for (int i = 0; i < 64; i++)
		to[i] = shm_load_relaxed(&table[i]);
}

/* Or a CAS that comes late would take a slot of whatever is there now. */
Test(slots, no_word_of_one_life_stands_in_the_next)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 2, 0);
	const struct bucket_ref other = seg_slots(&seg, 2, 2, 0);
	uint64_t before[64], after[64], of_other[64];
	const uint32_t extent = (uint32_t)(shm_load(&seg.hot[ref.bucket].state[3]) >> 32);

	copy(&seg, ref, before);
	copy(&seg, other, of_other);
	cr_assert(slots_close(&seg, ref.bucket, NOW));
	shm_half_store(&seg.hot[ref.bucket].generation, ref.generation + 1);
	slots_first(&seg, ref.bucket, extent, 64, slots_pack(2, 0, 0), NOW, false);
	copy(&seg, ref, after);
	for (int i = 0; i < 64; i++) {
		cr_assert_neq(before[i], after[i]);
		cr_assert_neq(before[i], of_other[i]);
		cr_assert_neq(before[i], 0);
	}
}

Test(slots, only_a_table_that_nobody_holds_can_be_closed)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 3, SECOND);
	struct charge_ref held, none;

	cr_assert_eq(take(&seg, ref, 0, &held), TAKE_ADMIT);
	cr_assert_not(slots_close(&seg, ref.bucket, NOW));
	cr_assert_eq(room(&seg, ref, &whole, NOW), 2);
	cr_assert(slots_close(&seg, ref.bucket, NOW + 2 * TICKS_PER_SEC), "it has expired");
	cr_assert_eq(take(&seg, ref, 0, &none), TAKE_WAIT);
	cr_assert_not(slots_release(&seg, &held));
	/* Whoever closed it was killed before he could do more. */
	cr_assert_not(slots_plausible(&seg, ref.bucket));
	cr_assert(slots_repair(&seg, ref.bucket));
	cr_assert_eq(room(&seg, ref, &whole, NOW), 3);
	seg_verify(&seg, NOW, true);
}

/* --- the dead --- */

static uint32_t told[2048];

static void tell(void *user, uint32_t bucket)
{
	cr_assert_eq(user, told);
	told[bucket]++;
}

Test(slots, reaping_ends_all_leases_of_one_worker)
{
	struct seg seg = make(3);
	const struct bucket_ref refs[3] = {seg_slots(&seg, 1, 20, 0), seg_slots(&seg, 2, 20, 0),
					   seg_slots(&seg, 3, 20, 0)};
	struct charge_ref held[3][20];

	for (uint32_t i = 0; i < 60; i++) {
		if (i % 3 != 2 || i % 2)
			cr_assert_eq(take(&seg, refs[i % 3], i % 2, &held[i % 3][i / 3]),
				     TAKE_ADMIT);
	}
	worker_reap_telling(&seg, 0, 0, tell, told);
	cr_assert_eq(told[refs[0].bucket], 1);
	cr_assert_eq(told[refs[1].bucket], 1);
	cr_assert_eq(told[refs[2].bucket], 0);
	for (uint32_t i = 0; i < 60; i++) {
		if (i % 3 != 2 || i % 2)
			cr_assert_eq(slots_release(&seg, &held[i % 3][i / 3]), i % 2 == 1);
	}
	cr_assert_eq(slots_reap(&seg, 0, 0, tell, told), 0);
	seg_verify(&seg, NOW, true);
}

Test(slots, a_successor_keeps_what_it_takes)
{
	struct seg seg = make(2);
	const struct bucket_ref ref = seg_slots(&seg, 1, 2, 0);
	struct charge_ref dead, successor;

	cr_assert_eq(take(&seg, ref, 0, &dead), TAKE_ADMIT);
	worker_reap(&seg, 0, 0);
	enter(&seg, 0, 2);
	cr_assert_eq(take(&seg, ref, 0, &successor), TAKE_ADMIT);
	cr_assert_eq(dead.taken.charged, successor.taken.charged);
	cr_assert_not(slots_release(&seg, &dead));
	cr_assert_eq(room(&seg, ref, &whole, NOW), 1);
	cr_assert(slots_release(&seg, &successor));
	seg_verify(&seg, NOW, true);
}

Test(slots, what_cannot_be_true_is_freed)
{
	struct seg seg = make(2);
	const struct bucket_ref ref = seg_slots(&seg, 1, 64, 0);
	const uint64_t lies[] = {
		0,
		1,
		UINT64_MAX,
		slots_lease(worker_identity(2, 1, 1), 1, NOW), /* no such worker */
		slots_lease(worker_identity(1, 2, 1), 1, NOW), /* nor such an incarnation */
	};
	const size_t n = sizeof(lies) / sizeof(lies[0]);
	struct charge_ref held;
	uint32_t words = 0;
	shm_word *table = extent_words(&seg, ref.bucket, &words);

	cr_assert_eq(take(&seg, ref, 1, &held), TAKE_ADMIT);
	for (size_t i = 0; i < n; i++) {
		shm_store(&table[i], lies[i]);
		cr_assert_not(slots_plausible(&seg, ref.bucket), "%zu", i);
		cr_assert(slots_repair(&seg, ref.bucket));
		cr_assert(slots_plausible(&seg, ref.bucket));
	}
	cr_assert_not(slots_repair(&seg, ref.bucket));
	cr_assert_eq(room(&seg, ref, &whole, NOW), 63);
	cr_assert(slots_release(&seg, &held));
	seg_verify(&seg, NOW, true);
}

Test(slots, words_without_a_table_are_said)
{
	struct seg seg = make(1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 4, 0);
	struct charge_ref held = {0}, none;

	cr_assert_eq(take(&seg, ref, 0, &held), TAKE_ADMIT);
	for (uint64_t word = 1; word != 0; word <<= 1) {
		shm_store(&seg.hot[ref.bucket].state[3], word);
		(void)take(&seg, ref, 0, &none);
		(void)slots_release(&seg, &held);
		(void)slots_repair(&seg, ref.bucket);
		(void)slots_close(&seg, ref.bucket, NOW);
	}
	shm_store(&seg.hot[ref.bucket].state[3], UINT64_MAX);
	cr_assert_eq(take(&seg, ref, 0, &none), TAKE_CORRUPT);
	cr_assert_not(slots_plausible(&seg, ref.bucket));
}

/* A full table of the size that a default segment has, and one worker that holds all of it. For reading, not judging. */
Test(slots, reaping_a_full_table)
{
	struct seg seg = seg_make(65536, 2);
	struct charge_ref held;
	struct timespec from, to;
	uint32_t n = 0;

	enter(&seg, 0, 1);
	enter(&seg, 1, 1);
	for (uint64_t id = 0; id < seg.n_extents / EXTENT_LINES_MAX; id++) {
		const struct bucket_ref ref = seg_slots(&seg, id, SLOTS_MAX, 0);

		for (uint32_t i = 0; i < SLOTS_MAX; i++, n++)
			cr_assert_eq(take(&seg, ref, 1, &held), TAKE_ADMIT);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	cr_assert_eq(slots_reap(&seg, 1, 0, NULL, NULL), n);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("slots: %u leases in %u lines reaped in %ld us\n", n, seg.n_extents,
	       (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
	seg_verify(&seg, NOW, true);
}

/* --- processes that are killed --- */

#define KILLED_WORKERS 8u
#define KILLED_SLOTS   3u
#define KILLS          150

/* What the children note down beside the segment. A slot's holder: worker + 1. */
struct account {
	shm_word holder[64];
	shm_word taken;
	shm_word twice; /* slots that somebody took while another held them */
	shm_word denied;
};

static void note_taken(struct account *account, uint32_t worker, uint64_t slot)
{
	uint64_t holder = 0;

	if (!shm_cas(&account->holder[slot], &holder, worker + 1))
		shm_add(&account->twice, 1);
	shm_add(&account->taken, 1);
}

static _Noreturn void take_and_release(struct seg *seg, struct bucket_ref ref, uint32_t worker,
				       struct account *account)
{
	for (uint64_t now = NOW;; now += UNIT / 64) {
		struct charge_ref held;
		struct shortage why;

		if (take_at(seg, ref, worker, 0, &whole, now, &held, &why) != TAKE_ADMIT) {
			shm_add(&account->denied, 1);
			sched_yield();
			continue;
		}
		note_taken(account, worker, held.taken.charged);
		if (now / UNIT % 2)
			sched_yield();
		shm_store(&account->holder[held.taken.charged], 0);
		if (!slots_release(seg, &held))
			shm_add(&account->twice, 1);
	}
}

static pid_t start(struct seg *seg, struct bucket_ref ref, uint32_t worker, uint32_t incarnation,
		   struct account *account)
{
	pid_t pid;

	enter(seg, worker, incarnation);
	pid = fork();
	cr_assert(pid >= 0);
	if (pid == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		take_and_release(seg, ref, worker, account);
	return pid;
}

/* Before its slots can be anybody else's, the account forgets what the dead one held. */
static void bury(struct seg *seg, uint32_t worker, pid_t pid, struct account *account)
{
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	for (int i = 0; i < 64; i++) {
		uint64_t holder = worker + 1;

		(void)shm_cas(&account->holder[i], &holder, 0);
	}
	worker_reap(seg, worker, 0);
}

static struct account *account_make(void)
{
	void *mem = mmap(NULL, sizeof(struct account), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(mem != MAP_FAILED);
	return mem;
}

Test(slots, killed_holders_leave_every_slot_free, .timeout = 60)
{
	struct seg seg = make(KILLED_WORKERS);
	const struct bucket_ref ref = seg_slots(&seg, 1, KILLED_SLOTS, 0);
	struct account *account = account_make();
	const unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid() << 16;
	pid_t pids[KILLED_WORKERS];

	printf("slots: seed %u\n", seed);
	srand(seed);
	for (uint32_t i = 0; i < KILLED_WORKERS; i++)
		pids[i] = start(&seg, ref, i, 1, account);
	for (uint32_t k = 0; k < KILLS; k++) {
		const uint32_t victim = (uint32_t)rand() % KILLED_WORKERS;
		const uint64_t until = shm_load(&account->taken) + (uint64_t)rand() % 200;

		while (shm_load(&account->taken) < until)
			sched_yield();
		bury(&seg, victim, pids[victim], account);
		pids[victim] = start(&seg, ref, victim, 2 + k, account);
	}
	for (uint32_t i = 0; i < KILLED_WORKERS; i++)
		bury(&seg, i, pids[i], account);
	cr_assert_eq(shm_load(&account->twice), 0);
	for (uint32_t i = 0; i < KILLED_SLOTS; i++)
		cr_assert_eq(slots_word(&seg, ref.bucket, i), 0);
	enter(&seg, 0, 1);
	cr_assert_eq(room(&seg, ref, &whole, NOW), KILLED_SLOTS);
	seg_verify(&seg, NOW, true);
}
