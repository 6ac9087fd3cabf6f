/*
 * shm/blob.c - opening a compiled policy and finding things in it
 * SPDX-License-Identifier: MIT
 */
#include "shm/blob.h"

#include <string.h>

#include "shm/chain.h"

#define DAY_SECONDS   86400
#define SECOND_NS     INT64_C(1000000000)
#define WINDOW_MIN_NS UINT64_C(1000000)

static const uint32_t strides[BLOB_TABLES] = {
	[BLOB_CLASSES] = sizeof(struct blob_class),
	[BLOB_VENDORS] = sizeof(struct blob_vendor),
	[BLOB_RUNS] = sizeof(struct blob_run),
	[BLOB_LINKS] = sizeof(struct blob_link),
	[BLOB_LIMITS] = sizeof(struct blob_limit),
	[BLOB_TENANTS] = sizeof(struct blob_tenant),
	[BLOB_OVERRIDES] = sizeof(struct blob_override),
	[BLOB_RULES] = sizeof(struct blob_rule),
	[BLOB_ZONES] = sizeof(struct blob_zone),
	[BLOB_CHANGES] = sizeof(struct calendar_change),
	[BLOB_PRINCIPALS] = sizeof(struct blob_principal),
	[BLOB_ROUTES] = sizeof(struct blob_route),
	[BLOB_ALTERNATIVES] = sizeof(struct blob_alternative),
	[BLOB_TEXT] = 1,
};

uint64_t blob_fingerprint(void)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ BLOB_ABI;

	for (int i = 0; i < BLOB_TABLES; i++)
		hash = hash * UINT64_C(0x100000001b3) ^ strides[i];
	return hash * UINT64_C(0x100000001b3) ^ sizeof(struct blob_header);
}

static bool table_ok(const struct blob_table *table, uint32_t stride, uint64_t size)
{
	return table->stride == stride && table->offset % 8 == 0 && table->offset <= size &&
	       table->count <= (size - table->offset) / stride;
}

static bool header_ok(const struct blob_header *header, uint64_t size)
{
	if (memcmp(header->magic, BLOB_MAGIC, sizeof(header->magic)) != 0)
		return false;
	if (header->abi != BLOB_ABI || header->fingerprint != blob_fingerprint())
		return false;
	if (header->size != size || header->generation == 0)
		return false;
	for (int i = 0; i < BLOB_TABLES; i++) {
		if (!table_ok(&header->tables[i], strides[i], size))
			return false;
	}
	return header->tables[BLOB_CLASSES].count <= CLASSES_MAX;
}

static const void *table_of(const struct blob_header *header, enum blob_table_id id)
{
	return (const char *)header + header->tables[id].offset;
}

/* --- each reference leads somewhere, each run stays in its table, names are in order --- */

static uint32_t count_of(const struct blob *blob, enum blob_table_id id)
{
	return blob->header->tables[id].count;
}

static bool run_ok(uint32_t first, uint32_t count, uint32_t total)
{
	return first <= total && count <= total - first;
}

static bool text_ok(const struct blob *blob, uint32_t offset)
{
	return offset < count_of(blob, BLOB_TEXT);
}

static bool zone_ok(const struct blob *blob, uint32_t zone)
{
	return zone == BLOB_NO_INDEX || zone < count_of(blob, BLOB_ZONES);
}

static bool rules_ok(const struct blob *blob, const struct blob_rules *rules)
{
	return run_ok(rules->first, rules->count, count_of(blob, BLOB_RULES));
}

static bool names_ascend(const struct blob *blob, uint32_t before, uint32_t name)
{
	return strcmp(blob->text + before, blob->text + name) < 0;
}

/* All rules, whoever's they are. */
static bool all_rules_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < count_of(blob, BLOB_RULES); i++) {
		const struct blob_rule *r = &blob->rules[i];

		if (r->from >= DAY_SECONDS || r->until > DAY_SECONDS || !zone_ok(blob, r->zone))
			return false;
	}
	return rules_ok(blob, &blob->header->mode);
}

static bool offset_ok(int32_t offset)
{
	return offset > -2 * DAY_SECONDS && offset < 2 * DAY_SECONDS;
}

static bool zones_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < count_of(blob, BLOB_ZONES); i++) {
		const struct blob_zone *z = &blob->zones[i];
		const struct calendar_change *run = blob->changes + z->change_first;

		if (!text_ok(blob, z->name) || !offset_ok(z->first_offset) ||
		    !run_ok(z->change_first, z->change_count, count_of(blob, BLOB_CHANGES)))
			return false;
		for (uint32_t j = 1; j < z->change_count; j++) {
			if (run[j - 1].at >= run[j].at)
				return false;
		}
	}
	for (uint32_t i = 0; i < count_of(blob, BLOB_CHANGES); i++) {
		if (!offset_ok(blob->changes[i].offset))
			return false;
	}
	return true;
}

