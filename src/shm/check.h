/*
 * shm/check.h - is all of it still as it must be?
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SHM_CHECK_H
#define RATION_SHM_CHECK_H

#include "shm/layout.h"

/* Called for each thing that is wrong: what, and which record, slot, cell or chain. */
typedef void seg_problem(void *user, const char *what, uint32_t where);

/*
 * Walk every invariant of the segment and return the number of violations. Workers may run
 * meanwhile only if `quiet` is false: then what a running insert may leave for a moment is not
 * reported.
 */
unsigned seg_check(const struct seg *seg, uint64_t now, bool quiet, seg_problem *report,
		   void *user);

#endif
