/*
 * client/event_line.c - an event in words
 * SPDX-License-Identifier: MIT
 */
#include "client/event_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shm/worker.h"

struct line {
	char *text;
	size_t used;
};

_Static_assert(8 * EVENT_WORDS < EVENT_LINE_MAX - 300, "texts, and names of what they are");

static void put_text(struct line *line, const char *name, const char *text)
{
	char *at = line->text + line->used;
	const int n = snprintf(at, EVENT_LINE_MAX - line->used, " %s=\"%s\"", name, text);

	if (n < 0 || (size_t)n >= EVENT_LINE_MAX - line->used)
		return;
	/* Whoever reads lines ends a value at the next quotation mark. */
	for (char *p = at + strlen(name) + 3; p < at + n - 1; p++) {
		if (*p == '"')
			*p = '\'';
	}
	line->used += (size_t)n;
}

static void put_number(struct line *line, const char *name, uint64_t number, bool is_time)
{
	const size_t room = EVENT_LINE_MAX - line->used;
	char *at = line->text + line->used;
	const int n = is_time ? snprintf(at, room, " %s=%.3f", name, (double)number / 1e9)
			      : snprintf(at, room, " %s=%" PRIu64, name, number);

	if (n > 0 && (size_t)n < room)
		line->used += (size_t)n;
}

void event_line(const struct event *event, char text[EVENT_LINE_MAX])
{
	struct line line = {.text = text};

	line.used = (size_t)snprintf(text, EVENT_LINE_MAX, "%s", event_type_names[event->type]);
	for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
		if (event->text[i] && event->text[i][0])
			put_text(&line, event_text_names[i], event->text[i]);
	}
	for (int i = 0; i < EVENT_NUMBER_COUNT; i++) {
		if (event->number[i] != EVENT_NONE)
			put_number(&line, event_number_names[i], event->number[i],
				   event_is_time(i));
	}
	put_number(&line, "pid", worker_pid(event->worker), false);
	text[line.used] = '\0';
}
