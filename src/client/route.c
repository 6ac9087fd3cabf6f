/*
 * client/route.c - a choice between vendors, made anew for each request
 * SPDX-License-Identifier: MIT
 *
 * Nothing is remembered of a choice: whoever picks looks at the buckets and gates that admit, and draws. So no worker can
 * leave anything behind, all processes see the same at the same time, and what comes back to an alternative is as
 * gradual as its limits recover, or as a gate lets others in again.
 *
 * What a route leads to is read from the policy each time. A route keeps a handle for every alternative that it ever led
 * to: they are only ever added, and live until it is freed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/attachment.h"
#include "client/chance.h"

struct member {
	struct member *next;
	struct ration_handle *handle;
	char name[];
};

struct ration_route {
	struct ration *ration;
	struct ration_handle *key; /* never resolved: its texts */
	_Atomic(struct member *) members;
	char plain[RATION_NAME_MAX + 1 + RATION_KEY_MAX +
		   1]; /* its one alternative's name, if it is a plain vendor */
};

/* --- handles --- */

static struct member *find_member(const struct ration_route *route, const char *name)
{
	struct member *m = atomic_load_explicit(&route->members, memory_order_acquire);

	while (m && strcmp(m->name, name) != 0)
		m = m->next;
	return m;
}

/* Another thread may have been faster. */
static struct member *add_member(struct ration_route *route, struct member *made)
{
	struct member *found;

	made->next = atomic_load_explicit(&route->members, memory_order_acquire);
	do {
		found = find_member(route, made->name);
		if (found) {
			ration_handle_free(&made->handle);
			free(made);
			return found;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&route->members, &made->next, made, memory_order_acq_rel, memory_order_acquire));
	return made;
}

/* --- what it leads to just now --- */

struct option {
	const struct member *member;
	uint32_t weight; /* 0, of all: they are in order */
	size_t index;    /* in ask->only */
	struct asked asked;
	bool tried;
	uint32_t calm; /* once looked at */
};

struct picking {
	struct ration_route *route;
	const struct ration_ask *ask;
	struct ration_error *error;
	uint64_t chance;
	uint32_t n;
	struct option options[RATION_ALTERNATIVES_MAX];
	/* Of those that did not admit, the one that speaks for all; or the one that did. */
	int result;
	const struct option *picked;
	struct ration_denial denial;
	struct waiting waiting;
};

static uint64_t next_chance(struct picking *p)
{
	p->chance += CHANCE_STEP;
	return mixed(p->chance);
}

/* No system call, and another in each process, thread and call. */
static uint64_t seed_of(struct ration *ration, uint64_t now)
{
	return mixed(now ^ (uint64_t)atomic_fetch_add(&ration->waits, 1) * CHANCE_STEP) +
	       atomic_load(&ration->identity);
}

/* Where in `only` it is; false: nowhere. */
static bool is_asked_for(const struct ration_ask *ask, const char *name, size_t *ret_index)
{
	*ret_index = 0;
	for (size_t i = 0; ask->only && i < ask->n_only; i++) {
		*ret_index = i;
		if (strcmp(ask->only[i].name, name) == 0)
			return true;
	}
	return !ask->only;
}

/* NULL: p->result says why not. resource: "" for none of its own. */
static struct member *make_member(struct picking *p, const char *name, const char *vendor,
				  const char *resource)
{
	const char *const *field = p->route->key->field;
	const struct ration_key key = {
		.tenant = field[KEY_TENANT],
		.vendor = vendor,
		.traffic_class = field[KEY_CLASS],
		.account = field[KEY_ACCOUNT],
		.resource = resource[0] ? resource : field[KEY_RESOURCE],
	};
	struct member *member = malloc(sizeof(*member) + strlen(name) + 1);

	p->result = -ENOMEM;
	if (!member)
		return NULL;
	strcpy(member->name, name);
	p->result = ration_resolve(p->route->ration, &key, &member->handle, p->error);
	if (p->result == 0)
		return add_member(p->route, member);
	free(member);
	return NULL;
}

