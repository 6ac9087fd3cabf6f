/*
 * tests/test_client_threads.c - one attachment and one handle for all threads, and for signal
 * handlers
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/attachment.h"
#include "support_blob.h"
#include "support_check.h"

#define PER_TENANT (RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR)
#define THREADS    4

TestSuite(threads, .fini = check_worlds, .timeout = 20);
TestSuite(handlers, .fini = check_worlds, .timeout = 20);

/* Both have more taken out in advance than is ever given back, so that no refund is cut short. */
static const struct policy_desc two_limits = {
	.vendors = {"v"},
	.limits = {{.name = "l",
		    .vendor = "v",
		    .scope = PER_TENANT,
		    .amount = 1,
		    .period_s = 600,
		    .burst = 100000},
		   {.name = "host", .amount = 1, .period_s = 600, .burst = 99500}},
};

#define TAKEN UINT64_C(97000)

static const struct ration_cost in_advance = {"requests", TAKEN};

struct tally {
	uint64_t granted, cancelled, denied, contended, failed;
};

struct crew {
	struct ration *ration;
	struct ration_handle *handle;
	struct tally tally[THREADS];
	shm_word go, stop;
};

struct member {
	struct crew *crew;
	int who;
};

static void run(struct crew *crew, void *(*work)(void *member))
{
	struct member members[THREADS];
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		members[i] = (struct member){crew, i};
		cr_assert(pthread_create(&threads[i], NULL, work, &members[i]) == 0);
	}
	shm_store(&crew->go, 1);
	for (int i = 0; i < THREADS; i++)
		cr_assert(pthread_join(threads[i], NULL) == 0);
}

static struct tally sum(const struct crew *crew)
{
	struct tally all = {0};

	for (int i = 0; i < THREADS; i++) {
		all.granted += crew->tally[i].granted;
		all.cancelled += crew->tally[i].cancelled;
		all.denied += crew->tally[i].denied;
		all.failed += crew->tally[i].failed;
	}
	return all;
}

/* Every third is given back at once. */
static void *take_and_give(void *arg)
{
	const struct member *m = arg;
	struct crew *crew = m->crew;
	struct tally *mine = &crew->tally[m->who];

	while (!shm_load(&crew->go))
		;
	for (unsigned i = 0; mine->denied < 50; i++) {
		struct ration_ticket ticket;
		const int result = ration_acquire(crew->handle, NULL, 0, &ticket, NULL);

		mine->denied += result == RATION_DENIED;
		mine->failed += result < 0;
		if (result != 0)
			continue;
		mine->granted++;
		if (i % 3 == 0) {
			mine->failed += ration_cancel(crew->ration, &ticket) != 0;
			mine->cancelled++;
		}
	}
	return NULL;
}

Test(threads, share_a_handle_and_the_sums_are_exact)
{
	for (int round = 0; round < 10; round++) {
		struct crew crew = {.ration = world_make(&two_limits, 16, 2)};
		struct bucket_state l, host;
		struct ration_ticket ticket;
		struct tally all;

		crew.handle = world_key(crew.ration, "t", "v", NULL, NULL);
		cr_assert_eq(ration_acquire(crew.handle, &in_advance, 1, &ticket, NULL), 0);
		run(&crew, take_and_give);
		all = sum(&crew);
		l = world_bucket(crew.ration, crew.handle, "l");
		host = world_bucket(crew.ration, crew.handle, "host");
		cr_assert_eq(all.failed, 0);
		cr_assert_eq(all.granted - all.cancelled, 2500, "%lu - %lu", all.granted,
			     all.cancelled);
		cr_assert_eq(host.left, 0);
		cr_assert_eq(l.left, 500);
		cr_assert_eq(host.admitted, all.granted + 1);
		cr_assert_eq(l.admitted, all.granted + 1);
		cr_assert_eq(host.denied + l.denied, all.denied);
		ration_handle_free(&crew.handle);
		ration_detach(&crew.ration);
	}
}

/* All threads resolve the same 62 keys, each in another order: one bucket each, whoever made it. */
static void *resolve_all(void *arg)
{
	const struct member *m = arg;
	struct crew *crew = m->crew;

	while (!shm_load(&crew->go))
		;
	for (unsigned i = 0; i < 62; i++) {
		const char tenant[2] = {(char)('@' + (i * 7 + (unsigned)m->who * 13) % 62)};
		const struct ration_key key = {tenant, "v", "interactive", NULL, NULL};
		struct ration_handle *handle;
		struct ration_ticket ticket;
		int result = ration_resolve(crew->ration, &key, &handle, NULL);

		if (result == 0) {
			do
				result = ration_acquire(handle, NULL, 0, &ticket, NULL);
			while (result == RATION_CONTENDED);
			ration_handle_free(&handle);
		}
		crew->tally[m->who].failed += result != 0;
		crew->tally[m->who].granted += result == 0;
	}
	return NULL;
}

