/*
 * cli/status_told.c - what vendors said of buckets, and what was learned
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/status.h"
#include "cli/words.h"
#include "client/client.h"
#include "client/view.h"
#include "shm/learn.h"
#include "shm/view.h"

struct told {
	uint64_t remaining; /* these three + 1; 0: never told */
	uint64_t limit;
	uint64_t resets_in_ns;
	uint64_t foreign;
	uint64_t refused;
	double share;
};

static double share_of(const struct status_row *row, uint64_t word, uint64_t now)
{
	struct learn_pace pace;

	if (!row->limit)
		return 1;
	pace = learn_pace_of(&row->limit->numbers, row->limit->flags & LIMIT_SEEKS);
	return (double)learn_share(word, now, &pace) / (double)LEARN_ALL;
}

/* False: nothing was ever said of it. */
static bool read_told(const struct ration *ration, const struct status_row *row, struct told *told)
{
	const struct seg *seg = client_seg(ration);
	const uint64_t now = client_now(ration);
	struct bucket_ref view;
	uint64_t reset;

	if (!client_view_find(ration, (struct bucket_ref){row->bucket, row->generation}, &view))
		return false;
	reset = view_value(seg, view, VIEW_RESET);
	*told = (struct told){
		.remaining = view_value(seg, view, VIEW_REMAINING),
		.limit = view_value(seg, view, VIEW_LIMIT),
		.resets_in_ns = reset > now ? (reset - now) / TICKS_PER_NS + 1 : 0,
		.foreign = shm_load_relaxed(&seg->cold[view.bucket].admitted),
		.refused = shm_load_relaxed(&seg->cold[view.bucket].denied),
		.share = share_of(row, view_value(seg, view, VIEW_LEARNED), now),
	};
	return true;
}

/* --- JSON --- */

static json_t *known(uint64_t value)
{
	return value ? json_integer((json_int_t)(value - 1)) : json_null();
}

json_t *status_told_json(const struct ration *ration, const struct status_row *row)
{
	struct told told;

	if (!read_told(ration, row, &told))
		return json_null();
	return cli_need(json_pack(
		"{s:o, s:o, s:o, s:I, s:I, s:f}", "remaining", known(told.remaining), "limit",
		known(told.limit), "resets_in_s",
		told.resets_in_ns ? json_real((double)(told.resets_in_ns - 1) / 1e9) : json_null(),
		"foreign", (json_int_t)told.foreign, "refused", (json_int_t)told.refused,
		"learned_share", told.share));
}

/* --- for people --- */

static void print_remaining(const struct told *told)
{
	char time[40];

	if (!told->remaining)
		return;
	printf(", %llu left", (unsigned long long)(told->remaining - 1));
	if (told->limit)
		printf(" of %llu", (unsigned long long)(told->limit - 1));
	if (told->resets_in_ns)
		printf(", begins anew in %s",
		       words_duration(told->resets_in_ns - 1, time, sizeof(time)));
}

static void print_told(const struct status_row *row, const struct told *told)
{
	char whose[3 * RATION_KEY_MAX];

	status_whose(row, whose, sizeof(whose));
	printf("  %s (%s)", row->name[NAME_LIMIT], whose);
	print_remaining(told);
	if (told->foreign)
		printf("; %llu spent by others", (unsigned long long)told->foreign);
	if (told->refused)
		printf("; %llu refused", (unsigned long long)told->refused);
	if (told->share < 1 || told->share > 1)
		printf("; %.3g%% of it is granted, as far as was learned", told->share * 100);
	putchar('\n');
}

void status_told_print(const struct ration *ration, const struct status_rows *rows)
{
	struct told told;
	bool any = false;

	for (uint32_t i = 0; i < rows->n; i++) {
		if (!read_told(ration, &rows->row[i], &told))
			continue;
		if (!any)
			puts("What vendors said last:");
		any = true;
		print_told(&rows->row[i], &told);
	}
	if (any)
		putchar('\n');
}
