/*
 * shm/reclaim.c - records that remember nothing become free again
 * SPDX-License-Identifier: MIT
 */
#include "shm/reclaim.h"

#include "shm/cells.h"
#include "shm/extent.h"
#include "shm/gate.h"
#include "shm/index.h"
#include "shm/rolling.h"
#include "shm/saturate.h"
#include "shm/slots.h"
#include "shm/view.h"

/* A day more than others. */
#define VIEW_KEEP (UINT64_C(86400) * TICKS_PER_SEC)

static uint64_t long_ago(const struct reclaim_rule *rule)
{
	return rule->now > rule->idle ? rule->now - rule->idle : 0;
}

/* Full, also for a larger burst. The CAS compares the refund sum too: that goes on in the next life. */
static bool end_bucket(struct seg_hot *hot, const struct reclaim_rule *rule)
{
	const uint64_t refunds = shm_load(&hot->state[1]);
	const uint64_t pair[2] = {shm_load(&hot->state[0]), refunds};
	const uint64_t dead[2] = {RECORD_DEAD, refunds};

	return pair[0] <= long_ago(rule) && !bucket_remembers(hot, rule->now) &&
	       shm_cas_pair(hot->state, pair, dead);
}

/* Both words are of windows that were over, and so is a pause that pace ordered. */
static bool end_window(struct seg_hot *hot, const struct reclaim_rule *rule)
{
	const uint64_t pair[2] = {shm_load(&hot->state[0]), shm_load(&hot->state[1])};
	const uint64_t dead[2] = {RECORD_DEAD, pair[1]};
	const unsigned bits = cells_bits_of(shm_load_relaxed(&hot->numbers));

	return pair[0] >> bits < rule->window && pair[1] >> bits < rule->window &&
	       shm_load(&hot->state[2]) <= long_ago(rule) && shm_cas_pair(hot->state, pair, dead);
}

static bool end_rolling(struct seg *seg, uint32_t bucket, const struct reclaim_rule *rule)
{
	return shm_load(&seg->hot[bucket].state[2]) <= long_ago(rule) &&
	       rolling_close(seg, bucket, long_ago(rule));
}

/*
 * Leases leave nothing behind, so there is no time to compare: it is enough that nobody has drawn lately. No word of the
 * table can be taken any more when it is said that the record is dead, so nothing races with the store.
 */
static bool end_slots(struct seg *seg, uint32_t bucket, const struct reclaim_rule *rule)
{
	if (!slots_close(seg, bucket, rule->now))
		return false;
	shm_store(&seg->hot[bucket].state[0], RECORD_DEAD);
	return true;
}

/* What was learned is information, for a while longer than an idle bucket. */
static bool end_view(struct seg *seg, uint32_t view, const struct reclaim_rule *rule)
{
	const struct bucket_ref ref = {view, shm_half_load(&seg->hot[view].generation)};
	const uint64_t keep = view_value(seg, ref, VIEW_LEARNED) ? VIEW_KEEP : 0;

	return view_close(seg, view, minus(long_ago(rule), keep));
}

/* What its breaker has counted counts for no longer than a window. */
static bool end_gate(struct seg *seg, uint32_t gate, const struct reclaim_rule *rule)
{
	return gate_close(seg, gate, least(long_ago(rule), minus(rule->now, GATE_WINDOW_MAX)));
}

static bool end_life(struct seg *seg, uint32_t bucket, uint32_t kind,
		     const struct reclaim_rule *rule)
{
	switch (kind) {
	case KIND_BUCKET:
		return end_bucket(&seg->hot[bucket], rule);
	case KIND_WINDOW:
		return end_window(&seg->hot[bucket], rule);
	case KIND_ROLLING:
		return end_rolling(seg, bucket, rule);
	case KIND_SLOTS:
		return end_slots(seg, bucket, rule);
	case KIND_VIEW:
		return end_view(seg, bucket, rule);
	case KIND_GATE:
		return end_gate(seg, bucket, rule);
	default:
		return false;
	}
}

void reclaim_begin(struct seg *seg, const struct reclaim_rule *rule)
{
	shm_word *horizon = &seg->control->horizon;
	const uint64_t held = shm_load(horizon), wanted = long_ago(rule) + 1;

	/* It never goes back, unless it is of a time that has not come. Pairs with the load in index_insert(). */
	if (held < wanted || held > rule->now + 1)
		shm_store(horizon, wanted);
}

bool reclaim_record(struct seg *seg, uint32_t bucket, const struct reclaim_rule *rule)
{
	const uint32_t kind = shm_half_load(&seg->hot[bucket].kind);

	if (reclaim_is_dead(&seg->hot[bucket]))
		return reclaim_finish(seg, bucket);
	if (KIND_WAITERS(kind) != 0 || KIND_RECENT(kind) != 0)
		return false;
	return end_life(seg, bucket, KIND_OF(kind), rule) && reclaim_finish(seg, bucket);
}

/* Only these kinds have one. The others' words may look like one. */
static void free_extent(struct seg *seg, uint32_t bucket)
{
	const uint32_t kind = KIND_OF(shm_half_load(&seg->hot[bucket].kind));
	const uint64_t extent = shm_load(&seg->hot[bucket].state[3]);

	if (kind == KIND_ROLLING || kind == KIND_SLOTS)
		extent_free(seg, bucket, (uint32_t)(extent >> 32), (uint32_t)extent);
	shm_store(&seg->hot[bucket].state[3], 0);
}

bool reclaim_finish(struct seg *seg, uint32_t bucket)
{
	struct seg_hot *hot = &seg->hot[bucket];

	if ((shm_load(&hot->identity[0]) | shm_load(&hot->identity[1])) != 0 &&
	    !index_unlink(seg, bucket))
		return false;
	shm_store(&hot->identity[1], 0);
	shm_store(&hot->identity[0], 0);
	/* Before the owner is free: whoever sees a word of the next life sees this too. */
	shm_half_store(&hot->generation, shm_half_load(&hot->generation) + 1);
	free_extent(seg, bucket);
	shm_store(&seg->cold[bucket].owner, COLD_FREE);
	shm_add(&seg->control->freed, 1);
	return true;
}
