/*
 * shm/window.c - so much in each second, hour, day or month of the calendar
 * SPDX-License-Identifier: MIT
 *
 * Costs, ahead and marks are below 2^40 where they can be admitted at all; sums of what a caller gave saturate.
 */
#include "shm/window.h"

#include "shm/saturate.h"

#define AMOUNT_BITS 40
#define AMOUNT_MAX  ((UINT64_C(1) << AMOUNT_BITS) - 1)
#define BITS_MAX    63u

/* ns; a longer wait is not worth telling apart. */
#define WAIT_MAX (UINT64_MAX / TICKS_PER_NS / 2)

/* --- numbers and words --- */

uint64_t window_pack(uint64_t amount, uint64_t index_max)
{
	unsigned index_bits = 1;

	/* Room for the window after the last too; all ones is no index: RECORD_DEAD. */
	while (index_bits < 63 && index_max >= (UINT64_C(1) << index_bits) - 2)
		index_bits++;
	if (index_bits == 63 || amount == 0 || amount > AMOUNT_MAX ||
	    amount > (UINT64_MAX >> index_bits) / 2)
		return 0;
	return (uint64_t)(64 - index_bits) << AMOUNT_BITS | amount;
}

uint64_t window_amount(uint64_t numbers)
{
	return numbers & AMOUNT_MAX;
}

static unsigned used_bits(uint64_t numbers)
{
	return (unsigned)(numbers >> AMOUNT_BITS) & BITS_MAX;
}

static uint64_t used_max(uint64_t numbers)
{
	return (UINT64_C(1) << used_bits(numbers)) - 1;
}

static bool numbers_good(uint64_t numbers)
{
	return used_bits(numbers) > 0 && window_amount(numbers) > 0 &&
	       window_amount(numbers) <= used_max(numbers);
}

static uint64_t index_of(uint64_t word, uint64_t numbers)
{
	return word >> used_bits(numbers);
}

static uint64_t used_of(uint64_t word, uint64_t numbers)
{
	return word & used_max(numbers);
}

static uint64_t word_of(uint64_t index, uint64_t used, uint64_t numbers)
{
	return index << used_bits(numbers) | least(used, used_max(numbers));
}

void window_first(uint64_t numbers, uint64_t index, uint64_t used, uint64_t ret_state[2])
{
	const uint64_t amount = window_amount(numbers);

	ret_state[index & 1] = word_of(index, used == UINT64_MAX ? amount : used, numbers);
	ret_state[(index - 1) & 1] = word_of(index - 1, used > 0 ? amount : 0, numbers);
}

/* --- reading --- */

/* One reading of the line. */
struct view {
	uint64_t pair[2];
	uint64_t numbers;
	uint64_t index[2]; /* of the pair's words */
	uint64_t hi;       /* the later of them */
};

/* False: another life, or none. Words first: who has seen those of a new life sees its generation. */
static bool read_pair(const struct seg_hot *hot, uint32_t generation, uint64_t ret_pair[2])
{
	const uint64_t even = shm_load(&hot->state[0]);

	ret_pair[1] = shm_load(&hot->state[1]);
	ret_pair[0] = even;
	return even != RECORD_DEAD && shm_half_load(&hot->generation) == generation;
}

/* What the pair says, under the numbers of now. False: it cannot be. */
static bool read_words(const struct seg_hot *hot, struct view *view)
{
	view->numbers = shm_load_relaxed(&hot->numbers);
	if (!numbers_good(view->numbers))
		return false;
	for (unsigned s = 0; s < 2; s++) {
		view->index[s] = index_of(view->pair[s], view->numbers);
		if (view->index[s] != 0 && (view->index[s] & 1) != s)
			return false;
	}
	view->hi = most(view->index[0], view->index[1]);
	return true;
}

/* What of window `index` is used as far as the view knows. */
static uint64_t used_in(const struct view *view, uint64_t index)
{
	const unsigned s = index & 1;

	return view->index[s] == index ? used_of(view->pair[s], view->numbers) : 0;
}

/* --- what a charge now would do --- */

