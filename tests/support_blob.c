/*
 * tests/support_blob.c - a compiled policy and a segment without a file or a supervisor
 * SPDX-License-Identifier: MIT
 */
#include "support_blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/memory.h"
#include "shm/index.h"
#include "shm/stat.h"
#include "support_check.h"

#define need(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* --- laying out a blob --- */

struct draft {
	struct blob_class classes[CLASSES_MAX];
	struct blob_vendor vendors[DESC_MAX];
	struct blob_run runs[DESC_MAX * CLASSES_MAX];
	struct blob_link links[DESC_MAX * CLASSES_MAX * RATION_LINKS_MAX];
	struct blob_limit limits[DESC_MAX];
	struct blob_tenant tenants[DESC_MAX];
	struct blob_override overrides[DESC_MAX];
	char text[16384];
	uint32_t n_classes, n_vendors, n_links, n_limits, n_tenants, n_text;
};

static uint32_t text_of(struct draft *draft, const char *text)
{
	const uint32_t offset = draft->n_text;
	const size_t size = strlen(text) + 1;

	if (size == 1)
		return 0;
	need(offset + size <= sizeof(draft->text), "the policy has too many names");
	memcpy(draft->text + offset, text, size);
	draft->n_text += (uint32_t)size;
	return offset;
}

static struct blob_numbers numbers_of(uint64_t amount, uint64_t period_s, uint64_t burst)
{
	struct blob_numbers numbers = {
		.amount = amount,
		.period_ns = (period_s ? period_s : 1) * UINT64_C(1000000000),
		.burst = burst,
		.share_ppm = 1000000,
	};

	numbers.effective = bucket_pack(amount, numbers.period_ns, burst);
	need(numbers.effective != 0, "numbers out of range");
	return numbers;
}

/* Rule 0 is the only one there is: nothing is denied. */
static struct blob_rules mode_of(bool shadow)
{
	return (struct blob_rules){.count = shadow};
}

static struct blob_numbers limit_numbers(const struct limit_desc *l)
{
	const uint64_t period_s = l->period_s ? l->period_s : 1;
	struct blob_numbers numbers;

	if (!l->effective)
		numbers = numbers_of(l->amount, period_s, l->burst);
	else
		numbers = (struct blob_numbers){
			.effective = l->effective,
			.amount = l->amount,
			.period_ns = l->period_ns ? l->period_ns : period_s * 1000000000,
			.burst = l->burst,
			.share_ppm = 1000000,
		};
	memcpy(numbers.by_class, l->by_class, sizeof(numbers.by_class));
	return numbers;
}

static void add_limit(struct draft *draft, const struct limit_desc *l)
{
	const char *unit = l->unit ? l->unit : "requests";
	const bool request = !l->unit && !l->has_default; /* as the compiler does it */

	draft->limits[draft->n_limits] = (struct blob_limit){
		.name = text_of(draft, l->name),
		.vendor = text_of(draft, l->vendor ? l->vendor : ""),
		.unit = text_of(draft, unit),
		.unit_hash = hash_unit(unit),
		.kind = l->kind ? l->kind : KIND_BUCKET,
		.scope = l->scope,
		.flags = l->flags | (l->has_default || request ? LIMIT_HAS_DEFAULT_COST : 0),
		.parent = draft->n_limits,
		.class_index = BLOB_NO_INDEX,
		.calendar = l->calendar,
		.zone = BLOB_NO_INDEX,
		.offset_ns = l->offset_ns,
		.mode = mode_of(l->shadow),
		.default_cost = request ? 1 : l->default_cost,
		.hold_ns = l->hold_ns,
		.numbers = limit_numbers(l),
	};
	draft->n_limits++;
}

static bool in_run(const struct limit_desc *l, const char *vendor, uint32_t class_index)
{
	if (l->for_classes && !(l->for_classes >> class_index & 1))
		return false;
	return vendor ? l->vendor && strcmp(l->vendor, vendor) == 0 : !l->vendor;
}

/* The vendor's own limits, then those for all. */
static void add_run(struct draft *draft, const struct policy_desc *desc, const char *vendor,
		    uint32_t class_index)
{
	const uint32_t first = draft->n_links;

	for (int all = 0; all < 2; all++) {
		for (uint32_t i = 0; desc->limits[i].name; i++) {
			const struct limit_desc *l = &desc->limits[i];

			if (in_run(l, all ? NULL : vendor, class_index))
				draft->links[draft->n_links++] =
					(struct blob_link){i, l->link_flags};
		}
	}
	need(draft->n_links - first <= RATION_LINKS_MAX, "the chain of %s is too long", vendor);
	draft->runs[(draft->n_vendors - 1) * draft->n_classes + class_index] =
		(struct blob_run){first, draft->n_links - first};
}

