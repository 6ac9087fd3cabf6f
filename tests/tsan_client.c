/*
 * tests/tsan_client.c - races between workers, as the thread sanitizer sees them
 * SPDX-License-Identifier: MIT
 *
 * The sanitizer sees a race only between threads on one mapping. So each thread here stands for a
 * process: it has an attachment and a worker slot of its own, all on the same memory. Half of them
 * have a companion that shares their attachment and handles, as threads of one worker do.
 *
 * Criterion does not run under this sanitizer: it wants memory where the sanitizer keeps its own.
 * So this is a plain program that ends its output with the same sum.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/attachment.h"
#include "client/memory.h"
#include "shm/check.h"
#include "shm/stat.h"
#include "shm/worker.h"
#include "support_blob.h"

#define WORKERS 4
#define THREADS 6 /* the last two share the attachments of the first two */
#define KEYS    40
#define TAKEN   50000

#define need(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                     \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static const struct policy_desc policy = {
	.vendors = {"v"},
	.limits = {{.name = "tenant",
		    .vendor = "v",
		    .scope = RATION_SCOPE_TENANT | RATION_SCOPE_VENDOR,
		    .amount = 1,
		    .period_s = 600,
		    .burst = 100000},
		   {.name = "host", .amount = 1, .period_s = 600, .burst = TAKEN + 4000}},
};

struct scene {
	struct seg seg;
	struct ration *ration[WORKERS];
	struct ration_handle *handle[WORKERS];
	shm_word go, stop, failed, kept;
};

struct actor {
	struct scene *scene;
	unsigned who;
};

/* One memory, and an attachment with a slot of its own for each worker. */
static void make_scene(struct scene *s, const struct policy_desc *desc)
{
	const struct seg_config config = {.buckets = 256, .workers = WORKERS};
	size_t size;
	void *blob = blob_make(desc, &size);
	int state, fd;

	memset(s, 0, sizeof(*s));
	need(memory_make_state(&config, clock_boot_ns() - 1000000000, &state, &s->seg) == 0);
	need(memory_make_policy(blob, size, &fd) == 0);
	shm_store(&s->seg.control->policy_generation, 1);
	for (int i = 0; i < WORKERS; i++)
		need(client_adopt(&s->seg, fd, size, &s->ration[i], NULL) == 0);
	close(state);
	close(fd);
	free(blob);
}

static void race(struct scene *s, unsigned n, void *(*work)(void *actor))
{
	struct actor actors[THREADS + 1];
	pthread_t threads[THREADS + 1];

	for (unsigned i = 0; i < n; i++) {
		actors[i] = (struct actor){s, i};
		need(pthread_create(&threads[i], NULL, work, &actors[i]) == 0);
	}
	shm_store(&s->go, 1);
	for (unsigned i = 0; i < n; i++)
		need(pthread_join(threads[i], NULL) == 0);
}

static void check(struct scene *s)
{
	const uint64_t now = client_now(s->ration[0]);

	need(shm_load(&s->failed) == 0);
	need(seg_check(&s->seg, now, true, NULL, NULL) == 0);
}

/* The mapping is shared by all attachments: it goes with the last. */
static void end_scene(struct scene *s)
{
	for (int i = 0; i < WORKERS; i++) {
		if (s->handle[i])
			ration_handle_free(&s->handle[i]);
		if (i < WORKERS - 1)
			memset(&s->ration[i]->seg.base, 0, sizeof(s->ration[i]->seg.base));
		ration_detach(&s->ration[i]);
	}
}

static struct ration *ration_of(const struct actor *actor)
{
	return actor->scene->ration[actor->who % WORKERS];
}

static int resolve(const struct actor *actor, unsigned key, struct ration_handle **ret_handle)
{
	char tenant[16];
	const struct ration_key fields = {tenant, "v", "interactive", NULL, NULL};

	snprintf(tenant, sizeof(tenant), "t%u", key);
	return ration_resolve(ration_of(actor), &fields, ret_handle, NULL);
}

/* --- the same keys and different ones --- */

static void *resolve_keys(void *arg)
{
	struct actor *actor = arg;
	struct scene *s = actor->scene;

	while (!shm_load(&s->go))
		;
	for (unsigned i = 0; i < KEYS; i++) {
		const unsigned own = 1000 + actor->who * KEYS / 8 + i / 8;
		const unsigned keys[2] = {(i * 7 + actor->who * 11) % KEYS, own};

		for (int k = 0; k < 2; k++) {
			struct ration_handle *handle;
			struct ration_ticket ticket;
			int result = resolve(actor, keys[k], &handle);

			if (result != 0) {
				shm_add(&s->failed, 1);
				continue;
			}
			result = ration_acquire(handle, NULL, 0, &ticket, NULL);
			if (result == 0)
				result = ration_cancel(ration_of(actor), &ticket);
			if (result != 0 && result != RATION_CONTENDED)
				shm_add(&s->failed, 1);
			ration_handle_free(&handle);
		}
	}
	return NULL;
}

