/*
 * supervisor/checkpoint.h - what was spent is spent still after a reboot
 * SPDX-License-Identifier: MIT
 *
 *	checkpoint_file		the format, and what it promises
 *	checkpoint_marks	which buckets are in it, and when the next one is due
 *	checkpoint_disk		how it gets onto a disk, without anybody waiting for that
 *	checkpoint_restore	what becomes of it
 *
 * and here: when. Without a directory there are none, and all of this does nothing.
 *
 * A file is written when something changed and the period is over, or at once when a mark is half used up. So that many
 * small limits that are used up one by one do not wear out a disk, two files that were written in haste are so far apart
 * that they come to no more than 8 MiB/s, and take no more than half of the disk's time.
 */
#ifndef RATION_SUPERVISOR_CHECKPOINT_H
#define RATION_SUPERVISOR_CHECKPOINT_H

#include <stdint.h>

struct checkpoint;
struct published;
struct supervisor;

/* Take the directory and read what is there. 0, or the status to exit with after logging why. */
int checkpoint_load(struct supervisor *s);

/* What the names of limits stood for when it was made; NULL: there is none. Until checkpoint_restore(). */
const struct published *checkpoint_names(const struct supervisor *s);

/* At a fresh start, before anybody is let in. */
void checkpoint_restore(struct supervisor *s);

/* From here on they are written; the first one at once. -errno. */
int checkpoint_start(struct supervisor *s);

/*
 * Write one now, and wait until it is on disk, 5 s at most: for operators who ask for it. 0; -ENOENT: there is no directory for
 * it; -ETIMEDOUT: the disk does not answer, it may still be written; -errno.
 */
int checkpoint_save_now(struct supervisor *s);

/* The last one. Before the ledger goes: where nobody is attached, nothing need be ahead. */
void checkpoint_stop(struct supervisor *s);

#endif
