/*
 * signal/pattern.h - regular expressions, bounded
 * SPDX-License-Identifier: MIT
 *
 * A match that would take too long does not match: what a vendor sends must not keep a worker busy.
 */
#ifndef RATION_SIGNAL_PATTERN_H
#define RATION_SIGNAL_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PATTERN_GROUPS_MAX = 8,
	PATTERN_SIZE_MAX = 1024,
	PATTERN_STEPS_MAX = 250000, /* of PCRE2's matching */
};

struct pattern;

/* A piece of text that is somebody else's. at NULL: none. */
struct text {
	const char *at;
	size_t size;
};

/* at[0]: all that matched; at[n]: group n. */
struct pattern_match {
	struct text at[PATTERN_GROUPS_MAX + 1];
};

enum pattern_flags {
	PATTERN_ANY_CASE = 1,
	PATTERN_WHOLE = 2, /* from the beginning to the end of the text */
};

/* NULL: malformed; what is wrong is in message, and behind which byte in *ret_offset. */
struct pattern *pattern_compile(const char *text, size_t size, unsigned flags, char *message,
				size_t room, size_t *ret_offset);
void pattern_free(struct pattern **pattern);

uint32_t pattern_groups(const struct pattern *pattern);

/* The number of a named group; 0: none of that name. */
uint32_t pattern_group(const struct pattern *pattern, const char *name);

/* The name of group n, or NULL. */
const char *pattern_group_name(const struct pattern *pattern, uint32_t n);

/* The first match at or behind *at; moves *at behind it. */
bool pattern_next(const struct pattern *pattern, const char *text, size_t size, size_t *at,
		  struct pattern_match *ret);

static inline bool pattern_matches(const struct pattern *pattern, const char *text, size_t size)
{
	struct pattern_match match;
	size_t at = 0;

	return pattern_next(pattern, text, size, &at, &match);
}

#endif