static void add_vendor(struct draft *draft, const struct policy_desc *desc, const char *name)
{
	draft->vendors[draft->n_vendors++] = (struct blob_vendor){
		.name = text_of(draft, name),
		.delay_ns = desc->delay_ns,
		.clock_skew_ns = desc->clock_skew_ns,
		.max_block_ns = UINT64_C(90000) * 1000000000,
		.breaker = {UINT64_C(10000000000), UINT64_C(30000000000), 500000, 10},
	};
	for (uint32_t i = 0; i < draft->n_classes; i++)
		add_run(draft, desc, name, i);
}

static void add_override(struct draft *draft, const struct policy_desc *desc,
			 const struct override_desc *o)
{
	const uint32_t i = draft->n_tenants++;
	uint32_t limit = 0;

	while (desc->limits[limit].name && strcmp(desc->limits[limit].name, o->limit) != 0)
		limit++;
	draft->tenants[i] = (struct blob_tenant){
		.name = text_of(draft, o->tenant), .override_first = i, .override_count = 1};
	draft->overrides[i] = (struct blob_override){
		.limit = limit, .numbers = numbers_of(o->amount, o->period_s, o->burst)};
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void fill_draft(struct draft *draft, const struct policy_desc *desc, const char **vendors)
{
	size_t n = 0;

	draft->n_text = 1;
	for (; desc->classes[draft->n_classes]; draft->n_classes++)
		draft->classes[draft->n_classes].name =
			text_of(draft, desc->classes[draft->n_classes]);
	if (draft->n_classes == 0)
		draft->classes[draft->n_classes++].name = text_of(draft, "interactive");
	for (uint32_t i = 0; i < draft->n_classes; i++)
		draft->classes[i].queue = desc->queue[i];
	for (; desc->vendors[n]; n++)
		vendors[n] = desc->vendors[n];
	qsort(vendors, n, sizeof(*vendors), by_name);
	for (size_t i = 0; i < n; i++)
		add_vendor(draft, desc, vendors[i]);
	for (int i = 0; desc->limits[i].name; i++)
		add_limit(draft, &desc->limits[i]);
	for (int i = 0; desc->overrides[i].tenant; i++)
		add_override(draft, desc, &desc->overrides[i]);
}

static uint32_t default_index(const struct policy_desc *desc, const char *const *vendors)
{
	for (uint32_t i = 0; desc->default_vendor && vendors[i]; i++) {
		if (strcmp(vendors[i], desc->default_vendor) == 0)
			return i;
	}
	return BLOB_NO_INDEX;
}

/* Tables one after the other, each at a multiple of 8. */
static void *assemble(const struct draft *draft, struct blob_header *header, size_t *ret_size)
{
	static const struct blob_rule nothing = {.until = 86400, .zone = BLOB_NO_INDEX};
	const struct {
		const void *data;
		uint32_t stride, count;
	} tables[BLOB_TABLES] = {
		[BLOB_CLASSES] = {draft->classes, sizeof(struct blob_class), draft->n_classes},
		[BLOB_VENDORS] = {draft->vendors, sizeof(struct blob_vendor), draft->n_vendors},
		[BLOB_RUNS] = {draft->runs, sizeof(struct blob_run),
			       draft->n_vendors * draft->n_classes},
		[BLOB_LINKS] = {draft->links, sizeof(struct blob_link), draft->n_links},
		[BLOB_LIMITS] = {draft->limits, sizeof(struct blob_limit), draft->n_limits},
		[BLOB_TENANTS] = {draft->tenants, sizeof(struct blob_tenant), draft->n_tenants},
		[BLOB_OVERRIDES] = {draft->overrides, sizeof(struct blob_override),
				    draft->n_tenants},
		[BLOB_RULES] = {&nothing, sizeof(struct blob_rule), 1},
		[BLOB_ZONES] = {NULL, sizeof(struct blob_zone), 0},
		[BLOB_CHANGES] = {NULL, sizeof(struct calendar_change), 0},
		[BLOB_PRINCIPALS] = {NULL, sizeof(struct blob_principal), 0},
		[BLOB_ROUTES] = {NULL, sizeof(struct blob_route), 0},
		[BLOB_ALTERNATIVES] = {NULL, sizeof(struct blob_alternative), 0},
		[BLOB_TEXT] = {draft->text, 1, draft->n_text},
	};
	uint64_t size = sizeof(*header);
	char *mem = calloc(1, sizeof(*header) + sizeof(*draft) + sizeof(nothing) + 8 * BLOB_TABLES);

	need(mem, "out of memory");
	for (int i = 0; i < BLOB_TABLES; i++) {
		const uint64_t bytes = (uint64_t)tables[i].stride * tables[i].count;

		header->tables[i] = (struct blob_table){size, tables[i].stride, tables[i].count};
		if (bytes > 0)
			memcpy(mem + size, tables[i].data, bytes);
		size += (bytes + 7) / 8 * 8;
	}
	header->size = *ret_size = size;
	memcpy(mem, header, sizeof(*header));
	return mem;
}

void *blob_make(const struct policy_desc *desc, size_t *ret_size)
{
	const char *vendors[DESC_MAX + 1] = {NULL};
	struct draft *draft = calloc(1, sizeof(*draft));
	struct blob_header header = {
		.magic = BLOB_MAGIC,
		.abi = BLOB_ABI,
		.mode = mode_of(desc->shadow),
		.fingerprint = blob_fingerprint(),
		.generation = desc->generation ? desc->generation : 1,
		.hash_key = {0x0706050403020100, 0x0f0e0d0c0b0a0908},
	};
	struct blob blob;
	void *mem;

	need(draft, "out of memory");
	fill_draft(draft, desc, vendors);
	header.default_vendor = default_index(desc, vendors);
	mem = assemble(draft, &header, ret_size);
	free(draft);
	need(blob_open(mem, *ret_size, &blob), "the described policy is not usable");
	return mem;
}

/* --- a world --- */

static int policy_memfd(const struct policy_desc *desc, size_t *ret_size)
{
	void *mem = blob_make(desc, ret_size);
	int fd;

	need(memory_make_policy(mem, *ret_size, &fd) == 0, "no policy memfd");
	free(mem);
	return fd;
}

/* The epoch lies a little behind, as in a segment that has been in use. */
struct ration *world_make(const struct policy_desc *desc, uint32_t buckets, uint32_t workers)
{
	const struct seg_config config = {.buckets = buckets, .workers = workers};
	struct ration_error error = {""};
	struct ration *ration;
	size_t policy_size;
	const int policy = policy_memfd(desc, &policy_size);
	struct seg seg;
	int state;

	need(memory_make_state(&config, clock_boot_ns() - 1000000000, &state, &seg) == 0,
	     "no state memfd");
	check_watch(state, seg.size);
	shm_store(&seg.control->policy_generation, desc->generation ? desc->generation : 1);
	need(client_adopt(&seg, policy, policy_size, &ration, &error) == 0, "%s", error.text);
	close(policy);
	close(state);
	return ration;
}

void world_policy(struct ration *ration, const struct policy_desc *desc)
{
	size_t size;
	const int fd = policy_memfd(desc, &size);
	struct blob blob;
	bool installed = false;

	need(memory_map_policy(fd, size, &blob) == 0, "the policy cannot be mapped");
	close(fd);
	while (!installed) { /* readers may hold all views for a moment */
		if (atomic_flag_test_and_set(&ration->updating))
			continue;
		installed = policy_install(ration, &blob, UINT32_MAX);
		atomic_flag_clear(&ration->updating);
	}
	shm_store(&ration->seg.control->policy_generation, desc->generation);
}

void world_advance(struct ration *ration, uint64_t ns)
{
	ration->shift_ns += (int64_t)ns;
	check_advance(ns);
}

struct ration_handle *world_key(struct ration *ration, const char *tenant, const char *vendor,
				const char *account, const char *resource)
{
	const struct ration_key key = {tenant, vendor, "interactive", account, resource};
	struct ration_handle *handle;
	struct ration_error error = {""};
	const int result = ration_resolve(ration, &key, &handle, &error);

	need(result == 0, "resolve: %d, %s", result, error.text);
	return handle;
}

static uint32_t limit_index(const struct blob *blob, const char *name)
{
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		if (strcmp(blob_text(blob, blob->limits[i].name), name) == 0)
			return i;
	}
	need(false, "the policy has no limit %s", name);
	return 0;
}

struct bucket_state world_bucket(struct ration *ration, const struct ration_handle *handle,
				 const char *limit)
{
	const struct seg *seg = client_seg(ration);
	const struct blob *blob = client_blob(ration);
	struct stat_total *totals = calloc(seg->n_buckets, sizeof(*totals));
	struct bucket_state state = {0};
	struct bucket_ref ref = {0, 0};
	struct bucket_view view;

	need(totals, "out of memory");
	need(index_find(seg, client_identity(blob, limit_index(blob, limit), handle->field),
			&ref) == INDEX_FOUND,
	     "limit %s has no bucket for this key", limit);
	(void)bucket_look(&seg->hot[ref.bucket], ref.generation, 0, client_now(ration), &view);
	stat_collect(seg, totals);
	state.bucket = ref.bucket;
	state.left = bucket_left(&view, client_now(ration));
	state.admitted = totals[ref.bucket].admitted + shm_load(&seg->cold[ref.bucket].admitted);
	state.denied = totals[ref.bucket].denied + shm_load(&seg->cold[ref.bucket].denied);
	free(totals);
	return state;
}

void *shared_memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	need(mem != MAP_FAILED, "no shared memory");
	return mem;
}
