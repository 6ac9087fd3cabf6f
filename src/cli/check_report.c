/*
 * cli/check_report.c - what a good policy comes to, for people
 * SPDX-License-Identifier: MIT
 */
#include "cli/check_report.h"

#include <stdio.h>
#include <string.h>

#include <ration/ration.h>

#include "cli/limit_words.h"
#include "cli/words.h"
#include "policy/effective.h"

typedef unsigned long long ull;

struct check_steps check_steps(const struct blob_numbers *n)
{
	return (struct check_steps){
		.written_per_second = (double)n->amount * 1e9 / (double)n->period_ns,
		.kept_per_second = (double)rate_kept(n),
		.kept_burst = units_kept(n, n->burst),
		.effective_per_second = words_per_second(n->effective),
		.effective_burst = bucket_burst(n->effective),
	};
}

bool check_one_vendor(const struct blob *blob, uint32_t vendor_name)
{
	const char *name = blob_text(blob, vendor_name);

	return name[0] != '\0' && strcmp(name, "default") != 0;
}

void check_counted(uint32_t scope, bool named, char *buf, size_t size)
{
	/* In the order of the RATION_SCOPE_* bits. */
	static const char *const fields[] = {"tenant", "vendor", "class", "account", "resource"};
	size_t n = 0;

	if (named)
		scope &= ~(uint32_t)RATION_SCOPE_VENDOR;
	if (scope == 0) {
		snprintf(buf, size, "one bucket that everybody shares");
		return;
	}
	for (uint32_t i = 0; i < 5; i++) {
		if (!(scope & UINT32_C(1) << i) || n >= size)
			continue;
		n += (size_t)snprintf(buf + n, size - n, "%s %s",
				      n == 0 ? "one bucket for each" : " and", fields[i]);
	}
}

/* --- one limit --- */

/* words_rate() goes over to powers of ten where a policy's author wants to see all digits. */
static char *rate_words(double per_second, char *buf, size_t size)
{
	if (per_second < 10000)
		return words_rate(per_second, buf, size);
	snprintf(buf, size, "%.0f/s", per_second);
	return buf;
}

static void print_kept(const struct blob_numbers *n, const struct check_steps *steps)
{
	char rate[32];

	if (n->share_ppm == 1000000 && n->margin_ppm == 0)
		return;
	printf("    share %.6g%%, margin %.6g%%: %s, burst %llu\n", n->share_ppm / 1e4,
	       n->margin_ppm / 1e4, rate_words(steps->kept_per_second, rate, sizeof(rate)),
	       (ull)steps->kept_burst);
}

/* The formula of policy_effective(), with its numbers. */
static void print_delay(const struct blob_numbers *n, const struct check_steps *steps)
{
	const double late = steps->kept_per_second * (double)n->delay_ns / 1e9;
	char rate[32], delay[32], effective[32];

	if (n->delay_ns == 0)
		return;
	words_duration(n->delay_ns, delay, sizeof(delay));
	rate_words(steps->kept_per_second, rate, sizeof(rate));
	if ((double)steps->kept_burst - late >= 1)
		printf("    delay %s: burst %llu - %s x %s = %.6g%s\n", delay,
		       (ull)steps->kept_burst, rate, delay, (double)steps->kept_burst - late,
		       (double)steps->effective_burst + late < (double)steps->kept_burst
			       ? ", rounded down"
			       : "");
	else
		printf("    delay %s: burst 1, rate %llu / (1 / (%s) + %s) = %s\n", delay,
		       (ull)steps->kept_burst, rate, delay,
		       rate_words(steps->effective_per_second, effective, sizeof(effective)));
}

static void print_line(void *user, const char *what, const char *text)
{
	(void)user;
	printf("    %s: %s\n", what, text);
}

static void print_claims(const struct limit_view *view)
{
	char buf[LIMIT_WORDS_SIZE];

	for (uint32_t k = 0; k < view->blob->n_classes; k++) {
		if (limit_claims(view, k, buf)[0])
			printf("    class %s: %s\n",
			       blob_text(view->blob, view->blob->classes[k].name), buf);
	}
}

