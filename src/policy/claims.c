/*
 * policy/claims.c - which class claims what of a limit, and the links that come of it
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include <ration/ration.h>

#include "policy/draft.h"
#include "policy/read.h"
#include "shm/take.h"

/* --- is it said in a way that means something? --- */

struct claim_rule {
	const char *key;
	size_t offset;      /* in struct draft_claims */
	const char *bucket; /* what it must look like; NULL: there is none */
	enum claim_form bucket_form;
	const char *others;
};

#define COUNT_OR_PART "a count such as 10, or a percentage such as 10%"
#define RATE_OR_PART  "a rate such as 10/s, or a percentage such as 10%"

static const struct claim_rule claim_rules[] = {
	{"guarantee", offsetof(struct draft_claims, guarantee), RATE_OR_PART, CLAIM_RATE,
	 COUNT_OR_PART},
	{"ceiling", offsetof(struct draft_claims, ceiling), RATE_OR_PART, CLAIM_RATE,
	 COUNT_OR_PART},
	{"reserve", offsetof(struct draft_claims, reserve), COUNT_OR_PART, CLAIM_COUNT,
	 COUNT_OR_PART},
	{"burst", offsetof(struct draft_claims, burst), "a count such as 10", CLAIM_COUNT, NULL},
};

static const struct claim *claim_at(const struct draft_claims *claims, size_t offset)
{
	return (const void *)((const char *)claims + offset);
}

static bool form_ok(struct compiler *c, const struct draft_limit *limit,
		    const struct claim_rule *rule, const struct claim *claim)
{
	const bool bucket = limit->kind == KIND_BUCKET;
	const char *form = bucket ? rule->bucket : rule->others;
	const enum claim_form wanted = bucket ? rule->bucket_form : CLAIM_COUNT;
	const bool part = strcmp(rule->key, "burst") != 0;

	if (!claim->at)
		return true;
	if (claim->form == CLAIM_NONE)
		return false; /* said when it was read */
	if (!form)
		error_at(c, claim->at, "%s has no '%s'", kind_name(limit->kind), rule->key);
	else if (claim->form != wanted && !(part && claim->form == CLAIM_PART))
		node_expected(&c->notes, claim->at, form);
	else
		return true;
	return false;
}

/* In the order of classes, the guarantee of each first. */
static void derive(struct draft_limit *limit, const struct draft_claims *claims)
{
	if (limit->kind == KIND_SLOTS)
		return;
	if (claims->guarantee.at)
		limit->derived[limit->n_derived++] =
			(struct draft_derived){claims, LIMIT_GUARANTEE};
	if (claims->ceiling.at)
		limit->derived[limit->n_derived++] = (struct draft_derived){claims, LIMIT_CEILING};
}

/* Names of derived limits are names like others. */
static bool name_fits(struct compiler *c, const struct draft_limit *limit,
		      const struct draft_claims *claims)
{
	const size_t size =
		strlen(limit->named.name) + strlen(claims->class.name) + strlen(":.guarantee");

	if (size <= RATION_NAME_MAX)
		return true;
	error_at(c, claims->class.at,
		 "'%s:%s.guarantee' has %zu bytes: expected at most %d, by a shorter name of the "
		 "limit or the class",
		 limit->named.name, claims->class.name, size, RATION_NAME_MAX);
	return false;
}

static bool claims_ok(struct compiler *c, const struct draft_limit *limit,
		      const struct draft_claims *claims)
{
	const struct node *map = claims->class.at->next;
	bool ok = name_fits(c, limit, claims), any = map->kind != NODE_MAP;

	/* What is none, or misspelt, was complained of already. */
	for (const struct node *key = map->first; key && key->next; key = key->next->next)
		any |= key->kind != NODE_TEXT || strcmp(key->text, "burst") != 0;

	for (size_t i = 0; i < sizeof(claim_rules) / sizeof(claim_rules[0]); i++)
		ok &= form_ok(c, limit, &claim_rules[i], claim_at(claims, claim_rules[i].offset));
	if (!any && ok) {
		error_at(c, claims->class.at,
			 "class '%s' claims nothing: expected 'guarantee', 'ceiling' or 'reserve'",
			 claims->class.name);
		return false;
	}
	if (ok && claims->burst.at && !claims->guarantee.at && !claims->ceiling.at) {
		error_at(c, claims->burst.at, "a burst belongs to a guarantee or a ceiling");
		return false;
	}
	return ok;
}

