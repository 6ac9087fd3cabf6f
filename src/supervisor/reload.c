/*
 * supervisor/reload.c - a new policy, all of it or nothing
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <inttypes.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include <ration/ration.h>

#include "client/client.h"
#include "supervisor/supervisor.h"

void reload_message(void *user, const struct policy_message *m)
{
	static const struct {
		int priority;
		const char *word;
	} severities[] = {
		[POLICY_ERROR] = {LOG_ERR, "error"},
		[POLICY_WARNING] = {LOG_WARNING, "warning"},
	};

	(void)user;
	log_event(severities[m->severity].priority, "policy-%s where=\"%s:%u:%u\" text=\"%s\"",
		  severities[m->severity].word, m->file, m->line, m->column, m->text);
}

void reload_status(const struct supervisor *s, const char *state, const char *remark)
{
	sd_notifyf(0, "%s\nSTATUS=Serving %s, generation %" PRIu64 ", on %s%s", state,
		   s->options->policy, s->policy.blob.header->generation, s->place.address.sun_path,
		   remark);
}

/*
 * Whoever waits went by other numbers, its limit's own or those of what its class was promised of it: each looks again,
 * and sleeps on if it must.
 */
static void wake_waiters(struct supervisor *s)
{
	const uint64_t now = supervisor_now(s);

	for (uint32_t bucket = 0; bucket < s->seg.n_buckets; bucket++)
		client_wake(&s->seg, bucket, now, true);
}

/*
 * Order: buckets first, then the policy into every socket, then the word that makes workers look
 * there, and last those who sleep. If we are killed before the ledger has the new one, it did not happen: a successor
 * compiles it again, under a number of its own.
 */
static void publish(struct supervisor *s, struct published *policy)
{
	const uint64_t generation = policy->blob.header->generation;
	struct published before = s->policy;
	struct patrol_counts counts;
	uint32_t waiting;

	/* From here on this generation may be in buckets and sockets: no successor may make another one of that number. */
	shm_store(&s->ledger.head->used, generation);
	takeover_keep(policy);
	s->policy = *policy;
	counts = patrol_all(s, &before);
	waiting = roster_tell(s);
	/* A successor that is not there yet goes by this one. */
	shm_store(&s->ledger.head->generation, generation);
	takeover_drop(&before);
	published_free(&before);
	/* Pairs with the acquire load in workers: who sees it finds the packet in the socket. */
	shm_store(&s->seg.control->policy_generation, generation);
	wake_waiters(s);
	log_event(LOG_NOTICE,
		  "reloaded generation=%" PRIu64 " limits=%u buckets=%u changed=%u orphans=%u "
		  "unreadable=%u carried=%u workers=%u waiting=%u",
		  generation, s->policy.blob.n_limits, counts.linked, counts.changed,
		  counts.orphans, counts.unreadable, counts.carried, s->ledger.n_taken, waiting);
}

static uint64_t monotonic_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int reload_with(struct supervisor *s, policy_report *report, void *user)
{
	const struct published_from from = {
		.path = s->options->policy,
		.overlays = s->overlays.overlay,
		.n_overlays = s->overlays.n,
		.hash_key = s->ledger.head->hash_key,
		.before = &s->policy,
		.now = supervisor_now(s),
	};
	struct published next;
	const int result =
		published_make(&next, &from, shm_load(&s->ledger.head->used) + 1, report, user);

	if (result == 0)
		publish(s, &next);
	return result;
}

void reload_policy(struct supervisor *s)
{
	int result;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, monotonic_usec());
	wallclock_confirm(s);
	result = reload_with(s, reload_message, NULL);
	if (result != 0)
		log_event(LOG_ERR,
			  "reload-failed path=\"%s\" error=\"%s\" kept-generation=%" PRIu64,
			  s->options->policy,
			  result == -EINVAL ? "the policy has errors" : ration_strerror(result),
			  s->policy.blob.header->generation);
	reload_status(s, "READY=1", result == 0 ? "" : " (the last reload was refused)");
}
