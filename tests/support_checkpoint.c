/*
 * tests/support_checkpoint.c - hosts that are switched off and on, with time that is injected
 * SPDX-License-Identifier: MIT
 */
#include "support_checkpoint.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/make.h"
#include "shm/rolling.h"
#include "shm/saturate.h"
#include "shm/window.h"
#include "supervisor/spent.h"
#include "support_policy.h"
#include "support_seg.h"

const char host_policy[] =
	"version: 1\n"
	"classes: [interactive]\n"
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"
	"vendors:\n"
	"  window:\n    limits:\n"
	"      - { name: l, kind: window, period: 300d, amount: 1000, scope: [tenant, vendor] }\n"
	"  rolling:\n    limits:\n"
	"      - { name: l, kind: rolling, period: 300d, amount: 1000, scope: [tenant, vendor] }\n"
	"  bucket:\n    limits:\n"
	"      - { name: l, rate: 1/h, burst: 1000, scope: [tenant, vendor] }\n"
	"  quick:\n    limits:\n"
	"      - { name: l, rate: 100/s, burst: 100, scope: [tenant, vendor] }\n";

static void complain(void *user, const struct policy_message *message)
{
	(void)user;
	cr_assert_neq(message->severity, POLICY_ERROR, "%u: %s", message->line, message->text);
}

static void restore(struct host *h, const struct host_start *start,
		    const struct checkpoint_file *file)
{
	struct restore r = {
		.seg = &h->seg,
		.slot = 1,
		.policy = &h->policy,
		.file = file,
		.far = start->far,
		.now = h->now,
		.wall = h->wall,
		.elapsed = start->elapsed,
	};

	restore_all(&r);
	if (start->ret_restore)
		*start->ret_restore = r;
}

void host_on(struct host *h, const struct host_start *start)
{
	static uint64_t key[2] = {1, 1};
	struct published before = {0};
	struct checkpoint_file file;
	struct published_from from = {.path = "policy.yaml", .hash_key = key};

	*h = (struct host){.now = CHECKPOINT_PAST_NS * TICKS_PER_NS, .wall = start->wall};
	key[0]++;
	if (start->image) {
		cr_assert_null(checkpoint_open(start->image->data, start->image->size, &file));
		h->serial = file.header->serial;
		cr_assert_eq(restore_names(&file, start->elapsed, h->now, &before), 0);
		from.before = &before;
		from.now = h->now;
	}
	policy_write("policy.yaml", start->policy, strlen(start->policy));
	cr_assert_eq(published_make(&h->policy, &from, 1, complain, NULL), 0);
	h->seg = seg_make(256, 2);
	cr_assert_eq(marks_make(&h->marks, h->seg.n_buckets), 0);
	if (start->image)
		restore(h, start, &file);
	free(before.names);
}

void host_off(struct host *h)
{
	seg_verify(&h->seg, h->now, true);
	marks_free(&h->marks);
	published_free(&h->policy);
}

void host_pass(struct host *h, uint64_t ns)
{
	h->now += ns * TICKS_PER_NS;
	h->wall += (int64_t)ns;
}

/* --- using --- */

struct key {
	const char *field[KEY_FIELDS];
	char vendor[64];
	uint32_t limit;
};

static struct key *key_of(const struct host *h, const char *limit, const char *tenant,
			  struct key *key)
{
	*key = (struct key){.limit = published_limit(&h->policy, limit)};
	cr_assert_neq(key->limit, BLOB_NO_INDEX, "%s", limit);
	snprintf(key->vendor, sizeof(key->vendor), "%.*s", (int)strcspn(limit, "/"), limit);
	for (int i = 0; i < KEY_FIELDS; i++)
		key->field[i] = "";
	key->field[KEY_TENANT] = tenant;
	key->field[KEY_VENDOR] = key->vendor;
	return key;
}

static struct bucket_ref make(struct host *h, const struct key *key, struct link *link)
{
	const struct blob *blob = &h->policy.blob;
	const struct carry c = {.seg = &h->seg, .now = h->now, .wall = h->wall};
	const uint32_t tenant = blob_find_tenant(blob, key->field[KEY_TENANT]);
	struct birth birth = {
		.blob = blob,
		.limit = key->limit,
		.numbers = blob_numbers_for(blob, key->limit, tenant),
		.link = link,
		.field = key->field,
		.identity = client_identity(blob, key->limit, key->field),
		.at = {h->now, h->wall},
		.used = birth_used(&blob->limits[key->limit], h->now),
	};
	struct bucket_ref ref;

