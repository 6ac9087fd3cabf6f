/*
 * cli/pipe_hold.c - what a pipe holds: keys, tickets, acquires that wait
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/pipe_hold.h"

/* A number is [serial | slot]. */
enum { SLOT_BITS = 12 };
_Static_assert(PIPE_TICKETS_MAX == 1 << SLOT_BITS, "slots fit their bits");

bool tickets_full(const struct tickets *tickets)
{
	return tickets->first_free == 0 && tickets->n_slots == PIPE_TICKETS_MAX;
}

/* Twice as many slots, the new ones free. */
static void add_slots(struct tickets *t)
{
	const uint32_t n = t->n_slots ? t->n_slots * 2 : 16;

	t->slots = cli_alloc(t->slots, n, sizeof(*t->slots));
	for (uint32_t i = n; i-- > t->n_slots;) {
		t->slots[i] = (struct ticket_slot){.next_free = t->first_free};
		t->first_free = i + 1;
	}
	t->n_slots = n;
}

uint64_t tickets_add(struct tickets *tickets, const struct ration_ticket *ticket)
{
	struct ticket_slot *slot;
	uint32_t i;

	if (tickets->first_free == 0)
		add_slots(tickets);
	i = tickets->first_free - 1;
	slot = &tickets->slots[i];
	tickets->first_free = slot->next_free;
	slot->number = ++tickets->serial << SLOT_BITS | i;
	slot->ticket = *ticket;
	return slot->number;
}

static uint32_t slot_of(uint64_t number)
{
	return (uint32_t)(number & (PIPE_TICKETS_MAX - 1));
}

const struct ration_ticket *tickets_find(const struct tickets *tickets, uint64_t number)
{
	const uint32_t i = slot_of(number);

	if (number == 0 || i >= tickets->n_slots || tickets->slots[i].number != number)
		return NULL;
	return &tickets->slots[i].ticket;
}

bool tickets_take(struct tickets *tickets, uint64_t number, struct ration_ticket *ret_ticket)
{
	const struct ration_ticket *ticket = tickets_find(tickets, number);
	const uint32_t i = slot_of(number);
	struct ticket_slot *slot;

	if (!ticket)
		return false;
	slot = &tickets->slots[i];
	*ret_ticket = *ticket;
	slot->number = 0;
	slot->next_free = tickets->first_free;
	tickets->first_free = i + 1;
	return true;
}

void tickets_free(struct tickets *tickets)
{
	free(tickets->slots);
	*tickets = (struct tickets){0};
}

void waits_add(struct waits *waits, const struct wait *wait)
{
	if (waits->count == waits->room) {
		waits->room = waits->room ? waits->room * 2 : 16;
		waits->list = cli_alloc(waits->list, waits->room, sizeof(*waits->list));
	}
	waits->list[waits->count++] = *wait;
}

static bool is_woken(const struct pipe_key *key)
{
	return key->stands && ration_wait_woken(&key->place);
}

/* One wait of a pass; true: it is over. */
static bool serve(struct wait *wait, uint64_t pass, uint64_t now_ns, wait_try *try, void *user)
{
	struct pipe_key *key = wait->key;
	const bool first = key->blocked_pass != pass;

	if (!first && now_ns < wait->deadline_ns) {
		if (wait->retry_at_ns < key->retry_at_ns)
			wait->retry_at_ns = key->retry_at_ns;
	} else if ((wait->retry_at_ns <= now_ns || (first && is_woken(key))) &&
		   try(user, wait, now_ns, first)) {
		return true;
	}
	if (wait->retry_at_ns > wait->deadline_ns)
		wait->retry_at_ns = wait->deadline_ns;
	if (first) {
		key->blocked_pass = pass;
		key->retry_at_ns = wait->retry_at_ns;
	}
	return false;
}

void waits_serve(struct waits *waits, uint64_t now_ns, wait_try *try, void *user)
{
	size_t kept = 0;

	waits->pass++;
	for (size_t i = 0; i < waits->count; i++) {
		struct wait *wait = &waits->list[i];

		if (serve(wait, waits->pass, now_ns, try, user))
			json_decref(wait->root);
		else
			waits->list[kept++] = *wait;
	}
	waits->count = kept;
}

uint64_t waits_due(const struct waits *waits)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < waits->count; i++) {
		if (is_woken(waits->list[i].key))
			return 0;
		if (waits->list[i].retry_at_ns < due)
			due = waits->list[i].retry_at_ns;
	}
	return due;
}

void waits_free(struct waits *waits)
{
	for (size_t i = 0; i < waits->count; i++)
		json_decref(waits->list[i].root);
	free(waits->list);
	*waits = (struct waits){0};
}
