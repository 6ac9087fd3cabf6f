/*
 * supervisor/patrol.c - once a second: is everything still as it must be?
 * SPDX-License-Identifier: MIT
 *
 * State belongs to workers that may scribble over it, and a worker that has not yet taken up a
 * newer policy may still make a bucket with older numbers. So a slice of all buckets is gone over
 * every second: words that cannot be true are put right, and numbers are compared with the policy.
 * While a worker lags behind, every bucket whose numbers carry another generation's stamp is looked
 * at every second. What is not in use any more, records and then names, is freed along the way.
 */
#include "client/client.h"
#include "shm/contest.h"
#include "shm/gate.h"
#include "shm/reclaim.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/view.h"
#include "shm/window.h"
#include "supervisor/carry.h"
#include "supervisor/supervisor.h"
#include "supervisor/tune.h"

#define PATROL_USEC UINT64_C(1000000)

/* Buckets a second: all of a default table in 16 s, at well under 1 % of a CPU. */
#define SLICE 4096u

/* And while there is no room for new ones: a tenth of a CPU. */
#define FULL_SLICE 32768u

/* Records and extent lines a second that are gone over for names: cheap, but for large tables with many of them. */
#define NAME_SLICE       32768u
#define NAME_SHORT_SLICE (8 * NAME_SLICE)

/* Stamps a second that are only looked at, while a worker lags: a few milliseconds. */
#define STAMPS (UINT32_C(1) << 20)

/*
 * How long a record must have had nothing to remember before it goes, and how long where the table is full. An upward
 * settle that comes later than that is not charged any more. Windows always stay for the longer time.
 */
#define IDLE      (UINT64_C(600) * TICKS_PER_SEC)
#define IDLE_FULL (UINT64_C(5) * TICKS_PER_SEC)

/* So much may the clocks of two time zones differ, in ns: from UTC-12 to UTC+14. */
#define ZONES_APART (INT64_C(26) * 3600 * 1000000000)

static bool stamped_now(const struct supervisor *s, uint32_t bucket)
{
	const bucket_numbers numbers = shm_load_relaxed(&s->seg.hot[bucket].numbers);

	return bucket_stamp(numbers) ==
	       bucket_stamp(bucket_restamp(numbers, (uint32_t)s->policy.blob.header->generation));
}

static void say_repaired(struct supervisor *s, uint32_t bucket, const char *what)
{
	shm_add(&s->seg.control->repaired, 1);
	s->patrol.repaired++;
	if (log_allowed(&s->problems, "problem"))
		log_event(LOG_WARNING, "repaired what=%s bucket=%u total=%llu", what, bucket,
			  (unsigned long long)s->patrol.repaired);
}

static uint64_t ticks_now(void *user)
{
	return supervisor_now(user);
}

/* Of no limit that the policy has, or under names that do not fit: nobody knows its numbers. */
static void say_corrupt(struct supervisor *s, uint32_t bucket)
{
	if (log_allowed(&s->corrupt, "corrupt"))
		log_event(LOG_WARNING, "corrupt bucket=%u", bucket);
}

/* The window that this time is in: ns since 1970. */
static uint64_t window_at(const struct supervisor *s, uint32_t limit, int64_t wall)
{
	const struct calendar calendar =
		blob_calendar(&s->policy.blob, &s->policy.blob.limits[limit]);
	struct calendar_window window;

	calendar_find(&calendar, wall, &window);
	return window.index;
}

static uint64_t cell_ticks(const struct supervisor *s, uint32_t limit)
{
	const struct blob_numbers *numbers = &s->policy.blob.limits[limit].numbers;

	return rolling_cell_ticks(numbers->period_ns, numbers->delay_ns);
}

/* limit: in the policy, or BLOB_NO_INDEX. */
static bool repair_words(struct supervisor *s, uint32_t bucket, uint32_t kind, uint32_t limit)
{
	struct seg_hot *hot = &s->seg.hot[bucket];

	switch (kind) {
	case KIND_BUCKET:
		return bucket_repair(hot, ticks_now, s);
	case KIND_WINDOW:
		return limit != BLOB_NO_INDEX &&
		       /* The latest that may have begun: no earlier one for a clock that was set back. */
		       window_repair(hot, window_at(s, limit, wallclock_latest(s)),
				     supervisor_now(s));
	case KIND_ROLLING:
		return limit != BLOB_NO_INDEX &&
		       rolling_repair(&s->seg, bucket, cell_ticks(s, limit), supervisor_now(s));
	case KIND_SLOTS:
		return !slots_plausible(&s->seg, bucket) && slots_repair(&s->seg, bucket);
	case KIND_VIEW:
		return view_repair(&s->seg, bucket, supervisor_now(s));
	case KIND_GATE:
		return gate_repair(&s->seg, bucket, supervisor_now(s));
	default:
		return false;
	}
}

