/*
 * shm/gate.c - blocks and the breaker: nothing of a scope passes before a time
 * SPDX-License-Identifier: MIT
 */
#include "shm/gate.h"

#include "shm/hash.h"
#include "shm/queue.h"
#include "shm/saturate.h"

#define PPM UINT64_C(1000000)

/* How far a clock may be behind another's. */
#define LATE (UINT64_C(10) * TICKS_PER_SEC)

/* A time that is not earlier. */
static uint64_t whole_units(uint64_t ticks)
{
	return sum(ticks, (UINT64_C(1) << GATE_TIME_SHIFT) - 1);
}

static uint64_t blocked(uint64_t until, uint64_t failed, uint64_t why)
{
	return GATE_PACK(whole_units(until), least(failed, 255), why, 0, GATE_BLOCKED);
}

static uint64_t opened(uint64_t spread_until, uint64_t classes, uint64_t why)
{
	return GATE_PACK(whole_units(spread_until), classes, why, 0, GATE_OPEN);
}

/* Tried as often as it is worth: from when the last of them was due, nobody is expected to tell. */
static bool is_lapsed(uint64_t word, uint64_t now)
{
	return GATE_PHASE(word) == GATE_PROBING && GATE_TRIED(word) + 1 >= GATE_TRIES &&
	       GATE_WHEN(word) <= now;
}

static bool is_possible(uint64_t word, uint64_t now)
{
	return GATE_PHASE(word) <= GATE_PROBING && GATE_WHY(word) < GATE_WHYS &&
	       GATE_TRIED(word) < GATE_TRIES && GATE_WHEN(word) <= sum(now, GATE_BLOCK_MAX + LATE);
}

static bool is_alive(const struct seg *seg, struct bucket_ref gate)
{
	return gate.bucket < seg->n_buckets &&
	       shm_half_load(&seg->hot[gate.bucket].generation) == gate.generation;
}

struct bucket_spec gate_spec(uint64_t now)
{
	return (struct bucket_spec){
		.kind = KIND_GATE,
		.now = now,
		.state = {GATE_PACK(now, 0, GATE_WHY_NONE, 0, GATE_OPEN), 0, now},
	};
}

/* --- passing --- */

/* Below `span`, the same whenever it is asked. */
static uint64_t jitter(uint64_t seed, uint64_t word, uint64_t span)
{
	uint64_t h = (seed ^ GATE_WHEN(word)) * UINT64_C(0x9e3779b97f4a7c15);

	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
	h ^= h >> 32;
	return (uint64_t)((unsigned __int128)h * span >> 64);
}

/* When somebody may pass a gate that was lifted at `lifted`, those classes being in line. */
static uint64_t moment(uint64_t word, uint64_t lifted, uint32_t classes, uint32_t class_index,
		       uint64_t seed)
{
	const uint32_t n = classes ? (uint32_t)__builtin_popcount(classes) : 1;
	const uint32_t before =
		(uint32_t)__builtin_popcount(classes & ((UINT32_C(1) << class_index) - 1));
	const uint64_t span = GATE_SPREAD / n;

	return lifted + span * (before < n ? before : n - 1) + jitter(seed, word, span);
}

/* The first in line comes when it is time; whoever does not stand there, and whoever is behind him, some time later. */
static uint64_t come_at(uint64_t word, const struct demand *demand)
{
	const bool first = demand->in_line && demand->ahead == 0;

	return GATE_WHEN(word) + (first ? 0 : jitter(demand->seed, word, GATE_SPREAD));
}

static enum take refuse(uint64_t word, uint64_t retry_at, struct shortage *ret_why)
{
	*ret_why = (struct shortage){.retry_at = retry_at, .left = word, .size = 1};
	return TAKE_WAIT;
}

static enum take admit(uint64_t word, bool charge, struct taken *ret_taken)
{
	*ret_taken = (struct taken){.charged = charge, .word = word};
	return TAKE_ADMIT;
}

static enum take look_lifted(uint64_t word, uint64_t lifted, uint32_t classes,
			     const struct link *link, const struct demand *demand, uint64_t now,
			     struct taken *ret_taken, struct shortage *ret_why)
{
	const uint32_t class_index = (uint32_t)link->shape[GATE_CLASS] & 7;
	const uint64_t at = moment(word, lifted, classes, class_index, demand->seed);

