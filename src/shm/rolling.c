/*
 * shm/rolling.c - so much in any period of that length
 * SPDX-License-Identifier: MIT
 *
 * Cells are counted from ROLLING_RING on, so that there are always as many before them as are looked at.
 */
#include "shm/rolling.h"

#include "shm/extent.h"
#include "shm/saturate.h"

#define AMOUNT_BITS 40
#define AMOUNT_MAX  ((UINT64_C(1) << AMOUNT_BITS) - 1)
#define BITS_MAX    63u

#define TOP (UINT64_C(1) << 63)

/* How much later a cell may be open than the one that a charge is permitted in. */
#define SPARE (ROLLING_RING - ROLLING_CELLS)

/* Cells that an interval of the length of a period can touch. */
#define TOUCHED (ROLLING_CELLS + 1)

#define PACE_SLACK (TICKS_PER_SEC / 10)

/* How far ahead of a clock what another's clock left can be. */
#define CLOCK_SLACK TICKS_PER_SEC

/* --- numbers and words --- */

/* Bits of a word that count what is used: beside them there are the mark on top, cells for 73 years and `final`. */
static unsigned bits_for(uint64_t cell_ticks)
{
	unsigned cell_bits = 1;

	/* The last cell is none, or a sealed head could be RECORD_DEAD. */
	while (UINT64_MAX / cell_ticks + ROLLING_RING + 1 >= (UINT64_C(1) << cell_bits) - 1) {
		if (++cell_bits == 62)
			return 0;
	}
	return 62 - cell_bits;
}

static uint64_t ones(unsigned bits)
{
	return (UINT64_C(1) << bits) - 1;
}

uint64_t rolling_pack(uint64_t amount, uint64_t cell_ticks)
{
	unsigned bits;

	if (amount == 0 || amount > AMOUNT_MAX || cell_ticks == 0)
		return 0;
	bits = bits_for(cell_ticks);
	return amount <= ones(bits) / 2 ? (uint64_t)bits << AMOUNT_BITS | amount : 0;
}

uint64_t rolling_amount(uint64_t numbers)
{
	return numbers & AMOUNT_MAX;
}

static unsigned used_bits(uint64_t numbers)
{
	return (unsigned)(numbers >> AMOUNT_BITS) & BITS_MAX;
}

static bool numbers_good(uint64_t numbers)
{
	const unsigned bits = used_bits(numbers);

	return bits > 0 && bits < 62 && rolling_amount(numbers) > 0 &&
	       rolling_amount(numbers) <= ones(bits);
}

/* What a head or a word of the ring says. */
struct cell {
	uint64_t index;
	uint64_t used;
	bool final;
	bool top; /* a head is sealed; a word is one of a ring */
};

static struct cell cell_of(uint64_t word, unsigned bits)
{
	return (struct cell){
		.index = (word & ~TOP) >> (bits + 1),
		.used = word & ones(bits),
		.final = (word >> bits & 1) != 0,
		.top = word >> 63 != 0,
	};
}

static uint64_t word_of(const struct cell *cell, unsigned bits)
{
	return (cell->top ? TOP : 0) | cell->index << (bits + 1) | (uint64_t)cell->final << bits |
	       least(cell->used, ones(bits));
}

static uint64_t life_word(uint32_t bucket, uint32_t generation)
{
	return TOP | (uint64_t)generation << 24 | (bucket & (SEG_BUCKETS_MAX - 1));
}

static uint64_t index_at(uint64_t ticks, uint64_t cell_ticks)
{
	return ticks / cell_ticks + ROLLING_RING;
}

/* When a cell begins. */
static uint64_t begin_of(uint64_t index, uint64_t cell_ticks)
{
	return ratio(minus(index, ROLLING_RING), cell_ticks, 1, false);
}

/* --- reading --- */

/* One life of a record, as it was when it was looked at. */
struct record {
	struct seg_hot *hot;
	shm_word *ring; /* pairs */
	uint64_t life;
	uint64_t cell_ticks;
	uint64_t numbers;
	unsigned bits;
	uint64_t head;
	struct cell at; /* what the head says */
};

