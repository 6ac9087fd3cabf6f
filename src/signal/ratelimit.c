/*
 * signal/ratelimit.c - the RateLimit fields of the IETF's drafts, each of their forms
 * SPDX-License-Identifier: MIT
 *
 *	drafts		how much there is and was used		what the limits are
 *	00-02		RateLimit-Limit: 100, 100;w=60		in RateLimit-Limit
 *			RateLimit-Remaining: 50
 *			RateLimit-Reset: 50
 *	03-06		the same without the list		RateLimit-Policy: 100;w=60
 *	07		RateLimit: limit=100, remaining=50, reset=50	as before
 *	08-		RateLimit: "name";r=50;t=30		RateLimit-Policy: "name";q=100;w=60
 *
 * A malformed field is no field; an item that lacks what it must have, or has it wrong, is no item.
 */
#include <stdio.h>
#include <string.h>

#include "signal/rules.h"
#include "signal/structured.h"

enum { NUMBERS_MAX = 8 };

struct ratelimit {
	struct reading *r;
	const struct limit_rule *rule;
	const char *scope;
	bool named; /* by RateLimit: then the older triple says the same again */
};

/* --- fields --- */

static bool is_field(const struct ratelimit *rl, const struct signal_header *h, const char *name)
{
	const struct text prefix = text_of(rl->rule->prefix), rest = text_of(name);

	return h->name_size == prefix.size + rest.size &&
	       text_same(prefix, (struct text){h->name, prefix.size}) &&
	       text_same(rest, (struct text){h->name + prefix.size, rest.size});
}

/* All lines of one field with commas between them; at NULL: none. */
static struct text joined(const struct ratelimit *rl, const char *name)
{
	const struct signal_response *response = rl->r->response;
	struct text all = {0};

	for (size_t i = 0; i < response->n_headers; i++) {
		const struct signal_header *h = &response->headers[i];
		const struct text line = text_trimmed((struct text){h->value, h->value_size});
		char *more;

		if (line.size == 0 || !is_field(rl, h, name))
			continue;
		more = arena_alloc(&rl->r->arena, all.size + line.size + 3);
		if (!more)
			return (struct text){0};
		if (all.at)
			memcpy(more, all.at, all.size);
		memcpy(more + all.size, all.at ? ", " : "", all.at ? 2 : 0);
		memcpy(more + all.size + (all.at ? 2 : 0), line.at, line.size);
		all = (struct text){more, all.size + (all.at ? 2 : 0) + line.size};
	}
	return all;
}

/* --- limits --- */

static struct signal_limit *named(const struct ratelimit *rl, const char *name,
				  const char *partition)
{
	struct signal_limit *limit =
		limit_named(rl->r->signal, *name ? name : "default", partition, SIGNAL_UNKNOWN);

	if (!limit)
		return NULL;
	if (!*limit->partition_key)
		text_put(text_of(partition), limit->partition_key, sizeof(limit->partition_key));
	if (!*limit->scope && rl->scope)
		text_put(text_of(rl->scope), limit->scope, sizeof(limit->scope));
	if (!*limit->unit)
		wording_put(&rl->rule->unit, &(struct vars){0}, limit->unit, sizeof(limit->unit));
	return limit;
}

static bool count(const struct field_item *item, int64_t least, int64_t *ret)
{
	if (!item || item->type != FIELD_INTEGER || item->integer < least)
		return false;
	*ret = item->integer;
	return true;
}

static void partition_of(const struct field_member *member, char buffer[SIGNAL_TEXT_MAX + 1])
{
	const struct field_item *pk = field_parameter(member, "pk");

	*buffer = '\0';
	if (pk && pk->type == FIELD_BYTES)
		text_put((struct text){pk->text, pk->size}, buffer, SIGNAL_TEXT_MAX + 1);
}

/* Seconds as milliseconds; an integer here has 15 digits at most. */
static int64_t milliseconds(int64_t seconds)
{
	return seconds * 1000;
}

/* "name";r=50;t=30. Some leave out r while there is plenty. */
static void take_service(struct ratelimit *rl, const struct field_member *member)
{
	const struct field_item *r = field_parameter(member, "r"),
				*t = field_parameter(member, "t");
	char name[SIGNAL_TEXT_MAX + 1], partition[SIGNAL_TEXT_MAX + 1];
	int64_t remaining = 0, seconds = 0;
	struct signal_limit *limit;

	if (member->item.type != FIELD_STRING || (!r && !t))
		return;
	if ((r && !count(r, 0, &remaining)) || (t && !count(t, 0, &seconds)))
		return;
	field_string(&member->item, name, sizeof(name));
	partition_of(member, partition);
	limit = named(rl, name, partition);
	if (!limit)
		return;
	rl->named = true;
	if (r && !number_known(limit->remaining))
		limit->remaining = number_of(remaining);
	if (t && limit->reset_ms == SIGNAL_UNKNOWN)
		limit->reset_ms = milliseconds(seconds);
}

