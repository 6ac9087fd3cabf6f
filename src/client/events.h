/*
 * client/events.h - telling people what happened
 * SPDX-License-Identifier: MIT
 *
 * An event goes into this worker's ring (shm/event.h), from where rationd makes it a line of its log, and what `ration events`
 * shows. Telling never waits, allocates or calls the system, and may be done by any thread; what finds no room is
 * dropped and counted. With no supervisor there is nobody to tell, and nothing happens.
 *
 *	struct event event = event_about(handle, EVENT_BLOCKED);
 *
 *	event.number[EVENT_WAIT_NS] = until - now;
 *	event.text[EVENT_WHY] = "Retry-After";
 *	event_tell(handle->ration, &event);
 *
 * Texts are copied; EVENT_HEADERS takes only headers that speak of limits: credentials are in no event. Where something
 * can happen with every request, and is no news each time, ask event_due() first.
 */
#ifndef RATION_CLIENT_EVENTS_H
#define RATION_CLIENT_EVENTS_H

#include "client/client.h"
#include "shm/event.h"

/* An event of now, by this process, about a key; the rest is for the caller to fill in. */
struct event event_about(const struct ration_handle *handle, enum event_type type);

void event_tell(struct ration *ration, const struct event *event);

/*
 * Whether such an event is due: about once a second for each bucket, class and type. *ret_times: how many there were since
 * the last one that was due, this one included.
 */
bool event_due(struct ration *ration, enum event_type type, uint32_t bucket, uint32_t class_index,
	       uint64_t now, uint64_t *ret_times);

/* A denial that ration_acquire() returned as `code`; `times`: from event_due(). */
void event_tell_denied(const struct ration_handle *handle, int code,
		       const struct ration_denial *denial, uint64_t times);

/*
 * A request that is sent for the `attempt`th time (or would be), or its end: EVENT_RETRIED, EVENT_FINISHED. signal: the
 * last response, or NULL.
 */
void event_tell_attempt(const struct ration_handle *handle, enum event_type type,
			const struct ration_signal *signal, uint32_t attempt, uint64_t wait_ns,
			const char *why);

/* A response that was refused because of a limit. */
void event_tell_limited(const struct ration_handle *handle, const struct ration_signal *signal);

#endif
