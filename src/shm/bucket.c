/*
 * shm/bucket.c - the token bucket, as GCRA
 * SPDX-License-Identifier: MIT
 */
#include "shm/bucket.h"

#include "shm/saturate.h"

#define MANTISSA_BITS BUCKET_MANTISSA_BITS
#define MANTISSA_MAX  BUCKET_MANTISSA_MAX
#define INTERVAL_BIAS BUCKET_INTERVAL_BIAS
#define STAMP_SHIFT   60

/* Those who stand in line and come later than this are not ahead any more (QUEUE_GRACE). */
#define AHEAD_LATE (TICKS_PER_SEC / 20)

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

/* The mantissa, which bucket_pack() rounded up, is in the lowest bits. */
bucket_numbers bucket_pack_promise(uint64_t amount, uint64_t period_ns, uint64_t burst)
{
	const bucket_numbers n = bucket_pack(amount, period_ns, burst);

	return n != 0 && bucket_interval(n).mantissa > INTERVAL_MANTISSA_MIN ? n - 1 : n;
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

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t bucket_retry_at(const struct bucket_view *view, uint64_t now)
{
	const uint64_t tolerance = bucket_tolerance(view->numbers);
	const uint64_t wanted = view->ticks + view->kept;

	if (wanted <= tolerance)
		return view->tat - (tolerance - wanted);
	/*
	 * More than there ever is: it refills again while those who are ahead are served. A little late, they are
	 * served as of their turns, so now is not what counts.
	 */
	return later(view->tat, now > AHEAD_LATE ? now - AHEAD_LATE : 0) + (wanted - tolerance);
}

uint64_t bucket_left(const struct bucket_view *view, uint64_t now)
{
	const uint64_t tolerance = bucket_tolerance(view->numbers);
	const uint64_t spent = view->tat > now ? view->tat - now : 0;

	if (spent == 0 && view->kept == 0)
		return bucket_burst(view->numbers);
	if (spent >= tolerance || view->kept >= tolerance - spent)
		return 0;
	return units_in(view->numbers, tolerance - spent - view->kept);
}

enum take bucket_charge_for(struct seg_hot *hot, uint32_t generation, const struct demand *demand,
			    uint64_t now, struct bucket_view *view)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		enum take result;

		if (bucket_try(hot, now, view->numbers, view->ticks, &view->tat))
			return TAKE_ADMIT;
		result = bucket_look_for(hot, generation, demand, now, view);
		if (result != TAKE_ADMIT)
			return result;
	}
	return TAKE_AGAIN;
}

enum take bucket_charge(struct seg_hot *hot, uint32_t generation, uint64_t units, uint64_t now,
			struct bucket_view *view)
{
	const struct demand demand = {.units = units};

	return bucket_charge_for(hot, generation, &demand, now, view);
}

/* --- as a link of a chain --- */

static void explain_shortage(const struct bucket_view *view, const struct demand *demand,
			     uint64_t now, struct shortage *why)
{
	const uint64_t burst = bucket_burst(view->numbers);

	why->retry_at = bucket_retry_at(view, now);
	why->left = bucket_left(view, now);
	why->size = burst > demand->mark ? burst - demand->mark : 0;
}

static void keep(const struct bucket_view *view, struct taken *taken)
{
	taken->charged = view->ticks;
	taken->word = view->tat;
	taken->refunds = view->refunds;
}

enum take bucket_link_look(const struct seg *seg, const struct link *link,
			   const struct demand *demand, const struct instant *at,
			   struct taken *ret_taken, struct shortage *ret_why)
{
	struct bucket_view view;
	const enum take result =
		bucket_look_for(&seg->hot[link->bucket], link->generation, demand, at->now, &view);

	if (result == TAKE_ADMIT)
		keep(&view, ret_taken);
	else if (result == TAKE_WAIT || result == TAKE_NEVER)
		explain_shortage(&view, demand, at->now, ret_why);
	return result;
}

enum take bucket_link_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			     const struct instant *at, struct taken *taken,
			     struct shortage *ret_why)
{
	struct seg_hot *hot = &seg->hot[link->bucket];
	struct bucket_view view;
	enum take result = bucket_look_for(hot, link->generation, demand, at->now, &view);

	/* `taken` does not say under which numbers it was looked at, so that look cannot be charged. */
	if (result == TAKE_ADMIT)
		result = bucket_charge_for(hot, link->generation, demand, at->now, &view);

	if (result == TAKE_ADMIT)
		keep(&view, taken);
	else if (result == TAKE_WAIT || result == TAKE_NEVER)
		explain_shortage(&view, demand, at->now, ret_why);
	return result;
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
	uint64_t end, due;

