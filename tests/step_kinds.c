/*
 * tests/step_kinds.c - leases, windows and chains of all kinds, killed and stopped at each instruction
 * SPDX-License-Identifier: MIT
 *
 * A key's chain is a bucket, a window and one slot, or one of them alone. What the segment counts must be what the workers
 * were told they have, and not less; more only if the worker was killed, and then only what its operation takes.
 * A lease is exact even then.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/chain.h"
#include "shm/extent.h"
#include "shm/index.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"
#include "support_step.h"

enum record { BUCKET, WINDOW, SLOTS, RECORDS };

#define ALL         7u /* masks of records */
#define ONE(record) (1u << (record))

#define T0     (UINT64_C(1) << 40)
#define HOLD   UINT64_C(1000000000) /* ns */
#define LATER  (T0 + 2 * HOLD * TICKS_PER_NS)
#define ROOM   UINT64_C(8) /* of the bucket and of the window */
#define COST   UINT64_C(3)
#define UNIT   7u
#define WORDS  8u
#define LENGTH 1000 /* ns of a window */
#define WALL   950  /* so near its end that the next is charged too */

/* What a worker has, as it knows. */
struct outcome {
	struct ration_ticket ticket;
	uint64_t units[RECORDS];
	uint32_t sequence;
	bool denied;
};

struct stage {
	struct outcome outcome[STEP_WORKERS];
	struct bucket_ref refs[RECORDS];
	uint64_t now;
	bool closed; /* the slots */
};

static struct stage *stage(void)
{
	return step_stage;
}

static uint64_t clock_now(void *user)
{
	(void)user;
	return stage()->now;
}

static struct seg_hot *hot(enum record record)
{
	return &step_seg.hot[stage()->refs[record].bucket];
}

/* --- the operations --- */

static const enum seg_kind kinds[RECORDS] = {KIND_BUCKET, KIND_WINDOW, KIND_SLOTS};

static uint32_t make_chain(unsigned mask, struct link links[RECORDS])
{
	uint32_t n = 0;

	for (unsigned i = 0; i < RECORDS; i++) {
		if (!(mask & ONE(i)))
			continue;
		links[n] = (struct link){
			.bucket = stage()->refs[i].bucket,
			.generation = stage()->refs[i].generation,
			.unit = UNIT,
			.flags = kinds[i],
		};
		if (i == WINDOW) {
			links[n].shape[WINDOW_INDEX] = 1;
			links[n].shape[WINDOW_END] = LENGTH;
			links[n].shape[WINDOW_BEFORE] = 100;
		}
		n++;
	}
	return n;
}

static enum record record_of(const struct ration_ticket_link *link)
{
	switch (LINK_KIND(link->flags)) {
	case KIND_BUCKET:
		return BUCKET;
	case KIND_WINDOW:
		return WINDOW;
	default:
		return SLOTS;
	}
}

static void acquire(enum step_who who, unsigned mask)
{
	struct outcome *mine = &stage()->outcome[who];
	const struct charge cost = {UNIT, COST};
	struct link links[RECORDS];
	struct draw draw = {.links = links, .at = {stage()->now, WALL}};
	enum take result;

	draw.n_links = make_chain(mask, links);
	draw.lease =
		slots_lease(worker_identity(who, 1, who + 100), ++mine->sequence, stage()->now);
	(void)chain_units(&draw, &cost, 1);
	mine->ticket.n_links = 0;
	result = chain_look(&step_seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&step_seg, &draw, &mine->ticket);
	mine->ticket.permit = stage()->now;
	mine->denied = result != TAKE_ADMIT;
	if (mine->denied) {
		chain_give_back(&step_seg, &mine->ticket, clock_now, NULL);
		mine->ticket.n_links = 0;
	}
	for (uint32_t i = 0; i < mine->ticket.n_links; i++)
		mine->units[record_of(&mine->ticket.links[i])] += mine->ticket.links[i].amount;
	step_done(who);
}

static void take(enum step_who who)
{
	acquire(who, ALL);
}

static void take_bucket(enum step_who who)
{
	acquire(who, ONE(BUCKET));
}

static void take_window(enum step_who who)
{
	acquire(who, ONE(WINDOW));
}

static void take_lease(enum step_who who)
{
	acquire(who, ONE(SLOTS));
}

/* From here on the request does not leave, however this ends. */
static void cancel(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];

	memset(mine->units, 0, sizeof(mine->units));
	chain_give_back(&step_seg, &mine->ticket, clock_now, NULL);
	mine->ticket.n_links = 0;
	step_done(who);
}

