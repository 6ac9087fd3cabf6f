/*
 * bench/support_floors.c - what cannot be done faster, and what else one could do
 * SPDX-License-Identifier: MIT
 */
#include "support_floors.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "client/memory.h"
#include "shm/bucket.h"

/* Everything on lines of its own. */
struct floors {
	_Alignas(SEG_LINE) shm_word word;
	_Alignas(SEG_LINE) struct seg_hot hot;
	_Alignas(SEG_LINE) pthread_mutex_t mutex;
	uint64_t tat; /* under the mutex */
};

static struct floors *shared;
static bucket_numbers numbers;

bool floors_start(void)
{
	pthread_mutexattr_t attr;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED) {
		perror("bench: cannot share memory");
		return false;
	}
	numbers = bucket_pack(1000, 1000000000, 1000000000);
	shm_store(&shared->hot.numbers, numbers);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	return pthread_mutex_init(&shared->mutex, &attr) == 0;
}

/* The compiler must believe that somebody looks at it. */
static void use(uint64_t value)
{
	static _Atomic uint64_t sink;

	atomic_store_explicit(&sink, value, memory_order_relaxed);
}

static uint64_t read_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_nsec;
}

void floor_nothing(unsigned n)
{
	use(n);
}

void floor_clock(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		use(read_clock());
}

static void add_by_cas(uint64_t amount)
{
	uint64_t value = shm_load(&shared->word);

	while (!shm_cas(&shared->word, &value, value + amount))
		;
}

void floor_cas(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add_by_cas(1);
}

void floor_clock_cas(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add_by_cas(read_clock());
}

void floor_gcra(unsigned n)
{
	const uint64_t now = clock_boot_ns() * TICKS_PER_NS;
	struct bucket_view view;

	for (unsigned i = 0; i < n; i++) {
		if (bucket_look(&shared->hot, 0, 1, now, &view) != TAKE_ADMIT ||
		    bucket_charge(&shared->hot, 0, 1, now, &view) != TAKE_ADMIT)
			abort();
	}
}

/* As bucket_look() and bucket_charge() decide it, for one who is alone with the words. */
static bool charge_plainly(uint64_t now)
{
	const uint64_t ticks = bucket_cost(numbers, 1), tolerance = bucket_tolerance(numbers);
	const uint64_t tat = shared->tat > now ? shared->tat : now;

	if (tat - now > tolerance - ticks)
		return false;
	shared->tat = tat + ticks;
	return true;
}

void floor_mutex(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (pthread_mutex_lock(&shared->mutex) != 0)
			abort();
		if (!charge_plainly(clock_boot_ns() * TICKS_PER_NS))
			abort();
		pthread_mutex_unlock(&shared->mutex);
	}
}
