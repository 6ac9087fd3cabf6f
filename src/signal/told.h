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

#endif
