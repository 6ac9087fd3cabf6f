/*
 * signal/structured.c - structured fields of HTTP
 * SPDX-License-Identifier: MIT
 *
 * The names of the functions are those of the algorithms in RFC 9651, section 4.2.
 */
#include "signal/structured.h"

#include <string.h>

struct input {
	const char *at, *end;
};

static char peek(const struct input *in)
{
	return in->at < in->end ? *in->at : '\0';
}

static bool take(struct input *in, char c)
{
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

static void skip_spaces(struct input *in)
{
	while (peek(in) == ' ')
		in->at++;
}

static void skip_blanks(struct input *in)
{
	while (peek(in) == ' ' || peek(in) == '\t')
		in->at++;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool letter(char c)
{
	return lower(c) || (c >= 'A' && c <= 'Z');
}

/* --- bare items --- */

static size_t take_digits(struct input *in)
{
	const char *start = in->at;

	while (digit(peek(in)))
		in->at++;
	return (size_t)(in->at - start);
}

static int64_t integer_of(const char *text, size_t size)
{
	int64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value = value * 10 + (text[i] - '0');
	return value;
}

static bool parse_number(struct input *in, struct field_item *ret)
{
	const bool negative = take(in, '-');
	const char *start = in->at;
	const size_t whole = take_digits(in);
	size_t places;

	if (whole == 0 || whole > 15)
		return false;
	ret->integer = integer_of(start, whole) * (negative ? -1 : 1);
	ret->type = FIELD_INTEGER;
	if (!take(in, '.'))
		return true;
	places = take_digits(in);
	ret->type = FIELD_DECIMAL;
	return whole <= 12 && places >= 1 && places <= 3;
}

static bool printable(char c)
{
	return c >= 0x20 && c < 0x7f;
}

static bool parse_string(struct input *in, struct field_item *ret)
{
	in->at++;
	ret->type = FIELD_STRING;
	ret->text = in->at;
	while (in->at < in->end && *in->at != '"') {
		if (*in->at == '\\' && ++in->at < in->end && *in->at != '"' && *in->at != '\\')
			return false;
		if (in->at == in->end || !printable(*in->at))
			return false;
		in->at++;
	}
	ret->size = (size_t)(in->at - ret->text);
	return take(in, '"');
}

static bool token_character(char c)
{
	return letter(c) || digit(c) || (c && strchr(":/!#$%&'*+-.^_`|~", c));
}

static bool parse_token(struct input *in, struct field_item *ret)
{
	ret->type = FIELD_TOKEN;
	ret->text = in->at;
	while (token_character(peek(in)))
		in->at++;
	ret->size = (size_t)(in->at - ret->text);
	return true;
}

/* Padding and bits behind it are not looked at: section 4.2.7 asks for that. */
static bool parse_bytes(struct input *in, struct field_item *ret)
{
	in->at++;
	ret->type = FIELD_BYTES;
	ret->text = in->at;
	while (letter(peek(in)) || digit(peek(in)) || (peek(in) && strchr("+/=", peek(in))))
		in->at++;
	ret->size = (size_t)(in->at - ret->text);
	return take(in, ':');
}

static bool parse_boolean(struct input *in, struct field_item *ret)
{
	in->at++;
	ret->type = FIELD_BOOLEAN;
	ret->integer = peek(in) == '1';
	return take(in, '1') || take(in, '0');
}

static bool parse_date(struct input *in, struct field_item *ret)
{
	in->at++;
	if (!parse_number(in, ret) || ret->type != FIELD_INTEGER)
		return false;
	ret->type = FIELD_DATE;
	return true;
}

static bool hex(char c)
{
	return digit(c) || (c >= 'a' && c <= 'f');
}

static bool parse_display(struct input *in, struct field_item *ret)
{
	in->at++;
	ret->type = FIELD_DISPLAY;
	if (!take(in, '"'))
		return false;
	ret->text = in->at;
	while (in->at < in->end && *in->at != '"') {
		if (!printable(*in->at))
			return false;
		if (*in->at == '%' && (in->end - in->at < 3 || !hex(in->at[1]) || !hex(in->at[2])))
			return false;
		in->at++;
	}
	ret->size = (size_t)(in->at - ret->text);
	return take(in, '"');
}

static bool parse_bare_item(struct input *in, struct field_item *ret)
{
	const char c = peek(in);

	*ret = (struct field_item){0};
	switch (c) {
	case '"':
		return parse_string(in, ret);
	case ':':
		return parse_bytes(in, ret);
	case '?':
		return parse_boolean(in, ret);
	case '@':
		return parse_date(in, ret);
	case '%':
		return parse_display(in, ret);
	default:
		if (letter(c) || c == '*')
			return parse_token(in, ret);
		return (digit(c) || c == '-') && parse_number(in, ret);
	}
}

/* --- what they are put together to --- */

static bool parse_key(struct input *in, const char **ret_key, size_t *ret_size)
{
	*ret_key = in->at;
	if (!lower(peek(in)) && peek(in) != '*')
		return false;
	while (lower(peek(in)) || digit(peek(in)) || (peek(in) && strchr("_-.*", peek(in))))
		in->at++;
	*ret_size = (size_t)(in->at - *ret_key);
	return true;
}

/* A key that comes again replaces what was there: the last one wins. */
static void keep_parameter(struct field_member *member, const struct field_parameter *p)
{
	for (uint32_t i = 0; i < member->n_parameters; i++) {
		struct field_parameter *known = &member->parameters[i];

		if (known->key_size == p->key_size &&
		    memcmp(known->key, p->key, p->key_size) == 0) {
			*known = *p;
			return;
		}
	}
	if (member->n_parameters < FIELD_PARAMETERS_MAX)
		member->parameters[member->n_parameters++] = *p;
}

static bool parse_parameters(struct input *in, struct field_member *member)
{
	while (take(in, ';')) {
		struct field_parameter p = {.item = {.type = FIELD_BOOLEAN, .integer = 1}};

		skip_spaces(in);
		if (!parse_key(in, &p.key, &p.key_size))
			return false;
		if (take(in, '=') && !parse_bare_item(in, &p.item))
			return false;
		keep_parameter(member, &p);
	}
	return true;
}

static bool parse_inner_list(struct input *in)
{
	struct field_member ignored = {0};

	in->at++;
	for (;;) {
		skip_spaces(in);
		if (take(in, ')'))
			return true;
		ignored.n_parameters = 0;
		if (!parse_bare_item(in, &ignored.item) || !parse_parameters(in, &ignored))
			return false;
		if (peek(in) != ' ' && peek(in) != ')')
			return false;
	}
}

static bool parse_member(struct input *in, struct field_member *member)
{
	if (peek(in) == '(') {
		member->item = (struct field_item){.type = FIELD_INNER_LIST};
		if (!parse_inner_list(in))
			return false;
	} else if (!parse_bare_item(in, &member->item)) {
		return false;
	}
	return parse_parameters(in, member);
}

static bool parse_entry(struct input *in, struct field_member *member)
{
	if (!parse_key(in, &member->key, &member->key_size))
		return false;
	if (take(in, '='))
		return parse_member(in, member);
	member->item = (struct field_item){.type = FIELD_BOOLEAN, .integer = 1};
	return parse_parameters(in, member);
}

static bool same_key(const struct field_member *a, const struct field_member *b)
{
	return a->key && b->key && a->key_size == b->key_size &&
	       memcmp(a->key, b->key, a->key_size) == 0;
}

static void keep_member(struct field_list *list, const struct field_member *member)
{
	for (uint32_t i = 0; i < list->n_members; i++) {
		if (same_key(&list->members[i], member)) {
			list->members[i] = *member;
			return;
		}
	}
	if (list->n_members < FIELD_MEMBERS_MAX)
		list->members[list->n_members++] = *member;
}

typedef bool parse_fn(struct input *in, struct field_member *member);

static bool parse_members(struct input *in, parse_fn *parse, struct field_list *ret)
{
	ret->n_members = 0;
	skip_spaces(in);
	while (in->at < in->end) {
		struct field_member member = {0};

		if (!parse(in, &member))
			return false;
		keep_member(ret, &member);
		skip_blanks(in);
		if (in->at == in->end)
			return true;
		if (!take(in, ','))
			return false;
		skip_blanks(in);
		if (in->at == in->end)
			return false;
	}
	return true;
}

bool field_list_parse(const char *text, size_t size, struct field_list *ret)
{
	struct input in = {text, text + size};

	return parse_members(&in, parse_member, ret);
}

bool field_dictionary_parse(const char *text, size_t size, struct field_list *ret)
{
	struct input in = {text, text + size};

	return parse_members(&in, parse_entry, ret);
}

/* --- looking at them --- */

static bool is(const char *text, size_t size, const char *key)
{
	return strlen(key) == size && memcmp(text, key, size) == 0;
}

const struct field_item *field_parameter(const struct field_member *member, const char *key)
{
	for (uint32_t i = 0; i < member->n_parameters; i++) {
		if (is(member->parameters[i].key, member->parameters[i].key_size, key))
			return &member->parameters[i].item;
	}
	return NULL;
}

const struct field_item *field_entry(const struct field_list *dictionary, const char *key)
{
	for (uint32_t i = 0; i < dictionary->n_members; i++) {
		const struct field_member *member = &dictionary->members[i];

		if (member->key && is(member->key, member->key_size, key))
			return &member->item;
	}
	return NULL;
}

void field_string(const struct field_item *item, char *buffer, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < item->size && n + 1 < room; i++) {
		if (item->text[i] == '\\' && i + 1 < item->size)
			i++;
		buffer[n++] = item->text[i];
	}
	buffer[n] = '\0';
}
