/*
 * shm/layout.h - what lies where in the state segment
 * SPDX-License-Identifier: MIT
 *
 * The segment is a header page and a row of sections, each an array of equal cells:
 *
 *	header | control | heads | hot | cold | name heads | workers | regions | extents |
 *	extent owners | queues | contests | events | budgets
 *
 *	heads		one word for each hash chain of the index: [tag 32 | bucket + 1, 0 ends it]
 *	hot, cold	bucket i is hot[i] (all an acquire touches) and cold[i] (all the rest)
 *	name heads	one word for each hash chain of names for people to read (names.h)
 *	workers		one line for each worker slot
 *	regions		one statistics cache for each worker slot (stat.h)
 *	extents		lines for what a record does not hold itself: rings, slots, names (extent.h)
 *	queues		where those who wait for a bucket stand in line (queue.h)
 *	events		what happened, a ring for each worker slot (event.h)
 *
 * Who writes what stands beside each field. Any worker may scribble over all of it, so nothing read
 * here is used as an index before it is compared with the geometry in `struct seg`, which is
 * private to each process, and no loop relies on what it reads to end.
 *
 * A new section is appended to the list; the fingerprint changes with every size and offset, and a
 * process whose fingerprint differs is refused at attach.
 */
#ifndef RATION_SHM_LAYOUT_H
#define RATION_SHM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "shm/atomic.h"

#define SEG_MAGIC     "RATIONST"
#define SEG_ABI       1u
#define SEG_PAGE      4096u
#define SEG_LINE      64u
#define SEG_CHAIN_MAX 64u /* records that one hash chain may hold */

/* Ticks: 1/8 ns since the segment's epoch. 64 bits last 73 years. */
#define TICKS_PER_NS  UINT64_C(8)
#define TICKS_PER_SEC (UINT64_C(1000000000) * TICKS_PER_NS)

enum seg_section_id {
	SEC_CONTROL,
	SEC_HEADS,
	SEC_HOT,
	SEC_COLD,
	SEC_NAME_HEADS,
	SEC_WORKERS,
	SEC_REGIONS,
	SEC_EXTENTS,
	SEC_EXTENT_OWNERS,
	SEC_QUEUES,
	SEC_CONTESTS,
	SEC_EVENTS,
	SEC_BUDGETS,
	SEC_COUNT,
	SEC_MAX = 16,
};

struct seg_section {
	uint64_t offset;
	uint32_t stride;
	uint32_t count;
};

/* Written once by the creator; `ready` last. Read at attach only. */
struct seg_header {
	char magic[8];
	uint32_t abi;
	uint32_t n_sections;
	uint64_t fingerprint;
	uint64_t size;
	uint64_t epoch_ns; /* CLOCK_BOOTTIME of the creator at tick 0 */
	struct seg_section sections[SEC_MAX];
	shm_word ready; /* SEG_READY once all the rest is in place */
};

#define SEG_READY UINT64_C(0x5245414459212121)

/* Written by the supervisor (policy_generation) or by anyone (counters). */
struct seg_control {
	shm_word policy_generation; /* read by every acquire: a newer policy waits in the attach
				       socket */
	shm_word wall_offset; /* wall clock in ns since 1970 minus ticks / 8, two's complement;
				 written by the supervisor, read by acquires with windows */
	shm_word
		horizon; /* written by whoever reclaims: what ended lives counted had happened before
			     these ticks; a new life begins no earlier */
	shm_word forgotten; /* times that a limit was told of a cost it could not count in full */
	shm_half
		gates; /* read by every acquire: how many gates were ever made (gate.h); written by their makers */
	shm_half reserved2;
	uint8_t pad0[24];
	shm_word bucket_hint; /* where to look for a free record next; any value will do */
	shm_word full;        /* inserts that found no room */
	shm_word corrupt;     /* impossible values met */
	shm_word repaired;    /* impossible values put right */
	shm_word extent_hint; /* where to look for free extent lines next; any value will do */
	shm_word freed;       /* records that became free again: a full table is searched anew */
	shm_word exhausted;   /* `freed` + 1 as it was when no record was free */
	shm_word unnamed;     /* names that found no room */
	shm_word lines_freed; /* times that extent lines became free again */
	shm_word name_full;   /* what no room was found for, and when (names.c) */
	shm_half name_round;  /* the supervisor's rounds over names in use (names.h) */
	shm_half reserved0;
	shm_word
		learned; /* times that a share of a limit was learned (learn.h): the supervisor is to look */
	shm_word events_dropped; /* that found no room (event.h) */
	shm_half events;         /* how often one was put anywhere: the supervisor is to look */
	shm_half reserved1;
	shm_word reserved[2];
};

