/*
 * supervisor/metrics.h - figures for monitoring, over HTTP
 * SPDX-License-Identifier: MIT
 *
 * Whoever asks for /metrics waits while all records are gone over, a slice at a time, so that workers do not; those who
 * ask meanwhile get the same answer. Buckets of one limit are one row of sums, or, if asked for, one for each
 * tenant up to a number of them. What a record had counted when it is reclaimed goes on to count in its row.
 */
#ifndef RATION_SUPERVISOR_METRICS_H
#define RATION_SUPERVISOR_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include <ration/ration.h>

#define METRIC_LIMITS_MAX                                                                          \
	512u /* rows beside those of tenants; what finds no room is in the last one */
#define METRIC_TENANTS_MAX 100000u
#define METRIC_ASKERS_MAX  16u
#define METRIC_CLASSES     8u

struct supervisor;
struct stat_total;
struct MHD_Daemon;
struct MHD_Connection;

/* Of one limit (and tenant). Counted for ever, live records and those that were. */
enum metric_count {
	METRIC_ADMITTED,
	METRIC_DENIED,
	METRIC_FOREIGN,
	METRIC_REFUSED,
	METRIC_COUNTS,
};

enum metric_level {
	METRIC_BUCKETS,
	METRIC_LEFT,
	METRIC_SIZE,
	METRIC_TOLD,      /* buckets of which the vendor told what is left */
	METRIC_REMAINING, /* and how much that was */
	METRIC_GATES,     /* of a vendor: gates that there are */
	METRIC_BLOCKED,   /* of them: those that hold requests back, */
	METRIC_BREAKERS,  /* and the ones that the breaker closed */
	METRIC_LEVELS,
};

struct metric_row {
	char limit[2 * RATION_NAME_MAX + 4];
	char tenant[RATION_KEY_MAX + 1]; /* "": all of them */
	uint64_t gone[METRIC_COUNTS];    /* counted by records that were reclaimed */
	uint64_t said
		[METRIC_COUNTS]; /* last; what is counted twice or not at all while it moves does not show */
	/* As it was when last gone over. */
	uint64_t live[METRIC_COUNTS];
	uint64_t level[METRIC_LEVELS];
	uint64_t share_ppm; /* the least that was learned of any */
	uint64_t waiting[METRIC_CLASSES];
	uint64_t oldest[METRIC_CLASSES]; /* ticks of arrival */
};

struct metrics {
	struct MHD_Daemon *daemon; /* NULL: nobody is to be told anything */
	int socket;
	sd_event_source *io, *timer, *step;
	struct sockaddr_un bound; /* the file to remove; "": none */
	struct metric_row *rows;
	uint32_t n_rows, n_tenants, max_rows;
	uint32_t *places; /* of rows + 1 by hash; a power of two */
	uint32_t n_places;
	/* Going over all records. */
	bool going;
	uint32_t next;
	struct stat_total *totals;
	uint64_t began; /* ticks */
	struct MHD_Connection *askers[METRIC_ASKERS_MAX];
	uint32_t n_askers;
};

/* --- metrics.c --- */

int metrics_make(struct supervisor *s);
void metrics_free(struct supervisor *s);
/* False: no memory. */
bool metrics_begin(struct supervisor *s);
/* True: all records have been gone over. */
bool metrics_step(struct supervisor *s);
/* What a record has counted, before it may be reclaimed; and that it was. Not while all are gone over. */
struct metric_last {
	uint32_t record, generation;
	uint32_t row;
	uint64_t count[METRIC_COUNTS];
};
struct metric_last metrics_last(struct supervisor *s, uint32_t bucket);
void metrics_gone(struct supervisor *s, const struct metric_last *last);

/* --- metrics_text.c --- */

/* malloc'd, or NULL. open: in the form of OpenMetrics, else as Prometheus had it before. */
char *metrics_text(struct supervisor *s, bool open, size_t *ret_size);

/* --- metrics_http.c --- */

/* Where options or the service manager say; without either it does nothing. 0, -errno. */
int metrics_start(struct supervisor *s);
void metrics_stop(struct supervisor *s);

/* "127.0.0.1:9797", "[::1]:9797" or "unix:/path". False: it is none of these. */
bool metrics_address(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size);

#endif
