/*
 * http/queue.c - lines of waiting requests, and the gates they wait at
 * SPDX-License-Identifier: MIT
 *
 * Every handle (and route) has a line, and only its head asks for quota: with a timer for each line, not for
 * each request, ten thousand waiting requests cost one failed acquire a permit, and none of them
 * overtakes another. A line is in one place at a time: among those to look at, at a full gate, among those that
 * stand, or nowhere; in the last two with its retry timer set.
 *
 * A head that is denied stands in the line that all processes wait in (ration_wait_try()), and is woken there. It
 * leaves when it is no longer the head, and when it could not be sent even with a permit. Of a request that may go to
 * several hosts any one that has a place will do.
 *
 * A gate wakes one line for a place. A woken line that goes elsewhere (it has no quota, say) wakes
 * the next.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "http/engine.h"

enum {
	BATCH = 64, /* requests started in one turn: what is already under way must not wait long */
	CONTENDED_MAX = 100, /* turns in a row that an acquire may be contended */
	STREAMS = 100,       /* requests that one HTTP/2 connection is counted to take */
	HOSTS_KEPT = 1024,   /* idle hosts whose protocol is remembered */
};

/* A denial whose time has come already must not make the loop spin. */
#define RETRY_MIN_NS UINT64_C(20000)

/* Who may go to several hosts, all of which are busy, looks again after this. */
#define GATES_LOOK_NS UINT64_C(20000000)

/* ---- gates ---- */

static void line_leave(struct ration_http *engine, struct line *line)
{
	timers_clear(&engine->timers, &line->retry);
	if (line->in)
		TAILQ_REMOVE(line->in, line, link);
	line->in = NULL;
}

static void line_enter(struct ration_http *engine, struct line *line, struct line_list *list)
{
	line_leave(engine, line);
	TAILQ_INSERT_TAIL(list, line, link);
	line->in = list;
}

static bool gate_is_open(const struct gate *gate)
{
	return gate->used < gate->max;
}

static void gate_wake(struct ration_http *engine, struct gate *gate)
{
	if (gate_is_open(gate) && !TAILQ_EMPTY(&gate->waiting))
		line_enter(engine, TAILQ_FIRST(&gate->waiting), &engine->runnable);
}

void gate_leave(struct ration_http *engine, struct gate *gate)
{
	gate->used--;
	gate_wake(engine, gate);
}

/* ---- hosts ---- */

static int compare_hosts(const void *a, const void *b)
{
	return strcmp(((const struct host *)a)->origin, ((const struct host *)b)->origin);
}

static struct host *host_make(struct ration_http *engine, const char *origin)
{
	size_t size = strlen(origin) + 1;
	struct host *host = calloc(1, sizeof(*host) + size);

	if (!host)
		return NULL;
	host->origin = memcpy(host + 1, origin, size);
	host->gate.max = engine->options.max_host_connections;
	TAILQ_INIT(&host->gate.waiting);
	return host;
}

static struct host *host_get(struct ration_http *engine, const char *origin)
{
	struct host key = {.origin = origin}, *host;
	void *found = tfind(&key, &engine->hosts, compare_hosts);

	if (found)
		return *(struct host **)found;
	host = host_make(engine, origin);
	if (!host || !tsearch(host, &engine->hosts, compare_hosts)) {
		free(host);
		return NULL;
	}
	engine->n_hosts++;
	return host;
}

static void host_drop(struct ration_http *engine, struct host *host)
{
	if (--host->refs || engine->n_hosts <= HOSTS_KEPT)
		return;
	tdelete(host, &engine->hosts, compare_hosts);
	engine->n_hosts--;
	free(host);
}

void queue_release(struct ration_http *engine, struct request *request)
{
	for (uint32_t i = 0; i < request->n_forms; i++) {
		if (request->forms[i].host)
			host_drop(engine, request->forms[i].host);
		request->forms[i].host = NULL;
	}
	request->host = NULL;
}

static int get_hosts(struct ration_http *engine, struct request *request)
{
	for (uint32_t i = 0; i < request->n_forms; i++) {
		struct form *form = &request->forms[i];

		form->host = host_get(engine, form->origin);
		if (!form->host)
			return -ENOMEM;
		form->host->refs++;
	}
	request->host = request->form->host;
	return 0;
}