	if (at > now)
		return refuse(word, at, ret_why);
	/* What is lapsed is written down as open once it is calm. */
	return admit(word, GATE_PHASE(word) == GATE_PROBING && lifted + GATE_SPREAD <= now,
		     ret_taken);
}

static enum take look(uint64_t word, const struct link *link, const struct demand *demand,
		      uint64_t now, struct taken *ret_taken, struct shortage *ret_why)
{
	const uint64_t when = GATE_WHEN(word);

	if (gate_calm(word, now))
		return admit(word, false, ret_taken);
	if (GATE_PHASE(word) == GATE_OPEN)
		return look_lifted(word, minus(when, GATE_SPREAD), (uint32_t)GATE_EXTRA(word), link,
				   demand, now, ret_taken, ret_why);
	if (when > now)
		return refuse(word, come_at(word, demand), ret_why);
	if (is_lapsed(word, now))
		return look_lifted(word, when, 0, link, demand, now, ret_taken, ret_why);
	/* Whoever stands before us is to be the probe. */
	if (demand->ahead > 0)
		return refuse(word, now + QUEUE_GRACE, ret_why);
	return admit(word, true, ret_taken);
}

enum take gate_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		    const struct instant *at, struct taken *ret_taken, struct shortage *ret_why)
{
	const struct bucket_ref gate = {link->bucket, link->generation};
	uint64_t word;

	if (gate.bucket >= seg->n_buckets)
		return TAKE_STALE;
	word = shm_load(&seg->hot[gate.bucket].state[0]);
	if (!is_alive(seg, gate) || word == RECORD_DEAD)
		return TAKE_STALE;
	if (!is_possible(word, at->now))
		return TAKE_CORRUPT;
	return look(word, link, demand, at->now, ret_taken, ret_why);
}

/* What becomes of the word once somebody passes who writes. */
static uint64_t passed(uint64_t word, uint64_t now)
{
	const uint64_t tries = GATE_PHASE(word) == GATE_PROBING ? GATE_TRIED(word) + 1 : 0;

	if (is_lapsed(word, now))
		return opened(GATE_WHEN(word) + GATE_SPREAD, 0, GATE_WHY(word));
	return GATE_PACK(whole_units(now + GATE_PROBE), GATE_EXTRA(word), GATE_WHY(word), tries,
			 GATE_PROBING);
}

enum take gate_charge(struct seg *seg, const struct link *link, const struct demand *demand,
		      const struct instant *at, struct taken *taken, struct shortage *ret_why)
{
	for (int i = 0; i < CAS_ATTEMPTS && taken->charged; i++) {
		const uint64_t next = passed(taken->word, at->now);
		enum take result;

		if (shm_cas(&seg->hot[link->bucket].state[0], &taken->word, next)) {
			taken->charged = GATE_PHASE(next) == GATE_PROBING;
			taken->word = next;
			return TAKE_ADMIT;
		}
		result = gate_look(seg, link, demand, at, taken, ret_why);
		if (result != TAKE_ADMIT)
			return result;
	}
	return taken->charged ? TAKE_AGAIN : TAKE_ADMIT;
}

/* Compared with all of the probe's word, which no other life and no other probe has: the generation need not be. */
static bool end_probe(struct seg *seg, struct bucket_ref gate, uint64_t probe, uint64_t next)
{
	return gate.bucket < seg->n_buckets && GATE_PHASE(probe) == GATE_PROBING &&
	       shm_cas(&seg->hot[gate.bucket].state[0], &probe, next);
}

bool gate_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units)
{
	const struct bucket_ref gate = {charge->bucket, charge->generation};
	const uint64_t word = charge->taken.word;

	(void)units;
	return end_probe(seg, gate, word,
			 GATE_PACK(minus(GATE_WHEN(word), GATE_PROBE), GATE_EXTRA(word),
				   GATE_WHY(word), 0, GATE_BLOCKED));
}

bool gate_abandon(struct seg *seg, const struct charge_ref *charge, uint64_t now)
{
	const struct bucket_ref gate = {charge->bucket, charge->generation};
	const uint64_t word = charge->taken.word;

	return GATE_WHEN(word) > GATE_WHEN(now) &&
	       end_probe(seg, gate, word,
			 GATE_PACK(whole_units(now), GATE_EXTRA(word), GATE_WHY(word),
				   GATE_TRIED(word), GATE_PROBING));
}

