/*
 * tests/smoke_musl.c - libration works with another libc: a segment made by hand, a bucket, a fork
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/memory.h"
#include "shm/index.h"

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "failed: %s\n", #what);                                    \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int spend(struct seg *seg, struct bucket_ref ref, uint64_t now)
{
	struct seg_hot *hot = &seg->hot[ref.bucket];
	struct bucket_view view;
	int granted = 0;

	while (bucket_look(hot, ref.generation, 1, now, &view) == TAKE_ADMIT &&
	       bucket_charge(hot, ref.generation, 1, now, &view) == TAKE_ADMIT)
		granted++;
	return granted;
}

int main(void)
{
	const struct seg_config config = {.buckets = 64, .workers = 2};
	const uint64_t now = TICKS_PER_SEC;
	struct bucket_spec spec = {
		.identity = {{1, 2}},
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(10, 1000000000, 10),
		.state = {now},
	};
	struct ration_error error;
	struct ration *ration;
	struct bucket_ref ref;
	struct seg seg;
	int fd, status;
	pid_t pid;

	CHECK(memory_make_state(&config, clock_boot_ns(), &fd, &seg) == 0);
	CHECK(index_insert(&seg, 0, &spec, &ref) == INDEX_FOUND);
	pid = fork();
	if (pid == 0)
		_exit(spend(&seg, ref, now));
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 10);
	CHECK(spend(&seg, ref, now) == 0);
	CHECK(ration_attach("/nonexistent/ration.sock", 0, &ration, &error) == RATION_ESUPERVISOR);
	CHECK(strstr(error.text, "/nonexistent/ration.sock") != NULL);
	CHECK(strlen(ration_strerror(-2)) > 0);
	close(fd);
	puts("ok");
	return 0;
}
