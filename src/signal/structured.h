/*
 * signal/structured.h - structured fields of HTTP (RFC 9651)
 * SPDX-License-Identifier: MIT
 *
 * A field is good as a whole or not at all. Texts point into the field. What is beyond the bounds below
 * is checked, but not kept.
 */
#ifndef RATION_SIGNAL_STRUCTURED_H
#define RATION_SIGNAL_STRUCTURED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIELD_MEMBERS_MAX = 32, FIELD_PARAMETERS_MAX = 12 };

enum field_type {
	FIELD_INTEGER,
	FIELD_DECIMAL,
	FIELD_STRING, /* text: still escaped, without its quotes */
	FIELD_TOKEN,
	FIELD_BYTES, /* text: base64 */
	FIELD_BOOLEAN,
	FIELD_DATE,
	FIELD_DISPLAY,
	FIELD_INNER_LIST, /* only checked */
};

struct field_item {
	enum field_type type;
	int64_t integer; /* FIELD_INTEGER, FIELD_DATE; FIELD_BOOLEAN: 0 or 1 */
	const char *text;
	size_t size;
};

struct field_parameter {
	const char *key;
	size_t key_size;
	struct field_item item;
};

struct field_member {
	const char *key; /* of a dictionary */
	size_t key_size;
	struct field_item item;
	struct field_parameter parameters[FIELD_PARAMETERS_MAX];
	uint32_t n_parameters;
};

struct field_list {
	struct field_member members[FIELD_MEMBERS_MAX];
	uint32_t n_members;
};

/* The field's lines are joined with commas by the caller. False: not one; ret is undefined then. */
bool field_list_parse(const char *text, size_t size, struct field_list *ret);
bool field_dictionary_parse(const char *text, size_t size, struct field_list *ret);

/* NULL: not there. */
const struct field_item *field_parameter(const struct field_member *member, const char *key);
const struct field_item *field_entry(const struct field_list *dictionary, const char *key);

/* A string without its escapes: terminated, cut to `room` - 1 bytes. */
void field_string(const struct field_item *item, char *buffer, size_t room);

#endif
