/*
 * tests/model/reference.c - time, and an exact account of what was admitted when
 * SPDX-License-Identifier: MIT
 */
#include "reference.h"

#include "shm/bucket.h"
#include "shm/check.h"
#include "shm/worker.h"

struct notes *notes(void)
{
	return (struct notes *)(void *)world.base;
}

uint64_t now(void)
{
	return shm_load(&notes()->now);
}

uint64_t now_again(void *user)
{
	(void)user;
	return now();
}

void op_tick(void *self, const struct op *op)
{
	(void)self;
	shm_add(&notes()->now, op->a);
}

struct permit *note_permit(unsigned bucket, uint64_t at, uint64_t units)
{
	struct permit *permit = notes()->permits[bucket][model_self()];

	while (permit->units != 0)
		permit++;
	*permit = (struct permit){.at = at, .units = units};
	return permit;
}

static uint64_t kept_between(unsigned bucket, uint64_t from, uint64_t to)
{
	const struct permit *p = notes()->permits[bucket][0];
	uint64_t sum = 0;

	for (unsigned i = 0; i < ACTORS_MAX * PERMITS_MAX; i++) {
		if (p[i].units != 0 && p[i].at >= from && p[i].at <= to)
			sum += p[i].units - p[i].back;
	}
	return sum;
}

uint64_t noted_units(unsigned bucket)
{
	return kept_between(bucket, 0, UINT64_MAX);
}

void check_never_over(unsigned bucket, uint64_t burst, uint64_t units, uint64_t ticks)
{
	const struct permit *p = notes()->permits[bucket][0];

	for (unsigned i = 0; i < ACTORS_MAX * PERMITS_MAX; i++) {
		for (unsigned j = 0; j < ACTORS_MAX * PERMITS_MAX; j++) {
			const uint64_t from = p[i].at, to = p[j].at;
			uint64_t kept;

			if (p[i].units == 0 || p[j].units == 0 || to < from)
				continue;
			kept = kept_between(bucket, from, to);
			if (kept > burst + (to - from) * units / ticks)
				model_fail("bucket %u admitted %u units within %u ticks", bucket,
					   (unsigned)kept, (unsigned)(to - from));
		}
	}
}

uint64_t numbers_of(uint64_t ticks, uint64_t burst)
{
	return bucket_pack(TICKS_PER_SEC, ticks * UINT64_C(1000000000), burst);
}

struct bucket_ref make_bucket(uint64_t id, uint64_t ticks, uint64_t burst, uint64_t spent)
{
	const struct bucket_spec spec = {
		.identity = {{id, 1}},
		.kind = KIND_BUCKET,
		.numbers = numbers_of(ticks, burst),
		.state = {T0 + spent * ticks},
	};
	struct bucket_ref ref = {0, 0};

	if (spec.numbers == 0 || index_insert(&world.seg, 0, &spec, &ref) != INDEX_FOUND)
		model_fail("no bucket");
	return ref;
}

static void complain(void *user, const char *what, uint32_t where)
{
	(void)user;
	model_fail("seg_check: %s (%u)", what, where);
}

void check_segment(void)
{
	for (uint32_t i = 0; i < world.seg.n_workers && i < ACTORS_MAX; i++) {
		if (model_killed((int)i))
			worker_reap(&world.seg, i, 0);
	}
	(void)seg_check(&world.seg, atomic_load(&notes()->now), true, complain, NULL);
}
