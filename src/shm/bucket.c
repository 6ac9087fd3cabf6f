/*
 * shm/bucket.c - the token bucket, as GCRA
 * SPDX-License-Identifier: MIT
 */
#include "shm/bucket.h"

#define MANTISSA_BITS BUCKET_MANTISSA_BITS
#define MANTISSA_MAX  BUCKET_MANTISSA_MAX
#define INTERVAL_BIAS BUCKET_INTERVAL_BIAS
#define STAMP_SHIFT   60

/* Below this mantissa an interval would lose more than 2^-16 of the rate to rounding. */
#define INTERVAL_MANTISSA_MIN (UINT64_C(1) << 16)

/* --- numbers --- */

/* Comparable: in units of 2^-30 ticks. */
static unsigned __int128 interval_scaled(bucket_numbers n)
{
	const struct bucket_interval interval = bucket_interval(n);

	return (unsigned __int128)interval.mantissa << interval.exponent;
}

/* ceil(a * 2^shift / b); the caller keeps a * 2^shift and b * 2^-shift within 128 bits. */
static unsigned __int128 scaled_ceil(uint64_t a, int shift, uint64_t b)
{
	unsigned __int128 num = shift > 0 ? (unsigned __int128)a << shift : a;
	unsigned __int128 den = shift < 0 ? (unsigned __int128)b << -shift : b;

	return (num + den - 1) / den;
}

/* The smallest exponent whose mantissa fits, and the mantissa rounded up: never faster than asked.
 */
static bool pack_interval(uint64_t amount, uint64_t period_ticks, bucket_numbers *ret)
{
	for (int e = 0; e <= BUCKET_EXPONENT_MAX; e++) {
		unsigned __int128 m = scaled_ceil(period_ticks, INTERVAL_BIAS - e, amount);

		if (m > MANTISSA_MAX)
			continue;
		if (m < INTERVAL_MANTISSA_MIN)
			return false;
		*ret = (uint64_t)e << MANTISSA_BITS | (uint64_t)m;
		return true;
	}
	return false;
}

static bucket_numbers pack_burst(uint64_t burst)
{
	uint64_t e = 0;

	for (; burst > MANTISSA_MAX; burst >>= 1)
		e++;
	return (e << MANTISSA_BITS | burst) << BUCKET_BURST_SHIFT;
}

bucket_numbers bucket_pack(uint64_t amount, uint64_t period_ns, uint64_t burst)
{
	bucket_numbers interval, n;

	if (amount == 0 || period_ns == 0 || period_ns > UINT64_MAX / TICKS_PER_NS)
		return 0;
	if (burst == 0 || burst > BUCKET_UNITS_MAX)
		return 0;
	if (!pack_interval(amount, period_ns * TICKS_PER_NS, &interval))
		return 0;
	n = pack_burst(burst) | interval;
	return bucket_tolerance(n) <= BUCKET_HORIZON_MAX ? n : 0;
}

/* Whole units that so many ticks are worth. */
static uint64_t units_in(bucket_numbers n, uint64_t ticks)
{
	const struct bucket_interval interval = bucket_interval(n);
	const unsigned __int128 scaled = (unsigned __int128)ticks << INTERVAL_BIAS;

	if (interval.mantissa == 0)
		return 0;
	return (uint64_t)((scaled >> interval.exponent) / interval.mantissa);
}

uint64_t bucket_millirate(bucket_numbers numbers)
{
	return units_in(numbers, TICKS_PER_SEC * 1000);
}

uint32_t bucket_stamp(bucket_numbers numbers)
{
	return (uint32_t)(numbers >> STAMP_SHIFT);
}

bucket_numbers bucket_restamp(bucket_numbers numbers, uint32_t generation)
{
	const bucket_numbers rest = numbers & ((UINT64_C(1) << STAMP_SHIFT) - 1);

	return rest | (uint64_t)(generation & 0xf) << STAMP_SHIFT;
}

/* --- admitting --- */

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t bucket_retry_at(const struct bucket_view *view)
{
	const uint64_t tolerance = bucket_tolerance(view->numbers);

	return view->ticks >= tolerance ? view->tat : view->tat - (tolerance - view->ticks);
}

uint64_t bucket_left(const struct bucket_view *view, uint64_t now)
{
	const uint64_t tolerance = bucket_tolerance(view->numbers);

	if (view->tat <= now)
		return bucket_burst(view->numbers);
	if (view->tat - now >= tolerance)
		return 0;
	return units_in(view->numbers, tolerance - (view->tat - now));
}

enum bucket_result bucket_charge_again(struct seg_hot *hot, uint32_t generation, uint64_t units,
				       uint64_t now, struct bucket_view *view)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		const enum bucket_result result = bucket_look(hot, generation, units, now, view);

		if (result != BUCKET_ADMIT)
			return result;
		if (bucket_try(hot, now, view))
			return BUCKET_ADMIT;
	}
	return BUCKET_AGAIN;
}

