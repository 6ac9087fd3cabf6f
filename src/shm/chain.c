/*
 * shm/chain.c - all buckets of a key, or none
 * SPDX-License-Identifier: MIT
 */
#include "shm/chain.h"

#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"

/* --- the kinds --- */

typedef enum take link_look(const struct seg *seg, const struct link *link,
			    const struct demand *demand, const struct instant *at,
			    struct taken *ret_taken, struct shortage *ret_why);
typedef enum take link_charge(struct seg *seg, const struct link *link, const struct demand *demand,
			      const struct instant *at, struct taken *taken,
			      struct shortage *ret_why);
typedef bool link_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units);
typedef enum debit link_debit(struct seg *seg, const struct charge_ref *charge, uint64_t units,
			      uint64_t now);

static bool release_slot(struct seg *seg, const struct charge_ref *charge, uint64_t units)
{
	(void)units;
	return slots_release(seg, charge);
}

static enum debit debit_bucket(struct seg *seg, const struct charge_ref *charge, uint64_t units,
			       uint64_t now)
{
	struct seg_hot *hot = &seg->hot[charge->bucket];
	const bucket_numbers numbers = shm_load_relaxed(&hot->numbers);
	const uint64_t debt = charge->max_debt ? bucket_cost(numbers, charge->max_debt) : TICKS_CAP;

	return bucket_debit_within(hot, charge->generation, bucket_cost(numbers, units), debt, now);
}

static enum debit debit_window(struct seg *seg, const struct charge_ref *charge, uint64_t units,
			       uint64_t now)
{
	(void)now;
	return window_debit(seg, charge, units);
}

/* Token buckets give back by functions of their own: they need a clock that is read in between. */
static const struct kind {
	link_look *look;
	link_charge *charge;
	link_give_back *give_back;
	link_debit *debit;
} kinds[KIND_COUNT] = {
	[KIND_BUCKET] = {bucket_link_look, bucket_link_charge, NULL, debit_bucket},
	[KIND_WINDOW] = {window_look, window_charge, window_give_back, debit_window},
	[KIND_ROLLING] = {rolling_look, rolling_charge, rolling_give_back, rolling_debit},
	[KIND_SLOTS] = {slots_look, slots_charge, release_slot, NULL},
	[KIND_GATE] = {gate_look, gate_charge, gate_give_back, NULL},
};

static bool is_gate(const struct link *link)
{
	return LINK_KIND(link->flags) == KIND_GATE;
}

static const struct kind *kind_of(uint32_t flags)
{
	const uint32_t kind = LINK_KIND(flags);

	return kind < KIND_COUNT && kinds[kind].look ? &kinds[kind] : NULL;
}

void chain_hint(const struct seg *seg, struct link *link)
{
	const bucket_numbers numbers = shm_load_relaxed(&seg->hot[link->bucket].numbers);
	const uint64_t tolerance = bucket_tolerance(numbers), burst = bucket_burst(numbers);
	uint64_t taken;

	link->numbers = 0;
	if (!link_is_plain(link) || !(link->flags & LINK_HAS_DEFAULT) ||
	    link->default_cost > burst || link->mark > burst - link->default_cost)
		return;
	link->numbers = numbers;
	link->ticks = bucket_cost(numbers, link->default_cost);
	taken = link->ticks + bucket_cost(numbers, link->mark);
	link->room = taken < tolerance ? tolerance - taken : 0;
}

/* --- looking --- */

bool chain_units(struct draw *draw, const struct charge *costs, uint32_t n_costs)
{
	for (uint32_t i = 0; i < draw->n_links; i++) {
		const struct link *link = &draw->links[i];
		bool named = (link->flags & LINK_HAS_DEFAULT) != 0;

		draw->units[i] = link->default_cost;
		for (uint32_t k = 0; k < n_costs; k++) {
			if (costs[k].unit == link->unit) {
				draw->units[i] = costs[k].amount;
				named = true;
			}
		}
		if (LINK_KIND(link->flags) == KIND_SLOTS || is_gate(link))
			draw->units[i] = 1;
		else if (!named)
			return false;
	}
	return true;
}

