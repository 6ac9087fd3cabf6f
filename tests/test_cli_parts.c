/*
 * tests/test_cli_parts.c - what the command line is made of: options, lines, requests, tables, percentiles, backlog
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/histogram.h"
#include "cli/key.h"
#include "cli/lines.h"
#include "cli/pipe_hold.h"
#include "cli/request.h"
#include "cli/run_backlog.h"
#include "cli/words.h"

/* splitmix64; the seed is printed so that a failure can be repeated. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t seeded(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	fprintf(stderr, "seed %lld\n", (long long)t.tv_sec * 1000000000LL + t.tv_nsec);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* --- options --- */

Test(cli_args, durations)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{"0", 0},
		{"0s", 0},
		{"5s", 5000000000u},
		{"20ms", 20000000},
		{"1.5m", 90000000000u},
		{"1.5min", 90000000000u},
		{"2h", 7200000000000u},
		{"100us", 100000},
		{"7ns", 7},
		{"1d", 86400000000000u},
	};
	static const char *const bad[] = {"",     "5",     "s",   "-5s", "5 s",
					  "5sec", "1e30s", "nan", " 5s"};
	uint64_t ns;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert(args_duration(good[i].text, &ns), "%s", good[i].text);
		cr_assert_eq(ns, good[i].ns, "%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(args_duration(bad[i], &ns), "%s", bad[i]);
}

Test(cli_args, keys)
{
	char three[3][8] = {"acme", "crm", "bulk"}, five[] = "a/b/c/d/e", four[] = "a/b/c/d";
	char *operands[3] = {three[0], three[1], three[2]};
	struct cli_key key;
	char text[64];

	cr_assert_eq(key_parse("t", operands, 3, NULL, "gpt", &key), 0);
	key_text(&key, text, sizeof(text));
	cr_assert_str_eq(text, "acme/crm/bulk/-/gpt");
	operands[0] = five;
	cr_assert_eq(key_parse("t", operands, 1, NULL, NULL, &key), 0);
	cr_assert_str_eq(key.field[KEY_RESOURCE], "e");
	operands[0] = four;
	cr_assert_eq(key_parse("t", operands, 1, "other", NULL, &key), 0);
	cr_assert_str_eq(key.field[KEY_ACCOUNT], "other");
	cr_assert_null(key.field[KEY_RESOURCE]);
}

/* --- lines --- */

struct expected_line {
	enum line_result result;
	const char *text;
};

static void check_lines(const char *input, size_t size, const struct expected_line *expected,
			size_t n)
{
	struct lines lines = {0};
	const char *text;
	size_t length, seen = 0;
	enum line_result r;
	int fds[2];

	cr_assert(pipe2(fds, O_CLOEXEC) == 0);
	cr_assert(write(fds[1], input, size) == (ssize_t)size);
	close(fds[1]);
	lines.fd = fds[0];
	while ((r = lines_next(&lines, &text, &length)) != LINE_END) {
		if (r == LINE_NEED_MORE) {
			cr_assert(lines_fill(&lines) >= 0);
			continue;
		}
		cr_assert_lt(seen, n);
		cr_assert_eq(r, expected[seen].result);
		cr_assert_eq(length, strlen(expected[seen].text));
		cr_assert(memcmp(text, expected[seen].text, length) == 0);
		cr_assert_eq(lines.number, ++seen);
	}
	cr_assert_eq(seen, n);
	cr_assert_eq(lines.offset, size);
	lines_free(&lines);
	close(fds[0]);
}

Test(cli_lines, ends)
{
	static const struct expected_line three[] = {
		{LINE_TEXT, "a"}, {LINE_TEXT, ""}, {LINE_TEXT, "bc"}};

	check_lines("", 0, NULL, 0);
	check_lines("a\n\nbc\n", 6, three, 3);
	check_lines("a\n\nbc", 5, three, 3);
	check_lines("a\r\n\r\nbc\r\n", 9, three, 3);
	check_lines("\n", 1, (struct expected_line[]){{LINE_TEXT, ""}}, 1);
}

