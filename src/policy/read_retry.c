/*
 * policy/read_retry.c - how requests of a class are tried again
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "policy/policy.h"
#include "policy/read.h"
#include "policy/scalar.h"

#define ATTEMPTS_FORM "how many times a request may be sent, from 1 to 1000"
#define TOTAL_FORM    "a time from 1ms to 7d, such as 30s or 6h"
#define BUDGET_FORM   "a part of the first tries, from 0% to 100%, such as 20%"

#define NS         UINT64_C(1000000000)
#define HOUR       (3600 * NS)
#define TOTAL_MAX  (168 * HOUR)
#define TRIES_MAX  1000u
#define BUDGET_ALL UINT64_C(1000000)

/*
 * What a class is for says how long its requests may be tried: whoever waits for an answer is not served by the third try, and
 * what nobody waits for is not worth one.
 */
static const struct {
	const char *class;
	uint32_t attempts;
	uint64_t total_ns;
} defaults[] = {
	{"recovery", 5, 600 * NS},    {"repair", 5, 600 * NS}, {"interactive", 2, 10 * NS},
	{"integration", 4, 300 * NS}, {"bulk", 100, 6 * HOUR}, {"speculative", 1, 0},
	{NULL, 3, 60 * NS},
};

struct blob_retry policy_retry_default(const char *class)
{
	size_t i = 0;

	while (defaults[i].class && strcmp(defaults[i].class, class) != 0)
		i++;
	return (struct blob_retry){
		.attempts = defaults[i].attempts,
		.budget_ppm = 200000,
		.total_ns = defaults[i].total_ns,
		.base_ns = NS,
		.cap_ns = 60 * NS,
	};
}

static void read_attempts(struct compiler *c, const struct node *value, void *target)
{
	struct blob_retry *retry = target;
	uint64_t count = 0;

	if (is_text(value) && scalar_count(value->text, &count) && count <= TRIES_MAX)
		retry->attempts = (uint32_t)count;
	else
		node_expected(&c->notes, value, ATTEMPTS_FORM);
}

static void read_time(struct compiler *c, const struct node *value, uint64_t *ret_ns)
{
	uint64_t ns = 0;

	if (is_text(value) && scalar_duration(value->text, TOTAL_MAX, &ns) && ns > 0)
		*ret_ns = ns;
	else
		node_expected(&c->notes, value, TOTAL_FORM);
}

static void read_total(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, &((struct blob_retry *)target)->total_ns);
}

static void read_base(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, &((struct blob_retry *)target)->base_ns);
}

static void read_cap(struct compiler *c, const struct node *value, void *target)
{
	read_time(c, value, &((struct blob_retry *)target)->cap_ns);
}

static void read_budget(struct compiler *c, const struct node *value, void *target)
{
	uint64_t ppm = 0;

	if (is_text(value) && scalar_percent(value->text, BUDGET_ALL, &ppm))
		((struct blob_retry *)target)->budget_ppm = (uint32_t)ppm;
	else
		node_expected(&c->notes, value, BUDGET_FORM);
}

static const struct field retry_fields[] = {
	{"attempts", read_attempts, 0, NULL, ANYWHERE}, {"total", read_total, 0, NULL, ANYWHERE},
	{"base", read_base, 0, NULL, ANYWHERE},         {"cap", read_cap, 0, NULL, ANYWHERE},
	{"budget", read_budget, 0, NULL, ANYWHERE},
};
static const struct schema retry_schema = SCHEMA("retry", retry_fields, false);

/* Over the defaults of a class of that name. */
void read_retry(struct compiler *c, const struct node *value, const char *class,
		struct blob_retry *ret_retry)
{
	*ret_retry = policy_retry_default(class);
	if (!value)
		return;
	if (is_text(value) && strcmp(value->text, "none") == 0)
		ret_retry->attempts = 1;
	else if (value->kind == NODE_MAP)
		schema_walk(c, value, &retry_schema, ret_retry);
	else
		node_expected(&c->notes, value,
			      "none, or a mapping such as {attempts: 3, total: 1min}");
}
