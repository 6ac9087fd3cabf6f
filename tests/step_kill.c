/*
 * tests/step_kill.c - a worker killed, or stopped, at each of its instructions
 * SPDX-License-Identifier: MIT
 *
 * For each operation below, a child runs it on a shared segment, one instruction at a time (ptrace), and
 *
 * - is killed at instruction k: then it is reaped, the segment must be sound, at most what the operation
 *   takes may be spent, and another worker must be able to do the same;
 * - is stopped at instruction k while another worker does whole operations, and goes on: then both must
 *   have what they were told they have, and no more;
 *
 * for every k from the first instruction to the last. The code is the release build's; time stands still.
 *
 * Stepping to instruction k for each k would take the square of their number. Instead there is one child: at
 * each k all that it shares is copied, its registers and its stack too, and put back after each trial. What a
 * kill leaves is the shared memory as it is, so the trial of a kill is what the others do with that.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/bucket.h"
#include "shm/check.h"
#include "shm/index.h"
#include "shm/stat.h"
#include "shm/worker.h"

#define T0    UINT64_C(1000000)
#define BURST UINT64_C(8)
#define COST  UINT64_C(3)

enum who { A, B, WORKERS }; /* their slots */

/* What a worker came away with. */
struct outcome {
	uint64_t taken; /* units it was told it has */
	struct bucket_charged charged;
	struct bucket_ref ref;
	uint64_t done; /* whole operations */
};

/* Shared by both processes, beside the segment. */
struct stage {
	struct outcome outcome[WORKERS];
	struct bucket_ref bucket; /* one unit a tick */
	uint64_t stack_top;       /* of A */
};

static struct stage *stage;
static struct seg seg;
static void *pristine;
static unsigned failures;

static void fail(const char *what)
{
	printf("        %s\n", what);
	failures++;
}

static uint64_t clock_now(void *user)
{
	(void)user;
	return T0;
}

static struct seg_hot *hot(void)
{
	return &seg.hot[stage->bucket.bucket];
}

/* Units that are charged. */
static uint64_t spent(void)
{
	struct bucket_view view;

	(void)bucket_look(hot(), stage->bucket.generation, 0, T0, &view);
	return view.tat > T0 ? view.tat - T0 : 0;
}

/* --- the operations --- */

static void take(enum who who)
{
	struct outcome *mine = &stage->outcome[who];
	const uint32_t life = stage->bucket.generation;
	struct bucket_view view;

	if (bucket_look(hot(), life, COST, T0, &view) == TAKE_ADMIT &&
	    bucket_charge(hot(), life, COST, T0, &view) == TAKE_ADMIT) {
		mine->charged = (struct bucket_charged){life, view.ticks, view.tat, view.refunds};
		mine->taken += COST;
	}
	mine->done++;
}

static void cancel(enum who who)
{
	struct outcome *mine = &stage->outcome[who];

	uint64_t given = 0;

	/* From here on the request does not leave, however this ends. */
	mine->taken -= mine->charged.ticks;
	for (int i = 0; mine->charged.ticks != 0 && i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;

		bucket_refund_look(hot(), &pair);
		if (bucket_refund(hot(), &mine->charged, &pair, clock_now(NULL), &given))
			mine->charged.ticks = 0;
	}
	mine->done++;
}

static void settle_up(enum who who)
{
	struct outcome *mine = &stage->outcome[who];

	if (bucket_debit(hot(), stage->bucket.generation, COST, T0))
		mine->taken += COST;
	mine->done++;
}

static void take_and_cancel(enum who who)
{
	take(who);
	cancel(who);
}

static void retune(enum who who)
{
	const bucket_numbers slower = bucket_pack(TICKS_PER_SEC, 2 * UINT64_C(1000000000), BURST);

	(void)bucket_retune(hot(), slower, clock_now, NULL);
	stage->outcome[who].done++;
}

static void insert(enum who who)
{
	struct outcome *mine = &stage->outcome[who];
	const struct bucket_spec spec = {
		.identity = {{42, 1}},
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(TICKS_PER_SEC, UINT64_C(1000000000), BURST),
		.state = {T0},
		.names = {"vendor/limit", "tenant"},
	};

	if (index_insert(&seg, who, &spec, &mine->ref) == INDEX_FOUND)
		mine->done++;
}

static void count(enum who who)
{
	for (int i = 0; i < 2; i++)
		stat_count(&seg, who, stage->bucket.bucket, stage->bucket.generation,
			   STAT_ADMITTED);
	stage->outcome[who].done++;
}

/* The supervisor is killed while it clears up after the worker that stopped in insert(). */
static void reap(enum who who)
{
	worker_reap(&seg, B);
	stage->outcome[who].done++;
}

