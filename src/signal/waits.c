/*
 * signal/waits.c - how long to wait, and who says so
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "signal/rules.h"

/* Two times that say the same, one of them rounded to whole seconds, differ by less. */
#define ROUNDING_MS 1000

static void set(struct signal *signal, int64_t ms, enum signal_from from)
{
	signal->retry_after_ms = ms;
	signal->retry_from = from;
}

/* The longest, if a place has several: each of them may be the one that is meant. */
static bool longest(struct reading *r, const struct value *value, int64_t *ret_ms,
		    bool *ret_in_body)
{
	const struct vars none = {0};
	struct found found[VALUE_LINES_MAX];
	const uint32_t n = value_lines(r, value, &none, found);
	int64_t us, most = -1;

	for (uint32_t i = 0; i < n; i++) {
		if (time_until(value->as, found[i].text.at, found[i].text.size, r->now_us, &us) &&
		    us > most) {
			most = us;
			*ret_in_body = found[i].in_body;
		}
	}
	*ret_ms = time_to_ms(most);
	return most >= 0;
}

/* A field or member for this very purpose, as against a sentence that mentions a time. */
static bool explicit(const struct wait_step *step, bool in_body)
{
	return !in_body || !step->value.match;
}

/*
 * The first that says something wins; but where another one made for it is longer by more than rounding
 * explains, that one does: waiting too long costs a moment, too short a refusal.
 */
static void wait_value(struct reading *r, const struct wait_step *step)
{
	struct signal *signal = r->signal;
	bool in_body = false;
	int64_t ms;

	if (!longest(r, &step->value, &ms, &in_body))
		return;
	if (signal->retry_from == SIGNAL_FROM_NOTHING ||
	    (explicit(step, in_body) && ms - signal->retry_after_ms >= ROUNDING_MS &&
	     (signal->retry_from == SIGNAL_FROM_HEADER || signal->retry_from == SIGNAL_FROM_BODY)))
		set(signal, ms, in_body ? SIGNAL_FROM_BODY : SIGNAL_FROM_HEADER);
}

/* Limits that are exhausted; if none is known to be, those of which it is not known. */
static bool binding(const struct signal *signal, const struct signal_limit *limit)
{
	for (uint32_t i = 0; i < signal->n_limits; i++) {
		if (limit_exhausted(&signal->limits[i]))
			return limit_exhausted(limit);
	}
	return !number_known(limit->remaining);
}

typedef bool limit_wait(const struct reading *r, const struct signal_limit *limit, int64_t *ret_ms);

static bool until_reset(const struct reading *r, const struct signal_limit *limit, int64_t *ret_ms)
{
	(void)r;
	*ret_ms = limit->reset_ms;
	return limit->reset_ms != SIGNAL_UNKNOWN;
}

static bool whole_window(const struct reading *r, const struct signal_limit *limit, int64_t *ret_ms)
{
	(void)r;
	*ret_ms = limit->window_ms;
	return limit->window_ms != SIGNAL_UNKNOWN;
}

static bool next_edge(const struct reading *r, const struct signal_limit *limit, int64_t *ret_ms)
{
	const int64_t now_ms = r->now_us / 1000;

	if (limit->window_ms <= 0 || now_ms < 0)
		return false;
	*ret_ms = limit->window_ms - now_ms % limit->window_ms;
	return true;
}

static void wait_limits(struct reading *r, limit_wait *wait, enum signal_from from)
{
	struct signal *signal = r->signal;
	int64_t ms, most = SIGNAL_UNKNOWN;

	for (uint32_t i = 0; i < signal->n_limits; i++) {
		const struct signal_limit *limit = &signal->limits[i];

		if (binding(signal, limit) && wait(r, limit, &ms) && ms > most)
			most = ms;
	}
	if (most != SIGNAL_UNKNOWN)
		set(signal, most, from);
}

/* (needed - left) / refill; one unit is needed unless the response says how many. */
static void wait_refill(struct reading *r, const struct wait_step *step)
{
	const struct vars none = {0};
	struct number needed = number_of(1);
	struct found found;
	int64_t ms, most = SIGNAL_UNKNOWN;

	if (value_text(r, &step->value, &none, &found))
		needed = number_read(found.text);
	for (uint32_t i = 0; i < r->signal->n_limits; i++) {
		const struct signal_limit *limit = &r->signal->limits[i];
		const struct number missing = number_difference(needed, limit->remaining);

		if (number_known(missing) && missing.digits > 0 &&
		    number_ratio(missing, 1000, limit->refill, &ms) && ms > most)
			most = ms;
	}
	if (most != SIGNAL_UNKNOWN)
		set(r->signal, most, SIGNAL_FROM_COMPUTED);
}

static void wait_default(struct reading *r, const struct wait_step *step)
{
	const struct text text = text_of(step->value.fallback);
	int64_t us;

	if (time_interval(text.at, text.size, &us))
		set(r->signal, time_to_ms(us), SIGNAL_FROM_DEFAULT);
}

static void take_step(struct reading *r, const struct wait_step *step)
{
	switch (step->kind) {
	case WAIT_RESET:
		wait_limits(r, until_reset, SIGNAL_FROM_RESET);
		break;
	case WAIT_WINDOW:
		wait_limits(r, whole_window, SIGNAL_FROM_WINDOW);
		break;
	case WAIT_ALIGNED:
		wait_limits(r, next_edge, SIGNAL_FROM_WINDOW);
		break;
	case WAIT_REFILL:
		wait_refill(r, step);
		break;
	case WAIT_DEFAULT:
		wait_default(r, step);
		break;
	case WAIT_VALUE:
		break;
	}
}

void waits_read(struct reading *r, const struct waits *waits)
{
	for (uint32_t i = 0; i < waits->n; i++) {
		const struct wait_step *step = &waits->steps[i];

		if (step->kind == WAIT_VALUE)
			wait_value(r, step);
		else if (r->signal->retry_from == SIGNAL_FROM_NOTHING)
			take_step(r, step);
	}
}
