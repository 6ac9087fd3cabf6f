/*
 * signal/signal.c - one response, one signal
 * SPDX-License-Identifier: MIT
 *
 * In this order, because each step needs what the one before found: limits, the first rule that fits,
 * the wait.
 */
#include "signal/signal.h"

#include <string.h>
#include <strings.h>

#include "signal/date.h"
#include "signal/rules.h"
#include "signal/stream.h"

/* A Date that is further off is no clock that is wrong: it is another answer's. */
#define CLOCK_OFF_MAX (INT64_C(86400) * 1000000)

/* --- names --- */

const char *signal_class_name(enum signal_class limit_class)
{
	static const char *const names[SIGNAL_CLASSES] = {
		[SIGNAL_NONE] = "none",       [SIGNAL_RATE] = "rate",
		[SIGNAL_QUOTA] = "quota",     [SIGNAL_CONCURRENCY] = "concurrency",
		[SIGNAL_COST] = "cost",       [SIGNAL_OVERLOAD] = "overload",
		[SIGNAL_BILLING] = "billing",
	};

	return names[limit_class];
}

const char *signal_from_name(enum signal_from from)
{
	static const char *const names[SIGNAL_FROMS] = {
		[SIGNAL_FROM_HEADER] = "header", [SIGNAL_FROM_BODY] = "body",
		[SIGNAL_FROM_RESET] = "reset",   [SIGNAL_FROM_COMPUTED] = "computed",
		[SIGNAL_FROM_WINDOW] = "window", [SIGNAL_FROM_DEFAULT] = "vendor-default",
	};

	return names[from];
}

const char *signal_block_name(enum signal_block block)
{
	static const char *const names[SIGNAL_BLOCKS] = {
		[SIGNAL_BLOCK_REQUEST] = "request",
		[SIGNAL_BLOCK_RESOURCE] = "resource",
		[SIGNAL_BLOCK_TENANT] = "tenant",
		[SIGNAL_BLOCK_ACCOUNT] = "account",
	};

	return names[block];
}

/* --- the body --- */

