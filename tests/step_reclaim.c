/*
 * tests/step_reclaim.c - records of every kind that are reclaimed, with somebody killed or stopped at each instruction
 * SPDX-License-Identifier: MIT
 *
 * First the reclaimer is who is stopped or killed, while a worker means the old life of the record, or comes for a new
 * one; the next patrol finishes what was begun. Then a worker is, whatever it is about to do to the old life, while the
 * record is reclaimed and another identity gets it, with the same lines: that is charged exactly what its own worker took
 * of it, and loses no lease.
 *
 * In a tight table there is no record and no line but those that are reclaimed; a roomy one has one of each left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "shm/contest.h"
#include "shm/reclaim.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"
#include "support_kinds.h"
#include "support_step.h"

#define SECOND UINT64_C(1000000000) /* ns, as all times here but the rule's */
#define T0     (1000 * SECOND)
#define LATER                                                                                      \
	(1100 * SECOND) /* whatever was charged is forgotten, and every lease has lasted too long */
#define IDLE   (5 * SECOND)
#define AMOUNT UINT64_C(8)
#define COST   UINT64_C(3)
#define UNIT   7u

#define TABLE 8u /* records that support_step.c makes room for, and two extents */

/* Limits as somebody means them: AGAIN is OLD's identity, resolved anew. All are in one chain. */
enum limit { OLD, AGAIN, NEXT, THIRD, LIMITS };

static const uint64_t ids[LIMITS] = {64, 64, 128, 192};

enum table { TIGHT, ROOMY };

struct with {
	enum seg_kind before, after; /* what OLD is, and what NEXT is */
	enum table table;
};

#define TRIALS_MAX 128u

static struct with trials[TRIALS_MAX];

struct outcome {
	struct ration_ticket ticket;
	struct draw draw;
	enum take result;
	uint32_t sequence;
	uint64_t told[LIMITS]; /* units that it was told LATER that it has */
};

struct stage {
	struct kinds_limit limits[LIMITS];
	struct link links[LIMITS];
	struct outcome outcome[STEP_WORKERS];
	enum index_result found[LIMITS];
	uint64_t settled; /* up by so much, which a life that has ended does not count */
	struct reclaim_rule rule;
	uint64_t now;
	uint32_t record; /* the one that is reclaimed */
	bool reclaimed;
};

static struct stage *stage(void)
{
	return step_stage;
}

static const struct with *with(void)
{
	return &trials[step_trial];
}

static uint64_t clock_now(void *user)
{
	(void)user;
	return stage()->now * TICKS_PER_NS;
}

/* --- what workers do --- */

/* All but what is to be stepped through. */
static void prepare(enum step_who who, enum limit limit)
{
	struct outcome *mine = &stage()->outcome[who];
	const struct charge cost = {UNIT, COST};

	stage()->links[limit] = kinds_link(&stage()->limits[limit], stage()->now);
	mine->draw = (struct draw){
		.links = &stage()->links[limit],
		.n_links = 1,
		.at = kinds_instant(stage()->now),
		.lease = slots_lease(worker_identity(who, 1, who + 100), ++mine->sequence,
				     stage()->now * TICKS_PER_NS),
	};
	if (!chain_units(&mine->draw, &cost, 1))
		abort();
}

static uint64_t units_of(enum limit limit)
{
	return stage()->limits[limit].kind == KIND_SLOTS ? 1 : COST;
}

static void charge(enum step_who who, enum limit limit)
{
	struct outcome *mine = &stage()->outcome[who];

	mine->ticket.n_links = 0;
	mine->result = chain_look(&step_seg, &mine->draw);
	if (mine->result == TAKE_ADMIT)
		mine->result = chain_charge(&step_seg, &mine->draw, &mine->ticket);
	mine->ticket.permit = mine->draw.at.now;
	if (mine->result == TAKE_ADMIT && mine->draw.at.now == LATER * TICKS_PER_NS)
		mine->told[limit] += units_of(limit);
}

