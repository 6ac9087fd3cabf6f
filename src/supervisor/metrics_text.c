/*
 * supervisor/metrics_text.c - figures as Prometheus and OpenMetrics write them
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/supervisor.h"

struct writer {
	struct supervisor *s;
	FILE *out;
	bool open; /* OpenMetrics: a counter's family has no _total */
};

static void head(const struct writer *w, const char *name, bool counter, const char *help)
{
	const char *total = counter && !w->open ? "_total" : "";

	fprintf(w->out, "# HELP ration_%s%s %s\n# TYPE ration_%s%s %s\n", name, total, help, name,
		total, counter ? "counter" : "gauge");
}

/* The value of a label; names have no control characters, but may have anything else. */
static void label(const struct writer *w, char before, const char *name, const char *value)
{
	fprintf(w->out, "%c%s=\"", before, name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", w->out);
		else if (*value == '"' || *value == '\\')
			fprintf(w->out, "\\%c", *value);
		else
			fputc(*value, w->out);
	}
	fputc('"', w->out);
}

/* --- of all --- */

static uint64_t workers(const struct supervisor *s)
{
	return s->ledger.n_taken;
}

static uint64_t worker_slots(const struct supervisor *s)
{
	return s->ledger.n_workers;
}

static uint64_t generation(const struct supervisor *s)
{
	return s->policy.blob.header->generation;
}

static uint64_t bucket_room(const struct supervisor *s)
{
	return s->seg.n_buckets;
}

static uint64_t reclaimed(const struct supervisor *s)
{
	return s->patrol.reclaimed;
}

#define CONTROL_COUNTER(field)                                                                     \
	static uint64_t control_##field(const struct supervisor *s)                                \
	{                                                                                          \
		return shm_load_relaxed(&s->seg.control->field);                                   \
	}
CONTROL_COUNTER(full)
CONTROL_COUNTER(corrupt)
CONTROL_COUNTER(repaired)
CONTROL_COUNTER(forgotten)
CONTROL_COUNTER(unnamed)
CONTROL_COUNTER(events_dropped)

static void put_all(const struct writer *w)
{
	static const struct {
		const char *name;
		bool counter;
		const char *help;
		uint64_t (*value)(const struct supervisor *s);
	} table[] = {
		{"workers", false, "Worker processes that are attached.", workers},
		{"worker_slots", false, "Room for worker processes.", worker_slots},
		{"policy_generation", false, "How often a policy was published.", generation},
		{"bucket_room", false, "Room for buckets.", bucket_room},
		{"reclaimed", true, "Buckets that were not used any more.", reclaimed},
		{"full", true, "Times that no bucket was free.", control_full},
		{"corrupt", true, "Impossible values met in shared memory.", control_corrupt},
		{"repaired", true, "Impossible values put right.", control_repaired},
		{"forgotten", true, "Actual costs that were not charged in full.",
		 control_forgotten},
		{"unnamed", true, "Names that found no room.", control_unnamed},
		{"events_dropped", true, "Events that found no room.", control_events_dropped},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		head(w, table[i].name, table[i].counter, table[i].help);
		fprintf(w->out, "ration_%s%s %" PRIu64 "\n", table[i].name,
			table[i].counter ? "_total" : "", table[i].value(w->s));
	}
}

static void put_events(const struct writer *w)
{
	const struct events *events = &w->s->events;

	head(w, "events", true, "Events that workers told, by type (ration(1), events).");
	for (uint32_t i = 0; i <= VENDORS_MAX; i++) {
		const struct event_counts *counts = &events->counts[i];
		const bool overflow = i == VENDORS_MAX;

		for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
			if (counts->n[type] == 0)
				continue;
			fputs("ration_events_total", w->out);
			label(w, '{', "event", event_type_names[type]);
			label(w, ',', "vendor", overflow ? "(other)" : counts->vendor);
			fprintf(w->out, "} %" PRIu64 "\n", counts->n[type]);
		}
	}
}

/* --- of limits --- */

static void begin_row(const struct writer *w, const char *name, const struct metric_row *row)
{
	fprintf(w->out, "ration_limit_%s", name);
	label(w, '{', "limit", row->limit);
	if (w->s->options->metrics_tenants > 0)
		label(w, ',', "tenant", row->tenant);
}

/* One that never had a record is none: the last one, mostly. */
static bool is_used(const struct metric_row *row)
{
	uint64_t any = row->level[METRIC_BUCKETS] | row->level[METRIC_GATES];

	for (int i = 0; i < METRIC_COUNTS; i++)
		any |= row->said[i] | row->live[i] | row->gone[i];
	return any != 0;
}

/* A counter never goes down. */
static uint64_t count_of(struct metric_row *row, int which)
{
	const uint64_t now = row->live[which] + row->gone[which];

	if (now > row->said[which])
		row->said[which] = now;
	return row->said[which];
}

