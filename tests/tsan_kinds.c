/*
 * tests/tsan_kinds.c - workers that take windows, leases and whole chains, as the thread sanitizer sees them
 * SPDX-License-Identifier: MIT
 *
 * Each thread stands for a worker, with a slot of its own, all on one mapping (tsan_client.c says why). What a lease
 * protects is a plain word: if two ever had one slot, or if taking it did not come after the release before, the
 * sanitizer would see the race. Beside them somebody changes numbers, and workers die and are reaped.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/check.h"
#include "shm/gate.h"
#include "shm/index.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"
#include "support_kinds.h"

#define WORKERS 4u
#define ROUNDS  4000u
#define SLOTS   3u
#define UNIT    7u
#define US      UINT64_C(1000)
#define BEGAN   (1000 * US)

#define need(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                     \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

enum limit { BUCKET, WINDOW, ROLLING, LEASE, LIMITS };

struct scene {
	struct seg seg;
	struct kinds_limit limits[LIMITS];
	shm_word now; /* ns */
	shm_word go, done;
	shm_word admitted;
	uint64_t held[SLOTS]; /* plain: only whoever holds the slot touches it */
};

struct actor {
	struct scene *scene;
	uint32_t who;
	uint32_t incarnation;
	uint32_t sequence;
	unsigned mask; /* of limits that its chain has */
};

static uint64_t ticks_now(void *user)
{
	struct scene *s = user;

	return shm_load(&s->now) * TICKS_PER_NS;
}

static bool acquire(struct actor *actor, uint64_t units, struct ration_ticket *ticket)
{
	struct scene *s = actor->scene;
	const uint64_t now = shm_add(&s->now, US);
	const struct charge cost = {UNIT, units};
	struct link links[LIMITS];
	struct draw draw = {.links = links, .at = kinds_instant(now)};
	enum take result;

	for (unsigned i = 0; i < LIMITS; i++) {
		if (actor->mask & 1u << i)
			links[draw.n_links++] = kinds_link(&s->limits[i], now);
	}
	draw.lease = slots_lease(worker_identity(actor->who, actor->incarnation, 1),
				 ++actor->sequence, draw.at.now);
	need(chain_units(&draw, &cost, 1));
	ticket->n_links = 0;
	result = chain_look(&s->seg, &draw);
	if (result == TAKE_ADMIT)
		result = chain_charge(&s->seg, &draw, ticket);
	ticket->permit = draw.at.now;
	need(result != TAKE_CORRUPT && result != TAKE_NEVER);
	if (result != TAKE_ADMIT)
		chain_give_back(&s->seg, ticket, ticks_now, s);
	return result == TAKE_ADMIT;
}

static const struct ration_ticket_link *lease_of(const struct ration_ticket *ticket)
{
	for (uint32_t i = 0; i < ticket->n_links; i++) {
		if (LINK_KIND(ticket->links[i].flags) == KIND_SLOTS)
			return &ticket->links[i];
	}
	return NULL;
}

/* Take, use, and end it in one of four ways; the last is to die. */
static void use(struct actor *actor, uint32_t round)
{
	struct scene *s = actor->scene;
	const uint64_t units = 1 + round % 3;
	struct ration_ticket ticket;
	const struct ration_ticket_link *lease;

	if (!acquire(actor, units, &ticket))
		return;
	lease = lease_of(&ticket);
	if (lease)
		s->held[lease->charged] += actor->who;
	if (round % 8 < 4)
		(void)sched_yield(); /* let others meet it */
	shm_add(&s->admitted, 1);
	if (round % 4 == 0) {
		chain_give_back(&s->seg, &ticket, ticks_now, s);
		return;
	}
	/* Less than was estimated, or more. */
	for (uint32_t i = 0; round % 4 == 1 && i < ticket.n_links; i++) {
		if (LINK_KIND(ticket.links[i].flags) != KIND_SLOTS)
			chain_settle_link(&s->seg, &ticket, i, 2, ticks_now, s);
	}
	if (round % 16 != 15) {
		chain_release(&s->seg, &ticket);
		return;
	}
	worker_reap(&s->seg, actor->who, 0);
	actor->incarnation++;
	shm_store(&s->seg.workers[actor->who].identity,
		  worker_identity(actor->who, actor->incarnation, 1));
}

static void tell(void *user, const char *what, uint32_t where)
{
	const struct scene *s = user;
	const uint64_t *words = (const uint64_t *)&s->seg.hot[where];

	printf("%s: %u", what, where);
	for (int i = 0; where < s->seg.n_buckets && i < 8; i++)
		printf(" %016llx", (unsigned long long)words[i]);
	printf("\n");
}