static void unknown_class(struct compiler *c, const struct node *at)
{
	const char *names[CLASSES_MAX];

	if (c->incomplete)
		return;
	for (uint32_t i = 0; i < c->classes.count; i++)
		names[i] = ((const struct named *)c->classes.item[i])->name;
	error_at(c, at, "unknown class %s%s", node_found(&c->arena, at),
		 known_words(&c->arena, at->text, names, c->classes.count));
}

uint32_t find_class(struct compiler *c, const struct node *at)
{
	for (uint32_t i = 0; at->kind == NODE_TEXT && i < c->classes.count; i++) {
		if (strcmp(((const struct named *)c->classes.item[i])->name, at->text) == 0)
			return i;
	}
	if (at->kind == NODE_TEXT)
		unknown_class(c, at);
	else
		node_expected(&c->notes, at, "a class");
	return CLASSES_MAX;
}

void resolve_claims(struct compiler *c, struct draft_limit *limit)
{
	bool ok = true;

	if (limit->later || limit->claims.count == 0)
		return;
	if (limit->scope & RATION_SCOPE_CLASS) {
		error_at(c, limit->classes_at,
			 "each class has a bucket of its own where the scope contains 'class': it "
			 "has nothing to claim");
		limit->broken = true;
		return;
	}
	for (uint32_t i = 0; i < limit->claims.count; i++) {
		struct draft_claims *claims = limit->claims.item[i];

		claims->class_index = find_class(c, claims->class.at);
		if (claims->class_index == CLASSES_MAX) {
			ok = false;
		} else if (limit->of[claims->class_index]) {
			error_at(c, claims->class.at, "duplicate class '%s'", claims->class.name);
			ok = false;
		} else {
			limit->of[claims->class_index] = claims;
			ok &= claims_ok(c, limit, claims);
		}
	}
	for (uint32_t k = 0; ok && k < CLASSES_MAX; k++) {
		if (limit->of[k])
			derive(limit, limit->of[k]);
	}
	limit->broken |= !ok;
}

/* --- links --- */

/*
 * What stands before a limit in the chain of a class: its ceiling; its own part; what time has released of others' parts, since
 * that is what nobody keeps whole and a part of it would be left at the end; and last the limit itself, the
 * common part, which any cost of any class may still need.
 */
uint32_t links_of(const struct draft_limit *limit, uint32_t class_index,
		  struct blob_link links[DERIVED_MAX + 1])
{
	const bool bucket = limit->kind == KIND_BUCKET;
	uint32_t n = 0;

	for (int others = 0; others < 2; others++) {
		for (uint32_t i = 0; i < limit->n_derived; i++) {
			const struct draft_derived *d = &limit->derived[i];
			const bool guarantee = d->role == LIMIT_GUARANTEE;
			uint32_t flags = guarantee ? bucket ? LINK_BACKING : LINK_OR : 0;

			if ((d->claims->class_index != class_index) != others)
				continue;
			if (others && !(guarantee && limit->released))
				continue;
			links[n++] = (struct blob_link){
				limit->derived_index + i,
				flags | (others ? LINK_RELEASED : 0),
			};
		}
	}
	/* A ceiling binds whatever admits: it stands before all that may take another's place. */
	if (n > 1 && links[0].flags && !links[1].flags) {
		const struct blob_link guarantee = links[0];

		links[0] = links[1];
		links[1] = guarantee;
	}
	links[n++] = (struct blob_link){.limit = limit->index};
	return n;
}

