/*
 * client/attachment.h - what libration keeps in a process's own memory
 * SPDX-License-Identifier: MIT
 *
 * Private to src/client. Any thread and any signal handler may be in any of this at any time, so
 * whatever changes after attach is atomic, and what only one may do at a time is guarded by a flag
 * that nobody waits for: whoever finds it taken goes on with what there is, or returns
 * RATION_CONTENDED.
 */
#ifndef RATION_CLIENT_ATTACHMENT_H
#define RATION_CLIENT_ATTACHMENT_H

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "client/client.h"
#include "client/make.h"
#include "client/wall.h"
#include "shm/hash.h"
#include "shm/index.h"

/* A mapped policy. `blob.header` is NULL where the place is free. */
struct policy_view {
	struct blob blob;
	uint32_t classes; /* bit mask of those that this process may claim */
	bool retired;     /* replaced, but somebody may still read it */
};

_Static_assert(offsetof(struct policy_view, blob) == 0, "policy_classes()");

#define POLICY_VIEWS 8
#define EVENTS_DUE   64u

enum registration {
	UNREGISTERED, /* what a child finds: the page is wiped by fork */
	REGISTERING,
	REGISTERED,
};

/* Alone on a page that fork wipes: this is how a child learns that it is one, without a system
 * call. */
struct process_page {
	_Atomic uint32_t registration;
};

struct ration {
	struct seg seg;
	bool observer;        /* state is read-only, there is no slot */
	int socket;           /* -1: embedded */
	uint64_t state_inode; /* which memory this is, to recognise it when a child attaches anew */
	int64_t shift_ns; /* supervisor's CLOCK_BOOTTIME minus ours: not 0 in a time namespace */
	struct sockaddr_un address;
	struct process_page *process;

	_Atomic uint64_t identity; /* worker_identity() of this process */
	_Atomic uint32_t slot;
	_Atomic uint32_t serial;    /* how often the memory behind this attachment was exchanged */
	_Atomic uint32_t leases;    /* how many were asked for: makes each one's word its own */
	_Atomic uint32_t waits;     /* the same for places in line */
	atomic_flag inserting;      /* a slot makes one bucket at a time */
	atomic_flag following;      /* clock.c: one at a time */
	_Atomic int register_error; /* a registration failed, with this */
	_Atomic uint64_t register_retry_at; /* CLOCK_BOOTTIME ns: not before this again */
	_Atomic uint64_t bury_at;           /* embedded.c: ticks; when to look for the dead again */

	/* clock.c: offsets as in wall.h */
	_Atomic int64_t wall_known;    /* what was last found true */
	_Atomic uint64_t wall_look_at; /* ticks; embedded: when to follow the clock again, */
	struct wall wall;              /* from here, */

	_Atomic uint64_t due[EVENTS_DUE]; /* events.c: what was told of lately */

	/* policy_view.c */
	struct policy_view views[POLICY_VIEWS];
	_Atomic(struct policy_view *) policy;
	_Atomic uint32_t policy_readers;
	_Atomic uint64_t policy_generation; /* of *policy */
	_Atomic uint64_t
		policy_retry_at; /* ticks; a receive that brought nothing is not repeated before */
	atomic_flag updating;
};

/* A resolved key. */
struct chain_head {
	uint64_t policy_generation; /* 0: never resolved */
	uint64_t delay;             /* ticks that a ticket is good for */
	uint32_t serial;
	uint32_t flags;   /* CHAIN_* */
	uint32_t n_links; /* gates are links behind those */
	uint32_t gates;   /* seg_control.gates when they were looked for */
	int64_t from,
		until; /* CHAIN_WALL: wall clock times between which it is as resolved, ns since 1970 */
};

#define CHAIN_CLASS(flags)   ((flags)&7)
#define CHAIN_PLAIN          UINT32_C(0x08) /* every link is plain (shm/chain.h) */
#define CHAIN_WALL           UINT32_C(0x10) /* windows, or a mode that depends on the time of day */
#define CHAIN_SLOTS          UINT32_C(0x20) /* takes leases */
#define CHAIN_HEEDLESS       UINT32_C(0x40) /* gates only tell: shadow */
#define CHAIN_GATES          UINT32_C(0x80) /* there are some; how many stands above it */
#define CHAIN_N_GATES(flags) ((flags) >> 8)

static inline uint32_t chain_gates(const struct chain_head *head)
{
	return CHAIN_N_GATES(head->flags);
}

struct chain {
	struct chain_head head;
	struct link links[CHAIN_LINKS_MAX];
};

/*
 * As the words of a handle, low half first; see handle_head(), handle_link() and handle_publish(). What only unusual
 * links need stands behind what all of them need.
 */