static bool plausible(const struct supervisor *s, uint32_t bucket, uint32_t kind)
{
	const struct seg_hot *hot = &s->seg.hot[bucket];

	switch (kind) {
	case KIND_BUCKET:
		return bucket_plausible(hot, supervisor_now(s));
	case KIND_WINDOW:
		return window_plausible(hot, UINT64_MAX, supervisor_now(s));
	case KIND_ROLLING:
		return rolling_plausible(&s->seg, bucket, supervisor_now(s));
	case KIND_SLOTS:
		return slots_plausible(&s->seg, bucket);
	case KIND_VIEW:
		return view_plausible(&s->seg, bucket, supervisor_now(s));
	case KIND_GATE:
		return gate_plausible(&s->seg, bucket, supervisor_now(s));
	default:
		return false;
	}
}

/* Numbers first: whether words can be true depends on them. */
static enum tune_result mend_bucket(struct supervisor *s, uint32_t bucket, uint32_t *ret_limit)
{
	const uint32_t kind = KIND_OF(shm_half_load(&s->seg.hot[bucket].kind));
	const bool current = stamped_now(s, bucket);
	const enum tune_result result =
		tune_bucket(&s->seg, &s->policy, bucket, ticks_now, s, ret_limit);

	/* Only the supervisor changes numbers: these bore our stamp, and were not ours. What is being learned moves. */
	if (result == TUNE_CHANGED && current && !s->patrol.learning)
		say_repaired(s, bucket, "numbers");
	if (repair_words(s, bucket, kind, *ret_limit))
		say_repaired(s, bucket, "words");
	else if (!plausible(s, bucket, kind))
		say_corrupt(s, bucket);
	return result;
}

static bool carry(struct supervisor *s, const struct published *before, uint32_t bucket)
{
	const struct carry c = {
		.seg = &s->seg,
		.before = before,
		.after = &s->policy,
		.slot = s->maker,
		.now = supervisor_now(s),
		.wall = wallclock_latest(s),
		.clock = ticks_now,
		.user = s,
	};

	return carry_bucket(&c, bucket);
}

struct patrol_counts patrol_all(struct supervisor *s, const struct published *before)
{
	struct patrol_counts counts = {0};

	for (uint32_t bucket = 0; bucket < s->seg.n_buckets; bucket++) {
		enum tune_result result;
		uint32_t limit;

		if (!bucket_linked(&s->seg, bucket))
			continue;
		counts.carried += carry(s, before, bucket);
		result = mend_bucket(s, bucket, &limit);
		counts.linked++;
		counts.changed += result == TUNE_CHANGED;
		counts.orphans += result == TUNE_ORPHAN;
		counts.unreadable += result == TUNE_UNREADABLE;
	}
	s->patrol.behind = s->seg.n_buckets;
	return counts;
}

/* Whether inserts found no room since the last look. */
static bool is_full(struct supervisor *s)
{
	const uint64_t full = shm_load_relaxed(&s->seg.control->full);
	const bool more = full != s->patrol.full;

	s->patrol.full = full;
	return more;
}

/*
 * The earliest window that may not be long over by another limit's reckoning: the record's next life may count days of
 * another zone or windows of another offset, and must not come to an index that this one had.
 */
static uint64_t over_everywhere(struct supervisor *s, uint32_t limit)
{
	const struct calendar calendar =
		blob_calendar(&s->policy.blob, &s->policy.blob.limits[limit]);
	const int64_t apart =
		calendar.unit == CALENDAR_LENGTH ? (int64_t)calendar.length_ns : ZONES_APART;

	return window_at(s, limit, wallclock_latest(s) - (int64_t)(IDLE / TICKS_PER_NS) - apart);
}