Test(cli_lines, too_long_is_skipped)
{
	struct test_file {
		FILE *file;
		int fd;
	} t = {.file = tmpfile()};
	struct lines lines = {0};
	enum line_result r;
	const char *text;
	size_t size, long_ones = 0, others = 0;

	cr_assert(t.file);
	for (size_t i = 0; i < LINES_MAX_SIZE + 100000; i++)
		fputc('x', t.file);
	fputs("\nnext\n", t.file);
	rewind(t.file);
	lines.fd = fileno(t.file);
	while ((r = lines_next(&lines, &text, &size)) != LINE_END) {
		if (r == LINE_NEED_MORE)
			cr_assert(lines_fill(&lines) >= 0);
		long_ones += r == LINE_TOO_LONG;
		if (r == LINE_TEXT) {
			others++;
			cr_assert(size == 4 && memcmp(text, "next", 4) == 0);
			cr_assert_eq(lines.number, 2);
		}
		cr_assert_lt(lines.buffer.room, 4 * LINES_MAX_SIZE);
	}
	cr_assert_eq(long_ones, 1);
	cr_assert_eq(others, 1);
	lines_free(&lines);
	fclose(t.file);
}

/* --- percentiles --- */

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

Test(cli_histogram, within_one_percent_of_the_exact_value)
{
	static const unsigned permille[] = {1, 10, 500, 900, 990, 999, 1000};
	enum { N = 5000 };
	struct histogram *h = calloc(1, sizeof(*h));
	uint64_t *values = calloc(N, sizeof(*values)), seed = seeded();

	for (int i = 0; i < N; i++) {
		values[i] = random_next(&seed) >> (random_next(&seed) % 64);
		histogram_add(h, values[i]);
	}
	qsort(values, N, sizeof(*values), by_value);
	for (size_t i = 0; i < sizeof(permille) / sizeof(permille[0]); i++) {
		const size_t rank = (N * (size_t)permille[i] + 999) / 1000;
		const double exact = (double)values[rank - 1];
		const double got = (double)histogram_at(h, permille[i]);

		cr_assert(got >= exact * 0.99 - 1 && got <= exact * 1.01 + 1, "%u: %g, not %g",
			  permille[i], got, exact);
	}
	cr_assert_eq(h->max, values[N - 1]);
	free(values);
	free(h);
}

Test(cli_histogram, extremes)
{
	struct histogram *h = calloc(1, sizeof(*h));

	cr_assert_eq(histogram_at(h, 500), 0);
	histogram_add(h, 0);
	cr_assert_eq(histogram_at(h, 500), 0);
	histogram_add(h, UINT64_MAX);
	cr_assert_eq(histogram_at(h, 500), 0);
	cr_assert_gt(histogram_at(h, 1000), UINT64_MAX / 100 * 99);
	for (uint64_t v = 0; v < 256; v++) {
		memset(h, 0, sizeof(*h));
		histogram_add(h, v);
		histogram_add(h, v + 1000);
		cr_assert_eq(histogram_at(h, 500), v);
	}
	free(h);
}

/* --- tables --- */

Test(cli_table, finds_what_was_put_in)
{
	struct table table = {0};
	const struct table_entry **sorted;
	char key[32];

	for (uintptr_t i = 1; i <= 10000; i++) {
		const int n = snprintf(key, sizeof(key), "key-%05u", (unsigned)i);

		cr_assert_null(table_get(&table, key, (size_t)n));
		*table_at(&table, key, (size_t)n) = (void *)i;
	}
	for (uintptr_t i = 1; i <= 10000; i++) {
		const int n = snprintf(key, sizeof(key), "key-%05u", (unsigned)i);

		cr_assert_eq(table_get(&table, key, (size_t)n), (void *)i);
		cr_assert_eq(*table_at(&table, key, (size_t)n), (void *)i);
	}
	cr_assert_eq(table.count, 10000);
	sorted = table_sorted(&table);
	for (uintptr_t i = 0; i < 10000; i++)
		cr_assert_eq(sorted[i]->value, (void *)(i + 1));
	free(sorted);
	table_free(&table);
}

