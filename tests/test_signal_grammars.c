/*
 * tests/test_signal_grammars.c - numbers, times, dates, structured fields and patterns: good ones and malformed ones
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "signal/date.h"
#include "signal/number.h"
#include "signal/pattern.h"
#include "signal/structured.h"
#include "signal/times.h"
#include "signal/value.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* 2023-11-14T22:13:20Z */
#define NOW (INT64_C(1700000000) * 1000000)
#define S   INT64_C(1000000)

/* A copy that ends where it ends, so that reading on is seen. */
static char *exact(const char *text, size_t size)
{
	char *copy = malloc(size ? size : 1);

	cr_assert_not_null(copy);
	memcpy(copy, text, size);
	return copy;
}

/* --- numbers --- */

Test(signal_grammars, numbers)
{
	static const struct {
		const char *text;
		int64_t digits;
		int32_t scale; /* -1: none */
	} cases[] = {
		{"0", 0, 0},
		{"12", 12, 0},
		{" 12\t", 12, 0},
		{"-3", -3, 0},
		{"007", 7, 0},
		{"0.15", 15, 2},
		{"60.0", 60, 0},
		{"0.04512", 4512, 5},
		{"40.025771073", 40025771073, 9},
		{"40.0257710739", 40025771073, 9},
		{"999999999999999", 999999999999999, 0},
		{"9223372036854775807", INT64_MAX, 0},
		{"9223372036854775808", 0, -1},
		{"184467440737095516160", 0, -1},
		{"922337203685477580.99", 922337203685477580, 0},
		{"", 0, -1},
		{" ", 0, -1},
		{"-", 0, -1},
		{".5", 0, -1},
		{"5.", 0, -1},
		{"1e5", 0, -1},
		{"+1", 0, -1},
		{"0x10", 0, -1},
		{"1 2", 0, -1},
		{"12a", 0, -1},
		{"--1", 0, -1},
		{"NaN", 0, -1},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		const size_t size = strlen(cases[i].text);
		char *text = exact(cases[i].text, size);
		struct number n = NUMBER_UNKNOWN;
		const bool good = number_parse(text, size, &n);

		cr_expect_eq(good, cases[i].scale >= 0, "'%s'", cases[i].text);
		if (good)
			cr_expect(n.digits == cases[i].digits && n.scale == cases[i].scale,
				  "'%s': %ld / 10^%d", cases[i].text, n.digits, n.scale);
		free(text);
	}
}

Test(signal_grammars, numbers_that_vendors_count_with)
{
	static const struct {
		const char *text;
		int64_t digits; /* -1: not known */
	} cases[] = {
		{"5", 5},
		{"-1", -1},
		{"1,200,000", 1200000},
		{"12,345", 12345},
		{"1234,567", -1},
		{"1,23", -1},
		{"1,,234", -1},
		{",123", -1},
		{"1,234,", -1},
		{"1,2345", -1},
		{"123", 123},
		{"unlimited", -1},
		{"111,222,333,444,555,666,777,888", -1},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		const struct number n =
			number_read((struct text){cases[i].text, strlen(cases[i].text)});

		cr_expect_eq(number_known(n) ? n.digits : -1, cases[i].digits, "%s", cases[i].text);
	}
}