static void take_dictionary(struct ratelimit *rl, const struct field_list *fields)
{
	const struct field_item *left = field_entry(fields, "remaining");
	int64_t amount, remaining, seconds;
	struct signal_limit *limit;

	if (!count(field_entry(fields, "limit"), 0, &amount) ||
	    !count(field_entry(fields, "reset"), 0, &seconds))
		return;
	limit = named(rl, "default", "");
	if (!limit)
		return;
	rl->named = true;
	limit->limit = number_of(amount);
	limit->reset_ms = milliseconds(seconds);
	if (count(left, 0, &remaining))
		limit->remaining = number_of(remaining);
}

static void take_usage(struct ratelimit *rl)
{
	const struct text field = joined(rl, "ratelimit");
	struct field_list list;

	if (!field.at)
		return;
	if (field_list_parse(field.at, field.size, &list)) {
		for (uint32_t i = 0; i < list.n_members; i++)
			take_service(rl, &list.members[i]);
	} else if (field_dictionary_parse(field.at, field.size, &list)) {
		take_dictionary(rl, &list);
	}
}

/* --- the older triple --- */

struct numbers {
	struct number at[NUMBERS_MAX];
	int64_t window[NUMBERS_MAX]; /* ms */
	uint32_t n;
};

/* "100" or "100;w=60" */
static bool take_number(struct text piece, struct numbers *ret)
{
	struct number n;
	size_t used;
	int64_t us;
	const char *w;

	if (ret->n == NUMBERS_MAX || !number_prefix(piece.at, piece.size, &n, &used) ||
	    n.digits < 0)
		return false;
	piece = text_trimmed((struct text){piece.at + used, piece.size - used});
	if (piece.size > 0 && piece.at[0] != ';')
		return false;
	ret->at[ret->n] = n;
	ret->window[ret->n] = SIGNAL_UNKNOWN;
	w = piece.size > 0 ? memmem(piece.at, piece.size, "w=", 2) : NULL;
	if (w && number_prefix(w + 2, (size_t)(piece.at + piece.size - w - 2), &n, &used) &&
	    n.digits > 0 && number_times(n, 1000000, &us))
		ret->window[ret->n] = time_to_ms(us);
	ret->n++;
	return true;
}

static struct numbers numbers_of(struct text field)
{
	struct numbers numbers = {0};

	while (field.at && field.size > 0) {
		const char *comma = memchr(field.at, ',', field.size);
		const size_t size = comma ? (size_t)(comma - field.at) : field.size;

		if (!take_number(text_trimmed((struct text){field.at, size}), &numbers))
			return (struct numbers){0};
		field.at += size + (comma != NULL);
		field.size -= size + (comma != NULL);
	}
	return numbers;
}

/* A limit that is unnamed is known by its size and window, as the field writes it. */
static void take_unnamed(struct ratelimit *rl, struct number amount, int64_t window_ms)
{
	struct signal *signal = rl->r->signal;
	struct signal_limit *limit;
	char name[64];

	for (uint32_t i = 0; i < signal->n_limits; i++) {
		limit = &signal->limits[i];
		if (number_known(limit->limit) && number_compare(limit->limit, amount) == 0 &&
		    (limit->window_ms == SIGNAL_UNKNOWN || limit->window_ms == window_ms)) {
			limit->window_ms = window_ms;
			return;
		}
	}
	snprintf(name, sizeof(name), "%.15g;w=%lld", number_value(amount),
		 (long long)(window_ms / 1000));
	limit = named(rl, name, "");
	if (!limit)
		return;
	limit->limit = amount;
	limit->window_ms = window_ms;
}

/* Of several sets, which an intermediary added to, the tightest counts. */
static uint32_t tightest(const struct numbers *remaining)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < remaining->n; i++) {
		if (number_compare(remaining->at[i], remaining->at[best]) < 0)
			best = i;
	}
	return best;
}

static struct number nth(const struct numbers *numbers, uint32_t i)
{
	if (numbers->n == 0)
		return NUMBER_UNKNOWN;
	return numbers->at[i < numbers->n ? i : numbers->n - 1];
}

