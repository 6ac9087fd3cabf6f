/*
 * client/learner.c - what refusals say a vendor grants (shm/learn.h)
 * SPDX-License-Identifier: MIT
 */
#include "client/observe.h"
#include "client/view.h"
#include "shm/learn.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/view.h"
#include "shm/window.h"

#define PPM 1000000u

/* More of a limit is tried only if all of it was asked for within so many periods, counted in 12 bits. */
#define PERIODS_IDLE 3u

/* How fast units are granted is known after so many. */
#define RATE_PERIODS 10u

/* What was used at once before it was spread is over after so many; and nothing comes at once any more. */
#define SPREAD_PERIODS 3u

#define PERIODS_MASK 0xfffu

/* --- how much was granted --- */

static struct learn_pace pace_of(const struct told *t)
{
	return learn_pace_of(t->numbers, (t->limit->flags & LIMIT_SEEKS) != 0);
}

/* What the request took of the bucket. */
static uint64_t units_of(const struct told *t)
{
	const struct ration_ticket *ticket = t->o->ticket;

	for (uint32_t i = 0; ticket && i < ticket->n_links && i < RATION_LINKS_MAX; i++) {
		if (ticket->links[i].bucket == t->bucket.bucket)
			return ticket->links[i].amount;
	}
	return 1;
}

static uint64_t tokens(const struct seg *seg, const struct told *t)
{
	struct bucket_view view;
	const enum take take = bucket_look(&seg->hot[t->bucket.bucket], t->bucket.generation, 1,
					   t->o->at.now, &view);

	return take == TAKE_ADMIT || take == TAKE_WAIT ? bucket_left(&view, t->o->at.now) : t->size;
}

static uint64_t leases(const struct seg *seg, uint32_t bucket, uint64_t size)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < size && i < SLOTS_MAX; i++)
		n += slots_word(seg, bucket, i) != 0;
	return n;
}

/* Units that we count as used of what a limit has at a time. */
static uint64_t used_now(const struct told *t)
{
	const struct seg *seg = &t->o->ration->seg;

	switch (LINK_KIND(t->link->flags)) {
	case KIND_WINDOW:
		return window_used(&seg->hot[t->bucket.bucket], t->link->shape[WINDOW_INDEX]);
	case KIND_ROLLING:
		return rolling_used(seg, t->bucket.bucket, t->o->at.now);
	case KIND_BUCKET:
		return minus(t->size, tokens(seg, t));
	default:
		return leases(seg, t->bucket.bucket, t->size);
	}
}

/* Whether nearly all that there is at a time is used. */
static bool is_full(const struct told *t)
{
	return used_now(t) >= t->size / 4 * 3;
}

static uint32_t periods(const struct told *t)
{
	return (uint32_t)(t->o->at.now / pace_of(t).period) & PERIODS_MASK;
}

/* What is granted is counted from the first that is, after the last cut. */
static void count(const struct told *t, uint64_t word)
{
	const struct seg *seg = &t->o->ration->seg;
	struct view_count c = view_counts(seg, t->view.bucket);
	const uint64_t now = t->o->at.now;

	if (word == 0 || learn_since(c.since, now) > learn_since(word, now) ||
	    c.granted >= VIEW_GRANTED_MAX / 2)
		c.since = learn_stamp(now);
	c.granted = (uint32_t)least(units_of(t), VIEW_GRANTED_MAX);
	if (is_full(t))
		c.full = periods(t);
	view_count(&t->o->ration->seg, t->view, &c);
}

/* Units in so many ticks, as a share of the limit. */
static uint64_t share_of_rate(const struct told *t, uint64_t units, uint64_t ticks)
{
	const struct blob_numbers *n = t->numbers;
	const unsigned __int128 all = (unsigned __int128)ticks * told_base(t) / TICKS_PER_NS;
	const unsigned __int128 part = (unsigned __int128)units * n->period_ns * LEARN_ALL;

	return all == 0 || part / all > LEARN_MOST ? LEARN_MOST : (uint64_t)(part / all);
}

static uint64_t whole_burst(const struct told *t)
{
	return ratio_of(t->numbers->burst, told_base(t), t->numbers->amount);
}

