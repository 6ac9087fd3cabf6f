/*
 * tests/step_rolling.c - rolling limits, killed and stopped at each instruction
 * SPDX-License-Identifier: MIT
 *
 * What counts must be what the workers were told they have, and not less; more only if the worker was killed, and then
 * only what its operation takes. Another worker must be able to do the same.
 */
#include <stdlib.h>

#include "shm/index.h"
#include "shm/rolling.h"
#include "support_step.h"

#define CELL   (UINT64_C(1) << 30) /* ticks */
#define T0     (1000 * CELL)
#define AMOUNT UINT64_C(8)
#define COST   UINT64_C(3)

/* What a worker came away with. */
struct outcome {
	uint64_t units;
	struct charge_ref charge;
	bool done; /* what it did last */
};

struct stage {
	struct outcome outcome[STEP_WORKERS];
	struct bucket_ref ref;
	uint64_t now;
	bool closed;
};

static struct stage *stage(void)
{
	return step_stage;
}

static uint64_t used(void)
{
	return rolling_used(&step_seg, stage()->ref.bucket, stage()->now);
}

/* --- the operations --- */

static void take(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];
	const struct instant at = {.now = stage()->now};
	const struct demand demand = {.units = COST};
	const struct link link = {
		.bucket = stage()->ref.bucket,
		.generation = stage()->ref.generation,
		.flags = KIND_ROLLING,
		.shape = {[ROLLING_CELL_TICKS] = CELL},
	};
	struct taken taken = {0, 0, 0};
	struct shortage why;

	mine->done = rolling_look(&step_seg, &link, &demand, &at, &taken, &why) == TAKE_ADMIT &&
		     rolling_charge(&step_seg, &link, &demand, &at, &taken, &why) == TAKE_ADMIT;
	if (mine->done) {
		mine->units += COST;
		mine->charge =
			(struct charge_ref){link.bucket, link.generation, COST, at.now, taken, 0};
	}
	step_done(who);
}

/* From here on the request does not leave, however this ends. */
static void cancel(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];

	mine->units -= mine->charge.units;
	mine->done = rolling_give_back(&step_seg, &mine->charge, mine->charge.units);
	step_done(who);
}

static void settle_down(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];

	mine->units -= COST - 1;
	mine->done = rolling_give_back(&step_seg, &mine->charge, COST - 1);
	step_done(who);
}

static void settle_up(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];

	mine->done = rolling_debit(&step_seg, &mine->charge, COST, stage()->now);
	if (mine->done)
		mine->units += COST;
	step_done(who);
}

static void correct(enum step_who who)
{
	uint64_t units;

	stage()->outcome[who].done =
		rolling_correct(&step_seg, stage()->ref.bucket, stage()->ref.generation, AMOUNT,
				stage()->now, &units);
	step_done(who);
}

static void close_it(enum step_who who)
{
	stage()->closed = rolling_close(&step_seg, stage()->ref.bucket, stage()->now);
	step_done(who);
}

/* --- what is done before, by A --- */

static void pass(uint64_t cells)
{
	stage()->now += cells * CELL;
}

static void next_cell(enum step_who who)
{
	take(who);
	stage()->outcome[who].units = 0;
	rolling_give_back(&step_seg, &stage()->outcome[who].charge, COST);
	pass(1);
}

static void take_earlier(enum step_who who)
{
	take(who);
	pass(1);
}

/* So that the charge is in the ring. */
static void take_and_roll(enum step_who who)
{
	const struct charge_ref none = {
		.bucket = stage()->ref.bucket,
		.generation = stage()->ref.generation,
	};

	take_earlier(who);
	if (!rolling_debit(&step_seg, &none, 0, stage()->now))
		abort();
}

/* --- what must hold afterwards --- */

static uint64_t told(void)
{
	return stage()->outcome[A].units + stage()->outcome[B].units;
}

static void check_used(void)
{
	if (used() < told())
		step_fail("less is charged than was admitted");
	if (used() > told() + (step_killed ? COST : 0))
		step_fail("more is charged than was admitted");
	if (used() > AMOUNT)
		step_fail("more was admitted than there is");
	if (!stage()->outcome[B].done)
		step_fail("the other was refused");
}

static void check_debt(void)
{
	if (used() < told() || used() > told() + (step_killed ? COST : 0))
		step_fail("a debt is not what was charged");
}

static void check_cancelled(void)
{
	if (used() < told() || (!step_killed && used() != told()))
		step_fail("what was given back is not what counts less");
	if (!stage()->outcome[B].done)
		step_fail("the other was refused");
}

/* B cancels nothing that a correction says is used. */
static void check_corrected(void)
{
	if (used() < (step_killed ? told() : AMOUNT))
		step_fail("of a correction something is forgotten");
}

static void check_closed(void)
{
	if (stage()->closed && stage()->outcome[B].done)
		step_fail("it was charged after its end");
	if (!stage()->closed && !step_killed && !stage()->outcome[B].done)
		step_fail("it was neither closed nor charged");
	/* What follows expects it alive. */
	if (shm_load(&step_seg.hot[stage()->ref.bucket].state[0]) == RECORD_DEAD) {
		const uint32_t line =
			(uint32_t)(shm_load(&step_seg.hot[stage()->ref.bucket].state[3]) >> 32);

		shm_store(&step_seg.hot[stage()->ref.bucket].state[0],
			  rolling_first(&step_seg, stage()->ref.bucket, line,
					rolling_pack(AMOUNT, CELL), CELL, stage()->now, 0));
	}
}

static const struct step_operation operations[] = {
	{"take", NULL, take, take, check_used},
	{"take in a new cell", next_cell, take, take, check_used},
	{"take in a new cell, beside another's", take_earlier, take, take, check_debt},
	{"cancel", take, cancel, take, check_cancelled},
	{"cancel in the ring", take_and_roll, cancel, take, check_cancelled},
	{"cancel while the cell is left", take_earlier, cancel, take, check_cancelled},
	{"settle down", take, settle_down, take, check_cancelled},
	{"settle down in the ring", take_and_roll, settle_down, take, check_cancelled},
	{"settle up", take, settle_up, take, check_debt},
	{"settle up in a new cell", take_earlier, settle_up, take, check_debt},
	{"correct", take_and_roll, correct, take, check_corrected},
	{"close", next_cell, close_it, take, check_closed},
};

static uint64_t fill(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	(void)user;
	return rolling_first(seg, bucket, first, rolling_pack(AMOUNT, CELL), CELL, T0, 0);
}

static void set_up(void)
{
	const struct bucket_spec spec = {
		.identity = {{7, 1}},
		.kind = KIND_ROLLING,
		.numbers = rolling_pack(AMOUNT, CELL),
		.extent_lines = ROLLING_LINES,
		.fill = fill,
	};

	stage()->now = T0;
	if (index_insert(&step_seg, A, &spec, &stage()->ref) != INDEX_FOUND)
		abort();
}

int main(void)
{
	const struct step_test test = {
		.stage_size = sizeof(struct stage),
		.set_up = set_up,
		.now = T0 + CELL,
		.operations = operations,
		.n_operations = sizeof(operations) / sizeof(operations[0]),
	};

	return step_main(&test);
}
