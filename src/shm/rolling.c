/*
 * shm/rolling.c - so much in any period of that length
 * SPDX-License-Identifier: MIT
 */
#include "shm/rolling.h"

#include "shm/cells.h"

#define AMOUNT_MAX ((UINT64_C(1) << CELLS_AMOUNT_BITS) - 1)

/* In the numbers, above the bits. */
#define PACED      (UINT64_C(1) << 46)
#define PACE_SLACK (TICKS_PER_SEC / 10)

/* How far ahead of a clock what another's clock left can be. */
#define CLOCK_SLACK TICKS_PER_SEC

/* --- numbers --- */

uint64_t rolling_pack(uint64_t amount, uint64_t cell_ticks)
{
	unsigned bits;

	if (amount == 0 || amount > AMOUNT_MAX || cell_ticks == 0)
		return 0;
	bits = cells_bits(cell_ticks);
	return amount <= cells_most(bits) / 2 ? (uint64_t)bits << CELLS_AMOUNT_BITS | amount : 0;
}

uint64_t rolling_amount(uint64_t numbers)
{
	return numbers & AMOUNT_MAX;
}

uint64_t rolling_paced(uint64_t numbers)
{
	return numbers | PACED;
}

/* --- what a charge now would do --- */

struct plan {
	const struct link *link;
	const struct demand *demand;
	uint64_t now;
	uint64_t present; /* cell of now */
	uint64_t cell;    /* that it would count in */
	struct cells cells;
	uint64_t total; /* units that count against it */
	uint64_t pace;  /* state[2] */
	uint64_t turn;  /* paced: when its turn is; 0: now */
};

static struct plan plan_for(const struct link *link, const struct demand *demand,
			    const struct instant *at)
{
	return (struct plan){
		.link = link,
		.demand = demand,
		.now = at->now,
		.present = cells_index(at->now, link->shape[ROLLING_CELL_TICKS]),
	};
}

static bool is_paced(const struct plan *plan)
{
	return plan->link->flags & LINK_PACED || plan->cells.numbers & PACED;
}

static uint64_t amount_of(const struct plan *plan)
{
	return rolling_amount(plan->cells.numbers);
}

static uint64_t begin(const struct plan *plan, uint64_t index)
{
	return cells_begin(index, plan->link->shape[ROLLING_CELL_TICKS]);
}

/* How long it takes to use so many units evenly. */
static uint64_t pace_ticks(const struct plan *plan, uint64_t units)
{
	return ratio(units, CELLS_TOUCHED * plan->link->shape[ROLLING_CELL_TICKS], amount_of(plan),
		     true);
}

/* The latest that state[2] can be: a cost of the whole amount. */
static uint64_t latest_pace(uint64_t now, uint64_t cell_ticks)
{
	return sum(now, sum(ratio(CELLS_TOUCHED, cell_ticks, 1, false), CLOCK_SLACK));
}

static void plan_turn(struct plan *plan)
{
	const uint64_t latest = latest_pace(plan->now, plan->link->shape[ROLLING_CELL_TICKS]);
	uint64_t turn;

	plan->pace = shm_load(&plan->cells.hot->state[2]);
	turn = plan->pace > latest ? plan->now : plan->pace;
	turn = sum(turn, pace_ticks(plan, plan->demand->ahead));
	plan->turn = turn > plan->now ? turn : 0;
}

/* Units that must be there, those for others included. */
static uint64_t needed(const struct demand *demand)
{
	return sum(demand->units, sum(demand->ahead, demand->mark));
}

static bool has_room(const struct plan *plan)
{
	return sum(plan->total, needed(plan->demand)) <= amount_of(plan);
}

