/*
 * tests/test_capacity.c - several classes on one limit: what each is promised, what all use together
 * SPDX-License-Identifier: MIT
 *
 * Simulated: minutes of demand against the real chains, with the time passed in.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "shm/chain.h"
#include "shm/worker.h"
#include "support_seg.h"

#define REQUESTS UINT32_C(0x66ad5ad3)
#define SECOND   TICKS_PER_SEC
#define START    (UINT64_C(1000) * SECOND)
#define MINUTES  UINT64_C(5)

/* One limit of 100/s, burst 50. repair is promised 10/s (bursts of 1), interactive 30/s (bursts of 3). */
enum { REPAIR, INTERACTIVE, BULK, CLASSES };
#define RATE  UINT64_C(100)
#define BURST UINT64_C(50)

static const struct promise {
	uint64_t rate, burst;
} promises[CLASSES] = {{10, 1}, {30, 3}, {0, 0}};

#define PROMISED UINT64_C(4) /* sum of the guarantees' bursts */

struct capacity {
	struct seg seg;
	struct bucket_ref common, own[CLASSES];
	struct link links[CLASSES][2];
	uint32_t n_links[CLASSES];
	uint64_t admitted[CLASSES], denied[CLASSES];
};

static struct link link_of(struct bucket_ref ref, uint32_t flags, uint64_t mark)
{
	return (struct link){
		.bucket = ref.bucket,
		.generation = ref.generation,
		.unit = REQUESTS,
		.flags = KIND_BUCKET | LINK_HAS_DEFAULT | flags,
		.default_cost = 1,
		.mark = mark,
	};
}

static struct capacity capacity_make(void)
{
	struct capacity c = {.seg = seg_make(16, 1)};

	c.common = seg_bucket(&c.seg, 1, RATE, BURST, START);
	for (uint32_t k = 0; k < CLASSES; k++) {
		if (promises[k].rate) {
			c.own[k] = seg_bucket(&c.seg, 10 + k, promises[k].rate, promises[k].burst,
					      START);
			shm_store(&c.seg.hot[c.own[k].bucket].numbers,
				  bucket_pack_promise(promises[k].rate, 1000000000,
						      promises[k].burst));
			c.links[k][c.n_links[k]++] = link_of(c.own[k], LINK_BACKING, 0);
		}
		c.links[k][c.n_links[k]++] = link_of(c.common, 0, PROMISED);
	}
	return c;
}

static enum take draw_one(struct capacity *c, uint32_t class_index, uint64_t now,
			  uint64_t *ret_retry_at)
{
	const struct charge cost = {REQUESTS, 1};
	struct ration_ticket ticket = {.permit = now};
	struct draw draw = {
		.links = c->links[class_index],
		.n_links = c->n_links[class_index],
		.class_index = class_index,
		.at = {.now = now},
	};
	enum take result;

	cr_assert(chain_units(&draw, &cost, 1));
	result = chain_look(&c->seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&c->seg, &draw, &ticket);
	if (result == TAKE_ADMIT)
		c->admitted[class_index]++;
	else
		c->denied[class_index]++;
	*ret_retry_at = draw.verdict.why.retry_at;
	return result;
}

/* Whether the class's own guarantee holds a token just now. */
static bool is_below_guarantee(const struct capacity *c, uint32_t class_index, uint64_t now)
{
	return promises[class_index].rate && seg_left(&c->seg, c->own[class_index], now) >= 1;
}

/*
 * bulk takes all it can, again and again; the others come at random, in full bursts, as often as what they were
 * promised allows: whenever their guarantee holds a token, they are admitted.
 */
