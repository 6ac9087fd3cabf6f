/*
 * client/memory.c - memfds and their mappings
 * SPDX-License-Identifier: MIT
 */
#include "client/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ration/ration.h>

#define SIZE_SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define WRITE_SEALS (F_SEAL_WRITE | SIZE_SEALS)

static int fail(int fd)
{
	const int error = errno;

	if (fd >= 0)
		close(fd);
	return -error;
}

/* Mode 0600: whoever is handed a read-only descriptor cannot open it again for writing. */
static int make_memfd(const char *name, uint64_t size)
{
	const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0600) < 0 || fallocate(fd, 0, 0, (off_t)size) < 0)
		return fail(fd);
	return fd;
}

int memory_make_fixed(const char *name, uint64_t size, int *ret_fd, void **ret_mem)
{
	const int fd = make_memfd(name, size);
	void *mem;

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_ADD_SEALS, SIZE_SEALS) < 0)
		return fail(fd);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return fail(fd);
	*ret_mem = mem;
	*ret_fd = fd;
	return 0;
}

int memory_make_state(const struct seg_config *config, uint64_t epoch_ns, int *ret_fd,
		      struct seg *ret_seg)
{
	const uint64_t size = seg_size(config);
	void *mem;
	int result;

	if (size == 0)
		return -EINVAL;
	result = memory_make_fixed("ration-state", size, ret_fd, &mem);
	if (result < 0)
		return result;
	seg_init(mem, config, epoch_ns, ret_seg);
	shm_store(&ret_seg->control->wall_offset, (uint64_t)clock_wall_offset_ns() + epoch_ns);
	return 0;
}

static int write_all(int fd, const char *data, uint64_t size)
{
	while (size > 0) {
		const ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			size -= (uint64_t)n;
		}
	}
	return 0;
}

int memory_make_sealed(const char *name, const void *data, uint64_t size, int *ret_fd)
{
	const int fd = make_memfd(name, size);
	int result;

	if (fd < 0)
		return fd;
	result = write_all(fd, data, size);
	if (result < 0) {
		close(fd);
		return result;
	}
	if (fcntl(fd, F_ADD_SEALS, WRITE_SEALS) < 0)
		return fail(fd);
	*ret_fd = fd;
	return 0;
}

int memory_make_policy(const void *blob, uint64_t size, int *ret_fd)
{
	return memory_make_sealed("ration-policy", blob, size, ret_fd);
}

/* The size must be the file's own, and nobody may shrink it under us: no SIGBUS. */
static int check_memfd(int fd, uint64_t size, int seals_wanted)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((seals & seals_wanted) != seals_wanted || size == 0 || (uint64_t)st.st_size != size)
		return RATION_ECORRUPT;
	return 0;
}

int memory_map_fixed(int fd, uint64_t size, void **ret_mem)
{
	const int result = check_memfd(fd, size, SIZE_SEALS);
	void *mem;

	if (result < 0)
		return result;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	*ret_mem = mem;
	return 0;
}

int memory_adopt_state(int fd, const struct seg_config *config, uint64_t epoch_ns,
		       struct seg *ret_seg)
{
	void *mem;
	const int result = memory_map_fixed(fd, seg_size(config), &mem);

	/* What it writes stands there already, unless somebody scribbled. */
	if (result == 0)
		seg_init(mem, config, epoch_ns, ret_seg);
	return result;
}

int memory_map_state(int fd, uint64_t size, bool writable, struct seg *ret_seg)
{
	static const int codes[] = {
		[SEG_NOT_READY] = RATION_ENOTREADY,
		[SEG_NOT_OURS] = RATION_ELAYOUT,
		[SEG_OTHER_LAYOUT] = RATION_ELAYOUT,
		[SEG_BAD_GEOMETRY] = RATION_ECORRUPT,
	};
	const int result = check_memfd(fd, size, F_SEAL_SHRINK);
	enum seg_status status;
	void *mem;

	if (result < 0)
		return result;
	mem = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	status = seg_open(mem, size, ret_seg);
	if (status == SEG_OK)
		return 0;
	munmap(mem, size);
	return codes[status];
}

void memory_unmap_state(struct seg *seg)
{
	if (seg->base)
		munmap(seg->base, seg->size);
	memset(seg, 0, sizeof(*seg));
}

int memory_map_policy(int fd, uint64_t size, struct blob *ret_blob)
{
	int result = check_memfd(fd, size, F_SEAL_WRITE | F_SEAL_SHRINK);
	void *mem;

	if (result < 0)
		return result == RATION_ECORRUPT ? RATION_EPOLICY : result;
	mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	if (blob_open(mem, size, ret_blob))
		return 0;
	munmap(mem, size);
	return RATION_EPOLICY;
}

void memory_unmap_policy(struct blob *blob)
{
	if (blob->header)
		munmap((void *)(uintptr_t)blob->header, blob->header->size);
	memset(blob, 0, sizeof(*blob));
}