/* jansson refuses what is too large for an integer: as a real it will do. */
static json_t *parse(const char *text, size_t size)
{
	json_t *json = json_loadb(text, size, JSON_DECODE_ANY, NULL);

	if (json)
		return json;
	return json_loadb(text, size, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
}

/* A stream that fails says so in its last event. What ends others, such as [DONE], is no object. */
static json_t *parse_last_event(struct text body)
{
	struct text data, last = {NULL, 0};
	struct arena arena;
	json_t *json = NULL;
	size_t at = 0;

	arena_init(&arena, READING_ARENA_MAX);
	while (stream_next(body, &at, &arena, &data)) {
		if (data.size > 0 && *data.at == '{')
			last = data;
	}
	if (last.at)
		json = parse(last.at, last.size);
	arena_free(&arena);
	return json;
}

/* JSON, or a string that holds JSON, where the adapter says. */
static bool add_document(void *user, const struct found *found)
{
	struct reading *r = user;
	json_t *parsed = NULL;

	if (r->n_documents == DOCUMENTS_MAX)
		return false;
	if (!found->structured)
		parsed = parse(found->text.at, found->text.size);
	if (!found->structured && !parsed)
		return true;
	r->parsed[r->n_documents] = parsed;
	r->documents[r->n_documents++] = parsed ? parsed : found->json;
	return true;
}

void reading_parse_body(struct reading *r)
{
	const struct signal_response *response = r->response;
	const struct adapter *a = r->adapter;
	const struct vars none = {0};

	if (r->body_parsed)
		return;
	r->body_parsed = true;
	if (!response->body || response->body_size > SIGNAL_BODY_MAX)
		return;
	if (stream_begins((struct text){response->body, response->body_size}))
		r->body = parse_last_event((struct text){response->body, response->body_size});
	else
		r->body = parse(response->body, response->body_size);
	if (!r->body)
		return;
	r->documents[r->n_documents++] = r->body;
	for (uint32_t i = 0; i < a->n_documents; i++)
		pointer_each(r, r->body, a->documents[i].segments, a->documents[i].n_segments,
			     &none, true, add_document, r);
}

/* --- the clock, and how old this answer is --- */

static const struct signal_header *header(const struct signal_response *response, const char *name)
{
	for (size_t i = 0; i < response->n_headers; i++) {
		const struct signal_header *h = &response->headers[i];

		if (text_same((struct text){h->name, h->name_size}, text_of(name)))
			return h;
	}
	return NULL;
}

/* Points in time are the vendor's, so its clock measures how far off they are. */
static int64_t vendor_now(const struct signal_response *response)
{
	const struct signal_header *date = header(response, "date");
	const int64_t now = response->now_us;
	int64_t us;

	if (!date || !date_parse(date->value, date->value_size, now, &us))
		return now;
	return us < now - CLOCK_OFF_MAX || us > now + CLOCK_OFF_MAX ? now : us;
}

static bool from_cache(const struct signal_response *response)
{
	const struct signal_header *age = header(response, "age");
	struct number seconds;

	return age && number_parse(age->value, age->value_size, &seconds) && seconds.digits > 0;
}

/* --- what it comes to --- */

static const struct response_rule *rule_for(struct reading *r)
{
	for (const struct adapter *a = r->adapter; a; a = a->like) {
		for (uint32_t i = 0; i < a->n_responses; i++) {
			if (conditions_hold(r, &a->responses[i].when))
				return &a->responses[i];
		}
	}
	return NULL;
}

/* Conditions that none of were written hold for nothing here. */
static bool never_again(struct reading *r)
{
	for (const struct adapter *a = r->adapter; a; a = a->like) {
		if (a->never.n > 0 && conditions_hold(r, &a->never))
			return true;
	}
	return false;
}

static void read_cost(struct reading *r)
{
	const struct vars none = {0};
	const struct adapter *a = r->adapter;
	struct found found;

	while (a->like && a->n_cost == 0)
		a = a->like;
	for (uint32_t i = 0; i < a->n_cost && !number_known(r->signal->cost); i++) {
		if (value_text(r, &a->cost[i], &none, &found))
			r->signal->cost = number_read(found.text);
	}
}

static void read_reason(struct reading *r, const struct response_rule *rule)
{
	const struct vars none = {0};
	struct signal *signal = r->signal;
	struct found found;

	if (rule && value_text(r, &rule->reason, &none, &found))
		text_put(found.text, signal->reason, sizeof(signal->reason));
	else
		text_put(text_of(r->response->status < 400 ? "ok" : "not_a_limit"), signal->reason,
			 sizeof(signal->reason));
}

/* The rule's; else that of a limit, and rather of one that is exhausted. */
static void read_scope(struct reading *r, const struct response_rule *rule)
{
	struct signal *signal = r->signal;
	const struct signal_limit *of = NULL;

	if (rule && rule->has_scope) {
		text_put(text_of(rule->scope), signal->scope, sizeof(signal->scope));
		return;
	}
	for (uint32_t i = 0; i < signal->n_limits; i++) {
		const struct signal_limit *limit = &signal->limits[i];

		if (*limit->scope &&
		    (!of || (signal->limited && limit_exhausted(limit) && !limit_exhausted(of))))
			of = limit;
	}
	if (of)
		text_put(text_of(of->scope), signal->scope, sizeof(signal->scope));
}

static enum signal_block block_of(const struct reading *r, const struct response_rule *rule)
{
	const struct adapter *a = r->adapter;
	enum signal_block block = SIGNAL_BLOCK_TENANT;

	while (a->like && !a->has_block)
		a = a->like;
	if (rule && rule->has_block)
		block = rule->block;
	else if (a->has_block)
		block = a->block;
	if (block == SIGNAL_BLOCK_RESOURCE && !r->response->has_resource)
		block = SIGNAL_BLOCK_TENANT;
	return block;
}

static const struct waits *waits_for(const struct reading *r, const struct response_rule *rule)
{
	const struct adapter *a = r->adapter;

	if (rule->waits.written)
		return &rule->waits;
	while (a->like && !a->waits.written)
		a = a->like;
	return &a->waits;
}

static void judge(struct reading *r)
{
	const struct response_rule *rule = rule_for(r);
	struct signal *signal = r->signal;

	signal->limit_class = rule ? rule->limit_class : SIGNAL_NONE;
	signal->limited = signal->limit_class != SIGNAL_NONE;
	signal->retryable = signal->limited && !rule->never && !never_again(r);
	if (signal->limited)
		waits_read(r, waits_for(r, rule));
	read_reason(r, rule);
	read_scope(r, rule);
	signal->block = block_of(r, rule);
}

void reading_end(struct reading *r)
{
	for (uint32_t i = 0; i < r->n_documents; i++)
		json_decref(r->parsed[i]);
	for (size_t i = 0; r->headers && i < r->response->n_headers; i++)
		json_decref(r->headers[i]);
	json_decref(r->body);
	arena_free(&r->arena);
}

void signal_read(const struct adapter *adapter, const struct signal_response *response,
		 struct signal *ret)
{
	struct reading r = {.adapter = adapter, .response = response, .signal = ret};

	memset(ret, 0, sizeof(*ret));
	ret->retry_after_ms = SIGNAL_UNKNOWN;
	ret->cost = NUMBER_UNKNOWN;
	arena_init(&r.arena, READING_ARENA_MAX);
	r.now_us = vendor_now(response);
	if (!from_cache(response))
		limits_read(&r, adapter);
	judge(&r);
	read_cost(&r);
	reading_end(&r);
}
