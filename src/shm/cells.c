/*
 * shm/cells.c - what was used in which part of a period
 * SPDX-License-Identifier: MIT
 */
#include "shm/cells.h"

#include "shm/extent.h"

#define TOP   (UINT64_C(1) << 63)
#define WORDS (2 * (ROLLING_RING + 1))

/* --- words --- */

/* Beside them are the mark on top, cells for 73 years, and `final`. */
unsigned cells_bits(uint64_t cell_ticks)
{
	unsigned cell_bits = 1;

	/* The last cell is none, or a sealed head could be RECORD_DEAD. */
	while (UINT64_MAX / cell_ticks + ROLLING_RING + 1 >= (UINT64_C(1) << cell_bits) - 1) {
		if (++cell_bits == 62)
			return 0;
	}
	return 62 - cell_bits;
}

static struct cell cell_of(uint64_t word, unsigned bits)
{
	return (struct cell){
		.index = (word & ~TOP) >> (bits + 1),
		.used = word & cells_most(bits),
		.final = (word >> bits & 1) != 0,
		.top = word >> 63 != 0,
	};
}

static uint64_t word_of(const struct cell *cell, unsigned bits)
{
	return (cell->top ? TOP : 0) | cell->index << (bits + 1) | (uint64_t)cell->final << bits |
	       least(cell->used, cells_most(bits));
}

static bool numbers_good(uint64_t numbers)
{
	const unsigned bits = cells_bits_of(numbers);

	return bits > 0 && bits < 62 && rolling_amount(numbers) > 0 &&
	       rolling_amount(numbers) <= cells_most(bits);
}

/* --- reading --- */

/* A ring's pair for a cell: [life, word]. */
static shm_word *pair_of(const struct cells *cells, uint64_t index)
{
	return &cells->ring[2 * (index % ROLLING_RING)];
}

/* A record without its head. False: something of it cannot be. */
static bool open_record(const struct seg *seg, uint32_t bucket, uint32_t generation,
			struct cells *ret_cells)
{
	struct seg_hot *hot = &seg->hot[bucket];
	struct cells cells = {
		.hot = hot,
		.life = extent_life(bucket, generation),
		.numbers = shm_load_relaxed(&hot->numbers),
	};
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, bucket, &n_words);

	cells.bits = cells_bits_of(cells.numbers);
	*ret_cells = cells;
	if (!words || n_words < WORDS || !numbers_good(cells.numbers))
		return false;
	ret_cells->ring = words + 2;
	ret_cells->cell_ticks = shm_load_relaxed(&words[1]) & ~TOP;
	return ret_cells->cell_ticks != 0 && shm_load(&hot->state[1]) == cells.life;
}

static void take_head(struct cells *cells, uint64_t head)
{
	cells->head = head;
	cells->at = cell_of(head, cells->bits);
}

static bool is_alive(const struct cells *cells)
{
	return shm_half_load(&cells->hot->generation) == (uint32_t)(cells->life >> 24);
}

/*
 * The head first: a CAS from it that succeeds means that all that was read since is of its life. The
 * generation is looked at last, so whatever seems wrong is so in the life that was meant.
 */
enum take cells_read(const struct seg *seg, uint32_t bucket, uint32_t generation,
		     struct cells *ret_cells)
{
	const struct seg_hot *hot = &seg->hot[bucket];
	const uint64_t head = shm_load(&hot->state[0]);
	const bool usable = open_record(seg, bucket, generation, ret_cells);

	if (head == RECORD_DEAD || !is_alive(ret_cells))
		return TAKE_STALE;
	if (!usable)
		return TAKE_CORRUPT;
	take_head(ret_cells, head);
	return TAKE_ADMIT;
}

bool cells_look_again(const struct seg *seg, uint32_t bucket, uint32_t generation, uint64_t head,
		      struct cells *ret_cells)
{
	struct seg_hot *hot = &seg->hot[bucket];

