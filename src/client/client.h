/*
 * client/client.h - libration's inside, for the layers above it
 * SPDX-License-Identifier: MIT
 *
 * Not installed. The command line and libration-embed use it; workers need <ration/ration.h> only.
 */
#ifndef RATION_CLIENT_CLIENT_H
#define RATION_CLIENT_CLIENT_H

#include <ration/ration.h>

#include "shm/blob.h"
#include "shm/chain.h"
#include "shm/index.h"
#include "shm/layout.h"

/*
 * An attachment to a segment that this process made itself (libration-embed). Takes over the
 * mapping of state and the policy descriptor. Children that are forked later find a worker slot of
 * their own in the same memory.
 */
int client_adopt(const struct seg *seg, int policy_fd, uint64_t policy_size,
		 struct ration **ret_ration, struct ration_error *ret_error);

/* Attach to a supervisor for looking only: state is mapped read-only and no worker slot is taken.
 */
int client_observe(const char *path, uint64_t wait_ns, struct ration **ret_ration,
		   struct ration_error *ret_error);

/* The memory behind an attachment. The blob stays valid until the attachment next acquires or
 * resolves. */
const struct seg *client_seg(const struct ration *ration);
const struct blob *client_blob(const struct ration *ration);

/* Under which shadow denials of a limit and class are counted (shm/contest.h). */
uint64_t client_contest_key(const struct blob *blob, uint32_t limit, uint32_t class_index);

/* Ticks now, as this process counts them. */
uint64_t client_now(const struct ration *ration);

/*
 * What the wall clock shows at `now` ticks, in ns since 1970, as windows go by it (client/wall.h): what the supervisor
 * publishes, as far as this process's own clock agrees that it can be. Reads that clock only when something changed.
 */
int64_t client_wall(struct ration *ration, uint64_t now);

/*
 * wait.c: there is room again in a bucket, at `now` ticks: wake whoever is next in line. all: everybody, for the numbers
 * have changed by which they worked out their turns. One load if nobody waits.
 */
void client_wake(struct seg *seg, uint32_t bucket, uint64_t now, bool all);

/* The key of a handle, field by field ("" for none), in the order of enum key_field. */
enum key_field {
	KEY_TENANT,
	KEY_VENDOR,
	KEY_CLASS,
	KEY_ACCOUNT,
	KEY_RESOURCE,
	KEY_FIELDS,
};
const char *client_handle_field(const struct ration_handle *handle, enum key_field field);

/*
 * The identity of the bucket that `limit` (an index of the blob) has for a key: a keyed hash of
 * vendor, limit name, kind, scope and the values of the scope's fields. field[] as
 * client_handle_field() gives them.
 */
struct hash128 client_identity(const struct blob *blob, uint32_t limit,
			       const char *const field[KEY_FIELDS]);

/* The same of a gate (shm/gate.h): which fields it is counted per, and their values. */
struct hash128 client_gate_identity(const struct blob *blob, uint32_t scope,
				    const char *const field[KEY_FIELDS]);

/* Make the gate of these fields, open, or find it. slot: that of the maker, who makes one at a time. now: ticks. */
enum index_result client_gate_make(struct seg *seg, uint32_t slot, const struct blob *blob,
				   uint32_t scope, const char *const field[KEY_FIELDS],
				   uint64_t now, struct bucket_ref *ret_gate);

/* The same for the view (shm/view.h) of a bucket, which is that of this limit for these fields. */
enum index_result client_view_make(struct seg *seg, uint32_t slot, const struct blob *blob,
				   uint32_t limit, const char *const field[KEY_FIELDS],
				   struct hash128 bucket, uint64_t now,
				   struct bucket_ref *ret_view);

/* The socket that ration_attach(NULL, ...) would use: the first of its places that exists, else the
 * last. */
const char *client_socket_path(char *buf, size_t size);

#endif
