/*
 * http/waker.c - a word that changes, as a descriptor that becomes readable
 * SPDX-License-Identifier: MIT
 */
#include "http/waker.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * A word that never stops changing must not keep the thread running; and a thread that is to end is called again after
 * this, for it may not have slept yet.
 */
#define PAUSE_NS 200000

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void *watch(void *user)
{
	struct waker *waker = user;

	while (!atomic_load(&waker->stop)) {
		const uint32_t now = load(waker->word);

		if (now == waker->value) {
			(void)syscall(SYS_futex, waker->word, FUTEX_WAIT, now, NULL, NULL, 0);
			continue;
		}
		waker->value = now;
		(void)eventfd_write(waker->fd, 1);
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	return NULL;
}

/* Signals are for the threads of the program. */
static int start_thread(struct waker *waker)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&waker->thread, NULL, watch, waker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

int waker_start(struct waker *waker, const uint32_t *word)
{
	int error;

	waker->word = word;
	waker->value = waker->seen = load(word);
	atomic_store(&waker->stop, false);
	waker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (waker->fd < 0)
		return -errno;
	error = start_thread(waker);
	if (error) {
		close(waker->fd);
		waker->fd = -1;
		return -error;
	}
	waker->running = true;
	return 0;
}

void waker_clear(struct waker *waker)
{
	eventfd_t count;

	(void)eventfd_read(waker->fd, &count);
}

bool waker_changed(struct waker *waker)
{
	const uint32_t now = load(waker->word);
	const bool changed = now != waker->seen;

	waker->seen = now;
	return changed;
}

void waker_stop(struct waker *waker)
{
	if (!waker->running)
		return;
	atomic_store(&waker->stop, true);
	(void)syscall(SYS_futex, waker->word, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (pthread_tryjoin_np(waker->thread, NULL) == EBUSY) {
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
		(void)syscall(SYS_futex, waker->word, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	close(waker->fd);
	waker->running = false;
}