	/* A sum below the ticket's began anew meanwhile: what was refunded since is not known. */
	if (pair->word[1] < charged->refunds || pair->word[1] - charged->refunds >= charged->tat)
		return 0;
	end = charged->tat - (pair->word[1] - charged->refunds);
	/* A TAT that was repaired may lie before the charge's. */
	if (end > pair->word[0])
		end = pair->word[0];
	if (end <= now)
		return 0;
	due = end - now;
	return due < charged->ticks ? due : charged->ticks;
}

/* The sum must not wrap, or old tickets would look young: at its end nothing is refunded any more. */
static uint64_t raised(uint64_t refunds, uint64_t by)
{
	return by > UINT64_MAX - refunds ? UINT64_MAX : refunds + by;
}

/* What to make of a pair; false if nothing is to be done. */
static bool refunded(const struct bucket_charged *charged, const struct bucket_pair *pair,
		     uint64_t now, uint64_t next[2])
{
	const uint64_t due = undrained(charged, pair, now);

	if (due > 0 && pair->word[1] <= UINT64_MAX - due) {
		next[0] = pair->word[0] - due;
		next[1] = pair->word[1] + due;
		return true;
	}
	/* A drained bucket owes nobody anything: the time to begin a sum that has grown large anew. */
	next[0] = pair->word[0];
	next[1] = 0;
	return pair->word[0] <= now && pair->word[1] > UINT64_MAX / 2;
}

bool bucket_refund(struct seg_hot *hot, const struct bucket_charged *charged,
		   const struct bucket_pair *pair, uint64_t now, uint64_t *ret_given)
{
	uint64_t next[2];

	*ret_given = 0;
	if (pair->word[0] == RECORD_DEAD || shm_half_load(&hot->generation) != charged->generation)
		return true;
	if (!refunded(charged, pair, now, next))
		return true;
	if (!shm_cas_pair(hot->state, pair->word, next))
		return false;
	*ret_given = pair->word[0] - next[0];
	return true;
}

/* --- what a vendor says --- */

static bool look_alive(const struct seg_hot *hot, uint32_t generation, struct bucket_pair *pair)
{
	bucket_refund_look(hot, pair);
	return pair->word[0] != RECORD_DEAD && shm_half_load(&hot->generation) == generation;
}

/* Ticks that so much of the burst takes, at most all of it. */
static uint64_t missing(bucket_numbers numbers, uint64_t units)
{
	return sooner(bucket_cost(numbers, units), bucket_tolerance(numbers));
}

bool bucket_correct(struct seg_hot *hot, uint32_t generation, uint64_t used, uint64_t at,
		    uint64_t *ret_units)
{
	*ret_units = 0;
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;
		bucket_numbers numbers;
		uint64_t next[2];

		if (!look_alive(hot, generation, &pair))
			return false;
		numbers = shm_load_relaxed(&hot->numbers);
		next[0] = at + missing(numbers, used);
		/* By less than a unit it is only that time has passed, and tickets keep their refunds. */
		if (next[0] < sum(pair.word[0], bucket_cost(numbers, 1)))
			return true;
		/* No ticket's TAT is further ahead than the burst, or this one would not have been raised. */
		next[1] = raised(pair.word[1], bucket_tolerance(numbers));
		if (shm_cas_pair(hot->state, pair.word, next)) {
			*ret_units = units_in(numbers, next[0] - later(pair.word[0], at));
			return true;
		}
	}
	return false;
}

bool bucket_level(const struct seg_hot *hot, uint32_t generation, uint64_t *ret_level)
{
	struct bucket_pair pair;

	if (!look_alive(hot, generation, &pair))
		return false;
	*ret_level = pair.word[0] + pair.word[1];
	return true;
}

bool bucket_credit(struct seg_hot *hot, uint32_t generation, uint64_t used, uint64_t level,
		   uint64_t at, uint64_t *ret_units)
{
	*ret_units = 0;
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;
		bucket_numbers numbers;
		uint64_t since, next[2];

		if (!look_alive(hot, generation, &pair))
			return false;
		numbers = shm_load_relaxed(&hot->numbers);
		/* Of a sum that began anew, and after corrections, it is too much: then nothing is given. */
		since = pair.word[0] + pair.word[1] - level;
		next[0] = sum(at + missing(numbers, used), since);
		if (next[0] >= pair.word[0])
			return true;
		/* Whose charges these were nobody knows: no ticket gives any of it back once more. */
		next[1] = raised(pair.word[1], bucket_tolerance(numbers));
		if (next[1] == UINT64_MAX)
			return true;
		if (shm_cas_pair(hot->state, pair.word, next)) {
			*ret_units = units_in(numbers, pair.word[0] - next[0]);
			return true;
		}
	}
	return false;
}

