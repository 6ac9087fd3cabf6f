/*
 * tests/test_reclaim.c - records that remember nothing become free again, whoever stands where
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/bucket.h"
#include "shm/contest.h"
#include "shm/names.h"
#include "shm/reclaim.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"
#include "shm/worker.h"
#include "support_seg.h"

#define NOW  (100 * TICKS_PER_SEC)
#define IDLE TICKS_PER_SEC

static struct reclaim_rule rule_at(uint64_t now)
{
	return (struct reclaim_rule){.now = now, .idle = IDLE};
}

/* All that may go at that time; as patrol does it. */
static uint32_t reclaim_all(struct seg *seg, uint64_t now)
{
	const struct reclaim_rule rule = rule_at(now);
	uint32_t n = 0;

	reclaim_begin(seg, &rule);
	for (uint32_t i = 0; i < seg->n_buckets; i++) {
		if (shm_load(&seg->cold[i].owner) == COLD_LINKED)
			n += reclaim_record(seg, i, &rule);
	}
	return n;
}

static enum take take(struct seg *seg, struct bucket_ref ref, uint64_t units, uint64_t now)
{
	struct seg_hot *hot = &seg->hot[ref.bucket];
	struct bucket_view view;
	enum take result = bucket_look(hot, ref.generation, units, now, &view);

	if (result == TAKE_ADMIT)
		result = bucket_charge(hot, ref.generation, units, now, &view);
	return result;
}

static struct hash128 identity_of(uint64_t id)
{
	return (struct hash128){{id * UINT64_C(0x9e3779b97f4a7c15) + 1, id}};
}

Test(reclaim, a_bucket_goes_when_it_has_been_full_for_a_while)
{
	struct seg seg = seg_make(10, 1);
	const struct bucket_ref ref = seg_bucket(&seg, 1, 10, 10, NOW);

	cr_assert_eq(take(&seg, ref, 10, NOW), TAKE_ADMIT);
	cr_assert_eq(reclaim_all(&seg, NOW + TICKS_PER_SEC / 2), 0, "half of it is spent");
	cr_assert_eq(reclaim_all(&seg, NOW + TICKS_PER_SEC), 0, "it has only just become full");
	cr_assert_eq(reclaim_all(&seg, NOW + TICKS_PER_SEC + IDLE), 1);
	cr_assert_eq(shm_load(&seg.control->freed), 1);
	seg_verify(&seg, NOW + 2 * IDLE, true);
}

static uint64_t clock_of(void *user)
{
	return *(uint64_t *)user;
}

/* Emptied, and then its burst came down: what that does not hold is spent as long as the old one took to fill. */
Test(reclaim, a_bucket_stays_while_a_larger_burst_would_find_it_spent)
{
	struct seg seg = seg_make(4, 1);
	const struct bucket_ref ref = seg_bucket(&seg, 1, 1, 600, NOW);
	struct seg_hot *hot = &seg.hot[ref.bucket];
	uint64_t now = NOW;

	cr_assert_eq(take(&seg, ref, 600, NOW), TAKE_ADMIT);
	cr_assert(bucket_retune(hot, bucket_pack(1, 1000000000, 1), clock_of, &now));
	now = NOW + 500 * TICKS_PER_SEC;
	cr_assert_eq(reclaim_all(&seg, now), 0);
	cr_assert(bucket_retune(hot, bucket_pack(1, 1000000000, 600), clock_of, &now));
	cr_assert_lt(seg_left(&seg, ref, now), 600);
	cr_assert(bucket_retune(hot, bucket_pack(1, 1000000000, 1), clock_of, &now));
	now += 1300 * TICKS_PER_SEC;
	cr_assert_eq(reclaim_all(&seg, now), 1);
	seg_verify(&seg, now, true);
}

