/*
 * client/gate.c - blocks and the breaker, as a process has to do with them
 * SPDX-License-Identifier: MIT
 */
#include "client/gate.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "client/events.h"
#include "shm/gate.h"
#include "shm/names.h"
#include "shm/saturate.h"

/* Ticks: for as long as gate_backoff() says. */
#define BACK_OFF UINT64_MAX

/* Inserts that met others each time. */
#define ATTEMPTS 1000

/* By the reach that closes it. */
static const struct {
	enum ration_reach reach;
	uint32_t scope;
	enum key_field needs; /* KEY_VENDOR: nothing more */
} gates[RATION_GATES_MAX] = {
	{RATION_REACH_TENANT, RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR, KEY_VENDOR},
	{RATION_REACH_RESOURCE, RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR | RATION_SCOPE_RESOURCE,
	 KEY_VENDOR},
	{RATION_REACH_ACCOUNT, RATION_SCOPE_ACCOUNT | RATION_SCOPE_VENDOR, KEY_ACCOUNT},
};

/* --- passing --- */

void gates_link(const struct chain_head *head, struct bucket_ref gate, struct link *ret_link)
{
	*ret_link = (struct link){
		.bucket = gate.bucket,
		.generation = gate.generation,
		.flags = KIND_GATE | LINK_HAS_DEFAULT |
			 (head->flags & CHAIN_HEEDLESS ? LINK_SHADOW : 0),
		.default_cost = 1,
		.shape = {[GATE_CLASS] = CHAIN_CLASS(head->flags)},
	};
}

int gates_find(const struct ration *ration, const struct blob *blob,
	       const char *const field[KEY_FIELDS], struct chain *chain)
{
	struct chain_head *head = &chain->head;
	uint32_t n = 0;

	head->flags &= CHAIN_GATES - 1;
	/* Before they are looked for: one that is missed will have been counted after this. */
	head->gates = shm_half_load(&ration->seg.control->gates);
	for (size_t i = 0; i < RATION_GATES_MAX && head->gates != 0; i++) {
		struct bucket_ref gate;
		enum index_result result;

		if (field[gates[i].needs][0] == '\0')
			continue;
		result = index_find(&ration->seg, client_gate_identity(blob, gates[i].scope, field),
				    &gate);
		if (result == INDEX_AGAIN)
			return RATION_CONTENDED;
		if (result == INDEX_FOUND)
			gates_link(head, gate, &chain->links[head->n_links + n++]);
	}
	if (n > 0)
		head->flags |= CHAIN_GATES | n << 8;
	return 0;
}

int gates_resolve(const struct ration_handle *handle, struct chain *chain)
{
	const struct blob *blob = policy_enter(handle->ration);
	const int result = gates_find(handle->ration, blob, handle->field, chain);

	policy_leave(handle->ration);
	return result;
}

void gate_describe(const struct ration_handle *handle, const struct link *gate, uint64_t word,
		   struct ration_denial *denial)
{
	const struct seg_cold *cold = &handle->ration->seg.cold[gate->bucket];
	const uint32_t why = (uint32_t)GATE_WHY(word);

	strncpy(denial->vendor, handle->field[KEY_VENDOR], RATION_NAME_MAX);
	denial->vendor[RATION_NAME_MAX] = '\0';
	strcpy(denial->limit, why == GATE_WHY_BREAKER ? "(breaker)" : "(block)");
	strcpy(denial->unit, "requests");
	denial->scope = COLD_SCOPE(shm_half_load(&cold->scope));
	denial->block = why == GATE_WHY_NONE ? RATION_BLOCK_VENDOR : why;
	denial->left = 0;
}

static void lifted(struct ration *ration, struct bucket_ref gate, uint64_t now)
{
	client_wake(&ration->seg, gate.bucket, now, true);
}

/* A probe stands behind all that was charged. */
static uint32_t first_probe(const struct ration_ticket *ticket)
{
	uint32_t i = ticket->n_links < CHAIN_LINKS_MAX ? ticket->n_links : CHAIN_LINKS_MAX;

	while (i > 0 && LINK_KIND(ticket->links[i - 1].flags) == KIND_GATE)
		i--;
	return i;
}

