/*
 * tests/test_cli_pipe.c - ration pipe: operations, order, waiting, bad lines, ends; the example workers
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "support_cli.h"
#include "support_nginx.h"
#include "support_rationd.h"

/*
 * `hour`: 20 requests, then hardly any more. `second`: two, then one every 200 ms. `wide`: no limit to speak of.
 * `flow`: one at a time, of a few at all. `short`: one at a time, for not long.
 */
static const char policy[] =
	"version: 1\n"
	"classes: [interactive, bulk]\n"
	"defaults: { delay: 0ms, margin: 0% }\n"
	"vendors:\n"
	"  hour:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 20, scope: [tenant, vendor] }\n"
	"  second:\n"
	"    limits:\n"
	"      - { name: rate, rate: 5/s, burst: 2, scope: [vendor] }\n"
	"  wide:\n"
	"    limits:\n"
	"      - { name: rate, rate: 100000/s, burst: 100000, scope: [vendor] }\n"
	"  llm:\n"
	"    limits:\n"
	"      - { name: tpm, unit: tokens, rate: 1/h, burst: 1000, scope: [vendor] }\n"
	"  flow:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 20, scope: [vendor] }\n"
	"      - { name: one, kind: concurrency, slots: 1, order: fifo, scope: [vendor] }\n"
	"  short:\n"
	"    limits:\n"
	"      - { name: one, kind: concurrency, slots: 1, max_hold: 200ms, scope: [vendor] }\n"
	"routes:\n"
	"  best: [flow/x, wide]\n"
	"  both: [llm, second/y]\n";

struct scene {
	struct test_dir dir;
	struct cli_process *p;
};

static void scene_begin(struct scene *s)
{
	dir_make(&s->dir);
	file_text(dir_path(&s->dir, "p.yaml"), policy);
	s->p = malloc(sizeof(*s->p));
	cli_start(s->p,
		  (const char *const[]){"pipe", "--policy", dir_path(&s->dir, "p.yaml"), NULL});
}

static void scene_end(struct scene *s)
{
	struct cli_result r;

	cli_close_input(s->p);
	cli_wait(s->p, &r);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);
	free(s->p);
	dir_remove(&s->dir);
}

static void expect_line(struct scene *s, const char *wanted)
{
	const char *line = cli_read_line(s->p);

	cr_assert(line, "the pipe ended");
	cr_expect_str_eq(line, wanted, "got    %s\nwanted %s", line, wanted);
}

/* One operation and its exact answer. */
static void ask(struct scene *s, const char *line, const char *wanted)
{
	cli_write(s->p, line);
	cli_write(s->p, "\n");
	expect_line(s, wanted);
}

/* The number of a ticket for this cost of vendor "hour". */
static long long acquire(struct scene *s, const char *tenant, int cost)
{
	char line[256];
	json_t *answer;
	long long ticket;

	snprintf(line, sizeof(line),
		 "{\"op\":\"acquire\",\"tenant\":\"%s\",\"vendor\":\"hour\",\"class\":\"bulk\","
		 "\"cost\":{\"requests\":%d}}\n",
		 tenant, cost);
	cli_write(s->p, line);
	answer = json_loads(cli_read_line(s->p), 0, NULL);
	cr_assert(json_is_true(json_object_get(answer, "ok")), "%s", line);
	ticket = json_integer_value(json_object_get(answer, "ticket"));
	json_decref(answer);
	return ticket;
}

/* What is left of tenant's bucket, as a denial says. */
static void expect_left(struct scene *s, const char *tenant, int left)
{
	char line[256];
	json_t *answer;

	snprintf(line, sizeof(line),
		 "{\"op\":\"acquire\",\"tenant\":\"%s\",\"vendor\":\"hour\",\"class\":\"bulk\","
		 "\"cost\":{\"requests\":21}}\n",
		 tenant);
	cli_write(s->p, line);
	answer = json_loads(cli_read_line(s->p), 0, NULL);
	cr_expect_str_eq(json_string_value(json_object_get(answer, "code")), "oversize");
	cr_expect_eq(json_at(answer, "left"), left, "%g left", json_at(answer, "left"));
	json_decref(answer);
}

