/*
 * signal/request.c - what a request is going to cost, and what it did cost
 * SPDX-License-Identifier: MIT
 */
#include "signal/request.h"

#include <string.h>

#include "signal/rules.h"
#include "signal/stream.h"

static const struct request_rules *rules_of(const struct adapter *adapter)
{
	static const struct request_rules none;

	while (adapter->like && !adapter->requests)
		adapter = adapter->like;
	return adapter->requests ? adapter->requests : &none;
}

/* A body is read as that of a response is. */
static void begin(struct reading *r, const struct adapter *adapter,
		  struct signal_response *response)
{
	*r = (struct reading){.adapter = adapter, .response = response};
	arena_init(&r->arena, READING_ARENA_MAX);
}

/* --- amounts --- */

static int64_t *amount_of(struct amounts *amounts, const char *unit)
{
	for (uint32_t i = 0; i < amounts->n; i++) {
		if (strcmp(amounts->at[i].unit, unit) == 0)
			return &amounts->at[i].amount;
	}
	return NULL;
}

static void put(struct amounts *amounts, const char *unit, int64_t amount)
{
	int64_t *known = amount_of(amounts, unit);

	if (known)
		*known = amount;
	else if (amounts->n < AMOUNTS_MAX) {
		amounts->at[amounts->n].unit = unit;
		amounts->at[amounts->n++].amount = amount;
	}
}

