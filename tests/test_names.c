/*
 * tests/test_names.c - names are there for as long as a record has them, and then their room is free again
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/bucket.h"
#include "shm/check.h"
#include "shm/extent.h"
#include "shm/hash.h"
#include "shm/names.h"
#include "shm/reclaim.h"
#include "shm/sweep.h"
#include "shm/worker.h"
#include "support_seg.h"

#define NOW  (100 * TICKS_PER_SEC)
#define IDLE TICKS_PER_SEC

static struct hash128 identity_of(uint64_t id)
{
	return (struct hash128){{id * UINT64_C(0x9e3779b97f4a7c15) + 1, id + 1}};
}

static enum index_result insert(struct seg *seg, uint32_t slot, uint64_t id, const char *tenant,
				uint64_t now, struct bucket_ref *ret_ref)
{
	const struct bucket_spec spec = {
		.identity = identity_of(id),
		.kind = KIND_BUCKET,
		.numbers = bucket_pack(10, 1000000000, 10),
		.now = now,
		.state = {now},
		.names = {[NAME_LIMIT] = "vendor/limit", [NAME_TENANT] = tenant},
	};

	return index_insert(seg, slot, &spec, ret_ref);
}

/* The record that has this tenant's name. */
static uint32_t record(struct seg *seg, uint64_t id, const char *tenant)
{
	struct bucket_ref ref = {0, 0};

	cr_assert_eq(insert(seg, 0, id, tenant, NOW, &ref), INDEX_FOUND);
	return ref.bucket;
}

static uint32_t name_ref(const struct seg *seg, uint32_t bucket)
{
	return shm_half_load(&seg->cold[bucket].names[NAME_TENANT]);
}

static const char *tenant_of(const struct seg *seg, uint32_t bucket)
{
	static char buf[400];

	names_copy(seg, name_ref(seg, bucket), buf, sizeof(buf));
	return buf;
}

static void drop(struct seg *seg, uint32_t bucket)
{
	const struct reclaim_rule rule = {.now = NOW + 9 * IDLE, .idle = IDLE};

	cr_assert(reclaim_record(seg, bucket, &rule));
}

static uint32_t lines_used(const struct seg *seg)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < seg->n_extents; i++)
		n += shm_half_load(&seg->extent_owners[i]) != 0;
	return n;
}

/* Whole rounds, whether they pay or not. */
static void sweep_rounds(struct seg *seg, int n)
{
	while (n-- > 0) {
		struct sweep sweep = {SWEEP_BEGIN};

		sweep_slice(seg, &sweep, UINT32_MAX);
		cr_assert_neq(sweep.phase, SWEEP_MARK);
		cr_assert_eq(sweep.next, 0);
	}
}

Test(names, stored_once_and_come_back)
{
	struct seg seg = seg_make(100, 1);
	const uint32_t one = record(&seg, 1, "acme"), two = record(&seg, 2, "acme");
	char buf[5];

	cr_assert_neq(one, two);
	cr_assert(name_ref(&seg, one) != 0 && name_ref(&seg, one) == name_ref(&seg, two));
	cr_assert_str_eq(tenant_of(&seg, one), "acme");
	cr_assert_eq(lines_used(&seg), 2, "the limit's and the tenant's");
	names_copy(&seg, name_ref(&seg, one), buf, 3);
	cr_assert_str_eq(buf, "ac");
	names_copy(&seg, 0, buf, sizeof(buf));
	cr_assert_str_eq(buf, "");
	names_copy(&seg, NAME_UNKNOWN, buf, sizeof(buf));
	cr_assert_str_eq(buf, "?");
	names_copy(&seg, 99, buf, sizeof(buf));
	cr_assert_str_eq(buf, "?", "no name is there");
	seg_verify(&seg, NOW, true);
}