static void release(enum step_who who)
{
	struct outcome *mine = &stage()->outcome[who];

	mine->units[SLOTS] = 0;
	chain_release(&step_seg, &mine->ticket);
	step_done(who);
}

static void settle_to(enum step_who who, uint64_t units)
{
	struct outcome *mine = &stage()->outcome[who];

	for (uint32_t i = 0; i < mine->ticket.n_links; i++) {
		const enum record record = record_of(&mine->ticket.links[i]);

		if (record == SLOTS)
			continue;
		if (units < mine->units[record])
			mine->units[record] = units;
		chain_settle_link(&step_seg, &mine->ticket, i, units, clock_now, NULL);
		mine->units[record] = units;
	}
	chain_release(&step_seg, &mine->ticket);
	mine->units[SLOTS] = 0;
	step_done(who);
}

static void settle_down(enum step_who who)
{
	settle_to(who, 1);
}

static void settle_up(enum step_who who)
{
	settle_to(who, 2 * COST);
}

/* The vendor says that all but two are gone. */
static void correct(enum step_who who)
{
	uint64_t units;

	(void)window_correct(&step_seg, stage()->refs[WINDOW], 1, ROOM - 2, clock_now, NULL,
			     &units);
	step_done(who);
}

static void take_and_cancel(enum step_who who)
{
	acquire(who, ALL);
	cancel(who);
}

static void take_and_release(enum step_who who)
{
	acquire(who, ONE(SLOTS));
	release(who);
}

/* B is dead, and A is who clears up after it. */
static void reap_b(enum step_who who)
{
	worker_reap(&step_seg, B, 0);
	step_done(who);
}

static void take_as_c(enum step_who who)
{
	(void)who;
	acquire(C, ONE(SLOTS));
}

/* Nothing of a table that is to be reclaimed can be taken, or it is not reclaimed. */
static void close_slots(enum step_who who)
{
	stage()->closed = slots_close(&step_seg, stage()->refs[SLOTS].bucket, stage()->now);
	step_done(who);
}

/* --- what is there before --- */

static void take_by_b(enum step_who who)
{
	(void)who;
	acquire(B, ONE(SLOTS));
}

/* So long ago that its maximum hold is over. */
static void held_too_long(enum step_who who)
{
	acquire(who, ONE(SLOTS));
	stage()->now = LATER;
}

static void held_too_long_by_b(enum step_who who)
{
	(void)who;
	acquire(B, ONE(SLOTS));
	stage()->now = LATER;
}

/* --- what must hold afterwards --- */

static uint64_t told(enum record record)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STEP_WORKERS; i++)
		sum += stage()->outcome[i].units[record];
	return sum;
}

static uint64_t spent(enum record record)
{
	const uint64_t tat = atomic_load(&hot(BUCKET)->state[0]);

	if (record == BUCKET)
		return tat > stage()->now ? tat - stage()->now : 0;
	return window_used(hot(WINDOW), 1);
}

static void check_counts(uint64_t debt, bool exact)
{
	for (enum record r = BUCKET; r <= WINDOW; r++) {
		if (spent(r) < told(r))
			step_fail("less is charged than was admitted");
		if (exact && spent(r) > told(r) + (step_killed ? COST : 0))
			step_fail("more is charged than was admitted");
		if (spent(r) > ROOM + debt)
			step_fail("more was admitted than there is");
	}
	if (window_used(hot(WINDOW), 2) < told(WINDOW))
		step_fail("the guard is not charged");
}

/* A is reaped: its lease is gone, and whoever else was told of one has it. */
static void check_lease(void)
{
	const uint64_t word = slots_word(&step_seg, stage()->refs[SLOTS].bucket, 0);
	uint64_t holders = 0;

	for (enum step_who i = B; i < STEP_WORKERS; i++) {
		const struct outcome *his = &stage()->outcome[i];

		if (his->units[SLOTS] == 0)
			continue;
		holders++;
		if (word != his->ticket.links[his->ticket.n_links - 1].word)
			step_fail("a lease is gone");
	}
	if (holders == 0 && word != 0)
		step_fail("a lease is left that nobody has");
	if (!step_killed && holders + stage()->outcome[A].units[SLOTS] > 1)
		step_fail("a slot is held by two");
}

static void check(void)
{
	check_counts(0, true);
	check_lease();
	if (step_killed && stage()->outcome[B].denied)
		step_fail("another was held up");
}

/* Two charges were given back, one after the other: that may have lost some, never gained. */
static void check_crossed(void)
{
	check_counts(0, false);
	check_lease();
}

static void check_debt(void)
{
	check_counts(COST, true);
	check_lease();
}

