/*
 * cli/check_json.c - what a good policy comes to, for programs
 * SPDX-License-Identifier: MIT
 */
#include "cli/check_report.h"

#include <ration/ration.h>

static json_t *scope_json(uint32_t scope)
{
	/* In the order of the RATION_SCOPE_* bits. */
	static const char *const fields[] = {"tenant", "vendor", "class", "account", "resource"};
	json_t *array = json_array();

	for (uint32_t i = 0; i < 5; i++) {
		if (scope & UINT32_C(1) << i)
			json_array_append_new(array, json_string(fields[i]));
	}
	return array;
}

static json_t *numbers_json(const struct blob_numbers *n)
{
	const struct check_steps steps = check_steps(n);

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I}", "amount",
			 (json_int_t)n->amount, "period_ns", (json_int_t)n->period_ns, "burst",
			 (json_int_t)n->burst, "margin_ppm", (json_int_t)n->margin_ppm, "share_ppm",
			 (json_int_t)n->share_ppm, "delay_ns", (json_int_t)n->delay_ns,
			 "effective_rate_per_s", steps.effective_per_second, "effective_burst",
			 (json_int_t)steps.effective_burst);
}

static json_t *limit_json(const struct blob *blob, const struct blob_limit *limit)
{
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:i, s:o, s:o}", "name", blob_text(blob, limit->name), "unit",
		blob_text(blob, limit->unit), "kind", "bucket", "line", (int)limit->line, "scope",
		scope_json(limit->scope), "numbers", numbers_json(&limit->numbers));

	if (limit->vendor != 0)
		json_object_set_new(object, "vendor", json_string(blob_text(blob, limit->vendor)));
	if (limit->flags & LIMIT_HAS_DEFAULT_COST)
		json_object_set_new(object, "default_cost",
				    json_integer((json_int_t)limit->default_cost));
	return object;
}

static json_t *vendor_json(const struct blob *blob, const struct blob_vendor *vendor)
{
	json_t *limits = json_array();
	const struct blob_run *run = blob_chain(blob, (uint32_t)(vendor - blob->vendors), 0);

	for (uint32_t i = 0; i < run->count; i++) {
		const uint32_t limit = blob->links[run->first + i].limit;

		json_array_append_new(limits, limit_json(blob, &blob->limits[limit]));
	}
	return json_pack("{s:s, s:I, s:o}", "name", blob_text(blob, vendor->name), "permit_ns",
			 (json_int_t)vendor->delay_ns, "limits", limits);
}

static json_t *tenant_json(const struct blob *blob, const struct blob_tenant *tenant)
{
	json_t *object = json_pack("{s:s}", "name", blob_text(blob, tenant->name));
	json_t *limits = json_array();

	if (tenant->plan != 0)
		json_object_set_new(object, "plan", json_string(blob_text(blob, tenant->plan)));
	for (uint32_t i = 0; i < tenant->override_count; i++) {
		const struct blob_override *o = &blob->overrides[tenant->override_first + i];
		const struct blob_limit *limit = &blob->limits[o->limit];

		json_array_append_new(limits, json_pack("{s:s, s:s, s:o}", "vendor",
							blob_text(blob, limit->vendor), "limit",
							blob_text(blob, limit->name), "numbers",
							numbers_json(&o->numbers)));
	}
	json_object_set_new(object, "limits", limits);
	return object;
}

json_t *check_json(const struct blob *blob)
{
	json_t *classes = json_array(), *vendors = json_array(), *tenants = json_array();

	for (uint32_t i = 0; i < blob->n_classes; i++)
		json_array_append_new(classes, json_string(blob_text(blob, blob->classes[i].name)));
	for (uint32_t i = 0; i < blob->n_vendors; i++)
		json_array_append_new(vendors, vendor_json(blob, &blob->vendors[i]));
	for (uint32_t i = 0; i < blob->n_tenants; i++)
		json_array_append_new(tenants, tenant_json(blob, &blob->tenants[i]));
	return json_pack("{s:s, s:o, s:o, s:o}", "mode",
			 blob->header->mode.count > 0 ? "shadow" : "enforce", "classes", classes,
			 "vendors", vendors, "tenants", tenants);
}
