/*
 * policy/tree.c - libyaml's events become nodes
 * SPDX-License-Identifier: MIT
 */
#include "policy/tree.h"

#include <string.h>
#include <yaml.h>

struct builder {
	const struct source *source;
	struct notes *notes;
	size_t *left;
	yaml_parser_t parser;
	struct node *root;
	struct node *open[TREE_DEPTH_MAX]; /* lists and maps that have begun and not ended */
	struct node *last[TREE_DEPTH_MAX]; /* the newest child of each */
	unsigned depth;
	unsigned documents;
	bool stop;
};

static struct place place_of(const struct builder *b, const yaml_mark_t *mark)
{
	return (struct place){b->source, (unsigned)mark->line + 1, (unsigned)mark->column + 1};
}

static void stop(struct builder *b, struct place place, const char *why, int bound)
{
	notes_add(b->notes, POLICY_ERROR, place, why, bound);
	b->stop = true;
}

/* --- errors of the YAML itself --- */

static const char *line_start(const struct source *source, unsigned line)
{
	const char *p = source->text, *end = p + source->size;

	for (unsigned i = 1; i < line && p; i++) {
		p = memchr(p, '\n', (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	return p;
}

static bool indented_by_tab(const struct source *source, unsigned line)
{
	const char *p = line_start(source, line), *end = source->text + source->size;

	while (p && p < end && *p == ' ')
		p++;
	return p && p < end && *p == '\t';
}

static void syntax_error(struct builder *b)
{
	const yaml_parser_t *p = &b->parser;
	const struct place place = place_of(b, &p->problem_mark);
	const char *problem = p->problem ? p->problem : "not YAML";

	if (p->error == YAML_MEMORY_ERROR)
		b->notes->arena->failed = true;
	else if (indented_by_tab(b->source, place.line))
		notes_add(b->notes, POLICY_ERROR, place,
			  "YAML: expected spaces, found a tab at the beginning of the line");
	else if (p->context && p->context_mark.line != p->problem_mark.line)
		notes_add(b->notes, POLICY_ERROR, place, "YAML: %s (%s that begins in line %zu)",
			  problem, p->context, p->context_mark.line + 1);
	else
		notes_add(b->notes, POLICY_ERROR, place, "YAML: %s", problem);
}

/* --- building --- */

static void too_many(struct builder *b, struct place place)
{
	if (b->source->what)
		notes_add(b->notes, POLICY_ERROR, place, "too many values for %s", b->source->what);
	else
		notes_add(b->notes, POLICY_ERROR, place, "too large: a policy may have %d values",
			  TREE_NODES_MAX);
	b->stop = true;
}

static struct node *add_node(struct builder *b, const yaml_event_t *event, enum node_kind kind)
{
	const struct place place = place_of(b, &event->start_mark);
	struct node *node;

	if (*b->left == 0) {
		too_many(b, place);
		return NULL;
	}
	--*b->left;
	node = arena_alloc(b->notes->arena, sizeof(*node));
	if (!node)
		return NULL;
	node->place = place;
	node->kind = (uint8_t)kind;
	if (b->depth == 0) {
		b->root = node;
	} else if (b->last[b->depth - 1]) {
		b->last[b->depth - 1]->next = node;
	} else {
		b->open[b->depth - 1]->first = node;
	}
	if (b->depth > 0)
		b->last[b->depth - 1] = node;
	return node;
}

static void begin_collection(struct builder *b, const yaml_event_t *event, enum node_kind kind)
{
	struct node *node;

	if (b->depth == TREE_DEPTH_MAX) {
		stop(b, place_of(b, &event->start_mark), "nested deeper than %d levels",
		     TREE_DEPTH_MAX);
		return;
	}
	node = add_node(b, event, kind);
	if (!node)
		return;
	b->open[b->depth] = node;
	b->last[b->depth] = NULL;
	b->depth++;
}

/* Whatever was escaped in a quoted text must be text, too. */
static void check_escapes(struct builder *b, struct node *node)
{
	for (uint32_t i = 0; i < node->size; i++) {
		const unsigned char c = (unsigned char)node->text[i];

		if (c >= 0x20 && c != 0x7f)
			continue;
		notes_add(b->notes, POLICY_ERROR, node->place,
			  "expected text, found the control character U+%04X", c);
		node->broken = true;
		return;
	}
}

static void add_text(struct builder *b, const yaml_event_t *event)
{
	struct node *node = add_node(b, event, NODE_TEXT);
	const char *text = (const char *)event->data.scalar.value;

	if (!node)
		return;
	node->size = (uint32_t)event->data.scalar.length;
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = arena_copy(b->notes->arena, text, node->size);
	if (node->text)
		check_escapes(b, node);
}

static void refuse(struct builder *b, const yaml_event_t *event, const char *what)
{
	notes_add(b->notes, POLICY_ERROR, place_of(b, &event->start_mark),
		  "%s are not supported in %s: write the value out%s", what, source_what(b->source),
		  b->source->what ? "" : ", or use a plan");
}

static void add_alias(struct builder *b, const yaml_event_t *event)
{
	struct node *node = add_node(b, event, NODE_TEXT);

	refuse(b, event, "aliases (*name)");
	if (node) {
		node->text = "";
		node->broken = true;
	}
}

static void refuse_extras(struct builder *b, const yaml_event_t *event, const yaml_char_t *anchor,
			  const yaml_char_t *tag)
{
	if (anchor)
		refuse(b, event, "anchors (&name)");
	if (tag)
		refuse(b, event, "tags (!name)");
}

static void take_event(struct builder *b, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->documents++ > 0)
			stop(b, place_of(b, &event->start_mark),
			     "expected one YAML document, found the beginning of number %d", 2);
		break;
	case YAML_ALIAS_EVENT:
		add_alias(b, event);
		break;
	case YAML_SCALAR_EVENT:
		refuse_extras(b, event, event->data.scalar.anchor, event->data.scalar.tag);
		add_text(b, event);
		break;
	case YAML_SEQUENCE_START_EVENT:
		refuse_extras(b, event, event->data.sequence_start.anchor,
			      event->data.sequence_start.tag);
		begin_collection(b, event, NODE_LIST);
		break;
	case YAML_MAPPING_START_EVENT:
		refuse_extras(b, event, event->data.mapping_start.anchor,
			      event->data.mapping_start.tag);
		begin_collection(b, event, NODE_MAP);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		break;
	default:
		break;
	}
}

static bool parse_events(struct builder *b)
{
	bool end = false;

	while (!end && !b->stop && !b->notes->arena->failed) {
		yaml_event_t event;

		if (!yaml_parser_parse(&b->parser, &event)) {
			syntax_error(b);
			return false;
		}
		take_event(b, &event);
		end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	return end;
}

const struct node *tree_parse(const struct source *source, struct notes *notes, size_t *left)
{
	struct builder b = {.source = source, .notes = notes, .left = left};
	bool good;

	if (!yaml_parser_initialize(&b.parser)) {
		notes->arena->failed = true;
		return NULL;
	}
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)source->text, source->size);
	good = parse_events(&b);
	yaml_parser_delete(&b.parser);
	if (!good)
		return NULL;
	if (!b.root)
		notes_add(notes, POLICY_ERROR, source_place(source),
			  "expected %s (a YAML mapping), found nothing", source_what(source));
	return b.root;
}

/* --- looking at nodes --- */

bool node_empty(const struct node *node)
{
	return node->kind == NODE_TEXT && node->plain && !node->broken &&
	       (node->size == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

const char *node_found(struct arena *arena, const struct node *node)
{
	if (node->kind == NODE_LIST)
		return node->first ? "a list" : "an empty list";
	if (node->kind == NODE_MAP)
		return "a mapping";
	if (node_empty(node))
		return "nothing";
	return quoted(arena, node->text, node->size);
}

bool node_expected(struct notes *notes, const struct node *node, const char *what)
{
	if (!node->broken)
		notes_add(notes, POLICY_ERROR, node->place, "expected %s, found %s", what,
			  node_found(notes->arena, node));
	return false;
}
