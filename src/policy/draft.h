/*
 * policy/draft.h - a policy as it was written, between the YAML tree and the compiled blob
 * SPDX-License-Identifier: MIT
 *
 *	tree_parse() -> read_policy() -> resolve_policy() -> emit_policy()
 *
 * Each stage notes every error it can see and goes on with what is sound.
 */
#ifndef RATION_POLICY_DRAFT_H
#define RATION_POLICY_DRAFT_H

#include "policy/tree.h"
#include "shm/layout.h"

/* The numbers that defaults, vendors, limits, plans and tenants may write. */
enum written_field {
	WRITTEN_RATE,
	WRITTEN_BURST,
	WRITTEN_AMOUNT,
	WRITTEN_SLOTS,
	WRITTEN_MARGIN, /* ppm */
	WRITTEN_SHARE,  /* ppm */
	WRITTEN_DELAY,  /* ns */
	WRITTEN_SKEW,   /* ns */
	WRITTEN_COST,
	WRITTEN_DEBT,
	WRITTEN_HOLD,         /* ns */
	WRITTEN_LEARN,        /* LIMIT_ADOPTS, LIMIT_SEEKS or 0 */
	WRITTEN_MAX_BLOCK,    /* ns */
	WRITTEN_BREAK_WINDOW, /* ns; 0: there is no breaker */
	WRITTEN_BREAK_SHARE,  /* ppm */
	WRITTEN_BREAK_LEAST,
	WRITTEN_BREAK_OPEN, /* ns */
	WRITTEN_FIELDS,
};

struct written {
	const struct node *at[WRITTEN_FIELDS]; /* where; NULL: not written */
	uint64_t value[WRITTEN_FIELDS];
	uint64_t period_ns; /* of the rate */
	bool broken;        /* one of them could not be read */
};

/* Everything that has a name: first member of what follows. */
struct named {
	const char *name;
	const struct node *at;
};

/* --- times of day --- */

struct draft_zone {
	const char *name;
	const struct calendar_change *changes;
	uint32_t n_changes;
	int32_t first_offset;
	uint32_t index;        /* in the blob */
	uint32_t change_first; /* in the blob */
	bool unknown;          /* to this system: said once for each place */
};

/* One rule of a mode. */
struct draft_rule {
	uint32_t deny;           /* bit mask; of `soft` only once resolved */
	const struct node *soft; /* list of classes, or NULL */
	uint32_t from, until;    /* seconds after midnight */
	struct draft_zone *zone; /* NULL: UTC */
	const struct node *at;
};

struct draft_mode {
	const struct node *at; /* NULL: not written */
	struct list rules;     /* struct draft_rule; none: enforce */
	uint32_t first;        /* of its run in the blob */
	bool emitted;
};

/* --- classes --- */

struct draft_principal {
	bool group;
	uint32_t id;
};

struct draft_class {
	struct named named;
	const char *owner, *purpose, *fallback; /* NULL: not written */
	const struct node *never_with_at;       /* a list */
	uint32_t never_with;                    /* once resolved */
	uint32_t queue;
	struct blob_retry retry;
	const struct node *retry_at; /* NULL: the default of a class of this name */
	struct list principals;
	struct draft_mode mode;
};

/* --- vendors and limits --- */

struct draft_vendor {
	struct named named;
	struct written written;
	struct list uses;    /* const struct node: presets, in the order in which they are named */
	struct list limits;  /* struct draft_limit, as written */
	struct list by_name; /* the same, without duplicates */
};

/* How much a class may claim: a rate, a count of units or slots, or a part of the limit. */
enum claim_form {
	CLAIM_NONE,
	CLAIM_RATE,
	CLAIM_COUNT,
	CLAIM_PART, /* ppm of what share and margin leave of the limit */
};

struct claim {
	const struct node *at;
	enum claim_form form;
	uint64_t value;
	uint64_t period_ns; /* of a rate */
};

/* What a limit says about one class. */
struct draft_claims {
	struct named class; /* its name */
	struct claim guarantee, ceiling, reserve, burst;
	uint32_t class_index; /* once resolved */
};

/* What one class's claim becomes: a limit of its own, see enum limit_role. */
struct draft_derived {
	const struct draft_claims *claims;
	enum limit_role role;
};