Test(names, of_every_length_and_alphabet)
{
	static const uint32_t sizes[] = {1, 7, 8, 9, 47, 48, 49, 112, 113, 255, 256, 319, 320};
	const char *const others[] = {"Übermütig & Söhne", "株式会社",
				      "🦊🦊🦊🦊🦊🦊🦊🦊🦊🦊🦊🦊🦊",
				      "\x01\x7f\xff\xfe", "?"};
	struct seg seg = seg_make(100, 1);
	char name[400];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const uint32_t before = lines_used(&seg);
		uint32_t bucket;

		memset(name, 'a' + (int)i, sizes[i]);
		name[sizes[i]] = '\0';
		bucket = record(&seg, i, name);
		cr_assert_str_eq(tenant_of(&seg, bucket), name);
		cr_assert_eq(lines_used(&seg) - before, (16 + sizes[i] + 63) / 64 + (i == 0));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_assert_str_eq(tenant_of(&seg, record(&seg, 50 + i, others[i])), others[i]);
	memset(name, 'x', 399);
	name[399] = '\0';
	cr_assert_eq(strlen(tenant_of(&seg, record(&seg, 99, name))), 320, "cut off");
	seg_verify(&seg, NOW, true);
}

/* Lines may have been a table of leases that somebody still means. */
Test(names, no_word_in_the_lines_is_one_that_a_tenant_chose)
{
	struct seg seg = seg_make(100, 1);
	const char *const text = "\x01\x02\x03\x04\x05\x06\x02\x80";
	const uint32_t bucket = record(&seg, 1, text);
	uint64_t chosen;

	memcpy(&chosen, text, sizeof(chosen));
	for (int i = 0; i < 8; i++)
		cr_assert_neq(shm_load(&seg.extents[name_ref(&seg, bucket) - 1].word[i]), chosen);
	cr_assert_str_eq(tenant_of(&seg, bucket), text);
}

Test(names, one_that_no_record_has_goes_after_two_rounds)
{
	struct seg seg = seg_make(100, 1);
	const uint32_t kept = record(&seg, 1, "kept"), gone = record(&seg, 2, "gone");
	char name[301];

	memset(name, 'n', 300);
	name[300] = '\0';
	drop(&seg, record(&seg, 3, name));
	drop(&seg, gone);
	cr_assert_eq(lines_used(&seg), 3 + 5);
	sweep_rounds(&seg, 1);
	cr_assert_eq(lines_used(&seg), 3 + 5);
	seg_verify(&seg, NOW, true);
	sweep_rounds(&seg, 1);
	cr_assert_eq(lines_used(&seg), 2);
	for (int i = 0; i < 9; i++)
		sweep_rounds(&seg, 1);
	cr_assert_eq(lines_used(&seg), 2);
	cr_assert_str_eq(tenant_of(&seg, kept), "kept");
	cr_assert_eq(name_ref(&seg, record(&seg, 4, "kept")), name_ref(&seg, kept), "still found");
	cr_assert_str_eq(tenant_of(&seg, record(&seg, 2, "gone")), "gone", "and made again");
	seg_verify(&seg, NOW, true);
}

Test(names, one_that_is_used_again_stays)
{
	struct seg seg = seg_make(100, 1);
	uint32_t bucket = record(&seg, 1, "comes and goes");
	const uint32_t ref = name_ref(&seg, bucket);

	for (int i = 0; i < 20; i++) {
		drop(&seg, bucket);
		sweep_rounds(&seg, 1);
		bucket = record(&seg, 1, "comes and goes");
		cr_assert_eq(name_ref(&seg, bucket), ref);
	}
	sweep_rounds(&seg, 3);
	cr_assert_str_eq(tenant_of(&seg, bucket), "comes and goes");
	seg_verify(&seg, NOW, true);
}

/* A record that is being made keeps its names however long its maker stands still. */
Test(names, a_claimed_record_keeps_its_names)
{
	const char *const names[6] = {"limit", "tenant"};
	struct seg seg = seg_make(100, 1);
	char buf[400];

	seg.workers[0].claim = 7 + 1;
	seg.cold[7].owner = 0 + 1;
	names_give(&seg, 7, names);
	sweep_rounds(&seg, 5);
	names_copy(&seg, name_ref(&seg, 7), buf, sizeof(buf));
	cr_assert_str_eq(buf, "tenant");
	worker_reap(&seg, 0, 0);
	sweep_rounds(&seg, 2);
	cr_assert_eq(lines_used(&seg), 0);
	seg_verify(&seg, NOW, true);
}

