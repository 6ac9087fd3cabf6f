/*
 * shm/blob.h - a compiled policy, as workers read it
 * SPDX-License-Identifier: MIT
 *
 * One generation of a policy is one immutable block of memory: made by the policy compiler, sealed
 * against every write, and only then shown to workers. So it is checked once, when it is opened,
 * and trusted from then on.
 *
 *	header | classes | vendors | chain | limits | tenants | overrides | text
 *
 * Everything is found by index or by binary search; names are offsets of terminated strings in
 *`text`, and offset 0 is the empty string. The path of an acquire never reads it: resolving copies
 * what it needs.
 */
#ifndef RATION_SHM_BLOB_H
#define RATION_SHM_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/bucket.h"

#define BLOB_MAGIC "RATIONPO"
#define BLOB_ABI   1u

#define CLASSES_MAX 8u

enum blob_mode {
	MODE_ENFORCE,
	MODE_SHADOW,
};

struct blob_table {
	uint64_t offset; /* from the start of the blob, 8-byte aligned */
	uint32_t stride;
	uint32_t count;
};

enum blob_table_id {
	BLOB_CLASSES,   /* struct blob_class, most protected first */
	BLOB_VENDORS,   /* struct blob_vendor, by name (byte order) */
	BLOB_CHAIN,     /* uint32_t: limit indexes, one run for each vendor */
	BLOB_LIMITS,    /* struct blob_limit, as written in the file */
	BLOB_TENANTS,   /* struct blob_tenant, by name (byte order) */
	BLOB_OVERRIDES, /* struct blob_override, one run for each tenant or plan, by limit */
	BLOB_TEXT,      /* char */
	BLOB_TABLES,
};

#define BLOB_NO_INDEX UINT32_MAX

struct blob_header {
	char magic[8];
	uint32_t abi;
	uint32_t mode;        /* enum blob_mode of the whole policy */
	uint64_t fingerprint; /* sizes of the structs below */
	uint64_t size;
	uint64_t generation;     /* 1, 2, ... */
	uint64_t hash_key[2];    /* of identities; the same in every generation */
	uint32_t default_vendor; /* index, or BLOB_NO_INDEX */
	uint32_t reserved;
	struct blob_table tables[BLOB_TABLES];
};

struct blob_class {
	uint32_t name;
	uint32_t reserved;
};

struct blob_vendor {
	uint32_t name;
	uint32_t chain_first; /* run in BLOB_CHAIN: its own limits, then those for all vendors */
	uint32_t chain_count; /* 0 ... 16 */
	uint32_t reserved;
	uint64_t delay_ns; /* how long a permit is good */
};

/* The numbers of one limit, effective and as written (for people, `explain` and `check`). */
struct blob_numbers {
	bucket_numbers effective; /* after share, margin and delay */
	uint64_t amount;          /* as written: amount in period_ns */
	uint64_t period_ns;
	uint64_t burst;
	uint32_t margin_ppm; /* parts per million taken off */
	uint32_t share_ppm;  /* parts per million of the vendor's quota that are this host's */
	uint64_t delay_ns;
};

#define LIMIT_HAS_DEFAULT_COST UINT32_C(1)
/* An earlier policy had this name in another shape: new buckets start empty. */
#define LIMIT_STARTS_SPENT UINT32_C(2)

struct blob_limit {
	uint32_t name;
	uint32_t vendor;    /* name of the vendor it stands under; 0 (empty): for all vendors */
	uint32_t unit;      /* name */
	uint32_t unit_hash; /* hash_unit() of it */
	uint32_t kind;      /* enum seg_kind */
	uint32_t scope;     /* RATION_SCOPE_* bits */
	uint32_t flags;
	uint32_t line; /* in the policy file, for messages */
	uint64_t default_cost;
	struct blob_numbers numbers;
};

/* A tenant named in the policy: its overrides, those of its plan and its own already merged. */
struct blob_tenant {
	uint32_t name;
	uint32_t plan; /* name; 0: none */
	uint32_t override_first;
	uint32_t override_count;
};

struct blob_override {
	uint32_t limit; /* index */
	uint32_t reserved;
	struct blob_numbers numbers;
};

/* A checked view. Pointers into the blob. */
struct blob {
	const struct blob_header *header;
	const struct blob_class *classes;
	const struct blob_vendor *vendors;
	const uint32_t *chain;
	const struct blob_limit *limits;
	const struct blob_tenant *tenants;
	const struct blob_override *overrides;
	const char *text;
	uint32_t n_classes;
	uint32_t n_vendors;
	uint32_t n_limits;
	uint32_t n_tenants;
};

uint64_t blob_fingerprint(void);

/* Checks every offset, index, order and string end. False: not a usable policy of this build. */
bool blob_open(const void *mem, uint64_t size, struct blob *ret_blob);

/* By name: index or BLOB_NO_INDEX. blob_find_vendor falls back to the default vendor. */
uint32_t blob_find_class(const struct blob *blob, const char *name);
uint32_t blob_find_vendor(const struct blob *blob, const char *name);
uint32_t blob_find_tenant(const struct blob *blob, const char *name);

/* The numbers that limit (an index) has for a tenant (an index, or BLOB_NO_INDEX). */
const struct blob_numbers *blob_numbers_for(const struct blob *blob, uint32_t limit,
					    uint32_t tenant);

static inline const char *blob_text(const struct blob *blob, uint32_t offset)
{
	return blob->text + offset;
}

#endif