Test(cli_pipe, acquire_settle_cancel)
{
	struct scene s;
	char line[128];

	scene_begin(&s);
	snprintf(line, sizeof(line),
		 "{\"op\":\"settle\",\"ticket\":%lld,\"cost\":{\"requests\":12}}",
		 acquire(&s, "a", 10));
	expect_left(&s, "a", 10);
	ask(&s, line, "{\"ok\":true}");
	expect_left(&s, "a", 8);
	ask(&s, line,
	    "{\"ok\":false,\"code\":\"ticket\",\"error\":\"no such ticket, or it has ended\"}");
	expect_left(&s, "a", 8);
	snprintf(line, sizeof(line), "{\"op\":\"settle\",\"ticket\":%lld}", acquire(&s, "b", 10));
	ask(&s, line, "{\"ok\":true}");
	expect_left(&s, "b", 10);
	snprintf(line, sizeof(line), "{\"op\":\"cancel\",\"ticket\":%lld}", acquire(&s, "c", 10));
	expect_left(&s, "c", 10);
	ask(&s, line, "{\"ok\":true}");
	/* Nothing drains within this test but what a part of an hour gives back: less than one. */
	{
		long long again = acquire(&s, "c", 19);

		cr_expect_gt(again, 0);
	}
	ask(&s, line,
	    "{\"ok\":false,\"code\":\"ticket\",\"error\":\"no such ticket, or it has ended\"}");
	scene_end(&s);
}

Test(cli_pipe, a_denial_says_all)
{
	struct scene s;
	json_t *answer;

	scene_begin(&s);
	acquire(&s, "acme", 17);
	cli_write(s.p,
		  "{\"id\":[\"any\",7],\"op\":\"acquire\",\"tenant\":\"acme\",\"vendor\":\"hour\","
		  "\"class\":\"bulk\",\"cost\":{\"requests\":5}}\n");
	answer = json_loads(cli_read_line(s.p), 0, NULL);
	cr_expect_eq(json_array_size(json_object_get(answer, "id")), 2);
	cr_expect(json_is_false(json_object_get(answer, "ok")));
	cr_expect_str_eq(json_string_value(json_object_get(answer, "code")), "denied");
	cr_expect_str_eq(json_string_value(json_object_get(answer, "limit")), "hour/rate");
	cr_expect_str_eq(json_string_value(json_object_get(answer, "unit")), "requests");
	cr_expect_eq(json_at(answer, "left"), 3);
	cr_expect_eq(json_at(answer, "needed"), 5);
	cr_expect_gt(json_at(answer, "retry_ms"), 3600e3);
	cr_expect_leq(json_at(answer, "retry_ms"), 7201e3);
	cr_expect(strncmp(json_string_value(json_object_get(answer, "text")),
			  "denied: hour/rate (tenant acme): 3 of 20 left, needs 5; retry in ",
			  65) == 0);
	json_decref(answer);
	scene_end(&s);
}

