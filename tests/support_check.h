/*
 * tests/support_check.h - after each test: is the segment still as it must be?
 * SPDX-License-Identifier: MIT
 *
 *	TestSuite(name, .fini = check_worlds);
 */
#ifndef RATION_TESTS_SUPPORT_CHECK_H
#define RATION_TESTS_SUPPORT_CHECK_H

#include <stdint.h>

/* Remember a segment (by a mapping of its own, which outlives any attachment). */
void check_watch(int state_fd, uint64_t size);

/* How far a test has moved its clocks in all. */
void check_advance(uint64_t ns);

/* Violations in all segments watched so far, each printed. */
unsigned check_count(void);

/* For teardown: fails the test for any violation, and forgets the segments. */
void check_worlds(void);

#endif
