/*
 * shm/check.c - is all of it still as it must be?
 * SPDX-License-Identifier: MIT
 */
#include "shm/check.h"

#include "shm/bucket.h"
#include "shm/event.h"
#include "shm/gate.h"
#include "shm/index.h"
#include "shm/names.h"
#include "shm/queue.h"
#include "shm/reclaim.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/view.h"
#include "shm/window.h"
#include "shm/worker.h"

struct walk {
	const struct seg *seg;
	uint64_t now;
	bool quiet;
	seg_problem *report;
	void *user;
	unsigned problems;
	uint64_t linked; /* live records that chains hold */
};

static void problem(struct walk *walk, const char *what, uint32_t where)
{
	walk->problems++;
	if (walk->report)
		walk->report(walk->user, what, where);
}

static void check_header(struct walk *walk)
{
	struct seg again;

	if (seg_open(walk->seg->base, walk->seg->size, &again) != SEG_OK ||
	    again.n_buckets != walk->seg->n_buckets || again.n_workers != walk->seg->n_workers)
		problem(walk, "the header does not describe this segment", 0);
}

/* Every record of a chain belongs to it, and the chain ends. */
static void check_chain(struct walk *walk, uint32_t head)
{
	const struct seg *seg = walk->seg;
	uint32_t next = (uint32_t)shm_load(&seg->heads[head]);
	uint32_t length = 0;

	for (; next != 0 && length <= SEG_CHAIN_MAX; length++) {
		const uint32_t bucket = next - 1;

		if (bucket >= seg->n_buckets) {
			problem(walk, "a chain leaves the table", head);
			return;
		}
		if ((shm_load(&seg->hot[bucket].identity[0]) & (seg->n_heads - 1)) != head)
			problem(walk, "a record stands in another's chain", bucket);
		walk->linked += !reclaim_is_dead(&seg->hot[bucket]);
		next = shm_half_load(&seg->cold[bucket].next);
	}
	if (length > SEG_CHAIN_MAX)
		problem(walk, "a chain does not end", head);
}

static void check_names(struct walk *walk, uint32_t bucket)
{
	for (int i = 0; i < 6; i++) {
		if (!names_valid(walk->seg, shm_half_load(&walk->seg->cold[bucket].names[i])))
			problem(walk, "a record refers to what is no name", bucket);
	}
}

/* What the words of a record may be, its kind says. Which window it is now nobody here knows. */
static void check_state(struct walk *walk, uint32_t bucket)
{
	const struct seg_hot *hot = &walk->seg->hot[bucket];

	switch (KIND_OF(shm_half_load(&hot->kind))) {
	case KIND_BUCKET:
		if (!bucket_plausible(hot, walk->now))
			problem(walk, "a bucket holds an impossible time or numbers", bucket);
		break;
	case KIND_WINDOW:
		if (!window_plausible(hot, UINT64_MAX, walk->now))
			problem(walk, "a window holds impossible words or numbers", bucket);
		break;
	case KIND_ROLLING:
		if (!rolling_plausible(walk->seg, bucket, walk->now))
			problem(walk, "a rolling limit holds impossible words or numbers", bucket);
		break;
	case KIND_SLOTS:
		if (!slots_plausible(walk->seg, bucket))
			problem(walk, "slots are held by nobody who could hold them", bucket);
		break;
	case KIND_VIEW:
		if (!view_plausible(walk->seg, bucket, walk->now))
			problem(walk, "what a vendor told is of another life or time", bucket);
		break;
	case KIND_GATE:
		if (!gate_plausible(walk->seg, bucket, walk->now))
			problem(walk, "a gate is closed until an impossible time", bucket);
		break;
	default:
		problem(walk, "a linked record is of no known kind", bucket);
	}
}

static void check_linked(struct walk *walk, uint32_t bucket)
{
	const struct seg_hot *hot = &walk->seg->hot[bucket];
	struct hash128 identity = {
		{shm_load(&hot->identity[0]), shm_load(&hot->identity[1])},
	};
	struct bucket_ref found = {0, 0};

	if (index_find(walk->seg, identity, &found) != INDEX_FOUND || found.bucket != bucket)
		problem(walk, "a linked record is not what its identity leads to", bucket);
	check_state(walk, bucket);
	if (walk->quiet)
		check_names(walk, bucket);
}

static bool claimed_by(const struct seg *seg, uint64_t owner, uint32_t bucket)
{
	const uint64_t slot = owner - 1;

	return slot < seg->n_workers && shm_load(&seg->workers[slot].claim) == bucket + 1;
}

static void check_record(struct walk *walk, uint32_t bucket, uint64_t *linked)
{
	const shm_word *word = &walk->seg->cold[bucket].owner;
	const uint64_t owner = shm_load(word);

	/* A dead one is neither here nor there: whoever ended its life was stopped or killed; the next patrol goes on. */
	if (owner == COLD_LINKED && reclaim_is_dead(&walk->seg->hot[bucket]))
		return;
	if (owner == COLD_LINKED) {
		++*linked;
		check_linked(walk, bucket);
	} else if (owner != COLD_FREE && !claimed_by(walk->seg, owner, bucket) &&
		   shm_load(word) == owner) { /* not just being linked */
		problem(walk, "a record is claimed by nobody who says so", bucket);
	} else if (owner != COLD_FREE && walk->quiet) {
		problem(walk, "a record is still being made", bucket);
	}
}

static void check_worker(struct walk *walk, uint32_t slot)
{
	const struct seg_worker *worker = &walk->seg->workers[slot];
	const uint64_t identity = shm_load(&worker->identity);

	if (identity != 0 && worker_slot(identity) != slot)
		problem(walk, "a worker's line holds another's identity", slot);
	if (shm_load(&worker->claim) > walk->seg->n_buckets)
		problem(walk, "a worker claims a record outside the table", slot);
	if (identity == 0 && walk->quiet && !event_settled(walk->seg, slot))
		problem(walk, "an event is being written by nobody", slot);
	for (uint32_t i = 0; i < STAT_CELLS; i++) {
		const uint64_t cell = shm_load(&walk->seg->regions[slot].stat[i]);

		if ((cell >> 32 & (SEG_BUCKETS_MAX - 1)) >= walk->seg->n_buckets)
			problem(walk, "a counter is for a record outside the table", slot);
	}
}

unsigned seg_check(const struct seg *seg, uint64_t now, bool quiet, seg_problem *report, void *user)
{
	struct walk walk = {.seg = seg, .now = now, .quiet = quiet, .report = report, .user = user};
	uint64_t linked = 0;

	check_header(&walk);
	for (uint32_t i = 0; i < seg->n_heads; i++)
		check_chain(&walk, i);
	for (uint32_t i = 0; i < seg->n_buckets; i++)
		check_record(&walk, i, &linked);
	for (uint32_t i = 0; i < seg->n_workers; i++)
		check_worker(&walk, i);
	for (uint32_t i = 0; i < seg->n_queues; i++) {
		if (!queue_plausible(seg, i))
			problem(&walk, "somebody stands in line who cannot be there", i);
	}
	for (uint32_t i = 0; quiet && i < seg->n_name_heads; i++) {
		if (!names_chain_valid(seg, i))
			problem(&walk, "a chain of names is not one", i);
	}
	if (quiet && linked != walk.linked)
		problem(&walk, "chains hold other records than are linked", (uint32_t)linked);
	return walk.problems;
}
