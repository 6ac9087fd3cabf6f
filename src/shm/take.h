/*
 * shm/take.h - what every kind of limit has in common
 * SPDX-License-Identifier: MIT
 *
 * Each kind offers the same four steps on one record, and shm/chain.c puts them together:
 *
 *	look		plain loads, no store: would it admit, and what would charging it take?
 *	charge		from what was looked at, by CAS; looks again as long as others are faster
 *	give back	undo a charge, as far as time has not, or end a lease
 *	settle		correct a charge to what was really used
 *
 * Killed between any two instructions, a worker has only spent; a lease is exact even then.
 */
#ifndef RATION_SHM_TAKE_H
#define RATION_SHM_TAKE_H

#include "shm/layout.h"

/* CAS attempts before a worker is told to try again. Each failure is another worker's success. */
#ifndef CAS_ATTEMPTS
#define CAS_ATTEMPTS 1000
#endif

enum take {
	TAKE_ADMIT,
	TAKE_WAIT,    /* not now; retry_at says when */
	TAKE_NEVER,   /* larger than it can ever hold */
	TAKE_STALE,   /* the handle is older than this life of the record: resolve again */
	TAKE_CORRUPT, /* impossible words */
	TAKE_AGAIN,   /* out of CAS attempts */
};

/* What became of a charge that is not asked for, but told: a cost above its estimate. 0: nothing. */
enum debit {
	DEBIT_NONE, /* stale, or out of attempts */
	DEBIT_PART, /* as much as the bound on debt left */
	DEBIT_WHOLE,
};

/* When an acquire happens: one clock read, and what the wall clock shows then. */
struct instant {
	uint64_t now; /* ticks */
	int64_t wall; /* ns since 1970 (UTC); read by windows only */
};

/* One bucket to pass, as a handle keeps it. */
struct link {
	uint32_t bucket;
	uint32_t generation;
	uint32_t unit;  /* hash_unit() of its name */
	uint32_t flags; /* LINK_* */
	uint64_t default_cost;
	uint64_t mark; /* units that this class must leave; not for slots */
	/*
	 * Token buckets: what the default cost comes to while the bucket has these numbers: ticks, and how far
	 * ahead of now its TAT may be. Spares the usual acquire the arithmetic; numbers 0 never match.
	 */
	uint64_t numbers;
	uint64_t ticks;
	uint64_t room;
	uint64_t shape[5]; /* of the other kinds, see their headers */
};

/*
 * A chain is a row of links. Most stand alone. Two combinations serve classes:
 *	LINK_BACKING	a token bucket of the class's own guarantee. If it admits, both it and the next link are
 *			charged, and the next link's mark does not count; if not, it is left out and the mark counts.
 *	LINK_OR		of a run of these and the link after them, one that admits is charged: the class's own
 *			part of a window, the common part, what others' parts have released.
 */
#define LINK_KIND(flags)  ((flags)&0xf)
#define LINK_HAS_DEFAULT  UINT32_C(0x10)
#define LINK_BACKING      UINT32_C(0x20)
#define LINK_OR           UINT32_C(0x40)
#define LINK_RELEASED     UINT32_C(0x80)  /* windows: only so much of it as time has released */
#define LINK_PACED        UINT32_C(0x100) /* what is left is spread over the time that is left */
#define LINK_SHADOW       UINT32_C(0x200) /* would deny, but does not */
#define LINK_CLAMP        UINT32_C(0x400) /* a cost beyond its size counts as its size */
#define LINK_LIMIT_SHIFT  11
#define LINK_LIMITS_MAX   (UINT32_C(1) << (32 - LINK_LIMIT_SHIFT))
#define LINK_LIMIT(flags) ((flags) >> LINK_LIMIT_SHIFT)

/* What is asked of a link. */
struct demand {
	uint64_t units;
	uint64_t ahead; /* units that others in line are to have first */
	uint64_t mark;  /* units to leave */
	uint64_t lease; /* the word that takes a slot (slots.h); other kinds do not look at it */
	uint32_t place; /* slots: where to begin looking; any value will do */
	bool in_line;   /* gates: the asker stands in the line of it */
	uint64_t seed;  /* gates: what makes the asker's moment his own */
};

/* What a link gave, as the ticket carries it; what the words mean is each kind's own. */
struct taken {
	uint64_t charged;
	uint64_t word;
	uint64_t refunds;
};

/* Why a link did not admit. */
struct shortage {
	uint64_t
		retry_at; /* ticks; the earliest time the same could be admitted, as far as can be known */
	uint64_t
		left; /* units it has for this class; if they are enough, it is paced: not yet its turn */
	uint64_t size; /* units it could ever give at once */
};

/* A charge that is to be corrected. */
struct charge_ref {
	uint32_t bucket;
	uint32_t generation;
	uint64_t units;  /* as charged */
	uint64_t permit; /* ticks */
	struct taken taken;
	uint64_t max_debt; /* units: how far a debit goes below empty; 0: no bound of its own */
};

#endif