	*link = (struct link){.bucket = 0};
	birth.before = birth.used;
	spent_shape(&c, blob, &blob->limits[key->limit], birth.numbers, link);
	cr_assert_eq(make_bucket(&h->seg, 0, &birth, &ref), INDEX_FOUND);
	return ref;
}

void host_use(struct host *h, const char *limit, const char *tenant, uint64_t units)
{
	struct key key;
	struct link link;
	const struct bucket_ref ref = make(h, key_of(h, limit, tenant, &key), &link);
	const struct charge_ref charge = {.bucket = ref.bucket, .generation = ref.generation};
	struct seg_hot *hot = &h->seg.hot[ref.bucket];
	uint64_t ignored;

	switch (h->policy.blob.limits[key.limit].kind) {
	case KIND_BUCKET:
		cr_assert_neq(bucket_debit(hot, ref.generation,
					   bucket_cost(shm_load(&hot->numbers), units), h->now),
			      DEBIT_NONE);
		break;
	case KIND_WINDOW:
		cr_assert(window_burden(hot, link.shape[WINDOW_INDEX], units, &ignored));
		break;
	default:
		cr_assert_eq(rolling_debit(&h->seg, &charge, units, h->now), DEBIT_WHOLE);
	}
}

bool host_find(const struct host *h, const char *limit, const char *tenant,
	       struct bucket_ref *ret_ref)
{
	struct key key;

	key_of(h, limit, tenant, &key);
	return index_find(&h->seg, client_identity(&h->policy.blob, key.limit, key.field),
			  ret_ref) == INDEX_FOUND;
}

static uint64_t used_of_window(const struct host *h, const struct seg_hot *hot, uint32_t limit)
{
	const struct blob *blob = &h->policy.blob;
	const struct calendar calendar = blob_calendar(blob, &blob->limits[limit]);
	struct calendar_window window;
	uint64_t used = 0;

	calendar_find(&calendar, h->wall, &window);
	for (unsigned s = 0; s < 2; s++) {
		uint64_t index, units;

		/* One ahead of the clock counts as well. */
		if (window_word(shm_load(&hot->numbers), shm_load(&hot->state[s]), &index,
				&units) &&
		    index >= window.index)
			used = most(used, units);
	}
	return used;
}

uint64_t host_used(const struct host *h, const char *limit, const char *tenant)
{
	const uint32_t i = published_limit(&h->policy, limit);
	const struct seg_hot *hot;
	struct bucket_ref ref;
	uint64_t one;

	if (!host_find(h, limit, tenant, &ref))
		return 0;
	hot = &h->seg.hot[ref.bucket];
	switch (h->policy.blob.limits[i].kind) {
	case KIND_BUCKET:
		one = bucket_cost(shm_load(&hot->numbers), 1);
		return (minus(shm_load(&hot->state[0]), h->now) + one - 1) / one;
	case KIND_WINDOW:
		return used_of_window(h, hot, i);
	default:
		return rolling_used(&h->seg, ref.bucket, h->now);
	}
}

/* --- looking and saving --- */

static struct marks_at here(struct host *h)
{
	return (struct marks_at){
		.seg = &h->seg, .policy = &h->policy, .now = h->now, .wall = h->wall};
}

void host_look(struct host *h, bool thorough)
{
	const struct marks_at at = here(h);

	marks_look(&h->marks, &at, h->seg.n_buckets, thorough);
}

struct image host_save(struct host *h)
{
	const struct marks_at at = here(h);
	struct checkpoint_draft draft;
	struct image image;

	checkpoint_begin(&draft, &h->policy, h->now);
	draft.header.serial = ++h->serial;
	draft.header.wall = draft.header.latest = h->wall;
	draft.header.boot_ns = h->now / TICKS_PER_NS;
	marks_save(&h->marks, &at, &draft, 2);
	cr_assert_eq(checkpoint_pack(&draft, &image.data, &image.size), 0);
	checkpoint_seal(image.data, image.size);
	marks_saved(&h->marks);
	return image;
}
