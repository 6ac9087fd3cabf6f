/*
 * tests/test_checkpoint_rationd.c - what a real rationd gave before the power went is not given again
 * SPDX-License-Identifier: MIT
 *
 * A power cut is SIGKILL, and a copy of the state directory as it would have been found. Nothing here waits for a time: only
 * for what is to stand in the file.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/gate.h"
#include "shm/saturate.h"
#include "supervisor/checkpoint_disk.h"
#include "supervisor/checkpoint_file.h"
#include "support_random.h"
#include "support_rationd.h"

#define HEAD                                                                                       \
	"version: 1\n"                                                                             \
	"classes: [recovery, interactive]\n"                                                       \
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"                                  \
	"vendors:\n"

/* Long enough that nothing becomes new while a test runs. */
static const char policy[] = HEAD
	"  window:\n    limits:\n"
	"      - { name: l, kind: window, period: 300d, amount: 1000, scope: [tenant, vendor] }\n"
	"  rolling:\n    limits:\n"
	"      - { name: l, kind: rolling, period: 300d, amount: 1000, scope: [tenant, vendor] }\n"
	"  bucket:\n    limits:\n"
	"      - { name: l, rate: 1/h, burst: 1000, scope: [tenant, vendor] }\n"
	"  parts:\n    limits:\n"
	"      - { name: l, kind: window, period: 300d, amount: 1000, scope: [tenant, vendor],"
	" classes: { recovery: { guarantee: 400 } } }\n"
	"  quick:\n    limits:\n"
	"      - { name: l, rate: 100/s, burst: 100, scope: [tenant, vendor] }\n";

static const char *const kinds[] = {"window", "rolling", "bucket"};

struct world {
	struct rationd r;
	char state[128];
	struct ration *ration;
};

static void spawn(struct world *w)
{
	rationd_spawn(&w->r, (const char *[]){"--buckets", "256", "--state-dir", w->state,
					      "--checkpoint-period", "50ms", NULL});
	rationd_ready(&w->r);
}

static void attach(struct world *w)
{
	struct ration_error error;

	cr_assert_eq(ration_attach(w->r.socket, 0, &w->ration, &error), 0, "%s", error.text);
}

static void begin(struct world *w, const char *text)
{
	*w = (struct world){0};
	rationd_prepare(&w->r, text);
	snprintf(w->state, sizeof(w->state), "%s/state", w->r.dir);
	spawn(w);
	attach(w);
}

/* Nobody of the old boot lives on. */
static void power_cut(struct world *w)
{
	kill(w->r.pid, SIGKILL);
	cr_assert_eq(rationd_wait(&w->r), -SIGKILL);
	ration_detach(&w->ration);
}

/* As a service manager does: workers first. */
static void stop_in_order(struct world *w)
{
	ration_detach(&w->ration);
	rationd_expect_log(&w->r, "event=left ", 1);
	kill(w->r.pid, SIGTERM);
	cr_assert_eq(rationd_wait(&w->r), 0);
	rationd_expect_notice(&w->r, "STOPPING=1");
}

static void boot(struct world *w)
{
	spawn(w);
	attach(w);
}

static void end(struct world *w)
{
	ration_detach(&w->ration);
	cr_expect_eq(rationd_stop(&w->r), 0);
}

/* --- taking --- */

static struct ration_handle *resolve(struct world *w, const char *vendor, const char *class)
{
	const struct ration_key key = {.tenant = "acme", .vendor = vendor, .traffic_class = class};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(w->ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

static int take_of(struct world *w, const char *vendor, const char *class, uint64_t units)
{
	const struct ration_cost cost = {"requests", units};
	struct ration_handle *handle = resolve(w, vendor, class);
	struct ration_ticket ticket;
	const int result = ration_acquire(handle, &cost, 1, &ticket, NULL);

	ration_handle_free(&handle);
	return result;
}

/* How many single requests are admitted. */
static int drain_of(struct world *w, const char *vendor, const char *class)
{
	struct ration_handle *handle = resolve(w, vendor, class);
	struct ration_ticket ticket;
	int n = 0;

	while (n < 3000 && ration_acquire(handle, NULL, 0, &ticket, NULL) == 0)
		n++;
	ration_handle_free(&handle);
	return n;
}

/* --- the file --- */

static void *read_file(const struct world *w, const char *name, size_t *ret_size)
{
	char path[300];
	struct stat st;
	void *data;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", w->state, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	cr_assert_eq(fstat(fd, &st), 0);
	data = malloc((size_t)st.st_size + 1);
	cr_assert(data && read(fd, data, (size_t)st.st_size) == st.st_size);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return data;
}

static void write_file(const struct world *w, const char *name, const void *data, size_t size)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", w->state, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static void remove_file(const struct world *w, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", w->state, name);
	cr_assert(unlink(path) == 0 || errno == ENOENT);
}