/* Of what share and margin leave; buckets also show what the delay then takes. */
static void print_steps(const struct limit_view *view)
{
	const struct blob_numbers *n = &view->limit->numbers;
	const struct check_steps steps = check_steps(n);
	char buf[LIMIT_WORDS_SIZE];

	if (view->limit->kind == KIND_BUCKET) {
		print_kept(n, &steps);
		print_delay(n, &steps);
	} else if (n->share_ppm != 1000000 || n->margin_ppm != 0) {
		printf("    share %.6g%%, rounded down, at least 1; margin %.6g%% of that, rounded "
		       "down\n",
		       n->share_ppm / 1e4, n->margin_ppm / 1e4);
	}
	if (limit_guard(view, buf)[0])
		printf("    %s\n", buf);
}

static void print_limit(const struct blob *blob, const struct blob_limit *limit)
{
	const struct limit_view view = {blob, limit, BLOB_NO_INDEX};
	char counted[80], buf[LIMIT_WORDS_SIZE];

	check_counted(limit->scope, check_one_vendor(blob, limit->vendor), counted,
		      sizeof(counted));
	printf("  %s (%s): %s\n", blob_text(blob, limit->name), blob_text(blob, limit->unit),
	       counted);
	printf("    written: %s\n", limit_written(&view, buf));
	print_steps(&view);
	printf("    effective: %s\n", limit_effective(&view, buf));
	print_claims(&view);
	limit_lines(&view, print_line, NULL);
}

/* --- all of it --- */

static void print_class_line(const char *class, const char *what, const char *text)
{
	if (text[0])
		printf("  %s: %s%s\n", class, what, text);
}

static void print_principals(const struct blob *blob, const struct blob_class *class)
{
	if (class->principal_count > 0)
		printf("  %s: only for", blob_text(blob, class->name));
	for (uint32_t i = 0; i < class->principal_count; i++) {
		const struct blob_principal *p = &blob->principals[class->principal_first + i];

		printf("%s %s %u", i > 0 ? "," : "", p->group ? "group" : "user", p->id);
	}
	if (class->principal_count > 0)
		putchar('\n');
}

static bool usual_retry(const struct blob_class *class, const char *name)
{
	const struct blob_retry usual = policy_retry_default(name), *r = &class->retry;

	return r->attempts == usual.attempts && r->budget_ppm == usual.budget_ppm &&
	       r->total_ns == usual.total_ns && r->base_ns == usual.base_ns &&
	       r->cap_ns == usual.cap_ns;
}

static void print_class(const struct blob *blob, const struct blob_class *class)
{
	const char *name = blob_text(blob, class->name);
	char buf[LIMIT_WORDS_SIZE];

	print_class_line(name, "owner ", blob_text(blob, class->owner));
	print_class_line(name, "purpose ", blob_text(blob, class->purpose));
	print_class_line(name, "fallback ", blob_text(blob, class->fallback));
	print_principals(blob, class);
	for (uint32_t k = 0; k < blob->n_classes; k++) {
		if (class->never_with >> k & 1)
			print_class_line(name, "never with ",
					 blob_text(blob, blob->classes[k].name));
	}
	if (class->queue > 0)
		printf("  %s: at most %u wait for one bucket\n", name, class->queue);
	if (!usual_retry(class, name))
		print_class_line(name, "retries: ", retry_words(&class->retry, buf, sizeof(buf)));
	if (class->mode.count > 0)
		print_class_line(name, "mode ", limit_mode(blob, &class->mode, buf));
}

static void print_classes(const struct blob *blob)
{
	char buf[LIMIT_WORDS_SIZE];

	fputs("classes, most protected first: ", stdout);
	for (uint32_t i = 0; i < blob->n_classes; i++)
		printf("%s%s", i > 0 ? ", " : "", blob_text(blob, blob->classes[i].name));
	putchar('\n');
	for (uint32_t i = 0; i < blob->n_classes; i++)
		print_class(blob, &blob->classes[i]);
	if (blob->header->mode.count > 0)
		printf("mode: %s\n", limit_mode(blob, &blob->header->mode, buf));
}

