/*
 * client/acquire.c - the path of every request
 * SPDX-License-Identifier: MIT
 *
 * No system call, no lock, no allocation: one clock read, and what shm/chain.h says. Everything
 * rare (a fork, a new policy, a record's new life) is noticed by comparing one word each.
 */
#include <errno.h>
#include <string.h>

#include "client/attachment.h"
#include "client/memory.h"
#include "shm/stat.h"

/* Costs with hashed units; one place more for the request itself. */
struct costs {
	uint32_t n;
	struct charge charge[RATION_LINKS_MAX + 1];
};

static bool names_unit(const struct costs *costs, uint32_t unit)
{
	for (uint32_t i = 0; i < costs->n; i++) {
		if (costs->charge[i].unit == unit)
			return true;
	}
	return false;
}

/* FNV-1a of "requests"; a test compares it with hash_unit(). */
#define UNIT_REQUESTS UINT32_C(0x66ad5ad3)

static bool read_costs(const struct ration_cost *given, size_t n, struct costs *costs)
{
	if (n > RATION_LINKS_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint32_t unit;

		if (!given[i].unit || given[i].amount > RATION_COST_MAX)
			return false;
		unit = hash_unit(given[i].unit);
		if (names_unit(costs, unit))
			return false;
		costs->charge[costs->n++] = (struct charge){unit, given[i].amount};
	}
	return true;
}

/* A request costs one of "requests" unless its costs say otherwise. */
static void add_request(struct costs *costs)
{
	if (!names_unit(costs, UNIT_REQUESTS))
		costs->charge[costs->n++] = (struct charge){UNIT_REQUESTS, 1};
}

static uint64_t boot_ns_at(const struct ration *ration, uint64_t ticks)
{
	const uint64_t ns = ticks / TICKS_PER_NS + (ticks % TICKS_PER_NS != 0);

	return ns + ration->seg.epoch_ns - (uint64_t)ration->shift_ns;
}

static uint64_t clock_ticks(void *user)
{
	return client_now(user);
}

enum prepared {
	LOOKED,      /* and every link admits */
	PREPARED,    /* some link does not, or not in the usual way */
	NO_UNIT,     /* a limit counts what the costs do not name */
	OUT_OF_DATE, /* the handle must be resolved again */
};

/* Begin a ticket with the chain that the handle holds, and look at each link on the way. */
static enum prepared prepare(const struct ration_handle *handle, const struct costs *costs,
			     uint64_t now, struct chain_head *head, struct ration_ticket *ticket)
{
	const struct ration *ration = handle->ration;
	const uint64_t begun = handle_begin(handle);
	bool named = true, admit = true;

	*head = handle_head(handle);
	if (head->n_links > RATION_LINKS_MAX)
		return OUT_OF_DATE;
	for (size_t i = 0; i < head->n_links; i++) {
		const struct link link = handle_link(handle, i);
		struct ration_ticket_link *taken = &ticket->links[i];

		named &= chain_prepare(&link, costs->charge, costs->n, taken);
		admit &= link.bucket < ration->seg.n_buckets &&
			 chain_admits(&ration->seg, &link, taken, now);
	}
	if (!handle_same(handle, begun) || head->serial != atomic_load(&ration->serial) ||
	    head->policy_generation != atomic_load(&ration->policy_generation))
		return OUT_OF_DATE;
	if (!named)
		return NO_UNIT;
	return admit ? LOOKED : PREPARED;
}

/* The same with a chain that is resolved now, on this stack. PREPARED, or why it cannot be. */
static int prepare_anew(struct ration_handle *handle, const struct costs *costs,
			struct chain_head *head, struct ration_ticket *ticket)
{
	struct chain chain;
	bool named = true;
	const int result = resolve_chain(handle, &chain, NULL);

	if (result != 0)
		return result;
	handle_publish(handle, &chain);
	*head = chain.head;
	for (size_t i = 0; i < head->n_links; i++)
		named &= chain_prepare(&chain.links[i], costs->charge, costs->n, &ticket->links[i]);
	return named ? 0 : RATION_EUNIT;
}

static void copy_name(char to[RATION_NAME_MAX + 1], const char *from)
{
	strncpy(to, from, RATION_NAME_MAX);
	to[RATION_NAME_MAX] = '\0';
}

