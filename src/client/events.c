/*
 * client/events.c - telling people what happened
 * SPDX-License-Identifier: MIT
 */
#include "client/events.h"

#include "client/attachment.h"

/*
 * A cell of ration->due: [bucket 24 | class 3 | type 4 | times 9 | when 24]; times: that were not due since; when: in 2^30
 * ticks (134 ms), modulo 26 days. What shares a cell with others that were told of lately waits its turn.
 */
#define WHEN_SHIFT  30
#define WHEN_MASK   ((UINT64_C(1) << 24) - 1)
#define TIMES_SHIFT 24
#define TIMES_MAX   ((UINT64_C(1) << 9) - 1)
#define TIMES_ONE   (UINT64_C(1) << TIMES_SHIFT)
#define WHAT_SHIFT  33
#define DUE_AFTER   8u /* of these: 1.07 s */

_Static_assert(EVENT_TYPE_COUNT <= 16, "a type has 4 bits in a cell of what is due");
_Static_assert(SEG_BUCKETS_MAX <= UINT32_C(1) << 24, "a bucket has 24");

static uint64_t what_of(enum event_type type, uint32_t bucket, uint32_t class_index)
{
	return (uint64_t)bucket << 7 | (uint64_t)(class_index & 7) << 4 | (uint64_t)type;
}

static uint64_t times_of(uint64_t cell)
{
	return cell >> TIMES_SHIFT & TIMES_MAX;
}

bool event_due(struct ration *ration, enum event_type type, uint32_t bucket, uint32_t class_index,
	       uint64_t now, uint64_t *ret_times)
{
	const uint64_t what = what_of(type, bucket, class_index);
	const uint64_t when = now >> WHEN_SHIFT & WHEN_MASK;
	_Atomic uint64_t *cell = &ration->due[(what ^ what >> 7) % EVENTS_DUE];
	uint64_t held = atomic_load_explicit(cell, memory_order_relaxed);
	const bool same = held >> WHAT_SHIFT == what;

	if (held != 0 && ((when - held) & WHEN_MASK) < DUE_AFTER) {
		/* One that is lost to another thread is a number less in a text. */
		if (same && times_of(held) < TIMES_MAX)
			(void)atomic_compare_exchange_strong(cell, &held, held + TIMES_ONE);
		return false;
	}
	if (!atomic_compare_exchange_strong(cell, &held, what << WHAT_SHIFT | when))
		return false;
	*ret_times = same ? times_of(held) + 1 : 1;
	return true;
}

struct event event_about(const struct ration_handle *handle, enum event_type type)
{
	struct ration *ration = handle->ration;
	struct event event = event_of(type, client_now(ration), atomic_load(&ration->identity));

	event.text[EVENT_TENANT] = handle->field[KEY_TENANT];
	event.text[EVENT_VENDOR] = handle->field[KEY_VENDOR];
	event.text[EVENT_CLASS] = handle->field[KEY_CLASS];
	event.text[EVENT_ACCOUNT] = handle->field[KEY_ACCOUNT];
	event.text[EVENT_RESOURCE] = handle->field[KEY_RESOURCE];
	return event;
}

/* A child that fork made has no slot until it next acquires. */
static bool may_tell(const struct ration *ration)
{
	return has_supervisor(ration) && !ration->observer &&
	       atomic_load_explicit(&ration->process->registration, memory_order_acquire) ==
		       REGISTERED;
}

void event_tell(struct ration *ration, const struct event *event)
{
	struct event_image image;

	if (!may_tell(ration))
		return;
	event_pack(event, &image);
	(void)event_put(&ration->seg, atomic_load_explicit(&ration->slot, memory_order_relaxed),
			&image);
}

void event_tell_denied(const struct ration_handle *handle, int code,
		       const struct ration_denial *denial, uint64_t times)
{
	struct event event = event_about(handle, EVENT_DENIED);

	event.number[EVENT_TIMES] = times;
	event.number[EVENT_AMOUNT] = denial->needed;
	event.number[EVENT_SIZE] = denial->size;
	event.number[EVENT_REMAINING] = denial->left;
	if (code == RATION_DENIED)
		event.number[EVENT_WAIT_NS] = denial->retry_in_ns;
	event.text[EVENT_LIMIT] = denial->limit;
	event.text[EVENT_UNIT] = denial->unit;
	event.text[EVENT_WHY] = code == RATION_DENIED ? "" : "can never fit";
	event_tell(handle->ration, &event);
}

void event_tell_attempt(const struct ration_handle *handle, enum event_type type,
			const struct ration_signal *signal, uint32_t attempt, uint64_t wait_ns,
			const char *why)
{
	struct event event = event_about(handle, type);

	if (signal && signal->status != 0)
		event.number[EVENT_STATUS] = (uint64_t)signal->status;
	event.number[EVENT_ATTEMPT] = attempt;
	event.number[EVENT_WAIT_NS] = wait_ns;
	event.text[EVENT_WHY] = why;
	event_tell(handle->ration, &event);
}

/* The limit that has nothing left, if one was told of, else the first. */
static const struct ration_told *told_of(const struct ration_signal *signal)
{
	for (uint32_t i = 0; i < signal->n_told; i++) {
		if (signal->told[i].remaining == 0)
			return &signal->told[i];
	}
	return signal->n_told > 0 ? &signal->told[0] : NULL;
}

_Static_assert(RATION_UNKNOWN == EVENT_NONE, "what a response does not tell is no number");

void event_tell_limited(const struct ration_handle *handle, const struct ration_signal *signal)
{
	static const char *const why[] = {
		[RATION_LIMIT_NONE] = "",           [RATION_LIMIT_RATE] = "rate",
		[RATION_LIMIT_QUOTA] = "quota",     [RATION_LIMIT_CONCURRENCY] = "concurrency",
		[RATION_LIMIT_COST] = "cost",       [RATION_LIMIT_OVERLOAD] = "overload",
		[RATION_LIMIT_BILLING] = "billing",
	};
	const struct ration_told *told = told_of(signal);
	struct event event = event_about(handle, EVENT_LIMITED);

	if (signal->status != 0)
		event.number[EVENT_STATUS] = (uint64_t)signal->status;
	if (signal->attempt != 0)
		event.number[EVENT_ATTEMPT] = signal->attempt;
	event.number[EVENT_WAIT_NS] = signal->retry_in_ns;
	event.text[EVENT_WHY] = why[signal->limit_class];
	event.text[EVENT_HEADERS] = signal->headers;
	if (told) {
		event.number[EVENT_SIZE] = told->limit;
		event.number[EVENT_REMAINING] = told->remaining;
		event.number[EVENT_RESET_NS] = told->reset_in_ns;
		event.text[EVENT_LIMIT] = told->name;
		event.text[EVENT_UNIT] = told->unit;
	}
	event_tell(handle->ration, &event);
}
