/*
 * signal/adapter.c - finding, reading and keeping adapters
 * SPDX-License-Identifier: MIT
 */
#include "signal/adapter.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/fields.h"
#include "policy/scalar.h"
#include "policy/shipped.h"
#include "signal/read.h"

enum {
	ADAPTER_BYTES_MAX = 1024 * 1024,
	ADAPTER_NODES_MAX = 20000,
	ADAPTER_MEMORY_MAX = 64 * 1024 * 1024,
	ADAPTERS_MAX = 10000, /* files in a directory */
};

#define SUFFIX ".yaml"

struct loaded {
	char *name;
	struct arena arena;
	struct adapter *adapter;
	struct list patterns;
	int result; /* of reading it */
	bool open;  /* it is being read: who needs it now needs itself */
};

struct adapters {
	char *directory;
	policy_report *report;
	void *user;
	char **names; /* sorted, each once; NULL behind the last */
	size_t n_names;
	struct loaded **loaded;
	size_t n_loaded;
};

static int get(struct adapters *adapters, const char *name, const struct node *wanted_by,
	       struct compiler *c, const struct adapter **ret_adapter);

/* --- which there are --- */

static int add_name(struct adapters *a, const char *name, size_t size)
{
	char **more;

	if (a->n_names == ADAPTERS_MAX)
		return -E2BIG;
	more = reallocarray(a->names, a->n_names + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	a->names = more;
	a->names[a->n_names] = strndup(name, size);
	if (!a->names[a->n_names])
		return -ENOMEM;
	a->names[++a->n_names] = NULL;
	return 0;
}

/* The part of a file's name that is a vendor's; 0: it is none. */
static size_t vendor_size(const char *file)
{
	const size_t size = strlen(file), suffix = strlen(SUFFIX);

	if (size <= suffix || strcmp(file + size - suffix, SUFFIX) != 0)
		return 0;
	return scalar_name(file, size - suffix) ? size - suffix : 0;
}

static int add_directory(struct adapters *a)
{
	DIR *directory = opendir(a->directory);
	const struct dirent *entry;
	int result = 0;

	if (!directory)
		return -errno;
	while (result == 0 && (entry = readdir(directory))) {
		const size_t size = vendor_size(entry->d_name);

		if (size > 0)
			result = add_name(a, entry->d_name, size);
	}
	closedir(directory);
	return result;
}

static int by_name(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static void sort_names(struct adapters *a)
{
	size_t kept = 0;

	qsort(a->names, a->n_names, sizeof(*a->names), by_name);
	for (size_t i = 0; i < a->n_names; i++) {
		if (kept > 0 && strcmp(a->names[kept - 1], a->names[i]) == 0)
			free(a->names[i]);
		else
			a->names[kept++] = a->names[i];
	}
	a->n_names = kept;
	a->names[kept] = NULL;
}

static bool known(const struct adapters *a, const char *name)
{
	return bsearch(&name, a->names, a->n_names, sizeof(*a->names), by_name);
}

static int find_all(struct adapters *a, const char *directory)
{
	int result = 0;

	for (const struct shipped_adapter *s = shipped_adapters; s->name && result == 0; s++)
		result = add_name(a, s->name, strlen(s->name));
	if (result == 0 && directory) {
		a->directory = strdup(directory);
		result = a->directory ? add_directory(a) : -ENOMEM;
	}
	if (result == 0 && a->n_names > 0)
		sort_names(a);
	return result;
}

int adapters_open(const char *directory, policy_report *report, void *user,
		  struct adapters **ret_adapters)
{
	struct adapters *a = calloc(1, sizeof(*a));
	int result;

	if (!a)
		return -ENOMEM;
	a->report = report;
	a->user = user;
	result = find_all(a, directory);
	if (result < 0)
		adapters_close(&a);
	else
		*ret_adapters = a;
	return result;
}

static void unload(struct loaded *l)
{
	for (uint32_t i = 0; i < l->patterns.count; i++) {
		struct pattern *pattern = l->patterns.item[i];

		pattern_free(&pattern);
	}
	arena_free(&l->arena);
	free(l->name);
	free(l);
}

void adapters_close(struct adapters **adapters)
{
	struct adapters *a = *adapters;

	if (!a)
		return;
	for (size_t i = 0; i < a->n_loaded; i++)
		unload(a->loaded[i]);
	for (size_t i = 0; i < a->n_names; i++)
		free(a->names[i]);
	free(a->loaded);
	free(a->names);
	free(a->directory);
	free(a);
	*adapters = NULL;
}

const char *adapters_name(const struct adapters *adapters, size_t index)
{
	return index < adapters->n_names ? adapters->names[index] : NULL;
}

bool adapter_reads_bodies(const struct adapter *adapter)
{
	return strcmp(adapter->name, ADAPTER_GENERIC) != 0;
}

/* --- reading one --- */

static const struct shipped_adapter *shipped(const char *name)
{
	for (const struct shipped_adapter *s = shipped_adapters; s->name; s++) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

/* The operator's, if there is one. 0: source holds its text. */
static int read_file(struct compiler *c, const struct adapters *a, const char *name,
		     struct source *source)
{
	int fd;

	source->path = arena_printf(&c->arena, "%s/%s" SUFFIX, a->directory, name);
	if (!source->path)
		return -ENOMEM;
	fd = source_open(source);
	if (fd == -ENOENT)
		return -ENOENT;
	if (fd < 0) {
		notes_add(&c->notes, POLICY_ERROR, source_place(source), "cannot be read: %s",
			  strerror(-fd));
		return -EINVAL;
	}
	if (!source_read(source, fd, &c->notes, &c->bytes_left)) {
		close(fd);
		return -EINVAL;
	}
	close(fd);
	return 0;
}

static int read_shipped(struct compiler *c, const char *name, struct source *source)
{
	const struct shipped_adapter *s = shipped(name);

	source->path = arena_printf(&c->arena, "%s" SUFFIX, name);
	if (!source->path)
		return -ENOMEM;
	if (!s)
		return -ENOENT;
	source->text = s->text;
	source->size = s->size;
	return 0;
}

/* What stands behind it: another one, and in the end the generic one. */
static int stand_behind(struct adapters *a, struct adapter_draft *draft)
{
	const char *name = draft->like ? draft->like->text : ADAPTER_GENERIC;

	if (!draft->like && strcmp(draft->adapter->name, ADAPTER_GENERIC) == 0)
		return 0;
	return get(a, name, draft->like ? draft->like : draft->root, draft->c,
		   &draft->adapter->like);
}

/* The operator's file, or the one that is shipped. -ENOENT: there is none. */
static int read_tree(struct adapters *a, struct adapter_draft *draft, bool own,
		     const struct node **ret_root)
{
	struct compiler *c = draft->c;
	struct source *source = arena_alloc(&c->arena, sizeof(*source));
	int result;

	if (!source)
		return -ENOMEM;
	source->what = "an adapter";
	source->order = !own;
	if (own)
		result = a->directory ? read_file(c, a, draft->adapter->name, source) : -ENOENT;
	else
		result = read_shipped(c, draft->adapter->name, source);
	if (result < 0)
		return result;
	*ret_root = tree_parse(source, &c->notes, &c->nodes_left);
	return *ret_root ? 0 : -EINVAL;
}

static int read_all(struct adapters *a, struct adapter_draft *draft)
{
	const struct node *own = NULL, *root = NULL;
	int result = read_tree(a, draft, true, &own);

	if (result < 0 && result != -ENOENT)
		return result;
	result = read_tree(a, draft, false, &root);
	if (result < 0 && (result != -ENOENT || !own))
		return result;
	draft->root = own ? own : root;
	read_adapter(draft, draft->root, own ? root : NULL);
	result = draft->c->notes.errors == 0 ? stand_behind(a, draft) : -EINVAL;
	return draft->c->notes.errors > 0 && result == 0 ? -EINVAL : result;
}

static int load(struct adapters *a, struct loaded *l)
{
	struct compiler c = {.bytes_left = ADAPTER_BYTES_MAX, .nodes_left = ADAPTER_NODES_MAX};
	struct adapter_draft draft = {.c = &c};
	int result;

	arena_init(&c.arena, ADAPTER_MEMORY_MAX);
	c.notes.arena = &c.arena;
	draft.adapter = arena_alloc(&c.arena, sizeof(*draft.adapter));
	if (!draft.adapter)
		return -ENOMEM;
	draft.adapter->name = l->name;
	result = read_all(a, &draft);
	if (c.arena.failed)
		result = -ENOMEM;
	else
		notes_report(&c.notes, a->report, a->user);
	l->adapter = draft.adapter;
	l->patterns = draft.patterns;
	l->arena = c.arena;
	return result;
}

static struct loaded *add_loaded(struct adapters *a, const char *name)
{
	struct loaded **more = reallocarray(a->loaded, a->n_loaded + 1, sizeof(struct loaded *));
	struct loaded *l;

	if (!more)
		return NULL;
	a->loaded = more;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->name = strdup(name);
	if (!l->name) {
		free(l);
		return NULL;
	}
	a->loaded[a->n_loaded++] = l;
	return l;
}

static struct loaded *find_loaded(const struct adapters *a, const char *name)
{
	for (size_t i = 0; i < a->n_loaded; i++) {
		if (strcmp(a->loaded[i]->name, name) == 0)
			return a->loaded[i];
	}
	return NULL;
}

static unsigned count_open(const struct adapters *a)
{
	unsigned n = 0;

	for (size_t i = 0; i < a->n_loaded; i++)
		n += a->loaded[i]->open;
	return n;
}

/* wanted_by, c: the adapter that it is to stand behind; NULL: it is wanted for itself. */
static int get(struct adapters *a, const char *name, const struct node *wanted_by,
	       struct compiler *c, const struct adapter **ret_adapter)
{
	struct loaded *l = find_loaded(a, name);

	if (wanted_by && !known(a, name)) {
		error_at(c, wanted_by, "unknown adapter '%s'%s", name,
			 known_words(&c->arena, name, (const char *const *)a->names, a->n_names));
		return -EINVAL;
	}
	if (wanted_by && l && l->open) {
		error_at(c, wanted_by, "'%s' stands behind itself", name);
		return -EINVAL;
	}
	if (!l && wanted_by && count_open(a) > LIKE_MAX) {
		error_at(c, wanted_by, "more than %d adapters stand behind each other", LIKE_MAX);
		return -EINVAL;
	}
	if (!l) {
		l = add_loaded(a, name);
		if (!l)
			return -ENOMEM;
		l->open = true;
		l->result = load(a, l);
		l->open = false;
	}
	if (l->result == 0)
		*ret_adapter = l->adapter;
	return l->result;
}

int adapters_get(struct adapters *adapters, const char *vendor, const struct adapter **ret_adapter)
{
	return get(adapters, known(adapters, vendor) ? vendor : ADAPTER_GENERIC, NULL, NULL,
		   ret_adapter);
}