void queue_learn(struct ration_http *engine, struct host *host, bool multiplexed)
{
	uint64_t places = engine->options.max_host_connections;

	if (host->multiplexed == multiplexed)
		return;
	host->multiplexed = multiplexed;
	if (multiplexed)
		places *= STREAMS;
	host->gate.max = places > UINT32_MAX ? UINT32_MAX : (uint32_t)places;
	gate_wake(engine, &host->gate);
}

/* ---- lines ---- */

static int compare_lines(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct line *)a)->key;
	uintptr_t y = (uintptr_t)((const struct line *)b)->key;

	return (x > y) - (x < y);
}

static void retry_line(struct timer *timer, void *user)
{
	struct ration_http *engine = user;
	struct line *line = (struct line *)((char *)timer - offsetof(struct line, retry));

	line_enter(engine, line, &engine->runnable);
}

static struct line *line_get(struct ration_http *engine, const struct request *request)
{
	struct line key = {0}, *line;
	void *found;

	key.key = request->spec.route    ? routed_key(request)
		  : request->spec.handle ? (const void *)request->spec.handle
					 : request->host;
	found = tfind(&key, &engine->lines, compare_lines);
	if (found)
		return *(struct line **)found;
	line = calloc(1, sizeof(*line));
	if (!line)
		return NULL;
	line->key = key.key;
	line->retry.fire = retry_line;
	TAILQ_INIT(&line->waiting);
	if (tsearch(line, &engine->lines, compare_lines))
		return line;
	free(line);
	return NULL;
}

/* The head is not to wait for quota any more, not just now. */
static void line_unstand(struct ration_http *engine, struct line *line)
{
	if (line->stands)
		ration_wait_end(engine->ration, &line->wait);
	line->stands = false;
}

/* Without it (no thread to be had), lines go by their timers alone. */
static void watch_word(struct ration_http *engine)
{
	const uint32_t *word = engine->waker.word ? NULL : ration_wait_word(engine->ration);

	if (!word || waker_start(&engine->waker, word))
		return;
	if (poller_change(&engine->poller, engine->waker.fd, 0, EPOLLIN, POLLER_WORD))
		waker_stop(&engine->waker);
}

void queue_woken(struct ration_http *engine)
{
	struct line *line, *next;

	if (!engine->waker.running || !waker_changed(&engine->waker))
		return;
	for (line = TAILQ_FIRST(&engine->standing); line; line = next) {
		next = TAILQ_NEXT(line, link);
		if (ration_wait_woken(&line->wait))
			line_enter(engine, line, &engine->runnable);
	}
}

/* The head has changed: look at the line again, or forget it when nobody waits any more. */
static void line_touch(struct ration_http *engine, struct line *line)
{
	line->contended = 0;
	line_unstand(engine, line);
	if (!TAILQ_EMPTY(&line->waiting)) {
		line_enter(engine, line, &engine->runnable);
		return;
	}
	line_leave(engine, line);
	tdelete(line, &engine->lines, compare_lines);
	free(line);
}

/* Without memory for the timer the line is simply looked at again in the next turn. */
static void line_wait(struct ration_http *engine, struct line *line, uint64_t retry_ns)
{
	if (line->stands)
		line_enter(engine, line, &engine->standing);
	else
		line_leave(engine, line);
	if (timers_set(&engine->timers, &line->retry, retry_ns))
		line_enter(engine, line, &engine->runnable);
}

static void line_deny(struct line *line, const struct ration_denial *denial)
{
	line->denial = *denial;
	line->denied_ns = time_now();
}

const struct ration_denial *queue_denial(const struct request *request)
{
	const struct line *line = request->line;

	return line && line->denied_ns >= request->submitted_ns ? &line->denial : NULL;
}

/* ---- requests ---- */

static void deadline_passed(struct timer *timer, void *user)
{
	struct request *request =
		(struct request *)((char *)timer - offsetof(struct request, deadline));

	engine_finish(user, request, RATION_DENIED, NULL);
}

