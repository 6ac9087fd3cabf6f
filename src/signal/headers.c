/*
 * signal/headers.c - a signal for one's own callers, in the standard's words
 * SPDX-License-Identifier: MIT
 */
#include "signal/headers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The largest integer of a structured field. */
#define INTEGER_MAX INT64_C(999999999999999)

/* One member of a list while it is put together; "" once it does not fit. */
struct member {
	char text[1024];
	size_t size;
};

static void put(struct member *m, const char *text, size_t size)
{
	if (m->size + size >= sizeof(m->text))
		size = 0;
	memcpy(m->text + m->size, text, size);
	m->size += size;
	m->text[m->size] = '\0';
}

static void put_parameter(struct member *m, const char *key, int64_t value)
{
	char text[64];

	if (value >= 0)
		put(m, text,
		    (size_t)snprintf(text, sizeof(text), ";%s=%" PRId64, key,
				     value < INTEGER_MAX ? value : INTEGER_MAX));
}

/* Strings are ASCII. */
static void put_string(struct member *m, const char *text)
{
	char quoted[2 * SIGNAL_TEXT_MAX + 3];
	size_t n = 0;

	quoted[n++] = '"';
	for (const char *p = text; *p && n + 3 < sizeof(quoted); p++) {
		if (*p == '"' || *p == '\\')
			quoted[n++] = '\\';
		quoted[n++] = '?';
		if (*p >= ' ' && *p <= '~')
			quoted[n - 1] = *p;
	}
	quoted[n++] = '"';
	put(m, quoted, n);
}

/* --- numbers --- */

/* A fraction of the whole has no whole numbers: hundredths have some. */
static bool is_fraction(const struct signal_limit *limit)
{
	return strcmp(limit->unit, "fraction") == 0;
}

static struct number hundredfold(struct number n)
{
	if (n.scale >= 2)
		return (struct number){n.digits, n.scale - 2};
	if (!number_known(n) || n.digits > INTEGER_MAX)
		return NUMBER_UNKNOWN;
	return number_of(n.digits * (n.scale == 1 ? 10 : 100));
}

/* Rounded down; -1: not known. */
static int64_t whole(const struct signal_limit *limit, struct number n)
{
	int64_t result;

	if (is_fraction(limit))
		n = hundredfold(n);
	if (!number_known(n) || n.digits < 0 || !number_times(n, 1, &result))
		return -1;
	return number_compare(number_of(result), n) > 0 ? result - 1 : result;
}

static int64_t seconds_of(int64_t ms)
{
	return ms == SIGNAL_UNKNOWN ? -1 : ms / 1000 + (ms % 1000 > 0);
}

/* When it is new: what the vendor said; or for one that is exhausted, when to come again. */
static int64_t reset_of(const struct signal *signal, const struct signal_limit *limit)
{
	if (limit->reset_ms != SIGNAL_UNKNOWN || !number_is_zero(limit->remaining) ||
	    !signal->retryable)
		return seconds_of(limit->reset_ms);
	return seconds_of(signal->retry_after_ms);
}

/* --- lists --- */

/* The same name for two windows would be one limit to who reads it. */
static void put_name(struct member *m, const struct signal *signal, uint32_t index)
{
	const struct signal_limit *limit = &signal->limits[index];
	char name[SIGNAL_TEXT_MAX + 32];

	for (uint32_t i = 0; i < index; i++) {
		if (strcmp(signal->limits[i].name, limit->name) == 0) {
			snprintf(name, sizeof(name), "%.*s-%u", SIGNAL_TEXT_MAX - 4, limit->name,
				 index);
			put_string(m, name);
			return;
		}
	}
	put_string(m, limit->name);
}