static bool classes_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < blob->n_classes; i++) {
		const struct blob_class *c = &blob->classes[i];

		if (!text_ok(blob, c->name) || !text_ok(blob, c->owner) ||
		    !text_ok(blob, c->purpose) || !text_ok(blob, c->fallback))
			return false;
		if (c->never_with >> blob->n_classes != 0 || !rules_ok(blob, &c->mode) ||
		    !run_ok(c->principal_first, c->principal_count,
			    count_of(blob, BLOB_PRINCIPALS)))
			return false;
	}
	return true;
}

static bool gates_ok(const struct blob_vendor *v)
{
	const struct blob_breaker *b = &v->breaker;

	return v->max_block_ns <= GATE_BLOCK_MAX / TICKS_PER_NS &&
	       b->window_ns <= GATE_WINDOW_MAX / TICKS_PER_NS &&
	       b->open_ns <= GATE_BLOCK_MAX / TICKS_PER_NS && b->share_ppm <= 1000000;
}

static bool vendors_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < blob->n_vendors; i++) {
		const struct blob_vendor *v = &blob->vendors[i];

		if (!text_ok(blob, v->name) ||
		    (i > 0 && !names_ascend(blob, v[-1].name, v->name)) || !gates_ok(v))
			return false;
	}
	return blob->header->default_vendor == BLOB_NO_INDEX ||
	       blob->header->default_vendor < blob->n_vendors;
}

/* A link that leads over to the next one must have a next one, of a kind that can. */
static bool link_ok(const struct blob *blob, const struct blob_link *link, bool last)
{
	uint32_t kind;

	if (link->limit >= blob->n_limits ||
	    link->flags & ~(LINK_BACKING | LINK_OR | LINK_RELEASED))
		return false;
	kind = blob->limits[link->limit].kind;
	if (last && link->flags & (LINK_BACKING | LINK_OR))
		return false;
	return (!(link->flags & LINK_BACKING) || kind == KIND_BUCKET) &&
	       (!(link->flags & LINK_RELEASED) || kind == KIND_WINDOW);
}

/* A run for each vendor and class. */
static bool runs_ok(const struct blob *blob)
{
	const uint32_t n = count_of(blob, BLOB_RUNS);

	if (n != (uint64_t)blob->n_vendors * blob->n_classes)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct blob_run *run = &blob->runs[i];

		if (run->count > RATION_LINKS_MAX ||
		    !run_ok(run->first, run->count, count_of(blob, BLOB_LINKS)))
			return false;
		for (uint32_t j = 0; j < run->count; j++) {
			if (!link_ok(blob, &blob->links[run->first + j], j + 1 == run->count))
				return false;
		}
	}
	return true;
}

/* A calendar's arithmetic divides by the length and counts from the offset. */
static bool calendar_ok(const struct blob_limit *l)
{
	return l->calendar <= CALENDAR_MONTH && l->numbers.period_ns >= WINDOW_MIN_NS &&
	       l->numbers.period_ns <= INT64_MAX && l->offset_ns >= 0 &&
	       (uint64_t)l->offset_ns < l->numbers.period_ns;
}

static bool limit_ok(const struct blob *blob, const struct blob_limit *l)
{
	if (!text_ok(blob, l->name) || !text_ok(blob, l->vendor) || !text_ok(blob, l->unit) ||
	    !text_ok(blob, l->told))
		return false;
	if (l->kind <= KIND_NONE || l->kind >= KIND_COUNT || l->role > LIMIT_CEILING ||
	    l->parent >= blob->n_limits)
		return false;
	if (l->class_index != BLOB_NO_INDEX && l->class_index >= blob->n_classes)
		return false;
	if (!zone_ok(blob, l->zone) || !rules_ok(blob, &l->mode))
		return false;
	return l->kind != KIND_WINDOW || calendar_ok(l);
}

static bool limits_ok(const struct blob *blob)
{
	if (blob->n_limits >= LINK_LIMITS_MAX)
		return false;
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		if (!limit_ok(blob, &blob->limits[i]))
			return false;
	}
	return true;
}

static bool overrides_ok(const struct blob *blob, const struct blob_tenant *t)
{
	const struct blob_override *run = blob->overrides + t->override_first;

	for (uint32_t i = 0; i < t->override_count; i++) {
		if (run[i].limit >= blob->n_limits || (i > 0 && run[i - 1].limit >= run[i].limit))
			return false;
	}
	return true;
}

