/*
 * signal/value.h - a number, a time or a text of a response, as an adapter says where and how it is written
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SIGNAL_VALUE_H
#define RATION_SIGNAL_VALUE_H

#include "signal/times.h"
#include "signal/where.h"

enum {
	VALUE_PLACES_MAX = 4,
	VALUE_LINES_MAX = 8, /* of one field, or numbers in a list */
};

struct value {
	struct where from[VALUE_PLACES_MAX]; /* the first that has something */
	uint32_t n_from;
	struct pattern *match; /* takes its first group, or all that matches */
	enum time_notation as; /* of times */
	const char *fallback;  /* NULL: none */
	bool if_exhausted;     /* of a reset: means something only for a limit that is */
};

static inline bool value_written(const struct value *value)
{
	return value->n_from > 0 || value->fallback;
}

/* The first text, then the fallback. ret->in_body: of a place in the body. */
bool value_text(struct reading *r, const struct value *value, const struct vars *vars,
		struct found *ret);

/*
 * All texts of the first place that has one: lines of a header, members of a list of numbers, what a
 * pointer with * finds. Returns how many, at most VALUE_LINES_MAX; no fallback.
 */
uint32_t value_lines(struct reading *r, const struct value *value, const struct vars *vars,
		     struct found ret[VALUE_LINES_MAX]);

/* A number that counts: negative ones stand for "none" or "unlimited" and are not known. */
struct number number_read(struct text text);

#endif
