/*
 * signal/read_places.c - reading places, patterns and values of an adapter
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "signal/read.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define PLACE_FORM                                                                                 \
	"a place: a header's name, a JSON pointer such as /error/code, header#/pointer, body, or " \
	"a variable such as {name}"

/* --- variables --- */

static bool name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

static bool variable_name(const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (!name_character(name[i]))
			return false;
	}
	return size > 0;
}

uint32_t read_variable(struct adapter_draft *draft, const struct node *node,
		       struct variables *variables, const char *name, size_t size)
{
	struct compiler *c = draft->c;

	if (!variables || !variable_name(name, size)) {
		error_at(c, node,
			 variables ? "expected a variable's name in %s"
				   : "there are no variables here: %s",
			 node_found(&c->arena, node));
		return VARS_MAX;
	}
	for (uint32_t i = 0; i < variables->n; i++) {
		if (strlen(variables->names[i]) == size &&
		    memcmp(variables->names[i], name, size) == 0)
			return i;
	}
	if (variables->n == VARS_MAX) {
		error_at(c, node, "more than %d variables in one limit", VARS_MAX);
		return VARS_MAX;
	}
	variables->names[variables->n] = arena_copy(&c->arena, name, size);
	return variables->names[variables->n] ? variables->n++ : VARS_MAX;
}

/* --- patterns --- */

static struct pattern *compile_pattern(struct adapter_draft *draft, const struct node *node,
				       const char *text, size_t size, unsigned flags)
{
	struct compiler *c = draft->c;
	struct pattern *pattern;
	char message[256];
	size_t offset = 0;

	if (size > PATTERN_SIZE_MAX) {
		error_at(c, node, "longer than %d bytes", PATTERN_SIZE_MAX);
		return NULL;
	}
	pattern = pattern_compile(text, size, flags, message, sizeof(message), &offset);
	if (!pattern) {
		error_at(c, node, "expected a regular expression: %s behind %s", message,
			 quoted(&c->arena, text, offset < size ? offset : size));
		return NULL;
	}
	if (pattern_groups(pattern) > PATTERN_GROUPS_MAX)
		error_at(c, node, "more than %d groups", PATTERN_GROUPS_MAX);
	else if (list_add(&draft->patterns, &c->arena, pattern))
		return pattern;
	pattern_free(&pattern);
	return NULL;
}

struct pattern *read_pattern(struct adapter_draft *draft, const struct node *node)
{
	if (!is_text(node) || node->size == 0) {
		node_expected(&draft->c->notes, node, "a regular expression");
		return NULL;
	}
	return compile_pattern(draft, node, node->text, node->size, 0);
}

/* --- names with holes --- */

/* The '}' that belongs to the '{' at p; NULL: none. */
static const char *hole_end(const char *p, const char *end)
{
	unsigned depth = 0;

	for (; p < end; p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		else if (*p == '{')
			depth++;
		else if (*p == '}' && --depth == 0)
			return p;
	}
	return NULL;
}

struct shape_draft {
	struct adapter_draft *draft;
	const struct node *node;
	struct variables *variables;
	struct shape *shape;
	char *pattern; /* room for every byte escaped, and for what a hole without a pattern stands for */
	size_t n;
};

static void put_literal(struct shape_draft *s, char c)
{
	if (!name_character(c))
		s->pattern[s->n++] = '\\';
	s->pattern[s->n++] = c;
}

static void put_text(struct shape_draft *s, const char *text, size_t size)
{
	memcpy(s->pattern + s->n, text, size);
	s->n += size;
}

/* {name} or {name:pattern} */
static bool put_hole(struct shape_draft *s, const char *p, const char *end)
{
	const char *colon = memchr(p, ':', (size_t)(end - p));
	const char *name_end = colon ? colon : end;
	const uint32_t variable =
		read_variable(s->draft, s->node, s->variables, p, (size_t)(name_end - p));

	if (variable == VARS_MAX)
		return false;
	if (s->shape->n_holes == HOLES_MAX) {
		error_at(s->draft->c, s->node, "more than %d variables in one name", HOLES_MAX);
		return false;
	}
	s->shape->holes[s->shape->n_holes++] = variable;
	put_text(s, "(", 1);
	if (colon)
		put_text(s, colon + 1, (size_t)(end - colon - 1));
	else
		put_text(s, ".+?", 3);
	put_text(s, ")", 1);
	return true;
}

static bool put_shape(struct shape_draft *s, const char *p, const char *end)
{
	while (p < end) {
		const char *close = *p == '{' ? hole_end(p, end) : NULL;

		if (*p == '{' && !close) {
			error_at(s->draft->c, s->node, "a '{' without its '}' in %s",
				 node_found(&s->draft->c->arena, s->node));
			return false;
		}
		if (close) {
			if (!put_hole(s, p + 1, close))
				return false;
			p = close + 1;
		} else {
			put_literal(s, *p++);
		}
	}
	return true;
}