Test(cli_pipe, bad_lines_do_not_end_it)
{
	static const char *const cases[][2] = {
		{"junk", "{\"line\":1,\"ok\":false,\"code\":\"unreadable\",\"error\":\"not JSON, "
			 "at byte 4\"}"},
		{"[]", "{\"line\":2,\"ok\":false,\"code\":\"unreadable\",\"error\":\"not a JSON "
		       "object\"}"},
		{"{\"id\":\"\xff\"}", "{\"line\":3,\"ok\":false,\"code\":\"unreadable\",\"error\":"
				      "\"invalid UTF-8, at byte 7\"}"},
		{"{\"id\":5}",
		 "{\"id\":5,\"ok\":false,\"code\":\"op\",\"error\":\"op: must be "
		 "acquire, wait, lease, settle, cancel, release, abandon or observe\"}"},
		{"{\"op\":\"fly\"}",
		 "{\"ok\":false,\"code\":\"op\",\"error\":\"op: must be "
		 "acquire, wait, lease, settle, cancel, release, abandon or observe\"}"},
		{"{\"op\":7}", "{\"ok\":false,\"code\":\"op\",\"error\":\"op: must be acquire, "
			       "wait, lease, settle, cancel, release, abandon or observe\"}"},
		{"{\"op\":\"settle\"}",
		 "{\"ok\":false,\"code\":\"invalid\",\"error\":\"ticket: missing\"}"},
		{"{\"op\":\"settle\",\"ticket\":0}", "{\"ok\":false,\"code\":\"invalid\",\"error\":"
						     "\"ticket: must be the number of a ticket\"}"},
		{"{\"op\":\"cancel\",\"ticket\":1,\"cost\":{}}",
		 "{\"ok\":false,\"code\":\"invalid\",\"error\":\"cost: no such field\"}"},
		{"{\"op\":\"cancel\",\"ticket\":9223372036854775807}",
		 "{\"ok\":false,\"code\":\"ticket\",\"error\":\"no such ticket, or it has "
		 "ended\"}"},
		{"{\"op\":\"acquire\",\"url\":\"x\"}",
		 "{\"ok\":false,\"code\":\"invalid\",\"error\":\"url: no such field\"}"},
		{"{\"op\":\"acquire\",\"vendor\":\"nope\",\"class\":\"bulk\"}",
		 "{\"ok\":false,\"code\":\"vendor\",\"error\":\"no vendor 'nope' in the policy; "
		 "known are: "
		 "flow, hour, llm, second, short, wide; and the routes: best, both\"}"},
		{"{\"op\":\"acquire\",\"vendor\":\"hour\",\"class\":\"night\"}",
		 "{\"ok\":false,\"code\":\"class\",\"error\":\"no class 'night' in the policy; "
		 "known are: "
		 "interactive, bulk\"}"},
		{"{\"op\":\"acquire\",\"vendor\":\"llm\",\"class\":\"bulk\"}",
		 "{\"ok\":false,\"code\":\"unit\",\"error\":\"llm/tpm counts tokens, which the "
		 "cost does "
		 "not name\"}"},
		{"{\"op\":\"acquire\",\"vendor\":\"hour\",\"class\":\"bulk\",\"wait_ms\":-1}",
		 "{\"ok\":false,\"code\":\"invalid\",\"error\":\"wait_ms: must be a number of "
		 "milliseconds\"}"},
	};
	struct scene s;

	scene_begin(&s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ask(&s, cases[i][0], cases[i][1]);
	cli_write(s.p, "\n   \n");
	acquire(&s, "a", 1);
	scene_end(&s);
}

#define SECOND(id, more)                                                                           \
	"{\"id\":" id ",\"op\":\"acquire\",\"vendor\":\"second\",\"class\":\"bulk\"" more "}\n"

static long long id_of(const char *line, bool *ret_ok)
{
	json_t *answer = json_loads(line, 0, NULL);
	long long id;

	cr_assert(answer, "%s", line);
	id = json_integer_value(json_object_get(answer, "id"));
	*ret_ok = json_is_true(json_object_get(answer, "ok"));
	json_decref(answer);
	return id;
}

/* 2 and 3 wait in this order, though 3 needs less; 4 and 5 are answered at once. */
Test(cli_pipe, waiting_holds_up_nobody_else)
{
	static const long long order[] = {1, 4, 5, 2, 3};
	struct scene s;

	scene_begin(&s);
	cli_write(
		s.p,
		SECOND("1", ",\"cost\":{\"requests\":2}")
			SECOND("2", ",\"cost\":{\"requests\":2},\"wait_ms\":15000") SECOND(
				"3",
				",\"wait_ms\":15000") "{\"id\":4,\"op\":\"cancel\",\"ticket\":99}\n"
						      "{\"id\":5,\"op\":\"acquire\",\"vendor\":"
						      "\"wide\",\"class\":\"bulk\"}\n");
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		bool ok;

		cr_expect_eq(id_of(cli_read_line(s.p), &ok), order[i]);
		cr_expect_eq(ok, order[i] != 4);
	}
	scene_end(&s);
}

/* When the earliest possible time lies behind the wait, there is no use in waiting. */
Test(cli_pipe, a_wait_that_is_too_short_is_denied)
{
	struct scene s;
	bool ok;

	scene_begin(&s);
	acquire(&s, "a", 20);
	cli_write(s.p, "{\"id\":1,\"op\":\"acquire\",\"tenant\":\"a\",\"vendor\":\"hour\","
		       "\"class\":\"bulk\","
		       "\"wait_ms\":15000}\n");
	cr_expect_eq(id_of(cli_read_line(s.p), &ok), 1);
	cr_expect_not(ok);
	scene_end(&s);
}

