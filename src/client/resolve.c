/*
 * client/resolve.c - from a key to the chain of its buckets
 * SPDX-License-Identifier: MIT
 *
 * A handle publishes its chain word by word under a sequence number: whoever reads checks
 * afterwards that the number is even and has not moved. A reader that finds it otherwise builds the
 * chain on its own stack and uses that.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/attachment.h"
#include "client/gate.h"
#include "shm/index.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/utf8.h"
#include "shm/window.h"
#include "shm/worker.h"

/* --- the words of a handle --- */

static uint64_t halves(uint32_t low, uint32_t high)
{
	return (uint64_t)high << 32 | low;
}

static void put(struct ration_handle *handle, size_t i, uint64_t word)
{
	atomic_store_explicit(&handle->chain[i], word, memory_order_relaxed);
}

_Static_assert(sizeof(((struct link *)0)->shape) == sizeof(uint64_t[LINK_SHAPE_WORDS - 1]),
	       "and the mark");

static void put_link(struct ration_handle *handle, size_t i, const struct link *link)
{
	const size_t at = CHAIN_LINK_AT(i), shape = CHAIN_SHAPE_AT(i);

	put(handle, at, halves(link->bucket, link->generation));
	put(handle, at + 1, halves(link->unit, link->flags));
	put(handle, at + 2, link->default_cost);
	put(handle, at + 3, link->numbers);
	put(handle, at + 4, link->ticks);
	put(handle, at + 5, link->room);
	put(handle, shape, link->mark);
	for (size_t k = 0; k < LINK_SHAPE_WORDS - 1; k++)
		put(handle, shape + 1 + k, link->shape[k]);
}

/*
 * Whose number it is tells a process that was forked while its parent published: nobody will finish that
 * here, so it is taken over.
 */
void handle_publish(struct ration_handle *handle, const struct chain *chain)
{
	const uint32_t pid = worker_pid(atomic_load(&handle->ration->identity));
	uint64_t seen = atomic_load_explicit(&handle->sequence, memory_order_relaxed);
	const uint64_t odd = halves((uint32_t)seen + 1 + (uint32_t)(seen & 1), pid);

	if (((seen & 1) && seen >> 32 == pid) ||
	    !atomic_compare_exchange_strong_explicit(&handle->sequence, &seen, odd,
						     memory_order_acquire, memory_order_relaxed))
		return; /* another thread is publishing */
	atomic_thread_fence(memory_order_release);
	put(handle, 0, chain->head.policy_generation);
	put(handle, 1, chain->head.delay);
	put(handle, 2, halves(chain->head.serial, chain->head.flags));
	put(handle, 3, halves(chain->head.n_links, chain->head.gates));
	put(handle, 4, (uint64_t)chain->head.from);
	put(handle, 5, (uint64_t)chain->head.until);
	for (size_t i = 0; i < chain->head.n_links; i++)
		put_link(handle, i, &chain->links[i]);
	for (size_t i = 0; i < chain_gates(&chain->head); i++) {
		const struct link *gate = &chain->links[chain->head.n_links + i];

		put(handle, CHAIN_GATE_AT(i), halves(gate->bucket, gate->generation));
	}
	atomic_store_explicit(&handle->sequence, halves((uint32_t)odd + 1, pid),
			      memory_order_release);
}

bool handle_copy(const struct ration_handle *handle, struct chain *ret_chain)
{
	const uint64_t begun = handle_begin(handle);

	ret_chain->head = handle_head(handle);
	if (ret_chain->head.n_links > RATION_LINKS_MAX ||
	    chain_gates(&ret_chain->head) > RATION_GATES_MAX)
		return false;
	for (size_t i = 0; i < ret_chain->head.n_links; i++) {
		struct link *link = &ret_chain->links[i];

		*link = handle_link(handle, i);
		link->mark = handle_word(handle, CHAIN_SHAPE_AT(i));
		for (size_t k = 0; k < LINK_SHAPE_WORDS - 1; k++)
			link->shape[k] = handle_word(handle, CHAIN_SHAPE_AT(i) + 1 + k);
	}
	for (size_t i = 0; i < chain_gates(&ret_chain->head); i++)
		gates_link(&ret_chain->head, handle_gate(handle, i),
			   &ret_chain->links[ret_chain->head.n_links + i]);
	return handle_same(handle, begun);
}

/* --- identities --- */

struct bytes {
	size_t used;
	unsigned char data[2048]; /* 2 names of 63, 5 fields of 256, and their lengths */
};

