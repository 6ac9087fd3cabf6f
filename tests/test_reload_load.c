/*
 * tests/test_reload_load.c - thousands of reloads while processes take all they can get
 * SPDX-License-Identifier: MIT
 *
 * Four workers saturate one limit of each kind. Meanwhile the policy changes between a small one and a large one, as
 * fast as it can be reloaded; then the small one stays. Each admitted request is written down with the time it was
 * permitted at, and all of it is counted exactly afterwards:
 *
 *	in any interval			no more than the larger of both policies allows
 *	one interval after the last	no more than the small one allows
 *
 * Nothing depends on how fast any of this runs.
 */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/memory.h"
#include "support_check.h"
#include "support_rationd.h"

enum { WORKERS = 4, RELOADS = 2000, LOGGED_MAX = 1 << 18 };

/* Each vendor has one limit. */
enum vendor { BUCKET, WINDOW, ROLLING, SLOTS, SHAPED, VENDORS };
static const char *const vendor_names[VENDORS] = {"bucket", "window", "rolling", "slots", "shaped"};

#define HEAD                                                                                       \
	"version: 1\nclasses: [interactive]\n"                                                     \
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\nvendors:\n"
#define VENDOR(name, text)                                                                         \
	"  " name ": { limits: [ { name: quota, scope: [vendor], " text " } ] }\n"
