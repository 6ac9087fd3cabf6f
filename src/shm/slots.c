/*
 * shm/slots.c - so many at a time, as leases
 * SPDX-License-Identifier: MIT
 */
#include "shm/slots.h"

#include "shm/extent.h"

#define UNIT_SHIFT     30
#define DELAY_SHIFT    20
#define START_BITS     23
#define START_MASK     ((UINT64_C(1) << START_BITS) - 1)
#define SEQUENCE_MASK  UINT64_C(0x7ff)
#define SEQUENCE_SHIFT START_BITS
#define OWNER_SHIFT    34 /* [worker slot + 1 : 13 | incarnation 16] */
#define WORKER_SHIFT   50

#define FREE  (UINT64_C(1) << 49)
#define SPENT (UINT64_C(1) << 48)
#define LEFT  (UINT64_C(1) << 47)
#define LIFE  ((UINT64_C(1) << 25) - 1)

#define COUNT_MASK UINT64_C(0xfff)
#define HOLD_SHIFT 12
#define HOLD_MASK  UINT64_C(0xfffff)
#define HOLD_MAX   (UINT64_C(86400) * TICKS_PER_SEC)

#define DELAY_PLACE 32
#define DELAY_MASK  ((UINT64_C(1) << 28) - 1)

/* What a spent slot without a maximum hold waits for, and who is denied by leases that have none. */
#define SPENT_UNITS ((UINT64_C(60) * TICKS_PER_SEC) >> UNIT_SHIFT)
#define LOOK_AGAIN  TICKS_PER_SEC

/* --- words --- */

static uint64_t free_word(uint32_t bucket, uint32_t generation)
{
	return FREE | (generation & LIFE) << 24 | (bucket & (SEG_BUCKETS_MAX - 1));
}

static bool is_lease(uint64_t word)
{
	return word >> WORKER_SHIFT != 0;
}

static bool is_left(uint64_t word)
{
	return word >> 47 == 1;
}

/* Leases, and slots that are held by nobody. */
static bool is_held(uint64_t word)
{
	return is_lease(word) || is_left(word) || (word & (FREE | SPENT)) == SPENT;
}

uint64_t slots_lease(uint64_t identity, uint32_t sequence, uint64_t now)
{
	return identity >> 32 << OWNER_SHIFT | (sequence & SEQUENCE_MASK) << SEQUENCE_SHIFT |
	       (now >> UNIT_SHIFT & START_MASK);
}

uint32_t slots_holder(uint64_t lease)
{
	return (uint32_t)(lease >> WORKER_SHIFT) - 1;
}

uint32_t slots_class(uint64_t lease)
{
	return (uint32_t)(lease >> SEQUENCE_SHIFT) & (CLASSES_MAX - 1);
}

/* Units that a held word has been held for; modulo 13 days. */
static uint64_t age(uint64_t word, uint64_t now)
{
	return ((now >> UNIT_SHIFT) - word) & START_MASK;
}

uint64_t slots_since(uint64_t lease, uint64_t now)
{
	const uint64_t start = (now >> UNIT_SHIFT) - age(lease, now);

	if (is_left(lease))
		return 0;
	return start <= now >> UNIT_SHIFT ? start << UNIT_SHIFT : 0;
}

/* --- numbers --- */

/* Rounded up. */
static uint64_t units_of(uint64_t ns, unsigned shift)
{
	return (ns * TICKS_PER_NS + (UINT64_C(1) << shift) - 1) >> shift;
}

uint64_t slots_pack(uint32_t slots, uint64_t hold_ns, uint64_t delay_ns)
{
	if (slots == 0 || slots > SLOTS_MAX || hold_ns > HOLD_MAX / TICKS_PER_NS ||
	    delay_ns > (DELAY_MASK << DELAY_SHIFT) / TICKS_PER_NS)
		return 0;
	return units_of(delay_ns, DELAY_SHIFT) << DELAY_PLACE |
	       units_of(hold_ns, UNIT_SHIFT) << HOLD_SHIFT | slots;
}

uint32_t slots_count(uint64_t numbers)
{
	return (uint32_t)(numbers & COUNT_MASK);
}

static uint64_t hold_units(uint64_t numbers)
{
	return numbers >> HOLD_SHIFT & HOLD_MASK;
}

uint64_t slots_hold(uint64_t numbers)
{
	return hold_units(numbers) << UNIT_SHIFT;
}

static uint64_t delay_of(uint64_t numbers)
{
	return (numbers >> DELAY_PLACE & DELAY_MASK) << DELAY_SHIFT;
}

uint32_t slots_table_words(uint32_t slots)
{
	return slots > 16 ? (4 * slots + 7) / 8 * 8 : 64;
}

/* --- tables --- */

