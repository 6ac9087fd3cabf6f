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

/* The first group that took part, or all that matched if there is none. */
static struct text taken(const struct pattern *pattern, const struct pattern_match *match)
{
	for (uint32_t i = 1; i <= PATTERN_GROUPS_MAX; i++) {
		if (match->at[i].at)
			return match->at[i];
	}
	return pattern_groups(pattern) == 0 ? match->at[0] : (struct text){NULL, 0};
}

static bool keep_matches(struct collection *c, const struct found *found)
{
	const struct pattern *pattern = c->value->match;
	struct pattern_match match;
	size_t at = 0;

	while (pattern_next(pattern, found->text.at, found->text.size, &at, &match)) {
		const struct text text = taken(pattern, &match);

		if (text.at && !keep(c, found, text))
			return false;
	}
	return true;
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
		return keep_matches(c, found);
	if (found->line && list_of_numbers(found->text))
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

/* "1,200,000", as sentences have it: without its commas. 0: it is no such number, or too long. */
static size_t ungrouped(struct text text, char *buffer, size_t room)
{
	size_t n = 0, group = 0;

	for (size_t i = 0; i < text.size; i++) {
		const bool comma = text.at[i] == ',';

		/* One to three digits, then three behind each comma. */
		if (comma && (group == 0 || group > 3 || (n > group && group != 3)))
			return 0;
		if (!comma && (text.at[i] < '0' || text.at[i] > '9' || n == room))
			return 0;
		if (!comma)
			buffer[n++] = text.at[i];
		group = comma ? 0 : group + 1;
	}
	return group == 3 ? n : 0;
}

struct number number_read(struct text text)
{
	char digits[20];
	struct number n;

	if (!number_parse(text.at, text.size, &n)) {
		const size_t size = ungrouped(text, digits, sizeof(digits));

		if (size == 0 || !number_parse(digits, size, &n))
			return NUMBER_UNKNOWN;
	}
	return n.digits < 0 ? NUMBER_UNKNOWN : n;
}