struct plan {
	const struct link *link;
	const struct demand *demand;
	uint64_t now;
	uint64_t passed; /* ns since the start of the link's window */
	uint64_t length; /* ns */
	struct view view;
	uint64_t target[2]; /* the window that each word would count; 0: left alone */
	uint64_t room;      /* the least that one of them has left, mark and ahead included */
	uint64_t pace;      /* state[2] */
	uint64_t turn;      /* paced: when its turn is; 0: now */
};

/* False: `at` is outside the link's window. */
static bool plan_begin(const struct link *link, const struct demand *demand,
		       const struct instant *at, struct plan *ret_plan)
{
	*ret_plan = (struct plan){
		.link = link,
		.demand = demand,
		.now = at->now,
		.passed = (uint64_t)at->wall - link->shape[WINDOW_START],
		.length = link->shape[WINDOW_END] - link->shape[WINDOW_START],
	};
	return ret_plan->passed < ret_plan->length;
}

static void plan_targets(struct plan *plan)
{
	const struct view *view = &plan->view;
	const uint64_t index = plan->link->shape[WINDOW_INDEX];
	const bool next = plan->length - plan->passed <= plan->link->shape[WINDOW_BEFORE];
	const bool before = plan->passed < plan->link->shape[WINDOW_AFTER];

	for (unsigned s = 0; s < 2; s++) {
		uint64_t want = 0;

		if ((index & 1) == s)
			want = index;
		else if (next || before)
			want = next ? index + 1 : index - 1;
		if (view->index[s] <= want)
			plan->target[s] = want;
		else if (view->index[s] == view->hi && view->hi > index + next)
			plan->target[s] = view->hi;
		else
			plan->target[s] = 0;
	}
}

/* How much of a window the link may use by now: all, or what time has released. */
static uint64_t released(const struct plan *plan, uint64_t window)
{
	const uint64_t amount = window_amount(plan->view.numbers);
	const uint64_t index = plan->link->shape[WINDOW_INDEX];

	if (!(plan->link->flags & LINK_RELEASED) || window < index)
		return amount;
	return window > index ? 0 : ratio(amount, plan->passed, plan->length, false);
}

static void plan_room(struct plan *plan)
{
	plan->room = UINT64_MAX;
	for (unsigned s = 0; s < 2; s++) {
		const uint64_t window = plan->target[s];

		if (window != 0)
			plan->room = least(plan->room, minus(released(plan, window),
							     used_in(&plan->view, window)));
	}
}

static uint64_t ticks_left(const struct plan *plan)
{
	return least(plan->length - plan->passed, WINDOW_LENGTH_MAX) * TICKS_PER_NS;
}

/* How long `units` of what remains last if it is to last until the end. */
static uint64_t pace_ticks(const struct plan *plan, uint64_t units)
{
	return plan->room == 0 ? 0 : ratio(units, ticks_left(plan), plan->room, true);
}

static void plan_turn(const struct seg_hot *hot, struct plan *plan)
{
	uint64_t turn;

	plan->pace = shm_load(&hot->state[2]);
	turn = sum(most(plan->pace, plan->now), pace_ticks(plan, plan->demand->ahead));
	plan->turn = turn > plan->now ? turn : 0;
}

/* Units that must be there, those for others included. */
static uint64_t needed(const struct demand *demand)
{
	return sum(demand->units, sum(demand->ahead, demand->mark));
}

/* --- when it does not fit --- */

/* The most that the link could ever give at once: of a part released by time, what is before the guard. */
static uint64_t size_of(const struct plan *plan)
{
	uint64_t amount = window_amount(plan->view.numbers);

	if (plan->link->flags & LINK_RELEASED)
		amount = ratio(amount, minus(plan->length, plan->link->shape[WINDOW_BEFORE] + 1),
			       plan->length, false);
	return minus(amount, plan->demand->mark);
}

/* Ticks of a time so many ns after the start of the link's window. */
static uint64_t tick_at(const struct plan *plan, uint64_t since_start)
{
	return sum(plan->now, least(minus(since_start, plan->passed), WAIT_MAX) * TICKS_PER_NS);
}

