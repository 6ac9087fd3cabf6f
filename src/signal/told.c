/*
 * signal/told.c - a signal as libration takes it
 * SPDX-License-Identifier: MIT
 */
#include "signal/told.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NS_PER_MS UINT64_C(1000000)

_Static_assert((int)SIGNAL_BILLING == (int)RATION_LIMIT_BILLING, "the same order");
_Static_assert((int)SIGNAL_BLOCK_ACCOUNT == (int)RATION_REACH_ACCOUNT, "the same order");

static uint64_t units_of(struct number n)
{
	uint64_t whole = (uint64_t)n.digits;

	if (!number_known(n) || n.digits < 0)
		return RATION_UNKNOWN;
	for (int32_t i = 0; i < n.scale; i++)
		whole /= 10;
	return whole;
}

static uint64_t ns_of(int64_t ms)
{
	if (ms < 0 || (uint64_t)ms > UINT64_MAX / NS_PER_MS - 1)
		return RATION_UNKNOWN;
	return (uint64_t)ms * NS_PER_MS;
}

/* Not in the middle of a character. */
static void copy(char to[RATION_NAME_MAX + 1], const char *from)
{
	size_t n = strnlen(from, RATION_NAME_MAX + 1);

	if (n > RATION_NAME_MAX) {
		n = RATION_NAME_MAX;
		while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(to, from, n);
	to[n] = '\0';
}

static void take(const struct signal_limit *limit, struct ration_signal *ret)
{
	struct ration_told *told;

	if (ret->n_told == RATION_TOLD_MAX)
		return;
	told = &ret->told[ret->n_told++];
	copy(told->name, limit->name);
	copy(told->unit, limit->unit);
	told->limit = units_of(limit->limit);
	told->remaining = units_of(limit->remaining);
	told->reset_in_ns = ns_of(limit->reset_ms);
	told->window_ns = ns_of(limit->window_ms);
}

void signal_told(const struct signal *signal, int status, struct ration_signal *ret)
{
	*ret = (struct ration_signal){
		.status = status,
		.limited = signal->limited,
		.retryable = signal->retryable,
		.limit_class = (enum ration_limit_class)signal->limit_class,
		.reach = (enum ration_reach)signal->block,
		.retry_in_ns = ns_of(signal->retry_after_ms),
	};
	for (int exhausted = 1; exhausted >= 0; exhausted--) {
		for (uint32_t i = 0; i < signal->n_limits; i++) {
			if (number_is_zero(signal->limits[i].remaining) == (bool)exhausted)
				take(&signal->limits[i], ret);
		}
	}
}

static bool names(const struct signal_header *header, const char *const words[])
{
	for (; *words; words++) {
		const size_t size = strlen(*words);

		for (size_t i = 0; i + size <= header->name_size; i++) {
			if (strncasecmp(header->name + i, *words, size) == 0)
				return true;
		}
	}
	return false;
}

static bool is_of_limits(const struct signal *signal, const struct signal_header *header, size_t i)
{
	static const char *const everywhere[] = {"ratelimit", "rate-limit", "retry-after", NULL};
	static const char *const secret[] = {"cookie", "auth", "secret", "api-key", NULL};

	return names(header, everywhere) ||
	       (i < 64 && signal->read >> i & 1 && !names(header, secret));
}

void signal_told_headers(const struct signal *signal, const struct signal_response *response,
			 char *text, size_t room)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < response->n_headers; i++) {
		const struct signal_header *h = &response->headers[i];
		const size_t size = h->name_size + h->value_size + 4;

		if (!is_of_limits(signal, h, i) || used + size >= room)
			continue;
		used += (size_t)snprintf(text + used, room - used, "%s%.*s: %.*s", used ? "; " : "",
					 (int)h->name_size, h->name, (int)h->value_size, h->value);
	}
}