/*
 * How fast the vendor grants, as a share of the limit; 0: too short a time to say. Nothing was left there when it was last
 * refused. Until the next was granted it saved: no more than its burst, nor than it gives in that time.
 */
static uint64_t rate_granted(const struct told *t, uint64_t word, uint64_t share)
{
	const struct view_count c = view_counts(&t->o->ration->seg, t->view.bucket);
	const uint64_t since = learn_since(c.since, t->o->at.now) + LEARN_UNIT / 2;
	const uint64_t in_all = learn_since(word, t->o->at.now) + LEARN_UNIT / 2;
	const uint64_t burst = ratio_of(whole_burst(t), share, LEARN_ALL);
	const uint32_t periods = learn_is_spread(word) ? SPREAD_PERIODS : RATE_PERIODS;

	if (word == 0 || since > in_all || in_all < periods * pace_of(t).period)
		return 0;
	return most(share_of_rate(t, c.granted, in_all),
		    share_of_rate(t, minus(c.granted, burst), since));
}

static uint64_t share_of_size(const struct told *t, uint64_t units, uint64_t share)
{
	const unsigned __int128 result =
		t->size ? (unsigned __int128)units * share / t->size : share;

	return result > LEARN_MOST ? LEARN_MOST : (uint64_t)result;
}

/*
 * Of a window, a rolling period or slots: all that we count, but for what is refused. Those that are under way are
 * counted, too: each takes away its part when it is refused.
 */
static uint64_t after_count(const struct told *t, uint64_t word, uint64_t share, uint64_t part,
			    const struct learn_pace *pace)
{
	const uint64_t now = t->o->at.now;
	uint64_t granted;

	if (learn_knows(word, t->o->permit, now))
		return learn_less(word, part);
	granted = minus(least(share, share_of_size(t, used_now(t), share)), part);
	if (LINK_KIND(t->link->flags) == KIND_ROLLING &&
	    granted < (word ? share / 10 * 9 : share / 2))
		return learn_spread(word, now, pace);
	/* So little that it is hardly this limit: others may have used it, or it was for one that we do not know. */
	if (granted < share / 2)
		return learn_cut(word, now, pace);
	return learn_granted(word, granted, granted, now, pace);
}

/* The vendor's number, as a share of the policy's; the present one if it does not say. */
static uint64_t share_told(const struct told *t, uint64_t share)
{
	const uint64_t limit = t->told ? told_limit(t) : 0;

	return limit == 0 ? share : ratio_of(limit, LEARN_ALL, told_base(t));
}

/*
 * What is left was told: only what was still under way was too much. Of a rolling period that is used in bursts it is told
 * once a period, and others spend in between: if that happens again, it is spread, so that it is told all the time.
 */
static uint64_t after_told(const struct told *t, uint64_t word, uint64_t share, uint64_t part,
			   const struct learn_pace *pace)
{
	const uint64_t granted = minus(least(share, share_told(t, share)), part);

	if (LINK_KIND(t->link->flags) == KIND_ROLLING && word != 0 &&
	    !learn_knows(word, t->o->permit, t->o->at.now))
		return learn_spread(word, t->o->at.now, pace);
	return learn_granted(word, granted, granted, t->o->at.now, pace);
}

/* As a share of what comes in a period, or at once if that is more. */
static uint64_t rate_part(const struct told *t, uint64_t share, const struct learn_pace *pace)
{
	const struct blob_numbers *n = t->numbers;
	const uint64_t in_period = ratio_of(told_base(t), pace->period / TICKS_PER_NS,
					    n->period_ns ? n->period_ns : 1);
	const uint64_t whole = most(most(whole_burst(t), in_period), 1);

	return ratio_of(units_of(t), share, whole);
}

/*
 * Of a token bucket: as fast as it was granted since the last refusal. Where a burst was too large, those of it that were
 * refused say by how much.
 */