/* A ring's pair for a cell: [life, word]. */
static shm_word *pair_of(const struct record *record, uint64_t index)
{
	return &record->ring[2 * (index % ROLLING_RING)];
}

/* A record without its head. False: something of it cannot be. */
static bool open_record(const struct seg *seg, uint32_t bucket, uint32_t generation,
			struct record *ret_record)
{
	struct seg_hot *hot = &seg->hot[bucket];
	struct record record = {
		.hot = hot,
		.life = life_word(bucket, generation),
		.numbers = shm_load_relaxed(&hot->numbers),
	};
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, bucket, &n_words);

	*ret_record = record;
	if (!words || n_words < 2 * (ROLLING_RING + 1) || !numbers_good(record.numbers))
		return false;
	ret_record->ring = words + 2;
	ret_record->cell_ticks = shm_load_relaxed(&words[1]) & ~TOP;
	ret_record->bits = used_bits(record.numbers);
	return ret_record->cell_ticks != 0 && shm_load(&hot->state[1]) == record.life;
}

static void take_head(struct record *record, uint64_t head)
{
	record->head = head;
	record->at = cell_of(head, record->bits);
}

static bool is_alive(const struct record *record)
{
	return shm_half_load(&record->hot->generation) == (uint32_t)(record->life >> 24);
}

/*
 * The head first: a CAS from it that succeeds means that all that was read since is of its life. The generation is looked
 * at last, so whatever seems wrong is so in the life that was meant.
 */
static enum take read_record(const struct seg *seg, uint32_t bucket, uint32_t generation,
			     struct record *ret_record)
{
	const struct seg_hot *hot = &seg->hot[bucket];
	const uint64_t head = shm_load(&hot->state[0]);
	const bool usable = open_record(seg, bucket, generation, ret_record);

	if (head == RECORD_DEAD || !is_alive(ret_record))
		return TAKE_STALE;
	if (!usable)
		return TAKE_CORRUPT;
	take_head(ret_record, head);
	return TAKE_ADMIT;
}

/* Units that the ring has for a cell; none: `otherwise`. */
static uint64_t ring_used(const struct record *record, uint64_t index, uint64_t otherwise)
{
	const struct cell cell = cell_of(shm_load(&pair_of(record, index)[1]), record->bits);

	return cell.index == index ? cell.used : otherwise;
}

/* Units of a cell up to the head's. What is given back to a sealed one is in the ring. */
static uint64_t cell_used(const struct record *record, uint64_t index)
{
	if (index < record->at.index)
		return ring_used(record, index, 0);
	return record->at.top ? ring_used(record, index, record->at.used) : record->at.used;
}

/* Units of `first`, which is in the ring or later, and of all cells since. */
static uint64_t used_since(const struct record *record, uint64_t first)
{
	uint64_t total = 0;

	for (uint64_t i = first; i <= record->at.index; i++)
		total += cell_used(record, i);
	return total;
}

/* The cell that a charge which is permitted in `present` is to be counted in. */
static uint64_t cell_for(const struct record *record, uint64_t present)
{
	return most(present, record->at.index + record->at.top);
}

/* --- rolling --- */

/* True: the ring has it, whoever put it there. */
static bool put_into_ring(const struct record *record)
{
	shm_word *pair = pair_of(record, record->at.index);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		const uint64_t found[2] = {record->life, shm_load(&pair[1])};
		const uint64_t word[2] = {record->life, record->head | TOP};

		if (cell_of(found[1], record->bits).index >= record->at.index)
			return true;
		/* Fails where somebody gave back to the cell that is forgotten now, or in another life. */
		if (shm_cas_pair(pair, found, word))
			return true;
	}
	return false;
}

static bool swap_head(const struct record *record, uint64_t from, uint64_t to)
{
	const uint64_t found[2] = {from, record->life}, next[2] = {to, record->life};

	return shm_cas_pair(record->hot->state, found, next);
}

