/*
 * policy/nearest.h - what a mistyped word was probably meant to be
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_NEAREST_H
#define RATION_POLICY_NEAREST_H

#include <stddef.h>

/* The known word at most two slips of the finger away (one, if it is short), or NULL. */
const char *nearest_word(const char *word, const char *const *known, size_t n_known);

#endif
