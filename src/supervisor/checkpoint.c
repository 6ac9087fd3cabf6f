/*
 * supervisor/checkpoint.c - what was spent is spent still after a reboot
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <systemd/sd-id128.h>
#include <time.h>

#include <ration/ration.h>

#include "shm/saturate.h"
#include "supervisor/checkpoint_disk.h"
#include "supervisor/checkpoint_marks.h"
#include "supervisor/checkpoint_restore.h"
#include "supervisor/supervisor.h"
#include "supervisor/tune.h"

#define NS_PER_SEC  UINT64_C(1000000000)
#define NS_PER_USEC UINT64_C(1000)

/* How often marks are looked at, unless that would take more than a hundredth of a CPU; and records for new ones. */
#define LOOK_NS    (20 * NS_PER_SEC / 1000)
#define LOOK_SHARE 100
#define RECORDS    16384u

/* What time alone has changed. */
#define THOROUGH_NS NS_PER_SEC

#define BYTES_PER_SEC (UINT64_C(8) << 20)
#define WAIT_NS       (5 * NS_PER_SEC)

struct checkpoint {
	struct checkpoint_disk *disk;
	struct marks marks;
	void *data; /* what was read at the start */
	struct checkpoint_file file;
	bool has_file;
	bool far; /* it is not the last one that was made */
	bool same_boot;
	uint64_t elapsed; /* ns since it was made */
	struct published names;
	uint64_t serial;
	uint64_t look_ns;   /* between two looks */
	uint64_t looked_at; /* thoroughly */
	uint64_t begun_at;
	uint64_t ended_at;
	struct disk_result last;
	int said; /* the error that was logged last; 0: all was well */
};

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* --- reading --- */

/* 0, 0: not known. */
static void boot_id(uint64_t ret_id[2])
{
	sd_id128_t id;

	if (sd_id128_get_boot(&id) < 0)
		id = SD_ID128_NULL;
	memcpy(ret_id, &id, sizeof(id));
}

static bool read_one(struct checkpoint *c, const char *directory, const char *name)
{
	const char *wrong;
	void *data = NULL;
	size_t size = 0;
	const int result = checkpoint_disk_read(c->disk, name, &data, &size);

	if (result == -ENOENT)
		return false;
	if (result < 0) {
		log_event(LOG_ERR, "checkpoint-unreadable file=\"%s/%s\" error=\"%s\"", directory,
			  name, strerror(-result));
		return false;
	}
	wrong = checkpoint_open(data, size, &c->file);
	if (wrong) {
		log_event(LOG_ERR, "checkpoint-refused file=\"%s/%s\" bytes=%zu why=\"%s\"",
			  directory, name, size, wrong);
		checkpoint_disk_set_aside(c->disk, name);
		free(data);
		return false;
	}
	c->data = data;
	c->serial = c->file.header->serial;
	return c->has_file = true;
}

static void read_last(struct checkpoint *c, const char *directory)
{
	if (read_one(c, directory, CHECKPOINT_NAME))
		return;
	c->far = read_one(c, directory, CHECKPOINT_PREVIOUS);
	if (c->far)
		log_event(LOG_WARNING, "checkpoint-previous file=\"%s/%s\" serial=%" PRIu64,
			  directory, CHECKPOINT_PREVIOUS, c->serial);
	else
		log_event(LOG_NOTICE, "checkpoint-none directory=\"%s\"", directory);
}

/*
 * By the wall clock; in the same boot also by the one that runs through, if that says less: the wall's may have been set
 * forward, the other one is another in another time namespace.
 */
static void work_out_age(struct checkpoint *c)
{
	const struct checkpoint_header *h = c->file.header;
	const uint64_t boot = clock_boot_ns();
	const int64_t wall = (int64_t)boot + clock_wall_offset_ns();
	uint64_t id[2];

	boot_id(id);
	c->same_boot =
		(id[0] | id[1]) != 0 && memcmp(id, h->boot, sizeof(id)) == 0 && boot >= h->boot_ns;
	c->elapsed = wall > h->wall ? (uint64_t)wall - (uint64_t)h->wall : 0;
	if (c->same_boot)
		c->elapsed = least(c->elapsed, boot - h->boot_ns);
	if (wall < h->wall)
		log_event(LOG_WARNING, "checkpoint-of-the-future by-s=%" PRId64,
			  (h->wall - wall) / (int64_t)NS_PER_SEC);
}

static int refuse_directory(const char *directory, int result)
{
	log_event(LOG_ERR, "failed what=state-directory path=\"%s\" error=\"%s\"", directory,
		  result == -EBUSY ? "another supervisor has it" : strerror(-result));
	return result == -EBUSY ? EX_TEMPFAIL : EX_CANTCREAT;
}