Test(signal_grammars, sums_and_ratios)
{
	const struct number whole = number_of(1), part = {85, 2}, most = number_of(INT64_MAX);
	int64_t result = 7;

	cr_expect_eq(number_difference(whole, part).digits, 15);
	cr_expect_eq(number_difference(whole, part).scale, 2);
	cr_expect_eq(number_sum(part, (struct number){15, 2}).digits, 1);
	cr_expect_not(number_known(number_sum(most, whole)));
	cr_expect_not(number_known(number_sum(whole, NUMBER_UNKNOWN)));
	cr_expect_eq(number_compare(whole, part), 1);
	cr_expect_eq(number_compare(part, whole), -1);
	cr_expect_eq(number_compare((struct number){10, 1}, whole), 0);
	cr_expect(number_is_zero((struct number){0, 3}));
	cr_expect_not(number_is_zero(NUMBER_UNKNOWN));
	cr_expect(number_times((struct number){1, 9}, 1000, &result) && result == 1, "%ld", result);
	cr_expect_not(number_times(most, 1000, &result));
	cr_expect(number_ratio(number_of(1), 1000, (struct number){4512, 5}, &result));
	cr_expect_eq(result, 22164, "%ld", result);
	cr_expect(number_ratio(number_of(100), 1000, number_of(200), &result) && result == 500);
	cr_expect_not(number_ratio(whole, 1000, number_of(0), &result));
	cr_expect_not(number_ratio(whole, 1000, number_of(-5), &result));
	cr_expect_not(number_ratio(most, INT64_MAX, (struct number){1, 9}, &result));
	cr_expect_eq(result, 500, "untouched on failure");
}

/* --- times --- */

static void expect_until(enum time_notation notation, const char *text, int64_t expected)
{
	const size_t size = strlen(text);
	char *copy = exact(text, size);
	int64_t us = -1;

	if (!time_until(notation, copy, size, NOW, &us))
		us = -1;
	cr_expect_eq(us, expected, "%s '%s': %ld, not %ld", time_words[notation], text, us,
		     expected);
	free(copy);
}

Test(signal_grammars, times)
{
	static const struct {
		enum time_notation notation;
		const char *text;
		int64_t us; /* -1: none */
	} cases[] = {
		{TIME_SECONDS, "30", 30 * S},
		{TIME_SECONDS, "1.5", 1500000},
		{TIME_SECONDS, "0.0000001", 1},
		{TIME_SECONDS, "-1", -1},
		{TIME_SECONDS, "30s", -1},
		{TIME_SECONDS, "1700000030", 1700000030 * S},
		{TIME_SECONDS, "9223372036854", 9223372036854 * S},
		{TIME_SECONDS, "9223372036855", -1},
		{TIME_MILLISECONDS, "6204", 6204000},
		{TIME_MILLISECONDS, "0.4", 400},
		{TIME_MINUTES, "5", 300 * S},
		{TIME_EPOCH, "1700000030", 30 * S},
		{TIME_EPOCH, "1700000000.25", 250000},
		{TIME_EPOCH, "1600000000", 0},
		{TIME_EPOCH, "soon", -1},
		{TIME_EPOCH, "2023-11-14T22:14:20Z", -1},
		{TIME_EPOCH_MS, "1700000000250", 250000},
		{TIME_DURATION, "1h23m31s", 5011 * S},
		{TIME_DURATION, "6m0s", 360 * S},
		{TIME_DURATION, "370ms", 370000},
		{TIME_DURATION, "33.023s", 33023000},
		{TIME_DURATION, "34.074824224s", 34074825},
		{TIME_DURATION, "1.5h", 5400 * S},
		{TIME_DURATION, "10us", 10},
		{TIME_DURATION, "10\xc2\xb5s", 10},
		{TIME_DURATION, "10\xce\xbcs", 10},
		{TIME_DURATION, "1ns", 1},
		{TIME_DURATION, "2d", 172800 * S},
		{TIME_DURATION, "0s", 0},
		{TIME_DURATION, "", -1},
		{TIME_DURATION, "5", -1},
		{TIME_DURATION, "s", -1},
		{TIME_DURATION, "5 s", -1},
		{TIME_DURATION, "-5s", -1},
		{TIME_DURATION, "5s-3ms", -1},
		{TIME_DURATION, "1h-1s", -1},
		{TIME_DURATION, "5x", -1},
		{TIME_DURATION, "5s6", -1},
		{TIME_DURATION, "99999999999h", -1},
		{TIME_DATE, "Tue, 14 Nov 2023 22:14:20 GMT", 60 * S},
		{TIME_DATE, "60", -1},
		{TIME_RETRY_AFTER, "60", 60 * S},
		{TIME_RETRY_AFTER, "2.0", 2 * S},
		{TIME_RETRY_AFTER, "Tue, 14 Nov 2023 22:14:20 GMT", 60 * S},
		{TIME_RETRY_AFTER, "Fri, 31 Dec 1999 23:59:59 GMT", 0},
		{TIME_RETRY_AFTER, "60s", -1},
		{TIME_AUTO, "17", 17 * S},
		{TIME_AUTO, "1000000000", 1000000000 * S},
		{TIME_AUTO, "1700000012", 12 * S},
		{TIME_AUTO, "1700000012000", 12 * S},
		{TIME_AUTO, "12s", 12 * S},
		{TIME_AUTO, "2023-11-14T22:14:20Z", 60 * S},
		{TIME_AUTO, "tomorrow", -1},
	};

	for (size_t i = 0; i < LENGTH(cases); i++)
		expect_until(cases[i].notation, cases[i].text, cases[i].us);
}

