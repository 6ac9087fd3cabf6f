/*
 * tests/model/explore.c - every interleaving of a few actors that run the real code of src/shm
 * SPDX-License-Identifier: MIT
 */
#include "explore.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "coroutine.h"
#include "report.h"
#include "search.h"
#include "visited.h"

#define DEPTH_MAX  4000
#define STATES_MAX 12000000u

enum actor_state { ACTOR_NONE, ACTOR_LIVES, ACTOR_FINISHED, ACTOR_KILLED };

/* All about the actors that is not on their stacks. Saved and compared byte by byte. */
struct control {
	uint64_t state[ACTORS_MAX];
	bool (*ready[ACTORS_MAX])(void);
	struct access next[ACTORS_MAX]; /* what each will do when it is resumed */
	uint64_t kills;
	uint64_t changed; /* mask: whose last step changed anything that it leaves behind */
	uint64_t last;    /* who made the last step that counts, + 1 */
	uint64_t preemptions;
};

/* A copy of everything, one for each depth. */
struct image {
	char *bytes;
	size_t room;
	size_t world;
	size_t frames[ACTORS_MAX];
	struct control control;
};

static struct control control;
static struct image images[DEPTH_MAX];
static unsigned depth;
static unsigned n_actors;
static int probing = -1; /* whose ready() runs */

/* Contention, by 4 bytes: who touched it, who wrote it (masks), and whether those make it a point of choice. */
static unsigned char touches[WORLD_MAX / 4], writes_to[WORLD_MAX / 4];
static bool contended[WORLD_MAX / 4];

static struct {
	struct search_how how;
	bool again; /* contention was met for a word that was taken for calm */
	bool failed;
	bool too_large;
	uint64_t ends;        /* different last states */
	struct hash all_ends; /* a sum, so that their order does not matter */
} search;

static uint64_t n_steps; /* of all searches; a signal handler reads it */

uint64_t search_steps(void)
{
	return __atomic_load_n(&n_steps, __ATOMIC_RELAXED);
}

/* --- what actors call --- */

int model_self(void)
{
	return probing >= 0 ? probing : co_current();
}

bool model_wrote(void)
{
	return control.next[co_current()].writes;
}

bool model_killed(int actor)
{
	return control.state[actor] == ACTOR_KILLED;
}

bool model_finished(int actor)
{
	return control.state[actor] == ACTOR_FINISHED;
}

unsigned model_kills(void)
{
	return (unsigned)control.kills;
}

bool model_anyone_killed(void)
{
	return control.kills > 0;
}

void model_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!search.failed)
		report_violation(format, args);
	va_end(args);
	search.failed = true;
}

/* Two actors, one of them writing: from now on a point of choice. */
static void note_contention(int actor, const struct access *access)
{
	for (uint32_t at = access->offset / 4; at < (access->offset + access->size + 3) / 4; at++) {
		const unsigned me = 1u << actor;

		touches[at] |= (unsigned char)me;
		if (access->writes)
			writes_to[at] |= (unsigned char)me;
		if (contended[at] || writes_to[at] == 0 || (touches[at] & (touches[at] - 1)) == 0)
			continue;
		contended[at] = true;
		search.again = true;
	}
}

void model_yield(const volatile void *address, unsigned size, bool writes)
{
	const int actor = co_current() >= 0 ? co_current() : probing;
	const struct access access = {world_offset(address), size, writes};

	if (actor < 0) { /* setup, or a check */
		if (writes && access.offset != NOWHERE)
			world_touch(access.offset);
		return;
	}
	if (access.offset == NOWHERE) {
		model_fail("actor %c leaves the shared memory", 'A' + actor);
		return;
	}
	note_contention(actor, &access);
	if (writes)
		world_touch(access.offset);
	if (probing >= 0)
		return;
	control.next[actor] = access;
	co_pause();
}

void model_wait(bool (*ready)(void))
{
	const int actor = co_current();

	control.ready[actor] = ready;
	control.next[actor] = (struct access){NOWHERE, 0, false};
	co_pause();
	control.ready[actor] = NULL;
}

/* --- the actors --- */

