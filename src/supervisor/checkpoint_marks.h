/*
 * supervisor/checkpoint_marks.h - what of each bucket the checkpoint on disk covers
 * SPDX-License-Identifier: MIT
 *
 * Of every bucket whose limit looks a minute or more back (struct limit_name, horizon) there is a mark here: the words that
 * the file on disk was made from, and how much more may be charged before those of the next one must lie there (`ahead`,
 * checkpoint_file.h). All of them are looked at many times a second: a load or two each, where nothing was charged. As soon as
 * one is past the middle of what is ahead, the next file is due.
 *
 * Ahead of use is the largest of
 *
 *	one unit
 *	1 % of the amount, or 2 % of what is left where that is less
 *	where there was use in every one of the last looks: as much as comes meanwhile, with some to spare
 *
 * so that after a power cut 98 % of what was left can be used, or all but one unit. Use that comes evenly never gets past it.
 * A burst may: what is charged within one look and one write (hundredths of a second on most disks), beyond what is ahead,
 * is not on disk if the power goes just then, and is forgotten. Nobody can have both: workers that never wait for a
 * disk may take all that is left in a microsecond.
 *
 * Also here: blocks, and what vendors have told. They are saved with the rest, and never a reason for haste.
 */
#ifndef RATION_SUPERVISOR_CHECKPOINT_MARKS_H
#define RATION_SUPERVISOR_CHECKPOINT_MARKS_H

#include "shm/layout.h"
#include "supervisor/checkpoint_file.h"

/* Limits with a shorter horizon are as good as new after a reboot. */
#define CHECKPOINT_HORIZON (60 * TICKS_PER_SEC)

/* Units that count as ahead of a window in which nothing was counted yet; of a rolling or bucket's amount likewise. */
static inline uint64_t checkpoint_part(uint64_t amount)
{
	return amount / 100;
}

/* Of what a file was made, and what it says is ahead. */
struct mark_state {
	uint64_t word[2];
	uint64_t ahead; /* ticks, or units */
	uint64_t far;
};

struct mark {
	uint32_t bucket;
	uint32_t generation;
	uint32_t kind;
	uint32_t scope;
	uint32_t limit;  /* index in the policy */
	uint32_t name;   /* index among its names; gates: BLOB_NO_INDEX */
	uint64_t last;   /* charged between the last two looks */
	uint64_t steady; /* the least that lately came between any two */
	uint64_t seen[2];
	struct mark_state on_disk;
	struct mark_state being_written;
	bool is_on_disk;
	bool is_being_written;
	char *key; /* five strings, one after the other */
};

struct marks {
	struct mark *mark;
	uint32_t n, room;
	uint32_t n_buckets;
	uint32_t *of; /* by bucket: index + 1 of its mark; 0: none yet; or that there is none */
	uint32_t *generation; /* of which life that is */
	uint32_t next;        /* bucket to look for a new record at */
	uint64_t policy;      /* generation that all this is by */
	bool moved;           /* the file on disk is not what it would be if it were made now */
	bool due;             /* and it is time */
	bool once_more; /* what was written last is so far ahead that the one before does not cover it */
};

/* What there is to look at, and when. */
struct marks_at {
	struct seg *seg;
	const struct published *policy;
	uint64_t now; /* ticks */
	int64_t wall; /* ns since 1970, as windows go by it */
};

int marks_make(struct marks *marks, uint32_t n_buckets);
void marks_free(struct marks *marks);

/*
 * Look at all marks, and at so many records for new ones. thorough: also at what time alone has changed; once in a while.
 */
void marks_look(struct marks *marks, const struct marks_at *at, uint32_t records, bool thorough);

/*
 * Put all of them into a draft. haste: how often they are looked at while a file is being written, and once more; 0: nobody
 * is there who could charge anything, and nothing need be ahead.
 */
void marks_save(struct marks *marks, const struct marks_at *at, struct checkpoint_draft *draft,
		uint64_t haste);

/* That file is on disk; or it is not and never will be. */
void marks_saved(struct marks *marks);
void marks_lost(struct marks *marks);

#endif