/*
 * The line an acquire touches. `numbers` is changed by the supervisor alone once the record is
 * linked. What the state words mean each kind's header says; no kind has RECORD_DEAD in state[0].
 */
struct seg_hot {
	shm_word state[4];    /* written by every worker; two aligned pairs for shm_cas_pair() */
	shm_word numbers;     /* effective numbers, by kind, in one word, with the policy's stamp */
	shm_half generation;  /* bumped by the supervisor when a life of the record has ended */
	shm_half kind;        /* enum seg_kind in the low byte; KIND_WAITERS above it */
	shm_word identity[2]; /* keyed hash of what this bucket counts; never 0, 0 while linked */
};

/* state[0] of a record that is between two lives. */
#define RECORD_DEAD UINT64_MAX

/* In `kind`: one bit for each class that may have somebody in line for this bucket (queue.h). */
#define KIND_OF(word)      ((word)&0xff)
#define KIND_WAITERS_SHIFT 8
#define KIND_WAITERS(word) ((word) >> KIND_WAITERS_SHIFT & 0xff)

/*
 * Also there: one bit for each class that has drawn from it since the supervisor last passed by, or since it passed
 * before that (contest.h).
 */
#define KIND_RECENT_SHIFT 16
#define KIND_BEFORE_SHIFT 24
#define KIND_RECENT(word) (((word) >> KIND_RECENT_SHIFT | (word) >> KIND_BEFORE_SHIFT) & 0xff)

/* Written by whoever claims the record, before it is linked; the counters by everyone. */
struct seg_cold {
	shm_word owner;    /* COLD_FREE, COLD_LINKED, or the worker that is filling it in */
	shm_half next;     /* next record + 1 of the same chain */
	shm_half scope;    /* [count 24 | RATION_SCOPE_* bits 8]; windows count give-backs there */
	shm_half names[6]; /* enum seg_name: references (names.h); 0: none */
	shm_word admitted; /* acquires, spilled from the workers' caches */
	shm_word denied;
	shm_word
		max_debt; /* units that a settle may bring it below empty; 0: no bound of its own */
};

enum seg_kind {
	KIND_NONE,
	KIND_BUCKET,  /* bucket.h */
	KIND_WINDOW,  /* window.h */
	KIND_ROLLING, /* rolling.h */
	KIND_SLOTS,   /* slots.h: concurrency */
	KIND_VIEW,    /* view.h: of another record, no limit itself */
	KIND_GATE,    /* gate.h: blocks and the breaker, no limit itself */
	KIND_COUNT,
};

enum seg_name {
	NAME_LIMIT, /* "vendor/limit", or "limit" for all vendors */
	NAME_TENANT,
	NAME_VENDOR,
	NAME_CLASS,
	NAME_ACCOUNT,
	NAME_RESOURCE,
};

#define COLD_SCOPE(word) ((word)&0xff)
#define COLD_COUNT_ONE   UINT32_C(0x100)

/* A free record has owner 0, so that a fresh segment of zeroes is a valid empty one. */
#define COLD_FREE   UINT64_C(0)
#define COLD_LINKED UINT64_MAX

