/*
 * tests/test_calendar.c - windows of the calendar, against the C library's idea of local time
 * SPDX-License-Identifier: MIT
 *
 * The tables of changes are found by asking localtime_r(), so the zones are the system's; then every hour of twenty
 * years must be in exactly the window that localtime_r() and mktime() say.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/calendar.h"

#define SECOND INT64_C(1000000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

static struct tm local(int64_t seconds)
{
	const time_t t = (time_t)seconds;
	struct tm tm;

	cr_assert(localtime_r(&t, &tm));
	return tm;
}

static int64_t utc(int year, int month, int day, int hour)
{
	struct tm tm = {
		.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour};

	return timegm(&tm);
}

static struct calendar_change changes[1024];

/* The second in (a, b] at which the offset changes. */
static int64_t bisect(int64_t a, int64_t b)
{
	const long before = local(a).tm_gmtoff;

	while (b - a > 1) {
		const int64_t middle = a + (b - a) / 2;

		if (local(middle).tm_gmtoff == before)
			a = middle;
		else
			b = middle;
	}
	return b;
}

/* A zone as the system knows it, from one year to another. */
static struct calendar zone_between(const char *name, int from, int to)
{
	struct calendar zone = {.unit = CALENDAR_DAY, .changes = changes};
	const int64_t last = utc(to, 1, 1, 0);
	int64_t t = utc(from, 1, 1, 0);

	setenv("TZ", name, 1);
	tzset();
	zone.first_offset = (int32_t)local(t).tm_gmtoff;
	for (; t < last; t += 3600) {
		if (local(t).tm_gmtoff == local(t + 3600).tm_gmtoff)
			continue;
		const int64_t at = bisect(t, t + 3600);

		cr_assert(zone.n_changes < 1024);
		changes[zone.n_changes++] =
			(struct calendar_change){at, (int32_t)local(at).tm_gmtoff, 0};
	}
	return zone;
}

static struct calendar zone_of(const char *name)
{
	return zone_between(name, 1970, 2038);
}

/* --- what localtime_r() calls the same day, week, month --- */

/* Larger for each later day of a calendar. */
static int64_t day_number(const struct tm *tm)
{
	struct tm date = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};

	return timegm(&date) / 86400;
}

static int64_t number(enum calendar_unit unit, int64_t seconds)
{
	const struct tm tm = local(seconds);

	if (unit == CALENDAR_MONTH)
		return tm.tm_year * 12 + tm.tm_mon;
	if (unit == CALENDAR_WEEK)
		return day_number(&tm) - (tm.tm_wday + 6) % 7; /* its Monday */
	return day_number(&tm);
}

/* Where midnight is on the clock, mktime() finds it. */
static void check_mktime(int64_t start)
{
	struct tm tm = local(start), midnight;

	if (tm.tm_hour != 0 || tm.tm_min != 0)
		return;
	midnight = (struct tm){
		.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday, .tm_isdst = -1};
	cr_assert_eq(mktime(&midnight), start);
}

static void check_window(enum calendar_unit unit, int64_t t, const struct calendar_window *w)
{
	const int64_t start = w->start / SECOND, end = w->end / SECOND;

	cr_assert(w->start % SECOND == 0 && w->end % SECOND == 0);
	cr_assert(start <= t && t < end);
	cr_assert_eq(number(unit, start), number(unit, t));
	cr_assert_eq(number(unit, end - 1), number(unit, t));
	cr_assert_lt(number(unit, start - 1), number(unit, t));
	cr_assert_gt(number(unit, end), number(unit, t));
	check_mktime(start);
}

static void check_hours(struct calendar calendar, int from, int to)
{
	struct calendar_window before;
	const int64_t step = calendar.unit == CALENDAR_DAY ? 3600 : 5 * 3600;

	calendar_find(&calendar, utc(from, 1, 1, 0) * SECOND, &before);
	for (int64_t t = utc(from, 1, 1, 0); t < utc(to, 1, 1, 0); t += step) {
		struct calendar_window w;

		calendar_find(&calendar, t * SECOND, &w);
		if (w.index != before.index) {
			cr_assert_eq(w.index, before.index + 1);
			cr_assert_eq(w.start, before.end);
		} else {
			cr_assert(w.start == before.start && w.end == before.end);
		}
		if (w.index != before.index || t == utc(from, 1, 1, 0))
			check_window(calendar.unit, t, &w);
		else
			cr_assert_eq(number(calendar.unit, t),
				     number(calendar.unit, w.start / SECOND));
		before = w;
	}
}

static void check_zone(const char *name)
{
	struct calendar calendar = zone_of(name);

	for (calendar.unit = CALENDAR_DAY; calendar.unit <= CALENDAR_MONTH; calendar.unit++)
		check_hours(calendar, 2008, 2028);
}

