/*
 * policy/layers.c - what classes claim of a limit, and whether it can be kept
 * SPDX-License-Identifier: MIT
 *
 *	bucket		a guarantee is a bucket beside the main one: what it backs may take the main one down to zero. Whatever is not
 *			backed leaves the bursts of all guarantees, also its own class's: so what is left always covers what
 *			all guarantees still hold.
 *	window, rolling	a guarantee is a part of the amount, for that class alone; what no part takes is common
 *	concurrency	a guarantee is a range of slots, never lent
 *
 * A ceiling is one more limit for that class alone; a reserve is what less protected classes must leave. Claims are
 * scaled by `share` like all numbers of a host that is one of several, but not by `margin`: what a class is
 * promised it gets. Percentages are of what share and margin leave.
 */
#include <stdio.h>
#include <string.h>

#include <ration/ration.h>

#include "policy/draft.h"
#include "policy/effective.h"
#include "shm/slots.h"

typedef unsigned long long ull;
typedef unsigned __int128 wide;

/* Periods are whole ns, so 20% of 100/s may be a little less than 20/s: its burst is 2 nevertheless. */
#define ROUNDED (1 + 1e-8L)

/* --- one limit's claims, while they are worked out --- */

struct working {
	struct compiler *c;
	const struct draft_limit *limit;
	const struct node *at; /* where to complain; NULL: at the claims */
	struct blob_numbers *main;
	struct blob_numbers *derived;
	uint64_t size;             /* units of the whole limit: effective burst, amount, slots */
	uint64_t own[CLASSES_MAX]; /* a class's guarantee: burst, part, slots */
	uint64_t ceiling[CLASSES_MAX]; /* 0: none */
	uint64_t mark[CLASSES_MAX];    /* that the class must leave to others' reserves */
	uint64_t guaranteed;           /* sum of own */
	unsigned terms;
	char sum[400]; /* "repair 10 + bulk 5 = 15" */
	bool sound;
};

static const char *class_name(const struct working *w, uint32_t class_index)
{
	return ((const struct draft_class *)w->c->classes.item[class_index])->named.name;
}

__attribute__((format(printf, 3, 4))) static void refuse(struct working *w, const struct node *at,
							 const char *format, ...)
{
	va_list args;

	va_start(args, format);
	notes_add(&w->c->notes, POLICY_ERROR, (w->at ? w->at : at)->place, "%s",
		  arena_vprintf(&w->c->arena, format, args));
	va_end(args);
	w->sound = false;
}

/* One more term of the sum. */
__attribute__((format(printf, 3, 4))) static void add_term(struct working *w, uint32_t class_index,
							   const char *format, ...)
{
	const size_t used = strlen(w->sum);
	va_list args;
	int n = snprintf(w->sum + used, sizeof(w->sum) - used, "%s%.24s ", used > 0 ? " + " : "",
			 class_name(w, class_index));

	if (n < 0 || (size_t)n >= sizeof(w->sum) - used)
		return;
	va_start(args, format);
	vsnprintf(w->sum + used + (size_t)n, sizeof(w->sum) - used - (size_t)n, format, args);
	va_end(args);
	w->terms++;
}

static void no_terms(struct working *w)
{
	w->sum[0] = '\0';
	w->terms = 0;
}

/* "repair 10 + bulk 5 = 15"; one term is its own sum. */
static const char *sum_of(const struct working *w, const char *total)
{
	return w->terms < 2 ? w->sum : arena_printf(&w->c->arena, "%s = %s", w->sum, total);
}

/* What there is of the limit. */
static const char *left_by_margin(const struct working *w, const char *kept, const char *written)
{
	if (w->main->share_ppm == PPM && w->main->margin_ppm == 0)
		return arena_printf(&w->c->arena, "the limit is %s", written);
	return arena_printf(&w->c->arena, "share and margin leave %s of %s", kept, written);
}

static const char *count_words(const struct working *w, uint64_t count)
{
	return arena_printf(&w->c->arena, "%llu", (ull)count);
}

static const char *rate_words(const struct working *w, long double rate)
{
	return arena_printf(&w->c->arena, "%.6Lg/s", rate);
}

/* --- units --- */

/* A count is scaled by share, a part is of what is left of the limit. */
static uint64_t claimed_units(const struct working *w, const struct claim *claim)
{
	return claim->form == CLAIM_PART ? units_part(w->size, claim->value)
					 : units_part(claim->value, w->main->share_ppm);
}

