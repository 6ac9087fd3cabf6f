/*
 * signal/times.h - points in time and lengths of time, in the notations that adapters name
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SIGNAL_TIMES_H
#define RATION_SIGNAL_TIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Notation, its word in adapters. */
#define TIME_NOTATIONS(X)                                                                          \
	X(SECONDS, "seconds")         /* 30, 1.5: from now */                                      \
	X(MILLISECONDS, "ms")         /* from now */                                               \
	X(MINUTES, "minutes")         /* from now */                                               \
	X(DURATION, "duration")       /* 1h23m31s, 370ms, 33.023s: from now */                     \
	X(EPOCH, "epoch")             /* seconds since 1970 */                                     \
	X(EPOCH_MS, "epoch-ms")       /* milliseconds since 1970 */                                \
	X(DATE, "date")               /* signal/date.h */                                          \
	X(RETRY_AFTER, "retry-after") /* seconds or a date */                                      \
	X(AUTO, "auto")               /* letters: a date or a duration; else by size */

enum time_notation {
#define TIME_ENUM(name, word) TIME_##name,
	TIME_NOTATIONS(TIME_ENUM)
#undef TIME_ENUM
		TIME_NOTATION_COUNT,
};

extern const char *const time_words[TIME_NOTATION_COUNT];

/* Microseconds from now, rounded up; a point that has passed is 0, a negative length is none. */
bool time_until(enum time_notation notation, const char *text, size_t size, int64_t now_us,
		int64_t *ret_us);

/* How long a window is: a duration, also 1d or 1w, or one of second, minute, hour, day, week, month. */
bool time_interval(const char *text, size_t size, int64_t *ret_us);

/* Rounded up. */
int64_t time_to_ms(int64_t us);

#endif
