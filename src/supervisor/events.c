/*
 * supervisor/events.c - what workers say happened: into the log, and kept for a while
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/event_line.h"
#include "supervisor/supervisor.h"

#define TICK_USEC UINT64_C(90000)
#define LATE_USEC UINT64_C(10000)

/* Each tick: 2,000 lines a second are more than anybody reads. */
#define LINES_MAX 200u

/* --- one event --- */

static struct event_counts *counts_of(struct events *events, const char *vendor)
{
	struct event_counts *counts;

	for (uint32_t i = 0; i < events->n_counts; i++) {
		if (strcmp(events->counts[i].vendor, vendor) == 0)
			return &events->counts[i];
	}
	counts = &events->counts[events->n_counts];
	if (events->n_counts < VENDORS_MAX && strlen(vendor) < sizeof(counts->vendor)) {
		strcpy(counts->vendor, vendor);
		events->n_counts++;
		return counts;
	}
	return &events->counts[VENDORS_MAX];
}

/* A time that cannot be is now. */
static int64_t wall_of(struct supervisor *s, uint64_t at)
{
	const uint64_t now = supervisor_now(s);
	const uint64_t ago = at < now ? (now - at) / TICKS_PER_NS : 0;

	return (int64_t)clock_boot_ns() + clock_wall_offset_ns() - (int64_t)ago;
}

static void keep(struct supervisor *s, const struct event *event, const struct event_image *image)
{
	struct events *events = &s->events;
	struct kept_event *kept = &events->kept[events->told++ % EVENTS_KEPT];

	kept->wall_ns = wall_of(s, event->at);
	kept->words = (uint32_t)(image->word[0] & 0xffff);
	memcpy(&kept->image, image, kept->words * sizeof(image->word[0]));
}

static void say(struct events *events, const struct event *event)
{
	char line[EVENT_LINE_MAX];

	if (events->lines >= LINES_MAX) {
		events->suppressed++;
		return;
	}
	events->lines++;
	event_line(event, line);
	log_event(LOG_NOTICE, "%s", line);
}

static void on_taken(void *user, const struct event_image *image)
{
	struct supervisor *s = user;
	struct event_copy copy;

	if (!event_unpack(image, &copy)) {
		s->events.malformed++;
		return;
	}
	counts_of(&s->events, copy.event.text[EVENT_VENDOR])->n[copy.event.type]++;
	keep(s, &copy.event, image);
	say(&s->events, &copy.event);
}

/* --- all of them --- */

static void say_losses(struct supervisor *s)
{
	struct events *events = &s->events;
	const uint64_t dropped = shm_load_relaxed(&s->seg.control->events_dropped);

	if (events->suppressed > 0)
		log_event(LOG_WARNING, "suppressed kind=events lines=%u", events->suppressed);
	events->suppressed = 0;
	if (dropped == events->dropped || !log_allowed(&events->losses, "events-dropped"))
		return;
	events->dropped = dropped;
	log_event(LOG_WARNING, "events-dropped total=%" PRIu64 " malformed=%" PRIu64, dropped,
		  events->malformed);
}

void events_drain(struct supervisor *s)
{
	struct events *events = &s->events;
	const uint32_t looked = shm_half_load(&s->seg.control->events);
	uint32_t n = 0;

	if (looked == events->looked)
		return;
	events->looked = looked;
	for (uint32_t slot = 0; slot < s->seg.n_workers; slot++)
		n += event_take(&s->seg, slot, &events->seen[slot], on_taken, s);
	if (n > 0)
		followers_feed(s);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *user)
{
	struct supervisor *s = user;

	(void)usec;
	s->events.lines = 0;
	events_drain(s);
	say_losses(s);
	sd_event_source_set_time_relative(source, TICK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int events_start(struct supervisor *s)
{
	struct events *events = &s->events;

	events->kept = calloc(EVENTS_KEPT, sizeof(*events->kept));
	events->seen = calloc(s->seg.n_workers, sizeof(*events->seen));
	if (!events->kept || !events->seen)
		return -ENOMEM;
	/* The loop owns the source: it ends with it. */
	return sd_event_add_time_relative(s->event, NULL, CLOCK_MONOTONIC, TICK_USEC, LATE_USEC,
					  on_tick, s);
}

void events_stop(struct supervisor *s)
{
	if (s->events.kept && s->events.seen)
		events_drain(s);
	followers_stop(s);
	free(s->events.kept);
	free(s->events.seen);
	s->events.kept = NULL;
	s->events.seen = NULL;
}
