/*
 * policy/fields.h - reading the numbers and names that several parts of a policy share
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_FIELDS_H
#define RATION_POLICY_FIELDS_H

#include "policy/schema.h"

/* Target: a struct written. */
field_read read_rate, read_burst, read_amount, read_slots, read_margin, read_share, read_delay,
	read_clock_skew, read_default_cost, read_max_debt, read_hold, read_learn;

/* The same: for how long a vendor may be left alone, and when by ourselves (breaker.c). */
field_read read_max_block, read_breaker;

/* What the values must look like. */
#define RATE_FORM  "a rate such as 100/s, 90000/min or 100k/day"
#define COUNT_FORM "a whole number from 1 to 1099511627775, such as 50 or 10k"
#define SLOTS_FORM "a whole number from 1 to 1024"

/* Note where a number was written; and if it is not good, what it must look like. */
void set_written(struct compiler *c, const struct node *value, struct written *written,
		 enum written_field field, bool good, const char *form);

/* Target: a struct draft_mode (modes.c). */
field_read read_mode;

/* Target: a struct named; its name stays NULL if it is none. */
field_read read_name;

/* Where numbers were published, when they were read there, what else is to be known. Target: unused. */
field_read read_published_source, read_published_date, read_published_note;

/* Whether it is a text that no error was noted for. */
bool is_text(const struct node *node);

/* Whether a text may be the name of a vendor, class, limit, unit or plan, or of a tenant; else an error is noted. */
bool good_name(struct compiler *c, const struct node *node);
bool good_tenant(struct compiler *c, const struct node *node);

#endif