/* An alternative that cannot be had leaves the others. */
static void add_option(struct picking *p, const char *name, const char *vendor,
		       const char *resource, uint32_t weight)
{
	const struct ration_ask *ask = p->ask;
	const struct member *member;
	struct option *o;
	size_t index;

	if (!is_asked_for(ask, name, &index))
		return;
	member = find_member(p->route, name);
	if (!member)
		member = make_member(p, name, vendor, resource);
	if (!member)
		return;
	o = &p->options[p->n++];
	*o = (struct option){
		.member = member,
		.weight = weight,
		.index = index,
		.asked = {member->handle, ask->costs, ask->n_costs, p->chance | 1},
	};
	if (ask->only) {
		o->asked.costs = ask->only[index].costs;
		o->asked.n_costs = ask->only[index].n_costs;
	}
}

static void add_vendor(struct picking *p)
{
	const char *const *field = p->route->key->field;

	add_option(p, p->route->plain, field[KEY_VENDOR], field[KEY_RESOURCE], 0);
}

static int add_alternatives(struct picking *p, const struct blob *blob,
			    const struct blob_route *route)
{
	const char *class = p->route->key->field[KEY_CLASS];
	const uint32_t class_index = blob_find_class(blob, class);
	bool any = false;

	if (class_index == BLOB_NO_INDEX)
		return explain(p->error, RATION_ECLASS, "no class '%.63s' in the policy", class);
	for (uint32_t i = 0; i < route->count; i++) {
		const struct blob_alternative *a = &blob->alternatives[route->first + i];

		if (!(a->classes >> class_index & 1))
			continue;
		any = true;
		add_option(p, blob_text(blob, a->name),
			   blob_text(blob, blob->vendors[a->vendor].name),
			   blob_text(blob, a->resource), a->weight);
	}
	return any ? 0
		   : explain(p->error, -EACCES, "class '%.63s' may not take route '%.63s'", class,
			     blob_text(blob, route->name));
}

/* Some of it is large, and only written when it is needed. */
static void begin(struct picking *p, struct ration_route *route, const struct ration_ask *ask,
		  struct ration_error *error)
{
	p->route = route;
	p->ask = ask;
	p->error = error;
	p->n = 0;
	p->result = RATION_EVENDOR;
	p->picked = NULL;
}

/* 0: there is at least one. */
static int gather(struct picking *p)
{
	struct ration *ration = p->route->ration;
	const int ready = attachment_ready(ration);
	const uint64_t now = client_now(ration);
	const struct blob *blob;
	uint32_t route;
	int result = 0;

	if (ready != 0)
		return explain(p->error, ready, "%s", ration_strerror(ready));
	if (policy_moved(ration))
		policy_update(ration, now);
	begin(p, p->route, p->ask, p->error);
	p->chance = seed_of(ration, now);
	blob = policy_enter(ration);
	route = blob_find_route(blob, p->route->key->field[KEY_VENDOR]);
	if (route == BLOB_NO_INDEX)
		add_vendor(p);
	else
		result = add_alternatives(p, blob, &blob->routes[route]);
	policy_leave(ration);
	if (result != 0)
		return result;
	return p->n > 0 ? 0 : p->result;
}

/* --- picking --- */

/* The lower speaks for all: what can be had at once, later, never. */
static int rank(int result)
{
	switch (result) {
	case RATION_CONTENDED:
		return 0;
	case RATION_DENIED:
		return 1;
	case RATION_OVERSIZE:
		return 2;
	default:
		return 3;
	}
}

/*
 * Whoever waits stands in the line of the first that is to have room, but where nobody knows when that is there may be
 * room any time: there, and looks when the first is to have it.
 */