/* What less protected classes must leave is the largest reserve of those before them. */
static void work_out_marks(struct working *w)
{
	uint64_t most = 0;

	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		const struct draft_claims *claims = w->limit->of[k];
		uint64_t reserve;

		w->mark[k] = most;
		if (!claims || !claims->reserve.at)
			continue;
		reserve = claimed_units(w, &claims->reserve);
		if (reserve >= w->size)
			refuse(w, claims->reserve.at,
			       "the reserve of %llu for class '%s' cannot be kept: the limit "
			       "comes to %llu",
			       (ull)reserve, class_name(w, k), (ull)w->size);
		most = reserve > most ? reserve : most;
	}
}

/* Guarantees and ceilings of everything but buckets. */
static void work_out_units(struct working *w)
{
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		const struct draft_claims *claims = w->limit->of[k];

		if (claims && claims->guarantee.at) {
			w->own[k] = claimed_units(w, &claims->guarantee);
			w->guaranteed += w->own[k];
			add_term(w, k, "%llu", (ull)w->own[k]);
		}
		if (claims && claims->ceiling.at)
			w->ceiling[k] = claimed_units(w, &claims->ceiling);
	}
}

static void check_ceilings(struct working *w)
{
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		if (w->ceiling[k] > 0 && w->ceiling[k] < w->own[k])
			refuse(w, w->limit->of[k]->ceiling.at,
			       "class '%s': the ceiling of %llu is below the guarantee of %llu",
			       class_name(w, k), (ull)w->ceiling[k], (ull)w->own[k]);
	}
}

/* --- rates of buckets --- */

/* A claimed rate, as numbers of a bucket; period 0: too slow. */
static struct blob_numbers claimed_rate(const struct working *w, const struct claim *claim)
{
	struct blob_numbers n = {
		.amount = claim->value,
		.period_ns = claim->period_ns,
		.share_ppm = w->main->share_ppm,
		.burst = 1,
		.max_debt = w->main->max_debt,
	};
	wide period;

	if (claim->form != CLAIM_PART)
		return n;
	period = ((wide)w->main->period_ns * PPM + claim->value - 1) / claim->value;
	n.amount = w->main->amount;
	n.period_ns = period > UINT64_MAX / TICKS_PER_NS ? 0 : (uint64_t)period;
	n.margin_ppm = w->main->margin_ppm;
	return n;
}

static struct blob_numbers *derived_of(const struct working *w, uint32_t class_index,
				       enum limit_role role)
{
	for (uint32_t i = 0; i < w->limit->n_derived; i++) {
		const struct draft_derived *d = &w->limit->derived[i];

		if (d->claims->class_index == class_index && d->role == role)
			return &w->derived[i];
	}
	return NULL;
}

static uint64_t whole(long double units)
{
	return units < 1 ? 1 : units > RATION_COST_MAX ? RATION_COST_MAX : (uint64_t)units;
}

/* 100 ms of it. */
static uint64_t guarantee_burst(const struct working *w, const struct draft_claims *claims,
				const struct blob_numbers *n)
{
	return claims->burst.at ? claimed_units(w, &claims->burst)
				: whole(rate_kept(n) / 10 * ROUNDED);
}

/* As much of the burst as it is of the rate. */
static uint64_t ceiling_burst(const struct working *w, const struct draft_claims *claims,
			      const struct blob_numbers *n)
{
	const long double part = rate_kept(n) / rate_kept(w->main);
	const uint64_t own = w->own[claims->class_index];
	uint64_t burst;

	if (claims->burst.at && !claims->guarantee.at)
		return claimed_units(w, &claims->burst);
	burst = part >= 1 ? w->size : whole((long double)w->size * part * ROUNDED);
	return burst > own ? burst : own;
}

static bool pack_claim(struct working *w, const struct claim *claim, struct blob_numbers *n,
		       enum claim_rounding rounding)
{
	n->effective = n->period_ns > 0 ? bucket_claimed(n, rounding) : 0;
	if (n->effective == 0)
		refuse(w, claim->at,
		       "cannot be counted: expected a faster rate, or a smaller burst");
	return n->effective != 0;
}

