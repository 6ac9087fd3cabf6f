/*
 * cli/check_json.c - what a good policy comes to, for programs
 * SPDX-License-Identifier: MIT
 */
#include "cli/check_report.h"

#include <string.h>

#include <ration/ration.h>

#include "cli/limit_words.h"

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

/* "effective_rate_per_s" and "effective_burst" of buckets, "effective_amount" of the other kinds. */
static void add_effective(json_t *object, const struct blob_limit *limit,
			  const struct blob_numbers *n)
{
	const struct check_steps steps = check_steps(n);
	const uint64_t amount = limit_amount(limit->kind, n->effective);

	if (limit->kind == KIND_BUCKET) {
		json_object_set_new(object, "burst", json_integer((json_int_t)n->burst));
		json_object_set_new(object, "effective_rate_per_s",
				    json_real(steps.effective_per_second));
		json_object_set_new(object, "effective_burst",
				    json_integer((json_int_t)steps.effective_burst));
	} else {
		json_object_set_new(object, "effective_amount", json_integer((json_int_t)amount));
	}
}

static json_t *numbers_json(const struct blob_limit *limit, const struct blob_numbers *n)
{
	json_t *object = json_pack("{s:I, s:I, s:I, s:I, s:I}", "amount", (json_int_t)n->amount,
				   "period_ns", (json_int_t)n->period_ns, "margin_ppm",
				   (json_int_t)n->margin_ppm, "share_ppm", (json_int_t)n->share_ppm,
				   "delay_ns", (json_int_t)n->delay_ns);

	add_effective(object, limit, n);
	return object;
}

static const char *const kinds[KIND_COUNT] = {
	[KIND_NONE] = "none",       [KIND_BUCKET] = "bucket",     [KIND_WINDOW] = "window",
	[KIND_ROLLING] = "rolling", [KIND_SLOTS] = "concurrency",
};

static void add_text(json_t *object, const char *key, const struct blob *blob, uint32_t text)
{
	if (text != 0)
		json_object_set_new(object, key, json_string(blob_text(blob, text)));
}

static json_t *limit_json(const struct blob *blob, const struct blob_limit *limit)
{
	static const char *const roles[] = {"written", "guarantee", "ceiling"};
	char mode[LIMIT_WORDS_SIZE];
	json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:o, s:s, s:s, s:o}", "name",
				   blob_text(blob, limit->name), "unit",
				   blob_text(blob, limit->unit), "kind", kinds[limit->kind], "line",
				   (int)limit->line, "scope", scope_json(limit->scope), "role",
				   roles[limit->role], "mode", limit_mode(blob, &limit->mode, mode),
				   "numbers", numbers_json(limit, &limit->numbers));

	add_text(object, "vendor", blob, limit->vendor);
	if (limit->class_index != BLOB_NO_INDEX)
		add_text(object, "class", blob, blob->classes[limit->class_index].name);
	if (limit->zone != BLOB_NO_INDEX)
		add_text(object, "timezone", blob, blob->zones[limit->zone].name);
	if (limit->flags & LIMIT_HAS_DEFAULT_COST)
		json_object_set_new(object, "default_cost",
				    json_integer((json_int_t)limit->default_cost));
	return object;
}

static bool same_text(const struct blob *blob, uint32_t a, uint32_t b)
{
	return strcmp(blob_text(blob, a), blob_text(blob, b)) == 0;
}

static json_t *breaker_json(const struct blob_breaker *b)
{
	if (b->window_ns == 0)
		return json_null();
	return json_pack("{s:I, s:f, s:i, s:I}", "window_ns", (json_int_t)b->window_ns, "share",
			 (double)b->share_ppm / 1e6, "least", (int)b->least, "open_ns",
			 (json_int_t)b->open_ns);
}