/* The supervisor was killed after it said so. */
Test(names, what_is_about_to_be_freed_is_nobodys)
{
	struct seg seg = seg_make(100, 1);
	const uint32_t one = record(&seg, 1, "acme");
	const uint32_t ref = name_ref(&seg, one);
	uint32_t two;

	drop(&seg, one);
	shm_half_store(&seg.extent_owners[ref - 1], EXTENT_NAME);
	seg_verify(&seg, NOW, true);
	two = record(&seg, 2, "acme");
	cr_assert_neq(name_ref(&seg, two), ref);
	sweep_rounds(&seg, 2);
	cr_assert_eq(shm_half_load(&seg.extent_owners[ref - 1]), 0);
	cr_assert_eq(name_ref(&seg, record(&seg, 3, "acme")), name_ref(&seg, two));
	seg_verify(&seg, NOW, true);
}

/* What a kill can leave: lines of the record's, lines that are marked and in no chain. */
Test(names, what_a_killed_worker_left_is_freed)
{
	struct seg seg = seg_make(100, 2);
	uint32_t line;

	seg.workers[1].claim = 50 + 1;
	seg.cold[50].owner = 1 + 1;
	cr_assert(extent_claim_below(&seg, 50, 3, extent_names_end(&seg), &line));
	shm_half_store(&seg.extent_owners[line], EXTENT_NAME | 1);
	worker_reap(&seg, 1, 0);
	cr_assert_eq(lines_used(&seg), 1);
	sweep_rounds(&seg, 2);
	cr_assert_eq(lines_used(&seg), 0);
	seg_verify(&seg, NOW, true);
}

/* Found by trying: they need the key, which nobody knows. */
static void in_chain_0(const struct seg *seg, uint32_t *number, char *buf, size_t size)
{
	const uint64_t key[2] = {seg->epoch_ns, 0};

	do {
		snprintf(buf, size, "%u", ++*number);
	} while (hash_keyed(key, buf, strlen(buf)).word[0] % seg->n_name_heads != 0);
}

Test(names, more_of_one_chain_than_it_may_hold)
{
	struct seg seg = seg_make(200, 1);
	uint32_t number = 0;
	char name[100][16];

	for (uint32_t i = 0; i < 100; i++) {
		in_chain_0(&seg, &number, name[i], sizeof(name[i]));
		(void)record(&seg, i, name[i]);
	}
	seg_verify(&seg, NOW, true);
	for (uint32_t i = 0; i < 100; i++)
		cr_assert_str_eq(tenant_of(&seg, record(&seg, i, name[i])), name[i]);
	for (uint32_t i = 0; i < 100; i += 2)
		drop(&seg, record(&seg, i, name[i]));
	sweep_rounds(&seg, 2);
	cr_assert_eq(lines_used(&seg), 1 + 50);
	for (uint32_t i = 1; i < 100; i += 2)
		cr_assert_str_eq(tenant_of(&seg, record(&seg, i, name[i])), name[i]);
	seg_verify(&seg, NOW, true);
}

static void long_name(uint32_t number, char buf[61])
{
	snprintf(buf, 61, "%-48s%012u", "a tenant with a long name", number);
}

Test(names, no_room_costs_only_names_until_there_is_some)
{
	struct seg seg = seg_make(400, 1);
	struct sweep sweep = {SWEEP_BEGIN};
	uint32_t bucket = 0, room = 0;
	char name[61];

	for (uint32_t i = 0; i < 399; i++) {
		long_name(i, name);
		bucket = record(&seg, i, name);
		room += strcmp(tenant_of(&seg, bucket), name) == 0;
	}
	cr_assert(room > 100 && room < 399, "%u of 60 bytes", room);
	cr_assert_eq(shm_load(&seg.control->unnamed), 399 - room);
	cr_assert_eq(shm_load(&seg.control->full), 0);
	cr_assert_str_eq(tenant_of(&seg, bucket), "?");
	(void)seg_slots(&seg, 1000, 20, 0); /* has room */
	seg_verify(&seg, NOW, true);

	cr_assert(sweep_is_short(&seg, &sweep));
	for (uint32_t i = 0; i < 399; i++) {
		struct bucket_ref ref;

		cr_assert_eq(index_find(&seg, identity_of(i), &ref), INDEX_FOUND);
		drop(&seg, ref.bucket);
	}
	for (int i = 0; i < 3; i++)
		sweep_slice(&seg, &sweep, UINT32_MAX);
	cr_assert_not(sweep_is_short(&seg, &sweep));
	long_name(1000, name);
	bucket = record(&seg, 1000, name);
	cr_assert_str_eq(tenant_of(&seg, bucket), name);
	seg_verify(&seg, NOW, true);
}