/* --- closing and lifting --- */

/* The same word if there is nothing to do. */
static uint64_t blocked_by(uint64_t word, const struct gate_block *block)
{
	const bool own = block->probe != 0 && word == block->probe;
	const uint64_t until = GATE_WHEN(whole_units(block->until));

	switch (GATE_PHASE(word)) {
	case GATE_OPEN:
		return blocked(until, 0, block->why);
	case GATE_PROBING:
		if (own)
			return blocked(until, GATE_EXTRA(word) + 1, block->why);
		/* That of another is still out. */
		return blocked(most(until, GATE_WHEN(word)), GATE_EXTRA(word), block->why);
	default:
		return until > GATE_WHEN(word) ? blocked(until, GATE_EXTRA(word), block->why)
					       : word;
	}
}

bool gate_block(struct seg *seg, struct bucket_ref gate, const struct gate_block *block)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		uint64_t word, next;

		if (gate.bucket >= seg->n_buckets)
			return false;
		word = shm_load(&seg->hot[gate.bucket].state[0]);
		if (!is_alive(seg, gate) || word == RECORD_DEAD)
			return false;
		next = blocked_by(word, block);
		if (next == word || shm_cas(&seg->hot[gate.bucket].state[0], &word, next))
			return true;
	}
	return false;
}

uint64_t gate_backoff(const struct seg *seg, struct bucket_ref gate, bool failed)
{
	uint64_t word, times = failed ? 1 : 0;

	if (gate.bucket >= seg->n_buckets)
		return GATE_BACKOFF;
	word = shm_load(&seg->hot[gate.bucket].state[0]);
	if (GATE_PHASE(word) != GATE_OPEN)
		times += GATE_EXTRA(word);
	return least(GATE_BACKOFF << least(times, 6), GATE_BACKOFF_MAX);
}

/* What was counted has had its effect. Counts that come between are lost. */
static void forget_counts(struct seg *seg, struct bucket_ref gate)
{
	shm_word *word = &seg->hot[gate.bucket].state[1];
	uint64_t seen = shm_load(word);

	if (is_alive(seg, gate))
		(void)shm_cas(word, &seen, 0);
}

bool gate_lift(struct seg *seg, struct bucket_ref gate, uint64_t probe, uint64_t now)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct seg_hot *hot;
		uint64_t word, next;

		if (gate.bucket >= seg->n_buckets)
			return false;
		hot = &seg->hot[gate.bucket];
		word = shm_load(&hot->state[0]);
		if (!is_alive(seg, gate) || GATE_PHASE(word) == GATE_OPEN || word == RECORD_DEAD ||
		    (probe != 0 && word != probe))
			return false;
		next = opened(now + GATE_SPREAD, KIND_WAITERS(shm_half_load(&hot->kind)),
			      GATE_WHY(word));
		if (shm_cas(&hot->state[0], &word, next)) {
			forget_counts(seg, gate);
			return true;
		}
	}
	return false;
}

void gate_announce(struct seg *seg, struct bucket_ref gate)
{
	const uint64_t done = UINT64_C(1) + gate.generation;
	uint64_t seen;

	if (gate.bucket >= seg->n_buckets)
		return;
	seen = shm_load(&seg->hot[gate.bucket].state[3]);
	if (seen == done || !is_alive(seg, gate))
		return;
	/* Counted before it is marked: whoever is killed in between has told them, and the next one tells them again. */
	(void)shm_half_add(&seg->control->gates, 1);
	(void)shm_cas(&seg->hot[gate.bucket].state[3], &seen, done);
}

/* --- the breaker --- */

#define COUNT_MAX 0xfffu

/* Half windows by which a late clock may be behind. */
#define HALVES_LATE 16u

struct halves {
	uint32_t index;
	struct gate_counts now, before;
};

static struct halves unpack(uint64_t word)
{
	return (struct halves){
		.index = (uint32_t)(word >> 48),
		.now = {word >> 36 & COUNT_MAX, word >> 24 & COUNT_MAX},
		.before = {word >> 12 & COUNT_MAX, word & COUNT_MAX},
	};
}

static uint64_t pack(const struct halves *h)
{
	return (uint64_t)h->index << 48 | (uint64_t)h->now.responses << 36 |
	       (uint64_t)h->now.limited << 24 | (uint64_t)h->before.responses << 12 |
	       h->before.limited;
}

