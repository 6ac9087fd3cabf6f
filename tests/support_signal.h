/*
 * tests/support_signal.h - responses, and what an adapter is expected to make of them
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_TESTS_SUPPORT_SIGNAL_H
#define RATION_TESTS_SUPPORT_SIGNAL_H

#include <jansson.h>

#include "signal/adapter.h"
#include "signal/signal.h"

/* The shipped adapters, or those of a directory before them; any message fails the test. */
struct adapters *signal_adapters(const char *directory);

/* One signal of one case (vendor, status, headers, body, now), as ration signal prints it. */
json_t *signal_of(struct adapters *adapters, const json_t *response);

/*
 * What differs from what was expected, in words; NULL: nothing. A scope of null is not asked about, nor
 * what a limit has that was not expected of it.
 */
char *signal_differs(const json_t *expected, const json_t *signal);

/* Every case of a file: {id, vendor, ..., expect}. Returns how many. */
size_t signal_check_file(const char *path);

#endif