/* Length first: no two lists of strings have the same bytes. */
static void add_string(struct bytes *bytes, const char *text)
{
	const size_t n = strlen(text);

	if (n > RATION_KEY_MAX || bytes->used + n + 2 > sizeof(bytes->data))
		return;
	bytes->data[bytes->used++] = (unsigned char)n;
	bytes->data[bytes->used++] = (unsigned char)(n >> 8);
	memcpy(bytes->data + bytes->used, text, n);
	bytes->used += n;
}

static void add_number(struct bytes *bytes, uint64_t number)
{
	for (int i = 0; i < 8; i++)
		bytes->data[bytes->used++] = (unsigned char)(number >> 8 * i);
}

/* What makes the words of a record mean something else: another period or another calendar is another bucket. */
static void add_shape(const struct blob *blob, const struct blob_limit *limit, struct bytes *bytes)
{
	if (limit->kind != KIND_WINDOW && limit->kind != KIND_ROLLING)
		return;
	add_number(bytes, limit->numbers.period_ns);
	if (limit->kind == KIND_ROLLING) {
		add_number(bytes, limit->numbers.delay_ns);
		return;
	}
	add_number(bytes, limit->calendar);
	add_number(bytes, (uint64_t)limit->offset_ns);
	add_string(bytes, limit->zone == BLOB_NO_INDEX
				  ? ""
				  : blob_text(blob, blob->zones[limit->zone].name));
}

struct hash128 client_identity(const struct blob *blob, uint32_t limit,
			       const char *const field[KEY_FIELDS])
{
	const struct blob_limit *l = &blob->limits[limit];
	struct bytes bytes = {.used = 2, .data = {(unsigned char)l->kind, (unsigned char)l->scope}};
	struct hash128 identity;

	add_number(&bytes, l->life);
	add_shape(blob, l, &bytes);
	add_string(&bytes, blob_text(blob, l->vendor));
	add_string(&bytes, blob_text(blob, l->name));
	for (int i = 0; i < KEY_FIELDS; i++)
		add_string(&bytes, l->scope & 1u << i ? field[i] : "");
	identity = hash_keyed(blob->header->hash_key, bytes.data, bytes.used);
	if (identity.word[0] == 0 && identity.word[1] == 0)
		identity.word[0] = 1;
	return identity;
}

struct hash128 client_gate_identity(const struct blob *blob, uint32_t scope,
				    const char *const field[KEY_FIELDS])
{
	struct bytes bytes = {.used = 2, .data = {KIND_GATE, (unsigned char)scope}};
	struct hash128 identity;

	for (int i = 0; i < KEY_FIELDS; i++)
		add_string(&bytes, scope & 1u << i ? field[i] : "");
	identity = hash_keyed(blob->header->hash_key, bytes.data, bytes.used);
	if (identity.word[0] == 0 && identity.word[1] == 0)
		identity.word[0] = 1;
	return identity;
}

/* --- building a chain --- */

struct resolving {
	struct ration *ration;
	const struct blob *blob;
	const char *const *field;
	uint32_t tenant; /* index, or BLOB_NO_INDEX */
	uint32_t vendor;
	uint32_t class_index;
	uint64_t now;
	int64_t wall;
	struct ration_error *error;
};

static enum index_result find_bucket(const struct resolving *res, uint32_t limit,
				     const struct link *link, struct bucket_ref *ret_ref)
{
	struct ration *ration = res->ration;
	const struct birth birth = {
		.blob = res->blob,
		.limit = limit,
		.numbers = blob_numbers_for(res->blob, limit, res->tenant),
		.link = link,
		.field = res->field,
		.identity = client_identity(res->blob, limit, res->field),
		.at = {res->now, res->wall},
		.used = birth_used(&res->blob->limits[limit], res->now),
		.before = birth_used(&res->blob->limits[limit], res->now),
	};
	enum index_result result = index_find(&ration->seg, birth.identity, ret_ref);

	if (result != INDEX_ABSENT || ration->observer)
		return result;
	/* One insert at a time for each slot; a signal handler or thread that meets another tries
	 * again. */
	if (atomic_flag_test_and_set(&ration->inserting))
		return INDEX_AGAIN;
	result = make_bucket(&ration->seg, atomic_load(&ration->slot), &birth, ret_ref);
	atomic_flag_clear(&ration->inserting);
	return result;
}

