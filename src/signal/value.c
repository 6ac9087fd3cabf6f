/*
 * signal/value.c - a number, a time or a text of a response
 * SPDX-License-Identifier: MIT
 */
#include "signal/value.h"

#include <string.h>

struct collection {
	const struct value *value;
	struct found *found;
	uint32_t n;
	uint32_t max;
};

static bool keep(struct collection *c, const struct found *found, struct text text)
{
	c->found[c->n] = *found;
	c->found[c->n++].text = text;
	return c->n < c->max;
}

static bool keep_match(struct collection *c, const struct found *found)
{
	struct pattern_match match;
	size_t at = 0;

	if (!pattern_next(c->value->match, found->text.at, found->text.size, &at, &match))
		return true;
	for (uint32_t i = 1; i <= PATTERN_GROUPS_MAX; i++) {
		if (match.at[i].at)
			return keep(c, found, match.at[i]);
	}
	return pattern_groups(c->value->match) > 0 || keep(c, found, match.at[0]);
}

/* "100, 60": what an intermediary makes of two lines. */
static bool list_of_numbers(struct text text)
{
	if (!memchr(text.at, ',', text.size))
		return false;
	for (size_t i = 0; i < text.size; i++) {
		if (!text.at[i] || !strchr("0123456789.-, \t", text.at[i]))
			return false;
	}
	return true;
}

static bool keep_members(struct collection *c, const struct found *found)
{
	struct text rest = found->text;

	while (rest.size > 0) {
		const char *comma = memchr(rest.at, ',', rest.size);
		const size_t size = comma ? (size_t)(comma - rest.at) : rest.size;
		const struct text member = text_trimmed((struct text){rest.at, size});

		if (member.size > 0 && !keep(c, found, member))
			return false;
		rest.at += size + (comma != NULL);
		rest.size -= size + (comma != NULL);
	}
	return true;
}

static bool collect(void *user, const struct found *found)
{
	struct collection *c = user;

	if (found->structured)
		return true;
	if (c->value->match)
		return keep_match(c, found);
	if (!found->in_body && list_of_numbers(found->text))
		return keep_members(c, found);
	return found->text.size == 0 || keep(c, found, found->text);
}

static uint32_t lines_of(struct reading *r, const struct value *value, const struct vars *vars,
			 struct found *ret, uint32_t max)
{
	struct collection c = {.value = value, .found = ret, .max = max};

	for (uint32_t i = 0; i < value->n_from && c.n == 0; i++)
		where_each(r, &value->from[i], vars, collect, &c);
	return c.n;
}

uint32_t value_lines(struct reading *r, const struct value *value, const struct vars *vars,
		     struct found ret[VALUE_LINES_MAX])
{
	return lines_of(r, value, vars, ret, VALUE_LINES_MAX);
}

bool value_text(struct reading *r, const struct value *value, const struct vars *vars,
		struct found *ret)
{
	if (lines_of(r, value, vars, ret, 1) > 0)
		return true;
	if (!value->fallback)
		return false;
	*ret = (struct found){.text = text_of(value->fallback)};
	return true;
}

struct number number_read(struct text text)
{
	struct number n;

	if (!number_parse(text.at, text.size, &n) || n.digits < 0)
		return NUMBER_UNKNOWN;
	return n;
}
