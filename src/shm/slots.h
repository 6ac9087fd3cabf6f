/*
 * shm/slots.h - so many at a time, as leases
 * SPDX-License-Identifier: MIT
 *
 *	state[0]	0 (never RECORD_DEAD while it lives)
 *	state[2]	how many words of the table may hold leases, where that is more than numbers say: 0 unless
 *			the number of slots was ever lowered
 *	state[3]	its extent (extent.h): one word a slot
 *
 *	lease	[0 | worker slot + 1 : 13 | incarnation 16 | sequence 8 | class 3 | start 23]
 *	free	[0 | 0 : 13 | 1 | generation 25 | bucket 24]
 *	spent	[0 | 0 : 13 | 0 1 | 0 25 | start 23]	held by nobody, as after a lost history
 *	left	[0 | 0 : 13 | 0 0 1 | until 47]		held by nobody, until what its holder sent is over at the vendor
 *	closed	0
 *
 * The word is the lease, there is no second counter. Taking is one CAS from a free word (or from a lease past its
 * maximum hold) to the own word; releasing, expiring and reaping compare the whole word, so nobody ends a lease that
 * is not the one he means. A free word belongs to one life of one record: a CAS that comes later than that life
 * fails, whatever the lines hold by then. So a worker loads the word, checks the generation, then takes.
 *
 * start is in units of 2^30 ticks (134 ms), modulo 2^23 (13 days). Of the ages that are not within the hold, the
 * nearer half count as over and the other half as not begun yet, for a worker may look with a clock that it read
 * before the lease was taken: six days before, at the longest.
 *
 * A request that was given up, or whose worker died, may reach the vendor up to `delay` later, so its slot is nobody's
 * until then (in units of 2^20 ticks, 0.13 ms). That such a word is seen twice in one place would take two releases
 * in one unit, with a lease between them that began after the first was over.
 *
 * Classes: the first slots of the table are guaranteed ranges, each for one class alone; the rest is shared. A class
 * with a ceiling looks at the first (ceiling - own) of the shared ones from below, all others from above, so
 * that they meet last.
 *
 * Fewer slots than before: leases beyond the new number stay until they end, and each counts as if it held one of
 * those that remain.
 */
#ifndef RATION_SHM_SLOTS_H
#define RATION_SHM_SLOTS_H

#include "shm/blob.h"
#include "shm/take.h"

#define SLOTS_MAX 1024u

/* link->shape: slots of the table. How many there are in all says numbers. */
enum slots_shape {
	SLOTS_OWN_FIRST,    /* the class's own range */
	SLOTS_OWN_COUNT,    /* 0: none */
	SLOTS_SHARED_FIRST, /* sum of all guarantees */
	SLOTS_CEILING,      /* most slots, own ones included; 0: no ceiling */
	SLOTS_FIFO,         /* 1: whoever came first is next, whatever the class */
};

/*
 * [stamp 4 | delay 28 | hold 20 | slots 12]. hold_ns: maximum hold of a lease, 0: none, at most 24 h. delay_ns: how long
 * the slot of a request that was given up is nobody's, at most 9 h. 0 if out of range.
 */
uint64_t slots_pack(uint32_t slots, uint64_t hold_ns, uint64_t delay_ns);
uint32_t slots_count(uint64_t numbers);
uint64_t slots_hold(uint64_t numbers); /* ticks; 0: none */

/* Words to claim for a table: 4 times the slots, so that the number may grow, at least 64. A multiple of 8. */
uint32_t slots_table_words(uint32_t slots);

/*
 * Fill the extent that was claimed for a record, whose generation is that of the life to come. spent: every slot is
 * held by nobody until its maximum hold (or a minute) is over.
 */
void slots_first(struct seg *seg, uint32_t bucket, uint32_t extent, uint32_t words,
		 uint64_t numbers, uint64_t now, bool spent);

/* A caller's counter, any value, and the class that it asks as, for displays. */
static inline uint32_t slots_sequence(uint32_t counter, uint32_t class_index)
{
	return counter << 3 | (class_index & (CLASSES_MAX - 1));
}

/* identity: worker_identity() (worker.h). sequence: slots_sequence(). */
uint64_t slots_lease(uint64_t identity, uint32_t sequence, uint64_t now);

/*
 * A demand takes one slot, and needs that many more to be free as are to go to others (demand->ahead). charge fills
 * taken->word with the lease, taken->charged with the slot; look fills them with nothing to rely on.
 */
enum take slots_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		     const struct instant *at, struct taken *ret_taken, struct shortage *ret_why);
enum take slots_charge(struct seg *seg, const struct link *link, const struct demand *demand,
		       const struct instant *at, struct taken *taken, struct shortage *ret_why);

/*
 * End a lease. False: it was not there any more (expired, reaped). abandon: the vendor may still count what was sent, so
 * the slot is free only a delay after now.
 */
bool slots_release(struct seg *seg, const struct charge_ref *charge);
bool slots_abandon(struct seg *seg, const struct charge_ref *charge, uint64_t now);

/*
 * End every lease of a (dead) worker slot, all incarnations, as slots_abandon() does, but for no longer than
 * SLOTS_REAP_DELAY: a dead worker's leases are back within 100 ms, whatever the delay. Calls freed(user, bucket), which
 * may be NULL, for each bucket that gets a slot back. Returns how many leases.
 */
#define SLOTS_REAP_DELAY (TICKS_PER_SEC / 20)

typedef void slots_freed(void *user, uint32_t bucket);
uint32_t slots_reap(struct seg *seg, uint32_t worker, uint64_t now, slots_freed *freed, void *user);

/* New numbers for a linked record. Supervisor only. */
void slots_retune(struct seg *seg, uint32_t bucket, uint64_t numbers);

/*
 * Before a record is reclaimed: close every word, so that none can be taken any more. False: a lease is held, and
 * the table is open as before. Supervisor only; killed half-way, slots_repair() opens the table again.
 */
bool slots_close(struct seg *seg, uint32_t bucket, uint64_t now);

/*
 * Whether the words of a linked record can be true: free as this life's are, or held by the incarnation that has the
 * worker slot. repair frees those that are not, which also ends leases that outlived their worker; false: nothing
 * was done (the record's extent or numbers may be past repair).
 */
bool slots_plausible(const struct seg *seg, uint32_t bucket);
bool slots_repair(struct seg *seg, uint32_t bucket);

/* For displays: the i-th slot's lease (0: free), and who holds it as what since when (left ones: since 0). */
uint64_t slots_word(const struct seg *seg, uint32_t bucket, uint32_t i);
uint32_t slots_holder(uint64_t lease); /* worker slot; UINT32_MAX: nobody (spent, left) */
uint32_t slots_class(uint64_t lease);  /* index */
uint64_t slots_since(uint64_t lease, uint64_t now); /* ticks, to 134 ms */

#endif
