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

/* The numbers that defaults, vendors, limits, plans and tenants may write. */
enum written_field {
	WRITTEN_RATE,
	WRITTEN_BURST,
	WRITTEN_MARGIN, /* ppm */
	WRITTEN_SHARE,  /* ppm */
	WRITTEN_DELAY,  /* ns */
	WRITTEN_COST,
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

struct draft_vendor {
	struct named named;
	struct written written;
	struct list limits;  /* struct draft_limit, as written */
	struct list by_name; /* the same, without duplicates */
};

struct draft_limit {
	struct named named;
	struct draft_vendor *vendor; /* c->all for limits of all vendors */
	struct written written;
	struct blob_numbers numbers;
	const char *unit;
	const struct node *unit_at;
	uint32_t scope; /* RATION_SCOPE_* bits */
	uint32_t index; /* in the blob */
	bool later; /* of a kind that is not supported yet: refused, and not looked at any further */
	bool scope_broken;
};

struct draft_owner;

/* One limit's other numbers, for a plan or a tenant. */
struct draft_override {
	const struct draft_owner *owner;
	const struct node *vendor_at; /* its text names the vendor; "limits": all vendors */
	struct named limit_name;
	struct written written;
	struct draft_limit *limit; /* once resolved */
	struct blob_numbers numbers;
};

/* A plan or a tenant. */
struct draft_owner {
	struct named named;
	const struct node *plan_at; /* tenants: NULL for none */
	struct draft_owner *plan;   /* once resolved */
	struct list overrides;      /* as written; once resolved: sound ones, by limit */
	uint32_t first;             /* of its run in the blob */
	uint32_t text;              /* plans: its name in the blob */
	bool used;                  /* plans: by a tenant */
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

	bool shadow; /* the whole policy denies nothing */
	struct written defaults;
	struct list classes;     /* struct named, most protected first */
	struct list vendors;     /* struct draft_vendor; once resolved: by name */
	struct draft_vendor all; /* holds the limits for all vendors together */
	struct list limits;      /* struct draft_limit, as written */
	struct list plans;       /* struct draft_owner; once resolved: by name */
	struct list tenants;
};

#define error_at(c, node, ...) notes_add(&(c)->notes, POLICY_ERROR, (node)->place, __VA_ARGS__)
#define warn_at(c, node, ...)  notes_add(&(c)->notes, POLICY_WARNING, (node)->place, __VA_ARGS__)

/* The key under plans and tenants that stands for the top-level limits. */
#define ALL_VENDORS "limits"

/* files.c: the policy file, then everything it includes, read into the draft. */
void read_files(struct compiler *c, const char *path);

/* read.c: one file's tree. */
void read_policy(struct compiler *c, const struct node *root);

/* resolve.c: duplicates, references, numbers. */
void resolve_policy(struct compiler *c);

/* numbers.c */
void written_inherit(struct written *written, const struct written *from);
void numbers_of_vendor(struct compiler *c, struct draft_vendor *vendor);
void numbers_of_limit(struct compiler *c, struct draft_limit *limit);
void numbers_of_override(struct compiler *c, const struct draft_limit *limit,
			 struct draft_override *override);

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

#endif
