/*
 * cli/status_set.h - ration status: which numbers an operator has set
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_STATUS_SET_H
#define RATION_CLI_STATUS_SET_H

#include <jansson.h>

#include "shm/blob.h"

/* One line each, and a blank one after them; nothing if nothing is set. */
void status_print_set(const struct blob *blob);

/* An array of {tenant, limit, numbers}; tenant null: the limit itself. */
json_t *status_set_json(const struct blob *blob);

#endif
