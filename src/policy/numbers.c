/*
 * policy/numbers.c - from what was written where to the numbers of a limit
 * SPDX-License-Identifier: MIT
 */
#include "policy/draft.h"
#include "policy/effective.h"
#include "shm/slots.h"

typedef unsigned long long ull;

#define HOUR_NS (UINT64_C(3600) * 1000000000)

/* What holds where nothing is written. */
static const struct written built_in = {
	.value =
		{
			[WRITTEN_MARGIN] = 100000,
			[WRITTEN_SHARE] = 1000000,
			[WRITTEN_DELAY] = 50000000,
			[WRITTEN_SKEW] = 50000000,
			[WRITTEN_MAX_BLOCK] = 25 * HOUR_NS,
			[WRITTEN_BREAK_WINDOW] = UINT64_C(10000000000),
			[WRITTEN_BREAK_SHARE] = 500000,
			[WRITTEN_BREAK_LEAST] = 10,
			[WRITTEN_BREAK_OPEN] = UINT64_C(30000000000),
		},
};

void written_inherit(struct written *written, const struct written *from)
{
	for (int i = 0; i < WRITTEN_FIELDS; i++) {
		if (written->at[i])
			continue;
		written->at[i] = from->at[i];
		written->value[i] = from->value[i];
		if (i == WRITTEN_RATE)
			written->period_ns = from->period_ns;
	}
	written->broken |= from->broken;
}

/* One second's worth, and at least 1. */
static uint64_t default_burst(const struct written *written)
{
	const unsigned __int128 burst =
		(unsigned __int128)written->value[WRITTEN_RATE] * 1000000000 / written->period_ns;

	return burst > 0 ? (uint64_t)burst : 1;
}

static struct blob_numbers numbers_of(const struct draft_limit *limit,
				      const struct written *written)
{
	struct blob_numbers n = {
		.margin_ppm = (uint32_t)written->value[WRITTEN_MARGIN],
		.share_ppm = (uint32_t)written->value[WRITTEN_SHARE],
		.delay_ns = written->value[WRITTEN_DELAY],
		.max_debt = written->value[WRITTEN_DEBT],
	};

	if (limit->kind == KIND_BUCKET) {
		n.amount = written->value[WRITTEN_RATE];
		n.period_ns = written->period_ns;
		n.burst = written->at[WRITTEN_BURST] ? written->value[WRITTEN_BURST]
						     : default_burst(written);
	} else if (limit->kind == KIND_SLOTS) {
		n.amount = written->value[WRITTEN_SLOTS];
	} else {
		n.amount = written->value[WRITTEN_AMOUNT];
		n.period_ns = limit->period_ns;
	}
	return n;
}

static bool complete(const struct draft_limit *limit, const struct written *written)
{
	if (limit->later || limit->broken || written->broken)
		return false;
	switch (limit->kind) {
	case KIND_BUCKET:
		return written->at[WRITTEN_RATE] &&
		       (written->at[WRITTEN_BURST] || limit_counts_requests(limit));
	case KIND_SLOTS:
		return written->at[WRITTEN_SLOTS];
	default:
		return written->at[WRITTEN_AMOUNT] && limit->period_at;
	}
}

/* Why bucket_pack() refused them. */
static void refuse_bucket(struct compiler *c, const struct node *at,
			  const struct blob_numbers *numbers)
{
	struct blob_numbers alone = *numbers;

	alone.burst = 1;
	if (policy_effective(&alone))
		error_at(c, at,
			 "a burst of %llu takes more than 9 years to fill at this rate: expected "
			 "less of it, or a faster rate",
			 (ull)numbers->burst);
	else
		error_at(c, at,
			 "the rate is too slow once share, margin and delay are taken off: "
			 "expected at least 1 in 200 days");
}

static bool pack(struct compiler *c, const struct draft_limit *limit, const struct node *at,
		 const struct written *written, struct blob_numbers *n)
{
	if (limit->kind == KIND_BUCKET) {
		if (!policy_effective(n)) {
			refuse_bucket(c, at, n);
			return false;
		}
		return true;
	}
	if (limit->kind == KIND_SLOTS)
		n->effective = slots_pack((uint32_t)units_kept(n, n->amount),
					  written->value[WRITTEN_HOLD], n->delay_ns);
	else
		n->effective = period_effective(limit, n, units_kept(n, n->amount));
	if (n->effective == 0)
		error_at(c, at, "%llu in so short a period cannot be counted: expected less",
			 (ull)n->amount);
	return n->effective != 0;
}

