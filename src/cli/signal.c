/*
 * cli/signal.c - ration signal: read what responses say about limits
 * SPDX-License-Identifier: MIT
 */
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/signal_json.h"
#include "signal/adapter.h"

static const char command[] = "signal";

/* --- a case --- */

static json_t *failure(uint64_t number, const char *text)
{
	return json_pack("{s:s, s:I}", "error", text, "line", (json_int_t)number);
}

struct reader {
	struct adapters *adapters;
	unsigned unreadable;
};

static json_t *answer_good(const struct adapter *adapter, const struct signal_case *c)
{
	struct signal signal;
	json_t *object;

	if (c->has_response)
		signal_read(adapter, &c->response, &signal);
	object = c->has_response ? signal_json(&signal) : json_object();
	if (c->has_request)
		signal_json_request(adapter, c, object);
	return object;
}

static json_t *answer(struct reader *reader, const char *text, size_t size, uint64_t number)
{
	struct signal_case r = {0};
	json_error_t error;
	json_t *line = json_loadb(text, size, 0, &error), *result = NULL;
	const char *wrong = line ? signal_case_read(line, &r) : error.text;
	const struct adapter *adapter;

	if (!wrong && adapters_get(reader->adapters, r.vendor, &adapter) < 0)
		wrong = "the vendor's adapter is not good";
	if (wrong) {
		reader->unreadable++;
		result = failure(number, wrong);
	} else {
		result = answer_good(adapter, &r);
	}
	signal_case_free(&r);
	json_decref(line);
	return result;
}

static void print(json_t *json)
{
	cli_need(json);
	json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
	putchar('\n');
	json_decref(json);
}

/* --- all of them --- */

static void take_line(struct reader *reader, enum line_result kind, const char *text, size_t size,
		      uint64_t number)
{
	if (kind == LINE_TOO_LONG) {
		reader->unreadable++;
		print(failure(number, "the line is too long"));
	} else if (!line_blank(text, size)) {
		print(answer(reader, text, size, number));
	}
}

/* Who pipes in one case at a time wants its answer before the next. */
static ssize_t more_lines(struct lines *lines)
{
	fflush(stdout);
	return lines_fill(lines);
}

static int read_lines(struct reader *reader)
{
	struct lines lines = {.fd = STDIN_FILENO};
	enum line_result kind;
	const char *text = NULL;
	size_t size = 0;
	ssize_t n = 1;

	while (n >= 0 && !ferror(stdout)) {
		kind = lines_next(&lines, &text, &size);
		if (kind == LINE_END)
			break;
		if (kind == LINE_NEED_MORE)
			n = more_lines(&lines);
		else
			take_line(reader, kind, text, size, lines.number);
	}
	lines_free(&lines);
	if (n < 0)
		return cli_fail(EX_IOERR, command, "cannot read standard input: %s",
				strerror((int)-n));
	return reader->unreadable ? EX_DATAERR : EX_OK;
}

int cmd_signal(int argc, char **argv)
{
	const char *directory = NULL;
	struct reader reader = {0};
	const struct arg options[] = {
		{"adapters", ARG_TEXT, &directory, 0, "DIR",
		 "adapters that come before those shipped"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "",
		.summary = "Read responses from standard input, one JSON object a line, and print "
			   "what each says about\nlimits: {\"vendor\":, \"status\":, \"headers\":, "
			   "\"body\":, \"now\":}; or requests, and what they cost:\n"
			   "{\"vendor\":, \"request\": {\"url\":, \"body\":}}.",
		.options = options,
	};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	status = cli_adapters(command, directory, &reader.adapters);
	if (status != EX_OK)
		return status;
	status = read_lines(&reader);
	adapters_close(&reader.adapters);
	return cli_close_stdout(status, command);
}
