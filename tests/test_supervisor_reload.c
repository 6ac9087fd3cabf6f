/*
 * tests/test_supervisor_reload.c - a new policy reaches live buckets and live workers, or nothing changes
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/memory.h"
#include "shm/bucket.h"
#include "shm/check.h"
#include "shm/extent.h"
#include "shm/names.h"
#include "support_rationd.h"

#define HEAD                                                                                       \
	"version: 1\n"                                                                             \
	"classes: [interactive]\n"                                                                 \
	"defaults: { delay: 0ms }\n"
#define LIMIT(name, numbers, scope)                                                                \
	"      - { name: " name ", " numbers ", scope: " scope ", margin: 0% }\n"
#define CRM "vendors:\n  crm:\n    limits:\n"

/* A vendor whose numbers are 1 an hour: what is spent in a test stays spent. */
static const char slow[] = HEAD CRM LIMIT("rate", "rate: 1/h, burst: 20", "[tenant, vendor]");
static const char slow_larger[] =
	HEAD CRM LIMIT("rate", "rate: 1/h, burst: 50", "[tenant, vendor]");
static const char slow_smaller[] =
	HEAD CRM LIMIT("rate", "rate: 1/h, burst: 5", "[tenant, vendor]");
static const char broken[] = HEAD CRM LIMIT("rate", "rate: never", "[tenant, vendor]");

static struct ration *attach(const struct rationd *r)
{
	struct ration *ration = NULL;
	struct ration_error error;

	cr_assert_eq(ration_attach(r->socket, 0, &ration, &error), 0, "%s", error.text);
	return ration;
}

static struct ration_handle *resolve(struct ration *ration, const char *tenant)
{
	const struct ration_key key = {
		.tenant = tenant, .vendor = "crm", .traffic_class = "interactive"};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

static int take(struct ration_handle *handle, uint64_t units, struct ration_denial *denial)
{
	const struct ration_cost cost = {"requests", units};
	struct ration_ticket ticket;

	return ration_acquire(handle, &cost, 1, &ticket, denial);
}

/* How many single requests are admitted before the first denial. */
static int drain(struct ration_handle *handle)
{
	int n = 0;

	while (n < 1000 && take(handle, 1, NULL) == 0)
		n++;
	return n;
}

static bucket_numbers numbers_of(struct ration *ration, const char *tenant)
{
	const struct seg *seg = client_seg(ration);
	char name[64];

	for (uint32_t i = 0; i < seg->n_buckets; i++) {
		names_copy(seg, shm_half_load(&seg->cold[i].names[NAME_TENANT]), name,
			   sizeof(name));
		if (shm_load(&seg->cold[i].owner) == COLD_LINKED && strcmp(name, tenant) == 0)
			return shm_load(&seg->hot[i].numbers);
	}
	cr_assert_fail("no bucket of tenant %s", tenant);
	return 0;
}

Test(supervisor_reload, a_live_worker_sees_changed_numbers_and_what_is_spent_stays_spent)
{
	struct ration_handle *handle;
	struct ration *ration;
	struct rationd r;

	rationd_start(&r, slow, NULL);
	ration = attach(&r);
	handle = resolve(ration, "acme");
	cr_assert_eq(take(handle, 12, NULL), 0);
	rationd_write_policy(&r, slow_larger);
	rationd_reload(&r);
	rationd_expect_log(&r, "event=reloaded generation=2 limits=1 buckets=1 changed=1", 1);
	cr_expect_eq(shm_load(&client_seg(ration)->control->policy_generation), 2);
	cr_expect_eq(drain(handle), 50 - 12);
	cr_expect_eq(client_blob(ration)->header->generation, 2, "and has taken up the policy");
	ration_handle_free(&handle);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&r), 0);
}

Test(supervisor_reload, a_smaller_burst_counts_from_now_on)
{
	struct ration_handle *used, *fresh;
	struct ration_denial denial;
	struct ration *ration;
	struct rationd r;

	rationd_start(&r, slow, NULL);
	ration = attach(&r);
	used = resolve(ration, "used");
	fresh = resolve(ration, "fresh");
	cr_assert_eq(take(used, 12, NULL), 0);
	rationd_write_policy(&r, slow_smaller);
	rationd_reload(&r);
	cr_expect_eq(take(fresh, 6, &denial), RATION_OVERSIZE);
	cr_expect_eq(denial.size, 5);
	cr_expect_eq(drain(fresh), 5);
	cr_expect_eq(drain(used), 0);
	ration_handle_free(&used);
	ration_handle_free(&fresh);
	ration_detach(&ration);
	rationd_stop(&r);
}