/*
 * Links that stand for each other or back one another have one line for all, that of the last of them: the limit
 * itself, which all classes share.
 */
static uint32_t line_of(const struct draw *draw, uint32_t i)
{
	while (i + 1 < draw->n_links && draw->links[i].flags & (LINK_BACKING | LINK_OR))
		i++;
	return i;
}

uint32_t chain_line(const struct draw *draw, uint32_t i, uint32_t *ret_class)
{
	const struct link *line = &draw->links[line_of(draw, i)];
	const bool fifo = LINK_KIND(line->flags) == KIND_SLOTS && line->shape[SLOTS_FIFO];

	*ret_class = fifo ? 0 : draw->class_index;
	return line->bucket;
}

/*
 * Those in line before us are to have theirs first. Where only our class can draw, and where its guarantee backs us,
 * only those of our class.
 */
static uint64_t units_ahead(struct seg *seg, const struct draw *draw, uint32_t i, bool backed)
{
	const uint32_t flags = draw->links[i].flags;
	const bool own =
		backed || flags & LINK_BACKING || (flags & LINK_OR && !(flags & LINK_RELEASED));
	uint32_t class_index;
	const uint32_t bucket = chain_line(draw, i, &class_index);
	struct queue_ahead ahead;

	if (draw->alone || !queue_hinted(&seg->hot[bucket], (UINT32_C(2) << class_index) - 1))
		return 0;
	ahead = queue_ahead(seg, bucket, class_index, draw->place, draw->at.now);
	return own ? ahead.own_units : ahead.units;
}

/* Whoever passes a gate leaves nothing there, unless it is the probe. */
static bool passes_unseen(const struct link *link, const struct choice *choice)
{
	return is_gate(link) && !choice->taken.charged;
}

/* Look at one link, which is chosen if it admits. */
static enum take look_at(struct seg *seg, struct draw *draw, uint32_t i, bool backed,
			 struct shortage *why)
{
	const struct link *link = &draw->links[i];
	const struct kind *kind = kind_of(link->flags);
	struct choice *choice = &draw->chosen[draw->n_chosen];
	enum take result;

	if (!kind)
		return TAKE_CORRUPT;
	*choice = (struct choice){
		.link = i,
		.demand =
			{
				.units = draw->units[i],
				.mark = backed ? 0 : link->mark,
				.lease = draw->lease,
				.ahead = units_ahead(seg, draw, i, backed),
				.in_line = draw->place != NULL,
				.seed = draw->seed,
			},
	};
	result = kind->look(seg, link, &choice->demand, &draw->at, &choice->taken, why);
	if (result == TAKE_NEVER && link->flags & LINK_CLAMP && why->size > 0) {
		choice->demand.units = why->size;
		result = kind->look(seg, link, &choice->demand, &draw->at, &choice->taken, why);
	}
	if (result == TAKE_ADMIT && !passes_unseen(link, choice))
		draw->n_chosen++;
	return result;
}

/* Of those that deny the last to have room; what waiting does not cure is later than anything. */
static bool outweighs(enum take result, const struct shortage *why, enum take than,
		      const struct shortage *than_why)
{
	if (than == TAKE_ADMIT || (result == TAKE_NEVER) != (than == TAKE_NEVER))
		return than != TAKE_NEVER;
	return why->retry_at > than_why->retry_at;
}

static void note_denial(struct draw *draw, uint32_t link, enum take result,
			const struct shortage *why, enum take *whole)
{
	if (!outweighs(result, why, *whole, &draw->verdict.why))
		return;
	draw->verdict = (struct verdict){link, draw->units[link], *why};
	*whole = result;
}

static bool denies(enum take result)
{
	return result == TAKE_WAIT || result == TAKE_NEVER;
}

/*
 * Links that stand for each other, from `i` to the first without LINK_OR: one that admits is enough. Otherwise the
 * first of them to have room speaks for all. Returns the link after them.
 */