static void work_out_rates(struct working *w, enum claim_rounding guarantees)
{
	w->guaranteed = 0;
	for (uint32_t i = 0; i < w->limit->n_derived; i++) {
		const struct draft_derived *d = &w->limit->derived[i];
		const bool guarantee = d->role == LIMIT_GUARANTEE;
		const struct claim *claim = guarantee ? &d->claims->guarantee : &d->claims->ceiling;
		struct blob_numbers *n = &w->derived[i];
		const uint32_t k = d->claims->class_index;

		*n = claimed_rate(w, claim);
		if (n->period_ns > 0)
			n->burst = guarantee ? guarantee_burst(w, d->claims, n)
					     : ceiling_burst(w, d->claims, n);
		if (!pack_claim(w, claim, n, guarantee ? guarantees : CLAIM_AT_MOST))
			continue;
		/* What was rounded down. */
		n->burst = bucket_burst(n->effective);
		if (guarantee)
			w->guaranteed += w->own[k] = n->burst;
		else
			w->ceiling[k] = n->burst;
	}
}

/* Units a second that packed numbers let through. */
static long double packed_rate(bucket_numbers numbers)
{
	const struct bucket_interval i = bucket_interval(numbers);

	return __builtin_ldexpl(1 / (long double)i.mantissa,
				BUCKET_INTERVAL_BIAS - (int)i.exponent);
}

/* Of all guarantees; also spells out the sum. */
static long double guaranteed_rate(struct working *w, bool packed)
{
	long double sum = 0;

	no_terms(w);
	for (uint32_t i = 0; i < w->limit->n_derived; i++) {
		const struct draft_derived *d = &w->limit->derived[i];

		if (d->role != LIMIT_GUARANTEE || w->derived[i].effective == 0)
			continue;
		sum += packed ? packed_rate(w->derived[i].effective) : rate_kept(&w->derived[i]);
		add_term(w, d->claims->class_index, "%.6Lg/s", rate_kept(&w->derived[i]));
	}
	return sum;
}

static void check_rates(struct working *w)
{
	const long double sum = guaranteed_rate(w, false), kept = rate_kept(w->main);

	if (sum > kept * (1 + 1e-12L))
		refuse(w, w->limit->classes_at, "guarantees cannot be kept: %s, but %s",
		       sum_of(w, rate_words(w, sum)),
		       left_by_margin(w, rate_words(w, kept),
				      rate_words(w, (long double)w->main->amount * 1e9L /
							    (long double)w->main->period_ns)));
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		const struct blob_numbers *guarantee = derived_of(w, k, LIMIT_GUARANTEE);
		const struct blob_numbers *ceiling = derived_of(w, k, LIMIT_CEILING);

		if (guarantee && ceiling && guarantee->effective && ceiling->effective &&
		    rate_kept(ceiling) < rate_kept(guarantee))
			refuse(w, w->limit->of[k]->ceiling.at,
			       "class '%s': the ceiling of %.6Lg/s is below the guarantee of "
			       "%.6Lg/s",
			       class_name(w, k), rate_kept(ceiling), rate_kept(guarantee));
	}
}

/* --- can each class be admitted at all? --- */

struct reach {
	uint64_t most; /* that one acquire of a class can be given */
	const char *why;
};

static void check_reach(struct working *w, uint32_t class_index, const struct reach *reach)
{
	const struct draft_limit *limit = w->limit;
	const bool cost_known = limit->written.at[WRITTEN_COST] && !(limit->flags & LIMIT_CLAMP);
	const uint64_t cost = cost_known ? limit->written.value[WRITTEN_COST] : 1;

	if (reach->most < cost)
		refuse(w, limit->classes_at,
		       "class '%s' could never be admitted: a cost of %llu, of at most %llu (%s)",
		       class_name(w, class_index), (ull)cost, (ull)reach->most, reach->why);
}

static uint64_t left_of(uint64_t size, uint64_t mark)
{
	return size > mark ? size - mark : 0;
}

/* Of what is shared, and of what is its own; one of them has to do. */
static void check_classes(struct working *w, uint64_t shared, const char *what)
{
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		const uint64_t free = left_of(shared, w->mark[k]);
		const bool own = w->own[k] > free;
		struct reach reach = {own ? w->own[k] : free, NULL};

		reach.why =
			own ? "its guarantee"
			    : arena_printf(&w->c->arena, "%s of %llu, of which it must leave %llu",
					   what, (ull)shared, (ull)w->mark[k]);
		if (w->ceiling[k] > 0 && w->ceiling[k] < reach.most)
			reach = (struct reach){w->ceiling[k], "its ceiling at once"};
		if (free == 0 || reach.why)
			check_reach(w, k, &reach);
	}
}

/* --- kind by kind --- */

static void check_bursts(struct working *w)
{
	if (w->guaranteed == 0 || w->guaranteed < w->size)
		return;
	no_terms(w);
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		if (w->own[k] > 0)
			add_term(w, k, "%llu", (ull)w->own[k]);
	}
	refuse(w, w->limit->classes_at,
	       "guarantees cannot be kept: their bursts are %s, and the burst of the limit, which "
	       "comes to %llu, must be larger",
	       sum_of(w, count_words(w, w->guaranteed)), (ull)w->size);
}

