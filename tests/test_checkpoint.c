/*
 * tests/test_checkpoint.c - what a checkpoint tells, to hosts that are switched on some time later
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "shm/gate.h"
#include "shm/learn.h"
#include "shm/saturate.h"
#include "shm/view.h"
#include "shm/window.h"
#include "support_checkpoint.h"
#include "support_policy.h"
#include "support_random.h"

TestSuite(checkpoint, .init = policy_dir_enter, .fini = policy_dir_leave);

static const int64_t monday = INT64_C(1770000000) * 1000000000;
static const char *const kinds[] = {"window/l", "rolling/l", "bucket/l"};

#define HEAD                                                                                       \
	"version: 1\nclasses: [interactive]\n"                                                     \
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\nvendors:\n"
#define LIMIT(vendor, text)                                                                        \
	"  " vendor ":\n    limits:\n      - { name: l, " text ", scope: [tenant, vendor] }\n"

static void on(struct host *h, const char *policy)
{
	host_on(h, &(struct host_start){.policy = policy, .wall = monday});
	host_look(h, true);
}

/* Switched off after a look and a checkpoint, and on again some time later. */
static struct host again_with(struct host *h, const struct image *image, const char *policy,
			      uint64_t elapsed)
{
	struct host next;

	host_on(&next, &(struct host_start){.policy = policy,
					    .wall = h->wall + (int64_t)elapsed,
					    .image = image,
					    .elapsed = elapsed});
	return next;
}

static struct image save_and_look(struct host *h)
{
	host_look(h, true);
	return host_save(h);
}

static void drop(struct image *image)
{
	free(image->data);
	image->data = NULL;
}

/* --- kinds --- */

Test(checkpoint, what_was_used_is_and_98_percent_of_the_rest_can_be)
{
	static const uint64_t amounts[] = {0, 1, 300, 500, 750, 980, 999, 1000, 1200};

	for (size_t k = 0; k < 3; k++) {
		for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++) {
			const uint64_t used = amounts[i], left = minus(1000, used);
			struct image image;
			struct host h, next;
			uint64_t now;

			on(&h, host_policy);
			host_use(&h, kinds[k], "acme", used);
			image = save_and_look(&h);
			next = again_with(&h, &image, host_policy, 0);
			now = minus(1000, host_used(&next, kinds[k], "acme"));
			cr_expect(now <= left, "%s: %lu of %lu", kinds[k], now, left);
			cr_expect(now + 1 >= left || now * 100 >= left * 98, "%s: %lu of %lu",
				  kinds[k], now, left);
			/* Somebody else's is as it was. */
			cr_expect_eq(host_used(&next, kinds[k], "other"), 0);
			drop(&image);
			host_off(&h);
			host_off(&next);
		}
	}
}

Test(checkpoint, time_gives_back_what_it_would_have)
{
	static const char policy[] = HEAD LIMIT("window", "kind: window, period: 1h, amount: 1000")
		LIMIT("rolling", "kind: rolling, period: 1h, amount: 1000")
			LIMIT("bucket", "rate: 1000/h, burst: 1000");

	seed(20261123);
	for (int round = 0; round < 300; round++) {
		const char *limit = kinds[below(3)];
		struct image image;
		struct host h, next;
		uint64_t before, after, elapsed;

		on(&h, policy);
		for (uint64_t i = below(20); i > 0; i--) {
			host_use(&h, limit, "acme", below(60));
			host_pass(&h, SECONDS(below(300)));
		}
		image = save_and_look(&h);
		elapsed = SECONDS(below(4000));
		next = again_with(&h, &image, policy, elapsed);
		host_pass(&h, elapsed);
		before = host_used(&h, limit, "acme");
		after = host_used(&next, limit, "acme");
		cr_assert(after >= before, "%s: %lu, was %lu, seed %lu round %d", limit, after,
			  before, seed_used, round);
		/* A cell of a rolling period ends later by less than one. */
		host_pass(&h, 0);
		if (strcmp(limit, "rolling/l") != 0)
			cr_assert(after <= before + 11, "%s: %lu, was %lu", limit, after, before);
		host_pass(&next, SECONDS(3600 + 130));
		cr_assert_leq(host_used(&next, limit, "acme"), 10, "%s: for ever", limit);
		drop(&image);
		host_off(&h);
		host_off(&next);
	}
}

