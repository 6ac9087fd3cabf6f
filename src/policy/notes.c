/*
 * policy/notes.c - collecting and ordering messages
 * SPDX-License-Identifier: MIT
 */
#include "policy/notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/nearest.h"
#include "policy/source.h"

struct entry {
	enum policy_severity severity;
	struct place place;
	unsigned sequence;
	const char *text;
};

bool notes_open(const struct notes *notes)
{
	return notes->list.count < NOTES_MAX;
}

void notes_add(struct notes *notes, enum policy_severity severity, struct place place,
	       const char *format, ...)
{
	struct entry *entry;
	va_list args;

	notes->errors += severity == POLICY_ERROR;
	if (!notes_open(notes)) {
		notes->dropped++;
		return;
	}
	entry = list_new(&notes->list, notes->arena, sizeof(*entry));
	if (!entry)
		return;
	va_start(args, format);
	*entry = (struct entry){
		.severity = severity,
		.place = place,
		.sequence = notes->list.count,
		.text = arena_vprintf(notes->arena, format, args),
	};
	va_end(args);
	if (!entry->text)
		entry->text = "out of memory";
}

static int order(unsigned a, unsigned b)
{
	return (a > b) - (a < b);
}

static int by_place(const void *left, const void *right)
{
	const struct entry *a = *(struct entry *const *)left, *b = *(struct entry *const *)right;
	int result = order(a->place.source->order, b->place.source->order);

	if (result == 0)
		result = order(a->place.line, b->place.line);
	if (result == 0)
		result = order(a->place.column, b->place.column);
	return result ? result : order(a->sequence, b->sequence);
}

static void report_dropped(const struct notes *notes, policy_report *report, void *user)
{
	const struct entry *last = notes->list.item[notes->list.count - 1];
	char text[64];

	snprintf(text, sizeof(text), "and %u more, not shown", notes->dropped);
	report(user, &(struct policy_message){
			     .severity = notes->errors ? POLICY_ERROR : POLICY_WARNING,
			     .file = last->place.source->path,
			     .text = text,
		     });
}

void notes_report(struct notes *notes, policy_report *report, void *user)
{
	if (notes->list.count > 0)
		qsort(notes->list.item, notes->list.count, sizeof(void *), by_place);
	for (uint32_t i = 0; i < notes->list.count; i++) {
		const struct entry *entry = notes->list.item[i];

		report(user, &(struct policy_message){
				     .severity = entry->severity,
				     .file = entry->place.source->path,
				     .line = entry->place.line,
				     .column = entry->place.column,
				     .text = entry->text,
			     });
	}
	if (notes->dropped > 0)
		report_dropped(notes, report, user);
}

/* --- wording --- */

const char *quoted(struct arena *arena, const char *text, size_t size)
{
	enum { SHOWN = 48 };
	char buffer[SHOWN * 4 + 8];
	size_t n = 0;

	buffer[n++] = '\'';
	for (size_t i = 0; i < size; i++) {
		const unsigned char c = (unsigned char)text[i];

		/* Never cut inside a UTF-8 sequence. */
		if (i >= SHOWN && (c & 0xc0) != 0x80) {
			n += (size_t)sprintf(buffer + n, "...");
			break;
		}
		if (c < 0x20 || c == 0x7f)
			n += (size_t)sprintf(buffer + n, "\\x%02x", c);
		else
			buffer[n++] = (char)c;
	}
	buffer[n++] = '\'';
	return arena_copy(arena, buffer, n);
}

const char *known_words(struct arena *arena, const char *word, const char *const *known,
			size_t n_known)
{
	enum { SHOWN = 16 };
	const char *meant = nearest_word(word, known, n_known);
	char *text = meant ? arena_printf(arena, " (did you mean '%s'?)", meant)
			   : arena_copy(arena, "", 0);

	if (n_known == 0)
		return text ? text : "";
	for (size_t i = 0; text && i < n_known && i < SHOWN; i++)
		text = arena_printf(arena, "%s%s%s", text, i == 0 ? "; known: " : ", ", known[i]);
	if (text && n_known > SHOWN)
		text = arena_printf(arena, "%s and %zu more", text, n_known - SHOWN);
	return text ? text : "";
}
