/*
 * supervisor/log.h - one line an event, on stderr
 * SPDX-License-Identifier: MIT
 *
 * Lines are key=value, the first key is always `event`. To the journal each begins with <N>, the
 * syslog priority (sd-daemon(3)); anywhere else with the program's name. Control characters, which
 * a peer could have brought in, are written as '?', so one event is one line whatever it is about.
 */
#ifndef RATION_SUPERVISOR_LOG_H
#define RATION_SUPERVISOR_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

/* Find out whether stderr is the journal. */
void log_open(void);

void log_event(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * For lines that somebody outside can cause as often as they like: at most 20 in 10 s of each kind.
 */
struct log_limit {
	uint64_t begun_ns;
	unsigned lines;
	unsigned suppressed;
};

/* Whether one more may be written. Says how many were not, when a new 10 s begin. */
bool log_allowed(struct log_limit *limit, const char *kind);

#endif
