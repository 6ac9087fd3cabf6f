/*
 * policy/presets.c - limits that vendors have published, by name
 * SPDX-License-Identifier: MIT
 *
 * `use: openai/tier-3` stands for the limits of the preset tier-3 in openai.yaml: a file of the
 * policy's own directory of adapters if there is one that has this preset, else of those that are
 * shipped. What the vendor in the policy limits itself under the same name takes the preset's place.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/nearest.h"
#include "policy/read.h"
#include "policy/scalar.h"
#include "policy/shipped.h"

#define USE_FORM "a preset of an adapter, such as openai/tier-3"

/* The adapter of one name, read as far as presets go. */
struct preset_file {
	const char *name;
	const struct node *own, *shipped; /* mappings of presets; NULL: none */
	bool found;
	bool broken; /* why was said already */
};

/* One preset for one vendor. */
struct use {
	const struct node *at;
	struct draft_vendor *vendor;
	uint32_t n_own;         /* of the vendor's limits, the first so many are the policy's own */
	struct written written; /* what the preset says for all its limits */
};

/* --- what a preset may say --- */

static struct draft_limit *limit_called(const struct use *use, const char *name,
					uint32_t *ret_place)
{
	for (uint32_t i = 0; i < use->vendor->limits.count; i++) {
		struct draft_limit *limit = use->vendor->limits.item[i];

		if (limit->named.name && strcmp(limit->named.name, name) == 0) {
			*ret_place = i;
			return limit;
		}
	}
	return NULL;
}

static void take_limit(struct compiler *c, const struct node *value, void *target)
{
	const struct use *use = target;
	const struct node *name = schema_get(value, "name");
	const struct draft_limit *known;
	const uint32_t before = use->vendor->limits.count;
	uint32_t place = 0;

	known = name && name->kind == NODE_TEXT ? limit_called(use, name->text, &place) : NULL;
	if (known && place < use->n_own)
		return;
	if (known) {
		error_at(c, use->at,
			 "limit '%s' comes from %s, too: use one of them, or write it here",
			 name->text, node_found(&c->arena, known->used_at));
		return;
	}
	read_limit(c, value, use->vendor);
	if (use->vendor->limits.count > before)
		((struct draft_limit *)use->vendor->limits.item[before])->used_at = use->at;
}

static void read_preset_margin(struct compiler *c, const struct node *value, void *target)
{
	read_margin(c, value, &((struct use *)target)->written);
}

static void take_limits(struct compiler *c, const struct node *value, void *target)
{
	schema_items(c, value, "a list of limits", take_limit, target);
}

static const struct field preset_fields[] = {
	{"source", read_published_source, 0, "where the numbers are published", ANYWHERE},
	{"date", read_published_date, 0, "the day they were read", ANYWHERE},
	{"note", read_published_note, 0, NULL, ANYWHERE},
	{"margin", read_preset_margin, 0, NULL, ANYWHERE},
	{"limits", take_limits, 0, "a list of limits", ANYWHERE},
};
static const struct schema preset_schema = SCHEMA("a preset", preset_fields, false);

/* --- files --- */

static const struct node *presets_of(struct compiler *c, const struct source *source)
{
	const struct node *root = tree_parse(source, &c->notes, &c->nodes_left);
	const struct node *presets =
		root && root->kind == NODE_MAP ? schema_get(root, "limits") : NULL;

	if (presets && presets->kind != NODE_MAP)
		node_expected(&c->notes, presets, "a mapping of presets");
	return presets && presets->kind == NODE_MAP ? presets : NULL;
}

static struct source *new_source(struct compiler *c, const char *path)
{
	struct source *source = list_new(&c->sources, &c->arena, sizeof(*source));

	if (!source || !path)
		return NULL;
	source->order = c->sources.count - 1;
	source->path = path;
	source->what = "an adapter";
	source->includer = c->sources.item[0];
	return source;
}

/* The directory is relative to that of the policy. */
static const char *own_directory(struct compiler *c)
{
	const struct node *at = c->adapters_at;
	const char *policy = at->place.source->path, *slash = strrchr(policy, '/');
	const int size = at->text[0] == '/' || !slash ? 0 : (int)(slash - policy) + 1;

	return arena_printf(&c->arena, "%.*s%s", size, policy, at->text);
}

/* Said even if nothing is used of it: a slip would only be seen by what is not in force. */
static void check_directory(struct compiler *c)
{
	const char *directory = c->adapters_at ? own_directory(c) : NULL;
	struct stat st;
	int error = 0;

	if (!directory)
		return;
	if (stat(directory, &st) < 0)
		error = errno;
	else if (!S_ISDIR(st.st_mode))
		error = ENOTDIR;
	if (error == 0)
		return;
	c->incomplete = true;
	error_at(c, c->adapters_at, "%s cannot be read: %s", directory, strerror(error));
}