static const int index_codes[] = {
	[INDEX_FOUND] = 0,
	[INDEX_ABSENT] = RATION_EFULL,
	[INDEX_FULL] = RATION_EFULL,
	[INDEX_CORRUPT] = RATION_ECORRUPT,
	[INDEX_AGAIN] = RATION_CONTENDED,
};

/* --- a link, as the handle keeps it --- */

static void narrow(struct chain_head *head, int64_t from, int64_t until)
{
	head->flags |= CHAIN_WALL;
	if (from > head->from)
		head->from = from;
	if (until < head->until)
		head->until = until;
}

/* Which window it is, for as long as it is. */
static void shape_window(const struct resolving *res, const struct blob_limit *limit,
			 struct link *link, struct chain_head *head)
{
	const struct blob_vendor *vendor = &res->blob->vendors[res->vendor];
	const struct calendar calendar = blob_calendar(res->blob, limit);
	struct calendar_window window;

	calendar_find(&calendar, res->wall, &window);
	link->shape[WINDOW_INDEX] = window.index;
	link->shape[WINDOW_START] = (uint64_t)window.start;
	link->shape[WINDOW_END] = (uint64_t)window.end;
	link->shape[WINDOW_BEFORE] = vendor->clock_skew_ns + limit->numbers.delay_ns;
	link->shape[WINDOW_AFTER] = vendor->clock_skew_ns;
	narrow(head, window.start, window.end);
}

static void shape_slots(uint64_t range, struct link *link)
{
	link->shape[SLOTS_OWN_FIRST] = range & 0xffff;
	link->shape[SLOTS_OWN_COUNT] = range >> 16 & 0xffff;
	link->shape[SLOTS_SHARED_FIRST] = range >> 32 & 0xffff;
	link->shape[SLOTS_CEILING] = range >> 48;
}

static void shape_link(const struct resolving *res, const struct blob_limit *limit,
		       const struct blob_numbers *numbers, struct link *link,
		       struct chain_head *head)
{
	const uint64_t by_class = numbers->by_class[res->class_index];

	switch (limit->kind) {
	case KIND_WINDOW:
		shape_window(res, limit, link, head);
		break;
	case KIND_ROLLING:
		link->shape[ROLLING_CELL_TICKS] =
			rolling_cell_ticks(numbers->period_ns, numbers->delay_ns);
		break;
	case KIND_SLOTS:
		shape_slots(by_class, link);
		link->shape[SLOTS_FIFO] = (limit->flags & LIMIT_FIFO) != 0;
		link->flags |= LINK_HAS_DEFAULT;
		link->default_cost = 1;
		head->flags |= CHAIN_SLOTS;
		return;
	default:
		break;
	}
	link->mark = by_class;
}

/* Whether policy, class and limit (NULL: a gate) all mean it just now, as far as the class is concerned. */
static bool enforced(const struct resolving *res, const struct blob_limit *limit,
		     struct chain_head *head)
{
	static const struct blob_rules always = {0, 0};
	const struct blob_rules *const rules[] = {
		&res->blob->header->mode,
		&res->blob->classes[res->class_index].mode,
		limit ? &limit->mode : &always,
	};
	bool all = true;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		int64_t until = INT64_MAX;
		const uint32_t denied = blob_denied(res->blob, rules[i], res->wall, &until);

		if (until != INT64_MAX)
			narrow(head, INT64_MIN, until);
		all &= (denied >> res->class_index & 1) != 0;
	}
	return all;
}

static const struct {
	uint32_t limit, link;
} limit_flags[] = {
	{LIMIT_HAS_DEFAULT_COST, LINK_HAS_DEFAULT},
	{LIMIT_PACED, LINK_PACED},
	{LIMIT_CLAMP, LINK_CLAMP},
};

static int resolve_link(const struct resolving *res, const struct blob_link *written,
			struct chain_head *head, struct link *link)
{
	const struct blob_limit *l = &res->blob->limits[written->limit];
	const struct blob_numbers *numbers =
		blob_numbers_for(res->blob, written->limit, res->tenant);
	struct bucket_ref ref = {0, 0};

	*link = (struct link){
		.unit = l->unit_hash,
		.flags = l->kind | written->flags | written->limit << LINK_LIMIT_SHIFT,
		.default_cost = l->default_cost,
	};
	for (size_t i = 0; i < sizeof(limit_flags) / sizeof(limit_flags[0]); i++) {
		if (l->flags & limit_flags[i].limit)
			link->flags |= limit_flags[i].link;
	}
	if (!enforced(res, l, head))
		link->flags |= LINK_SHADOW;
	shape_link(res, l, numbers, link, head);
	const int code = index_codes[find_bucket(res, written->limit, link, &ref)];

