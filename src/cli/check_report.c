/*
 * cli/check_report.c - what a good policy comes to, for people
 * SPDX-License-Identifier: MIT
 */
#include "cli/check_report.h"

#include <stdio.h>
#include <string.h>

#include <ration/ration.h>

#include "cli/words.h"

typedef unsigned long long ull;

struct check_steps check_steps(const struct blob_numbers *n)
{
	const unsigned __int128 whole = (unsigned __int128)1000000 * 1000000;
	const uint64_t keep = (uint64_t)n->share_ppm * (1000000 - n->margin_ppm);
	const uint64_t burst = (uint64_t)((unsigned __int128)n->burst * keep / whole);
	const double written = (double)n->amount * 1e9 / (double)n->period_ns;

	return (struct check_steps){
		.written_per_second = written,
		.kept_per_second = written * (double)keep / 1e12,
		.kept_burst = burst > 0 ? burst : 1,
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

static void print_cost(const struct blob *blob, const struct blob_limit *limit)
{
	const char *unit = blob_text(blob, limit->unit);

	if (!(limit->flags & LIMIT_HAS_DEFAULT_COST))
		printf("    cost: a request must say how many %s\n", unit);
	else if (strcmp(unit, "requests") != 0 || limit->default_cost != 1)
		printf("    cost: %llu %s unless a request says otherwise\n",
		       (ull)limit->default_cost, unit);
}

static void print_limit(const struct blob *blob, const struct blob_limit *limit)
{
	const struct blob_numbers *n = &limit->numbers;
	const struct check_steps steps = check_steps(n);
	char counted[80], rate[32];

	check_counted(limit->scope, check_one_vendor(blob, limit->vendor), counted,
		      sizeof(counted));
	printf("  %s (%s): %s\n", blob_text(blob, limit->name), blob_text(blob, limit->unit),
	       counted);
	printf("    written: %s, burst %llu\n",
	       rate_words(steps.written_per_second, rate, sizeof(rate)), (ull)n->burst);
	print_kept(n, &steps);
	print_delay(n, &steps);
	printf("    effective: %s, burst %llu\n",
	       rate_words(steps.effective_per_second, rate, sizeof(rate)),
	       (ull)steps.effective_burst);
	print_cost(blob, limit);
}

/* --- all of it --- */

static void print_classes(const struct blob *blob)
{
	fputs("classes, most protected first: ", stdout);
	for (uint32_t i = 0; i < blob->n_classes; i++)
		printf("%s%s", i > 0 ? ", " : "", blob_text(blob, blob->classes[i].name));
	putchar('\n');
	if (blob->header->mode.count > 0)
		puts("mode shadow: decides and counts, and denies nothing");
}

static void print_vendor(const struct blob *blob, const struct blob_vendor *vendor)
{
	const struct blob_run *run = blob_chain(blob, (uint32_t)(vendor - blob->vendors), 0);
	char delay[32];

	printf("\nvendor %s: a permit is good for %s\n", blob_text(blob, vendor->name),
	       words_duration(vendor->delay_ns, delay, sizeof(delay)));
	if (run->count == 0)
		puts("  no limits");
	for (uint32_t i = 0; i < run->count; i++) {
		const struct blob_limit *limit = &blob->limits[blob->links[run->first + i].limit];

		if (limit->vendor != 0)
			print_limit(blob, limit);
		else
			printf("  and %s of all vendors\n", blob_text(blob, limit->name));
	}
}

static void print_limits_of_all(const struct blob *blob)
{
	bool any = false;

	for (uint32_t i = 0; i < blob->n_limits; i++) {
		if (blob->limits[i].vendor != 0)
			continue;
		if (!any)
			puts("\nall vendors together:");
		any = true;
		print_limit(blob, &blob->limits[i]);
	}
}

static void print_override(const struct blob *blob, const struct blob_tenant *tenant,
			   const struct blob_override *o)
{
	const struct blob_limit *limit = &blob->limits[o->limit];
	const struct check_steps steps = check_steps(&o->numbers);
	const char *plan = blob_text(blob, tenant->plan), *vendor = blob_text(blob, limit->vendor);
	char written[32], effective[32];

	printf("  %s%s%s%s: %s%s%s: %s, burst %llu (effective %s, burst %llu)\n",
	       blob_text(blob, tenant->name), plan[0] ? " (" : "", plan, plan[0] ? ")" : "", vendor,
	       vendor[0] ? "/" : "", blob_text(blob, limit->name),
	       rate_words(steps.written_per_second, written, sizeof(written)),
	       (ull)o->numbers.burst,
	       rate_words(steps.effective_per_second, effective, sizeof(effective)),
	       (ull)steps.effective_burst);
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
			print_override(blob, tenant, &blob->overrides[tenant->override_first + j]);
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
	print_tenants(blob);
}