static void *work(void *arg)
{
	struct actor *actor = arg;

	while (!shm_load(&actor->scene->go))
		;
	for (uint32_t i = 0; i < ROUNDS; i++)
		use(actor, i + actor->who);
	shm_add(&actor->scene->done, 1);
	return NULL;
}

/* Whoever reloads: other numbers, and a vendor that knows better, until all have done their work. */
static void *change(void *arg)
{
	struct scene *s = arg;
	const struct kinds_limit *limits = s->limits;
	struct seg_hot *hot = s->seg.hot;

	while (!shm_load(&s->go))
		;
	for (uint32_t i = 0; shm_load(&s->done) < WORKERS; i++) {
		const uint64_t more = i & 1;

		shm_store(&hot[limits[WINDOW].ref.bucket].numbers,
			  kinds_numbers(&limits[WINDOW], limits[WINDOW].amount + more));
		shm_store(&hot[limits[ROLLING].ref.bucket].numbers,
			  kinds_numbers(&limits[ROLLING], limits[ROLLING].amount + more));
		(void)bucket_retune(&hot[limits[BUCKET].ref.bucket],
				    kinds_numbers(&limits[BUCKET], limits[BUCKET].amount + more),
				    ticks_now, s);
		slots_retune(&s->seg, limits[LEASE].ref.bucket,
			     kinds_numbers(&limits[LEASE], SLOTS - more));
		need(seg_check(&s->seg, ticks_now(s), false, tell, s) == 0);
	}
	return NULL;
}

static const struct kinds_limit kinds[LIMITS] = {
	[BUCKET] = {.kind = KIND_BUCKET, .unit = UNIT, .amount = 20, .ns = US},
	[WINDOW] = {.kind = KIND_WINDOW,
		    .unit = UNIT,
		    .amount = 500,
		    .ns = 400 * US,
		    .delay = 5 * US,
		    .skew = 10 * US},
	[ROLLING] = {.kind = KIND_ROLLING,
		     .unit = UNIT,
		     .amount = 400,
		     .ns = 300 * US,
		     .delay = 5 * US},
	[LEASE] = {.kind = KIND_SLOTS, .unit = UNIT, .amount = SLOTS},
};

static void make_scene(struct scene *s)
{
	static const struct seg_config config = {.buckets = 16, .workers = WORKERS};
	void *mem = aligned_alloc(SEG_PAGE, seg_size(&config));

	*s = (struct scene){.now = BEGAN};
	need(mem);
	memset(mem, 0, seg_size(&config));
	seg_init(mem, &config, 0, &s->seg);
	for (uint32_t i = 0; i < WORKERS; i++)
		shm_store(&s->seg.workers[i].identity, worker_identity(i, 1, 1));
	for (unsigned i = 0; i < LIMITS; i++) {
		s->limits[i] = kinds[i];
		need(kinds_insert(&s->seg, i + 1, &s->limits[i], BEGAN));
	}
}

static void run(const char *what, unsigned mask, bool changing)
{
	static struct scene scene;
	struct actor actors[WORKERS];
	pthread_t threads[WORKERS + 1];

	make_scene(&scene);
	for (uint32_t i = 0; i < WORKERS; i++) {
		actors[i] = (struct actor){&scene, i, 1, 0, mask};
		need(pthread_create(&threads[i], NULL, work, &actors[i]) == 0);
	}
	need(!changing || pthread_create(&threads[WORKERS], NULL, change, &scene) == 0);
	shm_store(&scene.go, 1);
	for (uint32_t i = 0; i < WORKERS + (changing ? 1 : 0); i++)
		need(pthread_join(threads[i], NULL) == 0);
	for (uint32_t i = 0; i < WORKERS; i++)
		worker_reap(&scene.seg, i, 0);
	need(seg_check(&scene.seg, ticks_now(&scene), true, tell, &scene) == 0);
	for (uint32_t i = 0; i < SLOTS; i++)
		need(slots_word(&scene.seg, scene.limits[LEASE].ref.bucket, i) == 0);
	need(shm_load(&scene.admitted) > 0);
	printf("  ok    %s: %llu admitted\n", what, (unsigned long long)shm_load(&scene.admitted));
	free(scene.seg.base);
}

/* --- a gate: what only the probe may touch is a plain word --- */

struct gate_scene {
	struct seg seg;
	struct bucket_ref gate;
	shm_word now; /* ticks; stands still while a probe is out, so that none is late */
	shm_word go, probes, passes;
	uint64_t probing; /* plain */
};

struct gate_actor {
	struct gate_scene *scene;
	uint32_t who;
};