static void resolve(enum step_who who, enum limit limit)
{
	stage()->found[limit] =
		kinds_insert_by(&step_seg, who, ids[limit], &stage()->limits[limit], stage()->now);
}

static void take_old(enum step_who who)
{
	charge(who, OLD);
	step_done(who);
}

static void prepare_and_take_old(enum step_who who)
{
	prepare(who, OLD);
	take_old(who);
}

static void cancel(enum step_who who)
{
	chain_give_back(&step_seg, &stage()->outcome[who].ticket, clock_now, NULL);
	step_done(who);
}

static void settle_to(enum step_who who, uint64_t units)
{
	if (units > COST)
		stage()->settled += units - COST;
	chain_settle_link(&step_seg, &stage()->outcome[who].ticket, 0, units, clock_now, NULL);
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

static void release(enum step_who who)
{
	(void)chain_release(&step_seg, &stage()->outcome[who].ticket);
	step_done(who);
}

/* As whoever finds that his handle is stale. */
static void take_anew(enum step_who who, enum limit limit)
{
	resolve(who, limit);
	if (stage()->found[limit] == INDEX_FOUND) {
		prepare(who, limit);
		charge(who, limit);
	}
	step_done(who);
}

static void take_again(enum step_who who)
{
	take_anew(who, AGAIN);
}

static void take_next(enum step_who who)
{
	take_anew(who, NEXT);
}

static void take_third(enum step_who who)
{
	take_anew(who, THIRD);
}

/* Whatever can be done to the old life, one after the other, and then to a new one. */
static void do_all(enum step_who who)
{
	settle_down(who);
	settle_up(who);
	cancel(who);
	release(who);
	prepare_and_take_old(who);
	take_again(who);
	take_next(who);
}

/* --- what the supervisor does --- */

static void make_rule(void)
{
	stage()->rule = (struct reclaim_rule){
		.now = stage()->now * TICKS_PER_NS,
		.idle = IDLE * TICKS_PER_NS,
		.window = kinds_window(&stage()->limits[OLD], stage()->now - IDLE),
	};
}

static bool reclaim_it(void)
{
	reclaim_begin(&step_seg, &stage()->rule);
	return reclaim_record(&step_seg, stage()->record, &stage()->rule);
}

static void reclaim(enum step_who who)
{
	stage()->reclaimed = reclaim_it();
	step_done(who);
}

/* It passes by as often as whoever has drawn counts as one who does. */
static void time_passes(void)
{
	stage()->now = LATER;
	for (int i = 0; i < 2; i++)
		contest_age(&step_seg.hot[stage()->record]);
	make_rule();
}

/* Finish what was begun. */
static void patrol(void)
{
	for (uint32_t i = 0; i < TABLE; i++) {
		if (atomic_load(&step_seg.cold[i].owner) != COLD_LINKED)
			continue;
		if (!reclaim_is_dead(&step_seg.hot[i])) {
			if (KIND_OF(shm_half_load(&step_seg.hot[i].kind)) == KIND_SLOTS)
				(void)slots_repair(&step_seg, i);
		} else if (!reclaim_record(&step_seg, i, &stage()->rule)) {
			step_fail("what was begun is not finished");
		}
	}
}

/* The record is reclaimed under the worker that is stopped, and B takes from whoever gets it. */
static void give_to_another(enum step_who who)
{
	time_passes();
	stage()->reclaimed = reclaim_it();
	take_next(who);
}

/* --- what is there before --- */

static void later(enum step_who who)
{
	(void)who;
	time_passes();
}

/* B has a ticket of long ago, and a lease that has lasted too long. */
static void taken_by_b(enum step_who who)
{
	(void)who;
	prepare_and_take_old(B);
	time_passes();
}

static void taken(enum step_who who)
{
	prepare_and_take_old(who);
}

static void about_to_take(enum step_who who)
{
	prepare(who, OLD);
}

/* --- what must hold afterwards --- */

static struct hash128 identity_of(enum limit limit)
{
	const struct seg_hot *hot = &step_seg.hot[stage()->limits[limit].ref.bucket];

	return (struct hash128){
		{ids[limit] * UINT64_C(0x9e3779b97f4a7c15) + 1, atomic_load(&hot->identity[1])}};
}

/* Units that a live record counts. */
static uint64_t used(const struct kinds_limit *limit, uint32_t bucket)
{
	const struct seg_hot *hot = &step_seg.hot[bucket];
	uint64_t held = 0;

	switch (limit->kind) {
	case KIND_BUCKET:
		held = atomic_load(&hot->state[0]);
		return held > LATER * TICKS_PER_NS
			       ? (held - LATER * TICKS_PER_NS) / (limit->ns * TICKS_PER_NS)
			       : 0;
	case KIND_WINDOW:
		return window_used(hot, kinds_window(limit, LATER));
	case KIND_ROLLING:
		return rolling_used(&step_seg, bucket, LATER * TICKS_PER_NS);
	default:
		for (uint32_t i = 0; i < limit->amount; i++)
			held += slots_word(&step_seg, bucket, i) != 0;
		return held;
	}
}

/* How many live records the identity has; the last of them. */
static uint32_t lives_of(enum limit limit, uint32_t *ret_bucket)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < TABLE; i++) {
		if (atomic_load(&step_seg.cold[i].owner) != COLD_LINKED ||
		    atomic_load(&step_seg.hot[i].identity[1]) != ids[limit])
			continue;
		*ret_bucket = i;
		n++;
	}
	return n;
}

