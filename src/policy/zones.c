/*
 * policy/zones.c - the system's time zones, as tables of changes
 * SPDX-License-Identifier: MIT
 *
 * From 1970 on, for windows are numbered by the days since then; and for 20 years ahead, after which the last
 * distance from UTC stays (shm/calendar.h).
 */
#include <glib.h>
#include <string.h>
#include <time.h>

#include "policy/fields.h"
#include "shm/blob.h"

#define ZONE_FORM "the name of a time zone such as Europe/Berlin, or UTC"

enum {
	YEAR_SECONDS = 31556952,
	YEARS_AHEAD = 20,
	CHANGES_MAX = 4096, /* of one zone */
};

/* --- walking through a zone's history --- */

struct walk {
	GTimeZone *zone;
	struct list changes; /* struct calendar_change */
	struct compiler *c;
	int32_t offset; /* so far */
};

static gint interval_at(const struct walk *walk, int64_t at)
{
	return g_time_zone_find_interval(walk->zone, G_TIME_TYPE_UNIVERSAL, at);
}

/* Intervals that differ in name only are no change. */
static void take_change(struct walk *walk, int64_t at, gint interval)
{
	const int32_t offset = g_time_zone_get_offset(walk->zone, interval);
	struct calendar_change *change;

	if (offset == walk->offset || walk->changes.count >= CHANGES_MAX)
		return;
	change = list_new(&walk->changes, &walk->c->arena, sizeof(*change));
	if (change)
		*change = (struct calendar_change){.at = at, .offset = offset};
	walk->offset = offset;
}

/* Every interval that begins in (from, to], by halves: as deep as a 64-bit time has bits. */
static void walk_between(struct walk *walk, int64_t from, gint first, int64_t to, gint last)
{
	const int64_t middle = from + (to - from) / 2;
	gint between;

	if (first == last)
		return;
	if (to - from == 1) {
		take_change(walk, to, last);
		return;
	}
	between = interval_at(walk, middle);
	walk_between(walk, from, first, middle, between);
	walk_between(walk, middle, between, to, last);
}

static void read_changes(struct compiler *c, GTimeZone *zone, struct draft_zone *draft)
{
	const int64_t end = time(NULL) + (int64_t)YEARS_AHEAD * YEAR_SECONDS;
	struct walk walk = {.zone = zone, .c = c};
	const gint first = interval_at(&walk, 0);
	struct calendar_change *changes;

	draft->first_offset = walk.offset = g_time_zone_get_offset(zone, first);
	walk_between(&walk, 0, first, end, interval_at(&walk, end));
	changes = arena_alloc(&c->arena, (walk.changes.count + 1) * sizeof(*changes));
	if (!changes)
		return;
	for (uint32_t i = 0; i < walk.changes.count; i++)
		changes[i] = *(const struct calendar_change *)walk.changes.item[i];
	draft->changes = changes;
	draft->n_changes = walk.changes.count;
}

/* --- by name --- */

/* GLib would also take offsets, rules and paths; a policy names a place. */
static bool zone_name(const struct node *node)
{
	static const char others[] = "/_+-";

	if (!is_text(node) || node->size == 0 || node->size > 64 || node->text[0] < 'A' ||
	    node->text[0] > 'Z')
		return false;
	for (const char *p = node->text; *p; p++) {
		if (!g_ascii_isalnum(*p) && !strchr(others, *p))
			return false;
	}
	return true;
}

static struct draft_zone *find_zone(const struct compiler *c, const char *name)
{
	for (uint32_t i = 0; i < c->zones.count; i++) {
		struct draft_zone *zone = c->zones.item[i];

		if (strcmp(zone->name, name) == 0)
			return zone;
	}
	return NULL;
}

static struct draft_zone *load_zone(struct compiler *c, const char *name)
{
	struct draft_zone *draft = list_new(&c->zones, &c->arena, sizeof(*draft));
	GTimeZone *zone;

	if (!draft)
		return NULL;
	draft->name = name;
	zone = g_time_zone_new_identifier(name);
	if (!zone) {
		draft->unknown = true;
		return draft;
	}
	read_changes(c, zone, draft);
	g_time_zone_unref(zone);
	return draft;
}

struct draft_zone *zone_of(struct compiler *c, const struct node *node)
{
	struct draft_zone *zone;

	if (!zone_name(node)) {
		node_expected(&c->notes, node, ZONE_FORM);
		return NULL;
	}
	if (strcmp(node->text, "UTC") == 0)
		return NULL;
	zone = find_zone(c, node->text);
	if (!zone)
		zone = load_zone(c, node->text);
	if (!zone || !zone->unknown)
		return zone;
	error_at(c, node,
		 "unknown time zone '%s': expected one that this system has data for, such as "
		 "Europe/Berlin, or UTC",
		 node->text);
	return NULL;
}
