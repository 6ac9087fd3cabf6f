/*
 * policy/files.c - the policy file and all it includes
 * SPDX-License-Identifier: MIT
 *
 * Files are read one after the other in the order in which they are named, each pattern's matches by name; messages
 * come in the same order.
 */
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/draft.h"

static const char *why_not(int error)
{
	return error == -ENODEV ? "not a regular file" : strerror(-error);
}

/* The part of a path up to its last '/', with that. */
static size_t directory_size(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* --- one file --- */

static struct source *new_source(struct compiler *c, const char *path,
				 const struct source *includer)
{
	struct source *source = arena_alloc(&c->arena, sizeof(*source));

	if (!source)
		return NULL;
	source->path = arena_copy(&c->arena, path, strlen(path));
	source->order = c->sources.count;
	source->includer = includer;
	source->chain = includer ? includer->chain + 1 : 1;
	return source->path ? source : NULL;
}

static void read_source(struct compiler *c, struct source *source, int fd)
{
	const struct node *root = NULL;

	if (!list_add(&c->sources, &c->arena, source))
		return;
	if (source_read(source, fd, &c->notes, &c->bytes_left))
		root = tree_parse(source, &c->notes, &c->nodes_left);
	if (root)
		read_policy(c, root);
	else
		c->incomplete = true;
}

static void read_main(struct compiler *c, const char *path)
{
	struct source *source = new_source(c, path, NULL);
	int fd;

	if (!source)
		return;
	fd = source_open(source);
	if (fd < 0) {
		c->unreadable = fd;
		c->incomplete = true;
		notes_add(&c->notes, POLICY_ERROR, source_place(source), "cannot be read: %s",
			  why_not(fd));
		return;
	}
	read_source(c, source, fd);
	close(fd);
}

/* --- included files --- */

static bool same_file(const struct source *a, const struct source *b)
{
	return a->device == b->device && a->inode == b->inode;
}

/* The file that is the same one, if it was read already. */
static const struct source *already_read(const struct compiler *c, const struct source *source)
{
	for (uint32_t i = 0; i < c->sources.count; i++) {
		if (same_file(c->sources.item[i], source))
			return c->sources.item[i];
	}
	return NULL;
}

static bool on_its_own_chain(const struct source *source)
{
	for (const struct source *s = source->includer; s; s = s->includer) {
		if (same_file(s, source))
			return true;
	}
	return false;
}

static bool may_read(struct compiler *c, const struct source *source, const struct node *at)
{
	if (on_its_own_chain(source))
		error_at(c, at, "%s includes itself", source->path);
	else if (already_read(c, source))
		error_at(c, at, "%s is included twice", source->path);
	else if (source->chain > SOURCE_CHAIN_MAX)
		error_at(c, at, "more than %d files include each other in a row", SOURCE_CHAIN_MAX);
	else
		return true;
	return false;
}

static void read_included(struct compiler *c, const char *path, const struct node *at)
{
	struct source *source = new_source(c, path, at->place.source);
	int fd;

	if (!source)
		return;
	fd = source_open(source);
	if (fd < 0) {
		c->incomplete = true;
		error_at(c, at, "%s cannot be read: %s", path, why_not(fd));
		return;
	}
	if (may_read(c, source, at))
		read_source(c, source, fd);
	close(fd);
}

/* --- patterns --- */

/* The directory of the including file stands before the pattern, none of its letters special. */
static char *whole_pattern(struct compiler *c, const struct node *at)
{
	const char *includer = at->place.source->path;
	const size_t size = at->text[0] == '/' ? 0 : directory_size(includer);
	char *pattern = arena_alloc(&c->arena, 2 * size + at->size + 1);
	size_t n = 0;

	if (!pattern)
		return NULL;
	for (size_t i = 0; i < size; i++) {
		if (strchr("*?[\\", includer[i]))
			pattern[n++] = '\\';
		pattern[n++] = includer[i];
	}
	memcpy(pattern + n, at->text, at->size);
	return pattern;
}

static void no_match(struct compiler *c, const struct node *at)
{
	if (strpbrk(at->text, "*?[")) {
		warn_at(c, at, "no file matches '%s'", at->text);
		return;
	}
	c->incomplete = true;
	error_at(c, at, "'%s' cannot be read: %s", at->text, strerror(ENOENT));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_matches(struct compiler *c, const struct node *at, glob_t *found)
{
	/* glob() sorts by the locale, and messages must not depend on that. */
	qsort(found->gl_pathv, found->gl_pathc, sizeof(char *), by_name);
	for (size_t i = 0; i < found->gl_pathc && !c->arena.failed; i++) {
		if (c->sources.count == SOURCE_FILES_MAX) {
			error_at(c, at, "more than %d files", SOURCE_FILES_MAX);
			c->incomplete = true;
			return;
		}
		read_included(c, found->gl_pathv[i], at);
	}
}

static void read_pattern(struct compiler *c, const struct node *at)
{
	const char *pattern = whole_pattern(c, at);
	glob_t found = {0};
	int result;

	if (!pattern)
		return;
	errno = 0;
	result = glob(pattern, GLOB_ERR | GLOB_NOSORT, NULL, &found);
	if (result == 0) {
		read_matches(c, at, &found);
	} else if (result == GLOB_NOSPACE) {
		c->arena.failed = true;
	} else if (result == GLOB_NOMATCH || errno == ENOENT) {
		no_match(c, at);
	} else {
		c->incomplete = true;
		error_at(c, at, "'%s' cannot be read: %s", at->text, strerror(errno));
	}
	globfree(&found);
}

void read_files(struct compiler *c, const char *path)
{
	read_main(c, path);
	for (uint32_t i = 0; i < c->includes.count && !c->arena.failed; i++) {
		const struct draft_include *include = c->includes.item[i];

		read_pattern(c, include->at);
	}
}
