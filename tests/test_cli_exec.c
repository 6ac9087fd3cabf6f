/*
 * tests/test_cli_exec.c - ration exec: commands that hold leases
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"
#include "shm/layout.h"
#include "support_cli.h"
#include "support_rationd.h"

TestSuite(cli_exec, .timeout = 120);

static const char policy[] =
	"version: 1\n"
	"classes: [bulk]\n"
	"defaults: { delay: 0ms, margin: 0% }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: par, kind: concurrency, slots: 2, scope: [tenant, vendor] }\n"
	"  free:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 1k, scope: [tenant, vendor] }\n";

/* Runs until its standard input ends, and says when it has begun. */
#define HOLD "echo held; read line"

static void hold(struct cli_process *p, const struct rationd *d, const char *vendor,
		 const char *name)
{
	const char *with_name[] = {"exec",    "acme",        vendor, "bulk", "--socket",
				   d->socket, "--singleton", name,   "--",   "sh",
				   "-c",      HOLD,          NULL};
	const char *without[] = {"exec", "acme", vendor, "bulk", "--socket", d->socket,
				 "--",   "sh",   "-c",   HOLD,   NULL};

	cli_start(p, name ? with_name : without);
	cr_assert_str_eq(cli_read_line(p), "held");
}

static void let_go(struct cli_process *p)
{
	struct cli_result r;

	cli_close_input(p);
	cli_wait(p, &r);
	cr_expect_eq(r.status, 1, "what read says at the end: %d, %s", r.status, r.err);
	cli_free(&r);
}

static void expect_exec(const struct rationd *d, const char *vendor, const char *script, int status,
			const char *out)
{
	struct cli_result r;

	CLI(&r, "exec", "acme", vendor, "bulk", "--socket", d->socket, "--", "sh", "-c", script);
	cli_expect(&r, status, out, NULL);
	cli_free(&r);
}

