/*
 * tests/test_policy_numbers.c - effective numbers against an exact model
 * SPDX-License-Identifier: MIT
 *
 * The model computes in fractions of 512 bits, by cross-multiplication, and shares nothing with the code but
 * the formula of policy.h. What must hold: never faster and never larger than the exact value, and not needlessly less.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include <ration/ration.h>

#include "policy/policy.h"

#define MS  UINT64_C(1000000)
#define S   (1000 * MS)
#define PPM UINT64_C(1000000)

/* --- unsigned numbers of 512 bits: products of fractions, compared exactly --- */

enum { WORDS = 16 };

struct big {
	uint32_t word[WORDS]; /* least significant first */
};

static struct big big_of(uint64_t value)
{
	return (struct big){{(uint32_t)value, (uint32_t)(value >> 32)}};
}

static struct big big_times(struct big a, struct big b)
{
	struct big product = {{0}};

	for (int i = 0; i < WORDS; i++) {
		uint64_t carry = 0;

		for (int j = 0; i + j < WORDS; j++) {
			carry += (uint64_t)a.word[i] * b.word[j] + product.word[i + j];
			product.word[i + j] = (uint32_t)carry;
			carry >>= 32;
		}
		cr_assert(carry == 0, "the model overflows");
	}
	return product;
}

static struct big big_plus(struct big a, struct big b)
{
	uint64_t carry = 0;

	for (int i = 0; i < WORDS; i++) {
		carry += (uint64_t)a.word[i] + b.word[i];
		a.word[i] = (uint32_t)carry;
		carry >>= 32;
	}
	cr_assert(carry == 0, "the model overflows");
	return a;
}

static int big_compare(struct big a, struct big b)
{
	for (int i = WORDS - 1; i >= 0; i--) {
		if (a.word[i] != b.word[i])
			return a.word[i] > b.word[i] ? 1 : -1;
	}
	return 0;
}

static struct big product(uint64_t a, uint64_t b, uint64_t c)
{
	return big_times(big_times(big_of(a), big_of(b)), big_of(c));
}

/* --- the model --- */

/* A fraction. */
struct exact {
	struct big over, under;
};

/* ns a unit, after share and margin. */
static struct exact kept_interval(const struct blob_numbers *n)
{
	return (struct exact){product(n->period_ns, PPM, PPM),
			      product(n->amount, n->share_ppm, PPM - n->margin_ppm)};
}

static uint64_t kept_burst(const struct blob_numbers *n)
{
	/* Bursts are below 2^40, shares and margins below 2^20. */
	const uint64_t share = n->burst * n->share_ppm / PPM, ours = share > 0 ? share : 1;

	return ours - ours * n->margin_ppm / PPM;
}

/* Whether burst - rate * delay >= least. */
static bool leaves(const struct blob_numbers *n, uint64_t burst, uint64_t least)
{
	const struct exact kept = kept_interval(n);

	return burst >= least && big_compare(big_times(big_of(burst - least), kept.over),
					     big_times(big_of(n->delay_ns), kept.under)) >= 0;
}

/* ns a unit in force: as it is kept, or (interval + delay) / burst where the delay does not fit. */
static struct exact model_interval(const struct blob_numbers *n, uint64_t burst)
{
	struct exact e = kept_interval(n);

	if (leaves(n, burst, 1))
		return e;
	e.over = big_plus(e.over, big_times(big_of(n->delay_ns), e.under));
	e.under = big_times(e.under, big_of(burst));
	return e;
}

/* As many units as make the largest number of ticks that a packed interval can say exactly. */
static uint64_t measured_units(const struct blob_numbers *n)
{
	uint64_t units = UINT64_C(1) << 39;

	while (units > 1 && bucket_cost(n->effective, units) >= UINT64_MAX / 4)
		units /= 2;
	return units;
}

/* Never faster than the model; slower by one part in a million and a tick at most. */
static void check_interval(const struct blob_numbers *n, struct exact e)
{
	const uint64_t units = measured_units(n), ticks = bucket_cost(n->effective, units);
	const struct big packed = big_times(product(ticks, PPM, 1), e.under);
	const struct big least = big_times(product(units, TICKS_PER_NS, PPM), e.over);
	const struct big most = big_plus(big_times(product(units, TICKS_PER_NS, PPM + 1), e.over),
					 big_times(big_of(PPM), e.under));

	cr_assert_geq(big_compare(packed, least), 0, "faster than allowed");
	cr_assert_leq(big_compare(packed, most), 0, "needlessly slow");
}

static void check_burst(const struct blob_numbers *n, uint64_t burst)
{
	const uint64_t packed = bucket_burst(n->effective);

	cr_assert_geq(packed, 1);
	cr_assert(packed == 1 || leaves(n, burst, packed), "%lu of %lu", packed, burst);
	/* The packed burst keeps 24 bits. */
	cr_assert_not(leaves(n, burst, packed + packed / (1 << 22) + 1), "%lu of %lu", packed,
		      burst);
}

static void check_numbers(const struct blob_numbers *n)
{
	const uint64_t burst = kept_burst(n);

	check_interval(n, model_interval(n, burst));
	check_burst(n, burst);
}

static uint64_t random_bits(unsigned *seed, int bits)
{
	uint64_t r = (uint64_t)rand_r(seed) << 62 ^ (uint64_t)rand_r(seed) << 31 ^
		     (uint64_t)rand_r(seed);

	return r & ((UINT64_C(1) << bits) - 1);
}

