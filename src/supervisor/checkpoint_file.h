/*
 * supervisor/checkpoint_file.h - a checkpoint as it lies on disk
 * SPDX-License-Identifier: MIT
 *
 *	header | limits | entries | cells | text | check
 *
 * Fixed widths, little-endian, no padding, nothing but these tables: the counts in the header give the size to the byte.
 * Names are offsets of terminated strings in `text`; offset 0 is the empty string. `check` is a keyed hash of all that
 * stands before it (shm/hash.h, with a key that is part of the format): it is there already, is tested with its authors'
 * vectors, and 128 bits let no change by a disk pass, in files of any size. It keeps nobody from forging a file; its
 * mode and directory do.
 *
 * Nothing depends on where things lay in memory, nor on a hash that is new at each boot: an entry says by names what it
 * counts. What an entry has is to be taken as spent:
 *
 *	what its cells say, as far as that still counts at the time of the restore, and then `ahead` of it,
 *	whatever the time is.
 *
 * `ahead` was not spent when the file was made. It is what may be spent before the next file is there. `far` is the same for
 * whoever has to do with the file before the last: what may be spent before two more are there. Invariant, of every file
 * under its final name: what was charged since it was made is at most `ahead` (checkpoint_marks.h says how that is kept,
 * and what can break it).
 *
 *	kind		cells					ahead, far	burst, full_ns
 *	bucket		one: -, ns until it is full		ns		its burst, ns that all of it takes
 *	window		1 or 2: index of the window, units	units		-
 *	rolling		any: ns ago (the latest it can be), units; the oldest first
 *							units		-
 *	gate		one: until (ns since 1970), why		-		-
 *	view		some: enum view_value, value; of VIEW_LEARNED, how old its stamp is stands in `ahead`, in ns
 */
#ifndef RATION_SUPERVISOR_CHECKPOINT_FILE_H
#define RATION_SUPERVISOR_CHECKPOINT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/client.h"
#include "supervisor/published.h"

#define CHECKPOINT_MAGIC   "RATIONCK"
#define CHECKPOINT_VERSION 1u

/* More is refused before it is read: all of the largest table. */
#define CHECKPOINT_SIZE_MAX (UINT64_C(1) << 34)

struct checkpoint_header {
	char magic[8];
	uint32_t version;
	uint32_t reserved;
	uint64_t size;    /* of the file */
	uint64_t serial;  /* 1, 2, ... */
	int64_t wall;     /* when it was made: ns since 1970, as windows go by it */
	int64_t latest;   /* the latest that they have gone by */
	uint64_t boot_ns; /* when it was made: CLOCK_BOOTTIME */
	uint64_t boot[2]; /* of which boot that is; 0, 0: not known */
	uint32_t n_limits;
	uint32_t n_entries;
	uint32_t n_cells;
	uint32_t n_text; /* bytes; a multiple of 8 */
};

/* A limit of the policy that was in force: what its name stood for. */
struct checkpoint_limit {
	uint32_t name; /* "vendor/limit", or "limit" for all vendors */
	uint32_t kind;
	uint32_t scope;
	uint32_t unit_hash;
	uint32_t role;
	uint32_t calendar;
	uint32_t zone_hash;
	uint32_t reserved;
	uint64_t period_ns;
	uint64_t delay_ns;
	int64_t offset_ns;
	uint64_t horizon_ns; /* after which nothing that was spent of it counts */
	uint64_t
		spent_ns; /* for so long its new buckets began spent (struct blob_limit, spent_until) */
};

struct checkpoint_entry {
	uint32_t kind;
	uint32_t limit; /* index; gates: BLOB_NO_INDEX */
	uint32_t scope;
	uint32_t field[KEY_FIELDS]; /* only those of the scope */
	uint32_t first;             /* in cells */
	uint32_t count;
	uint32_t reserved;
	uint64_t ahead;
	uint64_t far;
	uint64_t burst;
	uint64_t full_ns;
};

struct checkpoint_cell {
	uint64_t at;
	uint64_t units;
};

_Static_assert(sizeof(struct checkpoint_header) == 88, "layout");
_Static_assert(sizeof(struct checkpoint_limit) == 72, "layout");
_Static_assert(sizeof(struct checkpoint_entry) == 80, "layout");
_Static_assert(sizeof(struct checkpoint_cell) == 16, "layout");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "these structs are the file");

/* --- reading --- */

/* A checked file. Pointers into it. */
struct checkpoint_file {
	const struct checkpoint_header *header;
	const struct checkpoint_limit *limits;
	const struct checkpoint_entry *entries;
	const struct checkpoint_cell *cells;
	const char *text;
};

/*
 * NULL, or why it is no use, in words. data: 8-byte aligned. Every index, string end and count is good afterwards; times and
 * numbers may be any.
 */
const char *checkpoint_open(const void *data, size_t size, struct checkpoint_file *ret);

static inline const char *checkpoint_text(const struct checkpoint_file *file, uint32_t offset)
{
	return file->text + offset;
}

/* What the limit's name stood for. */
struct limit_shape checkpoint_shape(const struct checkpoint_limit *limit);

/* --- writing --- */

struct checkpoint_draft {
	struct checkpoint_header header; /* the caller's, but for magic, version, size and counts */
	struct checkpoint_limit *limits;
	struct checkpoint_entry *entries;
	struct checkpoint_cell *cells;
	char *text;
	uint32_t room[4]; /* for so many of each */
	bool failed;      /* there was no memory for all of it */
};

/* Begins with the limits of a policy. now: ticks. */
void checkpoint_begin(struct checkpoint_draft *draft, const struct published *policy, uint64_t now);

/* The next entry; it has the cells that follow. The pointer is good until the next call. NULL: no memory. */
struct checkpoint_entry *checkpoint_add_entry(struct checkpoint_draft *draft);
void checkpoint_add_cell(struct checkpoint_draft *draft, uint64_t at, uint64_t units);

/* A string with its end; "": 0. */
uint32_t checkpoint_add_text(struct checkpoint_draft *draft, const char *text);

/* One block, malloc'd, as it is to be written but for `check`; the draft is empty then. -ENOMEM. */
int checkpoint_pack(struct checkpoint_draft *draft, void **ret_data, size_t *ret_size);

/* Put `check` in its place. */
void checkpoint_seal(void *data, size_t size);

void checkpoint_discard(struct checkpoint_draft *draft);

#endif
