/*
 * supervisor/set.c - numbers that operators have put over the policy's
 * SPDX-License-Identifier: MIT
 *
 * A request is a reload with one number more or less: it is compiled with the whole policy, so what the policy cannot
 * keep is refused, in the policy compiler's words, and nothing changes.
 */
#include "supervisor/set.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <ration/ration.h>

#include "supervisor/supervisor.h"

static bool terminated(const char *text, size_t size)
{
	return text[0] != '\0' && memchr(text, '\0', size) != NULL;
}

/* No letter that means anything in YAML: it becomes part of a document. */
bool overlay_sound(const struct wire_set *set)
{
	static const char allowed[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ./";

	return terminated(set->tenant, sizeof(set->tenant)) &&
	       terminated(set->vendor, sizeof(set->vendor)) &&
	       terminated(set->limit, sizeof(set->limit)) &&
	       terminated(set->number, sizeof(set->number)) &&
	       strspn(set->number, allowed) == strlen(set->number);
}

static uint32_t find(const struct overlays *o, const struct wire_set *set)
{
	uint32_t i = 0;

	while (i < o->n && (strcmp(o->text[i].tenant, set->tenant) != 0 ||
			    strcmp(o->text[i].vendor, set->vendor) != 0 ||
			    strcmp(o->text[i].limit, set->limit) != 0))
		i++;
	return i;
}

static void point(struct overlays *o)
{
	for (uint32_t i = 0; i < o->n; i++)
		o->overlay[i] = (struct policy_overlay){
			.tenant = o->text[i].tenant,
			.vendor = o->text[i].vendor,
			.limit = o->text[i].limit,
			.number = o->text[i].number,
		};
}

int overlays_put(struct overlays *o, const struct wire_set *set)
{
	const uint32_t i = find(o, set);

	if (strcmp(set->number, "default") == 0) {
		if (i == o->n)
			return -ENOENT;
		o->text[i] = o->text[--o->n];
		point(o);
		return 0;
	}
	if (i == OVERLAYS_MAX)
		return -ENOSPC;
	o->text[i] = *set;
	o->n += i == o->n;
	point(o);
	o->overlay[i].wanted = true;
	return 0;
}

void overlays_take(struct overlays *o, const struct ledger_overlays *left)
{
	o->n = 0;
	for (uint32_t i = 0; i < left->n && i < OVERLAYS_MAX; i++) {
		if (overlay_sound(&left->text[i]))
			o->text[o->n++] = left->text[i];
	}
	point(o);
}

/* The first error stands for all: they go into the log as well. */
static void keep_first(void *user, const struct policy_message *m)
{
	struct refusal *refusal = user;

	reload_message(NULL, m);
	if (m->severity == POLICY_ERROR && refusal->text[0] == '\0')
		refuse(refusal, -EINVAL, "%s: %s", m->file, m->text);
}

static bool may_set(const struct peer *peer)
{
	return peer->uid == 0 || peer->uid == geteuid();
}

static int put(struct overlays *next, const struct wire_set *set, struct refusal *refusal)
{
	const int result = overlays_put(next, set);

	if (result == -ENOENT)
		refuse(refusal, result, "nothing is set for that limit");
	else if (result < 0)
		refuse(refusal, result, "%u numbers are set already", OVERLAYS_MAX);
	return result;
}

int set_number(struct supervisor *s, const struct peer *peer, const struct wire_set *set,
	       struct refusal *refusal)
{
	static struct overlays before; /* too large for a stack; one thread */
	int result;

	if (!may_set(peer))
		return refuse(refusal, -EACCES, "only root and the supervisor's own user may set");
	if (!overlay_sound(set))
		return refuse(refusal, -EPROTO, "that is no number for a limit");
	before = s->overlays;
	result = put(&s->overlays, set, refusal);
	if (result == 0)
		result = reload_with(s, keep_first, refusal);
	if (result == 0) {
		point(&s->overlays); /* it is not wanted anew by each reload */
		ledger_set_overlays(&s->ledger, s->overlays.text, s->overlays.n);
	}
	if (result == 0) {
		log_event(LOG_NOTICE, "set tenant=\"%s\" vendor=%s limit=%s number=%s uid=%u",
			  set->tenant, set->vendor, set->limit, set->number, peer->uid);
		return 0;
	}
	s->overlays = before;
	point(&s->overlays);
	if (refusal->text[0] == '\0')
		refuse(refusal, result, "%s", ration_strerror(result));
	return result;
}