static void live(int i)
{
	const struct actor *actor = &scenario->actors[i];
	_Alignas(16) char self[model.self_size];

	memset(self, 0, sizeof(self));
	for (const struct op *op = actor->ops; op < actor->ops + OPS_MAX && op->run; op++)
		op->run(self, op);
	/* One more place to die: done, but not gone. */
	memset(self, 0, sizeof(self));
	control.next[i] = (struct access){NOWHERE, 0, false};
	co_pause();
	control.state[i] = ACTOR_FINISHED;
	co_pause();
}

static bool able(int i)
{
	bool ready = control.state[i] == ACTOR_LIVES;

	if (ready && control.ready[i]) {
		probing = i;
		ready = control.ready[i]();
		probing = -1;
	}
	return ready;
}

static bool may_be_killed(int i)
{
	return control.kills < scenario->kills && (search.how.plain || control.changed >> i & 1) &&
	       !(scenario->actors[i].flags & ACTOR_IMMORTAL);
}

/* Somebody looks who is dead: it is his business when others die. */
static bool anyone_watches(void)
{
	for (unsigned i = 0; i < n_actors; i++) {
		if (scenario->actors[i].ready && control.state[i] == ACTOR_LIVES)
			return true;
	}
	return false;
}

/* Its next access is nobody else's business. */
static bool is_calm(int i)
{
	const struct access *next = &control.next[i];

	if (search.how.plain || (may_be_killed(i) && anyone_watches()))
		return false;
	if (next->offset == NOWHERE)
		return !control.ready[i];
	for (uint32_t at = next->offset / 4; at < (next->offset + next->size + 3) / 4; at++) {
		if (contended[at])
			return false;
	}
	return true;
}

static void check_each(void)
{
	if (model.each)
		model.each();
	if (scenario->each)
		scenario->each();
}

static void note_change(int i, bool changed)
{
	control.changed &= ~(UINT64_C(1) << i);
	control.changed |= (uint64_t)changed << i;
}

/* Nothing is left of it by which two states could be told apart. */
static void end_actor(int i)
{
	note_change(i, false);
	memset(&control.next[i], 0, sizeof(control.next[i]));
}

static void step(int i)
{
	struct step *made = report_step(i, &control.next[i]);
	const bool matters = control.kills < scenario->kills;
	const bool writes = control.next[i].writes;
	const uint64_t noted = matters ? world_notes() : 0;

	__atomic_store_n(&n_steps, n_steps + 1, __ATOMIC_RELAXED);
	control.ready[i] = NULL; /* it was: whoever has begun does not wait for that again */
	co_resume(i);
	report_outcome(made);
	note_change(i, matters && (writes || world_notes() != noted));
	if (control.state[i] == ACTOR_FINISHED)
		end_actor(i);
	check_each();
}

static void kill_actor(int i)
{
	report_kill(i);
	control.state[i] = ACTOR_KILLED;
	control.ready[i] = NULL;
	end_actor(i);
	control.kills++;
	check_each();
}

/* --- copies --- */

static void save(struct image *image)
{
	const size_t size = world_image_size();
	size_t total = size;
	char *p;

	for (unsigned i = 0; i < n_actors; i++) {
		co_frame((int)i, &image->frames[i]);
		total += image->frames[i];
	}
	if (total > image->room) {
		image->room = total + 4096;
		free(image->bytes);
		image->bytes = malloc(image->room);
		if (!image->bytes)
			abort();
	}
	world_save(image->bytes);
	image->world = size;
	image->control = control;
	p = image->bytes + size;
	for (unsigned i = 0; i < n_actors; i++) {
		memcpy(p, co_frame((int)i, &image->frames[i]), image->frames[i]);
		p += image->frames[i];
	}
}

static void restore(const struct image *image)
{
	const char *p = image->bytes + image->world;

	world_restore(image->bytes, image->world);
	control = image->control;
	for (unsigned i = 0; i < n_actors; i++) {
		memcpy(co_reframe((int)i, image->frames[i]), p, image->frames[i]);
		p += image->frames[i];
	}
}

static struct hash state_hash(void)
{
	struct hash h = {{1, 2}};

	world_hash(&h);
	hash_bytes(&h, control.state, sizeof(control.state));
	hash_word(&h, control.kills);
	hash_word(&h, control.changed);
	if (search.how.bound != UINT32_MAX) {
		hash_word(&h, control.last);
		hash_word(&h, control.preemptions);
	}
	for (unsigned i = 0; i < n_actors; i++) {
		size_t size;
		const char *frame;

		if (control.state[i] != ACTOR_LIVES)
			continue;
		frame = co_frame((int)i, &size);
		hash_word(&h, size);
		hash_bytes(&h, frame, size);
	}
	return h;
}

