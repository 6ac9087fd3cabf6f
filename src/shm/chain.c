/*
 * shm/chain.c - all buckets of a key, or none
 * SPDX-License-Identifier: MIT
 */
#include "shm/chain.h"

/* Out of line: an acquire that is granted needs none of it. */
__attribute__((noinline)) static void verdict_of(const struct bucket_view *view, uint32_t link,
						 uint64_t needed, uint64_t now,
						 struct verdict *verdict)
{
	verdict->link = link;
	verdict->retry_at = bucket_retry_at(view);
	verdict->left = bucket_left(view, now);
	verdict->size = bucket_burst(view->numbers);
	verdict->needed = needed;
}

void chain_hint(const struct seg *seg, struct link *link)
{
	const bucket_numbers numbers = shm_load_relaxed(&seg->hot[link->bucket].numbers);
	const uint64_t tolerance = bucket_tolerance(numbers);

	link->numbers = 0;
	if (!(link->flags & LINK_HAS_DEFAULT) || link->default_cost > bucket_burst(numbers))
		return;
	link->numbers = numbers;
	link->ticks = bucket_cost(numbers, link->default_cost);
	link->room = link->ticks < tolerance ? tolerance - link->ticks : 0;
}

static void keep(const struct bucket_view *view, struct ration_ticket_link *link)
{
	link->charged = view->ticks;
	link->word = view->tat;
	link->refunds = view->refunds;
}

enum take chain_look(const struct seg *seg, struct ration_ticket *ticket, uint32_t n, uint64_t now,
		     struct verdict *verdict)
{
	enum take whole = TAKE_ADMIT;

	for (uint32_t i = 0; i < n; i++) {
		struct ration_ticket_link *link = &ticket->links[i];
		struct bucket_view view;
		const enum take result = bucket_look(&seg->hot[link->bucket], link->generation,
						     link->amount, now, &view);

		if (result == TAKE_ADMIT) {
			keep(&view, link);
			continue;
		}
		if (result != TAKE_WAIT) {
			verdict->link = i;
			if (result == TAKE_NEVER)
				verdict_of(&view, i, link->amount, now, verdict);
			return result;
		}
		if (whole == TAKE_ADMIT || bucket_retry_at(&view) > verdict->retry_at)
			verdict_of(&view, i, link->amount, now, verdict);
		whole = TAKE_WAIT;
	}
	return whole;
}

/* Another was faster: look again, as often as it takes within reason. */
static enum take charge_again(struct seg_hot *hot, struct ration_ticket_link *link, uint32_t i,
			      uint64_t now, struct verdict *verdict)
{
	struct bucket_view view;
	const enum take result =
		bucket_charge_again(hot, link->generation, link->amount, now, &view);

	if (result == TAKE_ADMIT)
		keep(&view, link);
	verdict->link = i;
	if (result == TAKE_WAIT || result == TAKE_NEVER)
		verdict_of(&view, i, link->amount, now, verdict);
	return result;
}

enum take chain_charge(struct seg *seg, struct ration_ticket *ticket, uint32_t n, uint64_t now,
		       struct verdict *ret_verdict)
{
	ticket->n_links = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct ration_ticket_link *link = &ticket->links[i];
		struct seg_hot *hot = &seg->hot[link->bucket];

		if (!bucket_try(hot, now, link->charged, &link->word)) {
			const enum take result = charge_again(hot, link, i, now, ret_verdict);

			if (result != TAKE_ADMIT)
				return result;
		}
		ticket->n_links = i + 1;
	}
	return TAKE_ADMIT;
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

/* Give back up to `ticks` of one link. Out of attempts: what is not given back stays spent. */
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

/* All links are looked at before the one clock read; only those that changed meanwhile need another. */
void chain_give_back(struct seg *seg, const struct ration_ticket *ticket, seg_clock *clock,
		     void *user)
{
	struct bucket_pair pairs[RATION_LINKS_MAX];
	uint64_t now;

	if (ticket->n_links == 0)
		return;
	for (uint32_t i = 0; i < ticket->n_links; i++)
		bucket_refund_look(&seg->hot[ticket->links[i].bucket], &pairs[i]);
	now = clock(user);
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		const struct ration_ticket_link *link = &ticket->links[i];
		const struct bucket_charged charged = charged_of(link, link->charged);
		uint64_t given;

		if (!bucket_refund(&seg->hot[link->bucket], &charged, &pairs[i], now, &given))
			refund(seg, link, link->charged, clock, user);
	}
}

/* The part of `charged` that `actual` of `estimate` units are worth, rounded up. actual < estimate.
 */
static uint64_t share_of(uint64_t charged, uint64_t actual, uint64_t estimate)
{
	const unsigned __int128 product = (unsigned __int128)charged * actual;

	return (uint64_t)((product + estimate - 1) / estimate);
}

void chain_settle_link(struct seg *seg, const struct ration_ticket_link *link, uint64_t actual,
		       seg_clock *clock, void *user)
{
	struct seg_hot *hot = &seg->hot[link->bucket];

	if (actual > link->amount) {
		const bucket_numbers numbers = shm_load_relaxed(&hot->numbers);
		const uint64_t ticks = bucket_cost(numbers, actual - link->amount);

		(void)bucket_debit(hot, link->generation, ticks, clock(user));
	} else if (actual < link->amount) {
		const uint64_t used = share_of(link->charged, actual, link->amount);

		refund(seg, link, link->charged - used, clock, user);
	}
}