Test(capacity, a_class_below_its_guarantee_is_never_denied)
{
	struct capacity c = capacity_make();
	const uint64_t end = START + MINUTES * 60 * SECOND;
	const unsigned seed = 20261123;
	uint64_t now = START, retry_at, used;

	srandom(seed);
	while (now < end) {
		const uint32_t k = (uint32_t)random() % CLASSES;

		while (is_below_guarantee(&c, k, now))
			cr_assert_eq(draw_one(&c, k, now, &retry_at), TAKE_ADMIT,
				     "class %u at tick %lu (seed %u)", k, now, seed);
		while (draw_one(&c, BULK, now, &retry_at) == TAKE_ADMIT)
			;
		now += (uint64_t)random() % (SECOND / 50);
	}
	used = c.admitted[REPAIR] + c.admitted[INTERACTIVE] + c.admitted[BULK];
	cr_expect(used * 100 >= RATE * MINUTES * 60 * 98, "%lu of %lu used", used,
		  RATE * MINUTES * 60);
	cr_expect(used <= BURST + RATE * MINUTES * 60);
	cr_expect(c.denied[BULK] > 0);
	cr_expect_eq(c.denied[REPAIR] + c.denied[INTERACTIVE], 0);
	seg_verify(&c.seg, now, true);
}

/* Demand at exactly the promised rate, each request on its tick: 100 % of it is served, at once. */
Test(capacity, a_guarantee_is_all_there_under_saturation)
{
	struct capacity c = capacity_make();
	uint64_t retry_at;

	for (uint64_t i = 0; i < 10 * 60; i++) {
		const uint64_t now = START + i * (SECOND / 10);

		while (draw_one(&c, BULK, now, &retry_at) == TAKE_ADMIT)
			;
		cr_assert_eq(draw_one(&c, REPAIR, now, &retry_at), TAKE_ADMIT);
		for (int n = 0; n < 3; n++)
			cr_assert_eq(draw_one(&c, INTERACTIVE, now, &retry_at), TAKE_ADMIT);
	}
	seg_verify(&c.seg, START + 60 * SECOND, true);
}

/* A class alone gets the whole rate; a promise to others costs it only what must be left lying. */
Test(capacity, a_class_alone_uses_the_whole_limit)
{
	for (uint32_t k = 0; k < CLASSES; k++) {
		struct capacity c = capacity_make();
		const uint64_t end = START + 60 * SECOND;
		uint64_t now = START, retry_at;

		while (now < end) {
			if (draw_one(&c, k, now, &retry_at) != TAKE_ADMIT) {
				cr_assert(retry_at > now);
				now = retry_at;
			}
		}
		cr_expect(c.admitted[k] * 1000 >= RATE * 60 * 999, "class %u: %lu", k,
			  c.admitted[k]);
		seg_verify(&c.seg, now, true);
	}
}

/* What a denied draw is told holds: a tick before it is denied again, then it is admitted. */
Test(capacity, the_retry_time_of_an_unbacked_draw_is_exact)
{
	struct capacity c = capacity_make();
	uint64_t retry_at, again;

	while (draw_one(&c, BULK, START, &retry_at) == TAKE_ADMIT)
		;
	cr_assert_eq(c.admitted[BULK], BURST - PROMISED);
	cr_assert_eq(draw_one(&c, BULK, retry_at - 1, &again), TAKE_WAIT);
	cr_assert_eq(draw_one(&c, BULK, retry_at, &again), TAKE_ADMIT);
	seg_verify(&c.seg, retry_at, true);
}

/* A cost that its own guarantee cannot hold waits for the common room like anybody else's. */
Test(capacity, the_whole_cost_is_backed_or_none_of_it)
{
	struct capacity c = capacity_make();
	const struct charge cost = {REQUESTS, 2};
	struct ration_ticket ticket = {.permit = START};
	struct draw draw = {.links = c.links[REPAIR], .n_links = 2, .at = {.now = START}};

	cr_assert(chain_units(&draw, &cost, 1));
	cr_assert_eq(chain_look(&c.seg, &draw), TAKE_ADMIT);
	cr_assert_eq(chain_charge(&c.seg, &draw, &ticket), TAKE_ADMIT);
	cr_assert_eq(ticket.n_links, 1);
	cr_assert_eq(ticket.links[0].bucket, c.common.bucket);
	cr_assert_eq(seg_left(&c.seg, c.own[REPAIR], START), 1);
	seg_verify(&c.seg, START, true);
}

