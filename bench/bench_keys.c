/*
 * bench/bench_keys.c - the same among a thousand buckets and among a million
 * SPDX-License-Identifier: MIT
 *
 * Two supervisors of the benchmark's own, one with room for little more than a thousand buckets and one for little more
 * than a million, all of them made before anything is measured. See bench/README for what the figures mean.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <ration/ration.h>

#include "support_floors.h"
#include "support_report.h"
#include "support_server.h"

/* Keys of which a handle is held, spread over all. */
enum { HELD = 1000 };

enum size { FEW, MANY, SIZES };

static const unsigned buckets[SIZES] = {1000, 1000000};

/* Made while it is measured; more than a run of any length makes. */
enum { ROOM = 200000 };

static struct table {
	struct server server;
	struct ration *ration;
	struct ration_handle *held[HELD];
	unsigned made; /* keys made while it was measured */
} tables[SIZES];

static struct ration_ticket ticket;

static void stop(void)
{
	for (unsigned t = 0; t < SIZES; t++) {
		for (unsigned i = 0; i < HELD; i++)
			ration_handle_free(&tables[t].held[i]);
		ration_detach(&tables[t].ration);
		server_stop(&tables[t].server);
	}
}

static _Noreturn void give_up(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	stop();
	exit(EXIT_FAILURE);
}

static struct ration_handle *resolve(struct table *table, const char *prefix, unsigned serial)
{
	char tenant[32];
	const struct ration_key key = {
		.tenant = tenant, .vendor = "one", .traffic_class = "interactive"};
	struct ration_handle *handle;
	struct ration_error error;

	snprintf(tenant, sizeof(tenant), "%s-%u", prefix, serial);
	if (ration_resolve(table->ration, &key, &handle, &error) != 0)
		give_up("resolve", error.text);
	return handle;
}

/* --- what is measured --- */

static void acquire(struct ration_handle *handle)
{
	const int result = ration_acquire(handle, NULL, 0, &ticket, NULL);

	if (result != 0 && result != RATION_CONTENDED)
		give_up("acquire", ration_strerror(result));
}

static void acquire_held(struct table *table, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		acquire(table->held[0]);
}

static void acquire_in_turn(struct table *table, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		acquire(table->held[i % HELD]);
}

static void find(struct table *table, unsigned n)
{
	static unsigned serial;
	const unsigned of = buckets[table - tables];

	for (unsigned i = 0; i < n; i++) {
		struct ration_handle *handle;

		serial = (serial + 7919) % of;
		handle = resolve(table, "tenant", serial);
		ration_handle_free(&handle);
	}
}

static void make(struct table *table, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct ration_handle *handle = resolve(table, "new", table->made++);

		ration_handle_free(&handle);
	}
}

#define BOTH(name)                                                                                 \
	static void name##_few(unsigned n)                                                         \
	{                                                                                          \
		name(&tables[FEW], n);                                                             \
	}                                                                                          \
	static void name##_many(unsigned n)                                                        \
	{                                                                                          \
		name(&tables[MANY], n);                                                            \
	}

BOTH(acquire_held)
BOTH(acquire_in_turn)
BOTH(find)
BOTH(make)

enum {
	TIMER,
	FLOOR,
	HELD_FEW,
	HELD_MANY,
	IN_TURN_FEW,
	IN_TURN_MANY,
	FIND_FEW,
	FIND_MANY,
	MAKE_FEW,
	MAKE_MANY,
	OPERATIONS,
};