Test(cli_pipe, waits_end_with_the_pipe)
{
	struct cli_result r;
	struct scene s;

	scene_begin(&s);
	/* 3,600 s from full: within the wait, so it waits. */
	cli_write(s.p, "{\"id\":1,\"op\":\"acquire\",\"tenant\":\"a\",\"vendor\":\"hour\","
		       "\"class\":\"bulk\","
		       "\"cost\":{\"requests\":20}}\n"
		       "{\"id\":2,\"op\":\"acquire\",\"tenant\":\"a\",\"vendor\":\"hour\","
		       "\"class\":\"bulk\","
		       "\"wait_ms\":7200000}\n");
	expect_line(&s, "{\"id\":1,\"ok\":true,\"ticket\":4096}");
	cli_close_input(s.p);
	expect_line(&s, "{\"id\":2,\"ok\":false,\"code\":\"ended\",\"error\":\"the pipe ended "
			"before the wait did\"}");
	cli_wait(s.p, &r);
	cli_expect(&r, EX_OK, "", "");
	cli_free(&r);
	free(s.p);
	dir_remove(&s.dir);
}

#define FLOW(op, more) "{\"op\":\"" op "\",\"vendor\":\"flow\",\"class\":\"bulk\"" more "}"
#define END(op, n)     "{\"op\":\"" op "\",\"ticket\":" n "}"

Test(cli_pipe, a_lease_is_held_until_it_is_released)
{
	static const char gone[] =
		"{\"ok\":false,\"code\":\"ticket\",\"error\":\"no such ticket, or it has ended\"}";
	struct scene s;
	bool ok;

	scene_begin(&s);
	ask(&s, FLOW("lease", ""),
	    "{\"ok\":true,\"ticket\":4096,\"leases\":[{\"limit\":\"flow/one\"}]}");
	cli_write(s.p, FLOW("lease", ",\"id\":1") "\n");
	cr_expect_eq(id_of(cli_read_line(s.p), &ok), 1);
	cr_expect_not(ok);
	ask(&s, END("release", "4096"), "{\"ok\":true}");
	ask(&s, END("release", "4096"), gone);
	/* What else it took stays spent: 1 of 20. */
	ask(&s, FLOW("acquire", ",\"cost\":{\"requests\":19}"), "{\"ok\":true,\"ticket\":8192}");
	ask(&s, END("settle", "8192"), "{\"ok\":true}");
	cli_write(s.p, FLOW("lease", ",\"id\":2") "\n");
	cr_expect_eq(id_of(cli_read_line(s.p), &ok), 2);
	cr_expect_not(ok);
	ask(&s, "{\"op\":\"release\"}",
	    "{\"ok\":false,\"code\":\"invalid\",\"error\":\"ticket: missing\"}");
	ask(&s, "{\"op\":\"release\",\"ticket\":1,\"cost\":{}}",
	    "{\"ok\":false,\"code\":\"invalid\",\"error\":\"cost: no such field\"}");
	scene_end(&s);
}

