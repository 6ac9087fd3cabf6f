/*
 * bench/support_floors.h - what cannot be done faster, and what else one could do
 * SPDX-License-Identifier: MIT
 *
 * Each does n operations, in memory that forked processes share.
 */
#ifndef RATION_BENCH_SUPPORT_FLOORS_H
#define RATION_BENCH_SUPPORT_FLOORS_H

#include <stdbool.h>

/* False after a message. */
bool floors_start(void);

void floor_nothing(unsigned n);
void floor_clock(unsigned n);     /* CLOCK_BOOTTIME */
void floor_cas(unsigned n);       /* load and compare-and-swap one word until it succeeds */
void floor_clock_cas(unsigned n); /* both */
void floor_gcra(unsigned n);      /* look at a bucket and charge it, time passed in */
void floor_mutex(unsigned n);     /* robust mutex { clock, the same arithmetic on plain words } */

#endif
