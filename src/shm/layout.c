/*
 * shm/layout.c - making and opening a state segment
 * SPDX-License-Identifier: MIT
 */
#include "shm/layout.h"

#include <string.h>

/* There are never more names than lines. */
#define LINES_PER_NAME_HEAD 4u

static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * UINT64_C(0x100000001b3);
}

uint64_t seg_fingerprint(void)
{
	static const uint64_t facts[] = {
		SEG_ABI,
		SEC_COUNT,
		sizeof(struct seg_header),
		sizeof(struct seg_control),
		sizeof(struct seg_hot),
		sizeof(struct seg_cold),
		sizeof(struct seg_name_line),
		sizeof(struct seg_worker),
		sizeof(struct seg_region),
		sizeof(struct seg_extent),
		sizeof(struct seg_waiter),
		sizeof(struct seg_queue),
		sizeof(struct seg_contest),
		sizeof(struct seg_event),
		sizeof(struct seg_events),
		sizeof(struct seg_budget),
		offsetof(struct seg_header, sections),
		offsetof(struct seg_control, wall_offset),
		offsetof(struct seg_control, horizon),
		offsetof(struct seg_control, gates),
		offsetof(struct seg_control, bucket_hint),
		offsetof(struct seg_control, full),
		offsetof(struct seg_control, freed),
		offsetof(struct seg_control, unnamed),
		offsetof(struct seg_control, lines_freed),
		offsetof(struct seg_control, name_round),
		offsetof(struct seg_control, events_dropped),
		offsetof(struct seg_control, events),
		offsetof(struct seg_hot, numbers),
		offsetof(struct seg_hot, generation),
		offsetof(struct seg_hot, kind),
		offsetof(struct seg_hot, identity),
		offsetof(struct seg_cold, next),
		offsetof(struct seg_cold, scope),
		offsetof(struct seg_cold, names),
		offsetof(struct seg_cold, admitted),
		offsetof(struct seg_cold, denied),
		offsetof(struct seg_name_line, size),
		offsetof(struct seg_name_line, hash),
		offsetof(struct seg_name_line, text),
		offsetof(struct seg_worker, claim),
		offsetof(struct seg_worker, policy_generation),
		offsetof(struct seg_waiter, arrival),
		offsetof(struct seg_waiter, wake_at),
		offsetof(struct seg_waiter, futex),
		offsetof(struct seg_events, told),
		offsetof(struct seg_events, cell),
		STAT_CELLS,
		TICKS_PER_NS,
	};
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		hash = mix(hash, facts[i]);
	return hash;
}

