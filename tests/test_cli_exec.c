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
#include <unistd.h>

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