static uint64_t after_rate(const struct told *t, uint64_t word, uint64_t share,
			   const struct learn_pace *pace)
{
	const uint64_t now = t->o->at.now, told = share_told(t, share);
	uint64_t granted = least(rate_granted(t, word, share), share);

	if (told < share)
		return learn_granted(word, told, told, now, pace);
	if (learn_knows(word, t->o->permit, now))
		return learn_less(word, rate_part(t, share, pace));
	/* Little was asked for, or it is not known. */
	if (granted < share / 2)
		return learn_cut(word, now, pace);
	/* What the vendor had saved while less was asked for is lost: the truth is between the two. */
	granted += (share - granted) / 4;
	return learn_granted(word, granted / 100 * 98, granted, now, pace);
}

static uint64_t after_refusal(const struct told *t, uint64_t word, const struct learn_pace *pace)
{
	const uint64_t share = learn_share(word, t->o->at.now, pace);
	const uint64_t part = share_of_size(t, units_of(t), share);

	if (learn_is_spread(word) &&
	    learn_since(word, t->o->at.now) < SPREAD_PERIODS * pace->period)
		return word;
	if (LINK_KIND(t->link->flags) == KIND_BUCKET || learn_is_spread(word))
		return after_rate(t, word, share, pace);
	return t->told ? after_told(t, word, share, part, pace)
		       : after_count(t, word, share, part, pace);
}

static void learn(const struct told *t, uint64_t word, uint64_t next, const char *why)
{
	const struct learn_pace pace = pace_of(t);

	if (next == word || !view_change(&t->o->ration->seg, t->view, VIEW_LEARNED, word, next))
		return;
	told_learned(t);
	told_event(t, EVENT_LEARNED, EVENT_SHARE,
		   learn_share(next, t->o->at.now, &pace) * PPM / LEARN_ALL, why);
}

void learn_from_refusal(const struct observing *o)
{
	struct told t = {.told = NULL};
	const struct link *link = match_refusal(o, &t.told);
	struct learn_pace pace;
	uint64_t word;

	if (!link || !told_begin(o, link, &t) || !told_view(&t))
		return;
	view_count_limited(&o->ration->seg, t.view);
	pace = pace_of(&t);
	word = view_value(&o->ration->seg, t.view, VIEW_LEARNED);
	learn(&t, word, after_refusal(&t, word, &pace), "refused although there was room");
	touch_view(&t);
}

/* --- nothing is refused --- */

/*
 * All of it is granted again: nothing more is to be remembered. What a limit may grow to is not bounded if it is sought: then
 * more is tried for as long as all of it is asked for, or nothing would show that there is more.
 */
static uint64_t after_success(const struct told *t, uint64_t word, const struct learn_pace *pace)
{
	const uint64_t now = t->o->at.now;
	const uint32_t full = view_counts(&t->o->ration->seg, t->view.bucket).full;
	const bool idle = ((periods(t) - full) & PERIODS_MASK) > PERIODS_IDLE;

	if (!(t->limit->flags & LIMIT_SEEKS))
		return learn_is_over(word, now, pace) ? 0 : word;
	if (word == 0)
		return idle ? word : learn_try(word, now, pace);
	return idle && learn_is_trying(word, now, pace) ? learn_hold(word, now) : word;
}

static void observe_success(const struct told *t)
{
	const uint64_t word = view_value(&t->o->ration->seg, t->view, VIEW_LEARNED);
	const struct learn_pace pace = pace_of(t);

	if (word == 0 && !(t->limit->flags & LIMIT_SEEKS))
		return;
	count(t, word);
	learn(t, word, after_success(t, word, &pace), "nothing is refused");
	touch_view(t);
}

static bool view_of(struct told *t)
{
	if (client_view_find(t->o->ration, t->bucket, &t->view))
		return true;
	return t->limit->flags & LIMIT_SEEKS && told_view(t);
}

/* Where something is being learned, those that were accepted count as well. */
void learn_from_success(const struct observing *o)
{
	for (uint64_t i = 0; i < o->chain.head.n_links; i++) {
		const struct link *link = &o->chain.links[i];
		struct told t = {.told = NULL};

		if (link_is_written(o, link) && told_begin(o, link, &t) && view_of(&t))
			observe_success(&t);
	}
}
