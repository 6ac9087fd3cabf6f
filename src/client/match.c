/*
 * client/match.c - which limit of ours a response speaks of
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "client/observe.h"
#include "shm/hash.h"

static bool alone(const struct link *link)
{
	return !(link->flags & (LINK_BACKING | LINK_OR));
}

static bool of_unit(const struct ration_told *told, const struct link *link)
{
	return link->unit == hash_unit(told->unit[0] ? told->unit : "requests");
}

const struct blob_limit *link_limit(const struct observing *o, const struct link *link)
{
	return &o->blob->limits[LINK_LIMIT(link->flags)];
}

static const char *told_name(const struct observing *o, const struct blob_limit *limit)
{
	const char *told = blob_text(o->blob, limit->told);

	return told[0] ? told : blob_text(o->blob, limit->name);
}

/* The same amount in the same time; 2 %: some vendors round. */
static bool same_window(const struct ration_told *told, const struct blob_limit *limit)
{
	const uint64_t period = limit->numbers.period_ns, amount = limit->numbers.amount;
	unsigned __int128 ours, theirs;

	if (told->window_ns == RATION_UNKNOWN || limit->kind == KIND_SLOTS)
		return false;
	if (limit->kind != KIND_BUCKET)
		return told->window_ns / 50 >= (told->window_ns > period
							? told->window_ns - period
							: period - told->window_ns);
	if (told->limit == RATION_UNKNOWN)
		return false;
	ours = (unsigned __int128)amount * told->window_ns;
	theirs = (unsigned __int128)told->limit * period;
	return ours / 50 >= (ours > theirs ? ours - theirs : theirs - ours);
}

enum likeness { UNLIKE, SAME_UNIT, SAME_WINDOW, SAME_NAME };

static enum likeness likeness(const struct observing *o, const struct ration_told *told,
			      const struct link *link)
{
	const struct blob_limit *limit = link_limit(o, link);

	if (!alone(link) || limit->role != LIMIT_WRITTEN || limit->kind == KIND_SLOTS)
		return UNLIKE;
	if (told->name[0] && strcmp(told->name, told_name(o, limit)) == 0)
		return SAME_NAME;
	if (!of_unit(told, link))
		return UNLIKE;
	return same_window(told, limit) ? SAME_WINDOW : SAME_UNIT;
}

static bool same_unit(const struct ration_told *a, const struct ration_told *b)
{
	return strcmp(a->unit[0] ? a->unit : "requests", b->unit[0] ? b->unit : "requests") == 0;
}

/* Of one unit it may be over any time; if another is told as well, one with a time may be of a limit that we do not have. */
static bool is_told_alone(const struct observing *o, const struct ration_told *told)
{
	if (told->window_ns == RATION_UNKNOWN)
		return true;
	for (uint32_t i = 0; i < o->signal->n_told; i++) {
		if (&o->signal->told[i] != told && same_unit(&o->signal->told[i], told))
			return false;
	}
	return true;
}

/* The one that is most like it, if there is only one such; that it has the same unit is enough if nothing else has. */
const struct link *match_told(const struct observing *o, const struct ration_told *told)
{
	enum likeness best = UNLIKE;
	const struct link *found = NULL;

	for (uint64_t i = 0; i < o->chain.head.n_links; i++) {
		const struct link *link = &o->chain.links[i];
		const enum likeness this = likeness(o, told, link);

		if (this == UNLIKE || this < best)
			continue;
		found = this > best ? link : NULL;
		best = this;
	}
	return best == SAME_UNIT && !is_told_alone(o, told) ? NULL : found;
}

/* Whether a refusal of this class can be for such a limit. */
static bool may_be_for(const struct observing *o, const struct link *link)
{
	const bool slots = LINK_KIND(link->flags) == KIND_SLOTS;

	return (o->signal->limit_class == RATION_LIMIT_CONCURRENCY) == slots;
}

bool link_is_written(const struct observing *o, const struct link *link)
{
	return alone(link) && link_limit(o, link)->role == LIMIT_WRITTEN;
}

/* The one that is over soonest, or latest where a quota is used up. */
static const struct link *find_by_class(const struct observing *o, bool any)
{
	const bool quota = o->signal->limit_class == RATION_LIMIT_QUOTA;
	const struct link *found = NULL;
	uint64_t period = 0;

	for (uint64_t i = 0; i < o->chain.head.n_links; i++) {
		const struct link *link = &o->chain.links[i];
		const uint64_t this = link_limit(o, link)->numbers.period_ns;

		if (link_is_written(o, link) && (any || may_be_for(o, link)) &&
		    (!found || (quota ? this > period : this < period))) {
			found = link;
			period = this;
		}
	}
	return found;
}

static const struct ration_told *exhausted(const struct observing *o, const struct link **ret_link)
{
	for (uint32_t i = 0; i < o->signal->n_told; i++) {
		if (o->signal->told[i].remaining == 0 &&
		    (*ret_link = match_told(o, &o->signal->told[i])))
			return &o->signal->told[i];
	}
	return NULL;
}

/*
 * Which told limit has nothing left; else one of the class, if there is any, for many vendors have one word for all that
 * they refuse.
 */
const struct link *match_refusal(const struct observing *o, const struct ration_told **ret_told)
{
	const struct link *found = NULL;

	*ret_told = exhausted(o, &found);
	if (!found)
		found = find_by_class(o, false);
	return found ? found : find_by_class(o, true);
}
