/*
 * supervisor/checkpoint_disk.c - the directory that checkpoints lie in, and the thread that writes them
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/checkpoint_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/checkpoint_file.h"

#define NS_PER_SEC UINT64_C(1000000000)
#define LAST_WAIT  (5 * NS_PER_SEC)

enum phase {
	IDLE,
	GIVEN, /* there is something to write */
	ENDED, /* its result is there */
	LEAVE,
};

struct checkpoint_disk {
	int directory;
	int ended; /* eventfd */
	bool running;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t moved;
	enum phase phase;
	void *data;
	size_t size;
	struct disk_result result;
};

/* --- one file --- */

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		const ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		data += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int write_new(int directory, const void *data, size_t size, const char **ret_step)
{
	const int fd =
		openat(directory, CHECKPOINT_NEW,
		       O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	int result;

	*ret_step = "open";
	if (fd < 0)
		return -errno;
	*ret_step = "write";
	result = write_all(fd, data, size);
	if (result == 0) {
		*ret_step = "sync";
		result = fsync(fd) < 0 ? -errno : 0;
	}
	/* What it might say, fsync() has said. */
	close(fd);
	return result;
}

static int put_in_place(int directory, const char **ret_step)
{
	*ret_step = "rename";
	if (renameat(directory, CHECKPOINT_NAME, directory, CHECKPOINT_PREVIOUS) < 0 &&
	    errno != ENOENT)
		return -errno;
	if (renameat(directory, CHECKPOINT_NEW, directory, CHECKPOINT_NAME) < 0)
		return -errno;
	*ret_step = "sync";
	return fsync(directory) < 0 ? -errno : 0;
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

struct disk_result checkpoint_disk_put(int directory, void *data, size_t size)
{
	const uint64_t begun = monotonic_ns();
	struct disk_result result = {.size = size};

	checkpoint_seal(data, size);
	result.error = write_new(directory, data, size, &result.step);
	if (result.error < 0)
		(void)unlinkat(directory, CHECKPOINT_NEW, 0);
	else
		result.error = put_in_place(directory, &result.step);
	result.ns = monotonic_ns() - begun;
	return result;
}

/* --- the thread --- */

static void tell(struct checkpoint_disk *disk)
{
	static const uint64_t one = 1;

	/* Fails only where it is readable already. */
	if (write(disk->ended, &one, sizeof(one)) < 0)
		return;
}

static void *run(void *user)
{
	struct checkpoint_disk *disk = user;

	pthread_mutex_lock(&disk->lock);
	while (disk->phase != LEAVE) {
		struct disk_result result;

		if (disk->phase != GIVEN) {
			pthread_cond_wait(&disk->moved, &disk->lock);
			continue;
		}
		pthread_mutex_unlock(&disk->lock);
		result = checkpoint_disk_put(disk->directory, disk->data, disk->size);
		free(disk->data);
		pthread_mutex_lock(&disk->lock);
		disk->data = NULL;
		disk->result = result;
		if (disk->phase == GIVEN)
			disk->phase = ENDED;
		pthread_cond_broadcast(&disk->moved);
		tell(disk);
	}
	pthread_mutex_unlock(&disk->lock);
	return NULL;
}

/* Signals are the event loop's. */
static int start_thread(struct checkpoint_disk *disk)
{
	sigset_t all, before;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&disk->thread, NULL, run, disk);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -result;
}

int checkpoint_disk_start(struct checkpoint_disk *disk)
{
	int result;

	disk->ended = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (disk->ended < 0)
		return -errno;
	result = start_thread(disk);
	disk->running = result == 0;
	return result;
}

int checkpoint_disk_fd(const struct checkpoint_disk *disk)
{
	return disk->ended;
}

static void move_to(struct checkpoint_disk *disk, enum phase phase)
{
	disk->phase = phase;
	pthread_cond_broadcast(&disk->moved);
}

bool checkpoint_disk_busy(const struct checkpoint_disk *disk)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&disk->lock;
	bool busy;

	pthread_mutex_lock(lock);
	busy = disk->phase != IDLE;
	pthread_mutex_unlock(lock);
	return busy;
}

