/*
 * tests/tsan_events.c - threads of one worker that tell events, and the supervisor that takes them
 * SPDX-License-Identifier: MIT
 *
 * Who told what stands in plain memory beside it, written before the event is put and read after it was taken: if
 * putting did not come before taking, the sanitizer would see the race.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/check.h"
#include "shm/event.h"

#define THREADS 3u
#define EACH    4000u

#define need(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                     \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct seg seg;
static uint64_t beside[THREADS * EACH]; /* plain */
static bool was_taken[THREADS * EACH];
static shm_word finished, n_put;
static unsigned n_taken;

static void *tell(void *user)
{
	const uint64_t who = (uint64_t)(uintptr_t)user;

	for (uint64_t i = who * EACH; i < (who + 1) * EACH; i++) {
		struct event event = event_of(EVENT_LIMITED, i, who);
		struct event_image image;

		event.text[EVENT_HEADERS] = "retry-after: 1";
		event_pack(&event, &image);
		beside[i] = ~i;
		if (event_put(&seg, 0, &image))
			shm_add(&n_put, 1);
		else
			sched_yield();
	}
	shm_add(&finished, 1);
	return NULL;
}

static void on_taken(void *user, const struct event_image *image)
{
	struct event_copy copy;

	(void)user;
	need(event_unpack(image, &copy));
	need(copy.event.at < THREADS * EACH && copy.event.worker == copy.event.at / EACH);
	need(strcmp(copy.event.text[EVENT_HEADERS], "retry-after: 1") == 0);
	need(beside[copy.event.at] == ~copy.event.at);
	need(!was_taken[copy.event.at]);
	was_taken[copy.event.at] = true;
	n_taken++;
}

int main(void)
{
	static const struct seg_config config = {.buckets = 1, .workers = 1};
	void *mem = aligned_alloc(SEG_PAGE, seg_size(&config));
	pthread_t threads[THREADS];
	uint32_t seen = 0;
	bool last;

	need(mem);
	memset(mem, 0, seg_size(&config));
	seg_init(mem, &config, 0, &seg);
	for (uintptr_t i = 0; i < THREADS; i++)
		need(pthread_create(&threads[i], NULL, tell, (void *)i) == 0);
	do {
		last = shm_load(&finished) == THREADS;
		(void)event_take(&seg, 0, &seen, on_taken, NULL);
	} while (!last);
	for (unsigned i = 0; i < THREADS; i++)
		need(pthread_join(threads[i], NULL) == 0);
	need(n_taken == shm_load(&n_put));
	need(n_taken + shm_load(&seg.control->events_dropped) == THREADS * EACH);
	need(seg_check(&seg, 0, true, NULL, NULL) == 0);
	printf("  ok    %u told, %llu dropped\n", n_taken,
	       (unsigned long long)shm_load(&seg.control->events_dropped));
	printf("Tested: 1 | Passing: 1 | Failing: 0 | Crashing: 0\n");
	free(mem);
	return 0;
}
