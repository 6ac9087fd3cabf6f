/*
 * policy/breaker.c - for how long a vendor may be left alone, and when by ourselves
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/fields.h"
#include "policy/scalar.h"

#define SECOND_NS  UINT64_C(1000000000)
#define BLOCK_MAX  (UINT64_C(31) * 86400 * SECOND_NS)
#define WINDOW_MAX (600 * SECOND_NS)
#define LEAST_MAX  1000

#define BLOCK_FORM   "a time from 1s to 744h, such as 25h"
#define WINDOW_FORM  "a time from 1s to 10m, such as 10s"
#define OPEN_FORM    "a time from 1s to 744h, such as 30s"
#define SHARE_FORM   "a percentage above 0% and up to 100%, such as 50%"
#define LEAST_FORM   "a whole number from 1 to 1000, such as 10"
#define BREAKER_FORM "none, or a mapping such as {window: 10s, share: 50%, least: 10, open: 30s}"

static void read_time(struct compiler *c, const struct node *value, struct written *written,
		      enum written_field field, uint64_t max, const char *form)
{
	const bool good = is_text(value) &&
			  scalar_duration(value->text, max, &written->value[field]) &&
			  written->value[field] >= SECOND_NS;

	set_written(c, value, written, field, good, form);
}

void read_max_block(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, target, WRITTEN_MAX_BLOCK, BLOCK_MAX, BLOCK_FORM);
}

static void read_window(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, target, WRITTEN_BREAK_WINDOW, WINDOW_MAX, WINDOW_FORM);
}

static void read_open(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, target, WRITTEN_BREAK_OPEN, BLOCK_MAX, OPEN_FORM);
}

static void read_limited(struct compiler *c, const struct node *value, void *target)
{
	struct written *written = target;
	uint64_t *share = &written->value[WRITTEN_BREAK_SHARE];
	const bool good =
		is_text(value) && scalar_percent(value->text, 1000000, share) && *share > 0;

	set_written(c, value, written, WRITTEN_BREAK_SHARE, good, SHARE_FORM);
}

static void read_least(struct compiler *c, const struct node *value, void *target)
{
	struct written *written = target;
	uint64_t *least = &written->value[WRITTEN_BREAK_LEAST];
	const bool good = is_text(value) && scalar_count(value->text, least) && *least <= LEAST_MAX;

	set_written(c, value, written, WRITTEN_BREAK_LEAST, good, LEAST_FORM);
}

static const struct field breaker_fields[] = {
	{"window", read_window, 0, NULL, ANYWHERE},
	{"share", read_limited, 0, NULL, ANYWHERE},
	{"least", read_least, 0, NULL, ANYWHERE},
	{"open", read_open, 0, NULL, ANYWHERE},
};
static const struct schema breaker_schema = SCHEMA("a breaker", breaker_fields, false);

void read_breaker(struct compiler *c, const struct node *value, void *target)
{
	struct written *written = target;

	if (value->kind == NODE_MAP) {
		schema_walk(c, value, &breaker_schema, written);
		return;
	}
	written->value[WRITTEN_BREAK_WINDOW] = 0;
	set_written(c, value, written, WRITTEN_BREAK_WINDOW,
		    is_text(value) && strcmp(value->text, "none") == 0, BREAKER_FORM);
}
