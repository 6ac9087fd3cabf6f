/*
 * tests/support_check.c - after each test: is the segment still as it must be?
 * SPDX-License-Identifier: MIT
 */
#include "support_check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "client/memory.h"
#include "shm/check.h"

#define WORLDS_MAX 128

static struct seg worlds[WORLDS_MAX];
static unsigned n_worlds;
static uint64_t ahead_ns;

void check_watch(int state_fd, uint64_t size)
{
	if (n_worlds == WORLDS_MAX ||
	    memory_map_state(state_fd, size, false, &worlds[n_worlds]) != 0) {
		fprintf(stderr, "a segment cannot be watched\n");
		abort();
	}
	n_worlds++;
}

void check_advance(uint64_t ns)
{
	ahead_ns += ns;
}

static void print_problem(void *user, const char *what, uint32_t where)
{
	const struct seg *seg = user;

	fprintf(stderr, "segment %d: %s (%u)\n", (int)(seg - worlds), what, where);
}

unsigned check_count(void)
{
	unsigned problems = 0;

	for (unsigned i = 0; i < n_worlds; i++) {
		const uint64_t ns = clock_boot_ns() - worlds[i].epoch_ns + ahead_ns;

		problems +=
			seg_check(&worlds[i], ns * TICKS_PER_NS, true, print_problem, &worlds[i]);
	}
	return problems;
}

void check_worlds(void)
{
	const unsigned problems = check_count();

	while (n_worlds > 0)
		memory_unmap_state(&worlds[--n_worlds]);
	if (problems > 0)
		abort();
}
