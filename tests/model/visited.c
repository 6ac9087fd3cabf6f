/*
 * tests/model/visited.c - which states were explored, and how many executions lead on from each
 * SPDX-License-Identifier: MIT
 */
#include "visited.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	struct hash hash; /* 0, 0: empty */
	double executions;
};

static struct entry *table;
static uint64_t room;
static uint64_t count;

static struct entry *place(struct hash hash)
{
	uint64_t at = hash.word[0] & (room - 1);

	while (table[at].hash.word[0] | table[at].hash.word[1]) {
		if (memcmp(&table[at].hash, &hash, sizeof(hash)) == 0)
			break;
		at = (at + 1) & (room - 1);
	}
	return &table[at];
}

static void make_room(uint64_t wanted)
{
	struct entry *old = table;
	const uint64_t before = room;

	table = calloc(wanted, sizeof(*table));
	if (!table)
		abort();
	room = wanted;
	for (uint64_t i = 0; i < before; i++) {
		if (old[i].hash.word[0] | old[i].hash.word[1])
			*place(old[i].hash) = old[i];
	}
	free(old);
}

void visited_clear(void)
{
	free(table);
	table = NULL;
	room = count = 0;
	make_room(UINT64_C(1) << 14);
}

bool visited_find(struct hash hash, double **ret_executions)
{
	struct entry *entry = place(hash);

	if (entry->hash.word[0] | entry->hash.word[1]) {
		*ret_executions = &entry->executions;
		return true;
	}
	if (++count * 3 > room * 2) {
		make_room(room * 2);
		entry = place(hash);
	}
	entry->hash = hash;
	return false;
}

void visited_set(struct hash hash, double executions)
{
	place(hash)->executions = executions;
}

uint64_t visited_count(void)
{
	return count;
}
