/*
 * tests/support_step.h - a worker killed, or stopped, at each of its instructions
 * SPDX-License-Identifier: MIT
 *
 * For each operation a child runs it on a shared segment as worker A, one instruction at a time (ptrace), and
 *
 * - is killed at instruction k: then it is reaped, and another worker does whole operations;
 * - is stopped at instruction k while another worker does whole operations, and goes on to its end;
 *
 * for every k from the first instruction to the last. After each trial what must hold is checked. The code is the
 * release build's; time stands still.
 *
 * Stepping to instruction k for each k would take the square of their number. Instead there is one child: at
 * each k all that it shares is copied, its registers and its stack too, and put back after each trial. What a
 * kill leaves is the shared memory as it is, so the trial of a kill is what the others do with that.
 */
#ifndef RATION_TESTS_SUPPORT_STEP_H
#define RATION_TESTS_SUPPORT_STEP_H

#include "shm/layout.h"

enum step_who { A, B, C, STEP_WORKERS }; /* their slots; A is stepped through */

struct step_operation {
	const char *name;
	void (*before)(enum step_who who); /* done by A beforehand; may be NULL */
	void (*run)(enum step_who who);    /* stepped through as A */
	void (*other)(enum step_who who);  /* done by B, whole */
	void (*check)(void);               /* afterwards, A being reaped */
};

struct step_test {
	size_t stage_size;    /* memory that both processes share, zero at first */
	void (*set_up)(void); /* what the segment holds before each operation */
	uint64_t now;         /* for the invariant walk */
	const struct step_operation *operations;
	size_t n_operations;
};

extern size_t step_trial; /* which of the operations is being tried */
extern struct seg step_seg;
extern void *step_stage;
extern bool step_killed; /* A was, or else it went on */

/* A whole operation of this worker is done. */
void step_done(enum step_who who);

void step_fail(const char *what);

/* What main() returns. */
int step_main(const struct step_test *test);

#endif
