/*
 * policy/fields.c - reading the numbers and names that several parts of a policy share
 * SPDX-License-Identifier: MIT
 */
#include "policy/fields.h"

#include <string.h>

#include <ration/ration.h>

#include "policy/scalar.h"
#include "shm/slots.h"

#define DELAY_MAX (UINT64_C(3600) * 1000000000)
#define HOLD_MAX  (24 * DELAY_MAX)

/* --- numbers: field functions whose target is a struct written --- */

#define MARGIN_FORM "a percentage below 100%, such as 10%"
#define SHARE_FORM  "a percentage above 0% and up to 100%, such as 25%"
#define DELAY_FORM  "a time of at most 1h, such as 50ms or 2s"
#define HOLD_FORM   "a time of at most 24h, such as 30s or 1h"
#define LEARN_FORM  "no, yes or aimd"

void set_written(struct compiler *c, const struct node *value, struct written *written,
		 enum written_field field, bool good, const char *form)
{
	written->at[field] = value;
	if (good)
		return;
	written->broken = true;
	node_expected(&c->notes, value, form);
}

bool is_text(const struct node *value)
{
	return value->kind == NODE_TEXT && !value->broken;
}

void read_rate(struct compiler *c, const struct node *value, void *target)
{
	struct written *written = target;
	struct rate rate = {1, 1};
	const bool good = is_text(value) && scalar_rate(value->text, &rate);

	written->value[WRITTEN_RATE] = rate.amount;
	written->period_ns = rate.period_ns;
	set_written(c, value, written, WRITTEN_RATE, good, RATE_FORM);
}

static void read_count(struct compiler *c, const struct node *value, void *target,
		       enum written_field field)
{
	struct written *written = target;
	const bool good = is_text(value) && scalar_count(value->text, &written->value[field]);

	set_written(c, value, written, field, good, COUNT_FORM);
}

void read_burst(struct compiler *c, const struct node *value, void *target)
{
	read_count(c, value, target, WRITTEN_BURST);
}

void read_amount(struct compiler *c, const struct node *value, void *target)
{
	read_count(c, value, target, WRITTEN_AMOUNT);
}

void read_max_debt(struct compiler *c, const struct node *value, void *target)
{
	read_count(c, value, target, WRITTEN_DEBT);
}

void read_slots(struct compiler *c, const struct node *value, void *target)
{
	struct written *written = target;
	const bool good = is_text(value) &&
			  scalar_count(value->text, &written->value[WRITTEN_SLOTS]) &&
			  written->value[WRITTEN_SLOTS] <= SLOTS_MAX;

	set_written(c, value, written, WRITTEN_SLOTS, good, SLOTS_FORM);
}

void read_default_cost(struct compiler *c, const struct node *value, void *target)
{
	read_count(c, value, target, WRITTEN_COST);
}

void read_margin(struct compiler *c, const struct node *value, void *target)
{
	struct written *written = target;
	const bool good = is_text(value) &&
			  scalar_percent(value->text, 999999, &written->value[WRITTEN_MARGIN]);

	set_written(c, value, written, WRITTEN_MARGIN, good, MARGIN_FORM);
}

void read_share(struct compiler *c, const struct node *value, void *target)
{
	struct written *written = target;
	const bool good = is_text(value) &&
			  scalar_percent(value->text, 1000000, &written->value[WRITTEN_SHARE]) &&
			  written->value[WRITTEN_SHARE] > 0;

	set_written(c, value, written, WRITTEN_SHARE, good, SHARE_FORM);
}

static void read_time(struct compiler *c, const struct node *value, void *target,
		      enum written_field field, uint64_t max, const char *form)
{
	struct written *written = target;
	const bool good =
		is_text(value) && scalar_duration(value->text, max, &written->value[field]);

	set_written(c, value, written, field, good, form);
}

void read_delay(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, target, WRITTEN_DELAY, DELAY_MAX, DELAY_FORM);
}

void read_clock_skew(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, target, WRITTEN_SKEW, DELAY_MAX, DELAY_FORM);
}

void read_hold(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, target, WRITTEN_HOLD, HOLD_MAX, HOLD_FORM);
}

void read_learn(struct compiler *c, const struct node *value, void *target)
{
	static const struct {
		const char *word;
		uint32_t flag;
	} ways[] = {{"no", 0}, {"yes", LIMIT_ADOPTS}, {"aimd", LIMIT_SEEKS}};
	struct written *written = target;
	bool good = false;

	for (size_t i = 0; is_text(value) && i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(value->text, ways[i].word) != 0)
			continue;
		written->value[WRITTEN_LEARN] = ways[i].flag;
		good = true;
	}
	set_written(c, value, written, WRITTEN_LEARN, good, LEARN_FORM);
}

/* --- names --- */

#define NAME_FORM                                                                                  \
	"a name (letters, digits, '.', '_' and '-', beginning with a letter or digit, at most "    \
	"63)"
#define TENANT_FORM "the name of a tenant (1 to 256 bytes, and not '-')"

bool good_name(struct compiler *c, const struct node *node)
{
	if (is_text(node) && !node_empty(node) && scalar_name(node->text, node->size))
		return true;
	return node_expected(&c->notes, node, NAME_FORM);
}

/* Any text will do for a tenant, "null" too; "-" means none in a key. */
bool good_tenant(struct compiler *c, const struct node *node)
{
	if (node->size > 0 && node->size <= RATION_KEY_MAX && strcmp(node->text, "-") != 0)
		return true;
	return node_expected(&c->notes, node, TENANT_FORM);
}

void read_name(struct compiler *c, const struct node *value, void *target)
{
	struct named *named = target;

	named->at = value;
	if (good_name(c, value))
		named->name = value->text;
}

/* --- where numbers were published --- */

void read_published_source(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	if (!is_text(value) || value->size == 0)
		node_expected(&c->notes, value, "where the numbers are published, such as a URL");
}

void read_published_date(struct compiler *c, const struct node *value, void *target)
{
	static const char form[] = "0000-00-00";
	bool good = is_text(value) && value->size == sizeof(form) - 1;

	(void)target;
	for (size_t i = 0; good && i < sizeof(form) - 1; i++)
		good = form[i] == '-' ? value->text[i] == '-'
				      : value->text[i] >= '0' && value->text[i] <= '9';
	if (!good)
		node_expected(&c->notes, value, "the day they were read, such as 2025-09-30");
}

void read_published_note(struct compiler *c, const struct node *value, void *target)
{
	(void)target;
	if (!is_text(value))
		node_expected(&c->notes, value, "a text");
}
