/*
 * shm/index.c - from an identity to its one bucket
 * SPDX-License-Identifier: MIT
 */
#include "shm/index.h"

#include "shm/bucket.h"
#include "shm/extent.h"
#include "shm/list.h"
#include "shm/names.h"

static shm_word *head_of(const struct seg *seg, struct hash128 identity)
{
	return &seg->heads[identity.word[0] & (seg->n_heads - 1)];
}

/* Acquire, so that the tag is not loaded before what it vouches for. */
static bool is_live(const struct seg_hot *hot, struct hash128 identity)
{
	return shm_load(&hot->identity[0]) == identity.word[0] &&
	       shm_load(&hot->identity[1]) == identity.word[1] &&
	       shm_load(&hot->state[0]) != RECORD_DEAD;
}

/*
 * Search one chain from `next` on. ABSENT writes nothing. What it says counts if the chain's tag is still what it was
 * when `next` was loaded.
 */
static enum index_result search(const struct seg *seg, uint32_t next, struct hash128 identity,
				struct bucket_ref *ret_ref)
{
	for (uint32_t i = 0; i < SEG_CHAIN_MAX; i++) {
		uint32_t bucket = next - 1;

		if (next == 0)
			return INDEX_ABSENT;
		if (bucket >= seg->n_buckets)
			return INDEX_CORRUPT;
		if (is_live(&seg->hot[bucket], identity)) {
			ret_ref->bucket = bucket;
			ret_ref->generation = shm_half_load(&seg->hot[bucket].generation);
			return INDEX_FOUND;
		}
		next = shm_half_load(&seg->cold[bucket].next);
	}
	return INDEX_FULL; /* as long as a chain may be, or a circle */
}

/* How often a search is repeated because a record left the chain meanwhile. */
#define SEARCHES 16

enum index_result index_find(const struct seg *seg, struct hash128 identity,
			     struct bucket_ref *ret_ref)
{
	const shm_word *head = head_of(seg, identity);

	for (int i = 0; i < SEARCHES; i++) {
		/* Pairs with the push: a record that a head names is completely filled in. */
		const uint64_t first = shm_load(head);
		struct bucket_ref found;
		const enum index_result result = search(seg, list_first(first), identity, &found);

		if (!list_same_tag(head, first))
			continue;
		if (result == INDEX_FOUND)
			*ret_ref = found;
		return result;
	}
	return INDEX_AGAIN;
}

/*
 * Take a free record. It is named in the worker's line before it is taken, so that a kill at any
 * point leaves either nothing or something that index_recover() finds.
 */
static bool claim_one(struct seg *seg, uint32_t slot, uint32_t bucket)
{
	uint64_t owner = COLD_FREE;

	if (shm_load_relaxed(&seg->cold[bucket].owner) != COLD_FREE)
		return false;
	shm_store(&seg->workers[slot].claim, bucket + 1);
	return shm_cas(&seg->cold[bucket].owner, &owner, slot + 1);
}

static enum index_result claim_record(struct seg *seg, uint32_t slot, uint32_t *ret_bucket)
{
	struct seg_control *control = seg->control;
	const uint64_t freed = shm_load(&control->freed);
	const uint64_t hint = shm_add(&control->bucket_hint, 1);
	uint32_t bucket = (uint32_t)(hint % seg->n_buckets);

	if (shm_load_relaxed(&control->exhausted) != freed + 1) {
		for (uint32_t i = 0; i < seg->n_buckets; i++) {
			if (claim_one(seg, slot, bucket)) {
				/* Spare the next one the walk; any value of a hint will do. */
				shm_store_relaxed(&control->bucket_hint, bucket + 1);
				*ret_bucket = bucket;
				return INDEX_FOUND;
			}
			bucket = bucket + 1 < seg->n_buckets ? bucket + 1 : 0;
		}
		/* `freed` was loaded before the search: what became free during it is looked for. */
		shm_store_relaxed(&control->exhausted, freed + 1);
	}
	shm_store(&seg->workers[slot].claim, 0);
	shm_add(&control->full, 1);
	return INDEX_FULL;
}

static void release_record(struct seg *seg, uint32_t slot, uint32_t bucket)
{
	const uint64_t extent = shm_load_relaxed(&seg->hot[bucket].state[3]);

	extent_free(seg, bucket, (uint32_t)(extent >> 32), (uint32_t)extent);
	shm_store(&seg->hot[bucket].identity[0], 0);
	shm_store(&seg->hot[bucket].identity[1], 0);
	shm_store(&seg->cold[bucket].owner, COLD_FREE);
	shm_add(&seg->control->freed, 1);
	shm_store(&seg->workers[slot].claim, 0);
}

/* False: no room. Killed in between, index_recover() frees lines that carry the record's name. */
static bool claim_extent(struct seg *seg, uint32_t bucket, const struct bucket_spec *spec,
			 uint64_t *ret_state)
{
	uint32_t first;

	shm_store_relaxed(&seg->hot[bucket].state[3], 0);
	*ret_state = spec->state[0];
	if (spec->extent_lines == 0)
		return true;
	if (!extent_claim(seg, bucket, spec->extent_lines, &first))
		return false;
	shm_store_relaxed(&seg->hot[bucket].state[3], extent_word(first, spec->extent_lines));
	*ret_state = spec->fill(seg, bucket, first, spec->user);
	return true;
}

