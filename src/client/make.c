/*
 * client/make.c - the first words of a bucket
 * SPDX-License-Identifier: MIT
 *
 * A new bucket starts with all of its limit unused. Under a name that counted otherwise before, it starts spent, or
 * a reload that changes a kind, a period or a scope would hand out the same quota again.
 */
#include "client/make.h"

#include "client/client.h"
#include "shm/extent.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"

void limit_name(const struct blob *blob, const struct blob_limit *limit, char *buf, size_t size)
{
	const char *vendor = blob_text(blob, limit->vendor);
	const char *parts[3] = {vendor, *vendor ? "/" : "", blob_text(blob, limit->name)};
	size_t used = 0;

	for (int i = 0; i < 3; i++) {
		for (const char *p = parts[i]; *p && used + 1 < size; p++)
			buf[used++] = *p;
	}
	buf[used] = '\0';
}

static uint64_t fill_slots(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	const struct birth *birth = user;
	const uint64_t numbers = birth->numbers->effective;

	slots_first(seg, bucket, first, slots_table_words(slots_count(numbers)), numbers,
		    birth->at.now, birth->used > 0);
	return 0;
}

static uint64_t fill_rolling(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	const struct birth *birth = user;

	return rolling_first(seg, bucket, first, birth->numbers->effective,
			     birth->link->shape[ROLLING_CELL_TICKS], birth->at.now, birth->used);
}

/* What is spent of a new bucket was spent before now, and drains from now on. */
static uint64_t first_tat(const struct birth *birth)
{
	const uint64_t numbers = birth->numbers->effective;
	const uint64_t all = bucket_tolerance(numbers), cost = bucket_cost(numbers, birth->used);

	return birth->at.now + (cost < all ? cost : all);
}

/* What was permitted just now may arrive in the next window: then that is the first, and this the one before. */
static void first_pair(const struct birth *birth, uint64_t ret_state[2])
{
	const uint64_t *shape = birth->link->shape;
	const uint64_t numbers = birth->numbers->effective;
	const uint64_t index = shape[WINDOW_INDEX];
	uint64_t before[2];

	if (birth->used > 0 &&
	    shape[WINDOW_END] - (uint64_t)birth->at.wall <= shape[WINDOW_BEFORE]) {
		window_first(numbers, index + 1, birth->used, ret_state);
		return;
	}
	window_first(numbers, index, birth->used, ret_state);
	window_first(numbers, index - 1, birth->before, before);
	ret_state[(index - 1) & 1] = before[(index - 1) & 1];
}

static void first_words(const struct birth *birth, struct bucket_spec *spec)
{
	const uint64_t numbers = birth->numbers->effective;

	switch (spec->kind) {
	case KIND_BUCKET:
		spec->state[0] = first_tat(birth);
		break;
	case KIND_WINDOW:
		first_pair(birth, spec->state);
		break;
	case KIND_ROLLING:
		spec->extent_lines = ROLLING_LINES;
		spec->fill = fill_rolling;
		break;
	case KIND_SLOTS:
		spec->extent_lines = slots_table_words(slots_count(numbers)) / EXTENT_LINE_WORDS;
		spec->fill = fill_slots;
		break;
	default:
		break;
	}
}

uint64_t client_contest_key(const struct blob *blob, uint32_t limit, uint32_t class_index)
{
	char name[LIMIT_NAME_SIZE];

	limit_name(blob, &blob->limits[limit], name, sizeof(name));
	return contest_key(name, class_index);
}

enum index_result make_bucket(struct seg *seg, uint32_t slot, const struct birth *birth,
			      struct bucket_ref *ret_ref)
{
	const struct blob_limit *l = &birth->blob->limits[birth->limit];
	const uint32_t generation = (uint32_t)birth->blob->header->generation;
	struct birth mutable = *birth;
	char name[LIMIT_NAME_SIZE];
	struct bucket_spec spec = {
		.identity = birth->identity,
		.kind = (enum seg_kind)l->kind,
		.now = birth->at.now,
		.numbers = bucket_restamp(birth->numbers->effective, generation),
		.max_debt = birth->numbers->max_debt,
		.scope = l->scope,
		.names = {[NAME_LIMIT] = name},
		.user = &mutable,
	};

	first_words(birth, &spec);
	limit_name(birth->blob, l, name, sizeof(name));
	for (int i = 0; i < KEY_FIELDS; i++) {
		if (l->scope & 1u << i)
			spec.names[NAME_TENANT + i] = birth->field[i];
	}
	return index_insert(seg, slot, &spec, ret_ref);
}