/* Whose gate it is stands in its record. */
static void tell_lifted(struct ration *ration, struct bucket_ref gate, uint64_t word, uint64_t now,
			const char *why)
{
	const struct seg_cold *cold = &ration->seg.cold[gate.bucket];
	struct event event = event_of(GATE_WHY(word) == GATE_WHY_BREAKER ? EVENT_BREAKER_CLOSED
									 : EVENT_UNBLOCKED,
				      now, atomic_load(&ration->identity));
	static const struct {
		enum event_text text;
		enum seg_name name;
	} fields[] = {
		{EVENT_TENANT, NAME_TENANT},
		{EVENT_VENDOR, NAME_VENDOR},
		{EVENT_ACCOUNT, NAME_ACCOUNT},
		{EVENT_RESOURCE, NAME_RESOURCE},
	};
	char names[sizeof(fields) / sizeof(fields[0])][RATION_KEY_MAX + 1];

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		names_copy(&ration->seg, shm_half_load(&cold->names[fields[i].name]), names[i],
			   sizeof(names[i]));
		event.text[fields[i].text] = names[i];
	}
	event.text[EVENT_WHY] = why;
	event_tell(ration, &event);
}

static void good_probe(struct ration *ration, const struct ration_ticket_link *probe, uint64_t now)
{
	const struct bucket_ref gate = {probe->bucket, probe->generation};

	if (!gate_lift(&ration->seg, gate, probe->word, now))
		return;
	tell_lifted(ration, gate, probe->word, now, "a probe was let through");
	lifted(ration, gate, now);
}

void gates_answered(struct ration *ration, const struct ration_ticket *ticket)
{
	for (uint32_t i = first_probe(ticket); i < ticket->n_links; i++)
		good_probe(ration, &ticket->links[i], client_now(ration));
}

void gates_abandoned(struct ration *ration, const struct ration_ticket *ticket)
{
	for (uint32_t i = first_probe(ticket); i < ticket->n_links; i++) {
		const struct ration_ticket_link *link = &ticket->links[i];
		const struct charge_ref charge = {
			.bucket = link->bucket,
			.generation = link->generation,
			.taken = {.word = link->word},
		};

		if (gate_abandon(&ration->seg, &charge, client_now(ration)))
			wake_next(ration, link->bucket);
	}
}

/* --- making one --- */

enum index_result client_gate_make(struct seg *seg, uint32_t slot, const struct blob *blob,
				   uint32_t scope, const char *const field[KEY_FIELDS],
				   uint64_t now, struct bucket_ref *ret_gate)
{
	struct bucket_spec spec = gate_spec(now);
	char name[RATION_KEY_MAX + sizeof("/(block)")];

	snprintf(name, sizeof(name), "%s/(block)", field[KEY_VENDOR]);
	spec.identity = client_gate_identity(blob, scope, field);
	spec.scope = scope;
	spec.names[NAME_LIMIT] = name;
	for (int i = 0; i < KEY_FIELDS; i++) {
		if (scope & 1u << i)
			spec.names[NAME_TENANT + i] = field[i];
	}
	return index_insert(seg, slot, &spec, ret_gate);
}

static enum index_result insert(struct ration *ration, const struct blob *blob, uint32_t scope,
				const char *const field[KEY_FIELDS], struct bucket_ref *ret_gate)
{
	enum index_result result;

	/* One insert at a time for each slot. */
	if (atomic_flag_test_and_set(&ration->inserting))
		return INDEX_AGAIN;
	result = client_gate_make(&ration->seg, atomic_load(&ration->slot), blob, scope, field,
				  client_now(ration), ret_gate);
	atomic_flag_clear(&ration->inserting);
	return result;
}

/* Waiting is allowed here. */
static int make_gate(struct ration *ration, const struct blob *blob, uint32_t scope,
		     const char *const field[KEY_FIELDS], struct bucket_ref *ret_gate)
{
	enum index_result result = INDEX_AGAIN;

	for (int i = 0; i < ATTEMPTS && result == INDEX_AGAIN; i++) {
		if (i > 0)
			sched_yield();
		result = insert(ration, blob, scope, field, ret_gate);
	}
	switch (result) {
	case INDEX_FOUND:
		return 0;
	case INDEX_AGAIN:
		return RATION_CONTENDED;
	case INDEX_CORRUPT:
		return RATION_ECORRUPT;
	default:
		return RATION_EFULL;
	}
}

/* Block it, whichever life it is in. */
static int close_gate(struct ration *ration, const struct blob *blob, uint32_t scope,
		      const char *const field[KEY_FIELDS], const struct gate_block *block)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		struct bucket_ref gate;
		const int result = make_gate(ration, blob, scope, field, &gate);

		if (result != 0)
			return result;
		if (gate_block(&ration->seg, gate, block)) {
			gate_announce(&ration->seg, gate);
			return 0;
		}
	}
	return RATION_CONTENDED;
}

