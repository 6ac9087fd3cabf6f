/*
 * client/observe.h - one response that is being fed back: what observe.c, match.c, correct.c and learner.c share
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLIENT_OBSERVE_H
#define RATION_CLIENT_OBSERVE_H

#include "client/attachment.h"
#include "client/events.h"
#include "shm/saturate.h"

struct observing {
	struct ration *ration;
	struct ration_handle *handle;
	const struct blob *blob;
	const struct ration_ticket *ticket; /* NULL: not known */
	const struct ration_signal *signal;
	uint32_t tenant;
	struct instant at;
	uint64_t permit; /* ticks; of no ticket: now */
	struct chain chain;
};

/* One told limit and the link that it is about. */
struct told {
	const struct observing *o;
	const struct ration_told *told;
	const struct link *link;
	const struct blob_limit *limit;
	const struct blob_numbers *numbers;
	struct bucket_ref bucket;
	struct bucket_ref view;
	uint64_t size;    /* of the bucket, in its own effective units */
	uint64_t missing; /* of it are not there, says the vendor; most of that */
	uint64_t spent;   /* was spent, by whomever: the rest its limit does not have */
	uint64_t most;    /* are not used for more, but for what it does not know */
};

/* --- observe.c --- */

/* Of a link of the chain: all but what was told, and the view. False: it is not there. */
bool told_begin(const struct observing *o, const struct link *link, struct told *ret_told);

/* The view that it has, or a new one. False: none. */
bool told_view(struct told *told);

/* An event, at most one a second of each kind. */
void told_event(const struct told *told, enum event_type type, enum event_number what,
		uint64_t number, const char *why);

/* The supervisor is to work out the numbers of buckets anew. */
void told_learned(const struct told *told);

/* --- match.c --- */

/* Whether a link stands for a limit as the policy has it, and which. */
bool link_is_written(const struct observing *o, const struct link *link);
const struct blob_limit *link_limit(const struct observing *o, const struct link *link);

/* The link that a told limit speaks of, or NULL. */
const struct link *match_told(const struct observing *o, const struct ration_told *told);

/* What a refusal is for, or NULL; and what was told of it, or NULL. */
const struct link *match_refusal(const struct observing *o, const struct ration_told **ret_told);

/* --- correct.c --- */

/* Bring the bucket that a told limit speaks of in line with it. */
void correct_by_told(const struct observing *o, const struct ration_told *told);

/* The vendor's number, as the policy's amount in its period; 0: it does not say. */
uint64_t told_limit(const struct told *told);

/* What learned shares are of: the policy's amount, or the vendor's where that is adopted. The view must be there. */
uint64_t told_base(const struct told *told);

/* Put down the next mark, where it is time. */
void touch_view(const struct told *told);

/* a * b / c, within what a cost may be */
uint64_t ratio_of(uint64_t a, uint64_t b, uint64_t c);

/* --- learner.c --- */

void learn_from_refusal(const struct observing *o);
void learn_from_success(const struct observing *o);

#endif
