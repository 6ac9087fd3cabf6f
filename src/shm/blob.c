/*
 * shm/blob.c - opening a compiled policy and finding things in it
 * SPDX-License-Identifier: MIT
 */
#include "shm/blob.h"

#include <string.h>

#include "shm/chain.h"

static const uint32_t strides[BLOB_TABLES] = {
	[BLOB_CLASSES] = sizeof(struct blob_class),
	[BLOB_VENDORS] = sizeof(struct blob_vendor),
	[BLOB_CHAIN] = sizeof(uint32_t),
	[BLOB_LIMITS] = sizeof(struct blob_limit),
	[BLOB_TENANTS] = sizeof(struct blob_tenant),
	[BLOB_OVERRIDES] = sizeof(struct blob_override),
	[BLOB_TEXT] = 1,
};

uint64_t blob_fingerprint(void)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ BLOB_ABI;

	for (int i = 0; i < BLOB_TABLES; i++)
		hash = hash * UINT64_C(0x100000001b3) ^ strides[i];
	return hash * UINT64_C(0x100000001b3) ^ sizeof(struct blob_header);
}

static bool table_ok(const struct blob_table *table, uint32_t stride, uint64_t size)
{
	return table->stride == stride && table->offset % 8 == 0 && table->offset <= size &&
	       table->count <= (size - table->offset) / stride;
}

static bool header_ok(const struct blob_header *header, uint64_t size)
{
	if (memcmp(header->magic, BLOB_MAGIC, sizeof(header->magic)) != 0)
		return false;
	if (header->abi != BLOB_ABI || header->fingerprint != blob_fingerprint())
		return false;
	if (header->size != size || header->mode > MODE_SHADOW || header->generation == 0)
		return false;
	for (int i = 0; i < BLOB_TABLES; i++) {
		if (!table_ok(&header->tables[i], strides[i], size))
			return false;
	}
	return header->tables[BLOB_CLASSES].count <= CLASSES_MAX;
}

static const void *table_of(const struct blob_header *header, enum blob_table_id id)
{
	return (const char *)header + header->tables[id].offset;
}

/* --- each reference leads somewhere, each run stays in its table, names are in order --- */

struct bounds {
	uint32_t text, chain, overrides;
};

static bool run_ok(uint32_t first, uint32_t count, uint32_t total)
{
	return first <= total && count <= total - first;
}

static bool names_ascend(const struct blob *blob, uint32_t before, uint32_t name)
{
	return strcmp(blob->text + before, blob->text + name) < 0;
}

static bool vendors_ok(const struct blob *blob, const struct bounds *bounds)
{
	for (uint32_t i = 0; i < blob->n_vendors; i++) {
		const struct blob_vendor *v = &blob->vendors[i];

		if (v->name >= bounds->text || v->chain_count > RATION_LINKS_MAX ||
		    !run_ok(v->chain_first, v->chain_count, bounds->chain))
			return false;
		if (i > 0 && !names_ascend(blob, v[-1].name, v->name))
			return false;
	}
	for (uint32_t i = 0; i < bounds->chain; i++) {
		if (blob->chain[i] >= blob->n_limits)
			return false;
	}
	return true;
}

static bool limits_ok(const struct blob *blob, const struct bounds *bounds)
{
	if (blob->n_limits >= LINK_LIMITS_MAX)
		return false;
	for (uint32_t i = 0; i < blob->n_limits; i++) {
		const struct blob_limit *l = &blob->limits[i];

		if (l->name >= bounds->text || l->vendor >= bounds->text || l->unit >= bounds->text)
			return false;
		if (l->kind != KIND_BUCKET)
			return false;
	}
	return true;
}

static bool overrides_ok(const struct blob *blob, const struct blob_tenant *t)
{
	const struct blob_override *run = blob->overrides + t->override_first;

	for (uint32_t i = 0; i < t->override_count; i++) {
		if (run[i].limit >= blob->n_limits || (i > 0 && run[i - 1].limit >= run[i].limit))
			return false;
	}
	return true;
}