Test(cli_table, sets_of_ids)
{
	struct idset set = {0};
	char id[32];

	cr_assert_not(idset_has(&set, "a", 1));
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < 10000; i++) {
			const int n = snprintf(id, sizeof(id), "%d", i);

			cr_assert_eq(idset_has(&set, id, (size_t)n), pass == 1);
			cr_assert_eq(idset_add(&set, id, (size_t)n), pass == 0);
		}
	cr_assert_eq(set.count, 10000);
	idset_free(&set);
}

/* --- requests --- */

static bool read_line(const char *text, enum request_form form, struct request *request,
		      struct request_error *error)
{
	json_t *root = request_decode(text, strlen(text), error);
	bool ok = root && request_read(root, form, request, error);

	if (!ok)
		json_decref(root);
	return ok;
}

Test(cli_request, all_fields)
{
	static const char line[] = "{\"id\":\"x\",\"tenant\":\"acme\",\"vendor\":\"crm\",\"class\":"
				   "\"bulk\",\"account\":null,"
				   "\"resource\":\"m\",\"method\":\"PUT\",\"url\":\"http://h/"
				   "\",\"headers\":{\"A\":\"b\"},"
				   "\"body\":\"text\",\"cost\":{\"tokens\":12,\"requests\":0},"
				   "\"timeout_ms\":1.5,\"deadline_ms\":7}";
	struct request_error error;
	struct request r;
	char *id;

	cr_assert(read_line(line, FORM_RUN, &r, &error), "%s", error.text);
	cr_assert_str_eq(r.key[KEY_TENANT], "acme");
	cr_assert_null(r.key[KEY_ACCOUNT]);
	cr_assert_str_eq(r.key[KEY_RESOURCE], "m");
	cr_assert_str_eq(r.method, "PUT");
	cr_assert_eq(r.body_size, 4);
	cr_assert_eq(r.n_costs, 2);
	cr_assert_eq(r.timeout_ns, 1500000);
	cr_assert_eq(r.deadline_ns, 7000000);
	id = request_id(r.root, &error);
	cr_assert_str_eq(id, "\"x\"");
	free(id);
	json_decref(r.root);
}