static uint32_t look_at_run(struct seg *seg, struct draw *draw, uint32_t i, bool backed,
			    enum take *ret_result, uint32_t *ret_link, struct shortage *ret_why)
{
	enum take best = TAKE_NEVER;
	bool first = true, last = false;

	for (; i < draw->n_links && !last; i++) {
		struct shortage why = {0, 0, 0};
		enum take result;

		last = !(draw->links[i].flags & LINK_OR);
		if (best == TAKE_ADMIT || (!first && !denies(best)))
			continue;
		result = look_at(seg, draw, i, backed, &why);
		if (first || !denies(result) || result == TAKE_ADMIT ||
		    outweighs(best, ret_why, result, &why)) {
			best = result;
			*ret_link = i;
			*ret_why = why;
		}
		first = false;
	}
	*ret_result = best;
	return i;
}

/*
 * A run that its class's guarantee did not back, for that has room at `at` only, and that denies: it may be that, once
 * backed, it admits sooner than alone, or at all.
 */
static enum take wait_for_backing(struct seg *seg, struct draw *draw, uint32_t i, uint64_t at,
				  enum take result, struct shortage *why)
{
	const uint32_t n_chosen = draw->n_chosen;
	struct shortage backed = {0, 0, 0};
	enum take with;
	uint32_t link;

	(void)look_at_run(seg, draw, i, true, &with, &link, &backed);
	draw->n_chosen = n_chosen;
	if (with == TAKE_WAIT && backed.retry_at > at)
		at = backed.retry_at;
	if ((with != TAKE_ADMIT && with != TAKE_WAIT) ||
	    (result == TAKE_WAIT && why->retry_at <= at))
		return result;
	why->retry_at = at;
	return TAKE_WAIT;
}

/* A run and what may back it, from `i`. Returns the link after them. */
static uint32_t look_at_part(struct seg *seg, struct draw *draw, uint32_t i, enum take *ret_result,
			     uint32_t *ret_link, struct shortage *ret_why)
{
	const uint32_t before = draw->n_chosen, first = i;
	enum take backing = TAKE_NEVER;
	struct shortage why = {0, 0, 0};
	uint32_t next;

	*ret_link = i;
	if (draw->links[i].flags & LINK_BACKING) {
		backing = look_at(seg, draw, i++, false, &why);
		*ret_result = backing;
		if ((backing != TAKE_ADMIT && !denies(backing)) || i == draw->n_links)
			return i;
	}
	next = look_at_run(seg, draw, i, backing == TAKE_ADMIT, ret_result, ret_link, ret_why);
	if (!denies(*ret_result))
		return next;
	/* What was to back a link that denies is not charged either. */
	draw->n_chosen = before;
	if (backing == TAKE_WAIT && i > first)
		*ret_result = wait_for_backing(seg, draw, i, why.retry_at, *ret_result, ret_why);
	return next;
}

enum take chain_look(struct seg *seg, struct draw *draw)
{
	enum take whole = TAKE_ADMIT, shadow = TAKE_ADMIT;
	struct verdict shadowed;

	draw->n_chosen = 0;
	draw->shadow = false;
	draw->again = false;
	for (uint32_t i = 0; i < draw->n_links;) {
		struct shortage why = {0, 0, 0};
		enum take result;
		uint32_t link;

		i = look_at_part(seg, draw, i, &result, &link, &why);
		if (result == TAKE_ADMIT)
			continue;
		if (!denies(result)) {
			draw->verdict.link = link;
			return result;
		}
		if (!(draw->links[link].flags & LINK_SHADOW)) {
			note_denial(draw, link, result, &why, &whole);
		} else if (outweighs(result, &why, shadow, &shadowed.why)) {
			shadowed = (struct verdict){link, draw->units[link], why};
			shadow = result;
		}
	}
	if (whole == TAKE_ADMIT && shadow != TAKE_ADMIT) {
		draw->verdict = shadowed;
		draw->shadow = true;
	}
	return whole;
}