/* Units of which somebody was told; A's leases ended when it was reaped. */
static uint64_t told(enum limit limit)
{
	const uint64_t by_a = stage()->outcome[A].told[limit];

	return stage()->outcome[B].told[limit] +
	       (stage()->limits[limit].kind == KIND_SLOTS ? 0 : by_a);
}

static void check_identity(enum limit limit, uint64_t least, uint64_t maybe)
{
	uint32_t bucket = 0;
	const uint32_t lives = lives_of(limit, &bucket);
	const uint64_t counted = lives ? used(&stage()->limits[limit], bucket) : 0;

	if (lives > 1)
		step_fail("one identity has two records");
	if (counted < least)
		step_fail("what was admitted is not counted");
	if (counted > least + maybe)
		step_fail("a life counts what another was charged");
}

/* A took from nothing but the old life, or for an identity of its own. */
static void check_lives(void)
{
	const uint64_t killed = step_killed ? COST : 0;

	check_identity(AGAIN, told(OLD) + told(AGAIN), stage()->settled + killed);
	check_identity(NEXT, told(NEXT), 0);
	check_identity(THIRD, told(THIRD), killed);
}

/* A is reaped: nothing is half-made. */
static void check_table(void)
{
	for (uint32_t i = 0; i < TABLE; i++) {
		const uint64_t owner = atomic_load(&step_seg.cold[i].owner);

		if (owner != COLD_FREE && owner != COLD_LINKED)
			step_fail("a record is lost");
	}
	for (uint32_t i = 0; i < step_seg.n_extents; i++) {
		const uint32_t owner = atomic_load(&step_seg.extent_owners[i]);

		if (owner != 0 && atomic_load(&step_seg.cold[owner - 1].owner) != COLD_LINKED)
			step_fail("a line is lost");
	}
}

static void check_lease(enum step_who who)
{
	const struct ration_ticket_link *link = &stage()->outcome[who].ticket.links[0];

	if (LINK_KIND(link->flags) == KIND_SLOTS &&
	    slots_word(&step_seg, link->bucket, (uint32_t)link->charged) != link->word)
		step_fail("a lease is gone");
}

/* There is room for another life, and it has all that it may have. */
static void check_new_life(void)
{
	const bool room = atomic_load(&step_seg.cold[stage()->record].owner) == COLD_FREE;

	if (told(NEXT) > 0 || (with()->table == TIGHT && !room))
		return;
	take_next(B);
	if (stage()->found[NEXT] != INDEX_FOUND || stage()->outcome[B].result != TAKE_ADMIT)
		step_fail("there is no room for another identity");
}