enum { DERIVED_MAX = 2 * CLASSES_MAX };

struct draft_limit {
	struct named named;
	struct draft_vendor *vendor; /* c->all for limits of all vendors */
	const struct node
		*used_at; /* where a preset that has it is used; NULL: it is the policy's own */
	struct written written;
	const char *unit;
	const char *told; /* how the vendor calls it; NULL: as its name */
	const struct node *unit_at;
	enum seg_kind kind;
	uint32_t scope;    /* RATION_SCOPE_* bits */
	uint32_t flags;    /* LIMIT_* */
	uint32_t calendar; /* enum calendar_unit; windows, rolling: what `period` said */
	const struct node *period_at;
	uint64_t period_ns;
	const struct node *offset_at;
	uint64_t offset_ns;
	const struct node *zone_at;
	struct draft_zone *zone;
	bool released; /* windows: release: linear */
	struct draft_mode mode;

	const struct node *classes_at;
	struct list claims;                         /* struct draft_claims, as written */
	const struct draft_claims *of[CLASSES_MAX]; /* once resolved */
	struct draft_derived derived[DERIVED_MAX];
	uint32_t n_derived;

	struct blob_numbers numbers;
	struct blob_numbers *derived_numbers;
	uint32_t index;         /* in the blob */
	uint32_t derived_index; /* of the first derived one */
	bool later; /* of a kind that is not known: refused, and not looked at any further */
	bool scope_broken;
	bool broken; /* something beside its numbers could not be read */
};

/* Where the policy has it. */
static inline const struct node *limit_at(const struct draft_limit *limit)
{
	return limit->used_at ? limit->used_at : limit->named.at;
}

struct draft_owner;

/* One limit's other numbers, for a plan or a tenant. */
struct draft_override {
	const struct draft_owner *owner;
	const struct node *vendor_at; /* its text names the vendor; "limits": all vendors */
	struct named limit_name;
	struct written written;
	bool set;                  /* by an operator, over what is written */
	struct draft_limit *limit; /* once resolved */
	struct blob_numbers numbers;
	struct blob_numbers *derived_numbers; /* as many as the limit has */
};

/* A plan or a tenant. */
struct draft_owner {
	struct named named;
	const struct node *plan_at; /* tenants: NULL for none */
	struct draft_owner *plan;   /* once resolved */
	struct list overrides;      /* as written; once resolved: sound ones, by limit */
	uint32_t first;             /* of its run in the blob */
	uint32_t count;
	uint32_t text; /* plans: its name in the blob */
	bool used;     /* plans: by a tenant */
};

/* --- routes --- */

struct draft_alternative {
	const struct node *at;        /* all of it */
	const struct node *vendor_at; /* its text is the vendor's name alone */
	const char *resource;         /* NULL: the request's own */
	const struct node *weight_at; /* NULL: not written */
	uint32_t weight;
	const struct node *classes_at; /* a list, or NULL */
	uint32_t vendor;               /* once resolved: index */
	uint32_t classes;              /* bit mask */
};

struct draft_route {
	struct named named;
	struct list alternatives; /* struct draft_alternative, as written */
	const struct node *classes_at;
	uint32_t classes;
	bool broken; /* an alternative could not be read: what is missing proves nothing */
};

/* A file name or pattern to read. */
struct draft_include {
	const struct node *at;
};

/* Numbers that plans give to tenants with numbers of their own. */
enum { COPIES_MAX = 2000000 };

struct compiler {
	struct arena arena;
	struct notes notes;
	struct list sources;  /* struct source, in the order of reading */
	struct list includes; /* struct draft_include, in the order of reading */
	size_t bytes_left;
	size_t nodes_left;
	size_t copies_left;
	bool copies_refused;
	int unreadable;  /* -errno of the policy file itself */
	bool incomplete; /* a file or a part could not be read: a missing name proves nothing */

	const struct policy_overlay *overlays;
	size_t n_overlays;
	const struct node
		*adapters_at; /* a directory that comes before the presets that are shipped */
	struct list presets;  /* files of presets that were asked for, see presets.c */
	struct draft_mode mode;
	struct written defaults;
	struct list classes;     /* struct draft_class, most protected first */
	struct list vendors;     /* struct draft_vendor; once resolved: by name */
	struct draft_vendor all; /* holds the limits for all vendors together */
	struct list limits;      /* struct draft_limit, as written */
	uint32_t n_limits;       /* with those derived for classes, once resolved */
	struct list plans;       /* struct draft_owner; once resolved: by name */
	struct list tenants;
	struct list routes; /* struct draft_route; once resolved: by name */
	struct list zones;  /* struct draft_zone, as they were met */
};