Test(reclaim, nobody_waits_for_it_and_nobody_has_drawn_lately)
{
	struct seg seg = seg_make(10, 1);
	const struct bucket_ref ref = seg_bucket(&seg, 1, 10, 10, NOW);
	struct seg_hot *hot = &seg.hot[ref.bucket];

	contest_mark(hot, 3);
	contest_age(hot);
	cr_assert_eq(reclaim_all(&seg, NOW + 9 * IDLE), 0);
	contest_age(hot);
	shm_half_or(&hot->kind, UINT32_C(1) << KIND_WAITERS_SHIFT);
	cr_assert_eq(reclaim_all(&seg, NOW + 9 * IDLE), 0);
	shm_half_store(&hot->kind, KIND_BUCKET);
	cr_assert_eq(reclaim_all(&seg, NOW + 9 * IDLE), 1);
}

Test(reclaim, an_old_handle_and_an_old_ticket_charge_nothing_of_the_next_life)
{
	struct seg seg = seg_make(1, 1);
	const struct bucket_ref old = seg_bucket(&seg, 1, 10, 10, NOW);
	struct seg_hot *hot = &seg.hot[0];
	struct bucket_charged charged = {.generation = old.generation};
	struct bucket_view view;
	struct bucket_pair pair;
	struct bucket_ref ref;
	uint64_t given = 0;

	cr_assert_eq(bucket_look(hot, old.generation, 5, NOW, &view), TAKE_ADMIT);
	cr_assert_eq(bucket_charge(hot, old.generation, 5, NOW, &view), TAKE_ADMIT);
	charged.ticks = view.ticks;
	charged.tat = view.tat;
	charged.refunds = view.refunds;
	cr_assert_eq(bucket_look(hot, old.generation, 5, NOW + 9 * IDLE, &view), TAKE_ADMIT);

	cr_assert_eq(reclaim_all(&seg, NOW + 9 * IDLE), 1);
	cr_assert_eq(index_find(&seg, identity_of(1), &ref), INDEX_ABSENT);
	cr_assert_eq(take(&seg, old, 1, NOW + 9 * IDLE), TAKE_STALE, "between two lives");
	ref = seg_bucket(&seg, 2, 10, 10, NOW + 9 * IDLE);
	cr_assert_eq(ref.bucket, old.bucket);
	cr_assert_eq(take(&seg, ref, 10, NOW + 9 * IDLE), TAKE_ADMIT);

	cr_assert_eq(take(&seg, old, 1, NOW + 9 * IDLE), TAKE_STALE);
	cr_assert_eq(bucket_charge(hot, old.generation, 5, NOW + 9 * IDLE, &view), TAKE_STALE,
		     "it looked before and was stopped");
	cr_assert_not(bucket_debit(hot, old.generation, 5, NOW + 9 * IDLE));
	bucket_refund_look(hot, &pair);
	(void)bucket_refund(hot, &charged, &pair, NOW + 9 * IDLE, &given);
	cr_assert_eq(given, 0);
	cr_assert_eq(seg_left(&seg, ref, NOW + 9 * IDLE), 0);
	seg_verify(&seg, NOW + 9 * IDLE, true);
}

Test(reclaim, no_life_begins_at_a_clock_that_was_read_before_another_ended)
{
	struct seg seg = seg_make(1, 1);
	struct bucket_spec spec = {
		.identity = identity_of(2),
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(10, 1000000000, 10),
		.now = NOW,
		.state = {NOW},
	};
	struct bucket_ref ref;

	(void)seg_bucket(&seg, 1, 10, 10, NOW);
	cr_assert_eq(reclaim_all(&seg, NOW + 2 * IDLE), 1);
	cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_AGAIN);
	spec.now = spec.state[0] = NOW + 2 * IDLE;
	cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FOUND);
	seg_verify(&seg, NOW + 2 * IDLE, true);
}