static bool read_shape(struct adapter_draft *draft, const struct node *node,
		       struct variables *variables, const char *text, size_t size, unsigned flags,
		       struct shape *ret)
{
	struct shape_draft s = {draft, node, variables, ret, NULL, 0};

	ret->text = arena_copy(&draft->c->arena, text, size);
	if (!ret->text)
		return false;
	if (!memchr(text, '{', size))
		return true;
	s.pattern = arena_alloc(&draft->c->arena, 6 * size + 1);
	if (!s.pattern || !put_shape(&s, text, text + size))
		return false;
	ret->pattern = compile_pattern(draft, node, s.pattern, s.n, flags | PATTERN_WHOLE);
	if (ret->pattern && pattern_groups(ret->pattern) != ret->n_holes) {
		error_at(draft->c, node, "write (?:...) for a group inside a variable's pattern");
		return false;
	}
	return ret->pattern;
}

/* --- pointers --- */

/* Up to the next '/' that is in no hole. */
static size_t segment_size(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && *p != '/') {
		const char *close = *p == '{' ? hole_end(p, end) : NULL;

		p = close ? close + 1 : p + 1;
	}
	return (size_t)(p - start);
}

/* ~1 is /, ~0 is ~. In place; the new size. */
static size_t unescape(char *text, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		const bool escape = text[i] == '~' && i + 1 < size &&
				    (text[i + 1] == '0' || text[i + 1] == '1');

		text[n++] = escape ? (text[++i] == '0' ? '~' : '/') : text[i];
	}
	return n;
}

static bool read_segment(struct adapter_draft *draft, const struct node *node,
			 struct variables *variables, const char *text, size_t size,
			 struct segment *ret)
{
	char *copy;

	if (size == 1 && *text == '*') {
		ret->kind = SEGMENT_ANY;
		return true;
	}
	if (size == 2 && memcmp(text, "**", 2) == 0) {
		ret->kind = SEGMENT_DEEP;
		return true;
	}
	ret->kind = SEGMENT_KEY;
	copy = arena_copy(&draft->c->arena, text, size);
	return copy &&
	       read_shape(draft, node, variables, copy, unescape(copy, size), 0, &ret->shape);
}

static bool read_pointer(struct adapter_draft *draft, const struct node *node,
			 struct variables *variables, const char *text, struct where *ret)
{
	const char *end = node->text + node->size;
	struct segment *segments = arena_alloc(&draft->c->arena, SEGMENTS_MAX * sizeof(*segments));

	ret->kind = WHERE_POINTER;
	ret->segments = segments;
	while (segments && text < end) {
		const size_t size = segment_size(text + 1, end);

		if (ret->n_segments == SEGMENTS_MAX) {
			error_at(draft->c, node, "a pointer of more than %d segments",
				 SEGMENTS_MAX);
			return false;
		}
		if (!read_segment(draft, node, variables, text + 1, size,
				  &segments[ret->n_segments]))
			return false;
		ret->holes |= segments[ret->n_segments++].shape.n_holes > 0;
		text += 1 + size;
	}
	return segments;
}

/* --- places --- */

static bool header_characters(const char *text, size_t size)
{
	const char *end = text + size, *p = text;

	while (p < end) {
		const char *close = *p == '{' ? hole_end(p, end) : NULL;

		if (!close && !name_character(*p) && !strchr("!#$%&'*+-.^`|~", *p))
			return false;
		p = close ? close + 1 : p + 1;
	}
	return size > 0;
}

static bool read_header(struct adapter_draft *draft, const struct node *node,
			struct variables *variables, size_t size, struct where *ret)
{
	if (!header_characters(node->text, size))
		return node_expected(&draft->c->notes, node, PLACE_FORM);
	if (!read_shape(draft, node, variables, node->text, size, PATTERN_ANY_CASE, &ret->header))
		return false;
	ret->holes = ret->header.n_holes > 0;
	return true;
}

bool read_where(struct adapter_draft *draft, const struct node *node, struct variables *variables,
		struct where *ret)
{
	const char *text = node->text, *pointer;

	*ret = (struct where){.kind = WHERE_HEADER};
	if (!is_text(node) || node->size == 0)
		return node_expected(&draft->c->notes, node, PLACE_FORM);
	if (strcmp(text, "body") == 0) {
		ret->kind = WHERE_BODY;
		return true;
	}
	if (*text == '/')
		return read_pointer(draft, node, variables, text, ret);
	if (*text == '{' && hole_end(text, text + node->size) == text + node->size - 1) {
		ret->kind = WHERE_VARIABLE;
		ret->variable = read_variable(draft, node, variables, text + 1, node->size - 2);
		return ret->variable < VARS_MAX;
	}
	pointer = strstr(text, "#/");
	if (!pointer)
		return read_header(draft, node, variables, node->size, ret);
	return read_header(draft, node, variables, (size_t)(pointer - text), ret) &&
	       read_pointer(draft, node, variables, pointer + 1, ret);
}

/* --- texts with variables --- */