/* Whether `need` fits into window `index` at some time, and how long after its start that is. */
static bool fits_in(const struct plan *plan, uint64_t index, uint64_t need, uint64_t *ret_after)
{
	const struct view *view = &plan->view;
	const uint64_t *shape = plan->link->shape;
	const uint64_t amount = window_amount(view->numbers);
	const uint64_t full = sum(used_in(view, index), need);

	if (view->index[index & 1] > index || full > amount)
		return false;
	/* A later window that is counted in already must have room too. */
	if (view->hi > index && sum(used_in(view, view->hi), need) > amount)
		return false;
	/* While the one before is charged too, that must have it. */
	*ret_after = sum(used_in(view, index - 1), need) > amount ? shape[WINDOW_AFTER] : 0;
	if (!(plan->link->flags & LINK_RELEASED))
		return true;
	*ret_after = most(*ret_after, ratio(full, plan->length, amount, true));
	return view->hi <= index && *ret_after < minus(plan->length, shape[WINDOW_BEFORE]);
}

/*
 * When it could be admitted if nobody else came: this window once the one before is out of the way or more is released, or
 * the first later one with room, past the time in which it is charged together with a full one. Exact for this window and
 * the next; after that all windows are taken to be as long as this one.
 */
static uint64_t room_at(const struct plan *plan)
{
	const uint64_t index = plan->link->shape[WINDOW_INDEX];
	const struct demand *demand = plan->demand;
	const uint64_t fresh = minus(window_amount(plan->view.numbers), demand->mark);
	uint64_t windows, after = 0;

	for (uint64_t k = 0; k <= 2; k++) {
		if (fits_in(plan, index + k, needed(demand), &after) &&
		    k * plan->length + after > plan->passed)
			return tick_at(plan, k * plan->length + after);
	}
	/* Those in line ahead use up whole windows, or the words are far ahead of the clock. */
	windows = minus(plan->view.hi, index) + 1;
	if (fresh > 0)
		windows += minus(sum(demand->units, demand->ahead), 1) / fresh;
	return tick_at(plan, least(windows, WAIT_MAX / plan->length) * plan->length +
				     plan->link->shape[WINDOW_AFTER]);
}

static enum take deny(const struct plan *plan, struct shortage *ret_why)
{
	const struct demand *demand = plan->demand;

	ret_why->size = size_of(plan);
	ret_why->left = minus(plan->room, sum(demand->mark, demand->ahead));
	ret_why->retry_at = plan->turn;
	if (demand->units > ret_why->size)
		return TAKE_NEVER;
	if (needed(demand) > plan->room)
		ret_why->retry_at = most(plan->turn, room_at(plan));
	return TAKE_WAIT;
}

/* Would it be admitted as things stand in the view's pair? has_turn: the pace has let it through already. */
static enum take judge(const struct seg_hot *hot, bool has_turn, struct plan *plan,
		       struct shortage *ret_why)
{
	if (!read_words(hot, &plan->view))
		return TAKE_CORRUPT;
	plan_targets(plan);
	plan_room(plan);
	if ((plan->link->flags & LINK_PACED) && !has_turn)
		plan_turn(hot, plan);
	else
		plan->turn = 0;
	return plan->turn == 0 && needed(plan->demand) <= plan->room ? TAKE_ADMIT
								     : deny(plan, ret_why);
}

enum take window_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		      const struct instant *at, struct taken *ret_taken, struct shortage *ret_why)
{
	const struct seg_hot *hot = &seg->hot[link->bucket];
	struct plan plan;
	enum take result;

	if (!plan_begin(link, demand, at, &plan) ||
	    !read_pair(hot, link->generation, plan.view.pair))
		return TAKE_STALE;
	result = judge(hot, false, &plan, ret_why);
	if (result == TAKE_ADMIT)
		*ret_taken = (struct taken){demand->units, plan.view.pair[0], plan.view.pair[1]};
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
static bool take_turn(struct seg_hot *hot, const struct plan *plan, struct turn *turn)
{
	turn->before = plan->pace;
	turn->after = sum(plan->now, pace_ticks(plan, plan->demand->units));
	turn->taken = shm_cas(&hot->state[2], &turn->before, turn->after);
	return turn->taken;
}

static void leave_turn(struct seg_hot *hot, const struct turn *turn)
{
	uint64_t after = turn->after;

	if (turn->taken)
		(void)shm_cas(&hot->state[2], &after, turn->before);
}

static bool count(struct seg_hot *hot, const struct plan *plan)
{
	const struct view *view = &plan->view;
	uint64_t next[2] = {view->pair[0], view->pair[1]};

	for (unsigned s = 0; s < 2; s++) {
		const uint64_t window = plan->target[s];

		if (window != 0)
			next[s] = word_of(window, used_in(view, window) + plan->demand->units,
					  view->numbers);
	}
	return shm_cas_pair(hot->state, view->pair, next);
}

/* One try, from the view's pair. TAKE_AGAIN: another was faster. */
static enum take try_charge(struct seg_hot *hot, struct plan *plan, struct turn *turn,
			    struct shortage *ret_why)
{
	const enum take result = judge(hot, turn->taken, plan, ret_why);