Test(supervisor_reload, a_broken_policy_changes_nothing)
{
	struct ration_handle *handle;
	struct ration *ration;
	struct rationd r;

	rationd_start(&r, slow, NULL);
	ration = attach(&r);
	handle = resolve(ration, "acme");
	rationd_write_policy(&r, broken);
	rationd_reload(&r);
	rationd_expect_log(&r, "event=policy-error where=\"", 1);
	rationd_expect_log(&r, "event=reload-failed ", 1);
	cr_expect(strstr(r.log, "kept-generation=1"), "%s", r.log);
	cr_expect_eq(shm_load(&client_seg(ration)->control->policy_generation), 1);
	cr_expect_eq(drain(handle), 20);
	/* The number of the refused one is used by the next. */
	rationd_write_policy(&r, slow_larger);
	rationd_reload(&r);
	rationd_expect_log(&r, "event=reloaded generation=2 ", 1);
	cr_expect_eq(drain(handle), 30);
	ration_handle_free(&handle);
	ration_detach(&ration);
	rationd_stop(&r);
}

Test(supervisor_reload, tenants_get_the_numbers_of_their_plan)
{
	static const char planned[] =
		HEAD CRM LIMIT("rate", "rate: 1/h, burst: 20", "[tenant, vendor]")
			LIMIT("all", "rate: 1/h, burst: 1000",
			      "[vendor]") "plans:\n  gold:\n    crm: { rate: { burst: 77 } }\n"
					  "tenants:\n  rich: { plan: gold }\n";
	struct ration_handle *rich, *poor;
	struct ration *ration;
	struct rationd r;

	rationd_start(&r, slow, NULL);
	ration = attach(&r);
	rich = resolve(ration, "rich");
	poor = resolve(ration, "poor");
	rationd_write_policy(&r, planned);
	rationd_reload(&r);
	rationd_expect_log(&r, "buckets=2 changed=1 orphans=0 unreadable=0", 1);
	cr_expect_eq(bucket_burst(numbers_of(ration, "rich")), 77);
	cr_expect_eq(bucket_burst(numbers_of(ration, "poor")), 20);
	cr_expect_eq(drain(rich), 77);
	cr_expect_eq(drain(poor), 20);
	rationd_write_policy(&r, slow);
	rationd_reload(&r);
	cr_expect_eq(bucket_burst(numbers_of(ration, "rich")), 20, "and loses them with it");
	ration_handle_free(&rich);
	ration_handle_free(&poor);
	ration_detach(&ration);
	rationd_stop(&r);
}

/* Other buckets count now; full ones would be the same quota once more. */
Test(supervisor_reload, a_limit_that_changes_scope_starts_spent_and_a_new_one_full)
{
	static const char wider[] = HEAD CRM LIMIT("rate", "rate: 1/h, burst: 20", "[vendor]");
	static const char another[] = HEAD CRM LIMIT("other", "rate: 1/h, burst: 9", "[vendor]");
	struct ration_handle *handle;
	struct ration *ration;
	struct rationd r;

	rationd_start(&r, slow, NULL);
	ration = attach(&r);
	handle = resolve(ration, "acme");
	cr_expect_eq(drain(handle), 20);
	rationd_write_policy(&r, wider);
	rationd_reload(&r);
	cr_expect_eq(drain(handle), 0);
	rationd_expect_log(&r, "orphans=1", 1);
	rationd_write_policy(&r, another);
	rationd_reload(&r);
	cr_expect_eq(drain(handle), 9);
	/* By the detour over another name too. */
	rationd_write_policy(&r, HEAD CRM LIMIT("rate", "rate: 1/h, burst: 20", "[class, vendor]"));
	rationd_reload(&r);
	cr_expect_eq(drain(handle), 0);
	ration_handle_free(&handle);
	ration_detach(&ration);
	rationd_stop(&r);
}

