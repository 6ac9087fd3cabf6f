/*
 * shm/event.c - what happened, for people to see: a lossy ring for each worker slot
 * SPDX-License-Identifier: MIT
 */
#include "shm/event.h"

#include <string.h>

#include "shm/utf8.h"

#define TYPE_NAME(id, name, about) [EVENT_##id] = (name),
#define NUMBER_NAME(id, name)      [EVENT_##id] = (name),
#define TEXT_NAME(id, name, max)   [EVENT_##id] = (name),
#define TEXT_MAX(id, name, max)    [EVENT_##id] = (max),
const char *const event_type_names[] = {EVENT_TYPES(TYPE_NAME)};
const char *const event_number_names[] = {EVENT_NUMBERS(NUMBER_NAME)};
const char *const event_text_names[] = {EVENT_TEXTS(TEXT_NAME)};
static const uint16_t text_max[] = {EVENT_TEXTS(TEXT_MAX)};

/* Before the numbers. */
#define FIXED_WORDS 3u

#define IMAGE_BYTES (sizeof(uint64_t) * EVENT_WORDS)
#define TEXT_HEAD   2u /* bytes of its length */

enum phase { FREE, WRITING, FULL };

#define PHASE(state)          ((state)&3)
#define STATE(number, phase)  ((number) << 2 | (phase))
#define IMAGE_USED(word)      ((uint32_t)((word)&0xffff))
#define IMAGE_TYPE(word)      ((uint32_t)((word) >> 16 & 0xffff))
#define IMAGE_HAS(word, i)    ((word) >> (32 + (i)) & 1)
#define IMAGE_HAS_BIT(i)      (UINT64_C(1) << (32 + (i)))
#define IMAGE_HEAD(type, use) ((uint64_t)(type) << 16 | (use))

struct event event_of(enum event_type type, uint64_t at, uint64_t worker)
{
	struct event event = {.type = type, .at = at, .worker = worker};

	for (int i = 0; i < EVENT_NUMBER_COUNT; i++)
		event.number[i] = EVENT_NONE;
	return event;
}

/* --- packing: private memory only --- */

static size_t lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Bytes that the texts after this one take at least: their lengths. */
static size_t heads_after(int i)
{
	return (size_t)(EVENT_TEXT_COUNT - 1 - i) * TEXT_HEAD;
}

static size_t pack_text(const struct event *event, int i, unsigned char *bytes, size_t at)
{
	const char *text = event->text[i] ? event->text[i] : "";
	const size_t room = IMAGE_BYTES - at - TEXT_HEAD - heads_after(i);
	const size_t size = strnlen(text, lesser(text_max[i], room));

	bytes[at] = (unsigned char)size;
	bytes[at + 1] = (unsigned char)(size >> 8);
	memcpy(bytes + at + TEXT_HEAD, text, size);
	return at + TEXT_HEAD + size;
}

size_t event_pack(const struct event *event, struct event_image *image)
{
	uint64_t head = 0;
	size_t at = FIXED_WORDS, used;

	for (int i = 0; i < EVENT_NUMBER_COUNT; i++) {
		if (event->number[i] == EVENT_NONE)
			continue;
		head |= IMAGE_HAS_BIT(i);
		image->word[at++] = event->number[i];
	}
	at *= sizeof(uint64_t);
	for (int i = 0; i < EVENT_TEXT_COUNT; i++)
		at = pack_text(event, i, (unsigned char *)image->word, at);
	used = (at + sizeof(uint64_t) - 1) / sizeof(uint64_t);
	memset((char *)image->word + at, 0, used * sizeof(uint64_t) - at);
	image->word[0] = head | IMAGE_HEAD(event->type, used);
	image->word[1] = event->at;
	image->word[2] = event->worker;
	return used;
}

/* Copies what is text, and a question mark for each byte that is not. Returns the end. */
static char *clean(char *to, const unsigned char *from, size_t size)
{
	while (size > 0) {
		const size_t n = utf8_size(from, size);
		const size_t step = n ? n : 1;

		if (n)
			memcpy(to, from, n);
		else
			*to = '?';
		to += step;
		from += step;
		size -= step;
	}
	*to = '\0';
	return to + 1;
}

/* From byte `at` to byte `end`; false: they are no texts. */
static bool unpack_texts(const struct event_image *image, size_t at, size_t end,
			 struct event_copy *copy)
{
	const unsigned char *bytes = (const unsigned char *)image->word;
	char *to = copy->room;

	for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
		size_t size;