#define CHAIN_HEAD_WORDS  6
#define LINK_WORDS        6
#define LINK_SHAPE_WORDS  6
#define CHAIN_LINK_AT(i)  (CHAIN_HEAD_WORDS + (i)*LINK_WORDS)
#define CHAIN_SHAPE_AT(i) (CHAIN_LINK_AT(RATION_LINKS_MAX) + (i)*LINK_SHAPE_WORDS)
#define CHAIN_GATE_AT(i)  (CHAIN_SHAPE_AT(RATION_LINKS_MAX) + (i))
#define CHAIN_WORDS       CHAIN_GATE_AT(RATION_GATES_MAX)

struct ration_handle {
	struct ration *ration;
	_Atomic uint64_t sequence; /* [pid 32 | number 32]; odd while that process publishes */
	_Atomic uint64_t chain[CHAIN_WORDS];
	const char *field[KEY_FIELDS]; /* into text */
	char text[];
};

/* attach.c: make this process a worker, if fork made it a new one. 0, RATION_CONTENDED, or an
 * error. */
int attachment_register(struct ration *ration);

static inline int attachment_ready(struct ration *ration)
{
	const uint32_t state =
		atomic_load_explicit(&ration->process->registration, memory_order_acquire);

	return state == REGISTERED ? 0 : attachment_register(ration);
}

/* Else the segment is embedded, and its workers look after each other. */
static inline bool has_supervisor(const struct ration *ration)
{
	return ration->address.sun_family == AF_UNIX;
}

/* embedded.c: a slot for this process. 0 or RATION_EWORKERS. */
int embedded_register(struct ration *ration);
/* Take over what dead workers left. True: there were any. Does nothing where a supervisor does it. Async-signal-safe. */
bool embedded_bury(struct ration *ration, uint64_t now);
void embedded_leave(struct ration *ration);

/*
 * clock.c: begin to go by the wall clock; ahead_ns: how far what the supervisor goes by is ahead of its clock (behind:
 * negative).
 */
void wall_attach(struct ration *ration, int64_t ahead_ns);

/* policy_view.c: read the current policy; it stays mapped until policy_leave(). */
const struct blob *policy_enter(struct ration *ration);
void policy_leave(struct ration *ration);
/* The classes that this process may claim under a policy that policy_enter() returned. */
static inline uint32_t policy_classes(const struct blob *blob)
{
	return ((const struct policy_view *)(const void *)blob)->classes;
}
/* Take over a mapped policy. False: no place is free just now, the caller keeps it. */
bool policy_install(struct ration *ration, const struct blob *blob, uint32_t classes);
/* Receive what the supervisor has sent. Async-signal-safe. */
void policy_update(struct ration *ration, uint64_t now);
void policy_close(struct ration *ration);

/* Whether a newer policy has been announced. */
static inline bool policy_moved(const struct ration *ration)
{
	return shm_load(&ration->seg.control->policy_generation) >
	       atomic_load(&ration->policy_generation);
}

/* resolve.c: a key, checked and copied, as a handle that is not resolved. */
int handle_make(struct ration *ration, const struct ration_key *key,
		struct ration_handle **ret_handle, struct ration_error *ret_error);

/* resolve.c: build the chain of a handle's key in *ret_chain. No malloc. ret_error may be NULL. */
int resolve_chain(struct ration_handle *handle, struct chain *ret_chain,
		  struct ration_error *ret_error);
/*
 * The words of a handle, read one by one while others may publish: all of it counts only if
 * handle_same() says so afterwards of the number that handle_begin() gave.
 */
static inline uint64_t handle_begin(const struct ration_handle *handle)
{
	return atomic_load_explicit(&handle->sequence, memory_order_acquire);
}

static inline uint64_t handle_word(const struct ration_handle *handle, size_t i)
{
	return atomic_load_explicit(&handle->chain[i], memory_order_relaxed);
}

static inline struct chain_head handle_head(const struct ration_handle *handle)
{
	const uint64_t word = handle_word(handle, 2), counts = handle_word(handle, 3);

	return (struct chain_head){
		.policy_generation = handle_word(handle, 0),
		.delay = handle_word(handle, 1),
		.serial = (uint32_t)word,
		.flags = (uint32_t)(word >> 32),
		.n_links = (uint32_t)counts,
		.gates = (uint32_t)(counts >> 32),
		.from = (int64_t)handle_word(handle, 4),
		.until = (int64_t)handle_word(handle, 5),
	};
}

/* What a plain link needs. */
static inline struct link handle_link(const struct ration_handle *handle, size_t i)
{
	const size_t at = CHAIN_LINK_AT(i);
	const uint64_t record = handle_word(handle, at), what = handle_word(handle, at + 1);

	return (struct link){
		.bucket = (uint32_t)record,
		.generation = (uint32_t)(record >> 32),
		.unit = (uint32_t)what,
		.flags = (uint32_t)(what >> 32),
		.default_cost = handle_word(handle, at + 2),
		.numbers = handle_word(handle, at + 3),
		.ticks = handle_word(handle, at + 4),
		.room = handle_word(handle, at + 5),
	};
}

