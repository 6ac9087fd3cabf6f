/*
 * shm/view.h - what a vendor has told of one bucket
 * SPDX-License-Identifier: MIT
 *
 * A record beside the bucket's own, made by whoever first has something to remember, and found by an identity that follows
 * from the bucket's. Acquires never look at it.
 *
 *	state[0], state[1]	the mark: [ticks, level of the bucket then]; see below
 *	state[2]		[since 24 | granted 28 | full 12]: what the learner counts
 *	state[3]		its extent: four pairs of words [life, value], enum view_value
 *	cold: admitted		units that the vendor counted and we did not (foreign)
 *	cold: denied		responses that were refused for this limit
 *
 * The mark. A response says what is left at the vendor at some time between the permit of its request and now. What was
 * charged a `delay` before that permit has arrived before it was made, so what the bucket counted then and the vendor does
 * not count was never spent: only that may be given back, whatever was charged since. So a mark is put down now and then:
 * the level of the bucket, and a time that is no earlier than any permit in it. A response to a request that was permitted
 * at least a `delay` after the mark may compare with it, and puts down the next one.
 *
 * Nobody waits for anybody: each change is one CAS, of a pair that names its life or its time. Who was stopped in an
 * earlier life of the record changes nothing. Whoever is killed has forgotten a response.
 *
 *			mark	tell	learn	count
 *	mark		  x	  -	  -	  -	one CAS of the pair; times only grow
 *	tell			  x	  -	  -	one CAS a value, of a pair with the life; the last one stays
 *	learn				  x	  -	likewise; who is late gives up
 *	count					  x	one CAS; whoever is late begins another count, or is counted in it
 */
#ifndef RATION_SHM_VIEW_H
#define RATION_SHM_VIEW_H

#include "shm/index.h"

enum view_value {
	VIEW_REMAINING, /* + 1; 0: never told */
	VIEW_LIMIT,     /* + 1; 0: never told */
	VIEW_RESET,     /* ticks at which the vendor begins anew; 0: never told */
	VIEW_LEARNED,   /* learn.h */
	VIEW_VALUES,
};

#define VIEW_LINES 1u

/* Which record and life. */
struct view_mark {
	uint64_t at; /* ticks */
	uint64_t level;
};

/* The identity of the view of a bucket. */
struct hash128 view_identity(struct hash128 bucket);

/* All that a new view starts with, but for names and scope. now: ticks; must live as long as the spec. */
struct bucket_spec view_spec(struct hash128 bucket, uint64_t *now);

/* False: another life, or it is being moved. */
bool view_mark(const struct seg *seg, struct bucket_ref view, struct view_mark *ret_mark);

/* Put down a later mark in the place of one that was read. False: another was faster. */
bool view_remark(struct seg *seg, struct bucket_ref view, const struct view_mark *from,
		 const struct view_mark *to);

/* 0 for another life, too. */
uint64_t view_value(const struct seg *seg, struct bucket_ref view, enum view_value which);

/* False: another life, or the value was not `from` any more. */
bool view_change(struct seg *seg, struct bucket_ref view, enum view_value which, uint64_t from,
		 uint64_t to);

/* Store what was told last. */
void view_tell(struct seg *seg, struct bucket_ref view, enum view_value which, uint64_t value);

/* What was granted since when, and when all that there is was last asked for. Times are stamps of whoever counts. */
struct view_count {
	uint32_t since;   /* 24 bits */
	uint32_t granted; /* units: 28 bits */
	uint32_t full;    /* 12 bits */
};

#define VIEW_GRANTED_MAX ((UINT32_C(1) << 28) - 1)

/* Add what was granted to the count that began at `since`, or begin that one; and store `full`. Saturates. */
void view_count(struct seg *seg, struct bucket_ref view, const struct view_count *add);
struct view_count view_counts(const struct seg *seg, uint32_t view);

void view_count_foreign(struct seg *seg, struct bucket_ref view, uint64_t units);
void view_count_limited(struct seg *seg, struct bucket_ref view);

/* Whether the words of a linked view can be true at `now`. */
bool view_plausible(const struct seg *seg, uint32_t view, uint64_t now);
bool view_repair(struct seg *seg, uint32_t view, uint64_t now);

/* Before a record is reclaimed: end its life if nothing was told since `before`. */
bool view_close(struct seg *seg, uint32_t view, uint64_t before);

#endif
