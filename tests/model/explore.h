/*
 * tests/model/explore.h - every interleaving of a few actors that run the real code of src/shm
 * SPDX-License-Identifier: MIT
 *
 * src/shm is compiled unchanged, except that each access to shared memory first hands control to
 * this explorer (SHM_YIELD in shm/atomic.h, yield.h). An actor is a coroutine on a stack of its own. From
 * every state the explorer lets every actor that can go on make its next access, one after the other:
 * it saves all memory and stacks, resumes the actor up to its next access, explores what follows, and
 * puts everything back. Where kills are left it also kills the actor there: it just never runs again.
 *
 * A state is the shared memory, what is on the stacks of the actors that live (their registers
 * included), and who is dead or done. The code is deterministic, so two equal states have equal futures:
 * one that was seen before is not explored again. There are finitely many, so the search ends, and it leaves
 * nothing out. A state also tells how many executions lead on from it; the sum is what is reported as
 * executions (of accesses to contended words; without the memory of states each would have to be run).
 *
 * Two reductions, neither of which loses an outcome:
 *
 * - Calm words. An access to a word that no two actors contend for (only one actor touches it in all of the
 *   exploration, or none writes it) commutes with all that others do: whenever it happens, it reads and leaves the
 *   same, and so do they. So an actor whose next access is calm goes first, alone, and only accesses to contended
 *   words are points of choice. Loops are bounded, so nobody is put off for ever. Which words are calm is found
 *   out: all are taken for calm at first; whenever an exploration meets contention for one, it notes
 *   that and begins again. One that ends has met none, and had any run in it contention for another word, then the
 *   shortest beginning of that run that has would only be made of steps that were explored.
 * - Places to die. An actor is killed before it begins and after each of its steps that changed anything: shared
 *   memory, or what the test notes down. Killed after steps that only read it leaves the same as killed before
 *   them, and others cannot tell when it was. Where somebody waits for deaths, any actor that may be killed is
 *   a point of choice, so that it also dies later than others act.
 *
 * What a check after each step sees are the states after these steps; notes that actors keep for the
 * checks are written in the step that they are about.
 *
 * `make model` also explores each scenario once more without either reduction, where that is not too large: it
 * must come to exactly the same last states (--compare).
 *
 * The bound of each scenario stands in what is printed: "all interleavings", which is what nearly all of
 * them get, or a number of preemptions (how often an actor that could go on is left for another); and how
 * many actors are killed in one execution. Hunts for a mistake try few preemptions first.
 *
 * Memory is sequentially consistent here: what orders publish is the thread sanitizer's to check. A CAS
 * gives up after 3 attempts (CAS_ATTEMPTS), so that this is explored too. An actor that loops without an
 * access is found by a timer (main.c).
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

/* The actor that runs; in ready(), the one that it is about. */
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