static uint32_t count_links(const struct list *limits, uint32_t class_index)
{
	struct blob_link links[DERIVED_MAX + 1];
	uint32_t n = 0;

	for (uint32_t i = 0; i < limits->count; i++)
		n += links_of(limits->item[i], class_index, links);
	return n;
}

static void check_chain(struct compiler *c, const struct draft_vendor *vendor)
{
	const uint32_t limits = vendor->limits.count + c->all.limits.count;

	for (uint32_t k = 0; limits <= RATION_LINKS_MAX && k < c->classes.count; k++) {
		const uint32_t links =
			count_links(&vendor->limits, k) + count_links(&c->all.limits, k);

		if (links <= RATION_LINKS_MAX)
			continue;
		error_at(c, vendor->named.at,
			 "for class '%s', vendor '%s' has %u limits (with those for all vendors) "
			 "and %u guarantees and ceilings that count for that class: %u, expected "
			 "at most %d",
			 ((const struct named *)c->classes.item[k])->name, vendor->named.name,
			 limits, links - limits, links, RATION_LINKS_MAX);
		return;
	}
}

/* --- classes that must never compete --- */

static void check_apart(struct compiler *c, const struct draft_limit *limit, uint32_t a, uint32_t b)
{
	const struct draft_class *first = c->classes.item[a], *second = c->classes.item[b];
	const bool one = limit->of[a] && limit->of[a]->guarantee.at;
	const bool other = limit->of[b] && limit->of[b]->guarantee.at;

	if (one && other)
		return;
	error_at(c, limit->named.at,
		 "classes '%s' and '%s' must never compete ('never_with'), but share limit '%s': "
		 "expected a guarantee for %s, or 'class' in its scope",
		 first->named.name, second->named.name, limit->named.name,
		 one     ? arena_printf(&c->arena, "'%s' too", second->named.name)
		 : other ? arena_printf(&c->arena, "'%s' too", first->named.name)
			 : "each");
}

static void check_limit_apart(struct compiler *c, const struct draft_limit *limit)
{
	if (limit->later || limit->broken || limit->scope_broken ||
	    limit->scope & RATION_SCOPE_CLASS)
		return;
	for (uint32_t a = 0; a < c->classes.count; a++) {
		const struct draft_class *class = c->classes.item[a];

		for (uint32_t b = a + 1; b < c->classes.count; b++) {
			if (class->never_with >> b & 1)
				check_apart(c, limit, a, b);
		}
	}
}

/* --- windows that are shorter than what may arrive late --- */

static void check_guard(struct compiler *c, const struct draft_vendor *vendor,
			const struct draft_limit *limit)
{
	const uint64_t skew = vendor->written.value[WRITTEN_SKEW];
	const uint64_t delay = limit->written.value[WRITTEN_DELAY];

	if (limit->kind != KIND_WINDOW || limit->later || limit->broken || !limit->period_at ||
	    2 * skew + delay <= shortest_period(limit))
		return;
	error_at(c, limit->period_at,
		 "windows of vendor '%s' cannot be told apart: twice its clock_skew of %.6g ms and "
		 "its delay of %.6g ms come to more than %s",
		 vendor->named.name, (double)skew / 1e6, (double)delay / 1e6,
		 limit->period_at->text);
}

static void check_guards(struct compiler *c, const struct draft_vendor *vendor)
{
	for (uint32_t i = 0; i < vendor->limits.count; i++)
		check_guard(c, vendor, vendor->limits.item[i]);
	for (uint32_t i = 0; i < c->all.limits.count; i++)
		check_guard(c, vendor, c->all.limits.item[i]);
}

void check_layers(struct compiler *c)
{
	for (uint32_t i = 0; i < c->vendors.count; i++) {
		check_chain(c, c->vendors.item[i]);
		check_guards(c, c->vendors.item[i]);
	}
	for (uint32_t i = 0; i < c->limits.count; i++)
		check_limit_apart(c, c->limits.item[i]);
}
