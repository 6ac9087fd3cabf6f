/*
 * cli/status_holders.c - ration status: who has a slot, and who waits
 * SPDX-License-Identifier: MIT
 */
#include "cli/status.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/words.h"
#include "client/client.h"
#include "shm/queue.h"
#include "shm/slots.h"
#include "shm/worker.h"

/* So many are listed for people, the oldest first. */
enum { HOLDERS_SHOWN = 16 };

struct holder {
	uint32_t worker; /* UINT32_MAX: nobody */
	uint32_t pid;
	const char *class_name; /* NULL: unknown, or none */
	uint64_t age_ns;
};

/* Classes are those of the policy that is in force; leases may be older. */
static const char *class_name(const struct ration *ration, uint32_t class_index)
{
	const struct blob *blob = client_blob(ration);

	return class_index < blob->n_classes ? blob_text(blob, blob->classes[class_index].name)
					     : NULL;
}

static struct holder holder_of(const struct ration *ration, const struct status_row *row,
			       uint64_t lease)
{
	const struct seg *seg = client_seg(ration);
	const uint64_t now = client_now(ration), since = slots_since(lease, now);
	struct holder holder = {.worker = slots_holder(lease)};

	holder.age_ns = since < now ? (now - since) / TICKS_PER_NS : 0;
	if (holder.worker >= seg->n_workers)
		return holder;
	holder.pid = worker_pid(shm_load(&seg->workers[holder.worker].identity));
	/* A singleton is of no class. */
	if (row->limit)
		holder.class_name = class_name(ration, slots_class(lease));
	return holder;
}

static int oldest_first(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	return x->age_ns < y->age_ns ? 1 : x->age_ns > y->age_ns ? -1 : 0;
}

/* *ret_n of them, malloc'd. */
static struct holder *holders_of(const struct ration *ration, const struct status_row *row,
				 uint32_t *ret_n)
{
	struct holder *list = cli_alloc(NULL, row->n_words + 1, sizeof(*list));
	uint32_t n = 0;

	for (uint32_t i = 0; i < row->n_words; i++) {
		const uint64_t lease = slots_word(client_seg(ration), row->bucket, i);

		if (lease != 0)
			list[n++] = holder_of(ration, row, lease);
	}
	qsort(list, n, sizeof(*list), oldest_first);
	*ret_n = n;
	return list;
}

json_t *status_holders_json(const struct ration *ration, const struct status_row *row)
{
	json_t *array = cli_need(json_array());
	uint32_t n;
	struct holder *list = holders_of(ration, row, &n);

	for (uint32_t i = 0; i < n; i++) {
		const struct holder *h = &list[i];
		const bool known = h->worker < client_seg(ration)->n_workers;

		json_array_append_new(
			array,
			cli_need(json_pack("{s:o, s:o, s:s?, s:f}", "pid",
					   known ? json_integer(h->pid) : json_null(), "worker",
					   known ? json_integer(h->worker) : json_null(), "class",
					   h->class_name, "age_s", (double)h->age_ns / 1e9)));
	}
	free(list);
	return array;
}

static void print_holder(const struct holder *h)
{
	char age[40];

	words_duration(h->age_ns, age, sizeof(age));
	if (h->pid == 0)
		printf("  nobody%s, for %s\n", h->worker == UINT32_MAX ? "" : " any more", age);
	else
		printf("  pid %u%s%s, for %s\n", h->pid, h->class_name ? ", " : "",
		       h->class_name ? h->class_name : "", age);
}

void status_holders_print(const struct ration *ration, const struct status_rows *rows)
{
	for (uint32_t i = 0; i < rows->n; i++) {
		const struct status_row *row = &rows->row[i];
		struct holder *list;
		char whose[1200];
		uint32_t n;

		if (row->kind != KIND_SLOTS || row->used == 0)
			continue;
		list = holders_of(ration, row, &n);
		status_whose(row, whose, sizeof(whose));
		printf("%s (%s) is held by\n", row->name[NAME_LIMIT], whose);
		for (uint32_t k = 0; k < n && k < HOLDERS_SHOWN; k++)
			print_holder(&list[k]);
		if (n > HOLDERS_SHOWN)
			printf("  and %u others\n", n - HOLDERS_SHOWN);
		free(list);
	}
}

/* --- waiting --- */

static bool somebody_waits(const struct ration *ration, const struct status_row *row)
{
	return queue_hinted(&client_seg(ration)->hot[row->bucket], 0xff);
}

static double age_s(const struct ration *ration, uint64_t since)
{
	const uint64_t now = client_now(ration);

	return since < now ? (double)(now - since) / TICKS_PER_SEC : 0;
}

json_t *status_waiting_json(const struct ration *ration, const struct status_row *row)
{
	json_t *array = cli_need(json_array());

	for (uint32_t k = 0; somebody_waits(ration, row) && k < CLASSES_MAX; k++) {
		const struct queue_length length = queue_length(client_seg(ration), row->bucket, k);
		const char *name = class_name(ration, k);

		if (length.waiting > 0 && name)
			json_array_append_new(
				array,
				cli_need(json_pack("{s:s, s:I, s:f}", "class", name, "waiting",
						   (json_int_t)length.waiting, "oldest_s",
						   age_s(ration, length.oldest))));
	}
	return array;
}

void status_waiting_print(const struct ration *ration, const struct status_rows *rows)
{
	for (uint32_t i = 0; i < rows->n; i++) {
		const struct status_row *row = &rows->row[i];
		json_t *list = status_waiting_json(ration, row), *entry;
		char whose[1200], age[40];
		size_t k;

		status_whose(row, whose, sizeof(whose));
		json_array_foreach(list, k, entry)
		{
			const double oldest = json_real_value(json_object_get(entry, "oldest_s"));

			words_duration((uint64_t)(oldest * 1e9), age, sizeof(age));
			printf("%s (%s): %lld of %s wait, the oldest for %s\n",
			       row->name[NAME_LIMIT], whose,
			       json_integer_value(json_object_get(entry, "waiting")),
			       json_string_value(json_object_get(entry, "class")), age);
		}
		json_decref(list);
	}
}
