/*
 * tests/support_signal.c - responses, and what an adapter is expected to make of them
 * SPDX-License-Identifier: MIT
 */
#include "support_signal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/signal_json.h"

static void no_message(void *user, const struct policy_message *m)
{
	(void)user;
	cr_assert_fail("%s:%u:%u: %s", m->file, m->line, m->column, m->text);
}

struct adapters *signal_adapters(const char *directory)
{
	struct adapters *adapters = NULL;

	cr_assert_eq(adapters_open(directory, no_message, NULL, &adapters), 0);
	return adapters;
}

json_t *signal_of(struct adapters *adapters, const json_t *response)
{
	const struct adapter *adapter = NULL;
	struct signal_case c;
	struct signal signal;
	const char *wrong = signal_case_read(response, &c);

	cr_assert_null(wrong, "%s", wrong);
	cr_assert_eq(adapters_get(adapters, c.vendor, &adapter), 0, "%s", c.vendor);
	signal_read(adapter, &c.response, &signal);
	signal_case_free(&c);
	return signal_json(&signal);
}

/* --- comparing --- */

static bool same(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return fabs(json_number_value(a) - json_number_value(b)) < 1e-9;
	return json_equal(a, b);
}

static char *difference(const char *what, const json_t *expected, const json_t *found)
{
	char *left = json_dumps(expected, JSON_ENCODE_ANY | JSON_COMPACT);
	char *right = json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT);
	char *text = NULL;

	cr_assert_geq(asprintf(&text, "%s: expected %s, found %s", what, left ? left : "nothing",
			       right ? right : "nothing"),
		      0);
	free(left);
	free(right);
	return text;
}

static char *limits_differ(const json_t *expected, const json_t *found)
{
	const char *key;
	json_t *value, *limit;
	size_t i;

	if (json_array_size(expected) != json_array_size(found))
		return difference("limits", expected, found);
	json_array_foreach(expected, i, limit)
	{
		json_object_foreach(limit, key, value)
		{
			if (!same(value, json_object_get(json_array_get(found, i), key)))
				return difference("limits", expected, found);
		}
	}
	return NULL;
}

char *signal_differs(const json_t *expected, const json_t *signal)
{
	json_t *writable, *value;
	const char *key;

	memcpy(&writable, &expected, sizeof(writable));
	json_object_foreach(writable, key, value)
	{
		const json_t *found = json_object_get(signal, key);
		char *text = NULL;

		if (strcmp(key, "limits") == 0)
			text = limits_differ(value, found);
		else if (!same(value, found) && !(strcmp(key, "scope") == 0 && json_is_null(value)))
			text = difference(key, value, found);
		if (text)
			return text;
	}
	if (json_object_get(signal, "cost") && !json_object_get(expected, "cost"))
		return difference("cost", NULL, json_object_get(signal, "cost"));
	return NULL;
}

size_t signal_check_file(const char *path)
{
	struct adapters *adapters = signal_adapters(NULL);
	json_t *cases = json_load_file(path, 0, NULL), *one;
	const size_t n = json_array_size(cases);
	size_t i;

	cr_assert(json_is_array(cases), "%s", path);
	json_array_foreach(cases, i, one)
	{
		json_t *signal = signal_of(adapters, one);
		char *text = signal_differs(json_object_get(one, "expect"), signal);

		cr_expect_null(text, "%s: %s", json_string_value(json_object_get(one, "id")), text);
		free(text);
		json_decref(signal);
	}
	json_decref(cases);
	adapters_close(&adapters);
	return n;
}