static void resolving_the_same_and_different_keys(void)
{
	struct scene s;
	unsigned linked = 0;

	make_scene(&s, &policy);
	race(&s, THREADS, resolve_keys);
	check(&s);
	for (uint32_t i = 0; i < s.seg.n_buckets; i++)
		linked += shm_load(&s.seg.cold[i].owner) == COLD_LINKED;
	need(linked == 1 + KEYS + THREADS * KEYS / 8);
	end_scene(&s);
}

/* --- acquire, settle, cancel, and one who changes the policy --- */

static void take_one(const struct actor *actor, unsigned step)
{
	struct scene *s = actor->scene;
	struct ration *ration = ration_of(actor);
	struct ration_ticket ticket;
	struct ration_denial denial;
	const struct ration_cost cost = {"requests", 2}, less = {"requests", 1};
	const int result =
		ration_acquire(s->handle[actor->who % WORKERS], &cost, 1, &ticket, &denial);

	if (result < 0 || result == RATION_OVERSIZE)
		shm_add(&s->failed, 1);
	if (result != 0)
		return;
	if (step % 3 == 0) {
		shm_add(&s->failed, ration_cancel(ration, &ticket) != 0);
	} else if (step % 3 == 1) {
		shm_add(&s->failed, ration_settle(ration, &ticket, &less, 1) != 0);
		shm_add(&s->kept, 1);
	} else {
		shm_add(&s->failed, !ration_ticket_fresh(ration, &ticket));
		shm_add(&s->failed, ration_settle(ration, &ticket, NULL, 0) != 0);
		shm_add(&s->kept, 2);
	}
}

static void *take_and_end(void *arg)
{
	struct actor *actor = arg;

	while (!shm_load(&actor->scene->go))
		;
	for (unsigned i = 0; i < 3000; i++)
		take_one(actor, i + actor->who);
	return NULL;
}

/* The same policy under new generations, as if the supervisor had sent it to each worker. */
static void *change_policy(struct scene *s)
{
	struct policy_desc desc = policy;

	desc.delay_ns = 1000000000;
	for (desc.generation = 2; desc.generation < 40; desc.generation++) {
		for (int i = 0; i < WORKERS; i++)
			world_policy(s->ration[i], &desc);
	}
	return NULL;
}

/* As the supervisor does it: looks, and takes over what the workers have counted. */
static void *watch(struct scene *s)
{
	for (int i = 0; i < 40; i++) {
		struct stat_total totals[256] = {{0, 0}};

		stat_collect(&s->seg, totals);
		stat_spill(&s->seg, (uint32_t)i % WORKERS);
		if (seg_check(&s->seg, client_now(s->ration[0]), false, NULL, NULL) != 0)
			shm_add(&s->failed, 1);
	}
	return NULL;
}

static void *work_or_change(void *arg)
{
	struct actor *actor = arg;

	return actor->who < THREADS ? take_and_end(arg) : change_policy(actor->scene);
}

static void *work_or_watch(void *arg)
{
	struct actor *actor = arg;

	return actor->who < THREADS ? take_and_end(arg) : watch(actor->scene);
}

static void take_together(void *(*work)(void *actor))
{
	struct policy_desc desc = policy;
	const struct ration_cost in_advance = {"requests", TAKEN};
	struct ration_ticket ticket;
	struct scene s;

	desc.delay_ns = UINT64_C(60000000000);
	make_scene(&s, &desc);
	for (int i = 0; i < WORKERS; i++)
		s.handle[i] = world_key(s.ration[i], "t", "v", NULL, NULL);
	/* So that no refund is cut short, and the sums are exact. */
	need(ration_acquire(s.handle[0], &in_advance, 1, &ticket, NULL) == 0);
	race(&s, THREADS + 1, work);
	check(&s);
	need(world_bucket(s.ration[0], s.handle[0], "host").left == 4000 - shm_load(&s.kept));
	need(world_bucket(s.ration[0], s.handle[0], "tenant").left == 50000 - shm_load(&s.kept));
	end_scene(&s);
}

static void acquire_settle_and_cancel_over_policy_changes(void)
{
	take_together(work_or_change);
}

static void acquire_settle_and_cancel_while_somebody_looks(void)
{
	take_together(work_or_watch);
}

/* Whatever the sanitizer reports makes the exit status another one. */
int main(void)
{
	alarm(120);
	resolving_the_same_and_different_keys();
	acquire_settle_and_cancel_over_policy_changes();
	acquire_settle_and_cancel_while_somebody_looks();
	printf("Tested: 3 | Passing: 3 | Failing: 0 | Crashing: 0\n");
	return 0;
}
