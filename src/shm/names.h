/*
 * shm/names.h - names for people, each stored once
 * SPDX-License-Identifier: MIT
 *
 * Only displays read them: what a bucket counts is decided by its identity alone. So a lost race or
 * a killed writer costs some cells and nothing else, and a full table means that a name is shown as
 * "?".
 */
#ifndef RATION_SHM_NAMES_H
#define RATION_SHM_NAMES_H

#include "shm/layout.h"

/* First cell + 1 of a name (at most 320 bytes), stored now if it was not; 0 if there is no room. */
uint32_t names_intern(struct seg *seg, const char *name);

/* Whether a reference is 0 or leads to cells that can hold a name. */
bool names_valid(const struct seg *seg, uint32_t ref);

/* Copies a name out, terminated; "" for reference 0, "?" for one that makes no sense. */
void names_copy(const struct seg *seg, uint32_t ref, char *buf, size_t size);

#endif
