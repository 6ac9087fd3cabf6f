/*
 * policy/scalar.c - reading numbers, exactly
 * SPDX-License-Identifier: MIT
 */
#include "policy/scalar.h"

#include <string.h>

#include <ration/ration.h>

#include "shm/layout.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* digits / 10^scale */
struct decimal {
	uint64_t digits;
	unsigned scale;
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool times_ten(uint64_t *value, unsigned times)
{
	while (times-- > 0) {
		if (__builtin_mul_overflow(*value, 10, value))
			return false;
	}
	return true;
}

static bool take_digits(const char **text, uint64_t *value, unsigned *ret_count)
{
	*ret_count = 0;
	for (; digit(**text); ++*text, ++*ret_count) {
		if (!times_ten(value, 1) ||
		    __builtin_add_overflow(*value, (uint64_t)(**text - '0'), value))
			return false;
	}
	return *ret_count > 0;
}

/* "12" or "12.5"; moves *text behind it. */
static bool take_decimal(const char **text, struct decimal *ret)
{
	struct decimal d = {0};
	unsigned before;

	if (!take_digits(text, &d.digits, &before))
		return false;
	if (**text == '.') {
		++*text;
		if (!take_digits(text, &d.digits, &d.scale))
			return false;
	}
	while (d.scale > 0 && d.digits % 10 == 0) {
		d.digits /= 10;
		d.scale--;
	}
	*ret = d;
	return true;
}

/* Multiply by 10^power. */
static bool scale_up(struct decimal *d, unsigned power)
{
	const unsigned moved = power < d->scale ? power : d->scale;

	d->scale -= moved;
	return times_ten(&d->digits, power - moved);
}

/* An optional k, M or G. */
static bool take_multiple(const char **text, struct decimal *d)
{
	static const char letters[] = "kMG";
	const char *found = **text ? strchr(letters, **text) : NULL;

	if (!found)
		return true;
	++*text;
	return scale_up(d, 3 * (unsigned)(found - letters + 1));
}

struct unit {
	const char *name;
	uint64_t ns;
};

#define SECOND UINT64_C(1000000000)

static const struct unit rate_units[] = {
	{"s", SECOND},           {"sec", SECOND},         {"second", SECOND},
	{"min", 60 * SECOND},    {"minute", 60 * SECOND}, {"h", 3600 * SECOND},
	{"hour", 3600 * SECOND}, {"d", 86400 * SECOND},   {"day", 86400 * SECOND},
};

static const struct unit time_units[] = {
	{"ns", 1},          {"us", 1000},         {"ms", 1000000},      {"s", SECOND},
	{"m", 60 * SECOND}, {"min", 60 * SECOND}, {"h", 3600 * SECOND}, {"d", 86400 * SECOND},
};

static uint64_t unit_ns(const struct unit *units, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(units[i].name, name) == 0)
			return units[i].ns;
	}
	return 0;
}

bool scalar_count(const char *text, uint64_t *ret_count)
{
	struct decimal d;

	if (!take_decimal(&text, &d) || !take_multiple(&text, &d) || *text)
		return false;
	if (d.scale > 0 || d.digits == 0 || d.digits > RATION_COST_MAX)
		return false;
	*ret_count = d.digits;
	return true;
}

bool scalar_rate(const char *text, struct rate *ret_rate)
{
	struct decimal d;
	uint64_t period;

	if (!take_decimal(&text, &d) || !take_multiple(&text, &d) || *text++ != '/')
		return false;
	period = unit_ns(rate_units, LENGTH(rate_units), text);
	if (period == 0 || d.digits == 0 || d.digits > RATION_COST_MAX)
		return false;
	if (!times_ten(&period, d.scale) || period > UINT64_MAX / TICKS_PER_NS)
		return false;
	*ret_rate = (struct rate){d.digits, period};
	return true;
}

bool scalar_duration(const char *text, uint64_t max_ns, uint64_t *ret_ns)
{
	struct decimal d;
	uint64_t ns, ten = 1;

	if (!take_decimal(&text, &d))
		return false;
	ns = *text ? unit_ns(time_units, LENGTH(time_units), text) : d.digits == 0;
	if (ns == 0 || !times_ten(&ten, d.scale) || __builtin_mul_overflow(d.digits, ns, &ns))
		return false;
	if (ns % ten != 0 || ns / ten > max_ns)
		return false;
	*ret_ns = ns / ten;
	return true;
}

static bool two_digits(const char *text, uint32_t *ret)
{
	if (!digit(text[0]) || !digit(text[1]))
		return false;
	*ret = (uint32_t)(text[0] - '0') * 10 + (uint32_t)(text[1] - '0');
	return true;
}

bool scalar_time_of_day(const char *text, uint32_t *ret_seconds)
{
	uint32_t hour, minute;

	if (strlen(text) != 5 || !two_digits(text, &hour) || text[2] != ':' ||
	    !two_digits(text + 3, &minute))
		return false;
	if (hour > 24 || minute > 59 || (hour == 24 && minute > 0))
		return false;
	*ret_seconds = hour * 3600 + minute * 60;
	return true;
}

bool scalar_percent(const char *text, uint64_t max, uint64_t *ret_ppm)
{
	struct decimal d;

	if (!take_decimal(&text, &d) || strcmp(text, "%") != 0 || !scale_up(&d, 4))
		return false;
	if (d.scale > 0 || d.digits > max)
		return false;
	*ret_ppm = d.digits;
	return true;
}

static bool letter_or_digit(char c)
{
	return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool scalar_name(const char *text, size_t size)
{
	if (size == 0 || size > RATION_NAME_MAX || !letter_or_digit(text[0]))
		return false;
	for (size_t i = 1; i < size; i++) {
		if (!letter_or_digit(text[i]) && (text[i] == '\0' || !strchr("._-", text[i])))
			return false;
	}
	return true;
}
