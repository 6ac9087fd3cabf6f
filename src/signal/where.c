/*
 * signal/where.c - places in a response
 * SPDX-License-Identifier: MIT
 */
#include "signal/where.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- texts --- */

struct text text_of(const char *terminated)
{
	return (struct text){terminated, strlen(terminated)};
}

bool text_same(struct text a, struct text b)
{
	return a.size == b.size && strncasecmp(a.at, b.at, a.size) == 0;
}

struct text text_trimmed(struct text text)
{
	while (text.size > 0 && strchr(" \t\r\n", text.at[0])) {
		text.at++;
		text.size--;
	}
	while (text.size > 0 && strchr(" \t\r\n", text.at[text.size - 1]))
		text.size--;
	return text;
}

/* Bytes of the UTF-8 character there, 0 if it is none. */
static size_t character(const unsigned char *p, size_t size)
{
	const size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 0 || n > size || p[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if (n > 2 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		      (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)))
		return 0;
	return n;
}

static size_t put(struct text text, char *buffer, size_t room, size_t at)
{
	for (size_t i = 0; i < text.size;) {
		const unsigned char *p = (const unsigned char *)text.at + i;
		size_t n = character(p, text.size - i);
		const bool plain = n > 1 || (n == 1 && p[0] >= 0x20 && p[0] != 0x7f);

		n = n ? n : 1;
		if (at + n >= room)
			break;
		if (plain)
			memcpy(buffer + at, p, n);
		else
			buffer[at] = '?';
		at += n;
		i += n;
	}
	buffer[at] = '\0';
	return at;
}

void text_put(struct text text, char *buffer, size_t room)
{
	put(text, buffer, room, 0);
}

bool wording_put(const struct wording *wording, const struct vars *vars, char *buffer, size_t room)
{
	size_t at = 0;

	buffer[0] = '\0';
	for (uint32_t i = 0; i < wording->n_parts; i++) {
		const char *literal = wording->parts[i].literal;
		const struct text text =
			literal ? text_of(literal) : vars->at[wording->parts[i].variable];

		if (!text.at)
			return false;
		at = put(text, buffer, room, at);
	}
	return true;
}

/* --- names with holes --- */

static bool bind(struct vars *vars, uint32_t variable, struct text text)
{
	struct text *known = &vars->at[variable];

	if (known->at)
		return text_same(*known, text);
	*known = text;
	return true;
}

/* ret is vars with what stands in the holes. */
static bool shape_fits(const struct shape *shape, struct text name, const struct vars *vars,
		       bool any_case, struct vars *ret)
{
	struct pattern_match match;
	size_t at = 0;

	*ret = *vars;
	if (!shape->pattern) {
		const struct text text = text_of(shape->text);

		return any_case
			       ? text_same(text, name)
			       : text.size == name.size && memcmp(text.at, name.at, name.size) == 0;
	}
	if (!pattern_next(shape->pattern, name.at, name.size, &at, &match))
		return false;
	for (uint32_t i = 0; i < shape->n_holes; i++) {
		if (!match.at[i + 1].at || !bind(ret, shape->holes[i], match.at[i + 1]))
			return false;
	}
	return true;
}

/* --- JSON --- */

struct walk {
	struct reading *r;
	found_fn *found;
	void *user;
	bool in_body;
};

/* Numbers as they were written, as far as their value goes. */
static struct text json_text(struct reading *r, const json_t *json)
{
	char buffer[40];
	const char *copy;

