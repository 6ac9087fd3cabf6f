/*
 * tests/test_index.c - one identity, one record; killed inserters lose nothing
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "shm/bucket.h"
#include "shm/worker.h"
#include "support_seg.h"

#define NOW TICKS_PER_SEC

static struct bucket_spec spec_of(uint64_t id)
{
	return (struct bucket_spec){
		.identity = {{id * UINT64_C(0x9e3779b97f4a7c15) + 1, id}},
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(10, 1000000000, 10),
		.state = {NOW},
		.names = {"crm/rate", "acme"},
	};
}

static uint64_t linked(const struct seg *seg)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < seg->n_buckets; i++)
		n += shm_load(&seg->cold[i].owner) == COLD_LINKED;
	return n;
}

Test(index, inserted_is_found_and_nothing_else)
{
	struct seg seg = seg_make(1000, 1);
	struct bucket_ref first[500], again;

	for (uint64_t id = 0; id < 500; id++) {
		const struct bucket_spec spec = spec_of(id);

		cr_assert_eq(index_find(&seg, spec.identity, &again), INDEX_ABSENT);
		cr_assert_eq(index_insert(&seg, 0, &spec, &first[id]), INDEX_FOUND);
	}
	for (uint64_t id = 0; id < 500; id++) {
		const struct bucket_spec spec = spec_of(id);

		cr_assert_eq(index_insert(&seg, 0, &spec, &again), INDEX_FOUND);
		cr_assert_eq(memcmp(&again, &first[id], sizeof(again)), 0);
	}
	cr_assert_eq(linked(&seg), 500);
	seg_verify(&seg, NOW, true);
}

Test(index, full_is_said_and_counted)
{
	struct seg seg = seg_make(10, 1);
	struct bucket_spec spec;
	struct bucket_ref ref;

	for (uint64_t id = 0; id < 10; id++) {
		spec = spec_of(id);
		cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FOUND);
	}
	spec = spec_of(10);
	cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FULL);
	cr_assert_eq(seg.control->full, 1);
	spec = spec_of(3);
	cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FOUND, "what is there stays");
	seg_verify(&seg, NOW, true);
}

Test(index, chains_are_bounded)
{
	struct seg seg = seg_make(200, 1);
	struct bucket_ref ref;

	for (uint64_t id = 0; id < 64; id++) {
		struct bucket_spec spec = spec_of(id);

		spec.identity.word[0] = 256 * id; /* all in chain 0 */
		spec.identity.word[1] = id + 1;
		cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FOUND);
	}
	for (uint64_t id = 64; id < 66; id++) {
		struct bucket_spec spec = spec_of(id);

		spec.identity.word[0] = 256 * id;
		cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FULL);
	}
	cr_assert_eq(linked(&seg), 64);
	seg_verify(&seg, NOW, true);
}

/* A chain that somebody's stray write has bent into a circle, or out of the table. */
Test(index, a_bent_chain_ends_all_the_same)
{
	struct seg seg = seg_make(100, 1);
	struct bucket_spec spec = spec_of(1);
	struct bucket_ref ref, other;

	cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FOUND);
	seg.cold[ref.bucket].next = ref.bucket + 1;
	spec.identity.word[0] += 1024;
	cr_assert_eq(index_find(&seg, spec.identity, &other), INDEX_FULL);
	seg.cold[ref.bucket].next = 101;
	cr_assert_eq(index_find(&seg, spec.identity, &other), INDEX_CORRUPT);
	cr_assert_eq(index_insert(&seg, 0, &spec, &other), INDEX_CORRUPT);
}

struct found {
	shm_word record[8][2000];
};

static void insert_all(struct seg *seg, int who, void *user)
{
	struct found *found = user;

	for (uint64_t i = 0; i < 2000; i++) {
		/* Everyone inserts the same keys, half of them in the opposite order. */
		const uint64_t id = who & 1 ? i : 1999 - i;
		const struct bucket_spec spec = spec_of(id);
		struct bucket_ref ref = {0, 0};

		if (index_insert(seg, (uint32_t)who, &spec, &ref) != INDEX_FOUND)
			__builtin_trap();
		shm_store(&found->record[who][id], ref.bucket + 1);
	}
}

Test(index, processes_that_insert_the_same_keys_get_the_same_records)
{
	struct seg seg = seg_make(4000, 8);
	struct seg memory = seg_make(4096, 1);
	struct found *found = (void *)memory.hot;

	seg_race(&seg, 8, insert_all, found);
	for (int id = 0; id < 2000; id++) {
		for (int who = 1; who < 8; who++)
			cr_assert_eq(found->record[who][id], found->record[0][id]);
	}
	cr_assert_eq(linked(&seg), 2000);
	seg_verify(&seg, NOW, true);
}

/* What a kill can leave: a claim that was not taken, taken but not pushed, pushed but not said. */
Test(index, each_half_done_insert_is_recovered)
{
	struct seg seg = seg_make(100, 4);
	struct bucket_spec spec = spec_of(1);
	struct bucket_ref ref;

	seg.workers[1].claim = 50;
	index_recover(&seg, 1);
	cr_assert_eq(seg.workers[1].claim, 0);

	seg.workers[2].claim = 50;
	seg.cold[49].owner = 2 + 1;
	seg.hot[49].identity[0] = 99;
	seg_verify(&seg, NOW, false);
	index_recover(&seg, 2);
	cr_assert_eq(seg.cold[49].owner, COLD_FREE);
	seg_verify(&seg, NOW, true);

	cr_assert_eq(index_insert(&seg, 3, &spec, &ref), INDEX_FOUND);
	seg.workers[3].claim = ref.bucket + 1;
	seg.cold[ref.bucket].owner = 3 + 1;
	worker_reap(&seg, 3, 0);
	cr_assert_eq(seg.cold[ref.bucket].owner, COLD_LINKED);
	seg_verify(&seg, NOW, true);

	seg.workers[1].claim = 1000; /* a stray write */
	index_recover(&seg, 1);
	seg_verify(&seg, NOW, true);
}