/* When so much of what counts now will not count any more, if nobody else comes. */
static uint64_t room_at(const struct plan *plan)
{
	const uint64_t whole = most(minus(amount_of(plan), plan->demand->mark), 1);
	uint64_t over = minus(sum(plan->total, needed(plan->demand)), amount_of(plan));
	uint64_t index;

	for (index = plan->present - ROLLING_CELLS; index <= plan->cells.at.index; index++) {
		const uint64_t used = cells_used(&plan->cells, index);

		if (used >= over)
			return begin(plan, index + CELLS_TOUCHED);
		over -= used;
	}
	/* Those in line ahead use up whole periods. */
	return begin(plan, sum(plan->cell,
			       ratio(sum(over, whole - 1) / whole + 1, CELLS_TOUCHED, 1, false)));
}

static enum take deny(const struct plan *plan, struct shortage *ret_why)
{
	const struct demand *demand = plan->demand;

	ret_why->size = minus(amount_of(plan), demand->mark);
	ret_why->left = minus(amount_of(plan), sum(plan->total, sum(demand->mark, demand->ahead)));
	ret_why->retry_at = plan->turn;
	if (demand->units > ret_why->size)
		return TAKE_NEVER;
	if (!has_room(plan))
		ret_why->retry_at = most(plan->turn, room_at(plan));
	return TAKE_WAIT;
}

/* Another's clock is so far ahead that the ring does not go back to where ours is: wait until it does. */
static enum take wait_for_clock(const struct plan *plan, struct shortage *ret_why)
{
	const uint64_t turn = begin(plan, plan->cell - CELLS_SPARE);

	if (turn > sum(plan->now, CLOCK_SLACK))
		return TAKE_CORRUPT;
	*ret_why = (struct shortage){
		.retry_at = turn,
		.size = minus(amount_of(plan), plan->demand->mark),
	};
	return plan->demand->units > ret_why->size ? TAKE_NEVER : TAKE_WAIT;
}

/* Would it be admitted as things stand? has_turn: the pace has let it through already. */
static enum take judge(bool has_turn, struct plan *plan, struct shortage *ret_why)
{
	plan->cell = cells_to_open(&plan->cells, plan->present);
	if (plan->cell - plan->present > CELLS_SPARE)
		return wait_for_clock(plan, ret_why);
	plan->total = cells_used_since(&plan->cells, plan->present - ROLLING_CELLS);
	plan->turn = 0;
	if (is_paced(plan) && !has_turn)
		plan_turn(plan);
	return plan->turn == 0 && has_room(plan) ? TAKE_ADMIT : deny(plan, ret_why);
}

/* In place of a head that what was looked at can be charged to by a single CAS. */
#define NOT_AT_ONCE 0

static bool at_once(const struct plan *plan)
{
	return plan->cell == plan->cells.at.index && !is_paced(plan);
}

enum take rolling_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		       const struct instant *at, struct taken *ret_taken, struct shortage *ret_why)
{
	struct plan plan = plan_for(link, demand, at);
	enum take result = cells_read(seg, link->bucket, link->generation, &plan.cells);

	if (result == TAKE_ADMIT)
		result = judge(false, &plan, ret_why);
	if (result == TAKE_ADMIT)
		*ret_taken = (struct taken){demand->units,
					    at_once(&plan) ? plan.cells.head : NOT_AT_ONCE, 0};
	return result;
}

/* --- charging --- */

/* A turn that was taken in state[2], to give back if it is not used. */
struct turn {
	uint64_t before;
	uint64_t after;
	bool taken;
};

/* False: another was faster. */
static bool take_turn(const struct plan *plan, struct turn *turn)
{
	const uint64_t slack = least(PACE_SLACK, plan->link->shape[ROLLING_CELL_TICKS]);
	const uint64_t from =
		most(plan->pace > plan->now ? 0 : plan->pace, minus(plan->now, slack));

	turn->before = plan->pace;
	turn->after = sum(from, pace_ticks(plan, plan->demand->units));
	turn->taken = shm_cas(&plan->cells.hot->state[2], &turn->before, turn->after);
	return turn->taken;
}

