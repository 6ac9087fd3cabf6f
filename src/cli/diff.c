/*
 * cli/diff.c - ration diff: say in words what another policy would change
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/inventory.h"
#include "policy/policy.h"

static const char command[] = "diff";

enum { DIFFERENT = 1 }; /* as diff(1) */

static const struct words {
	const char *called;
	const char *added; /* what follows from it; NULL: nothing to say */
	const char *removed;
} words[] = {
	[THING_POLICY] = {"the policy", NULL, NULL},
	[THING_CLASS] = {"class", NULL, "requests of it are refused"},
	[THING_VENDOR] = {"vendor", NULL,
			  "requests for it are refused, unless vendor 'default' stands for it"},
	[THING_LIMIT] = {"limit", "nothing of it is used yet", "what it has counted is forgotten"},
	[THING_ROUTE] = {"route", NULL,
			 "requests for it are refused, unless vendor 'default' stands for it"},
	[THING_TENANT] = {"tenant", NULL, "it has what everybody has"},
};

/* --- one thing --- */

static void print_name(const struct thing *thing)
{
	const char *called = words[thing->kind].called;

	if (thing->kind == THING_POLICY)
		fputs(called, stdout);
	else
		printf("%s %s", called, thing->name);
}

static void print_whole(const struct thing *thing, bool added)
{
	const char *follows = added ? words[thing->kind].added : words[thing->kind].removed;

	print_name(thing);
	printf(" %s%s%s\n", added ? "is new" : "is gone", follows ? ": " : "",
	       follows ? follows : "");
	for (size_t i = 0; added && i < thing->n_properties; i++)
		printf("  %s: %s\n", thing->properties[i].what, thing->properties[i].text);
}

static void begin(const struct thing *thing, bool *begun)
{
	if (*begun)
		return;
	*begun = true;
	print_name(thing);
	putchar('\n');
}

/* What becomes of what the limit has counted. */
static void print_consequence(const struct thing *before, const struct thing *after)
{
	if (before->kind != THING_LIMIT)
		return;
	if (strcmp(before->keyed, after->keyed) != 0)
		puts("  it counts anew, and begins with all of it spent");
	else if (strcmp(before->shape, after->shape) != 0)
		puts("  it counts anew, and begins with what the old count shows as spent");
	else
		puts("  what was spent stays spent");
}

static bool print_changes(const struct thing *before, const struct thing *after)
{
	bool begun = false;

	for (size_t i = 0; i < before->n_properties; i++) {
		const struct property *p = &before->properties[i];
		const char *now = thing_text(after, p->what);

		if (now && strcmp(now, p->text) == 0)
			continue;
		begin(before, &begun);
		if (now)
			printf("  %s: %s becomes %s\n", p->what, p->text, now);
		else
			printf("  %s: no longer %s\n", p->what, p->text);
	}
	for (size_t i = 0; i < after->n_properties; i++) {
		const struct property *p = &after->properties[i];

		if (thing_text(before, p->what))
			continue;
		begin(before, &begun);
		printf("  %s: now %s\n", p->what, p->text);
	}
	if (begun)
		print_consequence(before, after);
	return begun;
}

/* Both are in order: side by side, as in a merge. */
static bool print_differences(const struct inventory *old, const struct inventory *new)
{
	size_t i = 0, k = 0;
	bool any = false;

	while (i < old->n_things || k < new->n_things) {
		const struct thing *before = i < old->n_things ? &old->things[i] : NULL;
		const struct thing *after = k < new->n_things ? &new->things[k] : NULL;
		const int order = !before ? 1 : !after ? -1 : inventory_compare(before, after);

		i += order <= 0;
		k += order >= 0;
		if (order == 0) {
			any |= print_changes(before, after);
		} else {
			print_whole(order < 0 ? before : after, order > 0);
			any = true;
		}
	}
	return any;
}

/* --- the command --- */

/* Warnings are for `ration check`. */
static void print_error(void *user, const struct policy_message *m)
{
	(void)user;
	if (m->severity != POLICY_ERROR)
		return;
	fputs(m->file, stderr);
	if (m->line > 0)
		fprintf(stderr, ":%u:%u", m->line, m->column);
	fprintf(stderr, ": error: %s\n", m->text);
}

static int read_inventory(const char *path, struct inventory *ret_inventory)
{
	static const uint64_t key[2];
	struct policy policy;
	struct blob blob;
	const int result = policy_compile(path, 1, key, print_error, NULL, &policy);
	bool good;

	if (result == -EINVAL)
		return EX_DATAERR;
	if (result < 0)
		return result == -ENOMEM ? cli_fail(EX_OSERR, command, "%s", strerror(ENOMEM))
					 : EX_NOINPUT;
	good = blob_open(policy.blob, policy.size, &blob);
	if (good)
		*ret_inventory = inventory_make(&blob);
	policy_free(&policy);
	return good ? EX_OK
		    : cli_fail(EX_SOFTWARE, command, "%s: the compiled policy does not open", path);
}

int cmd_diff(int argc, char **argv)
{
	const struct arg options[] = {{0}};
	const struct args args = {
		.command = command,
		.operands = "OLD NEW",
		.summary =
			"Say in words what the policy file NEW changes of OLD. Exits with 1 if it\n"
			"changes anything.",
		.options = options,
		.min_operands = 2,
		.max_operands = 2,
	};
	struct inventory old = {0}, new = {0};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	status = read_inventory(operands[0], &old);
	if (status == EX_OK)
		status = read_inventory(operands[1], &new);
	if (status == EX_OK && print_differences(&old, &new))
		status = DIFFERENT;
	inventory_free(&old);
	inventory_free(&new);
	return cli_close_stdout(status, command);
}
