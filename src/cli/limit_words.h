/*
 * cli/limit_words.h - a limit in words: what was written, what it comes to, and for whom
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_LIMIT_WORDS_H
#define RATION_CLI_LIMIT_WORDS_H

#include "shm/blob.h"

struct limit_view {
	const struct blob *blob;
	const struct blob_limit *limit; /* one that is written in the file */
	uint32_t tenant;                /* whose numbers: index, or BLOB_NO_INDEX */
};

enum { LIMIT_WORDS_SIZE = 400 };

/* "token bucket", "window", "rolling limit", "concurrency limit" */
const char *limit_kind(uint32_t kind);

/* "100/s, burst 50", "10000 in each day of Asia/Tokyo", "100 in any 10 s", "25 at a time": as written. */
char *limit_written(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE]);

/* The same after share, margin and delay, over all classes. */
char *limit_effective(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE]);

/* "guaranteed 10/s, burst 1; at most 60/s, burst 30"; "" if the class claims nothing of it. */
char *limit_claims(const struct limit_view *view, uint32_t class_index, char buf[LIMIT_WORDS_SIZE]);

/* "shadow", "denies bulk only, 08:00 to 18:00 in Europe/Berlin; else shadow"; "enforce" for no rules. */
char *limit_mode(const struct blob *blob, const struct blob_rules *rules,
		 char buf[LIMIT_WORDS_SIZE]);

/*
 * Everything else that distinguishes limits, one line each, such as ("cost", "2 tokens unless a request says
 * otherwise"). Only what is not the usual.
 */
typedef void limit_line(void *user, const char *what, const char *text);
void limit_lines(const struct limit_view *view, limit_line *line, void *user);

/* "opens for 30 s at 50 % of 10 or more responses in 10 s"; "none" */
char *limit_breaker(const struct blob_breaker *breaker, char buf[LIMIT_WORDS_SIZE]);

/* Units, slots or tokens that packed numbers of a limit of that kind hold. */
uint64_t limit_amount(uint32_t kind, uint64_t effective);

/* What `delay` and `clock_skew` cost windows, rolling and concurrency limits; "" if nothing, and for buckets. */
char *limit_guard(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE]);

/* "sent at most 3 times in 1 min, ..." */
char *retry_words(const struct blob_retry *retry, char *buf, size_t size);

/*
 * The place of an alternative of a route: "choice 1" or "weight 3 of 4"; and for which classes, if not for all.
 */
char *route_place(const struct blob *blob, const struct blob_route *route, uint32_t i,
		  char buf[LIMIT_WORDS_SIZE]);

#endif