Test(checkpoint, rolling_cells_end_one_by_one)
{
	static const char policy[] =
		HEAD LIMIT("rolling", "kind: rolling, period: 28min, amount: 1000");
	struct image image;
	struct host h, next;

	on(&h, policy);
	for (int i = 0; i < 20; i++) {
		host_use(&h, "rolling/l", "acme", 40);
		host_pass(&h, SECONDS(60));
	}
	image = save_and_look(&h);
	next = again_with(&h, &image, policy, SECONDS(5));
	cr_expect_eq(host_used(&next, "rolling/l", "acme"), 800 + 4);
	host_pass(&next, SECONDS(15 * 60));
	cr_expect_leq(host_used(&next, "rolling/l", "acme"), 800 + 4 - 4 * 40);
	cr_expect_geq(host_used(&next, "rolling/l", "acme"), 800 - 8 * 40);
	drop(&image);
	host_off(&h);
	host_off(&next);
}

/* Its horizon is a second. */
Test(checkpoint, what_is_as_good_as_new_by_then_is_not_saved)
{
	struct image image;
	struct host h;
	struct checkpoint_file file;

	on(&h, host_policy);
	host_use(&h, "quick/l", "acme", 50);
	image = save_and_look(&h);
	cr_assert_null(checkpoint_open(image.data, image.size, &file));
	cr_expect_eq(file.header->n_entries, 0);
	cr_expect_eq(file.header->n_limits, 4);
	drop(&image);
	host_off(&h);
}

/* --- clocks --- */

Test(checkpoint, a_clock_that_is_behind_gives_nothing_back)
{
	static const char policy[] = HEAD LIMIT("window", "kind: window, period: 1h, amount: 1000")
		LIMIT("rolling", "kind: rolling, period: 1h, amount: 1000")
			LIMIT("bucket", "rate: 1000/h, burst: 1000");

	for (int64_t hours = 1; hours < 24 * 365 * 20; hours *= 7) {
		for (size_t k = 0; k < 3; k++) {
			struct image image;
			struct host h, next;

			on(&h, policy);
			host_use(&h, kinds[k], "acme", 600);
			image = save_and_look(&h);
			host_on(&next, &(struct host_start){
					       .policy = policy,
					       .wall = h.wall - hours * 3600000000000,
					       .image = &image,
				       });
			cr_expect_geq(host_used(&next, kinds[k], "acme"), 600, "%s, %ld h",
				      kinds[k], hours);
			/* The clock is put right, and it is so still. */
			next.wall = h.wall;
			cr_expect_geq(host_used(&next, kinds[k], "acme"), 600, "%s, %ld h",
				      kinds[k], hours);
			drop(&image);
			host_off(&h);
			host_off(&next);
		}
	}
}

Test(checkpoint, years_later_all_is_there_again)
{
	for (size_t k = 0; k < 3; k++) {
		struct image image;
		struct host h, next;

		on(&h, host_policy);
		host_use(&h, kinds[k], "acme", 1000);
		image = save_and_look(&h);
		next = again_with(&h, &image, host_policy, SECONDS(3600 * 24 * 365 * 30ull));
		cr_expect_leq(host_used(&next, kinds[k], "acme"), 10);
		drop(&image);
		host_off(&h);
		host_off(&next);
	}
}

/* --- policies that changed meanwhile --- */