Test(cli_request, messages_name_fields_and_never_values)
{
	static const struct {
		const char *line;
		const char *text;
	} bad[] = {
		{"{\"url\":\"SECRET", "the line ends inside the JSON, at byte 14"},
		{"SECRET", "not JSON, at byte 6"},
		{"[\"SECRET\"]", "not a JSON object"},
		{"{\"url\":\"SECRET\"} x", "something follows the JSON, at byte 18"},
		{"{\"a\":1,\"a\":\"SECRET\"}", "a field stands twice in an object, at byte 10"},
		{"{\"url\":\"\\u0000SECRET\"}", "a zero byte in a string, at byte 21"},
		{"{\"tenent\":\"SECRET\"}", "tenent: no such field"},
		{"{\"tenant\":5}", "tenant: must be a string"},
		{"{\"tenant\":\"SEC\\u0001RET\"}", "tenant: holds a control character"},
		{"{\"headers\":\"SECRET\"}", "headers: must be an object of at most 256 strings"},
		{"{\"headers\":{\"SEC RET\":\"x\"}}", "headers: a name is not allowed in HTTP"},
		{"{\"headers\":{\"A\":\"SEC\\r\\nRET\"}}",
		 "headers: a value must be a string of one line"},
		{"{\"headers\":{\"A\":5}}", "headers: a value must be a string of one line"},
		{"{\"cost\":5}", "cost: must be an object such as {\"tokens\": 1200}"},
		{"{\"cost\":{\"tokens\":-1}}",
		 "cost: tokens must be a whole number, 0 to 1099511627775"},
		{"{\"cost\":{\"tokens\":1.5}}",
		 "cost: tokens must be a whole number, 0 to 1099511627775"},
		{"{\"timeout_ms\":-1}", "timeout_ms: must be a number of milliseconds"},
		{"{\"deadline_ms\":\"5\"}", "deadline_ms: must be a number of milliseconds"},
		{"{\"body\":{}}", "body: must be a string"},
		{"{\"method\":\"GET\"}", "url: missing"},
		{"{\"alternatives\":{\"a\":{}}}", "url: missing"},
		{"{\"alternatives\":{\"a\":{\"url\":\"SECRET\"},\"b\":{}}}", "url: missing"},
		{"{\"alternatives\":[]}", "alternatives: must be an object of 1 to 8 objects"},
		{"{\"alternatives\":{}}", "alternatives: must be an object of 1 to 8 objects"},
		{"{\"alternatives\":{\"a\":1}}", "alternatives: each must be an object"},
		{"{\"alternatives\":{\"a\":{\"vendor\":\"SECRET\"}}}",
		 "alternatives: vendor: no such field"},
		{"{\"alternatives\":{\"a\":{\"headers\":\"SECRET\"}}}",
		 "alternatives: headers: must be an object of at most 256 strings"},
		{"{\"op\":\"acquire\",\"url\":\"x\"}", "op: no such field"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct request_error error = {""};
		struct request r;

		cr_assert_not(read_line(bad[i].line, FORM_RUN, &r, &error), "%s", bad[i].line);
		cr_expect_str_eq(error.text, bad[i].text, "%s: %s", bad[i].line, error.text);
	}
}

Test(cli_request, ids)
{
	static const struct {
		const char *line;
		const char *id; /* or, if not quoted JSON, the message */
	} cases[] = {
		{"{\"id\":\"\\u00e4 b\"}", "\"\xc3\xa4 b\""},
		{"{\"id\":17}", "17"},
		{"{\"id\":-17}", "-17"},
		{"{}", "id: missing"},
		{"{\"id\":1.5}", "id: must be a string or a whole number"},
		{"{\"id\":null}", "id: must be a string or a whole number"},
		{"{\"id\":{}}", "id: must be a string or a whole number"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request_error error = {""};
		json_t *root = request_decode(cases[i].line, strlen(cases[i].line), &error);
		char *id = request_id(root, &error);

		cr_expect_str_eq(id ? id : error.text, cases[i].id);
		free(id);
		json_decref(root);
	}
}

/* --- backlog --- */

static void add(struct backlog *backlog, struct report *report, const char *tenant, int n)
{
	const char *key[KEY_FIELDS] = {tenant, "crm", "bulk", NULL, NULL};

	while (n-- > 0)
		backlog_add(backlog, backlog_key(backlog, report, key), strdup("1"), NULL, tenant,
			    strlen(tenant), 0);
}

/* A slow key whose requests stand first in the file must not fill all windows. */
Test(cli_backlog, each_key_keeps_its_share)
{
	struct backlog *backlog = calloc(1, sizeof(*backlog));
	struct report *report = calloc(1, sizeof(*report));
	struct item *slow[64], *item;
	int fast_taken = 0, n_slow = 0;

	add(backlog, report, "slow", 100);
	add(backlog, report, "fast", 100);
	/* A window of 20; "fast" ends at once, "slow" never. */
	for (int i = 0; i < 110; i++) {
		if (n_slow + 1 > 20)
			break;
		item = backlog_next(backlog);
		cr_assert(item);
		if (memcmp(item->line, "fast", 4) == 0) {
			fast_taken++;
			backlog_done(backlog, item);
		} else {
			slow[n_slow++] = item;
		}
	}
	cr_assert_eq(fast_taken, 100, "only %d of the fast ones got out", fast_taken);
	cr_assert_leq(n_slow, 12);
	while (n_slow > 0)
		backlog_done(backlog, slow[--n_slow]);
	backlog_free(backlog);
	report_free(report);
	free(backlog);
	free(report);
}

Test(cli_backlog, random_work_keeps_every_count)
{
	struct backlog *backlog = calloc(1, sizeof(*backlog));
	struct report *report = calloc(1, sizeof(*report));
	struct item *out[512];
	size_t n_out = 0, added = 0, done = 0;
	uint64_t seed = seeded();

	for (int i = 0; i < 200000; i++) {
		const uint64_t r = random_next(&seed);
		char tenant[16];

		if (r % 3 == 0 && backlog->n_queued < 1000) {
			snprintf(tenant, sizeof(tenant), "t%u", (unsigned)(r >> 32) % 50);
			add(backlog, report, tenant, 1);
			added++;
		} else if (r % 3 == 1 && n_out < 512) {
			struct item *item = backlog_next(backlog);

			cr_assert_eq(item == NULL, backlog->n_queued == 0 && added == done + n_out);
			if (item)
				out[n_out++] = item;
		} else if (n_out > 0) {
			const size_t which = (r >> 32) % n_out;
			struct item *item = out[which];

			out[which] = out[--n_out];
			if (r & 256) {
				backlog_again(backlog, item);
			} else {
				backlog_done(backlog, item);
				done++;
			}
		}
		cr_assert_eq(backlog->n_out, n_out);
		cr_assert_eq(backlog->n_queued + n_out + done, added);
	}
	while (n_out > 0)
		backlog_done(backlog, out[--n_out]);
	backlog_clear(backlog);
	cr_assert_eq(backlog->bytes, 0);
	backlog_free(backlog);
	report_free(report);
	free(backlog);
	free(report);
}

/* --- tickets of a pipe --- */

Test(cli_tickets, numbers_never_come_twice)
{
	struct tickets tickets = {0};
	struct ration_ticket ticket = {0}, back;
	uint64_t numbers[PIPE_TICKETS_MAX], again;

	for (uint64_t i = 0; i < PIPE_TICKETS_MAX; i++) {
		cr_assert_not(tickets_full(&tickets));
		ticket.owner = i;
		numbers[i] = tickets_add(&tickets, &ticket);
	}
	cr_assert(tickets_full(&tickets));
	for (uint64_t i = 0; i < PIPE_TICKETS_MAX; i++) {
		cr_assert(tickets_take(&tickets, numbers[i], &back));
		cr_assert_eq(back.owner, i);
		cr_assert_not(tickets_take(&tickets, numbers[i], &back));
	}
	again = tickets_add(&tickets, &ticket);
	for (uint64_t i = 0; i < PIPE_TICKETS_MAX; i++)
		cr_assert_neq(again, numbers[i]);
	cr_assert_not(tickets_take(&tickets, 0, &back));
	cr_assert_not(tickets_take(&tickets, UINT64_MAX, &back));
	tickets_free(&tickets);
}

/* --- words --- */

Test(cli_words, numbers_for_people)
{
	char buf[80];

	cr_expect_str_eq(words_rate(100, buf, sizeof(buf)), "100/s");
	cr_expect_str_eq(words_rate(1, buf, sizeof(buf)), "1/s");
	cr_expect_str_eq(words_rate(0.5, buf, sizeof(buf)), "30/min");
	cr_expect_str_eq(words_rate(2.0 / 3600, buf, sizeof(buf)), "2/h");
	cr_expect_str_eq(words_rate(1.0 / 86400, buf, sizeof(buf)), "1/day");
	cr_expect_str_eq(words_duration(50000000, buf, sizeof(buf)), "50 ms");
	cr_expect_str_eq(words_duration(0, buf, sizeof(buf)), "0 ns");
	cr_expect_str_eq(words_duration(5400000000000, buf, sizeof(buf)), "1.5 h");
	cr_expect_str_eq(words_scope(0, buf, sizeof(buf)), "for all requests together");
	cr_expect_str_eq(words_scope(3, buf, sizeof(buf)), "per tenant and vendor");
	cr_expect_str_eq(words_scope(31, buf, sizeof(buf)),
			 "per tenant, vendor, class, account and resource");
	strcpy(buf, "a\033[2Jb\177");
	words_printable(buf);
	cr_expect_str_eq(buf, "a?[2Jb?");
}
