/*
 * tests/test_torture.c - workers and supervisors killed at random under load, and somebody who counts
 * SPDX-License-Identifier: MIT
 *
 * Workers take permits and send each request to a vendor, a process that knows nothing of ration: it sees requests arrive and
 * end, and connections break, and holds them against what it grants. Meanwhile workers and rationd are killed and the policy is
 * reloaded, all at random. In the end nothing may have been over at any time, all leases must be back, no bucket stuck, the
 * segment whole, and the checkpoint readable.
 *
 * A short form is a test; $RATION_TORTURE_FOR is for how many seconds it goes on.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "shm/check.h"
#include "support_manager.h"
#include "support_random.h"

#define WORKERS     8u
#define SECONDS     4u
#define PATIENCE_NS UINT64_C(20000000000)
#define SECOND      UINT64_C(1000000000)

/* What the vendor grants. The policy's numbers are these, and at times smaller ones. */
#define RATE   2000u
#define BURST  400u
#define AMOUNT 3000u
#define PERIOD (2 * SECOND)
#define SLOTS  16u

/* A request may arrive so much later than it was permitted: workers are preempted, too. */
#define DELAY "100ms"

TestSuite(torture, .timeout = 86400);

#define POLICY(rate, amount)                                                                       \
	"version: 1\n"                                                                             \
	"classes: [bulk]\n"                                                                        \
	"defaults: { delay: " DELAY ", margin: 0% }\n"                                             \
	"vendors:\n"                                                                               \
	"  crm:\n"                                                                                 \
	"    limits:\n"                                                                            \
	"      - { name: rate, rate: " rate "/s, burst: 400, scope: [vendor] }\n"                  \
	"      - { name: period, kind: rolling, amount: " amount                                   \
	", period: 2s, scope: [vendor] }\n"                                                        \
	"      - { name: slots, kind: concurrency, slots: 16, scope: [vendor] }\n"

static const struct ration_key key = {.tenant = "t", .vendor = "crm", .traffic_class = "bulk"};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* --- the vendor --- */

/* Shared with the test. */
struct account {
	_Atomic uint64_t arrived;
	_Atomic uint64_t over_rate, over_period, over_slots;
	_Atomic uint64_t most_in_period, most_at_once;
};

static struct account *account;

struct vendor {
	struct pollfd poll[1 + 4 * WORKERS]; /* [0] listens; -1: free */
	uint32_t open[1 + 4 * WORKERS];      /* requests of that connection */
	uint32_t at_once;
	uint64_t tat;          /* of the rate: when the bucket is full again */
	uint64_t when[AMOUNT]; /* of the last arrivals, in a ring */
	uint64_t n;
};

static void raise_to(_Atomic uint64_t *most, uint64_t value)
{
	if (value > atomic_load(most))
		atomic_store(most, value);
}

static void arrive(struct vendor *v, unsigned i, uint64_t now)
{
	const uint64_t each = SECOND / RATE, full = BURST * each;

	atomic_fetch_add(&account->arrived, 1);
	v->tat = (v->tat > now ? v->tat : now) + each;
	if (v->tat - now > full)
		atomic_fetch_add(&account->over_rate, 1);
	/* The one that was AMOUNT before this one must be a period old. */
	if (v->n >= AMOUNT && now - v->when[v->n % AMOUNT] < PERIOD)
		atomic_fetch_add(&account->over_period, 1);
	v->when[v->n++ % AMOUNT] = now;
	v->open[i]++;
	v->at_once++;
	raise_to(&account->most_at_once, v->at_once);
	if (v->at_once > SLOTS)
		atomic_fetch_add(&account->over_slots, 1);
}

static void finish(struct vendor *v, unsigned i, uint32_t n)
{
	v->open[i] -= n;
	v->at_once -= n;
}

/* What ended, ended before what begins: ends are looked at first. False: nothing more is there. */
static bool read_one(struct vendor *v, unsigned i, bool ends_only)
{
	char what;
	const ssize_t n = recv(v->poll[i].fd, &what, 1, MSG_DONTWAIT | (ends_only ? MSG_PEEK : 0));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		close(v->poll[i].fd);
		v->poll[i].fd = -1;
		finish(v, i, v->open[i]);
		return false;
	}
	if (ends_only && what != 'E')
		return false;
	if (ends_only && recv(v->poll[i].fd, &what, 1, MSG_DONTWAIT) != 1)
		return false;
	if (what == 'E')
		finish(v, i, 1);
	else
		arrive(v, i, now_ns());
	return true;
}

static void read_all(struct vendor *v, bool ends_only)
{
	for (unsigned i = 1; i < 1 + 4 * WORKERS; i++) {
		while (v->poll[i].fd >= 0 && read_one(v, i, ends_only) && ends_only)
			;
	}
}