static bool put_part(struct adapter_draft *draft, const struct node *node, struct wording *ret,
		     const char *literal, uint32_t variable)
{
	if (ret->n_parts == PARTS_MAX) {
		error_at(draft->c, node, "more than %d parts", PARTS_MAX);
		return false;
	}
	ret->parts[ret->n_parts].literal = literal;
	ret->parts[ret->n_parts++].variable = variable;
	return true;
}

void read_wording(struct adapter_draft *draft, const struct node *node, struct variables *variables,
		  struct wording *ret)
{
	const char *p, *end;

	*ret = (struct wording){0};
	if (!is_text(node) || node->size == 0) {
		node_expected(&draft->c->notes, node, "a text, with variables such as {name}");
		return;
	}
	for (p = node->text, end = p + node->size; p < end;) {
		const char *close = *p == '{' ? hole_end(p, end) : NULL;
		const char *open = memchr(p + 1, '{', (size_t)(end - p - 1));
		const char *stop = close ? close + 1 : open ? open : end;
		uint32_t variable = VARS_MAX;
		const char *literal = NULL;

		if (close)
			variable = read_variable(draft, node, variables, p + 1,
						 (size_t)(close - p - 1));
		else
			literal = arena_copy(&draft->c->arena, p, (size_t)(stop - p));
		if ((!literal && variable == VARS_MAX) ||
		    !put_part(draft, node, ret, literal, variable))
			return;
		p = stop;
	}
}

/* --- values --- */

static void add_place(struct value_place *place, const struct node *node)
{
	struct value *value = place->value;

	if (value->n_from == VALUE_PLACES_MAX)
		error_at(place->draft->c, node, "more than %d places", VALUE_PLACES_MAX);
	else if (read_where(place->draft, node, place->variables, &value->from[value->n_from]))
		value->n_from++;
}

static void read_place_item(struct compiler *c, const struct node *node, void *target)
{
	(void)c;
	add_place(target, node);
}

static void read_from(struct compiler *c, const struct node *node, void *target)
{
	if (node->kind == NODE_LIST)
		schema_items(c, node, "", read_place_item, target);
	else
		add_place(target, node);
}

static void read_match(struct compiler *c, const struct node *node, void *target)
{
	struct value_place *place = target;

	(void)c;
	place->value->match = read_pattern(place->draft, node);
}

static void read_as(struct compiler *c, const struct node *node, void *target)
{
	struct value_place *place = target;
	const int word = schema_choose(c, node, "notation", time_words, LENGTH(time_words));

	if (word >= 0)
		place->value->as = (enum time_notation)word;
}

static void read_default(struct compiler *c, const struct node *node, void *target)
{
	struct value_place *place = target;

	if (is_text(node))
		place->value->fallback = node->text;
	else
		node_expected(&c->notes, node, "a text or number");
}

static void read_only(struct compiler *c, const struct node *node, void *target)
{
	static const char *const words[] = {"exhausted"};
	struct value_place *place = target;

	place->value->if_exhausted = schema_choose(c, node, "condition", words, 1) == 0;
}

static const struct field value_fields[] = {
	{"from", read_from, 0, "where it is", ANYWHERE},
	{"match", read_match, 0, NULL, ANYWHERE},
	{"default", read_default, 0, NULL, ANYWHERE},
};
static const struct schema value_schema = SCHEMA("a value", value_fields, false);

static const struct field time_fields[] = {
	{"from", read_from, 0, "where it is", ANYWHERE},
	{"as", read_as, 0, "the notation of a time, such as seconds or epoch", ANYWHERE},
	{"match", read_match, 0, NULL, ANYWHERE},
	{"only", read_only, 0, NULL, ANYWHERE},
};
static const struct schema time_schema = SCHEMA("a time", time_fields, false);

static const struct field window_fields[] = {
	{"from", read_from, 0, "where it is", ANYWHERE},
	{"as", read_as, 0, NULL, ANYWHERE},
	{"match", read_match, 0, NULL, ANYWHERE},
};
static const struct schema window_schema = SCHEMA("a window", window_fields, false);

/* What needs no place. */
static bool constant(const struct value_place *place, const struct node *node)
{
	struct number number;
	int64_t us;

	switch (place->kind) {
	case VALUE_NUMBER:
		return number_parse(node->text, node->size, &number);
	case VALUE_WINDOW:
		return time_interval(node->text, node->size, &us);
	case VALUE_TEXT:
		return true;
	default:
		return false;
	}
}

void read_value(struct value_place *place, const struct node *node)
{
	static const struct schema *const schemas[] = {
		[VALUE_NUMBER] = &value_schema,  [VALUE_TIME] = &time_schema,
		[VALUE_WINDOW] = &window_schema, [VALUE_TEXT] = &value_schema,
		[VALUE_PLACE] = &value_schema,
	};

	if (is_text(node) && constant(place, node))
		place->value->fallback = node->text;
	else if ((is_text(node) || node->kind == NODE_LIST) && place->kind != VALUE_TIME)
		read_from(place->draft->c, node, place);
	else
		schema_walk(place->draft->c, node, schemas[place->kind], place);
}
