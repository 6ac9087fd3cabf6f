/*
 * cli/explain.c - ration explain: say in words which limits a key meets
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/key.h"
#include "cli/limit_words.h"
#include "cli/words.h"
#include "shm/index.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/window.h"

static const char command[] = "explain";

struct explaining {
	struct ration *ration;
	const struct blob *blob;
	const char *field[KEY_FIELDS]; /* "" for none */
	uint32_t tenant;               /* index, or BLOB_NO_INDEX */
	bool attached;                 /* to a supervisor: buckets have a level worth telling */
};

/* "who shares it": the values of the scope's fields. */
static void print_sharers(const struct explaining *e, uint32_t scope)
{
	static const char *const names[KEY_FIELDS] = {"tenant", "vendor", "class", "account",
						      "resource"};
	bool any = false;

	printf("   counts    ");
	for (int i = 0; i < KEY_FIELDS; i++) {
		if (!(scope & 1u << i))
			continue;
		printf("%s%s %s", any ? ", " : "every request of ", names[i],
		       e->field[i][0] ? e->field[i] : "- (none given)");
		any = true;
	}
	puts(any ? "" : "every request of this host");
}

static void print_written(const struct limit_view *view)
{
	const struct blob *blob = view->blob;
	const char *vendor = blob_text(blob, view->limit->vendor);
	char buf[LIMIT_WORDS_SIZE], scope[80];

	printf("%s%s%s (%s): %s, %s\n", vendor, vendor[0] ? "/" : "",
	       blob_text(blob, view->limit->name), blob_text(blob, view->limit->unit),
	       limit_written(view, buf), words_scope(view->limit->scope, scope, sizeof(scope)));
}

/* What lies between the numbers as written and those that hold. */
static void print_effective(const struct limit_view *view, const struct blob_numbers *n)
{
	char buf[LIMIT_WORDS_SIZE], delay[32];

	printf("   effective %s (share %.4g %%, margin %.4g %%, delay %s)\n",
	       limit_effective(view, buf), n->share_ppm / 1e4, n->margin_ppm / 1e4,
	       words_duration(n->delay_ns, delay, sizeof(delay)));
}

static void print_source(const struct explaining *e, const struct blob_limit *limit,
			 bool overridden)
{
	const struct blob_tenant *t;
	const char *plan;

	if (!overridden) {
		printf("   from      line %u of the policy\n", limit->line);
		return;
	}
	t = &e->blob->tenants[e->tenant];
	plan = blob_text(e->blob, t->plan);
	printf("   from      %s%s%stenant %s, instead of line %u of the policy\n",
	       plan[0] ? "plan " : "", plan, plan[0] ? " or " : "", blob_text(e->blob, t->name),
	       limit->line);
}

static void print_line(void *user, const char *what, const char *text)
{
	(void)user;
	printf("   %-9s %s\n", what, text);
}

/* --- how full it is --- */

static uint64_t window_units(const struct explaining *e, const struct blob_limit *limit,
			     uint32_t bucket)
{
	const struct calendar calendar = blob_calendar(e->blob, limit);
	struct calendar_window window;

	calendar_find(&calendar, client_wall(e->ration, client_now(e->ration)), &window);
	return window_used(&client_seg(e->ration)->hot[bucket], window.index);
}

static uint64_t slots_held(const struct seg *seg, uint32_t bucket, uint64_t slots)
{
	uint64_t held = 0;

	for (uint32_t i = 0; i < slots && i < SLOTS_MAX; i++)
		held += slots_word(seg, bucket, i) != 0;
	return held;
}

/* Of a bucket of any kind but token buckets. */
static uint64_t used_of(const struct explaining *e, const struct blob_limit *limit, uint32_t bucket,
			uint64_t amount)
{
	const struct seg *seg = client_seg(e->ration);

	switch (limit->kind) {
	case KIND_WINDOW:
		return window_units(e, limit, bucket);
	case KIND_ROLLING:
		return rolling_used(seg, bucket, client_now(e->ration));
	default:
		return slots_held(seg, bucket, amount);
	}
}

