/*
 * client/singleton.c - at most one of a name on the host
 * SPDX-License-Identifier: MIT
 */
#include "client/singleton.h"

#include <errno.h>
#include <string.h>

#include "client/attachment.h"
#include "shm/extent.h"
#include "shm/hash.h"
#include "shm/slots.h"
#include "shm/worker.h"

/* No limit of a policy can have this name. */
static const char record_name[] = "(singleton)";

/* Not a scope that a limit could have: no identity of a limit is the same. */
#define NO_SCOPE 0xffu

static uint64_t fill(struct seg *seg, uint32_t bucket, uint32_t first, void *user)
{
	const uint64_t *now = user, numbers = slots_pack(1, 0, 0);

	slots_first(seg, bucket, first, slots_table_words(1), numbers, *now, false);
	return 0;
}

static struct hash128 identity_of(struct ration *ration, const char *name)
{
	unsigned char data[2 + RATION_KEY_MAX] = {KIND_SLOTS, NO_SCOPE};
	const size_t size = strlen(name);
	const struct blob *blob = policy_enter(ration);
	struct hash128 identity;

	for (size_t i = 0; i < size; i++)
		data[2 + i] = (unsigned char)name[i];
	identity = hash_keyed(blob->header->hash_key, data, 2 + size);
	policy_leave(ration);
	if (identity.word[0] == 0 && identity.word[1] == 0)
		identity.word[0] = 1;
	return identity;
}

static enum index_result record_of(struct ration *ration, const char *name, uint64_t now,
				   struct bucket_ref *ret_ref)
{
	const struct bucket_spec spec = {
		.identity = identity_of(ration, name),
		.kind = KIND_SLOTS,
		.now = now,
		.numbers = slots_pack(1, 0, 0),
		.scope = RATION_SCOPE_RESOURCE,
		.names = {[NAME_LIMIT] = record_name, [NAME_RESOURCE] = name},
		.extent_lines = slots_table_words(1) / EXTENT_LINE_WORDS,
		.fill = fill,
		.user = &now,
	};
	enum index_result result = index_find(&ration->seg, spec.identity, ret_ref);

	if (result != INDEX_ABSENT)
		return result;
	if (atomic_flag_test_and_set(&ration->inserting))
		return INDEX_AGAIN;
	result = index_insert(&ration->seg, atomic_load(&ration->slot), &spec, ret_ref);
	atomic_flag_clear(&ration->inserting);
	return result;
}

static enum take take(struct ration *ration, struct bucket_ref ref, uint64_t now,
		      const struct queue_place *place, struct ration_ticket *ticket,
		      struct waiting *waiting)
{
	const struct link link = {
		.bucket = ref.bucket,
		.generation = ref.generation,
		.flags = KIND_SLOTS | LINK_HAS_DEFAULT,
		.default_cost = 1,
	};
	struct draw draw = {
		.links = &link,
		.n_links = 1,
		.at = {.now = now},
		.lease = slots_lease(atomic_load(&ration->identity),
				     slots_sequence(atomic_fetch_add(&ration->leases, 1), 0), now),
		.place = place,
	};
	enum take result = TAKE_CORRUPT;

	*ticket = (struct ration_ticket){.permit = now, .expires = UINT64_MAX};
	if (chain_units(&draw, NULL, 0))
		result = chain_look(&ration->seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&ration->seg, &draw, ticket);
	if (result == TAKE_ADMIT)
		ticket->owner = atomic_load(&ration->identity);
	*waiting = (struct waiting){
		.bucket = ref.bucket,
		.generation = ref.generation,
		.kind = KIND_SLOTS,
		.units = 1,
		.sooner = true,
		.retry_at = draw.verdict.why.retry_at,
	};
	return result;
}

static struct singleton_holder holder_of(const struct ration *ration, uint32_t bucket, uint64_t now)
{
	const struct seg *seg = &ration->seg;
	const uint64_t lease = slots_word(seg, bucket, 0);
	const uint32_t worker = slots_holder(lease);
	struct singleton_holder holder = {0};

	if (worker >= seg->n_workers)
		return holder;
	holder.pid = worker_pid(shm_load(&seg->workers[worker].identity));
	holder.since_ns = (now - slots_since(lease, now)) / TICKS_PER_NS;
	return holder;
}

/* A name that somebody waits for. */
struct claimed {
	struct ration *ration;
	const char *name;
	struct singleton_holder holder;
};

static int acquire_name(void *user, const struct queue_place *place, struct ration_ticket *ticket,
			struct ration_denial *denial, struct waiting *waiting)
{
	struct claimed *claimed = user;
	struct ration *ration = claimed->ration;
	const uint64_t now = client_now(ration);
	struct bucket_ref ref;

	(void)denial;
	switch (record_of(ration, claimed->name, now, &ref)) {
	case INDEX_FOUND:
		break;
	case INDEX_FULL:
	case INDEX_ABSENT:
		return RATION_EFULL;
	case INDEX_AGAIN:
		return RATION_CONTENDED;
	default:
		return RATION_ECORRUPT;
	}
	switch (take(ration, ref, now, place, ticket, waiting)) {
	case TAKE_ADMIT:
		return 0;
	case TAKE_WAIT:
		claimed->holder = holder_of(ration, ref.bucket, now);
		return RATION_DENIED;
	case TAKE_CORRUPT:
		return RATION_ECORRUPT;
	default:
		return RATION_CONTENDED;
	}
}

/* Whoever took the name left nothing for others. */
static bool fits_no_more(void *user)
{
	(void)user;
	return false;
}

int singleton_take(struct ration *ration, const char *name, uint64_t deadline_ns,
		   struct ration_ticket *ret_ticket, struct singleton_holder *ret_holder)
{
	struct claimed claimed = {.ration = ration, .name = name};
	const struct wanted wanted = {acquire_name, fits_no_more, &claimed};
	int result;

	if (name[0] == '\0' || strlen(name) > RATION_KEY_MAX)
		return -EINVAL;
	result = client_acquire_until(ration, &wanted, deadline_ns, ret_ticket, NULL);
	if (result == RATION_DENIED && ret_holder)
		*ret_holder = claimed.holder;
	return result;
}