/* --- what must hold afterwards --- */

static bool killed_a; /* or else it went on */

static void check_spent(void)
{
	const uint64_t told = stage->outcome[A].taken + stage->outcome[B].taken;

	if (spent() < told)
		fail("less is charged than was admitted");
	if (spent() > told + (killed_a ? COST : 0))
		fail("more is charged than was admitted");
	if (spent() > BURST)
		fail("more was admitted than there is");
}

static void check_debt(void)
{
	const uint64_t told = stage->outcome[A].taken + stage->outcome[B].taken;

	if (spent() < told || spent() > told + (killed_a ? COST : 0))
		fail("a debt is not what was charged");
}

/* Refunds that cross give less: something may stay spent, never the other way round. */
static void check_refunds(void)
{
	if (spent() < stage->outcome[A].taken + stage->outcome[B].taken)
		fail("a refund made room for more than it gave back");
}

static void check_retuned(void)
{
	struct bucket_view view;

	(void)bucket_look(hot(), stage->bucket.generation, 0, T0, &view);
	if (bucket_left(&view, T0) + stage->outcome[B].taken + COST > BURST)
		fail("what was spent is forgotten");
}

static void check_inserted(void)
{
	const struct outcome *a = &stage->outcome[A], *b = &stage->outcome[B];
	const struct hash128 identity = {{42, 1}};
	struct bucket_ref ref = {0, 0};

	if (b->done != 1 || index_find(&seg, identity, &ref) != INDEX_FOUND)
		fail("the other could not insert it");
	else if (b->ref.bucket != ref.bucket || (a->done == 1 && a->ref.bucket != ref.bucket))
		fail("one identity has two records");
}

static void check_counted(void)
{
	struct stat_total totals[8] = {{0, 0}};
	uint64_t sum;

	stat_collect(&seg, totals);
	sum = totals[stage->bucket.bucket].admitted +
	      atomic_load(&seg.cold[stage->bucket.bucket].admitted);
	if (sum > 4 || (!killed_a && sum != 4))
		fail("the count is wrong");
}

static void check_reaped(void)
{
	worker_reap(&seg, B);
	for (uint32_t i = 0; i < seg.n_buckets; i++) {
		const uint64_t owner = atomic_load(&seg.cold[i].owner);

		if (owner != COLD_FREE && owner != COLD_LINKED)
			fail("a record was left behind");
	}
}

struct operation {
	const char *name;
	void (*before)(enum who who); /* done by A beforehand; may be NULL */
	void (*run)(enum who who);    /* stepped through as A */
	void (*other)(enum who who);  /* done by B, whole */
	void (*check)(void);
};

/* B as somebody who was killed while it made a record. */
static void half_made(enum who who)
{
	(void)who;
	atomic_store(&seg.workers[B].claim, 3);
	atomic_store(&seg.cold[2].owner, B + 1);
	stat_count(&seg, B, stage->bucket.bucket, stage->bucket.generation, STAT_DENIED);
}

static void nothing(enum who who)
{
	(void)who;
}

static const struct operation operations[] = {
	{"take", NULL, take, take, check_spent},
	{"cancel", take, cancel, take, check_refunds},
	{"cancel beside a cancel", take, cancel, take_and_cancel, check_refunds},
	{"settle up", take, settle_up, take, check_debt},
	{"retune", take, retune, take, check_retuned},
	{"insert", NULL, insert, insert, check_inserted},
	{"count", NULL, count, count, check_counted},
	{"reap", half_made, reap, nothing, check_reaped},
};

/* --- stepping --- */

/* A as it is stopped: what it shares, and what it has for itself. */
struct moment {
	void *segment;
	struct stage stage;
	struct user_regs_struct registers;
	struct user_fpregs_struct vectors;
	char stack[16384];
	struct iovec local, remote; /* the part of it that is in use */
};

static struct moment moment;

static void set_up(const struct operation *operation)
{
	const struct bucket_spec spec = {
		.identity = {{7, 1}},
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(TICKS_PER_SEC, UINT64_C(1000000000), BURST),
		.state = {T0},
	};

	memcpy(seg.base, pristine, seg.size);
	memset(stage, 0, sizeof(*stage));
	if (index_insert(&seg, A, &spec, &stage->bucket) != INDEX_FOUND)
		abort();
	if (operation->before)
		operation->before(A);
	stage->outcome[A].done = 0;
}

/* The operation stands between two breakpoints. */
static void child(const struct operation *operation)
{
	stage->stack_top = (uintptr_t)__builtin_frame_address(0);
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	__asm__ volatile("int3" ::: "memory");
	operation->run(A);
	__asm__ volatile("int3" ::: "memory");
	_exit(0);
}

