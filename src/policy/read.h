/*
 * policy/read.h - the parts of reading a policy: each reads what stands at one place of it
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_READ_H
#define RATION_POLICY_READ_H

#include "policy/fields.h"

/* The shortest period. */
#define PERIOD_MIN_NS UINT64_C(1000000)

/* read_limit.c. Target: the struct draft_vendor whose limit it is. */
field_read read_limit;

/* Whether limits of a kind have a key. */
bool kind_has(enum seg_kind kind, const char *key);

/* read.c: what a plan or a tenant may say about a limit. */
void read_override_numbers(struct compiler *c, const struct node *value, struct written *written);

/* read_retry.c: what a class says (value NULL: nothing), over the defaults of one of its name. */
void read_retry(struct compiler *c, const struct node *value, const char *class,
		struct blob_retry *ret_retry);

/* read_class.c. Target: unused. */
field_read read_classes;

/* routes.c. Target: unused. */
field_read read_routes;

#endif
