/*
 * bench/bench_engine.c - what quota handling adds to the CPU time of a request
 * SPDX-License-Identifier: MIT
 *
 * The same keep-alive GETs to an nginx on 127.0.0.1, through libration-http, with a handle (a chain
 * of 5, always granted) and without one. Both in each round, in turns, and what is compared is this
 * process's CPU time (user and system); nginx's is not in it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <ration/http.h>

#include "support_report.h"
#include "support_server.h"

enum { IN_FLIGHT = 64, REQUESTS = 1000 };

static struct server server;
static struct ration *ration;
static struct ration_handle *five;
static struct ration_http *engine;
static char url[64];

/* The batch that runs. */
static struct ration_http_request request;
static unsigned to_submit;

static _Noreturn void give_up(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	server_stop(&server);
	exit(EXIT_FAILURE);
}

/* --- nginx --- */

static void start_nginx(void)
{
	static const char conf[] = "daemon off;\nmaster_process off;\npid nginx.pid;\n"
				   "error_log stderr;\n"
				   "events { worker_connections 1024; }\n"
				   "http {\n"
				   "  access_log off;\n"
				   "  client_body_temp_path body;\n  proxy_temp_path proxy;\n"
				   "  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n"
				   "  scgi_temp_path scgi;\n"
				   "  keepalive_requests 100000000;\n"
				   "  server { listen 127.0.0.1:%u; return 200 \"ok\\n\"; }\n"
				   "}\n";
	const char *const argv[] = {"nginx",  "-p", server.dir,   "-e",
				    "stderr", "-c", "nginx.conf", NULL};
	const unsigned port = server_free_port();
	char text[1024];
	int fd;

	snprintf(text, sizeof(text), conf, port);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/contacts/17", port);
	if (!server_dir(&server) || !server_file(&server, "nginx.conf", text))
		give_up("nginx", "cannot prepare its directory");
	if (!server_start(&server, argv))
		give_up("nginx", "not installed (make deps-test)");
	fd = server_connect_tcp(&server, port);
	if (fd < 0)
		give_up("nginx", "does not answer");
	close(fd);
}

/* --- a batch of requests --- */

static void submit(void)
{
	const int result = ration_http_submit(engine, &request, &(uint64_t){0});

	if (result != 0)
		give_up("submit", ration_strerror(result));
}

static void on_done(void *user, const struct ration_http_result *result)
{
	(void)user;
	if (result->error != 0 || result->status != 200)
		give_up("request", result->error ? result->error_text : "not answered with 200");
	if (to_submit > 0) {
		to_submit--;
		submit();
	}
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* CPU time of one request, in ns. */
static double batch(struct ration_handle *handle)
{
	const double start = cpu_ns();
	int left = 1;

	request = (struct ration_http_request){.handle = handle, .url = url, .on_done = on_done};
	to_submit = REQUESTS - IN_FLIGHT;
	for (int i = 0; i < IN_FLIGHT; i++)
		submit();
	while (left > 0) {
		left = ration_http_run(engine, UINT64_C(1000000000));
		if (left < 0)
			give_up("engine", ration_strerror(left));
	}
	return (cpu_ns() - start) / REQUESTS;
}

/* The three calls of libration that a request makes, and nothing else. */
static double calls(void)
{
	enum { N = 20000 };
	struct ration_ticket ticket;
	const double start = cpu_ns();

	for (int i = 0; i < N; i++) {
		if (ration_acquire(five, NULL, 0, &ticket, NULL) != 0 ||
		    !ration_ticket_fresh(ration, &ticket) ||
		    ration_settle(ration, &ticket, NULL, 0) != 0)
			give_up("acquire", "not granted");
	}
	return (cpu_ns() - start) / N;
}

/* --- rounds --- */

struct rounds {
	double without[ROUNDS_MAX];
	double with[ROUNDS_MAX];
	double calls[ROUNDS_MAX];
	double added[ROUNDS_MAX];  /* part of a request's CPU time that the handle added */
	double called[ROUNDS_MAX]; /* part that the calls alone are */
};

/* Without, with, with, without: a machine that gets slower meanwhile does so for both. */
static void one_round(struct rounds *r, unsigned i)
{
	const double first = batch(NULL);
	const double second = batch(five);
	const double third = batch(five);
	const double fourth = batch(NULL);

	r->without[i] = (first + fourth) / 2;
	r->with[i] = (second + third) / 2;
	r->calls[i] = calls();
	r->added[i] = 100 * (r->with[i] - r->without[i]) / r->with[i];
	r->called[i] = 100 * r->calls[i] / r->with[i];
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts. */
static double quantile(double *values, unsigned n, double q)
{
	qsort(values, n, sizeof(*values), compare);
	return values[(unsigned)(q * (n - 1) + 0.5)];
}

static void show(const struct report_setup *setup, struct rounds *r)
{
	const unsigned n = setup->rounds;
	const double without = quantile(r->without, n, 0.5), with = quantile(r->with, n, 0.5),
		     alone = quantile(r->calls, n, 0.5);
	const double low = quantile(r->added, n, 0.25), high = quantile(r->added, n, 0.75),
		     added = quantile(r->added, n, 0.5), called = quantile(r->called, n, 0.5);
	const struct target target = {
		"quota_share", "acquire, freshness and settle, of a request's CPU time",
		called,        1,
		false,         "%"};

	if (setup->json)
		printf("{\"bench\":\"engine\",\"rounds\":%u,\"without_ns\":%.0f,\"with_ns\":%.0f,"
		       "\"calls_ns\":%.1f,\"added_percent\":%.3f,\"added_percent_p25\":%.3f,"
		       "\"added_percent_p75\":%.3f,\"calls_percent\":%.3f}\n",
		       n, without, with, alone, added, low, high, called);
	else
		printf("\nCPU time of one request through libration-http (%s), medians of %u "
		       "rounds\n"
		       "  without a handle                        %8.2f us\n"
		       "  with a chain of 5                       %8.2f us   %+.2f %% (middle half "
		       "of the rounds: %+.2f ... %+.2f %%)\n"
		       "  acquire, freshness and settle by itself %8.2f us    %.2f %%\n",
		       ration_http_uses_uring(engine) ? "io_uring" : "epoll", n, without / 1e3,
		       with / 1e3, added, low, high, alone / 1e3, called);
	report_targets(setup, &target, 1);
}

static void start(void)
{
	const struct ration_key key = {"acme", "five", "interactive", "account", "resource"};
	struct ration_error error;

	if (ration_embed("bench/policy.yaml", &ration, &error) != 0 ||
	    ration_resolve(ration, &key, &five, &error) != 0)
		give_up("bench/policy.yaml", error.text);
	start_nginx();
	if (ration_http_new(ration, NULL, &engine) != 0)
		give_up("engine", "cannot be made");
}

int main(int argc, char **argv)
{
	static struct rounds rounds;
	struct report_setup setup = {.bench = "engine", .rounds = 40};

	report_options(argc, argv, "What quota handling adds to the CPU time of a request.",
		       &setup);
	start();
	batch(five); /* opens the connections */
	for (unsigned i = 0; i < setup.rounds; i++)
		one_round(&rounds, i);
	show(&setup, &rounds);
	ration_http_free(&engine);
	server_stop(&server);
	ration_handle_free(&five);
	ration_detach(&ration);
	return EXIT_SUCCESS;
}
