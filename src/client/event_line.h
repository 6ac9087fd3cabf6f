/*
 * client/event_line.h - an event in words
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLIENT_EVENT_LINE_H
#define RATION_CLIENT_EVENT_LINE_H

#include "shm/event.h"

/* Longer than any event_line(). */
#define EVENT_LINE_MAX 1900u

/* Which of its numbers are times, in ns in an event and in seconds wherever it is shown. */
static inline bool event_is_time(int number)
{
	return number == EVENT_RESET_NS || number == EVENT_WAIT_NS;
}

/* `limited tenant="acme" vendor="crm" status=429 wait_s=1.500 pid=4711`; what is not there is left out. */
void event_line(const struct event *event, char line[EVENT_LINE_MAX]);

#endif