static void print_used(const struct explaining *e, const struct blob_limit *limit, uint32_t bucket)
{
	const struct seg_hot *hot = &client_seg(e->ration)->hot[bucket];
	const uint64_t amount = limit_amount(limit->kind, shm_load_relaxed(&hot->numbers));

	printf("%llu of %llu used\n", (unsigned long long)used_of(e, limit, bucket, amount),
	       (unsigned long long)amount);
}

static void print_left(const struct explaining *e, const struct bucket_ref *ref)
{
	const uint64_t now = client_now(e->ration);
	struct bucket_view view;
	const enum take r = bucket_look(&client_seg(e->ration)->hot[ref->bucket], ref->generation,
					1, now, &view);

	if (r == TAKE_STALE)
		puts("not used for long");
	else if (r == TAKE_CORRUPT)
		puts("corrupt");
	else
		printf("%llu of %llu left\n", (unsigned long long)bucket_left(&view, now),
		       (unsigned long long)bucket_burst(view.numbers));
}

/* What a class's own part holds, or the whole. */
static void print_level(const struct explaining *e, uint32_t index)
{
	static const char *const roles[] = {"", "guarantee: ", "ceiling: "};
	const struct blob_limit *limit = &e->blob->limits[index];
	const struct hash128 identity = client_identity(e->blob, index, e->field);
	struct bucket_ref ref;

	if (!e->attached)
		return;
	printf("   now       %s", roles[limit->role]);
	if (index_find(client_seg(e->ration), identity, &ref) != INDEX_FOUND)
		puts("not used yet");
	else if (limit->kind == KIND_BUCKET)
		print_left(e, &ref);
	else
		print_used(e, limit, ref.bucket);
}

static void print_limit(const struct explaining *e, uint32_t index, uint32_t class_index)
{
	const struct blob_limit *limit = &e->blob->limits[index];
	const struct limit_view view = {e->blob, limit, e->tenant};
	const struct blob_numbers *numbers = blob_numbers_for(e->blob, index, e->tenant);
	char buf[LIMIT_WORDS_SIZE];

	print_written(&view);
	print_sharers(e, limit->scope);
	print_effective(&view, numbers);
	print_source(e, limit, numbers != &limit->numbers);
	if (limit_claims(&view, class_index, buf)[0])
		printf("   %-9s %s\n", e->field[KEY_CLASS], buf);
	limit_lines(&view, print_line, NULL);
}

/* Each limit once, as it was written, and under it what stands in the chain because of it. */
static void print_links(const struct explaining *e, const struct blob_run *run,
			uint32_t class_index)
{
	const struct blob_link *links = &e->blob->links[run->first];
	uint32_t n = 0, first = 0;

	for (uint32_t i = 0; i < run->count; i++) {
		if (e->blob->limits[links[i].limit].role != LIMIT_WRITTEN)
			continue;
		printf("%u. ", ++n);
		print_limit(e, links[i].limit, class_index);
		for (; first <= i; first++) {
			if (!(links[first].flags & LINK_RELEASED))
				print_level(e, links[first].limit);
		}
		putchar('\n');
	}
}

static uint32_t count_written(const struct blob *blob, const struct blob_run *run)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < run->count; i++)
		n += blob->limits[blob->links[run->first + i].limit].role == LIMIT_WRITTEN;
	return n;
}

static void print_modes(const struct explaining *e, uint32_t class_index)
{
	const struct blob_rules *whole = &e->blob->header->mode;
	const struct blob_rules *class = &e->blob->classes[class_index].mode;
	char buf[LIMIT_WORDS_SIZE];

	if (whole->count > 0)
		printf("The mode of the policy: %s.\n", limit_mode(e->blob, whole, buf));
	if (class->count > 0)
		printf("The mode of class %s: %s.\n", e->field[KEY_CLASS],
		       limit_mode(e->blob, class, buf));
	if (whole->count + class->count > 0)
		puts("In shadow, it is decided and counted, but nothing is denied.");
}

