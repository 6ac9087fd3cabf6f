/*
 * shm/bucket.h - the token bucket, as GCRA
 * SPDX-License-Identifier: MIT
 *
 * The generic cell rate algorithm (ITU-T I.371) keeps one time for each bucket: the theoretical
 * arrival time, TAT, at which the bucket will be full again. A cost of c units takes c * interval
 * ticks; it is admitted at `now` if
 *
 *	max(TAT, now) + c * interval <= now + burst * interval
 *
 * and then TAT becomes the left side. Costs in ticks are rounded up and the burst in ticks down, so
 * rounding never admits more; it costs at most one tick an acquire (1/8 ns: 1.25e-4 at a million
 * acquires a second) and 2^-23 of the rate.
 *
 * Refunds. Time gives tokens back by itself, so a charge may return only the part of it that has
 * not drained yet, or it mints: min(cost, TAT_after_charge - (refunds since) - now). "Refunds since"
 * needs a second word, the refund sum, and both words must change at once: with two separate
 * stores, whichever comes first, another worker can charge in between, or bring TAT back to the
 * value the second store expects, and then computes from a sum that does not match its TAT. So a
 * refund swaps both words by one 16-byte CAS. Charges need only TAT: they load the sum first, so a
 * ticket carries a sum no newer than its TAT, which can only make its refund smaller. The sum never
 * wraps: it stops at its end, and begins anew only when the bucket has drained, so the pair does not
 * return to an earlier value.
 *
 * What may run beside what (each is a loop around one CAS; a kill leaves the old or the new value):
 *
 *			charge	refund	debit	retune
 *	charge		  x	  x	  x	  x	loser of the CAS looks again; so does
 *							whoever finds other numbers after it
 *	refund		  x	  x	  x	  x	its clock is read after its loads, so a
 *							stopped refund fails or is still right
 *	retune		  x	  x	  x	  -	three steps, of which the first makes every
 *							earlier look fail; the supervisor alone
 *	correct, credit	  x	  x	  x	  x	swap both words, and name times at which something was
 *							true: late ones are right still
 *
 * Times come in as arguments. Nothing here blocks, allocates or calls the system.
 */
#ifndef RATION_SHM_BUCKET_H
#define RATION_SHM_BUCKET_H

#include "shm/take.h"

/* Debt a settle may leave: an hour, or the burst where that is longer. A TAT beyond it is no
 * bucket's. */
#define BUCKET_DEBT_MAX (3600 * TICKS_PER_SEC)

/* The longest time a bucket may need to fill: load refuses more. About 9 years, so that 50 years of
 * uptime and all of it still fit 64 bits. */
#define BUCKET_HORIZON_MAX (UINT64_C(1) << 61)

/*
 * Rate and burst in one word, so that nobody ever sees one without the other:
 *	[generation 4 | burst exponent 6 | burst 24 | interval exponent 6 | interval 24]
 * interval = mantissa * 2^(exponent - 30) ticks a unit, burst = mantissa * 2^exponent units.
 */
typedef uint64_t bucket_numbers;

/*
 * Pack `amount` units in `period_ns` and a burst: interval rounded up, burst down.
 * Returns 0 if they do not fit (1 in 200 days ... 1e12 a second; burst 1 ... 2^40; burst * interval
 * <= BUCKET_HORIZON_MAX): no packed word is 0.
 */
bucket_numbers bucket_pack(uint64_t amount, uint64_t period_ns, uint64_t burst);

/*
 * The same for what is promised to a class and backed by a limit of its own numbers: the interval is rounded down, so
 * that demand at exactly the promised rate is never short of a tick.
 */
bucket_numbers bucket_pack_promise(uint64_t amount, uint64_t period_ns, uint64_t burst);

/* Ticks that `units` take, rounded up; saturates at TICKS_CAP. */
static inline uint64_t bucket_cost(bucket_numbers numbers, uint64_t units);

/* Ticks of the whole burst, rounded down; saturates at TICKS_CAP. */
static inline uint64_t bucket_tolerance(bucket_numbers numbers);

/* Units of the whole burst. */
static inline uint64_t bucket_burst(bucket_numbers numbers);

/* Units a second, times 1000, rounded down: for people. */
uint64_t bucket_millirate(bucket_numbers numbers);

/* The low bits of the policy generation that set these numbers, and the same numbers with other
 * ones. */
uint32_t bucket_stamp(bucket_numbers numbers);
bucket_numbers bucket_restamp(bucket_numbers numbers, uint32_t generation);

/* What a look at a bucket found; carried from the look to the charge. */
struct bucket_view {
	uint64_t tat;     /* as loaded */
	uint64_t refunds; /* loaded before it */
	uint64_t ticks;   /* the cost */
	uint64_t kept; /* ticks of what must be left: the mark, and what others are to have first */
	bucket_numbers numbers;
};

/*
 * Plain loads, no store. The whole decision, as of now: a cost is admitted if the mark, and what others are to have
 * first, would still be left.
 */
static inline enum take bucket_look_for(const struct seg_hot *hot, uint32_t generation,
					const struct demand *demand, uint64_t now,
					struct bucket_view *ret_view);