	*ret_cells = (struct cells){
		.hot = hot,
		.life = extent_life(bucket, generation),
		.bits = cells_bits_of(shm_load_relaxed(&hot->numbers)),
	};
	take_head(ret_cells, head);
	return ret_cells->bits > 0 && ret_cells->bits < 62;
}

/* Units that the ring has for a cell; none: `otherwise`. */
static uint64_t ring_used(const struct cells *cells, uint64_t index, uint64_t otherwise)
{
	const struct cell cell = cell_of(shm_load(&pair_of(cells, index)[1]), cells->bits);

	return cell.index == index ? cell.used : otherwise;
}

/* Units of a cell up to the head's. What is given back to a sealed one is in the ring. */
uint64_t cells_used(const struct cells *cells, uint64_t index)
{
	if (index < cells->at.index)
		return ring_used(cells, index, 0);
	return cells->at.top ? ring_used(cells, index, cells->at.used) : cells->at.used;
}

/* What every acquire goes through: once round the ring, place by place. */
uint64_t cells_used_since(const struct cells *cells, uint64_t first)
{
	const shm_word *const end = cells->ring + (size_t)2 * ROLLING_RING;
	const shm_word *pair = pair_of(cells, first);
	uint64_t total = 0;

	if (first > cells->at.index)
		return 0;
	for (uint64_t i = first; i < cells->at.index; i++) {
		const uint64_t word = shm_load(&pair[1]);

		if ((word & ~TOP) >> (cells->bits + 1) == i)
			total += word & cells_most(cells->bits);
		pair += 2;
		if (pair == end)
			pair = cells->ring;
	}
	return total + cells_used(cells, cells->at.index);
}

/* --- rolling and counting --- */

/* True: the ring has it, whoever put it there. */
static bool put_into_ring(const struct cells *cells)
{
	shm_word *pair = pair_of(cells, cells->at.index);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		const uint64_t found[2] = {cells->life, shm_load(&pair[1])};
		const uint64_t word[2] = {cells->life, cells->head | TOP};

		if (cell_of(found[1], cells->bits).index >= cells->at.index)
			return true;
		/* Fails where somebody gave back to the cell that is forgotten now, or in another life. */
		if (shm_cas_pair(pair, found, word))
			return true;
	}
	return false;
}

static bool swap_head(const struct cells *cells, uint64_t from, uint64_t to)
{
	const uint64_t found[2] = {from, cells->life}, next[2] = {to, cells->life};

	return shm_cas_pair(cells->hot->state, found, next);
}

enum take cells_roll(const struct cells *cells, uint64_t index)
{
	const struct cell fresh = {.index = index};

	if (!cells->at.top && !swap_head(cells, cells->head, cells->head | TOP))
		return TAKE_AGAIN;
	if (put_into_ring(cells))
		(void)swap_head(cells, cells->head | TOP, word_of(&fresh, cells->bits));
	else if (shm_load(&pair_of(cells, cells->at.index)[0]) != cells->life && is_alive(cells))
		return TAKE_CORRUPT;
	return TAKE_AGAIN;
}

bool cells_count(const struct cells *cells, uint64_t units)
{
	struct cell cell = cells->at;

	cell.used = sum(cell.used, units);
	return swap_head(cells, cells->head, word_of(&cell, cells->bits));
}

/* What is left of a cell when units are given back to it; nothing changes in what is final. */
static struct cell less(struct cell cell, uint64_t units)
{
	if (!cell.final)
		cell.used = minus(cell.used, units);
	return cell;
}

/* To a cell in the ring. False: another was faster. */
static bool lower_ring(const struct cells *cells, uint64_t index, uint64_t units)
{
	shm_word *pair = pair_of(cells, index);
	const uint64_t found[2] = {cells->life, shm_load(&pair[1])};
	const struct cell cell = cell_of(found[1], cells->bits), next = less(cell, units);
	const uint64_t word[2] = {cells->life, word_of(&next, cells->bits)};

	return cell.index != index || next.used == cell.used || shm_cas_pair(pair, found, word);
}

