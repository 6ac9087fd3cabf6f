/*
 * supervisor/spent.c - what was spent of a bucket, for another that is to count on
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/spent.h"

#include "shm/rolling.h"
#include "shm/saturate.h"
#include "shm/window.h"

#define NS_PER_SEC UINT64_C(1000000000)

/* --- shapes --- */

struct calendar_window spent_window(const struct carry *c, const struct blob *blob,
				    const struct blob_limit *limit)
{
	const struct calendar calendar = blob_calendar(blob, limit);
	struct calendar_window window;

	calendar_find(&calendar, c->wall, &window);
	return window;
}

void spent_shape(const struct carry *c, const struct blob *blob, const struct blob_limit *limit,
		 const struct blob_numbers *numbers, struct link *link)
{
	uint64_t skew = 0;
	struct calendar_window window;

	if (limit->kind == KIND_ROLLING)
		link->shape[ROLLING_CELL_TICKS] =
			rolling_cell_ticks(numbers->period_ns, numbers->delay_ns);
	if (limit->kind != KIND_WINDOW)
		return;
	for (uint32_t i = 0; i < blob->n_vendors; i++) {
		if (blob->vendors[i].clock_skew_ns > skew)
			skew = blob->vendors[i].clock_skew_ns;
	}
	window = spent_window(c, blob, limit);
	link->shape[WINDOW_INDEX] = window.index;
	link->shape[WINDOW_START] = (uint64_t)window.start;
	link->shape[WINDOW_END] = (uint64_t)window.end;
	link->shape[WINDOW_BEFORE] = skew + numbers->delay_ns;
	link->shape[WINDOW_AFTER] = skew;
}

/* --- closing --- */

static uint64_t ticks_each(uint64_t period_ns, uint64_t amount)
{
	return amount > 0 ? period_ns * TICKS_PER_NS / amount : 0;
}

/*
 * So much is charged that it takes an hour to drain. What it took is known exactly, so what was there before is too, unless
 * it was in debt: then it counts as spent in any case.
 */
static struct spent close_bucket(const struct carry *c, struct seg_hot *hot)
{
	const bucket_numbers numbers = shm_load_relaxed(&hot->numbers);
	const uint64_t all = bucket_tolerance(numbers);
	const uint64_t hold = all > BUCKET_DEBT_MAX ? all : BUCKET_DEBT_MAX;
	const uint64_t one = bucket_cost(numbers, 1);
	struct spent spent = {
		.known_ns = UINT64_MAX, .ticks = one > 1 ? one - 1 : 1, .drains = true};
	uint64_t tat, now;

	if (!bucket_debit(hot, shm_half_load(&hot->generation), hold, c->now) || one == 0)
		return (struct spent){0};
	tat = shm_load(&hot->state[0]);
	now = c->clock(c->user);
	if (tat >= hold && tat - hold > now)
		spent.units = least(bucket_burst(numbers), (tat - hold - now) / spent.ticks + 1);
	return spent;
}

/* This window and the next: whoever has not heard by then is asleep, and has no permit that is good. */
static struct spent close_window(const struct carry *c, const struct record *record,
				 const struct blob_limit *limit)
{
	struct seg_hot *hot = &c->seg->hot[record->bucket];
	const struct blob *blob = &c->before->blob;
	const struct calendar calendar = blob_calendar(blob, limit);
	const uint64_t amount = window_amount(shm_load_relaxed(&hot->numbers));
	const struct calendar_window window = spent_window(c, blob, limit);
	struct calendar_window last;
	uint64_t before, present, next;

	calendar_find(&calendar, window.start - 1, &last);
	before = window_used(hot, last.index);
	if (!window_burden(hot, window.index, amount, &present) ||
	    !window_burden(hot, window.index + 1, amount, &next))
		return (struct spent){0};
	return (struct spent){
		.recent = sum(present, next),
		.recent_ns = (uint64_t)(c->wall - window.start),
		.units = sum(before, sum(present, next)),
		.known_ns = (uint64_t)(c->wall - last.start),
		.ticks = ticks_each((uint64_t)(window.start - last.start), amount),
	};
}

static struct spent close_rolling(const struct carry *c, const struct record *record,
				  const struct blob_limit *limit)
{
	const struct seg_hot *hot = &c->seg->hot[record->bucket];
	const struct charge_ref all = {
		.bucket = record->bucket,
		.generation = shm_half_load(&hot->generation),
	};
	const uint64_t amount = rolling_amount(shm_load_relaxed(&hot->numbers));
	const uint64_t period = limit->numbers.period_ns;
	uint64_t used;

	if (!rolling_debit(c->seg, &all, amount, c->now))
		return (struct spent){0};
	used = rolling_used(c->seg, record->bucket, c->now);
	return (struct spent){
		.units = minus(used, amount),
		.known_ns = period,
		.ticks = ticks_each(period, amount),
	};
}

struct spent spent_close(const struct carry *c, const struct record *record,
			 const struct blob_limit *limit)
{
	switch (record->kind) {
	case KIND_BUCKET:
		return close_bucket(c, &c->seg->hot[record->bucket]);
	case KIND_WINDOW:
		return close_window(c, record, limit);
	case KIND_ROLLING:
		return close_rolling(c, record, limit);
	default: /* leases end by themselves, and say nothing about rates */
		return (struct spent){0};
	}
}

/* --- counting on --- */

static uint64_t within(const struct spent *spent, uint64_t ns)
{
	if (ns > spent->known_ns)
		return BIRTH_SPENT;
	if (ns <= spent->recent_ns)
		return spent->recent;
	if (!spent->drains)
		return spent->units;
	return ns > UINT64_MAX / TICKS_PER_NS
		       ? BIRTH_SPENT
		       : sum(spent->units, ns * TICKS_PER_NS / spent->ticks + 1);
}

/*
 * Of what two windows are known to have been given together, the present one is taken to have had as much as it may have
 * had. Just after an edge, what is charged now may count in the one before as well: that is taken to be spent then.
 */
static void begin_window(const struct spent *spent, struct birth *birth)
{
	const uint64_t *shape = birth->link->shape;
	const uint64_t passed = (uint64_t)birth->at.wall - shape[WINDOW_START];
	const uint64_t length = shape[WINDOW_END] - shape[WINDOW_START];
	const uint64_t both = within(spent, passed + length);

	birth->used = within(spent, passed);
	birth->before = both == BIRTH_SPENT || passed < shape[WINDOW_AFTER]
				? BIRTH_SPENT
				: minus(both, birth->used);
}

/* A bucket that is slower than its predecessor counts for longer than that remembers. */
static uint64_t spent_of_bucket(const struct spent *spent, const struct blob_numbers *numbers)
{
	return bucket_cost(numbers->effective, 1) <= spent->ticks ? spent->units : BIRTH_SPENT;
}

void spent_begin(const struct spent *spent, struct birth *birth)
{
	const struct blob_numbers *numbers = birth->numbers;

	birth->used = birth->before = BIRTH_SPENT;
	if (spent->known_ns == 0)
		return;
	switch (birth->blob->limits[birth->limit].kind) {
	case KIND_BUCKET:
		birth->used = spent_of_bucket(spent, numbers);
		break;
	case KIND_WINDOW:
		begin_window(spent, birth);
		break;
	case KIND_ROLLING:
		birth->used = within(spent, numbers->period_ns + numbers->delay_ns);
		break;
	default:
		break;
	}
}
