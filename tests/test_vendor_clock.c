/*
 * tests/test_vendor_clock.c - a vendor whose clock is wrong, behind a network that is late
 * SPDX-License-Identifier: MIT
 *
 * Four worker processes take from each kind of limit and send to a vendor, one more process, which enforces exactly the
 * limits as written, by a clock that is off by up to clock_skew. Each message is on its way for up to `delay`; at
 * times the network stands still and then delivers everything at once. The vendor must never refuse anything. What all of
 * that costs in unused quota is shown beside the formula of ration-policy(5).
 *
 * Time is injected: this process goes from event to event and tells the others what time it is.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ration/ration.h>

#include "support_policy.h"
#include "support_random.h"

TestSuite(vendor_clock, .init = policy_dir_enter, .fini = policy_dir_leave, .timeout = 120);

#define MS       UINT64_C(1000000)
#define SECOND   (1000 * MS)
#define START    (1000 * SECOND)
#define DURATION (100 * SECOND)
#define DELAY    (200 * MS)
#define SKEW     (150 * MS)
#define SERVICE  (300 * MS) /* at most */

/* CLOCK_REALTIME when CLOCK_BOOTTIME is 0: 2026-11-22T00:00:03Z. */
#define WALL (UINT64_C(1795305603) * SECOND)

enum kind { BUCKET, WINDOW, ROLLING, SLOTS, KINDS };

#define INTERVAL       (20 * MS)
#define BURST          40u
#define PERIOD         (10 * SECOND)
#define WINDOW_AMOUNT  600u
#define SPAN           (2 * SECOND)
#define ROLLING_AMOUNT 300u
#define TOKENS_MOST    5u
#define SLOTS_MOST     12u

static const char *const limits[KINDS] = {
	[BUCKET] = "      - { name: rate, rate: 50/s, burst: 40, scope: [vendor] }\n",
	[WINDOW] = "      - { name: window, kind: window, amount: 600, period: 10s, scope: "
		   "[vendor] }\n",
	[ROLLING] =
		"      - { name: rolling, kind: rolling, unit: tokens, amount: 300, period: 2s, "
		"scope: [vendor] }\n",
	[SLOTS] = "      - { name: slots, kind: concurrency, slots: 12, scope: [vendor] }\n",
};

static const char head[] = "version: 1\n"
			   "classes: [all]\n"
			   "defaults: { delay: 200ms, clock_skew: 150ms, margin: 0% }\n"
			   "vendors:\n"
			   "  v:\n"
			   "    limits:\n";

/* --- time, in place of the C library's --- */

static uint64_t *injected; /* CLOCK_BOOTTIME; NULL: not yet */

int clock_gettime(clockid_t id, struct timespec *ret_time)
{
	uint64_t ns;

	if (!injected || (id != CLOCK_BOOTTIME && id != CLOCK_REALTIME))
		return (int)syscall(SYS_clock_gettime, id, ret_time);
	ns = *injected + (id == CLOCK_REALTIME ? WALL : 0);
	*ret_time = (struct timespec){(time_t)(ns / SECOND), (long)(ns % SECOND)};
	return 0;
}

/* --- processes that answer one question at a time --- */

struct peer {
	pid_t pid;
	int ask, answer;
};

struct question {
	enum { ACQUIRE, RELEASE, ARRIVES, ENDS } what;
	uint32_t id;
	uint64_t tokens;
};

struct answer {
	int result;
	uint64_t retry_at;
};

static void put(int fd, const void *data, size_t size)
{
	if (write(fd, data, size) != (ssize_t)size)
		_exit(1);
}

static struct answer ask(const struct peer *peer, struct question question)
{
	struct answer answer = {-1, 0};

	cr_assert_eq(write(peer->ask, &question, sizeof(question)), (ssize_t)sizeof(question));
	cr_assert_eq(read(peer->answer, &answer, sizeof(answer)), (ssize_t)sizeof(answer));
	return answer;
}