Test(checkpoint, units_stay_units_under_other_numbers)
{
	static const char larger[] =
		HEAD LIMIT("window", "kind: window, period: 300d, amount: 5000")
			LIMIT("rolling", "kind: rolling, period: 300d, amount: 5000")
				LIMIT("bucket", "rate: 7/h, burst: 5000");
	static const char smaller[] =
		HEAD LIMIT("window", "kind: window, period: 300d, amount: 100")
			LIMIT("rolling", "kind: rolling, period: 300d, amount: 100")
				LIMIT("bucket", "rate: 1/h, burst: 100");

	for (size_t k = 0; k < 3; k++) {
		struct image image;
		struct host h, more, fewer;
		uint64_t used;

		on(&h, host_policy);
		host_use(&h, kinds[k], "acme", 500);
		image = save_and_look(&h);
		more = again_with(&h, &image, larger, 0);
		used = host_used(&more, kinds[k], "acme");
		cr_expect(used >= 500 && used <= 512, "%s: %lu", kinds[k], used);
		fewer = again_with(&h, &image, smaller, 0);
		cr_expect_geq(host_used(&fewer, kinds[k], "acme"), 100, "%s", kinds[k]);
		drop(&image);
		host_off(&h);
		host_off(&more);
		host_off(&fewer);
	}
}

Test(checkpoint, a_limit_that_counts_otherwise_begins_spent)
{
	static const char other[] =
		HEAD LIMIT("window", "kind: rolling, period: 300d, amount: 1000")
			LIMIT("rolling", "kind: rolling, period: 200d, amount: 1000")
				LIMIT("bucket", "kind: window, period: 300d, amount: 1000");

	for (size_t k = 0; k < 3; k++) {
		struct image image, second;
		struct host h, next, third;
		struct restore counts;

		on(&h, host_policy);
		host_use(&h, kinds[k], "acme", 10);
		image = save_and_look(&h);
		host_on(&next, &(struct host_start){.policy = other,
						    .wall = h.wall,
						    .image = &image,
						    .ret_restore = &counts});
		cr_expect_eq(counts.unknown, 1);
		/* Nobody has used it yet; it is so after one more power cut, too. */
		second = save_and_look(&next);
		third = again_with(&next, &second, other, SECONDS(100));
		host_use(&next, kinds[k], "new", 0);
		host_use(&third, kinds[k], "new", 0);
		cr_expect_geq(host_used(&next, kinds[k], "new"), 1000, "%s", kinds[k]);
		cr_expect_geq(host_used(&third, kinds[k], "new"), 1000, "%s", kinds[k]);
		drop(&image);
		drop(&second);
		host_off(&h);
		host_off(&next);
		host_off(&third);
	}
}

Test(checkpoint, after_its_horizon_it_begins_as_new)
{
	static const char other[] =
		HEAD LIMIT("window", "kind: rolling, period: 300d, amount: 1000");
	struct image image;
	struct host h, next;

	on(&h, host_policy);
	host_use(&h, "window/l", "acme", 10);
	image = save_and_look(&h);
	next = again_with(&h, &image, other, SECONDS(86400 * 601ull));
	host_use(&next, "window/l", "acme", 0);
	cr_expect_eq(host_used(&next, "window/l", "acme"), 0);
	drop(&image);
	host_off(&h);
	host_off(&next);
}

Test(checkpoint, numbers_of_a_tenant_are_his)
{
	static const char policy[] =
		HEAD LIMIT("bucket", "rate: 1/h, burst: 1000") "tenants:\n  rich: { bucket: { l: { "
							       "rate: 10/h, burst: 50000 } } }\n";
	struct image image;
	struct host h, next;

	on(&h, policy);
	host_use(&h, "bucket/l", "rich", 30000);
	image = save_and_look(&h);
	next = again_with(&h, &image, policy, 0);
	cr_expect_geq(host_used(&next, "bucket/l", "rich"), 30000);
	cr_expect_leq(host_used(&next, "bucket/l", "rich"), 30000 + 401);
	drop(&image);
	host_off(&h);
	host_off(&next);
}

/* --- what is no limit --- */

static const char *const gate_field[KEY_FIELDS] = {"acme", "window", "", "", ""};
#define GATE_SCOPE (RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR)

static uint64_t blocked_until(const struct host *h)
{
	struct bucket_ref gate;

	if (index_find(&h->seg, client_gate_identity(&h->policy.blob, GATE_SCOPE, gate_field),
		       &gate) != INDEX_FOUND)
		return 0;
	return GATE_WHEN(shm_load(&h->seg.hot[gate.bucket].state[0]));
}

