/*
 * policy/read_limit.c - what each key of a limit means, and which kinds have it
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/read.h"
#include "policy/scalar.h"
#include "shm/window.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define SECOND UINT64_C(1000000000)
#define DAY    (86400 * SECOND)

const char *kind_name(enum seg_kind kind)
{
	static const char *const names[KIND_COUNT] = {
		[KIND_NONE] = "a limit",
		[KIND_BUCKET] = "a bucket",
		[KIND_WINDOW] = "a window",
		[KIND_ROLLING] = "a rolling limit",
		[KIND_SLOTS] = "a concurrency limit",
	};

	return names[kind];
}

/* --- its own keys --- */

static void read_unit(struct compiler *c, const struct node *value, void *target)
{
	struct draft_limit *limit = target;

	limit->unit_at = value;
	if (good_name(c, value))
		limit->unit = value->text;
}

static void read_kind(struct compiler *c, const struct node *value, void *target)
{
	static const char *const words[] = {"bucket", "window", "rolling", "concurrency"};
	static const enum seg_kind kinds[] = {KIND_BUCKET, KIND_WINDOW, KIND_ROLLING, KIND_SLOTS};
	struct draft_limit *limit = target;
	const int kind = schema_choose(c, value, "kind", words, LENGTH(words));

	limit->later = kind < 0;
	limit->kind = kind < 0 ? KIND_NONE : kinds[kind];
}

static void read_scope_field(struct compiler *c, const struct node *value, void *target)
{
	/* In the order of the RATION_SCOPE_* bits. */
	static const char *const fields[] = {"tenant", "vendor", "class", "account", "resource"};
	struct draft_limit *limit = target;
	const int field = schema_choose(c, value, "scope field", fields, LENGTH(fields));
	const uint32_t bit = field < 0 ? 0 : UINT32_C(1) << field;

	if (field < 0)
		limit->scope_broken = true;
	else if (limit->scope & bit)
		error_at(c, value, "duplicate '%s' in scope", fields[field]);
	limit->scope |= bit;
}

#define SCOPE_FORM                                                                                 \
	"a list of tenant, vendor, class, account and resource, such as [tenant, vendor], or []"

static void read_scope(struct compiler *c, const struct node *value, void *target)
{
	struct draft_limit *limit = target;

	if (value->kind != NODE_LIST) {
		limit->scope_broken = true;
		node_expected(&c->notes, value, SCOPE_FORM);
		return;
	}
	schema_items(c, value, SCOPE_FORM, read_scope_field, limit);
}

#define PERIOD_FORM                                                                                \
	"second, minute, hour, day, week, month, or a time from 1ms to 400d such as 10s or 24h"

static const struct period {
	const char *name;
	enum calendar_unit unit;
	uint64_t ns;
} periods[] = {
	{"second", CALENDAR_LENGTH, SECOND},
	{"minute", CALENDAR_LENGTH, 60 * SECOND},
	{"hour", CALENDAR_LENGTH, 3600 * SECOND},
	{"day", CALENDAR_DAY, DAY},
	{"week", CALENDAR_WEEK, 7 * DAY},
	/* What it is called by; the calendar knows how long each one is. */
	{"month", CALENDAR_MONTH, 30 * DAY},
};

static void read_period(struct compiler *c, const struct node *value, void *target)
{
	struct draft_limit *limit = target;

	limit->period_at = value;
	for (size_t i = 0; is_text(value) && i < LENGTH(periods); i++) {
		if (strcmp(value->text, periods[i].name) != 0)
			continue;
		limit->calendar = periods[i].unit;
		limit->period_ns = periods[i].ns;
		return;
	}
	if (is_text(value) && scalar_duration(value->text, 400 * DAY, &limit->period_ns) &&
	    limit->period_ns >= PERIOD_MIN_NS)
		return;
	limit->broken = true;
	node_expected(&c->notes, value, PERIOD_FORM);
}

#define OFFSET_FORM "how much later than the calendar's the windows begin: a time such as 6h"

static void read_offset(struct compiler *c, const struct node *value, void *target)
{
	struct draft_limit *limit = target;

	limit->offset_at = value;
	if (is_text(value) && scalar_duration(value->text, 400 * DAY, &limit->offset_ns))
		return;
	limit->broken = true;
	node_expected(&c->notes, value, OFFSET_FORM);
}

static void read_timezone(struct compiler *c, const struct node *value, void *target)
{
	struct draft_limit *limit = target;

	limit->zone_at = value;
	limit->zone = zone_of(c, value);
}

/* One of two words: the second sets flags. */
static uint32_t read_flag(struct compiler *c, const struct node *value, const char *what,
			  const char *const words[2], uint32_t flag)
{
	return schema_choose(c, value, what, words, 2) == 1 ? flag : 0;
}

static void read_pace(struct compiler *c, const struct node *value, void *target)
{
	static const char *const words[] = {"none", "even"};

	((struct draft_limit *)target)->flags |= read_flag(c, value, "pace", words, LIMIT_PACED);
}

