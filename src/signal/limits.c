/*
 * signal/limits.c - the limits that a response speaks about
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "signal/rules.h"

enum { BINDINGS_MAX = SIGNAL_LIMITS_MAX };

/* Values of variables, one set for each limit that a rule finds. */
struct bindings {
	struct vars vars[BINDINGS_MAX];
	uint32_t n;
};

/* --- a signal's limits --- */

bool limit_exhausted(const struct signal_limit *limit)
{
	return number_is_zero(limit->remaining);
}

static struct signal_limit unknown_limit(void)
{
	return (struct signal_limit){
		.limit = NUMBER_UNKNOWN,
		.remaining = NUMBER_UNKNOWN,
		.used = NUMBER_UNKNOWN,
		.refill = NUMBER_UNKNOWN,
		.reset_ms = SIGNAL_UNKNOWN,
		.window_ms = SIGNAL_UNKNOWN,
	};
}

static bool same_limit(const struct signal_limit *limit, const char *name, const char *partition,
		       int64_t window_ms)
{
	if (strcmp(limit->name, name) != 0)
		return false;
	if (*partition && *limit->partition_key && strcmp(limit->partition_key, partition) != 0)
		return false;
	return window_ms == SIGNAL_UNKNOWN || limit->window_ms == SIGNAL_UNKNOWN ||
	       limit->window_ms == window_ms;
}

struct signal_limit *limit_named(struct signal *signal, const char *name, const char *partition,
				 int64_t window_ms)
{
	struct signal_limit *limit;

	for (uint32_t i = 0; i < signal->n_limits; i++) {
		limit = &signal->limits[i];
		if (same_limit(limit, name, partition, window_ms))
			return limit;
	}
	if (signal->n_limits == SIGNAL_LIMITS_MAX)
		return NULL;
	limit = &signal->limits[signal->n_limits++];
	*limit = unknown_limit();
	text_put(text_of(name), limit->name, sizeof(limit->name));
	return limit;
}

static void merge_number(struct number *to, struct number from)
{
	if (!number_known(*to))
		*to = from;
}

static void merge_time(int64_t *to, int64_t from)
{
	if (*to == SIGNAL_UNKNOWN)
		*to = from;
}

static void merge_text(char *to, const char *from)
{
	if (!*to)
		memcpy(to, from, SIGNAL_TEXT_MAX + 1);
}

void limit_merge(struct signal_limit *to, const struct signal_limit *from)
{
	merge_number(&to->limit, from->limit);
	merge_number(&to->remaining, from->remaining);
	merge_number(&to->used, from->used);
	merge_number(&to->refill, from->refill);
	merge_time(&to->reset_ms, from->reset_ms);
	merge_time(&to->window_ms, from->window_ms);
	merge_text(to->unit, from->unit);
	merge_text(to->scope, from->scope);
	merge_text(to->partition_key, from->partition_key);
}

void limit_derive(struct signal_limit *limit)
{
	if (!number_known(limit->remaining))
		limit->remaining = number_difference(limit->limit, limit->used);
	if (number_known(limit->remaining) && limit->remaining.digits < 0)
		limit->remaining = number_of(0);
	if (!number_known(limit->limit))
		limit->limit = number_sum(limit->remaining, limit->used);
}

/* --- the fields of one --- */

struct lines {
	struct found found[VALUE_LINES_MAX];
	uint32_t n;
};

static struct number number_field(const struct lines *lines, const struct value *value, uint32_t i)
{
	if (lines->n > 0)
		return number_read(lines->found[i < lines->n ? i : lines->n - 1].text);
	return value->fallback ? number_read(text_of(value->fallback)) : NUMBER_UNKNOWN;
}

/* Less than nothing left of a known limit is nothing; of an unknown one it says that nothing is counted. */
static struct number remaining_field(const struct lines *lines, const struct value *value,
				     uint32_t i, struct number limit)
{
	const struct number remaining = number_field(lines, value, i);
	struct text text;
	struct number n;

	if (number_known(remaining) || !number_known(limit) || lines->n == 0)
		return remaining;
	text = lines->found[i < lines->n ? i : lines->n - 1].text;
	return number_parse(text.at, text.size, &n) && n.digits < 0 ? number_of(0) : remaining;
}

static int64_t reset_field(const struct reading *r, const struct lines *lines,
			   const struct value *value, uint32_t i)
{
	const struct text text = lines->n > 0 ? lines->found[i < lines->n ? i : lines->n - 1].text
					      : (struct text){0};
	int64_t us;

	if (!text.at || !time_until(value->as, text.at, text.size, r->now_us, &us))
		return SIGNAL_UNKNOWN;
	return time_to_ms(us);
}

