/*
 * tests/support_seg.c - a segment in anonymous shared memory
 * SPDX-License-Identifier: MIT
 */
#include "support_seg.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/bucket.h"
#include "shm/check.h"
#include "shm/slots.h"

static void *shared(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(mem != MAP_FAILED);
	return mem;
}

struct seg seg_make(uint32_t buckets, uint32_t workers)
{
	const struct seg_config config = {.buckets = buckets, .workers = workers};
	struct seg seg;

	seg_init(shared(seg_size(&config)), &config, 0, &seg);
	return seg;
}

static void complain(void *user, const char *what, uint32_t where)
{
	(void)user;
	cr_log_error("%s (%u)", what, where);
}

void seg_verify(const struct seg *seg, uint64_t now, bool quiet)
{
	cr_assert_eq(seg_check(seg, now, quiet, complain, NULL), 0);
}

struct bucket_ref seg_bucket(struct seg *seg, uint64_t id, uint64_t amount, uint64_t burst,
			     uint64_t now)
{
	const struct bucket_spec spec = {
		.identity = {{id * UINT64_C(0x9e3779b97f4a7c15) + 1, id}},
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(amount, 1000000000, burst),
		.now = now,
		.state = {now},
	};
	struct bucket_ref ref = {0, 0};

	cr_assert(spec.numbers != 0);
	cr_assert_eq(index_insert(seg, 0, &spec, &ref), INDEX_FOUND);
	return ref;
}

struct slots_wanted {
	uint64_t numbers;
	uint32_t words;
};

static uint64_t fill_slots(struct seg *seg, uint32_t bucket, uint32_t first_line, void *user)
{
	const struct slots_wanted *wanted = user;

	slots_first(seg, bucket, first_line, wanted->words, wanted->numbers, 0, false);
	return 0;
}

struct bucket_ref seg_slots(struct seg *seg, uint64_t id, uint32_t slots, uint64_t hold_ns)
{
	struct slots_wanted wanted = {slots_pack(slots, hold_ns, 0), slots_table_words(slots)};
	const struct bucket_spec spec = {
		.identity = {{id * UINT64_C(0x9e3779b97f4a7c15) + 1, id}},
		.kind = KIND_SLOTS,
		.numbers = wanted.numbers,
		.extent_lines = wanted.words / 8,
		.fill = fill_slots,
		.user = &wanted,
	};
	struct bucket_ref ref = {0, 0};

	cr_assert(spec.numbers != 0);
	cr_assert_eq(index_insert(seg, 0, &spec, &ref), INDEX_FOUND);
	return ref;
}

uint64_t seg_left(const struct seg *seg, struct bucket_ref ref, uint64_t now)
{
	struct bucket_view view;

	(void)bucket_look(&seg->hot[ref.bucket], ref.generation, 0, now, &view);
	return bucket_left(&view, now);
}

void seg_race(struct seg *seg, int n, void (*work)(struct seg *seg, int who, void *user),
	      void *user)
{
	shm_word *go = shared(sizeof(*go));
	pid_t pids[64];

	cr_assert(n <= 64);
	for (int i = 0; i < n; i++) {
		pids[i] = fork();
		cr_assert(pids[i] >= 0);
		if (pids[i] == 0) {
			while (!shm_load(go))
				;
			work(seg, i, user);
			_exit(0);
		}
	}
	shm_store(go, 1);
	for (int i = 0; i < n; i++) {
		int status = -1;

		cr_assert(waitpid(pids[i], &status, 0) == pids[i] && status == 0);
	}
	munmap(go, sizeof(*go));
}