static int64_t reset_of(const struct ratelimit *rl, uint32_t i)
{
	const struct text field = joined(rl, "ratelimit-reset");
	const struct numbers numbers = numbers_of(field);
	const enum time_notation notation = rl->rule->fields[FIELD_RESET].as;
	char digits[32];
	int64_t us;
	bool good;

	if (numbers.n > 0) {
		snprintf(digits, sizeof(digits), "%.15g", number_value(nth(&numbers, i)));
		good = time_until(notation, digits, strlen(digits), rl->r->now_us, &us);
	} else {
		good = field.at && time_until(notation, field.at, field.size, rl->r->now_us, &us);
	}
	return good ? time_to_ms(us) : SIGNAL_UNKNOWN;
}

/*
 * Those without a window are values, unless all have one: then the first is. The others are limits of
 * their own.
 */
static struct numbers without_policies(const struct numbers *all)
{
	struct numbers values = {0};

	for (uint32_t i = 0; i < all->n; i++) {
		if (all->window[i] == SIGNAL_UNKNOWN)
			values.at[values.n++] = all->at[i];
	}
	if (values.n == 0 && all->n > 0)
		values.at[values.n++] = all->at[0];
	return values;
}

static void take_triple(struct ratelimit *rl)
{
	const struct numbers limits = numbers_of(joined(rl, "ratelimit-limit"));
	const struct numbers remaining = numbers_of(joined(rl, "ratelimit-remaining"));
	const struct numbers values = without_policies(&limits);
	const uint32_t best = tightest(&remaining);
	const struct signal_limit found = {
		.limit = nth(&values, best),
		.remaining = nth(&remaining, best),
		.used = NUMBER_UNKNOWN,
		.refill = NUMBER_UNKNOWN,
		.reset_ms = reset_of(rl, best),
		.window_ms = SIGNAL_UNKNOWN,
	};
	struct signal_limit *limit;

	if (!number_known(found.limit) && !number_known(found.remaining) &&
	    found.reset_ms == SIGNAL_UNKNOWN)
		return;
	limit = named(rl, "default", "");
	if (limit)
		limit_merge(limit, &found);
	for (uint32_t i = 0; i < limits.n; i++) {
		if (limits.window[i] != SIGNAL_UNKNOWN)
			take_unnamed(rl, limits.at[i], limits.window[i]);
	}
}

/* --- policies --- */

static void take_unit(const struct field_member *member, struct signal_limit *limit)
{
	const struct field_item *unit = field_parameter(member, "qu");
	char text[SIGNAL_TEXT_MAX + 1];

	if (!unit || unit->type != FIELD_STRING || *limit->unit)
		return;
	field_string(unit, text, sizeof(text));
	if (strcmp(text, "requests") != 0)
		text_put(text_of(text), limit->unit, sizeof(limit->unit));
}

/* "name";q=100;w=60, or 100;w=60 */
static void take_policy(struct ratelimit *rl, const struct field_member *member)
{
	const struct field_item *w = field_parameter(member, "w");
	char name[SIGNAL_TEXT_MAX + 1], partition[SIGNAL_TEXT_MAX + 1];
	struct signal_limit *limit;
	int64_t amount, seconds = 0;

	if (w && !count(w, 1, &seconds))
		return;
	if (count(&member->item, 0, &amount)) {
		if (w)
			take_unnamed(rl, number_of(amount), milliseconds(seconds));
		return;
	}
	if (member->item.type != FIELD_STRING || !count(field_parameter(member, "q"), 0, &amount))
		return;
	field_string(&member->item, name, sizeof(name));
	partition_of(member, partition);
	limit = named(rl, name, partition);
	if (!limit)
		return;
	if (!number_known(limit->limit))
		limit->limit = number_of(amount);
	if (w && limit->window_ms == SIGNAL_UNKNOWN)
		limit->window_ms = milliseconds(seconds);
	take_unit(member, limit);
}

void ratelimit_read(struct reading *r, const struct limit_rule *rule, const char *scope)
{
	struct ratelimit rl = {r, rule, scope, false};
	struct text policies;
	struct field_list list;

	take_usage(&rl);
	if (!rl.named)
		take_triple(&rl);
	policies = joined(&rl, "ratelimit-policy");
	if (!policies.at || !field_list_parse(policies.at, policies.size, &list))
		return;
	for (uint32_t i = 0; i < list.n_members; i++)
		take_policy(&rl, &list.members[i]);
}
