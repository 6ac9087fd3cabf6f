/*
 * cli/status_shadow.c - ration status: whom limits in shadow mode would have denied
 * SPDX-License-Identifier: MIT
 */
#include "cli/status.h"

#include <stdio.h>

#include "cli/cli.h"
#include "cli/words.h"
#include "client/client.h"
#include "shm/contest.h"

/* Calls show(user, ...) for every limit and class that was counted. */
typedef void show_contest(const struct ration *ration, const char *limit, uint32_t class_index,
			  const struct contest *contest, void *user);

static void each_contest(const struct ration *ration, show_contest *show, void *user)
{
	const struct blob *blob = client_blob(ration);

	for (uint32_t limit = 0; limit < blob->n_limits; limit++) {
		for (uint32_t k = 0; k < blob->n_classes; k++) {
			const char *vendor = blob_text(blob, blob->limits[limit].vendor);
			const char *name = blob_text(blob, blob->limits[limit].name);
			char whole[2 * RATION_NAME_MAX + 2];
			struct contest contest;

			if (!contest_find(client_seg(ration), client_contest_key(blob, limit, k),
					  &contest))
				continue;
			snprintf(whole, sizeof(whole), "%s%s%s", vendor, vendor[0] ? "/" : "",
				 name);
			show(ration, whole, k, &contest, user);
		}
	}
}

static const char *class_name(const struct ration *ration, uint32_t class_index)
{
	const struct blob *blob = client_blob(ration);

	return blob_text(blob, blob->classes[class_index].name);
}

static void add_json(const struct ration *ration, const char *limit, uint32_t class_index,
		     const struct contest *contest, void *user)
{
	json_t *competing = cli_need(json_object());

	for (uint32_t k = 0; k < client_blob(ration)->n_classes; k++) {
		if (contest->with[k] > 0)
			json_object_set_new(competing, class_name(ration, k),
					    json_integer((json_int_t)contest->with[k]));
	}
	json_array_append_new(
		user, cli_need(json_pack("{s:s, s:s, s:I, s:I, s:o}", "limit", limit, "class",
					 class_name(ration, class_index), "denied",
					 (json_int_t)contest->denied, "units",
					 (json_int_t)contest->units, "competing", competing)));
}

json_t *status_shadow_json(const struct ration *ration)
{
	json_t *list = cli_need(json_array());

	each_contest(ration, add_json, list);
	return list;
}

static void print_line(const struct ration *ration, const char *limit, uint32_t class_index,
		       const struct contest *contest, void *user)
{
	const uint64_t ago = (client_now(ration) - contest->last_at) / TICKS_PER_NS;
	const char *before = "; drawing then: ";
	char age[40];

	(void)user;
	printf("shadow: %s would have denied %s %llu times (%llu units), last %s ago", limit,
	       class_name(ration, class_index), (unsigned long long)contest->denied,
	       (unsigned long long)contest->units, words_duration(ago, age, sizeof(age)));
	for (uint32_t k = 0; k < client_blob(ration)->n_classes; k++) {
		if (contest->with[k] == 0)
			continue;
		printf("%s%s (%llu)", before, class_name(ration, k),
		       (unsigned long long)contest->with[k]);
		before = ", ";
	}
	putchar('\n');
}

void status_shadow_print(const struct ration *ration)
{
	each_contest(ration, print_line, NULL);
}