/* One record's table, as it was when it was opened. */
struct table {
	shm_word *words;
	uint32_t n_words;
	uint32_t count; /* slots there are */
	uint32_t reach; /* words that may hold leases */
	uint64_t hold;  /* units; 0: no end */
	uint64_t free;  /* what a slot of it is when it is free */
};

static uint32_t smaller(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

/* False: no table, or no numbers. */
static bool open_table(const struct seg *seg, uint32_t bucket, uint32_t generation,
		       struct table *ret_table)
{
	const struct seg_hot *hot = &seg->hot[bucket];
	const uint64_t numbers = shm_load(&hot->numbers);
	const uint64_t reach = shm_load(&hot->state[2]);
	struct table table = {.hold = hold_units(numbers), .free = free_word(bucket, generation)};

	table.words = extent_words(seg, bucket, &table.n_words);
	if (!table.words || slots_count(numbers) == 0)
		return false;
	table.count = smaller(slots_count(numbers), table.n_words);
	table.reach = smaller(reach, table.n_words);
	*ret_table = table;
	return true;
}

static bool open_present(const struct seg *seg, uint32_t bucket, struct table *ret_table)
{
	return open_table(seg, bucket, shm_half_load(&seg->hot[bucket].generation), ret_table);
}

/* When a lease or a spent word ends, in units from now on; 0: it has ended. UINT64_MAX: it does not by itself. */
static uint64_t ends_in(const struct table *table, uint64_t word, uint64_t now)
{
	const uint64_t hold = table->hold || is_lease(word) ? table->hold : SPENT_UNITS;
	const uint64_t held = age(word, now);

	if (hold == 0)
		return UINT64_MAX;
	if (held <= hold)
		return hold - held + 1;
	if (held - hold <= (START_MASK - hold) / 2)
		return 0;
	return START_MASK - held + 1 + hold + 1; /* begins later than this clock says */
}

/* 0: it has ended. No delay reaches beyond what numbers can say, so a word that does is not true. */
static uint64_t left_until(uint64_t word, uint64_t now)
{
	const uint64_t until = (word & (LEFT - 1)) << DELAY_SHIFT;

	return until > now && until - now <= (DELAY_MASK + 1) << DELAY_SHIFT ? until : 0;
}

/* When a held word ends, in ticks; 0: it has ended. UINT64_MAX: it does not by itself. */
static uint64_t ends_at(const struct table *table, uint64_t word, uint64_t now)
{
	uint64_t units;

	if (is_left(word))
		return left_until(word, now);
	units = ends_in(table, word, now);
	return units == 0 || units == UINT64_MAX ? units
						 : ((now >> UNIT_SHIFT) + units) << UNIT_SHIFT;
}

static bool is_takeable(const struct table *table, uint64_t word, uint64_t now)
{
	return word == table->free || (is_held(word) && ends_at(table, word, now) == 0);
}

/* The slots that a class may take, in the order in which it tries them. */
struct eligible {
	uint32_t own_first, own;
	uint32_t shared_first, shared;
	bool from_below;
};

static struct eligible eligible_of(const struct table *table, const uint64_t shape[5])
{
	const uint64_t ceiling = shape[SLOTS_CEILING] ? shape[SLOTS_CEILING] : UINT64_MAX;
	struct eligible e = {
		.own_first = smaller(shape[SLOTS_OWN_FIRST], table->count),
		.shared_first = smaller(shape[SLOTS_SHARED_FIRST], table->count),
		.from_below = shape[SLOTS_CEILING] != 0,
	};

	e.own = smaller(shape[SLOTS_OWN_COUNT], table->count - e.own_first);
	e.own = smaller(ceiling, e.own);
	e.shared = smaller(ceiling - e.own, table->count - e.shared_first);
	return e;
}

static uint32_t nth(const struct table *table, const struct eligible *e, uint32_t i)
{
	if (i < e->own)
		return e->own_first + i;
	i -= e->own;
	return e->from_below ? e->shared_first + i : table->count - 1 - i;
}

/* --- taking --- */

/* What a scan of a table found. */
struct found {
	uint32_t slot; /* the first that can be taken */
	uint64_t word; /* and what stands in it */
	uint64_t left;
	uint64_t ends_at; /* ticks: the earliest that one ends by itself */
};

/* Leases of a time when there were more slots. */
static uint64_t held_beyond(const struct table *table, uint64_t now)
{
	uint64_t n = 0;

	for (uint32_t i = table->count; i < table->reach; i++) {
		const uint64_t word = shm_load(&table->words[i]);

		n += is_held(word) && ends_at(table, word, now) != 0;
	}
	return n;
}

/* Look for `wanted` slots that can be taken, no further than it takes to know. */
static bool find_free(const struct table *table, const struct eligible *e, uint64_t wanted,
		      uint64_t now, struct found *found)
{
	*found = (struct found){.ends_at = UINT64_MAX};
	for (uint32_t i = 0; i < e->own + e->shared; i++) {
		const uint32_t slot = nth(table, e, i);
		const uint64_t word = shm_load(&table->words[slot]);
		uint64_t end;

		if (is_takeable(table, word, now)) {
			if (found->left++ == 0) {
				found->slot = slot;
				found->word = word;
			}
			if (found->left == wanted)
				return true;
		} else if (is_held(word)) {
			end = ends_at(table, word, now);
			found->ends_at = end < found->ends_at ? end : found->ends_at;
		}
	}
	return false;
}

/* The generation is looked at last: if it is the link's, all that was read before is of that life. */
static enum take look(const struct seg *seg, const struct link *link, const struct demand *demand,
		      uint64_t now, struct table *table, struct found *found,
		      struct shortage *ret_why)
{
	const bool usable = open_table(seg, link->bucket, link->generation, table);
	struct eligible e = {0};
	bool enough = false;

	if (usable) {
		e = eligible_of(table, link->shape);
		enough = find_free(table, &e, demand->ahead + held_beyond(table, now) + 1, now,
				   found);
	}
	if (shm_half_load(&seg->hot[link->bucket].generation) != link->generation)
		return TAKE_STALE;
	if (!usable)
		return TAKE_CORRUPT;
	if (enough)
		return TAKE_ADMIT;
	/* Every word of it is closed. */
	if (shm_load(&seg->hot[link->bucket].state[0]) == RECORD_DEAD)
		return TAKE_STALE;
	*ret_why = (struct shortage){
		.retry_at = now + LOOK_AGAIN, .left = found->left, .size = e.own + e.shared};
	if (found->ends_at != UINT64_MAX)
		ret_why->retry_at = found->ends_at;
	return ret_why->size == 0 ? TAKE_NEVER : TAKE_WAIT;
}

enum take slots_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		     const struct instant *at, struct taken *ret_taken, struct shortage *ret_why)
{
	struct table table;
	struct found found;
	const enum take result = look(seg, link, demand, at->now, &table, &found, ret_why);