Test(threads, resolve_the_same_keys_to_the_same_buckets)
{
	for (int round = 0; round < 10; round++) {
		struct crew crew = {.ration = world_make(&two_limits, 128, 2)};
		const struct seg *seg = client_seg(crew.ration);
		unsigned linked = 0;

		run(&crew, resolve_all);
		cr_assert_eq(sum(&crew).failed, 0);
		for (uint32_t i = 0; i < seg->n_buckets; i++)
			linked += shm_load(&seg->cold[i].owner) == COLD_LINKED;
		cr_assert_eq(linked, 63, "62 tenants and the host");
		for (unsigned i = 0; i < 62; i++) {
			const char tenant[2] = {(char)('@' + i)};
			struct bucket_state b;

			crew.handle = world_key(crew.ration, tenant, "v", NULL, NULL);
			b = world_bucket(crew.ration, crew.handle, "l");
			cr_assert_eq(b.left, 100000 - THREADS);
			cr_assert_eq(b.admitted, THREADS);
			ration_handle_free(&crew.handle);
		}
		ration_detach(&crew.ration);
	}
}

/* --- handles follow the policy while threads use them --- */

static void *take_until_told(void *arg)
{
	const struct member *m = arg;
	struct crew *crew = m->crew;
	struct tally *mine = &crew->tally[m->who];

	do {
		struct ration_ticket ticket;
		struct ration_denial denial;
		const int result = ration_acquire(crew->handle, NULL, 0, &ticket, &denial);

		mine->granted += result == 0;
		mine->denied += result == RATION_DENIED;
		mine->failed += result < 0 || result == RATION_OVERSIZE;
	} while (!shm_load(&crew->stop));
	return NULL;
}

static void *change_policy(void *arg)
{
	struct crew *crew = arg;
	struct policy_desc desc = two_limits;

	for (uint64_t generation = 2; generation < 300; generation++) {
		desc.generation = generation;
		desc.delay_ns = generation;
		world_policy(crew->ration, &desc);
	}
	shm_store(&crew->stop, 1);
	return NULL;
}

/* However long somebody reads, old policies are unmapped when he has gone. */
Test(threads, policies_are_unmapped_once_nobody_reads_them)
{
	struct policy_desc desc = two_limits;
	struct ration *ration = world_make(&desc, 16, 2);
	const struct blob *read = policy_enter(ration);

	for (desc.generation = 2; desc.generation <= POLICY_VIEWS; desc.generation++)
		world_policy(ration, &desc);
	cr_assert_eq(read->header->generation, 1);
	policy_leave(ration);
	for (; desc.generation <= 3 * POLICY_VIEWS; desc.generation++)
		world_policy(ration, &desc);
	cr_assert_eq(client_blob(ration)->header->generation, 3 * POLICY_VIEWS);
	ration_detach(&ration);
}

Test(threads, what_is_spent_stays_spent_over_policy_changes)
{
	struct crew crew = {.ration = world_make(&two_limits, 16, 2)};
	struct tally all;
	pthread_t changer;

	crew.handle = world_key(crew.ration, "t", "v", NULL, NULL);
	cr_assert(pthread_create(&changer, NULL, change_policy, &crew) == 0);
	run(&crew, take_until_told);
	cr_assert(pthread_join(changer, NULL) == 0);
	all = sum(&crew);
	cr_assert_eq(all.failed, 0);
	cr_assert_eq(all.granted + world_bucket(crew.ration, crew.handle, "host").left, 99500);
	ration_handle_free(&crew.handle);
	ration_detach(&crew.ration);
}

/* --- signal handlers that interrupt acquire, settle and resolve --- */

static struct crew storm;
static struct tally handled;
static struct ration_ticket kept; /* by a handler for the next one to end */

