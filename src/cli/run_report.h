/*
 * cli/run_report.h - what became of all requests of a run
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_RUN_REPORT_H
#define RATION_CLI_RUN_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "cli/histogram.h"
#include "cli/run_frame.h"
#include "cli/run_quota.h"
#include "cli/table.h"

/* requests = ok + limited + denied + failed + fate_unknown. */
#define TALLY_COUNTERS(X)                                                                          \
	X(requests)     /* lines that got a result */                                              \
	X(ok)           /* answered with 1xx ... 3xx */                                            \
	X(limited)      /* answered with 429 */                                                    \
	X(denied)       /* no permit in time, or never possible: not sent */                       \
	X(failed)       /* any other answer or error; lines that could not be read */              \
	X(fate_unknown) /* sent, and no whole answer came back */                                  \
	X(refusals)     /* for a limit, those included that a later try made good */               \
	X(retries)      /* tries after the first */

struct tally {
#define TALLY_MEMBER(name) uint64_t name;
	TALLY_COUNTERS(TALLY_MEMBER)
#undef TALLY_MEMBER
};

/* What the report needs to know of a key, found once. */
struct report_key {
	struct tally *tenant;
	struct tally *traffic_class;
	struct quota_chain chain;
	char *route
		[KEY_FIELDS]; /* of a route, what meets which buckets is known only afterwards; else NULL */
};

struct report {
	struct tally total;
	uint64_t unreadable; /* part of failed */
	uint64_t duplicates; /* part of failed */
	uint64_t skipped;    /* had a result before (--resume) */
	uint64_t not_sent;   /* left alone because the run was told to stop */
	uint64_t workers_lost;
	uint64_t start_ns; /* CLOCK_BOOTTIME */
	uint64_t end_ns;
	uint64_t first_sent_ns; /* 0: nothing was sent */
	uint64_t last_sent_ns;
	struct histogram wait;
	struct histogram latency;
	struct histogram acquire;
	struct table by_tenant; /* struct tally */
	struct table by_class;  /* struct tally */
	struct table by_limit;  /* struct limit_tally */
	struct quota quota;
};

void report_key(struct report *report, const char *const key[KEY_FIELDS], struct report_key *ret);
void report_key_free(struct report_key *key);

/* A request has its result. cost: as in its line, or NULL. */
void report_add(struct report *report, const struct report_key *key, const json_t *cost,
		const struct frame_answer *answer);

/* A line that never became a request: unreadable, or an id that was there before. */
void report_bad_line(struct report *report, uint64_t *counter);

/* Part of the quota used so far, 0 ... 1 (more is possible without coordination); negative: no policy to compare with. */
double report_quota_used(const struct report *report);

json_t *report_json(const struct report *report);

/* One line for people, on stderr. */
void report_summary(const struct report *report);

void report_free(struct report *report);

#endif