/* Open a later cell. Whether it is, or another was faster, shows a look at the head. TAKE_CORRUPT: the ring is not its own. */
static enum take roll(const struct record *record, uint64_t index)
{
	const struct cell fresh = {.index = index};

	if (!record->at.top && !swap_head(record, record->head, record->head | TOP))
		return TAKE_AGAIN;
	if (put_into_ring(record))
		(void)swap_head(record, record->head | TOP, word_of(&fresh, record->bits));
	else if (shm_load(&pair_of(record, record->at.index)[0]) != record->life &&
		 is_alive(record))
		return TAKE_CORRUPT;
	return TAKE_AGAIN;
}

/* --- what a charge now would do --- */

struct plan {
	const struct link *link;
	const struct demand *demand;
	uint64_t now;
	uint64_t present; /* cell of now */
	uint64_t cell;    /* that it would count in */
	struct record record;
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
		.present = index_at(at->now, link->shape[ROLLING_CELL_TICKS]),
	};
}

static uint64_t amount_of(const struct plan *plan)
{
	return rolling_amount(plan->record.numbers);
}

static uint64_t begin(const struct plan *plan, uint64_t index)
{
	return begin_of(index, plan->link->shape[ROLLING_CELL_TICKS]);
}

/* How long it takes to use so many units evenly. */
static uint64_t pace_ticks(const struct plan *plan, uint64_t units)
{
	return ratio(units, TOUCHED * plan->link->shape[ROLLING_CELL_TICKS], amount_of(plan), true);
}

/* The latest that state[2] can be: a cost of the whole amount. */
static uint64_t latest_pace(uint64_t now, uint64_t cell_ticks)
{
	return sum(now, sum(ratio(TOUCHED, cell_ticks, 1, false), CLOCK_SLACK));
}

static void plan_turn(struct plan *plan)
{
	const uint64_t latest = latest_pace(plan->now, plan->link->shape[ROLLING_CELL_TICKS]);
	uint64_t turn;

	plan->pace = shm_load(&plan->record.hot->state[2]);
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

	for (index = plan->present - ROLLING_CELLS; index <= plan->record.at.index; index++) {
		const uint64_t used = cell_used(&plan->record, index);

		if (used >= over)
			return begin(plan, index + TOUCHED);
		over -= used;
	}
	/* Those in line ahead use up whole periods. */
	return begin(plan,
		     sum(plan->cell, ratio(sum(over, whole - 1) / whole + 1, TOUCHED, 1, false)));
}

static enum take deny(const struct plan *plan, struct shortage *ret_why)
{
	const struct demand *demand = plan->demand;

	ret_why->size = minus(amount_of(plan), demand->mark);
	ret_why->left = plan->turn ? 0
				   : minus(amount_of(plan),
					   sum(plan->total, sum(demand->mark, demand->ahead)));
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
	const uint64_t turn = begin(plan, plan->cell - SPARE);

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
	plan->cell = cell_for(&plan->record, plan->present);
	if (plan->cell - plan->present > SPARE)
		return wait_for_clock(plan, ret_why);
	plan->total = used_since(&plan->record, plan->present - ROLLING_CELLS);
	plan->turn = 0;
	if ((plan->link->flags & LINK_PACED) && !has_turn)
		plan_turn(plan);
	return plan->turn == 0 && has_room(plan) ? TAKE_ADMIT : deny(plan, ret_why);
}

/* In place of a head that what was looked at can be charged to by a single CAS. */
#define NOT_AT_ONCE 0

static bool at_once(const struct plan *plan)
{
	return plan->cell == plan->record.at.index && !(plan->link->flags & LINK_PACED);
}

enum take rolling_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		       const struct instant *at, struct taken *ret_taken, struct shortage *ret_why)
{
	struct plan plan = plan_for(link, demand, at);
	enum take result = read_record(seg, link->bucket, link->generation, &plan.record);

	if (result == TAKE_ADMIT)
		result = judge(false, &plan, ret_why);
	if (result == TAKE_ADMIT)
		*ret_taken = (struct taken){demand->units,
					    at_once(&plan) ? plan.record.head : NOT_AT_ONCE, 0};
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
	turn->taken = shm_cas(&plan->record.hot->state[2], &turn->before, turn->after);
	return turn->taken;
}