static void check_correction(void)
{
	if (!step_killed && window_used(hot(WINDOW), 1) < ROOM - 2)
		step_fail("a correction is forgotten");
	if (spent(WINDOW) < told(WINDOW))
		step_fail("less is charged than was admitted");
}

/* The lease that had lasted too long is A's: it is not there any more, or nobody else has the slot. */
static void check_late_release(void)
{
	stage()->outcome[A].units[SLOTS] = 0;
	check_lease();
	if (step_killed && stage()->outcome[B].denied)
		step_fail("another was held up");
}

/* B's lease had lasted too long, and B released it meanwhile. */
static void check_expired(void)
{
	check_lease();
	if (!step_killed && stage()->outcome[A].denied)
		step_fail("an expired lease was not taken over");
}

static void check_reaped(void)
{
	worker_reap(&step_seg, B, 0);
	stage()->outcome[B].units[SLOTS] = 0;
	check_lease();
}

static void check_closed(void)
{
	const struct outcome *b = &stage()->outcome[B];

	if (!step_killed && stage()->closed && b->units[SLOTS] != 0)
		step_fail("a table is reclaimed in which a lease is held");
	if (step_killed || stage()->closed)
		(void)slots_repair(&step_seg, stage()->refs[SLOTS].bucket);
	check_lease();
	acquire(C, ONE(SLOTS));
	if (stage()->outcome[C].denied && b->units[SLOTS] == 0)
		step_fail("the table is not open again");
	acquire(B, ONE(BUCKET)); /* B is as alive as before */
}

static const struct step_operation operations[] = {
	{"take a lease", NULL, take_lease, take_lease, check},
	{"take a lease beside one who releases", NULL, take_lease, take_and_release, check_lease},
	{"release a lease", take_lease, release, take_lease, check},
	{"release a lease that lasted too long", held_too_long, release, take_lease,
	 check_late_release},
	{"take over a lease that lasted too long", held_too_long_by_b, take_lease, release,
	 check_expired},
	{"reap leases", take_by_b, reap_b, take_as_c, check_reaped},
	{"reclaim slots", NULL, close_slots, take_lease, check_closed},
	{"charge a window", NULL, take_window, take_window, check},
	{"cancel in a window", take_window, cancel, take_window, check},
	{"settle down in a window", take_window, settle_down, take_window, check},
	{"settle up in a window", take_window, settle_up, take_window, check_debt},
	{"correct a window", take_window, correct, take_and_cancel, check_correction},
	{"take a whole chain", NULL, take, take, check},
	{"take a whole chain, another a part", NULL, take, take_bucket, check},
	{"take a whole chain, another the lease", NULL, take, take_lease, check},
	{"take a whole chain beside one who cancels", NULL, take, take_and_cancel, check_crossed},
	{"cancel a whole chain", take, cancel, take, check},
	{"settle a whole chain down", take, settle_down, take, check},
	{"settle a whole chain up", take, settle_up, take, check_debt},
};

/* --- the segment --- */

static void make_record(enum record record, uint64_t numbers, const uint64_t state[2])
{
	const struct bucket_spec spec = {
		.identity = {{record + 1, 1}},
		.kind = kinds[record],
		.numbers = numbers,
		.state = {state[0], state[1]},
	};

	if (numbers == 0 ||
	    index_insert(&step_seg, A, &spec, &stage()->refs[record]) != INDEX_FOUND)
		abort();
}

static void make_slots(void)
{
	const uint64_t numbers = slots_pack(1, HOLD, 0);
	uint32_t lines;

	make_record(SLOTS, numbers, (const uint64_t[2]){0, 0});
	if (!extent_claim(&step_seg, stage()->refs[SLOTS].bucket, WORDS / 8, &lines))
		abort();
	slots_first(&step_seg, stage()->refs[SLOTS].bucket, lines, WORDS, numbers, T0, false);
	shm_store(&hot(SLOTS)->state[3], extent_word(lines, WORDS / 8));
}

static void set_up(void)
{
	const uint64_t numbers = window_pack(ROOM, 1000);
	uint64_t state[2];

	stage()->now = T0;
	make_record(BUCKET, bucket_pack(TICKS_PER_SEC, UINT64_C(1000000000), ROOM),
		    (const uint64_t[2]){T0, 0});
	window_first(numbers, 1, false, state);
	make_record(WINDOW, numbers, state);
	make_slots();
}

int main(void)
{
	const struct step_test test = {
		.stage_size = sizeof(struct stage),
		.set_up = set_up,
		.now = LATER,
		.operations = operations,
		.n_operations = sizeof(operations) / sizeof(operations[0]),
	};

	return step_main(&test);
}
