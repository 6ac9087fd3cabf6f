/*
 * cli/run_progress.c - the progress line of `ration run` on a terminal
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "cli/run_loop.h"
#include "client/memory.h"

#define DRAW_EVERY_NS UINT64_C(200000000)

/* Requests that the input has: known once all is read, until then by the size of what was read. 0: unknown. */
static double total(const struct run *run)
{
	const double lines = (double)run->input.number;

	if (run->input.eof)
		return lines;
	if (run->input_size == 0 || run->input.offset == 0)
		return 0;
	return lines * (double)run->input_size / (double)run->input.offset;
}

static void draw_time(double seconds)
{
	if (seconds < 120)
		fprintf(stderr, ", %.0f s left", seconds);
	else if (seconds < 7200)
		fprintf(stderr, ", %.0f min left", seconds / 60);
	else
		fprintf(stderr, ", %.1f h left", seconds / 3600);
}

static void draw(const struct run *run, uint64_t now)
{
	const double s = (double)(now - run->report.start_ns) / 1e9;
	const double done = (double)(run->report.total.requests + run->report.skipped);
	const double rate = s > 0 ? (double)run->report.total.requests / s : 0;
	const double all = total(run), used = report_quota_used(&run->report);

	fprintf(stderr, "\r\033[K%.0f", done);
	if (all > 0)
		fprintf(stderr, "/%s%.0f", run->input.eof ? "" : "~", all);
	fprintf(stderr, ", %.1f/s", rate);
	if (used >= 0)
		fprintf(stderr, ", %.1f %% of the quota", used * 100);
	fprintf(stderr, ", %llu x 429", (unsigned long long)run->report.total.limited);
	if (all > done && rate > 0)
		draw_time((all - done) / rate);
	fflush(stderr);
}

void run_progress(struct run *run, bool now)
{
	const uint64_t t = clock_boot_ns();

	if (!run->progress || (!now && t - run->drawn_ns < DRAW_EVERY_NS))
		return;
	draw(run, t);
	run->drawn_ns = t;
}

void run_progress_clear(const struct run *run)
{
	if (run->progress)
		fputs("\r\033[K", stderr);
}