/* --- what a vendor said --- */

struct observing {
	struct ration *ration;
	struct ration_handle *handle;
	const struct ration_ticket *ticket;
	const struct ration_signal *signal;
	const struct blob *blob;
	const struct blob_vendor *vendor;
	enum ration_reach reach;
	uint64_t now;
};

static uint64_t ticks_of(uint64_t ns)
{
	return ns > BACK_OFF / TICKS_PER_NS ? BACK_OFF - 1 : ns * TICKS_PER_NS;
}

/* A limit of an account that nobody named is the tenant's. */
static enum ration_reach reach_within(const struct ration_handle *handle, enum ration_reach reach)
{
	return reach == RATION_REACH_ACCOUNT && handle->field[KEY_ACCOUNT][0] == '\0'
		       ? RATION_REACH_TENANT
		       : reach;
}

static enum ration_reach reach_of(const struct ration_handle *handle,
				  const struct ration_signal *signal)
{
	return signal->limited ? reach_within(handle, signal->reach) : RATION_REACH_REQUEST;
}

static size_t gate_of(enum ration_reach reach)
{
	size_t i = 0;

	while (i < RATION_GATES_MAX - 1 && gates[i].reach != reach)
		i++;
	return i;
}

/* The word of the probe that this response is of; 0: of none for this gate. */
static uint64_t probe_of(const struct observing *o, struct bucket_ref gate)
{
	for (uint32_t i = o->ticket ? first_probe(o->ticket) : 0;
	     o->ticket && i < o->ticket->n_links && i < CHAIN_LINKS_MAX; i++) {
		const struct ration_ticket_link *link = &o->ticket->links[i];

		if (link->bucket == gate.bucket && link->generation == gate.generation)
			return link->word;
	}
	return 0;
}

/* Each refused response blocks it anew: people are told once a second. */
static void tell_blocked(const struct observing *o, struct bucket_ref gate,
			 const struct gate_block *block)
{
	const enum event_type type =
		block->why == GATE_WHY_BREAKER ? EVENT_BREAKER_OPENED : EVENT_BLOCKED;
	struct event event;
	uint64_t times;

	if (!event_due(o->ration, type, gate.bucket, 0, o->now, &times))
		return;
	event = event_about(o->handle, type);
	event.number[EVENT_TIMES] = times;
	event.number[EVENT_STATUS] = (uint64_t)o->signal->status;
	event.number[EVENT_WAIT_NS] = (block->until - o->now) / TICKS_PER_NS;
	event.text[EVENT_WHY] = block->probe ? "a probe was refused" : "";
	event_tell(o->ration, &event);
}

static int block_gate(const struct observing *o, size_t which, uint64_t ticks, enum gate_why why)
{
	const uint64_t most = ticks_of(o->vendor->max_block_ns);
	struct gate_block block = {.why = why};
	struct bucket_ref gate;
	int result = make_gate(o->ration, o->blob, gates[which].scope, o->handle->field, &gate);

	if (result != 0)
		return result;
	block.probe = probe_of(o, gate);
	if (ticks == BACK_OFF)
		ticks = gate_backoff(&o->ration->seg, gate, block.probe != 0);
	block.until = o->now + least(ticks, most);
	result = close_gate(o->ration, o->blob, gates[which].scope, o->handle->field, &block);
	if (o->signal->limited)
		gate_limited(&o->ration->seg, gate, o->now);
	if (result == 0)
		tell_blocked(o, gate, &block);
	return result;
}

static int observe_block(const struct observing *o)
{
	const enum ration_limit_class class = o->signal->limit_class;
	const enum gate_why why =
		class == RATION_LIMIT_NONE ? GATE_WHY_VENDOR : (enum gate_why) class;
	const uint64_t retry = o->signal->retry_in_ns;

	if (o->reach == RATION_REACH_REQUEST)
		return 0;
	return block_gate(o, gate_of(o->reach),
			  retry == RATION_UNKNOWN ? BACK_OFF : ticks_of(retry), why);
}

/*
 * A request that was on its way when the gate was last limited tells nothing new: of a vendor that has just begun to refuse
 * all that are under way are refused, and those it accepted before were not counted.
 */