static void print_chain(const struct explaining *e, const char *key, uint32_t vendor)
{
	const struct blob_vendor *v = &e->blob->vendors[vendor];
	const uint32_t class_index = blob_find_class(e->blob, e->field[KEY_CLASS]);
	const struct blob_run *run = blob_chain(e->blob, vendor, class_index);
	const uint32_t n = count_written(e->blob, run);
	char delay[32], text[LIMIT_WORDS_SIZE];

	printf("%s meets %u limit%s, all or none of which a request passes:\n\n", key, n,
	       n == 1 ? "" : "s");
	print_links(e, run, class_index);
	if (strcmp(blob_text(e->blob, v->name), e->field[KEY_VENDOR]) != 0)
		printf("Vendor %s is not named in the policy: '%s' stands for it.\n",
		       e->field[KEY_VENDOR], blob_text(e->blob, v->name));
	printf("A permit is good for %s.\n", words_duration(v->delay_ns, delay, sizeof(delay)));
	printf("The breaker: %s.\n", limit_breaker(&v->breaker, text));
	print_modes(e, class_index);
}

/* --- a route: then each of its alternatives can be explained --- */

static int explain_route(const struct explaining *e, const struct blob_route *route)
{
	const uint32_t class_index = blob_find_class(e->blob, e->field[KEY_CLASS]);
	char place[LIMIT_WORDS_SIZE];

	if (class_index == BLOB_NO_INDEX)
		return cli_fail(cli_status_of(RATION_ECLASS), command,
				"no class '%s' in the policy", e->field[KEY_CLASS]);
	printf("%s is a route (line %u of the policy): a request goes to one of\n\n",
	       e->field[KEY_VENDOR], route->line);
	for (uint32_t i = 0; i < route->count; i++) {
		const struct blob_alternative *a = &e->blob->alternatives[route->first + i];

		printf("   %s: %s%s\n", blob_text(e->blob, a->name),
		       route_place(e->blob, route, i, place),
		       a->classes >> class_index & 1 ? "" : " (not for this class)");
	}
	puts("\nEach of them can be explained by its own key.");
	return cli_close_stdout(EX_OK, command);
}

static void look_up(struct explaining *e, struct ration *ration, const struct cli_key *key)
{
	e->blob = client_blob(ration);
	for (int i = 0; i < KEY_FIELDS; i++)
		e->field[i] = key->field[i] && strcmp(key->field[i], "-") != 0 ? key->field[i] : "";
	e->tenant = blob_find_tenant(e->blob, e->field[KEY_TENANT]);
}

/* Unknown vendors and classes are told as everywhere else. */
static int explain(struct ration *ration, bool attached, const struct cli_key *key)
{
	const struct ration_key k = key_of(key);
	struct explaining e = {.ration = ration, .attached = attached};
	struct ration_handle *handle = NULL;
	struct ration_error error;
	char text[sizeof(key->text) + 16];
	uint32_t route;
	int r;

	look_up(&e, ration, key);
	route = blob_find_route(e.blob, e.field[KEY_VENDOR]);
	if (route != BLOB_NO_INDEX)
		return explain_route(&e, &e.blob->routes[route]);
	r = cli_resolve(ration, &k, &handle, &error);
	ration_handle_free(&handle);
	if (r == RATION_EVENDOR || r == RATION_ECLASS || r == -EINVAL)
		return cli_fail(cli_status_of(r), command, "%s", error.text);
	look_up(&e, ration, key);
	key_text(key, text, sizeof(text));
	print_chain(&e, text, blob_find_vendor(e.blob, e.field[KEY_VENDOR]));
	return cli_close_stdout(EX_OK, command);
}

int cmd_explain(int argc, char **argv)
{
	struct cli_target target = {0};
	const char *account = NULL, *resource = NULL;
	const struct arg options[] = {
		{"account", ARG_TEXT, &account, 0, "A", "whose credential or project"},
		{"resource", ARG_TEXT, &resource, 0, "R", "a model, or a family of endpoints"},
		{"policy", ARG_TEXT, &target.policy, 0, "FILE", "look in this policy"},
		{"socket", ARG_TEXT, &target.socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "KEY",
		.summary = "Say in words which limits a key meets. KEY is TENANT VENDOR CLASS, or\n"
			   "TENANT/VENDOR/CLASS[/ACCOUNT[/RESOURCE]]; - for none.",
		.options = options,
		.min_operands = 1,
		.max_operands = 3,
	};
	struct ration *ration;
	struct cli_key key;
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	status = key_parse(command, operands, n, account, resource, &key);
	if (status == EX_OK)
		status = cli_observe(command, &target, &ration);
	if (status != EX_OK)
		return status;
	status = explain(ration, !target.policy, &key);
	ration_detach(&ration);
	return status;
}