static void print_vendor(const struct blob *blob, const struct blob_vendor *vendor)
{
	const struct blob_run *run = blob_chain(blob, (uint32_t)(vendor - blob->vendors), 0);
	char delay[32], text[LIMIT_WORDS_SIZE];

	printf("\nvendor %s: a permit is good for %s\n", blob_text(blob, vendor->name),
	       words_duration(vendor->delay_ns, delay, sizeof(delay)));
	printf("  at most %s of a block; breaker: %s\n",
	       words_duration(vendor->max_block_ns, delay, sizeof(delay)),
	       limit_breaker(&vendor->breaker, text));
	if (run->count == 0)
		puts("  no limits");
	for (uint32_t i = 0; i < run->count; i++) {
		const struct blob_limit *limit = &blob->limits[blob->links[run->first + i].limit];

		if (limit->role != LIMIT_WRITTEN)
			continue;
		if (limit->vendor != 0)
			print_limit(blob, limit);
		else
			printf("  and %s of all vendors\n", blob_text(blob, limit->name));
	}
}

static void print_route(const struct blob *blob, const struct blob_route *route)
{
	char place[LIMIT_WORDS_SIZE];

	printf("\nroute %s:\n", blob_text(blob, route->name));
	for (uint32_t i = 0; i < route->count; i++)
		printf("  %s: %s\n", blob_text(blob, blob->alternatives[route->first + i].name),
		       route_place(blob, route, i, place));
}

static void print_limits_of_all(const struct blob *blob)
{
	bool any = false;

	for (uint32_t i = 0; i < blob->n_limits; i++) {
		if (blob->limits[i].vendor != 0 || blob->limits[i].role != LIMIT_WRITTEN)
			continue;
		if (!any)
			puts("\nall vendors together:");
		any = true;
		print_limit(blob, &blob->limits[i]);
	}
}

static void print_override(const struct blob *blob, uint32_t tenant_index,
			   const struct blob_override *o)
{
	const struct blob_tenant *tenant = &blob->tenants[tenant_index];
	const struct limit_view view = {blob, &blob->limits[o->limit], tenant_index};
	const char *plan = blob_text(blob, tenant->plan);
	const char *vendor = blob_text(blob, view.limit->vendor);
	char written[LIMIT_WORDS_SIZE], effective[LIMIT_WORDS_SIZE];

	if (view.limit->role != LIMIT_WRITTEN)
		return;
	printf("  %s%s%s%s: %s%s%s: %s (effective %s)\n", blob_text(blob, tenant->name),
	       plan[0] ? " (" : "", plan, plan[0] ? ")" : "", vendor, vendor[0] ? "/" : "",
	       blob_text(blob, view.limit->name), limit_written(&view, written),
	       limit_effective(&view, effective));
}

static void print_tenants(const struct blob *blob)
{
	enum { SHOWN = 20 };

	if (blob->n_tenants > 0)
		printf("\n%u tenant%s named, with what is theirs:\n", blob->n_tenants,
		       blob->n_tenants == 1 ? "" : "s");
	for (uint32_t i = 0; i < blob->n_tenants && i < SHOWN; i++) {
		const struct blob_tenant *tenant = &blob->tenants[i];

		for (uint32_t j = 0; j < tenant->override_count; j++)
			print_override(blob, i, &blob->overrides[tenant->override_first + j]);
		if (tenant->override_count == 0)
			printf("  %s: as everybody\n", blob_text(blob, tenant->name));
	}
	if (blob->n_tenants > SHOWN)
		printf("  and %u more\n", blob->n_tenants - SHOWN);
}

void check_print(const struct blob *blob)
{
	print_classes(blob);
	print_limits_of_all(blob);
	for (uint32_t i = 0; i < blob->n_vendors; i++)
		print_vendor(blob, &blob->vendors[i]);
	for (uint32_t i = 0; i < blob->n_routes; i++)
		print_route(blob, &blob->routes[i]);
	print_tenants(blob);
}