/* It goes round for as long as it pays, and only then. */
Test(names, rounds_begin_when_they_pay)
{
	struct seg seg = seg_make(64, 1);
	struct sweep sweep = {SWEEP_BEGIN};
	uint32_t first;

	for (int i = 0; i < 10; i++)
		sweep_slice(&seg, &sweep, 100);
	cr_assert_eq(shm_half_load(&seg.control->name_round), 1);
	cr_assert(extent_claim(&seg, 5, seg.n_extents / 2 + 1, &first));
	for (int i = 0; i < 100; i++)
		sweep_slice(&seg, &sweep, 100);
	cr_assert_geq(shm_half_load(&seg.control->name_round), 10);
	extent_free(&seg, 5, first, seg.n_extents / 2 + 1);
	sweep_slice(&seg, &sweep, UINT32_MAX);
	sweep_slice(&seg, &sweep, UINT32_MAX);
	cr_assert_eq(sweep.phase, SWEEP_LINES);
	shm_add(&seg.control->unnamed, 1);
	sweep_slice(&seg, &sweep, UINT32_MAX);
	cr_assert_eq(sweep.phase, SWEEP_BEGIN);
	sweep_slice(&seg, &sweep, UINT32_MAX);
	sweep_slice(&seg, &sweep, UINT32_MAX);
	cr_assert_eq(sweep.phase, SWEEP_LINES);
}

/* Whatever a stray write leaves is bounded, shows as "?", and is gone when its records are. */
Test(names, stray_writes)
{
	struct seg seg = seg_make(100, 1);
	struct sweep sweep = {SWEEP_BEGIN};
	uint32_t number = 0, bucket[4], line[4];
	char name[4][16];

	for (uint32_t i = 0; i < 4; i++) {
		in_chain_0(&seg, &number, name[i], sizeof(name[i]));
		bucket[i] = record(&seg, i, name[i]);
		line[i] = name_ref(&seg, bucket[i]) - 1;
	}
	seg.extents[line[0]].word[0] |= UINT64_C(100000) << 32; /* size */
	cr_assert_str_eq(tenant_of(&seg, bucket[0]), "?");
	seg.extents[line[1]].word[2] ^= 1; /* text */
	cr_assert_str_eq(tenant_of(&seg, bucket[1]), "?");
	cr_assert_neq(seg_check(&seg, NOW, true, NULL, NULL), 0);
	seg.extents[line[2]].word[0] = (seg.extents[line[2]].word[0] & ~UINT64_C(0xffffffff)) |
				       (line[3] + 1);                 /* next: a circle */
	seg.extent_owners[line[3]] = EXTENT_NAME | (EXTENT_NAME - 1); /* of a round to come */
	cr_assert_str_eq(tenant_of(&seg, record(&seg, 5, name[0])), name[0], "a better one");
	sweep_slice(&seg, &sweep, 5);
	shm_half_store(&seg.control->name_round, UINT32_MAX);
	for (uint32_t i = 0; i < 4; i++)
		drop(&seg, bucket[i]);
	for (int i = 0; i < 6; i++) {
		struct sweep again = {SWEEP_BEGIN};

		sweep_slice(&seg, i % 2 ? &again : &sweep, UINT32_MAX);
	}
	sweep_rounds(&seg, 3);
	cr_assert_eq(lines_used(&seg), 2, "the limit's and the better one");
	seg_verify(&seg, NOW, true);
}

/* --- processes --- */

#define TABLE   256u
#define TENANTS 20000u

struct churn {
	shm_word now;
	shm_word next; /* tenant */
	shm_word named;
	shm_word rounds[4];
	shm_word stop;
};

/* A tenant that was never there before; now and then one of a few that always are. */
static void churn_once(struct seg *seg, struct churn *churn, uint32_t who)
{
	const uint64_t turn = shm_add(&churn->rounds[who], 1);
	const uint64_t id = turn % 8 == 0 ? turn / 8 % 10 : 10 + shm_add(&churn->next, 1);
	struct bucket_ref ref;
	char name[61], buf[400];

	long_name((uint32_t)id, name);
	if (insert(seg, who, id, name, shm_load(&churn->now), &ref) != INDEX_FOUND)
		return;
	names_copy(seg, name_ref(seg, ref.bucket), buf, sizeof(buf));
	/* Whose record it is shows as long as it is that one. */
	if (shm_half_load(&seg->hot[ref.bucket].generation) != ref.generation)
		return;
	if (strcmp(buf, name) == 0)
		shm_add(&churn->named, 1);
	else if (strcmp(buf, "?") != 0 &&
		 shm_half_load(&seg->hot[ref.bucket].generation) == ref.generation)
		__builtin_trap();
}