static void leave_turn(struct seg_hot *hot, const struct turn *turn)
{
	uint64_t after = turn->after;

	if (turn->taken)
		(void)shm_cas(&hot->state[2], &after, turn->before);
}

/* False: the head is another by now, or there is more to do. */
static bool charge_at_once(const struct seg *seg, const struct link *link, struct taken *taken)
{
	struct cells cells;

	if (taken->word == NOT_AT_ONCE ||
	    !cells_look_again(seg, link->bucket, link->generation, taken->word, &cells) ||
	    !cells_count(&cells, taken->charged))
		return false;
	taken->word = cells.at.index;
	return true;
}

/* One try. TAKE_AGAIN: another was faster, or a cell has been opened for it. */
static enum take try_charge(const struct seg *seg, struct plan *plan, struct turn *turn,
			    struct shortage *ret_why)
{
	const struct link *link = plan->link;
	enum take result = cells_read(seg, link->bucket, link->generation, &plan->cells);

	if (result == TAKE_ADMIT)
		result = judge(turn->taken, plan, ret_why);
	if (result != TAKE_ADMIT)
		return result;
	if (plan->cell != plan->cells.at.index)
		return cells_roll(&plan->cells, plan->cell);
	if (is_paced(plan) && !turn->taken && !take_turn(plan, turn))
		return TAKE_AGAIN;
	return cells_count(&plan->cells, plan->demand->units) ? TAKE_ADMIT : TAKE_AGAIN;
}

static enum take charge_step_by_step(struct seg *seg, const struct link *link,
				     const struct demand *demand, const struct instant *at,
				     struct taken *taken, struct shortage *ret_why)
{
	struct plan plan = plan_for(link, demand, at);
	struct turn turn = {.taken = false};
	enum take result = TAKE_AGAIN;

	for (int i = 0; i < CAS_ATTEMPTS && result == TAKE_AGAIN; i++)
		result = try_charge(seg, &plan, &turn, ret_why);
	if (result == TAKE_ADMIT)
		*taken = (struct taken){demand->units, plan.cell, 0};
	else
		leave_turn(&seg->hot[link->bucket], &turn);
	return result;
}

enum take rolling_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			 const struct instant *at, struct taken *taken, struct shortage *ret_why)
{
	if (charge_at_once(seg, link, taken))
		return TAKE_ADMIT;
	return charge_step_by_step(seg, link, demand, at, taken, ret_why);
}

/* --- correcting --- */

bool rolling_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units)
{
	const uint64_t back = least(units, charge->units);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct cells cells;

		if (cells_read(seg, charge->bucket, charge->generation, &cells) != TAKE_ADMIT ||
		    cells_lower(&cells, charge->taken.word, back))
			return true;
	}
	return false;
}

/* How much of a debit to the cell of the head the bound on debt leaves. A word holds more than that. */
static uint64_t within_debt(const struct cells *cells, const struct charge_ref *charge,
			    uint64_t units)
{
	uint64_t used, amount;

	if (charge->max_debt == 0)
		return units;
	used = cells_used_since(cells, cells->at.index - ROLLING_CELLS);
	amount = rolling_amount(cells->numbers);
	return debited(used, units, amount, charge->max_debt) - used;
}

enum debit rolling_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units,
			 uint64_t now)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct cells cells;
		uint64_t index, within;

		if (cells_read(seg, charge->bucket, charge->generation, &cells) != TAKE_ADMIT)
			return DEBIT_NONE;
		index = cells_to_open(&cells, cells_index(now, cells.cell_ticks));
		within = within_debt(&cells, charge, units);
		if (index != cells.at.index)
			(void)cells_roll(&cells, index);
		else if (cells_count(&cells, within))
			return within == units ? DEBIT_WHOLE : DEBIT_PART;
	}
	return DEBIT_NONE;
}