static void leave_turn(struct seg_hot *hot, const struct turn *turn)
{
	uint64_t after = turn->after;

	if (turn->taken)
		(void)shm_cas(&hot->state[2], &after, turn->before);
}

/* Add to the head's cell, which is open. */
static bool count(const struct record *record, uint64_t units)
{
	struct cell cell = record->at;

	cell.used = sum(cell.used, units);
	return swap_head(record, record->head, word_of(&cell, record->bits));
}

/* False: the head is another by now, or there is more to do. */
static bool charge_at_once(struct seg *seg, const struct link *link, struct taken *taken)
{
	struct seg_hot *hot = &seg->hot[link->bucket];
	struct record record = {
		.hot = hot,
		.life = life_word(link->bucket, link->generation),
		.bits = used_bits(shm_load_relaxed(&hot->numbers)),
	};

	if (taken->word == NOT_AT_ONCE || record.bits == 0)
		return false;
	take_head(&record, taken->word);
	if (!count(&record, taken->charged))
		return false;
	taken->word = record.at.index;
	return true;
}

/* One try. TAKE_AGAIN: another was faster, or a cell has been opened for it. */
static enum take try_charge(const struct seg *seg, struct plan *plan, struct turn *turn,
			    struct shortage *ret_why)
{
	const struct link *link = plan->link;
	enum take result = read_record(seg, link->bucket, link->generation, &plan->record);

	if (result == TAKE_ADMIT)
		result = judge(turn->taken, plan, ret_why);
	if (result != TAKE_ADMIT)
		return result;
	if (plan->cell != plan->record.at.index)
		return roll(&plan->record, plan->cell);
	if ((link->flags & LINK_PACED) && !turn->taken && !take_turn(plan, turn))
		return TAKE_AGAIN;
	return count(&plan->record, plan->demand->units) ? TAKE_ADMIT : TAKE_AGAIN;
}

enum take rolling_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			 const struct instant *at, struct taken *taken, struct shortage *ret_why)
{
	struct plan plan = plan_for(link, demand, at);
	struct turn turn = {.taken = false};
	enum take result = TAKE_AGAIN;

	if (charge_at_once(seg, link, taken))
		return TAKE_ADMIT;
	for (int i = 0; i < CAS_ATTEMPTS && result == TAKE_AGAIN; i++)
		result = try_charge(seg, &plan, &turn, ret_why);
	if (result == TAKE_ADMIT)
		*taken = (struct taken){demand->units, plan.cell, 0};
	else
		leave_turn(&seg->hot[link->bucket], &turn);
	return result;
}

/* --- correcting --- */

/* What is left of a cell when units are given back to it; nothing changes in what is final. */
static struct cell less(struct cell cell, uint64_t units)
{
	if (!cell.final)
		cell.used = minus(cell.used, units);
	return cell;
}

/* To a cell in the ring. False: another was faster. */
static bool lower_ring(const struct record *record, uint64_t index, uint64_t units)
{
	shm_word *pair = pair_of(record, index);
	const uint64_t found[2] = {record->life, shm_load(&pair[1])};
	const struct cell cell = cell_of(found[1], record->bits), next = less(cell, units);
	const uint64_t word[2] = {record->life, word_of(&next, record->bits)};

	return cell.index != index || next.used == cell.used || shm_cas_pair(pair, found, word);
}

/* To the head or, where that is sealed, to what becomes of it. False: another was faster. */
static bool lower(const struct record *record, uint64_t index, uint64_t units)
{
	const struct cell next = less(record->at, units);

	if (index > record->at.index)
		return true;
	if (index < record->at.index)
		return lower_ring(record, index, units);
	if (record->at.top)
		return put_into_ring(record) && lower_ring(record, index, units);
	return next.used == record->at.used ||
	       swap_head(record, record->head, word_of(&next, record->bits));
}

