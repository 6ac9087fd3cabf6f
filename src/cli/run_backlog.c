/*
 * cli/run_backlog.c - requests read ahead, one queue for each key
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/request.h"
#include "cli/run_backlog.h"

/* Into the list of its level, as the last of the ring: keys of one level take turns. */
static void list(struct backlog *q, struct key_queue *key)
{
	struct key_queue **level = &q->levels[key->out];

	if (!*level) {
		key->next = key->prev = key;
		*level = key;
	} else {
		key->next = *level;
		key->prev = (*level)->prev;
		key->prev->next = key;
		(*level)->prev = key;
	}
	if (key->out < q->lowest)
		q->lowest = key->out;
}

static void unlist(struct backlog *q, struct key_queue *key)
{
	struct key_queue **level = &q->levels[key->out];

	key->prev->next = key->next;
	key->next->prev = key->prev;
	if (*level == key)
		*level = key->next == key ? NULL : key->next;
	key->next = key->prev = NULL;
}

struct key_queue *backlog_key(struct backlog *backlog, struct report *report,
			      const char *const key[KEY_FIELDS])
{
	char text[REQUEST_KEY_TEXT];
	size_t size = request_key_text(key, text, sizeof(text));
	void **at = table_at(&backlog->keys, text, size);

	if (!*at) {
		struct key_queue *made = cli_need(calloc(1, sizeof(*made)));

		report_key(report, key, &made->report);
		*at = made;
	}
	return *at;
}

void backlog_add(struct backlog *backlog, struct key_queue *key, char *id, json_t *cost,
		 const char *line, size_t size, uint64_t read_ns)
{
	struct item *item = cli_alloc(NULL, sizeof(*item) + size, 1);

	*item = (struct item){.key = key, .id = id, .cost = cost, .read_ns = read_ns, .size = size};
	memcpy(item->line, line, size);
	if (key->head)
		key->tail->next = item;
	else
		key->head = item;
	key->tail = item;
	if (!key->next)
		list(backlog, key);
	backlog->n_queued++;
	backlog->bytes += size;
}

struct item *backlog_next(struct backlog *backlog)
{
	struct key_queue *key;
	struct item *item;

	if (backlog->n_queued == 0)
		return NULL;
	while (!backlog->levels[backlog->lowest])
		backlog->lowest++;
	key = backlog->levels[backlog->lowest];
	unlist(backlog, key);
	item = key->head;
	key->head = item->next;
	item->next = NULL;
	key->out++;
	if (key->head)
		list(backlog, key);
	backlog->n_queued--;
	backlog->n_out++;
	return item;
}

/* One less is out; its key changes lists. */
static void came_back(struct backlog *backlog, struct key_queue *key)
{
	bool listed = key->next != NULL;

	if (listed)
		unlist(backlog, key);
	key->out--;
	if (listed)
		list(backlog, key);
	backlog->n_out--;
}

static void free_item(struct backlog *backlog, struct item *item)
{
	backlog->bytes -= item->size;
	json_decref(item->cost);
	free(item->id);
	free(item);
}

void backlog_done(struct backlog *backlog, struct item *item)
{
	came_back(backlog, item->key);
	free_item(backlog, item);
}

void backlog_again(struct backlog *backlog, struct item *item)
{
	struct key_queue *key = item->key;

	came_back(backlog, key);
	item->next = key->head;
	if (!key->head)
		key->tail = item;
	key->head = item;
	if (!key->next)
		list(backlog, key);
	backlog->n_queued++;
}

size_t backlog_clear(struct backlog *backlog)
{
	size_t n = 0;
	struct item *item;

	while ((item = backlog_next(backlog))) {
		backlog_done(backlog, item);
		n++;
	}
	return n;
}

void backlog_free(struct backlog *backlog)
{
	const struct table_entry *e;
	size_t cursor = 0;

	backlog_clear(backlog);
	while ((e = table_next(&backlog->keys, &cursor))) {
		struct key_queue *key = e->value;

		report_key_free(&key->report);
		free(key);
	}
	table_free(&backlog->keys);
}
