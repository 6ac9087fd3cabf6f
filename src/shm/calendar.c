/*
 * shm/calendar.c - which window a wall clock time is in
 * SPDX-License-Identifier: MIT
 *
 * Everything is in ns. "Reading" is what the zone's clock shows, as if it were UTC: ns since 1970-01-01T00:00.
 */
#include "shm/calendar.h"

#define SECOND INT64_C(1000000000)
#define DAY    (86400 * SECOND)

/* Index of the period that holds the reading 1970-01-01T00:00: what lies a zone and an offset before it is above 0. */
#define INDEX_OF_1970 INT64_C(4)

/* --- the calendar --- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/*
 * Days since 1970-01-01 of the first day of a month of the (proleptic) Gregorian calendar, and back. After
 * Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (days_from_civil, civil_from_days), public domain.
 * Years begin in March, so that the leap day is the last; 400 of them are an era of 146,097 days.
 */
static int64_t days_of_month(int64_t months)
{
	const int64_t year = floor_div(months - 2, 12) + 1970;
	const int64_t month = months - 2 - (year - 1970) * 12; /* 0: March */
	const int64_t era = floor_div(year, 400);
	const int64_t year_of_era = year - era * 400;
	const int64_t day_of_year = (153 * month + 2) / 5;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

/* Months since January 1970. */
static int64_t month_of_day(int64_t days)
{
	const int64_t era = floor_div(days + 719468, 146097);
	const int64_t day_of_era = days + 719468 - era * 146097;
	const int64_t year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	const int64_t day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	const int64_t month = (5 * day_of_year + 2) / 153; /* 0: March */

	return (era * 400 + year_of_era - 1970) * 12 + month + 2;
}

/* Days, weeks or months since those of 1970-01-01, a Thursday. */
static int64_t period_of(enum calendar_unit unit, int64_t reading)
{
	const int64_t day = floor_div(reading, DAY);

	if (unit == CALENDAR_MONTH)
		return month_of_day(day);
	return unit == CALENDAR_WEEK ? floor_div(day + 3, 7) : day;
}

static int64_t period_begin(enum calendar_unit unit, int64_t period)
{
	if (unit == CALENDAR_MONTH)
		return days_of_month(period) * DAY;
	return (unit == CALENDAR_WEEK ? period * 7 - 3 : period) * DAY;
}

/* --- the zone --- */

/* A stretch of time, [begin, end), in which the zone's clock is `ahead` of UTC. */
struct stretch {
	int64_t begin;
	int64_t end;
	int64_t ahead;
};

static struct stretch stretch(const struct calendar *zone, uint32_t i)
{
	const struct calendar_change *changes = zone->changes;

	return (struct stretch){
		.begin = i == 0 ? INT64_MIN : changes[i - 1].at * SECOND,
		.end = i == zone->n_changes ? INT64_MAX : changes[i].at * SECOND,
		.ahead = (i == 0 ? zone->first_offset : changes[i - 1].offset) * SECOND,
	};
}

/* The first moment at which the clock reads so much or more. */
static int64_t reached(const struct calendar *zone, int64_t reading)
{
	int64_t at = 0;

	for (uint32_t i = 0; i <= zone->n_changes; i++) {
		const struct stretch s = stretch(zone, i);

		at = reading - s.ahead > s.begin ? reading - s.ahead : s.begin;
		if (at < s.end)
			break; /* at the latest in the last stretch */
	}
	return at;
}

/* Periods that a clock put forward from one reading to another leaves out entirely. */
static int64_t left_out(const struct calendar *zone, int64_t from, int64_t to)
{
	const int64_t periods = to - from < DAY
					? 0
					: period_of(zone->unit, to - zone->offset_ns) -
						  period_of(zone->unit, from - zone->offset_ns);

	return periods > 1 ? periods - 1 : 0;
}

/* The highest reading until `wall`, and how many periods were left out on the way there. */
static int64_t highest_reading(const struct calendar *zone, int64_t wall, int64_t *ret_left_out)
{
	int64_t highest = INT64_MIN / 2;

	*ret_left_out = 0;
	for (uint32_t i = 0; i <= zone->n_changes; i++) {
		const struct stretch s = stretch(zone, i);
		const int64_t last = (wall < s.end ? wall : s.end - 1) + s.ahead;

		if (s.begin > wall)
			break;
		if (i > 0)
			*ret_left_out += left_out(zone, highest, s.begin + s.ahead);
		if (last > highest)
			highest = last;
	}
	return highest;
}

/* --- windows --- */

static void find_length(const struct calendar *calendar, int64_t wall, struct calendar_window *ret)
{
	const int64_t length = (int64_t)calendar->length_ns;
	const int64_t index = (wall - calendar->offset_ns) / length + (wall >= calendar->offset_ns);

	ret->index = (uint64_t)index + 1;
	ret->end = index * length + calendar->offset_ns;
	ret->start = ret->end - length;
}

void calendar_find(const struct calendar *calendar, int64_t wall_ns, struct calendar_window *ret)
{
	const int64_t capped = wall_ns > CALENDAR_LAST_NS ? CALENDAR_LAST_NS : wall_ns;
	const int64_t wall = capped < 0 ? 0 : capped;
	int64_t period, skipped;

	if (calendar->unit == CALENDAR_LENGTH) {
		find_length(calendar, wall, ret);
		return;
	}
	period = period_of(calendar->unit,
			   highest_reading(calendar, wall, &skipped) - calendar->offset_ns);
	ret->index = (uint64_t)(period - skipped + INDEX_OF_1970);
	ret->start = reached(calendar, period_begin(calendar->unit, period) + calendar->offset_ns);
	ret->end =
		reached(calendar, period_begin(calendar->unit, period + 1) + calendar->offset_ns);
}

uint32_t calendar_time_of_day(const struct calendar *zone, int64_t wall_ns)
{
	struct stretch s = stretch(zone, 0);
	int64_t reading;

	for (uint32_t i = 1; i <= zone->n_changes && s.end <= wall_ns; i++)
		s = stretch(zone, i);
	reading = wall_ns + s.ahead;
	return (uint32_t)((reading - floor_div(reading, DAY) * DAY) / SECOND);
}