	if (json_is_string(json))
		return (struct text){json_string_value(json), json_string_length(json)};
	if (json_is_boolean(json))
		return text_of(json_is_true(json) ? "true" : "false");
	if (json_is_integer(json))
		snprintf(buffer, sizeof(buffer), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	else
		snprintf(buffer, sizeof(buffer), "%.15g", json_real_value(json));
	copy = arena_copy(&r->arena, buffer, strlen(buffer));
	return text_of(copy ? copy : "");
}

static bool visit(const struct walk *w, const json_t *json, const struct vars *vars)
{
	const bool structured = json_is_object(json) || json_is_array(json);
	struct found found = {
		.vars = *vars, .json = json, .in_body = w->in_body, .structured = structured};

	if (json_is_null(json))
		return true;
	found.text = structured ? text_of("") : json_text(w->r, json);
	return w->found(w->user, &found);
}

static bool walk(const struct walk *w, const json_t *json, const struct segment *segments,
		 uint32_t n, const struct vars *vars);

/* One child that a segment may fit. */
static bool walk_child(const struct walk *w, const json_t *child, struct text key,
		       const struct segment *segments, uint32_t n, const struct vars *vars)
{
	struct vars bound;

	if (segments->kind == SEGMENT_DEEP)
		return walk(w, child, segments, n, vars);
	if (segments->kind == SEGMENT_ANY)
		return walk(w, child, segments + 1, n - 1, vars);
	if (!shape_fits(&segments->shape, key, vars, false, &bound))
		return true;
	return walk(w, child, segments + 1, n - 1, &bound);
}

static bool walk_object(const struct walk *w, const json_t *json, const struct segment *segments,
			uint32_t n, const struct vars *vars)
{
	json_t *object, *child;
	const char *key;

	if (segments->kind == SEGMENT_KEY && !segments->shape.pattern) {
		child = json_object_get(json, segments->shape.text);
		return !child || walk(w, child, segments + 1, n - 1, vars);
	}
	object = (json_t *)(uintptr_t)json; /* its iterators want it writable */
	json_object_foreach(object, key, child)
	{
		if (!walk_child(w, child, text_of(key), segments, n, vars))
			return false;
	}
	return true;
}

static bool walk_array(const struct walk *w, const json_t *json, const struct segment *segments,
		       uint32_t n, const struct vars *vars)
{
	const size_t size = json_array_size(json);

	for (size_t i = 0; i < size; i++) {
		char number[24];
		const char *key;

		if (w->r->visited >= VISITED_MAX)
			return true;
		snprintf(number, sizeof(number), "%zu", i);
		/* A hole keeps it. */
		key = arena_copy(&w->r->arena, number, strlen(number));
		if (key && !walk_child(w, json_array_get(json, i), text_of(key), segments, n, vars))
			return false;
	}
	return true;
}

static bool walk_on(const struct walk *w, const json_t *json, const struct segment *segments,
		    uint32_t n, const struct vars *vars)
{
	if (segments->kind == SEGMENT_DEEP && !walk(w, json, segments + 1, n - 1, vars))
		return false;
	if (json_is_object(json))
		return walk_object(w, json, segments, n, vars);
	return !json_is_array(json) || walk_array(w, json, segments, n, vars);
}

static bool walk(const struct walk *w, const json_t *json, const struct segment *segments,
		 uint32_t n, const struct vars *vars)
{
	bool more;

	if (w->r->visited++ >= VISITED_MAX || w->r->depth == VISITED_DEPTH)
		return true;
	if (n == 0)
		return visit(w, json, vars);
	w->r->depth++;
	more = walk_on(w, json, segments, n, vars);
	w->r->depth--;
	return more;
}

bool pointer_each(struct reading *r, const json_t *root, const struct segment *segments, uint32_t n,
		  const struct vars *vars, bool in_body, found_fn *found, void *user)
{
	const struct walk w = {r, found, user, in_body};

	return walk(&w, root, segments, n, vars);
}

static bool in_documents(struct reading *r, const struct where *where, const struct vars *vars,
			 found_fn *found, void *user)
{
	reading_parse_body(r);
	for (uint32_t i = 0; i < r->n_documents; i++) {
		if (!pointer_each(r, r->documents[i], where->segments, where->n_segments, vars,
				  true, found, user))
			return false;
	}
	return true;
}

/* --- headers --- */

static const json_t *header_json(struct reading *r, size_t index)
{
	const struct signal_header *h = &r->response->headers[index];

	if (!r->headers) {
		r->headers = arena_alloc(&r->arena, r->response->n_headers * sizeof(void *));
		if (!r->headers)
			return NULL;
	}
	if (!r->headers[index])
		r->headers[index] = json_loadb(h->value, h->value_size, 0, NULL);
	return r->headers[index];
}

static bool in_header(struct reading *r, const struct where *where, size_t index,
		      const struct vars *vars, found_fn *found, void *user)
{
	const struct signal_header *h = &r->response->headers[index];
	const json_t *json;

	if (where->kind == WHERE_HEADER)
		return found(user,
			     &(struct found){
				     .vars = *vars,
				     .text = text_trimmed((struct text){h->value, h->value_size}),
			     });
	json = header_json(r, index);
	return !json ||
	       pointer_each(r, json, where->segments, where->n_segments, vars, false, found, user);
}

/* Case means nothing in a header's name, so what is taken out of it has none. */
static struct text header_name(struct reading *r, const struct where *where,
			       const struct signal_header *h)
{
	char *copy;

	if (!where->header.pattern)
		return (struct text){h->name, h->name_size};
	copy = arena_copy(&r->arena, h->name, h->name_size);
	if (!copy)
		return (struct text){"", 0};
	for (size_t i = 0; i < h->name_size; i++)
		copy[i] = (char)(copy[i] >= 'A' && copy[i] <= 'Z' ? copy[i] + 32 : copy[i]);
	return (struct text){copy, h->name_size};
}

static bool in_headers(struct reading *r, const struct where *where, const struct vars *vars,
		       found_fn *found, void *user)
{
	for (size_t i = 0; i < r->response->n_headers; i++) {
		const struct signal_header *h = &r->response->headers[i];
		const struct text name = header_name(r, where, h);
		struct vars bound;

		if (!shape_fits(&where->header, name, vars, true, &bound))
			continue;
		if (i < 64)
			r->signal->read |= UINT64_C(1) << i;
		if (!in_header(r, where, i, &bound, found, user))
			return false;
	}
	return true;
}

/* --- all of them --- */

static bool in_body_text(const struct reading *r, const struct vars *vars, found_fn *found,
			 void *user)
{
	const struct signal_response *response = r->response;

	if (!response->body || response->body_size > SIGNAL_BODY_MAX)
		return true;
	return found(user, &(struct found){
				   .vars = *vars,
				   .text = {response->body, response->body_size},
				   .in_body = true,
			   });
}

bool where_each(struct reading *r, const struct where *where, const struct vars *vars,
		found_fn *found, void *user)
{
	switch (where->kind) {
	case WHERE_POINTER:
		if (!where->header.text && !where->header.pattern)
			return in_documents(r, where, vars, found, user);
		return in_headers(r, where, vars, found, user);
	case WHERE_HEADER:
		return in_headers(r, where, vars, found, user);
	case WHERE_BODY:
		return in_body_text(r, vars, found, user);
	case WHERE_VARIABLE:
		break;
	}
	if (!vars->at[where->variable].at)
		return true;
	return found(user, &(struct found){.vars = *vars, .text = vars->at[where->variable]});
}