static int64_t window_field(const struct reading *r, const struct lines *lines,
			    const struct value *value)
{
	const struct text text = lines->n > 0      ? lines->found[0].text
				 : value->fallback ? text_of(value->fallback)
						   : (struct text){0};
	int64_t us;

	if (!text.at)
		return SIGNAL_UNKNOWN;
	/* An interval says its unit; of a bare number the notation does. */
	if (time_interval(text.at, text.size, &us) ||
	    (time_until(value->as, text.at, text.size, r->now_us, &us) && us > 0))
		return time_to_ms(us);
	return SIGNAL_UNKNOWN;
}

static struct signal_limit fields_of(const struct reading *r, const struct limit_rule *rule,
				     const struct lines lines[LIMIT_FIELDS], uint32_t i)
{
	const struct value *f = rule->fields;
	struct signal_limit limit = unknown_limit();

	limit.limit = number_field(&lines[FIELD_LIMIT], &f[FIELD_LIMIT], i);
	limit.remaining =
		remaining_field(&lines[FIELD_REMAINING], &f[FIELD_REMAINING], i, limit.limit);
	limit.used = number_field(&lines[FIELD_USED], &f[FIELD_USED], i);
	limit.refill = number_field(&lines[FIELD_REFILL], &f[FIELD_REFILL], i);
	limit.reset_ms = reset_field(r, &lines[FIELD_RESET], &f[FIELD_RESET], i);
	limit.window_ms = window_field(r, &lines[FIELD_WINDOW], &f[FIELD_WINDOW]);
	limit_derive(&limit);
	if (f[FIELD_RESET].if_exhausted && !limit_exhausted(&limit))
		limit.reset_ms = SIGNAL_UNKNOWN;
	return limit;
}

static bool tighter(const struct signal_limit *a, const struct signal_limit *b)
{
	if (!number_known(a->remaining))
		return false;
	return !number_known(b->remaining) || number_compare(a->remaining, b->remaining) < 0;
}

/* Where a field came several times, each time is a set of its own, of which the tightest counts. */
static struct signal_limit tightest(const struct reading *r, const struct limit_rule *rule,
				    const struct lines lines[LIMIT_FIELDS])
{
	struct signal_limit best = fields_of(r, rule, lines, 0);
	uint32_t most = 1;

	for (int f = FIELD_LIMIT; f <= FIELD_RESET; f++)
		most = lines[f].n > most ? lines[f].n : most;
	for (uint32_t i = 1; i < most; i++) {
		const struct signal_limit other = fields_of(r, rule, lines, i);

		if (tighter(&other, &best))
			best = other;
	}
	return best;
}

static bool read_at_all(const struct lines lines[LIMIT_FIELDS], const struct signal_limit *limit)
{
	const struct number numbers[] = {limit->limit, limit->remaining, limit->used,
					 limit->refill};

	for (int f = FIELD_LIMIT; f <= FIELD_REFILL; f++) {
		if (lines[f].n > 0 && number_known(numbers[f]))
			return true;
	}
	/* A share was taken off what remains, and is forgotten. */
	if (lines[FIELD_USED].n > 0 && number_known(limit->remaining))
		return true;
	return lines[FIELD_RESET].n > 0 && limit->reset_ms != SIGNAL_UNKNOWN;
}

/* What always stands there says nothing, unless it was a condition or a match that brought it up. */
static bool speaks(const struct limit_rule *rule, const struct lines lines[LIMIT_FIELDS],
		   const struct signal_limit *limit)
{
	if (rule->when.n == 0 && rule->n_steps == 0)
		return read_at_all(lines, limit);
	return number_known(limit->limit) || number_known(limit->remaining) ||
	       number_known(limit->used) || number_known(limit->refill) ||
	       limit->reset_ms != SIGNAL_UNKNOWN;
}

/* --- one limit --- */

static bool words_of(const struct limit_rule *rule, const struct vars *vars, const char *scope,
		     struct signal_limit *limit)
{
	if (!wording_put(&rule->name, vars, limit->name, sizeof(limit->name)) || !*limit->name)
		return false;
	if (!wording_put(&rule->unit, vars, limit->unit, sizeof(limit->unit)))
		*limit->unit = '\0';
	if (rule->scope.n_parts == 0 && scope)
		text_put(text_of(scope), limit->scope, sizeof(limit->scope));
	else if (!wording_put(&rule->scope, vars, limit->scope, sizeof(limit->scope)))
		*limit->scope = '\0';
	return true;
}