Test(reclaim, a_full_table_is_said_and_counted_and_has_room_again)
{
	struct seg seg = seg_make(4, 1);
	struct bucket_spec spec = {
		.identity = identity_of(9),
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(10, 1000000000, 10),
		.now = NOW + 2 * IDLE,
		.state = {NOW + 2 * IDLE},
	};
	struct bucket_ref ref;

	for (uint64_t id = 1; id <= 4; id++)
		(void)seg_bucket(&seg, id, 10, 10, NOW);
	for (uint64_t i = 1; i <= 3; i++) {
		cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FULL);
		cr_assert_eq(shm_load(&seg.control->full), i);
	}
	cr_assert_eq(reclaim_all(&seg, NOW + 2 * IDLE), 4);
	cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FOUND);
	seg_verify(&seg, NOW + 2 * IDLE, true);
}

Test(reclaim, slots_go_when_no_lease_is_held_and_their_lines_with_them)
{
	struct seg seg = seg_make(4, 1);
	const struct bucket_ref ref = seg_slots(&seg, 1, 2, 0);
	const uint64_t identity = worker_identity(0, 1, 99);
	const struct link link = {
		.bucket = ref.bucket, .generation = ref.generation, .flags = KIND_SLOTS};
	const struct demand demand = {.units = 1, .lease = slots_lease(identity, 1, NOW)};
	const struct instant at = {.now = NOW};
	struct shortage why;
	struct charge_ref charge = {.bucket = ref.bucket, .generation = ref.generation};

	seg.workers[0].identity = identity;
	cr_assert_eq(slots_charge(&seg, &link, &demand, &at, &charge.taken, &why), TAKE_ADMIT);
	cr_assert_eq(reclaim_all(&seg, NOW + 9 * IDLE), 0);
	cr_assert(slots_plausible(&seg, ref.bucket), "open as before");
	cr_assert(slots_release(&seg, &charge));
	cr_assert_eq(reclaim_all(&seg, NOW + 9 * IDLE), 1);
	for (uint32_t i = 0; i < seg.n_extents; i++)
		cr_assert_eq(shm_half_load(&seg.extent_owners[i]), 0);
	cr_assert_eq(slots_charge(&seg, &link, &demand, &at, &charge.taken, &why), TAKE_STALE);
	seg_verify(&seg, NOW, true);
}

Test(reclaim, a_window_goes_when_it_is_over)
{
	struct seg seg = seg_make(4, 1);
	struct reclaim_rule rule = rule_at(NOW);
	struct bucket_spec spec = {
		.identity = identity_of(1),
		.kind = KIND_WINDOW,
		.numbers = window_pack(100, 100000),
		.now = NOW,
	};
	struct bucket_ref ref;

	window_first(spec.numbers, 7, UINT64_MAX, spec.state);
	cr_assert_eq(index_insert(&seg, 0, &spec, &ref), INDEX_FOUND);
	cr_assert_not(reclaim_record(&seg, ref.bucket, &rule), "which window it is nobody knows");
	rule.window = 7;
	cr_assert_not(reclaim_record(&seg, ref.bucket, &rule));
	rule.window = 9;
	cr_assert(reclaim_record(&seg, ref.bucket, &rule));
	seg_verify(&seg, NOW, true);
}

/* The supervisor may be killed after any step: whoever comes next goes on. */
Test(reclaim, what_was_begun_is_finished)
{
	struct seg seg = seg_make(4, 1);
	const struct bucket_ref ref = seg_bucket(&seg, 1, 10, 10, NOW);
	struct bucket_ref again, found;

	shm_store(&seg.hot[ref.bucket].state[0], RECORD_DEAD);
	seg_verify(&seg, NOW, true);
	again = seg_bucket(&seg, 1, 10, 10, NOW);
	cr_assert_neq(again.bucket, ref.bucket, "nobody waits for it");
	cr_assert(index_unlink(&seg, ref.bucket));
	seg_verify(&seg, NOW, true);
	shm_store(&seg.hot[ref.bucket].identity[1], 0);
	cr_assert_eq(reclaim_all(&seg, NOW), 1);
	cr_assert_eq(index_find(&seg, identity_of(1), &found), INDEX_FOUND);
	cr_assert_eq(found.bucket, again.bucket);
	seg_verify(&seg, NOW, true);
}

