/*
 * shm/blob.h - a compiled policy, as workers read it
 * SPDX-License-Identifier: MIT
 *
 * One generation of a policy is one immutable block of memory: made by the policy compiler, sealed
 * against every write, and only then shown to workers. So it is checked once, when it is opened,
 * and trusted from then on.
 *
 *	header | classes | vendors | runs | links | limits | tenants | overrides | rules | zones |
 *	changes | principals | routes | alternatives | text
 *
 * Everything is found by index or by binary search; names are offsets of terminated strings in
 * `text`, and offset 0 is the empty string. The path of an acquire never reads it: resolving copies
 * what it needs.
 */
#ifndef RATION_SHM_BLOB_H
#define RATION_SHM_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/bucket.h"
#include "shm/calendar.h"

#define BLOB_MAGIC "RATIONPO"
#define BLOB_ABI   3u

#define CLASSES_MAX 8u

struct blob_table {
	uint64_t offset; /* from the start of the blob, 8-byte aligned */
	uint32_t stride;
	uint32_t count;
};

enum blob_table_id {
	BLOB_CLASSES,      /* struct blob_class, most protected first */
	BLOB_VENDORS,      /* struct blob_vendor, by name (byte order) */
	BLOB_RUNS,         /* struct blob_run: for each vendor one a class, in that order */
	BLOB_LINKS,        /* struct blob_link: the chains, run by run */
	BLOB_LIMITS,       /* struct blob_limit: as written, then those derived for classes */
	BLOB_TENANTS,      /* struct blob_tenant, by name (byte order) */
	BLOB_OVERRIDES,    /* struct blob_override, one run for each tenant or plan, by limit */
	BLOB_RULES,        /* struct blob_rule: modes */
	BLOB_ZONES,        /* struct blob_zone */
	BLOB_CHANGES,      /* struct calendar_change, one run for each zone */
	BLOB_PRINCIPALS,   /* struct blob_principal: who may claim a class, one run for each */
	BLOB_ROUTES,       /* struct blob_route, by name (byte order); none is a vendor's name */
	BLOB_ALTERNATIVES, /* struct blob_alternative, one run for each route, most wanted first */
	BLOB_TEXT,         /* char */
	BLOB_TABLES,
};

/*
 * When what is enforced: of a run of rules the first whose time of day it is. deny: bit mask of the classes that it
 * denies (enforce: all, shadow: none, soft: some). Times in seconds after midnight; from > until passes midnight.
 */
struct blob_rule {
	uint32_t deny;
	uint32_t from;
	uint32_t until; /* 86400: to the end of the day */
	uint32_t zone;  /* index, or BLOB_NO_INDEX: UTC */
};

struct blob_rules {
	uint32_t first;
	uint32_t count; /* 0: enforce */
};

#define BLOB_NO_INDEX UINT32_MAX

struct blob_header {
	char magic[8];
	uint32_t abi;
	uint32_t reserved0;
	uint64_t fingerprint; /* sizes of the structs below */
	uint64_t size;
	uint64_t generation;     /* 1, 2, ... */
	uint64_t hash_key[2];    /* of identities; the same in every generation */
	uint32_t default_vendor; /* index, or BLOB_NO_INDEX */
	uint32_t reserved1;
	struct blob_rules mode; /* of the whole policy */
	struct blob_table tables[BLOB_TABLES];
};

/* How requests of a class are tried again. */
struct blob_retry {
	uint32_t attempts;   /* the first included; 1: none */
	uint32_t budget_ppm; /* millionths of a retry that a first try earns */
	uint64_t total_ns;   /* for all of them */
	uint64_t base_ns;    /* the first wait is at most this, and the bound doubles each time, */
	uint64_t cap_ns;     /* up to this */
};

struct blob_class {
	uint32_t name;
	uint32_t owner; /* texts for people; 0 (empty): none */
	uint32_t purpose;
	uint32_t fallback;
	uint32_t never_with; /* bit mask of classes */
	uint32_t queue;      /* most that may wait for one bucket; 0: as many as there are places */
	struct blob_rules mode;
	struct blob_retry retry;
	uint32_t principal_first; /* who may claim it */
	uint32_t principal_count; /* 0: everybody */
};

