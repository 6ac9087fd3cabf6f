/*
 * tests/model/reference.h - time, and an exact account of what was admitted when
 * SPDX-License-Identifier: MIT
 *
 * A token bucket of these tests gets one unit a tick, so that units and ticks are the same number
 * and the reference is integer arithmetic over the list of permits.
 */
#ifndef RATION_MODEL_REFERENCE_H
#define RATION_MODEL_REFERENCE_H

#include "explore.h"
#include "shm/index.h"

#define BUCKETS     2
#define PERMITS_MAX 4 /* of one actor from one bucket */
#define T0          UINT64_C(1000)

struct permit {
	uint64_t at;
	uint64_t units; /* 0: none */
	uint64_t back;  /* of these, given back */
};

struct notes {
	shm_word now;
	uint64_t debts[BUCKETS]; /* charged beside permits */
	struct permit permits[BUCKETS][ACTORS_MAX][PERMITS_MAX];
};

/* What area-wide state the model declares, and where it lies. */
struct notes *notes(void);

/* The clock: a word that may change between any two accesses. */
uint64_t now(void);
uint64_t now_again(void *user);

/* Some time passes. */
void op_tick(void *self, const struct op *op);
#define TICK(n)                                                                                    \
	{                                                                                          \
		op_tick, "tick %u", n, 0                                                           \
	}
#define CLOCK(...)                                                                                 \
	{                                                                                          \
		{__VA_ARGS__}, ACTOR_IMMORTAL | ACTOR_FREE, NULL                                   \
	}
#define ACTOR(...)                                                                                 \
	{                                                                                          \
		{__VA_ARGS__}, 0, NULL                                                             \
	}
/* One that is part of the supervisor, which these tests do not kill, and one that comes after a kill. */
#define SUPERVISOR(...)                                                                            \
	{                                                                                          \
		{__VA_ARGS__}, ACTOR_IMMORTAL, NULL                                                \
	}
#define REAPER(...)                                                                                \
	{                                                                                          \
		{__VA_ARGS__}, ACTOR_IMMORTAL, model_anyone_killed                                 \
	}

struct permit *note_permit(unsigned bucket, uint64_t at, uint64_t units);

/* Over any interval between permits: no more than burst + elapsed * units / ticks. */
void check_never_over(unsigned bucket, uint64_t burst, uint64_t units, uint64_t ticks);

/* Units of all permits, less what came back. */
uint64_t noted_units(unsigned bucket);

/* A bucket of one unit a `ticks` ticks, of which `spent` are spent at T0. */
struct bucket_ref make_bucket(uint64_t id, uint64_t ticks, uint64_t burst, uint64_t spent);
uint64_t numbers_of(uint64_t ticks, uint64_t burst);

/* The invariant walk over the segment, nobody being at work. The dead are reaped before. */
void check_segment(void);

#endif