static void note_waiting(struct waiting *all, const struct waiting *waiting)
{
	const uint64_t first =
		waiting->retry_at < all->retry_at ? waiting->retry_at : all->retry_at;

	if (waiting->sooner != all->sooner ? waiting->sooner : first != all->retry_at)
		*all = *waiting;
	all->retry_at = first;
}

static void note_refusal(struct picking *p, const struct option *o, int result,
			 const struct ration_denial *denial, const struct waiting *waiting)
{
	const int order = p->picked ? rank(result) - rank(p->result) : -1;
	const bool denied = result == RATION_DENIED;
	const bool first = denied && order == 0 && waiting->retry_at < p->waiting.retry_at;

	if (denied && order < 0)
		p->waiting = *waiting;
	else if (denied && order == 0)
		note_waiting(&p->waiting, waiting);
	if (order > 0 || (order == 0 && !first))
		return;
	p->picked = o;
	p->result = result;
	if (denied || result == RATION_OVERSIZE)
		p->denial = *denial;
}

static bool try_option(struct picking *p, struct option *o, const struct queue_place *place,
		       struct ration_ticket *ticket)
{
	struct ration_denial denial;
	struct waiting waiting;
	const int result = client_acquire(&o->asked, place, ticket, &denial, &waiting);

	o->tried = true;
	if (result != 0) {
		note_refusal(p, o, result, &denial, &waiting);
		return false;
	}
	p->picked = o;
	p->result = 0;
	if (ticket->flags & RATION_TICKET_SHADOW)
		p->denial = denial;
	return true;
}

/* In order, each by the chance that it is as calm. */
static bool pick_in_order(struct picking *p, const struct queue_place *place,
			  struct ration_ticket *ticket)
{
	for (uint32_t i = 0; i < p->n; i++) {
		struct option *o = &p->options[i];

		o->calm = client_headroom(&o->asked, place);
		if (o->calm > chance_below(next_chance(p), HEADROOM_CALM) &&
		    try_option(p, o, place, ticket))
			return true;
	}
	return false;
}

static uint64_t share_of(const struct option *o)
{
	return o->tried ? 0 : (uint64_t)o->weight * o->calm;
}

static bool pick_by_weight(struct picking *p, const struct queue_place *place,
			   struct ration_ticket *ticket)
{
	for (uint32_t i = 0; i < p->n; i++)
		p->options[i].calm = client_headroom(&p->options[i].asked, place);
	for (;;) {
		struct option *o = p->options;
		uint64_t sum = 0, drawn;

		for (uint32_t i = 0; i < p->n; i++)
			sum += share_of(&p->options[i]);
		if (sum == 0)
			return false;
		drawn = chance_below(next_chance(p), sum);
		for (; drawn >= share_of(o); o++)
			drawn -= share_of(o);
		if (try_option(p, o, place, ticket))
			return true;
	}
}

static struct option *calmest(struct picking *p)
{
	struct option *found = NULL;

	for (uint32_t i = 0; i < p->n; i++) {
		struct option *o = &p->options[i];

		if (!o->tried && (!found || o->calm > found->calm))
			found = o;
	}
	return found;
}

static int pick(struct picking *p, const struct queue_place *place, struct ration_ticket *ticket)
{
	struct option *o;

	if (p->n > 1 && (p->options[0].weight ? pick_by_weight(p, place, ticket)
					      : pick_in_order(p, place, ticket)))
		return 0;
	while ((o = calmest(p))) {
		if (try_option(p, o, place, ticket))
			return 0;
	}
	return p->result;
}

/* As what is waited for. */
static int acquire_any(void *user, const struct queue_place *place, struct ration_ticket *ticket,
		       struct ration_denial *denial, struct waiting *waiting)
{
	struct picking *p = user;
	int result;

	ticket->owner = 0;
	result = gather(p);
	if (result != 0)
		return result;
	result = pick(p, place, ticket);
	if (denial && (result == RATION_DENIED || result == RATION_OVERSIZE ||
		       (result == 0 && ticket->flags & RATION_TICKET_SHADOW)))
		*denial = p->denial;
	if (waiting && result == RATION_DENIED)
		*waiting = p->waiting;
	return result;
}

