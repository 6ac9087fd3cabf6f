/*
 * signal/date.h - dates as vendors write them
 * SPDX-License-Identifier: MIT
 *
 *	Sun, 06 Nov 1994 08:49:37 GMT		RFC 9110, and its two obsolete forms
 *	Sunday, 06-Nov-94 08:49:37 GMT
 *	Sun Nov  6 08:49:37 1994
 *	Sun Nov 06 1994 08:49:37 GMT+0100 (CET)	what JavaScript's Date makes of itself
 *	1994-11-06T08:49:37.5+01:00		RFC 3339, also without seconds, zone or time
 *
 * No two of them can be confused, so all are one notation here. Without a zone it is UTC.
 */
#ifndef RATION_SIGNAL_DATE_H
#define RATION_SIGNAL_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds since 1970, rounded up. now_us decides what century a year of two digits is in. */
bool date_parse(const char *text, size_t size, int64_t now_us, int64_t *ret_us);

#endif
