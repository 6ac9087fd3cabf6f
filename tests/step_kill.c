/*
 * tests/step_kill.c - token buckets, the index, counters and the reaper, killed and stopped at each instruction
 * SPDX-License-Identifier: MIT
 *
 * What the worker may have spent is at most what the operation takes, another worker must be able to do the same, and both
 * must have what they were told they have, and no more.
 */
#include <stdlib.h>

#include "shm/bucket.h"
#include "shm/index.h"
#include "shm/stat.h"
#include "shm/worker.h"
#include "support_step.h"

#define T0    UINT64_C(1000000)
#define BURST UINT64_C(8)
#define COST  UINT64_C(3)

/* What a worker came away with. */
struct outcome {
	uint64_t taken; /* units it was told it has */
	struct bucket_charged charged;
	struct bucket_ref ref; /* of what it inserted */
	bool inserted;
};

/* Shared by both processes, beside the segment. */
struct stage {
	struct outcome outcome[STEP_WORKERS];
	struct bucket_ref bucket; /* one unit a tick */
};

static struct stage *stage(void)
{
	return step_stage;
}

static uint64_t clock_now(void *user)
{
	(void)user;
	return T0;
}

static struct seg_hot *hot(void)
{
	return &step_seg.hot[stage()->bucket.bucket];
}

/* Units that are charged. */
static uint64_t spent(void)
{
	struct bucket_view view;

	(void)bucket_look(hot(), stage()->bucket.generation, 0, T0, &view);
	return view.tat > T0 ? view.tat - T0 : 0;
}

/* --- the operations --- */

static void take(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];
	const uint32_t life = stage()->bucket.generation;
	struct bucket_view view;

	if (bucket_look(hot(), life, COST, T0, &view) == TAKE_ADMIT &&
	    bucket_charge(hot(), life, COST, T0, &view) == TAKE_ADMIT) {
		mine->charged = (struct bucket_charged){life, view.ticks, view.tat, view.refunds};
		mine->taken += COST;
	}
	step_done(who);
}

static void cancel(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];

	uint64_t given = 0;

	/* From here on the request does not leave, however this ends. */
	mine->taken -= mine->charged.ticks;
	for (int i = 0; mine->charged.ticks != 0 && i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;

		bucket_refund_look(hot(), &pair);
		if (bucket_refund(hot(), &mine->charged, &pair, clock_now(NULL), &given))
			mine->charged.ticks = 0;
	}
	step_done(who);
}

static void settle_up(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];

	if (bucket_debit(hot(), stage()->bucket.generation, COST, T0))
		mine->taken += COST;
	step_done(who);
}

static void take_and_cancel(enum step_who who)
{
	take(who);
	cancel(who);
}

static void retune(enum step_who who)
{
	const bucket_numbers slower = bucket_pack(TICKS_PER_SEC, 2 * UINT64_C(1000000000), BURST);

	(void)bucket_retune(hot(), slower, clock_now, NULL);
	step_done(who);
}

static void insert(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];
	const struct bucket_spec spec = {
		.identity = {{42, 1}},
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(TICKS_PER_SEC, UINT64_C(1000000000), BURST),
		.state = {T0},
		.names = {"vendor/limit", "tenant"},
	};

	mine->inserted = index_insert(&step_seg, who, &spec, &mine->ref) == INDEX_FOUND;
	step_done(who);
}

static void count(enum step_who who)
{
	for (int i = 0; i < 2; i++)
		stat_count(&step_seg, who, stage()->bucket.bucket, stage()->bucket.generation,
			   STAT_ADMITTED);
	step_done(who);
}

/* The supervisor is killed while it clears up after the worker that stopped in insert(). */
static void reap(enum step_who who)
{
	worker_reap(&step_seg, B, 0);
	step_done(who);
}

/* --- what must hold afterwards --- */

