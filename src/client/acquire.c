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
#include "client/events.h"
#include "client/gate.h"
#include "client/headroom.h"
#include "client/memory.h"
#include "shm/chain.h"
#include "shm/slots.h"
#include "shm/stat.h"

/* Costs with hashed units. */
struct costs {
	uint32_t n;
	struct charge charge[RATION_LINKS_MAX];
};

static bool names_unit(const struct costs *costs, uint32_t unit)
{
	for (uint32_t i = 0; i < costs->n; i++) {
		if (costs->charge[i].unit == unit)
			return true;
	}
	return false;
}

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

static uint64_t clock_ticks(void *user)
{
	return client_now(user);
}

/* --- the usual acquire: a chain of plain token buckets at their default costs --- */

enum prepared {
	LOOKED,      /* and every link admits */
	PREPARED,    /* some link does not, or not in the usual way */
	OUT_OF_DATE, /* the handle must be resolved again */
};

static bool head_holds(const struct ration *ration, const struct chain_head *head)
{
	return head->n_links <= RATION_LINKS_MAX && head->serial == atomic_load(&ration->serial) &&
	       head->policy_generation == atomic_load(&ration->policy_generation);
}

/* Whether no gate was made since they were looked for. */
static bool gates_known(const struct ration *ration, const struct chain_head *head)
{
	return head->gates == shm_half_load(&ration->seg.control->gates);
}

static bool gates_calm(const struct ration_handle *handle, uint32_t n, uint64_t now)
{
	const struct seg *seg = &handle->ration->seg;

	for (uint32_t i = 0; i < n && i < RATION_GATES_MAX; i++) {
		const struct bucket_ref gate = handle_gate(handle, i);

		if (gate.bucket >= seg->n_buckets ||
		    !gate_calm(shm_load(&seg->hot[gate.bucket].state[0]), now) ||
		    shm_half_load(&seg->hot[gate.bucket].generation) != gate.generation)
			return false;
	}
	return true;
}

/* Begin a ticket with the chain that the handle holds, and look at each link on the way. */
static enum prepared prepare(const struct ration_handle *handle, const struct costs *costs,
			     uint64_t now, uint64_t begun, struct chain_head *head,
			     bucket_numbers numbers[RATION_LINKS_MAX], struct ration_ticket *ticket)
{
	const struct ration *ration = handle->ration;
	uint32_t class_index;
	bool admit = true;

	ticket->n_links = 0;
	*head = handle_head(handle);
	if (!head_holds(ration, head) || !gates_known(ration, head))
		return OUT_OF_DATE;
	if ((head->flags & (CHAIN_PLAIN | CHAIN_GATES)) != CHAIN_PLAIN &&
	    !(head->flags & CHAIN_PLAIN && gates_calm(handle, chain_gates(head), now)))
		return PREPARED;
	class_index = CHAIN_CLASS(head->flags);
	for (size_t i = 0; i < head->n_links; i++) {
		const struct link link = handle_link(handle, i);
		struct ration_ticket_link *taken = &ticket->links[i];

		numbers[i] = link.numbers;
		admit &= chain_prepare(&link, costs->charge, costs->n, taken) &&
			 link.bucket < ration->seg.n_buckets &&
			 chain_admits(&ration->seg, &link, class_index, taken, now);
	}
	if (!handle_same(handle, begun))
		return OUT_OF_DATE;
	return admit ? LOOKED : PREPARED;
}

static void grant(struct ration *ration, uint64_t delay, uint64_t now, uint32_t flags,
		  struct ration_ticket *ticket)
{
	const uint32_t slot = atomic_load_explicit(&ration->slot, memory_order_relaxed);

	ticket->owner = atomic_load_explicit(&ration->identity, memory_order_relaxed);
	ticket->permit = now;
	ticket->expires = now + delay;
	ticket->flags = flags;
	for (uint32_t i = 0; i < ticket->n_links; i++)
		stat_count(&ration->seg, slot, ticket->links[i].bucket, ticket->links[i].generation,
			   STAT_ADMITTED);
}

/*
 * What a link gave back may be what another waits for. Where a limit has parts, all wait for the whole; what backed a
 * link stands on the ticket beside it.
 */