	if (result != TAKE_ADMIT)
		return result;
	if ((plan->link->flags & LINK_PACED) && !turn->taken && !take_turn(hot, plan, turn))
		return TAKE_AGAIN;
	return count(hot, plan) ? TAKE_ADMIT : TAKE_AGAIN;
}

enum take window_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			const struct instant *at, struct taken *taken, struct shortage *ret_why)
{
	struct seg_hot *hot = &seg->hot[link->bucket];
	struct turn turn = {.taken = false};
	struct plan plan;
	enum take result = TAKE_AGAIN;

	if (!plan_begin(link, demand, at, &plan))
		return TAKE_STALE;
	plan.view.pair[0] = taken->word;
	plan.view.pair[1] = taken->refunds;
	for (int i = 0; i < CAS_ATTEMPTS && result == TAKE_AGAIN; i++) {
		if (i > 0 && !read_pair(hot, link->generation, plan.view.pair))
			result = TAKE_STALE;
		else
			result = try_charge(hot, &plan, &turn, ret_why);
	}
	if (result != TAKE_ADMIT) {
		leave_turn(hot, &turn);
		return result;
	}
	*taken = (struct taken){demand->units, plan.target[0], plan.target[1]};
	if (shm_half_load(&hot->generation) != link->generation)
		return TAKE_STALE;
	/* The supervisor stores a new amount before it counts what the words hold. */
	return shm_load_relaxed(&hot->numbers) == plan.view.numbers ? TAKE_ADMIT : TAKE_AGAIN;
}

/* --- correcting --- */

/* Whatever lowers or corrects the words says so before its CAS: who finds it done finds it counted. */
static void count_change(struct seg *seg, uint32_t bucket)
{
	(void)shm_half_add(&seg->cold[bucket].scope, COLD_COUNT_ONE);
}

static uint64_t changes(const struct seg *seg, uint32_t bucket)
{
	return shm_half_load(&seg->cold[bucket].scope) / COLD_COUNT_ONE;
}

bool window_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units)
{
	struct seg_hot *hot = &seg->hot[charge->bucket];
	const uint64_t windows[2] = {charge->taken.word, charge->taken.refunds};
	const uint64_t back = least(units, charge->units);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct view view;
		uint64_t next[2];

		if (!read_pair(hot, charge->generation, view.pair) || !read_words(hot, &view))
			return true;
		/*
		 * After the words: a correction that changed them stored its time before. After the count: a credit that
		 * did not find it stored its time before, too.
		 */
		count_change(seg, charge->bucket);
		if (charge->permit <= shm_load(&hot->state[3]))
			return true;
		for (unsigned s = 0; s < 2; s++) {
			next[s] = view.pair[s];
			if (windows[s] != 0 && windows[s] == view.index[s])
				next[s] -= least(back, used_in(&view, windows[s]));
		}
		if ((next[0] == view.pair[0] && next[1] == view.pair[1]) ||
		    shm_cas_pair(hot->state, view.pair, next))
			return true;
	}
	return false;
}

/* What is used of a window after a debit. */
static uint64_t within_debt(const struct charge_ref *charge, const struct view *view,
			    uint64_t window, uint64_t units)
{
	return debited(used_in(view, window), units, window_amount(view->numbers),
		       charge->max_debt);
}

