/*
 * cli/status_gates.c - ration status: what is blocked, until when and why
 * SPDX-License-Identifier: MIT
 */
#include "cli/status.h"

#include <stdio.h>

#include "cli/cli.h"
#include "cli/words.h"
#include "client/client.h"
#include "shm/gate.h"

struct gate_row {
	char name[STATUS_NAMES][RATION_KEY_MAX + 66];
	uint32_t scope;
	uint64_t word;
	uint64_t now;
	struct gate_counts counts; /* of the breaker's window */
	bool counted;
};

typedef void show_gate(const struct gate_row *row, void *user);

static const char *phase_of(const struct gate_row *row)
{
	static const char *const phases[] = {
		[GATE_OPEN] = "open",
		[GATE_BLOCKED] = "blocked",
		[GATE_PROBING] = "probing",
	};
	const uint64_t phase = GATE_PHASE(row->word);

	if (gate_calm(row->word, row->now))
		return "open";
	if (phase == GATE_OPEN)
		return "opening";
	return phase <= GATE_PROBING ? phases[phase] : "corrupt";
}

static const char *why_of(const struct gate_row *row)
{
	static const char *const whys[GATE_WHYS] = {
		[GATE_WHY_NONE] = "none",           [RATION_LIMIT_RATE] = "rate",
		[RATION_LIMIT_QUOTA] = "quota",     [RATION_LIMIT_CONCURRENCY] = "concurrency",
		[RATION_LIMIT_COST] = "cost",       [RATION_LIMIT_OVERLOAD] = "overload",
		[RATION_LIMIT_BILLING] = "billing", [GATE_WHY_BREAKER] = "breaker",
		[GATE_WHY_OPERATOR] = "operator",   [GATE_WHY_VENDOR] = "vendor",
	};
	const uint64_t why = GATE_WHY(row->word);

	return why < GATE_WHYS ? whys[why] : "corrupt";
}

static uint64_t left_ns(const struct gate_row *row)
{
	const uint64_t when = GATE_WHEN(row->word);

	return when > row->now ? (when - row->now) / TICKS_PER_NS : 0;
}

static bool read_gate(const struct ration *ration, uint32_t bucket, struct gate_row *row)
{
	const struct seg *seg = client_seg(ration);
	const struct blob *blob = client_blob(ration);
	const struct bucket_ref ref = {bucket, shm_half_load(&seg->hot[bucket].generation)};
	uint32_t vendor;

	row->word = shm_load(&seg->hot[bucket].state[0]);
	if (KIND_OF(shm_half_load(&seg->hot[bucket].kind)) != KIND_GATE ||
	    shm_load(&seg->cold[bucket].owner) != COLD_LINKED || row->word == RECORD_DEAD)
		return false;
	row->now = client_now(ration);
	row->scope = COLD_SCOPE(shm_half_load(&seg->cold[bucket].scope));
	for (int f = 0; f < STATUS_NAMES; f++) {
		names_copy(seg, shm_half_load(&seg->cold[bucket].names[f]), row->name[f],
			   sizeof(row->name[f]));
		words_printable(row->name[f]);
	}
	vendor = blob_find_vendor(blob, row->name[NAME_VENDOR]);
	row->counted = row->scope == (RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR) &&
		       vendor != BLOB_NO_INDEX && blob->vendors[vendor].breaker.window_ns > 0;
	if (row->counted)
		row->counts = gate_counts(
			seg, ref, blob->vendors[vendor].breaker.window_ns * TICKS_PER_NS, row->now);
	return shm_half_load(&seg->hot[bucket].generation) == ref.generation;
}

static void each_gate(const struct ration *ration, show_gate *show, void *user)
{
	for (uint32_t i = 0; i < client_seg(ration)->n_buckets; i++) {
		struct gate_row row;

		if (read_gate(ration, i, &row))
			show(&row, user);
	}
}

static json_t *name_json(const struct gate_row *row, enum seg_name name)
{
	json_t *text = row->scope & 1u << (name - NAME_TENANT) ? json_string(row->name[name])
							       : json_null();

	return text ? text : json_string("?");
}

static void add_json(const struct gate_row *row, void *user)
{
	json_t *object = cli_need(json_pack(
		"{s:o, s:o, s:o, s:o, s:s, s:s, s:f, s:i}", "tenant", name_json(row, NAME_TENANT),
		"vendor", name_json(row, NAME_VENDOR), "account", name_json(row, NAME_ACCOUNT),
		"resource", name_json(row, NAME_RESOURCE), "state", phase_of(row), "why",
		why_of(row), "left_s", (double)left_ns(row) / 1e9, "failed_probes",
		GATE_PHASE(row->word) == GATE_OPEN ? 0 : (int)GATE_EXTRA(row->word)));

	json_object_set_new(object, "responses",
			    row->counted ? json_integer(row->counts.responses) : json_null());
	json_object_set_new(object, "limited",
			    row->counted ? json_integer(row->counts.limited) : json_null());
	json_array_append_new(user, object);
}

json_t *status_gates_json(const struct ration *ration)
{
	json_t *list = cli_need(json_array());

	each_gate(ration, add_json, list);
	return list;
}

/* "blocked: openai tenant=acme resource=gpt: rate, 20 s to go; 3 of 12 responses limited" */
static void print_line(const struct gate_row *row, void *user)
{
	static const struct {
		enum seg_name name;
		const char *text;
	} fields[] = {
		{NAME_TENANT, "tenant"}, {NAME_ACCOUNT, "account"}, {NAME_RESOURCE, "resource"}};
	char left[40];

	(void)user;
	if (gate_calm(row->word, row->now) && row->counts.limited == 0)
		return;
	printf("%s: %s", phase_of(row), row->name[NAME_VENDOR]);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const char *text = row->name[fields[i].name];

		if (row->scope & 1u << (fields[i].name - NAME_TENANT))
			printf(" %s=%s", fields[i].text, *text ? text : "-");
	}
	if (!gate_calm(row->word, row->now))
		printf(": %s, %s to go", why_of(row),
		       words_duration(left_ns(row), left, sizeof(left)));
	if (row->counted && row->counts.limited > 0)
		printf("; %u of %u responses limited", row->counts.limited, row->counts.responses);
	putchar('\n');
}

void status_gates_print(const struct ration *ration)
{
	each_gate(ration, print_line, NULL);
}
