/*
 * tests/test_metrics.c - figures over HTTP, as promtool reads them
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <ration/ration.h>

#include "supervisor/metrics.h"
#include "support_cli.h"
#include "support_rationd.h"

TestSuite(metrics, .timeout = 120);

static const char policy[] =
	"version: 1\nclasses: [interactive, bulk]\n"
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"
	"vendors:\n  crm:\n    limits:\n"
	"      - { name: calls, rate: 1/h, burst: 50, scope: [tenant, vendor] }\n"
	"      - { name: day, kind: window, period: 1d, amount: 1000, scope: [vendor] }\n"
	"      - { name: month, kind: rolling, period: 30d, amount: 5000, scope: [vendor] }\n"
	"      - { name: once, kind: concurrency, slots: 4, scope: [vendor] }\n";

struct world {
	struct rationd r;
	struct ration *ration;
	char path[160]; /* of the socket for figures */
};

static void begin(struct world *w, const char *option, const char *value)
{
	char where[200];
	struct ration_error error;

	rationd_prepare(&w->r, policy);
	snprintf(w->path, sizeof(w->path), "%s/metrics.sock", w->r.dir);
	snprintf(where, sizeof(where), "unix:%s", w->path);
	rationd_spawn(&w->r, (const char *[]){"--buckets", "1000", "--metrics", where, option,
					      value, NULL});
	rationd_ready(&w->r);
	cr_assert_eq(ration_attach(w->r.socket, 0, &w->ration, &error), 0, "%s", error.text);
}

static void end(struct world *w)
{
	ration_detach(&w->ration);
	cr_expect_eq(rationd_stop(&w->r), 0);
	cr_expect_neq(access(w->path, F_OK), 0, "its file is gone");
}