enum debit window_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units)
{
	struct seg_hot *hot = &seg->hot[charge->bucket];
	const uint64_t even = charge->taken.word, odd = charge->taken.refunds;
	const uint64_t first = even == 0 || odd == 0 ? even + odd : least(even, odd);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct view view;
		uint64_t next[2];
		bool whole = true;

		if (!read_pair(hot, charge->generation, view.pair) || !read_words(hot, &view))
			return DEBIT_NONE;
		for (unsigned s = 0; s < 2; s++) {
			const uint64_t window = view.index[s];
			const uint64_t used = within_debt(charge, &view, window, units);

			next[s] = view.pair[s];
			/* Only after a repair are both words earlier than the charge. */
			if (window < first && window != view.hi)
				continue;
			next[s] = word_of(window, used, view.numbers);
			whole &= used == sum(used_in(&view, window), units);
		}
		if (shm_cas_pair(hot->state, view.pair, next))
			return whole ? DEBIT_WHOLE : DEBIT_PART;
	}
	return DEBIT_NONE;
}

/* Times only go up. */
static void raise_time(shm_word *word, uint64_t time)
{
	uint64_t was = shm_load(word);

	for (int i = 0; i < CAS_ATTEMPTS && was < time; i++) {
		if (shm_cas(word, &was, time))
			return;
	}
}

bool window_correct(struct seg *seg, struct bucket_ref bucket, uint64_t index, uint64_t used,
		    seg_clock *clock, void *user, uint64_t *ret_units)
{
	struct seg_hot *hot = &seg->hot[bucket.bucket];
	const unsigned s = index & 1;

	*ret_units = 0;
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct view view;
		uint64_t next[2];

		if (!read_pair(hot, bucket.generation, view.pair) || !read_words(hot, &view))
			return false;
		next[0] = view.pair[0];
		next[1] = view.pair[1];
		next[s] = word_of(index, used, view.numbers);
		if (next[s] <= view.pair[s])
			return true; /* a later window, or as much is used already */
		count_change(seg, bucket.bucket);
		/* Read after the words: whatever they count was permitted before. */
		raise_time(&hot->state[3], clock(user));
		if (shm_cas_pair(hot->state, view.pair, next)) {
			*ret_units = used - used_in(&view, index);
			return true;
		}
	}
	return false;
}

bool window_mark(struct seg *seg, struct bucket_ref bucket, uint64_t index, uint64_t *ret_level)
{
	struct seg_hot *hot = &seg->hot[bucket.bucket];
	const uint64_t count = changes(seg, bucket.bucket);
	const unsigned s = index & 1;
	struct view view;
	uint64_t next[2];

	if (!read_pair(hot, bucket.generation, view.pair) || !read_words(hot, &view) ||
	    view.hi != index || used_in(&view, index) >= window_amount(view.numbers))
		return false;
	next[0] = view.pair[0];
	next[1] = view.pair[1];
	next[s]++;
	*ret_level = count << AMOUNT_BITS | (used_in(&view, index) + 1);
	return shm_cas_pair(hot->state, view.pair, next);
}

/* The one that counts from the mark's count on is the only one to use that mark. */
static bool claim_mark(struct seg *seg, uint32_t bucket, uint64_t level)
{
	shm_half *word = &seg->cold[bucket].scope;
	uint32_t found = shm_half_load(word);

	return found / COLD_COUNT_ONE == level >> AMOUNT_BITS &&
	       shm_half_cas(word, &found, found + COLD_COUNT_ONE);
}

void window_credit(struct seg *seg, struct bucket_ref bucket, uint64_t index, uint64_t used,
		   uint64_t level, seg_clock *clock, void *user, uint64_t *ret_units)
{
	struct seg_hot *hot = &seg->hot[bucket.bucket];
	const uint64_t surplus = minus(level & AMOUNT_MAX, used);
	const unsigned s = index & 1;
	struct view view;
	uint64_t next[2];

	*ret_units = 0;
	if (surplus == 0 || changes(seg, bucket.bucket) != level >> AMOUNT_BITS)
		return;
	raise_time(&hot->state[3], clock(user));
	if (!read_pair(hot, bucket.generation, view.pair) || !read_words(hot, &view) ||
	    view.index[s] != index || surplus > used_in(&view, index))
		return;
	/* From here on nothing lowers the words, so that they are not the same again after having been others. */
	if (!claim_mark(seg, bucket.bucket, level))
		return;
	next[0] = view.pair[0];
	next[1] = view.pair[1];
	next[s] -= surplus;
	if (shm_cas_pair(hot->state, view.pair, next))
		*ret_units = surplus;
}

