/*
 * tests/support_kinds.c - limits of every kind in a segment, and links to them
 * SPDX-License-Identifier: MIT
 */
#include "support_kinds.h"

#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"

#define WINDOWS_MAX (UINT64_C(1) << 40) /* far more than any test gets to */

struct fill {
	const struct kinds_limit *limit;
	uint64_t numbers;
	uint64_t now;
};

static uint64_t cell_ticks(const struct kinds_limit *limit)
{
	return rolling_cell_ticks(limit->ns, limit->delay);
}

uint64_t kinds_numbers(const struct kinds_limit *limit, uint64_t amount)
{
	switch (limit->kind) {
	case KIND_BUCKET:
		return bucket_pack(1, limit->ns, amount);
	case KIND_WINDOW:
		return window_pack(amount, WINDOWS_MAX);
	case KIND_ROLLING:
		return rolling_pack(amount, cell_ticks(limit));
	default:
		return slots_pack((uint32_t)amount, limit->ns, 0);
	}
}

static uint64_t fill(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	const struct fill *with = user;

	if (with->limit->kind == KIND_ROLLING)
		return rolling_first(seg, bucket, first, with->numbers, cell_ticks(with->limit),
				     with->now, false);
	slots_first(seg, bucket, first, slots_table_words((uint32_t)with->limit->amount),
		    with->numbers, with->now, false);
	return 0;
}

static uint32_t lines_of(const struct kinds_limit *limit)
{
	if (limit->kind == KIND_ROLLING)
		return ROLLING_LINES;
	return limit->kind == KIND_SLOTS ? slots_table_words((uint32_t)limit->amount) / 8 : 0;
}

enum index_result kinds_insert_by(struct seg *seg, uint32_t slot, uint64_t id,
				  struct kinds_limit *limit, uint64_t now)
{
	struct fill with = {limit, kinds_numbers(limit, limit->amount), now * TICKS_PER_NS};
	struct bucket_spec spec = {
		.identity = {{id * UINT64_C(0x9e3779b97f4a7c15) + 1, id}},
		.kind = limit->kind,
		.numbers = with.numbers,
		.now = with.now,
		.state = {with.now},
		.extent_lines = lines_of(limit),
		.fill = fill,
		.user = &with,
	};

	if (limit->kind == KIND_WINDOW)
		window_first(spec.numbers, kinds_window(limit, now), false, spec.state);
	return spec.numbers != 0 ? index_insert(seg, slot, &spec, &limit->ref) : INDEX_CORRUPT;
}

bool kinds_insert(struct seg *seg, uint64_t id, struct kinds_limit *limit, uint64_t now)
{
	return kinds_insert_by(seg, 0, id, limit, now) == INDEX_FOUND;
}

struct instant kinds_instant(uint64_t now)
{
	return (struct instant){now * TICKS_PER_NS, KINDS_WALL + (int64_t)now};
}

uint64_t kinds_window(const struct kinds_limit *limit, uint64_t now)
{
	return (uint64_t)kinds_instant(now).wall / limit->ns + 1;
}

struct link kinds_link(const struct kinds_limit *limit, uint64_t now)
{
	struct link link = {
		.bucket = limit->ref.bucket,
		.generation = limit->ref.generation,
		.unit = limit->unit,
		.flags = limit->kind,
	};

	if (limit->kind == KIND_WINDOW) {
		const uint64_t index = kinds_window(limit, now);

		link.shape[WINDOW_INDEX] = index;
		link.shape[WINDOW_START] = (index - 1) * limit->ns;
		link.shape[WINDOW_END] = index * limit->ns;
		link.shape[WINDOW_BEFORE] = limit->skew + limit->delay;
		link.shape[WINDOW_AFTER] = limit->skew;
	} else if (limit->kind == KIND_ROLLING) {
		link.shape[ROLLING_CELL_TICKS] = cell_ticks(limit);
	}
	return link;
}
