/*
 * signal/where.h - places in a response, and texts that are put together from what was found there
 * SPDX-License-Identifier: MIT
 *
 *	x-ratelimit-limit			a header
 *	/error/code				a JSON pointer into the body
 *	x-app-usage#/call_count			... into a header that holds JSON
 *	body					the body as it came
 *	{window}				a variable
 *
 * A header's name and a segment of a pointer may have holes, such as x-ratelimit-limit-{name} or
 * x-used-{window:[0-9]+[smhd]}: what stands there becomes the variable. If it has a value already, it
 * must be that one. A segment * is any one, ** any number of them.
 */
#ifndef RATION_SIGNAL_WHERE_H
#define RATION_SIGNAL_WHERE_H

#include <jansson.h>

#include "policy/arena.h"
#include "signal/pattern.h"
#include "signal/signal.h"

enum {
	VARS_MAX = 8,      /* of one limit */
	SEGMENTS_MAX = 12, /* of a pointer */
	HOLES_MAX = 4,     /* of a header's name, or of a segment */
	PARTS_MAX = 12,    /* of a text */
	DOCUMENTS_MAX = 4,
	VISITED_MAX = 100000, /* JSON values that one response may make us look at */
	VISITED_DEPTH = 64,   /* deeper ones are not looked at */
	READING_ARENA_MAX = 8 * 1024 * 1024,
};

struct vars {
	struct text at[VARS_MAX]; /* at NULL: no value yet */
};

/* A name with holes: matched as a whole. */
struct shape {
	const char *text; /* without holes: just this */
	struct pattern *pattern;
	uint32_t holes[HOLES_MAX]; /* the variable of each group */
	uint32_t n_holes;
};

enum segment_kind { SEGMENT_KEY, SEGMENT_ANY, SEGMENT_DEEP };

struct segment {
	enum segment_kind kind;
	struct shape shape;
};

enum where_kind { WHERE_HEADER, WHERE_POINTER, WHERE_BODY, WHERE_VARIABLE };

struct where {
	enum where_kind kind;
	struct shape header; /* WHERE_HEADER; WHERE_POINTER: text NULL for the body */
	const struct segment *segments;
	uint32_t n_segments;
	uint32_t variable;
	bool holes;
};

/* A text with variables in it. */
struct wording {
	struct {
		const char *literal; /* NULL: a variable */
		uint32_t variable;
	} parts[PARTS_MAX];
	uint32_t n_parts;
};

/* One response while it is being read. */
struct reading {
	const struct adapter *adapter;
	const struct signal_response *response;
	struct signal *signal;
	struct arena arena; /* texts that were made meanwhile */
	int64_t now_us;     /* by the vendor's clock, if that is known */
	bool cached;        /* an answer from some cache: its limits are of another time */
	bool body_parsed;
	json_t *body;
	const json_t *documents[DOCUMENTS_MAX];
	json_t *parsed[DOCUMENTS_MAX]; /* of these, those that stood in a string */
	uint32_t n_documents;
	json_t **headers; /* parsed; as many as there are headers, or NULL */
	uint32_t visited;
	uint32_t depth;
};

/* Something that was found. Its text is good until the reading ends. */
struct found {
	struct text text;
	struct vars vars;
	const json_t *json; /* NULL: of a header as it came, and so on */
	bool in_body;
	bool line;       /* of a header, as it came */
	bool structured; /* an object or array: no text */
};

/* Fills in body and documents, once. */
void reading_parse_body(struct reading *r);

/* Frees what that and the places made. */
void reading_end(struct reading *r);

/* Returns false to stop. */
typedef bool found_fn(void *user, const struct found *found);

/* Every place that fits, in order of the response. False: stopped. */
bool where_each(struct reading *r, const struct where *where, const struct vars *vars,
		found_fn *found, void *user);

/* As JSON pointers do, from one value on. */
bool pointer_each(struct reading *r, const json_t *root, const struct segment *segments, uint32_t n,
		  const struct vars *vars, bool in_body, found_fn *found, void *user);

/*
 * Cut to `room` - 1 bytes of UTF-8 without control characters; what is none becomes '?'. False: a
 * variable has no value.
 */
bool wording_put(const struct wording *wording, const struct vars *vars, char *buffer, size_t room);

/* The same for one text. */
void text_put(struct text text, char *buffer, size_t room);

struct text text_of(const char *terminated);
bool text_same(struct text a, struct text b); /* but for case */
struct text text_trimmed(struct text text);

#endif
