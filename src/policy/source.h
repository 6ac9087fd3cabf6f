/*
 * policy/source.h - the files a policy is read from
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_POLICY_SOURCE_H
#define RATION_POLICY_SOURCE_H

#include <sys/types.h>

#include "policy/notes.h"

/* Bounds, so that no file can keep the compiler busy for long. ration-policy(5) names them. */
enum {
	SOURCE_BYTES_MAX = 16 * 1024 * 1024, /* of one file, and of all together */
	SOURCE_FILES_MAX = 1000,
	SOURCE_CHAIN_MAX = 8, /* files that include each other in a row */
};

struct source {
	const char *path;              /* as messages show it */
	const char *what;              /* "a policy", unless another is written: for messages */
	uint32_t order;                /* of reading: 0 is the policy itself */
	uint32_t chain;                /* how many files include each other down to this one */
	const struct source *includer; /* NULL: the policy itself */
	dev_t device;
	ino_t inode;
	const char *text; /* valid UTF-8, no byte order mark */
	size_t size;
};

static inline const char *source_what(const struct source *source)
{
	return source->what ? source->what : "a policy";
}

static inline struct place source_place(const struct source *source)
{
	return (struct place){.source = source};
}

/*
 * Open and stat: fills in device and inode. Returns a descriptor, or -errno (also -EISDIR, and -ENODEV for anything
 * else that is not a regular file).
 */
int source_open(struct source *source);

/*
 * Read all of it. *left is how many bytes may still be read, of all files together. False after an error was noted:
 * unreadable, too large, or not UTF-8 text.
 */
bool source_read(struct source *source, int fd, struct notes *notes, size_t *left);

#endif
