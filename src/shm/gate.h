/*
 * shm/gate.h - blocks and the breaker: nothing of a scope passes before a time
 * SPDX-License-Identifier: MIT
 *
 * A gate is one record for each (tenant, vendor), (tenant, vendor, resource) or (account, vendor) that is or lately was in
 * trouble. Whoever has to block it first makes it. All that decides is one word:
 *
 *	state[0]	[time : 48 | extra : 8 | why : 4 | tries : 2 | phase : 2], time in units of 2^16 ticks (8 us)
 *	    open	everybody passes; before `time` each at a moment of his own (below). extra: who waited when it was lifted
 *	    blocked	nobody passes before `time`; who comes after it is the probe. extra: probes that failed in a row
 *	    probing	one is out, and nobody else passes before `time`; then the next is the probe. tries: those that were
 *			never heard of. extra: as blocked
 *	state[1]	breaker: [half window : 16 | responses, limited of it : 12 each | the same of the one before]
 *	state[2]	ticks: when it was last limited; for people, and for reclaim
 *	state[3]	1 once seg_control.gates has told everybody that it is there
 *
 * Each change is one CAS from the word that was judged, so whoever is killed has changed it or not. What always holds:
 *
 *  - While blocked, `time` only grows, until it has passed or an operator lifts the block. A block that comes while a probe is
 *    out lasts until the probe's time is over too: so there is no second one beside it.
 *  - A probe is the word that it wrote: its end compares all of it. One that is too late, or whose gate was blocked anew
 *    or lifted, ends nothing. A word of an earlier life is earlier than all of the present one.
 *  - A probe that is never heard of (killed, or its program feeds nothing back) is followed by another after GATE_PROBE; after
 *    GATE_TRIES of them nobody is expected to tell, and the gate counts as lifted when the last one's time was over.
 *  - Who is refused may stand in the gate's line (queue.h): the first of the most protected class becomes the probe.
 *
 * A lifted gate lets others in over GATE_SPREAD, each at a moment that follows from who he is and when it was lifted: the
 * classes that were waiting one after the other, full jitter within each. So nobody needs to write anything for that, and
 * when it is over the open word is calm again without anybody's doing.
 *
 *			block	probe	end	lift	count	reclaim	look
 *	block		later	x	 x	 x	  -	  x	  x	the later time; x: one CAS wins, the other looks again
 *	probe			x	 x	 x	  -	  x	  x	one of all that see its turn
 *	end				 x	 x	  -	  -	  x	good, limited, given back: only from the probe's own word
 *	lift					 x	  c	  x	  x	c: counts begin anew, some may be lost
 *	count						  x	  x	  -	one CAS on a word that only counts
 *	reclaim							  1	  x	from an open word; a look finds another life
 */
#ifndef RATION_SHM_GATE_H
#define RATION_SHM_GATE_H

#include <ration/ration.h>

#include "shm/index.h"
#include "shm/take.h"

/* How long a probe may be out before another follows it, and how many may be without an answer. */
#define GATE_PROBE (10 * TICKS_PER_SEC)
#define GATE_TRIES 3u

/* Over which others come in again. */
#define GATE_SPREAD TICKS_PER_SEC

/* What a vendor that does not say for how long is left alone: doubled by each probe that fails, up to the cap. */
#define GATE_BACKOFF     TICKS_PER_SEC
#define GATE_BACKOFF_MAX (60 * TICKS_PER_SEC)

/* No block is longer, whatever a policy says; no window of a breaker is. */
#define GATE_BLOCK_MAX  (UINT64_C(32) * 86400 * TICKS_PER_SEC)
#define GATE_WINDOW_MAX (UINT64_C(600) * TICKS_PER_SEC)

enum gate_phase {
	GATE_OPEN,
	GATE_BLOCKED,
	GATE_PROBING,
};

/* Of a gate that was blocked: enum ration_block. */
enum gate_why {
	GATE_WHY_NONE = RATION_BLOCK_NONE,
	GATE_WHY_BREAKER = RATION_BLOCK_BREAKER,
	GATE_WHY_OPERATOR = RATION_BLOCK_OPERATOR,
	GATE_WHY_VENDOR = RATION_BLOCK_VENDOR,
	GATE_WHYS,
};

