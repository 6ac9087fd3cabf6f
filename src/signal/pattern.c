/*
 * signal/pattern.c - regular expressions by PCRE2
 * SPDX-License-Identifier: MIT
 *
 * Without PCRE2_UTF: vendors' texts need not be UTF-8.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "signal/pattern.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { HEAP_KIB_MAX = 1024, MESSAGE_MAX = 256 };

struct pattern {
	pcre2_code *code;
	uint32_t groups;
};

static const unsigned char *bytes(const char *text)
{
	return (const unsigned char *)text;
}

static uint32_t options(unsigned flags)
{
	return (flags & PATTERN_ANY_CASE ? PCRE2_CASELESS : 0) |
	       (flags & PATTERN_WHOLE ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0);
}

struct pattern *pattern_compile(const char *text, size_t size, unsigned flags, char *message,
				size_t room, size_t *ret_offset)
{
	struct pattern *pattern = calloc(1, sizeof(*pattern));
	unsigned char why[MESSAGE_MAX] = "out of memory";
	PCRE2_SIZE offset = 0;
	int error = PCRE2_ERROR_NOMEMORY;

	if (pattern)
		pattern->code =
			pcre2_compile(bytes(text), size, options(flags), &error, &offset, NULL);
	if (pattern && pattern->code) {
		pcre2_pattern_info(pattern->code, PCRE2_INFO_CAPTURECOUNT, &pattern->groups);
		return pattern;
	}
	free(pattern);
	pcre2_get_error_message(error, why, sizeof(why));
	if (room > 0)
		memcpy(message, why, room < sizeof(why) ? room : sizeof(why));
	if (room > 0 && room < sizeof(why))
		message[room - 1] = '\0';
	*ret_offset = offset;
	return NULL;
}

void pattern_free(struct pattern **pattern)
{
	if (!*pattern)
		return;
	pcre2_code_free((*pattern)->code);
	free(*pattern);
	*pattern = NULL;
}

uint32_t pattern_groups(const struct pattern *pattern)
{
	return pattern->groups;
}

uint32_t pattern_group(const struct pattern *pattern, const char *name)
{
	const int n = pcre2_substring_number_from_name(pattern->code, bytes(name));

	return n > 0 ? (uint32_t)n : 0;
}

const char *pattern_group_name(const struct pattern *pattern, uint32_t n)
{
	PCRE2_SPTR table;
	uint32_t count = 0, size = 0;

	pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMECOUNT, &count);
	pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
	pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMETABLE, &table);
	/* Two bytes of number, then the name, terminated. */
	for (uint32_t i = 0; i < count; i++, table += size) {
		if ((uint32_t)(table[0] << 8 | table[1]) == n)
			return (const char *)table + 2;
	}
	return NULL;
}

static void take_groups(const char *text, pcre2_match_data *data, int count,
			struct pattern_match *ret)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);

	*ret = (struct pattern_match){0};
	for (size_t i = 0; i < (size_t)count && i <= PATTERN_GROUPS_MAX; i++) {
		/* \K can put a beginning behind its end. */
		if (at[2 * i] == PCRE2_UNSET || at[2 * i] > at[2 * i + 1])
			continue;
		ret->at[i].at = text + at[2 * i];
		ret->at[i].size = at[2 * i + 1] - at[2 * i];
	}
}

static int match_at(const struct pattern *pattern, const char *text, size_t size, size_t at,
		    pcre2_match_data *data)
{
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	int result;

	if (!context)
		return PCRE2_ERROR_NOMEMORY;
	pcre2_set_match_limit(context, PATTERN_STEPS_MAX);
	pcre2_set_depth_limit(context, PATTERN_STEPS_MAX);
	pcre2_set_heap_limit(context, HEAP_KIB_MAX);
	result = pcre2_match(pattern->code, bytes(text), size, at, 0, data, context);
	pcre2_match_context_free(context);
	return result;
}

bool pattern_next(const struct pattern *pattern, const char *text, size_t size, size_t *at,
		  struct pattern_match *ret)
{
	pcre2_match_data *data;
	int count;

	if (*at > size)
		return false;
	data = pcre2_match_data_create_from_pattern(pattern->code, NULL);
	count = data ? match_at(pattern, text, size, *at, data) : PCRE2_ERROR_NOMEMORY;
	if (count > 0) {
		const PCRE2_SIZE end = pcre2_get_ovector_pointer(data)[1];

		take_groups(text, data, count, ret);
		/* An empty match must not be found again. */
		*at = end > *at ? end : *at + 1;
	}
	pcre2_match_data_free(data);
	return count > 0 && ret->at[0].at;
}