Test(calendar, los_angeles)
{
	check_zone("America/Los_Angeles");
}

Test(calendar, berlin)
{
	check_zone("Europe/Berlin");
}

Test(calendar, kolkata)
{
	check_zone("Asia/Kolkata");
}

/* Half an hour of summer time. */
Test(calendar, lord_howe)
{
	check_zone("Australia/Lord_Howe");
}

/* No 30 December 2011. */
Test(calendar, apia)
{
	check_zone("Pacific/Apia");
}

/* Until 2018 its clocks were changed at midnight: days without a first hour, and days with two last ones. */
Test(calendar, sao_paulo)
{
	check_zone("America/Sao_Paulo");
}

Test(calendar, utc)
{
	check_zone("UTC");
}

/* --- single days --- */

static struct calendar_window day_at(const struct calendar *calendar, int64_t seconds)
{
	struct calendar_window w;

	calendar_find(calendar, seconds * SECOND, &w);
	return w;
}

Test(calendar, days_of_23_and_25_hours)
{
	const struct calendar zone = zone_of("America/Los_Angeles");
	const struct calendar_window spring = day_at(&zone, utc(2026, 3, 8, 20)),
				     autumn = day_at(&zone, utc(2026, 11, 1, 20));

	cr_assert_eq(spring.end - spring.start, 23 * HOUR);
	cr_assert_eq(spring.start, utc(2026, 3, 8, 8) * SECOND);
	cr_assert_eq(autumn.end - autumn.start, 25 * HOUR);
	cr_assert_eq(autumn.start, utc(2026, 11, 1, 7) * SECOND);
}

Test(calendar, a_day_left_out_has_no_window)
{
	const struct calendar zone = zone_of("Pacific/Apia");
	const struct calendar_window last = day_at(&zone, utc(2011, 12, 30, 9)),
				     next = day_at(&zone, utc(2011, 12, 30, 10));

	cr_assert_eq(last.end, utc(2011, 12, 30, 10) * SECOND);
	cr_assert_eq(next.start, last.end);
	cr_assert_eq(next.index, last.index + 1, "neighbours use different words");
	cr_assert_eq(last.end - last.start, DAY);
	cr_assert_eq(next.end - next.start, DAY);
}

/* Its clocks were put back at one minute past midnight: 1 November begins, is left, and comes again. */
Test(calendar, a_day_that_has_begun_goes_on)
{
	const struct calendar zone = zone_of("America/St_Johns");
	const int64_t first = utc(2009, 11, 1, 0) + 2 * 3600 + 1800;
	struct calendar_window before = day_at(&zone, first - 1);

	cr_assert_eq(local(first).tm_mday, 1);
	cr_assert_eq(local(first + 60).tm_mday, 31, "the zone is as described");
	for (int64_t t = first; t < first + 86400; t += 20)
		cr_assert_eq(day_at(&zone, t).index, before.index + 1);
	cr_assert_eq(day_at(&zone, first).start, before.end);
	cr_assert_eq(day_at(&zone, first).end - before.end, 25 * HOUR);
}

static void check_row(const struct calendar *calendar, int64_t from, int64_t to)
{
	struct calendar_window w, at_start, at_end;

	calendar_find(calendar, from, &w);
	cr_assert(w.start <= from && from < w.end && w.index >= 1);
	while (w.end < to) {
		const struct calendar_window before = w;

		calendar_find(calendar, before.end, &w);
		cr_assert_eq(w.start, before.end);
		cr_assert_eq(w.index, before.index + 1);
		cr_assert_gt(w.end, w.start);
		calendar_find(calendar, w.start + (w.end - w.start) / 3, &at_start);
		calendar_find(calendar, w.end - 1, &at_end);
		cr_assert_eq(at_start.index, w.index);
		cr_assert(at_end.index == w.index && at_end.start == w.start &&
			  at_end.end == w.end);
	}
}

Test(calendar, windows_stand_in_a_row_for_two_centuries)
{
	static const char *const names[] = {"America/St_Johns", "Pacific/Apia",
					    "Asia/Gaza",        "Pacific/Kwajalein",
					    "Antarctica/Troll", "Africa/Casablanca"};
	static const int64_t offsets[] = {0, 2 * HOUR + HOUR / 2, 23 * HOUR};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct calendar calendar = zone_of(names[i]);

		for (size_t k = 0; k < sizeof(offsets) / sizeof(offsets[0]); k++) {
			calendar.offset_ns = offsets[k];
			calendar.unit = CALENDAR_DAY;
			check_row(&calendar, utc(1990, 1, 1, 0) * SECOND,
				  utc(2020, 1, 1, 0) * SECOND);
			calendar.unit = CALENDAR_WEEK;
			check_row(&calendar, 0, CALENDAR_LAST_NS);
			calendar.unit = CALENDAR_MONTH;
			check_row(&calendar, 0, CALENDAR_LAST_NS);
		}
	}
}