static uint32_t half_index(uint64_t window, uint64_t now)
{
	return (uint32_t)(now / most(window / 2, 1)) & 0xffff;
}

/* As of the half that it is now; a clock that is a little late counts in the one that there is. */
static struct halves halves_at(uint64_t word, uint32_t index)
{
	struct halves h = unpack(word);
	const uint32_t later = (index - h.index) & 0xffff;

	if (later == 0 || (later > 0x10000 - HALVES_LATE && h.now.responses > 0))
		return h;
	h.before = later == 1 ? h.now : (struct gate_counts){0, 0};
	h.now = (struct gate_counts){0, 0};
	h.index = index;
	return h;
}

/* Full counts keep their ratio. */
static void add(struct gate_counts *counts, bool limited)
{
	if (counts->responses == COUNT_MAX) {
		counts->responses /= 2;
		counts->limited /= 2;
	}
	counts->responses++;
	counts->limited += limited;
}

static bool is_too_much(const struct halves *h, const struct gate_breaker *breaker)
{
	const uint64_t responses = h->now.responses + h->before.responses;
	const uint64_t limited = h->now.limited + h->before.limited;

	return responses >= breaker->least && limited > 0 &&
	       limited * PPM >= responses * breaker->share_ppm;
}

bool gate_count(struct seg *seg, struct bucket_ref gate, const struct gate_breaker *breaker,
		bool limited, uint64_t now)
{
	const uint32_t index = half_index(breaker->window, now);

	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct halves h;
		uint64_t word;

		if (gate.bucket >= seg->n_buckets)
			return false;
		word = shm_load(&seg->hot[gate.bucket].state[1]);
		if (!is_alive(seg, gate))
			return false;
		h = halves_at(word, index);
		add(&h.now, limited);
		if (shm_cas(&seg->hot[gate.bucket].state[1], &word, pack(&h)))
			return limited && is_too_much(&h, breaker);
	}
	return false;
}

struct gate_counts gate_counts(const struct seg *seg, struct bucket_ref gate, uint64_t window,
			       uint64_t now)
{
	struct halves h;

	if (gate.bucket >= seg->n_buckets)
		return (struct gate_counts){0, 0};
	h = halves_at(shm_load(&seg->hot[gate.bucket].state[1]), half_index(window, now));
	return (struct gate_counts){h.now.responses + h.before.responses,
				    h.now.limited + h.before.limited};
}

void gate_limited(struct seg *seg, struct bucket_ref gate, uint64_t now)
{
	uint64_t seen;

	if (gate.bucket >= seg->n_buckets)
		return;
	seen = shm_load(&seg->hot[gate.bucket].state[2]);
	/* If another is faster, its time is as good. */
	if (seen < now && is_alive(seg, gate))
		(void)shm_cas(&seg->hot[gate.bucket].state[2], &seen, now);
}

/* --- the end of a life --- */

bool gate_close(struct seg *seg, uint32_t bucket, uint64_t before)
{
	struct seg_hot *hot = &seg->hot[bucket];
	const uint64_t counts = shm_load(&hot->state[1]);
	const uint64_t pair[2] = {shm_load(&hot->state[0]), counts};
	const uint64_t dead[2] = {RECORD_DEAD, counts};

	return gate_calm(pair[0], before) && shm_load(&hot->state[2]) <= before &&
	       shm_cas_pair(hot->state, pair, dead);
}

bool gate_plausible(const struct seg *seg, uint32_t bucket, uint64_t now)
{
	const struct seg_hot *hot = &seg->hot[bucket];
	const uint64_t word = shm_load(&hot->state[0]);

	return (word == RECORD_DEAD || is_possible(word, now)) &&
	       shm_load(&hot->state[2]) <= sum(now, LATE);
}

bool gate_repair(struct seg *seg, uint32_t bucket, uint64_t now)
{
	struct seg_hot *hot = &seg->hot[bucket];
	uint64_t word = shm_load(&hot->state[0]);
	uint64_t limited = shm_load(&hot->state[2]);
	bool done = false;

	if (word != RECORD_DEAD && !is_possible(word, now))
		done = shm_cas(&hot->state[0], &word, opened(now + GATE_SPREAD, 0, 0));
	if (limited > sum(now, LATE))
		done |= shm_cas(&hot->state[2], &limited, now);
	return done;
}