/* --- new numbers --- */

bool window_burden(struct seg_hot *hot, uint64_t index, uint64_t units, uint64_t *ret_before)
{
	const unsigned s = index & 1;

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct view view;
		uint64_t next[2];

		view.pair[0] = shm_load(&hot->state[0]);
		view.pair[1] = shm_load(&hot->state[1]);
		if (view.pair[0] == RECORD_DEAD || !read_words(hot, &view))
			return false;
		*ret_before = used_in(&view, index);
		next[0] = view.pair[0];
		next[1] = view.pair[1];
		if (view.index[s] == index || (view.index[s] < index && units > 0))
			next[s] = word_of(index, sum(*ret_before, units), view.numbers);
		/* Even if nothing changes: a full barrier between the store of an amount and the count. */
		if (shm_cas_pair(hot->state, view.pair, next))
			return true;
	}
	return false;
}

/* --- looking after --- */

bool window_word(uint64_t numbers, uint64_t word, uint64_t *ret_index, uint64_t *ret_used)
{
	if (!numbers_good(numbers))
		return false;
	*ret_index = index_of(word, numbers);
	*ret_used = used_of(word, numbers);
	return true;
}

uint64_t window_used(const struct seg_hot *hot, uint64_t index)
{
	const uint64_t word = shm_load(&hot->state[index & 1]);
	const uint64_t numbers = shm_load_relaxed(&hot->numbers);

	return numbers_good(numbers) && index_of(word, numbers) == index ? used_of(word, numbers)
									 : 0;
}

static bool word_plausible(uint64_t word, uint64_t numbers, unsigned s, uint64_t latest)
{
	const uint64_t index = index_of(word, numbers);

	return word != RECORD_DEAD && (index == 0 || (index & 1) == s) && index <= sum(latest, 1);
}

/* The latest that state[2] and state[3] can be; another process's clock may be read a little later. */
static const uint64_t time_slack[2] = {WINDOW_LENGTH_MAX * TICKS_PER_NS + TICKS_PER_SEC,
				       TICKS_PER_SEC};

bool window_plausible(const struct seg_hot *hot, uint64_t latest, uint64_t now)
{
	const uint64_t numbers = shm_load_relaxed(&hot->numbers);

	if (!numbers_good(numbers))
		return false;
	for (unsigned s = 0; s < 2; s++) {
		if (!word_plausible(shm_load(&hot->state[s]), numbers, s, latest) ||
		    shm_load(&hot->state[2 + s]) > sum(now, time_slack[s]))
			return false;
	}
	return true;
}

static bool repair_words(struct seg_hot *hot, uint64_t latest, uint64_t numbers)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		const uint64_t pair[2] = {shm_load(&hot->state[0]), shm_load(&hot->state[1])};
		uint64_t next[2];

		window_first(numbers, latest, UINT64_MAX, next);
		for (unsigned s = 0; s < 2; s++) {
			if (word_plausible(pair[s], numbers, s, latest))
				next[s] = pair[s];
		}
		if (next[0] == pair[0] && next[1] == pair[1])
			return false;
		if (shm_cas_pair(hot->state, pair, next))
			return true;
	}
	return false;
}

/* A pace or correction time from the future becomes the present one. */
static bool repair_time(shm_word *word, uint64_t now, uint64_t slack)
{
	uint64_t was = shm_load(word);

	return was > sum(now, slack) && shm_cas(word, &was, now);
}

bool window_repair(struct seg_hot *hot, uint64_t latest, uint64_t now)
{
	const uint64_t numbers = shm_load_relaxed(&hot->numbers);
	bool repaired = numbers_good(numbers) && repair_words(hot, latest, numbers);

	for (unsigned s = 0; s < 2; s++)
		repaired |= repair_time(&hot->state[2 + s], now, time_slack[s]);
	return repaired;
}