/* --- the search --- */

static double explore(void);

static bool stopped(void)
{
	return search.failed || search.again || search.too_large;
}

/* Whether i may go next, by the bound; notes whose turn it is then. */
static bool take_turn(int i)
{
	const uint64_t last = control.last;

	if (is_calm(i) || (scenario->actors[i].flags & ACTOR_FREE))
		return true;
	control.last = (uint64_t)i + 1;
	if (last == 0 || last == control.last || !able((int)last - 1))
		return true;
	return ++control.preemptions <= search.how.bound;
}

/* All that can happen next with actor i. */
static double explore_actor(int i, const struct image *image)
{
	const size_t mark = report_mark();
	double executions = 0;

	if (take_turn(i)) {
		step(i);
		executions += explore();
	}
	report_rewind(mark);
	restore(image);
	if (!stopped() && may_be_killed(i)) {
		kill_actor(i);
		executions += explore();
		report_rewind(mark);
		restore(image);
	}
	return executions;
}

static double at_end(struct hash state)
{
	uint32_t where;

	search.ends++;
	search.all_ends.word[0] += state.word[0];
	search.all_ends.word[1] += state.word[1];
	if (!world_honest(&where)) {
		report_dishonest(where);
		search.failed = true;
	}
	if (model.end)
		model.end();
	if (scenario->end)
		scenario->end();
	return 1;
}

/* An actor whose next access is calm goes first: nobody can tell when it was. */
static int calm_actor(void)
{
	for (unsigned i = 0; i < n_actors; i++) {
		if (control.state[i] == ACTOR_LIVES && is_calm((int)i))
			return (int)i;
	}
	return -1;
}

/* As long as there is nothing to choose, nothing need be remembered. Returns whom the choice is about, or -1. */
static int go_on(void)
{
	int calm = calm_actor();

	while (calm >= 0 && !may_be_killed(calm) && !stopped()) {
		step(calm);
		calm = calm_actor();
	}
	return calm;
}

static double explore(void)
{
	struct image *image = &images[depth];
	const int calm = go_on();
	const struct hash hash = state_hash();
	double executions = 0;
	double *known;
	bool any = false;

	if (stopped())
		return 0;
	if (visited_find(hash, &known))
		return *known;
	if (visited_count() > STATES_MAX || depth + 1 >= DEPTH_MAX) {
		search.too_large = true;
		return 0;
	}
	save(image);
	depth++;
	for (int i = 0; i < (int)n_actors && !stopped(); i++) {
		if (calm >= 0 ? i != calm : !able(i))
			continue;
		any = true;
		executions += explore_actor(i, image);
	}
	depth--;
	if (!any && !stopped()) {
		executions = at_end(hash);
		restore(image);
	}
	visited_set(hash, executions);
	return executions;
}

static void begin(void)
{
	memset(&control, 0, sizeof(control));
	model.setup();
	world_begin();
	n_actors = 0;
	control.changed = UINT64_MAX; /* before it begins */
	for (int i = 0; i < ACTORS_MAX && scenario->actors[i].ops[0].run; i++, n_actors++) {
		co_prepare(i, live);
		control.state[i] = ACTOR_LIVES;
		control.ready[i] = scenario->actors[i].ready;
		control.next[i] = (struct access){NOWHERE, 0, false};
	}
}

void search_forget(void)
{
	memset(touches, 0, sizeof(touches));
	memset(writes_to, 0, sizeof(writes_to));
	memset(contended, 0, sizeof(contended));
}

/* Again and again, until what is calm is known. */
struct result search_scenario(const struct search_how *how)
{
	struct result result = {.ok = false};

	do {
		memset(&search, 0, sizeof(search));
		search.how = *how;
		depth = 0;
		visited_clear();
		report_rewind(0);
		report_quietly(how->quietly);
		begin();
		result.executions = explore();
	} while (search.again && !search.failed);
	result.ok = !search.failed && !search.too_large;
	result.too_large = search.too_large;
	result.states = visited_count();
	result.ends = search.ends;
	result.all_ends = search.all_ends;
	return result;
}