/* --- processes --- */

#define KEYS  150u
#define TABLE 64u
#define LIVES 5000u /* that have to end */
#define STEP  10u   /* seconds between patrols */
#define PER_S 5u

struct churn {
	shm_word now;
	shm_word admitted[KEYS];
	shm_word rounds[4];
	shm_word stop;
};

static void churn_once(struct seg *seg, struct churn *churn, uint32_t who, unsigned *random)
{
	const uint64_t id = (uint64_t)rand_r(random) % KEYS, now = shm_load(&churn->now);
	const struct bucket_spec spec = {
		.identity = identity_of(id),
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(PER_S, 1000000000, PER_S),
		.now = now,
		.state = {now},
	};
	struct bucket_ref ref;

	if (index_insert(seg, who, &spec, &ref) != INDEX_FOUND)
		return;
	if (take(seg, ref, 1, now) == TAKE_ADMIT)
		shm_add(&churn->admitted[id], 1);
	shm_add(&churn->rounds[who], 1);
}

static pid_t churner(struct seg *seg, struct churn *churn, uint32_t who, unsigned seed)
{
	const pid_t pid = fork();
	unsigned random = seed + who;

	cr_assert(pid >= 0);
	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (pid == 0 && !shm_load(&churn->stop))
		churn_once(seg, churn, who, &random);
	if (pid == 0)
		_exit(0);
	return pid;
}

/* Some time passes, and the patrol comes by. Returns how many lives it ended. */
static uint64_t patrol(struct seg *seg, struct churn *churn)
{
	return reclaim_all(seg, shm_add(&churn->now, STEP * TICKS_PER_SEC) + STEP * TICKS_PER_SEC);
}

/* Until so many lives have ended, and somebody has gone so many rounds more. */
static void patrol_until(struct seg *seg, struct churn *churn, uint64_t lives, uint32_t who)
{
	const uint64_t rounds = shm_load(&churn->rounds[who]) + 100;
	uint64_t n = 0;

	while (n < lives || shm_load(&churn->rounds[who]) < rounds)
		n += patrol(seg, churn);
}

Test(reclaim, four_processes_churn_keys_while_one_is_stopped_and_one_killed, .timeout = 300)
{
	struct seg seg = seg_make(TABLE, 4), memory = seg_make(64, 1);
	struct churn *churn = (void *)memory.hot;
	const unsigned seed = (unsigned)getpid();
	uint64_t most;
	pid_t pids[4];

	_Static_assert(sizeof(*churn) <= 64 * sizeof(struct seg_hot), "fits");
	cr_log_info("seed %u", seed);
	shm_store(&churn->now, NOW);
	for (uint32_t who = 0; who < 4; who++)
		pids[who] = churner(&seg, churn, who, seed);
	patrol_until(&seg, churn, LIVES / 10, 0);
	cr_assert_eq(kill(pids[0], SIGSTOP), 0);
	patrol_until(&seg, churn, LIVES / 10, 1);
	cr_assert_eq(kill(pids[1], SIGKILL), 0);
	cr_assert_eq(waitpid(pids[1], NULL, 0), pids[1]);
	worker_reap(&seg, 1, 0);
	patrol_until(&seg, churn, LIVES, 2);
	patrol_until(&seg, churn, 0, 3);
	/* The stopped one goes on with whatever it held. */
	cr_assert_eq(kill(pids[0], SIGCONT), 0);
	patrol_until(&seg, churn, LIVES / 10, 0);
	shm_store(&churn->stop, 1);
	for (uint32_t who = 0; who < 4; who++) {
		int status = -1;

		cr_assert(who == 1 || (waitpid(pids[who], &status, 0) == pids[who] && status == 0));
	}

	seg_verify(&seg, shm_load(&churn->now), true);
	most = PER_S + (shm_load(&churn->now) - NOW) / TICKS_PER_SEC * PER_S;
	for (uint32_t id = 0; id < KEYS; id++)
		cr_assert_leq(shm_load(&churn->admitted[id]), most);
	shm_add(&churn->now, 9 * TICKS_PER_SEC);
	(void)patrol(&seg, churn);
	for (uint32_t i = 0; i < TABLE; i++)
		cr_assert_eq(shm_load(&seg.cold[i].owner), COLD_FREE);
	seg_verify(&seg, shm_load(&churn->now), true);
}