enum debit bucket_debit(struct seg_hot *hot, uint32_t generation, uint64_t ticks, uint64_t now)
{
	return bucket_debit_within(hot, generation, ticks, TICKS_CAP, now);
}

enum debit bucket_debit_within(struct seg_hot *hot, uint32_t generation, uint64_t ticks,
			       uint64_t debt, uint64_t now)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		uint64_t tat = shm_load(&hot->state[0]);
		uint64_t tolerance, limit, next;
		bool whole;

		if (tat == RECORD_DEAD || shm_half_load(&hot->generation) != generation)
			return DEBIT_NONE;
		tolerance = bucket_tolerance(shm_load_relaxed(&hot->numbers));
		limit = bucket_tat_limit(now, tolerance);
		if (limit - now - tolerance > debt)
			limit = now + tolerance + debt;
		next = later(tat, now);
		whole = next <= limit && ticks <= limit - next;
		next = whole ? next + ticks : limit;
		if (next <= tat || shm_cas(&hot->state[0], &tat, next))
			return whole ? DEBIT_WHOLE : DEBIT_PART;
	}
	return DEBIT_NONE;
}

/* --- new numbers --- */

/*
 * What a backlog in ticks comes to under new numbers. Never less than is spent; to a slower rate no more than all of the
 * new burst, or what it was.
 */
static uint64_t converted(uint64_t backlog, bucket_numbers from, bucket_numbers to)
{
	const uint64_t empty = bucket_tolerance(to),
		       stretched = bucket_cost(to, units_in(from, backlog) + 1);

	if (backlog == 0)
		return 0;
	if (interval_scaled(to) <= interval_scaled(from))
		return sooner(backlog, later(empty, stretched));
	return later(backlog, sooner(empty, stretched));
}

/*
 * Part of a backlog that the new burst does not hold: nobody is to wait for it, but if the burst grows again soon, it is
 * spent still. Known for as long as the old burst took to fill. In fractions of units, for it outlasts rates.
 */
struct overhang {
	uint64_t parts;
	uint64_t until;
};

#define PART_BITS 20
#define PARTS_MAX (BUCKET_UNITS_MAX << PART_BITS)

static struct overhang known(const struct overhang *o, uint64_t now)
{
	if (o->until <= now || o->until - now > BUCKET_HORIZON_MAX || o->parts > PARTS_MAX)
		return (struct overhang){0, 0};
	return *o;
}

bool bucket_remembers(const struct seg_hot *hot, uint64_t now)
{
	const struct overhang overhang = {shm_load(&hot->state[2]), shm_load(&hot->state[3])};

	return known(&overhang, now).parts > 0;
}

/* Parts of units that so many ticks are worth. */
static uint64_t parts_in(bucket_numbers n, uint64_t ticks)
{
	const struct bucket_interval interval = bucket_interval(n);
	const unsigned __int128 scaled = (unsigned __int128)ticks << (INTERVAL_BIAS + PART_BITS);
	unsigned __int128 parts;

	if (interval.mantissa == 0)
		return 0;
	parts = (scaled >> interval.exponent) / interval.mantissa;
	return parts < PARTS_MAX ? (uint64_t)parts : PARTS_MAX;
}

/* Ticks that whole units of it take, rounded up. */
static uint64_t parts_cost(bucket_numbers n, uint64_t parts)
{
	return parts > 0 ? bucket_cost(n, (parts >> PART_BITS) + 1) : 0;
}

static uint64_t fitted(uint64_t backlog, bucket_numbers from, bucket_numbers to, uint64_t now,
		       struct overhang *overhang)
{
	const uint64_t full = bucket_tolerance(from);
	const uint64_t spent = parts_in(from, backlog) + (backlog > 0) + overhang->parts;
	const uint64_t whole = converted(backlog + parts_cost(from, overhang->parts), from, to);
	uint64_t kept = sooner(whole, bucket_tolerance(to)), held;

	if (backlog > full + 1) /* debt stays */
		kept = later(kept, converted(backlog, from, to));
	held = parts_in(to, kept) +
	       (kept > 0); /* the same rounding: what fits leaves nothing over */
	overhang->parts = spent > held ? sooner(spent - held, PARTS_MAX) : 0;
	overhang->until = later(overhang->until, now + full);
	return kept;
}

/*
 * A worker may charge with a clock it read before the change. A slower rate must not let it find as spent
 * less than was spent then: the old backlog, at its largest, stretches to the new interval. At most to empty;
 * a bucket that drained long ago keeps nothing of it.
 */