static void read_own(struct compiler *c, struct preset_file *file, const struct node *use)
{
	struct source *source;
	int fd;

	if (!c->adapters_at)
		return;
	source = new_source(c, arena_printf(&c->arena, "%s/%s.yaml", own_directory(c), file->name));
	if (!source)
		return;
	fd = source_open(source);
	if (fd == -ENOENT)
		return;
	if (fd < 0) {
		file->broken = true;
		error_at(c, use, "%s cannot be read: %s", source->path, strerror(-fd));
		return;
	}
	file->found = true;
	if (source_read(source, fd, &c->notes, &c->bytes_left))
		file->own = presets_of(c, source);
	close(fd);
}

static void read_shipped(struct compiler *c, struct preset_file *file)
{
	const struct shipped_adapter *shipped = shipped_adapters;
	struct source *source;

	while (shipped->name && strcmp(shipped->name, file->name) != 0)
		shipped++;
	if (!shipped->name)
		return;
	source = new_source(c, arena_printf(&c->arena, "%s.yaml", file->name));
	if (!source)
		return;
	file->found = true;
	source->text = shipped->text;
	source->size = shipped->size;
	file->shipped = presets_of(c, source);
}

static struct preset_file *file_of(struct compiler *c, const char *name, const struct node *use)
{
	struct preset_file *file;
	const unsigned errors = c->notes.errors;

	for (uint32_t i = 0; i < c->presets.count; i++) {
		file = c->presets.item[i];
		if (strcmp(file->name, name) == 0)
			return file;
	}
	file = list_new(&c->presets, &c->arena, sizeof(*file));
	if (!file)
		return NULL;
	file->name = name;
	read_own(c, file, use);
	read_shipped(c, file);
	file->broken |= c->notes.errors != errors;
	return file;
}

/* --- finding what is used --- */

enum { KNOWN_MAX = 256 };

static size_t add_keys(const struct node *map, const char **known, size_t n)
{
	for (const struct node *key = map ? map->first : NULL; key && key->next && n < KNOWN_MAX;
	     key = key->next->next)
		known[n++] = key->text;
	return n;
}

static void unknown_adapter(struct compiler *c, const char *name, const struct node *use)
{
	const char *known[KNOWN_MAX], *meant;
	size_t n = 0;

	for (const struct shipped_adapter *s = shipped_adapters; s->name && n < KNOWN_MAX; s++)
		known[n++] = s->name;
	meant = nearest_word(name, known, n);
	error_at(c, use, "there is no adapter '%s'%s", name,
		 meant ? arena_printf(&c->arena, " (did you mean '%s'?)", meant) : "");
}

static void unknown_preset(struct compiler *c, const struct preset_file *file,
			   const struct node *use, const char *preset)
{
	const char *known[KNOWN_MAX];
	const size_t n = add_keys(file->shipped, known, add_keys(file->own, known, 0));

	c->incomplete = true;
	if (file->broken)
		return;
	if (!file->found)
		unknown_adapter(c, file->name, use);
	else if (n == 0)
		error_at(c, use, "there are no presets of '%s'", file->name);
	else
		error_at(c, use, "unknown preset '%s' of '%s'%s", preset, file->name,
			 known_words(&c->arena, preset, known, n));
}

/* What the policy says about the vendor comes before what the preset says. */
static void use_preset(struct compiler *c, struct use *use, const struct node *preset)
{
	struct draft_vendor *vendor = use->vendor;
	const uint32_t first = vendor->limits.count;

	schema_walk(c, preset, &preset_schema, use);
	if (vendor->written.at[WRITTEN_MARGIN])
		return;
	for (uint32_t i = first; i < vendor->limits.count; i++)
		written_inherit(&((struct draft_limit *)vendor->limits.item[i])->written,
				&use->written);
}

static void use_one(struct compiler *c, struct use *use)
{
	const char *slash = is_text(use->at) ? strchr(use->at->text, '/') : NULL;
	const size_t size = slash ? (size_t)(slash - use->at->text) : 0;
	const struct preset_file *file;
	const struct node *preset = NULL;

	if (!slash || !scalar_name(use->at->text, size) ||
	    !scalar_name(slash + 1, strlen(slash + 1))) {
		c->incomplete = true;
		node_expected(&c->notes, use->at, USE_FORM);
		return;
	}
	file = file_of(c, arena_copy(&c->arena, use->at->text, size), use->at);
	if (file && file->own)
		preset = schema_get(file->own, slash + 1);
	if (file && file->shipped && !preset)
		preset = schema_get(file->shipped, slash + 1);
	if (preset)
		use_preset(c, use, preset);
	else if (file)
		unknown_preset(c, file, use->at, slash + 1);
}

void use_presets(struct compiler *c)
{
	check_directory(c);
	for (uint32_t v = 0; v < c->vendors.count && !c->arena.failed; v++) {
		struct draft_vendor *vendor = c->vendors.item[v];
		const uint32_t n_own = vendor->limits.count;

		for (uint32_t i = 0; i < vendor->uses.count && !c->arena.failed; i++)
			use_one(c, &(struct use){
					   .at = vendor->uses.item[i],
					   .vendor = vendor,
					   .n_own = n_own,
				   });
	}
}
