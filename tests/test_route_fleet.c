/*
 * tests/test_route_fleet.c - routes with many processes: kills, reloads, and a vendor that begins to refuse
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "shm/check.h"
#include "support_cli.h"
#include "support_nginx.h"
#include "support_random.h"
#include "support_rationd.h"

TestSuite(route_fleet, .timeout = 120);

#define VENDORS                                                                                    \
	"version: 1\n"                                                                             \
	"classes:\n"                                                                               \
	"  - { name: bulk, retry: { attempts: 9, total: 100s, base: 2ms, cap: 4ms, budget: 100% "  \
	"} }\n"                                                                                    \
	"defaults: { delay: 0ms, margin: 0%, breaker: none }\n"                                    \
	"vendors:\n"                                                                               \
	"  a: { limits: [{ name: rate, rate: 2000/s, burst: 50, scope: [vendor] }] }\n"            \
	"  b: { limits: [{ name: held, kind: concurrency, slots: 2, scope: [vendor] }] }\n"        \
	"  c: { limits: [{ name: rate, rate: 1M/s, burst: 1M, scope: [vendor] }] }\n"

#define C_ALONE  VENDORS "routes: { best: [c] }\n"
#define NO_ROUTE VENDORS

/* Each has somewhere to go to. */
static const char *const policies[] = {
	VENDORS "routes: { best: [a, b, c/x] }\n",
	VENDORS "routes: { best: [{vendor: c, weight: 1}, {vendor: b, weight: 9}] }\n",
	VENDORS "routes: { best: [b, c] }\n",
	VENDORS "routes: { other: [a], best: [a, c/y] }\n",
};
enum { POLICIES = sizeof(policies) / sizeof(policies[0]), WORKERS = 4, ROUNDS = 60 };

struct shared {
	_Atomic int stop;
	_Atomic uint32_t went_to[3]; /* a, b, c */
	_Atomic uint32_t gone;       /* no such route */
	_Atomic uint32_t failures;   /* whatever else */
	_Atomic int failure;
};

/* --- workers --- */

static void ask_once(struct shared *shared, struct ration *ration, struct ration_route *route)
{
	static const struct ration_ask one;
	struct ration_ticket ticket;
	struct ration_pick pick;
	const int result = ration_route_until(route, &one, UINT64_MAX, &pick, &ticket, NULL);

	if (result == RATION_EVENDOR) {
		atomic_fetch_add(&shared->gone, 1);
	} else if (result != 0) {
		atomic_store(&shared->failure, result);
		atomic_fetch_add(&shared->failures, 1);
	} else {
		atomic_fetch_add(&shared->went_to[ration_handle_vendor(pick.handle)[0] - 'a'], 1);
		(void)ration_release(ration, &ticket);
	}
}

static int worker(struct shared *shared, const char *socket)
{
	const struct ration_key key = {.vendor = "best", .traffic_class = "bulk"};
	struct ration_route *route;
	struct ration *ration;

	if (ration_attach(socket, 0, &ration, NULL) != 0)
		return 1;
	if (ration_route_resolve(ration, &key, &route, NULL) != 0)
		return 2;
	while (!atomic_load(&shared->stop))
		ask_once(shared, ration, route);
	ration_route_free(&route);
	ration_detach(&ration);
	return 0;
}

struct fleet {
	struct rationd r;
	struct shared *shared;
	pid_t pids[WORKERS];
};

static void spawn(struct fleet *f, int i)
{
	f->pids[i] = fork();
	cr_assert_geq(f->pids[i], 0);
	if (f->pids[i] == 0)
		_exit(worker(f->shared, f->r.socket));
}