#define GATE_TIME_SHIFT  16
#define GATE_PHASE(word) ((word)&3)
#define GATE_TRIED(word) ((word) >> 2 & 3)
#define GATE_WHY(word)   ((word) >> 4 & 15)
#define GATE_EXTRA(word) ((word) >> 8 & 255)
#define GATE_WHEN(word)  ((word) >> GATE_TIME_SHIFT << GATE_TIME_SHIFT)
#define GATE_PACK(time, extra, why, tries, phase)                                                  \
	((uint64_t)(time) >> GATE_TIME_SHIFT << GATE_TIME_SHIFT | (uint64_t)(extra) << 8 |         \
	 (uint64_t)(why) << 4 | (uint64_t)(tries) << 2 | (uint64_t)(phase))

/* In link->shape of a gate. */
enum gate_shape {
	GATE_CLASS, /* the asker's class */
};

/* All of an acquire that a calm gate costs: everybody passes, and nothing is to be written. */
static inline bool gate_calm(uint64_t word, uint64_t now)
{
	return GATE_PHASE(word) == GATE_OPEN && GATE_WHEN(word) <= now;
}

/* What a new gate begins with, but for its identity and names: open. */
struct bucket_spec gate_spec(uint64_t now);

/*
 * As a link of a chain (take.h). A denial's shortage: left is the word, retry_at the asker's own moment, as far as it can be
 * known. taken->charged says whether to pass takes a charge at all: to become the probe, or to write down that it is open.
 * Afterwards it says whether the asker is the probe; then taken->word is what its end compares.
 */
enum take gate_look(const struct seg *seg, const struct link *link, const struct demand *demand,
		    const struct instant *at, struct taken *ret_taken, struct shortage *ret_why);
enum take gate_charge(struct seg *seg, const struct link *link, const struct demand *demand,
		      const struct instant *at, struct taken *taken, struct shortage *ret_why);

/* The request of a probe never left: the next one who comes is the probe. False: it is that of nobody any more. */
bool gate_give_back(struct seg *seg, const struct charge_ref *charge, uint64_t units);

/* It was given up without an answer: its time is over. Otherwise as gate_give_back(). */
bool gate_abandon(struct seg *seg, const struct charge_ref *charge, uint64_t now);

/* A block that is to be. */
struct gate_block {
	uint64_t until; /* ticks */
	enum gate_why why;
	uint64_t probe; /* the word of the probe that met it; 0: it was none */
};

/* Nothing passes before `until`, or longer if that was so already. False: another life, or out of attempts. */
bool gate_block(struct seg *seg, struct bucket_ref gate, const struct gate_block *block);

/* For how long to block it where the vendor does not say: ticks. failed: the response is that of its probe. */
uint64_t gate_backoff(const struct seg *seg, struct bucket_ref gate, bool failed);

/*
 * Let all in again, spread. probe: only if that is the word still (a probe that came back good); 0: whatever it is, unless
 * it is open. True: it was done, and everybody in its line is to be told.
 */
bool gate_lift(struct seg *seg, struct bucket_ref gate, uint64_t probe, uint64_t now);

/* Once, however often it is called: tell every handle to look for new gates. After the gate's first block. */
void gate_announce(struct seg *seg, struct bucket_ref gate);

struct gate_breaker {
	uint64_t window;    /* ticks */
	uint32_t share_ppm; /* of the window's responses that were limited */
	uint32_t least;     /* responses */
};

struct gate_counts {
	uint32_t responses;
	uint32_t limited;
};

/* Count a response of the last window. True: so many of them were limited that the breaker is to open. */
bool gate_count(struct seg *seg, struct bucket_ref gate, const struct gate_breaker *breaker,
		bool limited, uint64_t now);
struct gate_counts gate_counts(const struct seg *seg, struct bucket_ref gate, uint64_t window,
			       uint64_t now);

/* When it was last limited. A clock that is behind does not move it back. */
void gate_limited(struct seg *seg, struct bucket_ref gate, uint64_t now);

/* Calm since `before`, and not limited since: no handle passes it from here on (reclaim.h). */
bool gate_close(struct seg *seg, uint32_t bucket, uint64_t before);

/* Whether its words can be true. What cannot is open from now on: nobody knows until when. */
bool gate_plausible(const struct seg *seg, uint32_t bucket, uint64_t now);
bool gate_repair(struct seg *seg, uint32_t bucket, uint64_t now);

#endif
