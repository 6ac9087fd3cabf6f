/*
 * cli/check_report.h - what a good policy comes to, for people and for programs
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_CHECK_REPORT_H
#define RATION_CLI_CHECK_REPORT_H

#include <jansson.h>

#include "shm/blob.h"

/* To stdout. */
void check_print(const struct blob *blob);

/* A new object, or NULL without memory. */
json_t *check_json(const struct blob *blob);

/* A rate before share and margin, after them, and the burst after them: what the delay then works on. */
struct check_steps {
	double written_per_second;
	double kept_per_second;
	uint64_t kept_burst;
	double effective_per_second;
	uint64_t effective_burst;
};
struct check_steps check_steps(const struct blob_numbers *numbers);

/* "one bucket for each tenant"; named: below one vendor, so that "vendor" need not be said. */
void check_counted(uint32_t scope, bool named, char *buf, size_t size);

/* Whether a vendor's limits are counted for that vendor alone; `default` stands for many. */
bool check_one_vendor(const struct blob *blob, uint32_t vendor_name);

#endif