/* --- how large, how many --- */

#define MILLION 1000000u
#define LIMITS  5u

/* As clients make one: a tenant's name, of the length of a UUID, and one of few limits. */
static struct bucket_ref plain_bucket(struct seg *seg, uint64_t id, uint64_t now)
{
	char limit[32], tenant[37];
	const struct bucket_spec spec = {
		.identity = identity_of(id),
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(10, 1000000000, 10),
		.now = now,
		.state = {now},
		.names = {[NAME_LIMIT] = limit, [NAME_TENANT] = tenant},
	};
	struct bucket_ref ref = {0, 0};

	snprintf(limit, sizeof(limit), "vendor/limit-%llu", (unsigned long long)id % LIMITS);
	snprintf(tenant, sizeof(tenant), "%036llu", (unsigned long long)id / LIMITS);
	cr_assert_eq(index_insert(seg, 0, &spec, &ref), INDEX_FOUND);
	return ref;
}

static bool has_its_name(const struct seg *seg, uint64_t id, uint32_t bucket)
{
	char tenant[37], buf[64];

	snprintf(tenant, sizeof(tenant), "%036llu", (unsigned long long)id / LIMITS);
	names_copy(seg, shm_half_load(&seg->cold[bucket].names[NAME_TENANT]), buf, sizeof(buf));
	return strcmp(buf, tenant) == 0;
}

static uint64_t bytes_of(int fd)
{
	struct stat stat;

	cr_assert_eq(fstat(fd, &stat), 0);
	return (uint64_t)stat.st_blocks * 512;
}

/* All in: what the kernel had to give for a million buckets, with their index and all their names, of 200,000 tenants. */
Test(reclaim, a_million_buckets_at_160_bytes, .timeout = 300)
{
	const struct seg_config config = {.buckets = MILLION, .workers = 1};
	const uint64_t size = seg_size(&config);
	const int fd = memfd_create("million", MFD_CLOEXEC);
	struct bucket_ref ref;
	struct seg seg;
	uint64_t empty;
	void *mem;

	cr_assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert(mem != MAP_FAILED);
	seg_init(mem, &config, 0, &seg);
	cr_assert_leq(size, UINT64_C(300) << 20);
	empty = bytes_of(fd);
	for (uint64_t id = 0; id < MILLION; id++)
		(void)plain_bucket(&seg, id, NOW);
	cr_log_info("%.1f bytes a bucket", (double)(bytes_of(fd) - empty) / MILLION);
	cr_assert_leq(bytes_of(fd) - empty, UINT64_C(160) * MILLION);
	for (uint64_t id = 0; id < MILLION; id++) {
		cr_assert_eq(index_find(&seg, identity_of(id), &ref), INDEX_FOUND);
		cr_assert(id % 16 != 0 || has_its_name(&seg, id, ref.bucket));
	}
	seg_verify(&seg, NOW, true);
	cr_assert_eq(reclaim_all(&seg, NOW + 2 * IDLE), MILLION);
	cr_assert_eq(index_find(&seg, identity_of(7), &ref), INDEX_ABSENT);
	(void)plain_bucket(&seg, 7, NOW + 2 * IDLE);
	seg_verify(&seg, NOW + 2 * IDLE, true);
	munmap(mem, size);
	close(fd);
}
