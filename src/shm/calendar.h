/*
 * shm/calendar.h - which window a wall clock time is in
 * SPDX-License-Identifier: MIT
 *
 * Windows of a fixed length are counted from 1970-01-01T00:00Z plus an offset. Days, weeks and months are those of
 * a time zone, and so 23 or 25 hours long where its clocks change. A zone is a table of the moments at which its
 * distance from UTC changes, made by the policy compiler from the system's time zone data for 20 years ahead;
 * after that the last distance stays.
 */
#ifndef RATION_SHM_CALENDAR_H
#define RATION_SHM_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

enum calendar_unit {
	CALENDAR_LENGTH, /* length_ns, from offset_ns on */
	CALENDAR_DAY,
	CALENDAR_WEEK, /* from Monday */
	CALENDAR_MONTH,
};

/* At `at` (seconds since 1970, UTC) local time becomes UTC + offset seconds. Ascending. */
struct calendar_change {
	int64_t at;
	int32_t offset;
	uint32_t reserved;
};

struct calendar {
	enum calendar_unit unit;
	uint64_t length_ns; /* CALENDAR_LENGTH: at least 1 ms */
	int64_t offset_ns; /* windows begin so much later than the calendar's: 0 ... a window's length */
	const struct calendar_change *changes;
	uint32_t n_changes;   /* 0: UTC */
	int32_t first_offset; /* before the first change */
};

struct calendar_window {
	uint64_t index; /* consecutive windows have consecutive ones; the same for everybody */
	int64_t start;  /* ns since 1970 */
	int64_t end;
};

/* Any time from 1970 to 2200; earlier ones count as 1970. */
void calendar_find(const struct calendar *calendar, int64_t wall_ns, struct calendar_window *ret);

/* Seconds since local midnight (clock reading, 0 ... 86399), and where that reading next stops being continuous. */
uint32_t calendar_time_of_day(const struct calendar *zone, int64_t wall_ns);

#endif
