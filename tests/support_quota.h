/*
 * tests/support_quota.h - a vendor that enforces one limit, exactly, and tells of it in one of the usual notations
 * SPDX-License-Identifier: MIT
 *
 * It knows nothing of us. Times are ns since 1970 by its own clock, and only go forward.
 */
#ifndef RATION_TESTS_SUPPORT_QUOTA_H
#define RATION_TESTS_SUPPORT_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum quota_kind {
	QUOTA_BUCKET,  /* `amount` in `period`, evenly; `burst` at once */
	QUOTA_WINDOW,  /* `amount` in each `period` since 1970 */
	QUOTA_ROLLING, /* `amount` in any `period` */
	QUOTA_SLOTS,   /* `amount` at a time */
	QUOTA_SLIDING, /* `amount` in a window, and of the one before as much as if it had come evenly; refused ones count */
	QUOTA_KINDS,
};

/* How it tells: as these vendors do, or in a general form. */
enum quota_notation {
	QUOTA_SILENT, /* a 429, and not another word */
	QUOTA_RETRY_AFTER,
	QUOTA_RETRY_DATE,
	QUOTA_X_TRIPLE,  /* X-RateLimit-Limit, -Remaining, -Reset: a Unix time */
	QUOTA_TRIPLE,    /* RateLimit-Limit, -Remaining, -Reset: seconds */
	QUOTA_STANDARD,  /* RateLimit and RateLimit-Policy */
	QUOTA_OPENAI,    /* x-ratelimit-...-requests, reset: 6m0s */
	QUOTA_ANTHROPIC, /* anthropic-ratelimit-requests-..., reset: a date */
	QUOTA_SHOPIFY,   /* used/limit */
	QUOTA_HUBSPOT,   /* limit, remaining and interval */
	QUOTA_NOTATIONS,
};

enum { QUOTA_LOG = 1 << 14, QUOTA_HEADERS = 512 };

struct quota {
	/* Set by the caller. */
	enum quota_kind kind;
	enum quota_notation notation;
	uint64_t amount, burst;
	uint64_t period; /* ns */
	/* Zeroes at first. */
	uint64_t full_at;
	uint64_t window;
	uint64_t used;   /* of the window; at present */
	uint64_t before; /* QUOTA_SLIDING: of the one before */
	uint64_t at[QUOTA_LOG], first, n;
};

/* Whether one more request is granted now. */
bool quota_take(struct quota *quota, uint64_t now);

/* A granted request is over: for QUOTA_SLOTS. */
void quota_end(struct quota *quota);

/* The name of the adapter that reads its notation. */
const char *quota_adapter(enum quota_notation notation);

/* What it writes in an answer, each line ended by CR LF. Returns the size. */
size_t quota_headers(struct quota *quota, bool granted, uint64_t now, char text[QUOTA_HEADERS]);

#endif