/* False if the policy has just been replaced, so that the chain's limit cannot be named. */
static bool describe(struct ration *ration, const struct chain_head *head,
		     const struct ration_ticket *ticket, const struct verdict *verdict,
		     uint64_t now, struct ration_denial *denial)
{
	const struct blob *blob = policy_enter(ration);
	const bool current = blob->header->generation == head->policy_generation;

	if (current) {
		const struct blob_limit *l =
			&blob->limits[LINK_LIMIT(ticket->links[verdict->link].flags)];
		const bool ever = verdict->needed <= verdict->size;

		copy_name(denial->vendor, blob_text(blob, l->vendor));
		copy_name(denial->limit, blob_text(blob, l->name));
		copy_name(denial->unit, blob_text(blob, l->unit));
		denial->scope = l->scope;
		denial->reserved = 0;
		denial->left = verdict->left;
		denial->size = verdict->size;
		denial->needed = verdict->needed;
		denial->retry_in_ns = 0;
		if (ever && verdict->retry_at > now)
			denial->retry_in_ns =
				(verdict->retry_at - now + TICKS_PER_NS - 1) / TICKS_PER_NS;
		denial->retry_at_ns = boot_ns_at(ration, now) + denial->retry_in_ns;
	}
	policy_leave(ration);
	return current;
}

static void grant(struct ration *ration, const struct chain_head *head, uint64_t now,
		  uint32_t flags, struct ration_ticket *ticket)
{
	ticket->owner = atomic_load_explicit(&ration->identity, memory_order_relaxed);
	ticket->permit = now;
	ticket->expires = now + head->delay;
	ticket->flags = flags;
}

static int deny(struct ration *ration, const struct chain_head *head, int code,
		const struct verdict *verdict, uint64_t now, struct ration_ticket *ticket,
		struct ration_denial *denial)
{
	const struct ration_ticket_link *link = &ticket->links[verdict->link];

	if (denial && !describe(ration, head, ticket, verdict, now, denial))
		return RATION_CONTENDED;
	stat_count(&ration->seg, atomic_load_explicit(&ration->slot, memory_order_relaxed),
		   link->bucket, link->generation, STAT_DENIED);
	if (!head->shadow)
		return code;
	grant(ration, head, now, RATION_TICKET_SHADOW, ticket);
	return 0;
}

/* With no supervisor to look after the buckets, whoever meets an impossible value puts it right. */
static void mend(struct ration_handle *handle, const struct ration_ticket_link *link)
{
	struct ration *ration = handle->ration;
	struct seg_hot *hot = &ration->seg.hot[link->bucket];
	const struct blob *blob = policy_enter(ration);
	const uint32_t tenant = blob_find_tenant(blob, handle->field[KEY_TENANT]);
	const struct blob_numbers *numbers =
		blob_numbers_for(blob, LINK_LIMIT(link->flags), tenant);
	const bucket_numbers wanted =
		bucket_restamp(numbers->effective, (uint32_t)blob->header->generation);
	bool mended = false;

	if (shm_load_relaxed(&hot->numbers) != wanted) {
		shm_store(&hot->numbers, wanted);
		mended = true;
	}
	policy_leave(ration);
	if (bucket_repair(hot, clock_ticks, ration))
		mended = true;
	if (mended)
		shm_add(&ration->seg.control->repaired, 1);
}

/* An impossible value denies, unless it was one in passing. */
static int corrupt(struct ration_handle *handle, const struct ration_ticket_link *link)
{
	struct ration *ration = handle->ration;

	if (bucket_plausible(&ration->seg.hot[link->bucket], client_now(ration)))
		return RATION_CONTENDED;
	shm_add(&ration->seg.control->corrupt, 1);
	if (ration->socket < 0)
		mend(handle, link);
	return RATION_ECORRUPT;
}

static int admitted(struct ration *ration, const struct chain_head *head, uint64_t now,
		    struct ration_ticket *ticket)
{
	const uint32_t slot = atomic_load_explicit(&ration->slot, memory_order_relaxed);

	grant(ration, head, now, 0, ticket);
	for (uint32_t i = 0; i < ticket->n_links; i++)
		stat_count(&ration->seg, slot, ticket->links[i].bucket, ticket->links[i].generation,
			   STAT_ADMITTED);
	return 0;
}

/* A chain did not admit: nothing of it stays charged. */
static int refused(struct ration_handle *handle, const struct chain_head *head, enum take result,
		   const struct verdict *verdict, uint64_t now, struct ration_ticket *ticket,
		   struct ration_denial *denial)
{
	struct ration *ration = handle->ration;

	chain_give_back(&ration->seg, ticket, clock_ticks, ration);
	ticket->n_links = 0;
	switch (result) {
	case TAKE_WAIT:
		return deny(ration, head, RATION_DENIED, verdict, now, ticket, denial);
	case TAKE_NEVER:
		return deny(ration, head, RATION_OVERSIZE, verdict, now, ticket, denial);
	case TAKE_STALE:
	case TAKE_CORRUPT:
		return corrupt(handle, &ticket->links[verdict->link]);
	default:
		return RATION_CONTENDED;
	}
}