bool chain_room(struct seg *seg, const struct draw *draw, uint32_t i, struct shortage *ret_why)
{
	const struct link *link = &draw->links[i];
	const struct kind *kind = kind_of(link->flags);
	const bool slots = LINK_KIND(link->flags) == KIND_SLOTS;
	/* More than there can be: so the answer is what there is. */
	const struct demand demand = {
		.units = slots ? 1 : UINT64_C(1) << 41,
		.ahead = slots ? SLOTS_MAX : 0,
		.mark = link->mark,
	};
	struct taken taken;

	return kind && denies(kind->look(seg, link, &demand, &draw->at, &taken, ret_why));
}

/* --- charging --- */

static void put_on(struct ration_ticket *ticket, const struct draw *draw,
		   const struct choice *choice)
{
	const struct link *link = &draw->links[choice->link];

	ticket->links[ticket->n_links++] = (struct ration_ticket_link){
		.bucket = link->bucket,
		.generation = link->generation,
		.amount = choice->demand.units,
		.charged = choice->taken.charged,
		.word = choice->taken.word,
		.refunds = choice->taken.refunds,
		.unit = link->unit,
		.flags = link->flags,
		.line = draw->links[line_of(draw, choice->link)].bucket,
	};
}

/* Whether a look from the beginning may choose another combination. */
static bool has_alternative(const struct draw *draw, uint32_t chosen)
{
	const uint32_t link = draw->chosen[chosen].link;
	const uint32_t flags = draw->links[link].flags;
	const bool was_backed = link > 0 && draw->links[link - 1].flags & LINK_BACKING;

	return flags & (LINK_OR | LINK_BACKING | LINK_SHADOW) || was_backed;
}

enum take chain_charge(struct seg *seg, struct draw *draw, struct ration_ticket *ticket)
{
	ticket->n_links = 0;
	for (uint32_t i = 0; i < draw->n_chosen; i++) {
		struct choice *choice = &draw->chosen[i];
		const struct link *link = &draw->links[choice->link];
		struct shortage why = {0, 0, 0};
		const enum take result = kind_of(link->flags)
						 ->charge(seg, link, &choice->demand, &draw->at,
							  &choice->taken, &why);

		if (result == TAKE_ADMIT && passes_unseen(link, choice))
			continue;
		if (result == TAKE_ADMIT) {
			put_on(ticket, draw, choice);
			contest_mark(&seg->hot[link->bucket], draw->class_index);
			continue;
		}
		draw->verdict = (struct verdict){choice->link, choice->demand.units, why};
		draw->again = denies(result) && has_alternative(draw, i);
		return result;
	}
	return TAKE_ADMIT;
}

/* --- correcting --- */

static struct charge_ref charge_of(const struct ration_ticket *ticket,
				   const struct ration_ticket_link *link)
{
	return (struct charge_ref){
		.bucket = link->bucket,
		.generation = link->generation,
		.units = link->amount,
		.permit = ticket->permit,
		.taken = {link->charged, link->word, link->refunds},
	};
}

static struct bucket_charged charged_of(const struct ration_ticket_link *link, uint64_t ticks)
{
	return (struct bucket_charged){
		.generation = link->generation,
		.ticks = ticks < link->charged ? ticks : link->charged,
		.tat = link->word,
		.refunds = link->refunds,
	};
}

/* Give back up to `ticks` of one token bucket. Out of attempts: what is not given back stays spent. */
static void refund(struct seg *seg, const struct ration_ticket_link *link, uint64_t ticks,
		   seg_clock *clock, void *user)
{
	struct seg_hot *hot = &seg->hot[link->bucket];
	const struct bucket_charged charged = charged_of(link, ticks);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;
		uint64_t given;

		bucket_refund_look(hot, &pair);
		if (bucket_refund(hot, &charged, &pair, clock(user), &given))
			return;
	}
}

static bool is_bucket(const struct ration_ticket_link *link)
{
	return LINK_KIND(link->flags) == KIND_BUCKET;
}

