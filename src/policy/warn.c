/*
 * policy/warn.c - usable, but probably not what was meant
 * SPDX-License-Identifier: MIT
 */
#include "policy/draft.h"
#include "policy/effective.h"

typedef unsigned long long ull;

#define SECOND UINT64_C(1000000000)
#define DAY    (86400 * SECOND)

/* Parts of WHOLE that share and margin leave. */
#define WHOLE ((unsigned __int128)1000000 * 1000000)

static unsigned __int128 keep_of(const struct blob_numbers *n)
{
	return (unsigned __int128)n->share_ppm * (1000000 - n->margin_ppm);
}

/* Numbers in force: of a limit, or as a plan or a tenant changes them. */
struct subject {
	const struct node *at;
	const struct draft_limit *limit;
	const struct written *written;
	const struct blob_numbers *numbers;
};

static void warn_daily(struct compiler *c, const struct subject *s)
{
	const struct blob_numbers *n = s->numbers;
	const struct node *rate = s->written->at[WRITTEN_RATE];
	/* To the nearest. */
	const ull centi =
		(ull)(((unsigned __int128)n->amount * SECOND * 200 / n->period_ns + 1) / 2);

	if (n->period_ns < DAY)
		return;
	warn_at(c, rate,
		"as a bucket, %s is %llu.%02llu/s around the clock; a quota that is new each day "
		"is a window: 'kind: window' with an amount and a period",
		rate->text, centi / 100, centi % 100);
}

static void warn_never(struct compiler *c, const struct subject *s)
{
	const bool bucket = s->limit->kind == KIND_BUCKET;
	const uint64_t most = bucket ? bucket_burst(s->numbers->effective)
				     : units_kept(s->numbers, s->numbers->amount);
	const uint64_t cost = s->limit->written.value[WRITTEN_COST];

	if (s->limit->written.at[WRITTEN_COST] && cost > most && !(s->limit->flags & LIMIT_CLAMP))
		warn_at(c, s->at,
			"the default cost of %llu is never admitted: the %s comes to %llu",
			(ull)cost, bucket ? "burst" : "amount", (ull)most);
}

/* Units a second, times 1000, before the delay. */
static uint64_t millirate_before_delay(const struct blob_numbers *n)
{
	return (uint64_t)(n->amount * keep_of(n) * ((unsigned __int128)1000 * SECOND) /
			  (n->period_ns * WHOLE));
}

static void warn_rate_lost(struct compiler *c, const struct subject *s)
{
	const struct blob_numbers *n = s->numbers;
	const uint64_t before = millirate_before_delay(n), after = bucket_millirate(n->effective);

	warn_at(c, s->at,
		"the delay does not fit into the burst of %llu, so the rate comes down from "
		"%llu.%03llu/s to %llu.%03llu/s: a larger burst or a smaller delay avoids it",
		(ull)units_kept(n, n->burst), (ull)before / 1000, (ull)before % 1000,
		(ull)after / 1000, (ull)after % 1000);
}

static void warn_delay(struct compiler *c, const struct subject *s)
{
	const struct blob_numbers *n = s->numbers;
	const uint64_t before = units_kept(n, n->burst), after = bucket_burst(n->effective);

	if (bucket_millirate(n->effective) / 4 < millirate_before_delay(n) / 5)
		warn_rate_lost(c, s);
	else if (after == 1 && before > 1 && !limit_counts_requests(s->limit))
		warn_at(c, s->at,
			"the delay takes the burst of %llu down to 1: a cost of more than 1 is "
			"never "
			"admitted",
			(ull)before);
	else if (after < before / 2)
		warn_at(c, s->at, "the delay takes the burst of %llu down to %llu", (ull)before,
			(ull)after);
}

/* More than a tenth of each window, or of what is asked for in any period. */
static void warn_guard(struct compiler *c, const struct subject *s)
{
	const struct draft_limit *limit = s->limit;
	const bool window = limit->kind == KIND_WINDOW;
	const uint64_t delay = s->written->value[WRITTEN_DELAY];
	const uint64_t guard = delay + (window ? 2 * s->written->value[WRITTEN_SKEW] : 0);

	if (guard <= s->numbers->period_ns / 10 || (window && limit->calendar != CALENDAR_LENGTH))
		return;
	warn_at(c, s->at,
		"what may arrive late, or by another clock, takes %.3g%% of a period of %s: a "
		"smaller "
		"'delay'%s avoids it",
		100.0 * (double)guard / (double)(s->numbers->period_ns + (window ? 0 : delay)),
		limit->period_at->text, window ? " or 'clock_skew'" : "");
}

static void warn_numbers(struct compiler *c, const struct subject *s)
{
	if (s->limit->kind == KIND_BUCKET)
		warn_daily(c, s);
	if (s->limit->kind != KIND_SLOTS)
		warn_never(c, s);
	if (s->limit->kind == KIND_BUCKET)
		warn_delay(c, s);
	else if (s->limit->kind != KIND_SLOTS)
		warn_guard(c, s);
}

/* Said once, at the first limit it holds for: it is one decision. */
static void warn_margin(struct compiler *c)
{
	const struct draft_limit *first = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->limits.count; i++) {
		const struct draft_limit *limit = c->limits.item[i];

		if (limit->written.at[WRITTEN_MARGIN])
			continue;
		if (n++ == 0)
			first = limit;
	}
	if (n > 0)
		warn_at(c, limit_at(first),
			"no 'margin' is written for %s, so 10%% is kept off; write 'margin: 0%%' "
			"where the numbers are the vendor's own and nobody else spends them",
			n == 1 ? "this limit"
			       : arena_printf(&c->arena, "%u limits, this one first", n));
}

static void warn_limits(struct compiler *c)
{
	for (uint32_t i = 0; i < c->limits.count; i++) {
		const struct draft_limit *limit = c->limits.item[i];

		warn_numbers(c, &(struct subject){limit_at(limit), limit, &limit->written,
						  &limit->numbers});
	}
}

/* Those of its plan are the plan's to warn about. */
static void warn_overrides(struct compiler *c, const struct draft_owner *owner)
{
	for (uint32_t i = 0; i < owner->overrides.count; i++) {
		const struct draft_override *o = owner->overrides.item[i];

		if (o->owner == owner)
			warn_numbers(c, &(struct subject){o->limit_name.at, o->limit, &o->written,
							  &o->numbers});
	}
}

static void warn_vendors(struct compiler *c)
{
	for (uint32_t i = 0; c->all.limits.count == 0 && i < c->vendors.count; i++) {
		const struct draft_vendor *vendor = c->vendors.item[i];

		if (vendor->limits.count == 0)
			warn_at(c, vendor->named.at,
				"vendor '%s' has no limits: whatever it is asked for is admitted",
				vendor->named.name);
	}
}

static void warn_plans(struct compiler *c)
{
	for (uint32_t i = 0; i < c->plans.count; i++) {
		const struct draft_owner *plan = c->plans.item[i];

		if (!plan->used)
			warn_at(c, plan->named.at, "no tenant has the plan '%s'", plan->named.name);
		warn_overrides(c, plan);
	}
	for (uint32_t i = 0; i < c->tenants.count; i++)
		warn_overrides(c, c->tenants.item[i]);
}

void warn_policy(struct compiler *c)
{
	warn_margin(c);
	warn_limits(c);
	warn_vendors(c);
	warn_plans(c);
}
