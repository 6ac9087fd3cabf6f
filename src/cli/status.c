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
#include "cli/words.h"
#include "client/client.h"
#include "shm/names.h"
#include "shm/stat.h"
#include "shm/worker.h"

static const char command[] = "status";

enum { N_NAMES = NAME_RESOURCE + 1, NAME_SIZE = RATION_KEY_MAX + 66 };

static const char *const name_fields[N_NAMES] = {"limit", "tenant",  "vendor",
						 "class", "account", "resource"};

struct row {
	char name[N_NAMES][NAME_SIZE];
	uint32_t scope;
	bool corrupt; /* the state makes no sense: left is not known */
	uint64_t left;
	uint64_t burst;
	double rate;
	struct stat_total total;
};

struct table_of_rows {
	struct row *rows;
	uint32_t n;
};

/* False: the record is no bucket in use. */
static bool read_row(const struct seg *seg, uint32_t i, uint64_t now, struct row *row)
{
	const struct seg_cold *cold = &seg->cold[i];
	const struct seg_hot *hot = &seg->hot[i];
	struct bucket_view view;
	enum take r;

	if (shm_load(&cold->owner) != COLD_LINKED)
		return false;
	r = bucket_look(hot, shm_half_load(&hot->generation), 1, now, &view);
	if (r == TAKE_STALE)
		return false;
	row->corrupt = r == TAKE_CORRUPT;
	row->left = row->corrupt ? 0 : bucket_left(&view, now);
	row->burst = bucket_burst(view.numbers);
	row->rate = words_per_second(view.numbers);
	row->scope = shm_half_load(&cold->scope);
	for (int f = 0; f < N_NAMES; f++) {
		names_copy(seg, shm_half_load(&cold->names[f]), row->name[f], NAME_SIZE);
		words_printable(row->name[f]);
	}
	return true;
}

static int by_names(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = 0;

	for (int f = 0; f < N_NAMES && order == 0; f++)
		order = strcmp(x->name[f], y->name[f]);
	return order;
}

static struct stat_total *collect(const struct seg *seg)
{
	struct stat_total *totals = cli_alloc(NULL, seg->n_buckets, sizeof(*totals));

	for (uint32_t i = 0; i < seg->n_buckets; i++)
		totals[i] = (struct stat_total){shm_load_relaxed(&seg->cold[i].admitted),
						shm_load_relaxed(&seg->cold[i].denied)};
	stat_collect(seg, totals);
	return totals;
}

static struct table_of_rows read_rows(const struct ration *ration)
{
	const struct seg *seg = client_seg(ration);
	struct stat_total *totals = collect(seg);
	const uint64_t now = client_now(ration);
	struct table_of_rows table = {0};
	uint32_t room = 0;

	for (uint32_t i = 0; i < seg->n_buckets; i++) {
		if (table.n == room) {
			room = room ? room * 2 : 16;
			table.rows = cli_alloc(table.rows, room, sizeof(struct row));
		}
		if (!read_row(seg, i, now, &table.rows[table.n]))
			continue;
		table.rows[table.n++].total = totals[i];
	}
	free(totals);
	if (table.n > 0)
		qsort(table.rows, table.n, sizeof(struct row), by_names);
	return table;
}

/* --- JSON --- */

