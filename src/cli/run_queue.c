/*
 * cli/run_queue.c - requests read ahead, one queue for each key
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/request.h"
#include "cli/run_queue.h"

/* Into the list of its level, as the last of the ring: keys of one level take turns. */
static void list(struct queue *q, struct key_queue *key)
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

static void unlist(struct queue *q, struct key_queue *key)
{
	struct key_queue **level = &q->levels[key->out];

	key->prev->next = key->next;
	key->next->prev = key->prev;
	if (*level == key)
		*level = key->next == key ? NULL : key->next;
	key->next = key->prev = NULL;
}

struct key_queue *queue_key(struct queue *queue, struct report *report,
			    const char *const key[KEY_FIELDS])
{
	char text[REQUEST_KEY_TEXT];
	size_t size = request_key_text(key, text, sizeof(text));
	void **at = table_at(&queue->keys, text, size);

	if (!*at) {
		struct key_queue *made = cli_need(calloc(1, sizeof(*made)));

		report_key(report, key, &made->report);
		*at = made;
	}
	return *at;
}

void queue_add(struct queue *queue, struct key_queue *key, char *id, json_t *cost, const char *line,
	       size_t size, uint64_t read_ns)
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
		list(queue, key);
	queue->n_queued++;
	queue->bytes += size;
}

struct item *queue_next(struct queue *queue)
{
	struct key_queue *key;
	struct item *item;

	if (queue->n_queued == 0)
		return NULL;
	while (!queue->levels[queue->lowest])
		queue->lowest++;
	key = queue->levels[queue->lowest];
	unlist(queue, key);
	item = key->head;
	key->head = item->next;
	item->next = NULL;
	key->out++;
	if (key->head)
		list(queue, key);
	queue->n_queued--;
	queue->n_out++;
	return item;
}

/* One less is out; its key changes lists. */
static void came_back(struct queue *queue, struct key_queue *key)
{
	bool listed = key->next != NULL;

	if (listed)
		unlist(queue, key);
	key->out--;
	if (listed)
		list(queue, key);
	queue->n_out--;
}

static void free_item(struct queue *queue, struct item *item)
{
	queue->bytes -= item->size;
	json_decref(item->cost);
	free(item->id);
	free(item);
}

void queue_done(struct queue *queue, struct item *item)
{
	came_back(queue, item->key);
	free_item(queue, item);
}

void queue_again(struct queue *queue, struct item *item)
{
	struct key_queue *key = item->key;

	came_back(queue, key);
	item->next = key->head;
	if (!key->head)
		key->tail = item;
	key->head = item;
	if (!key->next)
		list(queue, key);
	queue->n_queued++;
}

size_t queue_clear(struct queue *queue)
{
	size_t n = 0;
	struct item *item;

	while ((item = queue_next(queue))) {
		queue_done(queue, item);
		n++;
	}
	return n;
}

void queue_free(struct queue *queue)
{
	const struct table_entry *e;
	size_t cursor = 0;

	queue_clear(queue);
	while ((e = table_next(&queue->keys, &cursor)))
		free(e->value);
	table_free(&queue->keys);
}