static uint64_t strict(uint64_t tat, uint64_t before, uint64_t now, bucket_numbers from,
		       bucket_numbers to)
{
	const uint64_t old = bucket_tolerance(from),
		       stretched = bucket_cost(to, bucket_burst(from));
	const uint64_t empty = now + bucket_tolerance(to);
	uint64_t end;

	if (stretched <= old || before > now + old || tat >= empty)
		return tat;
	end = before + (stretched - old);
	return end > empty ? empty : later(tat, end);
}

/* A TAT moved so far ahead that nothing is admitted until that has drained. */
struct hold {
	uint64_t ticks;
	uint64_t refunds; /* loaded before it */
	uint64_t before, after;
};

/* False: out of attempts, or between two lives. */
static bool hold_bucket(struct seg_hot *hot, seg_clock *clock, void *user, struct hold *hold)
{
	hold->refunds = shm_load(&hot->state[1]);
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		uint64_t tat = shm_load(&hot->state[0]);

		if (tat == RECORD_DEAD)
			return false;
		hold->before = tat;
		hold->after = later(tat, clock(user)) + hold->ticks;
		if (shm_cas(&hot->state[0], &tat, hold->after))
			return true;
	}
	return false;
}

/* What was charged since, at most: where the hold is left so late that it has drained, under the new numbers. */
static uint64_t charged_since(const struct hold *hold, const struct bucket_pair *pair)
{
	const uint64_t now = pair->word[0] + (pair->word[1] - hold->refunds);

	return now > hold->after ? now - hold->after : 0;
}

static void release_bucket(struct seg_hot *hot, const struct hold *hold, bucket_numbers from,
			   bucket_numbers to, seg_clock *clock, void *user)
{
	const struct overhang before = {shm_load(&hot->state[2]), shm_load(&hot->state[3])};

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;
		struct overhang overhang;
		uint64_t now, backlog = 0, next[2];

		bucket_refund_look(hot, &pair);
		now = clock(user);
		if (pair.word[0] > now + hold->ticks)
			backlog = pair.word[0] - hold->ticks - now;
		overhang = known(&before, now);
		next[0] = now + fitted(backlog, from, to, now, &overhang);
		next[0] = strict(next[0], hold->before, now, from, to);
		next[0] = later(next[0], now + charged_since(hold, &pair));
		next[0] += next[0] == hold->before;
		if (next[0] >= pair.word[0])
			return; /* so late that the hold itself has drained */
		next[1] = raised(pair.word[1], pair.word[0] - next[0]);
		shm_store(&hot->state[2], overhang.parts);
		shm_store(&hot->state[3], overhang.until);
		if (shm_cas_pair(hot->state, pair.word, next))
			return;
	}
}

bool bucket_retune(struct seg_hot *hot, bucket_numbers numbers, seg_clock *clock, void *user)
{
	const bucket_numbers old = shm_load_relaxed(&hot->numbers);
	struct hold hold = {
		.ticks = later(bucket_tolerance(old), bucket_tolerance(numbers)) + 2,
	};

	if (!hold_bucket(hot, clock, user, &hold))
		return false;
	shm_store(&hot->numbers, numbers);
	release_bucket(hot, &hold, old, numbers, clock, user);
	return true;
}

/* --- looking after --- */

bool bucket_plausible(const struct seg_hot *hot, uint64_t now)
{
	const bucket_numbers numbers = shm_load_relaxed(&hot->numbers);
	const uint64_t tolerance = bucket_tolerance(numbers);
	uint64_t tat;

	if (bucket_interval(numbers).mantissa < INTERVAL_MANTISSA_MIN || bucket_burst(numbers) == 0)
		return false;
	if (bucket_burst(numbers) > BUCKET_UNITS_MAX || tolerance > BUCKET_HORIZON_MAX)
		return false;
	tat = shm_load(&hot->state[0]);
	return tat == RECORD_DEAD || tat <= bucket_tat_limit(now, tolerance);
}

bool bucket_repair(struct seg_hot *hot, seg_clock *clock, void *user)
{
	const uint64_t tolerance = bucket_tolerance(shm_load_relaxed(&hot->numbers));

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;
		uint64_t now, next[2];

		bucket_refund_look(hot, &pair);
		now = clock(user);
		if (pair.word[0] == RECORD_DEAD || pair.word[0] <= bucket_tat_limit(now, tolerance))
			return false;
		next[0] = now + tolerance;
		next[1] = raised(pair.word[1], pair.word[0] - next[0]);
		if (shm_cas_pair(hot->state, pair.word, next))
			return true;
	}
	return false;
}