static bool tenants_ok(const struct blob *blob, const struct bounds *bounds)
{
	for (uint32_t i = 0; i < blob->n_tenants; i++) {
		const struct blob_tenant *t = &blob->tenants[i];

		if (t->name >= bounds->text || t->plan >= bounds->text ||
		    !run_ok(t->override_first, t->override_count, bounds->overrides))
			return false;
		if (i > 0 && !names_ascend(blob, t[-1].name, t->name))
			return false;
		if (!overrides_ok(blob, t))
			return false;
	}
	return true;
}

static bool contents_ok(const struct blob *blob)
{
	const struct blob_header *header = blob->header;
	const struct bounds bounds = {
		.text = header->tables[BLOB_TEXT].count,
		.chain = header->tables[BLOB_CHAIN].count,
		.overrides = header->tables[BLOB_OVERRIDES].count,
	};

	if (bounds.text == 0 || blob->text[0] != '\0' || blob->text[bounds.text - 1] != '\0')
		return false;
	for (uint32_t i = 0; i < blob->n_classes; i++) {
		if (blob->classes[i].name >= bounds.text)
			return false;
	}
	if (header->default_vendor != BLOB_NO_INDEX && header->default_vendor >= blob->n_vendors)
		return false;
	return limits_ok(blob, &bounds) && vendors_ok(blob, &bounds) && tenants_ok(blob, &bounds);
}

bool blob_open(const void *mem, uint64_t size, struct blob *ret_blob)
{
	const struct blob_header *header = mem;
	struct blob blob;

	if (size < sizeof(*header) || !header_ok(header, size))
		return false;
	blob = (struct blob){
		.header = header,
		.classes = table_of(header, BLOB_CLASSES),
		.vendors = table_of(header, BLOB_VENDORS),
		.chain = table_of(header, BLOB_CHAIN),
		.limits = table_of(header, BLOB_LIMITS),
		.tenants = table_of(header, BLOB_TENANTS),
		.overrides = table_of(header, BLOB_OVERRIDES),
		.text = table_of(header, BLOB_TEXT),
		.n_classes = header->tables[BLOB_CLASSES].count,
		.n_vendors = header->tables[BLOB_VENDORS].count,
		.n_limits = header->tables[BLOB_LIMITS].count,
		.n_tenants = header->tables[BLOB_TENANTS].count,
	};
	if (!contents_ok(&blob))
		return false;
	*ret_blob = blob;
	return true;
}

/* --- finding --- */

uint32_t blob_find_class(const struct blob *blob, const char *name)
{
	for (uint32_t i = 0; i < blob->n_classes; i++) {
		if (strcmp(blob_text(blob, blob->classes[i].name), name) == 0)
			return i;
	}
	return BLOB_NO_INDEX;
}

/* Tables in name order whose records begin with the name's offset. */
static uint32_t find_name(const struct blob *blob, const void *table, uint32_t stride,
			  uint32_t count, const char *name)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const uint32_t *offset =
			(const void *)((const char *)table + (size_t)middle * stride);
		const int order = strcmp(blob_text(blob, *offset), name);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return BLOB_NO_INDEX;
}

uint32_t blob_find_vendor(const struct blob *blob, const char *name)
{
	const uint32_t found =
		find_name(blob, blob->vendors, sizeof(*blob->vendors), blob->n_vendors, name);

	return found != BLOB_NO_INDEX ? found : blob->header->default_vendor;
}

uint32_t blob_find_tenant(const struct blob *blob, const char *name)
{
	return find_name(blob, blob->tenants, sizeof(*blob->tenants), blob->n_tenants, name);
}

const struct blob_numbers *blob_numbers_for(const struct blob *blob, uint32_t limit,
					    uint32_t tenant)
{
	if (tenant != BLOB_NO_INDEX) {
		const struct blob_tenant *t = &blob->tenants[tenant];

		for (uint32_t i = 0; i < t->override_count; i++) {
			const struct blob_override *o = &blob->overrides[t->override_first + i];

			if (o->limit == limit)
				return &o->numbers;
		}
	}
	return &blob->limits[limit].numbers;
}