#define NOT_THERE INT_MIN

/* How many units of a vendor's limit a restore would leave. */
static int left_by(const struct checkpoint_file *f, const char *vendor)
{
	for (uint32_t i = 0; i < f->header->n_entries; i++) {
		const struct checkpoint_entry *e = &f->entries[i];
		uint64_t used = 0, ahead = e->ahead;

		if (e->limit == BLOB_NO_INDEX ||
		    strcmp(checkpoint_text(f, e->field[KEY_VENDOR]), vendor) != 0 ||
		    strchr(checkpoint_text(f, f->limits[e->limit].name), ':'))
			continue;
		for (uint32_t c = 0; c < e->count; c++)
			used += f->cells[e->first + c].units;
		if (e->kind == KIND_BUCKET) {
			used = ratio(used, e->burst, e->full_ns, true);
			ahead = ratio(ahead, e->burst, e->full_ns, true);
		}
		return (int)(1000 - used - ahead);
	}
	return NOT_THERE;
}

static int left_in(const struct world *w, const char *name, const char *vendor)
{
	struct checkpoint_file f;
	size_t size;
	void *data = read_file(w, name, &size);
	const int left = data && !checkpoint_open(data, size, &f) ? left_by(&f, vendor) : NOT_THERE;

	free(data);
	return left;
}

static bool has_kind_on_disk(const struct world *w, uint32_t kind)
{
	struct checkpoint_file f;
	size_t size;
	void *data = read_file(w, CHECKPOINT_NAME, &size);
	bool has = false;

	if (data && !checkpoint_open(data, size, &f)) {
		for (uint32_t i = 0; i < f.header->n_entries; i++)
			has |= f.entries[i].kind == kind;
	}
	free(data);
	return has;
}

static void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static int left_on_disk(const struct world *w, const char *vendor)
{
	return left_in(w, CHECKPOINT_NAME, vendor);
}

/* Until it says that so much is left, and no more. */
static void expect_on_disk(const struct world *w, const char *vendor, int least_left, int most_left)
{
	int left = NOT_THERE;

	for (int i = 0; i < 12000; i++) {
		left = left_on_disk(w, vendor);
		if (left >= least_left && left <= most_left)
			return;
		pause_a_little();
	}
	cr_assert_fail("%s: %d left on disk", vendor, left);
}

/* --- */

Test(checkpoint_rationd, what_was_used_is_not_given_again_and_98_percent_of_the_rest_is)
{
	struct world w;

	begin(&w, policy);
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(take_of(&w, kinds[i], "interactive", 500), 0);
		expect_on_disk(&w, kinds[i], 490, 500);
	}
	power_cut(&w);
	boot(&w);
	rationd_expect_log(&w.r, "event=checkpoint-restored ", 1);
	for (size_t i = 0; i < 3; i++) {
		const int n = drain_of(&w, kinds[i], "interactive");

		cr_expect(n >= 490 && n <= 500, "%s: %d", kinds[i], n);
	}
	end(&w);
}

Test(checkpoint_rationd, power_cuts_one_after_the_other_do_not_add_up_to_more_than_they_cost)
{
	int given = 0, left = 1000;
	struct world w;

	begin(&w, policy);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(take_of(&w, "window", "interactive", 100), 0);
		given += 100;
		left -= 100;
		expect_on_disk(&w, "window", left * 98 / 100, left);
		left = left_on_disk(&w, "window");
		power_cut(&w);
		boot(&w);
	}
	given += drain_of(&w, "window", "interactive");
	cr_expect(given <= 1000 && given >= 1000 - 4 * 10, "%d", given);
	end(&w);
}

Test(checkpoint_rationd, what_is_stopped_in_order_loses_nothing)
{
	struct world w;

	begin(&w, policy);
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(take_of(&w, kinds[i], "interactive", 333), 0);
	stop_in_order(&w);
	boot(&w);
	for (size_t i = 0; i < 3; i++)
		cr_expect_eq(drain_of(&w, kinds[i], "interactive"), 667, "%s", kinds[i]);
	end(&w);
}

Test(checkpoint_rationd, parts_of_classes_are_restored_each_for_itself)
{
	struct world w;
	int n;

	begin(&w, policy);
	cr_assert_eq(take_of(&w, "parts", "recovery", 300), 0);
	cr_assert_eq(take_of(&w, "parts", "interactive", 200), 0);
	stop_in_order(&w);
	boot(&w);
	n = drain_of(&w, "parts", "interactive");
	cr_expect_eq(n, 400, "%d of the common part", n);
	n = drain_of(&w, "parts", "recovery");
	cr_expect_eq(n, 100, "%d of its own", n);
	end(&w);
}