static void end_probe(struct gate_scene *s, const struct taken *taken, uint32_t round)
{
	const struct charge_ref charge = {.bucket = s->gate.bucket,
					  .generation = s->gate.generation,
					  .units = 1,
					  .taken = *taken};
	const uint64_t now = shm_load(&s->now);
	const struct gate_block again = {
		.until = now + TICKS_PER_SEC, .why = GATE_WHY_VENDOR, .probe = taken->word};

	s->probing += round;
	shm_add(&s->probes, 1);
	switch (round % 4) {
	case 0:
		(void)gate_lift(&s->seg, s->gate, taken->word, now);
		break;
	case 1:
		(void)gate_give_back(&s->seg, &charge, 1);
		break;
	case 2:
		(void)gate_abandon(&s->seg, &charge, now);
		break;
	default:
		need(gate_block(&s->seg, s->gate, &again));
	}
}

static void pass(struct gate_scene *s, uint32_t who, uint32_t round)
{
	const struct link link = {
		.bucket = s->gate.bucket, .generation = s->gate.generation, .flags = KIND_GATE};
	const struct demand demand = {.units = 1, .seed = who};
	const struct instant at = {.now = shm_load(&s->now)};
	struct taken taken;
	struct shortage why;
	enum take result = gate_look(&s->seg, &link, &demand, &at, &taken, &why);

	if (result == TAKE_ADMIT)
		result = gate_charge(&s->seg, &link, &demand, &at, &taken, &why);
	need(result == TAKE_ADMIT || result == TAKE_WAIT || result == TAKE_AGAIN);
	if (result == TAKE_ADMIT && taken.charged)
		end_probe(s, &taken, round);
	else if (result == TAKE_ADMIT)
		shm_add(&s->passes, 1);
	else if (result == TAKE_WAIT && GATE_PHASE(why.left) != GATE_PROBING)
		shm_add(&s->now, TICKS_PER_SEC / 10);
}

static void *pass_often(void *arg)
{
	static const struct gate_breaker breaker = {10 * TICKS_PER_SEC, 500000, 10};
	struct gate_actor *actor = arg;
	struct gate_scene *s = actor->scene;

	while (!shm_load(&s->go))
		;
	for (uint32_t i = actor->who; i < ROUNDS; i++) {
		const struct gate_block block = {.until = shm_load(&s->now) + TICKS_PER_SEC,
						 .why = GATE_WHY_VENDOR};

		pass(s, actor->who, i);
		(void)gate_count(&s->seg, s->gate, &breaker, i % 5 == 0, shm_load(&s->now));
		if (i % 64 == 0)
			need(gate_block(&s->seg, s->gate, &block));
	}
	return NULL;
}

static void run_gate(void)
{
	static const struct seg_config config = {.buckets = 16, .workers = WORKERS};
	static struct gate_scene s;
	struct gate_actor actors[WORKERS];
	pthread_t threads[WORKERS];
	void *mem = aligned_alloc(SEG_PAGE, seg_size(&config));
	struct bucket_spec spec = gate_spec(1000 * TICKS_PER_SEC);

	need(mem);
	s.now = 1000 * TICKS_PER_SEC;
	memset(mem, 0, seg_size(&config));
	seg_init(mem, &config, 0, &s.seg);
	shm_store(&s.seg.workers[0].identity, worker_identity(0, 1, 1));
	spec.identity = (struct hash128){{1, 1}};
	need(index_insert(&s.seg, 0, &spec, &s.gate) == INDEX_FOUND);
	for (uint32_t i = 0; i < WORKERS; i++) {
		actors[i] = (struct gate_actor){&s, i};
		need(pthread_create(&threads[i], NULL, pass_often, &actors[i]) == 0);
	}
	shm_store(&s.go, 1);
	for (uint32_t i = 0; i < WORKERS; i++)
		need(pthread_join(threads[i], NULL) == 0);
	worker_reap(&s.seg, 0, 0);
	need(seg_check(&s.seg, shm_load(&s.now), true, tell, &s) == 0);
	need(shm_load(&s.probes) > 0 && shm_load(&s.passes) > 0);
	printf("  ok    a gate: %llu passed, %llu as probes\n",
	       (unsigned long long)shm_load(&s.passes), (unsigned long long)shm_load(&s.probes));
	free(s.seg.base);
}

int main(void)
{
	static const struct {
		const char *what;
		unsigned mask;
		bool changing;
	} runs[] = {
		{"windows", 1u << WINDOW, false},
		{"rolling", 1u << ROLLING, false},
		{"leases", 1u << LEASE, false},
		{"leases, and their number changes", 1u << LEASE, true},
		{"chains of all kinds", 15, false},
		{"chains of all kinds, and their numbers change", 15, true},
	};
	const unsigned n = sizeof(runs) / sizeof(runs[0]);

	for (unsigned i = 0; i < n; i++)
		run(runs[i].what, runs[i].mask, runs[i].changing);
	run_gate();
	printf("Tested: %u | Passing: %u | Failing: 0 | Crashing: 0\n", n + 1, n + 1);
	return 0;
}
