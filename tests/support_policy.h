/*
 * tests/support_policy.h - policy files in a directory of their own, and what the compiler says of them
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_TESTS_SUPPORT_POLICY_H
#define RATION_TESTS_SUPPORT_POLICY_H

#include <stddef.h>

#include "policy/policy.h"

/* A new directory, which becomes the current one, and its removal with all that is in it. For .init and .fini; the latter
 * also fails the test for memory that nobody can reach any more. */
void policy_dir_enter(void);
void policy_dir_leave(void);

/* The directory in which the test began: the top of the repository. */
const char *policy_dir_top(void);

/* Writes a file (and the directories above it). */
void policy_write(const char *path, const void *data, size_t size);

/* Compiles; *ret_text is every message as on a terminal, one a line, malloc'd. */
int policy_compile_text(const char *path, struct policy *ret_policy, char **ret_text);

/* Collects messages as policy_compile_text() does. */
struct policy_text {
	char *text;
	size_t size;
};
void policy_text_add(void *user, const struct policy_message *message);

/* The policy "version: 1, classes: [a]" and then `body`, which must compile, with or without warnings. */
void policy_make(const char *body, struct policy *ret_policy, struct blob *ret_blob);

#endif