static void read_oversize(struct compiler *c, const struct node *value, void *target)
{
	static const char *const words[] = {"refuse", "clamp"};

	((struct draft_limit *)target)->flags |=
		read_flag(c, value, "answer to oversize", words, LIMIT_CLAMP);
}

static void read_order(struct compiler *c, const struct node *value, void *target)
{
	static const char *const words[] = {"any", "fifo"};

	((struct draft_limit *)target)->flags |= read_flag(c, value, "order", words, LIMIT_FIFO);
}

static void read_release(struct compiler *c, const struct node *value, void *target)
{
	static const char *const words[] = {"none", "linear"};

	((struct draft_limit *)target)->released = read_flag(c, value, "release", words, 1);
}

static void read_told(struct compiler *c, const struct node *value, void *target)
{
	if (good_name(c, value))
		((struct draft_limit *)target)->told = value->text;
}

/* --- what classes claim of it --- */

#define PART_FORM "or a percentage above 0% and up to 100%"

static bool parse_claim(const char *text, struct claim *claim)
{
	struct rate rate;

	if (scalar_percent(text, 1000000, &claim->value) && claim->value > 0) {
		claim->form = CLAIM_PART;
		return true;
	}
	if (scalar_rate(text, &rate)) {
		claim->form = CLAIM_RATE;
		claim->value = rate.amount;
		claim->period_ns = rate.period_ns;
		return true;
	}
	if (!scalar_count(text, &claim->value))
		return false;
	claim->form = CLAIM_COUNT;
	return true;
}

/* A rate of buckets, a count of others; or a part of either. */
static void read_claim(struct compiler *c, const struct node *value, void *target)
{
	struct claim *claim = target;

	claim->at = value;
	if (!is_text(value) || !parse_claim(value->text, claim))
		node_expected(&c->notes, value,
			      "a rate such as 10/s, a count such as 10, " PART_FORM);
}

#define CLAIM(member) offsetof(struct draft_claims, member)

static const struct field claim_fields[] = {
	{"guarantee", read_claim, CLAIM(guarantee), NULL, ANYWHERE},
	{"ceiling", read_claim, CLAIM(ceiling), NULL, ANYWHERE},
	{"reserve", read_claim, CLAIM(reserve), NULL, ANYWHERE},
	{"burst", read_claim, CLAIM(burst), NULL, ANYWHERE},
};
static const struct schema claim_schema = SCHEMA("what a class may claim", claim_fields, false);

static void read_claims(struct compiler *c, const struct node *key, const struct node *value,
			void *target)
{
	struct draft_limit *limit = target;
	struct draft_claims *claims;

	if (!good_name(c, key))
		return;
	claims = list_new(&limit->claims, &c->arena, sizeof(*claims));
	if (!claims)
		return;
	claims->class = (struct named){key->text, key};
	schema_walk(c, value, &claim_schema, claims);
}

static void read_claims_of_all(struct compiler *c, const struct node *value, void *target)
{
	struct draft_limit *limit = target;

	limit->classes_at = value;
	schema_entries(c, value, "a mapping of classes, such as {repair: {guarantee: 10/s}}",
		       read_claims, limit);
}

/* --- a limit --- */

#define LIMIT(member) offsetof(struct draft_limit, member)

static const struct field limit_fields[] = {
	{"name", read_name, LIMIT(named), "messages and overrides call it by that", ANYWHERE},
	{"unit", read_unit, 0, NULL, ANYWHERE},
	{"kind", read_kind, 0, NULL, ANYWHERE},
	{"rate", read_rate, LIMIT(written), NULL, ANYWHERE},
	{"burst", read_burst, LIMIT(written), NULL, ANYWHERE},
	{"amount", read_amount, LIMIT(written), NULL, ANYWHERE},
	{"period", read_period, 0, NULL, ANYWHERE},
	{"slots", read_slots, LIMIT(written), NULL, ANYWHERE},
	{"scope", read_scope, 0, "per whom it is counted, such as [tenant, vendor]", ANYWHERE},
	{"margin", read_margin, LIMIT(written), NULL, ANYWHERE},
	{"share", read_share, LIMIT(written), NULL, ANYWHERE},
	{"delay", read_delay, LIMIT(written), NULL, ANYWHERE},
	{"default_cost", read_default_cost, LIMIT(written), NULL, ANYWHERE},
	{"oversize", read_oversize, 0, NULL, ANYWHERE},
	{"max_debt", read_max_debt, LIMIT(written), NULL, ANYWHERE},
	{"timezone", read_timezone, 0, NULL, ANYWHERE},
	{"offset", read_offset, 0, NULL, ANYWHERE},
	{"pace", read_pace, 0, NULL, ANYWHERE},
	{"release", read_release, 0, NULL, ANYWHERE},
	{"order", read_order, 0, NULL, ANYWHERE},
	{"learn", read_learn, LIMIT(written), NULL, ANYWHERE},
	{"told", read_told, 0, NULL, ANYWHERE},
	{"max_hold", read_hold, LIMIT(written), NULL, ANYWHERE},
	{"mode", read_mode, LIMIT(mode), NULL, ANYWHERE},
	{"classes", read_claims_of_all, 0, NULL, ANYWHERE},
};
static const struct schema limit_schema = SCHEMA("a limit", limit_fields, false);

