/*
 * policy/policy.h - a policy file becomes a compiled policy
 * SPDX-License-Identifier: MIT
 *
 * The only part that knows YAML. Nothing here is on any worker's path.
 */
#ifndef RATION_POLICY_POLICY_H
#define RATION_POLICY_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "shm/blob.h"

enum policy_severity {
	POLICY_ERROR,
	POLICY_WARNING, /* usable, but probably not meant */
};

/* One thing to say about a policy: "file:line:column: text" is its form on a terminal. */
struct policy_message {
	enum policy_severity severity;
	const char *file;
	unsigned line; /* from 1; 0: the file as a whole */
	unsigned column;
	const char *text;
};

/* Called for every message, in order of file, line and column. */
typedef void policy_report(void *user, const struct policy_message *message);

/* The memory that holds a compiled policy: malloc'd, ready to be copied into a sealed memfd. */
struct policy {
	void *blob;
	size_t size;
};

/*
 * Read, check and compile a policy file and all it includes. Every error is reported, not only the first.
 * generation (from 1), hash_key: go into the blob's header as they are.
 * Returns 0; or -EINVAL after at least one error was reported; or another -errno (-ENOENT, -EACCES, -EISDIR, ...) if the file
 * itself cannot be opened, reported as well; or -ENOMEM, with nothing reported. ret_policy is untouched unless 0.
 * A message is only valid during the call that reports it.
 */
int policy_compile(const char *path, uint64_t generation, const uint64_t hash_key[2],
		   policy_report *report, void *user, struct policy *ret_policy);

void policy_free(struct policy *policy);

/*
 * One number that an operator puts in the place of the policy's: `50/s` is a rate, 100 a burst, an amount, or slots, by the
 * limit's kind. tenant "-": of the limit itself; vendor "-": of a limit of all vendors. A limit that the policy does not
 * have (any more) is a warning, or for one that is `wanted` now, an error.
 */
struct policy_overlay {
	const char *tenant;
	const char *vendor;
	const char *limit;
	const char *number;
	bool wanted;
};

int policy_compile_over(const char *path, const struct policy_overlay *overlays, size_t n_overlays,
			uint64_t generation, const uint64_t hash_key[2], policy_report *report,
			void *user, struct policy *ret_policy);

/*
 * Effective numbers of a bucket limit: share and margin scale rate and burst down (the burst never
 * below 1), then `delay` takes what may arrive late: burst - rate * delay, and where that is under
 * 1, burst 1 at the rate burst / (1 / rate + delay). Fills in numbers->effective from the other
 * fields (stamp 0). Returns false if they cannot be represented (see bucket_pack()).
 */
bool policy_effective(struct blob_numbers *numbers);

/* The same for a limit of any kind, of a compiled policy, whose amount, burst or period are to be others. */
bool policy_repack(const struct blob *blob, const struct blob_limit *limit,
		   struct blob_numbers *numbers);

/* How requests of a class are tried again if the policy does not say: its name decides. */
struct blob_retry policy_retry_default(const char *class);

#endif