static void check_spent(void)
{
	const uint64_t told = stage()->outcome[A].taken + stage()->outcome[B].taken;

	if (spent() < told)
		step_fail("less is charged than was admitted");
	if (spent() > told + (step_killed ? COST : 0))
		step_fail("more is charged than was admitted");
	if (spent() > BURST)
		step_fail("more was admitted than there is");
}

static void check_debt(void)
{
	const uint64_t told = stage()->outcome[A].taken + stage()->outcome[B].taken;

	if (spent() < told || spent() > told + (step_killed ? COST : 0))
		step_fail("a debt is not what was charged");
}

/* Refunds that cross give less: something may stay spent, never the other way round. */
static void check_refunds(void)
{
	if (spent() < stage()->outcome[A].taken + stage()->outcome[B].taken)
		step_fail("a refund made room for more than it gave back");
}

static void check_retuned(void)
{
	struct bucket_view view;

	(void)bucket_look(hot(), stage()->bucket.generation, 0, T0, &view);
	if (bucket_left(&view, T0) + stage()->outcome[B].taken + COST > BURST)
		step_fail("what was spent is forgotten");
}

static void check_inserted(void)
{
	const struct outcome *a = &stage()->outcome[A], *b = &stage()->outcome[B];
	const struct hash128 identity = {{42, 1}};
	struct bucket_ref ref = {0, 0};

	if (!b->inserted || (!step_killed && !a->inserted) ||
	    index_find(&step_seg, identity, &ref) != INDEX_FOUND)
		step_fail("the other could not insert it");
	else if (b->ref.bucket != ref.bucket || (a->inserted && a->ref.bucket != ref.bucket))
		step_fail("one identity has two records");
}

static void check_counted(void)
{
	struct stat_total totals[8] = {{0, 0}};
	uint64_t sum;

	stat_collect(&step_seg, totals);
	sum = totals[stage()->bucket.bucket].admitted +
	      atomic_load(&step_seg.cold[stage()->bucket.bucket].admitted);
	if (sum > 4 || (!step_killed && sum != 4))
		step_fail("the count is wrong");
}

static void check_reaped(void)
{
	worker_reap(&step_seg, B, 0);
	for (uint32_t i = 0; i < step_seg.n_buckets; i++) {
		const uint64_t owner = atomic_load(&step_seg.cold[i].owner);

		if (owner != COLD_FREE && owner != COLD_LINKED)
			step_fail("a record was left behind");
	}
}

/* B as somebody who was killed while it made a record. */
static void half_made(enum step_who who)
{
	(void)who;
	atomic_store(&step_seg.workers[B].claim, 3);
	atomic_store(&step_seg.cold[2].owner, B + 1);
	stat_count(&step_seg, B, stage()->bucket.bucket, stage()->bucket.generation, STAT_DENIED);
}

static void nothing(enum step_who who)
{
	(void)who;
}

static const struct step_operation operations[] = {
	{"take", NULL, take, take, check_spent},
	{"cancel", take, cancel, take, check_refunds},
	{"cancel beside a cancel", take, cancel, take_and_cancel, check_refunds},
	{"settle up", take, settle_up, take, check_debt},
	{"retune", take, retune, take, check_retuned},
	{"insert", NULL, insert, insert, check_inserted},
	{"count", NULL, count, count, check_counted},
	{"reap", half_made, reap, nothing, check_reaped},
};

static void set_up(void)
{
	const struct bucket_spec spec = {
		.identity = {{7, 1}},
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(TICKS_PER_SEC, UINT64_C(1000000000), BURST),
		.state = {T0},
	};

	if (index_insert(&step_seg, A, &spec, &stage()->bucket) != INDEX_FOUND)
		abort();
}

int main(void)
{
	const struct step_test test = {
		.stage_size = sizeof(struct stage),
		.set_up = set_up,
		.now = T0,
		.operations = operations,
		.n_operations = sizeof(operations) / sizeof(operations[0]),
	};

	return step_main(&test);
}