uint64_t period_effective(const struct draft_limit *limit, const struct blob_numbers *n,
			  uint64_t units)
{
	const struct calendar calendar = {
		.unit = (enum calendar_unit)limit->calendar,
		.length_ns = n->period_ns,
		.offset_ns = (int64_t)limit->offset_ns,
		.changes = limit->zone ? limit->zone->changes : NULL,
		.n_changes = limit->zone ? limit->zone->n_changes : 0,
		.first_offset = limit->zone ? limit->zone->first_offset : 0,
	};

	return limit->kind == KIND_ROLLING ? rolling_effective(n, units)
					   : window_effective(&calendar, units);
}

/* at: where to complain; claims_at: of what classes claim, NULL: where that stands. */
static void compute(struct compiler *c, const struct draft_limit *limit, const struct node *at,
		    const struct node *claims_at, const struct written *written,
		    struct blob_numbers *ret, struct blob_numbers **ret_derived)
{
	struct blob_numbers numbers, *derived = NULL;

	if (!complete(limit, written))
		return;
	if (limit->n_derived > 0) {
		derived = arena_alloc(&c->arena, limit->n_derived * sizeof(*derived));
		if (!derived)
			return;
	}
	numbers = numbers_of(limit, written);
	if (!pack(c, limit, at, written, &numbers) ||
	    !claim_numbers(c, limit, claims_at, &numbers, derived))
		return;
	*ret = numbers;
	*ret_derived = derived;
}

/* Slots are not given back by time, so nothing has to wait for it. */
uint64_t permit_delay(const struct compiler *c, const struct draft_vendor *vendor)
{
	const struct list *lists[] = {&vendor->limits, &c->all.limits};
	uint64_t delay = UINT64_MAX;

	for (int l = 0; l < 2; l++) {
		for (uint32_t i = 0; i < lists[l]->count; i++) {
			const struct draft_limit *limit = lists[l]->item[i];

			if (limit->kind != KIND_SLOTS &&
			    limit->written.value[WRITTEN_DELAY] < delay)
				delay = limit->written.value[WRITTEN_DELAY];
		}
	}
	return delay == UINT64_MAX ? vendor->written.value[WRITTEN_DELAY] : delay;
}

/* A day, week or month in which clocks are put forward is an hour short. */
uint64_t shortest_period(const struct draft_limit *limit)
{
	static const uint64_t days[] = {
		[CALENDAR_DAY] = 1,
		[CALENDAR_WEEK] = 7,
		[CALENDAR_MONTH] = 28,
	};

	return limit->calendar == CALENDAR_LENGTH ? limit->period_ns
						  : (days[limit->calendar] * 24 - 1) * HOUR_NS;
}

void numbers_of_vendor(struct compiler *c, struct draft_vendor *vendor)
{
	written_inherit(&vendor->written, &c->defaults);
	written_inherit(&vendor->written, &built_in);
}

/* Of what is written, the number that a limit of that kind is about. */
static const struct node *main_number(const struct draft_limit *limit)
{
	static const enum written_field fields[KIND_COUNT] = {
		[KIND_BUCKET] = WRITTEN_RATE,
		[KIND_WINDOW] = WRITTEN_AMOUNT,
		[KIND_ROLLING] = WRITTEN_AMOUNT,
		[KIND_SLOTS] = WRITTEN_SLOTS,
	};

	return limit->written.at[fields[limit->kind]];
}

void numbers_of_limit(struct compiler *c, struct draft_limit *limit)
{
	written_inherit(&limit->written, &limit->vendor->written);
	compute(c, limit, main_number(limit), NULL, &limit->written, &limit->numbers,
		&limit->derived_numbers);
}

void numbers_of_override(struct compiler *c, const struct draft_limit *limit,
			 struct draft_override *override)
{
	written_inherit(&override->written, &limit->written);
	compute(c, limit, override->limit_name.at, override->limit_name.at, &override->written,
		&override->numbers, &override->derived_numbers);
}
