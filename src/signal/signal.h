/*
 * signal/signal.h - what a response says about the vendor's own view of the quota
 * SPDX-License-Identifier: MIT
 *
 * A pure function: bytes in, struct out. Which vendor writes what where is data: adapters, see
 * signal/adapter.h and ration-adapter(5).
 *
 * Whatever is in the response, reading it ends soon and never fails: what cannot be read is not known.
 * Concurrent calls with one adapter are fine.
 */
#ifndef RATION_SIGNAL_SIGNAL_H
#define RATION_SIGNAL_SIGNAL_H

#include "signal/number.h"

enum signal_class {
	SIGNAL_NONE,
	SIGNAL_RATE,
	SIGNAL_QUOTA,       /* of a day or longer, or of the whole plan */
	SIGNAL_CONCURRENCY, /* no time in it: over when a request ends */
	SIGNAL_COST,
	SIGNAL_OVERLOAD, /* the vendor's own trouble: no reason to shrink the caller's bucket */
	SIGNAL_BILLING,
	SIGNAL_CLASSES,
};

/* Where retry_after_ms comes from. */
enum signal_from {
	SIGNAL_FROM_NOTHING,
	SIGNAL_FROM_HEADER,
	SIGNAL_FROM_BODY,
	SIGNAL_FROM_RESET,    /* the latest reset of the limits that are exhausted */
	SIGNAL_FROM_COMPUTED, /* missing units / refill */
	SIGNAL_FROM_WINDOW,   /* the length, or the next edge, of an exhausted limit's window */
	SIGNAL_FROM_DEFAULT,  /* a constant that the vendor documents */
	SIGNAL_FROMS,
};

/* How far a refusal reaches: what is to be held back until the wait is over. */
enum signal_block {
	SIGNAL_BLOCK_REQUEST,  /* this very request, which others need not share */
	SIGNAL_BLOCK_RESOURCE, /* what the request was for: a model, an endpoint */
	SIGNAL_BLOCK_TENANT,
	SIGNAL_BLOCK_ACCOUNT, /* everybody who uses the vendor-side account */
	SIGNAL_BLOCKS,
};

enum {
	SIGNAL_LIMITS_MAX = 32,        /* more than that in one response are dropped */
	SIGNAL_TEXT_MAX = 127,         /* longer texts are cut */
	SIGNAL_BODY_MAX = 1024 * 1024, /* of a larger body nothing is read */
};

#define SIGNAL_UNKNOWN INT64_C(-1) /* of times; numbers have number_known() */

/* Texts are UTF-8 without control characters; "": not known. */
struct signal_limit {
	char name[SIGNAL_TEXT_MAX + 1];
	char unit[SIGNAL_TEXT_MAX + 1];
	char scope[SIGNAL_TEXT_MAX + 1];
	char partition_key[SIGNAL_TEXT_MAX + 1];
	struct number limit;
	struct number remaining; /* never negative */
	struct number used;
	struct number refill; /* a second */
	int64_t reset_ms;     /* from now */
	int64_t window_ms;
};

struct signal {
	bool limited;   /* this response refuses the request, for a limit */
	bool retryable; /* waiting alone can make it succeed */
	enum signal_class limit_class;
	enum signal_from retry_from;
	enum signal_block block;
	int64_t retry_after_ms; /* SIGNAL_UNKNOWN: back off */
	struct number cost;     /* what the vendor says this request took */
	char reason[SIGNAL_TEXT_MAX + 1];
	char scope[SIGNAL_TEXT_MAX + 1]; /* in the vendor's own words */
	uint64_t read; /* bit i: header i of the response was looked at, of the first 64 */
	uint32_t n_limits;
	struct signal_limit limits[SIGNAL_LIMITS_MAX];
};

/* One line of a header. Not terminated. */
struct signal_header {
	const char *name;
	const char *value;
	size_t name_size;
	size_t value_size;
};

struct signal_response {
	int status;
	bool has_resource; /* the request's key named one: else a resource's block is the tenant's */
	const struct signal_header *headers;
	size_t n_headers;
	const char *body; /* NULL: none, or not kept */
	size_t body_size;
	int64_t now_us; /* since 1970, by the local clock, when the response came */
};

struct adapter;

void signal_read(const struct adapter *adapter, const struct signal_response *response,
		 struct signal *ret);

/* "rate", "header", "tenant"; "none" for a class that is none, NULL for no source. */
const char *signal_class_name(enum signal_class limit_class);
const char *signal_from_name(enum signal_from from);
const char *signal_block_name(enum signal_block block);

#endif