void checkpoint_disk_write(struct checkpoint_disk *disk, void *data, size_t size)
{
	pthread_mutex_lock(&disk->lock);
	disk->data = data;
	disk->size = size;
	move_to(disk, GIVEN);
	pthread_mutex_unlock(&disk->lock);
}

/* With the lock: whether it left that phase in time. */
static bool wait_while(struct checkpoint_disk *disk, enum phase phase, uint64_t wait_ns)
{
	const uint64_t until = monotonic_ns() + wait_ns;
	const struct timespec at = {(time_t)(until / NS_PER_SEC), (long)(until % NS_PER_SEC)};
	int result = 0;

	while (disk->phase == phase && result == 0 && wait_ns > 0)
		result = pthread_cond_timedwait(&disk->moved, &disk->lock, &at);
	return disk->phase != phase;
}

bool checkpoint_disk_take(struct checkpoint_disk *disk, uint64_t wait_ns,
			  struct disk_result *ret_result)
{
	uint64_t ignored;
	bool ended;

	pthread_mutex_lock(&disk->lock);
	ended = wait_while(disk, GIVEN, wait_ns) && disk->phase == ENDED;
	if (ended) {
		*ret_result = disk->result;
		move_to(disk, IDLE);
		/* Nothing to read is as good. */
		if (read(disk->ended, &ignored, sizeof(ignored)) < 0)
			ignored = 0;
	}
	pthread_mutex_unlock(&disk->lock);
	return ended;
}

/* --- the directory --- */

static int open_directory(const char *path)
{
	int fd, error;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	error = errno;
	close(fd);
	return error == EWOULDBLOCK ? -EBUSY : -error;
}

static void init_locks(struct checkpoint_disk *disk)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&disk->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&disk->moved, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

int checkpoint_disk_open(const char *directory, struct checkpoint_disk **ret_disk)
{
	struct checkpoint_disk *disk;
	const int fd = open_directory(directory);

	if (fd < 0)
		return fd;
	disk = calloc(1, sizeof(*disk));
	if (!disk) {
		close(fd);
		return -ENOMEM;
	}
	disk->directory = fd;
	disk->ended = -1;
	init_locks(disk);
	*ret_disk = disk;
	return 0;
}

static int read_all(int fd, void **ret_data, size_t *ret_size)
{
	struct stat st;
	char *data;
	size_t done = 0;
	ssize_t n = 1;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > CHECKPOINT_SIZE_MAX)
		return -EFBIG;
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return -ENOMEM;
	while (done < (size_t)st.st_size && n != 0) {
		n = read(fd, data + done, (size_t)st.st_size - done);
		if (n < 0 && errno != EINTR) {
			free(data);
			return -errno;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	*ret_data = data;
	*ret_size = done;
	return 0;
}

int checkpoint_disk_read(struct checkpoint_disk *disk, const char *name, void **ret_data,
			 size_t *ret_size)
{
	const int fd =
		openat(disk->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -errno;
	result = read_all(fd, ret_data, ret_size);
	close(fd);
	return result;
}

void checkpoint_disk_set_aside(struct checkpoint_disk *disk, const char *name)
{
	(void)renameat(disk->directory, name, disk->directory, CHECKPOINT_DAMAGED);
}

void checkpoint_disk_close(struct checkpoint_disk **disk_ref)
{
	struct checkpoint_disk *disk = *disk_ref;
	bool stuck = false;

	*disk_ref = NULL;
	if (!disk)
		return;
	if (disk->running) {
		pthread_mutex_lock(&disk->lock);
		stuck = !wait_while(disk, GIVEN, LAST_WAIT);
		if (!stuck)
			move_to(disk, LEAVE);
		pthread_mutex_unlock(&disk->lock);
	}
	/* A disk that does not answer has our memory: it ends with the process. */
	if (stuck)
		return;
	if (disk->running)
		pthread_join(disk->thread, NULL);
	if (disk->ended >= 0)
		close(disk->ended);
	close(disk->directory);
	pthread_cond_destroy(&disk->moved);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}