static void freed(struct ration *ration, const struct ration_ticket_link *link)
{
	if (!(link->flags & LINK_BACKING))
		wake_next(ration, link->flags & LINK_OR ? link->line : link->bucket);
}

/* False: a lease was held too long and is another's now. */
static bool give_back(struct ration *ration, const struct ration_ticket *ticket)
{
	const bool held = chain_give_back(&ration->seg, ticket, clock_ticks, ration);

	for (uint32_t i = 0; i < ticket->n_links; i++)
		freed(ration, &ticket->links[i]);
	return held;
}

/* Another was faster at the link that is next. Whether it still admits, in the chain that was prepared. */
__attribute__((noinline)) static bool look_again(const struct ration_handle *handle, uint64_t begun,
						 uint32_t class_index, uint64_t now,
						 struct ration_ticket *ticket)
{
	const struct link link = handle_link(handle, ticket->n_links);
	struct ration_ticket_link *next = &ticket->links[ticket->n_links];

	return chain_admits(&handle->ration->seg, &link, class_index, next, now) &&
	       handle_same(handle, begun);
}

/* True: granted. False: nothing was charged, and it takes a closer look. */
static bool take_plainly(struct ration_handle *handle, const struct costs *costs, uint64_t now,
			 struct ration_ticket *ticket)
{
	struct ration *ration = handle->ration;
	const uint64_t begun = handle_begin(handle);
	bucket_numbers numbers[RATION_LINKS_MAX];
	struct chain_head head;

	if (prepare(handle, costs, now, begun, &head, numbers, ticket) != LOOKED)
		return false;
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		if (chain_charge_plain(&ration->seg, ticket, (uint32_t)head.n_links, numbers,
				       now)) {
			grant(ration, head.delay, now, 0, ticket);
			return true;
		}
		if (!look_again(handle, begun, CHAIN_CLASS(head.flags), now, ticket))
			break;
	}
	(void)give_back(ration, ticket);
	return false;
}

/* --- every other one --- */

/* One acquire, from one look to the next. */
struct attempt {
	struct ration_handle *handle;
	const struct costs *costs;
	const struct queue_place *place;
	uint64_t seed; /* 0: the handle's own */
	struct chain chain;
	struct draw draw;
};

static bool holds_at(const struct chain_head *head, int64_t wall)
{
	return !(head->flags & CHAIN_WALL) || (wall >= head->from && wall < head->until);
}

int client_chain(struct ration_handle *handle, int64_t wall, bool anew, struct chain *chain)
{
	int result;

	if (anew || !handle_copy(handle, chain) || !head_holds(handle->ration, &chain->head) ||
	    !holds_at(&chain->head, wall))
		result = resolve_chain(handle, chain, NULL);
	else if (gates_known(handle->ration, &chain->head))
		return 0;
	else
		result = gates_resolve(handle, chain);
	if (result == 0)
		handle_publish(handle, chain);
	return result;
}

/*
 * Whoever stands in line is woken a little after its turn, and takes what it takes as of its turn: else where the burst
 * is small each would move the turns of all behind it. A permit is good for a while, and there is most of it left.
 */
static struct instant time_of(const struct attempt *attempt, uint64_t now)
{
	struct ration *ration = attempt->handle->ration;
	const struct chain_head *head = &attempt->chain.head;
	const uint64_t due = attempt->place ? attempt->place->due : 0;
	const uint64_t early = head->delay / 4;
	const uint64_t earliest = now > early ? now - early : 0;
	struct instant at;

	if (due == 0 || due >= now)
		return attempt->draw.at;
	at.now = due > earliest ? due : earliest;
	at.wall = client_wall(ration, at.now);
	return holds_at(head, at.wall) ? at : attempt->draw.at;
}

/* By which a gate that was lifted tells apart those who come: the same until it has passed. */
static uint64_t seed_of(const struct attempt *attempt)
{
	const uint64_t who = atomic_load(&attempt->handle->ration->identity);

	if (attempt->place)
		return who ^ attempt->place->arrival;
	return who ^ (attempt->seed ? attempt->seed : (uint64_t)(uintptr_t)attempt->handle);
}

