/*
 * http/waker.h - a word that changes, as a descriptor that becomes readable
 * SPDX-License-Identifier: MIT
 *
 * For loops that wait for descriptors and stand in line too (ration_wait_word()). A thread sleeps on the word; io_uring
 * could do that only from Linux 6.7 on, and a thread that sleeps costs no more than the ring does.
 */
#ifndef RATION_HTTP_WAKER_H
#define RATION_HTTP_WAKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct waker {
	int fd; /* readable after each change, until waker_clear() */
	bool running;
	atomic_bool stop;
	const uint32_t *word;
	uint32_t value; /* the thread's: as it saw it last */
	uint32_t seen;  /* the loop's */
	pthread_t thread;
};

/*
 * Changes from now on are told. word must stay mapped until waker_stop(). 0 or -errno: then fd is -1, and whoever
 * stands in line is on his own estimate.
 */
int waker_start(struct waker *waker, const uint32_t *word);
void waker_clear(struct waker *waker);
/* Whether the word has changed since the start, or since the loop asked this last. */
bool waker_changed(struct waker *waker);
/* Harmless if it never ran (zeroed memory). */
void waker_stop(struct waker *waker);

#endif