bool rolling_correct(struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t used,
		     uint64_t now, uint64_t *ret_units)
{
	*ret_units = 0;
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct cells cells;
		uint64_t index;

		if (cells_read(seg, bucket, generation, &cells) != TAKE_ADMIT)
			return false;
		index = cells_to_open(&cells, cells_index(now, cells.cell_ticks));
		if (index != cells.at.index)
			(void)cells_roll(&cells, index);
		else if (cells_raise(&cells, used, ret_units))
			return true;
	}
	return false;
}

bool rolling_credit(struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t used,
		    uint64_t late, uint64_t now, uint64_t *ret_units)
{
	*ret_units = 0;
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct cells cells;
		uint64_t index, known, surplus;

		if (cells_read(seg, bucket, generation, &cells) != TAKE_ADMIT)
			return false;
		index = cells_to_open(&cells, cells_index(now, cells.cell_ticks));
		known = cells_index(late, cells.cell_ticks);
		if (index != cells.at.index) {
			(void)cells_roll(&cells, index);
			continue;
		}
		/* What came since may be all that counts. A head that was scribbled far ahead is no reason to count to it. */
		if (known + ROLLING_CELLS <= index)
			return true;
		surplus = minus(cells_used_since(&cells, index - ROLLING_CELLS),
				sum(used, cells_used_since(&cells, known)));
		if (surplus == 0)
			return true;
		*ret_units += cells_forgive(&cells, least(known, index), surplus);
	}
	return false;
}

bool rolling_gone(const struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t then,
		  uint64_t now, uint64_t *ret_units)
{
	struct cells cells;
	uint64_t first, last;

	if (cells_read(seg, bucket, generation, &cells) != TAKE_ADMIT)
		return false;
	first = cells_index(then, cells.cell_ticks) - ROLLING_CELLS;
	last = cells_to_open(&cells, cells_index(now, cells.cell_ticks)) - ROLLING_CELLS;
	if (first + ROLLING_RING <= cells.at.index)
		return false;
	*ret_units = first < last ? minus(cells_used_since(&cells, first),
					  cells_used_since(&cells, last))
				  : 0;
	return true;
}

/* --- looking after --- */

/* False: not a record that can be read. */
static bool read_present(const struct seg *seg, uint32_t bucket, struct cells *ret_cells)
{
	const uint32_t generation = shm_half_load(&seg->hot[bucket].generation);

	return cells_read(seg, bucket, generation, ret_cells) == TAKE_ADMIT;
}

/* Units of the period that ends at `now`, and of what others' later clocks have counted. */
static uint64_t used_at(const struct cells *cells, uint64_t now)
{
	const uint64_t present = cells_index(now, cells->cell_ticks);

	return cells_used_since(cells,
				most(present, minus(cells->at.index, CELLS_SPARE)) - ROLLING_CELLS);
}

uint64_t rolling_used(const struct seg *seg, uint32_t bucket, uint64_t now)
{
	struct cells cells;

	return read_present(seg, bucket, &cells) ? used_at(&cells, now) : 0;
}

bool rolling_close(struct seg *seg, uint32_t bucket, uint64_t now)
{
	struct cells cells;

	return read_present(seg, bucket, &cells) && used_at(&cells, now) == 0 && cells_end(&cells);
}

bool rolling_plausible(const struct seg *seg, uint32_t bucket, uint64_t now)
{
	uint64_t cell_ticks = 0;

	return cells_plausible(seg, bucket, sum(now, CLOCK_SLACK), &cell_ticks) &&
	       shm_load(&seg->hot[bucket].state[2]) <= latest_pace(now, cell_ticks);
}

bool rolling_repair(struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now)
{
	shm_word *pace = &seg->hot[bucket].state[2];
	uint64_t told = 0, was = shm_load(pace);
	const bool late = was > latest_pace(now, cell_ticks) && shm_cas(pace, &was, now);

	if (cells_plausible(seg, bucket, sum(now, CLOCK_SLACK), &told) && told == cell_ticks)
		return late;
	return cells_spend(seg, bucket, cell_ticks, now) || late;
}