/* To the head or, where that is sealed, to what becomes of it. False: another was faster. */
bool cells_lower(const struct cells *cells, uint64_t index, uint64_t units)
{
	const struct cell next = less(cells->at, units);

	if (index > cells->at.index)
		return true;
	if (index < cells->at.index)
		return lower_ring(cells, index, units);
	if (cells->at.top)
		return put_into_ring(cells) && lower_ring(cells, index, units);
	return next.used == cells->at.used ||
	       swap_head(cells, cells->head, word_of(&next, cells->bits));
}

/* What the ring has for the cells that count beside the head gives nothing back any more. */
static bool make_final(const struct cells *cells, uint64_t index)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		shm_word *pair = pair_of(cells, index);
		const uint64_t found[2] = {cells->life, shm_load(&pair[1])};
		struct cell cell = cell_of(found[1], cells->bits);
		uint64_t word[2] = {cells->life, 0};

		if (cell.index != index || cell.final)
			return true;
		cell.final = true;
		word[1] = word_of(&cell, cells->bits);
		if (shm_cas_pair(pair, found, word))
			return true;
	}
	return false;
}

static bool make_all_final(const struct cells *cells)
{
	for (uint64_t index = cells->at.index - ROLLING_CELLS; index < cells->at.index; index++) {
		if (!make_final(cells, index))
			return false;
	}
	return true;
}

bool cells_raise(const struct cells *cells, uint64_t used, uint64_t *ret_units)
{
	const uint64_t first = cells->at.index - ROLLING_CELLS;
	struct cell cell = cells->at;
	uint64_t more;

	if (cells_used_since(cells, first) >= used)
		return true;
	if (!make_all_final(cells))
		return false;
	more = minus(used, cells_used_since(cells, first));
	cell.final = true;
	cell.used = sum(cell.used, more);
	if (!swap_head(cells, cells->head, word_of(&cell, cells->bits)))
		return false;
	*ret_units = more;
	return true;
}

/* False: something was not final yet; it is now, or another was faster. */
static bool is_all_final(const struct cells *cells)
{
	struct cell head = cells->at;

	head.final = true;
	if (!cells->at.final) {
		(void)swap_head(cells, cells->head, word_of(&head, cells->bits));
		return false;
	}
	for (uint64_t index = cells->at.index - ROLLING_CELLS; index < cells->at.index; index++) {
		const struct cell cell = cell_of(shm_load(&pair_of(cells, index)[1]), cells->bits);

		if (cell.index == index && !cell.final) {
			(void)make_all_final(cells);
			return false;
		}
	}
	return true;
}

uint64_t cells_forgive(const struct cells *cells, uint64_t end, uint64_t units)
{
	if (!is_all_final(cells))
		return 0;
	for (uint64_t index = cells->at.index - ROLLING_CELLS; index < end; index++) {
		shm_word *pair = pair_of(cells, index);
		const uint64_t found[2] = {cells->life, shm_load(&pair[1])};
		const struct cell cell = cell_of(found[1], cells->bits);
		struct cell next = cell;
		uint64_t word[2] = {cells->life, 0};

		if (cell.index != index || cell.used == 0)
			continue;
		next.used = minus(cell.used, units);
		word[1] = word_of(&next, cells->bits);
		return shm_cas_pair(pair, found, word) ? cell.used - next.used : 0;
	}
	return 0;
}

bool cells_end(const struct cells *cells)
{
	return swap_head(cells, cells->head, RECORD_DEAD);
}

/* --- the first words, and impossible ones --- */

/* A pair that nothing was put into in this life. */
static void clear_pair(const struct cells *cells, uint32_t place)
{
	const struct cell none = {.index = place, .top = true};

	/* In this order a CAS of another life finds either both words as they were, or another life. */
	shm_store_relaxed(&pair_of(cells, place)[0], cells->life);
	shm_store(&pair_of(cells, place)[1], word_of(&none, cells->bits));
}