static struct operation ops[OPERATIONS] = {
	[TIMER] = {"timer", NULL, 1000, .run = floor_nothing, .singles = 500},
	[FLOOR] = {"clock_cas", "one clock read, one compare-and-swap", 1000,
		   .run = floor_clock_cas, .singles = 500},
	[HELD_FEW] = {"held_1e3", "a handle, among 1,000 buckets", 1000, .run = acquire_held_few,
		      .singles = 500},
	[HELD_MANY] = {"held_1e6", "a handle, among 1,000,000", 1000, .run = acquire_held_many,
		       .singles = 500},
	[IN_TURN_FEW] = {"in_turn_1e3", "1,000 handles in turn, of 1,000", HELD,
			 .run = acquire_in_turn_few},
	[IN_TURN_MANY] = {"in_turn_1e6", "1,000 handles in turn, of 1,000,000", HELD,
			  .run = acquire_in_turn_many},
	[FIND_FEW] = {"find_1e3", "resolve a known key, of 1,000", 100, .run = find_few},
	[FIND_MANY] = {"find_1e6", "resolve a known key, of 1,000,000", 100, .run = find_many},
	[MAKE_FEW] = {"make_1e3", "resolve a new key, to 1,000", 20, 20000, .run = make_few},
	[MAKE_MANY] = {"make_1e6", "resolve a new key, to 1,000,000", 20, 20000, .run = make_many},
};

/* --- the tables --- */

static bool start_supervisor(struct table *table, const char *socket, unsigned room)
{
	const char *build = getenv("RATION_BUILD");
	char program[256], number[16];
	const char *const argv[] = {program,    "--policy", "bench/policy.yaml",
				    "--socket", socket,     "--buckets",
				    number,     NULL};

	snprintf(program, sizeof(program), "%s/rationd", build ? build : "build");
	snprintf(number, sizeof(number), "%u", room);
	return server_start(&table->server, argv);
}

/* It listens a moment after it was started. */
static void attach(struct table *table, const char *socket)
{
	static const struct timespec pause = {.tv_nsec = 10000000};
	struct ration_error error = {"rationd has ended"};

	for (int i = 0; i < 500 && server_runs(&table->server); i++) {
		if (ration_attach(socket, 0, &table->ration, &error) == 0)
			return;
		nanosleep(&pause, NULL);
	}
	give_up("attach", error.text);
}

static void start(enum size size)
{
	struct table *table = &tables[size];
	char socket[128];

	if (!server_dir(&table->server))
		exit(EXIT_FAILURE);
	snprintf(socket, sizeof(socket), "%s/ration.sock", table->server.dir);
	if (!start_supervisor(table, socket, buckets[size] + ROOM))
		give_up("rationd", "not built");
	attach(table, socket);
	for (unsigned i = 0; i < buckets[size]; i++) {
		const unsigned each = buckets[size] / HELD;
		struct ration_handle *handle = resolve(table, "tenant", i);

		if (i % each == 0)
			table->held[i / each] = handle;
		else
			ration_handle_free(&handle);
	}
}

static void show_targets(const struct report_setup *setup, const struct measured *m)
{
	const struct target targets[] = {
		{"held", "a handle among 1,000,000, to one among 1,000",
		 rounds_ratio(&m[HELD_MANY], &m[HELD_FEW], ALONE, setup->rounds), 1.05, false, "x"},
	};

	report_targets(setup, targets, sizeof(targets) / sizeof(targets[0]));
}

int main(int argc, char **argv)
{
	static struct measured m[OPERATIONS];
	struct report_setup setup = {.bench = "keys", .rounds = 60, .timer = TIMER, .floor = FLOOR};
	char machine[256];
	bool ok;

	report_options(argc, argv, "The same among a thousand buckets and among a million.",
		       &setup);
	if (!floors_start())
		return EXIT_FAILURE;
	start(FEW);
	start(MANY);
	ok = rounds_run(ops, OPERATIONS, setup.rounds, m);
	stop();
	if (!ok)
		return EXIT_FAILURE;
	report_machine(machine, sizeof(machine));
	if (!setup.json)
		printf("\n%s\nmedians of %u rounds\n\n", machine, setup.rounds);
	report_rows(&setup, ops, OPERATIONS, m);
	show_targets(&setup, m);
	return EXIT_SUCCESS;
}