/* limit: in the policy, or BLOB_NO_INDEX. */
static void reclaim(struct supervisor *s, struct reclaim_rule *rule, uint32_t bucket,
		    uint32_t limit)
{
	const bool window =
		limit != BLOB_NO_INDEX && s->policy.blob.limits[limit].kind == KIND_WINDOW;

	struct metric_last last;

	/* What is being summed up stays. */
	if (s->metrics.going)
		return;
	last = metrics_last(s, bucket);
	rule->window = window ? over_everywhere(s, limit) : 0;
	if (!reclaim_record(&s->seg, bucket, rule))
		return;
	s->patrol.reclaimed++;
	metrics_gone(s, &last);
}

static void patrol_one(struct supervisor *s, struct reclaim_rule *rule, uint32_t bucket)
{
	uint32_t limit = BLOB_NO_INDEX;

	if (shm_load(&s->seg.cold[bucket].owner) != COLD_LINKED)
		return;
	if (bucket_linked(&s->seg, bucket)) {
		mend_bucket(s, bucket, &limit);
		contest_age(&s->seg.hot[bucket]);
	}
	reclaim(s, rule, bucket, limit);
}

static void patrol_slice(struct supervisor *s)
{
	const bool full = is_full(s);
	const uint32_t slice = full ? FULL_SLICE : SLICE;
	struct reclaim_rule rule = {
		.now = supervisor_now(s),
		.idle = full ? IDLE_FULL : IDLE,
	};

	reclaim_begin(&s->seg, &rule);
	for (uint32_t i = 0; i < slice && i < s->seg.n_buckets; i++) {
		const uint32_t bucket = s->patrol.next;

		s->patrol.next = (bucket + 1) % s->seg.n_buckets;
		patrol_one(s, &rule, bucket);
	}
}

/* Names are freed some rounds after the last record that has them. */
static void patrol_names(struct supervisor *s)
{
	struct sweep *sweep = &s->patrol.names;

	sweep_slice(&s->seg, sweep, sweep_is_short(&s->seg, sweep) ? NAME_SHORT_SLICE : NAME_SLICE);
}

/*
 * `behind` counts down only while nobody lags, so every bucket is passed once more after the last
 * worker has caught up.
 */
static void patrol_stamps(struct supervisor *s)
{
	struct patrol *p = &s->patrol;
	const bool lags = roster_lags(s);
	uint32_t n, limit;

	if (lags)
		p->behind = s->seg.n_buckets;
	n = p->behind < STAMPS ? p->behind : STAMPS;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t bucket = p->next_stamp;

		p->next_stamp = (bucket + 1) % s->seg.n_buckets;
		if (bucket_linked(&s->seg, bucket) && !stamped_now(s, bucket) &&
		    tune_bucket(&s->seg, &s->policy, bucket, ticks_now, s, &limit) == TUNE_CHANGED)
			client_wake(&s->seg, bucket, supervisor_now(s), true);
	}
	if (!lags)
		p->behind -= n;
}

static void patrol_learned(struct supervisor *s)
{
	struct patrol *p = &s->patrol;
	const uint64_t learned = shm_load(&s->seg.control->learned);

	if (!p->learning && p->learned == learned)
		return;
	p->learned = learned;
	p->learning = tune_learned(&s->seg, &s->policy, ticks_now, s);
}

/* Workers act on this word, so no other value than ours may stay in it. */
static void mend_generation(struct supervisor *s)
{
	shm_word *word = &s->seg.control->policy_generation;
	const uint64_t generation = s->policy.blob.header->generation;

	if (shm_load(word) == generation)
		return;
	shm_store(word, generation);
	shm_add(&s->seg.control->repaired, 1);
	if (log_allowed(&s->problems, "problem"))
		log_event(LOG_WARNING, "repaired what=policy-generation");
}

static int on_second(sd_event_source *source, uint64_t usec, void *user)
{
	struct supervisor *s = user;

	(void)usec;
	greet_resume(s);
	wallclock_look(s);
	mend_generation(s);
	roster_mend(s);
	roster_tell(s);
	patrol_stamps(s);
	patrol_learned(s);
	patrol_slice(s);
	patrol_names(s);
	sd_event_source_set_time_relative(source, PATROL_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int patrol_start(struct supervisor *s)
{
	/* The loop owns the source: it ends with it. */
	return sd_event_add_time_relative(s->event, NULL, CLOCK_MONOTONIC, PATROL_USEC, 0,
					  on_second, s);
}