/* The same for a cost that need not leave anything. */
static inline enum take bucket_look(const struct seg_hot *hot, uint32_t generation, uint64_t units,
				    uint64_t now, struct bucket_view *ret_view)
{
	const struct demand demand = {.units = units};

	return bucket_look_for(hot, generation, &demand, now, ret_view);
}

/* When the same cost could be admitted, and what is left, for a view that was denied. */
uint64_t bucket_retry_at(const struct bucket_view *view, uint64_t now);
uint64_t bucket_left(const struct bucket_view *view, uint64_t now);

/*
 * Charge what was looked at; looks again as long as others are faster. On TAKE_ADMIT view->tat is
 * the TAT left behind and view->refunds what the ticket must carry. On anything else nothing was
 * charged and the view is what was found.
 */
enum take bucket_charge_for(struct seg_hot *hot, uint32_t generation, const struct demand *demand,
			    uint64_t now, struct bucket_view *view);
enum take bucket_charge(struct seg_hot *hot, uint32_t generation, uint64_t units, uint64_t now,
			struct bucket_view *view);

/* What one charge may give back: as the ticket carries it. */
struct bucket_charged {
	uint32_t generation;
	uint64_t ticks; /* at most this much comes back */
	uint64_t tat;   /* as the charge left it */
	uint64_t refunds;
};

/*
 * A refund is two steps, because its clock must be read after the bucket:
 *	do { bucket_refund_look(hot, &pair); now = clock(); }
 *	while (!bucket_refund(hot, &charged, &pair, now, &given));
 * (bounded by the caller). bucket_refund returns true when done: the refund was given, or nothing
 * was due, or the record lives another life; *ret_given is what was given, in ticks.
 */
struct bucket_pair {
	uint64_t word[2];
};
void bucket_refund_look(const struct seg_hot *hot, struct bucket_pair *ret_pair);
bool bucket_refund(struct seg_hot *hot, const struct bucket_charged *charged,
		   const struct bucket_pair *pair, uint64_t now, uint64_t *ret_given);

/* Charge more, into debt if need be (at most BUCKET_DEBT_MAX of it, or `debt` ticks where that is less). */
enum debit bucket_debit_within(struct seg_hot *hot, uint32_t generation, uint64_t ticks,
			       uint64_t debt, uint64_t now);
enum debit bucket_debit(struct seg_hot *hot, uint32_t generation, uint64_t ticks, uint64_t now);

/*
 * What a vendor says of the bucket. `used`: units that were missing of the burst at `at` or later, and at `at` or
 * earlier.
 *
 * correct: never lowers; credit: never raises, and whatever was charged since the level was read stays (bucket_level()).
 * Where anything changes, tickets of before give nothing back.
 * *ret_units: how much that was. False: out of attempts, or another life.
 */
bool bucket_correct(struct seg_hot *hot, uint32_t generation, uint64_t used, uint64_t at,
		    uint64_t *ret_units);
bool bucket_credit(struct seg_hot *hot, uint32_t generation, uint64_t used, uint64_t level,
		   uint64_t at, uint64_t *ret_units);

/* What all charges, and nothing else, raise: how much later is what was charged since. False: another life. */
bool bucket_level(const struct seg_hot *hot, uint32_t generation, uint64_t *ret_level);

/*
 * Give a linked bucket new numbers; what was spent stays spent, in units, and older tickets give nothing back. What a
 * smaller burst does not hold is kept in state[2] (2^-20 units; state[3]: until when), which only the supervisor reads:
 * should the burst grow again before the old one would have filled, it is spent still. First the TAT moves so far ahead
 * that neither the old nor the new numbers admit anything, so that whoever looked before fails its CAS; then the numbers
 * change; then the TAT comes back to what the backlog is worth, never to the value it had. Killed in between, the bucket
 * stays empty for a burst's time. The clock is read after each look: a supervisor that was stopped in between must not
 * lower a TAT to where time no longer is.
 * False: too much contention, nothing changed. The supervisor only.
 */
bool bucket_retune(struct seg_hot *hot, bucket_numbers numbers, seg_clock *clock, void *user);

/* Whether at `now` a larger burst would still find spent what a smaller one does not hold. The supervisor only. */
bool bucket_remembers(const struct seg_hot *hot, uint64_t now);

/* Whether the words of a linked bucket can be true at `now`; between two lives they are. */
bool bucket_plausible(const struct seg_hot *hot, uint64_t now);

/*
 * Empty a bucket whose TAT is impossible; true if it was. Impossible numbers are for whoever knows
 * the policy. The supervisor, or the owner of an embedded segment, only.
 */
bool bucket_repair(struct seg_hot *hot, seg_clock *clock, void *user);

/* --- the path of an acquire, inline --- */

#define TICKS_CAP            (UINT64_MAX / 2)
#define BUCKET_UNITS_MAX     ((UINT64_C(1) << 40) - 1)
#define BUCKET_MANTISSA_BITS 24
#define BUCKET_MANTISSA_MAX  ((UINT64_C(1) << BUCKET_MANTISSA_BITS) - 1)
#define BUCKET_EXPONENT_MAX  63
#define BUCKET_INTERVAL_BIAS 30
#define BUCKET_BURST_SHIFT   30