/* A gate that the key has to pass. */
static inline struct bucket_ref handle_gate(const struct ration_handle *handle, size_t i)
{
	const uint64_t word = handle_word(handle, CHAIN_GATE_AT(i));

	return (struct bucket_ref){(uint32_t)word, (uint32_t)(word >> 32)};
}

/* The fence pairs with the one in handle_publish(): no word newer than `begun` goes unnoticed. */
static inline bool handle_same(const struct ration_handle *handle, uint64_t begun)
{
	atomic_thread_fence(memory_order_acquire);
	return !(begun & 1) &&
	       atomic_load_explicit(&handle->sequence, memory_order_relaxed) == begun;
}

/* resolve.c: the whole chain of a handle. False: it is being published just now. */
bool handle_copy(const struct ration_handle *handle, struct chain *ret_chain);

/*
 * Let the next acquires find this chain in the handle. Nothing happens if somebody else is at it.
 */
void handle_publish(struct ration_handle *handle, const struct chain *chain);

/* acquire.c: where to wait after a denial. */
struct waiting {
	uint32_t bucket; /* in whose line: of the limit that is the last to have room */
	uint32_t generation;
	uint32_t kind;        /* enum seg_kind of that limit */
	uint32_t class_index; /* as whom */
	uint32_t bound;       /* so many of that class may wait; 0: as many as there are places */
	uint32_t units;       /* saturated */
	bool sooner;          /* perhaps: nobody knows when */
	uint64_t retry_at;    /* ticks */
};

/* What is to be acquired. */
struct asked {
	struct ration_handle *handle;
	const struct ration_cost *costs;
	size_t n_costs;
	uint64_t seed; /* of a moment of its own at gates that were lifted; 0: the handle's */
};

/*
 * ration_acquire() for somebody who stands in line: place may be NULL. ret_waiting is written with RATION_DENIED;
 * its bucket is checked against the geometry.
 */
int client_acquire(const struct asked *asked, const struct queue_place *place,
		   struct ration_ticket *ret_ticket, struct ration_denial *ret_denial,
		   struct waiting *ret_waiting);

/*
 * How calm what was asked for would leave its limits, 0 (denied) ... HEADROOM_CALM: by the least of what they have left
 * for the class. Nothing is charged. What cannot be known is calm: the acquire finds out.
 */
#define HEADROOM_CALM UINT32_C(1000000)
uint32_t client_headroom(const struct asked *asked, const struct queue_place *place);

/* What somebody waits for: as client_acquire() takes it, and client_fits() says whether there is more. */
struct wanted {
	int (*acquire)(void *user, const struct queue_place *place,
		       struct ration_ticket *ret_ticket, struct ration_denial *ret_denial,
		       struct waiting *ret_waiting);
	bool (*fits)(void *user);
	void *user;
};

/* wait.c: ration_wait_try() for anything that is waited for. */
int client_wait_try(struct ration *ration, const struct wanted *wanted, struct ration_wait *wait,
		    struct ration_ticket *ret_ticket, struct ration_denial *ret_denial);

/* wait.c: ration_acquire_until() for anything that is waited for. ret_denial is what acquire() made of it. */
int client_acquire_until(struct ration *ration, const struct wanted *wanted, uint64_t deadline_ns,
			 struct ration_ticket *ret_ticket, struct ration_denial *ret_denial);

/* acquire.c: the chain of a handle as of this wall clock time. anew: resolve it in any case. */
int client_chain(struct ration_handle *handle, int64_t wall, bool anew, struct chain *ret_chain);

/* acquire.c: whether the cost could be had just now if nobody stood in line. */
bool client_fits(const struct asked *asked);

/*
 * mend.c: a link met an impossible value. RATION_CONTENDED if it was one in passing, else RATION_ECORRUPT; with no
 * supervisor to do it, the value is put right.
 */
int mend_corrupt(struct ration_handle *handle, const struct link *link);

/* wait.c: there is room again in this bucket: wake whoever is next in line. One load if nobody is. */
void wake_next(struct ration *ration, uint32_t bucket);

/* CLOCK_BOOTTIME of this process, in ns, at so many ticks: not before. */
static inline uint64_t client_boot_ns(const struct ration *ration, uint64_t ticks)
{
	const uint64_t ns = ticks / TICKS_PER_NS + (ticks % TICKS_PER_NS != 0);

	return ns + ration->seg.epoch_ns - (uint64_t)ration->shift_ns;
}

/* Write an explanation if the caller wants one; returns code. */
int explain(struct ration_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
