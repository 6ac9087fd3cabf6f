/*
 * policy/read_class.c - the traffic classes
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "policy/read.h"
#include "policy/scalar.h"
#include "shm/queue.h"

#define CLASSES_FORM "a list of classes, most protected first, such as [interactive, bulk]"
#define TEXT_FORM    "a text of at most 1000 bytes"
#define QUEUE_FORM   "how many may wait for one bucket, from 1 to 128"
#define USERS_FORM   "a list of users, by name or number, such as [www-data, 1000]"
#define GROUPS_FORM  "a list of groups, by name or number, such as [staff, 100]"

enum { TEXT_MAX = 1000 };

/* --- who may claim it --- */

/* "1000"; false: not a number. */
static bool read_id(const char *text, uint32_t *ret_id)
{
	uint64_t id = 0;

	if (text[0] == '\0' || strlen(text) > 10)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		id = id * 10 + (uint64_t)(*text - '0');
	}
	if (id >= UINT32_MAX) /* (uid_t)-1 is nobody's */
		return false;
	*ret_id = (uint32_t)id;
	return true;
}

static bool find_user(const char *name, uint32_t *ret_id)
{
	struct passwd entry, *found = NULL;
	char buffer[16384];

	if (getpwnam_r(name, &entry, buffer, sizeof(buffer), &found) != 0 || !found)
		return false;
	*ret_id = entry.pw_uid;
	return true;
}

static bool find_group(const char *name, uint32_t *ret_id)
{
	struct group entry, *found = NULL;
	char buffer[65536];

	if (getgrnam_r(name, &entry, buffer, sizeof(buffer), &found) != 0 || !found)
		return false;
	*ret_id = entry.gr_gid;
	return true;
}

static void add_principal(struct compiler *c, struct draft_class *class, bool group, uint32_t id)
{
	struct draft_principal *principal =
		list_new(&class->principals, &c->arena, sizeof(*principal));

	if (principal)
		*principal = (struct draft_principal){group, id};
}

static void read_user(struct compiler *c, const struct node *value, void *target)
{
	uint32_t id;

	if (!is_text(value) || value->size == 0)
		node_expected(&c->notes, value, "a user's name or number");
	else if (read_id(value->text, &id) || find_user(value->text, &id))
		add_principal(c, target, false, id);
	else
		error_at(c, value, "no user %s on this host: expected a user's name or number",
			 node_found(&c->arena, value));
}

static void read_group(struct compiler *c, const struct node *value, void *target)
{
	uint32_t id;

	if (!is_text(value) || value->size == 0)
		node_expected(&c->notes, value, "a group's name or number");
	else if (read_id(value->text, &id) || find_group(value->text, &id))
		add_principal(c, target, true, id);
	else
		error_at(c, value, "no group %s on this host: expected a group's name or number",
			 node_found(&c->arena, value));
}

/* An empty list would mean everybody where it was meant to say nobody. */
static void read_principals(struct compiler *c, const struct node *value, const char *form,
			    field_read *read, void *target)
{
	if (value->kind != NODE_LIST || !value->first)
		node_expected(&c->notes, value, form);
	else
		schema_items(c, value, form, read, target);
}

static void read_users(struct compiler *c, const struct node *value, void *target)
{
	read_principals(c, value, USERS_FORM, read_user, target);
}

static void read_groups(struct compiler *c, const struct node *value, void *target)
{
	read_principals(c, value, GROUPS_FORM, read_group, target);
}

/* --- the rest of a class --- */

static void read_text(struct compiler *c, const struct node *value, void *target)
{
	const char **text = target;

	if (is_text(value) && value->size > 0 && value->size <= TEXT_MAX)
		*text = value->text;
	else
		node_expected(&c->notes, value, TEXT_FORM);
}

static void read_queue(struct compiler *c, const struct node *value, void *target)
{
	uint32_t *queue = target;
	uint64_t count;

	if (is_text(value) && scalar_count(value->text, &count) && count <= QUEUE_PLACES)
		*queue = (uint32_t)count;
	else
		node_expected(&c->notes, value, QUEUE_FORM);
}

static void read_never_with(struct compiler *c, const struct node *value, void *target)
{
	const struct node **at = target;

	if (value->kind == NODE_LIST)
		*at = value;
	else
		node_expected(&c->notes, value, "a list of classes, such as [bulk]");
}

/* Its defaults go by the name, which may stand after it. */
static void keep_retry(struct compiler *c, const struct node *value, void *target)
{
	(void)c;
	*(const struct node **)target = value;
}

#define CLASS(member) offsetof(struct draft_class, member)

static const struct field class_fields[] = {
	{"name", read_name, CLASS(named), "requests call it by that", ANYWHERE},
	{"owner", read_text, CLASS(owner), NULL, ANYWHERE},
	{"purpose", read_text, CLASS(purpose), NULL, ANYWHERE},
	{"fallback", read_text, CLASS(fallback), NULL, ANYWHERE},
	{"never_with", read_never_with, CLASS(never_with_at), NULL, ANYWHERE},
	{"users", read_users, 0, NULL, ANYWHERE},
	{"groups", read_groups, 0, NULL, ANYWHERE},
	{"queue", read_queue, CLASS(queue), NULL, ANYWHERE},
	{"mode", read_mode, CLASS(mode), NULL, ANYWHERE},
	{"retry", keep_retry, CLASS(retry_at), NULL, ANYWHERE},
};
static const struct schema class_schema = SCHEMA("a class", class_fields, true);

static bool may_add(struct compiler *c, const struct draft_class *class)
{
	for (uint32_t i = 0; i < c->classes.count; i++) {
		const struct draft_class *other = c->classes.item[i];

		if (strcmp(class->named.name, other->named.name) == 0) {
			error_at(c, class->named.at, "duplicate class '%s'", class->named.name);
			return false;
		}
	}
	if (c->classes.count < CLASSES_MAX)
		return true;
	error_at(c, class->named.at, "expected at most %u classes, found one more: '%s'",
		 CLASSES_MAX, class->named.name);
	return false;
}

static void read_class(struct compiler *c, const struct node *value, void *target)
{
	struct draft_class *class = arena_alloc(&c->arena, sizeof(*class));

	(void)target;
	if (!class)
		return;
	if (value->kind == NODE_MAP)
		schema_walk(c, value, &class_schema, class);
	else
		read_name(c, value, &class->named);
	if (class->named.name)
		read_retry(c, class->retry_at, class->named.name, &class->retry);
	if (!class->named.name)
		c->incomplete = true;
	else if (may_add(c, class))
		list_add(&c->classes, &c->arena, class);
}

void read_classes(struct compiler *c, const struct node *value, void *target)
{
	if (value->kind != NODE_LIST)
		node_expected(&c->notes, value, CLASSES_FORM);
	else if (!value->first)
		error_at(c, value, "expected at least one class, found an empty list");
	else
		schema_items(c, value, CLASSES_FORM, read_class, target);
}