/* The reclaimer was killed or stopped. Slots that he has closed are not to be had for as long as that. */
static void check_worker(void)
{
	const struct stage *s = stage();
	const enum take result = s->outcome[B].result;

	if (result != TAKE_ADMIT && result != TAKE_STALE &&
	    !(result == TAKE_WAIT && with()->before == KIND_SLOTS))
		step_fail("a worker was held up");
	if (with()->table == ROOMY && s->found[AGAIN] != INDEX_FOUND &&
	    s->found[AGAIN] != INDEX_ABSENT)
		step_fail("it could not be resolved again");
}

static void check_reclaimer(void)
{
	check_worker();
	patrol();
	check_lives();
	if (!step_killed && stage()->reclaimed && told(OLD) > 0)
		step_fail("it was reclaimed after it was charged");
	check_new_life();
	check_lives();
	check_table();
}

/* A worker was: the record went, and B has what it was told of the next. */
static void check_next(void)
{
	const struct stage *s = stage();

	if (!s->reclaimed || s->found[NEXT] != INDEX_FOUND ||
	    s->limits[NEXT].ref.bucket != s->record || s->outcome[B].result != TAKE_ADMIT)
		step_fail("another identity did not get the record");
	check_lives();
	check_lease(B);
}

/* A came for an identity of its own. */
static void check_came(enum limit limit)
{
	const struct stage *s = stage();
	struct bucket_ref ref = {0, 0};

	if (s->found[NEXT] != INDEX_FOUND || s->outcome[B].result != TAKE_ADMIT)
		step_fail("another was held up");
	check_lives();
	check_lease(B);
	check_table();
	if (step_killed)
		return;
	if (s->found[limit] != INDEX_FOUND)
		step_fail("it found no room");
	else if (s->outcome[A].result == TAKE_ADMIT &&
		 (index_find(&step_seg, identity_of(limit), &ref) != INDEX_FOUND ||
		  ref.bucket != s->limits[limit].ref.bucket))
		step_fail("it took from what nobody finds");
	else if (s->outcome[A].result != TAKE_ADMIT && s->outcome[A].result != TAKE_STALE)
		step_fail("it was refused");
}

static void check_came_again(void)
{
	check_came(AGAIN);
}

static void check_came_third(void)
{
	check_came(THIRD);
}

/* --- what is tried --- */

#define ANY   0x1fu
#define UNITS (ANY & ~(1u << KIND_SLOTS))
#define SLOT  (1u << KIND_SLOTS)

/* clang-format off */
static const struct {
	struct step_operation operation;
	enum table table;
	unsigned kinds; /* mask of what OLD may be */
	bool across;    /* also where NEXT is of another kind */
} tried[] = {
	/* by the reclaimer */
	{{"reclaim; take by an old handle", later, reclaim, prepare_and_take_old, check_reclaimer}, ROOMY, ANY, false},
	{{"reclaim; resolve again, take", later, reclaim, take_again, check_reclaimer}, ROOMY, ANY, false},
	{{"reclaim; another comes", later, reclaim, take_next, check_reclaimer}, TIGHT, ANY, false},
	{{"reclaim; cancel late", taken_by_b, reclaim, cancel, check_reclaimer}, TIGHT, UNITS, false},
	{{"reclaim; settle up late", taken_by_b, reclaim, settle_up, check_reclaimer}, TIGHT, UNITS, false},
	{{"reclaim; release late", taken_by_b, reclaim, release, check_reclaimer}, TIGHT, SLOT, false},
	{{"reclaim; all of these", taken_by_b, reclaim, do_all, check_reclaimer}, ROOMY, ANY, false},
	/* by a worker */
	{{"take", about_to_take, take_old, give_to_another, check_next}, TIGHT, ANY, true},
	{{"cancel", taken, cancel, give_to_another, check_next}, TIGHT, UNITS, true},
	{{"settle down", taken, settle_down, give_to_another, check_next}, TIGHT, UNITS, true},
	{{"settle up", taken, settle_up, give_to_another, check_next}, TIGHT, UNITS, true},
	{{"release", taken, release, give_to_another, check_next}, TIGHT, SLOT, true},
	{{"resolve again, take", later, take_again, give_to_another, check_came_again}, ROOMY, ANY, false},
	{{"insert, take", later, take_third, give_to_another, check_came_third}, ROOMY, ANY, false},
};
/* clang-format on */

