/*
 * policy/notes.h - what there is to say about a policy, collected and put in order
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_NOTES_H
#define RATION_POLICY_NOTES_H

#include "policy/arena.h"
#include "policy/policy.h"

struct source;

/* A place in a file. line 0: the file as a whole. */
struct place {
	const struct source *source;
	unsigned line;
	unsigned column;
};

/* More than this nobody reads; the rest is counted. */
enum { NOTES_MAX = 1000 };

struct notes {
	struct arena *arena;
	struct list list;
	unsigned errors;
	unsigned dropped;
};

void notes_add(struct notes *notes, enum policy_severity severity, struct place place,
	       const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Whether another note would be kept: saves the work of wording it. */
bool notes_open(const struct notes *notes);

/* In order of file, line and column. */
void notes_report(struct notes *notes, policy_report *report, void *user);

/* A text from a file, quoted for a message: control characters escaped, shortened. */
const char *quoted(struct arena *arena, const char *text, size_t size);

/* " (did you mean 'rate'?); known: name, unit, rate": for a word that is not among them. */
const char *known_words(struct arena *arena, const char *word, const char *const *known,
			size_t n_known);

#endif