static bool is_news(const struct observing *o)
{
	struct bucket_ref gate;

	return !o->ticket ||
	       index_find(&o->ration->seg,
			  client_gate_identity(o->blob, gates[gate_of(RATION_REACH_TENANT)].scope,
					       o->handle->field),
			  &gate) != INDEX_FOUND ||
	       o->ticket->permit > shm_load(&o->ration->seg.hot[gate.bucket].state[2]);
}

/* It counts from the first limited response on: nobody makes a gate where there is no trouble. */
static int observe_breaker(const struct observing *o)
{
	const size_t tenant = gate_of(RATION_REACH_TENANT);
	const struct blob_breaker *b = &o->vendor->breaker;
	const struct gate_breaker breaker = {ticks_of(b->window_ns), b->share_ppm, b->least};
	const bool limited = o->reach != RATION_REACH_REQUEST;
	struct seg *seg = &o->ration->seg;
	struct bucket_ref gate;
	int result = 0;
	bool again;

	if (b->window_ns == 0)
		return 0;
	if (limited)
		result =
			make_gate(o->ration, o->blob, gates[tenant].scope, o->handle->field, &gate);
	else if (index_find(seg,
			    client_gate_identity(o->blob, gates[tenant].scope, o->handle->field),
			    &gate) != INDEX_FOUND)
		return 0;
	if (result != 0)
		return result;
	if (limited)
		gate_limited(seg, gate, o->now);
	again = limited && GATE_WHY(probe_of(o, gate)) == GATE_WHY_BREAKER;
	/* Both: it is counted in any case. */
	if (!(gate_count(seg, gate, &breaker, limited, o->now) | again))
		return 0;
	return block_gate(o, tenant, ticks_of(b->open_ns), GATE_WHY_BREAKER);
}

/*
 * Probes of gates that this response says nothing against: what is wider than its reach is open again. What is narrower was
 * not answered: the next one is to try.
 */
static void observe_probes(const struct observing *o)
{
	for (uint32_t i = o->ticket ? first_probe(o->ticket) : 0;
	     o->ticket && i < o->ticket->n_links && i < CHAIN_LINKS_MAX; i++) {
		const struct ration_ticket_link *link = &o->ticket->links[i];
		const struct charge_ref charge = {
			.bucket = link->bucket,
			.generation = link->generation,
			.taken = {.word = link->word},
		};
		enum ration_reach reach = RATION_REACH_ACCOUNT;

		if (link->bucket >= o->ration->seg.n_buckets)
			continue;
		for (size_t k = 0; k < RATION_GATES_MAX; k++) {
			if (gates[k].scope ==
			    COLD_SCOPE(shm_half_load(&o->ration->seg.cold[link->bucket].scope)))
				reach = gates[k].reach;
		}
		if (reach > o->reach)
			good_probe(o->ration, link, o->now);
		else if (reach < o->reach && gate_give_back(&o->ration->seg, &charge, 1))
			wake_next(o->ration, link->bucket);
	}
}

int gate_hold(struct ration_handle *handle, enum ration_reach reach, uint64_t ns, uint64_t now)
{
	static const struct ration_signal nothing = {.retry_in_ns = RATION_UNKNOWN};
	struct observing o = {
		.ration = handle->ration,
		.handle = handle,
		.signal = &nothing,
		.blob = policy_enter(handle->ration),
		.now = now,
	};
	const uint32_t vendor = blob_find_vendor(o.blob, handle->field[KEY_VENDOR]);
	int result = RATION_EVENDOR;

	if (vendor != BLOB_NO_INDEX) {
		o.vendor = &o.blob->vendors[vendor];
		result = block_gate(&o, gate_of(reach_within(handle, reach)), ticks_of(ns),
				    GATE_WHY_VENDOR);
	}
	policy_leave(handle->ration);
	return result;
}

int gate_observe(struct ration_handle *handle, const struct ration_ticket *ticket,
		 const struct ration_signal *signal, uint64_t now)
{
	struct observing o = {
		.ration = handle->ration,
		.handle = handle,
		.ticket = ticket,
		.signal = signal,
		.blob = policy_enter(handle->ration),
		.reach = reach_of(handle, signal),
		.now = now,
	};
	const uint32_t vendor = blob_find_vendor(o.blob, handle->field[KEY_VENDOR]);
	int result = RATION_EVENDOR, counted;
	bool news;

	if (vendor != BLOB_NO_INDEX) {
		o.vendor = &o.blob->vendors[vendor];
		news = is_news(&o);
		result = observe_block(&o);
		counted = news ? observe_breaker(&o) : 0;
		observe_probes(&o);
		result = result != 0 ? result : counted;
	}
	policy_leave(handle->ration);
	return result;
}