Test(checkpoint, a_block_lasts_as_long_as_it_was_to)
{
	struct bucket_ref gate;
	struct image image;
	struct host h, next, later;

	on(&h, host_policy);
	cr_assert_eq(
		client_gate_make(&h.seg, 1, &h.policy.blob, GATE_SCOPE, gate_field, h.now, &gate),
		INDEX_FOUND);
	cr_assert(gate_block(&h.seg, gate,
			     &(struct gate_block){.until = h.now + 1000 * TICKS_PER_SEC,
						  .why = GATE_WHY_OPERATOR}));
	image = save_and_look(&h);
	next = again_with(&h, &image, host_policy, SECONDS(300));
	cr_expect_leq(blocked_until(&next) - next.now, 701 * TICKS_PER_SEC);
	cr_expect_geq(blocked_until(&next) - next.now, 699 * TICKS_PER_SEC);
	cr_expect_eq(shm_half_load(&next.seg.control->gates), 1, "everybody is told");
	later = again_with(&h, &image, host_policy, SECONDS(1001));
	cr_expect_eq(blocked_until(&later), 0);
	drop(&image);
	host_off(&h);
	host_off(&next);
	host_off(&later);
}

Test(checkpoint, what_a_vendor_taught_is_known_still)
{
	const char *const field[KEY_FIELDS] = {"acme", "window", "", "", ""};
	struct learn_pace pace;
	struct bucket_ref bucket, view;
	struct hash128 identity;
	struct image image;
	struct host h, next;
	uint64_t word, limit;

	on(&h, host_policy);
	host_use(&h, "window/l", "acme", 10);
	cr_assert(host_find(&h, "window/l", "acme", &bucket));
	limit = published_limit(&h.policy, "window/l");
	pace = learn_pace_of(&h.policy.blob.limits[limit].numbers, false);
	identity = client_identity(&h.policy.blob, (uint32_t)limit, field);
	cr_assert_eq(client_view_make(&h.seg, 1, &h.policy.blob, (uint32_t)limit, field, identity,
				      h.now, &view),
		     INDEX_FOUND);
	word = learn_cut(0, h.now, &pace);
	view_tell(&h.seg, view, VIEW_LIMIT, 801);
	view_tell(&h.seg, view, VIEW_LEARNED, word);
	host_pass(&h, SECONDS(60));
	image = save_and_look(&h);
	next = again_with(&h, &image, host_policy, SECONDS(600));
	host_pass(&h, SECONDS(600));
	identity = client_identity(&next.policy.blob, (uint32_t)limit, field);
	cr_assert_eq(index_find(&next.seg, view_identity(identity), &view), INDEX_FOUND);
	cr_expect_eq(view_value(&next.seg, view, VIEW_LIMIT), 801);
	cr_expect_lt(learn_share(word, h.now, &pace), LEARN_ALL);
	cr_expect_eq(learn_share(view_value(&next.seg, view, VIEW_LEARNED), next.now, &pace),
		     learn_share(word, h.now, &pace));
	cr_expect_eq(shm_load(&next.seg.control->learned), 1, "it is to be looked at");
	drop(&image);
	host_off(&h);
	host_off(&next);
}

/* --- marks --- */

/* So many in all that half of what is ahead is used: then it is due, and not before. */
Test(checkpoint, the_next_one_is_due_before_a_mark_is_reached)
{
	for (size_t k = 0; k < 3; k++) {
		struct image image;
		struct host h;

		on(&h, host_policy);
		host_use(&h, kinds[k], "acme", 100);
		image = save_and_look(&h);
		drop(&image);
		cr_expect(h.marks.due, "%s: the one before the last has nothing of it", kinds[k]);
		image = save_and_look(&h);
		drop(&image);
		host_look(&h, false);
		cr_expect(!h.marks.moved && !h.marks.due, "%s", kinds[k]);
		host_use(&h, kinds[k], "acme", 4);
		host_look(&h, false);
		cr_expect(h.marks.moved && !h.marks.due, "%s", kinds[k]);
		host_use(&h, kinds[k], "acme", 3);
		host_look(&h, false);
		cr_expect(h.marks.due, "%s", kinds[k]);
		host_off(&h);
	}
}

