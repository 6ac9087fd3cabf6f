/*
 * signal/headers.h - a signal for one's own callers, in the standard's words
 * SPDX-License-Identifier: MIT
 *
 * Whatever the vendor spoke: RateLimit and RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers-10,
 * the older triple for the one limit that is closest to its end, and Retry-After. Everything is rounded
 * so that who goes by it asks for less, or later.
 */
#ifndef RATION_SIGNAL_HEADERS_H
#define RATION_SIGNAL_HEADERS_H

#include "signal/signal.h"

enum { HEADER_LIST_MAX = 4096 };

/* Values of fields; "": not to be sent. */
struct signal_headers {
	char ratelimit[HEADER_LIST_MAX]; /* limits beyond that are left out */
	char policy[HEADER_LIST_MAX];
	char limit[24];
	char remaining[24];
	char reset[24];
	char retry_after[24];
};

void signal_headers(const struct signal *signal, struct signal_headers *ret);

/* Name and value of the n-th field that is to be sent; false: there are no more. */
bool signal_header_next(const struct signal_headers *headers, uint32_t *n, const char **ret_name,
			const char **ret_value);

#endif
