/*
 * cli/explain.c - ration explain: say in words which limits a key meets
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/key.h"
#include "cli/words.h"
#include "shm/index.h"

static const char command[] = "explain";

struct explaining {
	const struct ration *ration;
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

static void print_written(const struct explaining *e, const struct blob_limit *limit,
			  const struct blob_numbers *n)
{
	const char *vendor = blob_text(e->blob, limit->vendor);
	const char *unit = blob_text(e->blob, limit->unit);
	char rate[32], scope[80];

	printf("%s%s%s: %s %s, burst %llu, %s\n", vendor, vendor[0] ? "/" : "",
	       blob_text(e->blob, limit->name),
	       words_rate((double)n->amount * 1e9 / (double)n->period_ns, rate, sizeof(rate)), unit,
	       (unsigned long long)n->burst, words_scope(limit->scope, scope, sizeof(scope)));
}

/* What lies between the numbers as written and those that hold. */
static void print_effective(const struct blob_numbers *n)
{
	char rate[32], delay[32];

	printf("   effective %s, burst %llu",
	       words_rate(words_per_second(n->effective), rate, sizeof(rate)),
	       (unsigned long long)bucket_burst(n->effective));
	printf(" (share %.4g %%, margin %.4g %%, delay %s)\n", n->share_ppm / 1e4,
	       n->margin_ppm / 1e4, words_duration(n->delay_ns, delay, sizeof(delay)));
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

static void print_cost(const struct explaining *e, const struct blob_limit *limit)
{
	const char *unit = blob_text(e->blob, limit->unit);

	if (strcmp(unit, "requests") == 0 && limit->default_cost <= 1)
		return;
	if (limit->flags & LIMIT_HAS_DEFAULT_COST)
		printf("   cost      %llu %s unless a request says otherwise\n",
		       (unsigned long long)limit->default_cost, unit);
	else
		printf("   cost      a request must name its %s\n", unit);
}

static void print_level(const struct explaining *e, uint32_t limit)
{
	const struct hash128 identity = client_identity(e->blob, limit, e->field);
	const struct seg *seg = client_seg(e->ration);
	const uint64_t now = client_now(e->ration);
	struct bucket_view view;
	struct bucket_ref ref;
	enum take r;

	if (!e->attached)
		return;
	if (index_find(seg, identity, &ref) != INDEX_FOUND) {
		puts("   now       not used yet");
		return;
	}
	r = bucket_look(&seg->hot[ref.bucket], ref.generation, 1, now, &view);
	if (r == TAKE_STALE)
		puts("   now       not used for long");
	else if (r == TAKE_CORRUPT)
		puts("   now       corrupt");
	else
		printf("   now       %llu of %llu left\n",
		       (unsigned long long)bucket_left(&view, now),
		       (unsigned long long)bucket_burst(view.numbers));
}

static void print_limit(const struct explaining *e, uint32_t index)
{
	const struct blob_limit *limit = &e->blob->limits[index];
	const struct blob_numbers *numbers = blob_numbers_for(e->blob, index, e->tenant);

	print_written(e, limit, numbers);
	print_sharers(e, limit->scope);
	print_effective(numbers);
	print_source(e, limit, numbers != &limit->numbers);
	print_cost(e, limit);
	print_level(e, index);
}

static void print_chain(const struct explaining *e, const char *key, uint32_t vendor)
{
	const struct blob_vendor *v = &e->blob->vendors[vendor];
	const uint32_t class_index = blob_find_class(e->blob, e->field[KEY_CLASS]);
	const struct blob_run *run = blob_chain(e->blob, vendor, class_index);
	char delay[32];

	printf("%s meets %u limit%s, all or none of which a request passes:\n\n", key, run->count,
	       run->count == 1 ? "" : "s");
	for (uint32_t i = 0; i < run->count; i++) {
		printf("%u. ", i + 1);
		print_limit(e, e->blob->links[run->first + i].limit);
		putchar('\n');
	}
	if (strcmp(blob_text(e->blob, v->name), e->field[KEY_VENDOR]) != 0)
		printf("Vendor %s is not named in the policy: '%s' stands for it.\n",
		       e->field[KEY_VENDOR], blob_text(e->blob, v->name));
	printf("A permit is good for %s.\n", words_duration(v->delay_ns, delay, sizeof(delay)));
	if (e->blob->header->mode.count > 0)
		puts("The policy is in shadow mode: it decides and counts, but denies nothing.");
}

/* Unknown vendors and classes are told as everywhere else. */
static int explain(struct ration *ration, bool attached, const struct cli_key *key)
{
	const struct ration_key k = key_of(key);
	struct explaining e = {.ration = ration, .attached = attached};
	struct ration_handle *handle = NULL;
	struct ration_error error;
	char text[sizeof(key->text) + 16];
	int r = cli_resolve(ration, &k, &handle, &error);

	ration_handle_free(&handle);
	if (r == RATION_EVENDOR || r == RATION_ECLASS || r == -EINVAL)
		return cli_fail(cli_status_of(r), command, "%s", error.text);
	e.blob = client_blob(ration);
	for (int i = 0; i < KEY_FIELDS; i++)
		e.field[i] = key->field[i] && strcmp(key->field[i], "-") != 0 ? key->field[i] : "";
	e.tenant = blob_find_tenant(e.blob, e.field[KEY_TENANT]);
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
