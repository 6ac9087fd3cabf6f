/*
 * tests/test_checkpoint_rationd.c - what a real rationd gave before the power went is not given again
 * SPDX-License-Identifier: MIT
 *
 * A power cut is SIGKILL, and a copy of the state directory as it would have been found. Nothing here waits for a time: only
 * for what is to stand in the file.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

__attribute__((unused)) static void write_file(const struct world *w, const char *name,
					       const void *data, size_t size)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", w->state, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

__attribute__((unused)) static void remove_file(const struct world *w, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", w->state, name);
	cr_assert(unlink(path) == 0 || errno == ENOENT);
}

/* How many units of a vendor's limit a restore would leave, or -1. */
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
	return -1;
}

static int left_on_disk(const struct world *w, const char *vendor)
{
	struct checkpoint_file f;
	size_t size;
	void *data = read_file(w, CHECKPOINT_NAME, &size);
	const int left = data && !checkpoint_open(data, size, &f) ? left_by(&f, vendor) : -1;

	free(data);
	return left;
}

static void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Until it says that so much is left, and no more. */
static void expect_on_disk(const struct world *w, const char *vendor, int least_left, int most_left)
{
	int left = -1;

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
