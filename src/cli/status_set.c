/*
 * cli/status_set.c - ration status: which numbers an operator has set
 * SPDX-License-Identifier: MIT
 */
#include "cli/status_set.h"

#include <stdio.h>

#include "cli/cli.h"
#include "cli/limit_words.h"

typedef void set_found(void *user, const struct limit_view *view);

static void each_set(const struct blob *blob, set_found *found, void *user)
{
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		const struct blob_limit *limit = &blob->limits[i];

		if (limit->role == LIMIT_WRITTEN && (limit->flags & LIMIT_SET))
			found(user, &(struct limit_view){blob, limit, BLOB_NO_INDEX});
	}
	for (uint32_t t = 0; t < blob->n_tenants; t++) {
		const struct blob_tenant *tenant = &blob->tenants[t];

		for (uint32_t i = 0; i < tenant->override_count; i++) {
			const struct blob_override *o =
				&blob->overrides[tenant->override_first + i];

			if (o->set && blob->limits[o->limit].role == LIMIT_WRITTEN)
				found(user, &(struct limit_view){blob, &blob->limits[o->limit], t});
		}
	}
}

static const char *name_of(const struct limit_view *view, char *buf, size_t size)
{
	const char *vendor = blob_text(view->blob, view->limit->vendor);

	snprintf(buf, size, "%s%s%s", vendor, vendor[0] ? "/" : "",
		 blob_text(view->blob, view->limit->name));
	return buf;
}

static const char *tenant_of(const struct limit_view *view)
{
	return view->tenant == BLOB_NO_INDEX
		       ? NULL
		       : blob_text(view->blob, view->blob->tenants[view->tenant].name);
}

static void print_one(void *user, const struct limit_view *view)
{
	bool *any = user;
	char words[LIMIT_WORDS_SIZE], name[200];
	const char *tenant = tenant_of(view);

	printf("set by an operator: %s for %s: %s\n", name_of(view, name, sizeof(name)),
	       tenant ? tenant : "all", limit_written(view, words));
	*any = true;
}

void status_print_set(const struct blob *blob)
{
	bool any = false;

	each_set(blob, print_one, &any);
	if (any)
		putchar('\n');
}

static void add_one(void *user, const struct limit_view *view)
{
	char words[LIMIT_WORDS_SIZE], name[200];

	json_array_append_new(user,
			      cli_need(json_pack("{s:s?, s:s, s:s}", "tenant", tenant_of(view),
						 "limit", name_of(view, name, sizeof(name)),
						 "numbers", limit_written(view, words))));
}

json_t *status_set_json(const struct blob *blob)
{
	json_t *list = cli_need(json_array());

	each_set(blob, add_one, list);
	return list;
}
