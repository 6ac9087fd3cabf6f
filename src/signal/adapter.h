/*
 * signal/adapter.h - adapters: per vendor, where its responses say what
 * SPDX-License-Identifier: MIT
 *
 * One YAML file per vendor, described in ration-adapter(5). Those that are shipped are inside the
 * program; a directory of the operator's may hold others, and replacements. An adapter is read when it
 * is first asked for, and checked as a whole then.
 */
#ifndef RATION_SIGNAL_ADAPTER_H
#define RATION_SIGNAL_ADAPTER_H

#include <stdbool.h>

#include "policy/policy.h"

struct adapter;
struct adapters;

/* Stands for vendors without one of their own, and behind all others. */
#define ADAPTER_GENERIC "generic"

/*
 * directory: of the operator's, or NULL. Messages go to report, here and in what follows.
 * 0; or -errno of the directory, or -ENOMEM.
 */
int adapters_open(const char *directory, policy_report *report, void *user,
		  struct adapters **ret_adapters);
void adapters_close(struct adapters **adapters);

/*
 * The adapter of a vendor; the generic one if there is none. *ret_adapter is good until adapters_close().
 * 0; or -EINVAL after errors were reported, now or the first time; or -ENOMEM.
 */
int adapters_get(struct adapters *adapters, const char *vendor, const struct adapter **ret_adapter);

/* Whether it reads bodies of answers that are no errors; all but the generic one may. */
bool adapter_reads_bodies(const struct adapter *adapter);

/* The names of all there are, in order; NULL behind the last. */
const char *adapters_name(const struct adapters *adapters, size_t index);

#endif