/* Behind those submitted before it: at the end, unless it comes back. */
static int line_add(struct ration_http *engine, struct line *line, struct request *request)
{
	struct request *before = TAILQ_LAST(&line->waiting, request_list);

	request->deadline.fire = deadline_passed;
	if (request->spec.deadline_ns &&
	    timers_set(&engine->timers, &request->deadline, request->spec.deadline_ns))
		return -ENOMEM;
	if (before && before->sequence > request->sequence) {
		before = TAILQ_FIRST(&line->waiting);
		while (before->sequence < request->sequence)
			before = TAILQ_NEXT(before, link);
		TAILQ_INSERT_BEFORE(before, request, link);
	} else {
		TAILQ_INSERT_TAIL(&line->waiting, request, link);
	}
	request->line = line;
	return 0;
}

static void line_remove(struct ration_http *engine, struct request *request)
{
	TAILQ_REMOVE(&request->line->waiting, request, link);
	timers_clear(&engine->timers, &request->deadline);
	request->line = NULL;
}

int queue_submit(struct ration_http *engine, struct request *request)
{
	struct line *line = NULL;
	int rc = get_hosts(engine, request);

	request->sequence = engine->sequence++;
	if (!rc) {
		line = line_get(engine, request);
		rc = line ? line_add(engine, line, request) : -ENOMEM;
	}
	if (rc)
		queue_release(engine, request);
	if (line && (rc || TAILQ_FIRST(&line->waiting) == request))
		line_touch(engine, line);
	return rc;
}

void queue_return(struct ration_http *engine, struct request *request, uint64_t retry_ns,
		  const struct ration_denial *denial)
{
	struct line *line = line_get(engine, request);

	if (!line || line_add(engine, line, request)) {
		if (line)
			line_touch(engine, line);
		engine_finish(engine, request, -ENOMEM, NULL);
		return;
	}
	line_unstand(engine, line);
	if (denial)
		line_deny(line, denial);
	/* Another may have room now. */
	if (request->n_forms > 1)
		retry_ns = time_now();
	if (request->spec.deadline_ns && retry_ns > request->spec.deadline_ns)
		engine_finish(engine, request, RATION_DENIED, NULL);
	else
		line_wait(engine, line, retry_ns);
}

void queue_remove(struct ration_http *engine, struct request *request)
{
	struct line *line = request->line;
	bool head = TAILQ_FIRST(&line->waiting) == request;

	line_remove(engine, request);
	if (head)
		line_touch(engine, line);
}

/* ---- starting ---- */

static void start(struct ration_http *engine, struct line *line, struct transfer *transfer)
{
	struct request *request = TAILQ_FIRST(&line->waiting);
	struct host *host = request->host;
	const struct ration_denial *denial = queue_denial(request);
	int rc;

	transfer->denied = denial != NULL;
	if (denial)
		transfer->denial = *denial;
	transfer->counted = !host->multiplexed;
	line_remove(engine, request);
	line_touch(engine, line);
	request->transfer = transfer;
	host->gate.used++;
	engine->connections.used += transfer->counted;
	engine->in_flight++;
	rc = transfer_start(transfer, request);
	if (rc)
		engine_finish(engine, request, rc, NULL);
}

/* Whoever was woken before the word was watched is not told again. */
static void stand(struct ration_http *engine, struct line *line, uint64_t earliest_ns)
{
	const struct request *request = TAILQ_FIRST(&line->waiting);
	const uint32_t forms = (UINT32_C(1) << request->n_forms) - 1;
	uint64_t wake_ns = line->wait.wake_at_ns;

	/* Those that were left out for want of a place may have one soon. */
	if (request->open != forms && wake_ns > time_now() + GATES_LOOK_NS)
		wake_ns = time_now() + GATES_LOOK_NS;
	watch_word(engine);
	if (ration_wait_woken(&line->wait))
		line_enter(engine, line, &engine->runnable);
	else
		line_wait(engine, line, wake_ns > earliest_ns ? wake_ns : earliest_ns);
}