static int begin(struct attempt *attempt, bool anew, uint64_t now)
{
	/* cppcheck-suppress ctuuninitvar ; what is read of it has been filled in */
	struct ration *ration = attempt->handle->ration;
	struct draw *draw = &attempt->draw;
	int result;

	draw->at = (struct instant){now, client_wall(ration, now)};
	result = client_chain(attempt->handle, draw->at.wall, anew, &attempt->chain);
	if (result != 0)
		return result;
	draw->at = time_of(attempt, now);
	draw->links = attempt->chain.links;
	draw->n_links = attempt->chain.head.n_links + chain_gates(&attempt->chain.head);
	draw->seed = seed_of(attempt);
	draw->class_index = CHAIN_CLASS(attempt->chain.head.flags);
	draw->place = attempt->place;
	draw->alone = false;
	if (attempt->chain.head.flags & CHAIN_SLOTS)
		draw->lease = slots_lease(
			atomic_load(&ration->identity),
			slots_sequence(atomic_fetch_add(&ration->leases, 1), draw->class_index),
			now);
	return chain_units(draw, attempt->costs->charge, attempt->costs->n) ? 0 : RATION_EUNIT;
}

static void copy_name(char to[RATION_NAME_MAX + 1], const char *from)
{
	strncpy(to, from, RATION_NAME_MAX);
	to[RATION_NAME_MAX] = '\0';
}

static void describe_limit(const struct blob *blob, const struct link *link,
			   const struct shortage *why, struct ration_denial *denial)
{
	const struct blob_limit *l = &blob->limits[LINK_LIMIT(link->flags)];

	copy_name(denial->vendor, blob_text(blob, l->vendor));
	copy_name(denial->limit, blob_text(blob, l->name));
	copy_name(denial->unit, blob_text(blob, l->unit));
	denial->scope = l->scope;
	denial->block = RATION_BLOCK_NONE;
	denial->left = why->left;
}

/* False if the policy has just been replaced, so that the chain's limit cannot be named. */
static bool describe(const struct attempt *attempt, bool ever, struct ration_denial *denial)
{
	struct ration *ration = attempt->handle->ration;
	const struct verdict *verdict = &attempt->draw.verdict;
	const uint64_t now = attempt->draw.at.now;
	const struct blob *blob = policy_enter(ration);
	const bool current = blob->header->generation == attempt->chain.head.policy_generation;

	if (current) {
		if (verdict->link >= attempt->chain.head.n_links)
			gate_describe(attempt->handle, &attempt->chain.links[verdict->link],
				      verdict->why.left, denial);
		else
			describe_limit(blob, &attempt->chain.links[verdict->link], &verdict->why,
				       denial);
		denial->size = verdict->why.size;
		denial->needed = verdict->needed;
		denial->retry_in_ns = 0;
		if (ever && verdict->why.retry_at > now)
			denial->retry_in_ns =
				(verdict->why.retry_at - now + TICKS_PER_NS - 1) / TICKS_PER_NS;
		denial->retry_at_ns = client_boot_ns(ration, now) + denial->retry_in_ns;
	}
	policy_leave(ration);
	return current;
}

static void count_denied(struct attempt *attempt)
{
	struct ration *ration = attempt->handle->ration;
	const struct link *link = &attempt->chain.links[attempt->draw.verdict.link];

	stat_count(&ration->seg, atomic_load_explicit(&ration->slot, memory_order_relaxed),
		   link->bucket, link->generation, STAT_DENIED);
}

/* The bound is the class's own; where all wait as one class, it counts them all. */
static bool where_to_wait(const struct attempt *attempt, struct waiting *waiting)
{
	struct ration *ration = attempt->handle->ration;
	const struct verdict *verdict = &attempt->draw.verdict;
	const uint64_t size = verdict->why.size;
	const uint64_t units = verdict->needed < size ? verdict->needed : size;
	const struct blob *blob = policy_enter(ration);
	const bool current = blob->header->generation == attempt->chain.head.policy_generation;

	if (current) {
		waiting->bound = blob->classes[attempt->draw.class_index].queue;
		waiting->bucket = chain_line(&attempt->draw, verdict->link, &waiting->class_index);
		waiting->kind = LINK_KIND(attempt->chain.links[verdict->link].flags);
		waiting->units = units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
		waiting->sooner = waiting->kind == KIND_SLOTS ||
				  (waiting->kind == KIND_GATE &&
				   GATE_PHASE(verdict->why.left) == GATE_PROBING);
		waiting->retry_at = verdict->why.retry_at;
	}
	policy_leave(ration);
	if (current && waiting->bucket < ration->seg.n_buckets)
		waiting->generation = shm_half_load(&ration->seg.hot[waiting->bucket].generation);
	return current && waiting->bucket < ration->seg.n_buckets;
}