static struct blob_numbers random_numbers(unsigned *seed)
{
	static const uint64_t periods[] = {S, 60 * S, 3600 * S, 86400 * S, 10 * S, 6000 * S};
	struct blob_numbers n = {
		.amount = 1 + random_bits(seed, rand_r(seed) % 40),
		.period_ns = periods[rand_r(seed) % 6],
		.burst = 1 + random_bits(seed, rand_r(seed) % 40),
		.margin_ppm = (uint32_t)(rand_r(seed) % 2 ? random_bits(seed, 19) : 0),
		.share_ppm = (uint32_t)(rand_r(seed) % 2 ? 1 + random_bits(seed, 19) : PPM),
		.delay_ns = rand_r(seed) % 4 ? random_bits(seed, rand_r(seed) % 42) : 0,
	};

	if (n.delay_ns > 3600 * S)
		n.delay_ns = 3600 * S;
	return n;
}

Test(policy_numbers, never_more_and_hardly_less, .timeout = 60)
{
	unsigned seed = 1122, packed = 0;

	for (int i = 0; i < 20000; i++) {
		struct blob_numbers n = random_numbers(&seed);

		if (!policy_effective(&n))
			continue;
		check_numbers(&n);
		packed++;
	}
	cr_assert_gt(packed, 10000, "%u", packed);
}

/* --- known values --- */

static struct blob_numbers numbers(uint64_t amount, uint64_t period_ns, uint64_t burst)
{
	return (struct blob_numbers){
		.amount = amount,
		.period_ns = period_ns,
		.burst = burst,
		.share_ppm = PPM,
	};
}

static void expect_effective(struct blob_numbers n, uint64_t amount, uint64_t period_ns,
			     uint64_t burst)
{
	cr_assert(policy_effective(&n));
	cr_expect_eq(n.effective, bucket_pack(amount, period_ns, burst), "%lu/1000 s, burst %lu",
		     bucket_millirate(n.effective), bucket_burst(n.effective));
}

Test(policy_numbers, nothing_taken_off)
{
	expect_effective(numbers(100, S, 50), 100, S, 50);
	expect_effective(numbers(300, S, 60), 300, S, 60);
	expect_effective(numbers(100000, 86400 * S, 1), 100000, 86400 * S, 1);
}

Test(policy_numbers, share_and_margin)
{
	struct blob_numbers n = numbers(300, S, 60);

	n.share_ppm = 250000;
	n.margin_ppm = 100000;
	expect_effective(n, 675, 10 * S, 14);
	n.burst = 1;
	expect_effective(n, 675, 10 * S, 1);
}

Test(policy_numbers, delay_from_the_burst)
{
	struct blob_numbers n = numbers(300, S, 60);

	n.delay_ns = 50 * MS;
	expect_effective(n, 300, S, 45);
	n.burst = 16;
	expect_effective(n, 300, S, 1);
	n.amount = 150;
	n.burst = 30;
	expect_effective(n, 150, S, 22);
}

/* Burst 20 at 100/s and a delay of 250 ms: 20 / (10 ms + 250 ms) = 76.9/s. */
Test(policy_numbers, delay_from_the_rate)
{
	struct blob_numbers n = numbers(100, S, 20);

	n.delay_ns = 250 * MS;
	expect_effective(n, 20, 260 * MS, 1);
	n.burst = 1;
	n.delay_ns = 10 * MS;
	expect_effective(n, 1, 20 * MS, 1);
}

/*
 * What the formula is for: permits at the effective numbers, each up to `delay` late, arrive within the written ones.
 * The worst case is all of a first burst late and the rest at once: n permits take (n - burst) intervals, and arrive within that
 * less the delay; the vendor lets n pass in (n - its burst) of its intervals.
 */
Test(policy_numbers, late_arrivals_stay_within_the_limit)
{
	unsigned seed = 5;

	for (int i = 0; i < 2000; i++) {
		struct blob_numbers n =
			numbers(1 + random_bits(&seed, 14), S, 1 + random_bits(&seed, 12));
		uint64_t ours, vendors, burst;

		n.delay_ns = random_bits(&seed, 29);
		cr_assert(policy_effective(&n));
		burst = bucket_burst(n.effective);
		for (uint64_t k = 1; k < 3 * n.burst + 10; k++) {
			/* Earliest last arrival after the first, and the vendor's own, in ticks. */
			ours = k > burst ? bucket_cost(n.effective, k - burst) : 0;
			ours = ours > n.delay_ns * 8 ? ours - n.delay_ns * 8 : 0;
			vendors = k > n.burst ? (k - n.burst) * S * 8 / n.amount : 0;
			cr_assert_geq(ours + 1, vendors, "%lu/s burst %lu delay %lu: %lu permits",
				      n.amount, n.burst, n.delay_ns, k);
		}
	}
}

Test(policy_numbers, refused)
{
	struct blob_numbers n = numbers(1, 86400 * S, 10000), bad;

	n.effective = 77;
	cr_expect_not(policy_effective(&n));
	cr_expect_eq(n.effective, 77);
	for (int i = 0; i < 8; i++) {
		bad = numbers(5, S, 5);
		bad.amount = i == 0 ? 0 : i == 1 ? RATION_COST_MAX + 1 : 5;
		bad.period_ns = i == 2 ? 0 : i == 3 ? UINT64_MAX : S;
		bad.burst = i == 4 ? 0 : 5;
		bad.margin_ppm = i == 5 ? 1000000 : 0;
		bad.share_ppm = i == 6 ? 0 : 1000000;
		bad.delay_ns = i == 7 ? UINT64_MAX : 0;
		cr_expect_not(policy_effective(&bad), "%d", i);
	}
}