/* One name, in as many consecutive extent lines as it needs (names.h). */
struct seg_name_line {
	shm_half next; /* first line + 1 of the next name of the same chain */
	shm_half size; /* bytes in text, without a terminator */
	shm_word hash;
	shm_word text[6]; /* the first bytes; the others continue through the following lines */
};

/* Written by the worker (claim, generation) and by whoever gives and takes the slot (identity). */
struct seg_worker {
	shm_word identity; /* worker_identity(); 0: the slot is free */
	shm_word claim;    /* record + 1 that this worker is making; stays named if it is killed */
	shm_word policy_generation; /* newest one this worker has taken up */
	shm_half waiting; /* its event loops sleep on this; whoever wakes one adds one (queue.h) */
	shm_half reserved0;
	shm_word reserved[4];
};

#ifndef STAT_CELLS
#define STAT_CELLS 1024u
#endif

/* Written by one worker and whoever reaps it (stat.h). */
struct seg_region {
	shm_word stat[STAT_CELLS];
};

/* A line of an extent. Whose it is stands in the extent owners (extent.h). */
struct seg_extent {
	shm_word word[8];
};

/* One place in a waiting line (queue.h). */
struct seg_waiter {
	shm_word owner;   /* who, for which bucket, of which class; 0: free. One CAS takes it */
	shm_word arrival; /* ticks; the order within a class */
	shm_word wake_at; /* ticks at which it means to try; long past it, it holds nobody up.
			   * 0: not yet there */
	shm_half futex;   /* it sleeps on this; whoever wakes it adds one */
	shm_half units;   /* that it waits for, saturated */
};

#ifndef QUEUE_PLACES
#define QUEUE_PLACES 128u
#endif

struct seg_queue {
	struct seg_waiter place[QUEUE_PLACES];
};

/* Shadow denials of one limit and class (contest.h). */
struct seg_contest {
	shm_word key;    /* contest_key(); 0: free */
	shm_word denied; /* acquires */
	shm_word units;  /* that they wanted */
	shm_word last_at;
	shm_word with[8]; /* of them: while this class had drawn lately */
	shm_word reserved[4];
};

#define SEG_CONTESTS 512u

#ifndef EVENT_CELLS
#define EVENT_CELLS 16u
#define EVENT_WORDS 191u
_Static_assert(8 * (EVENT_WORDS + 1) % SEG_LINE == 0, "no two events share a line");
#endif

/* One event. Written by whoever claimed it, then freed by the supervisor. */
struct seg_event {
	shm_word state;
	shm_word word[EVENT_WORDS];
};

/* Written by one worker; emptied by the supervisor, and by whoever reaps it (event.h). */
struct seg_events {
	shm_word next; /* events that looked for a cell */
	shm_half told; /* how often one was put here */
	shm_half reserved0;
	shm_word reserved[6];
	struct seg_event cell[EVENT_CELLS];
};

/* Retries of a vendor and class (budget.h). */
struct seg_budget {
	shm_word key;  /* budget_key(); 0: free */
	shm_word left; /* millionths of a retry, + 1; 0: as at first */
	shm_word spent;
	shm_word refused;
	shm_word reserved[4];
};

#define SEG_BUDGETS 512u

