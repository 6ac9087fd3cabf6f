/*
 * cli/status.c - ration status: every bucket, as it is now
 * SPDX-License-Identifier: MIT
 *
 * A look, not a snapshot: workers go on meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/status.h"
#include "cli/status_set.h"
#include "cli/words.h"
#include "client/client.h"
#include "shm/worker.h"

static const char command[] = "status";

static const char *const name_fields[STATUS_NAMES] = {"limit", "tenant",  "vendor",
						      "class", "account", "resource"};

static const char *const kind_names[KIND_COUNT] = {
	[KIND_NONE] = "none",       [KIND_BUCKET] = "bucket",     [KIND_WINDOW] = "window",
	[KIND_ROLLING] = "rolling", [KIND_SLOTS] = "concurrency",
};

/* --- JSON --- */

static void set_count(json_t *object, const char *name, bool known, uint64_t count)
{
	json_object_set_new(object, name, known ? json_integer((json_int_t)count) : json_null());
}

static void set_seconds(json_t *object, const char *name, uint64_t ns)
{
	json_object_set_new(object, name, ns ? json_real((double)ns / 1e9) : json_null());
}

static json_t *names_json(const struct status_row *row)
{
	json_t *object = cli_need(json_object());

	for (int f = 0; f < STATUS_NAMES; f++) {
		bool counts = f == NAME_LIMIT || (row->scope & 1u << (f - NAME_TENANT));
		json_t *name = counts ? json_string(row->name[f]) : json_null();

		json_object_set_new(object, name_fields[f], name ? name : json_string("?"));
	}
	return object;
}

static void kind_json(const struct ration *ration, const struct status_row *row, json_t *object)
{
	switch (row->kind) {
	case KIND_BUCKET:
		set_count(object, "burst", true, row->size);
		json_object_set_new(object, "rate_per_s", json_real(row->rate));
		break;
	case KIND_SLOTS:
		set_count(object, "slots", true, row->size);
		set_seconds(object, "max_hold_s", row->hold_ns);
		json_object_set_new(object, "holders", status_holders_json(ration, row));
		break;
	default:
		set_count(object, "amount", true, row->size);
		set_count(object, "used", row->readable, row->used);
		set_seconds(object, "period_s", row->period_ns);
		if (row->kind == KIND_WINDOW)
			set_seconds(object, "ends_in_s", row->ends_in_ns);
	}
}

static json_t *row_json(const struct ration *ration, const struct status_row *row)
{
	json_t *object = names_json(row);

	json_object_set_new(
		object, "kind",
		json_string(kind_names[row->kind < KIND_COUNT ? row->kind : KIND_NONE]));
	set_count(object, "left", row->readable, row->left);
	kind_json(ration, row, object);
	set_count(object, "admitted", true, row->total.admitted);
	set_count(object, "denied", true, row->total.denied);
	json_object_set_new(object, "vendor_said", status_told_json(ration, row));
	json_object_set_new(object, "waiting", status_waiting_json(ration, row));
	return object;
}

static json_t *workers_json(const struct seg *seg)
{
	json_t *list = cli_need(json_array());

	for (uint32_t i = 0; i < seg->n_workers; i++) {
		const uint64_t identity = shm_load(&seg->workers[i].identity);

		if (identity != 0)
			json_array_append_new(list, json_pack("{s:i, s:I}", "slot", (int)i, "pid",
							      (json_int_t)worker_pid(identity)));
	}
	return list;
}

static void print_json(const struct ration *ration, const struct status_rows *rows)
{
	const struct seg *seg = client_seg(ration);
	json_t *buckets = cli_need(json_array()), *root;

	for (uint32_t i = 0; i < rows->n; i++)
		json_array_append_new(buckets, row_json(ration, &rows->row[i]));
	root = cli_need(json_pack(
		"{s:I, s:o, s:i, s:{s:I, s:I, s:I, s:I}, s:o, s:o, s:o, s:o}", "policy_generation",
		(json_int_t)shm_load(&seg->control->policy_generation), "workers",
		workers_json(seg), "buckets_max", (int)seg->n_buckets, "counters", "full",
		(json_int_t)shm_load_relaxed(&seg->control->full), "corrupt",
		(json_int_t)shm_load_relaxed(&seg->control->corrupt), "repaired",
		(json_int_t)shm_load_relaxed(&seg->control->repaired), "forgotten",
		(json_int_t)shm_load_relaxed(&seg->control->forgotten), "shadow",
		status_shadow_json(ration), "blocks", status_gates_json(ration), "set",
		status_set_json(client_blob(ration)), "buckets", buckets));
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(root);
}

/* --- for people --- */

void status_whose(const struct status_row *row, char *buf, size_t size)
{
	size_t used = 0;

	snprintf(buf, size, "everyone");
	for (int f = NAME_TENANT; f < STATUS_NAMES && used < size; f++) {
		if (!(row->scope & 1u << (f - NAME_TENANT)) || f == NAME_VENDOR)
			continue;
		used += (size_t)snprintf(buf + used, size - used, "%s%s=%s", used ? " " : "",
					 name_fields[f], row->name[f][0] ? row->name[f] : "-");
	}
}