Test(signal_grammars, intervals)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
		{"second", S},      {"Minute", 60 * S},   {"hour", 3600 * S},
		{"DAY", 86400 * S}, {"week", 604800 * S}, {"1m", 60 * S},
		{"10s", 10 * S},    {"1w", 604800 * S},   {"month", 2592000 * S},
		{"0s", -1},         {"days", -1},         {"", -1},
		{"60", -1},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		int64_t us;

		if (!time_interval(cases[i].text, strlen(cases[i].text), &us))
			us = -1;
		cr_expect_eq(us, cases[i].us, "%s: %ld", cases[i].text, us);
	}
	cr_expect_eq(time_to_ms(0), 0);
	cr_expect_eq(time_to_ms(1), 1);
	cr_expect_eq(time_to_ms(1000), 1);
	cr_expect_eq(time_to_ms(1001), 2);
}

/* --- dates --- */

Test(signal_grammars, dates)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: none */
	} cases[] = {
		{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
		{"Sun Nov  6 08:49:37 1994", 784111777},
		{"Sun Nov 06 1994 09:49:37 GMT+0100 (Central European Standard Time)", 784111777},
		{"Sun Nov 06 1994 03:49:37 GMT-0500 (EST)", 784111777},
		{"1994-11-06T08:49:37Z", 784111777},
		{"1994-11-06t08:49:37z", 784111777},
		{"1994-11-06 08:49:37", 784111777},
		{"1994-11-06T09:49:37+01:00", 784111777},
		{"1994-11-06T09:49:37+0100", 784111777},
		{"1994-11-06T08:49Z", 784111740},
		{"1994-11-06", 784080000},
		{" 1994-11-06 ", 784080000},
		{"2024-02-29T00:00:00Z", 1709164800},
		{"2000-02-29T00:00:00Z", 951782400},
		{"1970-01-01T00:00:00Z", 0},
		{"2100-03-01T00:00:00Z", 4107542400},
		{"9999-12-31T23:59:59Z", 253402300799},
		{"2023-11-14T22:13:60Z", 1700000040},
		{"Wed, 31 Dec 73 00:00:00 GMT", 3281904000},
		{"Tue, 31 Dec 74 00:00:00 GMT", 157680000},
		{"2023-02-29T00:00:00Z", -1},
		{"2100-02-29T00:00:00Z", -1},
		{"2023-13-01T00:00:00Z", -1},
		{"2023-00-01T00:00:00Z", -1},
		{"2023-11-00T00:00:00Z", -1},
		{"2023-11-31T00:00:00Z", -1},
		{"2023-11-14T25:00:00Z", -1},
		{"2023-11-14T22:60:00Z", -1},
		{"2023-11-14T22:13:61Z", -1},
		{"2023-11-14T22:13:20+24:00", -1},
		{"2023-11-14T22:13:20+1", -1},
		{"2023-11-14T22:13:20.Z", -1},
		{"2023-11-14T22:13:20Zulu", -1},
		{"2023-11-14T", -1},
		{"2023-11", -1},
		{"Tue, 14 Foo 2023 22:13:20 GMT", -1},
		{"Tue, 14 Nov 2023", -1},
		{"Tue, 14 Nov 2023 22:13", 1700000000 - 20},
		{"Tue, Nov 2023 22:13:20 GMT", -1},
		{"Tue, 14 Nov 2023 22:13:20 GMT (", -1},
		{"Tue, 14 Nov 2023 22:13:20 PST", -1},
		{"14 14 Nov 2023 2023 22:13:20", -1},
		{"22:13:20", -1},
		{"12345", -1},
		{"", -1},
		{"now", -1},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		const size_t size = strlen(cases[i].text);
		char *text = exact(cases[i].text, size);
		int64_t us = -S;

		if (!date_parse(text, size, NOW, &us))
			us = -S;
		cr_expect_eq(us, cases[i].seconds * S, "'%s': %ld", cases[i].text, us / S);
		free(text);
	}
}