Test(cli_exec, ends_as_its_command_does)
{
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	expect_exec(&d, "crm", "echo out; exit 3", 3, "out\n");
	expect_exec(&d, "crm", "kill -TERM $$", -SIGTERM, "");
	expect_exec(&d, "crm", "kill -KILL $$", -SIGKILL, "");
	CLI(&r, "exec", "acme", "crm", "bulk", "--socket", d.socket, "--", "/no/such/program");
	cli_expect(&r, 127, "", "ration exec: /no/such/program: No such file or directory\n");
	cli_free(&r);
	CLI(&r, "exec", "acme", "crm", "bulk", "--socket", d.socket, "--", "/dev/null");
	cli_expect(&r, 126, "", "ration exec: /dev/null: Permission denied\n");
	cli_free(&r);
	CLI(&r, "exec", "acme", "nobody", "bulk", "--socket", d.socket, "--", "true");
	cr_expect_eq(r.status, EX_CONFIG);
	cli_free(&r);
	CLI(&r, "exec", "acme", "crm", "bulk", "--socket", d.socket, "--singleton", "", "--",
	    "true");
	cr_expect_eq(r.status, EX_USAGE);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_exec, holds_a_slot_until_the_command_ends)
{
	struct cli_process a, b;
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	hold(&a, &d, "crm", NULL);
	hold(&b, &d, "crm", NULL);
	CLI(&r, "exec", "acme", "crm", "bulk", "--socket", d.socket, "--", "echo", "too many");
	cr_expect_eq(r.status, EX_TEMPFAIL);
	cr_expect_str_empty(r.out);
	cr_expect(strstr(r.err, "crm/par (tenant acme): 0 of 2 slots left"), "%s", r.err);
	cli_free(&r);
	CLI(&r, "exec", "other", "crm", "bulk", "--socket", d.socket, "--", "echo",
	    "another tenant");
	cli_expect(&r, EX_OK, "another tenant\n", "");
	cli_free(&r);
	let_go(&a);
	expect_exec(&d, "crm", "echo again", EX_OK, "again\n");
	let_go(&b);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* One of a name on the host, whatever the tenant and vendor; other names are free. */
Test(cli_exec, one_of_a_name)
{
	struct cli_process a;
	struct cli_result r;
	struct rationd d;
	char expected[64];

	rationd_start(&d, policy, NULL);
	hold(&a, &d, "free", "nightly");
	CLI(&r, "exec", "other", "crm", "bulk", "--socket", d.socket, "--singleton", "nightly",
	    "--", "echo", "no");
	cr_expect_eq(r.status, EX_TEMPFAIL);
	cr_expect_str_empty(r.out);
	snprintf(expected, sizeof(expected), "ration exec: 'nightly' is run by process %d since ",
		 (int)a.pid);
	cr_expect(strncmp(r.err, expected, strlen(expected)) == 0, "%s", r.err);
	cli_free(&r);
	CLI(&r, "exec", "acme", "free", "bulk", "--socket", d.socket, "--singleton", "hourly", "--",
	    "echo", "yes");
	cli_expect(&r, EX_OK, "yes\n", "");
	cli_free(&r);
	let_go(&a);
	CLI(&r, "exec", "acme", "free", "bulk", "--socket", d.socket, "--singleton", "nightly",
	    "--", "echo", "mine");
	cli_expect(&r, EX_OK, "mine\n", "");
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* Whoever waits gets the name, and the slot, when they are free. */
Test(cli_exec, waits_for_both)
{
	struct cli_process holder, waiter;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	hold(&holder, &d, "crm", "nightly");
	cli_start(&waiter, (const char *const[]){"exec", "acme", "crm", "bulk", "--socket",
						 d.socket, "--singleton", "nightly", "--wait",
						 "60s", "--", "sh", "-c", HOLD, NULL});
	rationd_expect_log(&d, "event=attached", 2);
	let_go(&holder);
	cr_expect_str_eq(cli_read_line(&waiter), "held");
	let_go(&waiter);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* --- the line of a name --- */

#define LINE   4
#define ROUNDS 6

static uint32_t in_line(struct ration *ration)
{
	const struct seg *seg = client_seg(ration);
	uint32_t n = 0;

	for (uint32_t q = 0; q < seg->n_queues; q++) {
		for (uint32_t i = 0; i < QUEUE_PLACES; i++)
			n += shm_load(&seg->queues[q].place[i].owner) != 0;
	}
	return n;
}

static void until_in_line(struct ration *ration, uint32_t n)
{
	while (in_line(ration) != n)
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void stand_in_line(struct cli_process *p, const struct rationd *d, const char *log, int who)
{
	char script[256];

	snprintf(script, sizeof(script), "echo %d >>'%s'", who, log);
	cli_start(p, (const char *const[]){"exec", "acme", "free", "bulk", "--socket", d->socket,
					   "--singleton", "nightly", "--wait", "1h", "--", "sh",
					   "-c", script, NULL});
}

/* True: they ran one after the other, as they came. All of them ran in any case. */
static bool served_in_order(const struct rationd *d, struct ration *ration, int end_by)
{
	struct cli_process holder, waiter[LINE];
	struct cli_result r;
	char log[300], lines[64] = "", expected[64] = "";
	FILE *file;

	snprintf(log, sizeof(log), "%s.log", d->socket);
	hold(&holder, d, "free", "nightly");
	for (int i = 0; i < LINE; i++) {
		stand_in_line(&waiter[i], d, log, i);
		until_in_line(ration, (uint32_t)i + 1);
		snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%d\n",
			 i);
	}
	cr_assert_eq(kill(holder.pid, end_by), 0);
	cli_wait(&holder, &r);
	cli_free(&r);
	for (int i = 0; i < LINE; i++) {
		cli_wait(&waiter[i], &r);
		cr_expect_eq(r.status, EX_OK, "%d, %s", r.status, r.err);
		cli_free(&r);
	}
	file = fopen(log, "r");
	cr_assert(file);
	(void)!fread(lines, 1, sizeof(lines) - 1, file);
	fclose(file);
	cr_assert_eq(unlink(log), 0);
	cr_expect_eq(strlen(lines), strlen(expected), "%s", lines);
	cr_expect_eq(in_line(ration), 0);
	return strcmp(lines, expected) == 0;
}

/*
 * Whoever comes first has the name first: when its holder ends, and when it is killed. One that the machine runs more than
 * 50 ms late is passed, so that has to be right once.
 */
static void serve_in_order(int end_by)
{
	struct ration_error error;
	struct ration *ration;
	struct rationd d;
	bool right = false;

	rationd_start(&d, policy, NULL);
	cr_assert_eq(client_observe(d.socket, 0, &ration, &error), 0, "%s", error.text);
	for (int i = 0; i < ROUNDS && !right; i++)
		right = served_in_order(&d, ration, end_by);
	cr_expect(right);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_exec, those_who_want_a_name_stand_in_line)
{
	serve_in_order(SIGTERM);
}

Test(cli_exec, those_who_want_a_name_are_woken_by_the_death_of_its_holder)
{
	serve_in_order(SIGKILL);
}

/* Who gives up, or is killed, leaves the line to the others. */
Test(cli_exec, those_who_leave_the_line)
{
	struct cli_process holder, waiter[3];
	struct ration_error error;
	struct ration *ration;
	struct cli_result r;
	struct rationd d;
	char log[300];

	rationd_start(&d, policy, NULL);
	cr_assert_eq(client_observe(d.socket, 0, &ration, &error), 0, "%s", error.text);
	snprintf(log, sizeof(log), "%s.log", d.socket);
	hold(&holder, &d, "free", "nightly");
	for (int i = 0; i < 3; i++) {
		stand_in_line(&waiter[i], &d, log, i);
		until_in_line(ration, (uint32_t)i + 1);
	}
	CLI(&r, "exec", "acme", "free", "bulk", "--socket", d.socket, "--singleton", "nightly",
	    "--wait", "10ms", "--", "true");
	cr_expect_eq(r.status, EX_TEMPFAIL, "%d, %s", r.status, r.err);
	cli_free(&r);
	cr_expect_eq(in_line(ration), 3);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(kill(waiter[i].pid, i ? SIGTERM : SIGKILL), 0);
		cli_wait(&waiter[i], &r);
		cli_free(&r);
	}
	until_in_line(ration, 1);
	let_go(&holder);
	cli_wait(&waiter[2], &r);
	cr_expect_eq(r.status, EX_OK, "%d, %s", r.status, r.err);
	cli_free(&r);
	cr_assert_eq(unlink(log), 0);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&d), 0);
}

