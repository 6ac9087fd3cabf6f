/*
 * signal/conditions.c - whether a rule of an adapter is about this response
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "signal/rules.h"

struct question {
	const struct test *test;
	bool yes;
};

static bool one_of(const char *const *words, struct text text)
{
	for (; *words; words++) {
		if (text_same(text_of(*words), text))
			return true;
	}
	return false;
}

/* Goes on until one place says yes. */
static bool ask(void *user, const struct found *found)
{
	struct question *q = user;

	switch (q->test->kind) {
	case TEST_EQUALS:
		q->yes = !found->structured && one_of(q->test->words, found->text);
		break;
	case TEST_MATCHES:
		q->yes = pattern_matches(q->test->pattern, found->text.at, found->text.size);
		break;
	default:
		q->yes = true;
		break;
	}
	return !q->yes;
}

static bool exhausted(const struct signal *signal, const char *const *names)
{
	for (uint32_t i = 0; i < signal->n_limits; i++) {
		if (limit_exhausted(&signal->limits[i]) &&
		    one_of(names, text_of(signal->limits[i].name)))
			return true;
	}
	return false;
}

static bool test_holds(struct reading *r, const struct test *test)
{
	const struct vars none = {0};
	struct question q = {.test = test};

	if (test->kind == TEST_EXHAUSTED)
		return exhausted(r->signal, test->words);
	where_each(r, &test->where, &none, ask, &q);
	return q.yes == (test->kind != TEST_ABSENT);
}

static bool status_holds(const struct condition *c, int status)
{
	for (uint32_t i = 0; i < c->n_statuses; i++) {
		if (status >= c->statuses[i].low && status <= c->statuses[i].high)
			return true;
	}
	return c->n_statuses == 0;
}

/* The status first: it spares us the body of most answers. */
static bool condition_holds(struct reading *r, const struct condition *c)
{
	if (!status_holds(c, r->response->status))
		return false;
	for (uint32_t i = 0; i < c->n_tests; i++) {
		if (!test_holds(r, &c->tests[i]))
			return false;
	}
	return true;
}

bool conditions_hold(struct reading *r, const struct conditions *conditions)
{
	for (uint32_t i = 0; i < conditions->n; i++) {
		if (condition_holds(r, &conditions->any[i]))
			return true;
	}
	return conditions->n == 0;
}