struct blob_principal {
	uint32_t group; /* 1: id is a group's; 0: a user's */
	uint32_t id;
};

/* When a tenant's requests to a vendor are stopped, and for how long. */
struct blob_breaker {
	uint64_t window_ns; /* 0: never */
	uint64_t open_ns;
	uint32_t share_ppm; /* of the responses of the last window that were limited */
	uint32_t least;     /* responses */
};

struct blob_vendor {
	uint32_t name;
	uint32_t reserved;
	uint64_t delay_ns;      /* how long a permit is good */
	uint64_t clock_skew_ns; /* how wrong the vendor's clock may be: windows */
	uint64_t max_block_ns;  /* no block is longer */
	struct blob_breaker breaker;
};

/* The chain of a vendor for a class: BLOB_RUNS[vendor * n_classes + class]. */
struct blob_run {
	uint32_t first; /* in BLOB_LINKS */
	uint32_t count; /* 0 ... RATION_LINKS_MAX */
};

struct blob_link {
	uint32_t limit; /* index */
	uint32_t flags; /* LINK_BACKING, LINK_OR, LINK_RELEASED (take.h) */
};

struct blob_zone {
	uint32_t name;
	uint32_t change_first;
	uint32_t change_count;
	int32_t first_offset;
};

/*
 * The numbers of one limit, effective and as written (for people, `explain` and `check`).
 *
 *	kind		effective	amount, period_ns	burst		by_class[k]
 *	bucket		bucket_pack	rate			burst		units class k must leave when not backed
 *	window		window_pack	amount, length		-		units class k must leave
 *	rolling		rolling_pack	amount, period		-		the same
 *	slots		slots_pack	slots, -		-		BLOB_RANGE: its own slots
 */
struct blob_numbers {
	uint64_t effective; /* after share, margin and delay; stamp 0 */
	uint64_t amount;
	uint64_t period_ns;
	uint64_t burst;
	uint32_t margin_ppm; /* parts per million taken off */
	uint32_t share_ppm;  /* parts per million of the vendor's quota that are this host's */
	uint64_t delay_ns;
	uint64_t max_debt; /* units; 0: an hour's worth, or the burst where that is more */
	uint64_t by_class[CLASSES_MAX];
};

/* [ceiling 16 | shared first 16 | own count 16 | own first 16], see enum slots_shape. */
#define BLOB_RANGE(own_first, own_count, shared_first, ceiling)                                    \
	((uint64_t)(ceiling) << 48 | (uint64_t)(shared_first) << 32 |                              \
	 (uint64_t)(own_count) << 16 | (uint64_t)(own_first))

#define LIMIT_HAS_DEFAULT_COST UINT32_C(1)
#define LIMIT_SET              UINT32_C(2) /* an operator has set its numbers */
#define LIMIT_PACED            UINT32_C(4)
#define LIMIT_CLAMP            UINT32_C(8)  /* oversize: clamp */
#define LIMIT_FIFO             UINT32_C(16) /* slots: in order of arrival, whatever the class */
#define LIMIT_ADOPTS           UINT32_C(32) /* learn: yes; the vendor's number instead of the policy's */
#define LIMIT_SEEKS            UINT32_C(64) /* learn: aimd; from its refusals alone */

/*
 * What a class may claim of a limit becomes a limit of its own, named "limit:class.guarantee" or
 * "limit:class.ceiling", of the same unit and scope; links put them together (take.h).
 */
enum limit_role {
	LIMIT_WRITTEN, /* stands in the file */
	LIMIT_GUARANTEE, /* of buckets: backs its class; of windows and rolling: the class's own part */
	LIMIT_CEILING,
};