static int64_t sum_of(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* --- terms --- */

struct counting {
	int64_t bytes;
	bool found;
};

static bool count_text(void *user, const struct found *found)
{
	struct counting *c = user;

	if (found->structured)
		return true;
	c->found = true;
	c->bytes = sum_of(c->bytes, (int64_t)found->text.size);
	return true;
}

static bool term_bytes(struct reading *r, const struct term *term, struct number *ret)
{
	const struct vars none = {0};
	struct counting c = {0};

	for (uint32_t i = 0; i < term->value.n_from; i++)
		where_each(r, &term->value.from[i], &none, count_text, &c);
	*ret = number_of(c.bytes);
	return c.found;
}

static struct number value_number(struct reading *r, const struct value *value)
{
	const struct vars none = {0};
	struct found found;

	return value_text(r, value, &none, &found) ? number_read(found.text) : NUMBER_UNKNOWN;
}

static bool term_amount(struct reading *r, const struct term *term, int64_t *ret)
{
	struct number number, times;
	int64_t factor = 1;

	if (!term->bytes)
		number = value_number(r, &term->value);
	else if (!term_bytes(r, term, &number))
		return false;
	if (!number_known(number))
		return false;
	times = value_written(&term->times) ? value_number(r, &term->times) : NUMBER_UNKNOWN;
	if (number_known(times) && !number_times(times, 1, &factor))
		return false;
	return number_ratio(number, factor, term->per, ret);
}

/* --- prices --- */

static bool price_fits(const struct price_rule *rule, const char *resource)
{
	return !rule->resources || pattern_matches(rule->resources, resource, strlen(resource));
}

/* False: none of what has a price is known. */
static bool price_of(const struct price_rule *rule, struct amounts *amounts, int64_t *ret)
{
	int64_t cost, total = 0;
	bool any = false;

	for (uint32_t i = 0; i < rule->n_per; i++) {
		const int64_t *known = amount_of(amounts, rule->per[i].unit);
		const int64_t amount = known ? *known : strcmp(rule->per[i].unit, "requests") == 0;

		if (amount == 0 && !known)
			continue;
		if (amount > 0 && !number_times(rule->per[i].price, amount, &cost))
			return false;
		total = sum_of(total, amount > 0 ? cost : 0);
		any = true;
	}
	*ret = total;
	return any;
}

/* Of each unit that has prices, the first rule that fits. */
static void add_prices(const struct request_rules *rules, const char *resource,
		       struct amounts *amounts)
{
	int64_t cost;

	for (uint32_t i = 0; i < rules->n_prices; i++) {
		const struct price_rule *rule = &rules->prices[i];

		if (!amount_of(amounts, rule->unit) && price_fits(rule, resource) &&
		    price_of(rule, amounts, &cost))
			put(amounts, rule->unit, cost);
	}
}

/* --- resources --- */

static bool resource_of(struct reading *r, const struct resource_rule *rule, struct text url,
			char ret_resource[SIGNAL_TEXT_MAX + 1])
{
	struct pattern_match match;
	struct vars vars = {0};
	struct found found;
	size_t at = 0;

	if (!pattern_next(rule->url, url.at, url.size, &at, &match))
		return false;
	for (uint32_t g = 1; g <= PATTERN_GROUPS_MAX; g++) {
		if (match.at[g].at && rule->variables[g] < VARS_MAX)
			vars.at[rule->variables[g]] = match.at[g];
	}
	for (uint32_t i = 0; i < rule->n_with; i++) {
		if (value_text(r, &rule->with[i].value, &vars, &found))
			vars.at[rule->with[i].variable] = found.text;
	}
	return wording_put(&rule->resource, &vars, ret_resource, SIGNAL_TEXT_MAX + 1) &&
	       *ret_resource;
}

void request_resource(const struct adapter *adapter, const struct signal_request *request,
		      char ret_resource[SIGNAL_TEXT_MAX + 1])
{
	const struct request_rules *rules = rules_of(adapter);
	struct signal_response response = {.body = request->body, .body_size = request->body_size};
	struct reading r;
	uint32_t i = 0;

	begin(&r, adapter, &response);
	while (i < rules->n_resources &&
	       !resource_of(&r, &rules->resources[i],
			    (struct text){request->url, request->url_size}, ret_resource))
		i++;
	if (i == rules->n_resources)
		*ret_resource = '\0';
	reading_end(&r);
}

/* --- before and after --- */

void request_estimate(const struct adapter *adapter, const struct signal_request *request,
		      const char *resource, struct amounts *ret_amounts)
{
	const struct request_rules *rules = rules_of(adapter);
	struct signal_response response = {.body = request->body, .body_size = request->body_size};
	struct reading r;
	int64_t amount;

	ret_amounts->n = 0;
	begin(&r, adapter, &response);
	for (uint32_t u = 0; u < rules->n_estimate; u++) {
		const struct unit_rule *rule = &rules->estimate[u];
		int64_t total = 0;
		bool any = false;

		for (uint32_t t = 0; t < rule->n; t++) {
			if (!term_amount(&r, &rule->terms[t], &amount))
				continue;
			total = sum_of(total, amount);
			any = true;
		}
		if (any)
			put(ret_amounts, rule->unit, total);
	}
	reading_end(&r);
	add_prices(rules, resource, ret_amounts);
}

enum { TERMS_MAX = 64 };

/* The terms of all units in a row, as far as events have brought them. */
struct usage {
	const struct adapter *adapter;
	const struct request_rules *rules;
	int64_t amount[TERMS_MAX];
	bool known[TERMS_MAX];
};

static void take_terms(struct usage *usage, struct reading *r)
{
	uint32_t n = 0;

	for (uint32_t u = 0; u < usage->rules->n_usage; u++) {
		const struct unit_rule *rule = &usage->rules->usage[u];

		for (uint32_t t = 0; t < rule->n && n < TERMS_MAX; t++, n++) {
			int64_t amount;

			if (!term_amount(r, &rule->terms[t], &amount))
				continue;
			usage->amount[n] = amount;
			usage->known[n] = true;
		}
	}
}

/* JSON; of an array, each element is a piece of a stream. */
static void take_body(struct usage *usage, const char *body, size_t size)
{
	struct signal_response response = {.body = body, .body_size = size};
	struct reading r, piece;
	json_t *value;
	size_t i;

	begin(&r, usage->adapter, &response);
	reading_parse_body(&r);
	if (!json_is_array(r.body))
		take_terms(usage, &r);
	json_array_foreach(r.body, i, value)
	{
		begin(&piece, usage->adapter, &response);
		piece.body_parsed = true;
		piece.documents[piece.n_documents++] = value;
		take_terms(usage, &piece);
		reading_end(&piece);
	}
	reading_end(&r);
}

static void take_stream(struct usage *usage, struct text body)
{
	struct arena arena;
	struct text data;
	size_t at = body.size > SIGNAL_BODY_MAX ? body.size - SIGNAL_BODY_MAX : 0;

	arena_init(&arena, READING_ARENA_MAX);
	while (stream_next(body, &at, &arena, &data))
		take_body(usage, data.at, data.size);
	arena_free(&arena);
}

static void add_up(const struct usage *usage, struct amounts *amounts)
{
	uint32_t n = 0;

	for (uint32_t u = 0; u < usage->rules->n_usage; u++) {
		const struct unit_rule *rule = &usage->rules->usage[u];
		int64_t total = 0;
		bool any = false;

		for (uint32_t t = 0; t < rule->n && n < TERMS_MAX; t++, n++) {
			total = sum_of(total, usage->known[n] ? usage->amount[n] : 0);
			any |= usage->known[n];
		}
		if (any)
			put(amounts, rule->unit, total);
	}
}

void request_usage(const struct adapter *adapter, const char *body, size_t body_size,
		   const char *resource, struct amounts *ret_amounts)
{
	struct usage usage = {.adapter = adapter, .rules = rules_of(adapter)};

	ret_amounts->n = 0;
	if (!body || usage.rules->n_usage == 0)
		return;
	if (stream_begins((struct text){body, body_size}))
		take_stream(&usage, (struct text){body, body_size});
	else
		take_body(&usage, body, body_size);
	add_up(&usage, ret_amounts);
	if (ret_amounts->n > 0)
		add_prices(usage.rules, resource, ret_amounts);
}