	if (code != 0)
		return explain(res->error, code, "%s: %s", blob_text(res->blob, l->name),
			       ration_strerror(code));
	link->bucket = ref.bucket;
	link->generation = ref.generation;
	chain_hint(&res->ration->seg, link);
	if (!link_is_plain(link))
		head->flags &= ~CHAIN_PLAIN;
	return 0;
}

/* "known are a, b, c" */
static int unknown_vendor(const struct resolving *res)
{
	char known[400];
	size_t used = 0;

	if (!res->error)
		return RATION_EVENDOR;
	if (blob_find_route(res->blob, res->field[KEY_VENDOR]) != BLOB_NO_INDEX)
		return explain(res->error, RATION_EVENDOR,
			       "'%.63s' is a route of the policy: no vendor, but one of several",
			       res->field[KEY_VENDOR]);
	known[0] = '\0';
	for (uint32_t i = 0; i < res->blob->n_vendors && used < sizeof(known) - 70; i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 blob_text(res->blob, res->blob->vendors[i].name));
	for (uint32_t i = 0; i < res->blob->n_routes && used < sizeof(known) - 70; i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 i ? ", " : "; and the routes: ",
					 blob_text(res->blob, res->blob->routes[i].name));
	return explain(res->error, RATION_EVENDOR, "no vendor '%.63s' in the policy; known are: %s",
		       res->field[KEY_VENDOR], known);
}

static int unknown_class(const struct resolving *res)
{
	char known[CLASSES_MAX * (RATION_NAME_MAX + 3)];
	size_t used = 0;

	if (!res->error)
		return RATION_ECLASS;
	known[0] = '\0';
	for (uint32_t i = 0; i < res->blob->n_classes && used < sizeof(known) - 70; i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 blob_text(res->blob, res->blob->classes[i].name));
	return explain(res->error, RATION_ECLASS, "no class '%.63s' in the policy; known are: %s",
		       res->field[KEY_CLASS], known);
}

static int resolve_in(struct resolving *res, struct chain *chain)
{
	const struct blob *blob = res->blob;
	const struct blob_run *run;

	res->vendor = blob_find_vendor(blob, res->field[KEY_VENDOR]);
	if (res->vendor == BLOB_NO_INDEX)
		return unknown_vendor(res);
	res->class_index = blob_find_class(blob, res->field[KEY_CLASS]);
	if (res->class_index == BLOB_NO_INDEX)
		return unknown_class(res);
	if (!res->ration->observer && !(policy_classes(blob) >> res->class_index & 1))
		return explain(res->error, -EACCES, "this user may not claim class '%.63s'",
			       res->field[KEY_CLASS]);
	run = blob_chain(blob, res->vendor, res->class_index);
	chain->head = (struct chain_head){
		.policy_generation = blob->header->generation,
		.delay = blob->vendors[res->vendor].delay_ns * TICKS_PER_NS,
		.serial = chain->head.serial,
		.flags = res->class_index | CHAIN_PLAIN,
		.n_links = run->count,
		.from = INT64_MIN,
		.until = INT64_MAX,
	};
	for (uint32_t i = 0; i < run->count; i++) {
		const int result = resolve_link(res, &blob->links[run->first + i], &chain->head,
						&chain->links[i]);

		if (result != 0)
			return result;
	}
	if (!enforced(res, NULL, &chain->head))
		chain->head.flags |= CHAIN_HEEDLESS;
	return gates_find(res->ration, blob, res->field, chain);
}

int resolve_chain(struct ration_handle *handle, struct chain *ret_chain, struct ration_error *error)
{
	struct ration *ration = handle->ration;
	struct resolving res = {
		.ration = ration,
		.blob = policy_enter(ration),
		.field = handle->field,
		.now = client_now(ration),
		.error = error,
	};
	int result;

	res.wall = client_wall(ration, res.now);
	res.tenant = blob_find_tenant(res.blob, handle->field[KEY_TENANT]);
	ret_chain->head.serial = atomic_load(&ration->serial);
	result = resolve_in(&res, ret_chain);
	policy_leave(ration);
	return result;
}

/* --- handles --- */