/* Free a little later: whoever waits for it is told in time. */
Test(cli_pipe, a_lease_that_is_abandoned_goes_to_the_next)
{
	struct scene s;
	json_t *answer;

	scene_begin(&s);
	ask(&s, FLOW("lease", ""),
	    "{\"ok\":true,\"ticket\":4096,\"leases\":[{\"limit\":\"flow/one\"}]}");
	ask(&s, END("abandon", "4096"), "{\"ok\":true}");
	ask(&s, END("abandon", "4096"),
	    "{\"ok\":false,\"code\":\"ticket\",\"error\":\"no such ticket, or it has ended\"}");
	cli_write(s.p, FLOW("lease", ",\"wait_ms\":60000") "\n");
	answer = json_loads(cli_read_line(s.p), 0, NULL);
	cr_expect(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	scene_end(&s);
}

/* What a vendor answered to a program that did its own HTTP. */
Test(cli_pipe, what_a_vendor_answered_is_fed_back)
{
#define SAID(more)                                                                                 \
	"{\"op\":\"observe\",\"tenant\":\"o\",\"vendor\":\"hour\",\"class\":\"bulk\"" more "}"
	struct scene s;
	json_t *answer;

	scene_begin(&s);
	ask(&s, "{\"op\":\"acquire\",\"tenant\":\"o\",\"vendor\":\"hour\",\"class\":\"bulk\"}",
	    "{\"ok\":true,\"ticket\":4096}");
	cli_write(s.p,
		  SAID(",\"ticket\":4096,\"status\":429,\"headers\":{\"X-RateLimit-Limit\":\"20\","
		       "\"X-RateLimit-Remaining\":[\"3\"],\"Retry-After\":\"12\"}") "\n");
	answer = json_loads(cli_read_line(s.p), 0, NULL);
	cr_expect(json_is_true(json_object_get(answer, "ok")));
	cr_expect_eq(json_at(json_object_get(answer, "signal"), "retry_after_ms"), 12000);
	cr_expect_str_eq(json_string_value(json_object_get(json_object_get(answer, "headers"),
							   "Retry-After")),
			 "12");
	json_decref(answer);
	expect_left(&s, "o", 3);
	ask(&s, SAID(",\"ticket\":77,\"status\":200"),
	    "{\"ok\":false,\"code\":\"ticket\",\"error\":\"no such ticket, or it has ended\"}");
	ask(&s, SAID(""), "{\"ok\":false,\"code\":\"invalid\",\"error\":\"status: missing\"}");
	ask(&s, SAID(",\"status\":200,\"headers\":7"),
	    "{\"ok\":false,\"code\":\"invalid\",\"error\":\"headers is not an object\"}");
	ask(&s, END("release", "4096"), "{\"ok\":true}");
	scene_end(&s);
}

/* Nothing was taken, either. */
Test(cli_pipe, a_lease_of_nothing_is_refused)
{
	struct scene s;

	scene_begin(&s);
	ask(&s,
	    "{\"op\":\"lease\",\"tenant\":\"a\",\"vendor\":\"hour\",\"class\":\"bulk\","
	    "\"cost\":{\"requests\":5}}",
	    "{\"ok\":false,\"code\":\"lease\",\"error\":\"no concurrency limit counts this key: "
	    "there is nothing to hold\"}");
	expect_left(&s, "a", 20);
	scene_end(&s);
}

Test(cli_pipe, a_lease_that_is_lost_is_said_to_be)
{
	static const char lease[] =
		"{\"op\":\"lease\",\"vendor\":\"short\",\"class\":\"bulk\",\"wait_ms\":60000}\n";
	struct scene s;
	json_t *answer;

	scene_begin(&s);
	for (int i = 0; i < 2; i++) {
		cli_write(s.p, lease);
		answer = json_loads(cli_read_line(s.p), 0, NULL);
		cr_expect_eq(json_at(answer, "ticket"), i == 0 ? 4096 : 8193);
		cr_expect_geq(json_number_value(json_object_get(
				      json_array_get(json_object_get(answer, "leases"), 0),
				      "max_hold_ms")),
			      200);
		json_decref(answer);
	}
	ask(&s, END("release", "4096"),
	    "{\"ok\":false,\"code\":\"lost\",\"error\":\"the lease was held too long and has been "
	    "lost\"}");
	ask(&s, END("release", "8193"), "{\"ok\":true}");
	scene_end(&s);
}

/* In the order in which they came, one when the one before is released; the pipe answers others meanwhile. */
Test(cli_pipe, wait_stands_in_line)
{
	struct scene s;
	bool ok;

	scene_begin(&s);
	ask(&s, FLOW("lease", ""),
	    "{\"ok\":true,\"ticket\":4096,\"leases\":[{\"limit\":\"flow/one\"}]}");
	cli_write(s.p,
		  FLOW("wait", ",\"id\":2") "\n" FLOW(
			  "lease", ",\"id\":3,\"wait_ms\":60000") "\n{\"id\":4,\"op\":\"acquire\","
								  "\"vendor\":\"wide\",\"class\":"
								  "\"bulk\"}\n" END("release",
										    "4096") "\n");
	expect_line(&s, "{\"id\":4,\"ok\":true,\"ticket\":8193}");
	expect_line(&s, "{\"ok\":true}");
	expect_line(&s, "{\"id\":2,\"ok\":true,\"ticket\":12288}");
	cli_write(s.p, END("settle", "12288") "\n");
	expect_line(&s, "{\"ok\":true}");
	expect_line(&s, "{\"id\":3,\"ok\":true,\"ticket\":16384,\"leases\":[{\"limit\":\"flow/"
			"one\"}]}");
	cli_write(s.p, FLOW("wait", ",\"id\":5,\"wait_ms\":0") "\n");
	cr_expect_eq(id_of(cli_read_line(s.p), &ok), 5);
	cr_expect_not(ok);
	scene_end(&s);
}

/* Two pipes below one supervisor: what one of them releases, or dies with, wakes the other. */
Test(cli_pipe, leases_pass_from_pipe_to_pipe)
{
	struct rationd d;
	struct scene a, b;
	const char *args[] = {"pipe", "--socket", d.socket, NULL};

	rationd_start(&d, policy, NULL);
	a.p = malloc(sizeof(*a.p));
	b.p = malloc(sizeof(*b.p));
	cli_start(a.p, args);
	cli_start(b.p, args);
	ask(&a, FLOW("wait", ""), "{\"ok\":true,\"ticket\":4096}");
	cli_write(b.p, FLOW("wait", "") "\n");
	ask(&a, END("release", "4096"), "{\"ok\":true}");
	expect_line(&b, "{\"ok\":true,\"ticket\":4096}");
	cli_write(a.p, FLOW("wait", "") "\n");
	kill(b.p->pid, SIGKILL);
	expect_line(&a, "{\"ok\":true,\"ticket\":8192}");
	cr_expect_eq(wait_child(b.p->pid), -SIGKILL);
	for (struct scene *s = &a; s; s = s == &a ? &b : NULL) {
		cli_close_input(s->p);
		close(s->p->out);
		close(s->p->err);
	}
	cr_expect_eq(wait_child(a.p->pid), EX_OK);
	free(a.p);
	free(b.p);
	rationd_stop(&d);
}

/* The policy lets one wait: the next is told to slow down, whoever asks. */
Test(cli_pipe, a_bounded_line_says_busy)
{
	static const char bounded[] =
		"version: 1\n"
		"classes: [{ name: bulk, queue: 1 }]\n"
		"vendors:\n"
		"  flow:\n"
		"    limits:\n"
		"      - { name: one, kind: concurrency, slots: 1, scope: [vendor] }\n";
	struct rationd d;
	struct cli_result r;
	struct scene s;
	const char *args[] = {"pipe", "--socket", d.socket, NULL};

	rationd_start(&d, bounded, NULL);
	s.p = malloc(sizeof(*s.p));
	cli_start(s.p, args);
	ask(&s, FLOW("wait", ""), "{\"ok\":true,\"ticket\":4096}");
	cli_write(s.p, FLOW("wait", ",\"id\":2") "\n");
	/* Answered when the line before it has been read. */
	ask(&s, "{\"op\":\"cancel\",\"ticket\":1}",
	    "{\"ok\":false,\"code\":\"ticket\",\"error\":\"no such ticket, or it has ended\"}");
	CLI(&r, "acquire", "--socket", d.socket, "--wait", "1h", "--json", "-", "flow", "bulk");
	cr_expect_eq(r.status, EX_TEMPFAIL);
	cr_expect(strstr(r.out, "\"code\":\"busy\""), "%s", r.out);
	cli_free(&r);
	CLI(&r, "acquire", "--socket", d.socket, "--wait", "1h", "-", "flow", "bulk");
	cr_expect_eq(r.status, EX_TEMPFAIL);
	cr_expect(strstr(r.err, "too many wait already"), "%s", r.err);
	cli_free(&r);
	ask(&s, END("release", "4096"), "{\"ok\":true}");
	expect_line(&s, "{\"id\":2,\"ok\":true,\"ticket\":8192}");
	cli_close_input(s.p);
	cli_wait(s.p, &r);
	cr_expect_eq(r.status, EX_OK);
	cli_free(&r);
	free(s.p);
	rationd_stop(&d);
}

/* Nobody reads any more: the process ends by itself although its input goes on. */
Test(cli_pipe, a_route_goes_where_there_is_room)
{
	struct scene s;

	scene_begin(&s);
	ask(&s, "{\"op\":\"lease\",\"vendor\":\"best\",\"class\":\"bulk\"}",
	    "{\"ok\":true,\"ticket\":4096,\"leases\":[{\"limit\":\"flow/one\"}],"
	    "\"vendor\":\"flow\",\"resource\":\"x\"}");
	ask(&s, "{\"op\":\"acquire\",\"vendor\":\"best\",\"class\":\"bulk\"}",
	    "{\"ok\":true,\"ticket\":8193,\"vendor\":\"wide\",\"resource\":null}");
	/* Only there: it waits until the lease ends. */
	cli_write(s.p, "{\"id\":1,\"op\":\"wait\",\"vendor\":\"best\",\"class\":\"bulk\","
		       "\"alternatives\":{\"flow/x\":{}}}\n");
	ask(&s, "{\"op\":\"acquire\",\"vendor\":\"best\",\"class\":\"bulk\"}",
	    "{\"ok\":true,\"ticket\":12290,\"vendor\":\"wide\",\"resource\":null}");
	cli_write(s.p, "{\"op\":\"release\",\"ticket\":4096}\n");
	expect_line(&s, "{\"ok\":true}");
	expect_line(&s, "{\"id\":1,\"ok\":true,\"ticket\":16384,\"vendor\":\"flow\","
			"\"resource\":\"x\"}");
	scene_end(&s);
}

Test(cli_pipe, alternatives_cost_what_they_cost)
{
	struct scene s;

	scene_begin(&s);
	ask(&s,
	    "{\"op\":\"acquire\",\"vendor\":\"both\",\"class\":\"bulk\",\"alternatives\":"
	    "{\"llm\":{\"cost\":{\"tokens\":700}}}}",
	    "{\"ok\":true,\"ticket\":4096,\"vendor\":\"llm\",\"resource\":null}");
	ask(&s,
	    "{\"op\":\"acquire\",\"vendor\":\"both\",\"class\":\"bulk\",\"alternatives\":"
	    "{\"llm\":{\"cost\":{\"tokens\":700}},\"second/y\":{}}}",
	    "{\"ok\":true,\"ticket\":8193,\"vendor\":\"second\",\"resource\":\"y\"}");
	ask(&s,
	    "{\"op\":\"observe\",\"vendor\":\"both\",\"class\":\"bulk\",\"status\":200,"
	    "\"headers\":{}}",
	    "{\"ok\":false,\"code\":\"vendor\",\"error\":\"this is a route: say the vendor and "
	    "resource that the acquire was answered with\"}");
	ask(&s, "{\"op\":\"acquire\",\"vendor\":\"bath\",\"class\":\"bulk\"}",
	    "{\"ok\":false,\"code\":\"vendor\",\"error\":\"no vendor 'bath' in the policy; known "
	    "are: flow, hour, llm, second, short, wide; and the routes: best, both\"}");
	scene_end(&s);
}

Test(cli_pipe, ends_when_nobody_reads)
{
	struct scene s;

	scene_begin(&s);
	acquire(&s, "a", 1);
	close(s.p->out);
	cr_expect_eq(wait_child(s.p->pid), EX_OK);
	cli_close_input(s.p);
	close(s.p->err);
	free(s.p);
	dir_remove(&s.dir);
}

Test(cli_pipe, tickets_are_bounded)
{
	static const char line[] = "{\"op\":\"acquire\",\"vendor\":\"wide\",\"class\":\"bulk\"}\n";
	struct scene s;
	char cancel[64];
	bool ok;

	scene_begin(&s);
	for (int i = 0; i < 4096; i++) {
		cli_write(s.p, line);
		id_of(cli_read_line(s.p), &ok);
		cr_assert(ok);
	}
	ask(&s, "{\"op\":\"acquire\",\"vendor\":\"wide\",\"class\":\"bulk\"}",
	    "{\"ok\":false,\"code\":\"busy\",\"error\":\"too many tickets are outstanding\"}");
	ask(&s, "{\"op\":\"acquire\",\"vendor\":\"wide\",\"class\":\"bulk\",\"wait_ms\":5}",
	    "{\"ok\":false,\"code\":\"busy\",\"error\":\"too many tickets are outstanding\"}");
	snprintf(cancel, sizeof(cancel), "{\"op\":\"cancel\",\"ticket\":%d}", 4096);
	ask(&s, cancel, "{\"ok\":true}");
	cli_write(s.p, line);
	id_of(cli_read_line(s.p), &ok);
	cr_expect(ok);
	scene_end(&s);
}

Test(cli_pipe, shadow_grants_say_so)
{
	struct test_dir dir;
	struct cli_result r;
	static const char input[] = "{\"op\":\"acquire\",\"vendor\":\"hour\",\"class\":\"bulk\","
				    "\"cost\":{\"requests\":1}}\n"
				    "{\"op\":\"acquire\",\"vendor\":\"hour\",\"class\":\"bulk\","
				    "\"cost\":{\"requests\":1}}\n";

	dir_make(&dir);
	file_text(
		dir_path(&dir, "p.yaml"),
		"version: 1\nclasses: [bulk]\ndefaults: { delay: 0ms, margin: 0%, mode: shadow }\n"
		"vendors:\n  hour:\n    limits:\n"
		"      - { name: rate, rate: 1/h, burst: 1, scope: [vendor] }\n");
	cli_run(&r, input, sizeof(input) - 1,
		(const char *const[]){"pipe", "--policy", dir_path(&dir, "p.yaml"), NULL});
	cli_expect(&r, EX_OK,
		   "{\"ok\":true,\"ticket\":4096}\n{\"ok\":true,\"ticket\":8193,\"shadow\":true}\n",
		   "");
	cli_free(&r);
	dir_remove(&dir);
}

/* --- workers in other languages --- */

static void run_example(const char *program, const char *script)
{
	struct nginx nginx;
	struct rationd d;
	struct cli_result r;
	char path[4096], build[2048], url[4][128];
	const char *args[12] = {script, "acme", "crm", "interactive"};

	if (!realpath(rationd_program("ration"), path))
		cr_assert_fail();
	snprintf(build, sizeof(build), "%s", rationd_program(""));
	snprintf(path, sizeof(path), "%s:%s", build, getenv("PATH"));
	rationd_start(&d, rationd_plain_policy, NULL);
	nginx_start(&nginx, "server { listen $PORT; location / { return 200 ok; } }");
	setenv("PATH", path, 1);
	setenv("RATION_SOCKET", d.socket, 1);
	for (int i = 0; i < 4; i++) {
		snprintf(url[i], sizeof(url[i]), "%s%d", nginx_url(&nginx, "/"), i);
		args[4 + i] = url[i];
	}
	cli_run_program(&r, program, NULL, 0, args);
	cr_expect_eq(r.status, 0, "%s", r.err);
	for (int i = 0; i < 4; i++) {
		char line[640];

		snprintf(line, sizeof(line), "200 %s\n", url[i]);
		cr_expect(strstr(r.out, line), "no %s in %s", line, r.out);
	}
	cli_free(&r);

	args[2] = "nope";
	cli_run_program(&r, program, NULL, 0, args);
	cr_expect_eq(r.status, 1);
	cr_expect(strstr(r.err, "no vendor 'nope' in the policy; known are: crm"), "%s", r.err);
	cli_free(&r);

	CLI(&r, "status", "--json", "--socket", d.socket);
	cr_expect(strstr(r.out, "\"admitted\": 4,"), "%s", r.out);
	cr_expect(strstr(r.out, "\"workers\": []"), "%s", r.out);
	cli_free(&r);
	nginx_stop(&nginx);
	cr_expect_eq(nginx_count(&nginx, NULL, " 200 GET /"), 4);
	nginx_remove(&nginx);
	cr_expect_eq(rationd_stop(&d), 0);
}

Test(cli_examples, python)
{
	run_example("python3", "src/examples/worker.py");
}

Test(cli_examples, node)
{
	run_example("node", "src/examples/worker.js");
}

/* Every line of the sample is sent, when there is somebody at its address. */
Test(cli_examples, sample_requests)
{
	static const char address[] = "127.0.0.1:8080";
	struct nginx nginx;
	struct cli_result r;
	char *sample = file_read("src/examples/requests.jsonl", NULL), *at = sample;
	char input[8192] = "";
	size_t used = 0;

	nginx_start(&nginx, "server { listen $PORT; location / { return 200 ok; } }");
	for (char *next; (next = strstr(at, address)); at = next + strlen(address))
		used += (size_t)snprintf(input + used, sizeof(input) - used, "%.*s127.0.0.1:%d",
					 (int)(next - at), at, nginx.port);
	used += (size_t)snprintf(input + used, sizeof(input) - used, "%s", at);
	cli_run(&r, input, used,
		(const char *const[]){"run", "--policy", "src/examples/policy.yaml", NULL});
	cr_expect_eq(r.status, EX_OK, "%s", r.out);
	cr_expect(strncmp(r.err, "9 requests: 9 ok, ", 18) == 0, "%s", r.err);
	cli_free(&r);
	free(sample);
	nginx_stop(&nginx);
	nginx_remove(&nginx);
}
