/*
 * signal/rules.h - an adapter as it is once it was read: what its YAML says, checked and compiled
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SIGNAL_RULES_H
#define RATION_SIGNAL_RULES_H

#include "signal/value.h"

enum {
	TESTS_MAX = 8,
	RANGES_MAX = 8,
	STEPS_MAX = 3,
	WITH_MAX = 4,
	LIKE_MAX = 4, /* adapters that stand behind one */
	PRICED_MAX = 8,
};

/* --- conditions --- */

enum test_kind { TEST_EQUALS, TEST_MATCHES, TEST_PRESENT, TEST_ABSENT, TEST_EXHAUSTED };

struct test {
	enum test_kind kind;
	struct where where;
	struct pattern *pattern;
	const char *const *words; /* any of them; NULL behind the last */
};

/* All of it must hold. */
struct condition {
	struct {
		int low, high;
	} statuses[RANGES_MAX];
	uint32_t n_statuses; /* 0: any */
	struct test tests[TESTS_MAX];
	uint32_t n_tests;
};

/* Any of them must hold; none: it holds. */
struct conditions {
	const struct condition *any;
	uint32_t n;
};

/* --- limits --- */

/* Each text at `from`, and each match in it, makes variables of the groups that have names. */
struct step {
	struct value from;
	struct pattern *match;
	uint32_t variables[PATTERN_GROUPS_MAX + 1]; /* of each group; VARS_MAX: of none */
};

enum limit_field {
	FIELD_LIMIT,
	FIELD_REMAINING,
	FIELD_USED,
	FIELD_REFILL,
	FIELD_RESET,
	FIELD_WINDOW,
	LIMIT_FIELDS,
};

struct limit_rule {
	struct conditions when;
	struct step steps[STEPS_MAX];
	uint32_t n_steps;
	struct {
		uint32_t variable;
		struct value value;
	} with[WITH_MAX];
	uint32_t n_with;
	struct wording name;
	struct wording scope;
	struct wording unit;
	struct value fields[LIMIT_FIELDS];
	bool share; /* `used` is no count, but a part of the whole */
	bool standard; /* RateLimit, RateLimit-Policy and the older triple, with this before their names */
	const char *prefix;
};

/* --- waits --- */

enum wait_kind {
	WAIT_VALUE,
	WAIT_RESET,
	WAIT_REFILL,
	WAIT_WINDOW,  /* a window's length */
	WAIT_ALIGNED, /* until the next multiple of it, in UTC */
	WAIT_DEFAULT,
};

struct wait_step {
	enum wait_kind kind;
	struct value value; /* WAIT_VALUE; WAIT_REFILL: the units that are needed; WAIT_DEFAULT */
};

struct waits {
	const struct wait_step *steps;
	uint32_t n;
	bool written;
};

/* --- responses --- */

struct response_rule {
	struct conditions when;
	enum signal_class limit_class;
	bool never; /* retry */
	bool has_scope;
	bool has_block;
	enum signal_block block;
	struct value reason;
	const char *scope;
	struct waits waits;
};

/* --- requests --- */

/* value * times / per, rounded up. */
struct term {
	struct value value;
	bool bytes; /* not what stands there, but how long it is, at all places together */
	struct value times;
	struct number per;
};

/* The sum of those terms that there are. */
struct unit_rule {
	const char *unit;
	const struct term *terms;
	uint32_t n;
};

struct resource_rule {
	struct pattern *url; /* its named groups are variables */
	uint32_t variables[PATTERN_GROUPS_MAX + 1];
	struct {
		uint32_t variable;
		struct value value;
	} with[WITH_MAX];
	uint32_t n_with;
	struct wording resource;
};

/* What each of other units costs of this one. */
struct price_rule {
	const char *unit;
	struct pattern *resources; /* NULL: all */
	struct {
		const char *unit;
		struct number price;
	} per[PRICED_MAX];
	uint32_t n_per;
};

struct request_rules {
	const struct resource_rule *resources;
	const struct unit_rule *estimate;
	const struct unit_rule *usage;
	const struct price_rule *prices;
	uint32_t n_resources, n_estimate, n_usage, n_prices;
};

struct adapter {
	const char *name;
	const struct adapter *like; /* what it does not say itself; NULL: none */
	const struct limit_rule *limits;
	uint32_t n_limits;
	bool has_limits;
	const struct response_rule *responses;
	uint32_t n_responses;
	struct conditions never;
	struct waits waits;
	struct value *cost;
	uint32_t n_cost;
	const char *scope; /* of limits; NULL: not known */
	bool has_block;
	enum signal_block block;
	struct where documents[DOCUMENTS_MAX]; /* besides the body itself */
	uint32_t n_documents;
	const struct request_rules *requests; /* NULL: what stands behind it says */
};

/* --- evaluating them --- */

bool conditions_hold(struct reading *r, const struct conditions *conditions);

/*
 * The limit of this name, and of this partition and window as far as both are known; a new one if there
 * is none; NULL: no room.
 */
struct signal_limit *limit_named(struct signal *signal, const char *name, const char *partition,
				 int64_t window_ms);

/* What the adapter's limits find, into r->signal. */
void limits_read(struct reading *r, const struct adapter *adapter);

/* ratelimit.c: the fields of the IETF's drafts. */
void ratelimit_read(struct reading *r, const struct limit_rule *rule, const char *scope);

/* What both have in common: what is known of `from` and not of `to`. */
void limit_merge(struct signal_limit *to, const struct signal_limit *from);

/* limit, remaining and used from two of them. */
void limit_derive(struct signal_limit *limit);

bool limit_exhausted(const struct signal_limit *limit);

/* How long to wait: into r->signal. */
void waits_read(struct reading *r, const struct waits *waits);

#endif