static void must(bool well)
{
	if (!well) {
		perror("step_kill");
		abort();
	}
}

static void wait_for_stop(pid_t pid)
{
	int status = 0;

	must(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
}

static pid_t begin(const struct operation *operation)
{
	pid_t pid;

	set_up(operation);
	fflush(stdout);
	pid = fork();
	must(pid >= 0);
	if (pid == 0)
		child(operation);
	wait_for_stop(pid);
	return pid;
}

static void end(pid_t pid)
{
	int status = 0;

	kill(pid, SIGKILL);
	must(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

/* One instruction. False: it was the second breakpoint, whose trap has another cause. */
static bool step(pid_t pid)
{
	siginfo_t info;

	must(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
	wait_for_stop(pid);
	must(ptrace(PTRACE_GETSIGINFO, pid, NULL, &info) == 0);
	return info.si_code != SI_KERNEL;
}

static void remember(pid_t pid)
{
	uint64_t from;

	memcpy(moment.segment, seg.base, seg.size);
	moment.stage = *stage;
	must(ptrace(PTRACE_GETREGS, pid, NULL, &moment.registers) == 0);
	must(ptrace(PTRACE_GETFPREGS, pid, NULL, &moment.vectors) == 0);
	/* The red zone is in use too. */
	from = moment.registers.rsp - 128;
	must(stage->stack_top - from <= sizeof(moment.stack));
	moment.local = (struct iovec){moment.stack, stage->stack_top - from};
	moment.remote = (struct iovec){(void *)(uintptr_t)from, stage->stack_top - from};
	must(process_vm_readv(pid, &moment.local, 1, &moment.remote, 1, 0) ==
	     (ssize_t)moment.local.iov_len);
}

static void shared_again(void)
{
	memcpy(seg.base, moment.segment, seg.size);
	*stage = moment.stage;
}

static void again(pid_t pid)
{
	shared_again();
	must(ptrace(PTRACE_SETREGS, pid, NULL, &moment.registers) == 0);
	must(ptrace(PTRACE_SETFPREGS, pid, NULL, &moment.vectors) == 0);
	must(process_vm_writev(pid, &moment.local, 1, &moment.remote, 1, 0) ==
	     (ssize_t)moment.local.iov_len);
}

static void complain(void *user, const char *what, uint32_t where)
{
	(void)user;
	(void)where;
	fail(what);
}

static void check_all(const struct operation *operation)
{
	worker_reap(&seg, A);
	operation->check();
	(void)seg_check(&seg, T0, true, complain, NULL);
}

/* What a kill leaves is the shared memory as it is at that moment. */
static void as_if_killed(const struct operation *operation)
{
	killed_a = true;
	worker_reap(&seg, A);
	operation->other(B);
	check_all(operation);
}

static void as_if_stopped(const struct operation *operation, pid_t pid)
{
	killed_a = false;
	operation->other(B);
	must(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	wait_for_stop(pid);
	if (stage->outcome[A].done != 1)
		fail("it did not come to its end");
	check_all(operation);
}

static bool test(const struct operation *operation)
{
	const pid_t pid = begin(operation);
	const unsigned before = failures;
	unsigned k = 0;

	do {
		remember(pid);
		as_if_killed(operation);
		shared_again();
		as_if_stopped(operation, pid);
		again(pid);
		if (failures != before) {
			printf("        (at instruction %u)\n", k);
			break;
		}
		k++;
	} while (step(pid));
	end(pid);
	printf("  %-5s %s: killed, and stopped, at each of %u instructions\n",
	       failures == before ? "ok" : "FAIL", operation->name, k);
	return failures == before;
}

static void *shared(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(mem != MAP_FAILED);
	return mem;
}

int main(void)
{
	const struct seg_config config = {
		.buckets = 8, .workers = WORKERS, .extents = 16, .queues = 1};
	const size_t n = sizeof(operations) / sizeof(operations[0]);
	unsigned passed = 0;

	seg_init(shared(seg_size(&config)), &config, 0, &seg);
	stage = shared(sizeof(*stage));
	pristine = malloc(seg.size);
	moment.segment = malloc(seg.size);
	must(pristine && moment.segment);
	memcpy(pristine, seg.base, seg.size);
	for (size_t i = 0; i < n; i++)
		passed += test(&operations[i]);
	printf("Tested: %zu | Passing: %u | Failing: %zu | Crashing: 0\n", n, passed, n - passed);
	free(pristine);
	free(moment.segment);
	return passed < n;
}
