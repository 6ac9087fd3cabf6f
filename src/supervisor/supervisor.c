/*
 * supervisor/supervisor.c - start, reload, stop
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

/* Descriptors beside those of workers: listening, memory, event loop, timers, log, /proc. */
#define SPARE_FDS (GREETINGS_MAX + 64)

static int failed(const char *what, int error)
{
	log_event(LOG_ERR, "failed what=%s error=\"%s\"", what, ration_strerror(error));
	return EX_OSERR;
}

/* --- the policy --- */

static void log_message(void *user, const struct policy_message *m)
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

static int load_first_policy(struct supervisor *s)
{
	int result;

	if (getrandom(s->hash_key, sizeof(s->hash_key), 0) != sizeof(s->hash_key))
		return failed("getrandom", -errno);
	result = published_make(&s->policy, s->options->policy, 1, s->hash_key, NULL, log_message,
				NULL);
	if (result == 0)
		return 0;
	failed("policy", result);
	return result == -ENOMEM ? EX_OSERR : EX_CONFIG;
}

/*
 * Order: buckets first, then the policy into every socket, then the word that makes workers look
 * there.
 */
static void publish(struct supervisor *s, struct published *policy)
{
	const uint64_t generation = policy->blob.header->generation;
	struct patrol_counts counts;
	uint32_t waiting;

	published_free(&s->policy);
	s->policy = *policy;
	counts = patrol_all(s);
	waiting = roster_tell(s);
	/* Pairs with the acquire load in workers: who sees it finds the packet in the socket. */
	shm_store(&s->seg.control->policy_generation, generation);
	log_event(LOG_NOTICE,
		  "reloaded generation=%" PRIu64 " limits=%u buckets=%u changed=%u orphans=%u "
		  "unreadable=%u workers=%u waiting=%u",
		  generation, s->policy.blob.n_limits, counts.linked, counts.changed,
		  counts.orphans, counts.unreadable, s->ledger.n_taken, waiting);
}

static uint64_t monotonic_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void notify_status(const struct supervisor *s, const char *state, const char *remark)
{
	sd_notifyf(0, "%s\nSTATUS=Serving %s, generation %" PRIu64 ", on %s%s", state,
		   s->options->policy, s->policy.blob.header->generation, s->place.address.sun_path,
		   remark);
}

static void reload(struct supervisor *s)
{
	struct published next;
	int result;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, monotonic_usec());
	wallclock_confirm(s);
	result = published_make(&next, s->options->policy, s->policy.blob.header->generation + 1,
				s->hash_key, &s->policy, log_message, NULL);
	if (result == 0)
		publish(s, &next);
	else
		log_event(LOG_ERR,
			  "reload-failed path=\"%s\" error=\"%s\" kept-generation=%" PRIu64,
			  s->options->policy,
			  result == -EINVAL ? "the policy has errors" : ration_strerror(result),
			  s->policy.blob.header->generation);
	notify_status(s, "READY=1", result == 0 ? "" : " (the last reload was refused)");
}

/* --- signals --- */

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	(void)source, (void)info;
	reload(user);
	return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	struct supervisor *s = user;

	(void)source;
	log_event(LOG_NOTICE, "stopping signal=%s", sigabbrev_np((int)info->ssi_signo));
	sd_notify(0, "STOPPING=1");
	return sd_event_exit(s->event, 0);
}

static int watch_signals(struct supervisor *s)
{
	static const struct {
		int signal;
		sd_event_signal_handler_t handler;
	} table[] = {{SIGHUP, on_reload}, {SIGTERM, on_stop}, {SIGINT, on_stop}};
	int result = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) && result >= 0; i++)
		result = sd_event_add_signal(s->event, NULL, table[i].signal, table[i].handler, s);
	return result;
}

/*
 * Before the first policy is read: a signal that comes early must wait for its handler, not kill.
 */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* --- start --- */

/*
 * Two descriptors a worker. Without enough of them attaching fails later, in words; better said at
 * once.
 */
static void raise_descriptor_limit(const struct supervisor *s)
{
	const rlim_t wanted = 2 * (rlim_t)s->options->config.workers + SPARE_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
		log_event(LOG_WARNING, "few-descriptors limit=%llu wanted=%llu",
			  (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

static int open_reader(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int make_memory(struct supervisor *s)
{
	const struct seg_config *config = &s->options->config;
	int result = memory_make_state(config, clock_boot_ns(), &s->state_fd, &s->seg);

	if (result < 0)
		return failed("state-memory", result);
	s->state_reader_fd = open_reader(s->state_fd);
	if (s->state_reader_fd < 0)
		return failed("open-state-for-reading", s->state_reader_fd);
	s->watches = calloc(config->workers, sizeof(*s->watches));
	result = s->watches ? ledger_make(&s->ledger, config->workers) : -ENOMEM;
	if (result < 0)
		return failed("ledger", result);
	shm_store(&s->seg.control->policy_generation, s->policy.blob.header->generation);
	return 0;
}

static int make_loop(struct supervisor *s)
{
	int result = sd_event_new(&s->event);

	if (result >= 0)
		result = watch_signals(s);
	if (result >= 0)
		result = sd_event_set_watchdog(s->event, true);
	if (result >= 0)
		result = greet_start(s);
	if (result >= 0)
		result = patrol_start(s);
	if (result >= 0)
		result = wallclock_start(s);
	return result < 0 ? failed("event-loop", result) : 0;
}

static int start(struct supervisor *s)
{
	int status = place_take(&s->place, &s->options->address);

	raise_descriptor_limit(s);
	if (status == 0)
		status = load_first_policy(s);
	if (status == 0)
		status = make_memory(s);
	if (status == 0)
		status = make_loop(s);
	if (status != 0)
		return status;
	log_event(LOG_NOTICE,
		  "ready socket=\"%s\" policy=\"%s\" limits=%u buckets=%u workers=%u "
		  "bytes=%" PRIu64,
		  s->place.address.sun_path, s->options->policy, s->policy.blob.n_limits,
		  s->seg.n_buckets, s->seg.n_workers, s->seg.size);
	notify_status(s, "READY=1", "");
	return 0;
}

/* Workers keep their memory and go on; only new ones find nobody. */
static void stop(struct supervisor *s)
{
	roster_stop(s);
	greet_stop(s);
	ledger_free(&s->ledger);
	free(s->watches);
	place_leave(&s->place);
	sd_event_unref(s->event);
	published_free(&s->policy);
	memory_unmap_state(&s->seg);
	if (s->state_reader_fd >= 0)
		close(s->state_reader_fd);
	if (s->state_fd >= 0)
		close(s->state_fd);
}

int supervisor_run(struct supervisor *s, const struct options *options)
{
	int status;

	*s = (struct supervisor){
		.options = options,
		.place = {.socket = -1},
		.state_fd = -1,
		.state_reader_fd = -1,
		.policy = {.fd = -1},
	};
	block_signals();
	status = start(s);
	if (status == 0 && sd_event_loop(s->event) < 0)
		status = EX_SOFTWARE;
	stop(s);
	log_event(LOG_NOTICE, "stopped status=%d", status);
	return status;
}
