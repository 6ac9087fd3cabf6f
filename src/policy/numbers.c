/*
 * policy/numbers.c - from what was written where to the numbers of a bucket
 * SPDX-License-Identifier: MIT
 */
#include "policy/draft.h"

/* What holds where nothing is written. */
static const struct written built_in = {
	.value =
		{
			[WRITTEN_MARGIN] = 100000,
			[WRITTEN_SHARE] = 1000000,
			[WRITTEN_DELAY] = 50000000,
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

static struct blob_numbers numbers_of(const struct written *written)
{
	return (struct blob_numbers){
		.amount = written->value[WRITTEN_RATE],
		.period_ns = written->period_ns,
		.burst = written->at[WRITTEN_BURST] ? written->value[WRITTEN_BURST]
						    : default_burst(written),
		.margin_ppm = (uint32_t)written->value[WRITTEN_MARGIN],
		.share_ppm = (uint32_t)written->value[WRITTEN_SHARE],
		.delay_ns = written->value[WRITTEN_DELAY],
	};
}

/* Why bucket_pack() refused them. */
static void refuse(struct compiler *c, const struct node *at, const struct blob_numbers *numbers)
{
	struct blob_numbers alone = *numbers;

	alone.burst = 1;
	if (policy_effective(&alone))
		error_at(c, at,
			 "a burst of %llu takes more than 9 years to fill at this rate: expected "
			 "less of it, or a faster rate",
			 (unsigned long long)numbers->burst);
	else
		error_at(c, at,
			 "the rate is too slow once share, margin and delay are taken off: "
			 "expected at least 1 in 200 days");
}

static bool complete(const struct draft_limit *limit, const struct written *written)
{
	return !limit->later && !written->broken && written->at[WRITTEN_RATE] &&
	       (written->at[WRITTEN_BURST] || limit_counts_requests(limit));
}

static void compute(struct compiler *c, const struct draft_limit *limit, const struct node *at,
		    const struct written *written, struct blob_numbers *ret)
{
	struct blob_numbers numbers;

	if (!complete(limit, written))
		return;
	numbers = numbers_of(written);
	if (policy_effective(&numbers))
		*ret = numbers;
	else
		refuse(c, at, &numbers);
}

void numbers_of_vendor(struct compiler *c, struct draft_vendor *vendor)
{
	written_inherit(&vendor->written, &c->defaults);
	written_inherit(&vendor->written, &built_in);
}

void numbers_of_limit(struct compiler *c, struct draft_limit *limit)
{
	written_inherit(&limit->written, &limit->vendor->written);
	compute(c, limit, limit->written.at[WRITTEN_RATE], &limit->written, &limit->numbers);
}

void numbers_of_override(struct compiler *c, const struct draft_limit *limit,
			 struct draft_override *override)
{
	written_inherit(&override->written, &limit->written);
	compute(c, limit, override->limit_name.at, &override->written, &override->numbers);
}