	if (result == TAKE_ADMIT)
		*ret_taken = (struct taken){.charged = found.slot, .word = demand->lease};
	return result;
}

/*
 * No word that was seen in one life stands in a line again after it: free words name their life, and a lease is taken
 * once. So after look() a CAS succeeds in the life that it means, or not at all.
 */
enum take slots_charge(struct seg *seg, const struct link *link, const struct demand *demand,
		       const struct instant *at, struct taken *taken, struct shortage *ret_why)
{
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct table table;
		struct found found;
		const enum take result = look(seg, link, demand, at->now, &table, &found, ret_why);

		if (result != TAKE_ADMIT)
			return result;
		if (shm_cas(&table.words[found.slot], &found.word, demand->lease)) {
			*taken = (struct taken){.charged = found.slot, .word = demand->lease};
			return TAKE_ADMIT;
		}
	}
	return TAKE_AGAIN;
}

/* --- ending --- */

/* No generation to look at: the lease is named by its word, and was taken in one life only. */
static bool end_lease(struct seg *seg, const struct charge_ref *charge, uint64_t becomes)
{
	uint64_t lease = charge->taken.word;
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, charge->bucket, &n_words);

	return words && charge->taken.charged < n_words && is_lease(lease) &&
	       shm_cas(&words[charge->taken.charged], &lease, becomes);
}

bool slots_release(struct seg *seg, const struct charge_ref *charge)
{
	return end_lease(seg, charge, free_word(charge->bucket, charge->generation));
}

/* What stands in a slot that is nobody's for a delay from now on. */
static uint64_t left_word(const struct seg *seg, uint32_t bucket, uint32_t generation,
			  uint64_t delay, uint64_t now)
{
	const uint64_t own = delay_of(shm_load(&seg->hot[bucket].numbers));

	delay = own < delay ? own : delay;
	if (delay == 0)
		return free_word(bucket, generation);
	return LEFT |
	       ((now + delay + (UINT64_C(1) << DELAY_SHIFT) - 1) >> DELAY_SHIFT & (LEFT - 1));
}

bool slots_abandon(struct seg *seg, const struct charge_ref *charge, uint64_t now)
{
	return charge->bucket < seg->n_buckets &&
	       end_lease(seg, charge,
			 left_word(seg, charge->bucket, charge->generation, UINT64_MAX, now));
}

/* One line of a table: end what this worker holds in it. */
static uint32_t reap_line(struct seg_extent *line, uint32_t worker, uint64_t becomes)
{
	uint32_t ended = 0;

	for (int i = 0; i < 8; i++) {
		uint64_t word = shm_load(&line->word[i]);

		if (is_lease(word) && slots_holder(word) == worker)
			ended += shm_cas(&line->word[i], &word, becomes);
	}
	return ended;
}