uint64_t rolling_first(struct seg *seg, uint32_t bucket, uint32_t extent, uint64_t numbers,
		       uint64_t cell_ticks, uint64_t now, uint64_t used)
{
	struct seg_hot *hot = &seg->hot[bucket];
	shm_word *words = seg->extents[extent].word;
	const struct cells cells = {
		.hot = hot,
		.ring = words + 2,
		.life = extent_life(bucket, shm_half_load(&hot->generation)),
		.bits = cells_bits_of(numbers),
	};
	const struct cell head = {
		.index = cells_index(now, cell_ticks),
		.used = used == UINT64_MAX ? rolling_amount(numbers) : used,
	};

	shm_store_relaxed(&words[0], cells.life);
	shm_store_relaxed(&words[1], TOP | cell_ticks);
	for (uint32_t i = 0; i < ROLLING_RING; i++)
		clear_pair(&cells, i);
	shm_store_relaxed(&hot->state[1], cells.life);
	return word_of(&head, cells.bits);
}

/* Whether this place in the ring has what it can have, of no cell later than `last`. */
static bool pair_plausible(const struct cells *cells, uint32_t place, uint64_t last)
{
	const shm_word *pair = pair_of(cells, place);
	const struct cell cell = cell_of(shm_load(&pair[1]), cells->bits);

	return shm_load(&pair[0]) == cells->life && cell.top &&
	       cell.index % ROLLING_RING == place && cell.index <= last;
}

/* The latest cell that the ring has, or UINT64_MAX: something cannot be. */
static uint64_t latest_in_ring(const struct cells *cells, uint64_t last)
{
	uint64_t latest = 0;

	for (uint32_t i = 0; i < ROLLING_RING; i++) {
		if (!pair_plausible(cells, i, last))
			return UINT64_MAX;
		latest = most(latest, cell_of(shm_load(&pair_of(cells, i)[1]), cells->bits).index);
	}
	return latest;
}

bool cells_plausible(const struct seg *seg, uint32_t bucket, uint64_t latest,
		     uint64_t *ret_cell_ticks)
{
	const struct seg_hot *hot = &seg->hot[bucket];
	struct cells cells;
	uint64_t last, in_ring;

	if (!open_record(seg, bucket, shm_half_load(&hot->generation), &cells) ||
	    cells.bits != cells_bits(cells.cell_ticks))
		return false;
	last = cells_index(latest, cells.cell_ticks) + 1;
	/* Before the head, which is never behind what it has put there. */
	in_ring = latest_in_ring(&cells, last);
	take_head(&cells, shm_load(&hot->state[0]));
	*ret_cell_ticks = cells.cell_ticks;
	return in_ring <= cells.at.index && cells.at.index >= ROLLING_RING &&
	       cells.at.index <= last;
}

/* A head that lets nobody in for a period, and a ring behind it. */
static void make_spent(struct cells *cells, uint64_t present)
{
	const struct cell spent = {
		.index = present, .used = rolling_amount(cells->numbers), .final = true};
	const uint64_t head = word_of(&spent, cells->bits);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		const uint64_t found = shm_load(&cells->hot->state[0]);

		if (found != head && !swap_head(cells, found, head))
			continue;
		for (uint32_t k = 0; k < ROLLING_RING; k++) {
			if (!pair_plausible(cells, k, present - 1))
				clear_pair(cells, k);
		}
		/* Whoever rolled it meanwhile has put into the ring what may have been cleared. */
		if (shm_load(&cells->hot->state[0]) == head)
			return;
	}
}

bool cells_spend(struct seg *seg, uint32_t bucket, uint64_t cell_ticks, uint64_t now)
{
	struct seg_hot *hot = &seg->hot[bucket];
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, bucket, &n_words);
	struct cells cells = {
		.hot = hot,
		.life = extent_life(bucket, shm_half_load(&hot->generation)),
		.numbers = shm_load_relaxed(&hot->numbers),
		.bits = cells_bits(cell_ticks),
	};

	if (!words || n_words < WORDS || !numbers_good(cells.numbers))
		return false;
	cells.ring = words + 2;
	shm_store(&words[0], cells.life);
	shm_store(&words[1], TOP | cell_ticks);
	shm_store(&hot->state[1], cells.life);
	make_spent(&cells, cells_index(now, cell_ticks));
	return true;
}
