/*
 * client/observe.c - what a vendor answered, fed back
 * SPDX-License-Identifier: MIT
 *
 *	match.c		which limit of ours it speaks of
 *	correct.c	what is left
 *	learner.c	how much is granted
 *	gate.c		what is to be held back
 */
#include <errno.h>
#include <string.h>

#include "client/gate.h"
#include "client/observe.h"
#include "client/view.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"

static uint64_t effective_size(const struct seg_hot *hot, enum seg_kind kind)
{
	const uint64_t numbers = shm_load_relaxed(&hot->numbers);

	switch (kind) {
	case KIND_BUCKET:
		return bucket_burst(numbers);
	case KIND_WINDOW:
		return window_amount(numbers);
	case KIND_ROLLING:
		return rolling_amount(numbers);
	case KIND_SLOTS:
		return slots_count(numbers);
	default:
		return 0;
	}
}

/* Every response may say the same: people are told once a second. */
void told_event(const struct told *t, enum event_type type, enum event_number what, uint64_t number,
		const char *why)
{
	const struct observing *o = t->o;
	struct event event;
	uint64_t times;

	if (!event_due(o->ration, type, t->bucket.bucket, CHAIN_CLASS(o->chain.head.flags),
		       o->at.now, &times))
		return;
	event = event_about(o->handle, type);
	event.number[EVENT_TIMES] = times;
	event.number[what] = number;
	if (t->told)
		event.number[EVENT_REMAINING] = t->told->remaining;
	event.text[EVENT_LIMIT] = blob_text(o->blob, t->limit->name);
	event.text[EVENT_UNIT] = blob_text(o->blob, t->limit->unit);
	event.text[EVENT_WHY] = why;
	event_tell(o->ration, &event);
}

void told_learned(const struct told *t)
{
	shm_add(&t->o->ration->seg.control->learned, 1);
}

bool told_begin(const struct observing *o, const struct link *link, struct told *t)
{
	t->o = o;
	t->link = link;
	t->limit = link_limit(o, link);
	t->numbers = blob_numbers_for(o->blob, LINK_LIMIT(link->flags), o->tenant);
	t->bucket = (struct bucket_ref){link->bucket, link->generation};
	if (link->bucket >= o->ration->seg.n_buckets)
		return false;
	t->size = effective_size(&o->ration->seg.hot[link->bucket], (enum seg_kind)t->limit->kind);
	return true;
}

bool told_view(struct told *t)
{
	return client_view(t->o->ration, t->o->handle->field, t->o->blob,
			   LINK_LIMIT(t->link->flags), t->bucket, &t->view);
}

/* --- the call --- */

static bool ends_within(const char *text)
{
	return strnlen(text, RATION_NAME_MAX + 1) <= RATION_NAME_MAX;
}

static bool signal_ok(const struct ration_signal *signal)
{
	if (signal->n_told > RATION_TOLD_MAX || signal->limit_class > RATION_LIMIT_BILLING ||
	    signal->reach > RATION_REACH_ACCOUNT)
		return false;
	for (uint32_t i = 0; i < signal->n_told; i++) {
		if (!ends_within(signal->told[i].name) || !ends_within(signal->told[i].unit))
			return false;
	}
	return true;
}

/* Refused though the bucket admitted it. The vendor's own trouble and an unpaid bill say nothing of the rate. */
static bool is_refusal(const struct ration_signal *signal)
{
	return signal->limited && signal->reach != RATION_REACH_REQUEST &&
	       signal->limit_class != RATION_LIMIT_OVERLOAD &&
	       signal->limit_class != RATION_LIMIT_BILLING;
}

static int begin_observing(struct observing *o)
{
	struct ration *ration = o->ration;
	const int ready = attachment_ready(ration);
	int result;

	if (ready != 0)
		return ready;
	o->at.now = client_now(ration);
	if (shm_load(&ration->seg.control->policy_generation) >
	    atomic_load(&ration->policy_generation))
		policy_update(ration, o->at.now);
	o->at.wall = client_wall(ration, o->at.now);
	o->permit = o->ticket ? least(o->ticket->permit, o->at.now) : o->at.now;
	result = client_chain(o->handle, o->at.wall, false, &o->chain);
	return result;
}

int ration_observe(struct ration_handle *handle, const struct ration_ticket *ticket,
		   const struct ration_signal *signal)
{
	struct observing o = {
		.ration = handle->ration, .handle = handle, .ticket = ticket, .signal = signal};
	int result;

	if (!signal_ok(signal))
		return -EINVAL;
	result = begin_observing(&o);
	if (result != 0)
		return result;
	if (signal->limited)
		event_tell_limited(handle, signal);
	else if (signal->attempt > 1)
		event_tell_attempt(handle, EVENT_FINISHED, signal, signal->attempt, EVENT_NONE,
				   "answered");
	o.blob = policy_enter(o.ration);
	/* Replaced meanwhile: the chain's limits cannot be named any more, and the next response will say it again. */
	if (o.blob->header->generation == o.chain.head.policy_generation) {
		o.tenant = blob_find_tenant(o.blob, handle->field[KEY_TENANT]);
		for (uint32_t i = 0; i < signal->n_told; i++)
			correct_by_told(&o, &signal->told[i]);
		if (is_refusal(signal))
			learn_from_refusal(&o);
		else if (!signal->limited)
			learn_from_success(&o);
	}
	policy_leave(o.ration);
	return gate_observe(handle, ticket, signal, o.at.now);
}