static void accept_one(struct vendor *v)
{
	for (unsigned i = 1; i < 1 + 4 * WORKERS; i++) {
		if (v->poll[i].fd >= 0)
			continue;
		v->poll[i] = (struct pollfd){.fd = accept4(v->poll[0].fd, NULL, NULL, SOCK_CLOEXEC),
					     .events = POLLIN};
		v->open[i] = 0;
		return;
	}
}

static void be_vendor(int listening)
{
	static struct vendor v;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < 1 + 4 * WORKERS; i++)
		v.poll[i].fd = -1;
	v.poll[0] = (struct pollfd){.fd = listening, .events = POLLIN};
	for (;;) {
		poll(v.poll, 1 + 4 * WORKERS, -1);
		if (v.poll[0].revents)
			accept_one(&v);
		read_all(&v, true);
		read_all(&v, false);
	}
}

/* --- a worker --- */

struct open_request {
	struct ration_ticket ticket;
	bool open;
};

static int call_vendor(const char *path)
{
	const struct sockaddr_un address = socket_address(path);
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(3);
	return fd;
}

static void say(int vendor, char what)
{
	if (send(vendor, &what, 1, MSG_NOSIGNAL) != 1)
		_exit(4);
}

/* A request begins if it may, and is still allowed to: else it is given back. */
static void begin_request(struct ration *ration, struct ration_handle *handle, int vendor,
			  struct open_request *request)
{
	struct ration_denial denial;

	if (ration_acquire(handle, NULL, 0, &request->ticket, &denial) != 0) {
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
		return;
	}
	if (below(8) == 0 || !ration_ticket_fresh(ration, &request->ticket)) {
		(void)ration_cancel(ration, &request->ticket);
		return;
	}
	say(vendor, 'S');
	request->open = true;
}

/* The slot is given back after the vendor has heard. */
static void end_request(struct ration *ration, int vendor, struct open_request *request)
{
	say(vendor, 'E');
	(void)ration_settle(ration, &request->ticket, NULL, 0);
	request->open = false;
}