Test(checkpoint_rationd, blocks_outlive_a_power_cut)
{
	const struct gate_key key = {.tenant = "acme", .vendor = "window"};
	struct world w;

	begin(&w, policy);
	cr_assert_eq(take_of(&w, "window", "interactive", 1), 0);
	cr_assert_eq(gate_close_by_hand(w.ration, &key, UINT64_C(3600000000000)), 0);
	cr_assert_eq(take_of(&w, "window", "interactive", 1), RATION_DENIED);
	for (int i = 0; i < 12000 && !has_kind_on_disk(&w, KIND_GATE); i++)
		pause_a_little();
	power_cut(&w);
	boot(&w);
	cr_expect_eq(take_of(&w, "window", "interactive", 1), RATION_DENIED);
	cr_expect_eq(gate_lift_by_hand(w.ration, &key), 1);
	end(&w);
}

Test(checkpoint_rationd, a_limit_that_counts_otherwise_after_the_reboot_begins_spent)
{
	static const char other[] = HEAD
		"  window:\n    limits:\n"
		"      - { name: l, kind: window, period: 200d, amount: 1000, scope: [vendor] }\n";
	struct world w;

	begin(&w, policy);
	cr_assert_eq(take_of(&w, "window", "interactive", 1), 0);
	expect_on_disk(&w, "window", 0, 999);
	power_cut(&w);
	rationd_write_policy(&w.r, other);
	boot(&w);
	cr_expect_eq(drain_of(&w, "window", "interactive"), 0);
	end(&w);
}

/* --- wherever the power goes --- */

/*
 * What is on disk always covers one unit more than was given before that is taken. So whenever it is killed, writing or not,
 * nothing is given twice.
 */
Test(checkpoint_rationd, killed_at_any_time_it_never_gives_twice, .timeout = 120)
{
	const char *vendor = kinds[getpid() % 3];
	struct world w;
	int given = 0, cuts = 6;

	seed((uint64_t)getpid());
	begin(&w, policy);
	for (int cut = 0; cut < cuts; cut++) {
		for (uint64_t n = 20 + below(60); n > 0; n--) {
			if (take_of(&w, vendor, "interactive", 1) == 0)
				given++;
			expect_on_disk(&w, vendor, -1000, 1000 - given - (given < 1000));
		}
		nanosleep(&(struct timespec){.tv_nsec = (long)below(30000000)}, NULL);
		power_cut(&w);
		boot(&w);
	}
	given += drain_of(&w, vendor, "interactive");
	cr_expect(given <= 1000, "%s: %d, seed %lu\n%s", vendor, given, seed_used,
		  rationd_log(&w.r));
	/* Each cut may cost a little more than a hundredth where it was used fast just then. */
	cr_expect(given >= 1000 - cuts * 60, "%s: %d, seed %lu", vendor, given, seed_used);
	end(&w);
}

/* The file that is there, and the one that is being written beside it, cut off anywhere. */
Test(checkpoint_rationd, what_is_left_of_a_file_that_was_being_written_is_ignored, .timeout = 120)
{
	static const int parts[] = {0, 1, 33, 66, 99, 100};
	struct world w;
	size_t size;
	void *data;

	begin(&w, policy);
	cr_assert_eq(take_of(&w, "window", "interactive", 500), 0);
	expect_on_disk(&w, "window", 490, 499);
	power_cut(&w);
	data = read_file(&w, CHECKPOINT_NAME, &size);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		write_file(&w, CHECKPOINT_NAME, data, size);
		write_file(&w, CHECKPOINT_NEW, data, size * (size_t)parts[i] / 100);
		boot(&w);
		cr_expect_eq(take_of(&w, "window", "interactive", 501), RATION_DENIED);
		cr_expect_eq(take_of(&w, "window", "interactive", 480), 0);
		power_cut(&w);
	}
	free(data);
	boot(&w);
	end(&w);
}

/* Between the two renames there is only the one before. It has marks that are further ahead. */
Test(checkpoint_rationd, damaged_or_cut_off_the_one_before_is_taken, .timeout = 120)
{
	struct world w;
	char *data, *previous;
	size_t size, previous_size;

	begin(&w, policy);
	cr_assert_eq(take_of(&w, "window", "interactive", 500), 0);
	expect_on_disk(&w, "window", 490, 499);
	for (int i = 0; i < 12000 && left_in(&w, CHECKPOINT_PREVIOUS, "window") == NOT_THERE; i++)
		pause_a_little();
	cr_assert_eq(take_of(&w, "window", "interactive", 8), 0);
	expect_on_disk(&w, "window", 0, 485);
	power_cut(&w);
	data = read_file(&w, CHECKPOINT_NAME, &size);
	previous = read_file(&w, CHECKPOINT_PREVIOUS, &previous_size);
	cr_assert(data && previous);
	for (int how = 0; how < 4; how++) {
		int n;

		data[size / 2] ^= 4;
		if (how == 0)
			remove_file(&w, CHECKPOINT_NAME);
		else
			write_file(&w, CHECKPOINT_NAME, data, how == 1 ? size : size / (size_t)how);
		data[size / 2] ^= 4;
		write_file(&w, CHECKPOINT_PREVIOUS, previous, previous_size);
		boot(&w);
		rationd_expect_log(&w.r, "event=checkpoint-previous ", how + 1);
		n = drain_of(&w, "window", "interactive");
		cr_expect(n <= 492 && n >= 440, "%d", n);
		power_cut(&w);
	}
	rationd_expect_log(&w.r, "event=checkpoint-refused ", 3);
	free(data);
	free(previous);
	boot(&w);
	end(&w);
}