/* Takes, and ends what the handler before it took: by settle, cancel, or not at all. */
static void on_alarm(int signal)
{
	const int error = errno;
	struct ration_ticket ticket;
	int result;

	(void)signal;
	if (kept.owner != 0) {
		const bool cancels = handled.granted % 3 == 0;

		result = cancels ? ration_cancel(storm.ration, &kept)
				 : ration_settle(storm.ration, &kept, NULL, 0);
		handled.failed += result != 0;
		handled.cancelled += cancels;
	}
	result = ration_acquire(storm.handle, NULL, 0, &ticket, NULL);
	handled.granted += result == 0;
	handled.denied += result == RATION_DENIED;
	handled.contended += result == RATION_CONTENDED;
	handled.failed += result < 0 || result == RATION_OVERSIZE;
	kept = ticket;
	errno = error;
}

static void start_storm(void)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	const struct itimerval every = {{.tv_usec = 50}, {.tv_usec = 50}};

	cr_assert(sigaction(SIGALRM, &action, NULL) == 0);
	cr_assert(setitimer(ITIMER_REAL, &every, NULL) == 0);
}

static void stop_storm(void)
{
	const struct itimerval never = {0};

	cr_assert(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

/* The main program takes, settles and cancels under a storm, until the bucket is empty. */
Test(handlers, may_acquire_in_the_middle_of_an_acquire)
{
	struct policy_desc desc = two_limits;
	struct tally mine = {0};
	struct bucket_state host;

	desc.limits[0].burst = desc.limits[1].burst = 160000;
	storm.ration = world_make(&desc, 16, 2);
	storm.handle = world_key(storm.ration, "t", "v", NULL, NULL);
	cr_assert_eq(ration_acquire(storm.handle, &(struct ration_cost){"requests", 100000}, 1,
				    &kept, NULL),
		     0);
	kept.owner = 0;
	start_storm();
	for (unsigned i = 0; i < 3000000 && (handled.granted < 200 || mine.denied < 1000); i++) {
		struct ration_ticket ticket;
		const int result = ration_acquire(storm.handle, NULL, 0, &ticket, NULL);

		mine.granted += result == 0;
		mine.denied += result == RATION_DENIED;
		mine.failed += result < 0 || result == RATION_OVERSIZE;
		if (result == 0 && i % 2) {
			mine.failed += ration_cancel(storm.ration, &ticket) != 0;
			mine.cancelled++;
		} else if (result == 0) {
			mine.failed += ration_settle(storm.ration, &ticket, NULL, 0) != 0;
		}
	}
	stop_storm();
	cr_log_info("%lu handlers", handled.granted + handled.denied);
	cr_assert_eq(mine.failed + handled.failed, 0);
	cr_assert_eq(handled.contended, 0, "a handler never has to wait for what it interrupted");
	cr_assert_geq(handled.granted, 200);
	host = world_bucket(storm.ration, storm.handle, "host");
	cr_assert_eq(mine.granted - mine.cancelled + handled.granted - handled.cancelled +
			     host.left,
		     60000);
	cr_assert_eq(host.admitted, 1 + mine.granted + handled.granted);
	ration_handle_free(&storm.handle);
	ration_detach(&storm.ration);
}

/* The handle's chain is rebuilt in the handler or under it; nobody waits, nothing is lost. */
Test(handlers, may_interrupt_a_resolve_and_a_policy_change)
{
	struct policy_desc desc = two_limits;
	struct bucket_state host;
	uint64_t spent = 0;

	storm.ration = world_make(&desc, 4096, 2);
	storm.handle = world_key(storm.ration, "t", "v", NULL, NULL);
	cr_assert_eq(ration_acquire(storm.handle, &(struct ration_cost){"requests", 50000}, 1,
				    &kept, NULL),
		     0);
	kept.owner = 0;
	start_storm();
	for (uint64_t i = 0; i < 4000; i++) {
		const char tenant[4] = {(char)('@' + i % 50), (char)('@' + i / 50 % 50),
					(char)('@' + i / 2500)};
		struct ration_handle *handle = world_key(storm.ration, tenant, "v", NULL, NULL);
		struct ration_ticket ticket;
		int result;

		if (i % 20 == 19) {
			desc.generation = i;
			world_policy(storm.ration, &desc);
		}
		do
			result = ration_acquire(handle, NULL, 0, &ticket, NULL);
		while (result == RATION_CONTENDED);
		cr_assert_eq(result, 0);
		spent++;
		ration_handle_free(&handle);
	}
	stop_storm();
	cr_assert_eq(handled.failed, 0);
	host = world_bucket(storm.ration, storm.handle, "host");
	cr_assert_eq(spent + handled.granted - handled.cancelled + host.left, 99500 - 50000);
	ration_handle_free(&storm.handle);
	ration_detach(&storm.ration);
}
