/*
 * bench/support_rounds.c - measure many operations so that they can be compared
 * SPDX-License-Identifier: MIT
 */
#include "support_rounds.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the two processes say to each other while both work. */
struct shared {
	_Atomic uint32_t stop;
	_Alignas(64) _Atomic uint64_t done; /* operations of the partner */
};

struct partner {
	pid_t pid;
	int command;  /* pipe: the partner reads indexes of operations */
	int finished; /* pipe: one byte for each command that has ended */
	struct shared *shared;
};

uint64_t rounds_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* --- one operation --- */

static uint64_t timed(const struct operation *op, unsigned n)
{
	uint64_t start, end;

	if (op->before)
		op->before(n);
	start = rounds_clock();
	op->run(n);
	end = rounds_clock();
	if (op->after)
		op->after(n);
	return end - start;
}

/* Nanoseconds an operation. */
static double measure_batches(const struct operation *op)
{
	const uint64_t budget = op->budget_ns ? op->budget_ns : 400000;
	uint64_t spent = 0, done = 0;

	timed(op, op->batch); /* warms up caches and branches */
	while (spent < budget) {
		spent += timed(op, op->batch);
		done += op->batch;
	}
	return (double)spent / (double)done;
}

static void measure_singles(const struct operation *op, struct histogram *histogram)
{
	for (unsigned i = 0; i < op->singles; i++)
		histogram_add(histogram, timed(op, 1));
}

/* --- the other process --- */

/* CPUs that this process may use, asked before any was chosen. */
static cpu_set_t allowed;

/* Bound to the n-th CPU; left where it is if there is only one. */
static void use_cpu(unsigned n)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &allowed) && n-- == 0)
			CPU_SET(cpu, &one);
	}
	if (CPU_COUNT(&allowed) >= 2)
		(void)sched_setaffinity(0, sizeof(one), &one);
}

static void place(const struct operation *op, unsigned cpu)
{
	if (op->unbound)
		(void)sched_setaffinity(0, sizeof(allowed), &allowed);
	else
		use_cpu(cpu);
}

static void work(const struct operation *op, struct shared *shared)
{
	/* Small steps, so that it stops soon after it is told to. */
	const unsigned n = op->batch < 32 ? op->batch : 32;

	while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
		(void)timed(op, n);
		atomic_fetch_add_explicit(&shared->done, n, memory_order_relaxed);
	}
}

static _Noreturn void partner_main(const struct operation *ops, int commands, int finished,
				   struct shared *shared)
{
	unsigned which;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(commands, &which, sizeof(which)) == (ssize_t)sizeof(which)) {
		place(&ops[which], 1);
		work(&ops[which], shared);
		if (write(finished, "", 1) != 1)
			break;
	}
	_exit(0);
}

static bool partner_start(struct partner *p, const struct operation *ops)
{
	int commands[2], finished[2];

	p->shared = mmap(NULL, sizeof(*p->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->shared == MAP_FAILED || pipe(commands) != 0 || pipe(finished) != 0)
		return false;
	fflush(NULL);
	p->pid = fork();
	if (p->pid < 0)
		return false;
	if (p->pid == 0) {
		close(commands[1]);
		close(finished[0]);
		partner_main(ops, commands[0], finished[1], p->shared);
	}
	close(commands[0]);
	close(finished[1]);
	p->command = commands[1];
	p->finished = finished[0];
	return true;
}

static void partner_end(struct partner *p)
{
	close(p->command);
	waitpid(p->pid, NULL, 0);
	close(p->finished);
	munmap(p->shared, sizeof(*p->shared));
}

/* Returns once the partner is at work. */
static bool partner_go(struct partner *p, unsigned which)
{
	atomic_store(&p->shared->done, 0);
	atomic_store(&p->shared->stop, 0);
	if (write(p->command, &which, sizeof(which)) != (ssize_t)sizeof(which))
		return false;
	while (atomic_load(&p->shared->done) == 0) {
		if (waitpid(p->pid, NULL, WNOHANG) != 0)
			return false;
	}
	return true;
}

static bool partner_stop(struct partner *p)
{
	char byte;

	atomic_store(&p->shared->stop, 1);
	return read(p->finished, &byte, 1) == 1;
}

/* --- rounds --- */

static bool measure_together(struct partner *p, const struct operation *op, unsigned which,
			     struct measured *m, unsigned round)
{
	uint64_t start, done;
	double ns, own;

	if (!partner_go(p, which))
		return false;
	start = rounds_clock();
	done = atomic_load(&p->shared->done);
	ns = measure_batches(op);
	done = atomic_load(&p->shared->done) - done;
	own = (double)(rounds_clock() - start) / ns;
	if (op->unbound || (double)done >= own / 2) {
		m->ns[TOGETHER][round] = ns;
		measure_singles(op, &m->single[TOGETHER]);
	}
	return partner_stop(p);
}

static bool measure_round(struct partner *p, const struct operation *ops, unsigned n_ops,
			  unsigned round, struct measured *m)
{
	for (unsigned i = 0; i < n_ops; i++) {
		place(&ops[i], 0);
		m[i].ns[ALONE][round] = measure_batches(&ops[i]);
		m[i].ns[TOGETHER][round] = NAN;
		if (ops[i].singles)
			measure_singles(&ops[i], &m[i].single[ALONE]);
		if (ops[i].together && !measure_together(p, &ops[i], i, &m[i], round))
			return false;
	}
	return true;
}

bool rounds_run(const struct operation *ops, unsigned n_ops, unsigned rounds, struct measured *ret)
{
	struct partner partner;
	bool ok = true;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		CPU_ZERO(&allowed);
	if (!partner_start(&partner, ops)) {
		perror("bench: cannot start a second process");
		return false;
	}
	for (unsigned r = 0; r < rounds && ok; r++)
		ok = measure_round(&partner, ops, n_ops, r, ret);
	if (!ok)
		fputs("bench: the second process died\n", stderr);
	partner_end(&partner);
	return ok;
}

/* --- what came out --- */

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of(double *values, unsigned n)
{
	if (n == 0)
		return NAN;
	qsort(values, n, sizeof(*values), compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double rounds_median(const struct measured *m, enum company company, unsigned rounds)
{
	double values[ROUNDS_MAX];
	unsigned n = 0;

	for (unsigned r = 0; r < rounds; r++) {
		if (!isnan(m->ns[company][r]))
			values[n++] = m->ns[company][r];
	}
	return median_of(values, n);
}

double rounds_ratio(const struct measured *m, const struct measured *to, enum company company,
		    unsigned rounds)
{
	double values[ROUNDS_MAX];
	unsigned n = 0;

	for (unsigned r = 0; r < rounds; r++) {
		if (!isnan(m->ns[company][r]) && !isnan(to->ns[company][r]))
			values[n++] = m->ns[company][r] / to->ns[company][r];
	}
	return median_of(values, n);
}

unsigned rounds_counted(const struct measured *m, enum company company, unsigned rounds)
{
	unsigned n = 0;

	for (unsigned r = 0; r < rounds; r++)
		n += !isnan(m->ns[company][r]) ? 1 : 0;
	return n;
}