/*
 * What is on disk is never less than what was used, as long as use between two looks is less than half of what is ahead: at any
 * time, by the last file, and by the one before it where that is all there is.
 */
Test(checkpoint, even_use_never_gets_past_what_is_on_disk)
{
	seed(42);
	for (int round = 0; round < 9; round++) {
		const char *limit = kinds[round % 3];
		struct image last, before;
		struct host h, next;
		uint64_t used = below(900);

		on(&h, host_policy);
		host_use(&h, limit, "acme", used);
		before = save_and_look(&h);
		last = save_and_look(&h);
		while (used < 1000) {
			host_use(&h, limit, "acme", 1);
			used++;
			/* Half of it is at least one. */
			host_look(&h, false);
			host_pass(&h, SECONDS(1) / 50);
			for (int far = 0; far < 2 && below(20) == 0; far++) {
				host_on(&next, &(struct host_start){.policy = host_policy,
								    .wall = h.wall,
								    .image = far ? &before : &last,
								    .elapsed = SECONDS(1) / 50,
								    .far = far});
				cr_assert_geq(host_used(&next, limit, "acme"), used,
					      "%s, %d, seed %lu round %d", limit, far, seed_used,
					      round);
				host_off(&next);
			}
			while (h.marks.due) {
				drop(&before);
				before = last;
				last = host_save(&h);
			}
		}
		drop(&before);
		drop(&last);
		host_off(&h);
	}
}

Test(checkpoint, use_that_goes_on_fast_is_expected_to_and_forgotten_when_it_ends)
{
	struct image image;
	struct host h, next;

	on(&h, host_policy);
	for (int i = 0; i < 5; i++) {
		host_use(&h, "window/l", "acme", 30);
		host_look(&h, false);
		host_pass(&h, SECONDS(1) / 50);
	}
	image = host_save(&h);
	next = again_with(&h, &image, host_policy, 0);
	cr_expect_geq(host_used(&next, "window/l", "acme"), 150 + 60, "two looks more are covered");
	drop(&image);
	host_off(&next);
	for (int i = 0; i < 10; i++)
		host_look(&h, false);
	cr_expect(h.marks.moved, "the mark is too far ahead now");
	image = host_save(&h);
	next = again_with(&h, &image, host_policy, 0);
	cr_expect_leq(host_used(&next, "window/l", "acme"), 150 + 10);
	drop(&image);
	host_off(&next);
	host_off(&h);
}

Test(checkpoint, what_cannot_be_written_stays_due)
{
	const struct marks_at *at;
	struct host h;

	on(&h, host_policy);
	host_use(&h, "window/l", "acme", 100);
	host_look(&h, false);
	at = &(const struct marks_at){&h.seg, &h.policy, h.now, h.wall};
	for (int i = 0; i < 3; i++) {
		struct checkpoint_draft draft;

		cr_expect(h.marks.due);
		checkpoint_begin(&draft, &h.policy, h.now);
		marks_save(&h.marks, at, &draft, 2);
		checkpoint_discard(&draft);
		marks_lost(&h.marks);
	}
	host_off(&h);
}

/* Names are anybody's to write: a record whose names are another's is nobody's. */
Test(checkpoint, a_record_is_believed_only_if_its_names_give_its_identity)
{
	struct checkpoint_file file;
	struct bucket_ref acme, other;
	struct image image;
	struct host h;

	on(&h, host_policy);
	host_use(&h, "window/l", "acme", 10);
	host_use(&h, "window/l", "other", 20);
	cr_assert(host_find(&h, "window/l", "acme", &acme) &&
		  host_find(&h, "window/l", "other", &other));
	shm_half_store(&h.seg.cold[acme.bucket].names[NAME_TENANT],
		       shm_half_load(&h.seg.cold[other.bucket].names[NAME_TENANT]));
	image = save_and_look(&h);
	cr_assert_null(checkpoint_open(image.data, image.size, &file));
	cr_assert_eq(file.header->n_entries, 1);
	cr_expect_str_eq(checkpoint_text(&file, file.entries[0].field[KEY_TENANT]), "other");
	drop(&image);
	marks_free(&h.marks);
	published_free(&h.policy);
}