static void put_counts(const struct writer *w)
{
	static const struct {
		const char *name, *help;
	} table[METRIC_COUNTS] = {
		[METRIC_ADMITTED] = {"admitted", "Acquires that the limit admitted."},
		[METRIC_DENIED] = {"denied", "Acquires that the limit denied."},
		[METRIC_FOREIGN] = {"foreign", "Units that the vendor counted and we did not."},
		[METRIC_REFUSED] = {"refused", "Requests that the vendor refused for the limit."},
	};
	struct metrics *m = &w->s->metrics;

	for (int which = 0; which < METRIC_COUNTS; which++) {
		char name[40];

		snprintf(name, sizeof(name), "limit_%s", table[which].name);
		head(w, name, true, table[which].help);
		for (uint32_t i = 0; i < m->max_rows; i++) {
			if (!is_used(&m->rows[i]))
				continue;
			snprintf(name, sizeof(name), "%s_total", table[which].name);
			begin_row(w, name, &m->rows[i]);
			fprintf(w->out, "} %" PRIu64 "\n", count_of(&m->rows[i], which));
		}
	}
}

static void put_levels(const struct writer *w)
{
	static const struct {
		const char *name, *help;
		enum metric_level needs; /* this one is not 0 */
	} table[METRIC_LEVELS] = {
		[METRIC_BUCKETS] = {"buckets", "Buckets of the limit.", METRIC_BUCKETS},
		[METRIC_LEFT] = {"left", "Units left, over all buckets.", METRIC_BUCKETS},
		[METRIC_SIZE] = {"size", "Units they could hold: bursts, amounts, slots.",
				 METRIC_BUCKETS},
		[METRIC_TOLD] = {"told_buckets", "Buckets of which the vendor told what is left.",
				 METRIC_TOLD},
		[METRIC_REMAINING] = {"told_remaining", "Units left of those, as it told last.",
				      METRIC_TOLD},
		[METRIC_GATES] = {"gates", "Keys at the vendor that are or lately were in trouble.",
				  METRIC_GATES},
		[METRIC_BLOCKED] = {"blocked", "Those for which nothing is sent now.",
				    METRIC_GATES},
		[METRIC_BREAKERS] = {"breakers_open", "Of these, by the breaker.", METRIC_GATES},
	};
	const struct metrics *m = &w->s->metrics;

	for (int which = 0; which < METRIC_LEVELS; which++) {
		char name[40];

		snprintf(name, sizeof(name), "limit_%s", table[which].name);
		head(w, name, false, table[which].help);
		for (uint32_t i = 0; i < m->max_rows; i++) {
			const struct metric_row *row = &m->rows[i];

			if (row->level[table[which].needs] == 0)
				continue;
			begin_row(w, table[which].name, row);
			fprintf(w->out, "} %" PRIu64 "\n", row->level[which]);
		}
	}
	head(w, "limit_learned_ratio", false, "Share of the limit that is used: the least of any.");
	for (uint32_t i = 0; i < m->max_rows; i++) {
		if (m->rows[i].level[METRIC_BUCKETS] == 0)
			continue;
		begin_row(w, "learned_ratio", &m->rows[i]);
		fprintf(w->out, "} %g\n", (double)m->rows[i].share_ppm / 1e6);
	}
}

static const char *class_name(const struct writer *w, uint32_t k)
{
	const struct blob *blob = &w->s->policy.blob;

	return k < blob->n_classes ? blob_text(blob, blob->classes[k].name) : "?";
}

static double age_of(const struct metrics *m, uint64_t since)
{
	return since < m->began ? (double)(m->began - since) / (double)TICKS_PER_SEC : 0;
}

static void put_waiters(const struct writer *w, const char *name, const char *help, bool age)
{
	const struct metrics *m = &w->s->metrics;
	char family[40];

	snprintf(family, sizeof(family), "limit_%s", name);
	head(w, family, false, help);
	for (uint32_t i = 0; i < m->max_rows; i++) {
		for (uint32_t k = 0; k < METRIC_CLASSES; k++) {
			const struct metric_row *row = &m->rows[i];

			if (row->waiting[k] == 0)
				continue;
			begin_row(w, name, row);
			label(w, ',', "class", class_name(w, k));
			fprintf(w->out, "} %g\n",
				age ? age_of(m, row->oldest[k]) : (double)row->waiting[k]);
		}
	}
}

char *metrics_text(struct supervisor *s, bool open, size_t *ret_size)
{
	char *text = NULL;
	struct writer w = {.s = s, .open = open, .out = open_memstream(&text, ret_size)};

	if (!w.out)
		return NULL;
	put_all(&w);
	put_events(&w);
	put_counts(&w);
	put_levels(&w);
	put_waiters(&w, "waiting", "Those who stand in line.", false);
	put_waiters(&w, "oldest_wait_seconds", "Since when the first of them does.", true);
	if (open)
		fputs("# EOF\n", w.out);
	if (fclose(w.out) == 0)
		return text;
	free(text);
	return NULL;
}