static void claim_bucket(struct working *w)
{
	w->size = bucket_burst(w->main->effective);
	work_out_marks(w);
	work_out_rates(w, CLAIM_PROMISED);
	check_rates(w);
	if (!w->sound)
		return;
	if (guaranteed_rate(w, true) > packed_rate(w->main->effective))
		work_out_rates(w, CLAIM_SLOWER);
	check_bursts(w);
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		if (w->guaranteed > w->mark[k])
			w->mark[k] = w->guaranteed;
		w->main->by_class[k] = w->mark[k];
	}
	if (w->sound)
		check_classes(w, w->size, "a burst");
}

/* A part or a ceiling of a window or rolling limit. */
static void pack_units(struct working *w, uint32_t class_index, enum limit_role role,
		       uint64_t units)
{
	struct blob_numbers *n = derived_of(w, class_index, role);

	if (!n)
		return;
	*n = (struct blob_numbers){
		.amount = units,
		.period_ns = w->main->period_ns,
		.share_ppm = PPM,
		.delay_ns = w->main->delay_ns,
		.max_debt = w->main->max_debt,
		.effective = period_effective(w->limit, w->main, units),
	};
	if (n->effective == 0)
		refuse(w, w->limit->classes_at, "%llu in so short a period cannot be counted",
		       (ull)units);
}

static void claim_period(struct working *w)
{
	uint64_t common;

	w->size = units_kept(w->main, w->main->amount);
	work_out_marks(w);
	work_out_units(w);
	check_ceilings(w);
	if (w->guaranteed >= w->size)
		refuse(w, w->limit->classes_at,
		       "guarantees cannot be kept: %s, but %s, of which something must be left for "
		       "all",
		       sum_of(w, count_words(w, w->guaranteed)),
		       left_by_margin(w, count_words(w, w->size), count_words(w, w->main->amount)));
	if (!w->sound)
		return;
	common = w->size - w->guaranteed;
	check_classes(w, common, "a common part");
	w->main->effective = period_effective(w->limit, w->main, common);
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		w->main->by_class[k] = w->mark[k];
		pack_units(w, k, LIMIT_GUARANTEE, w->own[k]);
		pack_units(w, k, LIMIT_CEILING, w->ceiling[k]);
	}
}

static void claim_slots(struct working *w)
{
	uint64_t shared, first = 0;

	w->size = slots_count(w->main->effective);
	work_out_marks(w);
	work_out_units(w);
	check_ceilings(w);
	if (w->guaranteed > w->size)
		refuse(w, w->limit->classes_at, "guarantees cannot be kept: %s slots, but %s",
		       sum_of(w, count_words(w, w->guaranteed)),
		       left_by_margin(w, count_words(w, w->size), count_words(w, w->main->amount)));
	if (!w->sound)
		return;
	shared = w->size - w->guaranteed;
	for (uint32_t k = 0; k < w->c->classes.count; k++) {
		const uint64_t free = left_of(shared, w->mark[k]) + w->own[k];
		uint64_t most = w->mark[k] > 0 ? free : 0;

		if (w->ceiling[k] > 0 && (most == 0 || w->ceiling[k] < most))
			most = w->ceiling[k];
		check_reach(w, k,
			    &(struct reach){free, arena_printf(&w->c->arena,
							       "%llu slots, of which %llu are "
							       "guaranteed to others and %llu "
							       "reserved",
							       (ull)w->size,
							       (ull)(w->guaranteed - w->own[k]),
							       (ull)w->mark[k])});
		w->main->by_class[k] = BLOB_RANGE(first, w->own[k], w->guaranteed, most);
		first += w->own[k];
	}
}

bool claim_numbers(struct compiler *c, const struct draft_limit *limit, const struct node *at,
		   struct blob_numbers *numbers, struct blob_numbers *derived)
{
	static void (*const work[KIND_COUNT])(struct working *) = {
		[KIND_BUCKET] = claim_bucket,
		[KIND_WINDOW] = claim_period,
		[KIND_ROLLING] = claim_period,
		[KIND_SLOTS] = claim_slots,
	};
	struct working w = {
		.c = c,
		.limit = limit,
		.at = at,
		.main = numbers,
		.derived = derived,
		.sound = true,
	};

	if (limit->claims.count > 0 && c->classes.count > 0)
		work[limit->kind](&w);
	return w.sound;
}
