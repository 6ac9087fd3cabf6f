/*
 * signal/date.c - dates as vendors write them
 * SPDX-License-Identifier: MIT
 */
#include "signal/date.h"

#include <string.h>
#include <strings.h>

#define SECOND INT64_C(1000000)
#define DAY    (86400 * SECOND)

/* What was read so far; negative: not yet. */
struct date {
	const char *at, *end;
	int year, month, day; /* month from 1 */
	int hour, minute, second;
	int64_t fraction_us;
	int zone_minutes; /* east of Greenwich */
	bool has_time;
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char next(const struct date *d)
{
	return d->at < d->end ? *d->at : '\0';
}

/* min to max digits. */
static bool take_digits(struct date *d, int min, int max, int *ret)
{
	int value = 0, n = 0;

	for (; n < max && digit(next(d)); n++)
		value = value * 10 + (*d->at++ - '0');
	if (n < min)
		return false;
	*ret = value;
	return true;
}

static bool take(struct date *d, char c)
{
	if (next(d) != c)
		return false;
	d->at++;
	return true;
}

/* Seven digits and more are rounded up: a wait is never cut short. */
static bool take_fraction(struct date *d)
{
	int64_t unit = SECOND;
	bool more = false;

	if (!digit(next(d)))
		return false;
	for (; digit(next(d)); d->at++) {
		if (unit > 1) {
			unit /= 10;
			d->fraction_us += (*d->at - '0') * unit;
		} else {
			more |= *d->at != '0';
		}
	}
	d->fraction_us += more;
	return true;
}

/* HH:MM[:SS[.fraction]] */
static bool take_time(struct date *d)
{
	if (d->has_time || !take_digits(d, 1, 2, &d->hour) || !take(d, ':') ||
	    !take_digits(d, 2, 2, &d->minute))
		return false;
	d->has_time = true;
	if (!take(d, ':'))
		return true;
	return take_digits(d, 2, 2, &d->second) && (!take(d, '.') || take_fraction(d));
}

/* +HH:MM, +HHMM */
static bool take_offset(struct date *d)
{
	const int sign = *d->at++ == '-' ? -1 : 1;
	int hours, minutes;

	if (!take_digits(d, 2, 2, &hours))
		return false;
	take(d, ':');
	if (!take_digits(d, 2, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	d->zone_minutes = sign * (hours * 60 + minutes);
	return true;
}

/* --- 1994-11-06T08:49:37Z --- */

static bool take_iso_zone(struct date *d)
{
	if (take(d, 'Z') || take(d, 'z'))
		return true;
	return next(d) == '+' || next(d) == '-' ? take_offset(d) : true;
}

static bool parse_iso(struct date *d)
{
	if (!take_digits(d, 4, 4, &d->year) || !take(d, '-') || !take_digits(d, 2, 2, &d->month) ||
	    !take(d, '-') || !take_digits(d, 2, 2, &d->day))
		return false;
	if (d->at == d->end)
		return true;
	if (!take(d, 'T') && !take(d, 't') && !take(d, ' '))
		return false;
	return take_time(d) && take_iso_zone(d) && d->at == d->end;
}

/* --- words and numbers, whose form says what they are --- */

static int index_of(const char *word, size_t size, const char *const *words, int n)
{
	for (int i = 0; i < n; i++) {
		if (strlen(words[i]) >= size && size >= 3 && strncasecmp(word, words[i], size) == 0)
			return i;
	}
	return -1;
}

static bool take_word(struct date *d)
{
	static const char *const months[] = {"January",   "February", "March",    "April",
					     "May",       "June",     "July",     "August",
					     "September", "October",  "November", "December"};
	static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
					   "Thursday", "Friday", "Saturday"};
	static const char *const zones[] = {"GMT", "UTC"};
	const char *word = d->at;
	size_t size;
	int month;

	while (letter(next(d)))
		d->at++;
	size = (size_t)(d->at - word);
	month = index_of(word, size, months, 12);
	if (month >= 0 && d->month < 0) {
		d->month = month + 1;
		return true;
	}
	if (index_of(word, size, days, 7) >= 0)
		return true;
	if (index_of(word, size, zones, 2) < 0)
		return size == 1 && (*word == 'Z' || *word == 'z');
	return next(d) == '+' || next(d) == '-' ? take_offset(d) : true;
}

static bool take_year(struct date *d, int value, int digits, int64_t now_us)
{
	const int now = 1970 + (int)(now_us / (DAY * 365));

	if (d->year >= 0)
		return false;
	/* RFC 9110: more than 50 years ahead means the century before. */
	if (digits <= 2)
		value += value + 2000 > now + 50 ? 1900 : 2000;
	d->year = value;
	return true;
}

static bool take_number(struct date *d, int64_t now_us)
{
	const char *start = d->at;
	int value = 0, digits;

	if (!take_digits(d, 1, 4, &value))
		return false;
	digits = (int)(d->at - start);
	if (next(d) == ':') {
		d->at = start;
		return take_time(d);
	}
	if (digits <= 2 && d->day < 0) {
		d->day = value;
		return true;
	}
	return take_year(d, value, digits, now_us);
}

static bool skip_comment(struct date *d)
{
	while (d->at < d->end && *d->at != ')')
		d->at++;
	return take(d, ')');
}

static bool parse_words(struct date *d, int64_t now_us)
{
	bool good = true;

	while (good && d->at < d->end) {
		const char c = *d->at;

		if (letter(c))
			good = take_word(d);
		else if (digit(c))
			good = take_number(d, now_us);
		else if ((c == '+' || c == '-') && d->has_time)
			good = take_offset(d);
		else if (c == '(')
			good = skip_comment(d);
		else if (strchr(" ,-\t", c))
			d->at++;
		else
			good = false;
	}
	return good && d->has_time;
}

/* --- the calendar --- */

static bool leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool in_range(const struct date *d)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (d->year < 0 || d->month < 1 || d->month > 12 || d->day < 1)
		return false;
	if (d->day > lengths[d->month - 1] + (d->month == 2 && leap(d->year)))
		return false;
	return d->hour <= 24 && d->minute <= 59 && d->second <= 60;
}

/* Days since 1970-01-01: years counted from March on, so that a leap day ends one. */
static int64_t days_of(int year, int month, int day)
{
	const int64_t y = month > 2 ? year : year - 1;
	const int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
	const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

bool date_parse(const char *text, size_t size, int64_t now_us, int64_t *ret_us)
{
	struct date d = {.at = text, .end = text + size, .year = -1, .month = -1, .day = -1};
	struct date words;

	while (d.at < d.end && blank(*d.at))
		d.at++;
	while (d.at < d.end && blank(d.end[-1]))
		d.end--;
	words = d;
	if (!parse_iso(&d)) {
		d = words;
		if (!parse_words(&d, now_us))
			return false;
	}
	if (!in_range(&d))
		return false;
	*ret_us = days_of(d.year, d.month, d.day) * DAY +
		  (d.hour * 3600 + (d.minute - d.zone_minutes) * 60 + d.second) * SECOND +
		  d.fraction_us;
	return true;
}