static bool tenants_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < blob->n_tenants; i++) {
		const struct blob_tenant *t = &blob->tenants[i];

		if (!text_ok(blob, t->name) || !text_ok(blob, t->plan) ||
		    !run_ok(t->override_first, t->override_count, count_of(blob, BLOB_OVERRIDES)))
			return false;
		if (i > 0 && !names_ascend(blob, t[-1].name, t->name))
			return false;
		if (!overrides_ok(blob, t))
			return false;
	}
	return true;
}

static bool principals_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < count_of(blob, BLOB_PRINCIPALS); i++) {
		if (blob->principals[i].group > 1)
			return false;
	}
	return true;
}

static bool alternatives_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < count_of(blob, BLOB_ALTERNATIVES); i++) {
		const struct blob_alternative *a = &blob->alternatives[i];

		if (!text_ok(blob, a->name) || !text_ok(blob, a->resource) ||
		    a->vendor >= blob->n_vendors || a->weight > BLOB_WEIGHT_MAX ||
		    a->classes >> blob->n_classes != 0)
			return false;
	}
	return true;
}

static bool routes_ok(const struct blob *blob)
{
	for (uint32_t i = 0; i < blob->n_routes; i++) {
		const struct blob_route *r = &blob->routes[i];

		if (!text_ok(blob, r->name) || (i > 0 && !names_ascend(blob, r[-1].name, r->name)))
			return false;
		if (r->count < 1 || r->count > RATION_ALTERNATIVES_MAX ||
		    !run_ok(r->first, r->count, count_of(blob, BLOB_ALTERNATIVES)))
			return false;
	}
	return true;
}

static bool contents_ok(const struct blob *blob)
{
	static bool (*const checks[])(const struct blob *) = {
		zones_ok,  all_rules_ok, classes_ok, principals_ok,   vendors_ok,
		limits_ok, runs_ok,      tenants_ok, alternatives_ok, routes_ok,
	};
	const uint32_t text = count_of(blob, BLOB_TEXT);

	if (text == 0 || blob->text[0] != '\0' || blob->text[text - 1] != '\0')
		return false;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (!checks[i](blob))
			return false;
	}
	return true;
}

bool blob_open(const void *mem, uint64_t size, struct blob *ret_blob)
{
	const struct blob_header *header = mem;
	struct blob blob;

	if (size < sizeof(*header) || !header_ok(header, size))
		return false;
	blob = (struct blob){
		.header = header,
		.classes = table_of(header, BLOB_CLASSES),
		.vendors = table_of(header, BLOB_VENDORS),
		.runs = table_of(header, BLOB_RUNS),
		.links = table_of(header, BLOB_LINKS),
		.limits = table_of(header, BLOB_LIMITS),
		.tenants = table_of(header, BLOB_TENANTS),
		.overrides = table_of(header, BLOB_OVERRIDES),
		.rules = table_of(header, BLOB_RULES),
		.zones = table_of(header, BLOB_ZONES),
		.changes = table_of(header, BLOB_CHANGES),
		.principals = table_of(header, BLOB_PRINCIPALS),
		.routes = table_of(header, BLOB_ROUTES),
		.alternatives = table_of(header, BLOB_ALTERNATIVES),
		.text = table_of(header, BLOB_TEXT),
		.n_classes = header->tables[BLOB_CLASSES].count,
		.n_vendors = header->tables[BLOB_VENDORS].count,
		.n_limits = header->tables[BLOB_LIMITS].count,
		.n_tenants = header->tables[BLOB_TENANTS].count,
		.n_routes = header->tables[BLOB_ROUTES].count,
	};
	if (!contents_ok(&blob))
		return false;
	*ret_blob = blob;
	return true;
}

/* --- finding --- */

uint32_t blob_find_class(const struct blob *blob, const char *name)
{
	for (uint32_t i = 0; i < blob->n_classes; i++) {
		if (strcmp(blob_text(blob, blob->classes[i].name), name) == 0)
			return i;
	}
	return BLOB_NO_INDEX;
}

/* Tables in name order whose records begin with the name's offset. */
static uint32_t find_name(const struct blob *blob, const void *table, uint32_t stride,
			  uint32_t count, const char *name)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const uint32_t *offset =
			(const void *)((const char *)table + (size_t)middle * stride);
		const int order = strcmp(blob_text(blob, *offset), name);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return BLOB_NO_INDEX;
}

uint32_t blob_find_vendor(const struct blob *blob, const char *name)
{
	const uint32_t found =
		find_name(blob, blob->vendors, sizeof(*blob->vendors), blob->n_vendors, name);

	if (found != BLOB_NO_INDEX)
		return found;
	/* The default vendor stands for vendors that are not named. */
	return blob_find_route(blob, name) == BLOB_NO_INDEX ? blob->header->default_vendor
							    : BLOB_NO_INDEX;
}