		if (end - at < TEXT_HEAD)
			return false;
		size = (size_t)bytes[at] | (size_t)bytes[at + 1] << 8;
		at += TEXT_HEAD;
		if (size > end - at)
			return false;
		copy->event.text[i] = to;
		to = clean(to, bytes + at, size);
		at += size;
	}
	return true;
}

bool event_unpack(const struct event_image *image, struct event_copy *ret_copy)
{
	const uint64_t head = image->word[0];
	const size_t used = IMAGE_USED(head);
	size_t at = FIXED_WORDS;
	struct event *event = &ret_copy->event;

	if (used < FIXED_WORDS || used > EVENT_WORDS || IMAGE_TYPE(head) >= EVENT_TYPE_COUNT)
		return false;
	*event = event_of((enum event_type)IMAGE_TYPE(head), image->word[1], image->word[2]);
	for (int i = 0; i < EVENT_NUMBER_COUNT; i++) {
		if (!IMAGE_HAS(head, i))
			continue;
		if (at >= used)
			return false;
		event->number[i] = image->word[at++];
	}
	return unpack_texts(image, at * sizeof(uint64_t), used * sizeof(uint64_t), ret_copy);
}

/* --- the ring --- */

static uint32_t words_of(uint64_t head)
{
	const uint32_t used = IMAGE_USED(head);

	return used > EVENT_WORDS ? EVENT_WORDS : used;
}

static void write_cell(struct seg_event *cell, const struct event_image *image)
{
	const uint32_t n = words_of(image->word[0]);

	for (uint32_t i = 0; i < n; i++)
		shm_store_relaxed(&cell->word[i], image->word[i]);
}

static void read_cell(const struct seg_event *cell, struct event_image *image)
{
	uint32_t n;

	image->word[0] = shm_load_relaxed(&cell->word[0]);
	n = words_of(image->word[0]);
	for (uint32_t i = 1; i < n; i++)
		image->word[i] = shm_load_relaxed(&cell->word[i]);
}

/* Both orders: whoever sees it move sees the cell that is full. */
static void tell(struct seg *seg, struct seg_events *ring)
{
	shm_half_add(&ring->told, 1);
	shm_half_add(&seg->control->events, 1);
}

bool event_put(struct seg *seg, uint32_t slot, const struct event_image *image)
{
	struct seg_events *ring = &seg->events[slot];
	const uint64_t number = shm_add(&ring->next, 1);
	struct seg_event *cell = &ring->cell[number % EVENT_CELLS];
	uint64_t held = FREE;

	/* Pairs with the CAS of event_take(): what was read of the cell was read before this. */
	if (shm_cas(&cell->state, &held, STATE(number, WRITING))) {
		write_cell(cell, image);
		held = STATE(number, WRITING);
		/* Publishes the words to the load in event_take(). */
		if (shm_cas(&cell->state, &held, STATE(number, FULL))) {
			tell(seg, ring);
			return true;
		}
	}
	shm_add(&seg->control->events_dropped, 1);
	return false;
}

uint32_t event_take(struct seg *seg, uint32_t slot, uint32_t *seen, event_taken *taken, void *user)
{
	struct seg_events *ring = &seg->events[slot];
	const uint32_t told = shm_half_load(&ring->told);
	struct event_image image;
	uint64_t first;
	uint32_t n = 0;

	if (told == *seen)
		return 0;
	*seen = told;
	first = shm_load_relaxed(&ring->next);
	for (uint32_t i = 0; i < EVENT_CELLS; i++) {
		struct seg_event *cell = &ring->cell[(first + i) % EVENT_CELLS];
		uint64_t state = shm_load(&cell->state);

		if (PHASE(state) != FULL)
			continue;
		read_cell(cell, &image);
		if (!shm_cas(&cell->state, &state, FREE))
			continue;
		taken(user, &image);
		n++;
	}
	return n;
}

void event_reap(struct seg *seg, uint32_t slot)
{
	struct seg_events *ring = &seg->events[slot];
	bool full = false;

	for (uint32_t i = 0; i < EVENT_CELLS; i++) {
		uint64_t state = shm_load(&ring->cell[i].state);

		if (PHASE(state) == FULL)
			full = true;
		else if (state != FREE)
			(void)shm_cas(&ring->cell[i].state, &state, FREE);
	}
	if (full)
		tell(seg, ring);
}

bool event_settled(const struct seg *seg, uint32_t slot)
{
	for (uint32_t i = 0; i < EVENT_CELLS; i++) {
		const uint64_t state = shm_load(&seg->events[slot].cell[i].state);

		if (state != FREE && PHASE(state) != FULL)
			return false;
	}
	return true;
}