enum { N_COLUMNS = 7, CELL_SIZE = 1200 };
typedef char cell[CELL_SIZE];

/* "2/h", "a window, 3 h to go", "in any 10 s", "at a time" */
static void fill_rate(const struct status_row *row, cell text)
{
	char time[40] = "period";

	switch (row->kind) {
	case KIND_BUCKET:
		words_rate(row->rate, text, CELL_SIZE);
		break;
	case KIND_WINDOW:
		snprintf(text, CELL_SIZE, "a window");
		if (row->ends_in_ns)
			snprintf(text, CELL_SIZE, "a window, %s to go",
				 words_duration(row->ends_in_ns, time, sizeof(time)));
		break;
	case KIND_ROLLING:
		if (row->period_ns)
			words_duration(row->period_ns, time, sizeof(time));
		snprintf(text, CELL_SIZE, "in any %s", time);
		break;
	default:
		snprintf(text, CELL_SIZE, "at a time");
	}
}

static void fill_cells(const struct status_row *row, cell *cells)
{
	snprintf(cells[0], CELL_SIZE, "%s", row->name[NAME_LIMIT]);
	status_whose(row, cells[1], CELL_SIZE);
	if (row->readable)
		snprintf(cells[2], CELL_SIZE, "%llu", (unsigned long long)row->left);
	else
		snprintf(cells[2], CELL_SIZE, "%s", row->limit ? "corrupt" : "?");
	snprintf(cells[3], CELL_SIZE, "%llu", (unsigned long long)row->size);
	fill_rate(row, cells[4]);
	snprintf(cells[5], CELL_SIZE, "%llu", (unsigned long long)row->total.admitted);
	snprintf(cells[6], CELL_SIZE, "%llu", (unsigned long long)row->total.denied);
}

static void widen(int *widths, cell *cells)
{
	for (int c = 0; c < N_COLUMNS; c++)
		if ((int)strlen(cells[c]) > widths[c])
			widths[c] = (int)strlen(cells[c]);
}

/* Names to the left, numbers to the right. */
static void print_cells(const int *widths, cell *cells)
{
	for (int c = 0; c < N_COLUMNS; c++)
		printf("%s%*s", c ? "  " : "", c < 2 ? -widths[c] : widths[c], cells[c]);
	putchar('\n');
}

static void print_table(const struct status_rows *rows)
{
	cell head[N_COLUMNS] = {"LIMIT", "FOR", "LEFT", "OF", "RATE", "ADMITTED", "DENIED"};
	cell cells[N_COLUMNS];
	int widths[N_COLUMNS] = {0};

	if (rows->n == 0)
		return;
	widen(widths, head);
	for (uint32_t i = 0; i < rows->n; i++) {
		fill_cells(&rows->row[i], cells);
		widen(widths, cells);
	}
	print_cells(widths, head);
	for (uint32_t i = 0; i < rows->n; i++) {
		fill_cells(&rows->row[i], cells);
		print_cells(widths, cells);
	}
	putchar('\n');
}

static void print_counters(const struct seg *seg)
{
	const struct {
		uint64_t value;
		const char *text;
	} counters[] = {
		{shm_load_relaxed(&seg->control->full), "buckets found no room"},
		{shm_load_relaxed(&seg->control->corrupt), "impossible values met"},
		{shm_load_relaxed(&seg->control->repaired), "impossible values repaired"},
		{shm_load_relaxed(&seg->control->forgotten),
		 "actual costs beyond max_debt, or settled too late: not charged in full"},
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		if (counters[i].value)
			printf("%llu %s\n", (unsigned long long)counters[i].value,
			       counters[i].text);
}

static void print_people(const struct ration *ration, const struct status_rows *rows)
{
	const struct seg *seg = client_seg(ration);
	unsigned workers = 0;

	for (uint32_t i = 0; i < seg->n_workers; i++)
		workers += shm_load(&seg->workers[i].identity) != 0;
	print_table(rows);
	status_holders_print(ration, rows);
	status_waiting_print(ration, rows);
	status_told_print(ration, rows);
	status_shadow_print(ration);
	status_gates_print(ration);
	status_print_set(client_blob(ration));
	printf("%u of %u buckets, %u workers, policy generation %llu\n", rows->records,
	       seg->n_buckets, workers,
	       (unsigned long long)shm_load(&seg->control->policy_generation));
	print_counters(seg);
}

int cmd_status(int argc, char **argv)
{
	struct cli_target target = {0};
	bool json = false;
	const struct arg options[] = {
		{"json", ARG_FLAG, &json, 0, NULL, "print it as JSON"},
		{"socket", ARG_TEXT, &target.socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "",
		.summary = "Show every bucket: what is left of how much, acquires admitted and "
			   "denied; who has a slot,\nwho waits, and what is blocked.",
		.options = options,
	};
	struct status_rows rows;
	struct ration *ration;
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	status = cli_observe(command, &target, &ration);
	if (status != EX_OK)
		return status;
	rows = status_read(ration);
	if (json)
		print_json(ration, &rows);
	else
		print_people(ration, &rows);
	status_free(&rows);
	ration_detach(&ration);
	return cli_close_stdout(EX_OK, command);
}
