/*
 * client/headroom.h - how calm the limits of a chain are, for whoever may choose between chains
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLIENT_HEADROOM_H
#define RATION_CLIENT_HEADROOM_H

#include "client/attachment.h"

/* The least calm of the limits of a chain that has just been looked at and admits. */
uint32_t headroom_of(struct seg *seg, const struct draw *draw);

#endif
