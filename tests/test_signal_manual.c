/*
 * tests/test_signal_manual.c - the invented vendor of ration-adapter(5): its adapter, as it stands there, does what is said
 * SPDX-License-Identifier: MIT
 *
 * Blocks of the page's examples that begin with a key are the parts of acme.yaml; those that begin with
 * '$' are commands with their input, and the block behind each is what it prints.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/signal_json.h"
#include "support_policy.h"
#include "support_signal.h"

TestSuite(signal_manual, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 60);

enum { BLOCKS_MAX = 16, BLOCK_ROOM = 4096 };

static char blocks[BLOCKS_MAX][BLOCK_ROOM];

/* "\e" is how mdoc writes a backslash. */
static void append(char *block, const char *line)
{
	size_t n = strlen(block);

	for (const char *p = line; *p && n + 1 < BLOCK_ROOM; p++) {
		block[n++] = *p;
		if (p[0] == '\\' && p[1] == 'e')
			p++;
	}
	block[n] = '\0';
}

static unsigned read_blocks(void)
{
	bool examples = false, block = false;
	char path[4096], line[256];
	unsigned n = 0;
	FILE *page;

	snprintf(path, sizeof(path), "%s/man/ration-adapter.5", policy_dir_top());
	page = fopen(path, "r");
	cr_assert_not_null(page, "%s", path);
	while (fgets(line, sizeof(line), page)) {
		if (strncmp(line, ".Sh ", 4) == 0)
			examples = strcmp(line, ".Sh EXAMPLES\n") == 0;
		else if (examples && strncmp(line, ".Bd", 3) == 0)
			block = n < BLOCKS_MAX;
		else if (block && strncmp(line, ".Ed", 3) == 0) {
			block = false;
			n++;
		} else if (block)
			append(blocks[n], line);
	}
	fclose(page);
	return n;
}

static bool begins_with(const char *text, const char *word)
{
	return strncmp(text, word, strlen(word)) == 0;
}

static void write_parts(unsigned n)
{
	char all[BLOCKS_MAX * BLOCK_ROOM] = "";
	unsigned parts = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!begins_with(blocks[i], "signals:") && !begins_with(blocks[i], "requests:") &&
		    !begins_with(blocks[i], "limits:"))
			continue;
		strcat(all, blocks[i]);
		parts++;
	}
	cr_assert_eq(parts, 3, "%u", parts);
	policy_write("own/acme.yaml", all, strlen(all));
}

/*
 * What ration signal prints for the lines between "<<END" and "END", and that what the next block says
 * is in it.
 */
static void expect_printed(const char *command, const char *expected)
{
	struct adapters *adapters = signal_adapters("own");
	const struct adapter *adapter = NULL;
	char *input = strdup(strchr(command, '\n') + 1), *whole = NULL;
	json_t *in, *want, *out, *value;
	struct signal_case c;
	struct signal signal;
	const char *key;

	*strstr(input, "END") = '\0';
	in = json_loads(input, 0, NULL);
	cr_assert_not_null(in, "%s", input);
	cr_assert_geq(asprintf(&whole, *expected == '{' ? "%s" : "{%s}", expected), 0);
	want = json_loads(whole, 0, NULL);
	cr_assert_not_null(want, "%s", whole);
	cr_assert_null(signal_case_read(in, &c));
	cr_assert_eq(adapters_get(adapters, c.vendor, &adapter), 0);
	signal_read(adapter, &c.response, &signal);
	out = signal_json(&signal);
	if (c.has_request)
		signal_json_request(adapter, &c, out);
	json_object_foreach(want, key, value)
		cr_expect(json_equal(value, json_object_get(out, key)), "%s: %s", key,
			  json_dumps(out, JSON_COMPACT));
	signal_case_free(&c);
	free(input);
	free(whole);
	json_decref(in);
	json_decref(want);
	json_decref(out);
	adapters_close(&adapters);
}

Test(signal_manual, an_adapter_from_the_page_alone)
{
	const unsigned n = read_blocks();
	unsigned commands = 0;

	write_parts(n);
	for (unsigned i = 0; i + 1 < n; i++) {
		if (blocks[i][0] != '$')
			continue;
		expect_printed(blocks[i], blocks[i + 1]);
		commands++;
	}
	cr_expect_eq(commands, 2, "%u", commands);
}

/* What the page says of refusals and is not in its commands. */
Test(signal_manual, the_same_adapter_for_the_other_responses)
{
	static const struct {
		const char *response, *expected;
	} cases[] = {
		{"{\"vendor\":\"acme\",\"status\":420,\"now\":1700000000,\"headers\":{"
		 "\"Acme-Quota\":\"minute=60/60 day=1/5000\",\"Acme-Minute-Ends\":\"1700000041\"}}",
		 "{\"class\":\"rate\",\"retry_after_ms\":41000,\"retry_after_from\":\"reset\"}"},
		{"{\"vendor\":\"acme\",\"status\":409,\"now\":1,\"body\":\"{\\\"fault\\\":{"
		 "\\\"kind\\\":\\\"busy\\\"}}\"}",
		 "{\"class\":\"concurrency\",\"retryable\":true,\"retry_after_ms\":null}"},
		{"{\"vendor\":\"acme\",\"status\":409,\"now\":1,\"body\":\"{\\\"fault\\\":{"
		 "\\\"kind\\\":\\\"conflict\\\"}}\"}",
		 "{\"class\":\"none\",\"limited\":false}"},
		{"{\"vendor\":\"acme\",\"status\":420,\"now\":1,\"headers\":{\"Acme-Quota\":"
		 "\"minute=1/60 day=5000/5000\"}}",
		 "{\"class\":\"quota\",\"reason\":\"daily\"}"},
	};
	struct adapters *adapters;

	write_parts(read_blocks());
	adapters = signal_adapters("own");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *in = json_loads(cases[i].response, 0, NULL);
		json_t *want = json_loads(cases[i].expected, 0, NULL), *out;
		char *text;

		cr_assert(in && want, "%s", cases[i].response);
		out = signal_of(adapters, in);
		text = signal_differs(want, out);
		cr_expect_null(text, "%s: %s", cases[i].response, text);
		free(text);
		json_decref(in);
		json_decref(want);
		json_decref(out);
	}
	adapters_close(&adapters);
}

/* Its published limits are good in a policy. */
Test(signal_manual, the_preset_of_the_page)
{
	struct policy policy;
	struct blob blob;

	write_parts(read_blocks());
	policy_make("adapters: own\nvendors: { acme: { use: acme/basic } }\n", &policy, &blob);
	cr_expect_eq(blob.n_limits, 2);
	policy_free(&policy);
}