/* mantissa * 2^(exponent - 30) ticks a unit. */
struct bucket_interval {
	uint64_t mantissa;
	unsigned exponent;
};

static inline struct bucket_interval bucket_interval(bucket_numbers n)
{
	return (struct bucket_interval){n & BUCKET_MANTISSA_MAX,
					(unsigned)(n >> BUCKET_MANTISSA_BITS) &
						BUCKET_EXPONENT_MAX};
}

static inline uint64_t bucket_burst(bucket_numbers n)
{
	const uint64_t packed = n >> BUCKET_BURST_SHIFT;

	return (packed & BUCKET_MANTISSA_MAX)
	       << ((packed >> BUCKET_MANTISSA_BITS) & BUCKET_EXPONENT_MAX);
}

/* units * interval is p * 2^(exponent - 30), with p exact in 64 bits because units < 2^40. */
static inline uint64_t bucket_ticks(bucket_numbers n, uint64_t units, bool up)
{
	const struct bucket_interval interval = bucket_interval(n);
	uint64_t p;

	if (units > BUCKET_UNITS_MAX)
		return TICKS_CAP;
	p = units * interval.mantissa;
	if (interval.exponent >= BUCKET_INTERVAL_BIAS) {
		const unsigned left = interval.exponent - BUCKET_INTERVAL_BIAS;

		return p > TICKS_CAP >> left ? TICKS_CAP : p << left;
	} else {
		const unsigned right = BUCKET_INTERVAL_BIAS - interval.exponent;
		const uint64_t rest = p & ((UINT64_C(1) << right) - 1);

		return (p >> right) + (up && rest != 0);
	}
}

static inline uint64_t bucket_cost(bucket_numbers numbers, uint64_t units)
{
	return bucket_ticks(numbers, units, true);
}

static inline uint64_t bucket_tolerance(bucket_numbers numbers)
{
	return bucket_ticks(numbers, bucket_burst(numbers), false);
}

/* The latest TAT that any charge, settle or correction leaves. */
static inline uint64_t bucket_tat_limit(uint64_t now, uint64_t tolerance)
{
	return now + tolerance + (tolerance > BUCKET_DEBT_MAX ? tolerance : BUCKET_DEBT_MAX);
}

static inline enum take bucket_look_for(const struct seg_hot *hot, uint32_t generation,
					const struct demand *demand, uint64_t now,
					struct bucket_view *view)
{
	uint64_t tolerance, burst;

	view->refunds = shm_load(&hot->state[1]);
	view->tat = shm_load(&hot->state[0]);
	/* The TAT of a new life is released after its generation: having seen it, we see that. */
	if (view->tat == RECORD_DEAD || shm_half_load(&hot->generation) != generation)
		return TAKE_STALE;
	view->numbers = shm_load_relaxed(&hot->numbers);
	view->ticks = bucket_cost(view->numbers, demand->units);
	view->kept = bucket_cost(view->numbers, demand->mark + demand->ahead);
	burst = bucket_burst(view->numbers);
	if (demand->units > burst || demand->mark > burst - demand->units)
		return burst ? TAKE_NEVER : TAKE_CORRUPT;
	/*
	 * At a full bucket any cost up to the burst fits by definition; the next test alone would
	 * refuse a cost of the whole burst where burst * interval is not a whole number of ticks.
	 */
	if (view->tat <= now && demand->ahead <= burst - demand->units - demand->mark)
		return TAKE_ADMIT;
	tolerance = bucket_tolerance(view->numbers);
	if (view->ticks + view->kept <= tolerance &&
	    view->tat <= now + (tolerance - view->ticks - view->kept))
		return TAKE_ADMIT;
	return view->tat > bucket_tat_limit(now, tolerance) ? TAKE_CORRUPT : TAKE_WAIT;
}

/*
 * One try, from the TAT that was looked at; it becomes the one left behind. A retune forgets what the new burst
 * does not hold, and so may bring the TAT back to a value that somebody has looked at under the old numbers: then
 * his CAS succeeds, and what he charged stays spent, but he may not have it. The numbers tell him: whoever sees the
 * TAT of a retune sees its numbers too, and their stamp makes them differ from those of 15 retunes before.
 */
static inline bool bucket_try(struct seg_hot *hot, uint64_t now, bucket_numbers numbers,
			      uint64_t ticks, uint64_t *tat)
{
	const uint64_t next = (*tat > now ? *tat : now) + ticks;
	uint64_t expected = *tat;

	if (!shm_cas(&hot->state[0], &expected, next))
		return false;
	*tat = next;
	return shm_load_relaxed(&hot->numbers) == numbers;
}

/* --- as a link of a chain: taken is [ticks, TAT left behind, refund sum] --- */

enum take bucket_link_look(const struct seg *seg, const struct link *link,
			   const struct demand *demand, const struct instant *at,
			   struct taken *ret_taken, struct shortage *ret_why);
enum take bucket_link_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			     const struct instant *at, struct taken *taken,
			     struct shortage *ret_why);

#endif