int checkpoint_load(struct supervisor *s)
{
	const char *directory = s->options->state_directory;
	struct checkpoint *c;
	int result;

	if (!directory)
		return 0;
	c = s->checkpoint = calloc(1, sizeof(*c));
	if (!c)
		return EX_OSERR;
	result = checkpoint_disk_open(directory, &c->disk);
	if (result < 0)
		return refuse_directory(directory, result);
	read_last(c, directory);
	if (!c->has_file)
		return 0;
	work_out_age(c);
	result = restore_names(&c->file, c->elapsed, CHECKPOINT_PAST_NS * TICKS_PER_NS, &c->names);
	return result < 0 ? EX_OSERR : 0;
}

const struct published *checkpoint_names(const struct supervisor *s)
{
	return s->checkpoint && s->checkpoint->has_file ? &s->checkpoint->names : NULL;
}

/* --- restoring --- */

static void forget_file(struct checkpoint *c)
{
	free(c->names.names);
	free(c->data);
	c->names = (struct published){0};
	c->data = NULL;
	c->has_file = false;
}

/* In the same boot windows go on by the clock they went by: if it was set meanwhile, client/wall.h says what becomes of that. */
static int64_t wall_then(struct supervisor *s, uint64_t now)
{
	const struct checkpoint *c = s->checkpoint;
	const struct checkpoint_header *h = c->file.header;
	int64_t offset = clock_wall_offset_ns() + (int64_t)s->seg.epoch_ns;

	if (c->same_boot)
		offset = (int64_t)((uint64_t)h->wall + c->elapsed) - (int64_t)(now / TICKS_PER_NS);
	wallclock_resume(s, offset, h->latest);
	return (int64_t)(now / TICKS_PER_NS) + offset;
}

static uint64_t ticks_now(void *user)
{
	return supervisor_now(user);
}

void checkpoint_restore(struct supervisor *s)
{
	struct checkpoint *c = s->checkpoint;
	struct restore r;

	if (!c || !c->has_file)
		return;
	r = (struct restore){
		.seg = &s->seg,
		.slot = s->ledger.n_workers, /* ours */
		.policy = &s->policy,
		.file = &c->file,
		.far = c->far,
		.now = supervisor_now(s),
		.elapsed = c->elapsed,
	};
	r.wall = wall_then(s, r.now);
	restore_all(&r);
	(void)tune_learned(&s->seg, &s->policy, ticks_now, s);
	log_event(r.no_room > 0 ? LOG_WARNING : LOG_NOTICE,
		  "checkpoint-restored serial=%" PRIu64 " age-s=%" PRIu64
		  " buckets=%u blocks=%u told=%u unknown=%u no-room=%u",
		  c->serial, c->elapsed / NS_PER_SEC, r.buckets, r.blocks, r.told, r.unknown,
		  r.no_room);
	forget_file(c);
}

/* --- writing --- */

static struct marks_at here_and_now(struct supervisor *s)
{
	const uint64_t now = supervisor_now(s);

	return (struct marks_at){
		.seg = &s->seg,
		.policy = &s->policy,
		.now = now,
		.wall = (int64_t)(now / TICKS_PER_NS) + s->ledger.head->wall.offset,
	};
}

/* How long two files that are written in haste are apart. */
static uint64_t pause_ns(const struct checkpoint *c)
{
	return most(c->last.ns, c->last.size * NS_PER_SEC / BYTES_PER_SEC);
}

/* How often marks are looked at from one file until the next one is there. */
static uint64_t haste_of(const struct checkpoint *c)
{
	return (pause_ns(c) + c->last.ns) / c->look_ns + 2;
}

/* Each trouble once, and its end. */
static void say(struct supervisor *s, const struct disk_result *result)
{
	struct checkpoint *c = s->checkpoint;

	if (result->error == c->said)
		return;
	c->said = result->error;
	if (result->error < 0)
		log_event(LOG_ERR, "checkpoint-failed step=%s directory=\"%s\" error=\"%s\"",
			  result->step, s->options->state_directory, strerror(-result->error));
	else
		log_event(LOG_NOTICE, "checkpoint-recovered directory=\"%s\" serial=%" PRIu64,
			  s->options->state_directory, c->serial);
}

static int end_one(struct supervisor *s, const struct disk_result *result)
{
	struct checkpoint *c = s->checkpoint;

	c->ended_at = monotonic_ns();
	c->last = *result;
	if (result->error < 0)
		marks_lost(&c->marks);
	else
		marks_saved(&c->marks);
	say(s, result);
	return result->error;
}