struct blob_limit {
	uint32_t name;
	uint32_t vendor;    /* name of the vendor it stands under; 0 (empty): for all vendors */
	uint32_t unit;      /* name */
	uint32_t unit_hash; /* hash_unit() of it */
	uint32_t kind;      /* enum seg_kind */
	uint32_t scope;     /* RATION_SCOPE_* bits */
	uint32_t flags;
	uint32_t line;        /* in the policy file, for messages */
	uint32_t role;        /* enum limit_role */
	uint32_t parent;      /* derived ones: index of the limit as written; else its own */
	uint32_t class_index; /* derived ones: whose; else BLOB_NO_INDEX */
	uint32_t calendar;    /* windows: enum calendar_unit */
	uint32_t zone;        /* windows: index, or BLOB_NO_INDEX: UTC */
	uint32_t told; /* name by which the vendor speaks of it; 0 (empty): the limit's own */
	uint32_t reserved;
	/*
	 * Written by the supervisor, 0 from the compiler. A name that counts otherwise than in an earlier policy has other
	 * buckets (part of the identity), and those made before spent_until (ticks) begin spent: until then
	 * nobody knows what is left.
	 */
	uint32_t life;
	uint64_t spent_until;
	int64_t offset_ns; /* windows: they begin so much later than the calendar's */
	struct blob_rules mode;
	uint64_t default_cost;
	uint64_t hold_ns; /* slots: maximum hold */
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
	uint32_t set;   /* 1: an operator has set them */
	struct blob_numbers numbers;
};

/* A logical vendor: requests that name it go to one of its alternatives. */
struct blob_route {
	uint32_t name;
	uint32_t first; /* in BLOB_ALTERNATIVES */
	uint32_t count; /* 1 ... RATION_ALTERNATIVES_MAX */
	uint32_t line;  /* in the policy file, for messages */
};

#define BLOB_WEIGHT_MAX 1000000u

struct blob_alternative {
	uint32_t name;     /* "vendor/resource", or "vendor" */
	uint32_t vendor;   /* index */
	uint32_t resource; /* 0 (empty): the request's own */
	uint32_t weight;   /* 0, of all of a route: they are in order */
	uint32_t classes;  /* bit mask of those that may take it */
};

/* A checked view. Pointers into the blob. */
struct blob {
	const struct blob_header *header;
	const struct blob_class *classes;
	const struct blob_vendor *vendors;
	const struct blob_run *runs;
	const struct blob_link *links;
	const struct blob_limit *limits;
	const struct blob_tenant *tenants;
	const struct blob_override *overrides;
	const struct blob_rule *rules;
	const struct blob_zone *zones;
	const struct calendar_change *changes;
	const struct blob_principal *principals;
	const struct blob_route *routes;
	const struct blob_alternative *alternatives;
	const char *text;
	uint32_t n_classes;
	uint32_t n_vendors;
	uint32_t n_limits;
	uint32_t n_tenants;
	uint32_t n_routes;
};

uint64_t blob_fingerprint(void);

/* Checks every offset, index, order and string end. False: not a usable policy of this build. */
bool blob_open(const void *mem, uint64_t size, struct blob *ret_blob);

/* By name: index or BLOB_NO_INDEX. blob_find_vendor falls back to the default vendor, unless it is a route. */
uint32_t blob_find_class(const struct blob *blob, const char *name);
uint32_t blob_find_vendor(const struct blob *blob, const char *name);
uint32_t blob_find_tenant(const struct blob *blob, const char *name);
uint32_t blob_find_route(const struct blob *blob, const char *name);

/* The chain of a vendor for a class (indexes). */
static inline const struct blob_run *blob_chain(const struct blob *blob, uint32_t vendor,
						uint32_t class_index)
{
	return &blob->runs[(size_t)vendor * blob->n_classes + class_index];
}

/* The numbers that limit (an index) has for a tenant (an index, or BLOB_NO_INDEX). */
const struct blob_numbers *blob_numbers_for(const struct blob *blob, uint32_t limit,
					    uint32_t tenant);

/* The calendar of a window limit. */
struct calendar blob_calendar(const struct blob *blob, const struct blob_limit *limit);

/*
 * Which classes these rules deny at a wall clock time (ns since 1970), as a bit mask, and until
 * when that holds for sure (ns since 1970; INT64_MAX: for ever).
 */
uint32_t blob_denied(const struct blob *blob, const struct blob_rules *rules, int64_t wall_ns,
		     int64_t *ret_until);

static inline const char *blob_text(const struct blob *blob, uint32_t offset)
{
	return blob->text + offset;
}

#endif
