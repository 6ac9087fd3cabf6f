/*
 * supervisor/wallclock.c - the wall clock that windows go by
 * SPDX-License-Identifier: MIT
 *
 * client/wall.h says how it follows CLOCK_REALTIME. It is looked at every second and whenever somebody sets the
 * clock, which the kernel tells through a timer that is never due.
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

/* Absolute, on CLOCK_REALTIME: about the year 2500. */
#define NEVER_DUE 16725225600

static int64_t found(const struct supervisor *s)
{
	return clock_wall_offset_ns() + (int64_t)s->seg.epoch_ns;
}

static void say(enum wall_event event, int64_t ahead)
{
	static const struct {
		int priority;
		const char *what;
	} words[] = {
		[WALL_SET_BACK] = {LOG_WARNING, "set-back"},
		[WALL_SLEWS] = {LOG_NOTICE, "set-forward-little"},
		[WALL_JUMPED] = {LOG_WARNING, "set-forward-far-unconfirmed"},
		[WALL_CONFIRMED] = {LOG_NOTICE, "confirmed"},
	};

	log_event(words[event].priority, "wall-clock what=%s by-ms=%" PRId64, words[event].what,
		  ahead / 1000000);
}

static void publish(struct supervisor *s)
{
	/* Nothing is published by it but itself. */
	shm_store(&s->seg.control->wall_offset, (uint64_t)s->ledger.head->wall.offset);
}

int64_t wallclock_latest(struct supervisor *s)
{
	const int64_t wall =
		(int64_t)(supervisor_now(s) / TICKS_PER_NS) + s->ledger.head->wall.offset;

	if (wall > s->ledger.head->wall_latest)
		s->ledger.head->wall_latest = wall;
	return s->ledger.head->wall_latest;
}

/* Only we write this word. */
static void mend_offset(struct supervisor *s)
{
	if (shm_load(&s->seg.control->wall_offset) == (uint64_t)s->ledger.head->wall.offset)
		return;
	publish(s);
	shm_add(&s->seg.control->repaired, 1);
	if (log_allowed(&s->problems, "problem"))
		log_event(LOG_WARNING, "repaired what=wall-offset");
}

void wallclock_look(struct supervisor *s)
{
	const int64_t is = found(s), ahead = is - s->ledger.head->wall.offset;
	enum wall_event event;

	mend_offset(s);
	(void)wallclock_latest(s); /* before it may be set back */
	event = wall_follow(&s->ledger.head->wall, is, supervisor_now(s));
	publish(s);
	if (event != s->wall_said && event != WALL_STEADY && event != WALL_WAITS)
		say(event, ahead);
	s->wall_said = event;
}

void wallclock_confirm(struct supervisor *s)
{
	const int64_t is = found(s), ahead = is - s->ledger.head->wall.offset;

	if (s->ledger.head->wall.jumped_at == 0)
		return;
	wall_confirm(&s->ledger.head->wall, is, supervisor_now(s));
	publish(s);
	say(WALL_CONFIRMED, ahead);
	s->wall_said = WALL_CONFIRMED;
}

int64_t wallclock_ahead(const struct supervisor *s)
{
	return s->ledger.head->wall.offset - found(s);
}

static int arm(int timer)
{
	const struct itimerspec never = {.it_value = {.tv_sec = NEVER_DUE}};

	return timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

/* What is read does not matter: that it was cancelled (ECANCELED) is the news. */
static int on_set(sd_event_source *source, int timer, uint32_t events, void *user)
{
	uint64_t expirations;

	(void)events;
	if (read(timer, &expirations, sizeof(expirations)) < 0 && errno == EAGAIN)
		return 0;
	wallclock_look(user);
	return arm(timer) < 0 ? sd_event_source_set_enabled(source, SD_EVENT_OFF) : 0;
}

static int watch(struct supervisor *s, int timer)
{
	sd_event_source *source = NULL;
	int result = arm(timer) < 0 ? -errno : 0;

	if (result == 0)
		result = sd_event_add_io(s->event, &source, timer, EPOLLIN, on_set, s);
	if (result >= 0)
		result = sd_event_source_set_io_fd_own(source, true);
	if (result < 0)
		close(timer);
	else
		result = sd_event_source_set_floating(source, true); /* the loop's from here on */
	sd_event_source_unref(source);
	return result;
}

void wallclock_resume(struct supervisor *s, int64_t offset, int64_t latest)
{
	s->ledger.head->wall = wall_begin(offset, supervisor_now(s));
	s->ledger.head->wall_latest = latest;
}

int wallclock_start(struct supervisor *s)
{
	const int timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	struct wall *wall = &s->ledger.head->wall;

	if (wall->seen_at == 0)
		*wall = wall_begin(found(s), supervisor_now(s));
	publish(s);
	return timer < 0 ? -errno : watch(s, timer);
}