uint32_t blob_find_tenant(const struct blob *blob, const char *name)
{
	return find_name(blob, blob->tenants, sizeof(*blob->tenants), blob->n_tenants, name);
}

uint32_t blob_find_route(const struct blob *blob, const char *name)
{
	return find_name(blob, blob->routes, sizeof(*blob->routes), blob->n_routes, name);
}

const struct blob_numbers *blob_numbers_for(const struct blob *blob, uint32_t limit,
					    uint32_t tenant)
{
	if (tenant != BLOB_NO_INDEX) {
		const struct blob_tenant *t = &blob->tenants[tenant];

		for (uint32_t i = 0; i < t->override_count; i++) {
			const struct blob_override *o = &blob->overrides[t->override_first + i];

			if (o->limit == limit)
				return &o->numbers;
		}
	}
	return &blob->limits[limit].numbers;
}

/* --- calendars and times of day --- */

static struct calendar zone_calendar(const struct blob *blob, uint32_t zone)
{
	struct calendar calendar = {.unit = CALENDAR_DAY};

	if (zone != BLOB_NO_INDEX) {
		const struct blob_zone *z = &blob->zones[zone];

		calendar.changes = blob->changes + z->change_first;
		calendar.n_changes = z->change_count;
		calendar.first_offset = z->first_offset;
	}
	return calendar;
}

struct calendar blob_calendar(const struct blob *blob, const struct blob_limit *limit)
{
	struct calendar calendar = zone_calendar(blob, limit->zone);

	calendar.unit = (enum calendar_unit)limit->calendar;
	calendar.length_ns = limit->numbers.period_ns;
	calendar.offset_ns = limit->offset_ns;
	return calendar;
}

/* A wall clock somewhere: what it shows, and when it next is put forward or back. */
struct shown {
	uint32_t of_day; /* seconds since midnight */
	int64_t change;  /* seconds since 1970; INT64_MAX: never */
};

static struct shown shown_at(const struct calendar *zone, int64_t wall_s)
{
	struct shown shown = {.change = INT64_MAX};
	int32_t offset = zone->first_offset;
	int64_t of_day;

	for (uint32_t i = 0; i < zone->n_changes; i++) {
		if (zone->changes[i].at > wall_s) {
			shown.change = zone->changes[i].at;
			break;
		}
		offset = zone->changes[i].offset;
	}
	of_day = (wall_s + offset) % DAY_SECONDS;
	shown.of_day = (uint32_t)(of_day < 0 ? of_day + DAY_SECONDS : of_day);
	return shown;
}

static bool all_day(const struct blob_rule *rule)
{
	return rule->from == 0 && rule->until == DAY_SECONDS;
}

static bool rule_holds(const struct blob_rule *rule, uint32_t of_day)
{
	if (rule->from < rule->until)
		return of_day >= rule->from && of_day < rule->until;
	return of_day >= rule->from || of_day < rule->until;
}

/* Seconds until a clock that shows `of_day` next shows `edge`. */
static uint32_t until_edge(uint32_t of_day, uint32_t edge)
{
	return edge > of_day ? edge - of_day : edge + DAY_SECONDS - of_day;
}

/* The next time a rule may begin or cease to hold. */
static int64_t rule_until(const struct blob_rule *rule, const struct shown *shown, int64_t wall_s)
{
	const uint32_t from = until_edge(shown->of_day, rule->from);
	const uint32_t until = until_edge(shown->of_day, rule->until);
	const int64_t edge = wall_s + (from < until ? from : until);

	return edge < shown->change ? edge : shown->change;
}

uint32_t blob_denied(const struct blob *blob, const struct blob_rules *rules, int64_t wall_ns,
		     int64_t *ret_until)
{
	const int64_t wall_s = wall_ns / SECOND_NS - (wall_ns % SECOND_NS < 0);
	int64_t until = INT64_MAX;
	uint32_t denied = UINT32_MAX;

	for (uint32_t i = 0; i < rules->count; i++) {
		const struct blob_rule *rule = &blob->rules[rules->first + i];
		struct calendar zone;
		struct shown shown;
		int64_t edge;

		if (all_day(rule)) {
			denied = rule->deny;
			break;
		}
		zone = zone_calendar(blob, rule->zone);
		shown = shown_at(&zone, wall_s);
		edge = rule_until(rule, &shown, wall_s);
		until = edge < until ? edge : until;
		if (rule_holds(rule, shown.of_day)) {
			denied = rule->deny;
			break;
		}
	}
	*ret_until = until > INT64_MAX / SECOND_NS ? INT64_MAX : until * SECOND_NS;
	return denied;
}