static bool any_fits(void *user)
{
	struct picking *p = user;

	for (uint32_t i = 0; i < p->n; i++) {
		if (client_fits(&p->options[i].asked))
			return true;
	}
	return false;
}

static void tell_pick(const struct picking *p, struct ration_pick *ret_pick)
{
	if (p->picked)
		*ret_pick = (struct ration_pick){p->picked->member->name, p->picked->member->handle,
						 p->picked->index};
}

int ration_route(struct ration_route *route, const struct ration_ask *ask,
		 struct ration_pick *ret_pick, struct ration_ticket *ret_ticket,
		 struct ration_denial *ret_denial)
{
	struct picking p;
	int result;

	begin(&p, route, ask, NULL);
	result = acquire_any(&p, NULL, ret_ticket, ret_denial, NULL);
	if (result >= 0)
		tell_pick(&p, ret_pick);
	return result;
}

int ration_route_until(struct ration_route *route, const struct ration_ask *ask,
		       uint64_t deadline_ns, struct ration_pick *ret_pick,
		       struct ration_ticket *ret_ticket, struct ration_denial *ret_denial)
{
	struct picking p = {.route = route, .ask = ask};
	const struct wanted wanted = {acquire_any, any_fits, &p};
	const int result =
		client_acquire_until(route->ration, &wanted, deadline_ns, ret_ticket, ret_denial);

	if (result >= 0)
		tell_pick(&p, ret_pick);
	return result;
}

int ration_route_try(struct ration_route *route, const struct ration_ask *ask,
		     struct ration_wait *wait, struct ration_pick *ret_pick,
		     struct ration_ticket *ret_ticket, struct ration_denial *ret_denial)
{
	struct picking p;
	const struct wanted wanted = {acquire_any, any_fits, &p};
	int result;

	begin(&p, route, ask, NULL);
	result = client_wait_try(route->ration, &wanted, wait, ret_ticket, ret_denial);
	if (result >= 0)
		tell_pick(&p, ret_pick);
	return result;
}

/* --- routes --- */

int ration_route_alternative(struct ration_route *route, size_t n, struct ration_pick *ret_pick)
{
	static const struct ration_ask all;
	struct picking p;
	int result;

	begin(&p, route, &all, NULL);
	result = gather(&p);
	if (result != 0)
		return result < 0 ? result : -EAGAIN;
	if (n >= p.n)
		return -ENOENT;
	p.picked = &p.options[n];
	tell_pick(&p, ret_pick);
	return 0;
}

static void name_plain(struct ration_route *route)
{
	const char *const *field = route->key->field;

	snprintf(route->plain, sizeof(route->plain), "%s%s%s", field[KEY_VENDOR],
		 field[KEY_RESOURCE][0] ? "/" : "", field[KEY_RESOURCE]);
}

int ration_route_resolve(struct ration *ration, const struct ration_key *key,
			 struct ration_route **ret_route, struct ration_error *ret_error)
{
	static const struct ration_ask all;
	struct ration_route *route = calloc(1, sizeof(*route));
	struct picking p;
	int result;

	if (!route)
		return explain(ret_error, -ENOMEM, "out of memory");
	route->ration = ration;
	result = handle_make(ration, key, &route->key, ret_error);
	begin(&p, route, &all, ret_error);
	if (result == 0) {
		name_plain(route);
		result = gather(&p);
	}
	if (result != 0) {
		ration_route_free(&route);
		return result;
	}
	*ret_route = route;
	return 0;
}

void ration_route_free(struct ration_route **route)
{
	struct member *member, *next;

	if (!*route)
		return;
	for (member = atomic_load(&(*route)->members); member; member = next) {
		next = member->next;
		ration_handle_free(&member->handle);
		free(member);
	}
	ration_handle_free(&(*route)->key);
	free(*route);
	*route = NULL;
}
