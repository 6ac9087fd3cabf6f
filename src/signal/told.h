/*
 * signal/told.h - a signal as libration takes it
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SIGNAL_TOLD_H
#define RATION_SIGNAL_TOLD_H

#include <ration/ration.h>

#include "signal/signal.h"

/* Numbers are rounded down, waits up; the first RATION_TOLD_MAX limits, exhausted ones before others. */
void signal_told(const struct signal *signal, int status, struct ration_signal *ret);

/*
 * Headers that speak of limits, as received, for people: "name: value; name: value". Those that the adapter has read, and those
 * that are called so everywhere; none that may be a credential. What does not fit is left out.
 */
void signal_told_headers(const struct signal *signal, const struct signal_response *response,
			 char *text, size_t room);

#endif
