/*
 * cli/request.h - one line of JSON: a request, or an operation of the pipe
 * SPDX-License-Identifier: MIT
 *
 * Messages about a line name fields and columns, never values: lines hold credentials.
 */
#ifndef RATION_CLI_REQUEST_H
#define RATION_CLI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <ration/ration.h>

#include "client/client.h"

enum {
	REQUEST_COSTS_MAX = 16,
	REQUEST_HEADERS_MAX = 256,
	REQUEST_ID_MAX = 512, /* bytes of an id as JSON text */
};

struct request_error {
	char text[160];
};

enum request_choice {
	REQUEST_UNSAID,
	REQUEST_NO,
	REQUEST_YES,
};

/* What a line may say. Text points into `root`, which the caller keeps. */
struct request {
	json_t *root;
	const char *key[KEY_FIELDS]; /* NULL: none */
	const char *op;              /* pipe only */
	const char *method;
	const char *url;
	const char *body;
	size_t body_size;
	json_t *headers;      /* object of strings, or NULL */
	json_t *alternatives; /* object: name of a route's alternative -> FORM_ALTERNATIVE, or NULL */
	struct ration_cost costs[REQUEST_COSTS_MAX];
	size_t n_costs;
	enum request_choice retry;
	enum request_choice idempotent;
	uint64_t timeout_ns;  /* 0: not given */
	uint64_t deadline_ns; /* from when the line was read; 0: not given */
	uint64_t wait_ns;
	uint64_t ticket;
	uint32_t attempt; /* 0: not given */
	bool lease;       /* set by the pipe: the answer names what is held */
};

/* Which fields a line may have. */
enum request_form {
	FORM_RUN = 1, /* a line of `ration run` */
	FORM_ACQUIRE = 2,
	FORM_SETTLE = 4,
	FORM_CANCEL = 8,
	FORM_OBSERVE = 16,
	FORM_ALTERNATIVE = 32, /* what of a request differs where it goes to another vendor */
	FORM_CHOICE = 64,      /* the same of what the pipe acquires */
	FORM_PIPE = FORM_ACQUIRE | FORM_SETTLE | FORM_CANCEL | FORM_OBSERVE,
};

/* Any JSON object; NULL and a message if the line is none. The caller decrefs it. */
json_t *request_decode(const char *text, size_t size, struct request_error *error);

/* The id as JSON text, malloc'd; NULL and a message if it is missing or no id. */
char *request_id(const json_t *root, struct request_error *error);

/*
 * Check every field and take them up. False and a message if one is unknown to this form or makes no sense. Borrows
 * root.
 */
bool request_read(json_t *root, enum request_form form, struct request *ret_request,
		  struct request_error *error);

struct ration_key request_key(const struct request *request);

/* The key in one piece, for tables: the fields with a separator that no field can hold. Returns its size. */
size_t request_key_text(const char *const key[KEY_FIELDS], char *buf, size_t size);
enum { REQUEST_KEY_TEXT = KEY_FIELDS * (RATION_KEY_MAX + 1) + 1 };

#endif
