/*
 * policy/overlay.c - numbers that operators have set, over what is written
 * SPDX-License-Identifier: MIT
 *
 * Each is read as if it stood in a file of its own, so all that is checked of written numbers is checked of these, and
 * messages name the command.
 */
#include <string.h>

#include "policy/read.h"
#include "policy/scalar.h"

static bool same(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

static bool is_none(const char *name)
{
	return strcmp(name, "-") == 0;
}

static struct draft_limit *limit_of(struct compiler *c, const struct policy_overlay *overlay)
{
	for (uint32_t i = 0; i < c->limits.count; i++) {
		struct draft_limit *limit = c->limits.item[i];
		const bool here = is_none(overlay->vendor) ? limit->vendor == &c->all
							   : limit->vendor != &c->all &&
								     same(limit->vendor->named.name,
									  overlay->vendor);

		if (here && same(limit->named.name, overlay->limit))
			return limit;
	}
	return NULL;
}

static const char *key_of(const struct draft_limit *limit, const char *number)
{
	struct rate rate;

	if (scalar_rate(number, &rate))
		return "rate";
	if (limit->kind == KIND_SLOTS)
		return "slots";
	return limit->kind == KIND_BUCKET ? "burst" : "amount";
}

static struct source *source_of(struct compiler *c, const struct policy_overlay *overlay,
				const char *key)
{
	struct source *source = list_new(&c->sources, &c->arena, sizeof(*source));

	if (!source)
		return NULL;
	source->order = c->sources.count - 1;
	source->path = arena_printf(&c->arena, "set %s %s %s", overlay->tenant, overlay->vendor,
				    overlay->limit);
	source->text = key ? arena_printf(&c->arena, "%s: %s\n", key, overlay->number) : "";
	source->size = source->text ? strlen(source->text) : 0;
	return source->path && source->text ? source : NULL;
}

static void not_there(struct compiler *c, const struct policy_overlay *overlay)
{
	const struct source *source = source_of(c, overlay, NULL);

	if (source && !c->incomplete)
		notes_add(&c->notes, overlay->wanted ? POLICY_ERROR : POLICY_WARNING,
			  source_place(source), "the policy has no such limit");
}

static struct draft_owner *tenant_of(struct compiler *c, const char *name, const struct node *at)
{
	struct draft_owner *tenant;

	for (uint32_t i = 0; i < c->tenants.count; i++) {
		tenant = c->tenants.item[i];
		if (same(tenant->named.name, name))
			return tenant;
	}
	tenant = list_new(&c->tenants, &c->arena, sizeof(*tenant));
	if (tenant)
		tenant->named = (struct named){arena_copy(&c->arena, name, strlen(name)), at};
	return tenant;
}

static struct draft_override *override_of(struct compiler *c, struct draft_owner *tenant,
					  const struct policy_overlay *overlay,
					  const struct node *at)
{
	const char *vendor = is_none(overlay->vendor) ? ALL_VENDORS : overlay->vendor;
	struct draft_override *override;
	struct node *vendor_at;

	for (uint32_t i = 0; i < tenant->overrides.count; i++) {
		override = tenant->overrides.item[i];
		if (same(override->vendor_at->text, vendor) &&
		    same(override->limit_name.name, overlay->limit))
			return override;
	}
	override = list_new(&tenant->overrides, &c->arena, sizeof(*override));
	vendor_at = arena_alloc(&c->arena, sizeof(*vendor_at));
	if (!override || !vendor_at)
		return NULL;
	*vendor_at = (struct node){.place = at->place,
				   .text = arena_copy(&c->arena, vendor, strlen(vendor)),
				   .size = (uint32_t)strlen(vendor),
				   .kind = NODE_TEXT};
	override->owner = tenant;
	override->vendor_at = vendor_at;
	override->limit_name =
		(struct named){arena_copy(&c->arena, overlay->limit, strlen(overlay->limit)), at};
	return override;
}

/* What was written stays where nothing was set. */
static void replace(struct written *written, struct written *set)
{
	written_inherit(set, written);
	*written = *set;
}

static void lay_one(struct compiler *c, const struct policy_overlay *overlay,
		    struct draft_limit *limit)
{
	const struct source *source = source_of(c, overlay, key_of(limit, overlay->number));
	const struct node *root = source ? tree_parse(source, &c->notes, &c->nodes_left) : NULL;
	struct written set = {.period_ns = 0};
	struct draft_override *override;
	struct draft_owner *tenant;

	if (!root)
		return;
	read_override_numbers(c, root, &set);
	if (is_none(overlay->tenant)) {
		limit->flags |= LIMIT_SET;
		replace(&limit->written, &set);
		return;
	}
	tenant = tenant_of(c, overlay->tenant, root);
	override = tenant ? override_of(c, tenant, overlay, root) : NULL;
	if (!override)
		return;
	override->set = true;
	replace(&override->written, &set);
}

void lay_over(struct compiler *c)
{
	for (size_t i = 0; i < c->n_overlays; i++) {
		struct draft_limit *limit = limit_of(c, &c->overlays[i]);

		if (limit)
			lay_one(c, &c->overlays[i], limit);
		else
			not_there(c, &c->overlays[i]);
	}
}