#define POLICY(rate, burst, amount, slots, shape)                                                  \
	HEAD VENDOR("bucket", "kind: bucket, rate: " #rate "/s, burst: " #burst)                   \
		VENDOR("window", "kind: window, period: second, amount: " #amount)                 \
			VENDOR("rolling", "kind: rolling, period: 1s, amount: " #amount)           \
				VENDOR("slots", "kind: concurrency, slots: " #slots)               \
					VENDOR("shaped", "kind: " shape ", amount: " #amount)

#define SECONDS "window, period: second"
#define ROLLS   "rolling, period: 1s"

enum {
	SMALL_RATE = 2000,
	SMALL_AMOUNT = 300,
	SMALL_SLOTS = 2,
	LARGE_RATE = 5000,
	BURST = 40,
	LARGE_AMOUNT = 700,
	LARGE_SLOTS = 3,
};

static const char *const policies[2][2] = {
	{POLICY(2000, 40, 300, 2, SECONDS), POLICY(5000, 40, 700, 3, SECONDS)},
	{POLICY(2000, 40, 300, 2, ROLLS), POLICY(5000, 40, 700, 3, ROLLS)},
};

/* --- what the processes share with the test --- */

struct permit {
	uint64_t at;  /* ticks */
	int64_t wall; /* ns since 1970 */
};

struct shared {
	_Atomic int stop;
	_Atomic int held;      /* leases */
	_Atomic int held_most; /* at a time, */
	_Atomic int held_late; /* and after the last reload had done its work */
	_Atomic int late;
	_Atomic uint32_t n[VENDORS];
	_Atomic uint32_t failures; /* answers that are none of admitted and denied */
	struct permit permit[VENDORS][LOGGED_MAX];
};

static void note_most(_Atomic int *most, int now)
{
	int was = atomic_load(most);

	while (was < now && !atomic_compare_exchange_weak(most, &was, now))
		;
}

static void log_permit(struct shared *shared, struct ration *ration, enum vendor vendor,
		       uint64_t at)
{
	const uint32_t i = atomic_fetch_add(&shared->n[vendor], 1);

	if (i < LOGGED_MAX)
		shared->permit[vendor][i] = (struct permit){at, client_wall(ration, at)};
}

/* Counted as held for less long than it is. */
static void hold(struct shared *shared, struct ration *ration, struct ration_ticket *ticket)
{
	const int now = atomic_fetch_add(&shared->held, 1) + 1;

	note_most(atomic_load(&shared->late) ? &shared->held_late : &shared->held_most, now);
	sched_yield();
	atomic_fetch_sub(&shared->held, 1);
	(void)ration_release(ration, ticket);
}

static void ask(struct shared *shared, struct ration *ration, struct ration_handle *handle,
		enum vendor vendor)
{
	struct ration_ticket ticket;
	const int result = ration_acquire(handle, NULL, 0, &ticket, NULL);

	if (result == 0 && vendor == SLOTS)
		hold(shared, ration, &ticket);
	else if (result == 0)
		log_permit(shared, ration, vendor, ticket.permit);
	else if (result != RATION_DENIED && result != RATION_CONTENDED)
		atomic_fetch_add(&shared->failures, 1);
}

static int worker(struct shared *shared, const char *socket)
{
	struct ration_handle *handles[VENDORS];
	struct ration *ration;

	if (ration_attach(socket, 0, &ration, NULL) != 0)
		return 1;
	for (int v = 0; v < VENDORS; v++) {
		const struct ration_key key = {.vendor = vendor_names[v],
					       .traffic_class = "interactive"};

		if (ration_resolve(ration, &key, &handles[v], NULL) != 0)
			return 2;
	}
	while (!atomic_load(&shared->stop)) {
		for (int v = 0; v < VENDORS; v++)
			ask(shared, ration, handles[v], v);
	}
	return 0;
}

/* --- exact accounts --- */

static int by_time(const void *a, const void *b)
{
	const struct permit *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

/* Requests beyond burst + rate * t in some interval, counted by a reference that admits whatever comes. */
static unsigned over_bucket(const struct permit *p, size_t n, uint64_t rate, uint64_t burst)
{
	const uint64_t interval = TICKS_PER_SEC / rate, tolerance = burst * interval;
	uint64_t tat = 0;
	unsigned over = 0;

	for (size_t i = 0; i < n; i++) {
		tat = (tat > p[i].at ? tat : p[i].at) + interval;
		over += tat > p[i].at + tolerance;
	}
	return over;
}

/* The most in one second of the calendar; that before `from` does not count. */
static unsigned most_in_second(const struct permit *p, size_t n, int64_t from)
{
	unsigned most = 0;

	for (size_t i = 0; i < n;) {
		const int64_t second = p[i].wall / 1000000000;
		size_t j = i;

		/* Times of one second stand together, but for those read just at its edge. */
		while (j < n && p[j].wall / 1000000000 == second)
			j++;
		if (second * 1000000000 >= from && j - i > most)
			most = (unsigned)(j - i);
		i = j;
	}
	return most;
}

/* The most in any second. */
static unsigned most_in_any(const struct permit *p, size_t n, uint64_t from)
{
	unsigned most = 0;
	size_t first = 0;

	for (size_t i = 0; i < n; i++) {
		while (p[i].at - p[first].at >= TICKS_PER_SEC || p[first].at < from)
			if (++first > i)
				break;
		if (first <= i && i - first + 1 > most)
			most = (unsigned)(i - first + 1);
		if (first > i)
			first = i + 1 < n ? i + 1 : i;
	}
	return most;
}

/* Those from a time on. */
static size_t first_from(const struct permit *p, size_t n, uint64_t at)
{
	size_t i = 0;

	while (i < n && p[i].at < at)
		i++;
	return i;
}

/* --- the run --- */

struct fleet {
	struct rationd r;
	struct shared *shared;
	struct ration *observer;
	pid_t pids[WORKERS];
};

static void begin(struct fleet *f)
{
	f->shared = mmap(NULL, sizeof(*f->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(f->shared, MAP_FAILED);
	rationd_start(&f->r, policies[0][0], (const char *[]){"--buckets", "4096", NULL});
	cr_assert_eq(client_observe(f->r.socket, 0, &f->observer, NULL), 0);
	for (int i = 0; i < WORKERS; i++) {
		f->pids[i] = fork();
		if (f->pids[i] == 0)
			_exit(worker(f->shared, f->r.socket));
	}
}

/* Wait until all that is asked for was admitted so often more. */
static void let_run(const struct fleet *f, uint32_t more)
{
	uint32_t goal[VENDORS];

	for (int v = 0; v < VENDORS; v++)
		goal[v] = atomic_load(&f->shared->n[v]) + more;
	for (int v = 0; v < VENDORS; v++) {
		while (v != SLOTS && atomic_load(&f->shared->n[v]) < goal[v])
			usleep(1000);
	}
}

static void end(struct fleet *f)
{
	atomic_store(&f->shared->stop, 1);
	for (int i = 0; i < WORKERS; i++)
		cr_expect_eq(wait_child(f->pids[i]), 0);
	cr_expect_eq(shm_load(&client_seg(f->observer)->control->corrupt), 0);
	cr_expect_eq(shm_load(&client_seg(f->observer)->control->repaired), 0);
	ration_detach(&f->observer);
	cr_expect_eq(rationd_stop(&f->r), 0);
}

/* Another shape now and then: each leaves buckets behind. */
static void reload_all(struct fleet *f)
{
	for (int i = 1; i <= RELOADS; i++) {
		rationd_write_policy(&f->r, policies[i / 40 % 2][i % 2]);
		rationd_reload(&f->r);
		if (i % 500 == 0)
			let_run(f, 50);
	}
}

static const struct permit *sorted(struct fleet *f, enum vendor v, size_t *ret_n)
{
	*ret_n = atomic_load(&f->shared->n[v]);
	cr_assert(*ret_n < LOGGED_MAX);
	qsort(f->shared->permit[v], *ret_n, sizeof(struct permit), by_time);
	return f->shared->permit[v];
}

static void expect_most(const char *what, unsigned most, unsigned allowed)
{
	cr_expect(most <= allowed, "%s: %u in a second, %u are allowed", what, most, allowed);
}

Test(reload_load, never_over_the_larger_and_then_never_over_the_new, .timeout = 300)
{
	static struct fleet f;
	const struct permit *p;
	uint64_t changed, settled;
	int64_t wall;
	size_t n, i;

	begin(&f);
	let_run(&f, 50);
	reload_all(&f); /* the last one is small */
	changed = client_now(f.observer);
	do {
		usleep(1000);
		settled = client_now(f.observer);
	} while (settled - changed <= TICKS_PER_SEC);
	wall = client_wall(f.observer, settled);
	atomic_store(&f.shared->late, 1);
	let_run(&f, SMALL_AMOUNT + 50);
	end(&f);

	p = sorted(&f, BUCKET, &n);
	cr_expect_eq(over_bucket(p, n, LARGE_RATE, BURST), 0);
	i = first_from(p, n, settled);
	cr_expect_eq(over_bucket(p + i, n - i, SMALL_RATE, BURST), 0);
	p = sorted(&f, WINDOW, &n);
	expect_most("window", most_in_second(p, n, 0), LARGE_AMOUNT);
	expect_most("window, later", most_in_second(p, n, wall), SMALL_AMOUNT);
	p = sorted(&f, ROLLING, &n);
	expect_most("rolling", most_in_any(p, n, 0), LARGE_AMOUNT);
	expect_most("rolling, later", most_in_any(p, n, settled), SMALL_AMOUNT);
	p = sorted(&f, SHAPED, &n);
	expect_most("shaped", most_in_second(p, n, 0), LARGE_AMOUNT);
	expect_most("shaped, later", most_in_second(p, n, wall), SMALL_AMOUNT);
	cr_expect_leq(atomic_load(&f.shared->held_most), LARGE_SLOTS);
	cr_expect_leq(atomic_load(&f.shared->held_late), SMALL_SLOTS);
	cr_expect_geq(atomic_load(&f.shared->held_late), 1);
	cr_expect_eq(atomic_load(&f.shared->failures), 0, "%u", atomic_load(&f.shared->failures));
}