/* --- correcting --- */

void bucket_refund_look(const struct seg_hot *hot, struct bucket_pair *ret_pair)
{
	ret_pair->word[1] = shm_load(&hot->state[1]);
	ret_pair->word[0] = shm_load(&hot->state[0]);
}

/* The part of a charge that time has not given back at `now`, nor a refund moved under it. */
static uint64_t undrained(const struct bucket_charged *charged, const struct bucket_pair *pair,
			  uint64_t now)
{
	const uint64_t since = pair->word[1] - charged->refunds;
	uint64_t end, due;

	if (since >= charged->tat)
		return 0;
	/* Never below now: a TAT that was repaired meanwhile may lie before the charge's. */
	end = charged->tat - since;
	if (end > pair->word[0])
		end = pair->word[0];
	if (end <= now)
		return 0;
	due = end - now;
	return due < charged->ticks ? due : charged->ticks;
}

bool bucket_refund(struct seg_hot *hot, const struct bucket_charged *charged,
		   const struct bucket_pair *pair, uint64_t now, uint64_t *ret_given)
{
	uint64_t due, next[2];

	*ret_given = 0;
	if (pair->word[0] == BUCKET_DEAD || shm_half_load(&hot->generation) != charged->generation)
		return true;
	due = undrained(charged, pair, now);
	if (due == 0)
		return true;
	next[0] = pair->word[0] - due;
	next[1] = pair->word[1] + due;
	if (!shm_cas_pair(hot->state, pair->word, next))
		return false;
	*ret_given = due;
	return true;
}

bool bucket_debit(struct seg_hot *hot, uint32_t generation, uint64_t ticks, uint64_t now)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		uint64_t tat = shm_load(&hot->state[0]);
		uint64_t limit, next;

		if (tat == BUCKET_DEAD || shm_half_load(&hot->generation) != generation)
			return false;
		limit = bucket_tat_limit(now, bucket_tolerance(shm_load_relaxed(&hot->numbers)));
		next = later(tat, now);
		next = next >= limit || ticks >= limit - next ? limit : next + ticks;
		if (next <= tat || shm_cas(&hot->state[0], &tat, next))
			return true;
	}
	return false;
}

/* Lower a TAT and raise the refund sum by as much, so that no older ticket gives back the same
 * again. */
static void lower_tat(struct seg_hot *hot, uint64_t above, uint64_t not_above, uint64_t to)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;
		uint64_t next[2];

		bucket_refund_look(hot, &pair);
		if (pair.word[0] <= above || pair.word[0] > not_above)
			return;
		next[0] = to;
		next[1] = pair.word[1] + (pair.word[0] - to);
		if (shm_cas_pair(hot->state, pair.word, next))
			return;
	}
}

/* Slower units: what is spent takes longer to come back. At most to empty, and never downwards. */
static void stretch_tat(struct seg_hot *hot, bucket_numbers from, bucket_numbers to, uint64_t now)
{
	const uint64_t empty = now + bucket_tolerance(to);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		uint64_t tat = shm_load(&hot->state[0]);
		uint64_t units, next;

		if (tat <= now || tat >= empty)
			return;
		units = units_in(from, tat - now) + 1;
		next = now + bucket_cost(to, units);
		if (next > empty)
			next = empty;
		if (next <= tat || shm_cas(&hot->state[0], &tat, next))
			return;
	}
}

void bucket_retune(struct seg_hot *hot, bucket_numbers numbers, uint64_t now)
{
	const bucket_numbers old = shm_load_relaxed(&hot->numbers);
	const uint64_t old_tolerance = bucket_tolerance(old);

	if (interval_scaled(numbers) > interval_scaled(old))
		stretch_tat(hot, old, numbers, now);
	shm_store(&hot->numbers, numbers);
	/* Spent within the old burst (its rounding included) is at most all of the new one; debt
	 * stays. */
	lower_tat(hot, now + bucket_tolerance(numbers), now + old_tolerance + 1,
		  now + bucket_tolerance(numbers));
}

bool bucket_plausible(const struct seg_hot *hot, uint64_t now)
{
	const bucket_numbers numbers = shm_load_relaxed(&hot->numbers);
	const uint64_t tolerance = bucket_tolerance(numbers);

	if (bucket_interval(numbers).mantissa < INTERVAL_MANTISSA_MIN || bucket_burst(numbers) == 0)
		return false;
	if (bucket_burst(numbers) > BUCKET_UNITS_MAX || tolerance > BUCKET_HORIZON_MAX)
		return false;
	return shm_load(&hot->state[0]) <= bucket_tat_limit(now, tolerance);
}

void bucket_repair(struct seg_hot *hot, uint64_t now)
{
	const uint64_t tolerance = bucket_tolerance(shm_load_relaxed(&hot->numbers));

	lower_tat(hot, bucket_tat_limit(now, tolerance), UINT64_MAX, now + tolerance);
}
