/*
 * policy/shipped.h - the adapters of src/vendors, as the Makefile puts them into the program
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_SHIPPED_H
#define RATION_POLICY_SHIPPED_H

#include <stddef.h>

struct shipped_adapter {
	const char *name;
	const char *text;
	size_t size;
};

/* By name; behind the last one is one without a name. */
extern const struct shipped_adapter shipped_adapters[];

#endif
