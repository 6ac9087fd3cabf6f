/*
 * policy/compile.c - from a file to a blob: the stages in order
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdlib.h>

#include "policy/draft.h"

/* Every stage sees what the one before made of it, so that all errors come in one go. */
static int compile(struct compiler *c, const char *path, uint64_t generation,
		   const uint64_t hash_key[2], struct policy *ret_policy)
{
	read_files(c, path);
	if (c->unreadable)
		return c->unreadable;
	if (!c->arena.failed)
		use_presets(c);
	if (!c->arena.failed)
		lay_over(c);
	if (!c->arena.failed)
		resolve_policy(c);
	if (!c->arena.failed && c->notes.errors == 0)
		warn_policy(c);
	if (c->arena.failed)
		return -ENOMEM;
	if (c->notes.errors > 0)
		return -EINVAL;
	return emit_policy(c, generation, hash_key, ret_policy);
}

static int compile_over(size_t budget, const struct policy_overlay *overlays, size_t n_overlays,
			const char *path, uint64_t generation, const uint64_t hash_key[2],
			policy_report *report, void *user, struct policy *ret_policy)
{
	struct compiler c = {
		.bytes_left = SOURCE_BYTES_MAX,
		.nodes_left = TREE_NODES_MAX,
		.copies_left = COPIES_MAX,
		.overlays = overlays,
		.n_overlays = n_overlays,
	};
	int result;

	arena_init(&c.arena, budget);
	c.notes.arena = &c.arena;
	result = compile(&c, path, generation, hash_key, ret_policy);
	if (result != -ENOMEM)
		notes_report(&c.notes, report, user);
	arena_free(&c.arena);
	return result;
}

int compile_within(size_t budget, const char *path, uint64_t generation, const uint64_t hash_key[2],
		   policy_report *report, void *user, struct policy *ret_policy)
{
	return compile_over(budget, NULL, 0, path, generation, hash_key, report, user, ret_policy);
}

int policy_compile_over(const char *path, const struct policy_overlay *overlays, size_t n_overlays,
			uint64_t generation, const uint64_t hash_key[2], policy_report *report,
			void *user, struct policy *ret_policy)
{
	return compile_over(COMPILE_BUDGET, overlays, n_overlays, path, generation, hash_key,
			    report, user, ret_policy);
}

int policy_compile(const char *path, uint64_t generation, const uint64_t hash_key[2],
		   policy_report *report, void *user, struct policy *ret_policy)
{
	return compile_within(COMPILE_BUDGET, path, generation, hash_key, report, user, ret_policy);
}

void policy_free(struct policy *policy)
{
	free(policy->blob);
	*policy = (struct policy){0};
}
