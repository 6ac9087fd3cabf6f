/*
 * tests/test_wall_step.c - the host's clock is set by more than a day, under a real supervisor
 * SPDX-License-Identifier: MIT
 *
 * preload_clock.c gives rationd and those who attach a CLOCK_REALTIME that is set while they run. rationd looks every
 * second; that the kernel would tell it at once is not part of it.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "support_cli.h"
#include "support_rationd.h"

#define SECOND INT64_C(1000000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

enum { AMOUNT = 3 };

static const char policy[] =
	"version: 1\n"
	"classes: [interactive]\n"
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: daily, kind: window, amount: 3, period: day, scope: [] }\n";

static struct rationd r;
static struct test_dir dir;
static char state[128];        /* where its checkpoints are */
static _Atomic int64_t *shift; /* of the clock, ns */
static int64_t noon;           /* what makes it noon now */

static void set_clock(int64_t hours)
{
	*shift = noon + hours * HOUR;
}

static void make_clock(void)
{
	const int fd = open(dir_path(&dir, "clock"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	cr_assert(fd >= 0 && ftruncate(fd, sizeof(*shift)) == 0);
	shift = mmap(NULL, sizeof(*shift), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_neq(shift, MAP_FAILED);
	close(fd);
	noon = DAY / 2 - time(NULL) % (DAY / SECOND) * SECOND;
	set_clock(0);
}

/* The sanitizer wants to be the first library: it need not be. */
static void preload(void)
{
	const char *asan = getenv("ASAN_OPTIONS");
	char options[512];

	snprintf(options, sizeof(options), "%s:verify_asan_link_order=0", asan ? asan : "");
	setenv("ASAN_OPTIONS", options, 1);
	setenv("PRELOAD_CLOCK", dir_path(&dir, "clock"), 1);
	setenv("LD_PRELOAD", rationd_program("tests/preload_clock.so"), 1);
}

static void begin(void)
{
	dir_make(&dir);
	make_clock();
	preload();
	rationd_prepare(&r, policy);
	snprintf(state, sizeof(state), "%s/state", r.dir);
	setenv("STATE_DIRECTORY", state, 1);
	rationd_spawn(&r, NULL);
	rationd_ready(&r);
}

static void end(void)
{
	cr_expect_eq(rationd_stop(&r), 0);
	munmap(shift, sizeof(*shift));
	dir_remove(&dir);
}

TestSuite(wall_step, .init = begin, .fini = end, .timeout = 120);

static int take(void)
{
	struct cli_result result;
	int status;

	CLI(&result, "acquire", "acme", "crm", "interactive", "--socket", r.socket);
	status = result.status;
	cli_free(&result);
	return status;
}

static void expect_spent(const char *when)
{
	cr_expect_eq(take(), EX_TEMPFAIL, "%s", when);
}

static void take_all(const char *when)
{
	for (int i = 0; i < AMOUNT; i++)
		cr_expect_eq(take(), 0, "%s", when);
	expect_spent(when);
}

Test(wall_step, nothing_is_admitted_twice)
{
	take_all("the first day");
	set_clock(26);
	rationd_expect_log(&r, "what=set-forward-far-unconfirmed", 1);
	expect_spent("a clock that jumps a day opens nothing by itself");
	rationd_reload(&r);
	rationd_expect_log(&r, "what=confirmed", 1);
	take_all("the second day");
	set_clock(0);
	rationd_expect_log(&r, "what=set-back", 1);
	expect_spent("the first day again");
	rationd_reload(&r);
	expect_spent("whatever the operator says");
	set_clock(26);
	rationd_expect_log(&r, "what=set-forward-far-unconfirmed", 2);
	rationd_reload(&r);
	rationd_expect_log(&r, "what=confirmed", 2);
	expect_spent("the second day again");
	set_clock(26 + 24);
	rationd_expect_log(&r, "what=set-forward-far-unconfirmed", 3);
	rationd_reload(&r);
	rationd_expect_log(&r, "what=confirmed", 3);
	take_all("the third day");
}

/* An hour forward in the middle of a day: it is the same window. */
Test(wall_step, within_a_window_nothing_changes)
{
	take_all("at noon");
	set_clock(2);
	rationd_expect_log(&r, "what=set-forward-far-unconfirmed", 1);
	rationd_reload(&r);
	rationd_expect_log(&r, "what=confirmed", 1);
	expect_spent("in the afternoon");
	set_clock(-2);
	rationd_expect_log(&r, "what=set-back", 1);
	expect_spent("in the morning");
}

/* By all that lasts but its memory it is the same host, with another clock. */
static void restart_at(int64_t hours)
{
	kill(r.pid, SIGTERM);
	cr_assert_eq(rationd_wait(&r), 0);
	rationd_expect_notice(&r, "STOPPING=1");
	set_clock(hours);
	rationd_spawn(&r, NULL);
	rationd_ready(&r);
}

Test(wall_step, a_clock_that_is_set_while_it_is_down_opens_nothing_either)
{
	take_all("the first day");
	restart_at(26);
	rationd_expect_log(&r, "event=checkpoint-restored ", 1);
	rationd_expect_log(&r, "what=set-forward-far-unconfirmed", 1);
	expect_spent("nobody has confirmed it");
	rationd_reload(&r);
	rationd_expect_log(&r, "what=confirmed", 1);
	take_all("the second day");
	restart_at(0);
	rationd_expect_log(&r, "event=checkpoint-of-the-future ", 1);
	expect_spent("the first day again");
	restart_at(26);
	rationd_reload(&r);
	expect_spent("the second day again");
}