#define TRIED (sizeof(tried) / sizeof(tried[0]))

static const struct with passes[] = {
	{KIND_BUCKET, KIND_BUCKET, TIGHT},   {KIND_WINDOW, KIND_WINDOW, TIGHT},
	{KIND_ROLLING, KIND_ROLLING, TIGHT}, {KIND_SLOTS, KIND_SLOTS, TIGHT},
	{KIND_BUCKET, KIND_WINDOW, TIGHT},   {KIND_WINDOW, KIND_BUCKET, TIGHT},
	{KIND_ROLLING, KIND_SLOTS, TIGHT},   {KIND_SLOTS, KIND_ROLLING, TIGHT},
};

#define PASSES (sizeof(passes) / sizeof(passes[0]))

static const char *const kind_names[KIND_COUNT] = {"none", "bucket", "window", "rolling", "slots"};

/* --- the segment --- */

static struct kinds_limit limit_of(enum seg_kind kind)
{
	const bool slots = kind == KIND_SLOTS;

	return (struct kinds_limit){
		.kind = kind,
		.unit = UNIT,
		.amount = slots ? 1 : AMOUNT,
		.ns = kind == KIND_BUCKET || slots ? SECOND : 10 * SECOND,
	};
}

static void make(uint64_t id, struct kinds_limit *limit)
{
	if (!kinds_insert(&step_seg, id, limit, T0))
		abort();
}

static void fill_up(void)
{
	struct kinds_limit bucket = limit_of(KIND_BUCKET), slots = limit_of(KIND_SLOTS);

	for (uint64_t id = 1; id <= TABLE - 2; id++)
		make(id, &bucket);
	if (with()->table == TIGHT)
		make(TABLE - 1, &slots);
}

static void set_up(void)
{
	struct stage *s = stage();

	s->now = T0;
	for (enum limit i = OLD; i < LIMITS; i++) {
		s->limits[i] = limit_of(i <= AGAIN ? with()->before : with()->after);
		s->found[i] = INDEX_ABSENT;
	}
	make(ids[OLD], &s->limits[OLD]);
	s->record = s->limits[OLD].ref.bucket;
	fill_up();
}

static size_t list_trials(struct step_operation operations[TRIALS_MAX])
{
	static char names[TRIALS_MAX][100];
	size_t n = 0;

	for (size_t p = 0; p < PASSES; p++) {
		for (size_t t = 0; t < TRIED; t++) {
			const struct with *pass = &passes[p];

			if (!(tried[t].kinds >> pass->before & 1) ||
			    (pass->before != pass->after && !tried[t].across))
				continue;
			trials[n] = *pass;
			trials[n].table = tried[t].table;
			(void)snprintf(names[n], sizeof(names[n]), "%s, then %s: %s",
				       kind_names[pass->before], kind_names[pass->after],
				       tried[t].operation.name);
			operations[n] = tried[t].operation;
			operations[n].name = names[n];
			n++;
		}
	}
	return n;
}

int main(void)
{
	static struct step_operation operations[TRIALS_MAX];

	_Static_assert(PASSES * TRIED <= TRIALS_MAX, "all fit");
	return step_main(&(struct step_test){
		.stage_size = sizeof(struct stage),
		.set_up = set_up,
		.now = LATER * TICKS_PER_NS,
		.operations = operations,
		.n_operations = list_trials(operations),
	});
}
