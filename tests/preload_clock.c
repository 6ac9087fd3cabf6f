/*
 * tests/preload_clock.c - a CLOCK_REALTIME that can be set, for programs that are run with this library preloaded
 * SPDX-License-Identifier: MIT
 *
 * $PRELOAD_CLOCK names a file of one int64_t: ns to add, from now on. Other clocks are what they are. (libfaketime shifts
 * the times that a program gives to timerfd_settime(2) too, whatever their clock; then rationd's timers fail.)
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const _Atomic int64_t none, *shift;

static const _Atomic int64_t *open_shift(void)
{
	const char *path = getenv("PRELOAD_CLOCK");
	const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *mem = fd >= 0 ? mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	return mem == MAP_FAILED ? &none : mem;
}

__attribute__((constructor)) static void begin(void)
{
	shift = open_shift();
}

int clock_gettime(clockid_t id, struct timespec *ret_time)
{
	const int result = (int)syscall(SYS_clock_gettime, id, ret_time);
	int64_t ns;

	if (result != 0 || id != CLOCK_REALTIME || !shift)
		return result;
	ns = (int64_t)ret_time->tv_sec * 1000000000 + ret_time->tv_nsec + *shift;
	*ret_time = (struct timespec){ns / 1000000000, ns % 1000000000};
	return 0;
}
