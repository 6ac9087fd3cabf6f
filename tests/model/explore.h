/*
 * tests/model/explore.h - every interleaving of a few actors that run the real code of src/shm
 * SPDX-License-Identifier: MIT
 *
 * src/shm is compiled unchanged, except that each access to shared memory first hands control to
 * this explorer. From every state it lets every actor that can go on make its next access, and
 * where kills are left it also kills it there: it just never runs again. A state is the shared
 * memory, what is on the stacks of the actors that live (their registers included), and who is
 * dead; one that was seen before is not explored again, so the search ends and leaves nothing out.
 *
 * Two reductions, neither of which loses an outcome:
 *
 * - Accesses to words that no two actors contend for (only one actor touches them, or none writes
 *   them) are not points of choice. Which words those are is found out: whenever an exploration
 *   meets contention for a word it took for calm, it begins again. An exploration that ends has met
 *   none, and any run that did would have a prefix among those explored.
 * - An actor is killed before and after each of its writes, and at its end. What it reads in between
 *   changes nothing that it leaves behind.
 *
 * A state also tells how many executions lead on from it; the sum is what is reported as executions
 * (of accesses to contended words; without the memory of states each would have to be run).
 * Memory is sequentially consistent here: what orders publish is the thread sanitizer's to check.
 */
#ifndef RATION_MODEL_EXPLORE_H
#define RATION_MODEL_EXPLORE_H

#include "world.h"

#define ACTORS_MAX 5
#define OPS_MAX    6
#define WITH_MAX   6

/* One thing that an actor does. self: its own memory, model.self_size bytes, zero at first. */
struct op {
	void (*run)(void *self, const struct op *op);
	const char *name; /* a format for a and b */
	uint64_t a, b;
};

#define ACTOR_IMMORTAL 1u /* never killed */
#define ACTOR_FREE     2u /* switching to it and back is no preemption: a clock */

struct actor {
	struct op ops[OPS_MAX]; /* run NULL ends them */
	unsigned flags;
	bool (*ready)(void); /* when it may begin; NULL: at once */
};

struct scenario {
	const char *about;
	struct actor actors[ACTORS_MAX];
	uint64_t with[WITH_MAX]; /* whatever the area's setup takes */
	unsigned kills;          /* how many actors may be killed in one execution */
	unsigned preemptions;    /* bound; 0: none, every interleaving is explored */
	bool longer;             /* only in the long form */
	void (*each)(void);      /* after every step, besides the area's own */
	void (*end)(void);       /* when nobody can go on, besides the area's own */
};

struct model {
	const char *area;
	uint32_t self_size;
	uint32_t own_size; /* struct at world.base that the actors share beside the segment */
	void (*setup)(void);
	void (*each)(void);
	void (*end)(void);
	const struct scenario *scenarios; /* about NULL ends them */
};

/* Each area defines it; the explorer has main(). */
extern const struct model model;

/* The one that is being explored. */
extern const struct scenario *scenario;

/* Something that must always hold does not. */
void model_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The actor that runs. */
int model_self(void);

/* Whether the latest access of the actor that runs was a write. */
bool model_wrote(void);

/* Go on only once `ready` says so. It may read shared memory. */
void model_wait(bool (*ready)(void));

bool model_killed(int actor);
bool model_finished(int actor);
unsigned model_kills(void);

/* Kills happened, and every actor that is not dead has finished: for ready() of whoever tidies up. */
bool model_anyone_killed(void);

#endif