/* Classes above the least protected are to have what they want: people are told, once a second for each bucket. */
static void tell_denied(const struct attempt *attempt, int code,
			const struct ration_denial *described)
{
	struct ration *ration = attempt->handle->ration;
	const struct draw *draw = &attempt->draw;
	const bool protects = draw->class_index + 1 < policy_enter(ration)->n_classes;
	struct ration_denial denial;
	uint64_t times;

	policy_leave(ration);
	if (!protects ||
	    !event_due(ration, EVENT_DENIED, attempt->chain.links[draw->verdict.link].bucket,
		       draw->class_index, draw->at.now, &times))
		return;
	if (!described && !describe(attempt, code == RATION_DENIED, &denial))
		return;
	event_tell_denied(attempt->handle, code, described ? described : &denial, times);
}

/* Whoever stands in line is not denied over and over. */
static int deny(struct attempt *attempt, int code, struct ration_denial *denial,
		struct waiting *waiting)
{
	if ((denial && !describe(attempt, code == RATION_DENIED, denial)) ||
	    (waiting && !where_to_wait(attempt, waiting)))
		return RATION_CONTENDED;
	if (!attempt->place) {
		count_denied(attempt);
		tell_denied(attempt, code, denial);
	}
	return code;
}

static void count_shadow(const struct attempt *attempt)
{
	struct ration *ration = attempt->handle->ration;
	const struct verdict *verdict = &attempt->draw.verdict;
	const struct link *link = &attempt->chain.links[verdict->link];
	const uint32_t classes = KIND_RECENT(shm_half_load(&ration->seg.hot[link->bucket].kind));
	const struct blob *blob = policy_enter(ration);

	/* No class contests a gate. */
	if (LINK_KIND(link->flags) != KIND_GATE &&
	    blob->header->generation == attempt->chain.head.policy_generation)
		contest_count(&ration->seg,
			      client_contest_key(blob, LINK_LIMIT(link->flags),
						 attempt->draw.class_index),
			      classes, verdict->needed, attempt->draw.at.now);
	policy_leave(ration);
}

static int admitted(struct attempt *attempt, struct ration_ticket *ticket,
		    struct ration_denial *denial)
{
	struct ration *ration = attempt->handle->ration;
	const bool shadow = attempt->draw.shadow;

	grant(ration, attempt->chain.head.delay, attempt->draw.at.now,
	      shadow ? RATION_TICKET_SHADOW : 0, ticket);
	if (shadow) {
		count_denied(attempt);
		count_shadow(attempt);
		if (denial)
			(void)describe(attempt, true, denial);
	}
	return 0;
}

/* A chain did not admit, and nothing of it stays charged. */
static int refused(struct attempt *attempt, enum take result, struct ration_denial *denial,
		   struct waiting *waiting)
{
	switch (result) {
	case TAKE_WAIT:
		return deny(attempt, RATION_DENIED, denial, waiting);
	case TAKE_NEVER:
		return deny(attempt, RATION_OVERSIZE, denial, waiting);
	case TAKE_STALE:
	case TAKE_CORRUPT:
		return mend_corrupt(attempt->handle,
				    &attempt->chain.links[attempt->draw.verdict.link]);
	default:
		return RATION_CONTENDED;
	}
}

/* Looks that find another combination of links each time: more than that is contention. */
#define LOOKS 8

/* Look and charge; what was charged of a chain that does not admit is given back. */
static enum take take_chain(struct attempt *attempt, struct ration_ticket *ticket)
{
	struct ration *ration = attempt->handle->ration;
	enum take result = TAKE_AGAIN;