/* Leap years and centuries, without a zone: every day until 2200. */
Test(calendar, every_day_of_utc)
{
	struct calendar calendar = {.unit = CALENDAR_MONTH};

	for (int64_t t = 0; t < CALENDAR_LAST_NS / SECOND; t += 86400) {
		const time_t seconds = (time_t)t;
		struct calendar_window w;
		struct tm tm;

		gmtime_r(&seconds, &tm);
		calendar_find(&calendar, t * SECOND + DAY - 1, &w);
		cr_assert_eq(w.start, utc(tm.tm_year + 1900, tm.tm_mon + 1, 1, 0) * SECOND);
		cr_assert_eq(w.end, utc(tm.tm_year + 1900, tm.tm_mon + 2, 1, 0) * SECOND);
	}
}

Test(calendar, an_offset_is_by_the_clock)
{
	struct calendar calendar = zone_of("Europe/Berlin");
	struct calendar_window w;

	calendar.offset_ns = 6 * HOUR;
	calendar_find(&calendar, utc(2026, 3, 29, 3) * SECOND,
		      &w); /* 05:00, clocks went forward at 2 */
	cr_assert_eq(w.start, utc(2026, 3, 28, 5) * SECOND);
	cr_assert_eq(w.end, utc(2026, 3, 29, 4) * SECOND);
	calendar.unit = CALENDAR_MONTH;
	calendar_find(&calendar, utc(2026, 4, 1, 3) * SECOND, &w); /* 05:00: still March's */
	cr_assert_eq(w.start, utc(2026, 3, 1, 5) * SECOND);
	cr_assert_eq(w.end, utc(2026, 4, 1, 4) * SECOND);
}

/* What a policy compiled years later calls the same day. */
Test(calendar, the_index_does_not_depend_on_how_far_the_table_reaches)
{
	struct calendar whole = zone_of("America/Los_Angeles"), early = whole;
	struct calendar_window a, b;

	early.n_changes = whole.n_changes - 40;
	for (int64_t t = utc(1970, 1, 1, 0); t < utc(2037, 1, 1, 0); t += 43200) {
		calendar_find(&whole, t * SECOND + HOUR * 3, &a);
		calendar_find(&early, t * SECOND + HOUR * 3, &b);
		cr_assert(a.index - b.index <= 1 || b.index - a.index <= 1,
			  "an hour at an edge, no more");
		if (t < early.changes[early.n_changes].at)
			cr_assert_eq(a.index, b.index);
	}
}

Test(calendar, times_of_day)
{
	static const char *const names[] = {"America/Los_Angeles", "Australia/Lord_Howe",
					    "Asia/Kolkata", "Pacific/Apia"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct calendar zone = zone_of(names[i]);

		for (int64_t t = utc(2008, 1, 1, 0); t < utc(2028, 1, 1, 0); t += 7199) {
			const struct tm tm = local(t);

			cr_assert_eq(calendar_time_of_day(&zone, t * SECOND + SECOND - 1),
				     tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
		}
	}
}

/* --- fixed lengths --- */

Test(calendar, fixed_lengths)
{
	static const int64_t lengths[] = {SECOND / 1000, SECOND, 7 * SECOND, 60 * SECOND,
					  HOUR,          DAY,    400 * DAY};
	static const int64_t times[] = {0, 1784000000 * SECOND + 123456789,
					CALENDAR_LAST_NS - 401 * DAY};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const int64_t length = lengths[i];
		const int64_t offsets[] = {0, 1, length / 3, length - 1};

		for (size_t k = 0; k < 12; k++) {
			const struct calendar calendar = {.length_ns = (uint64_t)length,
							  .offset_ns = offsets[k % 4]};
			struct calendar_window w;

			calendar_find(&calendar, times[k / 4], &w);
			cr_assert_eq(w.end - w.start, length);
			cr_assert_eq(((w.start - offsets[k % 4]) % length + length) % length, 0);
			check_row(&calendar, times[k / 4],
				  times[k / 4] + (length < DAY ? 1000 * length : 400 * DAY));
		}
	}
}

Test(calendar, what_is_outside_counts_as_the_first_and_the_last)
{
	const struct calendar calendar = zone_of("America/Los_Angeles");
	struct calendar_window a, b;

	calendar_find(&calendar, INT64_MIN, &a);
	calendar_find(&calendar, 0, &b);
	cr_assert(a.index == b.index && a.start == b.start && a.end == b.end && a.index >= 1);
	calendar_find(&calendar, INT64_MAX, &a);
	calendar_find(&calendar, CALENDAR_LAST_NS, &b);
	cr_assert(a.index == b.index && a.start == b.start && a.end == b.end);
}