static uint32_t power_of_two_above(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p <<= 1;
	return p;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Fill in the sections and return the whole size. Each begins on a page of its own. */
static uint64_t plan(const struct seg_config *config, struct seg_section sections[SEC_COUNT])
{
	const uint32_t heads = power_of_two_above(config->buckets);
	const uint32_t name_heads = power_of_two_above(config->extents / LINES_PER_NAME_HEAD);
	const struct seg_section wanted[SEC_COUNT] = {
		[SEC_CONTROL] = {0, sizeof(struct seg_control), 1},
		[SEC_HEADS] = {0, sizeof(shm_word), heads},
		[SEC_HOT] = {0, sizeof(struct seg_hot), config->buckets},
		[SEC_COLD] = {0, sizeof(struct seg_cold), config->buckets},
		[SEC_NAME_HEADS] = {0, sizeof(shm_word), name_heads},
		[SEC_WORKERS] = {0, sizeof(struct seg_worker), config->workers},
		[SEC_REGIONS] = {0, sizeof(struct seg_region), config->workers},
		[SEC_EXTENTS] = {0, sizeof(struct seg_extent), config->extents},
		[SEC_EXTENT_OWNERS] = {0, sizeof(shm_half), config->extents},
		[SEC_QUEUES] = {0, sizeof(struct seg_queue), config->queues},
		[SEC_CONTESTS] = {0, sizeof(struct seg_contest), SEG_CONTESTS},
		[SEC_EVENTS] = {0, sizeof(struct seg_events), config->workers},
		[SEC_BUDGETS] = {0, sizeof(struct seg_budget), SEG_BUDGETS},
	};
	uint64_t offset = SEG_PAGE;

	for (int i = 0; i < SEC_COUNT; i++) {
		sections[i] = wanted[i];
		sections[i].offset = offset;
		offset += round_up((uint64_t)wanted[i].stride * wanted[i].count, SEG_PAGE);
	}
	return offset;
}

static bool config_ok(const struct seg_config *config)
{
	return config->buckets >= 1 && config->buckets <= SEG_BUCKETS_MAX && config->workers >= 1 &&
	       config->workers <= SEG_WORKERS_MAX && config->extents >= 1 &&
	       config->extents <= SEG_EXTENTS_MAX && config->queues >= 1 &&
	       config->queues <= SEG_QUEUES_MAX && (config->queues & (config->queues - 1)) == 0;
}

static struct seg_config completed(const struct seg_config *config)
{
	struct seg_config whole = *config;

	if (whole.extents == 0 && whole.buckets <= SEG_BUCKETS_MAX)
		whole.extents = SEG_EXTENTS_DEFAULT(whole.buckets);
	if (whole.queues == 0)
		whole.queues = SEG_QUEUES_DEFAULT;
	return whole;
}

uint64_t seg_size(const struct seg_config *config)
{
	const struct seg_config whole = completed(config);
	struct seg_section sections[SEC_COUNT];

	return config_ok(&whole) ? plan(&whole, sections) : 0;
}

static void view(void *mem, uint64_t size, uint64_t epoch_ns,
		 const struct seg_section sections[SEC_COUNT], struct seg *ret_seg)
{
	char *base = mem;

	*ret_seg = (struct seg){
		.base = base,
		.size = size,
		.epoch_ns = epoch_ns,
		.control = (void *)(base + sections[SEC_CONTROL].offset),
		.heads = (void *)(base + sections[SEC_HEADS].offset),
		.hot = (void *)(base + sections[SEC_HOT].offset),
		.cold = (void *)(base + sections[SEC_COLD].offset),
		.name_heads = (void *)(base + sections[SEC_NAME_HEADS].offset),
		.workers = (void *)(base + sections[SEC_WORKERS].offset),
		.regions = (void *)(base + sections[SEC_REGIONS].offset),
		.extents = (void *)(base + sections[SEC_EXTENTS].offset),
		.extent_owners = (void *)(base + sections[SEC_EXTENT_OWNERS].offset),
		.queues = (void *)(base + sections[SEC_QUEUES].offset),
		.contests = (void *)(base + sections[SEC_CONTESTS].offset),
		.events = (void *)(base + sections[SEC_EVENTS].offset),
		.budgets = (void *)(base + sections[SEC_BUDGETS].offset),
		.n_heads = sections[SEC_HEADS].count,
		.n_buckets = sections[SEC_HOT].count,
		.n_name_heads = sections[SEC_NAME_HEADS].count,
		.n_workers = sections[SEC_WORKERS].count,
		.n_extents = sections[SEC_EXTENTS].count,
		.n_queues = sections[SEC_QUEUES].count,
	};
}

void seg_init(void *mem, const struct seg_config *config, uint64_t epoch_ns, struct seg *ret_seg)
{
	const struct seg_config whole = completed(config);
	struct seg_header *header = mem;

	memcpy(header->magic, SEG_MAGIC, sizeof(header->magic));
	header->abi = SEG_ABI;
	header->n_sections = SEC_COUNT;
	header->fingerprint = seg_fingerprint();
	header->size = plan(&whole, header->sections);
	header->epoch_ns = epoch_ns;
	view(mem, header->size, epoch_ns, header->sections, ret_seg);
	shm_store(&header->ready, SEG_READY); /* pairs with the load in seg_open() */
}

/*
 * The sections must be exactly those that this build plans for the counts the header names: nothing
 * else can be a segment of the same layout, and no arithmetic on offsets from shared memory is
 * needed.
 */
static bool geometry_ok(const struct seg_header *header, uint64_t size,
			struct seg_section ret_sections[SEC_COUNT])
{
	const struct seg_config config = {
		.buckets = header->sections[SEC_HOT].count,
		.workers = header->sections[SEC_WORKERS].count,
		.extents = header->sections[SEC_EXTENTS].count,
		.queues = header->sections[SEC_QUEUES].count,
	};

	if (!config_ok(&config) || plan(&config, ret_sections) != size || header->size != size)
		return false;
	return memcmp(ret_sections, header->sections, SEC_COUNT * sizeof(*ret_sections)) == 0;
}

enum seg_status seg_open(void *mem, uint64_t size, struct seg *ret_seg)
{
	const struct seg_header *header = mem;
	struct seg_section sections[SEC_COUNT];

	if (size < SEG_PAGE)
		return SEG_BAD_GEOMETRY;
	if (shm_load(&header->ready) != SEG_READY)
		return SEG_NOT_READY;
	if (memcmp(header->magic, SEG_MAGIC, sizeof(header->magic)) != 0)
		return SEG_NOT_OURS;
	if (header->abi != SEG_ABI || header->fingerprint != seg_fingerprint())
		return SEG_OTHER_LAYOUT;
	if (!geometry_ok(header, size, sections))
		return SEG_BAD_GEOMETRY;
	view(mem, size, header->epoch_ns, sections, ret_seg);
	return SEG_OK;
}
