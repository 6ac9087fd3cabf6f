/*
 * client/memory.h - memfds and their mappings
 * SPDX-License-Identifier: MIT
 *
 * Functions return 0 or -errno (or a RATION_E* code where said); descriptors are close-on-exec.
 */
#ifndef RATION_CLIENT_MEMORY_H
#define RATION_CLIENT_MEMORY_H

#include <stdbool.h>

#include "shm/blob.h"
#include "shm/layout.h"

/*
 * A new state segment: fully allocated (nobody pays for it later), mode 0600, sealed against
 * shrinking and growing, mapped writable and initialised. The caller owns the descriptor and the
 * mapping.
 */
int memory_make_state(const struct seg_config *config, uint64_t epoch_ns, int *ret_fd,
		      struct seg *ret_seg);

/* Take over a state whose maker is gone, by the geometry it was made with, not what stands in it; that is put right. */
int memory_adopt_state(int fd, const struct seg_config *config, uint64_t epoch_ns,
		       struct seg *ret_seg);

/* The same for any other memory: zeroes, of a size that stays, mapped writable. */
int memory_make_fixed(const char *name, uint64_t size, int *ret_fd, void **ret_mem);
/* RATION_ECORRUPT: not of that size, or it may change. */
int memory_map_fixed(int fd, uint64_t size, void **ret_mem);

/* What is complete, as a memfd sealed against every write. */
int memory_make_sealed(const char *name, const void *data, uint64_t size, int *ret_fd);
/* A compiled policy as one. */
int memory_make_policy(const void *blob, uint64_t size, int *ret_fd);

/* Map and check. RATION_ENOTREADY, RATION_ELAYOUT, RATION_ECORRUPT (sizes that do not fit), -errno.
 */
int memory_map_state(int fd, uint64_t size, bool writable, struct seg *ret_seg);
void memory_unmap_state(struct seg *seg);

/* Map read-only and check. RATION_EPOLICY if it is not sealed, or no policy of this build; -errno.
 */
int memory_map_policy(int fd, uint64_t size, struct blob *ret_blob);
void memory_unmap_policy(struct blob *blob);

/* CLOCK_BOOTTIME in ns, and CLOCK_REALTIME - CLOCK_BOOTTIME. */
uint64_t clock_boot_ns(void);
int64_t clock_wall_offset_ns(void);

#endif