Test(checkpoint_rationd, without_a_good_one_it_says_so_and_starts)
{
	static const char rubbish[] = "what is this?";
	struct world w;

	begin(&w, policy);
	cr_assert_eq(take_of(&w, "window", "interactive", 500), 0);
	power_cut(&w);
	write_file(&w, CHECKPOINT_NAME, rubbish, sizeof(rubbish));
	write_file(&w, CHECKPOINT_PREVIOUS, "", 0);
	boot(&w);
	rationd_expect_log(&w.r, "why=\"cut off\"", 2);
	rationd_expect_log(&w.r, "event=checkpoint-none ", 2);
	cr_expect_eq(drain_of(&w, "window", "interactive"), 1000);
	end(&w);
}

/* --- trouble with the disk --- */

static void expect_trouble_and_its_end(struct world *w, const char *trouble,
				       void (*heal)(const struct world *w))
{
	cr_assert_eq(take_of(w, "window", "interactive", 100), 0);
	rationd_expect_log(&w->r, trouble, 1);
	cr_assert_eq(take_of(w, "window", "interactive", 100), 0);
	heal(w);
	rationd_expect_log(&w->r, "event=checkpoint-recovered ", 1);
	expect_on_disk(w, "window", 0, 799);
	/* Once, however often it was tried. */
	rationd_log(&w->r);
	cr_expect_null(strstr(strstr(w->r.log, "event=checkpoint-failed ") + 1,
			      "event=checkpoint-failed "));
}

static void free_the_name(const struct world *w)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", w->state, CHECKPOINT_NEW);
	cr_assert_eq(rmdir(path), 0);
}

Test(checkpoint_rationd, a_file_that_cannot_be_made_is_told_of_once)
{
	struct world w;
	char path[300];

	begin(&w, policy);
	snprintf(path, sizeof(path), "%s/%s", w.state, CHECKPOINT_NEW);
	while (mkdir(path, 0700) < 0)
		cr_assert_eq(errno, EEXIST);
	expect_trouble_and_its_end(&w, "event=checkpoint-failed step=open ", free_the_name);
	end(&w);
}

static void make_room(const struct world *w)
{
	remove_file(w, "filler");
}

static bool mount_small(const struct world *w)
{
	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	(void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return mkdir(w->state, 0700) == 0 &&
	       mount("small", w->state, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=0700") == 0;
}

static void fill(const struct world *w)
{
	static const char zeroes[4096];
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/filler", w->state);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	while (write(fd, zeroes, sizeof(zeroes)) > 0)
		;
	cr_assert_eq(errno, ENOSPC);
	close(fd);
}

Test(checkpoint_rationd, a_full_disk_costs_nothing_but_checkpoints)
{
	struct world w = {0};

	rationd_prepare(&w.r, policy);
	snprintf(w.state, sizeof(w.state), "%s/state", w.r.dir);
	if (!mount_small(&w)) {
		cr_log_warn("no file system of its own can be mounted here");
		spawn(&w);
		cr_expect_eq(rationd_stop(&w.r), 0);
		return;
	}
	spawn(&w);
	attach(&w);
	fill(&w);
	expect_trouble_and_its_end(&w, "error=\"No space left on device\"", make_room);
	ration_detach(&w.ration);
	kill(w.r.pid, SIGTERM);
	cr_expect_eq(rationd_wait(&w.r), 0);
	cr_assert_eq(umount2(w.state, MNT_DETACH), 0);
	rmdir(w.state);
	rationd_spawn(&w.r, (const char *[]){"--buckets", "256", NULL});
	rationd_stop(&w.r);
}

Test(checkpoint_rationd, a_directory_is_one_supervisors)
{
	struct world w, other = {0};

	begin(&w, policy);
	rationd_prepare(&other.r, policy);
	rationd_spawn(&other.r, (const char *[]){"--buckets", "256", "--state-dir", w.state, NULL});
	cr_expect_eq(rationd_wait(&other.r), EX_TEMPFAIL);
	rationd_expect_log(&other.r, "another supervisor has it", 1);
	rationd_stop(&other.r);
	end(&w);
}
