/*
 * tests/support_step.c - a worker killed, or stopped, at each of its instructions
 * SPDX-License-Identifier: MIT
 */
#include "support_step.h"

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

#include "shm/check.h"
#include "shm/worker.h"

size_t step_trial;
struct seg step_seg;
void *step_stage;
bool step_killed;

/* Shared by both processes, beside the segment and the test's stage. */
struct theatre {
	uint64_t done[STEP_WORKERS];
	uint64_t stack_top; /* of A */
};

static const struct step_test *test;
static struct theatre *theatre;
static void *pristine;
static unsigned failures;

void step_fail(const char *what)
{
	printf("        %s\n", what);
	failures++;
}

void step_done(enum step_who who)
{
	theatre->done[who]++;
}

/* A as it is stopped: what it shares, and what it has for itself. */
struct moment {
	void *segment;
	void *stage;
	struct theatre theatre;
	struct user_regs_struct registers;
	struct user_fpregs_struct vectors;
	char stack[16384];
	struct iovec local, remote; /* the part of it that is in use */
};

static struct moment moment;

static void set_up(const struct step_operation *operation)
{
	memcpy(step_seg.base, pristine, step_seg.size);
	memset(step_stage, 0, test->stage_size);
	memset(theatre, 0, sizeof(*theatre));
	test->set_up();
	if (operation->before)
		operation->before(A);
	memset(theatre->done, 0, sizeof(theatre->done));
}

/* The operation stands between two breakpoints. */
static void child(const struct step_operation *operation)
{
	theatre->stack_top = (uintptr_t)__builtin_frame_address(0);
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	__asm__ volatile("int3" ::: "memory");
	operation->run(A);
	__asm__ volatile("int3" ::: "memory");
	_exit(0);
}

static void must(bool well)
{
	if (!well) {
		perror("step");
		abort();
	}
}

static void wait_for_stop(pid_t pid)
{
	int status = 0;

	must(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
}

static pid_t begin(const struct step_operation *operation)
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

	memcpy(moment.segment, step_seg.base, step_seg.size);
	memcpy(moment.stage, step_stage, test->stage_size);
	moment.theatre = *theatre;
	must(ptrace(PTRACE_GETREGS, pid, NULL, &moment.registers) == 0);
	must(ptrace(PTRACE_GETFPREGS, pid, NULL, &moment.vectors) == 0);
	/* The red zone is in use too. */
	from = moment.registers.rsp - 128;
	must(theatre->stack_top - from <= sizeof(moment.stack));
	moment.local = (struct iovec){moment.stack, theatre->stack_top - from};
	moment.remote = (struct iovec){(void *)(uintptr_t)from, theatre->stack_top - from};
	must(process_vm_readv(pid, &moment.local, 1, &moment.remote, 1, 0) ==
	     (ssize_t)moment.local.iov_len);
}

static void shared_again(void)
{
	memcpy(step_seg.base, moment.segment, step_seg.size);
	memcpy(step_stage, moment.stage, test->stage_size);
	*theatre = moment.theatre;
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
	step_fail(what);
}

static void check_all(const struct step_operation *operation)
{
	worker_reap(&step_seg, A, 0);
	operation->check();
	(void)seg_check(&step_seg, test->now, true, complain, NULL);
}

/* What a kill leaves is the shared memory as it is at that moment. */
static void as_if_killed(const struct step_operation *operation)
{
	step_killed = true;
	worker_reap(&step_seg, A, 0);
	operation->other(B);
	check_all(operation);
}

static void as_if_stopped(const struct step_operation *operation, pid_t pid)
{
	step_killed = false;
	operation->other(B);
	must(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	wait_for_stop(pid);
	if (theatre->done[A] != 1)
		step_fail("it did not come to its end");
	check_all(operation);
}

static bool try_all(const struct step_operation *operation)
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

int step_main(const struct step_test *the_test)
{
	const struct seg_config config = {
		.buckets = 8, .workers = STEP_WORKERS, .extents = 16, .queues = 1};
	const size_t n = the_test->n_operations;
	unsigned passed = 0;

	test = the_test;
	seg_init(shared(seg_size(&config)), &config, 0, &step_seg);
	for (uint32_t i = 0; i < STEP_WORKERS; i++)
		atomic_store(&step_seg.workers[i].identity, worker_identity(i, 1, i + 100));
	step_stage = shared(test->stage_size);
	theatre = shared(sizeof(*theatre));
	pristine = malloc(step_seg.size);
	moment.segment = malloc(step_seg.size);
	moment.stage = malloc(test->stage_size);
	must(pristine && moment.segment && moment.stage);
	memcpy(pristine, step_seg.base, step_seg.size);
	for (step_trial = 0; step_trial < n; step_trial++)
		passed += try_all(&test->operations[step_trial]);
	printf("Tested: %zu | Passing: %u | Failing: %zu | Crashing: 0\n", n, passed, n - passed);
	free(pristine);
	free(moment.segment);
	free(moment.stage);
	return passed < n;
}