/* The vendor's own limits, then those for all vendors; what they mean for classes beside them. */
static json_t *vendor_json(const struct blob *blob, const struct blob_vendor *vendor)
{
	json_t *limits = json_array();

	for (int all = 0; all < 2; all++) {
		for (uint32_t i = 0; i < blob->n_limits; i++) {
			const struct blob_limit *limit = &blob->limits[i];

			if (all ? limit->vendor == 0 : same_text(blob, limit->vendor, vendor->name))
				json_array_append_new(limits, limit_json(blob, limit));
		}
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "name", blob_text(blob, vendor->name),
			 "permit_ns", (json_int_t)vendor->delay_ns, "clock_skew_ns",
			 (json_int_t)vendor->clock_skew_ns, "max_block_ns",
			 (json_int_t)vendor->max_block_ns, "breaker",
			 breaker_json(&vendor->breaker), "limits", limits);
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
							numbers_json(limit, &o->numbers)));
	}
	json_object_set_new(object, "limits", limits);
	return object;
}

static json_t *class_json(const struct blob *blob, const struct blob_class *class)
{
	char mode[LIMIT_WORDS_SIZE];
	json_t *object = json_pack("{s:s, s:s}", "name", blob_text(blob, class->name), "mode",
				   limit_mode(blob, &class->mode, mode));

	add_text(object, "owner", blob, class->owner);
	add_text(object, "purpose", blob, class->purpose);
	add_text(object, "fallback", blob, class->fallback);
	if (class->queue > 0)
		json_object_set_new(object, "queue", json_integer(class->queue));
	json_object_set_new(object, "retry",
			    json_pack("{s:i, s:I, s:I, s:I, s:f}", "attempts",
				      (int)class->retry.attempts, "total_ns",
				      (json_int_t) class->retry.total_ns, "base_ns",
				      (json_int_t) class->retry.base_ns, "cap_ns",
				      (json_int_t) class->retry.cap_ns, "budget",
				      class->retry.budget_ppm / 1e6));
	return object;
}

static json_t *alternative_json(const struct blob *blob, const struct blob_alternative *a)
{
	json_t *classes = json_array();
	json_t *object =
		json_pack("{s:s, s:s, s:o}", "name", blob_text(blob, a->name), "vendor",
			  blob_text(blob, blob->vendors[a->vendor].name), "classes", classes);

	for (uint32_t k = 0; k < blob->n_classes; k++) {
		if (a->classes >> k & 1)
			json_array_append_new(classes,
					      json_string(blob_text(blob, blob->classes[k].name)));
	}
	add_text(object, "resource", blob, a->resource);
	if (a->weight > 0)
		json_object_set_new(object, "weight", json_integer(a->weight));
	return object;
}

static json_t *route_json(const struct blob *blob, const struct blob_route *route)
{
	json_t *alternatives = json_array();

	for (uint32_t i = 0; i < route->count; i++)
		json_array_append_new(
			alternatives,
			alternative_json(blob, &blob->alternatives[route->first + i]));
	return json_pack("{s:s, s:i, s:o}", "name", blob_text(blob, route->name), "line",
			 (int)route->line, "alternatives", alternatives);
}

json_t *check_json(const struct blob *blob)
{
	json_t *classes = json_array(), *vendors = json_array(), *tenants = json_array();
	json_t *routes = json_array();
	char mode[LIMIT_WORDS_SIZE];

	for (uint32_t i = 0; i < blob->n_classes; i++)
		json_array_append_new(classes, class_json(blob, &blob->classes[i]));
	for (uint32_t i = 0; i < blob->n_vendors; i++)
		json_array_append_new(vendors, vendor_json(blob, &blob->vendors[i]));
	for (uint32_t i = 0; i < blob->n_tenants; i++)
		json_array_append_new(tenants, tenant_json(blob, &blob->tenants[i]));
	for (uint32_t i = 0; i < blob->n_routes; i++)
		json_array_append_new(routes, route_json(blob, &blob->routes[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "mode",
			 limit_mode(blob, &blob->header->mode, mode), "classes", classes, "vendors",
			 vendors, "routes", routes, "tenants", tenants);
}