/* The other kinds: what they give back does not depend on when. */
static bool give_back_others(struct seg *seg, const struct ration_ticket *ticket)
{
	bool held = true;

	for (uint32_t i = 0; i < ticket->n_links; i++) {
		const struct ration_ticket_link *link = &ticket->links[i];
		const struct kind *kind = kind_of(link->flags);
		const struct charge_ref charge = charge_of(ticket, link);

		/* False of the others: what was not given back stays spent. */
		if (kind && kind->give_back && !kind->give_back(seg, &charge, link->amount))
			held &= LINK_KIND(link->flags) != KIND_SLOTS;
	}
	return held;
}

/* All buckets are looked at before the one clock read; only those that changed meanwhile need another. */
bool chain_give_back(struct seg *seg, const struct ration_ticket *ticket, seg_clock *clock,
		     void *user)
{
	struct bucket_pair pairs[CHAIN_LINKS_MAX];
	uint64_t now;
	bool held;

	if (ticket->n_links == 0)
		return true;
	held = give_back_others(seg, ticket);
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		if (is_bucket(&ticket->links[i]))
			bucket_refund_look(&seg->hot[ticket->links[i].bucket], &pairs[i]);
	}
	now = clock(user);
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		const struct ration_ticket_link *link = &ticket->links[i];
		const struct bucket_charged charged = charged_of(link, link->charged);
		uint64_t given;

		if (is_bucket(link) &&
		    !bucket_refund(&seg->hot[link->bucket], &charged, &pairs[i], now, &given))
			refund(seg, link, link->charged, clock, user);
	}
	return held;
}

/* The part of `charged` that `actual` of `estimate` units are worth, rounded up. actual < estimate. */
static uint64_t share_of(uint64_t charged, uint64_t actual, uint64_t estimate)
{
	const unsigned __int128 product = (unsigned __int128)charged * actual;

	return (uint64_t)((product + estimate - 1) / estimate);
}

/* A value that is not true makes a debt too small or too large, and no more. */
static uint64_t max_debt_of(const struct seg *seg, uint32_t bucket)
{
	return shm_load_relaxed(&seg->cold[bucket].max_debt);
}

/* What the limit does not count in full, nobody will: its debt is bounded, or it has begun another life. */
static void charge_more(struct seg *seg, const struct kind *kind, const struct charge_ref *charge,
			uint64_t units, uint64_t now)
{
	if (kind->debit(seg, charge, units, now) != DEBIT_WHOLE)
		(void)shm_add(&seg->control->forgotten, 1);
}

void chain_settle_link(struct seg *seg, const struct ration_ticket *ticket, uint32_t i,
		       uint64_t actual, seg_clock *clock, void *user)
{
	const struct ration_ticket_link *link = &ticket->links[i];
	const struct kind *kind = kind_of(link->flags);
	struct charge_ref charge = charge_of(ticket, link);

	if (!kind || !kind->debit)
		return;
	charge.max_debt = max_debt_of(seg, link->bucket);
	if (actual > link->amount)
		charge_more(seg, kind, &charge, actual - link->amount, clock(user));
	else if (actual < link->amount && is_bucket(link))
		refund(seg, link, link->charged - share_of(link->charged, actual, link->amount),
		       clock, user);
	else if (actual < link->amount)
		(void)kind->give_back(seg, &charge, link->amount - actual);
}

bool chain_release(struct seg *seg, const struct ration_ticket *ticket)
{
	bool held = true;

	for (uint32_t i = 0; i < ticket->n_links; i++) {
		const struct charge_ref charge = charge_of(ticket, &ticket->links[i]);

		if (LINK_KIND(ticket->links[i].flags) == KIND_SLOTS)
			held &= slots_release(seg, &charge);
	}
	return held;
}

bool chain_abandon(struct seg *seg, const struct ration_ticket *ticket, uint64_t now)
{
	bool held = true;

	for (uint32_t i = 0; i < ticket->n_links; i++) {
		const struct charge_ref charge = charge_of(ticket, &ticket->links[i]);

		if (LINK_KIND(ticket->links[i].flags) == KIND_SLOTS)
			held &= slots_abandon(seg, &charge, now);
	}
	return held;
}