static void peer_start(struct peer *peer, void (*serve)(void *user, int in, int out), void *user)
{
	int in[2], out[2];

	cr_assert_eq(pipe(in), 0);
	cr_assert_eq(pipe(out), 0);
	fflush(NULL);
	peer->pid = fork();
	cr_assert_geq(peer->pid, 0);
	if (peer->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(in[1]);
		close(out[0]);
		serve(user, in[0], out[1]);
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	peer->ask = in[1];
	peer->answer = out[0];
}

/* Each ends when nobody can ask it any more: not its younger siblings either, which have copies of its pipe. */
static void peer_end(struct peer *peer)
{
	int status = -1;

	close(peer->answer);
	cr_assert_eq(waitpid(peer->pid, &status, 0), peer->pid);
	cr_expect_eq(status, 0);
}

/* --- the vendor: exact, but for its clock --- */

enum { REQUESTS_MAX = 1 << 16 };

struct vendor {
	bool enforces[KINDS];
	int64_t clock; /* ahead of ours */
	uint64_t full_at;
	uint64_t window, used;
	uint64_t at[REQUESTS_MAX], tokens[REQUESTS_MAX], total;
	uint32_t first, n;
	uint32_t busy;
};

static bool fits_bucket(struct vendor *v, uint64_t now)
{
	const uint64_t next = (v->full_at > now ? v->full_at : now) + INTERVAL;

	if (next > now + BURST * INTERVAL)
		return false;
	v->full_at = next;
	return true;
}

static bool fits_window(struct vendor *v, uint64_t now)
{
	if (now / PERIOD != v->window)
		v->used = 0;
	v->window = now / PERIOD;
	return v->used++ < WINDOW_AMOUNT;
}

static bool fits_rolling(struct vendor *v, uint64_t now, uint64_t tokens)
{
	while (v->first < v->n && v->at[v->first] + SPAN <= now)
		v->total -= v->tokens[v->first++];
	if (v->n == REQUESTS_MAX || v->total + tokens > ROLLING_AMOUNT)
		return false;
	v->at[v->n] = now;
	v->tokens[v->n++] = tokens;
	v->total += tokens;
	return true;
}

static bool arrives(struct vendor *v, uint64_t tokens)
{
	const uint64_t now = *injected + WALL + (uint64_t)v->clock;

	return (!v->enforces[BUCKET] || fits_bucket(v, now)) &&
	       (!v->enforces[WINDOW] || fits_window(v, now)) &&
	       (!v->enforces[ROLLING] || fits_rolling(v, now, tokens)) &&
	       (!v->enforces[SLOTS] || v->busy++ < SLOTS_MOST);
}

static void serve_vendor(void *user, int in, int out)
{
	struct vendor *v = user;
	struct question question;

	while (read(in, &question, sizeof(question)) == (ssize_t)sizeof(question)) {
		struct answer answer = {0, 0};

		if (question.what == ARRIVES)
			answer.result = arrives(v, question.tokens) ? 0 : 1;
		else
			v->busy--;
		put(out, &answer, sizeof(answer));
	}
}

/* --- a worker --- */

static struct answer acquire(struct ration_handle *handle, const struct question *question,
			     struct ration_ticket *ticket)
{
	const struct ration_cost cost = {"tokens", question->tokens};
	struct ration_denial denial = {.retry_at_ns = 0};
	int result;

	do
		result = ration_acquire(handle, &cost, 1, ticket, &denial);
	while (result == RATION_CONTENDED);
	return (struct answer){result, denial.retry_at_ns};
}

static void serve_worker(void *user, int in, int out)
{
	static struct ration_ticket tickets[REQUESTS_MAX];
	const struct ration_key key = {.tenant = "t", .vendor = "v", .traffic_class = "all"};
	struct ration_handle *handle;
	struct question question;

	if (ration_resolve(user, &key, &handle, NULL) != 0)
		_exit(1);
	while (read(in, &question, sizeof(question)) == (ssize_t)sizeof(question)) {
		struct answer answer = {0, 0};

		if (question.what == ACQUIRE)
			answer = acquire(handle, &question, &tickets[question.id]);
		else
			answer.result = ration_release(user, &tickets[question.id]);
		put(out, &answer, sizeof(answer));
	}
	ration_handle_free(&handle);
}

/* --- what happens when --- */

enum { WORKERS = 4, EVENTS_MAX = 1 << 12 };

struct event {
	uint64_t at;
	enum { TRY, ARRIVE, END, GIVE_UP, GIVEN_UP, BACK } what;
	uint32_t worker, id;
	uint64_t tokens;
};

struct run {
	bool has[KINDS];
	uint64_t
		every; /* each worker asks so often, whatever becomes of it; 0: as soon as it can get something */
	uint64_t cycle, active; /* from a second before each cycle of the wall clock; 0: always */
	struct peer worker[WORKERS], vendor;
	struct event event[EVENTS_MAX]; /* the first to happen is the last */
	uint32_t n_events, next_id;
	uint64_t stalled_from, stalled_until;
	uint64_t asked, admitted, tokens;
	uint32_t held, busy;           /* slots: as we count them, and as the vendor does */
	uint64_t held_time, busy_time; /* of all of them together */
};

static void happen(struct run *run, struct event event)
{
	uint32_t i = run->n_events++;

	cr_assert_lt(i, EVENTS_MAX);
	for (; i > 0 && run->event[i - 1].at <= event.at; i--)
		run->event[i] = run->event[i - 1];
	run->event[i] = event;
}

/* How long a message is on its way: often not at all, or as long as can be. */
static uint64_t arrival(struct run *run, uint64_t now)
{
	const uint64_t luck = below(8);

	if (now >= run->stalled_from && now < run->stalled_until)
		return run->stalled_until;
	if (below(300) == 0) {
		run->stalled_from = now;
		run->stalled_until = now + 1 + below(DELAY);
		return run->stalled_until;
	}
	if (luck < 2)
		return now + luck * DELAY;
	return now + below(DELAY + 1);
}

/*
 * The network stands still, too, where it hurts most: when a burst comes, which then arrives with what is on time; or for
 * as long as makes the last of one window arrive in the next, at a vendor whose clock is fast.
 */
static bool rest(struct run *run, struct event event)
{
	const uint64_t since = run->cycle ? (event.at + WALL + SECOND) % run->cycle : 0;

	if (since < run->active || run->cycle == 0)
		return false;
	event.at += run->cycle - since;
	run->stalled_from = event.at + (below(2) ? SECOND - SKEW - DELAY : 0);
	run->stalled_until = run->stalled_from + DELAY;
	happen(run, event);
	return true;
}

static void take(struct run *run, struct event event)
{
	const uint64_t now = event.at;
	const struct answer answer = ask(&run->worker[event.worker],
					 (struct question){ACQUIRE, run->next_id, event.tokens});

	run->asked++;
	cr_assert(answer.result == 0 || answer.result == RATION_DENIED, "%s",
		  ration_strerror(answer.result));
	if (answer.result == 0) {
		run->admitted++;
		run->held += run->has[SLOTS];
		run->tokens += event.tokens;
		happen(run, (struct event){arrival(run, now), ARRIVE, event.worker, run->next_id,
					   event.tokens});
		run->next_id = (run->next_id + 1) % REQUESTS_MAX;
	}
	if (run->every)
		event.at = now + run->every;
	else if (answer.result != 0)
		event.at = (answer.retry_at > now ? answer.retry_at : now + MS) + below(2 * MS);
	if (answer.result == 0 || run->every)
		event.tokens = 1 + below(TOKENS_MOST);
	happen(run, event);
}

static void try(struct run *run, struct event event)
{
	if (!rest(run, event))
		take(run, event);
}

static void arrive(struct run *run, struct event event)
{
	const struct answer answer =
		ask(&run->vendor, (struct question){ARRIVES, event.id, event.tokens});

	cr_assert_eq(answer.result, 0,
		     "over at the vendor, %lu ms after the start (RATION_SEED=%lu)",
		     (event.at - START) / MS, seed_used);
	if (!run->has[SLOTS])
		return;
	run->busy++;
	event.what = below(8) ? END : GIVE_UP;
	event.at += below(SERVICE);
	happen(run, event);
}

static void ends(struct run *run, struct event event)
{
	(void)ask(&run->vendor, (struct question){ENDS, event.id, 0});
	run->busy--;
}

static void end(struct run *run, struct event event)
{
	ends(run, event);
	event.what = BACK;
	event.at = arrival(run, event.at);
	happen(run, event);
}

/* The vendor hears of it later: only then is its slot free there, so we keep ours for `delay`. */
static void give_up(struct run *run, struct event event)
{
	const uint64_t now = event.at;

	event.what = GIVEN_UP;
	event.at = arrival(run, now);
	happen(run, event);
	event.what = BACK;
	event.at = now + DELAY;
	happen(run, event);
}

/* Who waits for a slot is woken. */
static void wake_one(struct run *run, uint64_t now)
{
	for (uint32_t i = run->n_events; i-- > 0;) {
		struct event event = run->event[i];

		if (event.what != TRY)
			continue;
		run->n_events--;
		memmove(&run->event[i], &run->event[i + 1], (run->n_events - i) * sizeof(event));
		event.at = now;
		happen(run, event);
		return;
	}
}

static void back(struct run *run, struct event event)
{
	const struct answer answer =
		ask(&run->worker[event.worker], (struct question){RELEASE, event.id, 0});

	cr_assert_eq(answer.result, 0);
	run->held--;
	wake_one(run, event.at);
}

static void go(struct run *run)
{
	void (*const handlers[])(struct run *, struct event) = {
		[TRY] = try,         [ARRIVE] = arrive, [END] = end,
		[GIVE_UP] = give_up, [GIVEN_UP] = ends, [BACK] = back,
	};

	for (uint32_t i = 0; i < WORKERS; i++)
		happen(run, (struct event){START + i * run->every / WORKERS, TRY, i, 0,
					   1 + below(TOKENS_MOST)});
	while (run->event[run->n_events - 1].at < START + DURATION) {
		const struct event event = run->event[--run->n_events];

		run->held_time += run->held * (event.at - *injected);
		run->busy_time += run->busy * (event.at - *injected);
		*injected = event.at;
		handlers[event.what](run, event);
	}
}

static struct ration *make_policy(const bool has[KINDS])
{
	struct ration_error error;
	struct ration *ration;
	char text[2048];
	size_t size = strlen(strcpy(text, head));

	for (int k = 0; k < KINDS; k++)
		size += has[k] ? strlen(strcpy(text + size, limits[k])) : 0;
	policy_write("policy.yaml", text, size);
	cr_assert_eq(ration_embed("policy.yaml", &ration, &error), 0, "%s", error.text);
	return ration;
}

static void simulate(struct run *run)
{
	struct vendor *vendor = calloc(1, sizeof(*vendor));
	struct ration *ration;

	injected = mmap(NULL, sizeof(*injected), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	cr_assert(vendor && injected != MAP_FAILED);
	*injected = START;
	ration = make_policy(run->has);
	memcpy(vendor->enforces, run->has, sizeof(run->has));
	vendor->clock = (int64_t)(below(3) ? below(2) * 2 * SKEW : below(2 * SKEW)) - (int64_t)SKEW;
	peer_start(&run->vendor, serve_vendor, vendor);
	for (uint32_t i = 0; i < WORKERS; i++)
		peer_start(&run->worker[i], serve_worker, ration);
	go(run);
	close(run->vendor.ask);
	for (uint32_t i = 0; i < WORKERS; i++)
		close(run->worker[i].ask);
	for (uint32_t i = 0; i < WORKERS; i++)
		peer_end(&run->worker[i]);
	peer_end(&run->vendor);
	ration_detach(&ration);
	free(vendor);
	munmap(injected, sizeof(*injected));
	injected = NULL;
}

enum { RUNS = 3 };

/* used: of 1. All but `unused` of it, and less than a hundredth. */
static void show(const char *what, double used, double unused)
{
	printf("%s: %.2f %% used; by the formula %.2f %% (RATION_SEED=%lu)\n", what, 100 * used,
	       100 * (1 - unused), seed_used);
	cr_expect_geq(used, 1 - unused - 0.01, "%s", what);
}

static struct run *run_of(enum kind kind, uint64_t every)
{
	struct run *run = calloc(1, sizeof(*run));

	cr_assert(run);
	run->has[kind] = true;
	run->every = every;
	simulate(run);
	return run;
}

/* Whoever rests has all of it when he comes back: what is unused is his own doing. */
static void run_with_lulls(enum kind kind, uint64_t every, uint64_t cycle, uint64_t active)
{
	struct run *run = calloc(1, sizeof(*run));

	cr_assert(run);
	run->has[kind] = true;
	run->every = every;
	run->cycle = cycle;
	run->active = active;
	simulate(run);
	cr_expect_gt(run->admitted, 0);
	free(run);
}

Test(vendor_clock, a_token_bucket)
{
	const uint64_t most = DURATION / INTERVAL + BURST;

	seed(1);
	for (int i = 0; i < RUNS; i++) {
		struct run *run = run_of(BUCKET, 0);

		/* The delay takes from the burst, not from the rate. */
		show("bucket, saturated", (double)run->admitted / (double)most, 0);
		free(run);
		run_with_lulls(BUCKET, 0, 3 * SECOND, 2 * SECOND);
	}
}

Test(vendor_clock, a_window)
{
	const uint64_t most = (DURATION / PERIOD + 1) * WINDOW_AMOUNT;

	seed(2);
	for (int i = 0; i < RUNS; i++) {
		struct run *run = run_of(WINDOW, WORKERS * PERIOD / WINDOW_AMOUNT);

		show("window, even demand", (double)run->admitted / (double)run->asked,
		     (double)(2 * SKEW + DELAY) / PERIOD);
		free(run);
		run = run_of(WINDOW, 0);
		show("window, saturated", (double)run->admitted / (double)most, 0);
		free(run);
		/* Half of it in the last second, and all of the next in two. */
		run_with_lulls(WINDOW, WORKERS * SECOND * 2 / WINDOW_AMOUNT, PERIOD, 4 * SECOND);
	}
}

Test(vendor_clock, a_rolling_limit)
{
	const uint64_t most = DURATION / SPAN * ROLLING_AMOUNT;
	const double unused = 1 - (double)SPAN / ((double)(SPAN + DELAY) * (1 + 1.0 / 28));

	seed(3);
	for (int i = 0; i < RUNS; i++) {
		/* A quarter more than there is. */
		struct run *run =
			run_of(ROLLING, WORKERS * SPAN * TOKENS_MOST / 2 / ROLLING_AMOUNT);

		show("rolling, even demand", (double)run->tokens / (double)most, unused);
		free(run);
		run = run_of(ROLLING, 0);
		show("rolling, saturated", (double)run->tokens / (double)most, unused);
		free(run);
		run_with_lulls(ROLLING, 0, 3 * SPAN, 2 * SPAN);
	}
}

/* A slot is taken while the request is on its way, too, there and back. How long that is, on the whole, is measured. */
static void show_slots(const char *what, const struct run *run)
{
	show(what, (double)run->busy_time / (double)(DURATION * SLOTS_MOST),
	     1 - (double)run->busy_time / (double)run->held_time);
}

Test(vendor_clock, so_many_at_a_time)
{
	seed(4);
	for (int i = 0; i < RUNS; i++) {
		struct run *run = run_of(SLOTS, 0);

		show_slots("concurrency, saturated", run);
		free(run);
	}
}

/* Requests, tokens, concurrency and a quota at once: of these numbers, slots are what there is least of. */
Test(vendor_clock, all_of_them)
{
	seed(5);
	for (int i = 0; i < RUNS; i++) {
		struct run *run = calloc(1, sizeof(*run));

		cr_assert(run);
		memset(run->has, true, sizeof(run->has));
		simulate(run);
		show_slots("all kinds at once, slots", run);
		free(run);
	}
}
