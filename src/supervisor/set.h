/*
 * supervisor/set.h - numbers that operators have put over the policy's
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SUPERVISOR_SET_H
#define RATION_SUPERVISOR_SET_H

#include <stdbool.h>

#include "client/wire.h"
#include "policy/policy.h"
#include "supervisor/ledger.h"

/* They outlive every reload and every supervisor that has a successor, until they are taken back. */
struct overlays {
	struct wire_set text[OVERLAYS_MAX];
	struct policy_overlay overlay[OVERLAYS_MAX]; /* pointers into text */
	uint32_t n;
};

/* Put one over what there is, or take it back ("default"). 0, or -errno: one to be taken back that is not there, too many. */
int overlays_put(struct overlays *overlays, const struct wire_set *set);

/* What a predecessor left. */
void overlays_take(struct overlays *overlays, const struct ledger_overlays *left);

/* Whether every text is terminated, and the number is one that could stand in a policy. */
bool overlay_sound(const struct wire_set *set);

#endif
