/*
 * signal/times.c - points in time and lengths of time
 * SPDX-License-Identifier: MIT
 */
#include "signal/times.h"

#include <string.h>
#include <strings.h>

#include "signal/date.h"
#include "signal/number.h"

#define SECOND INT64_C(1000000)

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

const char *const time_words[TIME_NOTATION_COUNT] = {
#define TIME_WORD(name, word) word,
	TIME_NOTATIONS(TIME_WORD)
#undef TIME_WORD
};

/* --- lengths with units --- */

static const struct unit {
	const char *name;
	int64_t ns;
} units[] = {
	{"ns", 1},
	{"us", 1000},
	{"\xc2\xb5s", 1000}, /* micro sign, and below the Greek letter */
	{"\xce\xbcs", 1000},
	{"ms", 1000000},
	{"s", 1000 * SECOND},
	{"m", SECOND * 1000 * 60},
	{"h", SECOND * 1000 * 3600},
	{"d", SECOND * 1000 * 86400},
	{"w", SECOND * 1000 * 7 * 86400},
};

/* Up to the next digit. */
static size_t unit_size(const char *text, size_t size)
{
	size_t n = 0;

	while (n < size && (text[n] < '0' || text[n] > '9'))
		n++;
	return n;
}

static int64_t unit_ns(const char *text, size_t size)
{
	for (size_t i = 0; i < LENGTH(units); i++) {
		if (strlen(units[i].name) == size && memcmp(units[i].name, text, size) == 0)
			return units[i].ns;
	}
	return 0;
}

static bool duration(const char *text, size_t size, int64_t *ret_us)
{
	int64_t total_ns = 0;

	if (size == 0 || text[0] == '-')
		return false;
	while (size > 0) {
		struct number n;
		int64_t ns;
		size_t used, unit;

		if (!number_prefix(text, size, &n, &used))
			return false;
		unit = unit_size(text + used, size - used);
		ns = unit_ns(text + used, unit);
		if (ns == 0 || !number_times(n, ns, &ns) ||
		    __builtin_add_overflow(total_ns, ns, &total_ns))
			return false;
		text += used + unit;
		size -= used + unit;
	}
	*ret_us = total_ns / 1000 + (total_ns % 1000 > 0);
	return true;
}

bool time_interval(const char *text, size_t size, int64_t *ret_us)
{
	static const struct {
		const char *name;
		int64_t seconds;
	} words[] = {
		{"second", 1},  {"minute", 60},   {"hour", 3600},
		{"day", 86400}, {"week", 604800}, {"month", INT64_C(30) * 86400},
	};

	for (size_t i = 0; i < LENGTH(words); i++) {
		if (strlen(words[i].name) == size && strncasecmp(words[i].name, text, size) == 0) {
			*ret_us = words[i].seconds * SECOND;
			return true;
		}
	}
	return duration(text, size, ret_us) && *ret_us > 0;
}

int64_t time_to_ms(int64_t us)
{
	return us / 1000 + (us % 1000 > 0);
}

/* --- notations --- */

static bool length_of(struct number n, int64_t unit_us, int64_t *ret_us)
{
	return n.digits >= 0 && number_times(n, unit_us, ret_us);
}

static bool until(int64_t point_us, int64_t now_us, int64_t *ret_us)
{
	*ret_us = point_us > now_us ? point_us - now_us : 0;
	return true;
}

static bool since_epoch(struct number n, int64_t unit_us, int64_t now_us, int64_t *ret_us)
{
	int64_t point_us;

	return length_of(n, unit_us, &point_us) && until(point_us, now_us, ret_us);
}

static bool at_date(const char *text, size_t size, int64_t now_us, int64_t *ret_us)
{
	int64_t point_us;

	return date_parse(text, size, now_us, &point_us) && until(point_us, now_us, ret_us);
}

/* A number this large is no length: years ago it was 1970. */
static bool by_size(struct number n, int64_t now_us, int64_t *ret_us)
{
	if (number_compare(n, number_of(INT64_C(100000000000000000))) > 0)
		return false;
	if (number_compare(n, number_of(INT64_C(100000000000000))) > 0)
		return since_epoch(n, 1, now_us, ret_us);
	if (number_compare(n, number_of(INT64_C(100000000000))) > 0)
		return since_epoch(n, 1000, now_us, ret_us);
	if (number_compare(n, number_of(1000000000)) > 0)
		return since_epoch(n, SECOND, now_us, ret_us);
	return length_of(n, SECOND, ret_us);
}

static bool of_number(enum time_notation notation, struct number n, int64_t now_us, int64_t *ret_us)
{
	switch (notation) {
	case TIME_SECONDS:
	case TIME_RETRY_AFTER:
		return length_of(n, SECOND, ret_us);
	case TIME_MILLISECONDS:
		return length_of(n, 1000, ret_us);
	case TIME_MINUTES:
		return length_of(n, 60 * SECOND, ret_us);
	case TIME_EPOCH:
		return since_epoch(n, SECOND, now_us, ret_us);
	case TIME_EPOCH_MS:
		return since_epoch(n, 1000, now_us, ret_us);
	case TIME_AUTO:
		return by_size(n, now_us, ret_us);
	default:
		return false;
	}
}

static bool of_text(enum time_notation notation, const char *text, size_t size, int64_t now_us,
		    int64_t *ret_us)
{
	switch (notation) {
	case TIME_DURATION:
		return duration(text, size, ret_us);
	case TIME_DATE:
	case TIME_RETRY_AFTER:
		return at_date(text, size, now_us, ret_us);
	case TIME_AUTO:
		return duration(text, size, ret_us) || at_date(text, size, now_us, ret_us);
	default:
		return false;
	}
}

bool time_until(enum time_notation notation, const char *text, size_t size, int64_t now_us,
		int64_t *ret_us)
{
	struct number n;
	int64_t us;

	if (number_parse(text, size, &n) ? !of_number(notation, n, now_us, &us)
					 : !of_text(notation, text, size, now_us, &us))
		return false;
	*ret_us = us;
	return true;
}