static bool base64(const char *text)
{
	return text[strspn(text,
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")] ==
	       '\0';
}

static void put_partition(struct member *m, const struct signal_limit *limit)
{
	if (!*limit->partition_key || !base64(limit->partition_key))
		return;
	put(m, ";pk=:", 5);
	put(m, limit->partition_key, strlen(limit->partition_key));
	put(m, ":", 1);
}

static void append(char list[HEADER_LIST_MAX], const struct member *m)
{
	const size_t size = strlen(list);

	if (size + 2 + m->size < HEADER_LIST_MAX)
		snprintf(list + size, HEADER_LIST_MAX - size, "%s%s", size > 0 ? ", " : "",
			 m->text);
}

static void add_policy(const struct signal *signal, uint32_t i, struct signal_headers *headers)
{
	const struct signal_limit *limit = &signal->limits[i];
	const int64_t quota = whole(limit, limit->limit);
	struct member m = {.size = 0};

	if (quota < 0)
		return;
	put_name(&m, signal, i);
	put_parameter(&m, "q", quota);
	if (*limit->unit) {
		put(&m, ";qu=", 4);
		put_string(&m, is_fraction(limit) ? "percent" : limit->unit);
	}
	if (limit->window_ms > 0 && limit->window_ms % 1000 == 0)
		put_parameter(&m, "w", limit->window_ms / 1000);
	put_partition(&m, limit);
	append(headers->policy, &m);
}

static void add_usage(const struct signal *signal, uint32_t i, struct signal_headers *headers)
{
	const struct signal_limit *limit = &signal->limits[i];
	const int64_t remaining = whole(limit, limit->remaining);
	struct member m = {.size = 0};

	if (remaining < 0)
		return;
	put_name(&m, signal, i);
	put_parameter(&m, "r", remaining);
	put_parameter(&m, "t", reset_of(signal, limit));
	put_partition(&m, limit);
	append(headers->ratelimit, &m);
}

/* --- the triple --- */

/* How much of it is left; without its size only none and some can be told apart. */
static double left_of(const struct signal_limit *limit)
{
	if (number_is_zero(limit->remaining))
		return 0;
	if (!number_known(limit->limit) || limit->limit.digits <= 0)
		return 1;
	return number_value(limit->remaining) / number_value(limit->limit);
}

static bool closer(const struct signal_limit *a, const struct signal_limit *b)
{
	const double left = left_of(a), right = left_of(b);

	return left < right || (!(right < left) && a->reset_ms > b->reset_ms);
}

static void put_integer(char text[24], int64_t value)
{
	if (value >= 0)
		snprintf(text, 24, "%" PRId64, value < INTEGER_MAX ? value : INTEGER_MAX);
}

static void put_triple(const struct signal *signal, struct signal_headers *headers)
{
	const struct signal_limit *best = NULL;

	for (uint32_t i = 0; i < signal->n_limits; i++) {
		const struct signal_limit *limit = &signal->limits[i];

		if (number_known(limit->remaining) && (!best || closer(limit, best)))
			best = limit;
	}
	if (!best)
		return;
	put_integer(headers->limit, whole(best, best->limit));
	put_integer(headers->remaining, whole(best, best->remaining));
	put_integer(headers->reset, reset_of(signal, best));
}

/* --- all of it --- */

void signal_headers(const struct signal *signal, struct signal_headers *ret)
{
	int64_t seconds;

	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < signal->n_limits; i++) {
		add_policy(signal, i, ret);
		add_usage(signal, i, ret);
	}
	put_triple(signal, ret);
	if (!signal->limited || !signal->retryable || signal->retry_after_ms == SIGNAL_UNKNOWN)
		return;
	seconds = seconds_of(signal->retry_after_ms);
	put_integer(ret->retry_after, seconds > 0 ? seconds : 1);
}

bool signal_header_next(const struct signal_headers *headers, uint32_t *n, const char **ret_name,
			const char **ret_value)
{
	const struct {
		const char *name, *value;
	} fields[] = {
		{"RateLimit", headers->ratelimit},   {"RateLimit-Policy", headers->policy},
		{"RateLimit-Limit", headers->limit}, {"RateLimit-Remaining", headers->remaining},
		{"RateLimit-Reset", headers->reset}, {"Retry-After", headers->retry_after},
	};

	while (*n < LENGTH(fields)) {
		const uint32_t i = (*n)++;

		if (!*fields[i].value)
			continue;
		*ret_name = fields[i].name;
		*ret_value = fields[i].value;
		return true;
	}
	return false;
}