static int write_one(struct supervisor *s, uint64_t haste)
{
	struct checkpoint *c = s->checkpoint;
	const struct marks_at at = here_and_now(s);
	struct checkpoint_draft draft;
	void *data;
	size_t size;
	int result;

	checkpoint_begin(&draft, &s->policy, at.now);
	draft.header.serial = c->serial + 1;
	draft.header.wall = at.wall;
	draft.header.latest = wallclock_latest(s);
	draft.header.boot_ns = at.now / TICKS_PER_NS + s->seg.epoch_ns;
	boot_id(draft.header.boot);
	marks_save(&c->marks, &at, &draft, haste);
	c->begun_at = monotonic_ns();
	result = checkpoint_pack(&draft, &data, &size);
	if (result < 0)
		return end_one(s, &(const struct disk_result){.error = result, .step = "memory"});
	c->serial++;
	checkpoint_disk_write(c->disk, data, size);
	return 0;
}

static int on_ended(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct supervisor *s = user;
	struct disk_result result;

	(void)source, (void)fd, (void)events;
	if (checkpoint_disk_take(s->checkpoint->disk, 0, &result))
		(void)end_one(s, &result);
	return 0;
}

/* What could not be written is tried again once a period. */
static bool is_time(const struct checkpoint *c, uint64_t now, uint64_t period)
{
	if (c->marks.due && c->said == 0 && now - c->ended_at >= pause_ns(c))
		return true;
	return c->marks.moved && now - c->begun_at >= period;
}

static void look(struct supervisor *s, uint32_t records)
{
	struct checkpoint *c = s->checkpoint;
	const struct marks_at at = here_and_now(s);
	const uint64_t begun = monotonic_ns();
	const bool thorough = begun - c->looked_at >= THOROUGH_NS;

	marks_look(&c->marks, &at, records, thorough);
	if (thorough)
		c->looked_at = begun;
	c->look_ns = most(LOOK_NS, (monotonic_ns() - begun) * LOOK_SHARE);
}

static int on_look(sd_event_source *source, uint64_t usec, void *user)
{
	struct supervisor *s = user;
	struct checkpoint *c = s->checkpoint;

	(void)usec;
	look(s, RECORDS);
	if (!checkpoint_disk_busy(c->disk) &&
	    is_time(c, monotonic_ns(), s->options->checkpoint_period_ns))
		(void)write_one(s, haste_of(c));
	sd_event_source_set_time_relative(source, c->look_ns / NS_PER_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int save(struct supervisor *s, uint64_t haste)
{
	struct checkpoint *c = s->checkpoint;
	struct disk_result result;
	int error;

	if (checkpoint_disk_busy(c->disk)) {
		if (!checkpoint_disk_take(c->disk, WAIT_NS, &result))
			return -ETIMEDOUT;
		(void)end_one(s, &result);
	}
	look(s, s->seg.n_buckets);
	error = write_one(s, haste);
	if (error < 0)
		return error;
	if (!checkpoint_disk_take(c->disk, WAIT_NS, &result))
		return -ETIMEDOUT;
	return end_one(s, &result);
}

int checkpoint_save_now(struct supervisor *s)
{
	return s->checkpoint ? save(s, haste_of(s->checkpoint)) : -ENOENT;
}

int checkpoint_start(struct supervisor *s)
{
	struct checkpoint *c = s->checkpoint;
	int result;

	if (!c)
		return 0;
	c->look_ns = LOOK_NS;
	result = marks_make(&c->marks, s->seg.n_buckets);
	if (result == 0)
		result = checkpoint_disk_start(c->disk);
	if (result < 0)
		return result;
	forget_file(c);
	/* While nobody can use any of it: what lies on disk has something ahead then. That it cannot be written was said. */
	if (!s->took_over || s->ledger.n_taken == 0)
		(void)save(s, haste_of(c));
	/* The loop owns the sources: they end with it. */
	result = sd_event_add_io(s->event, NULL, checkpoint_disk_fd(c->disk), EPOLLIN, on_ended, s);
	if (result >= 0)
		result = sd_event_add_time_relative(s->event, NULL, CLOCK_MONOTONIC,
						    LOOK_NS / NS_PER_USEC, 0, on_look, s);
	return result;
}

void checkpoint_stop(struct supervisor *s)
{
	struct checkpoint *c = s->checkpoint;

	if (!c)
		return;
	if (c->marks.of)
		(void)save(s, s->ledger.n_taken > 0 ? haste_of(c) : 0);
	checkpoint_disk_close(&c->disk);
	marks_free(&c->marks);
	forget_file(c);
	free(c);
	s->checkpoint = NULL;
}
