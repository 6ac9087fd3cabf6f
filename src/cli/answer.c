/*
 * cli/answer.c - what libration returned, as JSON and in words
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/answer.h"
#include "cli/cli.h"

const char *answer_code(int code)
{
	static const struct {
		int code;
		const char *name;
	} names[] = {
		{0, "granted"},
		{RATION_DENIED, "denied"},
		{RATION_OVERSIZE, "oversize"},
		{RATION_CONTENDED, "contended"},
		{RATION_BUSY, "busy"},
		{RATION_ESUPERVISOR, "supervisor"},
		{RATION_ELAYOUT, "layout"},
		{RATION_ENOTREADY, "notready"},
		{RATION_EVENDOR, "vendor"},
		{RATION_ECLASS, "class"},
		{RATION_EUNIT, "unit"},
		{RATION_EFULL, "full"},
		{RATION_ECORRUPT, "corrupt"},
		{RATION_EPOLICY, "policy"},
		{RATION_EWORKERS, "workers"},
		{RATION_ELOST, "lost"},
		{-EINVAL, "invalid"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].code == code)
			return names[i].name;
	return "error";
}

json_t *answer_denied(int code, const struct ration_denial *denial,
		      const struct ration_handle *handle)
{
	char text[1024], limit[2 * RATION_NAME_MAX + 2];

	ration_denial_text(denial, handle, text, sizeof(text));
	snprintf(limit, sizeof(limit), "%s%s%s", denial->vendor, denial->vendor[0] ? "/" : "",
		 denial->limit);
	return cli_need(json_pack("{s:b, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:s}", "ok", 0, "code",
				  answer_code(code), "limit", limit, "unit", denial->unit, "left",
				  (json_int_t)denial->left, "size", (json_int_t)denial->size,
				  "needed", (json_int_t)denial->needed, "retry_ms",
				  (double)denial->retry_in_ns / 1e6, "text", text));
}

void answer_pick(json_t *answer, const char *vendor, const struct ration_pick *pick)
{
	const char *resource;

	if (!pick->handle || strcmp(ration_handle_vendor(pick->handle), vendor) == 0)
		return;
	resource = ration_handle_resource(pick->handle);
	json_object_set_new(answer, "vendor", json_string(ration_handle_vendor(pick->handle)));
	json_object_set_new(answer, "resource", resource[0] ? json_string(resource) : json_null());
}

json_t *answer_error(const char *code, const char *text)
{
	return cli_need(json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text));
}

static bool names_unit(const struct ration_cost *costs, size_t n, const char *unit)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(costs[i].unit, unit) == 0)
			return true;
	}
	return false;
}

void answer_missing_unit(const struct ration *ration, const char *const key[KEY_FIELDS],
			 const struct ration_cost *costs, size_t n_costs, char *buf, size_t size)
{
	const struct blob *blob = client_blob(ration);
	const uint32_t vendor = blob_find_vendor(blob, key[KEY_VENDOR] ? key[KEY_VENDOR] : "");
	const uint32_t class_index = blob_find_class(blob, key[KEY_CLASS] ? key[KEY_CLASS] : "");
	const struct blob_run *run;

	snprintf(buf, size, "%s", ration_strerror(RATION_EUNIT));
	if (vendor == BLOB_NO_INDEX || class_index == BLOB_NO_INDEX)
		return;
	run = blob_chain(blob, vendor, class_index);
	for (uint32_t i = 0; i < run->count; i++) {
		const struct blob_limit *l = &blob->limits[blob->links[run->first + i].limit];
		const char *under = blob_text(blob, l->vendor), *unit = blob_text(blob, l->unit);

		if ((l->flags & LIMIT_HAS_DEFAULT_COST) || names_unit(costs, n_costs, unit))
			continue;
		snprintf(buf, size, "%s%s%s counts %s, which the cost does not name", under,
			 under[0] ? "/" : "", blob_text(blob, l->name), unit);
		return;
	}
}