static void be_worker(const char *socket, const char *vendor_path, uint64_t seed_of_it)
{
	struct open_request requests[4] = {{.open = false}};
	struct ration_handle *handle = NULL;
	struct ration *ration = NULL;
	int vendor;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed(seed_of_it);
	vendor = call_vendor(vendor_path);
	while (ration_attach(socket, PATIENCE_NS, &ration, NULL) != 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (ration_resolve(ration, &key, &handle, NULL) != 0)
		_exit(5);
	for (;;) {
		struct open_request *request = &requests[below(4)];

		if (request->open)
			end_request(ration, vendor, request);
		else
			begin_request(ration, handle, vendor, request);
	}
}

/* --- the test --- */

struct torture {
	struct rationd r;
	char vendor_path[128];
	pid_t manager, vendor, worker[WORKERS];
	unsigned workers_killed, supervisors_killed, reloads;
};

static void start_vendor(struct torture *t)
{
	struct sockaddr_un address;
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(t->vendor_path, sizeof(t->vendor_path), "%s/vendor", t->r.dir);
	address = socket_address(t->vendor_path);
	cr_assert(bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
		  listen(fd, 64) == 0);
	t->vendor = fork();
	cr_assert(t->vendor >= 0);
	if (t->vendor == 0)
		be_vendor(fd);
	close(fd);
}

static void start_worker(struct torture *t, unsigned i)
{
	const uint64_t seed_of_it = draw();

	t->worker[i] = fork();
	cr_assert(t->worker[i] >= 0);
	if (t->worker[i] == 0)
		be_worker(t->r.socket, t->vendor_path, seed_of_it);
}

static void kill_and_wait(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_assert_eq(wait_child(pid), -SIGKILL, "it had ended by itself");
}

static void do_something(struct torture *t)
{
	const uint64_t what = below(20);
	const unsigned i = (unsigned)below(WORKERS);
	const pid_t supervisor = manager_pid(&t->r);

	if (what < 13) {
		kill_and_wait(t->worker[i]);
		t->workers_killed++;
		start_worker(t, i);
	} else if (what < 18 && supervisor > 0) {
		t->supervisors_killed += kill(supervisor, SIGKILL) == 0;
	} else if (supervisor > 0) {
		rationd_write_policy(&t->r,
				     below(2) ? POLICY("2000", "3000") : POLICY("1500", "2000"));
		t->reloads += kill(supervisor, SIGHUP) == 0;
	}
}

static void begin(struct torture *t)
{
	static const char *more[] = {"--workers", "40", NULL, NULL, NULL};
	static char state[96];

	rationd_prepare(&t->r, POLICY("2000", "3000"));
	snprintf(state, sizeof(state), "%s/state", t->r.dir);
	more[2] = "--state-dir";
	more[3] = state;
	t->r.more = more;
	start_vendor(t);
	t->manager = fork();
	cr_assert(t->manager >= 0);
	if (t->manager == 0)
		manager_serve(&t->r, NULL, 1000000);
	for (unsigned i = 0; i < WORKERS; i++)
		start_worker(t, i);
}

static void go_on_until(struct torture *t, uint64_t until)
{
	while (now_ns() < until) {
		do_something(t);
		nanosleep(&(struct timespec){.tv_nsec = (long)below(20000000)}, NULL);
	}
}

/* --- in the end --- */

static void expect_all_slots(struct ration *ration, struct ration_handle *handle)
{
	const uint64_t end = now_ns() + PATIENCE_NS;
	struct ration_ticket tickets[SLOTS + 1];
	struct ration_denial denial;
	unsigned n = 0;

	while (n < SLOTS) {
		cr_assert_lt(now_ns(), end, "only %u of %u slots are free", n, SLOTS);
		if (ration_acquire(handle, NULL, 0, &tickets[n], &denial) == 0)
			n++;
		else
			nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	cr_expect_neq(ration_acquire(handle, NULL, 0, &tickets[n], &denial), 0);
	while (n > 0)
		cr_expect_eq(ration_cancel(ration, &tickets[--n]), 0);
}

/* All of a limit can be had again within its period. */
static void expect_flow(struct ration *ration, struct ration_handle *handle)
{
	const uint64_t end = now_ns() + PATIENCE_NS;
	struct ration_denial denial;
	struct ration_ticket ticket;
	unsigned n = 0;

	while (n < AMOUNT) {
		cr_assert_lt(now_ns(), end, "a bucket is stuck: only %u were had", n);
		if (ration_acquire(handle, NULL, 0, &ticket, &denial) != 0) {
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
			continue;
		}
		cr_assert_eq(ration_settle(ration, &ticket, NULL, 0), 0);
		n++;
	}
}

static void print_problem(void *user, const char *what, uint32_t where)
{
	(void)user;
	fprintf(stderr, "%s at %u\n", what, where);
}

static void look_over(struct torture *t)
{
	struct ration_handle *handle;
	struct ration *ration;

	cr_assert_eq(ration_attach(t->r.socket, PATIENCE_NS, &ration, NULL), 0, "%s",
		     rationd_log(&t->r));
	cr_assert_eq(ration_resolve(ration, &key, &handle, NULL), 0);
	expect_all_slots(ration, handle);
	expect_flow(ration, handle);
	cr_expect_eq(seg_check(client_seg(ration), client_now(ration), false, print_problem, NULL),
		     0);
	ration_handle_free(&handle);
	ration_detach(&ration);
}

/* The log is longer than rationd_log() reads. */
static void expect_nothing_said(const struct torture *t)
{
	static const char *const never[] = {"event=repaired",
					    "event=corrupt",
					    "event=failed",
					    "event=reload-failed",
					    "event=checkpoint-refused",
					    "event=checkpoint-unreadable",
					    "event=checkpoint-failed"};
	FILE *log = fopen(t->r.log_path, "r");
	char line[4096];

	cr_assert(log);
	while (fgets(line, sizeof(line), log)) {
		for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
			cr_expect(!strstr(line, never[i]), "%s", line);
	}
	fclose(log);
}

static void end(struct torture *t)
{
	for (unsigned i = 0; i < WORKERS; i++)
		kill_and_wait(t->worker[i]);
	look_over(t);
	kill(t->manager, SIGTERM);
	cr_expect_eq(wait_child(t->manager), 0, "%s", rationd_log(&t->r));
	kill_and_wait(t->vendor);
	expect_nothing_said(t);
	/* The checkpoint is one that a new host can begin with. */
	unlink(t->r.log_path);
	rationd_spawn(&t->r, t->r.more);
	rationd_expect_log(&t->r, "event=ready", 1);
	expect_nothing_said(t);
	rationd_stop(&t->r);
}

Test(torture, killed_at_random)
{
	const char *seconds = getenv("RATION_TORTURE_FOR");
	static struct torture t;

	seed(now_ns());
	account = mmap(NULL, sizeof(*account), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	cr_assert_neq(account, MAP_FAILED);
	begin(&t);
	go_on_until(&t, now_ns() + (seconds ? strtoull(seconds, NULL, 10) : SECONDS) * SECOND);
	end(&t);
	fprintf(stderr,
		"figures: %u workers and %u supervisors killed, %u reloads, %llu requests; over: "
		"rate %llu, "
		"period %llu, slots %llu; at "
		"most %llu of %u at once (RATION_SEED=%llu)\n",
		t.workers_killed, t.supervisors_killed, t.reloads,
		(unsigned long long)account->arrived, (unsigned long long)account->over_rate,
		(unsigned long long)account->over_period, (unsigned long long)account->over_slots,
		(unsigned long long)account->most_at_once, SLOTS, (unsigned long long)seed_used);
	cr_expect_gt(account->arrived, 0);
	cr_expect_eq(account->over_rate + account->over_period + account->over_slots, 0);
}