Test(signal_grammars, fractions_of_dates_round_up)
{
	static const char text[] = "1970-01-01T00:00:01.0000001Z";
	int64_t us = 0;

	cr_expect(date_parse(text, strlen(text), NOW, &us));
	cr_expect_eq(us, S + 1);
}

/* --- structured fields --- */

static bool list(const char *text, struct field_list *ret)
{
	const size_t size = strlen(text);
	char *copy = exact(text, size);
	const bool good = field_list_parse(copy, size, ret);

	free(copy);
	return good;
}

Test(signal_grammars, fields_good)
{
	static const struct {
		const char *text;
		uint32_t members;
	} cases[] = {
		{"", 0},
		{"\"a\"", 1},
		{"  \"a\"", 1},
		{"\"a\" ,\t\"b\"", 2},
		{"\"a\";r=1;  t=2, b;c, 4, -4, 4.5, ?0, ?1, :YQ==:, @17, %\"f%c3%bc\"", 10},
		{"(), (a b), (\"x\";p=1 2);q", 3},
		{"*tok/en:x", 1},
		{"\"\\\"\\\\\"", 1},
		{"999999999999999, 123456789012.123", 2},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct field_list fields;

		cr_expect(list(cases[i].text, &fields), "%s", cases[i].text);
		cr_expect_eq(fields.n_members, cases[i].members, "%s: %u", cases[i].text,
			     fields.n_members);
	}
}

Test(signal_grammars, fields_malformed)
{
	static const char *const cases[] = {
		"\"a\",",
		",\"a\"",
		"\"a\" \"b\"",
		"\"a",
		"\"a\\\"",
		"\"a\\x\"",
		"\"\x7f\"",
		"\"\xc3\xbc\"",
		"\"a\";",
		"\"a\";R=1",
		"\"a\";r=",
		"\"a\";=1",
		"\"a\" ;r=1",
		"1234567890123456",
		"1234567890123.1",
		"1.",
		"1.1234",
		"-",
		"--1",
		".5",
		":YQ",
		":Y Q:",
		"?2",
		"?",
		"@1.5",
		"@x",
		"%\"%zz\"",
		"%\"%C3\"",
		"%a",
		"(a",
		"(a b",
		"(a\tb)",
		"(a)(b)",
		"a=1",
		"{}",
		"\"a\";r=(1)",
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct field_list fields;

		cr_expect_not(list(cases[i], &fields), "%s", cases[i]);
	}
}

Test(signal_grammars, dictionaries)
{
	static const char text[] = "limit=100;x, reset=5, flag, limit=7, list=(1 2)";
	static const char *const bad[] = {"limit=", "Limit=1", "limit=1,", "=1", "a b", "a=1 b=2"};
	struct field_list fields;

	cr_assert(field_dictionary_parse(text, strlen(text), &fields));
	cr_expect_eq(fields.n_members, 4);
	cr_expect_eq(field_entry(&fields, "limit")->integer, 7, "the last one wins");
	cr_expect_eq(field_entry(&fields, "flag")->type, FIELD_BOOLEAN);
	cr_expect_eq(field_entry(&fields, "list")->type, FIELD_INNER_LIST);
	cr_expect_null(field_entry(&fields, "lim"));
	for (size_t i = 0; i < LENGTH(bad); i++)
		cr_expect_not(field_dictionary_parse(bad[i], strlen(bad[i]), &fields), "%s",
			      bad[i]);
}

