/*
 * shm/calendar.h - which window a wall clock time is in
 * SPDX-License-Identifier: MIT
 *
 * Windows of a fixed length are counted from 1970-01-01T00:00Z plus an offset. Days, weeks and months are those of
 * a time zone, and so 23 or 25 hours long where its clocks change. A zone is a table of the moments at which its
 * distance from UTC changes, made by the policy compiler from the system's time zone data for 20 years ahead;
 * after that the last distance stays.
 *
 * A window begins at the first moment at which the zone's clock reads its beginning or more. Where the clock is put
 * back over a midnight, the day that has begun goes on: no window comes twice. Where it is put forward over a midnight,
 * the day begins then; a day that is left out entirely (Apia, 30 December 2011) has no window and no index.
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

/*
 * At `at` (seconds since 1970, UTC) local time becomes UTC + offset seconds. Ascending, from 1970 on: an index
 * depends on the days that were left out before it, and must stay the same when the policy is compiled again.
 */
struct calendar_change {
	int64_t at;
	int32_t offset;
	uint32_t reserved;
};

struct calendar {
	enum calendar_unit unit;
	uint64_t length_ns; /* CALENDAR_LENGTH: at least 1 ms */
	int64_t offset_ns; /* by the clock, windows begin so much later: 0 ... less than a window's length */
	const struct calendar_change *changes;
	uint32_t n_changes;
	int32_t first_offset; /* before the first change; 0 with no changes: UTC */
};

struct calendar_window {
	uint64_t
		index; /* consecutive windows have consecutive ones; the same for everybody; at least 1 */
	int64_t start; /* ns since 1970 */
	int64_t end;
};

/* 2200-01-01T00:00Z. What a window_pack() for a calendar should leave room for: the index of this moment. */
#define CALENDAR_LAST_NS INT64_C(7258118400000000000)

/* Any time from 1970 to 2200; earlier and later ones count as the first and the last of these. */
void calendar_find(const struct calendar *calendar, int64_t wall_ns, struct calendar_window *ret);

/* What the zone's clock reads: seconds since midnight, 0 ... 86399. */
uint32_t calendar_time_of_day(const struct calendar *zone, int64_t wall_ns);

#endif
