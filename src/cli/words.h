/*
 * cli/words.h - numbers and scopes for people
 * SPDX-License-Identifier: MIT
 *
 * Each returns its buffer.
 */
#ifndef RATION_CLI_WORDS_H
#define RATION_CLI_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "shm/bucket.h"

/* "100/s", "1.5/min", "3/day": the unit of time in which the number is at least one. */
char *words_rate(double per_second, char *buf, size_t size);

/* "50 ms", "2.5 s", "3 h" */
char *words_duration(uint64_t ns, char *buf, size_t size);

/* "per tenant and vendor"; "for all requests together" for none. */
char *words_scope(uint32_t scope, char *buf, size_t size);

/* Units a second that packed numbers stand for. */
double words_per_second(bucket_numbers numbers);

/* Names may come from memory that others write: what would move a terminal's cursor becomes '?'. */
void words_printable(char *text);

#endif