#define error_at(c, node, ...) notes_add(&(c)->notes, POLICY_ERROR, (node)->place, __VA_ARGS__)
#define warn_at(c, node, ...)  notes_add(&(c)->notes, POLICY_WARNING, (node)->place, __VA_ARGS__)

/* The key under plans and tenants that stands for the top-level limits. */
#define ALL_VENDORS "limits"

/* files.c: the policy file, then everything it includes, read into the draft. */
void read_files(struct compiler *c, const char *path);

/* read.c: one file's tree. */
void read_policy(struct compiler *c, const struct node *root);

/* presets.c: published limits, for the vendors that use them. */
void use_presets(struct compiler *c);

/* overlay.c: what operators have set, over what is written. */
void lay_over(struct compiler *c);

/* zones.c: a time zone by its name in the system's data; NULL for UTC, or after an error was noted. */
struct draft_zone *zone_of(struct compiler *c, const struct node *name);

/* resolve.c: duplicates, references, numbers. */
void resolve_policy(struct compiler *c);
/* A vendor by its name: its index; BLOB_NO_INDEX after an error was noted. */
uint32_t find_vendor(struct compiler *c, const struct node *at);
/* A class by its name; CLASSES_MAX after an error was noted. */
uint32_t find_class(struct compiler *c, const struct node *at);

/* routes.c: what a route leads to; vendors and classes are resolved. */
void resolve_route(struct compiler *c, struct draft_route *route);

/* modes.c: the classes that soft modes name. */
void resolve_mode(struct compiler *c, struct draft_mode *mode);

/* numbers.c */
void written_inherit(struct written *written, const struct written *from);
void numbers_of_vendor(struct compiler *c, struct draft_vendor *vendor);
void numbers_of_limit(struct compiler *c, struct draft_limit *limit);
void numbers_of_override(struct compiler *c, const struct draft_limit *limit,
			 struct draft_override *override);

/* How long a permit of a vendor is good: as long as every limit it passed has made room for. */
uint64_t permit_delay(const struct compiler *c, const struct draft_vendor *vendor);

/* Of a window or rolling limit. */
uint64_t shortest_period(const struct draft_limit *limit);

/* `units` a period, packed: windows and rolling limits. 0: cannot be counted. */
uint64_t period_effective(const struct draft_limit *limit, const struct blob_numbers *numbers,
			  uint64_t units);

/* layers.c: what classes claim of a limit. */
void resolve_claims(struct compiler *c, struct draft_limit *limit);
/*
 * Numbers of the derived limits, and what they leave of the limit's own. at: where to complain; NULL: at the claims
 * themselves. False after an error was noted.
 */
bool claim_numbers(struct compiler *c, const struct draft_limit *limit, const struct node *at,
		   struct blob_numbers *numbers, struct blob_numbers *derived);
/* Classes that must never compete, chains that grow too long. */
void check_layers(struct compiler *c);

/* The chain of a vendor for a class, limit by limit. */
uint32_t links_of(const struct draft_limit *limit, uint32_t class_index,
		  struct blob_link ret_links[DERIVED_MAX + 1]);

/* warn.c: usable, but probably not meant. */
void warn_policy(struct compiler *c);

/* emit.c: 0 or -ENOMEM. */
int emit_policy(struct compiler *c, uint64_t generation, const uint64_t hash_key[2],
		struct policy *ret_policy);

/* policy_compile() with a bound on its memory. */
#define COMPILE_BUDGET (UINT64_C(1) << 30)
int compile_within(size_t budget, const char *path, uint64_t generation, const uint64_t hash_key[2],
		   policy_report *report, void *user, struct policy *ret_policy);

static inline bool limit_counts_requests(const struct draft_limit *limit)
{
	return __builtin_strcmp(limit->unit, "requests") == 0;
}

/* "a token bucket", "a window", ... */
const char *kind_name(enum seg_kind kind);

#endif