static bool is_slots(const struct seg *seg, uint32_t bucket)
{
	return bucket < seg->n_buckets &&
	       KIND_OF(shm_half_load(&seg->hot[bucket].kind)) == KIND_SLOTS;
}

uint32_t slots_reap(struct seg *seg, uint32_t worker, uint64_t now, slots_freed *freed, void *user)
{
	uint32_t untold = UINT32_MAX, total = 0;

	for (uint32_t i = 0; i < seg->n_extents; i++) {
		const uint32_t bucket = shm_half_load(&seg->extent_owners[i]) - 1;
		uint32_t ended;

		if (!is_slots(seg, bucket))
			continue;
		ended = reap_line(&seg->extents[i], worker,
				  left_word(seg, bucket,
					    shm_half_load(&seg->hot[bucket].generation),
					    SLOTS_REAP_DELAY, now));
		if (ended > 0 && untold != bucket) {
			if (untold != UINT32_MAX && freed)
				freed(user, untold);
			untold = bucket;
		}
		total += ended;
	}
	if (untold != UINT32_MAX && freed)
		freed(user, untold);
	return total;
}

/* --- the supervisor's --- */

void slots_retune(struct seg *seg, uint32_t bucket, uint64_t numbers)
{
	struct seg_hot *hot = &seg->hot[bucket];
	const uint32_t before = slots_count(shm_load_relaxed(&hot->numbers));

	/* First, so that whoever sees the smaller number sees where the others' leases may be. */
	if (slots_count(numbers) < before && shm_load(&hot->state[2]) < before)
		shm_store(&hot->state[2], before);
	shm_store(&hot->numbers, numbers);
}

void slots_first(struct seg *seg, uint32_t bucket, uint32_t extent, uint32_t words,
		 uint64_t numbers, uint64_t now, bool spent)
{
	const uint64_t free = free_word(bucket, shm_half_load(&seg->hot[bucket].generation));
	const uint64_t held = SPENT | (now >> UNIT_SHIFT & START_MASK);

	for (uint32_t i = 0; i < words; i++)
		shm_store_relaxed(&seg->extents[extent + i / 8].word[i % 8],
				  spent && i < slots_count(numbers) ? held : free);
}

static void reopen(const struct table *table)
{
	for (uint32_t i = 0; i < table->n_words; i++) {
		uint64_t closed = 0;

		(void)shm_cas(&table->words[i], &closed, table->free);
	}
}

bool slots_close(struct seg *seg, uint32_t bucket, uint64_t now)
{
	struct table table;

	if (!open_present(seg, bucket, &table))
		return false;
	for (uint32_t i = 0; i < table.n_words; i++) {
		uint64_t word = shm_load(&table.words[i]);

		if (word == 0 ||
		    (is_takeable(&table, word, now) && shm_cas(&table.words[i], &word, 0)))
			continue;
		reopen(&table);
		return false;
	}
	return true;
}

/*
 * The holder's line is loaded after the lease: it names him from before he could take one until he is reaped or has
 * said goodbye.
 */
static bool is_plausible(const struct seg *seg, const struct table *table, uint64_t word)
{
	const uint64_t worker = slots_holder(word);

	if (!is_lease(word))
		return word == table->free || is_left(word) || (word & ~START_MASK) == SPENT;
	return word >> 63 == 0 && worker < seg->n_workers &&
	       shm_load(&seg->workers[worker].identity) >> 32 == word >> OWNER_SHIFT;
}

bool slots_plausible(const struct seg *seg, uint32_t bucket)
{
	struct table table;

	if (!open_present(seg, bucket, &table))
		return false;
	for (uint32_t i = 0; i < table.n_words; i++) {
		const uint64_t word = shm_load(&table.words[i]);

		/* Its worker may just have been reaped: then it is not held any more. */
		if (!is_plausible(seg, &table, word) && shm_load(&table.words[i]) == word)
			return false;
	}
	return true;
}

bool slots_repair(struct seg *seg, uint32_t bucket)
{
	struct table table;
	bool repaired = false;

	if (!open_present(seg, bucket, &table))
		return false;
	for (uint32_t i = 0; i < table.n_words; i++) {
		uint64_t word = shm_load(&table.words[i]);

		if (!is_plausible(seg, &table, word))
			repaired |= shm_cas(&table.words[i], &word, table.free);
	}
	return repaired;
}

/* --- displays --- */

uint64_t slots_word(const struct seg *seg, uint32_t bucket, uint32_t i)
{
	uint32_t n_words = 0;
	shm_word *words = extent_words(seg, bucket, &n_words);
	const uint64_t word = words && i < n_words ? shm_load(&words[i]) : 0;

	return is_held(word) ? word : 0;
}
