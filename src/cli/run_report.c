/*
 * cli/run_report.c - what became of all requests of a run
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/run_report.h"

/* How often a limit stood in the way. */
struct limit_tally {
	uint64_t waited; /* requests that it made wait, and that were sent then */
	uint64_t refused;
	uint64_t buckets;
	uint64_t admitted; /* units, over all its buckets */
	double used;       /* of its most used bucket */
};

static void *find_or_add(struct table *table, const char *name, size_t size)
{
	void **at = table_at(table, name, strlen(name));

	if (!*at)
		*at = cli_need(calloc(1, size));
	return *at;
}

static const char *name_or_dash(const char *name)
{
	return name && name[0] ? name : "-";
}

void report_key(struct report *report, const char *const key[KEY_FIELDS], struct report_key *ret)
{
	ret->tenant = find_or_add(&report->by_tenant, name_or_dash(key[KEY_TENANT]),
				  sizeof(struct tally));
	ret->traffic_class =
		find_or_add(&report->by_class, name_or_dash(key[KEY_CLASS]), sizeof(struct tally));
	quota_resolve(&report->quota, key, &ret->chain);
	memset(ret->route, 0, sizeof(ret->route));
	if (!report->quota.blob || !key[KEY_VENDOR] ||
	    blob_find_route(report->quota.blob, key[KEY_VENDOR]) == BLOB_NO_INDEX)
		return;
	for (int i = 0; i < KEY_FIELDS; i++)
		ret->route[i] = cli_need(strdup(key[i] ? key[i] : ""));
}

void report_key_free(struct report_key *key)
{
	for (int i = 0; i < KEY_FIELDS; i++)
		free(key->route[i]);
}

/* What a request of a route met where it went: "vendor/resource", or "vendor". */
static void charge_route(struct report *report, const struct report_key *key, const json_t *cost,
			 const char *to)
{
	const size_t size = strcspn(to, "/");
	char vendor[RATION_NAME_MAX + 1];
	const char *field[KEY_FIELDS];
	struct quota_chain chain;

	snprintf(vendor, sizeof(vendor), "%.*s", (int)size, to);
	for (int i = 0; i < KEY_FIELDS; i++)
		field[i] = key->route[i];
	field[KEY_VENDOR] = vendor;
	if (to[size])
		field[KEY_RESOURCE] = to + size + 1;
	quota_resolve(&report->quota, field, &chain);
	quota_charge(&report->quota, &chain, cost);
}

static void count_outcome(struct tally *tally, const struct frame_answer *answer)
{
	tally->requests++;
	tally->refusals += answer->refusals;
	tally->retries += answer->attempts > 1 ? answer->attempts - 1 : 0;
	if (answer->fate_unknown)
		tally->fate_unknown++;
	else if (answer->error == RATION_DENIED || answer->error == RATION_OVERSIZE ||
		 answer->error == RATION_BUSY)
		tally->denied++;
	else if (answer->error == 0 && answer->status == 429)
		tally->limited++;
	else if (answer->error == 0 && answer->status < 400)
		tally->ok++;
	else
		tally->failed++;
}

static void count_sent(struct report *report, const struct report_key *key, const json_t *cost,
		       const struct frame_answer *answer)
{
	if (report->first_sent_ns == 0 || answer->sent_ns < report->first_sent_ns)
		report->first_sent_ns = answer->sent_ns;
	if (answer->sent_ns > report->last_sent_ns)
		report->last_sent_ns = answer->sent_ns;
	histogram_add(&report->wait, answer->wait_ns);
	if (answer->acquire_ns > 0)
		histogram_add(&report->acquire, answer->acquire_ns);
	if (answer->to[0] && key->route[KEY_VENDOR])
		charge_route(report, key, cost, answer->to);
	else
		quota_charge(&report->quota, &key->chain, cost);
}

void report_add(struct report *report, const struct report_key *key, const json_t *cost,
		const struct frame_answer *answer)
{
	count_outcome(&report->total, answer);
	count_outcome(key->tenant, answer);
	count_outcome(key->traffic_class, answer);
	if (answer->sent_ns > 0)
		count_sent(report, key, cost, answer);
	if (answer->status > 0)
		histogram_add(&report->latency, answer->latency_ns);
	if (answer->limit[0]) {
		struct limit_tally *limit =
			find_or_add(&report->by_limit, answer->limit, sizeof(struct limit_tally));

		limit->waited += answer->sent_ns > 0;
		limit->refused += answer->sent_ns == 0;
	}
}

void report_bad_line(struct report *report, uint64_t *counter)
{
	report->total.requests++;
	report->total.failed++;
	++*counter;
}

/* From the first request sent to the last: what the quota allowed in that time is what there was to use. */
static double sending_s(const struct report *report)
{
	return (double)(report->last_sent_ns - report->first_sent_ns) / 1e9;
}

double report_quota_used(const struct report *report)
{
	return quota_used(&report->quota, sending_s(report));
}

static double duration_s(const struct report *report)
{
	return (double)(report->end_ns - report->start_ns) / 1e9;
}

static double rate_per_s(const struct report *report)
{
	double s = duration_s(report);

	return s > 0 ? (double)report->latency.count / s : 0;
}

/* --- as JSON --- */

static json_t *number_or_null(double value)
{
	return value < 0 ? json_null() : json_real(value);
}

