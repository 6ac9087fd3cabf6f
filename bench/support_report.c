/*
 * bench/support_report.c - the figures, for people and for programs
 * SPDX-License-Identifier: MIT
 */
#include "support_report.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* "61 ns", "2.1 ns", "41 us" */
static const char *duration(double ns, char buf[16])
{
	if (isnan(ns))
		return "-";
	if (ns >= 10000)
		snprintf(buf, 16, "%.0f us", ns / 1000);
	else
		snprintf(buf, 16, "%.*f ns", ns < 10 ? 1 : 0, ns);
	return buf;
}

static const char *factor(double ratio, char buf[16])
{
	if (isnan(ratio))
		return "-";
	snprintf(buf, 16, "%.*f", ratio < 100 ? 2 : 0, ratio);
	return buf;
}

double report_percentile(const struct report_setup *setup, const struct measured *all,
			 unsigned which, enum company company, unsigned permille)
{
	const struct histogram *histogram = &all[which].single[company];
	double raw, timer;

	if (histogram->count == 0)
		return NAN;
	raw = (double)histogram_at(histogram, permille);
	timer = (double)histogram_at(&all[setup->timer].single[ALONE], 500);
	return raw > timer ? raw - timer : 0;
}

/* --- rows --- */

static void head(void)
{
	printf("%-44s|%24s%16s |%24s%16s\n", "", "one process          ", "",
	       "two processes, one bucket", "");
	printf("%-44s|%8s%8s%8s%8s%8s |%8s%8s%8s%8s%8s\n", "operation", "mean", "x floor", "p50",
	       "p99", "p99.9", "mean", "x floor", "p50", "p99", "p99.9");
}

static void cells(const struct report_setup *setup, const struct measured *m, unsigned i,
		  enum company company)
{
	static const unsigned permilles[] = {500, 990, 999};
	char buf[16];

	printf("%8s", duration(rounds_median(&m[i], company, setup->rounds), buf));
	printf("%8s", factor(rounds_ratio(&m[i], &m[setup->floor], company, setup->rounds), buf));
	for (unsigned p = 0; p < 3; p++)
		printf("%8s", duration(report_percentile(setup, m, i, company, permilles[p]), buf));
}

static void row(const struct report_setup *setup, const struct operation *op,
		const struct measured *m, unsigned i)
{
	printf("%-44s|", op->text);
	cells(setup, m, i, ALONE);
	printf(" |");
	if (op->together)
		cells(setup, m, i, TOGETHER);
	putchar('\n');
}

static void json_number(const char *name, double value)
{
	if (!isnan(value))
		printf(",\"%s\":%.6g", name, value);
}

static void row_json(const struct report_setup *setup, const struct operation *op,
		     const struct measured *m, unsigned i, enum company company)
{
	printf("{\"bench\":\"%s\",\"operation\":\"%s\",\"processes\":%d,\"rounds\":%u",
	       setup->bench, op->id, company == ALONE ? 1 : 2,
	       rounds_counted(&m[i], company, setup->rounds));
	json_number("mean_ns", rounds_median(&m[i], company, setup->rounds));
	json_number("ratio", rounds_ratio(&m[i], &m[setup->floor], company, setup->rounds));
	json_number("p50_ns", report_percentile(setup, m, i, company, 500));
	json_number("p99_ns", report_percentile(setup, m, i, company, 990));
	json_number("p999_ns", report_percentile(setup, m, i, company, 999));
	puts("}");
}

void report_rows(const struct report_setup *setup, const struct operation *ops, unsigned n_ops,
		 const struct measured *m)
{
	if (!setup->json)
		head();
	for (unsigned i = 0; i < n_ops; i++) {
		if (!ops[i].text)
			continue;
		if (!setup->json) {
			row(setup, &ops[i], m, i);
			continue;
		}
		row_json(setup, &ops[i], m, i, ALONE);
		if (ops[i].together)
			row_json(setup, &ops[i], m, i, TOGETHER);
	}
}

/* --- targets --- */

static const char *verdict(const struct target *t)
{
	if (isnan(t->value))
		return "not measured";
	return (t->at_least ? t->value >= t->bound : t->value <= t->bound) ? "reached" : "MISSED";
}

static void target_json(const char *bench, const struct target *t)
{
	printf("{\"bench\":\"%s\",\"target\":\"%s\"", bench, t->id);
	json_number("value", t->value);
	printf(",\"%s\":%g", t->at_least ? "at_least" : "at_most", t->bound);
	if (!isnan(t->value))
		printf(",\"reached\":%s", verdict(t)[0] == 'r' ? "true" : "false");
	puts("}");
}

void report_targets(const struct report_setup *setup, const struct target *targets, unsigned n)
{
	char buf[16];

	if (!setup->json)
		printf("\n%-64s%12s%14s\n", "target", "measured", "wanted");
	for (unsigned i = 0; i < n; i++) {
		const struct target *t = &targets[i];

		if (setup->json) {
			target_json(setup->bench, t);
			continue;
		}
		printf("%-64s%11s%s   %s %g%-4s %s\n", t->text, factor(t->value, buf), t->unit,
		       t->at_least ? ">=" : "<=", t->bound, t->unit, verdict(t));
	}
}

/* --- around it --- */

void report_machine(char *buf, size_t size)
{
	char line[256], model[128] = "unknown CPU";
	FILE *file = fopen("/proc/cpuinfo", "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "model name : %127[^\n]", model) == 1)
			break;
	}
	if (file)
		fclose(file);
	snprintf(buf, size, "%s, %ld CPUs, %s %s", model, sysconf(_SC_NPROCESSORS_ONLN),
#ifdef __clang__
		 "clang", __clang_version__
#else
		 "gcc", __VERSION__
#endif
	);
}

static _Noreturn void usage(const char *name, const char *about, int status)
{
	fprintf(status ? stderr : stdout,
		"usage: %s [--rounds N] [--json]\n%s\n"
		"  --rounds N  how often everything is measured (1 ... %d)\n"
		"  --json      one JSON object a line instead of tables\n",
		name, about, ROUNDS_MAX);
	exit(status);
}

void report_options(int argc, char **argv, const char *about, struct report_setup *setup)
{
	static const struct option options[] = {
		{"rounds", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		char *end = NULL;

		if (c == 'h')
			usage(argv[0], about, 0);
		if (c == 'j') {
			setup->json = true;
			continue;
		}
		if (c == 'r')
			setup->rounds = (unsigned)strtoul(optarg, &end, 10);
		if (c != 'r' || *end || setup->rounds < 1 || setup->rounds > ROUNDS_MAX)
			usage(argv[0], about, EX_USAGE);
	}
	if (optind < argc)
		usage(argv[0], about, EX_USAGE);
}