static void read_limit(struct reading *r, const struct limit_rule *rule, struct vars vars,
		       const char *scope)
{
	struct lines lines[LIMIT_FIELDS];
	struct signal_limit limit, *known;
	struct found found;

	for (uint32_t i = 0; i < rule->n_with; i++) {
		if (value_text(r, &rule->with[i].value, &vars, &found))
			vars.at[rule->with[i].variable] = found.text;
	}
	for (int f = 0; f < LIMIT_FIELDS; f++)
		lines[f].n = value_lines(r, &rule->fields[f], &vars, lines[f].found);
	limit = tightest(r, rule, lines);
	if (rule->share)
		limit.used = NUMBER_UNKNOWN;
	if (!speaks(rule, lines, &limit) || !words_of(rule, &vars, scope, &limit))
		return;
	known = limit_named(r->signal, limit.name, "", limit.window_ms);
	if (known)
		limit_merge(known, &limit);
}

/* --- which limits a rule finds --- */

static bool same_vars(const struct vars *a, const struct vars *b)
{
	for (uint32_t i = 0; i < VARS_MAX; i++) {
		const struct text *x = &a->at[i], *y = &b->at[i];

		if (!x->at != !y->at || (x->at && !text_same(*x, *y)))
			return false;
	}
	return true;
}

static void add_binding(struct bindings *bindings, const struct vars *vars)
{
	for (uint32_t i = 0; i < bindings->n; i++) {
		if (same_vars(&bindings->vars[i], vars))
			return;
	}
	if (bindings->n < BINDINGS_MAX)
		bindings->vars[bindings->n++] = *vars;
}

static bool bind_holes(void *user, const struct found *found)
{
	struct bindings *bindings = user;

	add_binding(bindings, &found->vars);
	return bindings->n < BINDINGS_MAX;
}

/* Whatever stands in the holes of a field's places makes a limit. */
static void holes_of(struct reading *r, const struct limit_rule *rule, struct bindings *ret)
{
	const struct vars none = {0};
	bool holes = false;

	ret->n = 0;
	for (int f = 0; f < LIMIT_FIELDS; f++) {
		const struct value *value = &rule->fields[f];

		for (uint32_t i = 0; i < value->n_from; i++) {
			if (!value->from[i].holes)
				continue;
			holes = true;
			where_each(r, &value->from[i], &none, bind_holes, ret);
		}
	}
	if (!holes)
		add_binding(ret, &none);
}

/* Every match in one text. */
static void step_matches(const struct step *step, const struct found *found,
			 struct bindings *bindings)
{
	struct pattern_match match;
	size_t at = 0;

	while (bindings->n < BINDINGS_MAX &&
	       pattern_next(step->match, found->text.at, found->text.size, &at, &match)) {
		struct vars vars = found->vars;

		for (uint32_t g = 1; g <= PATTERN_GROUPS_MAX; g++) {
			if (step->variables[g] < VARS_MAX && match.at[g].at)
				vars.at[step->variables[g]] = match.at[g];
		}
		add_binding(bindings, &vars);
	}
}

static void take_step(struct reading *r, const struct step *step, struct bindings *bindings)
{
	const struct bindings before = *bindings;
	struct found found[VALUE_LINES_MAX];

	bindings->n = 0;
	for (uint32_t i = 0; i < before.n; i++) {
		const uint32_t n = value_lines(r, &step->from, &before.vars[i], found);

		for (uint32_t k = 0; k < n; k++) {
			if (step->match)
				step_matches(step, &found[k], bindings);
			else
				add_binding(bindings, &found[k].vars);
		}
	}
}

static void rule_read(struct reading *r, const struct limit_rule *rule, const char *scope)
{
	struct bindings bindings = {.n = 1};

	if (!conditions_hold(r, &rule->when))
		return;
	if (rule->standard) {
		ratelimit_read(r, rule, scope);
		return;
	}
	for (uint32_t i = 0; i < rule->n_steps; i++)
		take_step(r, &rule->steps[i], &bindings);
	if (rule->n_steps == 0)
		holes_of(r, rule, &bindings);
	for (uint32_t i = 0; i < bindings.n; i++)
		read_limit(r, rule, bindings.vars[i], scope);
}

void limits_read(struct reading *r, const struct adapter *adapter)
{
	const struct adapter *a = adapter;

	while (a->like && !a->has_limits)
		a = a->like;
	for (uint32_t i = 0; i < a->n_limits; i++)
		rule_read(r, &a->limits[i], adapter->scope);
	for (uint32_t i = 0; i < r->signal->n_limits; i++)
		limit_derive(&r->signal->limits[i]);
}