Test(signal_grammars, fields_beyond_what_is_kept)
{
	char text[8192] = "\"a\"";
	struct field_list fields;

	for (int i = 0; i < 40; i++)
		sprintf(text + strlen(text), ";p%d=%d", i, i);
	for (int i = 0; i < 100; i++)
		strcat(text, ", \"b\"");
	cr_expect(list(text, &fields));
	cr_expect_eq(fields.n_members, FIELD_MEMBERS_MAX);
	cr_expect_eq(fields.members[0].n_parameters, FIELD_PARAMETERS_MAX);
	strcat(text, ", \"");
	cr_expect_not(list(text, &fields), "what is not kept is checked, too");
}

Test(signal_grammars, strings_are_unescaped_and_cut)
{
	static const char text[] = "\"a\\\"b\\\\c\"";
	struct field_list fields;
	char buffer[8];

	cr_assert(field_list_parse(text, strlen(text), &fields));
	field_string(&fields.members[0].item, buffer, sizeof(buffer));
	cr_expect_str_eq(buffer, "a\"b\\c");
	field_string(&fields.members[0].item, buffer, 3);
	cr_expect_str_eq(buffer, "a\"");
}

/* --- patterns --- */

static struct pattern *pattern(const char *text, unsigned flags)
{
	char message[128];
	size_t offset;
	struct pattern *p =
		pattern_compile(text, strlen(text), flags, message, sizeof(message), &offset);

	cr_assert_not_null(p, "%s: %s at %zu", text, message, offset);
	return p;
}

Test(signal_grammars, patterns)
{
	struct pattern *p = pattern("(?<name>[a-z]+)=(\\d*)", 0);
	static const char text[] = "a=1; b=; c=33";
	struct pattern_match match;
	size_t at = 0, n = 0;

	cr_expect_eq(pattern_groups(p), 2);
	cr_expect_eq(pattern_group(p, "name"), 1);
	cr_expect_eq(pattern_group(p, "other"), 0);
	cr_expect_str_eq(pattern_group_name(p, 1), "name");
	cr_expect_null(pattern_group_name(p, 2));
	for (; pattern_next(p, text, strlen(text), &at, &match); n++)
		cr_expect_eq(match.at[1].size, 1);
	cr_expect_eq(n, 3);
	cr_expect_eq(match.at[2].size, 2);
	pattern_free(&p);
	cr_expect_null(p);
	pattern_free(&p);
	p = pattern("x*", 0);
	for (at = 0, n = 0; pattern_next(p, "yy", 2, &at, &match); n++)
		;
	cr_expect_eq(n, 3, "empty matches end: %zu", n);
	pattern_free(&p);
	p = pattern("AB", PATTERN_ANY_CASE | PATTERN_WHOLE);
	cr_expect(pattern_matches(p, "aB", 2));
	cr_expect_not(pattern_matches(p, "xab", 3));
	cr_expect_not(pattern_matches(p, "abx", 3));
	pattern_free(&p);
}

Test(signal_grammars, malformed_patterns)
{
	char message[128] = "";
	size_t offset = 0;

	cr_expect_null(pattern_compile("a(b", 3, 0, message, sizeof(message), &offset));
	cr_expect_eq(offset, 3);
	cr_expect(strstr(message, "parenthes"), "%s", message);
	cr_expect_null(pattern_compile("a(b", 3, 0, message, 4, &offset));
	cr_expect_eq(strlen(message), 3);
}

Test(signal_grammars, patterns_that_never_end_do_not_match, .timeout = 60)
{
	struct pattern *p = pattern("^(a+)+$", 0);
	char text[4096];

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = 'b';
	cr_expect_not(pattern_matches(p, text, sizeof(text)));
	pattern_free(&p);
}