static void refuse(struct ration_http *engine, struct line *line, struct transfer *transfer, int rc)
{
	struct request *request = TAILQ_FIRST(&line->waiting);
	uint64_t retry_ns = time_now() + RETRY_MIN_NS;

	if (rc == RATION_CONTENDED && ++line->contended < CONTENDED_MAX) {
		line_enter(engine, line, &engine->runnable);
		return;
	}
	if (rc == RATION_DENIED || rc == RATION_OVERSIZE || rc == RATION_WAITING ||
	    rc == RATION_BUSY)
		line_deny(line, &transfer->denial);
	if (rc == RATION_WAITING) {
		stand(engine, line, retry_ns);
		return;
	}
	if (rc == RATION_DENIED || rc == RATION_BUSY) {
		if (transfer->denial.retry_at_ns > retry_ns)
			retry_ns = transfer->denial.retry_at_ns;
		/* No more may stand in line: ask again until the deadline's own timer ends it. */
		if (rc == RATION_BUSY || !request->spec.deadline_ns ||
		    retry_ns <= request->spec.deadline_ns) {
			line_wait(engine, line, retry_ns);
			return;
		}
	}
	engine_finish(engine, request, rc, NULL);
}

/* The gate that the head of a line has to wait at, or NULL. */
static struct gate *closed_gate(struct ration_http *engine, struct host *host)
{
	if (!gate_is_open(&host->gate))
		return &host->gate;
	if (!host->multiplexed && !gate_is_open(&engine->connections))
		return &engine->connections;
	return NULL;
}

/* In which forms it could leave at once. */
static uint32_t open_forms(struct ration_http *engine, const struct request *request)
{
	uint32_t open = 0;

	for (uint32_t i = 0; i < request->n_forms; i++)
		open |= (uint32_t)!closed_gate(engine, request->forms[i].host) << i;
	return open;
}

/* Of several gates one is as good as another, and looked at again should another open first. */
static void wait_at_gate(struct ration_http *engine, struct line *line,
			 const struct request *request)
{
	line_unstand(engine, line);
	line_enter(engine, line, &closed_gate(engine, request->host)->waiting);
	if (request->n_forms > 1 &&
	    timers_set(&engine->timers, &line->retry, time_now() + GATES_LOOK_NS))
		line_enter(engine, line, &engine->runnable);
}

/* Returns false when the turn is to end here. */
static bool line_step(struct ration_http *engine, struct line *line)
{
	struct request *request = TAILQ_FIRST(&line->waiting);
	struct transfer *transfer;
	int rc;

	request->open = open_forms(engine, request);
	if (!request->open) {
		wait_at_gate(engine, line, request);
		return true;
	}
	transfer = transfer_get(engine);
	if (!transfer) {
		engine_finish(engine, request, -ENOMEM, NULL);
		return true;
	}
	transfer->request = request;
	if (!line->stands)
		line->wait = (struct ration_wait){.deadline_ns = request->spec.deadline_ns,
						  .loop = true};
	rc = permit_take(transfer, &line->wait);
	line->stands = rc == RATION_WAITING || rc == RATION_CONTENDED;
	if (!rc) {
		start(engine, line, transfer);
		return true;
	}
	transfer->request = NULL;
	transfer_put(transfer);
	refuse(engine, line, transfer, rc);
	return rc != RATION_CONTENDED;
}

bool queue_can_run(const struct ration_http *engine)
{
	return !TAILQ_EMPTY(&engine->runnable) && engine->in_flight < engine->options.max_in_flight;
}

void queue_run(struct ration_http *engine)
{
	bool go = true;

	for (int n = 0; n < BATCH && go && queue_can_run(engine); n++) {
		struct line *line = TAILQ_FIRST(&engine->runnable);
		struct host *host = TAILQ_FIRST(&line->waiting)->host;

		host->refs++;
		go = line_step(engine, line);
		gate_wake(engine, &host->gate);
		gate_wake(engine, &engine->connections);
		host_drop(engine, host);
	}
}

void queue_init(struct ration_http *engine)
{
	TAILQ_INIT(&engine->runnable);
	TAILQ_INIT(&engine->standing);
	TAILQ_INIT(&engine->connections.waiting);
	engine->connections.max = engine->options.max_connections;
}

void queue_free(struct ration_http *engine)
{
	tdestroy(engine->hosts, free);
	tdestroy(engine->lines, free);
	engine->hosts = NULL;
	engine->lines = NULL;
}
