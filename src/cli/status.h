/*
 * cli/status.h - parts of ration status
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_STATUS_H
#define RATION_CLI_STATUS_H

#include <jansson.h>

#include "shm/blob.h"
#include "shm/names.h"
#include "shm/stat.h"

struct ration;

enum { STATUS_NAMES = NAME_RESOURCE + 1 };

/* A bucket of whatever kind. */
struct status_row {
	uint32_t bucket;
	uint32_t generation;
	uint32_t kind;                  /* enum seg_kind */
	const struct blob_limit *limit; /* NULL: of none that the policy has */
	char *name[STATUS_NAMES];
	uint32_t scope;
	bool readable; /* else the state makes no sense, or nobody knows what it means: left is not known */
	uint64_t left;
	uint64_t used; /* not of token buckets */
	uint64_t size; /* burst, amount, slots */
	double rate;   /* token buckets: units a second */
	uint64_t period_ns;
	uint64_t ends_in_ns; /* windows */
	uint64_t hold_ns;    /* slots: 0: none */
	uint32_t n_words;    /* slots: in the table */
	struct stat_total total;
};

struct status_rows {
	struct status_row *row;
	uint32_t n;
	uint32_t records; /* in use, with what vendors said of them */
};

/* status_rows.c: all of them, by name. */
struct status_rows status_read(struct ration *ration);
void status_free(struct status_rows *rows);

/* "tenant=acme"; "everyone" for a limit that counts all together. */
void status_whose(const struct status_row *row, char *buf, size_t size);

/* status_holders.c: who has a slot, and who waits. */
json_t *status_holders_json(const struct ration *ration, const struct status_row *row);
json_t *status_waiting_json(const struct ration *ration, const struct status_row *row);
void status_holders_print(const struct ration *ration, const struct status_rows *rows);
void status_waiting_print(const struct ration *ration, const struct status_rows *rows);

/* status_told.c: what vendors said of a bucket (null: nothing), and what was learned. */
json_t *status_told_json(const struct ration *ration, const struct status_row *row);
void status_told_print(const struct ration *ration, const struct status_rows *rows);

/* status_gates.c: what is blocked, until when and why (shm/gate.h). */
json_t *status_gates_json(const struct ration *ration);
void status_gates_print(const struct ration *ration);

/* Whom limits in shadow mode would have denied, and who was drawing then (shm/contest.h). */
json_t *status_shadow_json(const struct ration *ration);
void status_shadow_print(const struct ration *ration);

#endif