static json_t *row_json(const struct row *row)
{
	json_t *object = cli_need(json_object());

	for (int f = 0; f < N_NAMES; f++) {
		bool counts = f == NAME_LIMIT || (row->scope & 1u << (f - NAME_TENANT));
		json_t *name = counts ? json_string(row->name[f]) : json_null();

		json_object_set_new(object, name_fields[f], name ? name : json_string("?"));
	}
	json_object_set_new(object, "left",
			    row->corrupt ? json_null() : json_integer((json_int_t)row->left));
	json_object_set_new(object, "burst", json_integer((json_int_t)row->burst));
	json_object_set_new(object, "rate_per_s", json_real(row->rate));
	json_object_set_new(object, "admitted", json_integer((json_int_t)row->total.admitted));
	json_object_set_new(object, "denied", json_integer((json_int_t)row->total.denied));
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

static void print_json(const struct ration *ration, const struct table_of_rows *table)
{
	const struct seg *seg = client_seg(ration);
	json_t *buckets = cli_need(json_array()), *root;

	for (uint32_t i = 0; i < table->n; i++)
		json_array_append_new(buckets, row_json(&table->rows[i]));
	root = cli_need(json_pack("{s:I, s:o, s:i, s:{s:I, s:I, s:I}, s:o, s:o}",
				  "policy_generation",
				  (json_int_t)shm_load(&seg->control->policy_generation), "workers",
				  workers_json(seg), "buckets_max", (int)seg->n_buckets, "counters",
				  "full", (json_int_t)shm_load_relaxed(&seg->control->full),
				  "corrupt", (json_int_t)shm_load_relaxed(&seg->control->corrupt),
				  "repaired", (json_int_t)shm_load_relaxed(&seg->control->repaired),
				  "shadow", status_shadow_json(ration), "buckets", buckets));
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(root);
}

/* --- for people --- */

/* "tenant=acme vendor=salesforce"; "everyone" for a limit without a scope. */
static void whose(const struct row *row, char *buf, size_t size)
{
	size_t used = 0;

	snprintf(buf, size, "everyone");
	for (int f = NAME_TENANT; f < N_NAMES && used < size; f++) {
		if (!(row->scope & 1u << (f - NAME_TENANT)) || f == NAME_VENDOR)
			continue;
		used += (size_t)snprintf(buf + used, size - used, "%s%s=%s", used ? " " : "",
					 name_fields[f], row->name[f][0] ? row->name[f] : "-");
	}
}

enum { N_COLUMNS = 7, CELL_SIZE = 1200 };
typedef char cell[CELL_SIZE];

static void fill_cells(const struct row *row, cell *cells)
{
	snprintf(cells[0], CELL_SIZE, "%s", row->name[NAME_LIMIT]);
	whose(row, cells[1], CELL_SIZE);
	if (row->corrupt)
		snprintf(cells[2], CELL_SIZE, "corrupt");
	else
		snprintf(cells[2], CELL_SIZE, "%llu", (unsigned long long)row->left);
	snprintf(cells[3], CELL_SIZE, "%llu", (unsigned long long)row->burst);
	words_rate(row->rate, cells[4], CELL_SIZE);
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

static void print_table(const struct table_of_rows *table)
{
	cell head[N_COLUMNS] = {"LIMIT", "FOR", "LEFT", "BURST", "RATE", "ADMITTED", "DENIED"};
	cell cells[N_COLUMNS];
	int widths[N_COLUMNS] = {0};

	if (table->n == 0)
		return;
	widen(widths, head);
	for (uint32_t i = 0; i < table->n; i++) {
		fill_cells(&table->rows[i], cells);
		widen(widths, cells);
	}
	print_cells(widths, head);
	for (uint32_t i = 0; i < table->n; i++) {
		fill_cells(&table->rows[i], cells);
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
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		if (counters[i].value)
			printf("%llu %s\n", (unsigned long long)counters[i].value,
			       counters[i].text);
}

static void print_people(const struct ration *ration, const struct table_of_rows *table)
{
	const struct seg *seg = client_seg(ration);
	unsigned workers = 0;

	for (uint32_t i = 0; i < seg->n_workers; i++)
		workers += shm_load(&seg->workers[i].identity) != 0;
	print_table(table);
	status_shadow_print(ration);
	printf("%u of %u buckets, %u workers, policy generation %llu\n", table->n, seg->n_buckets,
	       workers, (unsigned long long)shm_load(&seg->control->policy_generation));
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
		.summary = "Show every bucket: what is left, burst, rate, acquires admitted and "
			   "denied.",
		.options = options,
	};
	struct table_of_rows table;
	struct ration *ration;
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	status = cli_observe(command, &target, &ration);
	if (status != EX_OK)
		return status;
	table = read_rows(ration);
	if (json)
		print_json(ration, &table);
	else
		print_people(ration, &table);
	free(table.rows);
	ration_detach(&ration);
	return cli_close_stdout(EX_OK, command);
}