static bool text_ok(const char *text, size_t size)
{
	const unsigned char *p = (const unsigned char *)text;

	while (size > 0) {
		const size_t n = utf8_size(p, size);

		if (n == 0)
			return false;
		p += n;
		size -= n;
	}
	return true;
}

static const char *const field_names[KEY_FIELDS] = {"tenant", "vendor", "class", "account",
						    "resource"};

static int check_field(int field, const char *text, struct ration_error *error)
{
	const bool required = field == KEY_VENDOR || field == KEY_CLASS;
	const size_t max = required ? RATION_NAME_MAX : RATION_KEY_MAX;
	const size_t size = strlen(text);

	if (required && size == 0)
		return explain(error, -EINVAL, "the key has no %s", field_names[field]);
	if (size > max)
		return explain(error, -EINVAL, "the %s has %zu bytes, at most %zu are allowed",
			       field_names[field], size, max);
	if (!text_ok(text, size))
		return explain(error, -EINVAL, "the %s is not UTF-8, or holds control characters",
			       field_names[field]);
	return 0;
}

/* NULL and "-" mean none, which is "" from here on. */
static const char *given(const char *text)
{
	return !text || strcmp(text, "-") == 0 ? "" : text;
}

static int copy_key(struct ration *ration, const char *const field[KEY_FIELDS],
		    struct ration_handle **ret_handle)
{
	struct ration_handle *handle;
	size_t size = 0;
	char *text;

	for (int i = 0; i < KEY_FIELDS; i++)
		size += strlen(field[i]) + 1;
	handle = calloc(1, sizeof(*handle) + size);
	if (!handle)
		return -ENOMEM;
	handle->ration = ration;
	text = handle->text;
	for (int i = 0; i < KEY_FIELDS; i++) {
		const size_t n = strlen(field[i]) + 1;

		handle->field[i] = memcpy(text, field[i], n);
		text += n;
	}
	*ret_handle = handle;
	return 0;
}

/* A forked child registers first: what waits in the socket it inherited is its parent's. */
static int resolve_once(struct ration_handle *handle, struct chain *chain,
			struct ration_error *error)
{
	struct ration *ration = handle->ration;
	const int result = attachment_ready(ration);

	if (result != 0)
		return explain(error, result, "%s", ration_strerror(result));
	if (policy_moved(ration))
		policy_update(ration, client_now(ration));
	return resolve_chain(handle, chain, error);
}

/* Waiting is allowed here, so what would be RATION_CONTENDED is tried again. */
static int resolve_patiently(struct ration_handle *handle, struct chain *chain,
			     struct ration_error *error)
{
	int result = RATION_CONTENDED;

	for (int i = 0; i < 10000 && result == RATION_CONTENDED; i++) {
		result = resolve_once(handle, chain, error);
		if (result == RATION_CONTENDED)
			sched_yield();
	}
	return result;
}

int handle_make(struct ration *ration, const struct ration_key *key,
		struct ration_handle **ret_handle, struct ration_error *ret_error)
{
	const char *const field[KEY_FIELDS] = {
		given(key->tenant),  given(key->vendor),   given(key->traffic_class),
		given(key->account), given(key->resource),
	};
	int result;

	for (int i = 0; i < KEY_FIELDS; i++) {
		result = check_field(i, field[i], ret_error);
		if (result < 0)
			return result;
	}
	result = copy_key(ration, field, ret_handle);
	return result < 0 ? explain(ret_error, result, "out of memory") : 0;
}

int ration_resolve(struct ration *ration, const struct ration_key *key,
		   struct ration_handle **ret_handle, struct ration_error *ret_error)
{
	struct ration_handle *handle;
	struct chain chain;
	int result = handle_make(ration, key, &handle, ret_error);

	if (result != 0)
		return result;
	chain.head = (struct chain_head){0};
	result = resolve_patiently(handle, &chain, ret_error);
	if (result != 0) {
		free(handle);
		return result;
	}
	handle_publish(handle, &chain);
	*ret_handle = handle;
	return 0;
}

void ration_handle_free(struct ration_handle **handle)
{
	free(*handle);
	*handle = NULL;
}

const char *ration_handle_vendor(const struct ration_handle *handle)
{
	return handle->field[KEY_VENDOR];
}

const char *ration_handle_resource(const struct ration_handle *handle)
{
	return handle->field[KEY_RESOURCE];
}

const char *client_handle_field(const struct ration_handle *handle, enum key_field field)
{
	return handle->field[field];
}
