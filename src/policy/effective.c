/*
 * policy/effective.c - what share, margin and delay leave of a limit
 * SPDX-License-Identifier: MIT
 *
 * Exact fractions throughout; the one rounding is the last, and to the safe side: intervals up, bursts down. Whole numbers
 * have one more before: a share is rounded down, since several hosts' must not add up to more than there is; what a
 * margin keeps off is rounded down, too, so that 10 % of 2 slots does not keep off one of them.
 * Everything fits 128 bits: amounts are below 2^40, share and keep at most 10^6 < 2^20, periods below 2^61, delays below
 * 2^42, bursts below 2^40.
 */
#include <stdbool.h>

#include <ration/ration.h>

#include "policy/effective.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"

typedef unsigned __int128 wide;

#define PERIOD_MAX  (UINT64_MAX / TICKS_PER_NS)
#define DELAY_LIMIT (UINT64_C(1) << 42)

typedef bucket_numbers bucket_packer(uint64_t amount, uint64_t period_ns, uint64_t burst);

/* Time per unit, in ns: numerator / denominator. */
struct interval {
	wide numerator;
	wide denominator;
};

/*
 * 2^k units in a whole number of ns, rounded up: binary long division, as many bits as fit. 0: slower than the period
 * can say.
 */
static bucket_numbers pack(struct interval interval, uint64_t burst, bucket_packer *packer)
{
	wide period = interval.numerator / interval.denominator;
	wide rest = interval.numerator % interval.denominator;
	uint64_t amount = 1;

	if (period >= PERIOD_MAX)
		return 0;
	while (rest > 0 && period < PERIOD_MAX / 2 && amount < UINT64_C(1) << 62) {
		rest *= 2;
		period = period * 2 + (rest >= interval.denominator);
		rest %= interval.denominator;
		amount *= 2;
	}
	return packer(amount, (uint64_t)(period + (rest > 0)), burst);
}

static bool in_range(const struct blob_numbers *n)
{
	return n->amount > 0 && n->amount <= RATION_COST_MAX && n->period_ns > 0 &&
	       n->period_ns <= PERIOD_MAX && n->burst > 0 && n->burst <= RATION_COST_MAX &&
	       n->margin_ppm < PPM && n->share_ppm > 0 && n->share_ppm <= PPM &&
	       n->delay_ns < DELAY_LIMIT;
}

/* Parts of PPM * PPM that share and margin leave. */
static uint64_t keep_of(const struct blob_numbers *n)
{
	return (uint64_t)n->share_ppm * (PPM - n->margin_ppm);
}

uint64_t units_part(uint64_t units, uint64_t ppm)
{
	const uint64_t part = (uint64_t)((wide)units * ppm / PPM);

	return part > 0 ? part : 1;
}

uint64_t units_kept(const struct blob_numbers *n, uint64_t units)
{
	const uint64_t ours = units_part(units, n->share_ppm);

	return ours - (uint64_t)((wide)ours * n->margin_ppm / PPM);
}

long double rate_kept(const struct blob_numbers *n)
{
	return (long double)n->amount * 1e9L / (long double)n->period_ns * (long double)keep_of(n) /
	       1e12L;
}

static struct interval interval_kept(const struct blob_numbers *n)
{
	return (struct interval){(wide)n->period_ns * (PPM * PPM), (wide)n->amount * keep_of(n)};
}

bool policy_effective(struct blob_numbers *n)
{
	struct interval interval;
	uint64_t burst;
	wide late, packed_burst;
	bucket_numbers packed;

	if (!in_range(n))
		return false;
	burst = units_kept(n, n->burst);
	interval = interval_kept(n);
	/* Units that may still be on their way: rate * delay, rounded up. */
	late = (n->delay_ns * interval.denominator + interval.numerator - 1) / interval.numerator;
	if (late < burst) {
		packed_burst = burst - late;
	} else {
		/* One unit each (1 / rate + delay) / burst. */
		interval.numerator += n->delay_ns * interval.denominator;
		interval.denominator *= burst;
		packed_burst = 1;
	}
	packed = pack(interval, (uint64_t)packed_burst, bucket_pack);
	if (packed == 0)
		return false;
	n->effective = packed;
	return true;
}

bucket_numbers bucket_claimed(const struct blob_numbers *n, enum claim_rounding rounding)
{
	struct interval interval;

	if (!in_range(n))
		return 0;
	interval = interval_kept(n);
	if (rounding == CLAIM_SLOWER)
		interval.numerator += interval.numerator >> 22;
	return pack(interval, n->burst,
		    rounding == CLAIM_PROMISED ? bucket_pack_promise : bucket_pack);
}

uint64_t window_effective(const struct calendar *calendar, uint64_t units)
{
	struct calendar_window last;

	calendar_find(calendar, CALENDAR_LAST_NS, &last);
	return window_pack(units, last.index);
}

uint64_t rolling_effective(const struct blob_numbers *n, uint64_t units)
{
	return rolling_pack(units, rolling_cell_ticks(n->period_ns, n->delay_ns));
}

bool policy_repack(const struct blob *blob, const struct blob_limit *limit, struct blob_numbers *n)
{
	const uint64_t units = units_kept(n, n->amount);
	struct calendar calendar;

	switch (limit->kind) {
	case KIND_BUCKET:
		return policy_effective(n);
	case KIND_WINDOW:
		calendar = blob_calendar(blob, limit);
		n->effective = window_effective(&calendar, units);
		break;
	case KIND_ROLLING:
		n->effective = rolling_effective(n, units);
		break;
	case KIND_SLOTS:
		n->effective = slots_pack((uint32_t)units, limit->hold_ns, n->delay_ns);
		break;
	default:
		return false;
	}
	return n->effective != 0;
}