static pid_t churner(struct seg *seg, struct churn *churn, uint32_t who)
{
	const pid_t pid = fork();

	cr_assert(pid >= 0);
	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (pid == 0 && !shm_load(&churn->stop))
		churn_once(seg, churn, who);
	if (pid == 0)
		_exit(0);
	return pid;
}

/* As the supervisor does it: some seconds pass, and it comes by. */
static void patrol(struct seg *seg, struct churn *churn, struct sweep *sweep)
{
	const uint64_t now = shm_add(&churn->now, 9 * IDLE) + 9 * IDLE;
	const struct reclaim_rule rule = {.now = now, .idle = IDLE};

	reclaim_begin(seg, &rule);
	for (uint32_t i = 0; i < seg->n_buckets; i++) {
		if (shm_load(&seg->cold[i].owner) == COLD_LINKED)
			(void)reclaim_record(seg, i, &rule);
	}
	sweep_slice(seg, sweep, 512);
}

static void patrol_until(struct seg *seg, struct churn *churn, struct sweep *sweep, uint64_t named,
			 uint32_t who)
{
	const uint64_t rounds = shm_load(&churn->rounds[who]) + 100;

	while (shm_load(&churn->named) < named || shm_load(&churn->rounds[who]) < rounds)
		patrol(seg, churn, sweep);
}

Test(names, four_processes_go_through_many_more_tenants_than_there_is_room_for, .timeout = 300)
{
	struct seg seg = seg_make(TABLE, 4), memory = seg_make(64, 1);
	struct churn *churn = (void *)memory.hot;
	struct sweep sweep = {SWEEP_BEGIN};
	struct bucket_ref ref;
	char name[61];
	pid_t pids[4];

	_Static_assert(sizeof(*churn) <= 64 * sizeof(struct seg_hot), "fits");
	cr_assert_lt(extent_names_end(&seg), TENANTS / 10, "of two lines each");
	shm_store(&churn->now, NOW);
	for (uint32_t who = 0; who < 4; who++)
		pids[who] = churner(&seg, churn, who);
	patrol_until(&seg, churn, &sweep, TENANTS / 10, 0);
	cr_assert_eq(kill(pids[0], SIGSTOP), 0);
	patrol_until(&seg, churn, &sweep, TENANTS / 5, 1);
	cr_assert_eq(kill(pids[1], SIGKILL), 0);
	cr_assert_eq(waitpid(pids[1], NULL, 0), pids[1]);
	worker_reap(&seg, 1, 0);
	patrol_until(&seg, churn, &sweep, TENANTS / 2, 2);
	sweep = (struct sweep){SWEEP_BEGIN}; /* another supervisor */
	patrol_until(&seg, churn, &sweep, TENANTS, 3);
	/* The stopped one goes on with whatever it held. */
	cr_assert_eq(kill(pids[0], SIGCONT), 0);
	patrol_until(&seg, churn, &sweep, 0, 0);
	shm_store(&churn->stop, 1);
	for (uint32_t who = 0; who < 4; who++) {
		int status = -1;

		cr_assert(who == 1 || (waitpid(pids[who], &status, 0) == pids[who] && status == 0));
	}
	seg_verify(&seg, shm_load(&churn->now), true);

	for (int i = 0; i < 10; i++)
		patrol(&seg, churn, &sweep);
	sweep_rounds(&seg, 2);
	cr_assert_eq(lines_used(&seg), 0);
	for (uint32_t i = 0; i < TABLE - 10; i++) {
		long_name(1000000 + i, name);
		cr_assert_eq(insert(&seg, 0, 1000000 + i, name, shm_load(&churn->now), &ref),
			     INDEX_FOUND);
		cr_assert_str_eq(tenant_of(&seg, ref.bucket), name);
	}
	cr_assert_eq(lines_used(&seg), 1 + 2 * (TABLE - 10));
	seg_verify(&seg, shm_load(&churn->now), true);
}