/* --- waiting --- */

#define INTERVAL (SECOND / RATE)
#define ARRIVALS 6000

static int by_size(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* A place for a cost of 1 in the common bucket's line. */
static struct queue_place join(struct capacity *c, uint32_t class_index, uint32_t sequence,
			       uint64_t now)
{
	const struct queue_waiter waiter = {
		.bucket = c->common.bucket,
		.class_index = class_index,
		.units = 1,
		.sequence = sequence,
		.arrival = now,
	};
	struct queue_place place;

	cr_assert_eq(queue_join(&c->seg, &waiter, 0, now, &place), QUEUE_JOINED);
	return place;
}

static enum take draw_from(struct capacity *c, const struct queue_place *place, uint64_t now,
			   uint64_t *ret_retry_at)
{
	const struct charge cost = {REQUESTS, 1};
	struct ration_ticket ticket = {.permit = now};
	struct draw draw = {
		.links = &c->links[BULK][0], /* no promise backs it: only its place in line helps */
		.n_links = 1,
		.class_index = INTERACTIVE,
		.at = {.now = now},
		.place = place,
	};
	enum take result;

	cr_assert(chain_units(&draw, &cost, 1));
	result = chain_look(&c->seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&c->seg, &draw, &ticket);
	*ret_retry_at = draw.verdict.why.retry_at;
	return result;
}

/*
 * Interactive comes at random, at a fifth of the limit, with no promise of its own; bulk wants every token there is
 * and is always asked first. What interactive waits is its own interval, and now and then its predecessor's.
 */
Test(capacity, a_more_protected_class_waits_two_intervals_at_most)
{
	static uint64_t waits[ARRIVALS];
	const unsigned seed = 20261123;
	struct capacity c = capacity_make();
	uint64_t now = START, arrival = START, retry_at, used;
	uint32_t done = 0;

	shm_store(&c.seg.workers[0].identity, worker_identity(0, 1, 1));
	srandom(seed);
	while (done < ARRIVALS) {
		struct queue_place place;
		enum take result;

		/* Up to 100 ms between two of them: 20 a second. */
		arrival += 1 + (uint64_t)random() % (2 * 5 * INTERVAL);
		for (; now < arrival; now += INTERVAL / 10) {
			while (draw_one(&c, BULK, now, &retry_at) == TAKE_ADMIT)
				;
		}
		now = arrival;
		place = join(&c, INTERACTIVE, done, now);
		while ((result = draw_from(&c, &place, now, &retry_at)) == TAKE_WAIT) {
			cr_assert(retry_at > now);
			cr_assert(queue_wake_at(&c.seg, &place, retry_at));
			cr_assert_eq(draw_one(&c, BULK, retry_at - 1, &retry_at), TAKE_WAIT);
			now += INTERVAL / 10;
			cr_assert_eq(draw_one(&c, BULK, now, &retry_at), TAKE_WAIT,
				     "past a waiter of a more protected class (seed %u)", seed);
		}
		cr_assert_eq(result, TAKE_ADMIT);
		queue_leave(&c.seg, &place);
		waits[done++] = now - arrival;
	}
	qsort(waits, ARRIVALS, sizeof(waits[0]), by_size);
	cr_expect(waits[ARRIVALS * 99 / 100] <= 2 * INTERVAL, "p99: %lu us",
		  waits[ARRIVALS * 99 / 100] / (SECOND / 1000000));
	used = c.admitted[BULK] + ARRIVALS;
	cr_expect(used * 100 >= (now - START) / INTERVAL * 98, "%lu used", used);
	seg_verify(&c.seg, now, true);
}