bool rolling_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units)
{
	const uint64_t back = least(units, charge->units);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct record record;

		if (read_record(seg, charge->bucket, charge->generation, &record) != TAKE_ADMIT ||
		    lower(&record, charge->taken.word, back))
			return true;
	}
	return false;
}

bool rolling_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units, uint64_t now)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct record record;
		uint64_t index;

		if (read_record(seg, charge->bucket, charge->generation, &record) != TAKE_ADMIT)
			return false;
		index = cell_for(&record, index_at(now, record.cell_ticks));
		if (index != record.at.index)
			(void)roll(&record, index);
		else if (count(&record, units))
			return true;
	}
	return false;
}

/* What the ring has for the cells that count beside the head gives nothing back any more. */
static bool make_final(const struct record *record, uint64_t index)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		shm_word *pair = pair_of(record, index);
		const uint64_t found[2] = {record->life, shm_load(&pair[1])};
		struct cell cell = cell_of(found[1], record->bits);
		uint64_t word[2] = {record->life, 0};

		if (cell.index != index || cell.final)
			return true;
		cell.final = true;
		word[1] = word_of(&cell, record->bits);
		if (shm_cas_pair(pair, found, word))
			return true;
	}
	return false;
}

/* Raise what counts in the head's cell to `used`, from the head that was looked at. False: another was faster. */
static bool raise_head(const struct record *record, uint64_t used)
{
	const uint64_t first = record->at.index - ROLLING_CELLS;
	struct cell cell = record->at;

	if (used_since(record, first) >= used)
		return true;
	for (uint64_t index = first; index < record->at.index; index++) {
		if (!make_final(record, index))
			return false;
	}
	cell.final = true;
	cell.used = sum(cell.used, minus(used, used_since(record, first)));
	return swap_head(record, record->head, word_of(&cell, record->bits));
}

bool rolling_correct(struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t used,
		     uint64_t now)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct record record;
		uint64_t index;

		if (read_record(seg, bucket, generation, &record) != TAKE_ADMIT)
			return false;
		index = cell_for(&record, index_at(now, record.cell_ticks));
		if (index != record.at.index)
			(void)roll(&record, index);
		else if (raise_head(&record, used))
			return true;
	}
	return false;
}

/* --- looking after --- */

/* False: not a record that can be read. */
static bool read_present(const struct seg *seg, uint32_t bucket, struct record *ret_record)
{
	const uint32_t generation = shm_half_load(&seg->hot[bucket].generation);

	return read_record(seg, bucket, generation, ret_record) == TAKE_ADMIT;
}

/* Units of the period that ends at `now`, and of what others' later clocks have counted. */
static uint64_t used_at(const struct record *record, uint64_t now)
{
	const uint64_t present = index_at(now, record->cell_ticks);

	return used_since(record, most(present, minus(record->at.index, SPARE)) - ROLLING_CELLS);
}

uint64_t rolling_used(const struct seg *seg, uint32_t bucket, uint64_t now)
{
	struct record record;

	return read_present(seg, bucket, &record) ? used_at(&record, now) : 0;
}

bool rolling_close(struct seg *seg, uint32_t bucket, uint64_t now)
{
	struct record record;

	return read_present(seg, bucket, &record) && used_at(&record, now) == 0 &&
	       swap_head(&record, record.head, RECORD_DEAD);
}

/* A pair that nothing was put into in this life. */
static void clear_pair(const struct record *record, uint32_t place)
{
	const struct cell none = {.index = place, .top = true};

	/* In this order a CAS of another life finds either both words as they were, or another life. */
	shm_store_relaxed(&pair_of(record, place)[0], record->life);
	shm_store(&pair_of(record, place)[1], word_of(&none, record->bits));
}