_Static_assert(sizeof(struct seg_header) <= SEG_PAGE, "the header fits its page");
_Static_assert(sizeof(struct seg_control) == (size_t)3 * SEG_LINE, "policy word alone on its line");
_Static_assert(sizeof(struct seg_hot) == SEG_LINE, "one line for each link of an acquire");
_Static_assert(sizeof(struct seg_cold) == SEG_LINE, "one line");
_Static_assert(sizeof(struct seg_worker) == SEG_LINE, "no two workers share a line");
_Static_assert(sizeof(struct seg_name_line) == SEG_LINE, "one line");
_Static_assert(offsetof(struct seg_hot, state) == 0, "16-byte aligned for shm_cas_pair()");
_Static_assert(offsetof(struct seg_hot, numbers) == 32, "layout");
_Static_assert(offsetof(struct seg_hot, generation) == 40, "layout");
_Static_assert(offsetof(struct seg_hot, kind) == 44, "layout");
_Static_assert(offsetof(struct seg_hot, identity) == 48, "layout");
_Static_assert(sizeof(struct seg_extent) == SEG_LINE, "one line");
_Static_assert(sizeof(struct seg_waiter) == 32, "two to a line");
_Static_assert(sizeof(struct seg_contest) == (size_t)2 * SEG_LINE, "no two limits share a line");
_Static_assert(sizeof(struct seg_budget) == SEG_LINE, "no two classes share a line");
_Static_assert(offsetof(struct seg_cold, next) == 8, "layout");
_Static_assert(offsetof(struct seg_cold, names) == 16, "layout");
_Static_assert(offsetof(struct seg_cold, admitted) == 40, "layout");
_Static_assert(sizeof(struct seg_region) == (size_t)8 * STAT_CELLS, "layout");

/* The clock that corrections read themselves, after what they correct: ticks now. */
typedef uint64_t seg_clock(void *user);

/* How large to make each thing. */
struct seg_config {
	uint32_t buckets; /* 1 ... SEG_BUCKETS_MAX */
	uint32_t workers; /* 1 ... SEG_WORKERS_MAX */
	uint32_t extents; /* lines; 0: SEG_EXTENTS_DEFAULT for that many buckets */
	uint32_t queues;  /* a power of two; 0: SEG_QUEUES_DEFAULT */
};

/* A name of up to 48 bytes takes one line; a bucket brings one new name or none. */
#define SEG_EXTENTS_DEFAULT(buckets) ((buckets) + (buckets) / 2 + 256)
#define SEG_EXTENTS_MAX              (UINT32_C(1) << 25)
#define SEG_QUEUES_DEFAULT           256u
#define SEG_QUEUES_MAX               (UINT32_C(1) << 16)

#define SEG_BUCKETS_MAX (UINT32_C(1) << 24)
#define SEG_WORKERS_MAX 4096u

/*
 * A process's own view: where each section is mapped and how many cells it has. Private memory,
 * filled in once at attach; what lies behind the pointers is shared and may hold anything.
 */
struct seg {
	char *base;
	uint64_t size;
	uint64_t epoch_ns;
	struct seg_control *control;
	shm_word *heads;
	struct seg_hot *hot;
	struct seg_cold *cold;
	shm_word *name_heads;
	struct seg_worker *workers;
	struct seg_region *regions;
	struct seg_extent *extents;
	shm_half *extent_owners;
	struct seg_queue *queues;
	struct seg_contest *contests;
	struct seg_events *events;
	struct seg_budget *budgets;
	uint32_t n_heads; /* a power of two */
	uint32_t n_buckets;
	uint32_t n_name_heads; /* a power of two */
	uint32_t n_workers;
	uint32_t n_extents;
	uint32_t n_queues; /* a power of two */
};

/* Why a segment was refused. */
enum seg_status {
	SEG_OK,
	SEG_NOT_READY,    /* its maker has not finished, or was killed */
	SEG_NOT_OURS,     /* no segment of this project */
	SEG_OTHER_LAYOUT, /* another ABI or fingerprint */
	SEG_BAD_GEOMETRY, /* sections that overlap, leave the segment, or have other sizes */
};

/* A hash over every size and offset above: equal exactly when two builds agree on the layout. */
uint64_t seg_fingerprint(void);

/* Bytes needed (a multiple of the page size), or 0 if the configuration is out of range. */
uint64_t seg_size(const struct seg_config *config);

/* Make a segment in zeroed memory of seg_size() bytes, page-aligned. `ready` is stored last. */
void seg_init(void *mem, const struct seg_config *config, uint64_t epoch_ns, struct seg *ret_seg);

/* Take a view of a segment of `size` bytes. ret_seg is untouched unless SEG_OK. */
enum seg_status seg_open(void *mem, uint64_t size, struct seg *ret_seg);

#endif
