/*
 * cli/status.h - parts of ration status
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLI_STATUS_H
#define RATION_CLI_STATUS_H

#include <jansson.h>

struct ration;

/* Whom limits in shadow mode would have denied, and who was drawing then (shm/contest.h). */
json_t *status_shadow_json(const struct ration *ration);
void status_shadow_print(const struct ration *ration);

#endif