#define ONLY(kind)   (1u << (kind))
#define COUNTING     (ONLY(KIND_BUCKET) | ONLY(KIND_WINDOW) | ONLY(KIND_ROLLING))
#define OVER_PERIODS (ONLY(KIND_WINDOW) | ONLY(KIND_ROLLING))

/* Keys that not every kind has. needed: why it must be there. */
static const struct kind_key {
	const char *key;
	uint32_t kinds;
	const char *needed;
} kind_keys[] = {
	{"rate", ONLY(KIND_BUCKET), "how much in what time, such as 100/s"},
	{"burst", ONLY(KIND_BUCKET), NULL},
	{"amount", OVER_PERIODS, "how much in each period, such as 10k"},
	{"period", OVER_PERIODS, "in what time, such as day or 10s"},
	{"slots", ONLY(KIND_SLOTS), "how many at a time"},
	{"unit", COUNTING, NULL},
	{"default_cost", COUNTING, NULL},
	{"oversize", COUNTING, NULL},
	{"max_debt", COUNTING, NULL},
	{"timezone", ONLY(KIND_WINDOW), NULL},
	{"offset", ONLY(KIND_WINDOW), NULL},
	{"pace", OVER_PERIODS, NULL},
	{"release", ONLY(KIND_WINDOW), NULL},
	{"order", ONLY(KIND_SLOTS), NULL},
	{"max_hold", ONLY(KIND_SLOTS), NULL},
};

bool kind_has(enum seg_kind kind, const char *key)
{
	for (size_t i = 0; i < LENGTH(kind_keys); i++) {
		if (strcmp(kind_keys[i].key, key) == 0)
			return kind_keys[i].kinds & ONLY(kind);
	}
	return true;
}

static void check_keys(struct compiler *c, const struct node *map, const struct draft_limit *limit)
{
	for (size_t i = 0; i < LENGTH(kind_keys); i++) {
		if (kind_keys[i].needed && kind_keys[i].kinds & ONLY(limit->kind) &&
		    !schema_get(map, kind_keys[i].key))
			error_at(c, map, "missing key '%s' of %s: %s", kind_keys[i].key,
				 kind_name(limit->kind), kind_keys[i].needed);
	}
	for (const struct node *key = map->first; key && key->next; key = key->next->next) {
		if (key->kind == NODE_TEXT && !kind_has(limit->kind, key->text))
			error_at(c, key, "%s has no '%s'", kind_name(limit->kind), key->text);
	}
}

static void check_period(struct compiler *c, const struct draft_limit *limit)
{
	if (!limit->period_at || limit->broken)
		return;
	if (limit->kind == KIND_ROLLING && limit->calendar == CALENDAR_MONTH)
		error_at(c, limit->period_at,
			 "a rolling limit's period has a length: expected a time such as 30d");
	if (limit->kind != KIND_WINDOW)
		return;
	if (limit->zone_at && limit->calendar == CALENDAR_LENGTH)
		error_at(c, limit->zone_at,
			 "a time zone matters to a period of day, week or month only: expected "
			 "'offset', or no time zone");
	if (limit->offset_at && limit->offset_ns >= shortest_period(limit))
		error_at(c, limit->offset_at, "expected less than the shortest period");
}

static void check_limit(struct compiler *c, const struct node *value, struct draft_limit *limit)
{
	if (limit->later)
		return;
	if (limit->kind == KIND_SLOTS)
		limit->unit = "slots";
	check_keys(c, value, limit);
	check_period(c, limit);
	if (limit->kind == KIND_BUCKET && !limit->written.at[WRITTEN_BURST] && limit->unit &&
	    !limit_counts_requests(limit))
		error_at(c, value,
			 "missing key 'burst' of a limit: only for requests is there a default");
}

void read_limit(struct compiler *c, const struct node *value, void *target)
{
	struct draft_vendor *vendor = target;
	struct draft_limit *limit = arena_alloc(&c->arena, sizeof(*limit));

	if (!limit)
		return;
	limit->vendor = vendor;
	limit->kind = KIND_BUCKET;
	limit->unit = "requests";
	limit->unit_at = value;
	limit->named.at = value;
	schema_walk(c, value, &limit_schema, limit);
	if (value->kind != NODE_MAP || !limit->named.name) {
		c->incomplete = true;
		return;
	}
	check_limit(c, value, limit);
	if (list_add(&c->limits, &c->arena, limit))
		list_add(&vendor->limits, &c->arena, limit);
}
