/*
 * supervisor/checkpoint_disk.h - the directory that checkpoints lie in, and the thread that writes them
 * SPDX-License-Identifier: MIT
 *
 *	checkpoint		the last one
 *	checkpoint.previous	the one before
 *	checkpoint.new		being written
 *	checkpoint.damaged	was found where one of the first two should have been
 *
 * A file is written whole under the third name and synced before the first becomes the second and the third the first;
 * then the directory is synced. So whenever the power goes, what stands under the first two names is whole, and one of them
 * is there.
 *
 * A disk may take seconds, and write(2), fsync(2) and rename(2) wait for it. So that the event loop does not, they are done
 * by one thread, which has nothing but a block of memory that was given to it and gives back an error number. io_uring would
 * do the same by threads of the kernel, which hardened hosts forbid, and there would be six completions to follow.
 */
#ifndef RATION_SUPERVISOR_CHECKPOINT_DISK_H
#define RATION_SUPERVISOR_CHECKPOINT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECKPOINT_NAME     "checkpoint"
#define CHECKPOINT_PREVIOUS "checkpoint.previous"
#define CHECKPOINT_NEW      "checkpoint.new"
#define CHECKPOINT_DAMAGED  "checkpoint.damaged"

struct checkpoint_disk;

/* How a write went. */
struct disk_result {
	int error;        /* 0 or -errno */
	const char *step; /* that failed: open, write, sync, rename */
	uint64_t ns;      /* that it took */
	size_t size;
};

/*
 * Make the directory if there is none (mode 0700; not those above it), and keep others out of it for as long as this is open.
 * -EBUSY: somebody else has it; -errno.
 */
int checkpoint_disk_open(const char *directory, struct checkpoint_disk **ret_disk);

/* All of a file, malloc'd. -ENOENT, -EFBIG, -EINVAL (no plain file), -errno. */
int checkpoint_disk_read(struct checkpoint_disk *disk, const char *name, void **ret_data,
			 size_t *ret_size);

/* Out of the way, so that it never takes the place of a good one. */
void checkpoint_disk_set_aside(struct checkpoint_disk *disk, const char *name);

/* From here on there is a thread. -errno. */
int checkpoint_disk_start(struct checkpoint_disk *disk);

/* Readable when a write has ended. */
int checkpoint_disk_fd(const struct checkpoint_disk *disk);

/* Whether a write was begun whose result nobody has taken. */
bool checkpoint_disk_busy(const struct checkpoint_disk *disk);

/* Seal and write; takes over data, which was malloc'd. Not while it is busy. */
void checkpoint_disk_write(struct checkpoint_disk *disk, void *data, size_t size);

/* Take the result of the write that was begun, after waiting for it up to so long. False: it has not ended, or there is none. */
bool checkpoint_disk_take(struct checkpoint_disk *disk, uint64_t wait_ns,
			  struct disk_result *ret_result);

/* A write that goes on gets 5 s to end. */
void checkpoint_disk_close(struct checkpoint_disk **disk);

/* One file, as the thread does it. */
struct disk_result checkpoint_disk_put(int directory, void *data, size_t size);

#endif