/* Asleep through any number of reloads: it wakes to the newest, and nothing piles up for it. */
Test(supervisor_reload, a_worker_that_sleeps_through_many_reloads)
{
	struct ration_handle *handle;
	struct ration *ration;
	struct rationd r;
	int before;

	rationd_start(&r, slow, NULL);
	ration = attach(&r);
	handle = resolve(ration, "acme");
	before = count_fds(r.pid);
	for (int i = 0; i < 60; i++) {
		rationd_write_policy(&r, i % 2 ? slow_smaller : slow_larger);
		rationd_reload(&r);
	}
	rationd_write_policy(&r,
			     HEAD CRM LIMIT("rate", "rate: 1/h, burst: 33", "[tenant, vendor]"));
	rationd_reload(&r);
	expect_fds(r.pid, before);
	cr_expect_eq(take(handle, 34, NULL), RATION_OVERSIZE);
	for (int i = 0; i < 1000 && client_blob(ration)->header->generation < 62; i++) {
		(void)take(handle, 34, NULL);
		usleep(10000);
	}
	cr_expect_eq(client_blob(ration)->header->generation, 62);
	ration_handle_free(&handle);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* --- the patrol --- */

/* What a worker on an older policy makes has older numbers; the supervisor brings them up to date. */
Test(supervisor_reload, a_bucket_made_with_older_numbers_is_brought_up_to_date)
{
	struct ration_handle *handle;
	struct ration *ration;
	bucket_numbers old;
	struct rationd r;
	struct seg seg;

	rationd_start(&r, slow, NULL);
	ration = attach(&r);
	seg = *client_seg(ration);
	handle = resolve(ration, "acme");
	old = numbers_of(ration, "acme");
	rationd_write_policy(&r, slow_smaller);
	rationd_reload(&r);
	cr_expect_eq(bucket_burst(numbers_of(ration, "acme")), 5);
	/* As an insert by a worker of generation 1 leaves it. */
	for (uint32_t i = 0; i < seg.n_buckets; i++)
		if (shm_load(&seg.cold[i].owner) == COLD_LINKED)
			shm_store(&seg.hot[i].numbers, old);
	for (int i = 0; i < 1000 && bucket_burst(numbers_of(ration, "acme")) != 5; i++)
		usleep(10000);
	cr_expect_eq(bucket_burst(numbers_of(ration, "acme")), 5);
	cr_expect_eq(bucket_stamp(numbers_of(ration, "acme")), 2);
	ration_handle_free(&handle);
	ration_detach(&ration);
	rationd_stop(&r);
}

/* Every word of the segment in turn, and then all at once: noticed, said, put right; never a crash. */
Test(supervisor_reload, a_scribbled_state_is_noticed_and_repaired)
{
	struct ration_handle *handle;
	struct ration *ration;
	struct rationd r;
	struct seg seg;
	uint32_t bucket = 0;

	rationd_start(&r, slow, (const char *[]){"--buckets", "64", "--workers", "2", NULL});
	ration = attach(&r);
	seg = *client_seg(ration);
	handle = resolve(ration, "acme");
	while (shm_load(&seg.cold[bucket].owner) != COLD_LINKED)
		bucket++;
	shm_store(&seg.hot[bucket].state[0], UINT64_MAX - 5);
	rationd_expect_log(&r, "event=repaired what=words", 1);
	shm_store(&seg.hot[bucket].numbers,
		  bucket_restamp(bucket_pack(1000000, 1000000000, 1000000), 1));
	rationd_expect_log(&r, "event=repaired what=numbers", 1);
	cr_expect_eq(bucket_burst(numbers_of(ration, "acme")), 20);
	shm_store(&seg.control->policy_generation, 99);
	rationd_expect_log(&r, "event=repaired what=policy-generation", 1);
	shm_store(&seg.workers[0].identity, 12345);
	rationd_expect_log(&r, "event=repaired what=worker-line", 1);
	cr_expect_geq(shm_load(&seg.control->repaired), 4);
	ration_handle_free(&handle);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* More than half of all lines are names that no record has. They go; whom they left room for can be retuned. */
Test(supervisor_reload, names_that_no_record_has_are_freed)
{
	struct ration_handle *handle;
	struct ration *ration;
	struct rationd r;
	struct seg seg;
	uint32_t first, lines, last;

	rationd_start(&r, slow, (const char *[]){"--buckets", "64", "--workers", "2", NULL});
	ration = attach(&r);
	seg = *client_seg(ration);
	lines = seg.n_extents / 2 + 1;
	cr_assert(extent_claim_below(&seg, 63, lines, extent_names_end(&seg), &first));
	for (uint32_t i = 0; i < lines; i++)
		shm_half_store(&seg.extent_owners[first + i], EXTENT_NAME | 1);
	handle = resolve(ration, "acme");
	last = first + lines - 1;
	for (int i = 0; i < 6000 && shm_half_load(&seg.extent_owners[last]) != 0; i++)
		usleep(10000);
	for (uint32_t i = 0; i < lines; i++)
		cr_assert_eq(shm_half_load(&seg.extent_owners[first + i]), 0);
	rationd_write_policy(&r, slow_larger);
	rationd_reload(&r);
	rationd_expect_log(&r, "event=reloaded generation=2 limits=1 buckets=1 changed=1", 1);
	rationd_expect_log(&r, "unreadable=0", 1);
	cr_expect_eq(bucket_burst(numbers_of(ration, "acme")), 50);
	cr_expect_eq(seg_check(&seg, UINT64_MAX / 2, true, NULL, NULL), 0);
	ration_handle_free(&handle);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&r), 0);
}

Test(supervisor_reload, a_state_of_noise_stops_nobody)
{
	struct hello_answer answer;
	struct rationd r;
	struct seg seg;
	uint64_t x = 88172645463325252u;
	int socket;

	rationd_start(&r, slow, (const char *[]){"--buckets", "64", "--workers", "2", NULL});
	answer = hello_attach(r.socket, &socket);
	cr_assert_eq(memory_map_state(answer.fds[0], answer.message.welcome.state_size, true, &seg),
		     0);
	for (uint64_t at = SEG_PAGE; at + 8 <= seg.size; at += 8) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		memcpy(seg.base + at, &x, 8);
	}
	for (uint32_t i = 0; i < seg.n_buckets; i++)
		shm_store(&seg.cold[i].owner, COLD_LINKED);
	rationd_reload(&r);
	rationd_expect_log(&r, "event=repaired", 1);
	close(socket);
	cr_assert_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	cr_expect_eq(rationd_stop(&r), 0);
}
