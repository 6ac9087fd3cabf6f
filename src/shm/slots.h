/*
 * shm/slots.h - so many at a time, as leases
 * SPDX-License-Identifier: MIT
 *
 *	state[0]	0 (never RECORD_DEAD while it lives)
 *	state[3]	its extent (extent.h): one word a slot; 0: free, else the lease
 *
 * lease = [0 | worker slot 12 | incarnation 16 | sequence 15 | start 20]: the word is the lease, there is no second
 * counter. Taking is one CAS from 0 (or from a lease past its maximum hold) to the own word; releasing, expiring and
 * reaping compare the whole word, so nobody ends a lease that is not the one he means. sequence is never 0 and, with
 * worker and incarnation and start, names one lease for ever. start is in units of 2^30 ticks (134 ms), modulo 2^20
 * (39 hours). A free slot taken by a stopped worker's late CAS is a free slot taken; that the record still is the
 * same one it checks afterwards, and ends its lease if not.
 *
 * Classes: the first slots of the table are guaranteed ranges, each for one class alone; the rest is shared. A class
 * with a ceiling looks at the first (ceiling - own) of the shared ones from below, all others from above, so
 * that they meet last.
 */
#ifndef RATION_SHM_SLOTS_H
#define RATION_SHM_SLOTS_H

#include "shm/take.h"

#define SLOTS_MAX 1024u

/* link->shape: slots of the table. How many there are in all says numbers. */
enum slots_shape {
	SLOTS_OWN_FIRST,    /* the class's own range */
	SLOTS_OWN_COUNT,    /* 0: none */
	SLOTS_SHARED_FIRST, /* sum of all guarantees */
	SLOTS_CEILING,      /* most slots, own ones included; 0: no ceiling */
};

/* [stamp 4 | 0 28 | hold 20 | slots 12]. hold_ns: maximum hold of a lease, 0: none, at most 24 h. 0 if out of range. */
uint64_t slots_pack(uint32_t slots, uint64_t hold_ns);
uint32_t slots_count(uint64_t numbers);
uint64_t slots_hold(uint64_t numbers); /* ticks; 0: none */

/* Words to claim for a table: 4 times the slots, so that the number may grow, at least 64. */
uint32_t slots_table_words(uint32_t slots);

/* Fill a claimed extent. spent: every slot is held by nobody until its maximum hold (or a minute) is over. */
void slots_first(struct seg *seg, uint32_t extent, uint32_t words, uint64_t numbers, uint64_t now,
		 bool spent);

/* identity: worker_identity() (worker.h). sequence: the caller's counter, any value. */
uint64_t slots_lease(uint64_t identity, uint32_t sequence, uint64_t now);

/* look fills taken->word with nothing to rely on; charge: taken->word the lease, taken->charged the slot. */
enum take slots_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		     const struct instant *at, struct taken *ret_taken, struct shortage *ret_why);
enum take slots_charge(struct seg *seg, const struct link *link, const struct demand *demand,
		       const struct instant *at, struct taken *taken, struct shortage *ret_why);

/* End a lease. False: it was not there any more (expired, reaped). */
bool slots_release(struct seg *seg, const struct charge_ref *charge);

/* End every lease of a (dead) worker slot, all incarnations. Calls freed(user, bucket) for each bucket that got a slot
 * back. Returns how many leases. */
typedef void slots_freed(void *user, uint32_t bucket);
uint32_t slots_reap(struct seg *seg, uint32_t worker, slots_freed *freed, void *user);

/* For displays: the i-th slot's lease (0: free), and who holds it since when. */
uint64_t slots_word(const struct seg *seg, uint32_t bucket, uint32_t i);
uint32_t slots_holder(uint64_t lease);              /* worker slot */
uint64_t slots_since(uint64_t lease, uint64_t now); /* ticks, to 134 ms */

#endif