static struct ration_handle *resolve(struct world *w, const char *tenant, const char *class)
{
	const struct ration_key key = {.tenant = tenant, .vendor = "crm", .traffic_class = class};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(w->ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

/* So many requests that are sent and settled. */
static void use(struct world *w, const char *tenant, int n)
{
	struct ration_handle *handle = resolve(w, tenant, "bulk");
	struct ration_ticket ticket;

	for (int i = 0; i < n; i++) {
		cr_assert_eq(ration_acquire(handle, NULL, 0, &ticket, NULL), 0);
		cr_assert_eq(ration_settle(w->ration, &ticket, NULL, 0), 0);
	}
	ration_handle_free(&handle);
}

/* --- HTTP --- */

static int connect_unix(const char *path)
{
	const struct sockaddr_un address = socket_address(path);
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* All that comes until the end; malloc'd. */
static char *read_all(int fd)
{
	size_t size = 0, room = 1 << 20;
	char *text = malloc(room);
	ssize_t n = 1;

	cr_assert(text);
	while (n > 0 && size < room - 1) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		cr_assert_eq(poll(&p, 1, 60000), 1, "no answer");
		n = read(fd, text + size, room - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	}
	text[size] = '\0';
	close(fd);
	return text;
}

static void send_text(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static char *ask(const struct world *w, const char *head)
{
	const int fd = connect_unix(w->path);

	send_text(fd, head);
	return read_all(fd);
}

static char *figures(const struct world *w)
{
	char *text = ask(w, "GET /metrics HTTP/1.0\r\n\r\n");

	cr_assert(strncmp(text, "HTTP/1.0 200", 12) == 0 || strncmp(text, "HTTP/1.1 200", 12) == 0,
		  "%s", text);
	return text;
}

static void expect(const char *text, const char *line)
{
	char whole[400];

	snprintf(whole, sizeof(whole), "\n%s\n", line);
	cr_expect(strstr(text, whole), "no %s in\n%s", line, text);
}

/* promtool finds nothing to say. */
static void expect_sound(const char *text)
{
	const char *body = strstr(text, "\r\n\r\n") + 4;
	struct cli_result result;

	cli_run_program(&result, "promtool", body, strlen(body),
			(const char *const[]){"check", "metrics", NULL});
	cli_expect(&result, 0, "", "");
	cli_free(&result);
}

/* --- what they say --- */

Test(metrics, of_every_kind_of_limit)
{
	struct ration_handle *handle;
	struct ration_ticket ticket;
	struct world w;
	char *text;
	const struct ration_signal refusal = {
		.status = 429,
		.limited = true,
		.limit_class = RATION_LIMIT_RATE,
		.reach = RATION_REACH_TENANT,
		.retry_in_ns = RATION_UNKNOWN,
		.n_told = 1,
		.told = {{.name = "day",
			  .limit = 1000,
			  .remaining = 600,
			  .reset_in_ns = RATION_UNKNOWN,
			  .window_ns = RATION_UNKNOWN}},
	};

	begin(&w, NULL, NULL);
	use(&w, "acme", 20);
	use(&w, "zeta", 10);
	handle = resolve(&w, "acme", "interactive");
	for (int i = 0; i < 4; i++)
		cr_assert_eq(ration_acquire(handle, NULL, 0, &ticket, NULL), 0);
	cr_assert_eq(ration_acquire(handle, NULL, 0, &ticket, NULL), RATION_DENIED);
	cr_assert_eq(ration_observe(handle, NULL, &refusal), 0);
	rationd_expect_log(&w.r, "event=limited", 1);
	text = figures(&w);
	expect_sound(text);
	expect(text, "ration_workers 1");
	expect(text, "ration_bucket_room 1000");
	expect(text, "ration_limit_buckets{limit=\"crm/calls\"} 2");
	expect(text, "ration_limit_admitted_total{limit=\"crm/calls\"} 34");
	expect(text, "ration_limit_left{limit=\"crm/calls\"} 66");
	expect(text, "ration_limit_size{limit=\"crm/calls\"} 100");
	expect(text, "ration_limit_left{limit=\"crm/day\"} 600");
	expect(text, "ration_limit_foreign_total{limit=\"crm/day\"} 366");
	expect(text, "ration_limit_told_remaining{limit=\"crm/day\"} 600");
	expect(text, "ration_limit_left{limit=\"crm/month\"} 4966");
	expect(text, "ration_limit_left{limit=\"crm/once\"} 0");
	expect(text, "ration_limit_denied_total{limit=\"crm/once\"} 1");
	expect(text, "ration_events_total{event=\"limited\",vendor=\"crm\"} 1");
	expect(text, "ration_events_total{event=\"denied\",vendor=\"crm\"} 1");
	expect(text, "ration_events_total{event=\"blocked\",vendor=\"crm\"} 1");
	expect(text, "ration_limit_blocked{limit=\"crm/(block)\"} 1");
	expect(text, "ration_limit_breakers_open{limit=\"crm/(block)\"} 0");
	free(text);
	ration_handle_free(&handle);
	end(&w);
}

/* Tenants beyond the number that was asked for are one; what they are called may be anything. */
Test(metrics, of_tenants)
{
	struct world w;
	char *text;

	begin(&w, "--metrics-tenants", "2");
	use(&w, "a\\c\"me", 3);
	use(&w, "second", 4);
	use(&w, "third", 5);
	use(&w, "fourth", 6);
	text = figures(&w);
	expect_sound(text);
	expect(text, "ration_limit_admitted_total{limit=\"crm/calls\",tenant=\"a\\\\c\\\"me\"} 3");
	expect(text, "ration_limit_admitted_total{limit=\"crm/calls\",tenant=\"second\"} 4");
	expect(text, "ration_limit_admitted_total{limit=\"crm/calls\",tenant=\"(other)\"} 11");
	expect(text, "ration_limit_admitted_total{limit=\"crm/day\",tenant=\"\"} 18");
	free(text);
	end(&w);
}

Test(metrics, as_open_metrics)
{
	struct world w;
	char *text;

	begin(&w, NULL, NULL);
	text = ask(&w, "GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text; "
		       "version=1.0.0,text/plain;q=0.5\r\n\r\n");
	cr_expect(strstr(text, "application/openmetrics-text; version=1.0.0"), "%s", text);
	expect(text, "# TYPE ration_full counter");
	expect(text, "ration_full_total 0");
	cr_expect_str_eq(text + strlen(text) - 6, "# EOF\n");
	free(text);
	end(&w);
}

/* --- who asks --- */

Test(metrics, other_requests)
{
	static const struct {
		const char *head, *answer;
	} cases[] = {
		{"GET / HTTP/1.0\r\n\r\n", " 404 "},
		{"POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", " 405 "},
		{"GET /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", " 200 "},
		{"\r\n\r\n\x01\x02garbage\r\n\r\n", ""},
	};
	struct world w;

	begin(&w, NULL, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = ask(&w, cases[i].head);

		cr_expect(strstr(text, cases[i].answer), "%s: %s", cases[i].head, text);
		free(text);
	}
	free(figures(&w));
	end(&w);
}

/* As many as may, all at once, and one that says nothing; workers attach meanwhile. */
Test(metrics, many_at_once)
{
	int fds[METRIC_ASKERS_MAX - 1];
	struct ration *other;
	struct world w;
	int silent;

	begin(&w, NULL, NULL);
	silent = connect_unix(w.path);
	for (unsigned i = 0; i < METRIC_ASKERS_MAX - 1; i++) {
		fds[i] = connect_unix(w.path);
		send_text(fds[i], "GET /metrics HTTP/1.0\r\n\r\n");
	}
	cr_assert_eq(ration_attach(w.r.socket, 0, &other, NULL), 0);
	ration_detach(&other);
	for (unsigned i = 0; i < METRIC_ASKERS_MAX - 1; i++) {
		char *text = read_all(fds[i]);

		expect(text, "ration_bucket_room 1000");
		free(text);
	}
	close(silent);
	end(&w);
}

Test(metrics, addresses)
{
	static const struct {
		const char *text;
		sa_family_t family; /* 0: none */
	} cases[] = {
		{"127.0.0.1:9797", AF_INET},
		{"[::1]:9797", AF_INET6},
		{"unix:/run/x", AF_UNIX},
		{"unix:x", 0},
		{"9797", 0},
		{":9797", 0},
		{"127.0.0.1:", 0},
		{"127.0.0.1:70000", 0},
		{"127.0.0.1:80x", 0},
		{"localhost:80", 0},
		{"::1:80", 0},
		{"[::1:80", 0},
	};
	struct sockaddr_storage address;
	struct cli_result result;
	socklen_t size;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const bool good = metrics_address(cases[i].text, &address, &size);

		cr_expect_eq(good, cases[i].family != 0, "%s", cases[i].text);
		if (good)
			cr_expect_eq(address.ss_family, cases[i].family, "%s", cases[i].text);
	}
	cli_run_program(&result, rationd_program("rationd"), NULL, 0,
			(const char *const[]){"--metrics", "nowhere", NULL});
	cli_expect(&result, EX_USAGE, "",
		   "rationd: --metrics needs ADDRESS:PORT or unix:/PATH, not 'nowhere' "
		   "(see rationd --help)\n");
	cli_free(&result);
}
