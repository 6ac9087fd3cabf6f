/*
 * supervisor/supervisor.c - start and stop
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
#include <unistd.h>

#include <ration/ration.h>

#include "supervisor/checkpoint_restore.h"

/* Descriptors beside those of workers: listening, memory, event loop, timers, log, /proc. */
#define SPARE_FDS (GREETINGS_MAX + FOLLOWERS_MAX + 64)

static int failed(const char *what, int error)
{
	log_event(LOG_ERR, "failed what=%s error=\"%s\"", what, ration_strerror(error));
	return EX_OSERR;
}

static int load_first_policy(struct supervisor *s)
{
	uint64_t *key = s->ledger.head->hash_key;
	const struct published_from from = {
		.path = s->options->policy,
		.hash_key = key,
		.before = checkpoint_names(s),
		.now = CHECKPOINT_PAST_NS * TICKS_PER_NS,
	};
	int result;

	if (getrandom(key, sizeof(s->ledger.head->hash_key), 0) != sizeof(s->ledger.head->hash_key))
		return failed("getrandom", -errno);
	result = published_make(&s->policy, &from, 1, reload_message, NULL);
	if (result == 0)
		return 0;
	failed("policy", result);
	return result == -ENOMEM ? EX_OSERR : EX_CONFIG;
}

/* --- signals --- */

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	(void)source, (void)info;
	reload_policy(user);
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

/* The last slot is ours, to make buckets. */
static int make_ledger(struct supervisor *s)
{
	struct seg_config config = s->options->config;
	int result;

	config.workers++;
	result = ledger_make(&s->ledger, &config, clock_boot_ns() - CHECKPOINT_PAST_NS);
	return result < 0 ? failed("ledger", result) : 0;
}

static int make_memory(struct supervisor *s)
{
	struct ledger_head *head = s->ledger.head;
	const uint64_t generation = s->policy.blob.header->generation;
	const int result = memory_make_state(&head->config, head->epoch_ns, &s->state_fd, &s->seg);

	if (result < 0)
		return failed("state-memory", result);
	head->config.extents = s->seg.n_extents;
	head->config.queues = s->seg.n_queues;
	shm_store(&head->used, generation);
	shm_store(&head->generation, generation);
	shm_store(&s->seg.control->policy_generation, generation);
	return 0;
}

/* The ledger last: a successor that gets one has all of it. */
static void keep_for_successor(const struct supervisor *s)
{
	store_put("state", &s->state_fd, 1);
	takeover_keep(&s->policy);
	store_put("ledger", &s->ledger.fd, 1);
}

static int begin(struct supervisor *s, struct handed *handed)
{
	int status = make_ledger(s);

	/* Parts of a start that was killed. They have the names of what is made now. */
	handed_free(handed, true);
	if (status == 0)
		status = load_first_policy(s);
	if (status == 0)
		status = make_memory(s);
	if (status != 0)
		return status;
	checkpoint_restore(s);
	keep_for_successor(s);
	return 0;
}

/* What is only ours, whether or not the memory was somebody else's before. */
static int complete(struct supervisor *s)
{
	s->maker = s->ledger.n_workers;
	s->state_reader_fd = open_reader(s->state_fd);
	if (s->state_reader_fd < 0)
		return failed("open-state-for-reading", s->state_reader_fd);
	s->watches = calloc(s->ledger.n_workers + 1u, sizeof(*s->watches));
	return s->watches ? 0 : failed("watches", -ENOMEM);
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
	if (result >= 0)
		result = events_start(s);
	if (result >= 0)
		result = metrics_start(s);
	if (result >= 0)
		result = checkpoint_start(s);
	return result < 0 ? failed("event-loop", result) : 0;
}

static int start_with(struct supervisor *s, struct handed *handed)
{
	int status = place_take(&s->place, &s->options->address, handed);

	raise_descriptor_limit(s);
	if (status == 0)
		status = checkpoint_load(s);
	if (status == 0 && handed_has(handed, "ledger"))
		status = takeover(s, handed);
	else if (status == 0)
		status = begin(s, handed);
	if (status == 0)
		status = complete(s);
	if (status == 0)
		status = make_loop(s);
	if (status == 0 && s->took_over)
		status = takeover_finish(s, handed) < 0 ? EX_OSERR : 0;
	return status;
}

static int start(struct supervisor *s)
{
	struct handed handed;
	int status = handed_take(&handed);

	if (status < 0)
		return failed("handed-down", status);
	status = start_with(s, &handed);
	handed_free(&handed, status == 0);
	if (status != 0)
		return status;
	log_event(LOG_NOTICE,
		  "ready socket=\"%s\" policy=\"%s\" limits=%u buckets=%u workers=%u "
		  "bytes=%" PRIu64,
		  s->place.address.sun_path, s->options->policy, s->policy.blob.n_limits,
		  s->seg.n_buckets, s->ledger.n_workers, s->seg.size);
	reload_status(s, "READY=1", "");
	return 0;
}

/* Workers keep their memory and go on; only new ones find nobody. */
static void stop(struct supervisor *s)
{
	checkpoint_stop(s);
	metrics_stop(s);
	events_stop(s);
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

static int loop(struct supervisor *s)
{
	const int result = sd_event_loop(s->event);

	if (result >= 0)
		return 0;
	log_event(LOG_ERR, "failed what=event-loop error=\"%s\"", strerror(-result));
	return EX_SOFTWARE;
}

int supervisor_run(struct supervisor *s, const struct options *options)
{
	int status;

	*s = (struct supervisor){
		.options = options,
		.place = {.socket = -1, .metrics = -1},
		.metrics = {.socket = -1},
		.state_fd = -1,
		.state_reader_fd = -1,
		.policy = {.fd = -1, .names_fd = -1},
		.ledger = {.fd = -1},
	};
	block_signals();
	status = start(s);
	if (status == 0)
		status = loop(s);
	stop(s);
	log_event(LOG_NOTICE, "stopped status=%d", status);
	return status;
}