/* --- what an operator says --- */

static const char *given(const char *text)
{
	return text ? text : "";
}

static void fields_of(const struct gate_key *key, const char *field[KEY_FIELDS])
{
	field[KEY_TENANT] = given(key->tenant);
	field[KEY_VENDOR] = given(key->vendor);
	field[KEY_CLASS] = "";
	field[KEY_ACCOUNT] = given(key->account);
	field[KEY_RESOURCE] = given(key->resource);
}

static size_t gate_of_key(const char *const field[KEY_FIELDS])
{
	if (field[KEY_ACCOUNT][0])
		return gate_of(RATION_REACH_ACCOUNT);
	return gate_of(field[KEY_RESOURCE][0] ? RATION_REACH_RESOURCE : RATION_REACH_TENANT);
}

int gate_close_by_hand(struct ration *ration, const struct gate_key *key, uint64_t ns)
{
	const int ready = attachment_ready(ration);
	const uint64_t now = client_now(ration);
	const struct gate_block block = {.until = now + least(ticks_of(ns), GATE_BLOCK_MAX),
					 .why = GATE_WHY_OPERATOR};
	const char *field[KEY_FIELDS];
	const struct blob *blob;
	int result = RATION_EVENDOR;

	if (ready != 0)
		return ready;
	fields_of(key, field);
	blob = policy_enter(ration);
	if (blob_find_vendor(blob, field[KEY_VENDOR]) != BLOB_NO_INDEX)
		result = close_gate(ration, blob, gates[gate_of_key(field)].scope, field, &block);
	policy_leave(ration);
	return result;
}

/* Of the key's tenant and vendor, by the names that its maker gave it. */
static bool is_of(const struct seg *seg, uint32_t bucket, const struct gate_key *key)
{
	const struct seg_cold *cold = &seg->cold[bucket];
	char tenant[RATION_KEY_MAX + 2], vendor[RATION_KEY_MAX + 2];

	if (KIND_OF(shm_half_load(&seg->hot[bucket].kind)) != KIND_GATE ||
	    shm_load(&cold->owner) != COLD_LINKED ||
	    !(COLD_SCOPE(shm_half_load(&cold->scope)) & RATION_SCOPE_TENANT))
		return false;
	names_copy(seg, shm_half_load(&cold->names[NAME_TENANT]), tenant, sizeof(tenant));
	names_copy(seg, shm_half_load(&cold->names[NAME_VENDOR]), vendor, sizeof(vendor));
	return strcmp(tenant, given(key->tenant)) == 0 && strcmp(vendor, given(key->vendor)) == 0;
}

static int lift_one(struct ration *ration, uint32_t bucket)
{
	const struct bucket_ref gate = {bucket, shm_half_load(&ration->seg.hot[bucket].generation)};
	const uint64_t word = shm_load(&ration->seg.hot[bucket].state[0]);
	const uint64_t now = client_now(ration);

	if (!gate_lift(&ration->seg, gate, 0, now))
		return 0;
	tell_lifted(ration, gate, word, now, "by hand");
	lifted(ration, gate, now);
	return 1;
}

static int lift_named(struct ration *ration, const struct gate_key *key, uint32_t but)
{
	int n = 0;

	for (uint32_t i = 0; i < ration->seg.n_buckets; i++) {
		if (i != but && is_of(&ration->seg, i, key))
			n += lift_one(ration, i);
	}
	return n;
}

int gate_lift_by_hand(struct ration *ration, const struct gate_key *key)
{
	const int ready = attachment_ready(ration);
	struct bucket_ref gate = {UINT32_MAX, 0};
	const char *field[KEY_FIELDS];
	const struct blob *blob;
	struct hash128 identity;
	bool known, found;
	int n = 0;

	if (ready != 0)
		return ready;
	fields_of(key, field);
	blob = policy_enter(ration);
	known = blob_find_vendor(blob, field[KEY_VENDOR]) != BLOB_NO_INDEX;
	identity = client_gate_identity(blob, gates[gate_of_key(field)].scope, field);
	policy_leave(ration);
	if (!known)
		return RATION_EVENDOR;
	found = index_find(&ration->seg, identity, &gate) == INDEX_FOUND;
	if (found)
		n = lift_one(ration, gate.bucket);
	if (field[KEY_ACCOUNT][0] == '\0' && field[KEY_RESOURCE][0] == '\0')
		n += lift_named(ration, key, gate.bucket);
	return n;
}