/* Killed, it takes its command with it, and what it held is free again. */
Test(cli_exec, killed)
{
	struct cli_process p;
	struct cli_result r;
	struct pollfd command;
	struct rationd d;
	pid_t child;

	rationd_start(&d, policy, NULL);
	hold(&p, &d, "crm", "nightly");
	cr_assert_eq(children_of(p.pid, &child, 1), 1);
	command = (struct pollfd){.fd = open_pidfd(child), .events = POLLIN};
	cr_assert_eq(kill(p.pid, SIGKILL), 0);
	cli_wait(&p, &r);
	cr_expect_eq(r.status, -SIGKILL);
	cli_free(&r);
	CLI(&r, "exec", "acme", "crm", "bulk", "--socket", d.socket, "--singleton", "nightly",
	    "--wait", "60s", "--", "echo", "next");
	cli_expect(&r, EX_OK, "next\n", "");
	cli_free(&r);
	cr_assert_eq(poll(&command, 1, 60000), 1, "the command lives on");
	close(command.fd);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_exec, passes_signals_on)
{
	struct cli_process p;
	struct cli_result r;
	struct rationd d;

	rationd_start(&d, policy, NULL);
	cli_start(&p,
		  (const char *const[]){
			  "exec", "acme", "crm", "bulk", "--socket", d.socket, "--", "sh", "-c",
			  "trap 'echo usr1; exit 7' USR1; echo held; while :; do read line; done",
			  NULL});
	cr_assert_str_eq(cli_read_line(&p), "held");
	cr_assert_eq(kill(p.pid, SIGUSR1), 0);
	cli_write(&p, "\n");
	cr_expect_str_eq(cli_read_line(&p), "usr1");
	cli_wait(&p, &r);
	cr_expect_eq(r.status, 7);
	cli_free(&r);
	cr_expect_eq(rationd_stop(&d), 0);
}