static json_t *tally_json(const struct tally *tally)
{
	json_t *object = cli_need(json_object());

#define TALLY_SET(name) json_object_set_new(object, #name, json_integer((json_int_t)tally->name));
	TALLY_COUNTERS(TALLY_SET)
#undef TALLY_SET
	return object;
}

static json_t *by_name(const struct table *table)
{
	const struct table_entry **sorted = table_sorted(table);
	json_t *object = cli_need(json_object());

	for (size_t i = 0; i < table->count; i++)
		json_object_set_new(object, sorted[i]->key, tally_json(sorted[i]->value));
	free(sorted);
	return object;
}

/* Values in the histogram, divided; whole numbers where nothing is divided. */
static json_t *percentiles(const struct histogram *h, double divisor)
{
	static const struct {
		const char *name;
		unsigned permille;
	} points[] = {{"p50", 500}, {"p90", 900}, {"p99", 990}, {"p999", 999}, {"max", 1000}};
	json_t *object = cli_need(json_object());

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		uint64_t v =
			points[i].permille == 1000 ? h->max : histogram_at(h, points[i].permille);

		json_object_set_new(object, points[i].name,
				    divisor > 1 ? json_real((double)v / divisor)
						: json_integer((json_int_t)v));
	}
	return object;
}

/* What the quota side knows joins what the answers said, by the limit's name. */
static void gather_limits(const struct report *report, struct table *limits)
{
	const struct table_entry *e;
	size_t cursor = 0;

	while ((e = table_next(&report->by_limit, &cursor)))
		*(struct limit_tally *)find_or_add(limits, e->key, sizeof(struct limit_tally)) =
			*(const struct limit_tally *)e->value;
	cursor = 0;
	while ((e = table_next(&report->quota.buckets, &cursor))) {
		const struct quota_bucket *bucket = e->value;
		struct limit_tally *limit;
		char name[2 * RATION_NAME_MAX + 2];
		double used = quota_share(bucket, sending_s(report));

		quota_limit_name(report->quota.blob, bucket->limit, name, sizeof(name));
		limit = find_or_add(limits, name, sizeof(*limit));
		limit->buckets++;
		limit->admitted += bucket->admitted;
		if (used > limit->used)
			limit->used = used;
	}
}

static json_t *by_limit(const struct report *report)
{
	struct table limits = {0};
	const struct table_entry **sorted;
	json_t *object = cli_need(json_object());

	gather_limits(report, &limits);
	sorted = table_sorted(&limits);
	for (size_t i = 0; i < limits.count; i++) {
		struct limit_tally *t = sorted[i]->value;

		json_object_set_new(
			object, sorted[i]->key,
			json_pack("{s:I, s:I, s:I, s:I, s:o}", "waited", (json_int_t)t->waited,
				  "refused", (json_int_t)t->refused, "buckets",
				  (json_int_t)t->buckets, "admitted", (json_int_t)t->admitted,
				  "quota_used", number_or_null(t->buckets ? t->used : -1)));
		free(t);
	}
	free(sorted);
	table_free(&limits);
	return object;
}

json_t *report_json(const struct report *report)
{
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{"unreadable", report->unreadable},     {"duplicates", report->duplicates},
		{"skipped", report->skipped},           {"not_sent", report->not_sent},
		{"workers_lost", report->workers_lost},
	};
	json_t *object = tally_json(&report->total);

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		json_object_set_new(object, counters[i].name,
				    json_integer((json_int_t)counters[i].value));
	json_object_set_new(object, "duration_s", json_real(duration_s(report)));
	json_object_set_new(object, "rate_per_s", json_real(rate_per_s(report)));
	json_object_set_new(object, "quota_used", number_or_null(report_quota_used(report)));
	json_object_set_new(object, "wait_ms", percentiles(&report->wait, 1e6));
	json_object_set_new(object, "latency_ms", percentiles(&report->latency, 1e6));
	json_object_set_new(object, "acquire_ns", percentiles(&report->acquire, 1));
	json_object_set_new(object, "by_tenant", by_name(&report->by_tenant));
	json_object_set_new(object, "by_class", by_name(&report->by_class));
	json_object_set_new(object, "by_limit", by_limit(report));
	return object;
}

/* --- for people --- */

void report_summary(const struct report *report)
{
	const struct {
		uint64_t value;
		const char *text;
	} rest[] = {
		{report->total.retries, "tried again"},
		{report->total.fate_unknown, "of unknown fate"},
		{report->skipped, "done before"},
		{report->not_sent, "not sent"},
	};
	const struct tally *t = &report->total;
	double used = report_quota_used(report);

	fprintf(stderr, "%llu requests: %llu ok, %llu limited, %llu denied, %llu failed",
		(unsigned long long)t->requests, (unsigned long long)t->ok,
		(unsigned long long)t->limited, (unsigned long long)t->denied,
		(unsigned long long)t->failed);
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		if (rest[i].value)
			fprintf(stderr, ", %llu %s", (unsigned long long)rest[i].value,
				rest[i].text);
	fprintf(stderr, "; %.1f s, %.1f/s", duration_s(report), rate_per_s(report));
	if (used >= 0)
		fprintf(stderr, ", %.1f %% of the quota", used * 100);
	fputc('\n', stderr);
}

static void free_values(struct table *table)
{
	const struct table_entry *e;
	size_t cursor = 0;

	while ((e = table_next(table, &cursor)))
		free(e->value);
	table_free(table);
}

void report_free(struct report *report)
{
	free_values(&report->by_tenant);
	free_values(&report->by_class);
	free_values(&report->by_limit);
	quota_free(&report->quota);
}
