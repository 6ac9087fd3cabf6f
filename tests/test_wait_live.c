/*
 * tests/test_wait_live.c - processes that wait while numbers change, holders die and lines fill up
 * SPDX-License-Identifier: MIT
 *
 * Everybody who waits here is a `ration acquire --wait` of its own. All of them are stopped before anything changes, so
 * that none looks by itself: whose word has changed then, was woken by rationd.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "support_cli.h"
#include "support_rationd.h"

TestSuite(wait_live, .timeout = 120);

#define HEAD                                                                                       \
	"version: 1\nclasses: [interactive, { name: bulk, queue: 3 }]\n"                           \
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"                                  \
	"vendors:\n  crm:\n    limits:\n      - { name: quota, scope: [vendor], "
#define LIMIT(text) HEAD text " }\n"

#define WAITERS 3

struct scene {
	struct rationd r;
	struct ration *ration;
	struct ration_handle *interactive, *bulk;
	struct cli_process waiter[WAITERS];
	uint32_t told[WAITERS]; /* the words they sleep on, when they were stopped */
};

static struct ration_handle *resolve(struct ration *ration, const char *class)
{
	const struct ration_key key = {.tenant = "acme", .vendor = "crm", .traffic_class = class};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

static void begin(struct scene *s, const char *policy)
{
	struct ration_error error;

	rationd_start(&s->r, policy, (const char *[]){"--buckets", "256", NULL});
	cr_assert_eq(ration_attach(s->r.socket, 0, &s->ration, &error), 0, "%s", error.text);
	s->interactive = resolve(s->ration, "interactive");
	s->bulk = resolve(s->ration, "bulk");
}

static void end(struct scene *s)
{
	ration_handle_free(&s->interactive);
	ration_handle_free(&s->bulk);
	ration_detach(&s->ration);
	cr_expect_eq(rationd_stop(&s->r), 0);
}

static void pause_a_little(void)
{
	(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* --- who stands in line --- */

/* The n-th place that somebody stands in, of all lines; NULL: there are fewer. */
static struct seg_waiter *in_line(struct scene *s, uint32_t n)
{
	const struct seg *seg = client_seg(s->ration);

	for (uint32_t q = 0; q < seg->n_queues; q++) {
		for (uint32_t i = 0; i < QUEUE_PLACES; i++) {
			struct seg_waiter *place = &seg->queues[q].place[i];

			if (shm_load(&place->owner) != 0 && n-- == 0)
				return place;
		}
	}
	return NULL;
}

static void until_in_line(struct scene *s, uint32_t n)
{
	while ((n > 0 && !in_line(s, n - 1)) || in_line(s, n))
		pause_a_little();
}

static void start_waiter(struct scene *s, int i, const char *class)
{
	cli_start(&s->waiter[i], (const char *const[]){"acquire", "acme", "crm", class, "--socket",
						       s->r.socket, "--wait", "9999h", NULL});
}

static void start_waiters(struct scene *s)
{
	for (int i = 0; i < WAITERS; i++) {
		start_waiter(s, i, "bulk");
		until_in_line(s, (uint32_t)i + 1);
	}
}

/* The state that /proc says: 'S' sleeps, 'T' is stopped. */
static char state_of(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	cr_assert(file);
	cr_assert_eq(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
	fclose(file);
	return state;
}

static void stop_waiters(struct scene *s)
{
	for (int i = 0; i < WAITERS; i++) {
		cr_assert_eq(kill(s->waiter[i].pid, SIGSTOP), 0);
		while (state_of(s->waiter[i].pid) != 'T')
			pause_a_little();
	}
	for (uint32_t i = 0; i < WAITERS; i++)
		s->told[i] = shm_half_load(&in_line(s, i)->futex);
}

/* How many of the stopped have been woken since. */
static uint32_t told(struct scene *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < WAITERS; i++)
		n += shm_half_load(&in_line(s, i)->futex) != s->told[i];
	return n;
}

static void until_served(struct scene *s)
{
	struct cli_result r;

	for (int i = 0; i < WAITERS; i++)
		cr_assert_eq(kill(s->waiter[i].pid, SIGCONT), 0);
	for (int i = 0; i < WAITERS; i++) {
		cli_wait(&s->waiter[i], &r);
		cr_expect_eq(r.status, EX_OK, "%d, %s", r.status, r.err);
		cli_free(&r);
	}
	until_in_line(s, 0);
}

static void use_up(struct scene *s, struct ration_ticket *ticket)
{
	cr_assert_eq(ration_acquire(s->bulk, NULL, 0, ticket, NULL), 0);
}

/* --- what wakes --- */

/* All are woken by rationd itself, before it says that the change is made. */
static void change_wakes(const char *before, const char *after, const char *number)
{
	struct ration_ticket ticket;
	struct cli_result r;
	struct scene s;

	begin(&s, before);
	use_up(&s, &ticket);
	start_waiters(&s);
	stop_waiters(&s);
	cr_expect_eq(told(&s), 0);
	if (after) {
		rationd_write_policy(&s.r, after);
		rationd_reload(&s.r);
	} else {
		CLI(&r, "set", "--socket", s.r.socket, "-", "crm", "quota", number);
		cr_expect_eq(r.status, EX_OK, "%s", r.err);
		cli_free(&r);
	}
	cr_expect_eq(told(&s), WAITERS);
	until_served(&s);
	end(&s);
}

#define BUCKET(burst)   LIMIT("rate: 1/h, burst: " #burst)
#define WINDOW(amount)  LIMIT("kind: window, period: month, amount: " #amount)
#define ROLLING(amount) LIMIT("kind: rolling, period: 24h, amount: " #amount)
#define SLOTS(n)        LIMIT("kind: concurrency, max_hold: 1h, slots: " #n)

Test(wait_live, a_reload_that_raises_a_burst_wakes)
{
	change_wakes(BUCKET(1), BUCKET(9), NULL);
}

Test(wait_live, a_reload_that_raises_an_amount_wakes)
{
	change_wakes(WINDOW(1), WINDOW(9), NULL);
	change_wakes(ROLLING(1), ROLLING(9), NULL);
}

Test(wait_live, a_reload_that_adds_slots_wakes)
{
	change_wakes(SLOTS(1), SLOTS(9), NULL);
}

Test(wait_live, a_number_that_an_operator_sets_wakes)
{
	change_wakes(BUCKET(1), NULL, "9");
	change_wakes(WINDOW(1), NULL, "9");
	change_wakes(ROLLING(1), NULL, "9");
	change_wakes(SLOTS(1), NULL, "9");
}

/* The holder dies, and the lease of an hour is free: of those who wait the first is woken, and the others by it. */
Test(wait_live, a_lease_that_a_dead_worker_held_wakes)
{
	struct cli_process holder;
	struct cli_result r;
	struct scene s;

	begin(&s, SLOTS(1));
	cli_start(&holder,
		  (const char *const[]){"exec", "acme", "crm", "bulk", "--socket", s.r.socket, "--",
					"sh", "-c", "echo held; exec sleep 3600", NULL});
	cr_assert_str_eq(cli_read_line(&holder), "held");
	start_waiters(&s);
	stop_waiters(&s);
	cr_assert_eq(kill(holder.pid, SIGKILL), 0);
	cli_wait(&holder, &r);
	cli_free(&r);
	while (told(&s) == 0)
		pause_a_little();
	until_served(&s);
	end(&s);
}

/* --- backpressure --- */

/* A waiter that the machine runs late does not count, so look until the answer is the one of a line that is full. */
static void expect_busy(struct ration_handle *handle, struct ration *ration)
{
	struct ration_wait wait = {0};
	struct ration_ticket ticket;
	struct ration_denial denial;
	int result;

	while ((result = ration_wait_try(handle, NULL, 0, &wait, &ticket, &denial)) ==
	       RATION_WAITING)
		ration_wait_end(ration, &wait);
	cr_expect_eq(result, RATION_BUSY);
	cr_expect_eq(wait.bound, 3);
	cr_expect_str_eq(denial.limit, "quota");
}

static void until_pressure(struct ration_handle *handle, int expected)
{
	while (ration_pressure(handle) != expected)
		pause_a_little();
}

Test(wait_live, pressure_rises_from_process_to_process_until_the_next_is_told_busy)
{
	static const int pressures[] = {50, 66, 83, 100};
	struct ration_ticket ticket;
	struct cli_result r;
	struct scene s;

	begin(&s, BUCKET(1));
	cr_expect_eq(ration_pressure(s.bulk), 0);
	use_up(&s, &ticket);
	cr_expect_eq(ration_pressure(s.bulk), pressures[0]);
	for (int i = 0; i < WAITERS; i++) {
		start_waiter(&s, i, "bulk");
		until_in_line(&s, (uint32_t)i + 1);
		until_pressure(s.bulk, pressures[i + 1]);
	}
	expect_busy(s.bulk, s.ration);
	cr_expect_eq(ration_pressure(s.interactive), 50, "nobody of its own class waits");
	CLI(&r, "acquire", "acme", "crm", "interactive", "--socket", s.r.socket, "--wait", "10ms");
	cr_expect_eq(r.status, EX_TEMPFAIL);
	cr_expect_null(strstr(r.err, "too many wait"), "the bound is bulk's: %s", r.err);
	cli_free(&r);
	/* Who leaves makes room in line. */
	cr_assert_eq(kill(s.waiter[1].pid, SIGKILL), 0);
	cli_wait(&s.waiter[1], &r);
	cli_free(&r);
	until_in_line(&s, 2);
	until_pressure(s.bulk, pressures[2]);
	start_waiter(&s, 1, "bulk");
	until_in_line(&s, 3);
	until_pressure(s.bulk, 100);
	for (int i = 0; i < WAITERS; i++) {
		cr_assert_eq(kill(s.waiter[i].pid, SIGKILL), 0);
		cli_wait(&s.waiter[i], &r);
		cli_free(&r);
	}
	until_in_line(&s, 0);
	end(&s);
}