	for (int i = 0; i < LOOKS; i++) {
		ticket->n_links = 0;
		result = chain_look(&ration->seg, &attempt->draw);
		if (result != TAKE_ADMIT)
			return result;
		result = chain_charge(&ration->seg, &attempt->draw, ticket);
		if (result == TAKE_ADMIT)
			return result;
		ticket->permit = attempt->draw.at.now;
		(void)give_back(ration, ticket);
		ticket->n_links = 0;
		if (!attempt->draw.again)
			return result;
	}
	return TAKE_AGAIN;
}

/*
 * What may be different with a later clock: a record that began another life, a time that seemed impossible, and
 * a guarantee, whose bucket has room by construction as of now, not as of when this process was last running. And
 * slots that were held by the dead.
 */
static bool worth_another(const struct attempt *attempt, enum take result, uint64_t now)
{
	const uint32_t link = attempt->draw.verdict.link;

	if (result == TAKE_WAIT && LINK_KIND(attempt->chain.links[link].flags) == KIND_SLOTS)
		return embedded_bury(attempt->handle->ration, now);
	if (result == TAKE_WAIT)
		return link > 0 && attempt->chain.links[link - 1].flags & LINK_BACKING;
	return result == TAKE_STALE || result == TAKE_CORRUPT;
}

static int take_carefully(struct attempt *attempt, uint64_t now, struct ration_ticket *ticket,
			  struct ration_denial *denial, struct waiting *waiting)
{
	bool anew = false;

	for (int i = 0;; i++) {
		enum take result;
		const int code = begin(attempt, anew, now);

		if (code != 0)
			return code;
		result = take_chain(attempt, ticket);
		if (result == TAKE_ADMIT)
			return admitted(attempt, ticket, denial);
		if (i > 0 || !worth_another(attempt, result, now))
			return refused(attempt, result, denial, waiting);
		anew = result == TAKE_STALE;
		now = client_now(attempt->handle->ration);
	}
}

/* Out of line: the usual acquire needs no room for it. */
__attribute__((noinline)) static int
acquire_carefully(const struct asked *asked, const struct costs *costs, uint64_t now,
		  const struct queue_place *place, struct ration_ticket *ticket,
		  struct ration_denial *denial, struct waiting *waiting)
{
	struct attempt attempt;

	attempt.handle = asked->handle;
	attempt.costs = costs;
	attempt.place = place;
	attempt.seed = asked->seed;
	attempt.draw.lease = 0;
	return take_carefully(&attempt, now, ticket, denial, waiting);
}

int client_acquire(const struct asked *asked, const struct queue_place *place,
		   struct ration_ticket *ret_ticket, struct ration_denial *ret_denial,
		   struct waiting *ret_waiting)
{
	struct ration *ration = asked->handle->ration;
	struct costs read;
	uint64_t now;
	int result;

	ret_ticket->owner = 0;
	read.n = 0;
	if (asked->n_costs > 0 && !read_costs(asked->costs, asked->n_costs, &read))
		return -EINVAL;
	result = attachment_ready(ration);
	if (result != 0)
		return result;
	now = client_now(ration);
	if (policy_moved(ration))
		policy_update(ration, now);
	if (!place && take_plainly(asked->handle, &read, now, ret_ticket))
		return 0;
	return acquire_carefully(asked, &read, now, place, ret_ticket, ret_denial, ret_waiting);
}

/* False: it cannot be looked at. */
static bool begin_look(struct attempt *attempt, const struct asked *asked, struct costs *costs,
		       const struct queue_place *place)
{
	attempt->handle = asked->handle;
	attempt->costs = costs;
	attempt->place = place;
	attempt->seed = asked->seed;
	attempt->draw.lease = 0;
	costs->n = 0;
	return read_costs(asked->costs, asked->n_costs, costs) &&
	       begin(attempt, false, client_now(asked->handle->ration)) == 0;
}

bool client_fits(const struct asked *asked)
{
	struct attempt attempt;
	struct costs costs;

	if (!begin_look(&attempt, asked, &costs, NULL))
		return false;
	attempt.draw.alone = true;
	return chain_look(&asked->handle->ration->seg, &attempt.draw) == TAKE_ADMIT;
}