uint64_t rolling_first(struct seg *seg, uint32_t bucket, uint32_t extent, uint64_t numbers,
		       uint64_t cell_ticks, uint64_t now, bool spent)
{
	struct seg_hot *hot = &seg->hot[bucket];
	const struct record record = {
		.hot = hot,
		.ring = seg->extents[extent].word + 2,
		.life = life_word(bucket, shm_half_load(&hot->generation)),
		.bits = used_bits(numbers),
	};
	const struct cell head = {
		.index = index_at(now, cell_ticks),
		.used = spent ? rolling_amount(numbers) : 0,
		.final = spent,
	};

	shm_store_relaxed(&seg->extents[extent].word[0], record.life);
	shm_store_relaxed(&seg->extents[extent].word[1], TOP | cell_ticks);
	for (uint32_t i = 0; i < ROLLING_RING; i++)
		clear_pair(&record, i);
	shm_store_relaxed(&hot->state[1], record.life);
	return word_of(&head, record.bits);
}

/* Whether this place in the ring has what it can have, of no cell later than `last`. */
static bool pair_plausible(const struct record *record, uint32_t place, uint64_t last)
{
	const shm_word *pair = pair_of(record, place);
	const struct cell cell = cell_of(shm_load(&pair[1]), record->bits);

	return shm_load(&pair[0]) == record->life && cell.top &&
	       cell.index % ROLLING_RING == place && cell.index <= last;
}

/* The latest cell that the ring has, or UINT64_MAX: something cannot be. */
static uint64_t latest_in_ring(const struct record *record, uint64_t last)
{
	uint64_t latest = 0;

	for (uint32_t i = 0; i < ROLLING_RING; i++) {
		if (!pair_plausible(record, i, last))
			return UINT64_MAX;
		latest =
			most(latest, cell_of(shm_load(&pair_of(record, i)[1]), record->bits).index);
	}
	return latest;
}

bool rolling_plausible(const struct seg *seg, uint32_t bucket, uint64_t now)
{
	const struct seg_hot *hot = &seg->hot[bucket];
	struct record record;
	uint64_t last, latest;

	if (!open_record(seg, bucket, shm_half_load(&hot->generation), &record) ||
	    record.bits != bits_for(record.cell_ticks) ||
	    shm_load(&hot->state[2]) > latest_pace(now, record.cell_ticks))
		return false;
	last = index_at(sum(now, CLOCK_SLACK), record.cell_ticks) + 1;
	/* Before the head, which is never behind what it has put there. */
	latest = latest_in_ring(&record, last);
	take_head(&record, shm_load(&hot->state[0]));
	return latest <= record.at.index && record.at.index >= ROLLING_RING &&
	       record.at.index <= last;
}

/* A head that lets nobody in for a period, and a ring behind it. */
static void make_spent(struct record *record, uint64_t present)
{
	const struct cell spent = {
		.index = present, .used = rolling_amount(record->numbers), .final = true};
	const uint64_t head = word_of(&spent, record->bits);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		const uint64_t found = shm_load(&record->hot->state[0]);

		if (found != head && !swap_head(record, found, head))
			continue;
		for (uint32_t k = 0; k < ROLLING_RING; k++) {
			if (!pair_plausible(record, k, present - 1))
				clear_pair(record, k);
		}
		/* Whoever rolled it meanwhile has put into the ring what may have been cleared. */
		if (shm_load(&record->hot->state[0]) == head)
			return;
	}
}

bool rolling_repair(struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now)
{
	struct seg_hot *hot = &seg->hot[bucket];
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, bucket, &n_words);
	struct record record = {.hot = hot,
				.life = life_word(bucket, shm_half_load(&hot->generation)),
				.numbers = shm_load_relaxed(&hot->numbers)};
	uint64_t pace = shm_load(&hot->state[2]);

	if (!words || n_words < 2 * (ROLLING_RING + 1) || !numbers_good(record.numbers) ||
	    (rolling_plausible(seg, bucket, now) && words[1] == (TOP | cell_ticks)))
		return false;
	record.ring = words + 2;
	record.bits = bits_for(cell_ticks);
	if (pace > latest_pace(now, cell_ticks))
		(void)shm_cas(&hot->state[2], &pace, now);
	shm_store(&words[0], record.life);
	shm_store(&words[1], TOP | cell_ticks);
	shm_store(&hot->state[1], record.life);
	make_spent(&record, index_at(now, cell_ticks));
	return true;
}