/* Nobody else can see the record yet. state: the first value of state[0]. */
static void fill_record(struct seg *seg, uint32_t bucket, const struct bucket_spec *spec,
			uint64_t state)
{
	struct seg_hot *hot = &seg->hot[bucket];
	struct seg_cold *cold = &seg->cold[bucket];

	names_give(seg, bucket, spec->names);
	shm_half_store(&cold->scope, spec->scope);
	shm_store_relaxed(&cold->admitted, 0);
	shm_store_relaxed(&cold->denied, 0);
	shm_store_relaxed(&cold->max_debt, spec->max_debt);
	shm_half_store(&hot->kind, spec->kind);
	shm_store_relaxed(&hot->numbers, spec->numbers);
	/* The refund sum of a token bucket goes on from whatever it was; what has an extent is filled in with it. */
	if (spec->kind != KIND_BUCKET && spec->extent_lines == 0)
		shm_store_relaxed(&hot->state[1], spec->state[1]);
	shm_store_relaxed(&hot->state[2], spec->state[2]);
	/* Release: whoever stands here from an earlier life and sees them sees the tag of its end too. */
	shm_store(&hot->identity[0], spec->identity.word[0]);
	shm_store(&hot->identity[1], spec->identity.word[1]);
	shm_store(&hot->state[0], state);
}

static void link_done(struct seg *seg, uint32_t slot, uint32_t bucket)
{
	shm_store(&seg->cold[bucket].owner, COLD_LINKED);
	shm_store(&seg->workers[slot].claim, 0);
}

/* `bucket` is claimed and filled. Push it, unless somebody pushed the same identity first. */
static enum index_result push(struct seg *seg, uint32_t slot, uint32_t bucket,
			      struct hash128 identity, struct bucket_ref *ret_ref)
{
	shm_word *head = head_of(seg, identity);
	uint64_t first = shm_load(head);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_ref found = {bucket, shm_half_load(&seg->hot[bucket].generation)};
		const uint64_t before = first;
		enum index_result result = search(seg, list_first(first), identity, &found);

		if (result == INDEX_ABSENT) {
			shm_half_store(&seg->cold[bucket].next, list_first(first));
			/* The tag is compared too: it fails if the search was led astray. */
			if (!shm_cas(head, &first, list_with(first, bucket + 1)))
				continue;
			link_done(seg, slot, bucket);
			*ret_ref = found;
			return INDEX_FOUND;
		}
		first = shm_load(head);
		if ((first ^ before) >> 32 != 0)
			continue;
		release_record(seg, slot, bucket);
		if (result == INDEX_FOUND)
			*ret_ref = found;
		return result;
	}
	release_record(seg, slot, bucket);
	return INDEX_AGAIN;
}

enum index_result index_insert(struct seg *seg, uint32_t slot, const struct bucket_spec *spec,
			       struct bucket_ref *ret_ref)
{
	enum index_result result = index_find(seg, spec->identity, ret_ref);
	uint64_t state;
	uint32_t bucket;

	if (result != INDEX_ABSENT)
		return result;
	result = claim_record(seg, slot, &bucket);
	if (result != INDEX_FOUND) {
		/* Whoever took the last record may have taken it for the same identity. */
		return index_find(seg, spec->identity, ret_ref) == INDEX_FOUND ? INDEX_FOUND
									       : result;
	}
	/* Pairs with reclaim_begin(): what earlier lives of this record counted is older than the horizon. */
	if (spec->now < shm_load(&seg->control->horizon)) {
		release_record(seg, slot, bucket);
		return INDEX_AGAIN;
	}
	if (!claim_extent(seg, bucket, spec, &state)) {
		release_record(seg, slot, bucket);
		return INDEX_FULL;
	}
	fill_record(seg, bucket, spec, state);
	return push(seg, slot, bucket, spec->identity, ret_ref);
}

void index_recover(struct seg *seg, uint32_t slot)
{
	const uint64_t claim = shm_load(&seg->workers[slot].claim);
	const uint64_t bucket = claim - 1;
	struct bucket_ref found = {0, 0};
	struct hash128 identity;

	if (claim == 0 || bucket >= seg->n_buckets ||
	    shm_load(&seg->cold[bucket].owner) != slot + 1) {
		shm_store(&seg->workers[slot].claim, 0);
		return;
	}
	identity.word[0] = shm_load(&seg->hot[bucket].identity[0]);
	identity.word[1] = shm_load(&seg->hot[bucket].identity[1]);
	if (index_find(seg, identity, &found) == INDEX_FOUND && found.bucket == bucket) {
		link_done(seg, slot, (uint32_t)bucket);
	} else {
		/* Lines may carry its name that it could not write down any more. */
		extent_recover(seg, (uint32_t)bucket);
		release_record(seg, slot, (uint32_t)bucket);
	}
}

bool index_unlink(struct seg *seg, uint32_t bucket)
{
	const struct list chain = {
		.head = &seg->heads[shm_load(&seg->hot[bucket].identity[0]) & (seg->n_heads - 1)],
		.next = &seg->cold[0].next,
		.count = seg->n_buckets,
	};

	return list_remove(&chain, bucket);
}