uint32_t client_headroom(const struct asked *asked, const struct queue_place *place)
{
	struct attempt attempt;
	struct costs costs;

	if (!begin_look(&attempt, asked, &costs, place))
		return HEADROOM_CALM;
	switch (chain_look(&asked->handle->ration->seg, &attempt.draw)) {
	case TAKE_WAIT:
	case TAKE_NEVER:
		return 0;
	case TAKE_ADMIT:
		return headroom_of(&asked->handle->ration->seg, &attempt.draw);
	default:
		return HEADROOM_CALM;
	}
}

int ration_acquire(struct ration_handle *handle, const struct ration_cost *costs, size_t n_costs,
		   struct ration_ticket *ret_ticket, struct ration_denial *ret_denial)
{
	const struct asked asked = {handle, costs, n_costs, 0};

	return client_acquire(&asked, NULL, ret_ticket, ret_denial, NULL);
}

/* --- ending a ticket --- */

/* Tickets are the caller's memory, and may have been another process's before a fork. */
static bool ticket_ok(struct ration *ration, const struct ration_ticket *ticket)
{
	if (atomic_load_explicit(&ration->process->registration, memory_order_acquire) !=
		    REGISTERED ||
	    ticket->owner == 0 || ticket->owner != atomic_load(&ration->identity) ||
	    ticket->n_links > CHAIN_LINKS_MAX)
		return false;
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		if (ticket->links[i].bucket >= ration->seg.n_buckets)
			return false;
	}
	return true;
}

/* Correct what the costs name. */
static void settle_link(struct ration *ration, const struct ration_ticket *ticket, uint32_t i,
			const struct costs *actual)
{
	const struct ration_ticket_link *link = &ticket->links[i];

	for (uint32_t k = 0; k < actual->n; k++) {
		if (actual->charge[k].unit != link->unit)
			continue;
		chain_settle_link(&ration->seg, ticket, i, actual->charge[k].amount, clock_ticks,
				  ration);
		if (actual->charge[k].amount < link->amount)
			freed(ration, link);
	}
}

/* For those who wait: even if a slot will be free only later, they are to learn when. */
static void freed_slots(struct ration *ration, const struct ration_ticket *ticket)
{
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		if (LINK_KIND(ticket->links[i].flags) == KIND_SLOTS)
			freed(ration, &ticket->links[i]);
	}
}

/* False: a lease was held too long and is another's now. */
static bool release(struct ration *ration, const struct ration_ticket *ticket)
{
	const bool held = chain_release(&ration->seg, ticket);

	freed_slots(ration, ticket);
	return held;
}

/* The ticket is at its end, whatever became of its leases. */
static int end(struct ration_ticket *ticket, bool held)
{
	ticket->owner = 0;
	return held ? 0 : RATION_ELOST;
}

int ration_settle(struct ration *ration, struct ration_ticket *ticket,
		  const struct ration_cost *actual, size_t n_actual)
{
	struct costs read = {.n = 0};

	if (!ticket_ok(ration, ticket) || !read_costs(actual, n_actual, &read))
		return -EINVAL;
	for (uint32_t i = 0; i < ticket->n_links; i++)
		settle_link(ration, ticket, i, &read);
	gates_answered(ration, ticket);
	return end(ticket, release(ration, ticket));
}

int ration_cancel(struct ration *ration, struct ration_ticket *ticket)
{
	if (!ticket_ok(ration, ticket))
		return -EINVAL;
	/* Leases end once: by a second time another thread's may stand there, with the same word after 256 of them. */
	return end(ticket, give_back(ration, ticket));
}

int ration_release(struct ration *ration, struct ration_ticket *ticket)
{
	if (!ticket_ok(ration, ticket))
		return -EINVAL;
	gates_answered(ration, ticket);
	return end(ticket, release(ration, ticket));
}

int ration_abandon(struct ration *ration, struct ration_ticket *ticket)
{
	bool held;

	if (!ticket_ok(ration, ticket))
		return -EINVAL;
	held = chain_abandon(&ration->seg, ticket, client_now(ration));
	freed_slots(ration, ticket);
	gates_abandoned(ration, ticket);
	return end(ticket, held);
}

bool ration_ticket_fresh(const struct ration *ration, const struct ration_ticket *ticket)
{
	return ticket->owner != 0 && client_now(ration) <= ticket->expires;
}
