/*
 * shm/reclaim.h - records that remember nothing become free again
 * SPDX-License-Identifier: MIT
 *
 * A record may go when a new one of the same identity would decide as it does: a bucket that has been full, a window
 * that has been over, slots that have been free for a while. There are no epochs and nobody is waited for:
 *
 *	1. state[0] becomes RECORD_DEAD, by a CAS from the words that were judged: it fails if anybody charged
 *	   meanwhile. From here every handle finds TAKE_STALE and resolves again, and searches pass the record over, so
 *	   a new one of the same identity may be pushed at once. (Slots are closed first: slots.h.)
 *	2. the record leaves its chain, and the chain's tag moves (index.h)
 *	3. its identity is cleared, the second word first: while there is any of it, step 2 may have to be done
 *	4. the generation is bumped, its extent freed, the owner word freed
 *
 * Killed anywhere, the record is dead, and whoever looks at it next goes on from step 2: each step may be done again. A
 * dead record is never revived.
 *
 * A worker that stood still meanwhile, with an old handle, a ticket or a loaded word:
 *
 *	charge		its CAS compares a word that this record has no more: the words of a life are all later than those of
 *			the lives before. control->horizon sees to that: it is later than anything that ended lives
 *			counted, and a new life begins at a clock read no earlier (index_insert())
 *	refund, settle	compares the generation after the words
 *	search, insert	compares the chain's tag at the end
 *	counters	carry the generation (stat.h)
 *
 * Only the supervisor calls anything here: one process, which nobody replaces while it lives. In an embedded segment
 * records keep their one life: workers put right there what is impossible (client/mend.c), and one that stands still in
 * the middle of that would go on in the next life.
 */
#ifndef RATION_SHM_RECLAIM_H
#define RATION_SHM_RECLAIM_H

#include "shm/layout.h"

/* What a record is compared with. Times are ticks. */
struct reclaim_rule {
	uint64_t now;
	uint64_t idle; /* how long a record must have had nothing to remember */
	uint64_t
		window; /* windows: one that began a while ago; those before it are over. 0: not known, they stay */
};

/* Before any life is ended by a rule; again after a restart. A horizon that was scribbled over is put right. */
void reclaim_begin(struct seg *seg, const struct reclaim_rule *rule);

/* Whether a linked record is between two lives: reclaim_finish() is due. */
static inline bool reclaim_is_dead(const struct seg_hot *hot)
{
	return shm_load(&hot->state[0]) == RECORD_DEAD;
}

/*
 * End the life of a linked record if it remembers nothing, nobody waits for it and no class has drawn from it since the
 * last but one contest_age(), or go on where that was begun. True: it has become free.
 */
bool reclaim_record(struct seg *seg, uint32_t bucket, const struct reclaim_rule *rule);

/* Steps 2 to 4 for a dead record. False: its chain leads nowhere, or others were faster: to be repeated. */
bool reclaim_finish(struct seg *seg, uint32_t bucket);

#endif
