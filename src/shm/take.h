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

/* When an acquire happens: one clock read, and what the wall clock shows then. */
struct instant {
	uint64_t now; /* ticks */
	int64_t wall; /* ns since 1970 (UTC); for windows only */
};

/* Why a link did not admit. */
struct refusal_numbers {
	uint64_t retry_at; /* ticks; the earliest time the same could be admitted */
	uint64_t left;     /* units it could give now */
	uint64_t size;     /* units it could ever give at once */
};

#endif