/* Whether a newer policy has been announced. */
static bool policy_moved(const struct ration *ration)
{
	return shm_load(&ration->seg.control->policy_generation) >
	       atomic_load(&ration->policy_generation);
}

/* Prepare, look, charge. 0: ret_seen says how it went. Otherwise why it could not be tried. */
static int try_once(struct ration_handle *handle, bool anew, const struct costs *costs,
		    uint64_t now, struct chain_head *head, struct ration_ticket *ticket,
		    struct verdict *verdict, enum take *ret_seen)
{
	struct seg *seg = &handle->ration->seg;
	enum prepared prepared = anew ? OUT_OF_DATE : prepare(handle, costs, now, head, ticket);

	ticket->n_links = 0;
	if (prepared == NO_UNIT)
		return RATION_EUNIT;
	if (prepared == OUT_OF_DATE) {
		const int result = prepare_anew(handle, costs, head, ticket);

		if (result != 0)
			return result;
	}
	*ret_seen = prepared == LOOKED
			    ? TAKE_ADMIT
			    : chain_look(seg, ticket, (uint32_t)head->n_links, now, verdict);
	if (*ret_seen == TAKE_ADMIT)
		*ret_seen = chain_charge(seg, ticket, (uint32_t)head->n_links, now, verdict);
	return 0;
}

/*
 * A second try follows if a record began another life, so that the handle must be resolved again, or
 * if a time seemed impossible: this process may have been stopped since it read its clock.
 */
static int try_twice(struct ration_handle *handle, const struct costs *costs, uint64_t now,
		     struct ration_ticket *ticket, struct ration_denial *denial)
{
	struct ration *ration = handle->ration;
	enum take seen = TAKE_ADMIT;

	for (int i = 0;; i++) {
		struct chain_head head;
		struct verdict verdict;
		const int result = try_once(handle, seen == TAKE_STALE, costs, now, &head, ticket,
					    &verdict, &seen);

		if (result != 0)
			return result;
		if (seen == TAKE_ADMIT)
			return admitted(ration, &head, now, ticket);
		if (i > 0 || (seen != TAKE_STALE && seen != TAKE_CORRUPT))
			return refused(handle, &head, seen, &verdict, now, ticket, denial);
		chain_give_back(&ration->seg, ticket, clock_ticks, ration);
		now = client_now(ration);
	}
}

int ration_acquire(struct ration_handle *handle, const struct ration_cost *costs, size_t n_costs,
		   struct ration_ticket *ret_ticket, struct ration_denial *ret_denial)
{
	struct ration *ration = handle->ration;
	struct costs read;
	uint64_t now;
	int result;

	ret_ticket->owner = 0;
	read.n = 0;
	if (n_costs > 0 && !read_costs(costs, n_costs, &read))
		return -EINVAL;
	add_request(&read);
	result = attachment_ready(ration);
	if (result != 0)
		return result;
	now = client_now(ration);
	if (policy_moved(ration))
		policy_update(ration, now);
	return try_twice(handle, &read, now, ret_ticket, ret_denial);
}

/* --- ending a ticket --- */

/* Tickets are the caller's memory, and may have been another process's before a fork. */
static bool ticket_ok(struct ration *ration, const struct ration_ticket *ticket)
{
	if (atomic_load_explicit(&ration->process->registration, memory_order_acquire) !=
		    REGISTERED ||
	    ticket->owner == 0 || ticket->owner != atomic_load(&ration->identity) ||
	    ticket->n_links > RATION_LINKS_MAX)
		return false;
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		if (ticket->links[i].bucket >= ration->seg.n_buckets)
			return false;
	}
	return true;
}

int ration_settle(struct ration *ration, struct ration_ticket *ticket,
		  const struct ration_cost *actual, size_t n_actual)
{
	struct costs read = {.n = 0};

	if (!ticket_ok(ration, ticket) || !read_costs(actual, n_actual, &read))
		return -EINVAL;
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		for (uint32_t k = 0; k < read.n; k++) {
			if (read.charge[k].unit == ticket->links[i].unit)
				chain_settle_link(&ration->seg, &ticket->links[i],
						  read.charge[k].amount, clock_ticks, ration);
		}
	}
	ticket->owner = 0;
	return 0;
}

int ration_cancel(struct ration *ration, struct ration_ticket *ticket)
{
	if (!ticket_ok(ration, ticket))
		return -EINVAL;
	chain_give_back(&ration->seg, ticket, clock_ticks, ration);
	ticket->owner = 0;
	return 0;
}

bool ration_ticket_fresh(const struct ration *ration, const struct ration_ticket *ticket)
{
	return ticket->owner != 0 && client_now(ration) <= ticket->expires;
}