static void fleet_begin(struct fleet *f)
{
	f->shared = mmap(NULL, sizeof(*f->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(f->shared, MAP_FAILED);
	rationd_start(&f->r, policies[0], NULL);
	for (int i = 0; i < WORKERS; i++)
		spawn(f, i);
}

static void reload(struct fleet *f, const char *policy)
{
	rationd_write_policy(&f->r, policy);
	rationd_reload(&f->r);
}

static void wait_for(const _Atomic uint32_t *count, uint32_t more)
{
	const uint32_t goal = atomic_load(count) + more;

	while (atomic_load(count) < goal)
		usleep(1000);
}

static void problem(void *user, const char *what, uint32_t where)
{
	(void)user;
	cr_expect_fail("%s (%u)", what, where);
}

static void fleet_end(struct fleet *f)
{
	struct ration *observer;

	atomic_store(&f->shared->stop, 1);
	for (int i = 0; i < WORKERS; i++)
		cr_expect_eq(wait_child(f->pids[i]), 0);
	cr_expect_eq(atomic_load(&f->shared->failures), 0, "%d, %s",
		     atomic_load(&f->shared->failure),
		     ration_strerror(atomic_load(&f->shared->failure)));
	cr_assert_eq(client_observe(f->r.socket, 0, &observer, NULL), 0);
	seg_check(client_seg(observer), client_now(observer), false, problem, NULL);
	cr_expect_eq(shm_load(&client_seg(observer)->control->corrupt), 0);
	ration_detach(&observer);
	cr_expect_eq(rationd_stop(&f->r), 0);
}

/*
 * Workers are killed wherever they are, and what the route leads to changes as fast as it can: whoever asks gets something
 * somewhere, each time.
 */
Test(route_fleet, kills_and_reloads)
{
	struct fleet f;

	seed(0);
	fleet_begin(&f);
	for (int i = 0; i < ROUNDS; i++) {
		const int victim = (int)below(WORKERS);

		reload(&f, policies[below(POLICIES)]);
		usleep((useconds_t)below(3000));
		cr_assert_eq(kill(f.pids[victim], SIGKILL), 0);
		cr_expect_eq(wait_child(f.pids[victim]), -SIGKILL, "seed %lu",
			     (unsigned long)seed_used);
		spawn(&f, victim);
	}
	for (int i = 0; i < 3; i++)
		cr_expect_gt(atomic_load(&f.shared->went_to[i]), 0);
	fleet_end(&f);
}

Test(route_fleet, a_route_that_goes_and_comes_back)
{
	struct fleet f;
	uint32_t before;

	fleet_begin(&f);
	wait_for(&f.shared->went_to[0], 100);
	reload(&f, C_ALONE);
	/* Whoever was asking when it came has asked once more. */
	wait_for(&f.shared->went_to[2], 2000);
	before = atomic_load(&f.shared->went_to[0]) + atomic_load(&f.shared->went_to[1]);
	wait_for(&f.shared->went_to[2], 2000);
	cr_expect_leq(atomic_load(&f.shared->went_to[0]) + atomic_load(&f.shared->went_to[1]),
		      before + WORKERS);
	reload(&f, NO_ROUTE);
	wait_for(&f.shared->gone, 100);
	reload(&f, policies[0]);
	wait_for(&f.shared->went_to[0], 100);
	fleet_end(&f);
}

/* --- ration run, two servers, and one of them begins to refuse --- */

static const char server[] =
	"server { listen $PORT backlog=1024; keepalive_requests 100000;\n"
	"  location /a { if (-f $DIR/refuses) { add_header Retry-After 1 always; return 429; }\n"
	"    return 200 'a'; }\n"
	"  location /c { return 200 'c'; }\n"
	"}";

struct run {
	struct rationd r;
	struct nginx nginx;
	struct cli_process process;
	unsigned id;
	unsigned went_to[3]; /* of the last batch */
};

static void write_requests(struct run *run, int n)
{
	char line[512];

	for (int i = 0; i < n; i++) {
		snprintf(line, sizeof(line),
			 "{\"id\":%u,\"vendor\":\"best\",\"class\":\"bulk\",\"alternatives\":"
			 "{\"a\":{\"url\":\"%s\"},\"c\":{\"url\":\"%s\"}}}\n",
			 run->id++, nginx_url(&run->nginx, "/a"), nginx_url(&run->nginx, "/c"));
		cli_write(&run->process, line);
	}
}

/* All of them are answered, and well, by whomever. */
static void ask(struct run *run, int n)
{
	memset(run->went_to, 0, sizeof(run->went_to));
	write_requests(run, n);
	for (int i = 0; i < n; i++) {
		const char *line = cli_read_line(&run->process);
		json_t *result = line ? json_loads(line, 0, NULL) : NULL;
		const char *to = json_string_value(json_object_get(result, "to"));

		cr_assert(result, "no result");
		cr_assert_eq(json_integer_value(json_object_get(result, "status")), 200, "%s",
			     line);
		cr_assert(to && strlen(to) == 1, "%s", line);
		run->went_to[to[0] - 'a']++;
		json_decref(result);
	}
}

static void run_begin(struct run *run)
{
	rationd_start(&run->r, VENDORS "routes: { best: [a, c] }\n", NULL);
	nginx_start(&run->nginx, server);
	cli_start(&run->process,
		  (const char *const[]){"run", "--socket", run->r.socket, "--workers", "2", NULL});
}

static void run_end(struct run *run)
{
	struct cli_result r;

	cli_close_input(&run->process);
	cli_wait(&run->process, &r);
	cr_expect_eq(r.status, EX_OK, "%s", r.err);
	cli_free(&r);
	nginx_stop(&run->nginx);
	cr_expect_eq(rationd_stop(&run->r), 0);
}

Test(route_fleet, a_vendor_begins_to_refuse_in_the_middle_of_a_run)
{
	struct run *run = calloc(1, sizeof(*run));
	pid_t workers[4];
	int refused;

	run_begin(run);
	ask(run, 30);
	cr_expect_geq(run->went_to[0], 20, "%u", run->went_to[0]);
	nginx_file(&run->nginx, "refuses", 1);
	for (int i = 0; i < 20; i++) {
		ask(run, 10);
		cr_expect_eq(run->went_to[0], 0);
		usleep(20000);
	}
	/* A worker dies, and the next one knows what all know. */
	cr_assert_geq(children_of(run->process.pid, workers, 4), 1);
	cr_assert_eq(kill(workers[0], SIGKILL), 0);
	ask(run, 10);
	cr_expect_eq(run->went_to[0], 0);
	cr_assert_eq(unlink(nginx_path(&run->nginx, "refuses")), 0);
	do {
		usleep(10000);
		ask(run, 10);
	} while (run->went_to[0] < 10);
	/* The route changes while it runs. */
	rationd_write_policy(&run->r, C_ALONE);
	rationd_reload(&run->r);
	do {
		ask(run, 10);
	} while (run->went_to[2] < 10);
	run_end(run);
	/* Those under way when it began, and a probe a second: of 210 that were asked meanwhile. */
	refused = nginx_count(&run->nginx, NULL, " 429 GET");
	cr_expect(refused >= 1 && refused <= 60, "%d", refused);
	nginx_remove(&run->nginx);
	free(run);
}
